//! [`Finding`]: one line of the answer.

use crate::check::id::{Id, Level, Scope};
use crate::error::Error;
use crate::error::advice::{Advice, Command};
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) id: Id,
    pub(crate) level: Level,
    pub(crate) ifname: Option<IfName>,
    pub(crate) bridge: Option<IfName>,
    pub(crate) message: String,
    /// A command that fixes it as it stands, and cuts nobody off.
    pub(crate) fix: Option<Command>,
    /// What somebody has to decide, or to fill in. Where there is a fix, there is none.
    pub(crate) advice: Vec<Advice>,
}

/// The exit code for these findings: that of the first problem, or where it is `strict`, of the first problem or warning.
pub(crate) fn exit_code(findings: &[Finding], strict: bool) -> ExitCode {
    let mut codes = findings.iter().filter_map(|finding| match finding.level {
        Level::Problem(code) => Some(code),
        Level::Warning(code) if strict => Some(code),
        Level::Warning(_) | Level::Ok => None,
    });
    codes.next().unwrap_or(ExitCode::Success)
}

#[derive(Debug)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    bridge: IfName,
    tap: Option<IfName>,
}

impl Findings {
    /// None yet, about this bridge and this tap.
    pub(crate) fn new(bridge: IfName, tap: Option<IfName>) -> Self {
        Self {
            found: Vec::new(),
            bridge,
            tap,
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.found
    }

    /// Adds one, which the methods below say more about.
    pub(super) fn add(&mut self, id: Id, message: impl Into<String>) -> &mut Self {
        let (of_tap, of_bridge) = match id.scope() {
            Scope::Host => (false, false),
            Scope::OfBridge => (false, true),
            Scope::OfTap => (true, false),
            Scope::OfPort => (true, true),
        };
        self.found.push(Finding {
            id,
            level: id.level(),
            ifname: self.tap.filter(|_| of_tap),
            bridge: of_bridge.then_some(self.bridge),
            message: message.into(),
            fix: None,
            advice: Vec::new(),
        });
        self
    }

    /// The last one is about this interface.
    pub(super) fn of(&mut self, ifname: IfName) -> &mut Self {
        if let Some(last) = self.found.last_mut() {
            last.ifname = Some(ifname);
        }
        self
    }

    /// This command fixes the last one.
    pub(super) fn fix(&mut self, command: Command) {
        if let Some(last) = self.found.last_mut() {
            last.fix = Some(command);
        }
    }

    /// This may help against the last one.
    pub(super) fn advise(&mut self, advice: impl IntoIterator<Item = Advice>) {
        if let Some(last) = self.found.last_mut() {
            last.advice.extend(advice);
        }
    }

    /// Adds an error that qemu-ifup would end with.
    pub(crate) fn error(&mut self, id: Id, error: &Error) {
        let of_tap = self.tap.filter(|_| id.scope() == Scope::OfTap);
        let message = of_tap.map_or(error.to_string(), |tap| format!("{tap}: {error}"));
        self.add(id, message).advise(error.hints());
        if let Some(last) = self.found.last_mut() {
            last.level = Level::Problem(error.exit_code());
        }
    }
}
