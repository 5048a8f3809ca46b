//! [`Finding`]: one line of the answer.

use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;

/// How bad a finding is, with the exit code that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Some guests will not have all they expect.
    Warning(ExitCode),
    /// A guest will not start, or have no network; the code is the one that qemu-ifup has for it.
    Problem(ExitCode),
}

impl Level {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning(_) => "warning",
            Self::Problem(_) => "problem",
        }
    }

    /// The exit code that stands for it.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Ok => ExitCode::Success,
            Self::Warning(code) | Self::Problem(code) => code,
        }
    }
}

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// A command of the shell that fixes it as it stands, and cuts nobody off.
    Command(String),
    /// What somebody has to decide, or to fill in.
    Advice(String),
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
    /// What to do about it.
    pub fix: Option<Fix>,
}

impl Finding {
    /// An error that qemu-ifup would end with, and the tap that it is about, if it is about one.
    pub fn from_error(subject: &'static str, tap: Option<IfName>, error: &Error) -> Self {
        Self {
            level: Level::Problem(error.exit_code()),
            subject,
            message: tap.map_or(error.to_string(), |tap| format!("{tap}: {error}")),
            fix: error.hint().map(Fix::Advice),
        }
    }
}

/// The exit code for these findings: that of the first problem, or where it is `strict`, of the first problem or warning.
pub fn exit_code(findings: &[Finding], strict: bool) -> ExitCode {
    let mut codes = findings.iter().filter_map(|finding| match finding.level {
        Level::Problem(code) => Some(code),
        Level::Warning(code) if strict => Some(code),
        Level::Warning(_) | Level::Ok => None,
    });
    codes.next().unwrap_or(ExitCode::Success)
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, subject: &'static str, message: impl Into<String>) {
        self.add(Level::Ok, subject, message, None);
    }

    pub(super) fn warn(
        &mut self,
        code: ExitCode,
        subject: &'static str,
        message: impl Into<String>,
        fix: Fix,
    ) {
        self.add(Level::Warning(code), subject, message, Some(fix));
    }

    pub(super) fn problem(
        &mut self,
        code: ExitCode,
        subject: &'static str,
        message: impl Into<String>,
        fix: Fix,
    ) {
        self.add(Level::Problem(code), subject, message, Some(fix));
    }

    /// An error that qemu-ifup would end with.
    pub(super) fn error(&mut self, subject: &'static str, error: &Error) {
        self.0.push(Finding::from_error(subject, None, error));
    }

    pub(super) fn add(
        &mut self,
        level: Level,
        subject: &'static str,
        message: impl Into<String>,
        fix: Option<Fix>,
    ) {
        self.0.push(Finding {
            level,
            subject,
            message: message.into(),
            fix,
        });
    }
}
