//! `--check` read by programs, by many people's eyes at once, and by small terminals.

use crate::check::{Checked, check, parse};
use crate::common::Run;
use crate::common::sandbox::Sandbox;
use crate::host::{host, host_with, must, sh};
use serde_json::Value;

/// Several things are wrong with it, and each has a command that fixes it.
fn broken() -> Option<Sandbox> {
    let s = host_with("jq")?;
    must(
        &s,
        "ip link set br0 down; ip link set br0 type bridge stp_state 1
         ip link add up0 type veth peer name far0; ip link set far0 up; ip link set up0 master br0
         ip tuntap add tap0 mode tap",
    );
    Some(s)
}

/// What it printed as JSON, which jq and another parser read alike.
fn objects(run: &Run) -> Vec<Value> {
    assert_eq!(run.stderr, "", "{run:?}");
    let read: Value = serde_json::from_str(&run.stdout).unwrap();
    read.as_array().unwrap().clone()
}

#[test]
fn json_has_what_the_text_has_under_stable_keys() {
    let Some(s) = broken() else { return };
    for (quiet, listed) in [("", "--verbose"), ("--quiet", "--quiet")] {
        let line = format!("qemu-ifup --check {quiet} tap0");
        let shown = sh(&s, &format!("qemu-ifup --check {listed} tap0"));
        let text = Checked {
            code: shown.code,
            found: parse(&shown.stdout),
        };
        let run = sh(&s, &format!("{line} --json"));
        assert_eq!(run.code, text.code);
        let mut objects = objects(&run);
        objects.retain(|object| object["about"] != "managers");
        assert_eq!(objects.len(), text.found.len());
        for (object, found) in objects.iter().zip(&text.found) {
            let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
            let expected = [
                "about",
                "advice",
                "bridge",
                "exit_code",
                "fix",
                "id",
                "ifname",
                "level",
                "what",
            ];
            assert_eq!(keys, expected);
            let said = (&object["level"], &object["about"], &object["what"]);
            assert!(
                said.0 == &*found.level && said.1 == &*found.subject && said.2 == &*found.message
            );
            let fix = match (&object["fix"], &object["advice"]) {
                (Value::String(command), Value::Null) => command.clone(),
                (Value::Null, Value::String(advice)) => {
                    let lines = advice.lines().map(|line| format!("advice: {line}"));
                    lines.collect::<Vec<_>>().join("\n")
                }
                (Value::Null, Value::Null) => String::new(),
                both => panic!("{both:?}"),
            };
            assert_eq!(fix, found.fix);
            assert_eq!(object["exit_code"] == 0, found.level == "ok", "{object}");
        }
        let has_ok = text.found.iter().any(|found| found.level == "ok");
        assert_eq!(has_ok, quiet.is_empty());
    }
}

#[test]
fn a_script_that_runs_each_fix_leaves_nothing_to_fix() {
    let Some(s) = broken() else { return };
    let fixes = "qemu-ifup --check --json tap0 | jq -r '.[].fix // empty'";
    assert!(must(&s, fixes).stdout.lines().count() >= 5);
    must(&s, &format!("{fixes} | sh -eux"));
    let after = must(&s, "qemu-ifup --check --strict --quiet tap0");
    assert_eq!((after.stdout, after.stderr), (String::new(), String::new()));
    assert_eq!(
        must(&s, "qemu-ifup --check --quiet --json tap0").stdout,
        "[]\n"
    );
}

#[test]
fn any_name_is_escaped_right() {
    let Some(s) = host_with("jq") else { return };
    // For printf(1), each of at most 15 bytes.
    for name in [
        r#"a"b"#,
        r"a\\b",
        r"\\\\",
        r"a\033[31mb",
        r"\377\376x",
        r"a\001\177b",
        "it'\\''s",
        r"{}[],",
        r"\303\251",
    ] {
        let line = format!("name=$(printf '{name}'); ip link add \"$name\" type bridge");
        must(&s, &line);
        let call = format!(
            "name=$(printf '{name}'); qemu-ifup --check --bridge \"$name\" \"t${{name%?}}\""
        );
        let text = must_be(&sh(&s, &call), 4);
        let run = must_be(&sh(&s, &format!("{call} --json")), 4);
        assert!(run.stdout.is_ascii(), "{run:?}");
        let down = objects(&run);
        let down = down
            .iter()
            .find(|object| object["level"] == "problem")
            .unwrap();
        assert!(
            text.stdout.contains(down["what"].as_str().unwrap()),
            "{text:?}"
        );
        // jq gives the shell what was printed.
        must(
            &s,
            &format!(
                "{{ {call} --json || :; }} | jq -r '.[] | select(.level == \"problem\").fix' | sh -eu"
            ),
        );
        let after = sh(&s, &format!("{call} --json"));
        assert_eq!(after.code, 0, "{name}: {after:?}");
        must(
            &s,
            &format!("name=$(printf '{name}'); ip link del \"$name\""),
        );
    }
}

