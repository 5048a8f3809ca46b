//! Two runs of the same user on the same tap: the second stands still at one of its calls while the first goes on from one of
//! its own, or the other way round, and others of that user run from start to end in between.

use super::bound::{FIVE, FOUR, ISOLATED, LOCK, lacks, lacks_entry};
use super::campaign::Draw;
use super::fdb::Entry;
use super::findings::Findings;
use super::net::Link;
use super::puppet::{Puppet, Step};
use super::scenario::{HERS, PLAIN, Scenario};
use super::tracer::End;
use super::world::World;
use crate::common::users::ALICE;
use std::fmt;
use std::sync::Mutex;

/// How the tap is before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Missing,
    /// The user's, down and in no bridge.
    Down,
    /// As another run of the user's has made it.
    Made,
}

const STARTS: &[Start] = &[Start::Missing, Start::Missing, Start::Down, Start::Made];

/// The name of a scenario is what the configuration binds.
const CONFS: &[(&str, &str)] = &[
    ("two runs, isolated", ISOLATED),
    ("two runs, locked", LOCK),
    ("two runs, four options", FOUR),
    ("two runs, four options and locked", FIVE),
];

const TAP: &str = "tap7";

/// A call by Alice: the program, and its arguments.
type Call = (&'static str, &'static [&'static str]);

const UP: Call = ("qemu-ifup", &[TAP]);
const DOWN: Call = ("qemu-ifdown", &[TAP]);
const DELETE: Call = ("qemu-ifdown", &["--delete", TAP]);

/// Each is as likely as it is often here.
const RUNS: &[[Call; 2]] = &[
    [UP, UP],
    [UP, UP],
    [UP, UP],
    [UP, DELETE],
    [UP, DOWN],
    [DELETE, UP],
    [DELETE, DELETE],
];

/// What runs from start to end in between.
const BETWEEN: &[&[Call]] = &[&[], &[DOWN], &[DELETE], &[UP], &[DELETE, UP]];

/// A run that makes a tap changes it so often before it is up.
const CHANGES: usize = 5;
/// How often they alternate at most.
const TURNS: usize = 10;

/// One of the ways in which two runs can go.
#[derive(Debug, Clone)]
pub struct Pair {
    name: &'static str,
    conf: &'static str,
    start: Start,
    runs: [Call; 2],
    turns: Vec<Turn>,
    /// Which one goes on to its end before the other does.
    ends_first: usize,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The first or the second run goes on.
    Of(usize, Step),
    /// Another runs from start to end.
    Whole(Call),
}

impl Pair {
    /// The first run goes on to one of its calls, others run from start to end, the second goes on to one of its own. Then
    /// they alternate.
    pub fn drawn(draw: &mut Draw) -> Self {
        let (name, conf) = *draw.one_of(CONFS);
        let (start, runs) = (*draw.one_of(STARTS), *draw.one_of(RUNS));
        let mut turns = Vec::new();
        for run in [0, 1] {
            let changes = draw.below(CHANGES);
            turns.extend((0..changes).map(|_| Turn::Of(run, Step::Change)));
            turns.push(Turn::Of(run, Step::Calls(draw.below(3))));
            // While both stand still that is rare, since it may have to wait for them.
            if run == 0 || draw.below(3) == 0 {
                let between = draw.one_of(BETWEEN);
                turns.extend(between.iter().copied().map(Turn::Whole));
            }
        }
        for _ in 0..draw.below(TURNS) {
            let calls = draw.below(6);
            let step = if calls < 3 {
                Step::Change
            } else {
                Step::Calls(calls - 3)
            };
            turns.push(if draw.below(10) == 0 {
                Turn::Whole(*draw.one_of(&[UP, DOWN, DELETE]))
            } else {
                Turn::Of(draw.below(2), step)
            });
        }
        Self {
            name,
            conf,
            start,
            runs,
            turns,
            ends_first: draw.below(2),
        }
    }

    fn deletes(&self) -> bool {
        let whole = |turn: &Turn| matches!(turn, Turn::Whole(call) if *call == DELETE);
        self.runs.contains(&DELETE) || self.turns.iter().any(whole)
    }

    pub fn make(&self, number: usize, world: &mut World, findings: &Mutex<Findings>) {
        let ran = self.run(world);
        let found = self.violations(&world.bystanders, &ran);
        let mut findings = findings.lock().unwrap();
        for end in ran.ends {
            findings.count(self.name, end);
        }
        let example = format!("{self}: {:?}; QEMU_IFUP_ADVERSARY_ONLY={number}", ran.ends);
        let act = self.runs.map(words).join(" and ");
        findings.note(self.name, &act, &example, found);
    }

    fn run(&self, world: &mut World) -> Ran {
        let scenario = Scenario {
            conf: self.conf,
            tap: (self.start == Start::Down).then_some(HERS),
            ..PLAIN
        };
        world.set_up(&scenario);
        if self.start == Start::Made {
            let _ = world.calls(ALICE, UP.0, UP.1);
        }
        world.begin();
        let before = world.rtnetlink.links();
        let mut looks = Vec::new();
        let mut runs = self.runs.map(|(program, args)| {
            let command = world.call(ALICE, program, args);
            Puppet::start(command, ALICE, TAP)
        });
        for turn in &self.turns {
            match *turn {
                Turn::Of(run, step) => runs[run].go_on(step),
                // However it ends.
                Turn::Whole((program, args)) => drop(world.calls(ALICE, program, args)),
            }
            looks.push((world.rtnetlink.links(), world.rtnetlink.entries()));
        }
        runs[self.ends_first].go_on(Step::End);
        looks.push((world.rtnetlink.links(), world.rtnetlink.entries()));
        let ends = runs.map(Puppet::end);
        looks.push((world.rtnetlink.links(), world.rtnetlink.entries()));
        Ran {
            ends,
            before,
            announced: world.announced().clone(),
            looks,
        }
    }

    fn violations(&self, bystanders: &[Link], ran: &Ran) -> Vec<String> {
        let after = &ran.looks.last().unwrap().0;
        let tap = after.iter().find(|link| link.name == TAP);
        let mut found: Vec<String> = [
            self.unbound(ran),
            Self::up_alone(ran),
            self.changed(ran, after),
            self.half_made(ran, after, tap),
        ]
        .concat();
        let strangers = after.iter().filter(|link| link.name != TAP);
        if !strangers.eq(bystanders) {
            found.push("I6: an interface is left, gone or changed".to_owned());
        }
        let is_known = |end: &&End| matches!(end, End::Exit(0..=9));
        let unknown = ran.ends.iter().filter(|end| !is_known(end));
        found.extend(unknown.map(|end| format!("I7: it ended with {end:?}")));
        let is_up = |(end, call): &(&End, Call)| **end == End::Exit(0) && *call == UP;
        let said = ran.ends.iter().zip(self.runs).any(|pair| is_up(&pair));
        if said && tap.is_none() && !self.deletes() {
            found.push("I7: success, and no tap, which nobody deleted".to_owned());
        }
        found
    }

    /// Never up as a port without what is bound.
    fn unbound(&self, ran: &Ran) -> Vec<String> {
        let looks = ran.looks.iter().flat_map(|(links, _)| links);
        let links = ran.announced.iter().chain(looks);
        let options = links
            .filter(|link| link.name == TAP)
            .flat_map(|link| lacks(self.conf, link));
        let mut found: Vec<String> = options
            .map(|option| format!("I4: a tap was up as a port without {option}, which is bound"))
            .collect();
        let lacks_it = |(links, entries): &(Vec<Link>, Vec<Entry>)| {
            let mut taps = links.iter().filter(|link| link.name == TAP);
            taps.any(|tap| lacks_entry(self.conf, tap, entries))
        };
        if ran.looks.iter().any(lacks_it) {
            found.push("I4: a tap was up as a port without the entry of its lock".to_owned());
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn up_alone(ran: &Ran) -> Vec<String> {
        let looks = ran.looks.iter().flat_map(|(links, _)| links);
        let mut links = ran.announced.iter().chain(looks);
        let alone = |link: &Link| link.tun.is_some() && link.up && link.master.is_none();
        let found = links.any(alone);
        let found = found.then(|| "I4: a tap was up and in no bridge".to_owned());
        found.into_iter().collect()
    }

    /// A tap that was there is as it was, or deleted.
    fn changed(&self, ran: &Ran, after: &[Link]) -> Vec<String> {
        let Some(was) = ran.before.iter().find(|link| link.name == TAP) else {
            return Vec::new();
        };
        let now = after.iter().find(|link| link.index == was.index);
        let what = match now {
            None if self.deletes() => None,
            None => Some("I8: a tap that was there is gone"),
            Some(now) => (now != was).then_some("I8: a tap that was there has been changed"),
        };
        what.map(str::to_owned).into_iter().collect()
    }

    /// What is new is whole.
    fn half_made(&self, ran: &Ran, after: &[Link], tap: Option<&Link>) -> Vec<String> {
        let is_old = |tap: &&Link| ran.before.iter().any(|old| old.index == tap.index);
        let Some(tap) = tap.filter(|tap| !is_old(tap)) else {
            return Vec::new();
        };
        let bridge = after.iter().find(|link| Some(link.index) == tap.master);
        let is_whole = tap.up
            && bridge.is_some_and(|bridge| bridge.name == "br0")
            && tap
                .tun
                .is_some_and(|tun| tun.persistent && tun.owner == Some(ALICE));
        let found = (!is_whole).then(|| "I7: a new tap is left half made".to_owned());
        found.into_iter().collect()
    }
}

/// What was seen of the two runs.
struct Ran {
    ends: [End; 2],
    before: Vec<Link>,
    announced: Vec<Link>,
    /// At each moment at which no run went on.
    looks: Vec<(Vec<Link>, Vec<Entry>)>,
}

fn words((program, args): Call) -> String {
    format!("{program} {}", args.join(" "))
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |run: usize| ["the first", "the second"][run];
        write!(f, "tap {:?}", self.start)?;
        let turns = self.turns.iter().map(|turn| match *turn {
            Turn::Of(run, step) => format!("{} {step:?}", number(run)),
            Turn::Whole(call) => words(call),
        });
        let turns: Vec<String> = turns.collect();
        for same in turns.chunk_by(PartialEq::eq) {
            write!(f, ", {} x {}", same[0], same.len())?;
        }
        write!(f, ", {} ends first", number(self.ends_first))
    }
}
