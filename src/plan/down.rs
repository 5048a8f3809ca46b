//! The plan to take a tap down.

use crate::model::change::LinkUpdate;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::plan::outcome::{Notice, Outcome};
use crate::plan::step::Step;
use crate::plan::undo::with_undo;
use crate::policy::authorize::{AuthorizedDown, AuthorizedRelease};

impl Plan {
    /// Takes the tap down, or deletes it.
    pub(crate) fn down(auth: &AuthorizedDown) -> Self {
        let Some(tap) = &auth.tap else {
            return Self::gone(auth.name);
        };
        let deleted = auth.delete && tap.info.persistent;
        let steps = if deleted {
            // The kernel detaches it and brings it down itself, in the same request.
            vec![Step::DeleteTap]
        } else {
            // In one message: the kernel takes it down before it detaches it.
            let update = LinkUpdate {
                down: tap.link.up,
                master: tap.link.master.map(|_| None),
                ..LinkUpdate::default()
            };
            let update = Some(update).filter(|update| !update.is_empty());
            update.map(Step::SetLink).into_iter().collect()
        };
        let steps = with_undo(Some(tap), steps);
        let notice = if auth.delete && !deleted {
            Some(Notice::NotPersistent { is_down: true })
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

    /// For an unprivileged user: deletes the tap, or does nothing.
    pub(crate) fn release(auth: &AuthorizedRelease) -> Self {
        let Some(tap) = &auth.tap else {
            return Self::gone(auth.name);
        };
        let deleted = auth.delete && tap.info.persistent;
        let from = tap.master.map(|master| master.name);
        let (notice, outcome) = match (auth.delete, deleted) {
            (true, false) => (
                Some(Notice::NotPersistent { is_down: false }),
                Outcome::Left,
            ),
            (true, true) => {
                let access = tap.info.access();
                let outcome = Outcome::Down {
                    from,
                    deleted,
                    access,
                };
                (None, outcome)
            }
            (false, _) => (Some(Notice::Stays(from)), Outcome::Left),
        };
        let steps = deleted.then_some(Step::ReleaseTap).into_iter().collect();
        Self {
            tap: auth.name,
            steps: with_undo(Some(tap), steps),
            notice,
            outcome,
        }
    }

    fn gone(tap: IfName) -> Self {
        Self {
            tap,
            steps: Vec::new(),
            notice: Some(Notice::Gone),
            outcome: Outcome::Gone,
        }
    }
}
