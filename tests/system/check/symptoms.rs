//! The most common complaints, each with its cause and what fixes it.

use crate::check::{assert_failed, check, command_in, complaint_and_cure, give_uplink, mtu};
use crate::common::qemu::Qemu;
use crate::host::{host, host_for_alice, host_with, must, on_its_own, sh};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn complaint_there_is_no_dev_net_tun() {
    #[rustfmt::skip]
    let table = [
        // (how it got lost, how the command begins)
        ("rm -r /dev/net", "mkdir"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 1 3", "mv /dev/net/tun"),
    ];
    for (broken, start) in table {
        on_its_own(broken, || {
            let Some(s) = host() else { return };
            must(&s, broken);
            let run = sh(&s, "qemu-ifup tap0");
            assert_failed(&run, 6, "cannot use /dev/net/tun: ", start);
            let checked = check(&s, "qemu-ifup --check tap0");
            assert_eq!(checked.says("problem", "").subject, "/dev/net/tun");
            assert_eq!(checked.code, 6);
            complaint_and_cure(&s, "qemu-ifup --check tap0", "problem", "", start);
            must(&s, "qemu-ifup tap0");
        });
    }
}

#[test]
fn complaint_operation_not_permitted() {
    let Some(s) = host_with("setcap") else { return };
    fs::set_permissions("/dev/net/tun", fs::Permissions::from_mode(0o600)).unwrap();
    let check_it = "alice qemu-ifup --check tap0";
    let run = sh(&s, "alice qemu-ifup tap0");
    assert_failed(&run, 3, "no CAP_NET_ADMIN", "install.sh --setcap");

    // One way out is root.
    let checked = check(&s, check_it);
    let found = checked.says("problem", "uid 54321, without CAP_NET_ADMIN");
    assert!(
        found.fix.contains("run the command as root (with sudo)"),
        "{found:?}"
    );
    must(&s, "sudo qemu-ifup --owner 54321 tap0");
    must(&s, "qemu-ifdown --delete tap0");

    // The other one is the installer, which is tested elsewhere; in the end it does this.
    assert!(found.fix.contains("./install.sh --setcap"), "{found:?}");
    must(&s, "setcap cap_net_admin+ep /etc/qemu-ifup");
    check(&s, check_it).does_not_say("problem", "CAP_NET_ADMIN");

    // Then two more things are in the way, which root fixes one after the other.
    let run = sh(&s, "alice qemu-ifup tap0");
    let hint = "ask root to add this line to /etc/qemu/bridge.conf: allow br0";
    assert_failed(&run, 3, "/etc/qemu/bridge.conf does not exist", hint);
    complaint_and_cure(&s, check_it, "problem", "Permission denied", "chmod");
    let after = complaint_and_cure(
        &s,
        check_it,
        "problem",
        "there is no /etc/qemu/bridge.conf",
        "mkdir",
    );
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "alice qemu-ifup tap0");
}

#[test]
fn complaint_operation_not_permitted_since_no_rule_allows_the_bridge() {
    let Some(s) = host_for_alice("allow br1\n") else {
        return;
    };
    let check_it = "alice qemu-ifup --check tap0";
    let words = "no line of /etc/qemu/bridge.conf allows br0";
    assert_failed(&sh(&s, "alice qemu-ifup tap0"), 3, words, "allow br0");
    let checked = check(&s, check_it);
    assert_eq!(checked.code, 3);
    // Who may do what is not for the command of a reader in a hurry.
    let fix = &checked.says("problem", words).fix;
    assert!(fix.starts_with("advice: to permit users"), "{fix}");
    let after = complaint_and_cure(&s, check_it, "problem", words, "echo");
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "alice qemu-ifup tap0");
}

#[test]
fn the_advice_is_safe_to_run_whatever_the_bridge_is_called() {
    let Some(s) = host_for_alice("deny nothing\n") else {
        return;
    };
    s.sh("ip link add 'b;>$x' address 02:00:00:00:00:aa type bridge");
    let check_it = "alice qemu-ifup --check --bridge 'b;>$x' tap0";
    let checked = check(&s, check_it);
    let advice = &checked.says("problem", "no line of").fix;
    must(
        &s,
        advice
            .split_once("echo ")
            .map(|(_, rest)| format!("echo {rest}"))
            .unwrap()
            .as_str(),
    );
    let advice = &checked.says("problem", "is down").fix;
    must(&s, advice);
    let after = check(&s, check_it);
    assert_eq!(after.code, 0, "{after:#?}");
}

