//! The documents: they say the same as the help and the source, what they name exists, and their commands work.

mod codes;
mod commands;
mod completions;
mod follow;
mod links;
mod manual;
mod networks;
mod readme;
mod samples;
mod uplink;

use crate::common::{bin, command, run};
use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// All documents but the manual pages: those at the top, and those in docs/.
fn documents() -> Vec<String> {
    let names = |dir: &str| {
        let entries = fs::read_dir(path(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.ends_with(".md"))
            .map(|name| format!("{dir}{name}"))
            .collect::<Vec<_>>()
    };
    let mut all = names("");
    all.extend(names("docs/"));
    all.sort();
    assert!(all.len() > 6, "{all:?}");
    all
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
