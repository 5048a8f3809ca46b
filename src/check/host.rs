//! The caller, /dev/net/tun, root's files, the kernel's settings, and other programs.

use std::os::unix::ffi::OsStrExt;

use crate::check::finding::{Findings, Fix, Level};
use crate::check::snapshot::{BridgeDetails, HostSnapshot};
use crate::config::acl::{ACL_FILE, Verdict};
use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::escape::{Escaped, ShellQuoted};
use crate::model::if_name::IfName;
use crate::model::link::Link;
use crate::model::state::InterfaceManager;
use crate::policy::caller::Authority;
use crate::sys::error::strerror;

pub(super) fn privilege(findings: &mut Findings, host: &HostSnapshot) {
    let (subject, uid) = ("privilege", host.context.uid);
    match (host.context.authority, host.context.net_admin) {
        (Authority::Root, true) => findings.ok(subject, "root, with CAP_NET_ADMIN"),
        (Authority::Delegated, _) => findings.ok(
            subject,
            format!("uid {uid}, with CAP_NET_ADMIN lent by the program's file"),
        ),
        (Authority::Root, false) => findings.problem(
            ExitCode::NotPermitted,
            subject,
            "root, but without CAP_NET_ADMIN (a container?)",
            Fix::Advice("give the container that capability: --cap-add NET_ADMIN".to_owned()),
        ),
        // Then there is nothing left to do for qemu-ifup.
        (Authority::None, _) if is_prepared(host) => findings.ok(
            subject,
            format!(
                "uid {uid}, without CAP_NET_ADMIN; the tap is ready for this user's QEMU"
            ),
        ),
        (Authority::None, _) if host.context.withheld.is_some() => {
            findings.error(subject, &Error::MissingCapNetAdmin(host.context.withheld));
        }
        (Authority::None, _) => findings.problem(
            ExitCode::NotPermitted,
            subject,
            format!("uid {uid}, without CAP_NET_ADMIN"),
            Fix::Advice("sudo qemu-ifup ..., or once: ./install.sh --setcap, or with a package what docs/packages.md has for it".to_owned()),
        ),
    }
}

/// Whether the tap is the caller's, and up on the bridge.
fn is_prepared(host: &HostSnapshot) -> bool {
    let is_up = host.tap.as_ref().is_some_and(|tap| tap.up);
    is_up && host.is_callers_tap() && host.tap_master == Some(host.context.bridge_name)
}

pub(super) fn tun(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "/dev/net/tun";
    match host.tun {
        Ok(()) => findings.ok(subject, "can be opened"),
        Err(errno) => {
            let error = Error::TunDevice(errno);
            let level = Level::Problem(error.exit_code());
            let fix = error.hint().map(Fix::Advice);
            findings.add(level, subject, strerror(errno), fix);
        }
    }
}

/// Only who wants vhost=on needs it, so that it is missing is nothing to be warned of.
pub(super) fn vhost(findings: &mut Findings, host: &HostSnapshot) {
    findings.ok(
        "vhost",
        match host.vhost_net {
            Ok(()) => "/dev/vhost-net can be opened: QEMU may use vhost=on".to_owned(),
            Err(errno) => format!(
                "/dev/vhost-net: {}: QEMU's vhost=on would fail, and is not needed",
                strerror(errno)
            ),
        },
    );
}

pub(super) fn files(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "configuration";
    let (bridge, from) = (host.context.bridge_name, host.context.bridge_from);
    match &host.context.conf {
        Ok(lines) => {
            for (line, text) in lines {
                findings.ok(subject, format!("{CONF_FILE}:{line} applies: {text}"));
            }
            findings.ok(subject, format!("the bridge is {bridge} ({from})"));
        }
        Err(error) => findings.error(subject, error),
    }
    let rule = [b"allow ", bridge.as_bytes()].concat();
    let add = format!("echo {} | sudo tee -a {ACL_FILE}", ShellQuoted(&rule));
    let advice = |command| format!("root decides which bridges users may use: {command}");
    let verdict = match (&host.context.acl, host.context.authority) {
        (Err(error), _) => return findings.error("ACL", error),
        (Ok(_), Authority::Root) => return findings.ok("ACL", "does not apply to root"),
        (Ok(_), Authority::None) => {
            let message = "not asked, since this program has no privilege to lend you";
            return findings.ok("ACL", message);
        }
        (Ok(verdict), Authority::Delegated) => verdict,
    };
    let (message, advice) = match verdict {
        Some(Verdict::Allowed) => {
            return findings.ok("ACL", format!("{ACL_FILE} allows {bridge}"));
        }
        Some(Verdict::Denied(location)) => (
            format!("{bridge} is denied by {location}"),
            "use another bridge; or root deletes that line".to_owned(),
        ),
        Some(Verdict::NotAllowed) => {
            let message = format!("no line of {ACL_FILE} allows {bridge}");
            (message, advice(add))
        }
        None => {
            let message = format!("there is no {ACL_FILE}");
            (message, advice(format!("sudo mkdir -p /etc/qemu && {add}")))
        }
    };
    let fix = Fix::Advice(advice);
    findings.problem(ExitCode::NotPermitted, "ACL", message, fix);
}

