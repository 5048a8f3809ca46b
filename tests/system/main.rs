//! The programs in network namespaces of their own.
//!
//! What becomes of an interface is read back with `ip -j` and `bridge -j`, never from what the programs say.

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

mod acl_differential;
mod attacks;
mod bridge;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod conf;
mod create_bridge;
mod create_bridge_races;
mod creator;
mod dry_run;
mod expect;
mod hints;
mod host;
mod log;
mod many;
mod meanwhile;
mod names;
mod owner;
mod port;
mod process;
mod refuse;
mod rootless;
mod stdio;
mod tap;
mod traffic;
mod undo;
mod unprivileged;
mod vmm;
mod wait;
mod watch;
