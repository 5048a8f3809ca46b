//! What is wrong with a host besides the most common complaints, and whether what is printed helps.

use crate::check::{assert_unchanged, check, command_in, give_uplink, snapshot};
use crate::common::eventually;
use crate::common::fds::inherit;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, MALLORY, as_user, open_tap_as};
use crate::host::{host, host_for_alice, must, on_its_own, sh};
use std::process::{Child, Stdio};

#[test]
fn what_is_wrong_with_the_bridge_is_fixed_by_the_command_that_is_given() {
    const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 address 02:ff:00:00:00:01; ip link set far0 up; ip link set up0 master br0";
    let two = format!(
        "{UPLINK}; ip link set up0 up; ip link add up1 up master br0 type veth peer name far1; ip link set far1 up; ip link set br0 type bridge stp_state 1"
    );
    let old = format!(
        "{UPLINK}; ip link set up0 up; ip tuntap add old0 mode tap; ip link set old0 mtu 1400; ip link set old0 master br0 up"
    );
    let wide = format!("{UPLINK}; ip link set up0 up; qemu-ifup tap0; ip link set tap0 mtu 9000");
    let no_ipv6 = "echo '* --bridge br7 --create-bridge --address fd00::1/64' >/etc/qemu-ifup.conf; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
    #[rustfmt::skip]
    let table = [
        // (the host, how bad, what is said, how the command begins)
        (UPLINK, "warning", "the uplink up0 of br0 is down", "ip link set dev up0 up"),
        (&two, "warning", "STP is on: ports forward 30 s", "echo '* --wait 35'"),
        (&old, "warning", "br0 has MTU 1400 because of its port old0; other ports have MTU 1500", "ip link set dev old0 mtu 1500"),
        (&wide, "warning", "tap0 has MTU 9000, but the bridge has MTU 1500", "qemu-ifup --bridge br0 tap0"),
        (no_ipv6, "problem", "br7 cannot get its IPv6 address", "sysctl net.ipv6.conf.default.disable_ipv6=0"),
    ];
    for (prepare, level, words, start) in table {
        on_its_own(words, || {
            let Some(s) = host() else { return };
            must(&s, prepare);
            let before = check(&s, "qemu-ifup --check tap0");
            let fix = &before.says(level, words).fix;
            must(&s, command_in(fix, start));
            check(&s, "qemu-ifup --check tap0").does_not_say(level, words);
            must(&s, "qemu-ifup tap0");
        });
    }
}

#[test]
fn an_uplink_without_a_carrier_is_told_from_one_that_is_down() {
    let Some(s) = host() else { return };
    give_uplink(&s, 1500);
    s.sh("ip link set far0 down");
    let found = check(&s, "qemu-ifup --check");
    let found = found.says("warning", "the uplink up0 of br0 has no carrier");
    assert!(found.fix.starts_with("advice: "), "{found:?}");
    // One that works is enough.
    s.sh("ip link add up1 up master br0 type veth peer name far1; ip link set far1 up");
    check(&s, "qemu-ifup --check").says("ok", "br0 has the uplink up1");
}

#[test]
fn a_small_uplink_is_not_told_to_be_larger_for_the_sake_of_a_tap() {
    let Some(s) = host() else { return };
    give_uplink(&s, 1500);
    s.sh("ip tuntap add old0 mode tap; ip link set old0 mtu 9000; ip link set old0 master br0 up");
    check(&s, "qemu-ifup --check").does_not_say("warning", "MTU");
}

#[test]
fn a_guest_in_another_bridge_is_not_moved_by_a_command_that_is_no_advice() {
    let Some(s) = host() else { return };
    s.bridge_up("br1");
    s.sh("ip address add 192.168.11.1/24 dev br1");
    let held = open_tap_as(0, "tap0", 0).unwrap();
    must(&s, "qemu-ifup --bridge br1 tap0");
    let before = snapshot(&s);
    let found = check(&s, "qemu-ifup --check tap0");
    let found = found.says("warning", "tap0 is attached to br1, not to br0");
    assert!(found.fix.starts_with("advice: "), "{found:?}");
    let look = command_in(&found.fix, "qemu-ifup --check");
    assert!(
        must(&s, &format!("{look} -v"))
            .stdout
            .contains("tap0 is up on br1")
    );
    assert_unchanged(&s, &before);
    must(&s, command_in(&found.fix, "qemu-ifup --bridge br0"));
    check(&s, "qemu-ifup --check tap0").says("ok", "tap0 is up on br0");
    s.sh("bridge link set dev tap0 isolated on learning off");
    check(&s, "qemu-ifup --check tap0")
        .says("ok", "tap0 is up on br0, with isolated on learning off");
    drop(held);
}

