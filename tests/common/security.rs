//! What a guest can do to others, as SECURITY.md has it, and what the tests of it send.

use std::fs;

pub type Mac = [u8; 6];

/// The attacker's own MAC.
pub const EVIL: Mac = [0x52, 0x54, 0, 0, 0, 1];
/// Where BPDUs go.
const BRIDGES: Mac = [0x01, 0x80, 0xc2, 0, 0, 0];

/// The one attack for which it takes a guest's kernel, in the words of the table: in a network namespace of its own a bridge
/// takes no BPDUs.
pub const TO_BE_ROOT: &str = "become the root of a bridge with STP";

pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

pub fn frame(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// A configuration BPDU of a bridge with the highest priority (IEEE 802.1D): it is the root.
pub fn bpdu() -> Vec<u8> {
    let id = [&[0, 0][..], &EVIL].concat();
    let times = [0, 0, 20, 0, 2, 0, 2, 0];
    let body = [
        &[0x42, 0x42, 3, 0, 0, 0, 0, 0][..],
        &id,
        &[0; 4],
        &id,
        &[0x80, 1],
        &times,
    ]
    .concat();
    // Its length in the place of a type.
    frame(BRIDGES, EVIL, 38, &body)
}

/// The section of SECURITY.md.
pub fn section() -> String {
    let security = concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md");
    let security = fs::read_to_string(security).unwrap();
    let (_, section) = security
        .split_once("\n## What a guest can do to others\n")
        .unwrap();
    section.split_once("\n## ").unwrap().0.to_owned()
}

/// The rows of its table, each cell without what is around it.
pub fn table() -> Vec<Vec<String>> {
    let section = section();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = rows.map(|row| {
        row.split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    });
    cells.collect()
}
