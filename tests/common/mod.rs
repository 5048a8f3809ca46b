//! What the test binaries share: how a program is run, and in the modules a sandbox with a network of its own, a QEMU in it, and
//! the tools to look at both.

pub mod fds;
pub mod interfaces;
pub mod json;
pub mod qemu;
pub mod sandbox;
pub mod security;
pub mod strace;
pub mod users;
mod watch;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything here takes; what is not done by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: from `QEMU_IFUP_BIN_DIR` (an installed or a release build), else the one cargo just built.
pub fn bin(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("QEMU_IFUP_BIN_DIR") {
        return Path::new(&dir).join(name);
    }
    match name {
        "qemu-ifup" => env!("CARGO_BIN_EXE_qemu-ifup").into(),
        "qemu-ifdown" => env!("CARGO_BIN_EXE_qemu-ifdown").into(),
        _ => panic!("no program {name}"),
    }
}

/// Says that a test cannot run here. Where every test has to run (`QEMU_IFUP_NO_SKIP=1`) that is a failure.
pub fn skip(name: &str, why: &str) {
    assert!(
        std::env::var_os("QEMU_IFUP_NO_SKIP").is_none_or(|v| v != "1"),
        "cannot run {name}: {why}"
    );
    // Not eprintln!, which the test harness keeps to itself when the test passes.
    let _ = writeln!(io::stderr(), "SKIPPED {name}: {why}");
}

/// The name of the test that runs in this thread.
pub fn test_name() -> String {
    thread::current().name().unwrap_or("a test").to_owned()
}

/// Is the program in PATH?
pub fn have(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The same, and where it is not, that is said: a test cannot run here.
pub fn needs(program: &str) -> bool {
    if !have(program) {
        skip(&test_name(), &format!("needs {program}"));
    }
    have(program)
}

/// Are the programs under test static, as they are shipped? Others need descriptors and files before they start.
pub fn needs_static() -> bool {
    let is_static = is_static(&bin("qemu-ifup"));
    if !is_static {
        let why = "needs static programs: QEMU_IFUP_BIN_DIR=$(./install.sh --build)";
        skip(&test_name(), why);
    }
    is_static
}

/// What ldd says.
pub fn is_static(program: &Path) -> bool {
    let said = run(command("ldd").arg(program));
    let said = said.stdout + &said.stderr;
    let is_static = said.contains("statically linked") || said.contains("not a dynamic executable");
    assert_ne!(is_static, said.contains("=>"), "{said}");
    is_static
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// The exit code, or as in a shell 128 + the signal that ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that does not see who called `sudo` for the tests: that would decide who owns a tap.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "SUDO_UID",
        "SUDO_GID",
        "SUDO_USER",
        "PKEXEC_UID",
        "DOAS_USER",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end and takes its output. One that hangs is killed and fails the test.
pub fn run(command: &mut Command) -> Run {
    run_with_input(command.stdin(Stdio::null()))
}

/// The same with a standard input that it has already.
pub fn run_with_input(command: &mut Command) -> Run {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child).unwrap_or_else(|| panic!("{command:?} does not end"));
    Run {
        code: code(status),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Waits for a child; one that does not end in time is killed, and None returned.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let status = eventually(|| child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// Asks again and again until there is an answer, or patience ends.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