#[test]
fn what_a_port_lacks_of_the_options_that_are_asked_for_is_told_and_fixed() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup tap0");
    s.etc("qemu-ifup.conf", "* --isolated --no-flood\n");
    let words = "tap0 is up on br0, but its port options differ: expected isolated on flood off";
    let check = |s: &Sandbox, more: &str| check(s, &format!("qemu-ifup --check {more} tap0"));
    let found = check(&s, "");
    let fix = &found.says("warning", words).fix;
    assert_eq!(fix, "qemu-ifup --bridge br0 tap0");
    // What the command line says wins, there too.
    let found = check(&s, "--no-isolated --flood");
    found.says("ok", "tap0 is up on br0");
    let found = check(&s, "--no-isolated --no-learning");
    let found = found.says(
        "warning",
        "tap0 is up on br0, but its port options differ: expected learning off flood off",
    );
    assert_eq!(found.fix, "advice: run the same command without --check");
    must(&s, fix);
    check(&s, "").says("ok", "tap0 is up on br0, with isolated on flood off");
    // Whoever has it open may have wanted it so.
    let held = open_tap_as(0, "tap0", 0).unwrap();
    s.sh("bridge link set dev tap0 isolated off");
    let found = check(&s, "");
    let found = found.says(
        "warning",
        "tap0 is up on br0, but its port options differ: expected isolated on",
    );
    assert!(found.fix.starts_with("advice: "), "{found:?}");
    drop(held);
}

#[test]
fn a_user_is_given_no_option_that_is_the_administrators() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    s.sh("ip tuntap add tap0 mode tap user 54321");
    s.etc("qemu-ifup.conf", "* --guard\n");
    let found = check(&s, "alice qemu-ifup --check tap0");
    let fix = &found
        .says("warning", "tap0 is not attached to a bridge")
        .fix;
    assert!(!fix.contains("--guard"), "{fix}");
    must(&s, fix);
    check(&s, "alice qemu-ifup --check tap0").says("ok", "tap0 is up on br0, with guard on");
}

#[test]
fn a_lock_that_is_asked_for_and_is_not_there_is_told() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup tap0");
    s.etc("qemu-ifup.conf", "tap0 --lock-mac 52:54:00:00:00:01\n");
    let words = "tap0 is up on br0, but its port options differ: expected guard on learning off flood off locked on";
    let found = check(&s, "qemu-ifup --check tap0");
    must(&s, &found.says("warning", words).fix);
    check(&s, "qemu-ifup --check tap0").does_not_say("warning", "tap0");
    let other = check(&s, "qemu-ifup --check --lock-mac 52:54:00:00:00:02 tap0");
    let words = "tap0 is locked, but br0 has no static fdb entry for 52:54:00:00:00:02";
    let found = other.says("problem", words);
    assert_eq!(found.fix, "advice: run the same command without --check");
}

#[test]
fn a_port_that_is_shut_is_told_and_opened() {
    let Some(s) = host() else { return };
    let held = open_tap_as(0, "tap0", 0).unwrap();
    must(&s, "qemu-ifup --guard tap0");
    // The kernel itself shuts it in its first network namespace only: tests/qemu/guest/stp.rs.
    let shut = || s.sh("bridge link set dev tap0 state 0");
    let is_forwarding = || {
        let port = s.sh("bridge link show dev tap0");
        port.contains("state forwarding").then_some(())
    };
    eventually(is_forwarding).unwrap();
    shut();
    // Without STP, no BPDU was it.
    check(&s, "qemu-ifup --check tap0").does_not_say("warning", "tap0");
    s.sh("ip link set br0 type bridge stp_state 1 forward_delay 200");
    let message = "port tap0 is disabled: the guest sent a BPDU";
    let found = check(&s, "qemu-ifup --check --mtu 1500 tap0");
    let fix = &found.says("warning", message).fix;
    assert!(
        fix.ends_with("down\nadvice: then run the same command without --check"),
        "{fix}"
    );
    let found = check(&s, "qemu-ifup --check tap0");
    let found = found.says("warning", message);
    must(&s, command_in(&found.fix, "ip link set dev tap0 down"));
    eventually(is_forwarding).unwrap();
    check(&s, "qemu-ifup --check tap0").says("ok", "tap0 is up on br0, with guard on");
    drop(held);
}