#[track_caller]
fn must_be(run: &Run, code: i32) -> Run {
    assert_eq!((run.code, &*run.stderr), (code, ""), "{run:?}");
    Run {
        code,
        stdout: run.stdout.clone(),
        stderr: String::new(),
    }
}

#[test]
fn warnings_count_where_it_is_strict() {
    #[rustfmt::skip]
    let table = [
        // (what is wrong, exit code, the same where warnings count)
        ("", 0, 0),
        ("ip link set br0 type bridge stp_state 1", 0, 4),
        ("ip tuntap add tap0 mode tap", 0, 5),
        ("ip link set br0 down; ip tuntap add tap0 mode tap", 4, 4),
        // The first of them.
        ("rm /dev/net/tun; ip link set br0 type bridge stp_state 1", 6, 6),
        ("ip link add tap0 type veth peer name far0; ip link set br0 type bridge stp_state 1", 5, 4),
    ];
    for (prepare, code, strict) in table {
        crate::host::on_its_own(prepare, || {
            let Some(s) = host() else { return };
            must(&s, prepare);
            for (options, code) in [
                ("", code),
                ("--strict", strict),
                ("--strict --json", strict),
                ("--strict -q", strict),
            ] {
                let run = sh(&s, &format!("qemu-ifup --check {options} tap0"));
                assert_eq!(run.code, code, "{options}: {run:?}");
            }
        });
    }
}

/// What it prints on a terminal that has so many columns.
fn on_terminal(s: &Sandbox, columns: usize, variables: &str) -> String {
    let line = format!("stty cols {columns}; {variables} qemu-ifup --check tap0");
    sh(s, &format!("script -qec '{line}' /dev/null"))
        .stdout
        .replace("\r\n", "\n")
}

#[test]
fn no_line_is_wider_than_the_terminal_but_commands_which_are_to_be_copied() {
    let Some(s) = host_with("script") else { return };
    s.sh("mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts; ln -sf pts/ptmx /dev/ptmx");
    s.sh("ip link set br0 type bridge stp_state 1; ip address flush dev br0; ip tuntap add tap0 mode tap; rm /dev/net/tun");
    let plain = sh(&s, "qemu-ifup --check tap0").stdout;
    assert!(plain.lines().any(|line| line.len() > 100), "{plain}");
    for columns in [60, 80, 120] {
        let printed = on_terminal(&s, columns, "NO_COLOR=1");
        let mut joined = String::new();
        let mut before = "";
        for line in printed.lines() {
            let is_fix = line.trim_start().starts_with("-> ") && !line.contains("-> advice: ");
            let is_command = is_fix || before.trim_end().ends_with(':');
            assert!(is_command || line.len() <= columns, "{columns}: {line}");
            before = line;
            // What goes on stands below what went before.
            match line.strip_prefix(&" ".repeat(24)) {
                Some(rest) => joined += &format!(" {}", rest.trim_start()),
                None => joined += &format!("\n{line}"),
            }
        }
        assert_eq!(joined.trim_start(), plain.trim_end());
    }
    assert_eq!(on_terminal(&s, 1000, "TERM=dumb"), plain);
    assert!(on_terminal(&s, 1000, "TERM=xterm").contains("\u{1b}["));
}

/// Not root: what root has to do says so.
#[test]
fn a_user_is_told_to_do_it_through_sudo_and_root_is_not() {
    let Some(s) = host() else { return };
    s.sh("ip link set br0 down");
    let fix = |line: &str| -> String {
        let checked: Checked = check(&s, line);
        checked.says("problem", "br0 is down").fix.clone()
    };
    assert_eq!(fix("qemu-ifup --check"), "ip link set dev br0 up");
    let through_sudo = "sudo ip link set dev br0 up";
    assert_eq!(fix("alice qemu-ifup --check"), through_sudo);
    // Whoever called it through sudo reads the answer in a shell of their own.
    assert_eq!(fix("SUDO_UID=1000 qemu-ifup --check"), through_sudo);
    must(&s, through_sudo);
    check(&s, "qemu-ifup --check").says("ok", "br0 is up");
    // A container has no sudo.
    s.sh("ip link set br0 down");
    let whole = sh(&s, "qemu-ifup --check").stdout;
    assert!(!whole.contains("sudo"), "{whole}");
}
