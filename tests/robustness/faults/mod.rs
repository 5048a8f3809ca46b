//! Every system call fails, or is the last.

mod mode;
mod runs;

use mode::{FAILURES, Handed, LASTING, MEMORY, Mode, NEVER_FAIL};

use crate::beside_others;
use crate::common::fds::received;
use crate::common::interfaces::port;
use crate::common::json::{changes, comparable, is_up, names, prune};
use crate::common::sandbox::Sandbox;
use crate::common::strace::{Call, calls_in};
use crate::common::users::open_tap_as;
use crate::common::{Run, bin, command, eventually, run_with_input};
use crate::tell;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Done,
    /// What a kill may leave, and the next run completes.
    Between,
}

struct Trial {
    sandbox: Sandbox,
    mode: Mode,
    before: Value,
    /// The same before QEMU created its tap.
    before_qemu: Value,
    done: Value,
    /// What keeps the tap of the current run alive.
    held: Option<OwnedFd>,
    /// Where the messages to syslog arrive. Most are never read, so that there is a full queue as well.
    log: Option<UnixDatagram>,
}

impl Trial {
    /// None where the host does not allow it.
    fn new(mode: Mode) -> Option<Self> {
        let mut trial = Self {
            sandbox: Sandbox::with("strace")?,
            mode,
            before: Value::Null,
            before_qemu: Value::Null,
            done: Value::Null,
            held: None,
            log: None,
        };
        trial.reset();
        trial.log = trial.mode.logs.then(|| trial.sandbox.devlog());
        Some(trial)
    }

    /// Creates everything as it is to be before a run.
    fn reset(&mut self) {
        let goes_by_itself = self.held.take().is_some();
        let gone = || {
            let links = self.sandbox.links();
            (!links.iter().any(|link| link.starts_with("tap"))).then_some(())
        };
        if goes_by_itself {
            eventually(gone).expect("the tap outlives its last descriptor");
        }
        // Together, which is faster by far.
        self.sandbox.try_sh(
            "printf 'link set %s group 88\\n' tap0 tap1 tap2 br0 br1 | ip -force -batch - || true
             ip link del group 88",
        );
        assert_eq!(gone(), Some(()), "the tap stays");
        self.sandbox.sh(self.mode.setup);
        if self.mode.handed == Handed::Tap {
            self.before_qemu = self.sandbox.settled();
            self.held = Some(open_tap_as(0, "tap0", 0).unwrap().into());
        }
        self.before = self.sandbox.settled();
    }

    /// Runs the program under strace, with what it is to be handed.
    fn run(&mut self, strace: &[&str]) -> Run {
        let mut command = command("sh");
        command
            .args(["-c", "exec timeout 20 strace \"$@\" 5<&0 </dev/null", "sh"])
            .args(strace)
            .arg(bin(self.mode.program))
            .args(self.mode.args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match self.mode.handed {
            Handed::Nothing => run_with_input(command.stdin(Stdio::null())),
            Handed::Tap => {
                let tap = self.held.as_ref().unwrap().try_clone().unwrap();
                run_with_input(command.stdin(tap))
            }
            Handed::Socket => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let run = run_with_input(command.stdin(OwnedFd::from(theirs)));
                // It holds the other end, which would not be closed.
                drop(command);
                let mut got = received(&ours);
                assert!(got.len() <= 1, "more than one descriptor");
                self.held = got.pop();
                run
            }
        }
    }

    /// The system calls of a run to which nothing is done, from the program's first act on.
    fn calls(&mut self) -> Vec<Call> {
        let mut log = self.traced();
        // The kernel may have more to say, as of the bridge's carrier: then other runs have fewer calls.
        for _ in 0..5 {
            if log.matches(", 1, MSG_TRUNC").count() > self.mode.waits {
                self.reset();
                log = self.traced();
            }
        }
        self.done = comparable(self.sandbox.settled());
        // What comes before its first act, to ignore two signals, is execve(2) and musl's.
        let calls = calls_in(&log).into_iter();
        let ours = calls.skip_while(|call| call.name != "rt_sigaction");
        let [from, to] = self.mode.part;
        let ours: Vec<Call> = ours
            .skip_while(|call| !call.line.contains(from))
            .take_while(|call| to.is_empty() || !call.line.contains(to))
            .collect();
        assert!(ours.len() > 5, "{log}");
        ours
    }

