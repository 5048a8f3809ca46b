//! One run, and one act at one of its stops.

use super::acts::{ACTS, Act, NOTHING};
use super::campaign::{Campaign, Draw};
use super::existing::outlived;
use super::findings::Findings;
use super::invariants::violations;
use super::rights::{RIGHTS, Takes};
use super::scenario::{SCENARIOS, Scenario};
use super::tracer::{End, Stop, name_of};
use super::world::{Outcome, World};
use crate::common::test_name;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A scenario as it runs when nobody acts.
pub struct Baseline {
    pub scenario: &'static Scenario,
    pub stops: Vec<Stop>,
    refused: bool,
}

/// Who acts, and what a run must not do that looks afterwards.
pub type Deed = (Act, Takes);

/// The acts of all players.
pub fn deeds() -> Vec<Deed> {
    let acts = ACTS.iter().map(|act| (*act, Takes::Nothing));
    acts.chain(rights()).collect()
}

/// Root's alone, who takes something away.
pub fn rights() -> impl Iterator<Item = Deed> {
    RIGHTS.iter().map(|right| (right.act, right.takes))
}

/// What is tried: this act at this stop of that scenario, and how long the run stands still afterwards.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    pub baseline: &'a Baseline,
    /// Counted from 1.
    pub stop: usize,
    pub deed: &'a Deed,
    pub stands: Duration,
}

/// A run that may last this long has ended by then.
pub const TOO_LONG: Duration = Duration::from_millis(10_500);

impl<'a> Trial<'a> {
    /// The player is drawn first, so that root acts as often as one in three, then the rest: each scenario and each act is as
    /// likely, however many stops it has.
    pub fn drawn(draw: &mut Draw, baselines: &'a [Baseline], deeds: &'a [Deed]) -> Self {
        let (users, roots) = deeds.split_at(ACTS.len());
        let baseline = draw.one_of(baselines);
        let players = if draw.below(3) == 0 { roots } else { users };
        let deed = draw.one_of(players);
        Self {
            baseline,
            stop: draw.below(baseline.stops.len()) + 1,
            deed,
            stands: Duration::ZERO,
        }
    }

    pub fn all(baselines: &'a [Baseline], deeds: &'a [Deed]) -> Vec<Self> {
        let mut all = Vec::new();
        for baseline in baselines {
            for stop in 1..=baseline.stops.len() {
                all.extend(deeds.iter().map(|deed| Self {
                    baseline,
                    stop,
                    deed,
                    stands: Duration::ZERO,
                }));
            }
        }
        all
    }

    /// There is a holder, if it is the holder's act, and the words pick it: those that are no number pick scenarios and acts.
    pub fn is_wanted(&self, campaign: &Campaign) -> bool {
        let (scenario, act) = (self.baseline.scenario, &self.deed.0);
        let is_picked = |word: &String| match word.parse::<usize>() {
            Ok(number) => number == self.stop,
            Err(_) => {
                scenario.name == word || act.name.contains(word.as_str()) || {
                    // A scenario's whole name is that one; a part of one is all that have it.
                    let is_whole = SCENARIOS.iter().any(|other| other.name == word);
                    !is_whole && scenario.name.contains(word.as_str())
                }
            }
        };
        // Root's own run is root's decision as well.
        let is_right = RIGHTS.iter().any(|right| right.act.name == act.name);
        let is_possible = act.is_possible(scenario) && (!is_right || scenario.is_users());
        is_possible && campaign.only.iter().all(is_picked)
    }

    pub fn make(&self, world: &mut World, findings: &Mutex<Findings>) {
        let scenario = self.baseline.scenario;
        let (outcome, _) = attempt(world, scenario, Some(self.stop), &self.deed.0, self.stands);
        let mut found = violations(
            scenario,
            (&self.deed.0, self.deed.1),
            self.baseline.refused,
            &world.bystanders,
            &outcome,
        );
        let acted = outcome.acted.as_ref();
        if let Some(acted) = acted.filter(|_| self.stands >= TOO_LONG) {
            found.extend(outlived(scenario, acted, &outcome));
        }
        let mut findings = findings.lock().unwrap();
        findings.count(scenario.name, outcome.end);
        findings.acts_done += usize::from(acted.is_some());
        findings.frames += outcome.frames.values().sum::<usize>();
        findings.note(
            scenario.name,
            self.deed.0.name,
            &self.example(&outcome),
            found,
        );
    }

    fn example(&self, outcome: &Outcome) -> String {
        let stop = &self.baseline.stops[self.stop - 1];
        let side = if stop.before { "before" } else { "after" };
        format!(
            "at stop {}, {side} {} ({:?}, it said {}); QEMU_IFUP_ADVERSARY=all QEMU_IFUP_ADVERSARY_ONLY=\"{};{};{}\"",
            stop.number,
            name_of(stop.call),
            outcome.end,
            outcome.said.lines().next().unwrap_or("nothing"),
            self.baseline.scenario.name,
            self.deed.0.name,
            stop.number,
        )
    }
}

/// Runs a scenario with one act at one stop.
fn attempt(
    world: &mut World,
    scenario: &Scenario,
    at: Option<usize>,
    act: &Act,
    stands: Duration,
) -> (Outcome, Vec<Stop>) {
    let mut stops = Vec::new();
    let outcome = world.run(scenario, at, |world, traced, stop| {
        stops.push(stop);
        let is_done =
            Some(stop.number) == at && (act.deed)(world, scenario.tap_name(), traced.pid()).is_ok();
        if is_done {
            thread::sleep(stands);
        }
        is_done
    });
    (outcome, stops)
}

/// What each scenario does by itself. None where the test cannot run.
pub fn baselines(
    scenarios: impl Iterator<Item = &'static Scenario> + Send,
) -> Option<(Vec<Baseline>, Findings)> {
    let measure = || {
        let mut world = World::new()?;
        let mut findings = Findings::default();
        let mut baselines = Vec::new();
        for scenario in scenarios {
            let (outcome, stops) = attempt(&mut world, scenario, None, &NOTHING, Duration::ZERO);
            assert!(!stops.is_empty(), "{}: {outcome:?}", scenario.name);
            let deed = (&NOTHING, Takes::Nothing);
            let is_refused = scenario.is_refused();
            let found = violations(scenario, deed, is_refused, &world.bystanders, &outcome);
            let said = outcome.said.lines().next().unwrap_or("nothing");
            findings.note(scenario.name, NOTHING.name, said, found);
            baselines.push(Baseline {
                scenario,
                stops,
                refused: is_refused || outcome.end != End::Exit(0),
            });
        }
        Some((baselines, findings))
    };
    // Each world is made by a thread that has been in no other: /etc of that one would show through, and change.
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(test_name());
        thread.spawn_scoped(scope, measure).unwrap().join().unwrap()
    })
}
