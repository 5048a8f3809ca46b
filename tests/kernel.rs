//! The two programs against the running kernel, each test in a network of its own.
//!
//! What becomes of an interface is read back with `ip -j` and `bridge -j`, never from what the programs say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use common::strace::{Call, calls, calls_in, interrupted, place_of};
use common::{
    Run, Sandbox, bin, changes, command, eventually, inherit, is_up, lines, open_tap_as, run,
};
use qemu_ifup::name::{IFNAMSIZ, IfName};
use qemu_ifup::text::Escaped;
use serde_json::{Value, json};
use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Users whom no /etc/passwd knows, so that ip(8) prints the number.
const ALICE: u32 = 54321;
const MALLORY: u32 = 54322;

/// A sandbox with br0.
fn sandbox() -> Option<Sandbox> {
    let sandbox = Sandbox::new()?;
    sandbox.bridge_up("br0");
    Some(sandbox)
}

fn ifup_with(environment: &[(&str, &str)], args: &[&str]) -> Run {
    let environment = environment.iter().copied();
    run(command(bin("qemu-ifup")).envs(environment).args(args))
}

/// What the driver says of the tap: owner, flags.
fn tap_info(sandbox: &Sandbox, tap: &str) -> Value {
    sandbox.link(tap).unwrap()["linkinfo"]["info_data"].clone()
}

fn inet6_of(sandbox: &Sandbox, dev: &str) -> Vec<Value> {
    let shown = sandbox.ip(&["addr", "show", "dev", dev]);
    let addresses = shown[0]["addr_info"].as_array().unwrap();
    let inet6 = addresses.iter().filter(|a| a["family"] == "inet6");
    inet6.cloned().collect()
}

/// All that qemu-ifup promises of a tap that nobody has open yet or any more.
fn assert_attached(sandbox: &Sandbox, tap: &str) {
    let link = sandbox.link(tap).unwrap();
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], "br0");
    assert_eq!(link["mtu"], sandbox.link("br0").unwrap()["mtu"]);
    let address = link["address"].as_str().unwrap();
    assert!(address.starts_with("fe:"), "{address}");
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(inet6_of(sandbox, tap), Vec::<Value>::new());
    assert_eq!(link["linkinfo"]["info_data"]["persist"], true);
}

fn assert_silent_success(run: &Run) {
    let Run { code, stderr, .. } = run;
    assert_eq!((*code, stderr.as_str()), (0, ""), "{run:?}");
}

/// It worked, and said this and nothing else.
fn assert_notice(run: &Run, notice: &str) {
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.stderr, format!("{notice}\n"), "{run:?}");
}

/// It failed, and its first line is this; where there is a second one it is a hint that contains that.
fn assert_refused(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let mut lines = run.stderr.lines();
    assert_eq!(lines.next(), Some(error), "{run:?}");
    let second = lines.next().unwrap_or_default();
    assert_eq!(second.contains(": hint: "), !hint.is_empty(), "{run:?}");
    assert!(second.contains(hint), "{run:?}");
    assert_eq!(lines.next(), None, "{run:?}");
}

const NOTHING_TO_DO: &str = "qemu-ifup: tap0: already up on br0, nothing to do";

// Up and down.

#[test]
fn up_makes_a_whole_tap_and_up_again_changes_nothing() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_attached(&s, "tap0");
    assert_eq!(tap_info(&s, "tap0")["user"], "root");

    let before = s.snapshot();
    assert_notice(&s.ifup(&["tap0"]), NOTHING_TO_DO);
    s.assert_unchanged(&before);
}

#[test]
fn down_detaches_and_delete_removes() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_silent_success(&s.ifdown(&["tap0"]));
    let link = s.link("tap0").unwrap();
    assert!(!is_up(&link) && link.get("master").is_none(), "{link:#}");

    let before = s.snapshot();
    let notice = "qemu-ifdown: tap0: already down and in no bridge, nothing to do";
    assert_notice(&s.ifdown(&["tap0"]), notice);
    s.assert_unchanged(&before);

    // What is down is brought up again, and --delete also takes down what is up.
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_attached(&s, "tap0");
    assert_silent_success(&s.ifdown(&["--delete", "tap0"]));
    assert!(s.link("tap0").is_none());

    let before = s.snapshot();
    let notice = "qemu-ifdown: tap0: does not exist (any more), nothing to do";
    for args in [&["tap0"][..], &["--delete", "tap0"]] {
        assert_notice(&s.ifdown(args), notice);
    }
    s.assert_unchanged(&before);
}

#[test]
fn delete_keeps_a_tap_that_goes_with_its_program_anyway() {
    let Some(s) = sandbox() else { return };
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    s.sh("ip link set tap0 master br0 up");
    let notice = "qemu-ifdown: tap0: not removed: it is not persistent and goes with the program that has it open";
    assert_notice(&s.ifdown(&["--delete", "tap0"]), notice);
    let link = s.link("tap0").unwrap();
    assert!(!is_up(&link) && link.get("master").is_none(), "{link:#}");
}

#[test]
fn quiet_silences_notices_but_not_errors() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_silent_success(&s.ifup(&["-q", "tap0"]));
    assert_silent_success(&s.ifdown(&["--quiet", "gone"]));
    let run = s.ifup(&["--quiet", "--bridge", "br9", "tap0"]);
    let error = "qemu-ifup: tap0: cannot attach to br9: no such bridge (there is br0)";
    assert_refused(&run, 4, error, "ip link add br9 type bridge");
}

// Who owns a tap, and who may use it.

