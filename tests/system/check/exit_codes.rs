//! Exit codes and hints.

use crate::check::{assert_failed, check};
use crate::common::users::open_tap_as;
use crate::host::{host, host_for_alice, host_with, must, on_its_own, sh};

/// Provokes each of these on a host of its own: (what is done to the host, the call, exit code, message, hint).
fn provoke(rules: Option<&str>, table: &[(&str, &str, i32, &str, &str)]) {
    for (prepare, line, code, error, hint) in table {
        on_its_own(line, || {
            let host = match rules {
                Some(rules) => host_for_alice(rules),
                None => host(),
            };
            let Some(s) = host else { return };
            must(&s, prepare);
            assert_failed(&sh(&s, line), *code, error, hint);
        });
    }
}

/// What is not here needs a second program at just the right moment, or a kernel that says yes and does not act.
#[test]
fn each_error_has_its_exit_code_and_its_hint() {
    let no_bridge =
        "run: echo '* --create-bridge --address 192.168.10.1/24' | tee -a /etc/qemu-ifup.conf";
    #[rustfmt::skip]
    let table = [
        ("", "qemu-ifup --help >/dev/full", 1, "cannot write the output: No space", ""),
        ("", "qemu-ifup --check >/dev/full", 1, "cannot write the output: No space", ""),
        ("", "qemu-ifup -n tap0 >/dev/full", 1, "cannot write the output: No space", ""),
        ("rm /etc/passwd", "qemu-ifup -u ann tap0", 1, "cannot read /etc/passwd: No such", ""),
        ("", "qemu-ifup", 2, "IFNAME is missing", "--help"),
        ("", "qemu-ifdown --wait 1 tap0", 2, "unknown option --wait", "run the program with --help"),
        ("", "qemu-ifup a/b", 2, "'a/b' is not an interface name", "1 to 15 bytes"),
        ("", "qemu-ifup -u ann0 tap0", 2, "unknown user 'ann0' (not in /etc/passwd)", "--owner UID"),
        ("", "qemu-ifup -g staff0 tap0", 2, "unknown group 'staff0' (not in /etc/group)", "--group GID"),
        ("", "SUDO_UID=x qemu-ifup tap0", 2, "SUDO_UID is 'x'", "run: unset SUDO_UID"),
        ("", "qemu-ifup --fd=0 </dev/null", 2, "pass a tap through file descriptor 0", "only QEMU uses --fd"),
        ("", "alice qemu-ifup tap0", 3, "no CAP_NET_ADMIN", "sudo"),
        ("", "qemu-ifup -b br9 tap0", 4, "cannot attach to br9: no such bridge", no_bridge),
        ("", "qemu-ifup -b lo tap0", 4, "lo is not a bridge (it is", "ip link show type bridge"),
        (
            "ip link add d0 type veth peer name d1",
            "qemu-ifup -b d0 tap0",
            4,
            "d0 is not a bridge (it is an interface of kind veth)",
            "ip link show type bridge",
        ),
        ("", "qemu-ifup --pvid 5 tap0", 4, "VLAN filtering is off on bridge br0", "leave out --pvid and --vlans"),
        ("", "qemu-ifup lo", 5, "lo: not a tap (it is", "give the name of a tap"),
        ("", "qemu-ifdown lo", 5, "lo: not a tap (it is", "give the name of a tap"),
        (
            "ip tuntap add t0 mode tap user 5",
            "qemu-ifup --group 7 t0",
            5,
            "cannot set the group to gid 7: the tap has an owner",
            "qemu-ifdown --delete t0",
        ),
        ("rm /dev/net/tun", "qemu-ifup tap0", 6, "No such file", "mknod -m 0666 /dev/net/tun c 10 200"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 10 199", "qemu-ifup tap0", 6, "No such device", "modprobe tun"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 120 0", "qemu-ifup tap0", 6, "No such device or address", "modprobe tun"),
        ("ip link set lo down", "qemu-ifup -b br9 --create-bridge --address ::1/128 tap0", 7, "cannot create the bridge br9: ", ""),
        (
            "printf '\\n* --bridge\\n' >/etc/qemu-ifup.conf",
            "qemu-ifup tap0",
            8,
            "invalid line: /etc/qemu-ifup.conf:2: --bridge needs a value",
            "web? --bridge br1",
        ),
        (
            "touch /etc/qemu-ifup.conf; chmod 666 /etc/qemu-ifup.conf",
            "qemu-ifup tap0",
            8,
            "/etc/qemu-ifup.conf is not safe to use: it must be owned by root",
            "chmod go-w /etc/qemu-ifup.conf.new",
        ),
    ];
    provoke(None, &table);
}

