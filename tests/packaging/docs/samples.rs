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
    // How much is ok depends on the host.
    let same = |line: &str| match line.split_once(" checks are ok") {
        Some((count, rest)) => {
            count
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned()
                + rest
        }
        None => line.to_owned(),
    };
    // In this order, with lines left out.
    let mut rest = said.stdout.lines();
    for line in sample.lines() {
        assert!(
            rest.any(|found| same(found) == same(line)),
            "no {line:?} in\n{}",
            said.stdout
        );
    }
}

/// tests/bench draws them with gnuplot, which need not be here.
#[test]
fn the_plots_of_the_speed_show_its_tables() {
    let document = file("docs/speed.md");
    let mut tables = 0;
    for part in document.split("\n![").skip(1) {
        let (title, rest) = part.split_once("](").unwrap();
        let (name, rest) = rest.split_once(")\n\n").unwrap();
        let plot = file(&format!("docs/{name}"));
        let shows = |text: &str| {
            let shown = plot.contains(&format!(">{text}<"));
            assert!(shown, "no {text:?} in docs/{name}");
        };
        shows(title);
        let table = rest.lines().take_while(|line| line.starts_with('|'));
        let mut rows = table.map(|row| {
            let cells = row.trim_matches('|').split('|');
            let cells = cells.map(|cell| cell.trim().trim_matches('*').to_owned());
            cells.collect::<Vec<String>>()
        });
        let head = rows.next().unwrap();
        let unit = |column: usize| head[column].split([' ', ',']).next();
        let drawn = |column: &usize| unit(*column) == unit(1);
        for row in rows.skip(1) {
            shows(&row[0]);
            let columns = (1..row.len()).filter(drawn);
            columns.for_each(|column| shows(&row[column]));
        }
        tables += 1;
    }
    assert!(tables > 9, "{tables}");
    let plots = std::fs::read_dir(path("docs")).unwrap();
    let plots = plots.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".svg")
    });
    assert_eq!(plots.count(), tables);
}

#[test]
fn each_line_of_the_example_of_the_configuration_applies() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let example = file("docs/qemu-ifup.conf.example");
    // As it is installed, it changes nothing.
    sandbox.etc("qemu-ifup.conf", &example);
    let said = sandbox.ifup(&["--check", "-v", "tap0"]).stdout;
    assert!(said.contains("the bridge is br0 (default)"), "{said}");

    let is_option = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
    let lines: Vec<&str> = example.lines().filter(is_option).collect();
    assert!(lines.len() > 6, "{lines:?}");
    let taps = ["tap0", "web1", "lab0", "fast0"];
    for line in lines {
        let line = line.trim_start_matches('#');
        sandbox.etc("qemu-ifup.conf", &format!("{line}\n"));
        let applies = "/etc/qemu-ifup.conf:1 matches";
        let said = taps.map(|tap| sandbox.ifup(&["--check", "-v", tap]).stdout);
        assert!(said.iter().any(|s| s.contains(applies)), "{line}\n{said:?}");
        // It needs no other line.
        assert!(!said.iter().any(|s| s.contains("requires --")), "{line}");
    }
}
