//! What the documents show of the programs' output, and the table of symptoms.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, run};
use crate::docs::{between, file, path};

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
    // As the document calls it, by sudo.
    let said = run(command(bin("qemu-ifup"))
        .args(["--check", "tap0"])
        .env("SUDO_UID", "54321"));
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

#[test]
fn the_bars_of_the_speed_are_those_of_its_tables() {
    let document = file("docs/speed.md");
    let drawn = run(command("awk")
        .arg("-f")
        .arg(path("tests/bench.d/chart.awk"))
        .arg(path("docs/speed.md")));
    assert_eq!(drawn.code, 0, "{drawn:?}");
    assert!(drawn.stdout.lines().count() > 20, "{}", drawn.stdout);
    assert!(document.contains(&drawn.stdout), "{}", drawn.stdout);
}

#[test]
fn each_line_of_the_example_of_the_configuration_applies() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let example = file("docs/qemu-ifup.conf.example");
    // As it is installed, it changes nothing.
    sandbox.etc("qemu-ifup.conf", &example);
    let said = sandbox.ifup(&["--check", "tap0"]).stdout;
    assert!(said.contains("the bridge is br0 (default)"), "{said}");

    let is_option = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
    let lines: Vec<&str> = example.lines().filter(is_option).collect();
    assert!(lines.len() > 6, "{lines:?}");
    let taps = ["tap0", "web1", "lab0", "fast0"];
    for line in lines {
        let line = line.trim_start_matches('#');
        sandbox.etc("qemu-ifup.conf", &format!("{line}\n"));
        let applies = "/etc/qemu-ifup.conf:1 applies";
        let said = taps.map(|tap| sandbox.ifup(&["--check", tap]).stdout);
        assert!(said.iter().any(|s| s.contains(applies)), "{line}\n{said:?}");
        // It needs no other line.
        assert!(!said.iter().any(|s| s.contains("goes with")), "{line}");
    }
}