#[test]
fn a_hint_does_not_name_the_other_program() {
    let Some(s) = host() else { return };
    let run = sh(&s, "alice qemu-ifup tap0");
    assert_failed(&run, 3, "no CAP_NET_ADMIN", "sudo");
    assert!(!run.stderr.contains("qemu-ifdown"), "{run:?}");
}

#[test]
fn each_refusal_has_its_exit_code_and_its_hint() {
    #[rustfmt::skip]
    let table = [
        (
            "",
            "alice qemu-ifup -b br8 tap0",
            3,
            "no line of /etc/qemu/bridge.conf allows br8",
            "ask root to add this line to /etc/qemu/bridge.conf: allow br8",
        ),
        ("", "alice qemu-ifup -b br9 tap0", 3, "denied by /etc/qemu/bridge.conf:2", "ask root to delete /etc/qemu/bridge.conf:2"),
        ("", "alice qemu-ifup -u 5 tap0", 3, "cannot set the owner to uid 5", "ask root"),
        ("", "alice qemu-ifup --mtu 1000 tap0", 3, "cannot set MTU 1000", "Only root"),
        ("", "alice qemu-ifup --create-bridge tap0", 3, "cannot use --create-bridge", "qemu-ifup.conf"),
        ("", "alice qemu-ifup --pvid 5 tap0", 3, "cannot use --pvid", "qemu-ifup.conf"),
        ("ip tuntap add t0 mode tap user 5", "alice qemu-ifup t0", 3, "its owner is another user", "Only root"),
        ("ip tuntap add t0 mode tap", "alice qemu-ifdown t0", 3, "it has no owner", "Only root"),
        ("ip tuntap add t0 mode tap group 5", "alice qemu-ifup t0", 3, "not a member of", "Only root"),
        ("chmod 600 /dev/net/tun", "alice qemu-ifup tap0", 6, "cannot use /dev/net/tun: Permission denied", "chmod 0666 /dev/net/tun"),
        (
            "echo permit br0 >>/etc/qemu/bridge.conf",
            "alice qemu-ifup tap0",
            8,
            "/etc/qemu/bridge.conf:4: 'permit' is not allow, deny or include",
            "valid lines are: allow NAME",
        ),
        (
            "chmod 666 /etc/qemu/bridge.conf",
            "alice qemu-ifup tap0",
            8,
            "/etc/qemu/bridge.conf is not safe to use",
            "chmod go-w /etc/qemu/bridge.conf.new",
        ),
    ];
    provoke(Some("allow br0\ndeny br9\nallow br9\n"), &table);
}

#[test]
fn a_device_that_a_cgroup_keeps_away_has_a_hint_of_its_own() {
    let Some(s) = host_with("strace") else { return };
    let strace = "strace -qq -o /dev/null -P /dev/net/tun -e inject=open,openat:error=EPERM";
    let run = sh(&s, &format!("{strace} qemu-ifup tap0"));
    let error = "cannot use /dev/net/tun: Operation not permitted";
    assert_failed(&run, 6, error, "Permit device c 10:200 rwm");
    let checked = check(&s, &format!("{strace} qemu-ifup --check"));
    checked.says("problem", "Operation not permitted");
    assert_eq!(checked.code, 6);
}

/// As libvirtd's AppArmor profile does where the program stands in the place of qemu-bridge-helper.
#[test]
fn a_netlink_socket_that_is_refused_has_a_hint_of_its_own() {
    let Some(s) = host_with("strace") else { return };
    let strace = "strace -qq -o /dev/null -e inject=socket:error=EACCES:when=1";
    let run = sh(&s, &format!("{strace} qemu-ifup tap0"));
    let error = "cannot open a netlink socket: Permission denied";
    assert_failed(&run, 3, error, "bridge_helper = \"/etc/qemu-ifup\"");
}