    /// What strace prints of a run to which nothing is done.
    fn traced(&mut self) -> String {
        let log = self.sandbox.dir().join("calls");
        let run = self.run(&["-o", log.to_str().unwrap()]);
        assert_eq!(run.code, self.mode.code, "{run:?}");
        fs::read_to_string(log).unwrap()
    }

    /// What the interfaces are like, which must be one of these states.
    fn state(&self, allowed: &[State]) -> Result<State, String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let now = self.sandbox.settled();
            let from_before = changes(&self.before, &now);
            let now = comparable(now);
            let from_done = changes(&self.done, &now);
            let found = match () {
                () if from_before.is_empty() => Some(State::Before),
                () if from_done.is_empty() => Some(State::Done),
                () if self.is_between(&now) => Some(State::Between),
                () => None,
            };
            if let Some(state) = found.filter(|state| allowed.contains(state)) {
                return Ok(state);
            }
            // A child that another test has just forked may have a copy of a descriptor for a moment.
            if Instant::now() > deadline {
                let list = |changes: &[String]| changes[..changes.len().min(12)].join("\n    ");
                return Err(format!(
                    "left as {found:?}, which is none of {allowed:?}\n  not as before:\n    {}\n  not done:\n    {}",
                    list(&from_before),
                    list(&from_done)
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A bridge that was to be created is whole, and of use to the next run, or not there. A tap that was to be created is not there,
    /// since it goes with the program. One that was there may be in the one bridge or in the other or in none; but up it is
    /// in a bridge only.
    fn is_between(&self, now: &Value) -> bool {
        if self.mode.has_several() {
            return self.mode.between && self.is_each_before_or_done(now);
        }
        let tap = entry(now, "links", "tap0");
        let was_there = entry(&self.before, "links", "tap0").is_some();
        let tap_is_as_it_may_be = match &tap {
            None => !was_there,
            Some(tap) => was_there && (!is_up(tap) || tap.get("master").is_some()),
        };
        self.mode.between && self.is_bridge_whole(now) && tap_is_as_it_may_be
    }

    /// Each interface is as before or as it is to be, in every part.
    fn is_each_before_or_done(&self, now: &Value) -> bool {
        // The bridge gives its ports numbers in the order in which they come.
        let without_numbers = |mut all: Value| {
            prune(&mut all, &mut |key, _| {
                matches!(key, "id" | "no" | "designated_port")
            });
            all
        };
        let [before, done, now] = [&comparable(self.before.clone()), &self.done, now]
            .map(|all| without_numbers(all.clone()));
        let is_as_in = |reference: &Value, name: &str| {
            let mut parts = ["links", "addresses", "ports"].iter();
            parts.all(|part| entry(&now, part, name) == entry(reference, part, name))
        };
        let mut names = names(&now["links"]);
        names.extend(self.mode.taps().map(str::to_owned));
        names
            .iter()
            .all(|name| is_as_in(&before, name) || is_as_in(&done, name))
    }

    /// The bridge is as it is to be, or there is none.
    fn is_bridge_whole(&self, now: &Value) -> bool {
        ["links", "addresses"].iter().all(|part| {
            let bridge = entry(now, part, "br0");
            bridge.is_none() || bridge == entry(&self.done, part, "br0")
        })
    }

    /// What is not put back is told: whom a tap was given to, and a new bridge, which is whole. Everything else is as
    /// before.
    fn is_as_before_but_for_what_stays(&self) -> bool {
        let had_bridge = entry(&self.before, "links", "br0").is_some();
        let without = |mut all: Value| {
            prune(&mut all, &mut |key, value| {
                matches!(key, "user" | "group") || !had_bridge && value["ifname"] == "br0"
            });
            all
        };
        let before = without(self.before.clone());
        let same = || {
            let now = self.sandbox.settled();
            let is_whole = had_bridge || self.is_bridge_whole(&comparable(now.clone()));
            (is_whole && changes(&before, &without(now)).is_empty()).then_some(())
        };
        eventually(same).is_some()
    }

    /// Which states the run may leave, by how it ended.
    fn ending(&self, call: &Call, blow: Blow, run: &Run) -> Result<Vec<State>, &'static str> {
        use State::{Before, Between, Done};

        let prefix = format!("{}: ", self.mode.program);
        let says = run.stderr.starts_with(&prefix) && run.stderr.contains(" cannot ");
        let whatever = vec![Before, Done, Between];
        match (run.code, blow) {
            (137, Blow::Kill) => Ok(whatever),
            // How often the allocator asks for memory differs by a call, as with the length of a pid in a text.
            (0, Blow::Kill) if MEMORY.contains(&&*call.name) => Ok(vec![Done]),
            (_, Blow::Kill) => Err("it was not killed"),
            (0, _) if self.mode.code == 0 => Ok(vec![Done]),
            (1..=9, _) if says && self.mode.has_several() => Ok(whatever),
            (1..=9, Blow::Once(_)) if says => Ok(vec![Before]),
            // A tap whose removal had no answer, and that cannot be looked for, may be gone.
            (1..=9, Blow::FromHere(_)) if says && self.mode.args.contains(&"--delete") => {
                Ok(vec![Before, Done])
            }
            (1..=9, Blow::FromHere(_)) if says => Ok(vec![Before]),
            // No memory: Rust's runtime says so and aborts, which is like a kill.
            (134, _) if run.stderr.contains("memory") => Ok(whatever),
            _ => Err("an exit code or a message that nobody expects"),
        }
    }

    /// Runs the program with this done to that call of it, and looks at what is left.
    fn strike(&mut self, call: &Call, blow: Blow) -> Result<(Run, Left), String> {
        let inject = match blow {
            Blow::Once(errno) => call.inject(&format!("error={errno}")),
            Blow::FromHere(errno) => call.inject(&format!("error={errno}")) + "+",
            Blow::Kill => call.inject("signal=SIGKILL"),
        };
        let run = self.run(&["-qq", "-o", "/dev/null", "-e", &inject]);
        let at = |error: &str| format!("{blow:?} at {:.120}: {run:?}: {error}", call.line);
        let allowed = self.ending(call, blow, &run).map_err(at)?;
        let has_waited = run.code == 0 && self.mode.waits > 0;
        if has_waited && port(&self.sandbox, "tap0")["state"] != "forwarding" {
            return Err(at("it does not forward"));
        }
        let told = run.stderr.matches("; not undone: ").count();
        let is_told = told > 0 && !self.mode.has_several();
        // In a run that fails by itself, to put things back is what fails; one thing stays in any case.
        let fails_to_undo = match blow {
            Blow::Once(_) => self.mode.code != 0 && told > 1,
            Blow::FromHere(_) => true,
            Blow::Kill => false,
        };
        if fails_to_undo && is_told {
            // What was there is as it may be; what was created by this run goes with it in any case.
            let was_there = self.before.to_string().contains("\"tap0\"");
            return match self.sandbox.link("tap0") {
                Some(_) if !was_there => Err(at("a tap is left")),
                None if was_there => Err(at("the tap is gone")),
                Some(_) | None => Ok((run, Left::NotUndone)),
            };
        }
        if matches!(blow, Blow::Once(_)) && is_told {
            return match self.is_as_before_but_for_what_stays() {
                true => Ok((run, Left::NotUndone)),
                false => Err(at("more is left than an owner or a whole bridge")),
            };
        }
        let state = self.state(&allowed).map_err(|error| at(&error))?;
        if let (Blow::Kill, State::Between, 0) = (blow, state, self.mode.code) {
            // Nothing is in the way of the next run, which completes it.
            let again = self.run(&["-qq", "-o", "/dev/null", "-e", "trace=none"]);
            let state = self.state(&[State::Done]);
            assert!(again.code == 0 && state.is_ok(), "{again:?} {state:?}");
        }
        if let (Blow::Kill, Handed::Tap) = (blow, self.mode.handed) {
            // QEMU ends when its script is killed, and takes its tap along.
            self.held = None;
            let left = || changes(&self.before_qemu, &self.sandbox.settled());
            eventually(|| left().is_empty().then_some(())).ok_or_else(|| at(&left().join("\n")))?;
        }
        Ok((run, Left::State(state)))
    }
}

/// An interface by name, in one part of a snapshot.
fn entry<'a>(all: &'a Value, part: &str, name: &str) -> Option<&'a Value> {
    let mut entries = all[part].as_array().into_iter().flatten();
    entries.find(|entry| entry["ifname"] == name)
}

