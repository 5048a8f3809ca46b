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
/// The first step that failed, after the undo of all that may have been done, in reverse; what could not be undone is in
/// the error.
pub fn apply(
    system: &mut impl System,
    plan: &Plan,
    mut done: impl FnMut(&Step),
) -> Result<(), Error> {
    for (position, planned) in plan.steps().iter().enumerate() {
        if let Err(cause) = system.carry_out(plan, &planned.step) {
            // It was given, and the look afterwards showed somebody else.
            let given = matches!(cause, Cause::Contested(_));
            let not_undone = undo(system, plan, position, given);
            return Err(describe(plan, &planned.step, cause, not_undone));
        }
        done(&planned.step);
    }
    Ok(())
}

/// Undoes the steps up to the one that failed, which may have been done by half, or whole.
fn undo(system: &mut impl System, plan: &Plan, failed: usize, whole: bool) -> Vec<String> {
    let mut not_undone = Vec::new();
    let mut as_before = true;
    let tried = plan.steps().iter().enumerate().take(failed + 1).rev();
    for (position, planned) in tried {
        if position < failed || whole {
            not_undone.extend(planned.stays.map(str::to_owned));
        }
        for step in &planned.undo {
            // What is not where it was is not brought up there.
            let result = if matches!(step, Step::Up(_)) && !as_before {
                Err(Cause::Nonsense("not tried"))
            } else {
                system.carry_out(plan, step)
            };
            if let Err(cause) = result {
                as_before = false;
                not_undone.push(format!("{} ({cause})", step.purpose()));
            }
        }
    }
    not_undone
}

/// Picks out the failures that have a name, an exit code and a hint of their own.
fn describe(plan: &Plan, step: &Step, cause: Cause, not_undone: Vec<String>) -> Error {
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
    let bridge = if let Step::Change(change) = step {
        change.master.flatten()
    } else {
        None
    };
    match (step, bridge, cause.errno()) {
        // br_add_if() in net/bridge/br_if.c, where no port number is left.
        (_, Some(bridge), Some(Errno::EXFULL)) if not_undone.is_empty() => {
            Error::BridgeFull(bridge.name)
        }
        (Step::Make { .. }, _, Some(Errno::EBUSY)) => Error::Appeared(plan.tap()),
        (Step::Give { at_hand: false, .. }, _, Some(Errno::EBUSY)) if not_undone.is_empty() => {
            Error::TapInUse {
                name: plan.tap(),
                doing: step.purpose(),
            }
        }
        (Step::Quota { access, most, .. }, _, Some(Errno::EDQUOT)) if not_undone.is_empty() => {
            Error::Quota {
                access: *access,
                most: *most,
            }
        }
        (Step::MakeBridge(new), _, Some(Errno::EEXIST))
            if cause == Errno::EEXIST.into() && not_undone.is_empty() =>
        {
            Error::BridgeAppeared(new.link.name)
        }
        // rtnl_changelink() in net/core/rtnetlink.c, for what is no port.
        (Step::Up(_), _, Some(Errno::EOPNOTSUPP)) => Error::Step {
            doing: step.purpose(),
            cause: Cause::Contested("it was taken out of its bridge at the same moment"),
            not_undone,
        },
        _ => Error::Step {
            doing: step.purpose(),
            cause,
            not_undone,
        },
    }
}
