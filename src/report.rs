//! What is told, and where: stderr for whoever is watching, syslog for whoever comes later.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use crate::cli::{Program, Verbosity};
use crate::error::Error;
use crate::name::IfName;

/// Where syslogd listens (syslog(3)).
const LOG_SOCKET: &str = "/dev/log";

/// Tells people what happens. Nothing here can fail: a closed stderr or a missing syslogd must not stop the work.
#[derive(Debug)]
pub struct Reporter {
    program: Program,
    verbosity: Verbosity,
    tap: Option<IfName>,
}

impl Reporter {
    /// A reporter that knows no more than which program it speaks for.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            verbosity: Verbosity::Normal,
            tap: None,
        }
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
        self.log(Severity::LOG_ERR, error);
    }

    /// Something worth knowing that is no error.
    pub fn notice(&self, notice: &impl std::fmt::Display) {
        if self.verbosity != Verbosity::Quiet {
            to_stderr(&self.line(notice));
        }
    }

    /// A step that is done, as the command that does the same.
    pub fn step(&self, command: &str) {
        if self.verbosity == Verbosity::Verbose {
            to_stderr(command);
        }
    }

    /// The work is done.
    pub fn done(&self, what: &str) {
        self.log(Severity::LOG_INFO, &what);
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

    fn log(&self, severity: Severity, text: &impl std::fmt::Display) {
        let formatter = Line {
            facility: Facility::LOG_DAEMON,
            tag: self.program.name(),
        };
        let Ok(mut logger) = syslog::unix_custom(formatter, LOG_SOCKET) else {
            return;
        };
        send(&mut logger, severity, &self.about_tap(text));
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
