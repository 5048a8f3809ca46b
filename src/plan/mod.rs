//! From an authorization to steps. A plan is plain data: dry run, log, apply and rollback all read the same one.

pub mod down;
pub mod ip_command;
pub mod outcome;
pub mod port;
pub mod step;
pub mod undo;
pub mod up;

use crate::model::if_name::IfName;
use crate::plan::outcome::{Notice, Outcome};
use crate::plan::step::Step;

/// A step and its undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// The steps that undo it, even if only part of it was done. Empty if nothing needs to be undone: the undo of an earlier
    /// step includes it, or a failure leaves nothing of it.
    pub undo: Vec<Step>,
    /// The effect that cannot be undone, for messages.
    pub remains: Option<&'static str>,
}

/// The steps to take, and the messages about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    tap: IfName,
    steps: Vec<PlannedStep>,
    notice: Option<Notice>,
    outcome: Outcome,
}

impl Plan {
    /// The tap that the plan is about.
    pub fn tap(&self) -> IfName {
        self.tap
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// Whether it deletes the tap.
    pub fn deletes(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|planned| planned.step == Step::DeleteTap)
    }

    /// The state of the tap afterwards.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The notice to print when it is done.
    pub fn notice(&self) -> Option<Notice> {
        self.notice
    }
}
