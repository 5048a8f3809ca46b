//! A run is over within ten seconds, whatever its caller does to it: root's permission is not used later than that.

use crate::common::interfaces::info;
use crate::common::json::steady;
use crate::common::users::ALICE;
use crate::common::{Run, command, eventually, needs, run};
use crate::unprivileged::{AT_FIVE, Host, as_alice, assert_says, both_ways};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;
use std::fs;
use std::io::{PipeReader, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a run has, and a little more.
const OVER: Duration = Duration::from_millis(10_400);

/// The exit code of a run whose time is over.
const TIMED_OUT: i32 = 9;

/// The words that start a program as root, and those that start one as Alice.
type How<'a> = (&'a [&'a str], &'a [&'a str]);

/// A run that its user has stopped.
struct Standing {
    child: Child,
    /// Its own: the child may be unshare(1).
    pid: String,
    tap: String,
    what: String,
    log: PathBuf,
    /// The tap as it was when the run was stopped.
    seen: Option<Value>,
}

/// The tap, without what follows its carrier.
fn look(host: &Host, tap: &str) -> Option<Value> {
    let mut link = host.sandbox.link(tap)?;
    steady(&mut link);
    Some(link)
}

impl Standing {
    /// Starts a run, all of whose system calls are written down, and stops it after its `nth` one of that name. `outer` starts
    /// a program as root, `inner` as Alice. None if it ends before.
    fn after(
        host: &Host,
        (syscall, nth): (&str, usize),
        (outer, inner): How<'_>,
        tap: &str,
    ) -> Option<Self> {
        let log = host.sandbox.dir().join(format!("calls of {tap}"));
        let mut strace = command("strace");
        // -D: the program, not strace, is our child.
        strace.args(["-f", "-D", "-q", "-o"]).arg(&log);
        strace.args([
            "-e",
            &format!("inject={syscall}:signal=STOP:when={nth}"),
            "--",
        ]);
        strace.args(outer);
        let alice = as_alice(&[]);
        strace.arg(alice.get_program()).args(alice.get_args());
        strace
            .args(inner)
            .arg(host.programs.join("qemu-ifup"))
            .args(["-v", tap]);
        strace
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = strace.spawn().unwrap();
        let pid = eventually(|| {
            let calls = fs::read_to_string(&log).unwrap_or_default();
            let stop = calls
                .lines()
                .find(|line| line.contains("stopped by SIGSTOP"));
            let pid = stop.map(|line| line.split_whitespace().next().unwrap().to_owned());
            (pid.is_some() || child.try_wait().unwrap().is_some()).then_some(pid)
        });
        let pid = pid.expect("it neither stops nor ends")?;
        Some(Self {
            seen: look(host, tap),
            child,
            pid,
            tap: tap.to_owned(),
            what: format!("{outer:?} {inner:?} {syscall} {nth}"),
            log,
        })
    }

    /// Lets it go on. Its exit code, and the system calls that it made after that.
    fn go_on(mut self) -> (i32, Vec<String>) {
        crate::unprivileged::assert_done(&run(command("kill").args(["-CONT", &self.pid])));
        let status = eventually(|| self.child.try_wait().unwrap()).expect("it does not end");
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap());
        let calls = fs::read_to_string(&self.log).unwrap();
        let own = calls.lines().filter_map(|line| {
            let (pid, call) = line.split_once(' ')?;
            (pid == self.pid).then(|| call.trim_start().to_owned())
        });
        let after = own.skip_while(|call| !call.contains("stopped by SIGSTOP"));
        let calls = after.filter(|call| !call.starts_with("---") && !call.starts_with("+++"));
        (code, calls.collect())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let _ = run(command("kill").args(["-KILL", &self.pid]));
        let _ = self.child.wait();
    }
}

/// Makes every write to the other end wait.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, mut writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'x'; 512]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer.into())
}

/// All stand still side by side, so that the ten seconds pass once.
#[test]
fn a_run_that_stands_still_for_ten_seconds_changes_nothing_more() {
    if !needs("strace") {
        return;
    }
    // With SIGALRM ignored and blocked by the parent, and as pid 1, for which the kernel ignores what has no handler.
    let deaf: &[&str] = &["env", "--ignore-signal=ALRM", "--block-signal=ALRM"];
    let first: &[&str] = &["unshare", "--pid", "--fork", "--kill-child"];
    let cases: [(How<'_>, &[&str]); 4] = [
        ((&[], &[]), &["sendto", "ioctl", "write"]),
        ((&[], deaf), &["sendto"]),
        ((first, &[]), &["ioctl"]),
        ((first, deaf), &["sendto"]),
    ];
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        // Runs that wait for someone to read what they say, one of which is stopped as well.
        let (reader, full) = full_pipe();
        let talk = |tap: &str| {
            let mut call = host.call("qemu-ifup", &["-v", tap]);
            call.stdin(Stdio::null()).stdout(Stdio::null());
            call.stderr(full.try_clone().unwrap()).spawn().unwrap()
        };
        let mut talking = [talk("tap100"), talk("tap101")];
        let stopped = talking[1].id().to_string();
        thread::sleep(Duration::from_millis(200));
        crate::unprivileged::assert_done(&run(command("kill").args(["-STOP", &stopped])));

        let mut standing = Vec::new();
        for (how, syscalls) in cases {
            for syscall in syscalls {
                // A change of the settings and nothing more.
                let most = if how.0.is_empty() && how.1.is_empty() {
                    40
                } else {
                    6
                };
                let mut stops = 0;
                for nth in 1..=most {
                    let tap = format!("tap{}", standing.len());
                    let run = Standing::after(host, (syscall, nth), how, &tap);
                    let Some(run) = run else {
                        host.sandbox.try_sh(&format!("ip link del {tap}"));
                        break;
                    };
                    stops += 1;
                    standing.push(run);
                }
                assert!(stops > 1, "{how:?}: not stopped in {syscall}");
            }
        }
        assert!(
            standing.iter().any(|run| run.seen.is_some()),
            "no tap was there"
        );
        thread::sleep(OVER);

        let mut wrong = Vec::new();
        for run in standing {
            let (tap, what, seen) = (run.tap.clone(), run.what.clone(), run.seen.clone());
            let (code, calls) = run.go_on();
            // strace(1) may write it in two lines, where there are two processes.
            let exit = format!("exit_group({TIMED_OUT}");
            let is_end = |call: &String| call.starts_with(&exit) || call.contains("... exit_group");
            let end = calls.iter().all(is_end);
            // One that is persistent is complete, and stays.
            let is_persistent = |link: &Value| link["linkinfo"]["info_data"]["persist"] == true;
            let stays = seen.as_ref().is_some_and(is_persistent);
            let is_unchanged = look(host, &tap) == if stays { seen } else { None };
            if code != TIMED_OUT || !end || !is_unchanged {
                let name = |call: &String| call.split('(').next().unwrap().to_owned();
                let calls: Vec<_> = calls.iter().take(4).map(name).collect();
                wrong.push(format!("{what}: exit code {code}, and then {calls:?}"));
            }
            host.sandbox.try_sh(&format!("ip link del {tap}"));
        }
        assert_eq!(wrong, Vec::<String>::new(), "they went on");

        crate::unprivileged::assert_done(&run(command("kill").args(["-CONT", &stopped])));
        for child in &mut talking {
            let ended = (0..500).find_map(|_| {
                thread::sleep(Duration::from_millis(1));
                child.try_wait().unwrap()
            });
            let _ = child.kill();
            let code = ended.map(|status| status.code());
            assert_eq!(code, Some(Some(TIMED_OUT)), "with a full pipe as stderr");
        }
        drop(reader);
        host.sandbox.assert_unchanged(&before);
    });
}

