//! What --check says.

use crate::check::{
    assert_unchanged, check, command_in, complaint_and_cure, give_uplink, snapshot,
};
use crate::common::sandbox::Sandbox;
use crate::common::users::open_tap_as;
use crate::host::{host, host_with, must, on_its_own, sh};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn where_all_is_well_check_says_so_and_changes_nothing() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup tap0");
    let before = snapshot(&s);
    for line in [
        "qemu-ifup --check tap0",
        "qemu-ifup --check tap1",
        "qemu-ifup --check",
    ] {
        let checked = check(&s, line);
        let ok = checked.found.iter().all(|found| found.level == "ok");
        assert!(ok && checked.code == 0, "{line}: {checked:#?}");
        let abouts: Vec<_> = checked.found.iter().map(|found| &found.subject).collect();
        assert_eq!(
            abouts.contains(&&"tap".to_owned()),
            line.contains("tap"),
            "{line}"
        );
    }
    assert_unchanged(&s, &before);
}

#[test]
fn an_ordinary_user_is_told_all_that_they_may_know() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup --owner 54321 mine0");
    let _held = open_tap_as(0, "mine0", 0).unwrap();
    let before = snapshot(&s);
    let checked = check(&s, "alice qemu-ifup --check mine0");
    assert_unchanged(&s, &before);
    assert_eq!(checked.code, 0, "{checked:#?}");
    checked.says("ok", "uid 54321, without CAP_NET_ADMIN. The tap is ready");
    for words in [
        "br0 is up, MTU 1500",
        "br0 has an IP address",
        "br0 has 1 of 1023 ports",
        "mine0: owner uid 54321",
        "mine0 is up on br0",
    ] {
        checked.says("ok", words);
    }
    let found = checked.says("ok", "mine0 is in use by a program of another user");
    let named = must(&s, command_in(&found.fix, "sudo qemu-ifup --check")).stdout;
    // It is a thread of this process, which is itself elsewhere.
    let elsewhere = "mine0 is in use by a program in another network namespace";
    assert!(named.contains(elsewhere), "{named}");
    // Of another tap, or of none, they could have nothing.
    for args in ["", "mine1"] {
        let checked = check(&s, &format!("alice qemu-ifup --check {args}"));
        assert_eq!(checked.code, 3);
        checked.says("problem", "uid 54321, without CAP_NET_ADMIN");
    }
}

#[test]
fn a_tap_of_the_same_name_in_another_network_is_not_taken_for_this_one() {
    let Some(s) = host() else { return };
    s.sh("ip tuntap add twin0 mode tap");
    let other = on_its_own("the other one", || {
        let sandbox = Sandbox::new()?;
        let held = open_tap_as(0, "twin0", 0).unwrap();
        Some((sandbox, held))
    });
    let checked = check(&s, "qemu-ifup --check twin0");
    checked.does_not_say("ok", "is in use by");
    drop(other);
}

#[test]
fn lines_of_the_configuration_are_named_with_file_and_number() {
    let Some(s) = host() else { return };
    s.bridge_up("br1");
    s.etc(
        "qemu-ifup.conf",
        "# bridges\n*    --bridge br0\ntap? --bridge br1 --isolated\nweb? --bridge br2\n",
    );
    let checked = check(&s, "qemu-ifup --check tap0");
    checked.says("ok", "/etc/qemu-ifup.conf:2 matches: *    --bridge br0");
    checked.says(
        "ok",
        "/etc/qemu-ifup.conf:3 matches: tap? --bridge br1 --isolated",
    );
    checked.says("ok", "the bridge is br1");
    checked.does_not_say("ok", "/etc/qemu-ifup.conf:4");
    // The command line wins.
    let checked = check(&s, "qemu-ifup --check --bridge br0 tap0");
    checked.says("ok", "the bridge is br0");
}

#[test]
fn broken_files_of_roots_are_findings_with_exit_code_8() {
    #[rustfmt::skip]
    let table = [
        // (the file, its contents, its mode, what is said, how the command begins, if there is one)
        ("qemu-ifup.conf", "# nothing\nweb? --brige br1\n", 0o644, "/etc/qemu-ifup.conf:2: unknown option", ""),
        ("qemu-ifup.conf", "* --bridge br0\n", 0o666, "/etc/qemu-ifup.conf is not safe to use", "cp"),
        ("qemu/bridge.conf", "allow br0\nallow\n", 0o644, "/etc/qemu/bridge.conf:2: not a rule", ""),
        ("qemu/bridge.conf", "allow br0\n", 0o664, "/etc/qemu/bridge.conf is not safe to use", "cp"),
    ];
    for (file, contents, mode, words, start) in table {
        on_its_own(words, || {
            let Some(s) = host() else { return };
            s.etc(file, contents);
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(Path::new("/etc").join(file), mode).unwrap();
            let checked = check(&s, "qemu-ifup --check tap0");
            assert_eq!(checked.code, 8, "{checked:#?}");
            assert_ne!(checked.says("problem", words).fix, "");
            if !start.is_empty() {
                complaint_and_cure(&s, "qemu-ifup --check tap0", "problem", words, start);
            }
        });
    }
}

