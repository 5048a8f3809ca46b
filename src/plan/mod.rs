//! From an authorization to steps. A plan is plain data: dry run, log, apply and rollback all read the same one.

pub(crate) mod down;
pub(crate) mod ip_command;
pub(crate) mod outcome;
pub(crate) mod port;
pub(crate) mod step;
pub(crate) mod undo;
pub(crate) mod up;

use crate::model::if_name::IfName;
use crate::plan::outcome::{Notice, Outcome};
use crate::plan::step::Step;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedStep {
    pub(crate) step: Step,
    /// The steps that undo it, even if only part of it was done. Empty if nothing needs to be undone: the undo of an earlier
    /// step includes it, or a failure leaves nothing of it.
    pub(crate) undo: Vec<Step>,
    /// The effect that cannot be undone, for messages.
    pub(crate) remains: Option<&'static str>,
}

/// The steps to take, and the messages about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    tap: IfName,
    steps: Vec<PlannedStep>,
    notice: Option<Notice>,
    outcome: Outcome,
}

impl Plan {
    pub(crate) fn tap(&self) -> IfName {
        self.tap
    }

    pub(crate) fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    pub(crate) fn deletes(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|planned| planned.step == Step::DeleteTap)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The notice to print when it is done.
    pub(crate) fn notice(&self) -> Option<Notice> {
        self.notice
    }
}

#[cfg(test)]
mod tests;
