//! [`Finding`]: one line of the answer.

use crate::error::Error;
use crate::error::exit_code::ExitCode;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Some guests will not have all they expect.
    Warning,
    /// A guest will not start, or have no network; with the exit code that qemu-ifup has for it.
    Problem(ExitCode),
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub message: String,
    /// The command that fixes it.
    pub fix: Option<String>,
}

impl Finding {
    /// An error that qemu-ifup would end with.
    pub fn from_error(error: &Error) -> Self {
        Self {
            level: Level::Problem(error.exit_code()),
            subject: "qemu-ifup",
            message: error.to_string(),
            fix: error.hint(),
        }
    }
}

/// The exit code for these findings: that of the first problem.
pub fn exit_code(findings: &[Finding]) -> ExitCode {
    let problem = findings.iter().find_map(|finding| match finding.level {
        Level::Problem(code) => Some(code),
        Level::Ok | Level::Warning => None,
    });
    problem.unwrap_or(ExitCode::Success)
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, subject: &'static str, message: impl Into<String>) {
        self.add(Level::Ok, subject, message.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        subject: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(Level::Warning, subject, message.into(), Some(fix.into()));
    }

    pub(super) fn problem(
        &mut self,
        code: ExitCode,
        subject: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let level = Level::Problem(code);
        self.add(level, subject, message.into(), Some(fix.into()));
    }

    /// An error that qemu-ifup would end with.
    pub(super) fn error(&mut self, subject: &'static str, error: &Error) {
        self.0.push(Finding {
            subject,
            ..Finding::from_error(error)
        });
    }

    pub(super) fn add(
        &mut self,
        level: Level,
        subject: &'static str,
        message: String,
        fix: Option<String>,
    ) {
        self.0.push(Finding {
            level,
            subject,
            message,
            fix,
        });
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