#[test]
fn a_tap_belongs_to_whom_it_is_made_for() {
    let Some(s) = sandbox() else { return };
    s.sh("echo 'ann:x:54399:54399::/:/bin/sh' >>/etc/passwd; echo 'annes:x:54398:' >>/etc/group");
    type Environment = &'static [(&'static str, &'static str)];
    let cases: [(Environment, &[&str], &str, Value); 9] = [
        (&[], &[], "user", json!("root")),
        (&[("SUDO_UID", "54321")], &[], "user", json!(ALICE)),
        (&[("PKEXEC_UID", "54321")], &[], "user", json!(ALICE)),
        (&[("DOAS_USER", "ann")], &[], "user", json!("ann")),
        (&[], &["-u", "ann"], "user", json!("ann")),
        (&[], &["--owner", "54321"], "user", json!(ALICE)),
        (&[("SUDO_UID", "1")], &["-u", "ann"], "user", json!("ann")),
        (&[], &["--group", "annes"], "group", json!("annes")),
        (
            &[("SUDO_UID", "1")],
            &["-g", "54321"],
            "group",
            json!(ALICE),
        ),
    ];
    for (environment, args, key, expected) in cases {
        let run = ifup_with(environment, &[args, &["tap0"]].concat());
        assert_silent_success(&run);
        assert_attached(&s, "tap0");
        let mut info = tap_info(&s, "tap0");
        let at = format!("{environment:?} {args:?} {info}");
        assert_eq!(info[key].take(), expected, "{at}");
        // One or the other, never both.
        assert!(info["user"].is_null() && info["group"].is_null(), "{at}");
        s.sh("ip link del tap0");
    }
}

#[test]
fn only_the_owner_or_the_group_can_open_the_tap() {
    let Some(s) = sandbox() else { return };
    s.open_tun_to_all();
    for (option, queues) in [
        ("--owner", 0),
        ("--group", 0),
        ("-u", libc::IFF_MULTI_QUEUE),
    ] {
        let multi_queue: &[&str] = if queues == 0 { &[] } else { &["--multi-queue"] };
        let run = s.ifup(&[multi_queue, &[option, "54321", "tap0"]].concat());
        assert_silent_success(&run);
        let refused = open_tap_as(MALLORY, "tap0", queues).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "{option}");
        let opened = open_tap_as(ALICE, "tap0", queues).unwrap();
        let joined = open_tap_as(MALLORY, "tap0", queues).unwrap_err();
        // With one queue "busy" may come first.
        let errno = joined.raw_os_error();
        assert!(
            errno == Some(libc::EPERM) || queues == 0 && errno == Some(libc::EBUSY),
            "{option}: {joined}"
        );
        drop(opened);
        s.sh("ip link del tap0");
    }
}

#[test]
fn nobody_but_root_gets_anything_done() {
    let Some(s) = sandbox() else { return };
    s.install();
    s.open_tun_to_all();
    s.sh("ip tuntap add tap1 mode tap user 54321; ip link set tap1 master br0 up");
    let before = s.snapshot();
    for (program, tap) in [
        ("qemu-ifup", "tap0"),
        ("qemu-ifup", "tap1"),
        ("qemu-ifdown", "tap1"),
    ] {
        let run = s.as_user(ALICE, ALICE, &[&format!("/etc/{program}"), tap]);
        let error = format!(
            "{program}: {tap}: cannot change interfaces: this user may not (no CAP_NET_ADMIN)"
        );
        assert_refused(&run, 3, &error, "sudo");
    }
    s.assert_unchanged(&before);
}

// Taps that are there already.

