//! `--check`: what is wrong with this host, the bridge or the tap, and the command that fixes it. [`collect`] asks the system;
//! the rest is pure: a snapshot comes in, findings go out.

mod bridge;
pub(crate) mod collect;
pub(crate) mod finding;
mod host;
pub(crate) mod id;
pub(crate) mod output;
pub(crate) mod snapshot;
mod tap;

use crate::check::finding::{Finding, Findings};
use crate::check::snapshot::HostSnapshot;

/// Everything that is worth a line, in the order in which a guest depends on it.
pub(crate) fn diagnose(host: &HostSnapshot) -> Vec<Finding> {
    let mut findings = Findings::new(host.context.bridge(), host.context.tap);
    for look in [
        host::privilege,
        host::tun,
        host::vhost,
        host::files,
        host::helper,
        bridge::bridge,
        host::firewall,
        host::forwarding,
        tap::tap,
        host::managers,
        host::apparmor,
    ] {
        look(&mut findings, host);
    }
    findings.into_vec()
}

#[cfg(test)]
mod tests;
