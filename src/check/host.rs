//! The caller, /dev/net/tun, root's files, the kernel's settings, and other programs.

use std::os::unix::ffi::OsStrExt;

use crate::check::finding::Findings;
use crate::check::id::Id;
use crate::check::snapshot::{BridgeDetails, Snapshot};
use crate::config::acl::{ACL_FILE, Verdict};
use crate::config::conf::CONF_FILE;
use crate::error::advice::{Advice, Command};
use crate::error::{Error, StepKind};
use crate::escape::{Escaped, ShellQuoted};
use crate::model::if_name::IfName;
use crate::model::link::Link;
use crate::model::state::InterfaceManager;
use crate::policy::caller::Authority;
use crate::sys::error::strerror;

pub(super) fn privilege(findings: &mut Findings, seen: &Snapshot<'_>) {
    let caller = &seen.host.context.caller;
    let uid = caller.real_uid();
    match (caller.authority(), caller.has_net_admin()) {
        (Authority::Root, true) => {
            findings.add(Id::Root, "root, with CAP_NET_ADMIN");
        }
        (Authority::Delegated, _) => {
            let message = format!("uid {uid}, with CAP_NET_ADMIN (not as root: the ACL applies)");
            findings.add(Id::FileCapability, message);
        }
        (Authority::Root, false) => findings
            .add(
                Id::RootWithoutNetAdmin,
                "root, but without CAP_NET_ADMIN (probably in a container)",
            )
            .advise([Advice::text(
                "give the container that capability: --cap-add NET_ADMIN",
            )]),
        // Then there is nothing left to do for qemu-ifup.
        (Authority::None, _) if is_prepared(seen) => {
            let message = format!(
                "uid {uid}, without CAP_NET_ADMIN. The tap is ready: this user's QEMU can open it"
            );
            findings.add(Id::TapPrepared, message);
        }
        (Authority::None, _) => {
            let error = Error::MissingCapNetAdmin(caller.withheld());
            let message = match caller.withheld() {
                Some(_) => error.to_string(),
                None => format!("uid {uid}, without CAP_NET_ADMIN"),
            };
            findings.add(Id::NoNetAdmin, message).advise(error.hints());
        }
    }
}

/// Whether the tap is the caller's, and up on the bridge.
fn is_prepared(seen: &Snapshot<'_>) -> bool {
    let is_up = seen.tap.as_ref().is_some_and(|tap| tap.up);
    is_up && seen.is_callers_tap() && seen.tap_master == Some(seen.bridge.name)
}

pub(super) fn tun(findings: &mut Findings, seen: &Snapshot<'_>) {
    match seen.host.tun {
        Ok(()) => {
            findings.add(Id::TunUsable, "can be opened");
        }
        Err(errno) => {
            let error = Error::step(StepKind::OpenTun, "open it", errno);
            findings
                .add(Id::TunUnusable, strerror(errno))
                .advise(error.hints());
        }
    }
}

/// Only vhost=on needs it, so there is no warning without it.
pub(super) fn vhost(findings: &mut Findings, seen: &Snapshot<'_>) {
    match seen.host.vhost_net {
        Ok(()) => findings.add(
            Id::VhostUsable,
            "/dev/vhost-net can be opened: QEMU can use vhost=on",
        ),
        Err(errno) => findings.add(
            Id::VhostUnusable,
            format!(
                "/dev/vhost-net cannot be opened ({}): do not use vhost=on (it is optional)",
                strerror(errno)
            ),
        ),
    };
}

pub(super) fn files(findings: &mut Findings, seen: &Snapshot<'_>) {
    let bridge = seen.bridge.name;
    match &seen.conf {
        Ok(conf) => {
            for (line, text) in &conf.lines {
                findings.add(Id::ConfLine, format!("{CONF_FILE}:{line} matches: {text}"));
            }
            let from = match (seen.host.context.asked.bridge, conf.options.bridge) {
                (Some(_), _) => "from the command line or from the program's name".to_owned(),
                (None, Some(_)) => format!("from {CONF_FILE}"),
                (None, None) => "default".to_owned(),
            };
            findings.add(Id::ConfBridge, format!("the bridge is {bridge} ({from})"));
        }
        Err(error) => findings.error(Id::ConfInvalid, error),
    }
    match (&seen.host.context.acl, seen.host.context.caller.authority()) {
        (Err(error), _) => findings.error(Id::AclInvalid, error),
        (Ok(_), Authority::Root) => {
            findings.add(Id::AclNotChecked, "does not apply to root");
        }
        (Ok(_), Authority::None) => {
            let message = "not checked: without CAP_NET_ADMIN it does not matter";
            findings.add(Id::AclNotChecked, message);
        }
        (Ok(_), Authority::Delegated) => acl(findings, seen.verdict(), bridge),
    }
}