#[test]
fn a_missing_bridge_that_would_be_created_is_no_problem() {
    let Some(s) = host() else { return };
    s.etc(
        "qemu-ifup.conf",
        "tap? --bridge br7 --create-bridge --address 192.168.7.1/24\n",
    );
    for line in [
        "qemu-ifup --check tap0",
        "qemu-ifup --check -b br6 --create-bridge --address 192.168.6.1/24 tap1",
    ] {
        let checked = check(&s, line);
        assert_eq!(checked.code, 0, "{checked:#?}");
        checked.says("ok", "does not exist and will be created");
        must(&s, &line.replace("--check", ""));
    }
    assert_eq!(check(&s, "qemu-ifup --check -b br5 web0").code, 4);
}

#[test]
fn a_bridge_that_cannot_be_created_since_its_network_is_in_use_is_a_problem() {
    let Some(s) = host() else { return };
    s.etc(
        "qemu-ifup.conf",
        "* --bridge br7 --create-bridge --address 192.168.10.7/24\n",
    );
    for line in ["qemu-ifup --check", "qemu-ifup --check tap0"] {
        let checked = check(&s, line);
        assert_eq!(checked.code, 4, "{checked:#?}");
        checked.says("problem", "br0 already has an address in that network");
    }
}

#[test]
fn a_bridge_with_an_uplink_needs_no_forwarding_by_the_host() {
    let Some(s) = host() else { return };
    s.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    let words = "IPv4 forwarding is off";
    let found = check(&s, "qemu-ifup --check");
    let found = found.says("ok", words);
    give_uplink(&s, 1500);
    check(&s, "qemu-ifup --check").does_not_say("ok", words);
    s.sh("ip link del up0");
    must(&s, command_in(&found.fix, "sysctl"));
    check(&s, "qemu-ifup --check").says("ok", "IPv4 forwarding is on");
}

#[test]
fn a_bridge_that_leads_nowhere_is_complained_about() {
    let Some(s) = host() else { return };
    s.sh("ip address flush dev br0");
    let words = "br0 has neither an IP address nor an uplink";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip address");
    s.sh("ip link set br0 down");
    complaint_and_cure(
        &s,
        "qemu-ifup --check",
        "problem",
        "br0 is down",
        "ip link set",
    );
}

#[test]
fn escape_sequences_in_names_do_not_reach_the_terminal() {
    let Some(s) = host() else { return };
    s.etc("qemu-ifup.conf", "* --bridge br9 # \u{1b}[31m\n");
    s.sh("name=$(printf 'x\\033[31m'); ip link add \"$name\" type bridge");
    for name in ["t\u{1b}[2J", "x\u{1b}[31m"] {
        for option in ["", "--bridge"] {
            let line = format!("qemu-ifup --check -v {option} '{name}'");
            let said = sh(&s, &line).stdout;
            assert!(!said.contains('\u{1b}'), "{said:?}");
            assert!(said.contains(&name.replace('\u{1b}', "\\x1b")), "{said}");
        }
    }
}

#[test]
fn colours_are_for_terminals_and_not_where_no_color_is_set() {
    let Some(s) = host_with("script") else { return };
    s.sh("ip link set br0 type bridge stp_state 1; rm /dev/net/tun");
    // The sandbox has a /dev without pseudo-terminals.
    s.sh("mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts; ln -sf pts/ptmx /dev/ptmx");
    let plain = sh(&s, "qemu-ifup --check tap0");
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:?}");

    let on_terminal = |variables: &str| {
        let line = "script -qec 'qemu-ifup --check tap0' /dev/null";
        let run = sh(&s, &format!("{variables} {line}"));
        assert_eq!(run.code, 6, "{run:?}");
        run.stdout.replace("\r\n", "\n")
    };
    let colourful = on_terminal("NO_COLOR=");
    let mut without = colourful.clone();
    for (word, colour) in [("ok     ", "32"), ("warning", "1;33"), ("problem", "1;31")] {
        let painted = format!("\u{1b}[{colour}m{word}\u{1b}[0m");
        assert!(colourful.contains(&painted), "{colourful:?}");
        without = without.replace(&painted, word);
    }
    // The same columns, and no other escape sequence.
    assert_eq!(without, plain.stdout);
    assert_eq!(on_terminal("NO_COLOR=1"), plain.stdout);
}
