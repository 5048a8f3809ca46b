//! What is refused, with exit code, message and hint.

use crate::common::sandbox::Sandbox;
use crate::common::users::open_tap_as;
use crate::expect::{assert_refused, sandbox};

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
        ("lo", "a physical, loopback or similar interface"),
    ];
    if zoo(&s) {
        cases.push(("mt0", "an interface of kind macvtap"));
    }
    let before = s.snapshot();
    for (name, what) in cases {
        let hint = "give the name of a tap, for example tap0. To list the taps, run: ip link show type tun";
        let error = format!("{name}: not a tap (it is {what})");
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
        ("br9", "no such bridge (existing bridges: br0)"),
        ("v0", "v0 is not a bridge (it is an interface of kind veth)"),
        (
            "mv0",
            "mv0 is not a bridge (it is an interface of kind macvlan)",
        ),
        ("tap1", "tap1 is not a bridge (it is a tap)"),
        (
            "lo",
            "lo is not a bridge (it is a physical, loopback or similar interface)",
        ),
    ];
    if zoo(&s) {
        cases.push((
            "mt0",
            "mt0 is not a bridge (it is an interface of kind macvtap)",
        ));
    }
    let before = s.snapshot();
    for (bridge, why) in cases {
        // A tap that would have to be created, and one that is there.
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
    for (name, of) in [("tap0alt", "v0"), ("tap1alt", "tap1")] {
        for run in [s.ifup(&[name]), s.ifdown(&["--delete", name])] {
            assert_ne!(run.code, 0, "{run:?}");
            let says = format!("alternative name of {of}");
            assert!(run.stderr.contains(&says), "{run:?}");
        }
    }
    let run = s.ifup(&["--bridge", "br0alt", "tap0"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.stderr.contains("alternative name of br0"), "{run:?}");
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
fn what_nobody_can_change_about_a_tap_is_refused() {
    let Some(s) = sandbox() else { return };
    let cases: [(&str, bool, &[&str], &str); 5] = [
        (
            "user 54321",
            true,
            &["--owner", "54322"],
            "cannot set the owner to uid 54322: the tap is in use by another program",
        ),
        (
            "",
            true,
            &["--group", "54322"],
            "cannot set the group to gid 54322: the tap is in use by another program",
        ),
        (
            "user 54321",
            false,
            &["--multi-queue"],
            "cannot use several queues: the tap was created with one queue, and the kernel cannot change that",
        ),
        (
            "user 54321",
            false,
            &["--group", "54321"],
            "cannot set the group to gid 54321: the tap has an owner, and the kernel cannot remove it",
        ),
        (
            "group 54321",
            false,
            &["--owner", "54321"],
            "cannot set the owner to uid 54321: the tap has a group, and the kernel cannot remove it",
        ),
    ];
    for (setup, is_held, args, error) in cases {
        s.sh(&format!("ip tuntap add tap0 mode tap {setup}"));
        let held = is_held.then(|| open_tap_as(0, "tap0", 0).unwrap());
        let before = s.snapshot();
        let run = s.ifup(&[args, &["tap0"]].concat());
        let error = format!("qemu-ifup: tap0: {error}");
        let hint = if is_held {
            "qemu-ifup --check -v tap0"
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
fn a_tun_device_that_cannot_be_used_has_an_exit_code_and_a_hint() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    let cases = [
        (
            "",
            "cannot use /dev/net/tun: No such file or directory",
            "mknod -m 0666 /dev/net/tun c 10 200",
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
        let error = "cannot use /dev/net/tun: Inappropriate ioctl for device\n";
        assert!(run.stderr.contains(error), "{make}: {run:?}");
    }
    s.assert_unchanged(&before);
}
