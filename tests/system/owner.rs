//! Whose a tap is, who may open it, and when it is given to them.

use crate::common::fds::{inherit, open_tap};
use crate::common::interfaces::info;
use crate::common::sandbox::{Sandbox, lines};
use crate::common::strace::{calls, calls_in, interrupted, place_of};
use crate::common::users::{ALICE, BOB, MALLORY, open_tap_as};
use crate::common::{bin, command, eventually, run};
use crate::expect::{assert_attached, assert_refused, assert_silent_success, ifup_with, sandbox};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

#[test]
fn a_tap_belongs_to_whom_it_is_created_for() {
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
        let mut info = info(&s, "tap0");
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
    s.sh("ip tuntap add tap1 mode tap user 54321; ip link set tap1 master br0 up");
    let before = s.snapshot();
    let run = s.as_user(ALICE, ALICE, &["/etc/qemu-ifup", "tap0"]);
    let error = "qemu-ifup: tap0: not permitted to change interfaces: no CAP_NET_ADMIN";
    assert_refused(&run, 3, error, "sudo");
    // What changes nothing is anybody's.
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let run = s.as_user(ALICE, ALICE, &[&format!("/etc/{program}"), "tap1"]);
        assert_eq!(run.code, 0, "{run:?}");
    }
    s.assert_unchanged(&before);
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
        let mut expected = before["linkinfo"]["info_data"].clone();
        assert_eq!(expected.get("user"), None);
        let run = ifup_with(&[("SUDO_UID", "54321")], &["tap0"]);
        assert_silent_success(&run);
        assert_attached(&s, "tap0");
        expected["user"] = json!(ALICE);
        assert_eq!(info(&s, "tap0"), expected, "{words:?}");
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
        assert_eq!(info(&s, "tap0")["user"], ALICE, "{number}");
        drop((ifup, held));
        eventually(|| s.link("tap0").is_none().then_some(())).expect("the tap stays");
    }
}

/// Until it is given to its owner, a tap with several queues is open to everybody.
#[test]
fn nothing_is_done_between_the_creation_of_a_tap_and_setting_its_owner() {
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
    // A helper looks up what the lines of the configuration bind for the name that the kernel chose. Nobody else can open its tap
    // meanwhile, which has one queue; and nothing is changed.
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
        let is_request = call.line.contains("NLM_F_ACK");
        let is_change = call.line.contains("TUNSET") || is_request;
        assert!(!is_change, "{}", call.line);
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
        let done = s.ifup(&["tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(info(&s, "tap0")[key], BOB);
        assert_silent_success(&s.ifup(&[option, "54321", "tap0"]));
        assert_eq!(info(&s, "tap0")[key], ALICE);
        assert_attached(&s, "tap0");
        s.sh("ip link del tap0");
    }
}

/// A queue that is open keeps getting frames, whoever the tap belongs to by then.
#[test]
fn a_tap_that_somebody_opens_while_it_is_given_is_its_owners_again_or_gone() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    // Nobody's tap cannot be nobody's again.
    for (former, option, is_left) in [
        ("user 54321", "--owner", true),
        ("group 54321", "--group", true),
        ("", "--owner", false),
    ] {
        let create = format!("ip tuntap add tap0 mode tap multi_queue {former}");
        let args = [option, "54322", "tap0"];
        s.sh(&create);
        let calls = calls(&s, "qemu-ifup", &args);
        let give = &calls[place_of(
            &calls,
            if option == "--owner" {
                "TUNSETOWNER"
            } else {
                "TUNSETGROUP"
            },
        )];
        s.sh(&format!("ip link del tap0; {create}"));
        let before = info(&s, "tap0");
        let mut held = None;
        let run = interrupted(&s, give, "", ("qemu-ifup", &args), || {
            held = Some(open_tap("tap0", libc::IFF_MULTI_QUEUE).unwrap());
        });
        assert_eq!(run.code, 5, "{former}: {run:?}");
        assert_eq!(s.link("tap0").is_some(), is_left, "{former}: {run:?}");
        if is_left {
            assert_eq!(info(&s, "tap0")["user"], before["user"], "{run:?}");
            assert_eq!(info(&s, "tap0")["group"], before["group"], "{run:?}");
        }
        s.try_sh("ip link del tap0");
    }
}

