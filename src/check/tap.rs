//! The tap.

use crate::check::finding::Findings;
use crate::check::snapshot::HostSnapshot;
use crate::error::Error;
use crate::escape::ShellQuoted;
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, LinkKind, TapInfo};

pub(super) fn tap(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "tap";
    let Some(name) = host.context.tap else {
        return;
    };
    let quoted = ShellQuoted(name.as_bytes());
    let bridge = ShellQuoted(host.context.bridge_name.as_bytes());
    let again = format!("qemu-ifup --bridge {bridge} {quoted}");
    let Some(link) = &host.tap else {
        return findings.ok(
            subject,
            format!("{name} does not exist and will be created"),
        );
    };
    let LinkKind::Tap(info) = &link.kind else {
        let kind = link.kind.clone();
        return findings.error(subject, &Error::NotATap { name, kind });
    };
    access(findings, name, info);
    let persistent = if info.persistent {
        "persistent"
    } else {
        "not persistent"
    };
    let queues = if info.multi_queue {
        "with several queues: QEMU needs queues=N, N above 1"
    } else {
        "with one queue: QEMU's queues=N fails with EINVAL"
    };
    findings.ok(subject, format!("{name} is {persistent}, {queues}"));
    match (&host.holder, link.is_open()) {
        (Some(holder), _) => findings.warn(
            subject,
            format!("{name} is open in {holder}: another QEMU gets EBUSY"),
            format!("use another name, or end it: kill {}", holder.pid),
        ),
        (None, true) => findings.warn(
            subject,
            format!("{name} is open in a program that you may not see: another QEMU gets EBUSY"),
            format!("sudo qemu-ifup --check {quoted} tells which"),
        ),
        (None, false) if info.persistent => findings.ok(
            subject,
            format!("{name} is open in no program, so it has no carrier: if it is left over, qemu-ifdown --delete {quoted}"),
        ),
        (None, false) => findings.ok(subject, format!("{name} has no carrier")),
    }
    let master = host
        .bridge
        .as_ref()
        .filter(|bridge| Some(bridge.index) == link.master);
    match (master, link.master) {
        (Some(bridge), _) if link.up => {
            findings.ok(subject, format!("{name} is up on {}", bridge.name));
        }
        (Some(_), _) => findings.warn(subject, format!("{name} is down"), again.clone()),
        (None, Some(_)) => findings.warn(
            subject,
            format!(
                "{name} is a port of something else than {}",
                host.context.bridge_name
            ),
            again.clone(),
        ),
        (None, None) => {
            findings.warn(subject, format!("{name} is in no bridge"), again.clone());
        }
    }
    if let Some(bridge) = &host.bridge
        && link.mtu < bridge.mtu
    {
        findings.warn(
            subject,
            format!("{name} has MTU {}, the bridge {}", link.mtu, bridge.mtu),
            again.clone(),
        );
    }
    if host.tap_has_address {
        findings.warn(
            subject,
            format!("{name} has an IPv6 address of its own: the host answers the guest on it"),
            again.clone(),
        );
    } else if link
        .addr_gen_mode
        .is_some_and(|mode| mode != AddrGenMode::None)
    {
        findings.warn(
            subject,
            format!("{name} will give itself an IPv6 address when it has a carrier"),
            again.clone(),
        );
    }
}

fn access(findings: &mut Findings, name: IfName, info: &TapInfo) {
    let subject = "tap";
    match (info.owner, info.group) {
        (Some(uid), None) => findings.ok(subject, format!("{name} belongs to uid {uid}")),
        (None, Some(gid)) => findings.ok(subject, format!("{name} is for gid {gid}")),
        (Some(uid), Some(gid)) => findings.ok(
            subject,
            format!("{name} belongs to uid {uid}, who must also be in gid {gid}"),
        ),
        (None, None) => findings.warn(
            subject,
            format!("{name} has no owner: whoever can open /dev/net/tun can open it"),
            format!("sudo qemu-ifup {}", ShellQuoted(name.as_bytes())),
        ),
    }
}
