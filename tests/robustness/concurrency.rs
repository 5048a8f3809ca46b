//! Many at once.

use crate::beside_others;
use crate::common::json::{changes, is_up};
use crate::common::sandbox::Sandbox;
use crate::common::{Run, bin, command, run};
use crate::tell;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Marsaglia's xorshift, so that every run does the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// As many as are done with all widths together.
const OPERATIONS: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TapState {
    Gone,
    Down,
    Up,
}

/// One tap's share of the work, up and down in random order. What it is then.
fn ups_and_downs(s: &Sandbox, tap: &str, operations: usize, seed: u64) -> TapState {
    let mut random = Random(seed);
    let mut state = TapState::Gone;
    for n in 0..operations {
        let (program, args, next): (_, &[&str], _) = match random.below(4) {
            0 | 1 => ("qemu-ifup", &["--quiet", tap], TapState::Up),
            2 => ("qemu-ifdown", &["--quiet", tap], TapState::Down),
            _ => ("qemu-ifdown", &["--quiet", "--delete", tap], TapState::Gone),
        };
        let run = run(command(bin(program)).args(args));
        s.look();
        let said = (run.code, run.stderr.as_str());
        assert_eq!(said, (0, ""), "{n}: {program} {args:?} when {state:?}");
        state = match (state, next) {
            (TapState::Gone, TapState::Down) => TapState::Gone,
            _ => next,
        };
    }
    state
}

#[test]
fn many_at_once_in_any_order_neither_fail_nor_leave_anything() {
    let _beside = beside_others();
    const WIDTHS: [usize; 2] = [16, 64];

    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let before = s.settled();
    let mut done = 0;
    for width in WIDTHS {
        let each = OPERATIONS.div_ceil(WIDTHS.len() * width);
        let names: Vec<String> = (0..width).map(|n| format!("tap{n}")).collect();
        let start = Instant::now();
        let states: Vec<TapState> = thread::scope(|scope| {
            let numbered = (1..).zip(&names);
            let all: Vec<_> = numbered
                .map(|(n, tap)| {
                    let seed = 0x9e37_79b9_7f4a_7c15_u64.rotate_left(n);
                    let s = &s;
                    scope.spawn(move || ups_and_downs(s, tap, each, seed))
                })
                .collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        done += each * width;
        tell(&format!(
            "scale: {} operations, {width} at once, in {:.1} s",
            each * width,
            start.elapsed().as_secs_f64()
        ));
        // Every one is just what its last operation made of it.
        let mut left = BTreeSet::from(["lo".to_owned(), "br0".to_owned()]);
        let mut ports = BTreeSet::new();
        for (tap, state) in names.iter().zip(&states) {
            match state {
                TapState::Gone => assert_eq!(s.link(tap), None),
                TapState::Down => assert_down(&s.link(tap).unwrap()),
                TapState::Up => assert_attached(&s.link(tap).unwrap()),
            }
            left.extend((*state != TapState::Gone).then(|| tap.clone()));
            ports.extend((*state == TapState::Up).then(|| tap.clone()));
        }
        assert_eq!(s.links().into_iter().collect::<BTreeSet<_>>(), left);
        assert_eq!(s.ports("br0").into_iter().collect::<BTreeSet<_>>(), ports);
        let mut clear = String::new();
        for tap in left.iter().filter(|tap| tap.starts_with("tap")) {
            writeln!(clear, "link del {tap}").unwrap();
        }
        s.sh(&format!("printf '{clear}' | ip -batch -"));
        let left = changes(&before, &s.settled());
        assert!(left.is_empty(), "not as before:\n{}", left.join("\n"));
    }
    assert!(done >= OPERATIONS, "{done}");
}

/// All that qemu-ifup promises of a tap that nobody has open.
fn assert_attached(link: &Value) {
    assert!(is_up(link), "{link:#}");
    assert_eq!(link["master"], "br0", "{link:#}");
    assert_eq!(link["inet6_addr_gen_mode"], "none", "{link:#}");
    let data = &link["linkinfo"]["info_data"];
    assert_eq!(data["persist"], true, "{link:#}");
    assert!(link["address"].as_str().unwrap().starts_with("fe:"));
}

fn assert_down(link: &Value) {
    assert!(!is_up(link), "{link:#}");
    assert_eq!(link.get("master"), None, "{link:#}");
}

/// Runs ifup and this on the same tap at the same moment, or nearly so.
fn against_each_other(down: &[&str], random: &mut Random) -> (Run, Run) {
    let start = Barrier::new(2);
    // One of them begins up to 3 ms later, about as long as either takes.
    let later = Duration::from_micros(random.below(3000));
    let ifup_later = random.below(2) == 0;
    let one = |program: &str, args: &[&str], waits: bool| {
        let mut command = command(bin(program));
        command.args(args);
        start.wait();
        thread::sleep(if waits { later } else { Duration::ZERO });
        run(&mut command)
    };
    thread::scope(|scope| {
        let ifup = scope.spawn(|| one("qemu-ifup", &["tap0"], ifup_later));
        let ifdown = scope.spawn(|| one("qemu-ifdown", down, !ifup_later));
        (ifup.join().unwrap(), ifdown.join().unwrap())
    })
}

#[test]
fn ifup_and_ifdown_of_the_same_tap_at_once_leave_it_up_or_down_and_never_by_half() {
    let _beside = beside_others();
    const ROUNDS: usize = 100;

    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    // Two runs each.
    for (down, may_fail) in [(&["tap0"][..], false), (&["--delete", "tap0"], true)] {
        let mut ended = [0; 3];
        let mut failures = 0;
        for round in 0..ROUNDS {
            let (up, down) = against_each_other(down, &mut random);
            let at = format!("round {round}: {up:?} {down:?}");
            // A tap that is deleted under one's hands is an error, and said to be one; so is one that leaves its bridge, since
            // up it could not go then.
            for run in [&up, &down] {
                let refused = matches!(run.code, 5 | 7) && run.stderr.contains(" cannot ");
                let left = run.code == 5 && run.stderr.contains("at the same time");
                assert!(run.code == 0 || may_fail && refused || left, "{at}");
                failures += usize::from(run.code != 0);
            }
            let state = match s.link("tap0") {
                None => {
                    assert!(may_fail, "{at}");
                    TapState::Gone
                }
                Some(link) if is_up(&link) => {
                    assert_attached(&link);
                    TapState::Up
                }
                Some(link) => {
                    assert_down(&link);
                    assert_eq!(link["linkinfo"]["info_data"]["persist"], true, "{at}");
                    TapState::Down
                }
            };
            ended[state as usize] += 1;
        }
        let [gone, down_in_none, up] = ended;
        tell(&format!(
            "scale: ifup against ifdown {}: {ROUNDS} rounds of both at once, left {up} up, {down_in_none} down, \
             {gone} gone; {failures} said that they failed",
            down.join(" ")
        ));
        assert!(gone > 0 || !may_fail, "none was removed");
        assert_eq!(s.links().len(), 2 + usize::from(s.link("tap0").is_some()));
    }
}
