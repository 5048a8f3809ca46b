//! One architecture other than x86-64; tests/matrix has the others.

use crate::common::{command, needs, skip, test_name};
use std::path::Path;

#[test]
fn all_of_it_works_on_aarch64() {
    if !["qemu-system-aarch64", "busybox", "cpio", "apt-get"]
        .into_iter()
        .all(needs)
    {
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepared = command(top.join("tests/matrix"))
        .args(["--fetch", "arm64-trixie"])
        .status();
    if !prepared.unwrap().success() {
        return skip(&test_name(), "needs tests/matrix --fetch arm64-trixie");
    }
    // It takes longer than `run` would wait, and ends itself.
    let output = command(top.join("tests/matrix"))
        .arg("arm64-trixie")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("| 15 of 15 |"), "{said}");
}
