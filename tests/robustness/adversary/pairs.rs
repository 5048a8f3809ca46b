//! Two runs of the same user on the same tap: the second stands still at one of its calls while the first goes on from one of
//! its own, or the other way round, and others of that user run from start to end in between.

use super::bound::{FIVE, FOUR, ISOLATED, LOCK, lacks, lacks_entry};
use super::campaign::Draw;
use super::fdb::Entry;
use super::findings::Findings;
use super::net::Link;
use super::scenario::{HERS, PLAIN, Scenario};
use super::second::{Place, Second};
use super::tracer::End;
use super::world::World;
use crate::common::users::ALICE;
use std::fmt;
use std::fs::File;
use std::process::Stdio;
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

/// Each as likely as often as it is here.
const FIRST: &[Call] = &[UP, UP, UP, DELETE];
const SECOND: &[Call] = &[UP, UP, DELETE, DOWN];

/// What runs from start to end in between.
const BETWEEN: &[&[Call]] = &[&[], &[DOWN], &[DELETE], &[UP], &[DELETE, UP]];

/// Changes of a tap, and calls after one, that a run has at most; a place that is not reached is its end.
const CHANGES: usize = 9;
const CALLS: usize = 3;

/// One of the ways in which two runs can go.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    name: &'static str,
    conf: &'static str,
    start: Start,
    first: (Call, Place),
    second: (Call, Place),
    /// While the first stands still,
    before_second: &'static [Call],
    /// and while both do.
    while_both_stand: &'static [Call],
    second_goes_on_first: bool,
}

impl Pair {
    pub fn drawn(draw: &mut Draw) -> Self {
        let (name, conf) = *draw.one_of(CONFS);
        let place = |draw: &mut Draw| Place {
            changes: draw.below(CHANGES),
            calls: draw.below(CALLS),
        };
        Self {
            name,
            conf,
            start: *draw.one_of(STARTS),
            first: (*draw.one_of(FIRST), place(draw)),
            second: (*draw.one_of(SECOND), place(draw)),
            before_second: *draw.one_of(BETWEEN),
            // Mostly none.
            while_both_stand: if draw.below(3) == 0 {
                *draw.one_of(BETWEEN)
            } else {
                &[]
            },
            second_goes_on_first: draw.below(2) == 0,
        }
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        let between = self.before_second.iter().chain(self.while_both_stand);
        [&self.first.0, &self.second.0].into_iter().chain(between)
    }

    fn deletes(&self) -> bool {
        self.calls().any(|call| *call == DELETE)
    }

    pub fn make(&self, number: usize, world: &mut World, findings: &Mutex<Findings>) {
        let ran = self.run(world);
        let found = self.violations(&world.bystanders, &ran);
        let mut findings = findings.lock().unwrap();
        for end in ran.ends {
            findings.count(self.name, end);
        }
        let example = format!("{self}: {:?}; QEMU_IFUP_ADVERSARY_ONLY={number}", ran.ends);
        let act = format!("{:?} and {:?}", self.first.0.0, self.second.0.0);
        findings.note(self.name, &act, &example, found);
    }

    fn run(&self, world: &mut World) -> Ran {
        let scenario = Scenario {
            program: self.first.0.0,
            args: self.first.0.1,
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
        let mut look = |world: &mut World| {
            looks.push((world.rtnetlink.links(), world.rtnetlink.entries()));
        };
        let run = |world: &mut World, calls: &[Call]| {
            for (program, args) in calls {
                // However it ends.
                let _ = world.calls(ALICE, program, args);
            }
        };

        let mut first = world.start(&scenario, File::create("/dev/null").unwrap(), None);
        let stands = self.first.1.reached(&mut first, TAP);
        look(world);
        run(world, self.before_second);
        look(world);
        let (program, args) = self.second.0;
        let mut command = world.call(ALICE, program, args);
        command.stderr(Stdio::null());
        let second = Second::start(command, ALICE, self.second.1, TAP);
        look(world);
        run(world, self.while_both_stand);
        look(world);
        let mut second = Some(second);
        let mut end = None;
        if self.second_goes_on_first {
            end = second.take().map(Second::end);
            look(world);
        }
        while stands && first.next().is_some() {}
        look(world);
        let second = end.or_else(|| second.take().map(Second::end)).unwrap();
        look(world);
        Ran {
            ends: [first.end(), second],
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
        let calls = [self.first.0, self.second.0];
        let said = ran.ends.iter().zip(calls).any(|pair| is_up(&pair));
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

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |(program, args): &Call| format!("{program} {}", args.join(" "));
        let all = |calls: &[Call]| calls.iter().map(words).collect::<Vec<_>>().join(", ");
        let (first, at) = &self.first;
        let (second, then) = &self.second;
        write!(
            f,
            "tap {:?}; {:?} stands after {} changes and {} calls; {:?} runs; {:?} stands after {} changes and {} calls; {:?} \
             runs; the {} goes on first",
            self.start,
            words(first),
            at.changes,
            at.calls,
            all(self.before_second),
            words(second),
            then.changes,
            then.calls,
            all(self.while_both_stand),
            if self.second_goes_on_first {
                "second"
            } else {
                "first"
            }
        )
    }
}
