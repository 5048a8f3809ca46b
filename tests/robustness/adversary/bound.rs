//! What a configuration binds: no tap of a user's is up as a port without it, not even for a moment.

use super::fdb::Entry;
use super::net::Link;

/// The MAC that taps are locked to.
const LOCKED_TO: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

pub const ISOLATED: &str = "* --isolated\n";
pub const LOCK: &str = "* --lock-mac 52:54:00:12:34:56\n";
pub const FOUR: &str = "* --isolated --guard --no-learning --no-flood\n";
pub const FIVE: &str =
    "* --isolated --guard --no-learning --no-flood --lock-mac 52:54:00:12:34:56\n";

/// An option, and whether a port has it as bound.
type PortOption = (&'static str, fn(&Link) -> bool);

const OPTIONS: &[PortOption] = &[
    ("--isolated", |port| port.isolated),
    ("--guard", |port| port.guard),
    ("--no-learning", |port| !port.learning),
    ("--no-flood", |port| !port.flood),
    ("--lock-mac", |port| port.locked),
];

/// The options that a configuration has and this link lacks, if it is a tap that is up as a port.
pub fn lacks(conf: &str, link: &Link) -> Vec<&'static str> {
    if link.tun.is_none() || !link.up || link.master.is_none() {
        return Vec::new();
    }
    let bound = OPTIONS.iter().filter(|(option, _)| conf.contains(option));
    bound
        .filter(|(_, is_set)| !is_set(link))
        .map(|(option, _)| *option)
        .collect()
}

/// The same of the entry that belongs to a lock.
pub fn lacks_entry(conf: &str, link: &Link, entries: &[Entry]) -> bool {
    let entry = Entry {
        port: link.index,
        mac: LOCKED_TO,
    };
    let is_port = link.tun.is_some() && link.up && link.master.is_some();
    conf.contains("--lock-mac") && is_port && !entries.contains(&entry)
}