#[test]
fn a_tap_without_an_owner_matters_where_somebody_else_could_open_it() {
    #[rustfmt::skip]
    let table = [
        // (the tap, its flags, how bad, how what is to be done begins)
        ("", 0, "ok", ""),
        ("", libc::IFF_MULTI_QUEUE, "warning", "advice: only the program that uses tap0"),
        ("ip tuntap add tap0 mode tap", 0, "warning", "advice: only the program that uses tap0"),
    ];
    for (tap, flags, level, start) in table {
        on_its_own(&format!("{tap} {flags}"), || {
            let Some(s) = host() else { return };
            s.sh(tap);
            let held = open_tap_as(0, "tap0", flags).unwrap();
            let found = check(&s, "qemu-ifup --check tap0");
            let found = found.says(level, "tap0 has no owner");
            assert!(found.fix.starts_with(start), "{found:?}");
            if !tap.is_empty() {
                drop(held);
                must(&s, command_in(&found.fix, "qemu-ifup --bridge"));
                check(&s, "qemu-ifup --check tap0").says("ok", "tap0: owner uid 0");
            }
        });
    }
}

/// A process of this user that has a queue of the tap open, and does nothing.
fn holder(uid: u32) -> Child {
    let queue = open_tap_as(0, "tap0", libc::IFF_MULTI_QUEUE).unwrap();
    let mut sleep = as_user(uid, uid, "sleep");
    inherit(
        sleep.arg("60").stdout(Stdio::null()).stderr(Stdio::null()),
        queue,
        60,
    );
    sleep.spawn().unwrap()
}

