//! The tap.

use crate::check::finding::{Finding, Findings, Fix};
use crate::check::snapshot::HostSnapshot;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::escape::ShellQuoted;
use crate::model::bridge::{PortOption, PortOptions, PortState};
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, Link, LinkKind, TapInfo};

const SUBJECT: &str = "tap";

/// The command that makes the tap what it should be.
fn again(host: &HostSnapshot, name: IfName) -> String {
    if host.context.has_options {
        return "this call without --check".to_owned();
    }
    let bridge = ShellQuoted(host.context.bridge_name.as_bytes());
    format!(
        "sudo qemu-ifup --bridge {bridge} {}",
        ShellQuoted(name.as_bytes())
    )
}

/// The same as what fixes something.
fn fix(host: &HostSnapshot, name: IfName) -> Fix {
    let again = again(host, name);
    if host.context.has_options {
        Fix::Advice(again)
    } else {
        Fix::Command(again)
    }
}

pub(super) fn tap(findings: &mut Findings, host: &HostSnapshot) {
    let Some(name) = host.context.tap else {
        return;
    };
    let Some(link) = &host.tap else {
        return findings.ok(
            SUBJECT,
            format!("{name} does not exist and will be created"),
        );
    };
    let LinkKind::Tap(info) = &link.kind else {
        let kind = link.kind.clone();
        let error = Error::NotATap { name, kind };
        findings
            .0
            .push(Finding::from_error(SUBJECT, Some(name), &error));
        return;
    };
    access(findings, host, link, info);
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
    findings.ok(
        SUBJECT,
        format!(
            "{name} is {persistent}, {queues}; its queueing discipline is {}",
            link.qdisc
        ),
    );
    holders(findings, host, link, info);
    attached(findings, host, link);
    if host.tap_lacks_mac {
        let bridge = host.tap_master.unwrap_or(host.context.bridge_name);
        let (of, fix) = match host.context.lock_mac {
            Some(mac) => (format!(" of {mac}"), fix(host, name)),
            None => {
                let advice = format!(
                    "sudo qemu-ifup --bridge {} --lock-mac MAC {}, with the guest's MAC",
                    ShellQuoted(bridge.as_bytes()),
                    ShellQuoted(name.as_bytes())
                );
                (String::new(), Fix::Advice(advice))
            }
        };
        let message = format!(
            "{name} is locked and has no static entry{of}: {bridge} drops all that its guest sends"
        );
        findings.problem(ExitCode::Tap, SUBJECT, message, fix);
    }
    let mut warn = |message| findings.warn(ExitCode::Tap, SUBJECT, message, fix(host, name));
    if let Some(bridge) = &host.bridge
        && link.mtu != bridge.mtu
        && host.context.mtu != Some(link.mtu)
    {
        warn(format!(
            "{name} has MTU {}, the bridge {}",
            link.mtu, bridge.mtu
        ));
    }
    if host.tap_has_address {
        warn(format!(
            "{name} has an address of its own: the host answers the guest on it"
        ));
    } else if link
        .addr_gen_mode
        .is_some_and(|mode| mode != AddrGenMode::None)
    {
        warn(format!(
            "{name} will give itself an IPv6 address when it has a carrier"
        ));
    }
}

/// Which program has it open.
fn holders(findings: &mut Findings, host: &HostSnapshot, link: &Link, info: &TapInfo) {
    let name = link.name;
    let quoted = ShellQuoted(name.as_bytes());
    for holder in &host.holders {
        let is_stranger = host.holders.len() > 1
            && holder.uid != 0
            && info.owner.is_some_and(|owner| owner != holder.uid);
        if is_stranger {
            findings.warn(
                ExitCode::Tap,
                SUBJECT,
                format!(
                    "{name} is also open in {holder} of uid {}, whose tap it is not: it gets some of the guest's frames",
                    holder.uid
                ),
                Fix::Advice(format!("find out what that is, before its guest goes on: ps -fp {}", holder.pid)),
            );
        } else {
            findings.ok(
                SUBJECT,
                format!("{name} is in use by {holder}; another QEMU takes another ifname="),
            );
        }
    }
    match link.is_open() {
        // Root sees all that are here.
        true if host.holders.is_empty() && host.context.uid == 0 => findings.ok(
            SUBJECT,
            format!("{name} is in use by a program of another network namespace"),
        ),
        true if host.holders.is_empty() => findings.ok(
            SUBJECT,
            format!("{name} is in use by a program that you may not see; sudo qemu-ifup --check {quoted} names it"),
        ),
        false if host.holders.is_empty() && info.persistent => findings.ok(
            SUBJECT,
            host.for_reader(&format!(
                "{name} is open in no program, so it has no carrier: if it is left over, sudo qemu-ifdown --delete {quoted}"
            )),
        ),
        false if host.holders.is_empty() => {
            findings.ok(SUBJECT, format!("{name} has no carrier"));
        }
        true | false => {}
    }
}

