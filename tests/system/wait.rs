//! --wait.

use crate::common::interfaces::port;
use crate::common::sandbox::Sandbox;
use crate::common::strace::{calls, interrupted, place_of};
use crate::common::users::open_tap_as;
use crate::common::{bin, command, run};
use crate::expect::{STP, assert_error, assert_settled_as, assert_succeeded, words};
use std::fs;
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_secs(2);

#[test]
fn waiting_ends_when_the_port_forwards_and_sleeps_meanwhile() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.sh(STP);
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    let log = s.dir().join("calls");
    let start = Instant::now();
    let waiting = run(command("strace")
        .arg("-o")
        .arg(&log)
        .arg(bin("qemu-ifup"))
        .args(["--wait", "15", "tap0"]));
    let took = start.elapsed();
    assert_succeeded(&waiting, "");
    assert_eq!(port(&s, "tap0")["state"], "forwarding");
    // The kernel's timers run up to a tick early, and its messages are late by as much.
    let expected = 2 * DELAY - Duration::from_millis(200)..2 * DELAY + Duration::from_secs(2);
    assert!(expected.contains(&took), "{took:?}");
    let calls = fs::read_to_string(&log).unwrap().lines().count();
    assert!(calls < 300, "{calls} system calls");
    let exchanges = fs::read_to_string(&log).unwrap().matches("sendto(").count();
    assert!(exchanges < 30, "{exchanges} requests");

    // It forwards already.
    let start = Instant::now();
    assert_succeeded(&s.ifup(&["--wait", "15", "tap0"]), "");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_port_that_does_not_forward_in_time_is_an_error_and_all_is_undone() {
    let Some(s) = Sandbox::new() else { return };
    let cases = [
        (STP, "(state: listening)", "twice the forward delay"),
        (
            "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 addrgenmode none",
            "(state: disabled)",
            "is down, bring it up",
        ),
    ];
    for (setup, state, hint) in cases {
        s.sh(setup);
        let _held = open_tap_as(0, "tap0", 0).unwrap();
        let before = s.settled();
        let start = Instant::now();
        let run = s.ifup(&["--wait", "1", "--isolated", "tap0"]);
        let took = start.elapsed();
        assert_error(
            &run,
            9,
            &format!("tap0: timed out: the port does not forward yet {state}"),
            hint,
        );
        let expected = Duration::from_secs(1)..Duration::from_millis(1800);
        assert!(expected.contains(&took), "{took:?}");
        assert_settled_as(&s, &before, setup);
        // No time at all is time enough to look once.
        assert_eq!(s.ifup(&["--wait", "0", "tap0"]).code, 9);
        assert_settled_as(&s, &before, setup);
        s.sh("ip link del br0");
    }
}

#[test]
fn nothing_is_waited_for_without_stp_or_without_anybody_who_has_the_tap_open() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br1");
    s.sh(STP);
    s.sh("ip tuntap add idle mode tap");
    let _held = open_tap_as(0, "held", 0).unwrap();
    let notice = |tap| {
        format!("qemu-ifup: {tap}: not waited for: it forwards only while a program has it open\n")
    };
    for (args, said) in [
        ("--bridge br1 --wait 15 held", String::new()),
        (
            "--bridge br9 --create-bridge --wait 15 held",
            "qemu-ifup: held: moved from br1 to br9\n".to_owned(),
        ),
        ("--wait 15 idle", notice("idle")),
        ("--wait 15 new", notice("new")),
    ] {
        let start = Instant::now();
        assert_succeeded(&s.ifup(&words(args)), &said);
        assert!(start.elapsed() < Duration::from_secs(2), "{args}");
    }
    assert_eq!(s.ports("br0").len(), 2);
    assert_eq!(port(&s, "held")["state"], "forwarding");
}

#[test]
fn a_port_that_forwards_just_before_the_link_monitor_subscribes_is_not_waited_for() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    // The other keeps the bridge's carrier up, whose changes would be messages as well.
    let _held = ["tap0", "tap1"].map(|tap| {
        let held = open_tap_as(0, tap, 0).unwrap();
        assert_succeeded(&s.ifup(&[tap]), "");
        held
    });
    let args = ["--wait", "15", "tap0"];
    let calls = calls(&s, "qemu-ifup", &args);
    let subscribes = place_of(&calls, "nl_groups=0x000001");
    // Without STP a port is whatever it is said to be.
    s.sh("bridge link set dev tap0 state 0");
    assert_eq!(port(&s, "tap0")["state"], "disabled");
    let start = Instant::now();
    let call = &calls[subscribes - 1];
    let run = interrupted(&s, call, "", ("qemu-ifup", &args), || {
        s.sh("bridge link set dev tap0 state 3");
    });
    assert_succeeded(&run, "");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
