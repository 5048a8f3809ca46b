//! What has to be true after every run, whatever was done during it.

use super::acts::{Act, May, RENAMED};
use super::bound::lacks;
use super::existing::{changed, denied};
use super::net::{self, Link};
use super::rights::Takes;
use super::scenario::{Ends, Handed, NEW_BRIDGE, Scenario};
use super::tracer::End;
use super::world::Outcome;

/// `IN6_ADDR_GEN_MODE_NONE`.
const NO_ADDRESSES: u8 = 1;

/// What is not as it has to be. `refused` is how it ends when nobody acts.
pub fn violations(
    scenario: &Scenario,
    (act, takes): (&Act, Takes),
    refused: bool,
    bystanders: &[Link],
    outcome: &Outcome,
) -> Vec<String> {
    let view = View {
        scenario,
        act,
        outcome,
        tap: tap_of(scenario, outcome),
    };
    let mut found = Vec::new();
    found.extend(view.frames_past_the_bridge());
    found.extend(view.strangers());
    found.extend(view.announced_alone());
    found.extend(view.announced_unbound());
    found.extend(changed(scenario, act, outcome));
    found.extend(denied(scenario, takes, outcome));
    found.extend(view.bystanders(bystanders));
    found.extend(view.ending(refused));
    match outcome.end {
        End::Exit(0) if scenario.is_up() => found.extend(view.is_up()),
        End::Exit(0) => found.extend(view.is_down()),
        End::Exit(code) if code != TOO_LATE || !scenario.is_users() => {
            found.extend(view.nothing_new());
        }
        // What a kill leaves is whole, or not there; of a tap that was there it may be a part.
        End::Exit(_) | End::Signal(_) if scenario.tap.is_none() && view.tap.is_some() => {
            found.extend(view.is_up());
        }
        End::Exit(_) | End::Signal(_) => {}
    }
    found
}

/// The exit code of a user's run that has had all the time that there is. It ends as if it was killed.
const TOO_LATE: i32 = 9;

/// The tap that a scenario is about, as it is in the end.
fn tap_of<'a>(scenario: &Scenario, outcome: &'a Outcome) -> Option<&'a Link> {
    let named = |name: &str| {
        let mut links = outcome.after.iter();
        links.find(|link| link.name == name && link.tun.is_some())
    };
    match outcome.handed_over.first() {
        // Of that one only the kernel knows the name.
        Some(handed) => named(&net::name_behind(handed).ok()?),
        None => named(scenario.tap_name()).or_else(|| named(RENAMED)),
    }
}

struct View<'a> {
    scenario: &'a Scenario,
    act: &'a Act,
    outcome: &'a Outcome,
    tap: Option<&'a Link>,
}

