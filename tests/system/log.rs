//! The lines for syslog.

use crate::common::sandbox::lines;
use crate::common::users::ALICE;
use crate::common::{command, run};
use crate::expect::{assert_attached, assert_silent_success, sandbox};
use crate::host::{host, host_for_alice, must};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

#[test]
fn success_is_logged_as_information_and_failure_as_an_error() {
    let Some(s) = sandbox() else { return };
    let log = s.devlog();
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_silent_success(&s.ifdown(&["tap0"]));
    s.ifup(&["--bridge", "br9", "tap0"]);
    s.ifup(&["--bridge", "br9", "\u{1b}[31m\\x"]);
    s.ifdown(&["two\nlines"]);
    let lines = lines(&log);
    let expected = [
        (
            "<30>qemu-ifup[",
            "tap0: up on br0, given to uid 0 (uid 0, called by pid ",
        ),
        (
            "<30>qemu-ifdown[",
            "tap0: down, detached from br0, given to uid 0 (uid 0, called by pid ",
        ),
        (
            "<27>qemu-ifup[",
            "tap0: cannot attach to br9: no such bridge",
        ),
        (
            "<27>qemu-ifup[",
            "\\x1b[31m\\x5cx: cannot attach to br9: no such bridge",
        ),
        (
            "<27>qemu-ifdown[",
            "'two\\x0alines' is not an interface name: ",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (start, text)) in lines.iter().zip(expected) {
        let rest = line.strip_prefix(start).expect(line);
        let (pid, said) = rest.split_once("]: ").expect(line);
        assert!(pid.parse::<u32>().is_ok(), "{line}");
        assert!(said.starts_with(text), "{line}");
        assert!(!line.contains(['\n', '\0', '\u{1b}']), "{line:?}");
    }
}

#[test]
fn a_syslog_that_takes_nothing_does_not_hold_the_work_up() {
    let Some(s) = sandbox() else { return };
    let _log = s.devlog();
    let flood = UnixDatagram::unbound().unwrap();
    flood.connect("/dev/log").unwrap();
    flood.set_nonblocking(true).unwrap();
    while flood.send(b"<30>noise").is_ok() {}

    let start = Instant::now();
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_attached(&s, "tap0");
    assert_eq!(s.ifup(&["--bridge", "br9", "tap0"]).code, 4);
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// One line, from this facility and severity, of this program, with all these words, and for whom it was.
#[track_caller]
fn assert_logged(lines: &[String], start: &str, words: &[&str], uid: u32) {
    let [line] = lines else {
        panic!("not one line: {lines:#?}");
    };
    assert!(line.starts_with(start), "{line}");
    for word in words {
        assert!(line.contains(word), "no '{word}': {line}");
    }
    let end = format!(" (uid {uid}, called by pid {})", std::process::id());
    assert!(line.ends_with(&end), "no '{end}': {line}");
}

#[test]
fn each_success_is_one_line_with_tap_bridge_owner_caller_and_parent() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    let log = s.devlog();
    let success = |uid: u32, program: &str, args: &[&str], words: &[&str]| {
        let path = format!("/etc/{program}");
        let args = [&[path.as_str()], args].concat();
        let run = match uid {
            0 => run(command(args[0]).args(&args[1..])),
            uid => s.as_user(uid, uid, &args),
        };
        assert_eq!(run.code, 0, "{run:?}");
        assert_logged(&lines(&log), &format!("<30>{program}["), words, uid);
    };
    let theirs = ["tap0: up on br0", "given to uid 54321"];
    success(0, "qemu-ifup", &["--owner", "54321", "tap0"], &theirs);
    success(0, "qemu-ifup", &["tap0"], &theirs);
    success(
        0,
        "qemu-ifup",
        &["--group", "7", "tap1"],
        &["tap1: up on br0", "given to gid 7"],
    );
    success(
        ALICE,
        "qemu-ifup",
        &["tap2"],
        &["tap2: up on br0", "given to uid 54321"],
    );
    success(ALICE, "qemu-ifdown", &["--delete", "tap2"], &["tap2: "]);
    success(
        0,
        "qemu-ifdown",
        &["--delete", "tap0"],
        &["tap0: down", "br0", "deleted"],
    );

    // What changes nothing leaves no trace.
    must(
        &s,
        "qemu-ifup --dry-run tap3; qemu-ifup --check tap3 || :; qemu-ifup --help",
    );
    assert_eq!(lines(&log), Vec::<String>::new());
}

#[test]
fn the_line_for_a_tap_that_was_taken_down_names_its_owner_too() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup --owner 54321 tap0");
    let log = s.devlog();
    assert_eq!(run(command("/etc/qemu-ifdown").arg("tap0")).code, 0);
    assert_logged(
        &lines(&log),
        "<30>qemu-ifdown[",
        &["tap0: down", "br0", "uid 54321"],
        0,
    );
}

#[test]
fn each_refusal_is_one_line_for_the_administrator_with_the_rule() {
    let Some(s) = host_for_alice("allow br0\n# not this one\ndeny br9\nallow br9\n") else {
        return;
    };
    s.sh("ip tuntap add t0 mode tap user 5");
    let log = s.devlog();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 4] = [
        (&["--bridge", "br9", "tap0"], "tap0: cannot attach to br9: denied by /etc/qemu/bridge.conf:3"),
        (&["--bridge", "br8", "tap0"], "tap0: cannot attach to br8: no line of /etc/qemu/bridge.conf allows br8"),
        (&["t0"], "t0: cannot use the tap: its owner is another user"),
        (&["--owner", "5", "tap0"], "tap0: cannot set the owner to uid 5"),
    ];
    for (args, words) in table {
        let run = s.as_user(ALICE, ALICE, &[&["/etc/qemu-ifup"], args].concat());
        assert_eq!(run.code, 3, "{run:?}");
        assert_logged(&lines(&log), "<37>qemu-ifup[", &[words], ALICE);
    }
}
