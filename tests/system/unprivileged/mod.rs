//! Users without root: what root's rules let them do works, and nothing else does, whatever they try.
//!
//! Nearly every test runs twice, with a qemu-ifup that has the file capability and with one that is setuid root, called
//! by a real other user in a network of its own. qemu-ifdown has no privilege in either.

mod acl_file;
mod check;
mod conf;
mod environment;
mod existing;
mod helper;
mod ifdown;
mod limits;
mod lines;
mod policy;
mod privileges;
mod qemu;
mod races;
mod syslog;
mod time;

use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, as_user};
use crate::common::{Run, bin, command, eventually, needs, run, test_name};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::{fs, thread};

/// A group that Alice is in, beside her own, which has her number.
const STAFF: u32 = 54330;

/// How the alias begins that a tap has for the user who has created it.
const CREATED_FOR: &str = "created by qemu-ifup for uid ";

/// Of the bridges that there are, br8 is not mentioned and br9 is denied. There is no br7, and lo is no bridge.
const RULES: &str = "allow br0\nallow br1\ndeny br9\nallow br9\nallow br7\nallow lo\n";

/// How qemu-ifup gets its privilege.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Capability,
    Setuid,
    NotAtAll,
}

struct Host {
    sandbox: Sandbox,
    programs: PathBuf,
}

impl Host {
    /// None, and the test counts as skipped, where this cannot be.
    fn new(way: Way) -> Option<Self> {
        if way == Way::Capability && !needs("setcap") {
            return None;
        }
        let sandbox = Sandbox::new()?;
        sandbox.etc("qemu/bridge.conf", RULES);
        for bridge in ["br0", "br1", "br8", "br9"] {
            sandbox.bridge_up(bridge);
        }
        let host = Self {
            programs: sandbox.dir().join("bin"),
            sandbox,
        };
        let privilege = match way {
            Way::Capability => "setcap cap_net_admin+ep \"$DIR/bin/qemu-ifup\"",
            Way::Setuid => "chmod u+s \"$DIR/bin/qemu-ifup\"",
            Way::NotAtAll => ":",
        };
        host.sandbox.sh(&format!(
            "echo alice:x:{ALICE}:{ALICE}::/:/bin/sh >>/etc/passwd
             mkdir \"$DIR/bin\"
             cp {} {} \"$DIR/bin\"
             {privilege}",
            bin("qemu-ifup").display(),
            bin("qemu-ifdown").display(),
        ));
        Some(host)
    }

    /// Alice's call of one of the two programs.
    fn call(&self, program: &str, args: &[impl AsRef<OsStr>]) -> Command {
        self.call_with(&[], program, args)
    }

    /// The same with more options of setpriv(1).
    fn call_with(&self, options: &[&str], program: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let mut call = as_alice(options);
        call.arg(self.programs.join(program)).args(args);
        call
    }

    /// Alice's shell runs a script, in which `"$@"` is the call.
    fn call_in_sh(&self, script: &str, program: &str, args: &[&str]) -> Command {
        let mut call = as_alice(&[]);
        call.args(["sh", "-c", script, "sh"]);
        call.arg(self.programs.join(program)).args(args);
        call
    }

    fn ifup(&self, args: &[&str]) -> Run {
        run(&mut self.call("qemu-ifup", args))
    }

    fn ifdown(&self, args: &[&str]) -> Run {
        run(&mut self.call("qemu-ifdown", args))
    }

    /// Alice's call is refused for this reason, and nothing has changed.
    fn assert_refused(&self, program: &str, args: &[&str], code: i32, reason: &str) {
        let before = self.sandbox.snapshot();
        let refused = run(&mut self.call(program, args));
        assert_says(&refused, code, reason, &format!("{program} {args:?}"));
        self.sandbox.assert_unchanged(&before);
    }

    /// The tap is Alice's, up and in the bridge.
    fn assert_up(&self, tap: &str, bridge: &str) {
        let link = self.sandbox.link(tap).unwrap_or_else(|| panic!("no {tap}"));
        assert_eq!(link["linkinfo"]["info_data"]["user"], "alice", "{link:#}");
        assert_eq!(link["master"], bridge, "{link:#}");
        assert!(is_up(&link), "{link:#}");
    }

    /// Root deletes the tap that a test has created.
    fn delete(&self, tap: &str) {
        self.sandbox.sh(&format!("ip link del {tap}"));
    }

    /// Another user's call of one of the two programs.
    fn call_of(&self, uid: u32, program: &str, args: &[&str]) -> Run {
        run(as_user(uid, uid, self.programs.join(program)).args(args))
    }

