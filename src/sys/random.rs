//! Random bytes for new MACs and a new ifindex.
#![allow(unsafe_code, reason = "getrandom(2)")]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::link::IfIndex;
use crate::model::state::NewIds;

/// Where ifindexes that we choose begin; those that the kernel chooses, counting up from 1, never come here.
const FIRST_OWN_INDEX: IfIndex = 1 << 30;

/// New random identifiers.
pub fn new_ids() -> NewIds {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = random_bytes();
    NewIds {
        tap: [a, b, c, d, e],
        bridge: [f, g, h, i, j],
        index: FIRST_OWN_INDEX + IfIndex::from(u16::from_ne_bytes([k, l])),
    }
}

/// Random bytes, also early at boot, when the kernel does not vouch for them yet.
fn random_bytes() -> [u8; 12] {
    let mut bytes = [0; 12];
    // Linux before 5.6 does not know the first flag.
    for flags in [libc::GRND_INSECURE, libc::GRND_NONBLOCK] {
        // SAFETY: getrandom(2) writes at most as many bytes as it is told, which is as many as there are.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        if usize::try_from(got) == Ok(bytes.len()) {
            return bytes;
        }
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seed = now.as_nanos().rotate_left(32) ^ u128::from(std::process::id());
    for (byte, &seed) in bytes.iter_mut().zip(&seed.to_ne_bytes()) {
        *byte = seed;
    }
    bytes
}
