//! A stranger in the tap.

use crate::alone;
use crate::common::fds::{inherit, open_tap, open_tun, set_interface};
use crate::common::interfaces::info;
use crate::common::sandbox::{lines, unshare};
use crate::common::users::{ALICE, MALLORY, open_tap_as, this_thread_becomes};
use crate::common::{eventually, run};
use crate::races::host::Host;
use crate::races::{ROUNDS, assert_done, assert_refused, tell};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Asks for a queue of that tap until there is one, or until it is told to stop.
fn steal(tap: &str, stop: &AtomicBool, begun: &AtomicBool) -> Option<File> {
    this_thread_becomes(MALLORY).unwrap();
    let tun = open_tun().unwrap();
    loop {
        if set_interface(&tun, tap, libc::IFF_MULTI_QUEUE).is_ok() {
            return Some(tun);
        }
        begun.store(true, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return None;
        }
    }
}

fn no_stranger_gets_into_a_new_tap(what: &str, uid: u32, args: &[&str]) {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    host.sandbox.etc("qemu-ifup.conf", "* --multi-queue\n");
    let start = Instant::now();
    let (mut got_in, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        // Another name each time: what is left of the last one is not waited for.
        let tap = format!("tap{round}");
        let [stop, begun] = [const { AtomicBool::new(false) }; 2];
        let (run, stolen) = thread::scope(|scope| {
            let thief = scope.spawn(|| steal(&tap, &stop, &begun));
            eventually(|| begun.load(Ordering::Relaxed).then_some(())).unwrap();
            let run = host.ifup(uid, &[args, &[&tap]].concat());
            stop.store(true, Ordering::Relaxed);
            (run, thief.join().unwrap())
        });
        match run.code {
            0 => {
                got_in += usize::from(stolen.is_some());
                let info = info(&host.sandbox, &tap);
                assert_eq!(info["user"], ALICE, "{info}");
            }
            5 => {
                refused += 1;
                assert_eq!(host.sandbox.link(&tap), None, "{run:?}");
            }
            _ => panic!("{run:?}"),
        }
        drop(stolen);
        host.sandbox.try_sh(&format!("ip link del {tap}"));
    }
    tell(&format!(
        "{what}: {ROUNDS} rounds, a stranger got in unnoticed {got_in} times, noticed {refused} times; {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    assert_eq!(got_in, 0, "{what}");
}

#[test]
fn no_stranger_gets_a_queue_of_a_tap_that_a_user_makes() {
    no_stranger_gets_into_a_new_tap("a user's new queues", ALICE, &[]);
}

#[test]
fn no_stranger_gets_a_queue_of_a_tap_that_root_makes_for_a_user() {
    let owner = ALICE.to_string();
    let args = ["--multi-queue", "--owner", &owner];
    no_stranger_gets_into_a_new_tap("a user's new queues, made by root", 0, &args);
}

/// What its name says, of linux/if_tun.h: whoever has a tap open says whether it has a carrier.
fn set_carrier(tap: &File, carrier: i32) {
    nix::ioctl_write_ptr_bad!(
        tunsetcarrier,
        nix::request_code_write!(b'T', 226, std::mem::size_of::<libc::c_int>()),
        libc::c_int
    );
    // SAFETY: TUNSETCARRIER reads one int, which `carrier` is.
    unsafe { tunsetcarrier(tap.as_raw_fd(), &raw const carrier) }.unwrap();
}

#[test]
fn a_stranger_who_hides_in_a_tap_without_carrier_is_not_left_in_it() {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    let s = &host.sandbox;
    for round in 0..ROUNDS {
        let (queues, flags) = [("multi_queue", libc::IFF_MULTI_QUEUE), ("", 0)][round % 2];
        s.sh(&format!("ip tuntap add tap0 mode tap {queues}"));
        let stranger = open_tap_as(MALLORY, "tap0", flags).unwrap();
        set_carrier(&stranger, 0);
        let before = s.snapshot();
        let run = host.ifup(0, &["--owner", &ALICE.to_string(), "tap0"]);
        assert_refused(&run, 5, "tap0: cannot ");
        s.assert_unchanged(&before);
        drop(stranger);
        // Once they are gone, nothing is in the way.
        if round < 2 {
            assert_done(&host.ifup(0, &["--owner", &ALICE.to_string(), "tap0"]));
            assert_eq!(info(s, "tap0")["user"], ALICE);
        }
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_descriptor_of_another_networks_tap_of_the_same_name_is_not_taken_for_qemus() {
    const RIGHT_FIRST: usize = 4;

    let _alone = alone();
    let Some(host) = Host::new() else { return };
    let s = &host.sandbox;
    let log = s.devlog();
    let owner = ALICE.to_string();
    for round in 0..ROUNDS {
        let flags = [0, libc::IFF_MULTI_QUEUE][round % 2];
        let forged = in_another_network(|| open_tap("tap0", flags).unwrap());
        // Held by somebody else, by QEMU, and by nobody.
        let held = (round % 3 < 2).then(|| open_tap_as(0, "tap0", flags).unwrap());
        if held.is_none() {
            let queues = ["", "multi_queue"][round % 2];
            s.sh(&format!("ip tuntap add tap0 mode tap {queues}"));
        }
        let mut call = host.call(0, "qemu-ifup", &["--owner", &owner, "tap0"]);
        inherit(&mut call, forged, 50);
        if round % 3 == 1 {
            // Beside the right one, before or after it.
            let right = held.as_ref().unwrap().try_clone().unwrap();
            inherit(
                &mut call,
                right,
                if round % 6 == RIGHT_FIRST { 49 } else { 51 },
            );
        }
        let run = run(&mut call);
        let is_given = info(s, "tap0")["user"] == ALICE;
        let at = format!("round {round}: {run:?}");
        assert_eq!(run.code == 0, is_given, "{at}");
        assert!(run.code == 0 || run.code == 5, "{at}");
        // Where the right one is found first, it is given.
        assert!(run.code == 0 || round % 6 != RIGHT_FIRST, "{at}");
        let said = lines(&log).concat();
        let says = said.contains(&format!("given to uid {ALICE}"));
        assert_eq!(says, is_given, "{at}: {said}");
        drop((held, call));
        s.try_sh("ip link del tap0");
        eventually(|| s.link("tap0").is_none().then_some(())).unwrap();
    }
}

/// Does something in a network of its own, where nothing is, and comes back.
fn in_another_network<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let there = || {
        unshare(libc::CLONE_NEWNET).unwrap();
        act()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap())
}
