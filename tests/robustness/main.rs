//! Both programs when things go wrong, when there is a lot to do, and when somebody is up to something: every system call
//! of a run fails or is its last, a bridge is filled to its limit, many run at once, and somebody acts at every moment.
//!
//! How much was tried is printed, also when all is well. The timing needs the machine for itself, so this is a binary of its own.

#![allow(unsafe_code, reason = "the tests make system calls of their own")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report, and nobody uses it from outside"
)]

mod adversary;
#[allow(dead_code, reason = "this binary uses only a part of it")]
#[path = "../common/mod.rs"]
mod common;
mod concurrency;
mod faults;
mod full_bridge;
mod races;

use std::io::{self, Write as _};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Prints a line even where the test passes.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Who needs both processors, and whoever can do with one.
static MACHINE: RwLock<()> = RwLock::new(());

/// The program and who is up against it need a processor each: no other test runs meanwhile.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(|e| e.into_inner())
}

/// Others of this kind may run meanwhile.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(|e| e.into_inner())
}