/// As libvirt does it: it opens all queues, runs the script, and passes no descriptor on.
#[test]
fn a_tap_that_another_program_holds_stays_without_an_owner_and_a_warning_says_what_that_means() {
    let Some(s) = sandbox() else { return };
    let log = s.devlog();
    let _several = [
        open_tap("vnet5", libc::IFF_MULTI_QUEUE).unwrap(),
        open_tap("vnet5", libc::IFF_MULTI_QUEUE).unwrap(),
    ];
    let _one = open_tap("vnet6", 0).unwrap();
    let run = s.ifup(&["vnet5"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("every user can join it"), "{run:?}");
    let auth = lines(&log);
    assert!(
        auth.iter().any(|line| line.starts_with("<36>qemu-ifup[")),
        "{auth:?}"
    );
    let run = s.ifup(&["vnet6"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!lines(&log).iter().any(|line| line.starts_with("<36>")));

    // What a line of the configuration gives is given, or the run fails.
    s.etc("qemu-ifup.conf", "* --owner 54321\n");
    for tap in ["vnet5", "vnet6"] {
        let run = s.ifup(&[tap]);
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.stderr.contains("54321"), "{run:?}");
        let checked = s.ifup(&["--check", "--quiet", tap]);
        assert_eq!(checked.code, 5, "{checked:?}");
        assert!(checked.stdout.contains("54321"), "{checked:?}");
    }
    s.etc("qemu-ifup.conf", "");
    // What the caller asks for is done or refused.
    for tap in ["vnet5", "vnet6"] {
        let run = s.ifup(&["--owner", "54321", tap]);
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.stderr.contains("in use by another program"), "{run:?}");
    }
}

/// Whoever opens a queue of a new tap before it has an owner can leave something behind and be gone when the kernel is asked
/// who is in it.
#[test]
fn what_a_stranger_leaves_in_a_new_tap_is_found_or_taken_away() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    let args = ["--multi-queue", "--owner", "54321", "tap0"];
    let calls = calls(&s, "qemu-ifup", &args);
    let created = &calls[place_of(&calls, "TUNSETIFF")];
    let meanwhile = |act: fn(&File) -> nix::Result<i32>| {
        s.sh("ip link del tap0");
        interrupted(&s, created, "", ("qemu-ifup", &args), || {
            let stranger = open_tap_as(MALLORY, "tap0", libc::IFF_MULTI_QUEUE).unwrap();
            act(&stranger).unwrap();
        })
    };
    let for_a_group = meanwhile(|tap| {
        // SAFETY: TUNSETGROUP takes a number and touches no memory.
        unsafe { tunsetgroup(tap.as_raw_fd(), MALLORY.cast_signed()) }
    });
    assert_eq!(for_a_group.code, 5, "{for_a_group:?}");
    assert!(s.link("tap0").is_none());

    s.sh("ip tuntap add tap0 mode tap");
    let deaf = meanwhile(|tap| {
        // struct tun_filter: one address, and no frame but to that.
        let only: [u16; 5] = [0, 1, 0x0202, 0x0202, 0x0202];
        // SAFETY: TUNSETTXFILTER reads the two numbers and the one address after them.
        unsafe { tunsettxfilter(tap.as_raw_fd(), (&raw const only).cast()) }
    });
    assert_silent_success(&deaf);
    let mut tap = open_tap_as(ALICE, "tap0", libc::IFF_MULTI_QUEUE).unwrap();
    fcntl(&tap, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // The host's own IPv6 sends to groups as soon as the bridge has a carrier.
    let mut frame = [0; 1600];
    eventually(|| tap.read(&mut frame).ok()).expect("no frame reaches the owner");
}

nix::ioctl_write_int_bad!(tunsetgroup, libc::TUNSETGROUP);
nix::ioctl_write_ptr_bad!(tunsettxfilter, libc::TUNSETTXFILTER, u16);
