//! A real QEMU calls the two programs, and Linux guests run in it, in networks of their own.

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

#[allow(dead_code, reason = "this binary uses only a part of it")]
#[path = "../common/mod.rs"]
mod common;
mod conf;
mod guest;
mod libvirt;
mod matrix;
mod monitor;
mod qemu;
mod unprivileged;
