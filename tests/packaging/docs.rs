//! The help, the manual pages, the README and the source say the same.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, needs, run};
use qemu_ifup::config::options::parse_options;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGES: [&str; 3] = ["qemu-ifup.8", "qemu-ifdown.8", "qemu-ifup.conf.5"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn help(program: &str) -> String {
    let run = run(command(bin(program)).arg("--help"));
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("no {end:?}"))
        .0
}

// --- Options ---

/// An option as it is written (`-b, --bridge NAME`), and what it is for.
type Described = (String, String);

/// Where the texts begin in the help and in the README.
const TEXT_COLUMN: usize = 22;

/// The options of a block in the help's layout.
fn options_in(block: &str) -> Vec<Described> {
    let mut options: Vec<Described> = Vec::new();
    for line in block.lines() {
        let is_option = line.starts_with("  -") || line.starts_with("      --");
        let (spec, text) = line.split_at_checked(TEXT_COLUMN).unwrap_or_default();
        if is_option {
            // Elsewhere it is not "this" one.
            let text = text.replace("print this help", "print the help");
            options.push((spec.trim().to_owned(), text));
        } else if let Some((_, so_far)) = options.last_mut()
            && spec.trim().is_empty()
            && !text.is_empty()
        {
            *so_far += &format!(" {text}");
        }
    }
    options
}

/// The README's command-line block for a program.
fn readme_options(program: &str) -> Vec<Described> {
    let readme = file("README.md");
    let block = between(&readme, "## Command line\n\n```\n", "```");
    let (ifup, rest) = block.split_once("qemu-ifdown [OPTIONS] IFNAME\n").unwrap();
    let (ifdown, both) = rest.split_once("both\n").unwrap();
    let own = match program {
        "qemu-ifup" => ifup.strip_prefix("qemu-ifup [OPTIONS] IFNAME\n").unwrap(),
        _ => ifdown,
    };
    options_in(&format!("{own}{both}"))
}

/// A manual page as it is read, each paragraph in one line; None, and the test counts as skipped, without mandoc.
fn page(name: &str) -> Option<String> {
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
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let next = rest
        .match_indices('\n')
        .map(|(at, _)| at + 1)
        .find(|&at| rest[at..].starts_with(|c: char| c.is_ascii_uppercase()));
    &rest[..next.unwrap_or(rest.len())]
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
fn the_readme_has_the_options_of_the_help_word_for_word() {
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let options = options_in(&help(program));
        assert!(options.len() > 5, "{options:?}");
        assert_eq!(readme_options(program), options, "{program}");
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
        Err(error) => !error.to_string().starts_with("unknown option"),
    }
}

/// The long option of a spec, without its argument.
fn long_of(spec: &str) -> &str {
    let start = spec.find("--").unwrap_or_else(|| panic!("{spec}"));
    spec[start..].split([' ', '=']).next().unwrap()
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

// --- Exit codes ---

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

fn readme_rows() -> Vec<Row> {
    let readme = file("README.md");
    let table = between(
        &readme,
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
fn the_readme_and_the_help_have_the_exit_codes_of_the_source() {
    let source = source_codes();
    assert!(source.len() > 5, "{source:?}");
    assert_eq!(codes(&readme_rows()), source);
    assert_statuses(&readme_rows());
    assert_eq!(help_codes(&help("qemu-ifup")), source);
}

#[test]
fn the_manual_pages_have_the_same_exit_codes() {
    let (Some(ifup), Some(ifdown)) = (page("qemu-ifup.8"), page("qemu-ifdown.8")) else {
        return;
    };
    assert_eq!(manual_rows(&ifup), readme_rows());
    let rows = manual_rows(&ifdown);
    assert_eq!(codes(&rows), help_codes(&help("qemu-ifdown")));
    assert_statuses(&rows);
}

// --- Manual pages ---

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
            // Which other pages there are is the host's business.
            .filter(|line| !line.contains("referenced manual not found"))
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

// --- README ---

#[test]
fn every_file_that_the_readme_names_exists() {
    let readme = file("README.md");
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for word in readme.split(|c: char| !c.is_ascii_graphic() || "`()|,;:".contains(c)) {
        let word = word.trim_end_matches('.').trim_start_matches("./");
        let ours = ["tests/", "src/", "bin/", "man/", "fuzz/", "install.sh"];
        if ours.iter().any(|start| word.starts_with(start)) {
            assert!(path(word).exists(), "{word}");
            named.insert(word);
        } else if word.ends_with(".rs") && word != "rustup.rs" {
            // In the list of the source, by the name within its directory.
            assert!(path("src/sys/netlink").join(word).exists(), "{word}");
            named.insert(word);
        }
    }
    assert!(named.len() > 15, "{named:?}");
}

/// The promises of SECURITY name their tests: words of code with many underscores.
#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = file("README.md");
    let named: Vec<&str> = readme
        .split('`')
        .filter(|word| word.matches('_').count() > 4 && !word.contains(char::is_whitespace))
        .collect();
    assert!(named.len() > 15, "{named:?}");
    let found = run(command("grep")
        .args(["-rhoE", "fn [a-z0-9_]+\\(\\) \\{"])
        .arg(path("tests")));
    for test in named {
        let line = format!("fn {test}() {{");
        assert!(found.stdout.lines().any(|l| l == line), "{test}");
    }
}

/// Fails unless sh can read it.
fn assert_parses(script: &str) {
    let mut sh = Command::new("sh")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sh.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = sh.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{script}");
}

#[test]
fn the_shell_blocks_of_the_readme_parse() {
    let readme = file("README.md");
    let blocks: Vec<&str> = readme.split("```sh\n").skip(1).collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        assert_parses(block.split_once("```").unwrap().0);
    }
}

/// The rows of the table of complaints, each its cells.
fn complaints(readme: &str) -> Vec<Vec<&str>> {
    between(
        readme,
        "| what one sees | cause | what fixes it |\n",
        "\n\n",
    )
    .lines()
    .skip(1)
    .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
    .collect()
}

#[test]
fn each_complaint_in_the_readme_has_a_cause_and_a_command_that_parses() {
    let readme = file("README.md");
    let rows = complaints(&readme);
    assert!(rows.len() >= 12, "{}", rows.len());
    for row in rows {
        let [sight, cause, fix] = row[..] else {
            panic!("{row:?}");
        };
        assert!(!sight.is_empty() && !cause.is_empty(), "{row:?}");
        let commands: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
        assert!(!commands.is_empty(), "{row:?}");
        commands.into_iter().for_each(assert_parses);
    }
}

#[test]
fn the_sample_of_check_in_the_readme_is_what_check_says() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    sandbox.bridge_up("br0");
    sandbox.sh("ip link set dev br0 type bridge stp_state 1; ip link set dev br0 down");
    let said = sandbox.ifup(&["--check", "tap0"]);
    assert_eq!(said.code, 4, "{said:?}");
    let readme = file("README.md");
    let sample = between(&readme, "(shortened here):\n\n```\n", "```");
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