/// A permission is looked up once, and so is used once.
#[test]
fn a_user_names_one_tap_in_a_call() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for names in [
            &["tap0", "tap1"][..],
            &["-n", "tap0", "tap1"],
            &["tap0", "tap0"],
            &["tap0", "tap1", "tap2"],
        ] {
            let refused = host.ifup(names);
            assert_eq!(refused.code, 2, "{names:?}: {refused:?}");
            host.sandbox.assert_unchanged(&before);
        }
        // Root's are as many as they like.
        let roots = host.roots("qemu-ifup", &["tap0", "tap1"]);
        assert_eq!(roots.code, 0, "{roots:?}");
        assert_eq!(info(&host.sandbox, "tap1")["user"], "root");
    });
}

/// To wait takes longer than a permission lasts, and no privilege: what is left is to look, and to close the descriptor.
#[test]
fn a_run_that_waits_for_its_port_has_no_privilege_and_all_the_time_that_it_was_given() {
    both_ways(|host| {
        let s = &host.sandbox;
        s.sh("ip link del br0
              ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 3000
              ip link set br0 addrgenmode none up");
        let before = s.snapshot();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let script = format!("exec \"$@\" {AT_FIVE}");
        let args = ["--wait", "12", "--br=br0", "--fd=5", "tap0"];
        let mut helper = host.call_in_sh(&script, "qemu-ifup", &args);
        let start = Instant::now();
        helper.stdin(OwnedFd::from(theirs));
        let helper = helper.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = helper.spawn().unwrap();
        // Ours is the last copy of the other end now, and would keep the socket open.
        helper.stdin(Stdio::null());
        let up = eventually(|| {
            let link = s.link("tap0")?;
            crate::common::json::is_up(&link).then_some(())
        });
        up.expect("tap0 does not go up");
        let capabilities = || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let sets = status.lines().filter_map(|line| {
                let (name, set) = line.split_once(":\t")?;
                ["CapPrm", "CapEff", "CapInh", "CapAmb"]
                    .contains(&name)
                    .then(|| u64::from_str_radix(set, 16).unwrap())
            });
            sets.fold(0, |all, set| all | set)
        };
        // What follows "up" is soon over.
        thread::sleep(Duration::from_secs(1));
        let uid = fs::metadata(format!("/proc/{}", child.id())).map(|m| {
            use std::os::unix::fs::MetadataExt;
            m.uid()
        });
        let left = capabilities();
        let status = eventually(|| child.try_wait().unwrap()).expect("it does not end");
        let output = child.wait_with_output().unwrap();
        let run = Run {
            code: status.code().unwrap_or(-1),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let took = start.elapsed();
        assert!(uid.is_ok_and(|uid| uid == ALICE || uid == 0));
        assert_eq!(left, 0, "capabilities while it waits");
        assert_says(&run, TIMED_OUT, "tap0", "not forwarding in time");
        assert!(took > Duration::from_millis(11_500), "{took:?}: {run:?}");
        assert_eq!(crate::common::fds::received(&ours).len(), 0);
        crate::unprivileged::assert_gone(host, &["tap0".to_owned()]);
        s.assert_unchanged(&before);
    });
}