fn acl(findings: &mut Findings, verdict: Option<Verdict>, bridge: IfName) {
    let rule = [b"allow ", bridge.as_bytes()].concat();
    let add = Command::append(&rule, ACL_FILE);
    let permit = |command| {
        let text = "to permit users to attach to this bridge, root runs";
        [Advice::run(text, command)]
    };
    match verdict {
        Some(Verdict::Allowed) => {
            findings.add(Id::AclAllows, format!("{ACL_FILE} allows {bridge}"));
        }
        Some(Verdict::Denied(location)) => findings
            .add(Id::AclDenies, format!("{location} denies {bridge}"))
            .advise([Advice::text(
                "use another bridge, or ask root to delete that line",
            )]),
        Some(Verdict::NotAllowed) => findings
            .add(
                Id::AclSilent,
                format!("no line of {ACL_FILE} allows {bridge}"),
            )
            .advise(permit(add)),
        None => findings
            .add(Id::AclMissing, format!("there is no {ACL_FILE}"))
            .advise(permit(Command::root("mkdir -p /etc/qemu").and(add))),
    }
}

/// QEMU's own bridge helper reads the same ACL, and not the configuration: users can bypass the lines that bind them.
pub(super) fn helper(findings: &mut Findings, seen: &Snapshot<'_>) {
    let binds_users = seen.conf.as_ref().is_ok_and(|conf| conf.binds_users);
    let (true, Some((path, is_set_user_id))) = (binds_users, &seen.host.privileged_helper) else {
        return;
    };
    let path = path.as_os_str().as_bytes();
    let (has, ends) = if *is_set_user_id {
        ("a set-user-ID bit", "chmod u-s")
    } else {
        ("file capabilities", "setcap -r")
    };
    findings
        .add(
            Id::HelperPrivileged,
            format!(
                "{} has {has} and ignores {CONF_FILE}: users can bypass the lines of that file",
                Escaped(path)
            ),
        )
        .fix(Command::root(format!("{ends} {}", ShellQuoted(path))));
}

/// Which firewall the frames on the bridge pass through.
pub(super) fn firewall(findings: &mut Findings, seen: &Snapshot<'_>) {
    let info = seen.bridge.link.as_ref().and_then(Link::bridge);
    let own = info.map(|info| info.nf_call).unwrap_or_default();
    let settings = &seen.host.sysctls;
    let has_docker = seen.host.bridges.contains(&IfName::DOCKER_BRIDGE);
    let bridge = seen.bridge.name;
    let bridge = ShellQuoted(bridge.as_bytes());
    let (mut harmless, mut drops) = (Vec::new(), Vec::new());
    let (mut accept, mut bypass) = (Vec::new(), Vec::new());
    let tools = ["iptables", "ip6tables", "arptables"].into_iter();
    for (((tool, all), own), filters) in
        tools.zip(settings.bridge_nf).zip(own).zip(settings.filters)
    {
        if !settings.br_netfilter || !all && !own {
            continue;
        }
        let may_drop = filters || has_docker && tool != "arptables";
        if !may_drop {
            harmless.push(tool);
            continue;
        }
        drops.push(tool);
        accept.push(Command::root(format!(
            "{tool} -I FORWARD -i {bridge} -o {bridge} -j ACCEPT"
        )));
        if all {
            bypass.push(Command::root(format!(
                "sysctl net.bridge.bridge-nf-call-{tool}=0"
            )));
        }
        if own {
            bypass.push(Command::root(format!(
                "ip link set dev {bridge} type bridge nf_call_{tool} 0"
            )));
        }
    }
    if let Some(first) = drops.first() {
        let show = Command::root(format!("{first} -nL FORWARD"));
        let all = |commands: Vec<Command>| commands.into_iter().reduce(Command::and);
        let accept = all(accept).map(|accept| {
            let text = "to accept the frames until the next boot, run";
            Advice::run(text, accept)
        });
        let bypass = all(bypass).map(|bypass| {
            let text = "to bypass the firewall for all bridged frames until the next boot (this \
                        breaks Kubernetes services and Docker's container isolation), run";
            Advice::run(text, bypass)
        });
        let show = Advice::run("to show the rules, run", show);
        findings
            .add(
                Id::FirewallRules,
                format!(
                    "bridged frames pass through {}, and rules (for example Docker's) may drop \
                     them",
                    drops.join(" and ")
                ),
            )
            .advise([show].into_iter().chain(accept).chain(bypass));
    } else if harmless.is_empty() {
        findings.add(Id::FirewallBypassed, "bridged frames bypass the firewall");
    } else {
        let message = format!(
            "bridged frames pass through {}, where no rules were found",
            harmless.join(" and ")
        );
        findings.add(Id::FirewallEmpty, message);
    }
}

