//! The caller, /dev/net/tun, root's files, the kernel's settings, and other programs.

use crate::check::finding::{Findings, Level};
use crate::check::snapshot::HostSnapshot;
use crate::config::acl::{ACL_FILE, Verdict};
use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::escape::ShellQuoted;
use crate::model::if_name::IfName;
use crate::model::state::InterfaceManager;
use crate::policy::caller::Authority;

pub(super) fn privilege(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "privilege";
    match (host.context.authority, host.context.net_admin) {
        (Authority::Root, true) => findings.ok(subject, "root, with CAP_NET_ADMIN"),
        (Authority::Delegated, _) => findings.ok(
            subject,
            format!(
                "uid {}, with CAP_NET_ADMIN lent by the program's file",
                host.context.uid
            ),
        ),
        (Authority::Root, false) => findings.problem(
            ExitCode::NotPermitted,
            subject,
            "root, but without CAP_NET_ADMIN (a container?)",
            "give the container that capability: --cap-add NET_ADMIN",
        ),
        (Authority::None, _) => findings.problem(
            ExitCode::NotPermitted,
            subject,
            format!("uid {}, without CAP_NET_ADMIN", host.context.uid),
            "sudo qemu-ifup ..., or once: ./install.sh --setcap",
        ),
    }
}

pub(super) fn tun(findings: &mut Findings, host: &HostSnapshot) {
    let subject = "/dev/net/tun";
    match host.tun {
        Ok(()) => findings.ok(subject, "can be opened"),
        Err(errno) => {
            let error = Error::TunDevice(errno);
            let code = Level::Problem(error.exit_code());
            findings.add(code, subject, errno.desc().to_owned(), error.hint());
        }
    }
}

pub(super) fn files(findings: &mut Findings, host: &HostSnapshot) {
    match &host.context.conf {
        Ok(lines) => {
            for (line, text) in lines {
                findings.ok(
                    "configuration",
                    format!("{CONF_FILE}:{line} applies: {text}"),
                );
            }
            findings.ok(
                "configuration",
                format!(
                    "the bridge is {} ({})",
                    host.context.bridge_name, host.context.bridge_from
                ),
            );
        }
        Err(error) => findings.error("configuration", error),
    }
    let bridge = host.context.bridge_name;
    let rule = [b"allow ", bridge.as_bytes()].concat();
    let add = format!("echo {} >> {ACL_FILE}", ShellQuoted(&rule));
    match (&host.context.acl, host.context.authority) {
        (Err(error), _) => findings.error("ACL", error),
        (Ok(_), Authority::Root) => findings.ok("ACL", "does not bind root"),
        (Ok(_), Authority::None) => {
            findings.ok(
                "ACL",
                "not asked, since this program has no privilege to lend you",
            );
        }
        (Ok(Some(Verdict::Allowed)), Authority::Delegated) => {
            findings.ok("ACL", format!("{ACL_FILE} allows {bridge}"));
        }
        (Ok(Some(Verdict::Denied(location))), Authority::Delegated) => findings.problem(
            ExitCode::NotPermitted,
            "ACL",
            format!("{bridge} is denied by {location}"),
            "delete that line (as root), or use another bridge",
        ),
        (Ok(Some(Verdict::NotAllowed)), Authority::Delegated) => findings.problem(
            ExitCode::NotPermitted,
            "ACL",
            format!("no line of {ACL_FILE} allows {bridge}"),
            add,
        ),
        (Ok(None), Authority::Delegated) => findings.problem(
            ExitCode::NotPermitted,
            "ACL",
            format!("there is no {ACL_FILE}"),
            format!("mkdir -p /etc/qemu && {add}"),
        ),
    }
}

pub(super) fn sysctls(findings: &mut Findings, host: &HostSnapshot) {
    match host.sysctls.bridge_nf {
        Some(true) => findings.warn(
            "br_netfilter",
            "frames on bridges go through iptables, where Docker, for one, drops them (FORWARD)",
            "sysctl net.bridge.bridge-nf-call-iptables=0",
        ),
        Some(false) | None => {
            findings.ok("br_netfilter", "bridged frames do not go through iptables");
        }
    }
    match host.sysctls.ip_forward {
        // Then somebody else forwards.
        Some(false)
            if host
                .bridge_details
                .as_ref()
                .is_some_and(|bridge| bridge.uplink().is_some()) => {}
        Some(false) => findings.warn(
            "forwarding",
            "this host does not forward IPv4: guests reach it, and through it nothing",
            "sysctl net.ipv4.ip_forward=1",
        ),
        Some(true) => findings.ok("forwarding", "this host forwards IPv4"),
        None => {}
    }
}

pub(super) fn managers(findings: &mut Findings, host: &HostSnapshot) {
    for manager in &host.managers {
        let InterfaceManager { name, manages, fix } = *manager;
        if manages {
            let tap = host.context.tap.unwrap_or(IfName::EXAMPLE_TAP);
            let fix = fix.replace("IFNAME", &ShellQuoted(tap.as_bytes()).to_string());
            findings.warn(
                "managers",
                format!("{name} is running and may configure the tap"),
                fix,
            );
        } else {
            findings.ok(
                "managers",
                format!("{name} is running and leaves the tap alone"),
            );
        }
    }
}
