//! No second process.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, run};
use std::fs;

#[test]
fn no_run_of_either_program_starts_a_process() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let log = s.dir().join("log");
    for (program, args) in [
        ("qemu-ifup", "--create-bridge --address 10.0.0.1/24 tap0"),
        ("qemu-ifup", "--isolated --multi-queue tap1"),
        ("qemu-ifdown", "tap0"),
        ("qemu-ifdown", "--delete tap0"),
    ] {
        let mut strace = command("strace");
        strace.args(["-f", "-e", "trace=process", "-o"]).arg(&log);
        let run = run(strace.arg(bin(program)).args(args.split(' ')));
        assert_eq!(run.code, 0, "{run:?}");
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains("execve("), "{log}");
        for call in ["fork(", "clone(", "clone3("] {
            assert!(!log.contains(call), "{program} {args}: {log}");
        }
    }
}