    /// Root's call of one of the two programs.
    fn roots(&self, program: &str, args: &[&str]) -> Run {
        run(command(self.programs.join(program)).args(args))
    }
}

/// A command of Alice's, to be completed.
fn as_alice(options: &[&str]) -> Command {
    let mut command = command("setpriv");
    command.args(["--reuid", &ALICE.to_string(), "--regid", &ALICE.to_string()]);
    command.args(["--groups", &STAFF.to_string()]);
    command.args(options).arg("--");
    command
}

/// Runs the test on a host with setcap'd programs and on one with setuid programs, side by side.
fn both_ways(test: impl Fn(&Host) + Sync) {
    let (name, test) = (test_name(), &test);
    thread::scope(|scope| {
        for (way, word) in [(Way::Capability, "setcap"), (Way::Setuid, "setuid")] {
            // A sandbox takes the whole thread.
            let thread = thread::Builder::new().name(format!("{name} ({word})"));
            let body = move || {
                if let Some(host) = Host::new(way) {
                    test(&host);
                }
            };
            thread.spawn_scoped(scope, body).unwrap();
        }
    });
}

fn assert_done(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

/// It ended with this code, and its first line is a message with this reason.
fn assert_says(run: &Run, code: i32, reason: &str, what: &str) {
    assert_eq!(run.code, code, "{what}: {run:?}");
    let line = run.stderr.lines().next().unwrap_or_default();
    assert!(line.starts_with("qemu-if"), "{what}: {run:?}");
    assert!(line.contains(reason), "{what}: {reason}? {run:?}");
}

/// Runs it to its end with this as its standard input, which [`run`] does not have.
fn run_with_stdin(call: &mut Command, stdin: impl Into<Stdio>) -> Run {
    call.stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = call.spawn().unwrap().wait_with_output().unwrap();
    // Ours is the last copy of the other's end now, and would keep the socket open.
    call.stdin(Stdio::null());
    ended(&output)
}

fn ended(output: &Output) -> Run {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap()),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Where QEMU's socket is for most of the calls below.
const AT_FIVE: &str = "5<&0 </dev/null";

/// Calls it as a helper, with a file at standard input that the shell moves to where the redirection says.
fn help(host: &Host, socket: impl Into<Stdio>, redirection: &str, args: &[&str]) -> Run {
    let script = format!("exec timeout 20 \"$@\" {redirection}");
    run_with_stdin(&mut host.call_in_sh(&script, "qemu-ifup", args), socket)
}

/// The taps go with their descriptors. A child that another test has just forked may have copies of these for a moment.
fn assert_gone(host: &Host, taps: &[String]) {
    let gone = || {
        let links = host.sandbox.links();
        (!links.iter().any(|link| taps.contains(link))).then_some(())
    };
    eventually(gone).unwrap_or_else(|| panic!("{taps:?} stay"));
}

/// The name of the tap that a descriptor has open.
fn tap_behind(descriptor: &OwnedFd) -> String {
    let info = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let name = info.lines().find_map(|line| line.strip_prefix("iff:\t"));
    name.unwrap_or_else(|| panic!("no tap: {info}")).to_owned()
}

/// A program that has been stopped in the middle of its work.
struct Stopped(Option<Child>);

impl Stopped {
    /// Starts a call under strace(1), which stops it by SIGSTOP right after its `nth` system call of that name.
    /// The tracer is root, who does not take the privilege away. None if it ends before.
    fn after(syscall: &str, nth: u32, call: &Command, stdin: impl Into<Stdio>) -> Option<Self> {
        let mut strace = command("strace");
        // -D: the program, not strace, is our child.
        strace.args(["-D", "-qq", "-o", "/dev/null", "-e"]);
        strace.args([format!("trace={syscall}"), "-e".to_owned()]);
        strace.arg(format!("inject={syscall}:signal=STOP:when={nth}"));
        strace
            .arg("--")
            .arg(call.get_program())
            .args(call.get_args());
        strace
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let stopped = Self(Some(strace.spawn().unwrap()));
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let pid = nix::unistd::Pid::from_raw(stopped.pid().try_into().unwrap());
        let status = waitid(Id::Pid(pid), flags).unwrap();
        matches!(status, WaitStatus::Stopped(..)).then_some(stopped)
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Lets it go on, to its end.
    fn go_on(mut self) -> Run {
        let child = self.0.take().unwrap();
        let sent = run(command("kill").args(["-CONT", &child.id().to_string()]));
        assert_done(&sent);
        ended(&child.wait_with_output().unwrap())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