impl View<'_> {
    fn success(&self) -> bool {
        self.outcome.end == End::Exit(0)
    }

    /// The tap as it was before.
    fn was(&self) -> Option<&Link> {
        let mut links = self.outcome.before.iter();
        links.find(|link| link.name == self.scenario.tap_name())
    }

    /// No frame is in the host's own stack that came in by a tap, and not by its bridge.
    fn frames_past_the_bridge(&self) -> Option<String> {
        let seen = [
            &self.outcome.before,
            &self.outcome.announced,
            &self.outcome.after,
        ];
        let is_tap = |index: &u32| {
            let mut links = seen.iter().copied().flatten();
            links.any(|link| link.index == *index && link.tun.is_some())
        };
        let frames = self.outcome.frames.iter();
        let past: usize = frames
            .filter(|(index, _)| is_tap(index))
            .map(|(_, count)| count)
            .sum();
        (past > 0).then(|| "I1: frames came into the host's own stack by the tap itself".to_owned())
    }

    /// After success nobody is in it but its owner; nor in what this run has made a port.
    fn strangers(&self) -> Vec<String> {
        let Some(tap) = self.tap else {
            return Vec::new();
        };
        let was_port = self.scenario.tap.is_some_and(|tap| tap.bridge.is_some());
        let is_port = tap.master.is_some() && !was_port;
        let strangers = self
            .outcome
            .holds
            .iter()
            .filter(|(uid, holds)| *uid != self.scenario.owner && holds.contains(&tap.name));
        strangers
            .filter(|_| self.success() || is_port)
            .map(|(uid, _)| {
                let when = if self.success() {
                    "success was said"
                } else {
                    "it is in a bridge"
                };
                format!(
                    "I2: uid {uid} has a queue of a tap of uid {}'s, and {when}",
                    self.scenario.owner
                )
            })
            .collect()
    }

    /// The kernel never announces a tap that is up and in no bridge.
    fn announced_alone(&self) -> Option<String> {
        let alone = |link: &Link| link.tun.is_some() && link.up && link.master.is_none();
        let is_announced = self.outcome.announced.iter().any(alone);
        is_announced.then(|| "I4: a tap was announced up and in no bridge".to_owned())
    }

    /// Nor one that is up as a port, and has not all that the configuration binds. What root itself brings up is root's affair.
    fn announced_unbound(&self) -> Vec<String> {
        let before = &self.outcome.before;
        let was_so = |link: &Link| {
            let mut before = before.iter();
            before.any(|old| old.index == link.index && old.up)
        };
        let announced = self.outcome.announced.iter();
        let lacking = announced
            .filter(|link| link.name.starts_with("tap") && !was_so(link))
            .flat_map(|link| lacks(self.scenario.conf, link));
        let mut found: Vec<String> = lacking
            .filter(|_| !self.act.may(May::Move))
            .map(|option| format!("I4: a tap was up as a port without {option}, which is bound"))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// No interface is touched but the caller's tap, and none is there but that and a bridge that was asked for.
    fn bystanders(&self, bystanders: &[Link]) -> Vec<String> {
        let mut found = Vec::new();
        for link in bystanders {
            let after = &self.outcome.after;
            let now = after.iter().find(|now| now.index == link.index);
            if now != Some(link) {
                found.push(format!("I6: {} was {link:?} and is {now:?}", link.name));
            }
        }
        let is_expected = |link: &Link| {
            let name = link.name.as_str();
            name == self.scenario.tap_name()
                || name == RENAMED && self.act.may(May::Rename)
                || name == NEW_BRIDGE && self.scenario.makes_bridge()
                || name == "tap1" && self.scenario.handed == Handed::Socket
                || bystanders.iter().any(|other| other.name == link.name)
        };
        let others = self.outcome.after.iter().filter(|link| !is_expected(link));
        found.extend(others.map(|link| format!("I6: an interface {} is left", link.name)));
        found
    }

    /// A refusal stays one, and an end is one of those that are documented.
    fn ending(&self, refused: bool) -> Option<String> {
        match self.outcome.end {
            End::Exit(0) if refused && !self.act.may(May::Cure) => {
                Some("I3: what is refused when nobody acts was done".to_owned())
            }
            End::Exit(code @ 1..=9) => {
                let is_expected = match self.scenario.ends {
                    Ends::Done => false,
                    Ends::With(expected) => code == expected,
                    Ends::Refused | Ends::Either => true,
                };
                let is_disturbed = self.act.name != super::acts::NOTHING.name;
                (!is_expected && !is_disturbed)
                    .then(|| format!("I7: exit code {code}, and nobody did anything"))
            }
            End::Exit(0) => None,
            End::Exit(code) => Some(format!("I7: exit code {code}")),
            End::Signal(signal) if self.act.may(May::Kill(signal)) => None,
            End::Signal(signal) => Some(format!("I7: ended by {signal}")),
        }
    }

    /// All that was asked for, but for what the act may have changed.
    fn is_up(&self) -> Vec<String> {
        let Some(tap) = self.tap else {
            // With the last descriptor of a tap that is not persistent it goes.
            let goes = self.act.may(May::Gone) || self.act.may(May::Rename);
            return if goes {
                Vec::new()
            } else {
                vec!["I7: success, and no tap".to_owned()]
            };
        };
        let may = |what| self.act.may(what);
        let named = |name: &str| {
            let mut links = self.outcome.after.iter();
            links.find(|link| link.name == name).map(|link| link.index)
        };
        let moves = may(May::Move);
        let made = self.was().is_none_or(|was| was.index != tap.index);
        let is_port_of = |name| tap.master.is_some() && tap.master == named(name);
        let other = may(May::Create) && (is_port_of("br1") || is_port_of("br0"))
            || moves && is_port_of("br8")
            // The one that was there was taken away, and one like any new one was made.
            || made && may(May::Gone) && is_port_of("br0");
        // Another tap than the one that this run has made may have what another run was asked for.
        let differs = may(May::Create);
        let tun = tap.tun.unwrap();
        // Where nothing is said, the owner of one that is there stays, and one that had to be created is the caller's.
        let owner = if made && !self.scenario.owner_asked {
            Some(self.scenario.caller)
        } else {
            Some(self.scenario.owner)
        };
        let owner_may_differ = may(May::Own) || may(May::Create) && !self.scenario.owner_asked;
        let stays = self
            .scenario
            .tap
            .map_or(self.scenario.handed != Handed::Socket, |tap| tap.persistent);
        let checks = [
            (tap.up || may(May::Down), "it is down".to_owned()),
            (
                is_port_of(self.scenario.bridge) || other || may(May::Down),
                format!("it is no port of {}", self.scenario.bridge),
            ),
            (tap.mtu == 1500, format!("its MTU is {}", tap.mtu)),
            (
                tap.mac[0] == 0xfe || may(May::Mac) || moves,
                "its MAC does not begin with fe".to_owned(),
            ),
            (
                tap.addr_gen_mode.is_none_or(|mode| mode == NO_ADDRESSES) || moves,
                "it makes addresses of its own".to_owned(),
            ),
            (
                tun.persistent == stays
                    || may(May::Unpersist)
                    || may(May::Create)
                    || may(May::Gone),
                format!("it is persistent: {}", tun.persistent),
            ),
            (
                tap.isolated == self.scenario.isolated
                    || moves
                    || differs
                    || may(May::Down)
                    || may(May::Restrict),
                format!("it is isolated: {}", tap.isolated),
            ),
            (
                tap.locked == self.scenario.wants_lock() || moves || may(May::Down),
                format!("it is locked: {}", tap.locked),
            ),
            (
                tun.multi_queue || !self.scenario.wants_queues() || may(May::Create),
                "it has one queue".to_owned(),
            ),
        ];
        let is_anothers = tun.owner != owner && !owner_may_differ;
        is_anothers
            .then(|| {
                format!(
                    "I5: success, and its owner is {:?}, not {owner:?}",
                    tun.owner
                )
            })
            .into_iter()
            .chain(
                checks
                    .into_iter()
                    .filter(|(ok, _)| !ok)
                    .map(|(_, what)| format!("I7: success, and {what}")),
            )
            .collect()
    }

    fn is_down(&self) -> Option<String> {
        match self.tap {
            None if self.scenario.deletes() || self.act.may(May::Gone) => None,
            None => Some("I7: success, and the tap is gone".to_owned()),
            Some(tap) if tap.name == RENAMED => None,
            // It is gone, as it should be, and this one came after it.
            Some(tap)
                if self.act.may(May::Create)
                    && self.was().is_some_and(|was| was.index != tap.index) =>
            {
                None
            }
            Some(tap) if self.scenario.deletes() && tap.tun.unwrap().persistent => {
                Some("I7: success, and the tap is still there".to_owned())
            }
            // A user's stays as it is, and goes when its last holder closes it.
            Some(_) if self.scenario.is_users() => None,
            Some(tap) if tap.up || tap.master.is_some() => {
                Some("I7: success, and the tap is up or in a bridge".to_owned())
            }
            Some(_) => None,
        }
    }

    /// A failure leaves nothing behind, and where it is a refusal and the act changes nothing, everything as it was.
    fn nothing_new(&self) -> Vec<String> {
        let mut found = Vec::new();
        let was = self.was();
        if was.is_none() && self.tap.is_some() && !self.act.may(May::Create) {
            found.push("I7: failure, and a tap is left".to_owned());
        }
        // A new bridge stays once it is there whole, and the error says so.
        let mut after = self.outcome.after.iter();
        if let Some(bridge) = after.find(|link| link.name == NEW_BRIDGE) {
            let says = self
                .outcome
                .said
                .contains("; not undone: the new bridge is left as it is");
            if !says {
                found.push("I7: failure, and a bridge is left without a word".to_owned());
            }
            if !bridge.up && !self.act.may(May::Create) {
                found.push("I7: failure, and a bridge is left half made".to_owned());
            }
        }
        if !self.outcome.handed_over.is_empty() {
            found.push("I7: failure, and a tap was handed over".to_owned());
        }
        let must_stay = self.scenario.is_refused() && self.act.may.is_empty();
        if must_stay && self.tap != was {
            found.push(format!(
                "I7: refused, and the tap was {was:?} and is {:?}",
                self.tap
            ));
        }
        found
    }
}
