//! At every system call of a program, somebody with a user's own rights does what they like; and what the programs promise
//! stays true.
//!
//! The program runs under a tracer of root's that stops it before and after each call. At one of these stops, one act is
//! done, and the run goes on. What has to be true afterwards knows nothing of where a fault might be. A run of the test tries
//! a sample, drawn anew each time; `QEMU_IFUP_ADVERSARY_SEED` repeats one, `QEMU_IFUP_ADVERSARY=all` tries everything, and
//! `QEMU_IFUP_ADVERSARY_ONLY` takes words, between semicolons, that must all be in the name of the scenario or the act, or be
//! the number of the stop.

mod acts;
mod invariants;
pub mod net;
mod player;
mod scenario;
mod tracer;
mod world;

use crate::alone;
use crate::common::test_name;
use crate::tell;
use acts::{ACTS, Act, NOTHING};
use invariants::violations;
use scenario::{Ends, SCENARIOS, Scenario};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tracer::{End, Stop, name_of};
use world::{Outcome, World};

/// A sample is as large as this allows.
const SAMPLE: Duration = Duration::from_secs(90);
/// Destroying a tap is mostly waiting for the kernel, so more than one network pays.
const NETWORKS: usize = 2;

fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// One number of a sequence that a seed begins (splitmix64): each is computed by itself, whichever thread needs it.
fn random(seed: u64, place: u64) -> u64 {
    let mut z = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A scenario as it runs when nobody acts.
struct Baseline {
    scenario: &'static Scenario,
    stops: Vec<Stop>,
    refused: bool,
}

/// What is tried: this act at this stop of that scenario.
#[derive(Clone, Copy)]
struct Trial {
    scenario: usize,
    stop: usize,
    act: usize,
}

#[derive(Default)]
struct Count {
    tried: usize,
    done: usize,
    failed: usize,
    killed: usize,
}

/// Where something was wrong: the acts, and the stops of each.
type Places = BTreeMap<&'static str, Vec<String>>;

#[derive(Default)]
struct Findings {
    counts: BTreeMap<usize, Count>,
    /// By scenario and what is wrong.
    violations: BTreeMap<(&'static str, String), Places>,
    /// So that it is known that frames would be seen.
    frames: usize,
    acts_done: usize,
}

impl Findings {
    fn note(
        &mut self,
        baseline: &Baseline,
        stop: Option<usize>,
        act: &Act,
        outcome: &Outcome,
        found: Vec<String>,
    ) {
        let stop = stop.and_then(|number| baseline.stops.get(number - 1));
        let place = stop.map_or_else(String::new, |stop| {
            let side = if stop.before { "before" } else { "after" };
            format!(" at stop {}, {side} {}", stop.number, name_of(stop.call))
        });
        let said = outcome.said.lines().next().unwrap_or("nothing");
        for what in found {
            let key = (baseline.scenario.name, what);
            let places = self.violations.entry(key).or_default();
            let stops = places.entry(act.name).or_default();
            stops.push(format!("{place} ({:?}, it said {said})", outcome.end));
        }
    }

    /// For each thing that is wrong, the acts that lead to it, with one example.
    fn report(&self) -> Vec<String> {
        let violations = self.violations.iter();
        violations
            .map(|((scenario, what), places)| {
                let stops: usize = places.values().map(Vec::len).sum();
                let mut text = format!(
                    "{what}\n  in {scenario:?}, {stops} times with {} acts",
                    places.len()
                );
                for (act, stops) in places.iter().take(EXAMPLES) {
                    text += &format!("\n    {act}, {} times:{}", stops.len(), stops[0]);
                    if let Some(stop) = stops[0].split([' ', ',']).nth(3) {
                        text += &format!("; QEMU_IFUP_ADVERSARY_ONLY=\"{scenario};{act};{stop}\"");
                    }
                }
                text
            })
            .collect()
    }
}

/// Acts that are shown of those that lead to the same.
const EXAMPLES: usize = 4;

/// Runs a scenario with one act at one stop; whether the act could be done.
fn attempt(
    world: &mut World,
    scenario: &Scenario,
    at: Option<usize>,
    act: &Act,
) -> (Outcome, Vec<Stop>, bool) {
    let mut stops = Vec::new();
    let mut done = false;
    let outcome = world.run(scenario, |world, traced, stop| {
        stops.push(stop);
        if Some(stop.number) == at {
            done = (act.deed)(world, scenario.tap_name(), traced.pid()).is_ok();
        }
    });
    (outcome, stops, done)
}

/// What everybody who works on this shares.
struct Campaign {
    only: Vec<String>,
    seed: u64,
    all: bool,
    began: Instant,
    baselines: Vec<Baseline>,
    findings: Mutex<Findings>,
}

impl Campaign {
    /// The words that are no number pick scenarios and acts.
    fn wants(&self, scenario: &Scenario, act: &Act, stop: usize) -> bool {
        self.only.iter().all(|word| match word.parse::<usize>() {
            Ok(number) => number == stop,
            Err(_) => {
                scenario.name == word || act.name.contains(word.as_str()) || {
                    // A scenario's whole name is that one; a part of one is all that have it.
                    let is_whole = SCENARIOS.iter().any(|other| other.name == word);
                    !is_whole && scenario.name.contains(word.as_str())
                }
            }
        })
    }

    /// The trial of this number: all that there are in turn, or one of those at random, for ever.
    fn trial(&self, all: &[Trial], number: usize) -> Option<Trial> {
        if self.all {
            return all.get(number).copied();
        }
        if self.began.elapsed() > SAMPLE || all.is_empty() {
            return None;
        }
        // Each scenario and each act is as likely, however many stops it has.
        let number = u64::try_from(number).unwrap();
        let pick = |nth, end: usize| {
            let drawn = random(self.seed, number * 3 + nth);
            usize::try_from(drawn % u64::try_from(end).unwrap()).unwrap()
        };
        let scenario = pick(0, self.baselines.len());
        let trial = Trial {
            scenario,
            stop: pick(1, self.baselines[scenario].stops.len()),
            act: pick(2, ACTS.len()),
        };
        Some(trial)
    }

    fn try_all(&self, world: &mut World, all: &[Trial], next: &AtomicUsize) {
        while let Some(trial) = self.trial(all, next.fetch_add(1, Ordering::Relaxed)) {
            let baseline = &self.baselines[trial.scenario];
            let (scenario, act) = (baseline.scenario, &ACTS[trial.act]);
            let stop = trial.stop + 1;
            if !act.is_possible(scenario) || !self.wants(scenario, act, stop) {
                continue;
            }
            let (outcome, _, acted) = attempt(world, scenario, Some(stop), act);
            let found = violations(scenario, act, baseline.refused, &world.bystanders, &outcome);
            let mut findings = self.findings.lock().unwrap();
            let count = findings.counts.entry(trial.scenario).or_default();
            count.tried += 1;
            match outcome.end {
                End::Exit(0) => count.done += 1,
                End::Exit(_) => count.failed += 1,
                End::Signal(_) => count.killed += 1,
            }
            findings.acts_done += usize::from(acted);
            findings.frames += outcome.frames.values().sum::<usize>();
            findings.note(baseline, Some(stop), act, &outcome, found);
        }
    }
}

/// What each scenario does by itself. None where the test cannot run.
fn baselines() -> Option<(Vec<Baseline>, Findings)> {
    let mut world = World::new()?;
    let mut findings = Findings::default();
    let mut baselines = Vec::new();
    for scenario in SCENARIOS {
        let (outcome, stops, _) = attempt(&mut world, scenario, None, &NOTHING);
        assert!(!stops.is_empty(), "{}: {outcome:?}", scenario.name);
        let is_refused = scenario.ends == Ends::Refused;
        let found = violations(scenario, &NOTHING, is_refused, &world.bystanders, &outcome);
        let baseline = Baseline {
            scenario,
            stops,
            refused: is_refused || outcome.end != End::Exit(0),
        };
        findings.note(&baseline, None, &NOTHING, &outcome, found);
        baselines.push(baseline);
    }
    Some((baselines, findings))
}

#[test]
fn whoever_acts_at_any_system_call_what_is_promised_stays_true() {
    let _alone = alone();
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = asked("QEMU_IFUP_ADVERSARY_SEED").map_or_else(
        || u64::from(clock.unwrap().subsec_nanos()),
        |seed| seed.parse().expect("QEMU_IFUP_ADVERSARY_SEED is no number"),
    );
    let only = asked("QEMU_IFUP_ADVERSARY_ONLY").unwrap_or_default();
    let only = only
        .split(';')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let mut campaign = Campaign {
        only: only.map(str::to_owned).collect(),
        seed,
        all: asked("QEMU_IFUP_ADVERSARY").is_some_and(|word| word == "all"),
        began: Instant::now(),
        baselines: Vec::new(),
        findings: Mutex::default(),
    };
    tell(&format!(
        "adversary: QEMU_IFUP_ADVERSARY_SEED={seed} tries the same again"
    ));

    // Each world is made by a thread that has been in no other: /etc of that one would show through, and change.
    let thread = |name: String| thread::Builder::new().name(name);
    let measured = thread::scope(|scope| {
        let measure = thread(test_name()).spawn_scoped(scope, baselines).unwrap();
        measure.join().unwrap()
    });
    let Some((baselines, findings)) = measured else {
        return;
    };
    campaign.baselines = baselines;
    campaign.findings = Mutex::new(findings);

    let all: Vec<Trial> = campaign
        .baselines
        .iter()
        .enumerate()
        .flat_map(|(scenario, baseline)| {
            (0..baseline.stops.len()).flat_map(move |stop| {
                let acts = (0..ACTS.len()).filter(|&act| ACTS[act].is_possible(baseline.scenario));
                acts.map(move |act| Trial {
                    scenario,
                    stop,
                    act,
                })
            })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let (campaign_ref, all_ref, next_ref) = (&campaign, &all, &next);
    thread::scope(|scope| {
        for n in 1..=NETWORKS {
            let work = move || {
                if let Some(mut world) = World::new() {
                    campaign_ref.try_all(&mut world, all_ref, next_ref);
                }
            };
            let name = format!("{} ({n})", test_name());
            thread(name).spawn_scoped(scope, work).unwrap();
        }
    });

    let findings = campaign.findings.lock().unwrap();
    let mut tried = 0;
    for (number, count) in &findings.counts {
        let baseline = &campaign.baselines[*number];
        tried += count.tried;
        tell(&format!(
            "adversary: {}: {} stops x {} acts, {} of them tried: {} done, {} failed, {} killed",
            baseline.scenario.name,
            baseline.stops.len(),
            ACTS.iter()
                .filter(|act| act.is_possible(baseline.scenario))
                .count(),
            count.tried,
            count.done,
            count.failed,
            count.killed
        ));
    }
    tell(&format!(
        "adversary: {tried} of {} tried, the act could be done in {}, {} frames reached the host; {:.0} s",
        all.len(),
        findings.acts_done,
        findings.frames,
        campaign.began.elapsed().as_secs_f64()
    ));
    let report = findings.report();
    assert!(
        report.is_empty(),
        "{} promises broken (to repeat one, set QEMU_IFUP_ADVERSARY=all as well)\n{}",
        report.len(),
        report.join("\n")
    );
    // Nothing has been seen where nothing could be.
    let is_large = campaign.only.is_empty();
    assert!(!is_large || findings.frames > 0 && tried > 500, "{tried}");
}
