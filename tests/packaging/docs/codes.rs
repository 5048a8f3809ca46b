//! The help, the manual pages, docs/troubleshooting.md and the source have the same exit codes.

use crate::docs::manual::{page, section};
use crate::docs::{between, file, help};

/// A row of a table of exit codes: the code, the status in QEMU, what it means.
type Row = (u32, u32, String);

fn source_codes() -> Vec<u32> {
    let source = file("src/error/exit_code.rs");
    between(&source, "pub enum ExitCode {", "}")
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .map(|line| line.split_once(" = ").unwrap().1.parse().unwrap())
        .collect()
}

/// The codes in a help's last paragraph: each is a number behind `: ` or `, `.
fn help_codes(help: &str) -> Vec<u32> {
    let (_, paragraph) = help.split_once("Exit codes: ").unwrap();
    let items = paragraph.split([',', '.']);
    items
        .filter_map(|item| item.split_whitespace().next()?.parse().ok())
        .collect()
}

fn codes(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|(code, _, _)| *code).collect()
}

fn table_rows() -> Vec<Row> {
    let document = file("docs/troubleshooting.md");
    let table = between(
        &document,
        "| exit code | status in QEMU | meaning |\n",
        "\n\n",
    );
    table
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (
                cells[1].parse().unwrap(),
                cells[2].parse().unwrap_or_default(),
                cells[3].to_owned(),
            )
        })
        .collect()
}

fn manual_rows(page: &str) -> Vec<Row> {
    section(page, "EXIT STATUS")
        .lines()
        .filter_map(|line| {
            let mut cells = line.split("  ").map(str::trim).filter(|c| !c.is_empty());
            let code = cells.next()?.parse().ok()?;
            let status = cells.next()?.parse().unwrap_or_default();
            Some((code, status, cells.next()?.to_owned()))
        })
        .collect()
}

fn assert_statuses(rows: &[Row]) {
    for (code, status, meaning) in rows {
        assert_eq!(*status, code * 256, "{meaning}");
    }
}

#[test]
fn the_table_and_the_help_have_the_exit_codes_of_the_source() {
    let source = source_codes();
    assert!(source.len() > 5, "{source:?}");
    assert_eq!(codes(&table_rows()), source);
    assert_statuses(&table_rows());
    assert_eq!(help_codes(&help("qemu-ifup")), source);
}

#[test]
fn the_manual_pages_have_the_same_exit_codes() {
    let (Some(ifup), Some(ifdown)) = (page("qemu-ifup.8"), page("qemu-ifdown.8")) else {
        return;
    };
    assert_eq!(manual_rows(&ifup), table_rows());
    let rows = manual_rows(&ifdown);
    assert_eq!(codes(&rows), help_codes(&help("qemu-ifdown")));
    assert_statuses(&rows);
}