pub(super) fn forwarding(findings: &mut Findings, seen: &Snapshot<'_>) {
    let uplink = seen.bridge.details.as_ref().and_then(BridgeDetails::uplink);
    match seen.host.sysctls.ip_forward {
        // Then another machine forwards.
        Some(false) if uplink.is_some() => {}
        // A network of guests and host alone is as good as any.
        Some(false) => findings
            .add(
                Id::ForwardingOff,
                "IPv4 forwarding is off: guests can reach only this host",
            )
            .advise([Advice::run(
                "to turn on forwarding, run",
                Command::root("sysctl net.ipv4.ip_forward=1"),
            )]),
        Some(true) => {
            findings.add(Id::ForwardingOn, "IPv4 forwarding is on");
        }
        None => {}
    }
    if let (Some(uplink), true) = (uplink, seen.host.is_guest) {
        let name = uplink.name;
        findings
            .add(
                Id::VirtualMachine,
                format!(
                    "this host is a virtual machine. If its hypervisor accepts only this host's \
                     MAC, guests cannot reach the network beyond {name}"
                ),
            )
            .of(name);
    }
}

pub(super) fn managers(findings: &mut Findings, seen: &Snapshot<'_>) {
    let tap = seen.tap.as_ref();
    let tap = tap.map_or(IfName::EXAMPLE_TAP, |tap| tap.name);
    let quoted = ShellQuoted(tap.as_bytes());
    for &(manager, told) in &seen.managed {
        let name = match manager {
            InterfaceManager::NetworkManager => "NetworkManager",
            InterfaceManager::Networkd => "systemd-networkd",
            InterfaceManager::Dhcpcd => "dhcpcd",
        };
        let manages = match manager {
            // It does not tell, but a tap has no other reason to have an address.
            InterfaceManager::Dhcpcd => seen.tap_has_address.then_some(true).or(told),
            InterfaceManager::NetworkManager | InterfaceManager::Networkd => told,
        };
        match manages {
            Some(true) => {
                let message = format!("{name} is running and may configure {tap}");
                findings.add(Id::ManagerManagesTap, message);
            }
            Some(false) => {
                let message = format!("{name} is running and does not manage {tap}");
                findings.add(Id::ManagerIgnoresTap, message);
                continue;
            }
            None => {
                findings.add(Id::ManagerRunning, format!("{name} is running"));
                continue;
            }
        }
        match manager {
            InterfaceManager::NetworkManager => {
                let command = format!("nmcli device set {quoted} managed no");
                findings.fix(Command::root(command));
            }
            InterfaceManager::Networkd => {
                let lines = format!("[Match]\\nName={tap}\\n[Link]\\nUnmanaged=yes\\n");
                let file = format!("/etc/systemd/network/05-qemu-ifup-{quoted}.network");
                findings.fix(
                    Command::plain(format!("printf {}", ShellQuoted(lines.as_bytes())))
                        .pipe_root(format!("tee {file}"))
                        .and(Command::root("networkctl reload")),
                );
            }
            InterfaceManager::Dhcpcd => findings.advise([Advice::text(format!(
                "add the line 'denyinterfaces {tap}' to /etc/dhcpcd.conf and restart dhcpcd"
            ))]),
        }
    }
}

/// libvirt runs qemu-ifup as its script, or session mode's bridge helper.
pub(super) fn apparmor(findings: &mut Findings, seen: &Snapshot<'_>) {
    let Some(program) = &seen.host.denied_by_apparmor else {
        return;
    };
    let program = Escaped(program.as_os_str().as_bytes());
    findings
        .add(
            Id::ApparmorDenies,
            format!(
                "AppArmor does not permit libvirtd to run {program}, so <script path=...> fails"
            ),
        )
        .advise([Advice::run(
            format!(
                "add the line '{program} PUx,' and the same line for qemu-ifdown to \
                 /etc/apparmor.d/local/usr.sbin.libvirtd, then run"
            ),
            Command::root("systemctl reload apparmor"),
        )]);
}
