//! Carries out a plan, and rolls it back if a step fails. [`apply`] works on anything that can execute a step: the
//! [kernel](crate::kernel), or a test's model of it.

pub(crate) mod failure;

use crate::apply::failure::{StepError, classify};
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::step::Step;

/// Whatever can execute a step on one tap: the kernel, or a test's model of it.
pub(crate) trait Executor {
    /// Executes one step.
    ///
    /// # Errors
    /// Why not. Part of the step may have been done.
    fn execute(&mut self, step: &Step) -> Result<(), StepError>;
}

/// Executes every step of the plan, telling `done` of each.
///
/// # Errors
/// The first step that failed, after the rollback of all that may have been done, in reverse; what could not be rolled back
/// is in the error.
pub(crate) fn apply(
    executor: &mut impl Executor,
    plan: &Plan,
    mut done: impl FnMut(&Step),
) -> Result<(), Error> {
    for (position, planned) in plan.steps().iter().enumerate() {
        if let Err(error) = executor.execute(&planned.step) {
            let done = position + usize::from(error.took_effect());
            let left = rollback(executor, plan, position, done);
            let cause = classify(plan.tap(), &planned.step, error);
            return Err(if left.is_empty() {
                cause
            } else {
                Error::NotUndone {
                    cause: Box::new(cause),
                    left,
                }
            });
        }
        done(&planned.step);
    }
    Ok(())
}

/// Undoes the steps up to the one that failed, which may have been done by half; the first `done` of them were done whole.
fn rollback(executor: &mut impl Executor, plan: &Plan, failed: usize, done: usize) -> Vec<String> {
    let mut errors = Vec::new();
    let mut as_before = true;
    let mut is_gone = false;
    let tried = plan.steps().iter().enumerate().take(failed + 1).rev();
    for (position, planned) in tried {
        if position < done && !is_gone {
            errors.extend(planned.remains.map(str::to_owned));
            // It is there whole, and others may have begun to use it.
            if matches!(planned.step, Step::CreateBridge(_)) {
                continue;
            }
        }
        for step in &planned.undo {
            // What is not where it was is not brought up there.
            if matches!(step, Step::Up(_)) && !as_before {
                errors.push(format!("{} (not attempted)", step.description()));
            } else if let Err(error) = executor.execute(step) {
                // Then nothing is left of the tap.
                if error.is_gone() {
                    is_gone = true;
                    continue;
                }
                as_before = false;
                errors.push(format!("{} ({error})", step.description()));
            }
        }
    }
    errors
}
