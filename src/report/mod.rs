//! Messages: stderr for the caller, syslog for later; LOG_AUTH for what users are refused.

mod syslog;

use std::fmt::Display;
use std::io::{self, Write};

use ::syslog::{Facility, Severity};
use nix::unistd::Uid;

use crate::config::program::{Program, Verbosity};
use crate::error::Error;
use crate::error::advice::{Advice, Reader};
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;
use crate::plan::outcome::Outcome;
use crate::plan::step::Step;
use crate::policy::caller::Caller;

/// Tells people what happens. Nothing here can fail: a closed stderr or a missing syslogd must not stop the work.
#[derive(Debug)]
pub(crate) struct Reporter {
    program: Program,
    verbosity: Verbosity,
    tap: Option<IfName>,
    caller: Option<u32>,
    reader: Reader,
}

impl Reporter {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            verbosity: Verbosity::Normal,
            tap: None,
            caller: None,
            reader: Reader(None),
        }
    }

    /// From here on, the log names this user.
    pub(crate) fn set_uid(&mut self, uid: Uid) {
        self.caller = Some(uid.as_raw());
    }

    /// From here on, the messages are for this caller.
    pub(crate) fn set_caller(&mut self, caller: &Caller) {
        self.reader = caller.reader();
    }

    /// From here on, this much is printed, and the messages are about this tap, if it is known.
    pub(crate) fn configure(&mut self, verbosity: Verbosity, tap: Option<IfName>) {
        self.verbosity = verbosity;
        self.tap = tap;
    }

    /// From here on, the messages are about this tap.
    pub(crate) fn set_tap(&mut self, tap: IfName) {
        self.tap = Some(tap);
    }

    /// An error, and what to do about it.
    pub(crate) fn error(&self, error: &Error) {
        let mut text = self.line(error);
        for hint in error.hints() {
            let hint = hint.for_reader(self.reader);
            text += &format!("\n{}: hint: {hint}", self.program.name());
        }
        Self::to_stderr(&text);
        // Refusals are for those who watch over users.
        if error.exit_code() == ExitCode::NotPermitted {
            self.log(Facility::LOG_AUTH, Severity::LOG_NOTICE, error);
        } else {
            self.log(Facility::LOG_DAEMON, Severity::LOG_ERR, error);
        }
    }

    /// Something worth knowing that is not an error.
    pub(crate) fn notice(&self, notice: impl Into<Advice>) {
        if self.verbosity != Verbosity::Quiet {
            let text = notice.into().for_reader(self.reader);
            Self::to_stderr(&self.line(&text));
        }
    }

    /// Something that those who watch over users should know.
    pub(crate) fn security(&self, notice: &impl Display) {
        self.log(Facility::LOG_AUTH, Severity::LOG_WARNING, notice);
    }

    /// A step that is done to this tap, as the command that does the same.
    pub(crate) fn step(&self, tap: IfName, step: &Step) {
        if self.verbosity == Verbosity::Verbose {
            Self::to_stderr(&step.ip_command(tap));
        }
    }

    pub(crate) fn done(&self, outcome: Outcome) {
        self.log(Facility::LOG_DAEMON, Severity::LOG_INFO, &outcome);
    }

    /// One write for each message, so that those of several programs do not mix. If nobody can read it, so be it.
    fn to_stderr(text: &str) {
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
    }

    fn line(&self, text: &impl Display) -> String {
        format!("{}: {}", self.program.name(), self.with_tap(text))
    }

    fn with_tap(&self, text: &impl Display) -> String {
        match self.tap {
            Some(tap) => format!("{tap}: {text}"),
            None => text.to_string(),
        }
    }

    /// One line, with what an administrator looks for: the tap, the caller, and which process that was (QEMU's).
    fn log(&self, facility: Facility, severity: Severity, text: &impl Display) {
        syslog::send(facility, severity, self.program.name(), || {
            let parent = std::os::unix::process::parent_id();
            let caller = match self.caller {
                Some(uid) => format!(" (uid {uid}, called by pid {parent})"),
                None => format!(" (called by pid {parent})"),
            };
            self.with_tap(text) + &caller
        });
    }
}

/// Prints what was asked for.
pub(crate) fn to_stdout(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| Error::WriteOutput(error.into()))
}
