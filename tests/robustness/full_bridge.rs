//! A bridge is filled to its limit.

use crate::beside_others;
use crate::common::json::{changes, is_up};
use crate::common::sandbox::Sandbox;
use crate::common::users::open_tap_as;
use crate::common::{command, run};
use crate::tell;
use std::fs;
use std::time::{Duration, Instant};

/// Of a bridge (`BR_MAX_PORTS` in the kernel's net/bridge/br_private.h, of which number 0 is not given).
const MOST_PORTS: usize = 1023;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// How long qemu-ifup takes for one more tap, and how long ip(8) does for the two messages that make a tap a port and bring
/// it up: medians in ms of runs in turn.
fn cost(s: &Sandbox) -> [f64; 2] {
    let batch = s.dir().join("batch");
    fs::write(&batch, "link set bare master br0\nlink set bare up\n").unwrap();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let (time, up) = timed(|| s.ifup(&["probe"]));
        assert_eq!((up.code, up.stderr.as_str()), (0, ""), "{up:?}");
        ours.push(time);
        s.sh("ip link del probe");
        // As in the middle of qemu-ifup: open, and without addresses of its own.
        let held = open_tap_as(0, "bare", 0).unwrap();
        s.sh("ip link set bare address fe:00:00:00:00:01 addrgenmode none");
        let (time, done) = timed(|| run(command("ip").arg("-batch").arg(&batch)));
        assert_eq!(done.code, 0, "{done:?}");
        bare.push(time);
        drop(held);
    }
    [median(ours), median(bare)]
}

/// Times that a median is taken of.
const SAMPLES: usize = 25;

#[test]
fn a_bridge_takes_1023_taps_and_refuses_seven_more_without_a_trace() {
    let _beside = beside_others();
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let first = cost(&s);
    let mut last = first;
    let start = Instant::now();
    for n in 0..MOST_PORTS {
        let up = s.ifup(&[&format!("tap{n}")]);
        assert_eq!((up.code, up.stderr.as_str()), (0, ""), "tap{n}: {up:?}");
        if n + 1 == 1000 {
            last = cost(&s);
        }
    }
    let filled = start.elapsed();

    let before = s.settled();
    for n in MOST_PORTS..MOST_PORTS + 7 {
        let up = s.ifup(&[&format!("tap{n}")]);
        assert_eq!(up.code, 4, "tap{n}: {up:?}");
        let said =
            format!("qemu-ifup: tap{n}: cannot attach to br0: the bridge already has 1023 ports\n");
        assert!(up.stderr.starts_with(&said), "{up:?}");
    }
    let left = changes(&before, &s.settled());
    assert!(left.is_empty(), "not as before:\n{}", left.join("\n"));
    let all = s.ip(&["link", "show", "master", "br0"]);
    let ports = all.as_array().unwrap();
    assert_eq!(ports.len(), MOST_PORTS);
    assert!(ports.iter().all(is_up));
    assert_eq!(s.links().len(), 2 + MOST_PORTS);

    let growth = |which: usize| {
        let (first, last) = (first[which], last[which]);
        format!("{first:.2} -> {last:.2} ms ({:.2} x)", last / first)
    };
    tell(&format!(
        "scale: {MOST_PORTS} taps joined one bridge in {:.1} s; from an empty bridge to one of 1000 ports: ifup {}, ip \
         -batch {}",
        filled.as_secs_f64(),
        growth(0),
        growth(1)
    ));
}
