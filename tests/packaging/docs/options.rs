//! The help, the manual pages, docs/command-line.md and the source have the same options.

use crate::docs::manual::{page, section};
use crate::docs::{between, file, help};
use qemu_ifup::config::options::parse_options;
use std::collections::BTreeSet;

/// An option as it is written (`-b, --bridge NAME`), and what it is for.
pub type Described = (String, String);

/// Where the texts begin in the help and in docs/command-line.md.
const TEXT_COLUMN: usize = 22;

/// The options of a block in the help's layout.
pub fn options_in(block: &str) -> Vec<Described> {
    let mut options: Vec<Described> = Vec::new();
    for line in block.lines() {
        let is_option = line.starts_with("  -") || line.starts_with("      --");
        // A long one has its text in the next line.
        let has_text = line.get(TEXT_COLUMN - 1..TEXT_COLUMN) == Some(" ");
        let column = if has_text || !is_option {
            TEXT_COLUMN
        } else {
            line.len()
        };
        let (spec, text) = line.split_at_checked(column).unwrap_or_default();
        if is_option {
            // Elsewhere it is not "this" one.
            let text = text.replace("print this help", "print the help");
            options.push((spec.trim().to_owned(), text));
        } else if let Some((_, so_far)) = options.last_mut()
            && spec.trim().is_empty()
            && !text.is_empty()
        {
            let space = if so_far.is_empty() { "" } else { " " };
            *so_far += &format!("{space}{text}");
        }
    }
    options
}

/// The block of docs/command-line.md for a program.
fn document_options(program: &str) -> Vec<Described> {
    let document = file("docs/command-line.md");
    let block = between(&document, "# Command line\n\n```\n", "```");
    let (ifup, rest) = block
        .split_once("qemu-ifdown [OPTIONS] IFNAME...\n")
        .unwrap();
    let (ifdown, both) = rest.split_once("both\n").unwrap();
    let own = match program {
        "qemu-ifup" => ifup
            .strip_prefix("qemu-ifup [OPTIONS] IFNAME...\n")
            .unwrap(),
        _ => ifdown,
    };
    options_in(&format!("{own}{both}"))
}

/// The options of a manual page's list: each begins a line, and its text follows there or in the next.
fn manual_options(section: &str) -> Vec<Described> {
    let mut options: Vec<Described> = Vec::new();
    for line in section.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.trim_end();
        if let Some(tag) = line.strip_prefix("     ").filter(|l| l.starts_with('-')) {
            let (spec, text) = tag.split_once("  ").unwrap_or((tag, ""));
            options.push((spec.to_owned(), text.trim().to_owned()));
        } else if let Some((_, text)) = options.last_mut() {
            *text += line.trim();
        }
    }
    options
}

fn specs(options: &[Described]) -> Vec<&str> {
    options.iter().map(|(spec, _)| spec.as_str()).collect()
}

#[test]
fn the_document_has_the_options_of_the_help_word_for_word() {
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let options = options_in(&help(program));
        assert!(options.len() > 5, "{options:?}");
        assert_eq!(document_options(program), options, "{program}");
    }
}

#[test]
fn the_manual_pages_have_the_options_of_the_help_and_begin_with_its_words() {
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let Some(page) = page(&format!("{program}.8")) else {
            return;
        };
        let manual = manual_options(section(&page, "OPTIONS"));
        let help = options_in(&help(program));
        assert_eq!(specs(&manual), specs(&help), "{program}");
        for ((spec, said), (_, wanted)) in manual.iter().zip(&help) {
            let rest = said.strip_prefix(wanted.as_str());
            assert!(
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
                "{program} {spec}: {said:?}, not {wanted:?}"
            );
        }
    }
}

#[test]
fn the_page_of_the_configuration_has_just_the_options_that_it_may_have() {
    let Some(page) = page("qemu-ifup.conf.5") else {
        return;
    };
    let listed: Vec<&str> = between(section(&page, "FORMAT"), "   Options\n", "They mean")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let help = options_in(&help("qemu-ifup"));
    let allowed: Vec<&str> = specs(&help)
        .into_iter()
        .filter(|spec| is_for_the_configuration(spec))
        .collect();
    assert_eq!(listed, allowed);
}

fn is_for_the_configuration(spec: &str) -> bool {
    let long = long_of(spec);
    match parse_options([long.into()]) {
        Ok(_) => true,
        Err(error) => {
            let said = error.to_string();
            !said.starts_with("unknown option") && !said.ends_with("command line of qemu-ifup only")
        }
    }
}

/// The long option of a spec, without its argument.
fn long_of(spec: &str) -> &str {
    let start = spec.find("--").unwrap_or_else(|| panic!("{spec}"));
    spec[start..].split([' ', '=', ',']).next().unwrap()
}

#[test]
fn every_option_that_the_source_reads_is_in_the_help() {
    let source = file("src/config/args.rs") + &file("src/config/options.rs");
    let mut read: BTreeSet<String> = BTreeSet::new();
    for (kind, dashes, quote) in [("Arg::Long(", "--", '"'), ("Arg::Short(", "-", '\'')] {
        for found in source.split(kind).skip(1) {
            let words = found.split_once(')').unwrap().0;
            let words = words.split(quote).skip(1).step_by(2);
            read.extend(words.map(|word| format!("{dashes}{word}")));
        }
    }
    // It is the same as --bridge, and the text of that one says so.
    assert!(read.remove("--br"));
    let helps = [help("qemu-ifup"), help("qemu-ifdown")];
    let said: BTreeSet<String> = helps
        .iter()
        .flat_map(|help| options_in(help))
        .flat_map(|(spec, _)| {
            let words: Vec<String> = spec.split([' ', ',', '=']).map(str::to_owned).collect();
            words
        })
        .filter(|word| word.starts_with('-'))
        .collect();
    assert_eq!(said, read);
}
