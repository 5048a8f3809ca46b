//! The bridge and its ports.

use crate::check::finding::{Findings, Fix};
use crate::check::snapshot::{BridgeDetails, HostSnapshot};
use crate::config::acl::Verdict;
use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::escape::ShellQuoted;
use crate::model::addr::MacAddr;
use crate::model::bridge::{BR_MAX_PORTS, BridgeInfo};
use crate::model::link::Link;

const SUBJECT: &str = "bridge";

pub(super) fn bridge(findings: &mut Findings, host: &HostSnapshot) {
    let name = host.context.bridge_name;
    let quoted = ShellQuoted(name.as_bytes());
    let (Some(link), details) = (&host.bridge, &host.bridge_details) else {
        return missing(findings, host);
    };
    let (Some(info), Some(details)) = (link.bridge(), details) else {
        let kind = link.kind.clone();
        return findings.error(SUBJECT, &Error::NotABridge { name, kind });
    };
    if link.up {
        let carrier = if link.carrier {
            ""
        } else {
            ", no carrier until a port has one"
        };
        findings.ok(SUBJECT, format!("{name} is up, MTU {}{carrier}", link.mtu));
    } else {
        findings.problem(
            ExitCode::Bridge,
            SUBJECT,
            format!("{name} is down: no frame passes"),
            Fix::Command(format!("sudo ip link set dev {quoted} up")),
        );
    }
    match (details.has_address, details.uplink()) {
        (_, Some(port)) => uplink(findings, link, port),
        (true, None) => findings.ok(SUBJECT, format!("{name} has an address, and no uplink")),
        (false, None) => findings.warn(
            ExitCode::Bridge,
            SUBJECT,
            format!("{name} has neither an address nor an uplink: guests reach each other only"),
            Fix::Advice(format!(
                "an address of a network that is in use nowhere else here, such as: sudo ip address add 192.168.10.1/24 dev {quoted}"
            )),
        ),
    }
    if let Some((address, other)) = details.network_in_use {
        findings.warn(
            ExitCode::Bridge,
            SUBJECT,
            format!("{name} has {address}, and {other} is in the same network: this host reaches only one of the two"),
            Fix::Advice("give one of them an address of another network; in /etc/qemu-ifup.conf, with --address".to_owned()),
        );
    }
    ports(findings, link, details);
    own_mac(findings, host, link, details);
    stp(findings, host, info, details);
    if info.snoops_multicast && info.has_other_querier {
        // As it is on many networks; a guest that boots reports by itself.
        findings.ok(
            SUBJECT,
            host.for_reader(&format!("{name} sends multicast only where it was asked for: a running guest whose tap was taken down and up again is not found over IPv6 until it asks; sudo ip link set dev {quoted} type bridge mcast_snooping 0 ends that")),
        );
    }
    let filtering = if info.vlan_filtering { "on" } else { "off" };
    findings.ok(SUBJECT, format!("VLAN filtering is {filtering}"));
}

fn missing(findings: &mut Findings, host: &HostSnapshot) {
    let name = host.context.bridge_name;
    // What it says of the bridge is not known; that it is broken is said already.
    if host.context.conf.is_err() {
        return;
    }
    if !host.context.creates_bridge {
        let existing = host.bridges.clone();
        return findings.error(SUBJECT, &Error::NoSuchBridge { name, existing });
    }
    if host.bridge_driver == Some(false) {
        findings.problem(
            ExitCode::Kernel,
            SUBJECT,
            "the kernel has no bridges, and no module for them",
            Fix::Advice("install the package with all modules of this kernel; or a kernel with CONFIG_BRIDGE".to_owned()),
        );
    } else if let Some((address, interface)) = host.network_in_use {
        let error = Error::NetworkInUse {
            bridge: name,
            address,
            interface,
        };
        findings.error(SUBJECT, &error);
    } else if host.context.addresses.iter().any(|a| a.ip.is_ipv6())
        && host.sysctls.disable_ipv6 == Some(true)
    {
        findings.problem(
            ExitCode::Kernel,
            SUBJECT,
            format!("{name} is to have an IPv6 address, and new interfaces have no IPv6 here"),
            Fix::Advice("an IPv4 --address instead; or sudo sysctl net.ipv6.conf.default.disable_ipv6=0 (until the next boot)".to_owned()),
        );
    } else {
        findings.ok(
            SUBJECT,
            format!("{name} does not exist and will be created"),
        );
    }
}

