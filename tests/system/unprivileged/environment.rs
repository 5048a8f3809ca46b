//! Attacks: arguments, environment, descriptors, limits.

use crate::common::sandbox::lines;
use crate::common::users::{ALICE, BOB};
use crate::common::{Run, command, needs_static, run};
use crate::unprivileged::{as_alice, assert_done, assert_says, both_ways};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Alice's execve(2) with exactly these arguments, the program's own name included.
fn execve(program: &Path, argv: &[&str]) -> Run {
    let path = CString::new(program.as_os_str().as_bytes()).unwrap();
    let words: Vec<CString> = argv.iter().map(|w| CString::new(*w).unwrap()).collect();
    let mut call = command("/nonexistent");
    call.uid(ALICE).gid(ALICE);
    let instead = move || {
        // It need not grow, so that nothing is allocated after the fork.
        let mut argv = [std::ptr::null(); 4];
        for (to, from) in argv.iter_mut().zip(&words) {
            *to = from.as_ptr();
        }
        let nothing = [std::ptr::null()];
        // SAFETY: all strings end with NUL and both lists with a null pointer, and they outlive the call.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), nothing.as_ptr()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { call.pre_exec(instead) };
    run(&mut call)
}

#[test]
fn an_empty_or_absent_argv0_is_nothing_special() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            let path = host.programs.join(program);
            for argv in [&[][..], &[""], &["../../etc/passwd"]] {
                assert_says(
                    &execve(&path, argv),
                    2,
                    "IFNAME is missing",
                    &format!("{argv:?}"),
                );
            }
        }
        host.sandbox.assert_unchanged(&before);
        for argv0 in ["", "qemu-ifdown", "\u{1b}[2J"] {
            assert_done(&execve(&host.programs.join("qemu-ifup"), &[argv0, "tap0"]));
            host.assert_up("tap0", "br0");
            let down = host.programs.join("qemu-ifdown");
            assert_done(&execve(&down, &[argv0, "--delete", "tap0"]));
        }
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn closed_standard_descriptors_change_nothing() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let script = format!("exec \"$@\" {closed}");
            let call = |program, args: &[&str]| run(&mut host.call_in_sh(&script, program, args));
            assert_done(&call("qemu-ifup", &["-v", "tap0"]));
            host.assert_up("tap0", "br0");
            // Had a message gone to a descriptor that is now the tap's, it would have been sent into the bridge.
            let tap = host.sandbox.ip(&["-s", "link", "show", "dev", "tap0"]);
            assert_eq!(tap[0]["stats64"]["rx"]["packets"], 0, "{closed}");
            assert_done(&call("qemu-ifdown", &["-v", "--delete", "tap0"]));
            assert_eq!(
                call("qemu-ifup", &["-b", "br9", "tap0"]).code,
                3,
                "{closed}"
            );
            host.sandbox.assert_unchanged(&before);
        }
    });
}

/// With each of these limits the program does all of it or nothing, and a signal does not end it.
#[test]
fn tight_limits_stop_it_before_it_starts_or_not_at_all() {
    if !needs_static() {
        return;
    }
    // With less than three, libc itself ends a privileged program before it starts.
    let descriptors = (3..9).map(|n| format!("--nofile={n}"));
    let others = [
        "--fsize=0",
        "--nproc=0",
        "--core=0",
        "--memlock=0",
        "--msgqueue=0",
    ];
    let limits: Vec<String> = descriptors.chain(others.map(str::to_owned)).collect();
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let mut done = 0;
        for limit in &limits {
            let limited = |program, args: &[&str]| {
                let script = format!("exec prlimit {limit} \"$@\"");
                run(&mut host.call_in_sh(&script, program, args))
            };
            let up = limited("qemu-ifup", &["-v", "tap0"]);
            if up.code == 0 {
                done += 1;
                host.assert_up("tap0", "br0");
                host.delete("tap0");
            } else {
                assert_says(&up, up.code, "qemu-ifup: ", limit);
            }
            host.sandbox.assert_unchanged(&before);
            let refused = limited("qemu-ifup", &["-b", "br9", "tap0"]);
            assert!((1..10).contains(&refused.code), "{limit}: {refused:?}");
            host.sandbox.assert_unchanged(&before);
        }
        assert!(done >= 6, "the limits are tighter than meant: {done}");
        // Standard descriptors only: there is no room for the first socket.
        let script = "exec prlimit --nofile=3 \"$@\"";
        let refused = run(&mut host.call_in_sh(script, "qemu-ifup", &["tap0"]));
        assert_says(&refused, 7, "Too many open files", "nofile=3");
    });
}

