//! What is computed without the system: no root, no network, seconds.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report, and nobody uses it from outside"
)]

mod acl;
mod args;
#[path = "../common/build.rs"]
mod build;
mod conf;
mod dump;
mod errors;
mod findings;
mod layers;
mod netlink;
mod plan;
mod policy;
