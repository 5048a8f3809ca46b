//! Many taps.

use crate::adversary::net::{set_owner, set_persistent};
use crate::alone;
use crate::common::fds::{open_tun, received, set_interface};
use crate::common::json::is_up;
use crate::common::users::{ALICE, BOB, MALLORY, open_tap_as, this_thread_becomes};
use crate::common::{eventually, run, run_with_input};
use crate::races::host::Host;
use crate::races::{ROUNDS, assert_done, assert_refused, tell};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Calls at once, all that end well or are refused for their number. How many did.
fn rush(host: &Host, calls: Vec<Command>) -> usize {
    let start = Barrier::new(calls.len());
    let one = |mut call: Command| {
        start.wait();
        let run = run(&mut call);
        if run.code != 0 {
            assert_refused(&run, 3, "taps");
            assert!(run.stderr.contains("qemu-ifdown --delete"), "{run:?}");
        }
        usize::from(run.code == 0)
    };
    let done = thread::scope(|scope| {
        let calls: Vec<_> = calls
            .into_iter()
            .map(|call| scope.spawn(|| one(call)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    host.sandbox.look();
    done
}

/// The user's taps, each of which has to be whole.
fn taps(host: &Host) -> Vec<String> {
    let all = host.sandbox.ip(&["link", "show"]);
    let taps = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|link| link["linkinfo"]["info_kind"] == "tun");
    let whole = |link: &Value| {
        assert_eq!(link["linkinfo"]["info_data"]["user"], ALICE, "{link:#}");
        assert!(is_up(link) && link["master"] == "br0", "{link:#}");
        link["ifname"].as_str().unwrap().to_owned()
    };
    taps.map(whole).collect()
}

/// All at once, more than one user may have: the kernel has no more of them than that, and each that was refused leaves
/// nothing. Then one after the other up to that number, and not one more.
fn never_more_than(most: usize, host: &Host, args: &[&str]) {
    let name = |n| format!("tap{n}");
    let call = |n| host.call(ALICE, "qemu-ifup", &[args, &[&*name(n)]].concat());
    let start = Instant::now();
    let wanted = most + most.max(4) / 2;
    let done = rush(host, (0..wanted).map(call).collect());
    let rushed = taps(host);
    assert_eq!(rushed.len(), done, "{rushed:?}");
    assert!(done <= most, "{done} taps where {most} are allowed");
    let mut refused = None;
    for n in 0..wanted {
        let run = run(&mut call(n));
        if run.code != 0 && refused.is_none() {
            assert_eq!(taps(host).len(), most, "{run:?}");
            assert_refused(&run, 3, &format!("has {most} taps, and the limit is "));
            refused = Some(n);
        }
    }
    assert_eq!(taps(host).len(), most);
    let refused = name(refused.expect("one too many"));
    assert_eq!(host.sandbox.link(&refused), None);
    // What one has is theirs to use, and another user has taps of their own.
    let [first, other] = [taps(host)[0].clone(), "vnet0".to_owned()];
    assert_done(&host.ifdown(ALICE, &[&first]));
    assert_done(&host.ifup(ALICE, &[&first]));
    assert_done(&host.ifup(MALLORY, &[args, &[&other]].concat()));
    host.sandbox.sh("ip link del vnet0");
    // One less, and there is room for another.
    assert_done(&host.ifdown(ALICE, &["--delete", &first]));
    assert_done(&host.ifup(ALICE, &[args, &[&*refused]].concat()));
    tell(&format!(
        "{wanted} at once, {args:?}: {done} were made, {most} are allowed; {:.1} s",
        start.elapsed().as_secs_f64()
    ));
}

#[test]
fn a_user_has_64_taps_at_most_however_many_are_made_at_once() {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    never_more_than(64, &host, &[]);
    // A helper's count, too.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut helper = host.call(ALICE, "qemu-ifup", &["--br=br0", "--fd=0"]);
    let run = run_with_input(helper.stdin(OwnedFd::from(theirs)));
    drop(helper);
    assert_refused(&run, 3, "has 64 taps, and the limit is 64");
    assert_eq!(received(&ours).len(), 0);
    assert_eq!(taps(&host).len(), 64);
    // The number is for users, and not for root.
    let owner = ALICE.to_string();
    assert_done(&host.ifup(0, &["--owner", &owner, "one-more"]));
    assert_eq!(taps(&host).len(), 65);
}

#[test]
fn the_administrator_says_how_many_taps_a_user_has() {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    host.sandbox.etc("qemu-ifup.conf", "* --max-taps 3\n");
    never_more_than(3, &host, &[]);
    host.sandbox
        .sh("for n in 0 1 2 3 4 5; do ip link del tap$n || true; done 2>&-");
    host.sandbox
        .etc("qemu-ifup.conf", "* --max-taps 3 --multi-queue\n");
    never_more_than(3, &host, &[]);
    let asks = host.ifup(ALICE, &["--max-taps", "9", "tap9"]);
    assert_refused(&asks, 3, "cannot use --max-taps");
    assert_eq!(host.sandbox.link("tap9"), None);
    host.sandbox
        .etc("qemu-ifup.conf", "* --max-taps 3\ntap9 --max-taps 4\n");
    assert_done(&host.ifup(ALICE, &["tap9"]));
}

#[test]
fn helpers_at_once_hand_over_no_more_taps_than_a_user_may_have() {
    const MOST: usize = 5;

    let _alone = alone();
    let Some(host) = Host::new() else { return };
    host.sandbox.etc("qemu-ifup.conf", "* --max-taps 5\n");
    for _ in 0..10 {
        let start = Barrier::new(2 * MOST);
        let one = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut helper = host.call(ALICE, "qemu-ifup", &["--br=br0", "--fd=0"]);
            helper.stdin(OwnedFd::from(theirs));
            start.wait();
            let run = run_with_input(&mut helper);
            drop(helper);
            let got = received(&ours);
            assert_eq!(got.len(), usize::from(run.code == 0), "{run:?}");
            if run.code != 0 {
                assert_refused(&run, 3, "taps");
            }
            got
        };
        let held: Vec<OwnedFd> = thread::scope(|scope| {
            let all: Vec<_> = (0..2 * MOST).map(|_| scope.spawn(one)).collect();
            all.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        host.sandbox.look();
        assert!(held.len() <= MOST, "{} taps", held.len());
        // Those that were refused go with their last descriptor, of which a child just forked may have a copy.
        let left = eventually(|| (taps(&host).len() == held.len()).then_some(()));
        assert!(
            left.is_some(),
            "{} are held, and there are {:?}",
            held.len(),
            taps(&host)
        );
        drop(held);
        eventually(|| taps(&host).is_empty().then_some(())).expect("taps without a holder");
    }
}

#[test]
fn a_tap_counts_for_its_creator_whoever_owns_it() {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    let s = &host.sandbox;
    s.etc("qemu-ifup.conf", "* --max-taps 3\n");
    for tap in ["tap0", "tap1", "tap2"] {
        assert_done(&host.ifup(ALICE, &[tap]));
    }
    // Whoever has a tap open may give it away.
    for tap in ["tap0", "tap1"] {
        let tap = open_tap_as(ALICE, tap, 0).unwrap();
        set_owner(&tap, MALLORY).unwrap();
    }
    let refused = host.ifup(ALICE, &["tap3"]);
    assert_refused(&refused, 3, "has 3 taps, and the limit is 3");
    // They who got it have made none.
    for tap in ["tap3", "tap4", "tap5"] {
        assert_done(&host.ifup(MALLORY, &[tap]));
    }
    assert_refused(
        &host.ifup(MALLORY, &["tap6"]),
        3,
        "has 3 taps, and the limit is 3",
    );
    // What root makes for a user counts where it says so itself.
    s.sh(&format!(
        "ip tuntap add tap7 mode tap user {BOB}; ip link set tap7 up"
    ));
    for tap in ["tap8", "tap9"] {
        assert_done(&host.ifup(BOB, &[tap]));
    }
    assert_refused(
        &host.ifup(BOB, &["vnet0"]),
        3,
        "has 3 taps, and the limit is 3",
    );
    s.sh("ip link set tap7 alias 'web server'");
    assert_refused(
        &host.ifup(BOB, &["vnet0"]),
        3,
        "has 3 taps, and the limit is 3",
    );
}

/// Joins every tap of these that is there, keeps it, and gives it away.
fn keep_all(names: &[String], stop: &AtomicBool) -> usize {
    this_thread_becomes(ALICE).unwrap();
    let mut kept = 0;
    while !stop.load(Ordering::Relaxed) {
        for name in names {
            let tun = open_tun().unwrap();
            if set_interface(&tun, name, 0).is_ok()
                && set_persistent(&tun, true).is_ok()
                && set_owner(&tun, MALLORY).is_ok()
            {
                kept += 1;
            }
        }
    }
    kept
}

#[test]
fn a_user_who_joins_their_taps_and_kills_the_run_has_no_more_of_them() {
    const MOST: usize = 5;

    let _alone = alone();
    let Some(host) = Host::new() else { return };
    let s = &host.sandbox;
    s.etc("qemu-ifup.conf", &format!("* --max-taps {MOST}\n"));
    let stop = AtomicBool::new(false);
    let mut most = 0;
    let kept = thread::scope(|scope| {
        // Another name for each round that fails: what is there cannot be created.
        let names: Vec<String> = (0..4 * ROUNDS).map(|n| format!("tap{n}")).collect();
        let of_round = |round: usize| names[round].clone();
        let (first, stop) = (names[..].to_vec(), &stop);
        let thief = scope.spawn(move || keep_all(&first[..8], stop));
        for round in 0..4 * ROUNDS {
            let name = of_round(round % 8);
            let mut call = host.call(ALICE, "qemu-ifup", &[&name]);
            let mut child = call.stderr(std::process::Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_micros((round % 40 * 100) as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            let taps = s.links().iter().filter(|l| l.starts_with("tap")).count();
            most = most.max(taps);
        }
        stop.store(true, Ordering::Relaxed);
        thief.join().unwrap()
    });
    tell(&format!(
        "{} runs killed, the user kept a tap {kept} times: {most} taps at most, {MOST} are allowed",
        4 * ROUNDS
    ));
    assert!(most <= MOST, "{most} taps where {MOST} are allowed");
}