#[test]
fn complaint_operation_not_permitted_in_a_container() {
    let Some(s) = host() else { return };
    let without = "setpriv --bounding-set -net_admin qemu-ifup";
    let run = sh(&s, &format!("{without} tap0"));
    assert_failed(&run, 3, "Operation not permitted", "CAP_NET_ADMIN");
    let checked = check(&s, &format!("{without} --check tap0"));
    let found = checked.says("problem", "root, but without CAP_NET_ADMIN");
    assert!(found.fix.contains("--cap-add NET_ADMIN"), "{found:?}");
    assert_eq!(checked.code, 3);
    must(&s, "qemu-ifup tap0");
}

#[test]
fn complaint_network_script_failed_with_status_1024() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    s.sh("ip link del br0");
    let tap = "-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=no";
    let ended = Qemu::start(&s, tap).unwrap_err();
    assert!(
        ended.stderr.contains("failed with status 1024"),
        "{ended:?}"
    );
    assert!(
        must(&s, "qemu-ifup --help")
            .stdout
            .contains("multiplied by 256")
    );
    let message = "qemu-ifup: tap0: cannot attach to br0: no such bridge";
    assert!(ended.stderr.contains(message), "{ended:?}");
    must(&s, command_in(&ended.stderr, "ip link add"));
    Qemu::start(&s, tap).unwrap();
}

#[test]
fn complaint_device_or_resource_busy() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    let tap = "-netdev tap,id=n1,ifname=busy0,script=no,downscript=no";
    let first = Qemu::start(&s, tap).unwrap();
    let second = Qemu::start(&s, tap).unwrap_err();
    assert!(
        second.stderr.contains("Device or resource busy"),
        "{second:?}"
    );

    let who = format!("busy0 is in use by qemu-system-x86 (pid {})", first.pid());
    let checked = check(&s, "qemu-ifup --check busy0");
    let found = checked.says("ok", &who);
    assert!(
        found
            .message
            .ends_with("For another QEMU, use another tap (ifname=)"),
        "{found:?}"
    );
    Qemu::start(&s, &tap.replace("busy0", "busy1")).unwrap();
}

#[test]
fn complaint_the_bridge_is_missing() {
    let Some(s) = host() else { return };
    s.sh("ip link del br0; ip link add br1 type bridge; ip link add virbr0 type bridge");
    let words = "cannot attach to br0: no such bridge (existing bridges: br1, virbr0)";
    assert_failed(
        &sh(&s, "qemu-ifup tap0"),
        4,
        words,
        "ip link add br0 type bridge",
    );
    assert_eq!(check(&s, "qemu-ifup --check").code, 4);
    let after = complaint_and_cure(&s, "qemu-ifup --check", "problem", words, "ip link add");
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "qemu-ifup tap0");
    // The advice's other way.
    s.sh("ip link del br0");
    let run = sh(&s, "qemu-ifup tap1");
    must(&s, command_in(&run.stderr, "echo '* --create-bridge"));
    must(&s, "qemu-ifup tap1");
}

#[test]
fn complaint_the_name_is_too_long() {
    let Some(s) = host() else { return };
    for line in [
        "qemu-ifup vm-database-tap0",
        "qemu-ifup --check vm-database-tap0",
    ] {
        let run = sh(&s, line);
        assert_failed(
            &run,
            2,
            "'vm-database-tap0' is not an interface name: ",
            "1 to 15 bytes",
        );
    }
    must(&s, "qemu-ifup vm-database-tap");
}

#[test]
fn complaint_queues_do_not_match() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    s.sh("ip tuntap add one0 mode tap");
    let tap = "-netdev tap,id=n1,ifname=one0,script=no,downscript=no,queues=2";
    let ended = Qemu::start(&s, tap).unwrap_err();
    assert!(ended.stderr.contains("Invalid argument"), "{ended:?}");

    let checked = check(&s, "qemu-ifup --check one0");
    checked.says("ok", "single-queue (do not start QEMU with queues=N)");
    let run = sh(&s, "qemu-ifup --multi-queue one0");
    assert_failed(
        &run,
        5,
        "the tap was created with one queue",
        "qemu-ifdown --delete one0",
    );
    must(&s, command_in(&run.stderr, "qemu-ifdown"));
    must(&s, "qemu-ifup --multi-queue one0");
    check(&s, "qemu-ifup --check one0").says("ok", "multi-queue (start QEMU with queues=N");
    Qemu::start(&s, tap).unwrap();
}

