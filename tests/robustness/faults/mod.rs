//! Every system call fails, or is the last.

mod runs;

use crate::beside_others;
use crate::common::fds::received;
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
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How each system call can fail. What is left out cannot (getuid(2)), or is not the program's own doing.
const FAILURES: &[(&str, &[&str])] = &[
    (
        "socket",
        &[
            "EMFILE",
            "ENFILE",
            "ENOBUFS",
            "ENOMEM",
            "EACCES",
            "EAFNOSUPPORT",
        ],
    ),
    ("setsockopt", &["ENOPROTOOPT", "EPERM", "ENOMEM"]),
    ("getsockname", &["EBADF", "ENOTSOCK", "ENOBUFS"]),
    ("sendto", &["ENOBUFS", "EPERM", "ENOMEM", "EAGAIN", "EINTR"]),
    ("recvfrom", &["ENOBUFS", "EAGAIN", "EINTR", "ENOMEM"]),
    (
        "sendmsg",
        &[
            "EPIPE",
            "EAGAIN",
            "ENOBUFS",
            "ETOOMANYREFS",
            "ECONNRESET",
            "EPERM",
        ],
    ),
    ("connect", &["ECONNREFUSED", "EACCES", "EAGAIN", "EPERM"]),
    ("open", OPEN),
    ("openat", OPEN),
    ("fcntl", &["EINVAL"]),
    ("bind", &["EADDRINUSE", "ENOMEM", "EPERM"]),
    ("write", &["EPIPE", "EAGAIN", "ENOBUFS", "ECONNREFUSED"]),
    ("stat", &["EACCES", "ENOMEM"]),
    ("readlink", &["EACCES", "ENOMEM"]),
    ("readlinkat", &["EACCES", "ENOMEM"]),
    ("fstat", &["EIO"]),
    ("newfstatat", &["EIO"]),
    ("statx", &["EIO", "ENOSYS"]),
    ("read", &["EIO", "EINTR"]),
    ("close", &["EIO", "EINTR"]),
    ("ioctl", &["EBUSY", "EPERM", "EINVAL", "ENOMEM", "ENODEV"]),
    ("capget", &["EPERM", "EINVAL"]),
    ("capset", &["EPERM", "EINVAL"]),
    ("prctl", &["EPERM", "EINVAL"]),
    ("getresuid", &["EPERM"]),
    ("getresgid", &["EPERM"]),
    ("getgroups", &["EPERM", "EINVAL"]),
    ("getrandom", &["ENOSYS", "EAGAIN", "EINTR"]),
    ("poll", POLL),
    ("ppoll", POLL),
    ("getrlimit", &["EPERM"]),
    ("prlimit64", &["EPERM"]),
    ("mmap", &["ENOMEM"]),
    ("mremap", &["ENOMEM"]),
    ("munmap", &["ENOMEM"]),
    ("brk", &["ENOMEM"]),
];

const OPEN: &[&str] = &["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM"];

const POLL: &[&str] = &["ENOMEM", "EINTR"];

/// These cannot fail, as the program makes them.
const NEVER_FAIL: &[&str] = &[
    "rt_sigaction",
    "rt_sigprocmask",
    "getpid",
    "getuid",
    "geteuid",
    "getppid",
    "gettid",
    "exit_group",
];

/// The allocator's calls.
const MEMORY: &[&str] = &["mmap", "mremap", "munmap", "brk"];

/// Where these fail from some point on, so does what is done to put things back.
const LASTING: &[&str] = &["sendto", "recvfrom", "ioctl"];

/// Something that the program inherits as this number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    Nothing,
    /// The tap, which is not persistent: QEMU runs its script like this.
    Tap,
    /// A socket to hand a tap over by: QEMU runs its helper like this.
    Socket,
}

/// One way to run a program.
struct Mode {
    name: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    /// Creates everything that there is before the run, but for what is handed.
    setup: &'static str,
    handed: Handed,
    /// There is a syslogd.
    logs: bool,
    /// A kill may leave something between nothing done and everything done, see [`Trial::is_between`].
    between: bool,
    /// At least so many failures are tried, and so many of them matter; and so many kills.
    least: [usize; 3],
}

/// qemu-ifup of tap0, of which there is only the bridge. Each mode has a name and bounds of its own.
const PLAIN: Mode = Mode {
    name: "",
    program: "qemu-ifup",
    args: &["tap0"],
    setup: BRIDGE,
    handed: Handed::Nothing,
    logs: false,
    between: false,
    least: [usize::MAX; 3],
};

const BRIDGE: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge
    ip link set br0 addrgenmode none
    ip link set br0 up";