fn uplink(findings: &mut Findings, bridge: &Link, port: &Link) {
    let message = format!("{} has the uplink {}", bridge.name, port.name);
    let (but, fix) = match (port.up, port.carrier) {
        (true, true) => return findings.ok(SUBJECT, message),
        (true, false) => (
            "has no carrier",
            Fix::Advice("look at the cable, or at what the other end is".to_owned()),
        ),
        (false, _) => {
            let quoted = ShellQuoted(port.name.as_bytes());
            let command = format!("sudo ip link set dev {quoted} up");
            ("is down", Fix::Command(command))
        }
    };
    let message = format!("{message}, which {but}");
    findings.warn(ExitCode::Bridge, SUBJECT, message, fix);
}

fn ports(findings: &mut Findings, bridge: &Link, details: &BridgeDetails) {
    let Link { name, mtu, .. } = *bridge;
    let quoted = ShellQuoted(bridge.name.as_bytes());
    let count = details.ports.len();
    if count >= BR_MAX_PORTS {
        findings.error(SUBJECT, &Error::BridgeFull(name));
    } else {
        findings.ok(
            SUBJECT,
            format!("{name} has {count} of {BR_MAX_PORTS} ports"),
        );
    }
    // A bridge whose MTU nobody set has that of its smallest port. That of an uplink has its reasons outside this host.
    let smallest = details.ports.iter().filter(|port| port.mtu == mtu);
    let uplinks = details.uplinks().map(|port| port.mtu).min();
    let wanted = uplinks.or(details.ports.iter().map(|port| port.mtu).max());
    if let (Some(port), Some(wanted)) = (smallest.min_by_key(|port| port.tap().is_some()), wanted)
        && mtu < wanted
        && port.tap().is_some()
    {
        findings.warn(
            ExitCode::Bridge,
            SUBJECT,
            format!(
                "{name} has MTU {mtu}, because its port {} has; others have {wanted}",
                port.name
            ),
            Fix::Command(format!(
                "sudo ip link set dev {} mtu {wanted} && sudo ip link set dev {quoted} mtu {wanted}",
                ShellQuoted(port.name.as_bytes())
            )),
        );
    }
}

/// A bridge that was given no MAC has the lowest of its ports, and the holder of a tap's descriptor can change the tap's.
fn own_mac(findings: &mut Findings, host: &HostSnapshot, bridge: &Link, details: &BridgeDetails) {
    let name = bridge.name;
    let (Some(address), false) = (bridge.address, details.has_own_mac == Some(true)) else {
        return;
    };
    let addresses = details.ports.iter().filter_map(|port| port.address);
    let lowest = addresses.min_by_key(|address| address.0);
    let has_it = |port: &&Link| port.address == Some(address) && lowest == Some(address);
    let mut taps = details.ports.iter().filter(has_it);
    let tap = taps.find(|port| port.tap().is_some());
    let for_users = matches!(host.context.acl, Ok(Some(Verdict::Allowed)));
    // One that stays: the uplink's, as without taps, or one like the tap's that is nobody's.
    let uplink = details.uplink().and_then(|uplink| uplink.address);
    let (message, own) = if let Some(tap) = tap {
        let MacAddr([_, rest @ ..]) = address;
        let own = uplink.unwrap_or(MacAddr::locally_administered(rest));
        let message = format!(
            "{name} has the MAC of its port {}: it changes when that goes, and the host is then not found",
            tap.name
        );
        (message, own)
    } else if for_users && details.has_own_mac == Some(false) && address.0 != [0; 6] {
        let message = format!(
            "{name} has no MAC of its own: a user with a tap on it can change it to that of another machine"
        );
        (message, address)
    } else {
        return;
    };
    let quoted = ShellQuoted(name.as_bytes());
    let fix = Fix::Command(format!("sudo ip link set dev {quoted} address {own}"));
    findings.warn(ExitCode::Bridge, SUBJECT, message, fix);
}

fn stp(findings: &mut Findings, host: &HostSnapshot, info: &BridgeInfo, details: &BridgeDetails) {
    let seconds = info.forwarding_delay_secs();
    if !info.stp_enabled {
        return findings.ok(SUBJECT, "STP is off: a port forwards at once");
    }
    if host.context.wait.is_some_and(|wait| wait >= seconds) {
        let message = format!("STP is on: a port forwards after {seconds} s, which QEMU waits for");
        return findings.ok(SUBJECT, message);
    }
    let bridge = ShellQuoted(host.context.bridge_name.as_bytes());
    let message = format!(
        "STP is on: a port forwards {seconds} s after a guest starts, too late for its DHCP"
    );
    // Without STP, two uplinks may be a loop.
    let fix = if details.uplinks().count() < 2 {
        format!("sudo ip link set dev {bridge} type bridge stp_state 0")
    } else {
        format!("echo '* --wait {}' | sudo tee -a {CONF_FILE}", seconds + 5)
    };
    findings.warn(ExitCode::Bridge, SUBJECT, message, Fix::Command(fix));
}
