//! Whoever holds a tap's descriptor, or is quick, gets nothing by it: loops in which somebody with a user's rights does
//! all the time what they must not get through with while the programs do their work.
//!
//! Each loop has many rounds, and none may be lost. How often it was tried is printed, also when all is well.

mod frames;
mod host;
mod quota;
mod strangers;

use crate::common::Run;

/// Of each loop. What was open before was lost in more than nine of ten.
const ROUNDS: usize = 60;

/// Prints a line even where the test passes.
fn tell(line: &str) {
    crate::tell(&format!("races: {line}"));
}

fn assert_done(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

/// Refused with this code and, in its first line, this reason.
fn assert_refused(run: &Run, code: i32, reason: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let first = run.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("qemu-if"), "{run:?}");
    assert!(first.contains(reason), "not '{reason}': {run:?}");
}
