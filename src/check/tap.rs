//! The tap.

use crate::check::finding::Findings;
use crate::check::id::Id;
use crate::check::snapshot::Snapshot;
use crate::error::Error;
use crate::error::advice::{Advice, Command};
use crate::escape::ShellQuoted;
use crate::model::bridge::{PortOption, PortOptions, PortState};
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, Link, LinkKind, TapInfo};

/// The command that makes the tap what it should be. None if the options of this call are needed for that.
fn again(seen: &Snapshot<'_>, name: IfName) -> Option<Command> {
    let bridge = seen.bridge.name;
    let bridge = ShellQuoted(bridge.as_bytes());
    let name = ShellQuoted(name.as_bytes());
    let command = format!("qemu-ifup --bridge {bridge} {name}");
    (!seen.has_options()).then(|| Command::root(command))
}

const SAME_COMMAND: &str = "run the same command without --check";

/// The same as what fixes the last finding.
fn fix(findings: &mut Findings, seen: &Snapshot<'_>, name: IfName) {
    match again(seen, name) {
        Some(command) => findings.fix(command),
        None => findings.advise([Advice::text(SAME_COMMAND)]),
    }
}

/// The same where somebody has to decide: the text says what it does.
fn advise(findings: &mut Findings, seen: &Snapshot<'_>, name: IfName, text: &str) {
    findings.advise([match again(seen, name) {
        Some(command) => Advice::run(format!("{text}, run"), command),
        None => Advice::text(format!("{text}, {SAME_COMMAND}")),
    }]);
}

pub(super) fn tap(findings: &mut Findings, seen: &Snapshot<'_>) {
    let Some(name) = seen.name else {
        return;
    };
    let Some(link) = &seen.tap else {
        let message = format!("{name} does not exist and will be created");
        findings.add(Id::TapWillBeCreated, message);
        return;
    };
    let LinkKind::Tap(info) = &link.kind else {
        let kind = link.kind.clone();
        return findings.error(Id::NotATap, &Error::NotATap { name, kind });
    };
    access(findings, seen, link, info);
    let persistent = if info.persistent {
        "persistent"
    } else {
        "not persistent"
    };
    let queues = if info.multi_queue {
        "multi-queue (start QEMU with queues=N, N > 1)"
    } else {
        "single-queue (do not start QEMU with queues=N)"
    };
    findings.add(
        Id::TapQueues,
        format!("{name} is {persistent} and {queues}; qdisc {}", link.qdisc),
    );
    holders(findings, seen, link, info);
    attached(findings, seen, link);
    if seen.tap_lacks_mac {
        lacks_mac(findings, seen, name);
    }
    if let Some(bridge) = &seen.bridge.link
        && link.mtu != bridge.mtu
        && seen.options.mtu != Some(link.mtu)
    {
        let message = format!(
            "{name} has MTU {}, but the bridge has MTU {}",
            link.mtu, bridge.mtu
        );
        findings.add(Id::TapMtu, message);
        fix(findings, seen, name);
    }
    let makes_address = |mode| mode != AddrGenMode::None;
    if seen.tap_has_address {
        let message = format!(
            "{name} has a link-local IP address, so the guest can reach the host directly on \
             {name}"
        );
        findings.add(Id::TapAddress, message);
        fix(findings, seen, name);
    } else if link.addr_gen_mode.is_some_and(makes_address) {
        let message = format!("{name} will get an IPv6 link-local address when it has a carrier");
        findings.add(Id::TapIpv6, message);
        fix(findings, seen, name);
    }
}

fn lacks_mac(findings: &mut Findings, seen: &Snapshot<'_>, name: IfName) {
    let bridge = seen.tap_master.unwrap_or(seen.bridge.name);
    let lock_mac = seen.lock_mac();
    let of = lock_mac.map_or(String::new(), |mac| format!(" for {mac}"));
    findings.add(
        Id::TapMacNotAllowed,
        format!(
            "{name} is locked, but {bridge} has no static fdb entry{of}: {bridge} drops \
             everything that the guest sends"
        ),
    );
    if lock_mac.is_some() {
        return fix(findings, seen, name);
    }
    let command = format!(
        "qemu-ifup --bridge {} --lock-mac MAC {}",
        ShellQuoted(bridge.as_bytes()),
        ShellQuoted(name.as_bytes())
    );
    findings.advise([Advice::run(
        "replace MAC with the guest's MAC and run",
        Command::root(command),
    )]);
}

