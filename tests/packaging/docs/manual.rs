//! The manual pages by themselves.

use crate::common::{command, needs, run};
use crate::docs::{file, path};
use std::collections::BTreeSet;
use std::fs;

pub const PAGES: [&str; 3] = ["qemu-ifup.8", "qemu-ifdown.8", "qemu-ifup.conf.5"];

/// A manual page as it is read, each paragraph in one line; None, and the test counts as skipped, without mandoc.
pub fn page(name: &str) -> Option<String> {
    if !needs("mandoc") {
        return None;
    }
    let run = run(command("mandoc")
        .args(["-T", "ascii", "-O", "width=1000"])
        .arg(path("man").join(name)));
    assert_eq!(run.code, 0, "{run:?}");
    let mut text = String::new();
    for c in run.stdout.chars() {
        // Bold is a letter struck twice, underlined one with a line below.
        if c == '\u{8}' {
            text.pop();
        } else {
            text.push(c);
        }
    }
    Some(text)
}

/// A section of a manual page, without its heading.
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let next = rest
        .match_indices('\n')
        .map(|(at, _)| at + 1)
        .find(|&at| rest[at..].starts_with(|c: char| c.is_ascii_uppercase()));
    &rest[..next.unwrap_or(rest.len())]
}

#[test]
fn mandoc_has_nothing_to_say_about_the_manual_pages() {
    if !needs("mandoc") {
        return;
    }
    for name in PAGES {
        let run = run(command("mandoc")
            .args(["-T", "lint"])
            .arg(path("man").join(name)));
        let complaints: Vec<&str> = run
            .stdout
            .lines()
            // Which other pages there are is the host's business; and a convention for pages of a BSD's base system.
            .filter(|line| !line.contains("referenced manual not found"))
            .filter(|line| {
                !line.ends_with(": operating system explicitly specified: Os Linux (NetBSD)")
            })
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

#[test]
fn these_are_all_manual_pages_and_each_says_its_own_name() {
    let pages = fs::read_dir(path("man")).unwrap();
    let found: BTreeSet<_> = pages.map(|page| page.unwrap().file_name()).collect();
    assert_eq!(found, PAGES.map(Into::into).into());
    for name in PAGES {
        let (title, number) = name.rsplit_once('.').unwrap();
        let text = file(&format!("man/{name}"));
        let heading = format!(".Dt {} {number}\n", title.to_uppercase());
        assert!(text.contains(&heading), "{name}: no {heading}");
        assert!(text.contains(&format!("\n.Nm {title}\n")), "{name}");
    }
}
