//! Odd descriptors, limits and surroundings.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, needs_static, run};
use crate::expect::{assert_attached, assert_refused, sandbox};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

#[test]
fn no_descriptor_of_ours_gets_the_number_of_a_closed_standard_one() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    for (closed, opened) in [
        ("", 0),
        ("0<&-", 1),
        ("1>&-", 1),
        ("2>&-", 1),
        ("0<&- 2>&-", 2),
        ("<&- >&- 2>&-", 3),
    ] {
        let log = s.dir().join("log");
        // Without what the tests were started with, such as the lock of a flock(1).
        let script = format!("exec 3>&-; exec strace -o \"$LOG\" \"$IFUP\" tap0 {closed}");
        let run = run(command("sh")
            .args(["-euc", &script])
            .env("LOG", &log)
            .env("IFUP", bin("qemu-ifup")));
        assert_eq!(run.code, 0, "{closed}: {run:?}");
        let log = fs::read_to_string(log).unwrap();
        let ours = log.split_once("poll(").unwrap().1;
        let count = |text: &str| ours.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count("\"/dev/null\", O_RDWR"), opened, "{closed}: {ours}");
        let netlink = ours.lines().find(|line| line.contains("AF_NETLINK"));
        assert!(netlink.unwrap().ends_with(" = 3"), "{closed}: {netlink:?}");
        s.sh("ip link del tap0");
    }
}

#[test]
fn odd_surroundings_do_not_stop_the_work() {
    let Some(s) = sandbox() else { return };
    let cases = [
        "exec \"$IFUP\" tap0 <&- >&- 2>&-",
        "exec env -i \"$IFUP\" tap0",
        "exec env --block-signal --ignore-signal=PIPE \"$IFUP\" tap0",
        "mkdir \"$DIR/gone\"; cd \"$DIR/gone\"; rmdir \"$DIR/gone\"; exec \"$IFUP\" tap0",
        "umount -l /proc 2>/dev/null || mount -t tmpfs none /proc; exec \"$IFUP\" tap0",
        "ulimit -n 6; ulimit -f 0; ulimit -c 0; exec \"$IFUP\" tap0",
    ];
    for script in cases {
        let script = format!("IFUP='{}'\n{script}", bin("qemu-ifup").display());
        // A mount namespace for each, as one takes /proc away.
        let run = run(command("unshare")
            .args(["-m", "sh", "-euc", &script])
            .env("DIR", s.dir()));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{script}");
        assert_attached(&s, "tap0");
        s.sh("ip link del tap0");
    }
}

#[test]
fn without_room_for_descriptors_there_is_an_error_and_no_tap() {
    if !needs_static() {
        return;
    }
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for (limit, error) in [
        (3, "cannot open a netlink socket: Too many open files"),
        (4, "cannot read /etc/qemu-ifup.conf: Too many open files"),
    ] {
        let program = bin("qemu-ifup");
        let run = s.try_sh(&format!(
            "exec 3>&-; ulimit -n {limit}; exec '{}' tap0",
            program.display()
        ));
        assert_refused(&run, 7, &format!("qemu-ifup: tap0: {error}"), "");
    }
    s.assert_unchanged(&before);
}

#[test]
fn without_any_argument_not_even_its_own_name_it_asks_for_one() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let path = CString::new(bin(program).as_os_str().as_bytes()).unwrap();
        let mut child = command(bin(program));
        let without_arguments = move || {
            let nothing = [std::ptr::null()];
            // SAFETY: the path ends with a zero and both lists with a null pointer; none of them is changed.
            unsafe { libc::execve(path.as_ptr(), nothing.as_ptr(), nothing.as_ptr()) };
            Err(io::Error::last_os_error())
        };
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { child.pre_exec(without_arguments) };
        let error = format!("{program}: IFNAME is missing");
        assert_refused(&run(&mut child), 2, &error, "--help");
    }
    s.assert_unchanged(&before);
}

#[test]
fn output_that_nobody_gets_is_an_error() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for program in ["qemu-ifup", "qemu-ifdown"] {
        for option in ["--dry-run", "--help", "--version"] {
            s.try_sh("ip tuntap add tap1 mode tap && ip link set tap1 up");
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let (_, closed) = io::pipe().unwrap();
            for (stdout, reason) in [
                (Stdio::from(full), "No space left on device"),
                (Stdio::from(closed), "Broken pipe"),
            ] {
                let mut child = command(bin(program));
                let output = child.args([option, "tap1"]).stdout(stdout).output();
                let output = output.unwrap();
                let at = format!("{program} {option}: {output:?}");
                assert_eq!(output.status.code(), Some(1), "{at}");
                let stderr = String::from_utf8(output.stderr).unwrap();
                let said = format!("cannot write the output: {reason}\n");
                assert!(stderr.starts_with(program), "{at}");
                assert!(stderr.ends_with(&said), "{at}");
            }
        }
    }
    s.sh("ip link del tap1");
    s.assert_unchanged(&before);
}
