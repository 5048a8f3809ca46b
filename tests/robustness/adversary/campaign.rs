//! How much is tried, in which order, and how it is repeated.

use super::findings::Findings;
use super::world::World;
use crate::common::test_name;
use crate::tell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

/// A call of a test.
pub struct Campaign {
    seed: u64,
    /// How many trials there are, if not all.
    pub trials: usize,
    /// Everything is tried.
    pub all: bool,
    /// Words that pick trials.
    pub only: Vec<String>,
    began: Instant,
}

fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

impl Campaign {
    /// As the variables say; this many trials where they say nothing.
    pub fn new(name: &str, trials: usize) -> Self {
        let number = |variable| {
            let word = asked(variable)?;
            let number: u64 = word
                .parse()
                .expect("a variable of the adversary's is no number");
            Some(number)
        };
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let drawn = || u64::from(clock.unwrap().subsec_nanos());
        let seed = number("QEMU_IFUP_ADVERSARY_SEED").unwrap_or_else(drawn);
        let trials = number("QEMU_IFUP_ADVERSARY_TRIALS")
            .map_or(trials, |trials| usize::try_from(trials).unwrap());
        let only = asked("QEMU_IFUP_ADVERSARY_ONLY").unwrap_or_default();
        let only = only.split(';').map(str::trim);
        tell(&format!(
            "adversary: {name}: QEMU_IFUP_ADVERSARY_SEED={seed} tries the same again"
        ));
        Self {
            seed,
            trials,
            all: asked("QEMU_IFUP_ADVERSARY").is_some_and(|word| word == "all"),
            only: only
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            began: Instant::now(),
        }
    }

    /// What decides over the trial of this number.
    pub fn draw(&self, number: usize) -> Draw {
        let number = u64::try_from(number).unwrap();
        Draw(mixed(self.seed.wrapping_add(number.wrapping_mul(STEP))))
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Does the work for each number below `end`, in this many networks at once.
    pub fn each(
        &self,
        end: usize,
        networks: usize,
        work: impl Fn(&mut World, usize, &Mutex<Findings>) + Sync,
        findings: &Mutex<Findings>,
    ) {
        let next = AtomicUsize::new(0);
        let (next, work) = (&next, &work);
        thread::scope(|scope| {
            for n in 1..=networks {
                let one = move || {
                    let Some(mut world) = World::new() else {
                        return;
                    };
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= end {
                            return;
                        }
                        work(&mut world, number, findings);
                    }
                };
                let name = format!("{} ({n})", test_name());
                let thread = thread::Builder::new().name(name);
                thread.spawn_scoped(scope, one).unwrap();
            }
        });
    }
}

/// Numbers that a seed decides (splitmix64). Each trial has its own, whichever thread makes it.
pub struct Draw(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draw {
    /// One of the numbers below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(STEP);
        usize::try_from(mixed(self.0) % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
