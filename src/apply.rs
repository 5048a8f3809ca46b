//! Carries out a plan, and puts everything back where a step fails.

#![forbid(unsafe_code)]

use nix::errno::Errno;

use crate::error::{Cause, Error};
use crate::plan::Plan;
use crate::step::{LinkChange, Step};

/// Whatever can carry out a step: the kernel, or a test's model of it.
pub trait System {
    /// Carries out one step on the tap that was observed, or made.
    ///
    /// # Errors
    /// Why not. Part of the step may have been done.
    fn carry_out(&mut self, plan: &Plan, step: &Step) -> Result<(), Cause>;

    /// Changes the tap several times, one after the other, with nothing in between: not even a kill.
    ///
    /// # Errors
    /// Why not, and which of them was the first that failed, from 0. Those after it may have been made all the same, until
    /// all is undone.
    fn change(&mut self, changes: &[LinkChange]) -> Result<(), (usize, Cause)>;
}

/// Carries out every step of the plan, telling `done` of each. Changes that follow one another are made together.
///
/// # Errors
/// The first step that failed, after the undo of all that may have been done, in reverse; what could not be undone is in
/// the error.
pub fn apply(
    system: &mut impl System,
    plan: &Plan,
    mut done: impl FnMut(&Step),
) -> Result<(), Error> {
    let mut rest = plan.steps();
    while let Some(first) = rest.first() {
        let changes: Vec<LinkChange> = rest.iter().map_while(|p| p.step.change()).collect();
        let (together, result) = if changes.is_empty() {
            let result = system.carry_out(plan, &first.step);
            (1, result.map_err(|cause| (0, cause)))
        } else {
            (changes.len(), system.change(&changes))
        };
        let (tried, later) = rest.split_at_checked(together).unwrap_or((rest, &[]));
        if let Err((position, cause)) = result {
            let failed = tried.get(position).unwrap_or(first);
            let not_undone = undo(system, plan, plan.steps().len() - later.len());
            return Err(describe(plan, &failed.step, cause, not_undone));
        }
        tried.iter().for_each(|planned| done(&planned.step));
        rest = later;
    }
    Ok(())
}

/// Undoes so many steps, including one that failed, since that may have been done by half.
fn undo(system: &mut impl System, plan: &Plan, tried: usize) -> Vec<String> {
    let tried = plan.steps().iter().take(tried).rev();
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
    let bridge = step.change().and_then(|change| change.master.flatten());
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
