//! The bridge and its ports.

use crate::check::finding::Findings;
use crate::check::id::Id;
use crate::check::snapshot::{BridgeDetails, Snapshot};
use crate::config::acl::Verdict;
use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::error::advice::{Advice, Command};
use crate::escape::ShellQuoted;
use crate::model::addr::MacAddr;
use crate::model::bridge::{BR_MAX_PORTS, BridgeInfo};
use crate::model::link::Link;

pub(super) fn bridge(findings: &mut Findings, seen: &Snapshot<'_>) {
    let name = seen.bridge.name;
    let quoted = ShellQuoted(name.as_bytes());
    let (Some(link), details) = (&seen.bridge.link, &seen.bridge.details) else {
        return missing(findings, seen);
    };
    let (Some(info), Some(details)) = (link.bridge(), details) else {
        let kind = link.kind.clone();
        return findings.error(Id::NotABridge, &Error::NotABridge { name, kind });
    };
    if link.up {
        let carrier = if link.carrier {
            ""
        } else {
            ", no carrier (normal until a port has a carrier)"
        };
        let message = format!("{name} is up, MTU {}{carrier}", link.mtu);
        findings.add(Id::BridgeUp, message);
    } else {
        findings
            .add(
                Id::BridgeDown,
                format!("{name} is down: it forwards nothing"),
            )
            .fix(Command::root(format!("ip link set dev {quoted} up")));
    }
    match (details.has_address, details.uplink()) {
        (_, Some(port)) => uplink(findings, link, port),
        (true, None) => {
            let message = format!("{name} has an IP address and no uplink (host-only network)");
            findings.add(Id::BridgeHostOnly, message);
        }
        (false, None) => findings
            .add(
                Id::BridgeUnconnected,
                format!(
                    "{name} has neither an IP address nor an uplink: guests can reach only each \
                     other"
                ),
            )
            .advise([Advice::run(
                format!(
                    "give {name} an address in a network that is not in use on this host, for \
                     example"
                ),
                Command::root(format!("ip address add 192.168.10.1/24 dev {quoted}")),
            )]),
    }
    if let Some((address, other)) = details.network_in_use {
        findings
            .add(
                Id::NetworkShared,
                format!(
                    "{name} ({address}) and {other} are in the same network: this host can reach \
                     only one of them"
                ),
            )
            .advise([Advice::text(format!(
                "give one of them an address in another network. For {name}, use --address in \
                 {CONF_FILE}"
            ))]);
    }
    ports(findings, link, details);
    own_mac(findings, seen, link, details);
    stp(findings, seen, info, details);
    if info.snoops_multicast && info.has_other_querier {
        // As it is on many networks; a guest that boots reports by itself.
        findings
            .add(
                Id::MulticastSnooping,
                "multicast snooping is on: after a tap was down, its running guest cannot be \
                 reached over IPv6 until the guest rejoins its groups",
            )
            .advise([Advice::run(
                "to turn off snooping, run",
                Command::root(format!(
                    "ip link set dev {quoted} type bridge mcast_snooping 0"
                )),
            )]);
    }
    let filtering = if info.vlan_filtering { "on" } else { "off" };
    findings.add(Id::VlanFiltering, format!("VLAN filtering is {filtering}"));
}

fn missing(findings: &mut Findings, seen: &Snapshot<'_>) {
    let (name, options) = (seen.bridge.name, &seen.options);
    // What it says of the bridge is unknown; that it is broken is another finding.
    if seen.conf.is_err() {
        return;
    }
    if options.create_bridge != Some(true) {
        let existing = seen.host.bridges.clone();
        return findings.error(Id::BridgeMissing, &Error::NoSuchBridge { name, existing });
    }
    if seen.host.bridge_driver == Some(false) {
        findings
            .add(
                Id::BridgeModuleMissing,
                "the kernel does not support bridges, and there is no bridge module",
            )
            .advise([Advice::text(
                "install the package that has all modules of this kernel, or a kernel with \
                 CONFIG_BRIDGE",
            )]);
    } else if let Some((address, interface)) = seen.network_in_use {
        let error = Error::NetworkInUse {
            bridge: name,
            address,
            interface,
        };
        findings.error(Id::NetworkInUse, &error);
    } else if options.addresses.iter().any(|a| a.ip.is_ipv6())
        && seen.host.sysctls.disable_ipv6 == Some(true)
    {
        findings
            .add(
                Id::Ipv6Disabled,
                format!("{name} cannot get its IPv6 address: IPv6 is disabled for new interfaces"),
            )
            .advise([
                Advice::run(
                    "to enable IPv6 until the next boot, run",
                    Command::root("sysctl net.ipv6.conf.default.disable_ipv6=0"),
                ),
                Advice::text("or use an IPv4 address (--address)"),
            ]);
    } else {
        findings.add(
            Id::BridgeWillBeCreated,
            format!("{name} does not exist and will be created"),
        );
    }
}

