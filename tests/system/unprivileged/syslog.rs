//! Whatever listens at /dev/log: it holds no run up, and it is told who made a mistake.

use crate::common::sandbox::lines;
use crate::common::users::ALICE;
use crate::common::{Run, run};
use crate::unprivileged::{Host, both_ways};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// A stream socket at /dev/log whose queue of connections is full, since nobody takes one out of it.
fn deaf_stream() -> Vec<OwnedFd> {
    let open = |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let address = UnixAddr::new("/dev/log").unwrap();
    let listener = open(SockFlag::SOCK_CLOEXEC);
    bind(listener.as_raw_fd(), &address).unwrap();
    fs::set_permissions("/dev/log", Permissions::from_mode(0o666)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut all = vec![listener];
    loop {
        let client = open(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
        if connect(client.as_raw_fd(), &address).is_err() {
            return all;
        }
        all.push(client);
    }
}

/// Within a second, with this exit code.
fn assert_quick(code: i32, what: &str, call: impl FnOnce() -> Run) {
    let start = Instant::now();
    let run = call();
    let took = start.elapsed();
    assert_eq!(run.code, code, "{what}: {run:?}");
    assert!(took < Duration::from_secs(1), "{what}: {took:?}");
}

#[test]
fn a_stream_at_dev_log_that_takes_no_connection_holds_no_run_up() {
    both_ways(|host| {
        let _log = deaf_stream();
        // What hangs is ended long before the patience of the other tests.
        let alice = |program, args: &[&str]| {
            let script = "exec timeout -s KILL 3 \"$@\"";
            run(&mut host.call_in_sh(script, program, args))
        };
        let root = |program: &str, args: &[&str]| {
            let mut call = crate::common::command("timeout");
            call.args(["-s", "KILL", "3"])
                .arg(host.programs.join(program));
            run(call.args(args))
        };
        assert_quick(0, "up", || alice("qemu-ifup", &["tap0"]));
        assert_quick(3, "refused", || alice("qemu-ifup", &["-b", "br9", "tap1"]));
        assert_quick(2, "usage", || alice("qemu-ifup", &["--frob"]));
        assert_quick(0, "delete", || alice("qemu-ifdown", &["--delete", "tap0"]));
        assert_quick(0, "root's up", || root("qemu-ifup", &["tap0"]));
        assert_quick(4, "root's failure", || {
            root("qemu-ifup", &["-b", "br7", "tap0"])
        });
        assert_quick(0, "root's down", || root("qemu-ifdown", &["tap0"]));
    });
}

#[test]
fn a_mistake_on_the_command_line_is_logged_with_the_callers_uid() {
    both_ways(|host: &Host| {
        let log = host.sandbox.devlog();
        for (program, args) in [
            ("qemu-ifup", &["--frob"][..]),
            ("qemu-ifup", &[]),
            ("qemu-ifup", &["tap%d"]),
            ("qemu-ifup", &["tap0", "tap1"]),
            ("qemu-ifup", &["--mtu", "x", "tap0"]),
            ("qemu-ifdown", &["--bridge", "br0", "tap0"]),
            ("qemu-ifdown", &[]),
        ] {
            let run = run(&mut host.call(program, args));
            assert_eq!(run.code, 2, "{args:?}: {run:?}");
            let said = lines(&log);
            let [line] = &said[..] else {
                panic!("{args:?}: {said:?}")
            };
            assert!(
                line.contains(&format!("(uid {ALICE}, ")),
                "{args:?}: {line}"
            );
        }
        assert_eq!(host.roots("qemu-ifup", &["--frob"]).code, 2);
        let said = lines(&log).concat();
        assert!(said.contains("(uid 0, "), "{said}");
    });
}
