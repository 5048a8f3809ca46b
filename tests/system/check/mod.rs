//! The guest has no network: what `qemu-ifup --check`, the error messages and the warnings say of it, and
//! whether what they tell people to do helps.
//!
//! Every situation is built in a network of its own. The command that fixes it is taken from what the program
//! printed and run by a shell; afterwards the complaint has to be gone.

mod exit_codes;
mod findings;
mod firewall;
mod healthy;
mod hosts;
mod mac;
mod machines;
mod symptoms;
mod warnings;

use crate::common::Run;
use crate::common::json::changes;
use crate::common::sandbox::Sandbox;
use crate::host::{must, sh};
use serde_json::Value;

/// A finding as it was printed, with what is to be done about it.
#[derive(Debug)]
struct Found {
    level: String,
    subject: String,
    message: String,
    fix: String,
}

#[derive(Debug)]
struct Checked {
    code: i32,
    found: Vec<Found>,
}

impl Checked {
    fn find(&self, level: &str, words: &str) -> Option<&Found> {
        let mut found = self.found.iter();
        found.find(|found| found.level == level && found.message.contains(words))
    }

    #[track_caller]
    fn says(&self, level: &str, words: &str) -> &Found {
        let found = self.find(level, words);
        found.unwrap_or_else(|| panic!("no {level} with '{words}': {self:#?}"))
    }

    #[track_caller]
    fn does_not_say(&self, level: &str, words: &str) {
        let found = self.find(level, words);
        assert!(found.is_none(), "{found:#?}");
    }
}

/// A finding is a line in three columns, and what fixes it in lines below the third.
fn parse(stdout: &str) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for line in stdout.lines() {
        if let Some(fix) = line.strip_prefix(&format!("{:22}-> ", "")) {
            let last = all.last_mut().expect("nothing to fix");
            // A fix is one command, and stands alone.
            let is_more = fix.starts_with("advice: ") && last.fix.starts_with("advice: ");
            assert!(last.fix.is_empty() || is_more, "twice: {line}");
            last.fix += if is_more { "\n" } else { "" };
            last.fix += fix;
            continue;
        }
        let columns = (line.get(..9), line.get(9..24), line.get(24..));
        let (Some(level), Some(subject), Some(message)) = columns else {
            panic!("no finding: {line}");
        };
        let level = level.trim_end().to_owned();
        assert!(
            ["ok", "warning", "problem"].contains(&level.as_str()),
            "{line}"
        );
        assert!(!message.is_empty() && !message.starts_with(' '), "{line}");
        all.push(Found {
            level,
            subject: subject.trim_end().to_owned(),
            message: message.to_owned(),
            fix: String::new(),
        });
    }
    // What else runs on the machine is not the test's.
    all.retain(|found| found.subject != "managers");
    all
}

/// All findings, those that are ok too.
fn check(s: &Sandbox, line: &str) -> Checked {
    let run = sh(s, &line.replace("--check", "--check --verbose"));
    assert_eq!(run.stderr, "", "{run:?}");
    let found = parse(&run.stdout);
    let has_problem = found.iter().any(|found| found.level == "problem");
    assert_eq!(run.code != 0, has_problem, "{run:?}");
    Checked {
        code: run.code,
        found,
    }
}

/// The command in an advice that begins like this: it ends with the line.
#[track_caller]
fn command_in<'a>(advice: &'a str, start: &str) -> &'a str {
    let at = advice.find(start);
    let at = at.unwrap_or_else(|| panic!("no command '{start}' in: {advice}"));
    advice[at..].lines().next().unwrap()
}

/// All interfaces, but for what the ports of a bridge do with frames: that follows the carrier with a delay.
fn snapshot(s: &Sandbox) -> Value {
    fn without_states(value: &mut Value) {
        if let Some(list) = value.as_array_mut() {
            list.iter_mut().for_each(without_states);
        } else if let Some(map) = value.as_object_mut() {
            map.remove("state");
            map.values_mut().for_each(without_states);
        }
    }
    let mut all = s.snapshot();
    without_states(&mut all);
    all
}

#[track_caller]
fn assert_unchanged(s: &Sandbox, before: &Value) {
    let changes = changes(before, &snapshot(s));
    assert!(changes.is_empty(), "not as before:\n{}", changes.join("\n"));
}

/// `--check` says so, and changes nothing; its advice is followed to the letter; then it says so no more.
#[track_caller]
fn complaint_and_cure(s: &Sandbox, line: &str, level: &str, words: &str, start: &str) -> Checked {
    let before = snapshot(s);
    let checked = check(s, line);
    assert_unchanged(s, &before);
    let advice = &checked.says(level, words).fix;
    must(s, command_in(advice, start));
    let after = check(s, line);
    after.does_not_say(level, words);
    after
}

/// It failed with this code; the first line says this, and the others, if there are to be any, are hints, one with that.
#[track_caller]
fn assert_failed(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len() > 1, !hint.is_empty(), "{run:?}");
    assert!(lines[0].starts_with("qemu-if"), "{run:?}");
    assert!(lines[0].contains(error), "no '{error}': {run:?}");
    let hints = &lines[1..];
    let all_are = hints.iter().all(|line| line.contains(": hint: "));
    let has = hints.is_empty() || hints.iter().any(|line| line.contains(hint));
    assert!(all_are && has, "no '{hint}': {run:?}");
}

/// br0 with an uplink, such as a network card, whose MTU it has. It makes no fe80:: address, which would come with a delay.
fn give_uplink(s: &Sandbox, mtu: u32) {
    s.sh(&format!(
        "ip link add up0 mtu {mtu} type veth peer name far0 mtu {mtu}
         ip link set up0 address 02:ff:00:00:00:01
         for end in up0 far0; do ip link set $end addrgenmode none; done
         ip link set up0 up; ip link set far0 up
         ip link set up0 master br0"
    ));
}

fn mtu(s: &Sandbox, name: &str) -> u64 {
    s.link(name).unwrap()["mtu"].as_u64().unwrap()
}
