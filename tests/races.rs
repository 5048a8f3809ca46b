//! Whoever holds a tap's descriptor, or is quick, gets nothing by it: loops in which somebody with a user's rights does
//! all the time what he must not get through with while the programs do their work, and the installed programs are lent.
//!
//! Each loop has many rounds, and none may be lost. How often it was tried is printed, also when all is well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use common::lent::{ALICE, Lent, MALLORY};
use common::{
    Run, Sandbox, bin, command, eventually, in_another_network, inherit, is_up, lines, open_tap,
    open_tap_as, open_tun, received, run, run_with_input, set_interface, this_thread_becomes,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

/// Of each loop. What was open before was lost in more than nine of ten.
const ROUNDS: usize = 60;

/// The program and who is up against it need a processor each: one loop at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Prints a line even where the test passes.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "races: {line}");
}

fn assert_done(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

/// Refused with this code and, in its first line, this reason.
fn assert_refused(run: &Run, code: i32, reason: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let first = run.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("qemu-if"), "{run:?}");
    assert!(first.contains(reason), "not '{reason}': {run:?}");
}

/// What the driver says of a tap.
fn info(s: &Sandbox, tap: &str) -> Value {
    let link = s.link(tap).unwrap_or_else(|| panic!("no {tap}"));
    link["linkinfo"]["info_data"].clone()
}

// Frames past the bridge.

/// The port of the datagrams with which a tap is flooded.
const PORT: u16 = 9999;

/// The Internet checksum, of a sum that has begun already.
fn checksum(begun: u32, bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| {
        let [high, low] = [pair[0], pair.get(1).copied().unwrap_or(0)];
        u32::from(u16::from_be_bytes([high, low]))
    });
    let mut sum = begun + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A datagram from 0.0.0.0 to 255.255.255.255, which every IPv4 stack takes.
fn datagram() -> Vec<u8> {
    let data = b"flood";
    let length = |headers: usize| u16::try_from(headers + data.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0];
    ip.extend(length(28));
    // No fragment, to live for 64 hops, UDP, a checksum to come.
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    ip.extend([0; 4]);
    ip.extend([255; 4]);
    let sum = checksum(0, &ip);
    ip[10..12].copy_from_slice(&sum);
    let mut frame = [0xff; 6].to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 9, 0x08, 0x00]);
    frame.extend(ip);
    frame.extend([0, 5]);
    frame.extend(PORT.to_be_bytes());
    frame.extend(length(8));
    // Without a checksum of its own.
    frame.extend([0, 0]);
    frame.extend(data);
    frame
}

/// The type of a Router Advertisement in ICMPv6.
const ADVERTISEMENT: u8 = 134;

/// A Router Advertisement from fe80::9 to all nodes: who takes it has a new default route.
fn advertisement() -> Vec<u8> {
    let mut icmp = vec![ADVERTISEMENT, 0, 0, 0, 64, 0];
    icmp.extend(1800_u16.to_be_bytes());
    icmp.extend([0; 8]);
    let mut addresses = [0; 32];
    addresses[..2].copy_from_slice(&[0xfe, 0x80]);
    addresses[15] = 9;
    addresses[16..18].copy_from_slice(&[0xff, 0x02]);
    addresses[31] = 1;
    let length = u8::try_from(icmp.len()).unwrap();
    let pseudo = [&addresses[..], &[0, 0, 0, length, 0, 0, 0, 58], &icmp].concat();
    let sum = checksum(0, &pseudo);
    icmp[2..4].copy_from_slice(&sum);
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 9, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend(addresses);
    frame.extend(icmp);
    frame
}

/// Hears what the host's own network stack takes from one interface, and from no other: so no flood from elsewhere can
/// fill its queue.
struct Ear {
    datagrams: OwnedFd,
    advertisements: OwnedFd,
}