#[test]
fn a_queue_of_somebody_elses_is_told_from_those_of_the_owner() {
    let Some(s) = host() else { return };
    must(&s, &format!("qemu-ifup --multi-queue --owner {ALICE} tap0"));
    let mut processes = vec![holder(ALICE), holder(0), holder(ALICE)];
    // setpriv has to be done.
    let ready = |s: &Sandbox| {
        sh(s, "qemu-ifup --check -v tap0")
            .stdout
            .matches("is in use by sleep (pid")
            .count()
            == 3
    };
    crate::common::eventually(|| ready(&s).then_some(())).unwrap();
    check(&s, "qemu-ifup --check tap0").does_not_say("warning", "tap0");

    processes.push(holder(MALLORY));
    let pid = processes[3].id();
    let words =
        format!("tap0 is also in use by sleep (pid {pid}) (uid {MALLORY}), who is not the owner");
    let found = crate::common::eventually(|| {
        let checked = check(&s, "qemu-ifup --check tap0");
        checked
            .find("warning", &words)
            .map(|found| found.fix.clone())
    });
    let fix = found.unwrap();
    assert!(
        must(&s, command_in(&fix, "ps -fp"))
            .stdout
            .contains("sleep 60")
    );
    for mut process in processes {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn libvirt_needs_a_line_for_apparmor_unless_the_program_is_in_usr_bin() {
    let Some(s) = host() else { return };
    let words = "AppArmor does not permit libvirtd to run /etc/qemu-ifup";
    check(&s, "qemu-ifup --check").does_not_say("warning", words);
    s.sh("mkdir -p /etc/apparmor.d/local; echo '#' >/etc/apparmor.d/usr.sbin.libvirtd; echo '# /etc/qemu-ifup PUx,' >/etc/apparmor.d/local/usr.sbin.libvirtd");
    let found = check(&s, "qemu-ifup --check");
    let advice = &found.says("warning", words).fix;
    let line = advice.split('\'').nth(1).unwrap();
    assert_eq!(line, "/etc/qemu-ifup PUx,");
    s.sh(&format!(
        "echo '  {line}' >>/etc/apparmor.d/local/usr.sbin.libvirtd"
    ));
    check(&s, "qemu-ifup --check").does_not_say("warning", words);
    // A link to it is followed before anything is compared.
    s.sh("mkdir \"$DIR/bin\" \"$DIR/work\"
         mount -t overlay -o \"lowerdir=/usr/bin,upperdir=$DIR/bin,workdir=$DIR/work\" overlay /usr/bin
         : >/etc/apparmor.d/local/usr.sbin.libvirtd
         mv /etc/qemu-ifup /usr/bin; ln -s /usr/bin/qemu-ifup /etc/qemu-ifup");
    check(&s, "/etc/qemu-ifup --check").does_not_say("warning", "AppArmor");
}

/// Programs that stand in for those that manage interfaces, and for what they are told with.
const MANAGERS: &str = r#"
    mkdir "$DIR/run"; mount --bind "$DIR/run" /run
    for name in NetworkManager systemd-networkd dhcpcd; do
        cp "$(readlink -f "$(command -v sleep)")" "$DIR/$name"
        $IN "$DIR/$name" 60 >/dev/null 2>&1 & echo $! >>"$DIR/pids"
        while ! grep -q "^$(printf %.15s $name)" "/proc/$!/comm"; do sleep 0.01; done
    done
    qemu-ifup tap0
    index=$(ip -o link show tap0 | cut -d: -f1)
    mkdir -p /run/NetworkManager/devices /run/systemd/netif/links /etc/systemd/network
    printf '[device]\nmanaged=true\n' >/run/NetworkManager/devices/$index
    printf 'ADMIN_STATE=configuring\n' >/run/systemd/netif/links/$index
    ip address add 169.254.7.7/16 scope link dev tap0
    cat >"$DIR/nmcli" <<END
#!/bin/sh
[ "\$*" = 'device set tap0 managed no' ] && sed -i s/true/false/ /run/NetworkManager/devices/$index
END
    cat >"$DIR/networkctl" <<END
#!/bin/sh
[ "\$*" = reload ] && grep -qx Name=tap0 /etc/systemd/network/*.network && grep -qx Unmanaged=yes /etc/systemd/network/*.network &&
    echo ADMIN_STATE=unmanaged >/run/systemd/netif/links/$index
END
    chmod +x "$DIR/nmcli" "$DIR/networkctl"
"#;

/// The lines about programs that manage interfaces, and those below them.
fn managers(s: &Sandbox) -> String {
    let text = must(s, "qemu-ifup --check -v tap0").stdout;
    let at = text.find(" managers ").unwrap_or(text.len());
    text[at..].to_owned()
}

#[test]
fn programs_that_manage_interfaces_are_judged_by_what_they_manage() {
    let Some(s) = host() else { return };
    must(&s, &format!("IN=; {MANAGERS}"));
    let said = managers(&s);
    for (name, command) in [("NetworkManager", "nmcli"), ("systemd-networkd", "printf")] {
        assert!(
            said.contains(&format!("{name} is running and may configure tap0")),
            "{said}"
        );
        let at = said
            .find(&format!("-> {command}"))
            .unwrap_or_else(|| panic!("{command}: {said}"));
        must(&s, said[at + 3..].lines().next().unwrap());
        let said = managers(&s);
        assert!(
            said.contains(&format!("{name} is running and does not manage tap0")),
            "{said}"
        );
    }
    assert!(
        said.contains("dhcpcd is running and may configure tap0"),
        "{said}"
    );
    assert!(
        said.contains("'denyinterfaces tap0' to /etc/dhcpcd.conf"),
        "{said}"
    );
    s.sh("ip address flush dev tap0");
    assert!(managers(&s).contains("dhcpcd is running\n"));
    s.sh("kill $(cat \"$DIR/pids\")");
}

#[test]
fn programs_that_manage_the_interfaces_of_another_network_are_not_named() {
    let Some(s) = host() else { return };
    must(&s, &format!("IN='unshare -n'; {MANAGERS}"));
    let said = managers(&s);
    assert!(!said.contains("tap0"), "{said}");
    s.sh("kill $(cat \"$DIR/pids\")");
}

#[test]
fn what_a_user_may_not_have_more_of_is_a_problem_before_it_is_an_error() {
    let Some(s) = crate::host::host_for_alice("allow br0\n") else {
        return;
    };
    must(
        &s,
        "alice qemu-ifup tap0; echo '* --max-taps 2' >/etc/qemu-ifup.conf; alice qemu-ifup --check tap1; alice qemu-ifup tap1",
    );
    // Those that are there need no more room.
    check(&s, "alice qemu-ifup --check tap1").does_not_say("problem", "");
    let found = check(&s, "alice qemu-ifup --check tap2");
    let found = found.says("problem", "");
    assert_eq!(found.subject, "qemu-ifup");
    let run = sh(&s, "alice qemu-ifup tap2");
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains(&found.message),
        "{run:?}, not {found:?}"
    );
    // The administrator may have more.
    check(&s, "qemu-ifup --check tap2").does_not_say("problem", "");
    must(&s, "alice qemu-ifdown --delete tap1");
    check(&s, "alice qemu-ifup --check tap2").does_not_say("problem", "");
}

#[test]
fn a_querier_elsewhere_is_told_of_where_the_bridge_snoops() {
    let Some(s) = host() else { return };
    let says = "multicast snooping is on";
    let look = || check(&s, "qemu-ifup --check");
    look().does_not_say("ok", says);
    must(
        &s,
        "ip link add br9 type bridge mcast_querier 1 mcast_query_interval 100 mcast_startup_query_interval 100
         ip link add up0 up master br0 type veth peer name far0
         ip link set far0 up master br9
         ip link set br9 up",
    );
    // It asks once it has an address of its own to ask from.
    eventually(|| look().find("ok", says).map(drop)).expect("no querier is told of");
    must(&s, "ip link set dev br0 type bridge mcast_snooping 0");
    look().does_not_say("ok", says);
}