#[test]
fn a_tap_that_is_there_by_half_is_completed() {
    let Some(s) = sandbox() else { return };
    // Set by hand, since a bridge otherwise follows the smallest of its ports.
    s.sh("ip link set br0 mtu 1600; ip link set br0 mtu 1500");
    let cases = [
        "",
        "ip link set tap0 up",
        "ip link set tap0 master br0",
        "ip link set tap0 addrgenmode none; ip link set tap0 master br0 up",
        "ip link set tap0 mtu 1400; ip link set tap0 master br0 up",
        "ip link set tap0 mtu 9000 master br0",
        "ip link set tap0 address 02:00:00:00:00:77 addrgenmode none; ip link set tap0 master br0 up",
        "ip link set tap0 address fe:00:00:00:00:77; ip link set tap0 master br0 up",
        "ip link set tap0 addrgenmode eui64; ip link set tap0 up",
        "ip link set tap0 addrgenmode random master br0; ip link set tap0 up",
        "echo 1 >/proc/sys/net/ipv6/conf/tap0/disable_ipv6",
    ];
    for setup in cases {
        // The kernel's own choice of an address would begin with fe once in 64 times, and then nothing need be done.
        s.sh("ip tuntap add tap0 mode tap user 54321; ip link set tap0 address 5a:00:00:00:00:77");
        s.sh(setup);
        let before = s.link("tap0").unwrap();
        let run = s.ifup(&["tap0"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "after {setup}");
        assert_attached(&s, "tap0");
        let after = s.link("tap0").unwrap();
        assert_eq!(after["ifindex"], before["ifindex"], "after {setup}");
        // Of the address only what has to change does.
        let tail = |link: &Value| link["address"].as_str().unwrap()[3..].to_owned();
        assert_eq!(tail(&after), tail(&before), "after {setup}");
        assert_eq!(tap_info(&s, "tap0")["user"], ALICE, "after {setup}");
        let second = s.ifup(&["tap0"]);
        assert_eq!(
            second.stderr.trim_end(),
            NOTHING_TO_DO,
            "twice after {setup}"
        );
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_link_local_address_that_the_tap_has_already_is_gone_afterwards() {
    let Some(s) = sandbox() else { return };
    for still_open in [true, false] {
        s.sh("ip tuntap add tap0 mode tap user 54321; ip link set tap0 addrgenmode eui64");
        let mut held = Some(open_tap_as(0, "tap0", 0).unwrap());
        s.sh("ip link set tap0 up");
        eventually(|| (!inet6_of(&s, "tap0").is_empty()).then_some(()))
            .expect("the tap was to have an address");
        held.take_if(|_| !still_open);
        assert_silent_success(&s.ifup(&["tap0"]));
        assert_attached(&s, "tap0");
        drop(held);
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_tap_that_was_too_small_for_ipv6_gets_no_address_with_the_larger_mtu() {
    let Some(s) = sandbox() else { return };
    for state in ["down", "up"] {
        s.sh(&format!(
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 mtu 1000 {state}"
        ));
        // With a carrier the kernel makes the address at once.
        let held = open_tap_as(0, "tap0", 0).unwrap();
        assert_silent_success(&s.ifup(&["tap0"]));
        assert_attached(&s, "tap0");
        drop(held);
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_tap_that_lets_everybody_in_is_given_to_the_invoking_user_and_else_stays_as_it_is() {
    let Some(s) = sandbox() else { return };
    for flags in 0..8 {
        let words: Vec<&str> = ["pi", "vnet_hdr", "multi_queue"]
            .into_iter()
            .enumerate()
            .filter_map(|(bit, word)| (flags & (1 << bit) != 0).then_some(word))
            .collect();
        s.sh(&format!(
            "ip tuntap add tap0 mode tap {}; ip link set tap0 addrgenmode none",
            words.join(" ")
        ));
        let before = s.link("tap0").unwrap();
        let mut info = before["linkinfo"]["info_data"].clone();
        assert_eq!(info.get("user"), None);
        let run = ifup_with(&[("SUDO_UID", "54321")], &["tap0"]);
        assert_silent_success(&run);
        assert_attached(&s, "tap0");
        info["user"] = json!(ALICE);
        assert_eq!(tap_info(&s, "tap0"), info, "{words:?}");
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_tap_is_given_through_its_descriptor_whatever_number_that_has() {
    let Some(s) = sandbox() else { return };
    for number in [31, 32, 63, 64, 100, 500] {
        let held = open_tap_as(0, "tap0", 0).unwrap();
        let mut ifup = command(bin("qemu-ifup"));
        ifup.args(["--owner", "54321", "tap0"]);
        inherit(&mut ifup, held.try_clone().unwrap(), number);
        assert_silent_success(&run(&mut ifup));
        assert_eq!(tap_info(&s, "tap0")["user"], ALICE, "{number}");
        drop((ifup, held));
        eventually(|| s.link("tap0").is_none().then_some(())).expect("the tap stays");
    }
}

/// Until it is given to its owner, a tap with several queues is open to everybody.
#[test]
fn nothing_is_done_between_the_making_of_a_tap_and_its_giving() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    for (args, gives) in [
        (&["tap0"][..], "TUNSETOWNER"),
        (&["--multi-queue", "tap0"], "TUNSETOWNER"),
        (
            &["--multi-queue", "--owner", "54321", "tap0"],
            "TUNSETOWNER",
        ),
        (
            &["--multi-queue", "--group", "54321", "tap0"],
            "TUNSETGROUP",
        ),
    ] {
        let calls = calls(&s, "qemu-ifup", args);
        let made = place_of(&calls, "TUNSETIFF");
        let next = &calls[made + 1].line;
        assert!(next.contains(gives), "{args:?}: {next}");
        s.sh("ip link del tap0");
    }
    // A helper asks for the name that the kernel chose, which nobody else could know. Its tap has one queue.
    let log = s.dir().join("log");
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let mut helper = command("strace");
    helper.arg("-o").arg(&log).arg(bin("qemu-ifup"));
    helper.args(["--br=br0", "--fd=50"]);
    inherit(&mut helper, theirs, 50);
    assert_silent_success(&run(&mut helper));
    let calls = calls_in(&fs::read_to_string(log).unwrap());
    let [made, given] = ["TUNSETIFF", "TUNSETOWNER"].map(|call| place_of(&calls, call));
    for call in &calls[made + 1..given] {
        assert!(call.line.contains("TUNGETIFF"), "{}", call.line);
    }
}

#[test]
fn an_idle_tap_can_be_given_to_another_owner_or_group() {
    let Some(s) = sandbox() else { return };
    for (setup, option, key) in [
        ("user 54322", "--owner", "user"),
        ("group 54322", "--group", "group"),
    ] {
        s.sh(&format!("ip tuntap add tap0 mode tap {setup}"));
        assert_silent_success(&s.ifup(&["tap0"]));
        assert_eq!(tap_info(&s, "tap0")[key], MALLORY);
        assert_silent_success(&s.ifup(&[option, "54321", "tap0"]));
        assert_eq!(tap_info(&s, "tap0")[key], ALICE);
        assert_attached(&s, "tap0");
        s.sh("ip link del tap0");
    }
}

#[test]
fn what_nobody_can_change_about_a_tap_is_refused() {
    let Some(s) = sandbox() else { return };
    let cases: [(&str, bool, &[&str], &str); 5] = [
        (
            "user 54321",
            true,
            &["--owner", "54322"],
            "cannot set the owner to uid 54322: another program has it open",
        ),
        (
            "",
            true,
            &["--group", "54322"],
            "cannot set the group to gid 54322: another program has it open",
        ),
        (
            "user 54321",
            false,
            &["--multi-queue"],
            "cannot give it several queues: it was made for one, and the kernel cannot change that",
        ),
        (
            "user 54321",
            false,
            &["--group", "54321"],
            "cannot set the group to gid 54321: it has an owner, whom the kernel cannot take back",
        ),
        (
            "group 54321",
            false,
            &["--owner", "54321"],
            "cannot set the owner to uid 54321: it has a group, which the kernel cannot take back",
        ),
    ];
    for (setup, is_held, args, error) in cases {
        s.sh(&format!("ip tuntap add tap0 mode tap {setup}"));
        let held = is_held.then(|| open_tap_as(0, "tap0", 0).unwrap());
        let before = s.snapshot();
        let run = s.ifup(&[args, &["tap0"]].concat());
        let error = format!("qemu-ifup: tap0: {error}");
        let hint = if is_held {
            "qemu-ifup --check tap0"
        } else {
            "qemu-ifdown --delete tap0"
        };
        assert_refused(&run, 5, &error, hint);
        s.assert_unchanged(&before);
        drop(held);
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_tap_in_another_bridge_is_moved_with_a_notice() {
    let Some(s) = sandbox() else { return };
    s.bridge_up("br1");
    assert_silent_success(&s.ifup(&["--bridge", "br1", "tap0"]));
    assert_eq!(s.ports("br1"), ["tap0"]);
    let run = s.ifup(&["tap0"]);
    assert_notice(&run, "qemu-ifup: tap0: moved from br1 to br0");
    assert_attached(&s, "tap0");
    assert_eq!(s.ports("br1"), Vec::<String>::new());
}

// What becomes of the bridge.

#[test]
fn a_jumbo_bridge_stays_one_and_the_tap_follows() {
    let Some(s) = sandbox() else { return };
    s.bridge_up("br1");
    // One is told its MTU, the other takes it from its port and would take a tap's.
    s.sh("ip link set br1 mtu 9000
          ip link add up0 mtu 9000 type veth peer name up1 mtu 9000
          ip link set up0 master br0");
    for bridge in ["br0", "br1"] {
        let mtu = |name| s.link(name).unwrap()["mtu"].clone();
        assert_eq!(mtu(bridge), 9000);
        assert_silent_success(&s.ifup(&["--bridge", bridge, "tap0"]));
        assert_eq!((mtu(bridge), mtu("tap0")), (json!(9000), json!(9000)));
        assert_silent_success(&s.ifdown(&["--delete", "tap0"]));
        assert_eq!(mtu(bridge), 9000);
    }
}

#[test]
fn the_tap_gets_the_mtu_that_is_asked_for() {
    let Some(s) = sandbox() else { return };
    for mtu in [1400, 68, 65521] {
        let word = mtu.to_string();
        assert_silent_success(&s.ifup(&["--mtu", &word, "tap0"]));
        assert_eq!(s.link("tap0").unwrap()["mtu"], mtu);
        assert_silent_success(&s.ifdown(&["--delete", "tap0"]));
    }
}

#[test]
fn the_address_of_a_bridge_with_an_uplink_stays_while_taps_come_and_go() {
    let Some(s) = Sandbox::new() else { return };
    // No address is given to the bridge: it takes the lowest of its ports.
    s.sh("ip link add br0 type bridge; ip link set br0 up
          ip link add up0 address 52:54:00:12:34:56 type veth peer name up1
          ip link set up0 master br0 up; ip link set up1 up");
    let address = || s.link("br0").unwrap()["address"].clone();
    assert_eq!(address(), "52:54:00:12:34:56");
    let taps = ["tap0", "tap1", "tap2", "tap3", "tap4"];
    for tap in taps {
        assert_silent_success(&s.ifup(&[tap]));
        assert_eq!(address(), "52:54:00:12:34:56");
    }
    for tap in taps {
        assert_silent_success(&s.ifdown(&["--delete", tap]));
        assert_eq!(address(), "52:54:00:12:34:56");
    }
}

#[test]
fn a_host_or_a_bridge_without_ipv6_is_no_obstacle() {
    let Some(s) = Sandbox::new() else { return };
    let cases = [
        "ip link set br0 mtu 1000",
        "ip link set br0 mtu 1000; ip tuntap add tap0 mode tap user 54321",
        "ip link set br0 mtu 1000
         ip tuntap add tap0 mode tap user 54321; ip link set tap0 up mtu 1000",
        "echo 1 >/proc/sys/net/ipv6/conf/br0/disable_ipv6",
        "for c in all default; do echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done",
    ];
    for setup in cases {
        s.bridge_up("br0");
        s.sh(setup);
        let run = s.ifup(&["tap0"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "after {setup}");
        let link = s.link("tap0").unwrap();
        assert!(is_up(&link), "after {setup}: {link:#}");
        assert_eq!(link["master"], "br0", "after {setup}");
        assert_eq!(link["mtu"], s.link("br0").unwrap()["mtu"], "after {setup}");
        assert!(inet6_of(&s, "tap0").is_empty(), "after {setup}");
        let second = s.ifup(&["tap0"]);
        assert_eq!(
            second.stderr.trim_end(),
            NOTHING_TO_DO,
            "twice after {setup}"
        );
        s.sh("ip link del tap0; ip link del br0");
    }
}

/// With a smaller MTU an interface has no IPv6, and with it no such addresses either, nor a mode of making them.
#[test]
fn at_the_smallest_mtu_of_ipv6_a_tap_makes_no_addresses_and_below_it_is_no_obstacle() {
    let Some(s) = sandbox() else { return };
    for (mtu, mode) in [
        (1279, Value::Null),
        (1280, json!("none")),
        (1281, json!("none")),
    ] {
        s.sh(&format!("ip link set br0 mtu {mtu}"));
        for setup in [
            "",
            "ip tuntap add tap0 mode tap user 54321",
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 mtu 1279",
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 mtu 1279; ip link set tap0 up",
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 mtu 1280",
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 mtu 1280; ip link set tap0 up",
        ] {
            s.sh(setup);
            let run = s.ifup(&["tap0"]);
            assert_silent_success(&run);
            let link = s.link("tap0").unwrap();
            let at = format!("{mtu} after '{setup}': {link:#}");
            assert_eq!(link["mtu"], mtu, "{at}");
            // With a carrier the kernel makes an address at once, if it makes any.
            let _held = open_tap_as(ALICE, "tap0", 0);
            assert!(inet6_of(&s, "tap0").is_empty(), "{at}");
            let shown = &link["inet6_addr_gen_mode"];
            assert!(mode.is_null() || *shown == mode, "{at}");
            s.sh("ip link del tap0");
        }
    }
}

#[test]
fn the_tap_that_a_full_bridge_has_no_room_for_is_not_left_behind() {
    let Some(s) = sandbox() else { return };
    // Both ends of 511 pairs and one of another: 1023 ports, which stay down, so that nothing runs in circles.
    let mut batch = String::new();
    for n in 0..512 {
        batch += &format!("link add a{n} type veth peer name b{n}\nlink set a{n} master br0\n");
        if n != 0 {
            batch += &format!("link set b{n} master br0\n");
        }
    }
    let file = s.dir().join("batch");
    fs::write(&file, batch).unwrap();
    s.sh("ip -batch \"$DIR/batch\"");
    let run = s.ifup(&["tap0"]);
    let error = "qemu-ifup: tap0: cannot attach to br0: the bridge is full";
    assert_refused(&run, 4, error, "1023");
    assert!(s.link("tap0").is_none());
    assert_eq!(s.ports("br0").len(), 1023);
    // One port less, and there is room.
    s.sh("ip link set a0 nomaster");
    assert_silent_success(&s.ifup(&["tap0"]));
}

// What is refused.

/// One interface of every sort that could be mistaken for a tap or a bridge. The plain macvtap driver is not
/// in every kernel, and is left out there.
fn zoo(s: &Sandbox) -> bool {
    s.sh(
        "ip link add v0 type veth peer name v1; ip link property add dev v0 altname tap0alt
          ip link property add dev br0 altname br0alt
          ip tuntap add tap1 mode tap user 54321; ip link property add dev tap1 altname tap1alt
          ip link set tap1 master br0 up
          ip tuntap add tun0 mode tun
          ip link add link v0 name mv0 type macvlan",
    );
    s.try_sh("ip link add link v0 name mt0 type macvtap").code == 0
}

#[test]
fn no_interface_but_a_tap_is_touched_by_either_program() {
    let Some(s) = sandbox() else { return };
    let mut cases = vec![
        ("br0", "a bridge"),
        ("v0", "an interface of kind veth"),
        ("mv0", "an interface of kind macvlan"),
        ("tun0", "a tun interface"),
        ("lo", "a network card or other plain interface"),
    ];
    if zoo(&s) {
        cases.push(("mt0", "an interface of kind macvtap"));
    }
    let before = s.snapshot();
    for (name, what) in cases {
        let hint = "name a tap, or a name that is not in use";
        let error = format!("{name}: cannot use it: it is not a tap but {what}");
        assert_refused(&s.ifup(&[name]), 5, &format!("qemu-ifup: {error}"), hint);
        for args in [&[name][..], &["--delete", name]] {
            assert_refused(&s.ifdown(args), 5, &format!("qemu-ifdown: {error}"), hint);
        }
    }
    s.assert_unchanged(&before);
}

#[test]
fn only_a_bridge_that_is_there_is_attached_to() {
    let Some(s) = sandbox() else { return };
    let mut cases = vec![
        ("br9", "no such bridge (there is br0)"),
        ("br0alt", "no such bridge (there is br0)"),
        ("v0", "it is not a bridge but an interface of kind veth"),
        ("mv0", "it is not a bridge but an interface of kind macvlan"),
        ("tap1", "it is not a bridge but a tap"),
        (
            "lo",
            "it is not a bridge but a network card or other plain interface",
        ),
    ];
    if zoo(&s) {
        cases.push(("mt0", "it is not a bridge but an interface of kind macvtap"));
    }
    let before = s.snapshot();
    for (bridge, why) in cases {
        // A tap that would have to be made, and one that is there.
        for tap in ["tap0", "tap1"] {
            let run = s.ifup(&["--bridge", bridge, tap]);
            let error = format!("qemu-ifup: {tap}: cannot attach to {bridge}: {why}");
            assert_refused(&run, 4, &error, "--bridge");
        }
    }
    s.assert_unchanged(&before);
}

#[test]
fn an_alternative_name_is_not_taken_for_the_name() {
    let Some(s) = sandbox() else { return };
    zoo(&s);
    let before = s.snapshot();
    for name in ["tap0alt", "tap1alt"] {
        let run = s.ifup(&[name]);
        assert_ne!(run.code, 0, "{run:?}");
        let gone = format!("qemu-ifdown: {name}: does not exist (any more), nothing to do");
        assert_notice(&s.ifdown(&["--delete", name]), &gone);
    }
    s.assert_unchanged(&before);
}

#[test]
fn a_refusal_of_the_kernel_is_told_in_its_own_words() {
    let Some(s) = sandbox() else { return };
    // An interface with a macvlan on it can be no bridge port. It has been up before: the queueing discipline that the
    // kernel gives it then is there to stay.
    s.sh(
        "ip tuntap add tap0 mode tap user 54321; ip link set tap0 up; ip link set tap0 down
          ip link add link tap0 name mv0 type macvlan",
    );
    let before = s.snapshot();
    let error = "qemu-ifup: tap0: cannot attach to br0: Device or resource busy";
    assert_refused(&s.ifup(&["tap0"]), 7, error, "");
    s.assert_unchanged(&before);
}

#[test]
fn names_that_the_kernel_would_not_take_reach_it_from_neither_program() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    let names: [&[u8]; 19] = [
        b"",
        b"1234567890123456",
        b"12345678901234567890",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a:b",
        b"a b",
        b" tap0",
        b"tap0 ",
        b"tap0\n",
        b"a\tb",
        b"a\x0bb",
        b"a\x0cb",
        b"a\rb",
        b"a\xa0b",
        b"tap%d",
        b"%",
    ];
    for name in names {
        for program in ["qemu-ifup", "qemu-ifdown"] {
            let run = run(command(bin(program)).arg("--").arg(OsStr::from_bytes(name)));
            let start = format!("{program}: '{}' is no interface name: ", Escaped(name));
            assert_eq!(run.code, 2, "{start} {run:?}");
            assert!(run.stderr.starts_with(&start), "{start} {run:?}");
        }
        let bridge = OsStr::from_bytes(name);
        let run = run(command(bin("qemu-ifup"))
            .arg("--bridge")
            .arg(bridge)
            .arg("tap0"));
        assert_eq!(run.code, 2, "{bridge:?} {run:?}");
    }
    s.assert_unchanged(&before);
}

/// Does the kernel make a tap of that name, which must be new? It is told to keep it: so they all go at once, with the
/// namespace, which is far quicker than one by one.
fn kernel_takes(name: &[u8]) -> bool {
    nix::ioctl_readwrite_bad!(tunsetiff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tunsetpersist, libc::TUNSETPERSIST);

    let mut ifr_name = [0; IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    let mut request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: u16::try_from(flags).unwrap().cast_signed(),
        },
    };
    let tun: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives on until it returns.
    let made = unsafe { tunsetiff(tun.as_raw_fd(), &raw mut request) };
    if made.is_ok() {
        // SAFETY: TUNSETPERSIST takes a number and touches no memory of ours.
        unsafe { tunsetpersist(tun.as_raw_fd(), 1) }.unwrap();
    }
    made.is_ok()
}

#[test]
fn our_rules_for_names_are_the_kernels_own() {
    let Some(s) = Sandbox::new() else { return };
    // The kernel expands %, which is why we refuse it.
    let any_byte = (1..=255).filter(|&byte| byte != b'%');
    let mut names: Vec<Vec<u8>> = any_byte.map(|byte| vec![b'a', byte, b'b']).collect();
    names.extend((1..IFNAMSIZ).map(|length| vec![b'n'; length]));
    let odd = [
        ".", "..", "...", "all", "default", ".a", "a.", "-", "-h", "A",
    ];
    names.extend(odd.map(|name| name.as_bytes().to_owned()));

    let mut taken = 0;
    for name in names {
        let ours = IfName::new(&name);
        let kernel = kernel_takes(&name);
        assert_eq!(ours.is_ok(), kernel, "{}: {ours:?}", Escaped(&name));
        taken += usize::from(kernel);
    }
    assert!(taken > 200, "{taken}");
    // What is too long or empty is not refused by the kernel but cut, or replaced by one of its own choosing.
    for name in [vec![], vec![b'm'; 16], vec![b'o'; 17]] {
        assert!(IfName::new(&name).is_err());
        assert!(kernel_takes(&name));
    }
    assert!(s.link(&"m".repeat(15)).is_some());
}

// What goes wrong half way.

/// A tap that needs every step that there is for one that exists.
const FAR_FROM_READY: &str = "ip tuntap add tap0 mode tap
    ip link set tap0 address 02:00:00:00:00:99 mtu 1400 addrgenmode eui64
    ip link set tap0 master br1 up";

#[test]
fn an_interface_that_takes_the_taps_name_half_way_is_not_touched() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let cases: [(&str, &[&str], &str); 4] = [
        ("qemu-ifup", &["tap0"], ""),
        ("qemu-ifup", &["tap0"], FAR_FROM_READY),
        ("qemu-ifdown", &["tap0"], FAR_FROM_READY),
        ("qemu-ifdown", &["--delete", "tap0"], FAR_FROM_READY),
    ];
    for (program, args, setup) in cases {
        let reset = || {
            s.try_sh("for l in tap0 other v0; do ip link del $l || true; done");
            s.sh(setup);
            s.sh("ip link add v0 type veth peer name v1");
        };
        // Without its name, and by its number: what is left must stay as it is.
        let victim = |name: &str| {
            let mut link = s.link(name).unwrap();
            link.as_object_mut().unwrap().remove("ifname");
            link
        };
        reset();
        let calls = calls(&s, program, args);
        let exchanges = ["open", "openat", "sendto", "recvfrom", "ioctl"];
        let mut acted = 0;
        for call in calls.iter().filter(|c| exchanges.contains(&&*c.name)) {
            reset();
            let tap = s.link("tap0");
            let before = victim("v0");
            let run = interrupted(&s, call, "", (program, args), || {
                // An interface that is up can be renamed on newer kernels only.
                s.try_sh("ip link set tap0 down && ip link set tap0 name other");
                s.try_sh("ip link set v0 name tap0");
            });
            let at = format!("{program} {args:?} after '{setup}', at {}", call.line);
            let changes = changes(&before, &victim("tap0"));
            assert!(changes.is_empty(), "{at}:\n{}", changes.join("\n"));
            // Where it did act, it acted on the tap that it had looked up.
            let Some(tap) = tap.filter(|_| run.code == 0) else {
                continue;
            };
            acted += 1;
            let Some(other) = s.link("other") else {
                assert_eq!(args.len(), 2, "{at}: the tap is gone");
                continue;
            };
            assert_eq!(other["ifindex"], tap["ifindex"], "{at}");
            let master = other.get("master").and_then(Value::as_str);
            let expected = (program == "qemu-ifup").then_some("br0");
            assert_eq!(master, expected, "{at}");
        }
        assert!(acted > 0 || setup.is_empty(), "{program} {args:?}");
    }
}

#[test]
fn what_was_not_tried_is_not_undone() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let args = ["--isolated", "--owner", "54321", "tap0"];
    let setup = FAR_FROM_READY.replace("mode tap", "mode tap user 54321");
    let reset = || {
        s.try_sh("ip link del tap0");
        s.sh(&setup);
    };
    let is_change = |call: &&Call| {
        let kinds = ["RTM_SETLINK", "RTM_NEWLINK", "RTM_DELLINK"];
        call.name == "sendto" && kinds.iter().any(|kind| call.line.contains(kind))
    };
    reset();
    let all = calls(&s, "qemu-ifup", &args);
    let changes: Vec<&Call> = all.iter().filter(is_change).collect();
    assert!(changes.len() > 2, "{}", changes.len());
    let log = s.dir().join("log");
    for (nth, call) in (1..).zip(&changes) {
        reset();
        let before = s.settled();
        let failed = run(command("strace")
            .arg("-o")
            .arg(&log)
            .args(["-e", &call.inject("error=EPERM")])
            .arg(bin("qemu-ifup"))
            .args(args));
        assert_eq!(failed.code, 3, "{failed:?}");
        let calls = calls_in(&fs::read_to_string(&log).unwrap());
        let sent = calls.iter().filter(is_change).count();
        // Each that was tried, the failed one included, is taken back by two at most: back where it was, and up.
        let most = nth + 2 * nth;
        assert!(
            sent <= most,
            "{sent} requests, {nth} of them before the failure"
        );
        let is_first = nth == 1;
        assert!(!is_first || sent <= 3, "{sent} requests: {failed:?}");
        let left = common::changes(&before, &s.settled());
        assert!(
            left.is_empty(),
            "after {nth}: {failed:?}\n{}",
            left.join("\n")
        );
    }
}

// Hostile surroundings.

#[test]
fn no_descriptor_of_ours_gets_the_number_of_a_closed_standard_one() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    for (closed, opened) in [
        ("", 0),
        ("0<&-", 1),
        ("1>&-", 1),
        ("2>&-", 1),
        ("0<&- 2>&-", 2),
        ("<&- >&- 2>&-", 3),
    ] {
        let log = s.dir().join("log");
        let script = format!("exec strace -o \"$LOG\" \"$IFUP\" tap0 {closed}");
        let run = run(command("sh")
            .args(["-euc", &script])
            .env("LOG", &log)
            .env("IFUP", bin("qemu-ifup")));
        assert_eq!(run.code, 0, "{closed}: {run:?}");
        let log = fs::read_to_string(log).unwrap();
        let ours = log.split_once("poll(").unwrap().1;
        let count = |text: &str| ours.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count("\"/dev/null\", O_RDWR"), opened, "{closed}: {ours}");
        let netlink = ours.lines().find(|line| line.contains("AF_NETLINK"));
        assert!(netlink.unwrap().ends_with(" = 3"), "{closed}: {netlink:?}");
        s.sh("ip link del tap0");
    }
}

#[test]
fn odd_surroundings_do_not_stop_the_work() {
    let Some(s) = sandbox() else { return };
    let cases = [
        "exec \"$IFUP\" tap0 <&- >&- 2>&-",
        "exec env -i \"$IFUP\" tap0",
        "exec env --block-signal --ignore-signal=PIPE \"$IFUP\" tap0",
        "mkdir \"$DIR/gone\"; cd \"$DIR/gone\"; rmdir \"$DIR/gone\"; exec \"$IFUP\" tap0",
        "umount -l /proc 2>/dev/null || mount -t tmpfs none /proc; exec \"$IFUP\" tap0",
        "ulimit -n 6; ulimit -f 0; ulimit -c 0; exec \"$IFUP\" tap0",
    ];
    for script in cases {
        let script = format!("IFUP='{}'\n{script}", bin("qemu-ifup").display());
        // A mount namespace for each, as one takes /proc away.
        let run = run(command("unshare")
            .args(["-m", "sh", "-euc", &script])
            .env("DIR", s.dir()));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{script}");
        assert_attached(&s, "tap0");
        s.sh("ip link del tap0");
    }
}

#[test]
fn without_room_for_descriptors_there_is_an_error_and_no_tap() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for (limit, error) in [
        (3, "cannot open a netlink socket: Too many open files"),
        (4, "cannot read /etc/qemu-ifup.conf: Too many open files"),
    ] {
        let program = bin("qemu-ifup");
        let run = s.try_sh(&format!(
            "ulimit -n {limit}; exec '{}' tap0",
            program.display()
        ));
        assert_refused(&run, 7, &format!("qemu-ifup: tap0: {error}"), "");
    }
    s.assert_unchanged(&before);
}

#[test]
fn without_any_argument_not_even_its_own_name_it_asks_for_one() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let path = CString::new(bin(program).as_os_str().as_bytes()).unwrap();
        let mut child = command(bin(program));
        let without_arguments = move || {
            let nothing = [std::ptr::null()];
            // SAFETY: the path ends with a zero and both lists with a null pointer; none of them is changed.
            unsafe { libc::execve(path.as_ptr(), nothing.as_ptr(), nothing.as_ptr()) };
            Err(io::Error::last_os_error())
        };
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { child.pre_exec(without_arguments) };
        let error = format!("{program}: no IFNAME given");
        assert_refused(&run(&mut child), 2, &error, "--help");
    }
    s.assert_unchanged(&before);
}

#[test]
fn output_that_nobody_gets_is_an_error() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for program in ["qemu-ifup", "qemu-ifdown"] {
        for option in ["--dry-run", "--help", "--version"] {
            s.try_sh("ip tuntap add tap1 mode tap && ip link set tap1 up");
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let (_, closed) = io::pipe().unwrap();
            for (stdout, reason) in [
                (Stdio::from(full), "No space left on device"),
                (Stdio::from(closed), "Broken pipe"),
            ] {
                let mut child = command(bin(program));
                let output = child.args([option, "tap1"]).stdout(stdout).output();
                let output = output.unwrap();
                let at = format!("{program} {option}: {output:?}");
                assert_eq!(output.status.code(), Some(1), "{at}");
                let stderr = String::from_utf8(output.stderr).unwrap();
                let said = format!("cannot write the output: {reason}\n");
                assert!(stderr.starts_with(program), "{at}");
                assert!(stderr.ends_with(&said), "{at}");
            }
        }
    }
    s.sh("ip link del tap1");
    s.assert_unchanged(&before);
}

#[test]
fn a_tun_device_that_cannot_be_used_has_an_exit_code_and_a_hint() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    let cases = [
        (
            "",
            "cannot use /dev/net/tun: No such file or directory",
            "mknod /dev/net/tun c 10 200",
        ),
        // A misc device, and a whole driver, that are not there.
        (
            "mknod /dev/net/tun c 10 198",
            "cannot use /dev/net/tun: No such device",
            "modprobe tun",
        ),
        (
            "mknod /dev/net/tun c 60 0",
            "cannot use /dev/net/tun: No such device or address",
            "modprobe tun",
        ),
        (
            "mkdir /dev/net/tun",
            "cannot use /dev/net/tun: Is a directory",
            "",
        ),
    ];
    for (make, error, hint) in cases {
        s.sh(&format!("rm -rf /dev/net/tun\n{make}"));
        let error = format!("qemu-ifup: tap0: {error}");
        assert_refused(&s.ifup(&["tap0"]), 6, &error, hint);
    }
    s.assert_unchanged(&before);
}

#[test]
fn something_else_in_the_place_of_the_tun_device_is_told_the_same_way() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    // These can be opened; that they are something else shows only when they are asked for a tap.
    for make in ["touch /dev/net/tun", "mknod /dev/net/tun c 1 3"] {
        s.sh(&format!("rm -rf /dev/net/tun\n{make}"));
        let run = s.ifup(&["tap0"]);
        assert_eq!(run.code, 6, "{make}: {run:?}");
        assert!(run.stderr.contains("/dev/net/tun"), "{make}: {run:?}");
    }
    s.assert_unchanged(&before);
}

// Dry run.

/// Where a dry run and the act start from: the bridge's MTU and what else is there, the program, its arguments.
const STARTS: [(&str, &str, &[&str]); 10] = [
    ("", "qemu-ifup", &["tap0"]),
    ("ip link set br0 mtu 9000", "qemu-ifup", &["tap0"]),
    ("ip link set br0 mtu 1000", "qemu-ifup", &["tap0"]),
    (
        "",
        "qemu-ifup",
        &["--group", "54321", "--multi-queue", "--mtu", "1400", "tap0"],
    ),
    ("", "qemu-ifup", &["--owner", "54321", "a'b\"$(id)"]),
    (
        "ip tuntap add tap0 mode tap user 54321; ip link set tap0 address 02:00:00:00:00:99",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap user 54321
         ip link set tap0 address 02:00:00:00:00:99 mtu 1400 addrgenmode eui64
         ip link set tap0 master br1 up",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap user 54321
         ip link set tap0 address fe:00:00:00:00:99 addrgenmode none; ip link set tap0 master br0",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap; ip link set tap0 address fe:00:00:00:00:99 master br0 up",
        "qemu-ifdown",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap; ip link set tap0 master br0 up",
        "qemu-ifdown",
        &["--delete", "tap0"],
    ),
];

/// Does something in a sandbox of its own, all of which are alike, and returns what it leaves and what it printed.
fn in_a_like_sandbox(
    setup: &'static str,
    act: impl FnOnce(&Sandbox) -> Run + Send + 'static,
) -> Option<(Value, Run)> {
    let world = thread::spawn(move || {
        let s = Sandbox::new()?;
        for (n, bridge) in ["br0", "br1"].into_iter().enumerate() {
            s.sh(&format!(
                "ip link add {bridge} address 02:00:00:00:01:0{n} type bridge
                 ip link set {bridge} addrgenmode none; ip link set {bridge} up"
            ));
        }
        s.sh(setup);
        let run = act(&s);
        assert_eq!(run.code, 0, "after {setup}: {run:?}");
        // A tap that was made in one go has a carrier, and its port forwards, for up to a second more.
        let ports_follow = || {
            let ports = s.bridge(&["link", "show"]);
            let is_disabled = |port: &Value| port["state"] == "disabled";
            let disabled = ports.as_array().unwrap().iter().all(is_disabled);
            disabled.then_some(())
        };
        eventually(ports_follow).expect("a tap without a reader has no carrier");
        Some((s.snapshot(), run))
    });
    world.join().unwrap()
}

/// The addresses of taps that are made are random but for the first byte.
fn without_random(text: &str) -> String {
    let words = text.split_inclusive([' ', '"', '\n']);
    let steady = words.map(|word| match word.strip_prefix("fe:") {
        Some(rest) => format!("fe:*{}", &rest["00:00:00:00:00".len()..]),
        None => word.to_owned(),
    });
    steady.collect()
}

#[test]
fn a_dry_run_changes_nothing_and_prints_what_does_the_same() {
    for (setup, program, args) in STARTS {
        let at = format!("{program} {args:?} after '{setup}'");
        let Some((by_itself, verbose)) = in_a_like_sandbox(setup, move |_| {
            run(command(bin(program)).arg("--verbose").args(args))
        }) else {
            return;
        };
        let Some((by_shell, dry)) = in_a_like_sandbox(setup, move |s| {
            let before = s.snapshot();
            let dry = run(command(bin(program)).arg("--dry-run").args(args));
            s.assert_unchanged(&before);
            // -u as well: a name with a $ in it must not be expanded.
            s.sh_as_ours(&dry.stdout);
            dry
        }) else {
            return;
        };
        let steady = |value: &Value| -> Value {
            serde_json::from_str(&without_random(&value.to_string())).unwrap()
        };
        let changes = changes(&steady(&by_itself), &steady(&by_shell));
        assert!(changes.is_empty(), "{at}:\n{}", changes.join("\n"));

        // What --verbose tells is the same, and both end with the same notice, if any.
        assert_eq!(verbose.stdout, "", "{at}");
        let told = without_random(&(dry.stdout.clone() + &dry.stderr));
        assert_eq!(without_random(&verbose.stderr), told, "{at}");
        assert!(!dry.stdout.is_empty(), "{at}");
    }
}

// Syslog.

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
            "tap0: up on br0, given to uid 0 (uid 0, for pid ",
        ),
        (
            "<30>qemu-ifdown[",
            "tap0: down, detached from br0, given to uid 0 (uid 0, for pid ",
        ),
        (
            "<27>qemu-ifup[",
            "tap0: cannot attach to br9: no such bridge",
        ),
        (
            "<27>qemu-ifup[",
            "\\x1b[31m\\x5cx: cannot attach to br9: no such bridge",
        ),
        ("<27>qemu-ifdown[", "'two\\x0alines' is no interface name: "),
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
