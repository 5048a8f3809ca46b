//! What is told, and where: stderr for whoever is watching, syslog for whoever comes later.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use crate::check::{Finding, Level};
use crate::cli::{Program, Verbosity};
use crate::error::{Error, ExitCode};
use crate::name::IfName;
use crate::plan::Outcome;
use crate::step::Step;

/// Where syslogd listens (syslog(3)).
const LOG_SOCKET: &str = "/dev/log";

/// Tells people what happens. Nothing here can fail: a closed stderr or a missing syslogd must not stop the work.
#[derive(Debug)]
pub struct Reporter {
    program: Program,
    verbosity: Verbosity,
    tap: Option<IfName>,
    caller: Option<u32>,
}

impl Reporter {
    /// A reporter that knows no more than which program it speaks for.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            verbosity: Verbosity::Normal,
            tap: None,
            caller: None,
        }
    }

    /// From here on, the log says that it is this user who asks.
    pub fn on_behalf_of(&mut self, uid: u32) {
        self.caller = Some(uid);
    }

    /// From here on, this much is printed, and the messages are about this tap, if it is known.
    pub fn speak(&mut self, verbosity: Verbosity, tap: Option<IfName>) {
        self.verbosity = verbosity;
        self.tap = tap;
    }

    /// From here on, the messages are about this tap.
    pub fn about(&mut self, tap: IfName) {
        self.tap = Some(tap);
    }

    /// An error, and what to do about it.
    pub fn error(&self, error: &Error) {
        let line = self.line(error);
        let mut text = line.clone();
        if let Some(hint) = error.hint() {
            text += &format!("\n{}: hint: {hint}", self.program.name());
        }
        to_stderr(&text);
        // Refusals are for whoever watches over users.
        if error.exit_code() == ExitCode::NotPermitted {
            self.log(Facility::LOG_AUTH, Severity::LOG_NOTICE, error);
        } else {
            self.log(Facility::LOG_DAEMON, Severity::LOG_ERR, error);
        }
    }

    /// Something worth knowing that is no error.
    pub fn notice(&self, notice: &impl std::fmt::Display) {
        if self.verbosity != Verbosity::Quiet {
            to_stderr(&self.line(notice));
        }
    }

    /// A step that is done to this tap, as the command that does the same.
    pub fn step(&self, tap: IfName, step: &Step) {
        if self.verbosity == Verbosity::Verbose {
            to_stderr(&step.command(tap));
        }
    }

    /// The work is done.
    pub fn done(&self, outcome: Outcome) {
        self.log(Facility::LOG_DAEMON, Severity::LOG_INFO, &outcome);
    }

    fn line(&self, text: &impl std::fmt::Display) -> String {
        format!("{}: {}", self.program.name(), self.about_tap(text))
    }

    fn about_tap(&self, text: &impl std::fmt::Display) -> String {
        match self.tap {
            Some(tap) => format!("{tap}: {text}"),
            None => text.to_string(),
        }
    }

    /// One line, with what an administrator looks for: the tap, who asked, and which process that was (QEMU's).
    fn log(&self, facility: Facility, severity: Severity, text: &impl std::fmt::Display) {
        // Containers have none, and to find that out by way of a socket takes three times as long.
        if !Path::new(LOG_SOCKET).exists() {
            return;
        }
        let formatter = Line {
            facility,
            tag: self.program.name(),
        };
        let Ok(mut logger) = syslog::unix_custom(formatter, LOG_SOCKET) else {
            return;
        };
        let parent = std::os::unix::process::parent_id();
        let caller = match self.caller {
            Some(uid) => format!(" (uid {uid}, for pid {parent})"),
            None => format!(" (for pid {parent})"),
        };
        send(&mut logger, severity, &(self.about_tap(text) + &caller));
    }
}

fn send(logger: &mut Logger<LoggerBackend, Line>, severity: Severity, text: &str) {
    // A full queue would otherwise hold us, and QEMU with us, for as long as syslogd sleeps.
    if let LoggerBackend::Unix(socket) = &logger.backend
        && socket.set_nonblocking(true).is_err()
    {
        return;
    }
    // A line that does not arrive is not worth a failure.
    let _ = logger.formatter.format(&mut logger.backend, severity, text);
}

/// The classic line without a time: every syslogd stamps what it receives with its own clock and time zone.
struct Line {
    facility: Facility,
    tag: &'static str,
}

impl LogFormat<&str> for Line {
    fn format<W: Write>(&self, to: &mut W, severity: Severity, text: &str) -> syslog::Result<()> {
        let priority = self.facility as u8 | severity as u8;
        let line = format!("<{priority}>{}[{}]: {text}", self.tag, std::process::id());
        to.write_all(line.as_bytes())?;
        to.flush()?;
        Ok(())
    }
}

/// One write for each message, so that those of several programs do not mix. If nobody can read it, so be it.
fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Prints what was asked for.
///
/// # Errors
/// It cannot be written.
pub fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints the answer of --check: a line for each finding, aligned, with the command that mends it below.
///
/// # Errors
/// It cannot be written.
pub fn findings(findings: &[Finding]) -> io::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    let in_colour =
        is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut text = String::new();
    for finding in findings {
        // Escape sequences of ECMA-48: bold red, bold yellow, green.
        let (word, colour) = match finding.level {
            Level::Ok => ("ok", "32"),
            Level::Warning => ("warning", "1;33"),
            Level::Problem(_) => ("problem", "1;31"),
        };
        let word = format!("{word:<7}");
        let word = if in_colour {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word
        };
        text += &format!("{word}  {:<13}  {}\n", finding.about, finding.what);
        if let Some(mend) = &finding.mend {
            text += &format!("{:22}-> {mend}\n", "");
        }
    }
    to_stdout(&text)
}
