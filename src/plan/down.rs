//! The plan to take a tap down.

use crate::model::change::LinkUpdate;
use crate::plan::Plan;
use crate::plan::outcome::{Notice, Outcome};
use crate::plan::step::Step;
use crate::plan::undo::with_undo;
use crate::policy::authorize::AuthorizedDown;

impl Plan {
    /// What it takes to take the tap down.
    pub fn down(auth: &AuthorizedDown) -> Self {
        let Some(tap) = &auth.tap else {
            return Self {
                tap: auth.name,
                steps: Vec::new(),
                notice: Some(Notice::Gone),
                outcome: Outcome::Gone,
            };
        };
        let deleted = auth.delete && tap.info.persistent;
        let step = if deleted {
            // The kernel detaches it and brings it down by itself, all at once.
            Some(Step::DeleteTap)
        } else {
            // In one message: the kernel takes it down before it detaches it.
            let update = LinkUpdate {
                down: tap.link.up,
                master: tap.link.master.map(|_| None),
                ..LinkUpdate::default()
            };
            Some(Step::SetLink(update)).filter(|_| !update.is_empty())
        };
        let steps = with_undo(Some(tap), step);
        let notice = if auth.delete && !deleted {
            Some(Notice::NotPersistent)
        } else if deleted && tap.link.is_open() {
            Some(Notice::DeletedInUse)
        } else {
            steps.is_empty().then_some(Notice::AlreadyDown)
        };
        Self {
            tap: auth.name,
            steps,
            notice,
            outcome: Outcome::Down {
                from: tap.master.map(|master| master.name),
                deleted,
                access: tap.info.access(),
            },
        }
    }
}
