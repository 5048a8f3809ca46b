//! A tap goes up and down: new ones, and those that are there already.

use crate::common::eventually;
use crate::common::interfaces::info;
use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, open_tap_as};
use crate::expect::{
    NOTHING_TO_DO, assert_attached, assert_notice, assert_refused, assert_silent_success,
    ifup_with, inet6_of, sandbox,
};
use serde_json::{Value, json};

/// The user behind root owns the taps of these tests, so that there is nothing to say of that.
const OWNER: &[(&str, &str)] = &[("SUDO_UID", "54321")];

#[test]
fn up_creates_a_whole_tap_and_up_again_changes_nothing() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0"]));
    assert_attached(&s, "tap0");
    assert_eq!(info(&s, "tap0")["user"], "root");

    let before = s.snapshot();
    assert_notice(&s.ifup(&["tap0"]), NOTHING_TO_DO);
    s.assert_unchanged(&before);
}

#[test]
fn down_detaches_and_delete_deletes() {
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
    let notice = "qemu-ifdown: tap0: does not exist, nothing to do";
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
    let notice = "qemu-ifdown: tap0: not deleted, only down and in no bridge: it is not persistent and disappears with the program that has it open";
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
    let error = "qemu-ifup: tap0: cannot attach to br9: no such bridge (existing bridges: br0)";
    assert_refused(&run, 4, error, "ip link add br9 type bridge");
}

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
        let run = ifup_with(OWNER, &["tap0"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "after {setup}");
        assert_attached(&s, "tap0");
        let after = s.link("tap0").unwrap();
        assert_eq!(after["ifindex"], before["ifindex"], "after {setup}");
        // Of the address only what has to change does.
        let tail = |link: &Value| link["address"].as_str().unwrap()[3..].to_owned();
        assert_eq!(tail(&after), tail(&before), "after {setup}");
        assert_eq!(info(&s, "tap0")["user"], ALICE, "after {setup}");
        let second = ifup_with(OWNER, &["tap0"]);
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
        assert_silent_success(&ifup_with(OWNER, &["tap0"]));
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
        assert_silent_success(&ifup_with(OWNER, &["tap0"]));
        assert_attached(&s, "tap0");
        drop(held);
        s.sh("ip link del tap0");
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
            let run = ifup_with(OWNER, &["tap0"]);
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
        let run = ifup_with(OWNER, &["tap0"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "after {setup}");
        let link = s.link("tap0").unwrap();
        assert!(is_up(&link), "after {setup}: {link:#}");
        assert_eq!(link["master"], "br0", "after {setup}");
        assert_eq!(link["mtu"], s.link("br0").unwrap()["mtu"], "after {setup}");
        assert!(inet6_of(&s, "tap0").is_empty(), "after {setup}");
        let second = ifup_with(OWNER, &["tap0"]);
        assert_eq!(
            second.stderr.trim_end(),
            NOTHING_TO_DO,
            "twice after {setup}"
        );
        s.sh("ip link del tap0; ip link del br0");
    }
}