/// What is done to a system call.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// It fails.
    Once(&'static str),
    /// It fails, and so do all of its kind from there on: what is done to put things back as well.
    FromHere(&'static str),
    /// It is the last.
    Kill,
}

enum Left {
    State(State),
    /// What it says could not be put back.
    NotUndone,
}

/// What came of it all.
#[derive(Default)]
struct Seen {
    problems: Vec<String>,
    tried: usize,
    failed: usize,
    given: usize,
    lasting: usize,
    not_undone: usize,
    kills: usize,
    killed_as: [usize; 3],
}

impl Seen {
    fn count(&mut self, blow: Blow, is_failed: bool, left: Option<&Left>) {
        let is_not_undone = matches!(left, Some(Left::NotUndone));
        match blow {
            Blow::Once(_) => {
                self.tried += 1;
                self.failed += usize::from(is_failed);
                self.given += usize::from(is_not_undone);
            }
            Blow::FromHere(_) => {
                self.lasting += 1;
                self.not_undone += usize::from(is_not_undone);
            }
            Blow::Kill => {
                self.kills += 1;
                match left {
                    Some(Left::State(State::Before)) => self.killed_as[0] += 1,
                    Some(Left::State(State::Done)) => self.killed_as[1] += 1,
                    Some(Left::State(State::Between)) => self.killed_as[2] += 1,
                    Some(Left::NotUndone) | None => {}
                }
            }
        }
    }
}

/// All that can be done to these calls.
fn blows(calls: &[Call]) -> impl Iterator<Item = (&Call, Blow)> {
    calls.iter().flat_map(|call| {
        let errnos = FAILURES.iter().find(|(name, _)| *name == call.name);
        let known = errnos.is_some() || NEVER_FAIL.contains(&&*call.name);
        assert!(known, "how can this fail? {}", call.line);
        let errnos = errnos.map_or(&[][..], |(_, errnos)| *errnos).iter();
        let for_good = LASTING.contains(&&*call.name).then_some("EPERM");
        let blows = errnos
            .map(|errno| Blow::Once(errno))
            .chain(for_good.map(Blow::FromHere))
            .chain([Blow::Kill]);
        blows.map(move |blow| (call, blow))
    })
}

/// Lets every system call of a run fail in every way that it can, also for good, and kills the program before it.
fn whatever_happens_it_is_done_or_as_before(mode: Mode) {
    let _beside = beside_others();
    let Some(mut trial) = Trial::new(mode) else {
        return;
    };
    let start = Instant::now();
    let calls = trial.calls();
    trial.reset();
    let done = trial.done.clone();
    // From the last call on, which takes longest.
    let blows = Mutex::new(blows(&calls).collect::<Vec<_>>());
    let seen = Mutex::new(Seen::default());
    let strike_all = |mut trial: Trial| {
        loop {
            let next = blows.lock().unwrap().pop();
            let Some((call, blow)) = next else { return };
            let result = trial.strike(call, blow);
            let is_as_before = matches!(result, Ok((_, Left::State(State::Before))));
            let mut seen = seen.lock().unwrap();
            match result {
                Ok((run, left)) => seen.count(blow, run.code != mode.code, Some(&left)),
                Err(problem) => {
                    seen.count(blow, false, None);
                    seen.problems.push(problem);
                }
            }
            if seen.problems.len() >= 5 {
                return;
            }
            drop(seen);
            if !is_as_before || mode.handed == Handed::Tap && trial.held.is_none() {
                trial.reset();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..mode.side_by_side {
            scope.spawn(|| {
                let mut trial = Trial::new(mode).unwrap();
                trial.done = done.clone();
                strike_all(trial);
            });
        }
        strike_all(trial);
    });
    let seen = seen.into_inner().unwrap();
    let (tried, failed, kills) = (seen.tried, seen.failed, seen.kills);
    let [before, done, between] = seen.killed_as;
    tell(&format!(
        "faults: {}: {} calls, {tried} calls x errnos, {failed} made it fail, {} after what stays; {} failed for good, {} \
         said what was not undone; {kills} kills left {before} as before, {done} done, {between} between; {:.1} s",
        mode.name,
        calls.len(),
        seen.given,
        seen.lasting,
        seen.not_undone,
        start.elapsed().as_secs_f64()
    ));
    assert!(seen.problems.is_empty(), "{}", seen.problems.join("\n\n"));
    assert!(mode.between || between == 0);
    let counts = [tried, failed, kills];
    let enough = counts
        .iter()
        .zip(&mode.least)
        .all(|(count, least)| count >= least);
    assert!(
        enough && seen.lasting > 0,
        "{counts:?}, not {:?}",
        mode.least
    );
}
