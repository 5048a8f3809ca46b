//! A step fails, and all that was tried is undone.

use super::{down, finished, owned, up};
use crate::apply::failure::StepError;
use crate::apply::{Executor, apply};
use crate::error::exit_code::ExitCode;
use crate::model::link::TapInfo;
use crate::model::state::TapState;
use crate::plan::step::Step;
use crate::tests::build::{spec, state, state_of, tap, tap_state};
use nix::errno::Errno;

/// A system that fails the steps it is told to, and remembers what it was asked.
struct Model {
    failing: Vec<usize>,
    with: Errno,
    asked: Vec<Step>,
}

impl Executor for Model {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        let position = self.asked.len();
        self.asked.push(step.clone());
        if self.failing.contains(&position) {
            Err(self.with.into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn whichever_step_fails_all_that_was_tried_is_undone_in_reverse() {
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(TapInfo::default()))
    });
    for plan in [
        up(spec(), state(None)).unwrap(),
        up(spec(), held).unwrap(),
        down(Some(finished(owned())), true),
    ] {
        for failing in 0..plan.steps().len() {
            let mut model = Model {
                failing: vec![failing],
                with: Errno::EIO,
                asked: Vec::new(),
            };
            let mut done = 0;
            let error = apply(&mut model, &plan, |_| done += 1).unwrap_err();
            assert_eq!(done, failing);
            let (tried, _) = plan.steps().split_at(failing + 1);
            let expected: Vec<Step> = tried
                .iter()
                .map(|planned| planned.step.clone())
                .chain(tried.iter().rev().flat_map(|p| p.undo.clone()))
                .collect();
            assert_eq!(model.asked, expected);
            let failed = plan.steps()[failing].step.description();
            let text = error.to_string();
            assert!(text.contains(&failed), "{text}");
            let remains = tried.iter().rev().skip(1).any(|p| p.remains.is_some());
            assert_eq!(text.contains("not undone"), remains, "{text}");
        }
    }
}

#[test]
fn what_could_not_be_undone_is_said() {
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(TapInfo::default()))
    });
    let plan = up(spec(), held).unwrap();
    let mut model = Model {
        failing: vec![1, 2],
        with: Errno::EIO,
        asked: Vec::new(),
    };
    let error = apply(&mut model, &plan, |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot attach to br0: I/O error; not undone: detach from its bridge (I/O error); \
         not undone: it keeps its new owner"
    );
    assert_eq!(model.asked.len(), 3);
    assert_eq!(error.exit_code(), ExitCode::Kernel);
}

#[test]
fn of_a_tap_that_is_gone_nothing_is_left_to_undo() {
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(TapInfo::default()))
    });
    let plan = up(spec(), held).unwrap();
    let failing = (1..100).collect();
    let mut model = Model {
        failing,
        with: Errno::ENODEV,
        asked: Vec::new(),
    };
    let error = apply(&mut model, &plan, |_| ()).unwrap_err();
    assert!(error.to_string().ends_with(": No such device"), "{error}");
    assert!(model.asked.len() > 2, "{:?}", model.asked);
}
