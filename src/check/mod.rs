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
use crate::check::snapshot::Snapshot;

/// Everything that is worth a line, in the order in which a guest depends on it.
pub(crate) fn diagnose(seen: &Snapshot<'_>) -> Vec<Finding> {
    let mut findings = Findings::new(seen.bridge.name, seen.name);
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
        look(&mut findings, seen);
    }
    findings.into_vec()
}

#[cfg(test)]
mod tests;