impl Ear {
    fn at(interface: &str) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = |family, protocol| {
            let socket = socket(family, SockType::Raw, flags, protocol).unwrap();
            setsockopt(&socket, sockopt::BindToDevice, &interface.into()).unwrap();
            socket
        };
        // Raw ones: they hear of a datagram whether anybody waits for it or not.
        Self {
            datagrams: open(AddressFamily::Inet, SockProtocol::Udp),
            advertisements: open(AddressFamily::Inet6, SockProtocol::IcmpV6),
        }
    }

    /// How many datagrams and advertisements have come since the last time.
    fn heard(&self) -> [usize; 2] {
        let all = |socket: &OwnedFd, is_one: fn(&[u8]) -> bool| {
            let mut buffer = [0; 256];
            let mut count = 0;
            while let Ok(size) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                count += usize::from(is_one(&buffer[..size]));
            }
            count
        };
        [
            all(&self.datagrams, |packet| {
                packet.get(22..24) == Some(&PORT.to_be_bytes())
            }),
            all(&self.advertisements, |message| {
                message.first() == Some(&ADVERTISEMENT)
            }),
        ]
    }
}

/// Who has the tap open writes frames into it without pause, while `toggle` takes it down and up or moves it, and says in
/// which bridge it is then. Through the bridge they arrive; from the tap itself the host takes none, ever.
fn no_frame_gets_past_the_bridge(
    what: &str,
    mut tap: File,
    s: &Sandbox,
    toggle: impl Fn(usize) -> &'static str,
) {
    let past = Ear::at("tap0");
    let through = ["br0", "br1"].map(|bridge| (bridge, Ear::at(bridge)));
    let frames = [datagram(), advertisement()];
    let stop = AtomicBool::new(false);
    let mut hits = [0; 2];
    let start = Instant::now();
    thread::scope(|scope| {
        let flood = || {
            while !stop.load(Ordering::Relaxed) {
                for frame in &frames {
                    // While the tap is down it takes none.
                    let _ = tap.write(frame);
                }
            }
        };
        let flooding = scope.spawn(flood);
        let rounds = || {
            for round in 0..ROUNDS {
                let bridge = toggle(round);
                let (_, ear) = through.iter().find(|(name, _)| *name == bridge).unwrap();
                ear.heard();
                let comes = eventually(|| (ear.heard()[0] > 0).then_some(()));
                comes.unwrap_or_else(|| panic!("{what}: nothing comes through {bridge}"));
                for (hits, heard) in hits.iter_mut().zip(past.heard()) {
                    *hits += usize::from(heard > 0);
                }
                s.look();
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rounds));
        stop.store(true, Ordering::Relaxed);
        flooding.join().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    let [datagrams, advertisements] = hits;
    tell(&format!(
        "{what}: {ROUNDS} rounds; past the bridge came datagrams in {datagrams}, advertisements in {advertisements}; {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    assert_eq!(hits, [0; 2], "{what}");
}

#[test]
fn a_user_who_floods_his_tap_gets_no_frame_past_the_bridge_while_he_takes_it_down_and_up() {
    let _alone = alone();
    let Some(host) = Lent::new() else { return };
    assert_done(&host.ifup(ALICE, &["tap0"]));
    let tap = open_tap_as(ALICE, "tap0", 0).unwrap();
    no_frame_gets_past_the_bridge("flooded, down and up", tap, &host.sandbox, |_| {
        assert_done(&host.ifdown(ALICE, &["tap0"]));
        assert_done(&host.ifup(ALICE, &["tap0"]));
        "br0"
    });
}

#[test]
fn a_user_who_floods_his_tap_gets_no_frame_past_the_bridge_while_he_moves_it() {
    let _alone = alone();
    let Some(host) = Lent::new() else { return };
    assert_done(&host.ifup(ALICE, &["tap0"]));
    let tap = open_tap_as(ALICE, "tap0", 0).unwrap();
    no_frame_gets_past_the_bridge("flooded, moved", tap, &host.sandbox, |round| {
        let bridge = ["br1", "br0"][round % 2];
        assert_done(&host.ifup(ALICE, &["--bridge", bridge, "tap0"]));
        bridge
    });
}

#[test]
fn a_running_guest_gets_no_frame_past_the_bridge_while_root_moves_its_tap() {
    let _alone = alone();
    let Some(host) = Lent::new() else { return };
    // As QEMU makes it: not persistent, and nobody's.
    let tap = open_tap_as(0, "tap0", 0).unwrap();
    assert_done(&host.ifup(0, &["tap0"]));
    no_frame_gets_past_the_bridge("flooded, moved by root", tap, &host.sandbox, |round| {
        let bridge = ["br1", "br0"][round % 2];
        assert_done(&host.ifup(0, &["--bridge", bridge, "tap0"]));
        bridge
    });
}

// A stranger in the tap.

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
    let Some(host) = Lent::new() else { return };
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
    no_stranger_gets_into_a_new_tap("a user's new queues", ALICE, &["--multi-queue"]);
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
    let Some(host) = Lent::new() else { return };
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
        // Once he is gone, nothing is in the way.
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
    let Some(host) = Lent::new() else { return };
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

// Many taps.

/// Calls at once, all that end well or are refused for their number. How many did.
fn rush(host: &Lent, calls: Vec<Command>) -> usize {
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
fn taps(host: &Lent) -> Vec<String> {
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
fn never_more_than(most: usize, host: &Lent, args: &[&str]) {
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
            assert_refused(&run, 3, &format!("has {most} taps"));
            refused = Some(n);
        }
    }
    assert_eq!(taps(host).len(), most);
    let refused = name(refused.expect("one too many"));
    assert_eq!(host.sandbox.link(&refused), None);
    // What one has is his to use, and another user has taps of his own.
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
    let Some(host) = Lent::new() else { return };
    never_more_than(64, &host, &[]);
    // A helper's count, too.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut helper = host.call(ALICE, "qemu-ifup", &["--br=br0", "--fd=0"]);
    let run = run_with_input(helper.stdin(OwnedFd::from(theirs)));
    drop(helper);
    assert_refused(&run, 3, "has 64 taps");
    assert_eq!(received(&ours).len(), 0);
    assert_eq!(taps(&host).len(), 64);
    // The number is for those to whom the privilege is lent.
    let owner = ALICE.to_string();
    assert_done(&host.ifup(0, &["--owner", &owner, "one-more"]));
    assert_eq!(taps(&host).len(), 65);
}

#[test]
fn the_administrator_says_how_many_taps_a_user_has() {
    let _alone = alone();
    let Some(host) = Lent::new() else { return };
    host.sandbox.etc("qemu-ifup.conf", "* --max-taps 3\n");
    never_more_than(3, &host, &[]);
    host.sandbox
        .sh("for n in 0 1 2 3 4 5; do ip link del tap$n || true; done 2>&-");
    never_more_than(3, &host, &["--multi-queue"]);
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
    let Some(host) = Lent::new() else { return };
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

// No second process.

#[test]
fn no_run_of_either_program_starts_a_process() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let log = s.dir().join("log");
    for (program, args) in [
        ("qemu-ifup", "--create-bridge --address 10.0.0.1/24 tap0"),
        ("qemu-ifup", "--isolated --multi-queue tap1"),
        ("qemu-ifdown", "tap0"),
        ("qemu-ifdown", "--delete tap0"),
    ] {
        let mut strace = command("strace");
        strace.args(["-f", "-e", "trace=process", "-o"]).arg(&log);
        assert_done(&run(strace.arg(bin(program)).args(args.split(' '))));
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains("execve("), "{log}");
        for call in ["fork", "clone"] {
            assert!(!log.contains(call), "{program} {args}: {log}");
        }
    }
}

// The listener in each sandbox.

#[test]
fn a_tap_that_comes_up_in_no_bridge_fails_the_test_in_whose_sandbox_it_is() {
    const UP: &str = "ip tuntap add tap0 mode tap; ip link set tap0 up; ip link set tap0 down";

    let outcome = |act: fn(&Sandbox)| {
        let test = move || {
            let sandbox = Sandbox::new();
            sandbox.as_ref().map(act).is_some()
        };
        thread::Builder::new()
            .name(common::test_name())
            .spawn(test)
            .unwrap()
            .join()
            .ok()
    };
    let up_alone: fn(&Sandbox) = |s| s.sh_as_ours(UP);
    let seen = outcome(up_alone);
    if seen == Some(false) {
        return;
    }
    assert_eq!(seen, None, "not noticed");
    // The test's own doing, or announced by it; and as it has to be.
    let others: [fn(&Sandbox); 3] = [
        |s| drop(s.sh(UP)),
        |s| {
            s.tap_may_be_up_alone("tap0");
            s.sh_as_ours(UP);
        },
        |s| {
            s.bridge_up("br0");
            s.sh_as_ours(
                "ip tuntap add tap0 mode tap; ip link set tap0 master br0; ip link set tap0 up
                ip link set tap0 down nomaster",
            );
        },
    ];
    for act in others {
        assert_eq!(outcome(act), Some(true));
    }
}