/// Which bridge it is in.
fn attached(findings: &mut Findings, host: &HostSnapshot, link: &Link) {
    let (name, bridge) = (link.name, host.context.bridge_name);
    let again = again(host, name);
    let port = link.port.unwrap_or_default();
    // Without a carrier, or where the bridge is down, no port is open.
    let bridge_up = host.bridge.as_ref().filter(|bridge| bridge.up);
    let info = bridge_up.and_then(Link::bridge);
    let is_shut = link.up
        && link.carrier
        && info.is_some_and(|bridge| bridge.stp_enabled)
        && port.state == PortState::Disabled
        && port.options.is_on(PortOption::Guard);
    let lacks = host.context.port.differing_from(port.options);
    let (message, fix) = match host.tap_master {
        Some(master) if master == bridge && is_shut => {
            let down = format!("sudo ip link set dev {} down", ShellQuoted(name.as_bytes()));
            let then = if host.context.has_options {
                ", then"
            } else {
                " &&"
            };
            (
                format!("{name} is shut: its guest sent a BPDU, and its port has --guard"),
                Fix::Advice(format!("{down}{then} {again} opens it again")),
            )
        }
        Some(master) if master == bridge && link.up && lacks.is_empty() => {
            let options = port.options.differing_from(PortOptions::of_new_port());
            let options = if options.is_empty() {
                String::new()
            } else {
                format!(", with {options}")
            };
            return findings.ok(SUBJECT, format!("{name} is up on {bridge}{options}"));
        }
        Some(master) if master == bridge && link.up => (
            format!("{name} is up on {bridge}, but not with {lacks}"),
            if link.is_open() && !host.context.has_options {
                Fix::Advice(format!("{again}, also for the guest that runs now"))
            } else {
                fix(host, name)
            },
        ),
        Some(master) if master == bridge => (format!("{name} is down"), fix(host, name)),
        // Its guest may well be where it should be.
        Some(master) if link.is_open() => (
            format!("{name} is a port of {master}, not of {bridge}"),
            Fix::Advice(format!(
                "qemu-ifup --check --bridge {} {} looks at that one; {again} moves its guest",
                ShellQuoted(master.as_bytes()),
                ShellQuoted(name.as_bytes())
            )),
        ),
        Some(master) => (
            format!("{name} is a port of {master}, not of {bridge}"),
            fix(host, name),
        ),
        // That the bridge is missing is said already.
        None if host.bridge.is_none() => {
            return findings.ok(SUBJECT, format!("{name} is in no bridge yet"));
        }
        None => (format!("{name} is in no bridge"), fix(host, name)),
    };
    findings.warn(ExitCode::Tap, SUBJECT, message, fix);
}

fn access(findings: &mut Findings, host: &HostSnapshot, link: &Link, info: &TapInfo) {
    let name: IfName = link.name;
    match (info.owner, info.group) {
        (Some(uid), None) => findings.ok(SUBJECT, format!("{name} belongs to uid {uid}")),
        (None, Some(gid)) => findings.ok(SUBJECT, format!("{name} is for gid {gid}")),
        (Some(uid), Some(gid)) => findings.ok(
            SUBJECT,
            format!("{name} belongs to uid {uid}, who must also be in gid {gid}"),
        ),
        // As libvirt has it: nobody can open it beside its program, and it goes with that.
        (None, None) if link.is_open() && !info.multi_queue && !info.persistent => {
            findings.ok(SUBJECT, format!("{name} has no owner, and needs none"));
        }
        (None, None) => findings.warn(
            ExitCode::Tap,
            SUBJECT,
            format!("{name} has no owner: whoever can open /dev/net/tun can open it"),
            if link.is_open() {
                Fix::Advice(format!(
                    "only the program that has it open can give it one; when that has ended: {}",
                    again(host, name)
                ))
            } else {
                fix(host, name)
            },
        ),
    }
}
