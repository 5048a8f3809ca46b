//! A run that goes on as far as it is told, with a tracer of its own: one thread waits for one program only.

use super::net::{Link, Rtnetlink};
use super::tracer::{End, Traced};
use super::world::start;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// How far a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Until the tap is not as it was. It then stands still before the next call that others have to do with.
    Change,
    /// So many calls that others have to do with. It stands still before the next one.
    Calls(usize),
    End,
}

/// A run of a user's, which stands still unless it has been told to go on.
pub struct Puppet {
    steps: Sender<Step>,
    /// None where it stands, its end otherwise.
    ends: Receiver<Option<End>>,
    end: Option<End>,
}

impl Puppet {
    /// Starts it. It stands still before its first call.
    pub fn start(mut command: Command, uid: u32, tap: &'static str) -> Self {
        let (steps, orders) = mpsc::channel();
        let (answers, ends) = mpsc::channel();
        thread::spawn(move || {
            let mut traced = start(&mut command, uid, None);
            let mut rtnetlink = Rtnetlink::new();
            for step in orders {
                let is_over = !go_on(&mut traced, step, || rtnetlink.link(tap));
                let _ = answers.send(is_over.then(|| traced.end()));
                if is_over {
                    break;
                }
            }
        });
        Self {
            steps,
            ends,
            end: None,
        }
    }

    /// Returns when it stands again or has ended. One that has ended does nothing more.
    pub fn go_on(&mut self, step: Step) {
        if self.end.is_none() {
            self.steps.send(step).expect("the run cannot be traced");
            self.end = self.ends.recv().expect("the run cannot be traced");
        }
    }

    /// Lets it go on to its end, and tells which that is.
    pub fn end(mut self) -> End {
        self.go_on(Step::End);
        self.end.expect("it has not ended")
    }
}

/// Whether it stands still again, and has not ended.
fn go_on(traced: &mut Traced, step: Step, mut look: impl FnMut() -> Option<Link>) -> bool {
    let was = if step == Step::Change { look() } else { None };
    let (mut has_acted, mut calls) = (false, 0);
    while let Some(stop) = traced.next() {
        has_acted |= stop.is_act();
        if !stop.is_shared() {
            continue;
        }
        match step {
            Step::Change if has_acted => {
                if look() != was {
                    return true;
                }
                has_acted = false;
            }
            Step::Calls(most) if calls == most => return true,
            Step::Change | Step::Calls(_) | Step::End => calls += 1,
        }
    }
    false
}