/// Which program uses it.
fn holders(findings: &mut Findings, seen: &Snapshot<'_>, link: &Link, info: &TapInfo) {
    let name = link.name;
    for holder in &seen.holders {
        let is_stranger = seen.holders.len() > 1
            && holder.uid != 0
            && info.owner.is_some_and(|owner| owner != holder.uid);
        if is_stranger {
            findings
                .add(
                    Id::TapShared,
                    format!(
                        "{name} is also in use by {holder} (uid {}), who is not the owner: this \
                         program receives some of the guest's frames",
                        holder.uid
                    ),
                )
                .advise([Advice::run(
                    "before you go on using the guest, find out what this program is",
                    Command::plain(format!("ps -fp {}", holder.pid)),
                )]);
        } else {
            let message = format!(
                "{name} is in use by {holder}. For another QEMU, use another tap (ifname=)"
            );
            findings.add(Id::TapInUse, message);
        }
    }
    if !seen.holders.is_empty() {
        return;
    }
    // Root sees all that are here.
    if link.is_open() && seen.host.context.caller.real_uid() == 0 {
        let message = format!("{name} is in use by a program in another network namespace");
        findings.add(Id::TapInUse, message);
    } else if link.is_open() {
        let command = format!("qemu-ifup --check -v {}", ShellQuoted(name.as_bytes()));
        findings
            .add(
                Id::TapInUse,
                format!("{name} is in use by a program of another user"),
            )
            .advise([Advice::run("to see which, run", Command::root(command))]);
    } else if info.persistent {
        findings
            .add(
                Id::TapNotInUse,
                format!("{name} is not in use, so it has no carrier"),
            )
            .advise([Advice::run(
                format!("if you no longer need {name}, run"),
                Command::delete(name, info.access()),
            )]);
    } else {
        findings.add(Id::TapNotInUse, format!("{name} has no carrier"));
    }
}

/// Which bridge it is attached to.
fn attached(findings: &mut Findings, seen: &Snapshot<'_>, link: &Link) {
    let (name, bridge) = (link.name, seen.bridge.name);
    let port = link.port.unwrap_or_default();
    let Some(master) = seen.tap_master else {
        // That the bridge is missing is another finding.
        if seen.bridge.link.is_none() {
            let message = format!("{name} is not attached to a bridge yet");
            findings.add(Id::TapNotAttachedYet, message);
            return;
        }
        let message = format!("{name} is not attached to a bridge");
        findings.add(Id::TapNotAttached, message);
        return fix(findings, seen, name);
    };
    if master != bridge {
        let message = format!("{name} is attached to {master}, not to {bridge}");
        findings.add(Id::TapOnOtherBridge, message);
        if !link.is_open() {
            return fix(findings, seen, name);
        }
        // Its guest may well be where it should be.
        findings.advise([Advice::run(
            format!("to check {name} on {master}, run"),
            Command::plain(format!(
                "qemu-ifup --check --bridge {} {}",
                ShellQuoted(master.as_bytes()),
                ShellQuoted(name.as_bytes())
            )),
        )]);
        return advise(findings, seen, name, &format!("to move {name} to {bridge}"));
    }
    if !link.up {
        findings.add(Id::TapDown, format!("{name} is down"));
        return fix(findings, seen, name);
    }
    // Without a carrier, or if the bridge is down, no port forwards.
    let bridge_up = seen.bridge.link.as_ref().filter(|bridge| bridge.up);
    let info = bridge_up.and_then(Link::bridge);
    let is_disabled = link.carrier
        && info.is_some_and(|bridge| bridge.stp_enabled)
        && port.state == PortState::Disabled
        && port.options.is_on(PortOption::Guard);
    if is_disabled {
        findings.add(
            Id::TapDisabled,
            format!("port {name} is disabled: the guest sent a BPDU and --guard is on"),
        );
        let down = format!("ip link set dev {} down", ShellQuoted(name.as_bytes()));
        let down = Command::root(down);
        return findings.advise(match again(seen, name) {
            Some(again) => vec![Advice::run(
                "to enable the port again, run",
                down.and(again),
            )],
            None => vec![
                Advice::run("to enable the port again, first run", down),
                Advice::text(format!("then {SAME_COMMAND}")),
            ],
        });
    }
    let lacks = seen.port().differing_from(port.options);
    if lacks.is_empty() {
        let options = port.options.differing_from(PortOptions::of_new_port());
        let with = if options.is_empty() { "" } else { ", with " };
        let message = format!("{name} is up on {bridge}{with}{options}");
        findings.add(Id::TapUp, message);
        return;
    }
    findings.add(
        Id::TapPortOptions,
        format!("{name} is up on {bridge}, but its port options differ: expected {lacks}"),
    );
    if link.is_open() {
        let text = "to change the options, also for the running guest";
        advise(findings, seen, name, text);
    } else {
        fix(findings, seen, name);
    }
}

fn access(findings: &mut Findings, seen: &Snapshot<'_>, link: &Link, info: &TapInfo) {
    let name: IfName = link.name;
    let message = match (info.owner, info.group) {
        (Some(uid), None) => format!("{name}: owner uid {uid}"),
        (None, Some(gid)) => format!("{name}: group gid {gid}"),
        (Some(uid), Some(gid)) => {
            format!("{name}: owner uid {uid}, who must also be in group gid {gid}")
        }
        // As libvirt has it: no other program can open it, and the kernel deletes it with the program that uses it.
        (None, None) if link.is_open() && !info.multi_queue && !info.persistent => {
            findings.add(
                Id::TapNoOwnerNeeded,
                format!(
                    "{name} has no owner and does not need one (it is deleted with the program \
                     that uses it)"
                ),
            );
            return;
        }
        (None, None) => {
            findings.add(
                Id::TapNoOwner,
                format!(
                    "{name} has no owner: every user who can open /dev/net/tun can open {name}"
                ),
            );
            if link.is_open() {
                let text = format!(
                    "only the program that uses {name} can set an owner now. To set one after \
                     that program has ended"
                );
                advise(findings, seen, name, &text);
            } else {
                fix(findings, seen, name);
            }
            return;
        }
    };
    findings.add(Id::TapOwner, message);
}
