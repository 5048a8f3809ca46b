//! The bridge and its ports.

use crate::check::finding::Findings;
use crate::check::snapshot::{BridgeDetails, HostSnapshot};
use crate::config::acl::Verdict;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::escape::ShellQuoted;
use crate::model::addr::MacAddr;
use crate::model::bridge::BR_MAX_PORTS;
use crate::model::link::{Link, LinkKind};

pub(super) fn bridge(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "bridge";
    let name = host.context.bridge_name;
    let quoted = ShellQuoted(name.as_bytes());
    let (Some(link), details) = (&host.bridge, &host.bridge_details) else {
        if host.context.creates_bridge {
            findings.ok(
                subject,
                format!("{name} does not exist and will be created"),
            );
        } else {
            findings.error(
                subject,
                &Error::NoSuchBridge {
                    name,
                    existing: host.bridges.clone(),
                },
            );
        }
        return;
    };
    let (LinkKind::Bridge(info), Some(details)) = (&link.kind, details) else {
        let kind = link.kind.clone();
        return findings.error(subject, &Error::NotABridge { name, kind });
    };
    if link.up {
        let carrier = if link.carrier {
            ""
        } else {
            ", no carrier until a port has one"
        };
        findings.ok(subject, format!("{name} is up, MTU {}{carrier}", link.mtu));
    } else {
        findings.problem(
            ExitCode::Bridge,
            subject,
            format!("{name} is down: no frame passes"),
            format!("ip link set dev {quoted} up"),
        );
    }
    match (details.has_address, details.uplink()) {
        (_, Some(port)) => findings.ok(subject, format!("{name} has the uplink {}", port.name)),
        (true, None) => findings.ok(subject, format!("{name} has an address, and no uplink")),
        (false, None) => findings.warn(
            subject,
            format!("{name} has neither an address nor an uplink: guests reach each other only"),
            format!("ip address add 192.168.10.1/24 dev {quoted}"),
        ),
    }
    ports(findings, link, details);
    own_mac(findings, host, link, details);
    if info.stp_enabled {
        let seconds = info.forwarding_delay_secs();
        findings.warn(
            subject,
            format!(
                "STP is on: a port forwards {seconds} s after a guest starts, too late for its DHCP"
            ),
            format!("ip link set dev {quoted} type bridge stp_state 0"),
        );
    } else {
        findings.ok(subject, "STP is off: a port forwards at once");
    }
    let filtering = if info.vlan_filtering { "on" } else { "off" };
    findings.ok(subject, format!("VLAN filtering is {filtering}"));
}

fn ports(findings: &mut Findings, bridge: &Link, details: &BridgeDetails) {
    let subject = "bridge";
    let Link {
        name, address, mtu, ..
    } = *bridge;
    let quoted = ShellQuoted(bridge.name.as_bytes());
    let count = details.ports.len();
    if count >= BR_MAX_PORTS {
        findings.error(subject, &Error::BridgeFull(name));
    } else {
        findings.ok(
            subject,
            format!("{name} has {count} of {BR_MAX_PORTS} ports"),
        );
    }
    // A bridge whose MTU nobody set has that of its smallest port.
    let smallest = details.ports.iter().find(|port| port.mtu == mtu);
    let largest = details
        .ports
        .iter()
        .map(|port| port.mtu)
        .max()
        .unwrap_or(mtu);
    if let Some(port) = smallest.filter(|_| mtu < largest) {
        findings.warn(
            subject,
            format!(
                "{name} has MTU {mtu}, because its port {} has; others have {largest}",
                port.name
            ),
            format!(
                "ip link set dev {} mtu {largest} && ip link set dev {quoted} mtu {largest}",
                ShellQuoted(port.name.as_bytes())
            ),
        );
    }
    let borrowed = details
        .ports
        .iter()
        .find(|port| matches!(port.kind, LinkKind::Tap(_)) && port.address == address);
    if let (Some(port), Some(MacAddr([_, rest @ ..]))) = (borrowed, address) {
        // One of its own that stays: the uplink's, as without taps, or one like the tap's that is nobody's.
        let uplink = details.uplink().and_then(|uplink| uplink.address);
        let address = uplink.unwrap_or(MacAddr::locally_administered(rest));
        findings.warn(
            subject,
            format!(
                "{name} has the MAC of its port {}: it changes when that goes, and the host is then not found",
                port.name
            ),
            format!("ip link set dev {quoted} address {address}"),
        );
    }
}

/// The holder of a tap's descriptor can change the tap's MAC, and with it that of a bridge without one of its own.
fn own_mac(findings: &mut Findings, host: &HostSnapshot, bridge: &Link, details: &BridgeDetails) {
    let for_users = matches!(host.context.acl, Ok(Some(Verdict::Allowed)));
    if let (true, Some(false), Some(address)) = (
        for_users,
        details.has_own_mac,
        bridge.address.filter(|a| a.0 != [0; 6]),
    ) {
        findings.warn(
            "bridge",
            format!(
                "{} has no MAC of its own: a user with a tap on it can change it to that of another machine",
                bridge.name
            ),
            format!("ip link set dev {} address {address}",
                ShellQuoted(bridge.name.as_bytes())),
        );
    }
}
