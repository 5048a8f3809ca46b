//! Carries out a plan, and puts everything back where a step fails.

#![forbid(unsafe_code)]

use nix::errno::Errno;

use crate::error::{Cause, Error};
use crate::plan::Plan;
use crate::step::Step;

/// Whatever can carry out a step: the kernel, or a test's model of it.
pub trait System {
    /// Carries out one step on the tap that was observed, or made.
    ///
    /// # Errors
    /// Why not. Part of the step may have been done.
    fn carry_out(&mut self, plan: &Plan, step: &Step) -> Result<(), Cause>;
}

/// Carries out every step of the plan, telling `done` of each.
///
/// # Errors
/// The first step that failed, after the undo of it and of all before it, in reverse; what could not be undone is in
/// the error.
pub fn apply(
    system: &mut impl System,
    plan: &Plan,
    mut done: impl FnMut(&Step),
) -> Result<(), Error> {
    for (position, planned) in plan.steps().iter().enumerate() {
        match system.carry_out(plan, &planned.step) {
            Ok(()) => done(&planned.step),
            Err(cause) => {
                let not_undone = undo(system, plan, position);
                return Err(describe(plan, &planned.step, cause, not_undone));
            }
        }
    }
    Ok(())
}

/// Undoes the steps up to and including the one that failed, since that one may have been done by half.
fn undo(system: &mut impl System, plan: &Plan, failed: usize) -> Vec<String> {
    let tried = plan.steps().iter().take(failed + 1).rev();
    tried
        .filter_map(|planned| planned.undo.as_ref())
        .filter_map(|step| {
            let cause = system.carry_out(plan, step).err()?;
            Some(format!("{} ({cause})", step.purpose()))
        })
        .collect()
}

/// Picks out the failures that have a name, an exit code and a hint of their own.
fn describe(plan: &Plan, step: &Step, cause: Cause, not_undone: Vec<String>) -> Error {
    let bridge = match step {
        Step::Change(change) => change.master.flatten(),
        Step::MakeBridge(_)
        | Step::RemoveBridge(_)
        | Step::Isolate(_)
        | Step::Vlans { .. }
        | Step::Wait { .. }
        | Step::Make { .. }
        | Step::Give { .. }
        | Step::HandOver
        | Step::Keep
        | Step::Abandon
        | Step::Delete => None,
    };
    if let Cause::Device(errno) = cause {
        return Error::Tun(errno);
    }
    if let (Step::Wait { bridge, .. }, Cause::Late(state)) = (step, &cause) {
        return Error::Late {
            bridge: *bridge,
            state: *state,
            not_undone,
        };
    }
    match (step, bridge, cause.errno()) {
        // br_add_if() in net/bridge/br_if.c, where no port number is left.
        (_, Some(bridge), Some(Errno::EXFULL)) if not_undone.is_empty() => {
            Error::BridgeFull(bridge.name)
        }
        (Step::Make { .. }, _, Some(Errno::EBUSY)) => Error::Appeared(plan.tap()),
        (Step::MakeBridge(new), _, Some(Errno::EEXIST))
            if cause == Errno::EEXIST.into() && not_undone.is_empty() =>
        {
            Error::BridgeAppeared(new.link.name)
        }
        _ => Error::Step {
            doing: step.purpose(),
            cause,
            not_undone,
        },
    }
}