#[test]
fn complaint_the_guest_gets_no_dhcp_with_stp() {
    let Some(s) = host() else { return };
    s.sh("ip link set br0 type bridge stp_state 1 forward_delay 1500");
    let words =
        "STP is on: ports forward 30 s after a guest starts, which is often too late for DHCP";
    complaint_and_cure(
        &s,
        "qemu-ifup --check tap0",
        "warning",
        words,
        "ip link set",
    );
    check(&s, "qemu-ifup --check tap0").says("ok", "STP is off");
    assert_eq!(must(&s, "qemu-ifup tap0").stderr, "");
}

#[test]
fn complaint_the_mtu_of_the_bridge_fell_to_1500() {
    let Some(s) = host() else { return };
    give_uplink(&s, 9000);
    assert_eq!(mtu(&s, "br0"), 9000);
    // What the usual shell scripts do.
    s.sh("ip tuntap add old0 mode tap; ip link set old0 master br0 up");
    assert_eq!(mtu(&s, "br0"), 1500);
    let words = "br0 has MTU 1500 because of its port old0";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!((mtu(&s, "old0"), mtu(&s, "br0")), (9000, 9000));
    // Ours does not do it again.
    must(&s, "qemu-ifup tap0");
    assert_eq!((mtu(&s, "tap0"), mtu(&s, "br0")), (9000, 9000));
}

#[test]
fn a_bridge_whose_ports_all_have_its_mtu_is_not_complained_about() {
    for size in [1400, 1500, 9000] {
        on_its_own(&size.to_string(), || {
            let Some(s) = host() else { return };
            give_uplink(&s, size);
            must(&s, "qemu-ifup tap0");
            check(&s, "qemu-ifup --check tap0").does_not_say("warning", "MTU");
        });
    }
}

#[test]
fn complaint_a_tap_is_left_behind() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup left0");
    let checked = check(&s, "qemu-ifup --check left0");
    checked.says("ok", "left0 is persistent");
    let found = checked.says("ok", "left0 is not in use");
    must(&s, command_in(&found.fix, "qemu-ifdown"));
    assert!(s.link("left0").is_none());
    check(&s, "qemu-ifup --check left0").says("ok", "left0 does not exist and will be created");
}

#[test]
fn complaints_about_a_tap_are_fixed_by_the_command_that_is_given() {
    #[rustfmt::skip]
    let table = [
        // (the tap, the call, the complaint)
        ("ip tuntap add t0 mode tap", "t0", "t0 is not attached to a bridge"),
        ("ip tuntap add t0 mode tap", "t0", "t0 has no owner"),
        ("ip tuntap add t0 mode tap", "t0", "t0 will get an IPv6 link-local address"),
        ("qemu-ifup t0; ip link set t0 down", "t0", "t0 is down"),
        ("qemu-ifup t0; ip link set br0 mtu 9000", "t0", "t0 has MTU 1500, but the bridge has MTU 9000"),
        (
            "ip link add br1 up address 02:00:00:00:00:aa type bridge; ip address add 192.168.11.1/24 dev br1; ip tuntap add t0 mode tap",
            "--bridge br1 t0",
            "t0 is not attached to a bridge",
        ),
        (
            "ip link add br1 up address 02:00:00:00:00:aa type bridge; ip address add 192.168.11.1/24 dev br1; qemu-ifup t0",
            "--bridge br1 t0",
            "t0 is attached to",
        ),
    ];
    for (tap, args, words) in table {
        on_its_own(words, || {
            let Some(s) = host() else { return };
            must(&s, tap);
            let line = format!("qemu-ifup --check {args}");
            let after = complaint_and_cure(&s, &line, "warning", words, "");
            let ok = after.found.iter().all(|found| found.level == "ok");
            assert!(ok, "{after:#?}");
        });
    }
}
