//! strace(1), which shows what a program asks of the kernel, and makes any of it fail, or the last thing that it does.

use super::sandbox::Sandbox;
use super::{Run, bin, code, command, eventually, run};
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// A system call of a run, by its name and how many of that name came before it: this is how strace counts.
pub struct Call {
    pub name: String,
    pub nth: usize,
    /// The line that strace prints.
    pub line: String,
}

impl Call {
    /// What makes strace do something to this call: `error=EPERM`, `signal=SIGKILL`.
    pub fn inject(&self, what: &str) -> String {
        format!("inject={}:{what}:when={}", self.name, self.nth)
    }
}

/// The calls in what `strace -o` has written.
pub fn calls_in(log: &str) -> Vec<Call> {
    let mut counts = HashMap::new();
    let calls = log.lines().filter_map(|line| {
        let (name, _) = line.split_once('(').filter(|(name, _)| !name.is_empty())?;
        let nth: &mut usize = counts.entry(name.to_owned()).or_default();
        *nth += 1;
        Some(Call {
            name: name.to_owned(),
            nth: *nth,
            line: line.to_owned(),
        })
    });
    calls.collect()
}

/// All system calls of one run, which has to succeed.
pub fn calls(s: &Sandbox, program: &str, args: &[&str]) -> Vec<Call> {
    let log = s.dir().join("calls");
    let traced = run(command("strace")
        .arg("-o")
        .arg(&log)
        .arg(bin(program))
        .args(args));
    assert_eq!(traced.code, 0, "{traced:?}");
    calls_in(&fs::read_to_string(log).unwrap())
}

/// The place of the call whose line has this in it.
pub fn place_of(calls: &[Call], text: &str) -> usize {
    let found = calls.iter().position(|call| call.line.contains(text));
    found.unwrap_or_else(|| panic!("no call with {text}"))
}

/// Stops a program in one of its system calls (which is also made to fail if `error` says so: `error=EPERM:`), does
/// something, and lets it go on.
pub fn interrupted(
    s: &Sandbox,
    call: &Call,
    error: &str,
    (program, args): (&str, &[&str]),
    then: impl FnOnce(),
) -> Run {
    let log = s.dir().join("stops");
    let _ = fs::remove_file(&log);
    // -D: the child is the program, and strace its grandchild.
    let mut child = command("strace")
        .args(["-D", "-o"])
        .arg(&log)
        .arg("-e")
        .arg(call.inject(&format!("{error}signal=SIGSTOP")))
        .arg(bin(program))
        .args(args)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(s.dir().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let stops = eventually(|| {
        let said = fs::read_to_string(&log).unwrap_or_default();
        said.contains("stopped by SIGSTOP").then_some(())
    });
    stops.unwrap_or_else(|| panic!("no stop at {}", call.line));
    then();
    s.sh(&format!("kill -CONT {}", child.id()));
    let status = eventually(|| child.try_wait().unwrap()).expect("it does not end");
    Run {
        code: code(status),
        stdout: String::new(),
        stderr: fs::read_to_string(s.dir().join("stderr")).unwrap(),
    }
}
