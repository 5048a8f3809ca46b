//! The one line after a successful qemu-ifup: why the guest will have no network all the same.

use crate::escape::ShellQuoted;
use crate::model::bridge::PortState;
use crate::policy::authorize::AuthorizedUp;
use crate::policy::bridge::TargetBridge;
use crate::policy::tap::ExistingTap;

/// Why the guest will certainly have no network although all went well, if so; `docker_drops` says whether Docker drops what
/// bridges forward.
pub fn warning(auth: &AuthorizedUp, docker_drops: bool) -> Option<String> {
    let TargetBridge { link, info, up, .. } = &auth.bridge;
    let (name, quoted) = (link.name, ShellQuoted(link.name.as_bytes()));
    if !up {
        let fix = format!("sudo ip link set dev {quoted} up");
        return Some(format!("warning: {name} is down, no frame passes: {fix}"));
    }
    let forwards = |tap: &ExistingTap| {
        let port = tap.link.port;
        tap.link.is_open()
            && tap.link.master == Some(link.index)
            && port.is_some_and(|port| port.state == PortState::Forwarding)
    };
    if info.stp_enabled && auth.spec.wait.is_none() && !auth.tap().is_some_and(forwards) {
        let seconds = info.forwarding_delay_secs();
        return Some(format!(
            "warning: {name} has STP, so the guest has no network for {seconds} s; QEMU can wait for it (--wait {}), or: qemu-ifup --check --bridge {quoted}",
            seconds + 5
        ));
    }
    docker_drops.then(|| {
        format!(
            "warning: frames on {name} go through iptables, where Docker drops them unless a rule lets them pass: sudo iptables -I FORWARD -i {quoted} -o {quoted} -j ACCEPT (until the next boot)"
        )
    })
}
