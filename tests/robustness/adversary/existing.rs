//! A user's run changes no tap that exists, whatever root or another has made of it meanwhile; and what root has denied is not
//! attached by a run that looks afterwards.
//!
//! All that is known of right and wrong here is how a tap was when the act was over: nobody but the run acts after that.

use super::acts::Act;
use super::bound::lacks;
use super::net::Link;
use super::rights::{RIGHTS, Takes};
use super::scenario::Scenario;
use super::world::{Acted, Outcome};

/// What a user's run has done to a tap that it has not made.
pub fn changed(scenario: &Scenario, act: &Act, outcome: &Outcome) -> Vec<String> {
    if !scenario.is_users() {
        return Vec::new();
    }
    let was = &outcome.before;
    let after = if RIGHTS.iter().any(|right| right.act.name == act.name) {
        DECIDED
    } else {
        THERE
    };
    let spans = match &outcome.acted {
        // What was done before the act, and what after it.
        Some(acted) => vec![
            (was, &acted.before, true, THERE),
            (
                &acted.after,
                &outcome.after,
                may_delete(scenario, acted),
                after,
            ),
        ],
        None => vec![(was, &outcome.after, true, THERE)],
    };
    let mut found = Vec::new();
    for (from, to, may_delete, which) in spans {
        let deletes = scenario.deletes() && may_delete;
        let taps = from.iter().filter(|link| link.tun.is_some());
        for tap in taps.filter(|tap| was.iter().any(|link| link.index == tap.index)) {
            let now = to.iter().find(|link| link.index == tap.index);
            found.extend(change(tap, now, deletes).map(|what| format!("{which} {what}")));
        }
    }
    found
}

/// Its owner may delete a tap; and a run that had it open before root gave it away is a program of its owner's like any other
/// that has it open.
fn may_delete(scenario: &Scenario, acted: &Acted) -> bool {
    let mut taps = acted.before.iter();
    let before = taps.find(|link| link.name == scenario.tap_name());
    // Whatever its name is now.
    let mut taps = acted.after.iter();
    let tap = before.and_then(|before| taps.find(|link| link.index == before.index));
    let owner = tap.and_then(|tap| tap.tun).and_then(|tun| tun.owner);
    owner == Some(scenario.caller) || acted.is_open
}

const THERE: &str = "I8: a tap that was there";
const DECIDED: &str = "I9: a tap that root had just decided over";

fn change(tap: &Link, now: Option<&Link>, deletes: bool) -> Option<String> {
    let Some(now) = now else {
        return (!deletes).then(|| "is gone".to_owned());
    };
    let mut expected = tap.clone();
    if let (true, Some(tun), Some(now)) = (deletes, &mut expected.tun, now.tun) {
        tun.persistent &= now.persistent;
    }
    let what = [
        ("owner", now.tun != expected.tun),
        ("bridge", now.master != expected.master),
        ("being up", now.up != expected.up),
    ];
    let what: Vec<_> = what.iter().filter(|(_, differs)| *differs).collect();
    let what: Vec<_> = what.iter().map(|(what, _)| *what).collect();
    let what = if what.is_empty() {
        "options".to_owned()
    } else {
        what.join(", ")
    };
    (*now != expected).then(|| format!("has been changed: its {what}"))
}

/// What a user's run has attached that root had denied before it looked.
pub fn denied(scenario: &Scenario, takes: Takes, outcome: &Outcome) -> Vec<String> {
    let Some(acted) = &outcome.acted else {
        return Vec::new();
    };
    let is_known = acted.looked_at.contains(&takes.file());
    if !scenario.is_users() || is_known || takes == Takes::Nothing {
        return Vec::new();
    }
    let announced = &outcome.announced[acted.announced..];
    let links = announced.iter().chain(&outcome.after);
    let is_new = |link: &&Link| {
        link.name == scenario.tap_name()
            && link.tun.is_some()
            && link.master.is_some()
            && !acted.after.iter().any(|old| old.index == link.index)
    };
    let mut new = links.filter(is_new);
    let what = match takes {
        Takes::Nothing => None,
        Takes::Bridge => new.next().map(|_| "a bridge that was denied before"),
        Takes::Tap => new
            .next()
            .map(|_| "a bridge, and it was another user's before"),
        Takes::Line(line) => new
            .any(|link| !lacks(line, link).is_empty())
            .then_some("a bridge without what a line bound before"),
    };
    what.map(|what| format!("I9: a tap was put into {what}"))
        .into_iter()
        .collect()
}

/// A run that stood still for longer than it may run has done nothing more.
pub fn outlived(scenario: &Scenario, acted: &Acted, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    if outcome.end != super::tracer::End::Exit(9) {
        found.push(format!(
            "I10: after more than ten seconds it ended with {:?}",
            outcome.end
        ));
    }
    let named = |links: &[Link]| {
        let mut links = links.iter();
        links.find(|link| link.name == scenario.tap_name()).cloned()
    };
    let (was, now) = (named(&acted.after), named(&outcome.after));
    // One that is not persistent goes with the run.
    if now.is_some() && now != was {
        found.push("I10: after more than ten seconds it changed a tap".to_owned());
    }
    found
}