#[test]
fn a_wait_in_vain_ends_with_9_and_the_command_that_helps() {
    #[rustfmt::skip]
    let table = [
        // (the bridge, why it does not forward, how the command begins)
        ("ip link set br0 type bridge stp_state 1", "listening", "--wait 65"),
        ("ip link set br0 down", "disabled", "ip link set dev br0 up"),
    ];
    for (bridge, state, start) in table {
        on_its_own(state, || {
            let Some(s) = host() else { return };
            s.sh(bridge);
            let _held = open_tap_as(0, "wait0", 0).unwrap();
            let run = sh(&s, "qemu-ifup --wait 0 wait0");
            let error = format!("timed out: the port does not forward yet (state: {state})");
            assert_failed(&run, 9, &error, start);
        });
    }
}

#[test]
fn the_exit_code_is_that_of_the_first_problem() {
    let Some(s) = host() else { return };
    s.sh("rm /dev/net/tun; ip link set br0 down");
    #[rustfmt::skip]
    let problems = [
        ("alice qemu-ifup --check lo", vec!["privilege", "/dev/net/tun", "bridge", "tap"], 3),
        ("qemu-ifup --check lo", vec!["/dev/net/tun", "bridge", "tap"], 6),
    ];
    for (line, expected, code) in problems {
        let checked = check(&s, line);
        let problems = checked
            .found
            .iter()
            .filter(|found| found.level == "problem");
        let abouts: Vec<_> = problems.map(|found| found.subject.as_str()).collect();
        assert_eq!((abouts, checked.code), (expected, code));
    }
}

#[test]
fn check_ends_with_the_code_that_the_work_itself_would_end_with() {
    #[rustfmt::skip]
    let table = [
        // (what is done to the host, who calls, options and tap, exit code)
        ("", "", "tap0", 0),
        ("", "", "-b br9 tap0", 4),
        ("", "", "-b lo tap0", 4),
        ("", "", "lo", 5),
        ("", "", "--pvid 5 tap0", 4),
        ("", "", "--owner ann0 tap0", 2),
        ("ip tuntap add t0 mode tap", "", "--multi-queue t0", 5),
        ("ip tuntap add t0 mode tap user 5", "", "--group 7 t0", 5),
        ("", "alice", "tap0", 0),
        ("", "alice", "-b br9 tap0", 3),
        ("", "alice", "-b br8 tap0", 3),
        ("", "alice", "--owner 5 tap0", 3),
        ("", "alice", "--pvid 5 tap0", 3),
        ("ip tuntap add t0 mode tap user 5", "alice", "t0", 3),
        ("ip tuntap add t0 mode tap", "alice", "t0", 3),
        ("echo '* --pvid 5' >/etc/qemu-ifup.conf", "", "tap0", 4),
        ("echo '* --owner ann0' >/etc/qemu-ifup.conf", "", "-b br9 tap0", 8),
        ("echo '* --owner ann0' >/etc/qemu-ifup.conf", "alice", "-b br9 tap0", 8),
        ("", "", "-b br9 --owner ann0 tap0", 2),
        ("echo '* --bridge br8' >/etc/qemu-ifup.conf", "alice", "tap0", 3),
    ];
    let mut wrong = Vec::new();
    for (prepare, who, args, code) in table {
        let codes = on_its_own(args, || {
            let s = host_for_alice("allow br0\ndeny br9\n")?;
            s.sh("ip link add br8 up address 02:00:00:00:00:aa type bridge");
            must(&s, prepare);
            let checked = sh(&s, &format!("{who} qemu-ifup --check {args}")).code;
            Some((checked, sh(&s, &format!("{who} qemu-ifup {args}")).code))
        });
        if codes.is_some_and(|codes| codes != (code, code)) {
            wrong.push(format!(
                "{prepare}; {who} qemu-ifup [--check] {args}: {codes:?}, not {code}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "(--check, the work):\n{}",
        wrong.join("\n")
    );
}
