//! At every system call of a program, those with a user's own rights do what they like, root takes away what it had given, and
//! a second run of the same user stands still at any of its own; and what the programs promise stays true.
//!
//! The program runs under a tracer of root's that stops it before and after each call. At one of these stops, one act is
//! done, and the run goes on. What has to be true afterwards knows nothing of where a fault might be.
//!
//! A run of a test makes a fixed number of trials, drawn anew each time, and its end is no matter of a clock.
//! `QEMU_IFUP_ADVERSARY_SEED` repeats it, `QEMU_IFUP_ADVERSARY_TRIALS` is another number. `QEMU_IFUP_ADVERSARY=all` tries
//! every act at every stop, and twenty times as many pairs of runs. `QEMU_IFUP_ADVERSARY_ONLY` takes words, between
//! semicolons, that must all be in the name of the scenario or the act, or be the number of the stop; of two runs, the
//! number of the trial.

mod acts;
mod bound;
mod campaign;
mod existing;
mod fdb;
mod findings;
mod invariants;
pub mod net;
mod pairs;
mod player;
mod puppet;
mod rights;
mod scenario;
mod single;
mod tracer;
mod world;

use crate::tell;
use crate::{alone, beside_others};
use campaign::Campaign;
use findings::Findings;
use pairs::Pair;
use scenario::SCENARIOS;
use single::{Baseline, TOO_LONG, Trial, baselines, deeds, rights};
use std::sync::Mutex;

/// Together they take some 80 s where two processors have nothing else to do.
const ACTS: usize = 1000;
const PAIRS: usize = 2500;
/// Each stands still for more than ten seconds, and all at once.
const STANDS: usize = 12;
/// Destroying a tap is mostly waiting for the kernel, and runs wait for each other: more networks than processors pay.
const NETWORKS: usize = 6;
const NETWORKS_OF_PAIRS: usize = 24;
/// Of the pairs, where everything is tried: they are too many for that.
const MORE: usize = 20;

/// Prints what was tried, and fails where a promise was broken.
fn report(campaign: &Campaign, findings: Mutex<Findings>, of: usize) -> Findings {
    let findings = findings.into_inner().unwrap();
    for (scenario, count) in &findings.counts {
        tell(&format!(
            "adversary: {scenario}: {} runs: {} done, {} failed, {} killed",
            count.tried, count.done, count.failed, count.killed
        ));
    }
    tell(&format!(
        "adversary: {} runs in {of} trials, an act could be done in {}, {} frames reached the host; {:.0} s",
        findings.tried(),
        findings.acts_done,
        findings.frames,
        campaign.seconds()
    ));
    findings.assert_good();
    findings
}

#[test]
fn whoever_acts_at_any_system_call_what_is_promised_stays_true() {
    let _alone = alone();
    let campaign = Campaign::new("one run, one act", ACTS);
    let Some((baselines, findings)) = baselines(SCENARIOS.iter()) else {
        return;
    };
    let (deeds, findings) = (deeds(), Mutex::new(findings));
    let all = Trial::all(&baselines, &deeds);
    let trials = if campaign.all {
        all.len()
    } else {
        campaign.trials
    };
    let work = |world: &mut world::World, number: usize, findings: &Mutex<Findings>| {
        let trial = if campaign.all {
            all[number]
        } else {
            Trial::drawn(&mut campaign.draw(number), &baselines, &deeds)
        };
        if trial.is_wanted(&campaign) {
            trial.make(world, findings);
        }
    };
    campaign.each(trials, NETWORKS, work, &findings);
    let findings = report(&campaign, findings, trials);
    // Nothing has been seen where nothing could be.
    let is_large = campaign.only.is_empty() && trials >= ACTS;
    assert!(!is_large || findings.frames > 0 && findings.acts_done > ACTS / 4);
}

#[test]
fn however_two_runs_of_a_user_alternate_what_is_bound_binds() {
    let _alone = alone();
    let campaign = Campaign::new("two runs", PAIRS);
    let findings = Mutex::default();
    let trials = if campaign.all {
        campaign.trials * MORE
    } else {
        campaign.trials
    };
    let work = |world: &mut world::World, number: usize, findings: &Mutex<Findings>| {
        let is_wanted = |word: &String| word.parse() == Ok(number);
        if campaign.only.iter().all(is_wanted) {
            Pair::drawn(&mut campaign.draw(number)).make(number, world, findings);
        }
    };
    campaign.each(trials, NETWORKS_OF_PAIRS, work, &findings);
    report(&campaign, findings, trials);
}

/// A run stands still by SIGSTOP where it goes back to its own code, which is after a call: the signal that ends it comes before
/// the next instruction. A run that a tracer of root's holds before a call would still make that one.
fn may_stand(baseline: &Baseline, stop: usize) -> bool {
    let stops = &baseline.stops[..stop];
    let begins = stops.iter().any(|stop| stop.is_look());
    begins && stops.last().is_some_and(|stop| !stop.before)
}

#[test]
fn a_run_that_stood_still_for_more_than_ten_seconds_does_nothing_more() {
    let _beside = beside_others();
    let campaign = Campaign::new("standing still", STANDS);
    let users = SCENARIOS.iter().filter(|scenario| scenario.is_users());
    let Some((baselines, _)) = baselines(users) else {
        return;
    };
    let (deeds, findings): (Vec<_>, _) = (rights().collect(), Mutex::default());
    let trials = campaign.trials.min(STANDS);
    let work = |world: &mut world::World, number: usize, findings: &Mutex<Findings>| {
        let mut draw = campaign.draw(number);
        // The acts take turns, since the trials are few.
        let deed = &deeds[number % deeds.len()];
        let baseline = draw.one_of(&baselines);
        let stops = 1..=baseline.stops.len();
        let stops: Vec<usize> = stops.filter(|&stop| may_stand(baseline, stop)).collect();
        let trial = Trial {
            baseline,
            stop: *draw.one_of(&stops),
            deed,
            stands: TOO_LONG,
        };
        if trial.is_wanted(&campaign) {
            trial.make(world, findings);
        }
    };
    campaign.each(trials, STANDS, work, &findings);
    report(&campaign, findings, trials);
}