const ATTACHED: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge
    ip link set br0 addrgenmode none
    ip link set br0 up
    ip tuntap add tap0 mode tap user 54321
    ip link set tap0 address fe:00:00:00:00:77 addrgenmode none
    ip link set tap0 master br0 up";

const CREATED: &str = "--create-bridge --address 192.168.10.1/24 --address fd00:10::1/64";

impl Mode {
    /// The taps that are named: each is as before or done, whatever happens to another.
    fn taps(&self) -> impl Iterator<Item = &'static str> {
        let args = self.args.iter().copied();
        args.filter(|arg| arg.starts_with("tap"))
    }

    fn has_several(&self) -> bool {
        self.taps().count() > 1
    }
}

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

    /// The system calls of a run that succeeds, from the program's first act on.
    fn calls(&mut self) -> Vec<Call> {
        let log = self.sandbox.dir().join("calls");
        let run = self.run(&["-o", log.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{run:?}");
        self.done = comparable(self.sandbox.settled());
        let log = fs::read_to_string(log).unwrap();
        // What comes before its first act, to ignore two signals, is execve(2) and musl's.
        let calls = calls_in(&log).into_iter();
        let ours: Vec<Call> = calls
            .skip_while(|call| call.name != "rt_sigaction")
            .collect();
        assert!(ours.len() > 20, "{log}");
        ours
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
            (0, _) => Ok(vec![Done]),
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
        let is_told = run.stderr.contains("; not undone: ") && !self.mode.has_several();
        if matches!(blow, Blow::FromHere(_)) && is_told {
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
        if let (Blow::Kill, State::Between) = (blow, state) {
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

/// Lets every system call of a run fail in every way that it can, also for good, and kills the program before it.
fn whatever_happens_it_is_done_or_as_before(mode: Mode) {
    let _beside = beside_others();
    let Some(mut trial) = Trial::new(mode) else {
        return;
    };
    let start = Instant::now();
    let calls = trial.calls();
    trial.reset();
    let mut problems = Vec::new();
    let (mut tried, mut failed, mut lasting, mut not_undone, mut kills) = (0, 0, 0, 0, 0);
    let mut given = 0;
    let mut killed_as = [0; 3];
    for call in &calls {
        let errnos = FAILURES.iter().find(|(name, _)| *name == call.name);
        let known = errnos.is_some() || NEVER_FAIL.contains(&&*call.name);
        assert!(known, "how can this fail? {}", call.line);
        let errnos = errnos.map_or(&[][..], |(_, errnos)| *errnos).iter();
        let for_good = LASTING.contains(&&*call.name).then_some("EPERM");
        let blows = errnos
            .map(|errno| Blow::Once(errno))
            .chain(for_good.map(Blow::FromHere))
            .chain([Blow::Kill]);
        for blow in blows {
            let result = trial.strike(call, blow);
            let (code, left) = match &result {
                Ok((run, left)) => (run.code, Some(left)),
                Err(problem) => {
                    problems.push(problem.clone());
                    (0, None)
                }
            };
            match blow {
                Blow::Once(_) => {
                    tried += 1;
                    failed += usize::from(code != 0);
                    given += usize::from(matches!(left, Some(Left::NotUndone)));
                }
                Blow::FromHere(_) => {
                    lasting += 1;
                    not_undone += usize::from(matches!(left, Some(Left::NotUndone)));
                }
                Blow::Kill => {
                    kills += 1;
                    match left {
                        Some(Left::State(State::Before)) => killed_as[0] += 1,
                        Some(Left::State(State::Done)) => killed_as[1] += 1,
                        Some(Left::State(State::Between)) => killed_as[2] += 1,
                        Some(Left::NotUndone) | None => {}
                    }
                }
            }
            let is_as_before = matches!(left, Some(Left::State(State::Before)));
            if !is_as_before || trial.mode.handed == Handed::Tap && trial.held.is_none() {
                trial.reset();
            }
        }
        assert!(problems.len() < 5, "{}", problems.join("\n\n"));
    }
    let Mode { name, least, .. } = trial.mode;
    let [before, done, between] = killed_as;
    tell(&format!(
        "faults: {name}: {} calls, {tried} calls x errnos, {failed} made it fail, {given} after what stays; {lasting} failed for good, {not_undone} \
         said what was not undone; {kills} kills left {before} as before, {done} done, {between} between; {:.1} s",
        calls.len(),
        start.elapsed().as_secs_f64()
    ));
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(trial.mode.between || between == 0);
    let counts = [tried, failed, kills];
    let enough = counts
        .iter()
        .zip(&least)
        .all(|(count, least)| count >= least);
    assert!(enough && lasting > 0, "{counts:?}, not {least:?}");
}
