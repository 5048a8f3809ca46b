//! docs/troubleshooting.md: its sample of --check, and its table.

use crate::common::sandbox::Sandbox;
use crate::docs::{between, file};

const DOCUMENT: &str = "docs/troubleshooting.md";

#[test]
fn each_symptom_has_a_cause_and_a_command() {
    let document = file(DOCUMENT);
    let rows = between(&document, "| symptom | cause | fix |\n", "\n\n");
    assert!(rows.lines().count() > 13);
    for row in rows.lines().skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [symptom, cause, fix] = cells[..] else {
            panic!("{row}");
        };
        assert!(!symptom.is_empty() && !cause.is_empty(), "{row}");
        assert!(fix.matches('`').count() >= 2, "{row}");
    }
}

#[test]
fn the_sample_of_check_is_what_check_says() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    sandbox.bridge_up("br0");
    sandbox.sh("ip link set dev br0 type bridge stp_state 1; ip link set dev br0 down");
    let said = sandbox.ifup(&["--check", "tap0"]);
    assert_eq!(said.code, 4, "{said:?}");
    let document = file(DOCUMENT);
    let sample = between(&document, "(shortened here):\n\n```\n", "```");
    assert!(sample.lines().count() > 4);
    // In this order, with lines left out.
    let mut rest = said.stdout.lines();
    for line in sample.lines() {
        assert!(
            rest.any(|found| found == line),
            "no {line:?} in\n{}",
            said.stdout
        );
    }
}
