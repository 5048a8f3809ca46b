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

/// A step and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// What to do.
    pub step: Step,
    /// What undoes it, also where it was done by half. Empty where nothing needs to be undone: because an earlier step's
    /// undo takes it along, or because it is done whole or not at all.
    pub undo: Vec<Step>,
    /// What no undo takes back once it is done, for messages.
    pub remains: Option<&'static str>,
}

/// The steps to take, and what to say of them.
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

    /// What the tap is afterwards.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What to say once it is done.
    pub fn notice(&self) -> Option<Notice> {
        self.notice
    }
}
