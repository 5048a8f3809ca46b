//! What the documents name exists: files, sections of other documents, tests.

use crate::common::{bin, command, run};
use crate::docs::{documents, file, path};
use std::collections::BTreeSet;

#[test]
fn every_file_that_the_documents_name_exists() {
    let mut named: BTreeSet<String> = BTreeSet::new();
    for document in documents() {
        let text = file(&document);
        for word in text.split(|c: char| !c.is_ascii_graphic() || "`()|,;:[]#".contains(c)) {
            let word = word.trim_end_matches('.').trim_start_matches("./");
            let ours = [
                "tests/",
                "src/",
                "bin/",
                "man/",
                "fuzz/",
                "docs/",
                "install.sh",
            ];
            if ours.iter().any(|start| word.starts_with(start)) {
                assert!(path(word).exists(), "{document}: {word}");
                named.insert(word.to_owned());
            } else if word.ends_with(".rs") && word != "rustup.rs" {
                // Of the source, by the name within its directory.
                let pattern = format!("*/{word}");
                let sources = run(command("find").arg(path("src")).args(["-path", &pattern]));
                assert!(!sources.stdout.is_empty(), "{document}: {word}");
                named.insert(word.to_owned());
            }
        }
    }
    assert!(named.len() > 25, "{named:?}");
}

/// The name that a heading has in a link.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = file(&document);
        for found in text.split("](").skip(1) {
            let link = found.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (name, section) = link.split_once('#').unwrap_or((link, ""));
            let target = match name {
                "" => path(&document),
                _ => path(&document).parent().unwrap().join(name),
            };
            assert!(target.exists(), "{document}: {link}");
            let target = std::fs::read_to_string(target).unwrap();
            let mut headings = target.lines().filter(|line| line.starts_with('#'));
            assert!(
                section.is_empty() || headings.any(|heading| anchor(heading) == section),
                "{document}: {link}"
            );
        }
    }
    assert!(links > 8, "{links}");
}

#[test]
fn each_promise_of_security_names_its_tests() {
    let security = file("SECURITY.md");
    let (_, table) = security.split_once("| promise | test |\n").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 12, "{rows:#?}");
    let found = run(command("grep")
        .args(["-rhFA1", "#[test]"])
        .args([path("tests"), path("src")]));
    for row in rows {
        let (_, tests) = row.trim_end_matches('|').rsplit_once('|').unwrap();
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let line = format!("fn {test}() {{");
            assert!(found.stdout.lines().any(|l| l.trim() == line), "{test}");
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = file("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

#[test]
fn the_newest_release_in_the_changelog_is_the_version_of_the_programs() {
    let changelog = file("CHANGELOG.md");
    let mut releases = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## ["))
        .filter(|line| *line != "Unreleased]");
    let newest = releases.next().unwrap();
    let (version, date) = newest.split_once("] - ").unwrap();
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let said = run(command(bin(program)).arg("--version"));
        assert_eq!(said.stdout, format!("{program} {version}\n"));
    }
    let is_date = |c: char| c.is_ascii_digit() || c == '-';
    assert!(date.len() == 10 && date.chars().all(is_date), "{date}");
}
