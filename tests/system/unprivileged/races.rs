//! Attacks: at just the wrong moment.

use crate::common::json::changes;
use crate::common::users::{ALICE, BOB};
use crate::common::{command, needs, run};
use crate::unprivileged::{Host, Stopped, assert_says, both_ways};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn a_program_that_its_caller_traces_has_no_privilege() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let script = "exec strace -o /dev/null \"$@\"";
        let refused = run(&mut host.call_in_sh(script, "qemu-ifup", &["tap0"]));
        assert_says(&refused, 3, "no CAP_NET_ADMIN", "traced");
        host.sandbox.assert_unchanged(&before);
    });
}

/// While the call is stopped after each of its system calls of that name in turn, root gives the name tap0, which the
/// call is about, to Bob's tap. Whatever becomes of the call, it leaves Bob's alone.
fn assert_bobs_is_safe(host: &Host, make: &str, call: &Command, syscall: &str) {
    let sandbox = &host.sandbox;
    let before = sandbox.snapshot();
    let bobs = |name| {
        let mut link = sandbox.link(name).unwrap();
        link.as_object_mut().unwrap().remove("ifname");
        link
    };
    for nth in 1.. {
        sandbox.sh(make);
        let victim = bobs("bobs");
        // For a helper; the others do not care.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stopped = Stopped::after(syscall, nth, call, OwnedFd::from(theirs));
        let Some(stopped) = stopped else {
            assert!(nth > 1, "it was not stopped: {call:?}");
            sandbox.try_sh("ip link del tap0");
            break;
        };
        sandbox.try_sh("ip link set tap0 name eth0");
        sandbox.sh("ip link set bobs name tap0");
        let run = stopped.go_on();
        let what = format!("{call:?} after {syscall} {nth}: {run:?}");
        let changes = changes(&victim, &bobs("tap0"));
        assert!(changes.is_empty(), "{what}\n{}", changes.join("\n"));
        drop(ours);
        if run.code != 0 && make == ":" {
            assert_eq!(sandbox.link("eth0"), None, "{what}");
        }
        sandbox.try_sh("ip link del eth0");
        sandbox.sh("ip link set tap0 name bobs");
        sandbox.assert_unchanged(&before);
    }
}

#[test]
fn a_tap_renamed_between_look_and_act_does_not_move_the_act_to_another() {
    if !needs("strace") {
        return;
    }
    let mine = format!("ip tuntap add tap0 mode tap user {ALICE}; ip link set tap0 master br1 up");
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        let call = |program: &str, args: &[&str]| host.call(program, args);
        for (make, call, syscall) in [
            (&*mine, call("qemu-ifup", &["tap0"]), "sendto"),
            (&mine, call("qemu-ifdown", &["tap0"]), "sendto"),
            (&mine, call("qemu-ifdown", &["--delete", "tap0"]), "sendto"),
            (&mine, call("qemu-ifdown", &["--delete", "tap0"]), "ioctl"),
            (":", call("qemu-ifup", &["tap0"]), "sendto"),
            (":", call("qemu-ifup", &["tap0"]), "ioctl"),
        ] {
            assert_bobs_is_safe(host, make, &call, syscall);
        }
    });
}

#[test]
fn a_helpers_tap_renamed_between_creation_and_look_does_not_move_the_act_to_another() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        // No rule stands between root and Bob's tap.
        let mut roots = command(host.programs.join("qemu-ifup"));
        roots.args(["--br=br0", "--fd=0"]);
        for call in [host.call("qemu-ifup", &["--br=br0", "--fd=0"]), roots] {
            for syscall in ["ioctl", "sendto"] {
                assert_bobs_is_safe(host, ":", &call, syscall);
            }
        }
    });
}
