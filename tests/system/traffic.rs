//! What a tap does with its guest's frames: how it queues them, and what it makes of its bridge's carrier.

use crate::common::sandbox::Sandbox;
use crate::common::strace::{calls, interrupted, place_of};
use crate::common::users::open_tap_as;
use crate::common::{command, needs, run};
use crate::expect::{NOTHING_TO_DO, assert_notice, assert_silent_success, sandbox, words};

fn qdisc(s: &Sandbox, tap: &str) -> String {
    s.link(tap).unwrap()["qdisc"].as_str().unwrap().to_owned()
}

#[test]
fn a_tap_that_was_never_up_queues_nothing_and_an_administrators_discipline_stays() {
    let Some(s) = sandbox() else { return };
    if !needs("tc") {
        return;
    }
    for options in ["", "--multi-queue", "--isolated", "--owner 54321"] {
        assert_silent_success(&s.ifup(&words(&format!("{options} tap0"))));
        assert_eq!(qdisc(&s, "tap0"), "noqueue", "{options}");
        s.sh("ip link del tap0");
    }
    // What QEMU or root created, in a bridge already or not.
    let held = open_tap_as(0, "tap0", 0).unwrap();
    s.sh("ip tuntap add tap1 mode tap multi_queue; ip tuntap add tap2 mode tap; ip link set tap2 master br0");
    for tap in ["tap0", "tap1", "tap2"] {
        assert_silent_success(&s.ifup(&[tap]));
        assert_eq!(qdisc(&s, tap), "noqueue", "{tap}");
        assert_notice(&s.ifup(&[tap]), &NOTHING_TO_DO.replace("tap0", tap));
    }
    drop(held);
    // What somebody has chosen, before it was up or after; and what was up before.
    s.sh(
        "ip tuntap add tap3 mode tap; tc qdisc add dev tap3 root pfifo limit 10
         tc qdisc replace dev tap1 root bfifo
         ip tuntap add tap4 mode tap; ip link set tap4 up; ip link set tap4 down",
    );
    let usual = qdisc(&s, "tap4");
    for (tap, kept) in [("tap3", "pfifo"), ("tap1", "bfifo"), ("tap4", &usual)] {
        s.ifdown(&[tap]);
        assert_silent_success(&s.ifup(&[tap]));
        assert_eq!(qdisc(&s, tap), kept, "{tap}");
    }
    // And what the options leave to the kernel.
    assert_silent_success(&s.ifup(&["--qdisc", "default", "tap5"]));
    assert_eq!(qdisc(&s, "tap5"), usual);
    s.etc("qemu-ifup.conf", "* --qdisc default\n");
    assert_silent_success(&s.ifup(&["tap6"]));
    assert_eq!(qdisc(&s, "tap6"), usual);
    assert_silent_success(&s.ifup(&["--qdisc=noqueue", "tap7"]));
    assert_eq!(qdisc(&s, "tap7"), "noqueue");
}

#[test]
fn a_discipline_that_was_set_in_vain_is_taken_back() {
    let Some(s) = sandbox() else { return };
    if !needs("strace") {
        return;
    }
    s.sh("ip tuntap add tap0 mode tap");
    let ifup = ("qemu-ifup", &["tap0"][..]);
    let calls = calls(&s, "qemu-ifup", &["tap0"]);
    s.sh("ip link del tap0; ip tuntap add tap0 mode tap");
    let up = &calls[place_of(&calls, "IFLA_INFO_SLAVE_DATA")];
    let run = interrupted(&s, up, "error=EPERM:", ifup, || {
        assert_eq!(qdisc(&s, "tap0"), "noqueue");
    });
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(qdisc(&s, "tap0"), "noop");
}

#[test]
fn dry_run_prints_the_commands_that_do_the_same_with_the_queueing_discipline() {
    let Some(s) = sandbox() else { return };
    if !needs("tc") {
        return;
    }
    let plan = s.ifup(&["--dry-run", "tap0"]).stdout;
    assert!(
        plan.contains("\ntc qdisc replace dev tap0 root noqueue\n"),
        "{plan}"
    );
    s.sh(&plan);
    assert_eq!(qdisc(&s, "tap0"), "noqueue");
    let plan = s.ifup(&["--dry-run", "--qdisc", "default", "tap1"]).stdout;
    assert!(!plan.contains("tc "), "{plan}");
}

#[test]
fn a_tap_that_nobody_has_open_does_not_touch_the_carrier_of_its_bridge() {
    let Some(s) = sandbox() else { return };
    let changes = || {
        let changes =
            "unshare -m sh -c 'mount -t sysfs none /sys && cat /sys/class/net/br0/carrier_changes'";
        run(command("sh").args(["-c", changes])).stdout
    };
    let before = changes();
    assert!(before.trim().parse::<u32>().is_ok(), "{before}");
    for options in ["tap0", "--multi-queue tap1", "--isolated tap2"] {
        assert_silent_success(&s.ifup(&words(options)));
    }
    std::thread::sleep(std::time::Duration::from_millis(1200)); // linkwatch acts within a second
    assert_eq!(changes(), before);
    // And a program that opens it brings the carrier.
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    crate::common::eventually(|| (changes() != before).then_some(())).expect("no carrier");
}