fn uplink(findings: &mut Findings, bridge: &Link, port: &Link) {
    let (bridge, name) = (bridge.name, port.name);
    if !port.up {
        let command = format!("ip link set dev {} up", ShellQuoted(name.as_bytes()));
        findings
            .add(
                Id::UplinkDown,
                format!("the uplink {name} of {bridge} is down"),
            )
            .of(name)
            .fix(Command::root(command));
    } else if port.carrier {
        findings
            .add(Id::UplinkUp, format!("{bridge} has the uplink {name}"))
            .of(name);
    } else {
        findings
            .add(
                Id::UplinkNoCarrier,
                format!("the uplink {name} of {bridge} has no carrier"),
            )
            .of(name)
            .advise([Advice::text(
                "check the cable and the device at the other end",
            )]);
    }
}

fn ports(findings: &mut Findings, bridge: &Link, details: &BridgeDetails) {
    let Link { name, mtu, .. } = *bridge;
    let count = details.ports.len();
    if count >= BR_MAX_PORTS {
        findings.error(Id::BridgeFull, &Error::BridgeFull(name));
    } else {
        let message = format!("{name} has {count} of {BR_MAX_PORTS} ports");
        findings.add(Id::BridgePorts, message);
    }
    // A bridge without an MTU of its own has that of its smallest port. That of an uplink has its reasons outside this host.
    let smallest = details.ports.iter().filter(|port| port.mtu == mtu);
    let uplinks = details.uplinks().map(|port| port.mtu).min();
    let wanted = uplinks.or(details.ports.iter().map(|port| port.mtu).max());
    if let (Some(port), Some(wanted)) = (smallest.min_by_key(|port| port.tap().is_some()), wanted)
        && mtu < wanted
        && port.tap().is_some()
    {
        let set = |link: &Link| {
            let dev = ShellQuoted(link.name.as_bytes());
            Command::root(format!("ip link set dev {dev} mtu {wanted}"))
        };
        findings
            .add(
                Id::BridgeMtu,
                format!(
                    "{name} has MTU {mtu} because of its port {}; other ports have MTU {wanted}",
                    port.name
                ),
            )
            .of(port.name)
            .fix(set(port).and(set(bridge)));
    }
}

/// A bridge without a MAC of its own has the lowest of its ports, and a program that has a tap open can change that of the tap.
fn own_mac(findings: &mut Findings, seen: &Snapshot<'_>, bridge: &Link, details: &BridgeDetails) {
    let name = bridge.name;
    let (Some(address), false) = (bridge.address, details.has_own_mac == Some(true)) else {
        return;
    };
    let addresses = details.ports.iter().filter_map(|port| port.address);
    let lowest = addresses.min_by_key(|address| address.0);
    let has_it = |port: &&Link| port.address == Some(address) && lowest == Some(address);
    let mut taps = details.ports.iter().filter(has_it);
    let tap = taps.find(|port| port.tap().is_some());
    let for_users = seen.verdict() == Some(Verdict::Allowed);
    let quoted = ShellQuoted(name.as_bytes());
    let set = |mac| Command::root(format!("ip link set dev {quoted} address {mac}"));
    if let Some(tap) = tap {
        // One that stays: the uplink's, as without taps, or one like the tap's that no interface has.
        let uplink = details.uplink().and_then(|uplink| uplink.address);
        let MacAddr([_, rest @ ..]) = address;
        let tap = tap.name;
        findings
            .add(
                Id::BridgeMacOfTap,
                format!(
                    "{name} uses the MAC of its port {tap}. If {tap} is detached, the MAC of \
                     {name} changes and other machines lose the host for a while"
                ),
            )
            .of(tap)
            .fix(set(uplink.unwrap_or(MacAddr::locally_administered(rest))));
    } else if for_users && details.has_own_mac == Some(false) && address.0 != [0; 6] {
        findings
            .add(
                Id::BridgeMacNotFixed,
                format!(
                    "{name} has no fixed MAC: a user with a tap attached to {name} can change the \
                     MAC of {name}, even to that of another machine"
                ),
            )
            .fix(set(address));
    }
}

fn stp(findings: &mut Findings, seen: &Snapshot<'_>, info: &BridgeInfo, details: &BridgeDetails) {
    let seconds = info.forwarding_delay_secs();
    if !info.stp_enabled {
        findings.add(Id::StpOff, "STP is off: ports forward immediately");
        return;
    }
    let wait = seen.options.wait;
    if wait.is_some_and(|wait| wait >= seconds) {
        let message =
            format!("STP is on: ports forward after {seconds} s, and QEMU waits for that (--wait)");
        findings.add(Id::StpWaited, message);
        return;
    }
    let bridge = seen.bridge.name;
    let bridge = ShellQuoted(bridge.as_bytes());
    // Without STP, two uplinks may be a loop.
    let fix = if details.uplinks().count() < 2 {
        Command::root(format!("ip link set dev {bridge} type bridge stp_state 0"))
    } else {
        Command::append(format!("* --wait {}", seconds + 5).as_bytes(), CONF_FILE)
    };
    findings
        .add(
            Id::StpDelay,
            format!(
                "STP is on: ports forward {seconds} s after a guest starts, which is often too \
                 late for DHCP"
            ),
        )
        .fix(fix);
}