#[test]
fn a_message_to_a_file_that_may_not_grow_does_not_end_it_half_way() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let file = host.sandbox.dir().join("stderr");
        host.sandbox
            .sh("touch \"$DIR/stderr\"; chmod 666 \"$DIR/stderr\"");
        // SIGXFSZ ends whoever does not expect it.
        let script = format!("ulimit -f 0; exec \"$@\" 2>{0} >{0}", file.display());
        let call = |program, args: &[&str]| run(&mut host.call_in_sh(&script, program, args)).code;
        for args in [&["-v", "-b", "br1", "tap0"][..], &["-v", "tap0"]] {
            assert_eq!(call("qemu-ifup", args), 0, "{args:?}");
        }
        host.assert_up("tap0", "br1");
        assert_eq!(call("qemu-ifup", &["-b", "br0", "tap0"]), 5);
        assert_eq!(call("qemu-ifup", &["-b", "br9", "tap1"]), 3);
        assert_eq!(call("qemu-ifup", &["--help"]), 1, "it cannot be written");
        assert_eq!(call("qemu-ifdown", &["-v", "--delete", "tap0"]), 0);
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn too_little_memory_leaves_nothing_half_done() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let mut outcomes = BTreeSet::new();
        for kilobytes in [
            64, 512, 600, 650, 700, 720, 740, 760, 800, 900, 1000, 2000, 4000, 1_000_000,
        ] {
            let script = format!("exec prlimit --as={} \"$@\"", kilobytes * 1024);
            let up = run(&mut host.call_in_sh(&script, "qemu-ifup", &["tap0"]));
            outcomes.insert(up.code == 0);
            if up.code == 0 {
                host.assert_up("tap0", "br0");
                host.delete("tap0");
            }
            host.sandbox.assert_unchanged(&before);
        }
        assert_eq!(outcomes.len(), 2, "one of these is enough and one is not");
    });
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let variables = "SUDO_UID=0 SUDO_GID=0 SUDO_USER=root PKEXEC_UID=0 PKEXEC_UID=54322 DOAS_USER=root SUDO_UID=x \
        TZ=:/dev/tty TZ=../../../../dev/zero LANG=../../tmp LC_ALL=xx_XX.UTF-8 LANGUAGE=\u{1b}[2J \
        RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=99999999999999 \
        LD_PRELOAD=/nonexistent/evil.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/nonexistent/evil.so LD_DEBUG=all \
        GCONV_PATH=/tmp GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_CHECK_=3 MALLOC_TRACE=/tmp/trace \
        RESOLV_HOST_CONF=/etc/shadow PATH=/tmp IFS=/ HOME=/root TMPDIR=/root";
    let long = format!("A={}", "x".repeat(100_000));
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        let before = host.sandbox.snapshot();
        let each = variables.split_whitespace().map(|variable| vec![variable]);
        for some in each.chain([variables.split_whitespace().collect(), vec![long.as_str()]]) {
            // By env(1), since for setpriv itself some of these mean something.
            let with = |program: &str, args: &[&str]| {
                let mut call = as_alice(&[]);
                call.arg("/usr/bin/env").args(&some);
                run(call.arg(host.programs.join(program)).args(args))
            };
            let up = with("qemu-ifup", &["tap0"]);
            assert_eq!((up.code, up.stderr.as_str()), (0, ""), "{some:.200?}");
            host.assert_up("tap0", "br0");
            let refused = with("qemu-ifdown", &["--delete", "bobs"]);
            assert_says(&refused, 3, "bobs", "environment");
            let refused = with("qemu-ifup", &["--owner=0", "tap1"]);
            assert_says(&refused, 3, "only root", "environment");
            host.delete("tap0");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

/// Options with a value, and what would be one. The last two are an unknown option and IFNAME.
const WORDS: [&str; 9] = [
    "--bridge=",
    "--br=",
    "--owner=",
    "--group=",
    "--mtu=",
    "--fd=",
    "-b",
    "--",
    "",
];

/// What it has said cannot do anything to a terminal or a log, and is not a novel.
fn assert_tame(run: &Run, log: &[String], what: &str) {
    let printable = |line: &str| line.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    for line in run.stderr.lines() {
        assert!(
            printable(line) && line.starts_with("qemu-if"),
            "{what}: {line:?}"
        );
    }
    assert!(!run.stderr.contains('\r'), "{what}: {run:?}");
    assert!(
        run.stderr.len() < 2000,
        "{what}: {} bytes",
        run.stderr.len()
    );
    assert_eq!(log.len(), 1, "{what}: {log:?}");
    assert!(printable(&log[0]), "{what}: {log:?}");
}

#[test]
fn escape_sequences_and_line_ends_reach_neither_the_terminal_nor_the_log() {
    let evil: [&[u8]; 8] = [
        b"\x1b[2J",
        b"a\nqemu-ifup: all is well",
        b"a\r\x1b]0;x\x07",
        b"\x9b31m",
        b"\xff\xfe",
        "\u{202e}pat".as_bytes(),
        b"\x7f\x08\x08",
        b"\x1b[2J\n\x1b[31mERROR very very long, longer than any name can be",
    ];
    both_ways(|host| {
        let log = host.sandbox.devlog();
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            for bytes in evil {
                for word in WORDS {
                    let word = [word.as_bytes(), bytes].concat();
                    // As IFNAME some would be taken, and a tap created: the denied bridge forbids that.
                    let mut args = vec![OsStr::from_bytes(&word)];
                    args.push(OsStr::new("tap0"));
                    if program == "qemu-ifup" && word == bytes {
                        args = vec!["-bbr9".as_ref(), args[0]];
                    } else if word == bytes {
                        args = vec![args[0]; 2];
                    }
                    let refused = run(&mut host.call(program, &args));
                    let what = format!("{program} {args:?}");
                    assert!(matches!(refused.code, 2 | 3), "{what}: {refused:?}");
                    assert_tame(&refused, &lines(&log), &what);
                }
            }
        }
        host.sandbox.assert_unchanged(&before);

        // A name that the kernel takes may be a tap's, and a bridge's.
        let name = "\u{1b}[2J";
        host.sandbox.sh(&format!(
            "ip tuntap add \"$(printf '\\033[2J')\" mode tap user {BOB}"
        ));
        let refused = host.ifdown(&[name]);
        assert_says(&refused, 3, r"\x1b[2J: ", "a tap");
        assert_tame(&refused, &lines(&log), "a tap");
        let shown = host.roots("qemu-ifup", &["-n", "tap\u{1b}[3J"]);
        assert_done(&shown);
        assert!(!shown.stdout.contains('\u{1b}'), "{shown:?}");
        host.sandbox.etc(
            "qemu/bridge.conf",
            "allow br0\nallow \u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\n",
        );
        let refused = host.ifup(&["tap0"]);
        assert_says(&refused, 8, "bridge.conf:2", "a rule");
        assert_tame(&refused, &lines(&log), "a rule");
    });
}

#[test]
fn arguments_of_a_hundred_kilobytes_are_refused_in_a_few_words() {
    both_ways(|host| {
        let log = host.sandbox.devlog();
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            for word in WORDS {
                for filling in ["A", "7", "\u{1b}"] {
                    let long = word.to_owned() + &filling.repeat(100_000);
                    let refused = run(&mut host.call(program, &[&long]));
                    let what = format!("{program} {word}{filling:?}...");
                    assert_eq!(refused.code, 2, "{what}: {:.300}", refused.stderr);
                    assert_tame(&refused, &lines(&log), &what);
                }
            }
            let many = vec!["-v"; 50_000];
            assert_says(
                &run(&mut host.call(program, &many)),
                2,
                "IFNAME is missing",
                "many",
            );
            lines(&log);
        }
        host.sandbox.assert_unchanged(&before);
    });
}