/// QEMU's own bridge helper reads the same ACL, and not the configuration: users get around the lines that bind them.
pub(super) fn helper(findings: &mut Findings, host: &HostSnapshot) {
    let (true, Some((path, is_set_user_id))) = (host.context.binds_users, &host.privileged_helper)
    else {
        return;
    };
    let path = path.as_os_str().as_bytes();
    let (has, ends) = if *is_set_user_id {
        ("a set-user-ID bit", "chmod u-s")
    } else {
        ("capabilities", "setcap -r")
    };
    findings.warn(
        ExitCode::NotPermitted,
        "helper",
        format!(
            "{} has {has} and ignores {CONF_FILE}: users get around its lines",
            Escaped(path)
        ),
        Fix::Command(format!("sudo {ends} {}", ShellQuoted(path))),
    );
}

/// What frames on the bridge go through besides it.
pub(super) fn firewall(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "br_netfilter";
    let info = host.bridge.as_ref().and_then(Link::bridge);
    let own = info.map(|info| info.nf_call).unwrap_or_default();
    let settings = &host.sysctls;
    let has_docker = host.bridges.contains(&IfName::DOCKER_BRIDGE);
    let bridge = ShellQuoted(host.context.bridge_name.as_bytes());
    let (mut harmless, mut drops) = (Vec::new(), Vec::new());
    let (mut accept, mut switch_off) = (Vec::new(), Vec::new());
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
        accept.push(format!(
            "sudo {tool} -I FORWARD -i {bridge} -o {bridge} -j ACCEPT"
        ));
        if all {
            switch_off.push(format!("sudo sysctl net.bridge.bridge-nf-call-{tool}=0"));
        }
        if own {
            switch_off.push(format!(
                "sudo ip link set dev {bridge} type bridge nf_call_{tool} 0"
            ));
        }
    }
    if let Some(first) = drops.first() {
        let message = format!(
            "bridged frames go through {}, where a rule may drop them, as Docker's do",
            drops.join(" and ")
        );
        let advice = format!(
            "sudo {first} -nL FORWARD shows the rules; to let the frames pass: {}; to take them out of the firewall, which breaks Kubernetes' services and Docker's isolation of containers: {}; both last until the next boot",
            accept.join(" && "),
            switch_off.join(" && ")
        );
        findings.warn(ExitCode::Bridge, subject, message, Fix::Advice(advice));
    } else if harmless.is_empty() {
        findings.ok(subject, "bridged frames go through no firewall");
    } else {
        let harmless = harmless.join(" and ");
        findings.ok(
            subject,
            format!("bridged frames go through {harmless}, where no rules were found"),
        );
    }
}

pub(super) fn forwarding(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "forwarding";
    let uplink = host.bridge_details.as_ref().and_then(BridgeDetails::uplink);
    match host.sysctls.ip_forward {
        // Then somebody else forwards.
        Some(false) if uplink.is_some() => {}
        // A network of guests and host alone is as good as any.
        Some(false) => findings.ok(
            subject,
            host.for_reader("this host does not forward IPv4: guests reach the host and nothing beyond it, until sudo sysctl net.ipv4.ip_forward=1"),
        ),
        Some(true) => findings.ok(subject, "this host forwards IPv4"),
        None => {}
    }
    if let (Some(uplink), true) = (uplink, host.is_guest) {
        findings.ok(
            subject,
            format!(
                "this host is itself a guest: if its hypervisor lets only its own MAC pass, guests do not get beyond {}",
                uplink.name
            ),
        );
    }
}

pub(super) fn managers(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "managers";
    let tap = host.tap.as_ref();
    let tap = tap.map_or(IfName::EXAMPLE_TAP, |tap| tap.name);
    let quoted = ShellQuoted(tap.as_bytes());
    for &(manager, told) in &host.managers {
        let (name, manages, fix) = match manager {
            InterfaceManager::NetworkManager => {
                let command = format!("sudo nmcli device set {quoted} managed no");
                ("NetworkManager", told, Fix::Command(command))
            }
            InterfaceManager::Networkd => {
                let lines = format!("[Match]\\nName={tap}\\n[Link]\\nUnmanaged=yes\\n");
                let command = format!(
                    "printf {} | sudo tee /etc/systemd/network/05-qemu-ifup-{quoted}.network && sudo networkctl reload",
                    ShellQuoted(lines.as_bytes())
                );
                ("systemd-networkd", told, Fix::Command(command))
            }
            InterfaceManager::Dhcpcd => {
                // It does not tell, but a tap has no other reason to have an address.
                let manages = host.tap_has_address.then_some(true).or(told);
                let advice = format!(
                    "the line 'denyinterfaces {tap}' in /etc/dhcpcd.conf, from its next start on"
                );
                ("dhcpcd", manages, Fix::Advice(advice))
            }
        };
        match manages {
            Some(true) => findings.warn(
                ExitCode::Tap,
                subject,
                format!("{name} is running and may configure {tap}"),
                fix,
            ),
            Some(false) => {
                findings.ok(subject, format!("{name} is running and leaves {tap} alone"));
            }
            None => findings.ok(subject, format!("{name} is running")),
        }
    }
}

/// libvirt runs qemu-ifup as its script, or session mode's bridge helper.
pub(super) fn apparmor(findings: &mut Findings, host: &HostSnapshot) {
    let Some(program) = &host.denied_by_apparmor else {
        return;
    };
    let program = Escaped(program.as_os_str().as_bytes());
    findings.warn(
        ExitCode::NotPermitted,
        "libvirt",
        format!("AppArmor does not let libvirtd run {program}, as <script> would"),
        Fix::Advice(format!(
            "the line '{program} PUx,' in /etc/apparmor.d/local/usr.sbin.libvirtd, one such for qemu-ifdown, and then sudo systemctl reload apparmor"
        )),
    );
}
