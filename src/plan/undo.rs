//! What takes a step back.

use crate::model::addr::MacAddr;
use crate::model::bridge::PortOptions;
use crate::model::change::LinkUpdate;
use crate::model::link::{AddrGenMode, Link, LinkRef, Qdisc};
use crate::model::vlan::PortVlan;
use crate::plan::PlannedStep;
use crate::plan::step::Step;
use crate::policy::tap::ExistingTap;

/// What a [`LinkUpdate`] can change, as it is at one point of the plan.
#[derive(Clone, Copy)]
struct LinkState<'a> {
    /// The tap before the plan, whose options, VLANs and fdb entries as a port go when it leaves its bridge.
    tap: &'a ExistingTap,
    address: Option<MacAddr>,
    mtu: u32,
    up: bool,
    master: Option<LinkRef>,
    addr_gen_mode: Option<AddrGenMode>,
}

impl<'a> LinkState<'a> {
    fn of(tap: &'a ExistingTap) -> Self {
        let Link {
            address,
            mtu,
            up,
            addr_gen_mode,
            ..
        } = tap.link;
        Self {
            tap,
            address,
            mtu,
            up,
            master: tap.master,
            addr_gen_mode,
        }
    }

    fn after(self, step: &Step) -> Self {
        if let Step::SetLink(update) = step {
            Self {
                address: update.address.or(self.address),
                mtu: update.mtu.unwrap_or(self.mtu),
                up: self.up && !update.takes_down(),
                master: update.master.unwrap_or(self.master),
                addr_gen_mode: update.addr_gen_mode.or(self.addr_gen_mode),
                ..self
            }
        } else {
            Self {
                up: self.up || matches!(step, Step::Up(_)),
                ..self
            }
        }
    }

    /// The steps that take an update back. What was up goes up again once it is a port as before, with all that it had; what was
    /// up in no bridge stays down, since the host would take its frames for its own.
    fn revert(self, update: &LinkUpdate) -> Vec<Step> {
        let inverse = LinkUpdate {
            address: update.address.and(self.address),
            mtu: update.mtu.and(Some(self.mtu)),
            down: false,
            master: update.master.and(Some(self.master)),
            addr_gen_mode: update.addr_gen_mode.and(self.addr_gen_mode),
            qdisc: update.qdisc.map(|_| Qdisc::Default),
            creator: None,
        };
        let inverse = Some(inverse).filter(|inverse| !inverse.is_empty());
        let back = update.master.and(self.master);
        let port = self.tap.link.port.filter(|_| back.is_some());
        let options = port.map(|port| port.options.differing_from(PortOptions::of_new_port()));
        let options = options.filter(|options| !options.is_empty());
        let default = self.tap.default_pvid.map(PortVlan::untagged);
        let vlans = port.map(|_| Step::SetVlans {
            from: default.into_iter().collect(),
            to: self.tap.vlans.clone(),
        });
        let vlans = vlans.filter(|step| !matches!(step, Step::SetVlans { from, to } if from == to));
        let fdb = port
            .map(|_| self.tap.fdb.clone())
            .filter(|fdb| !fdb.is_empty());
        let fdb = fdb.map(|to| Step::SetFdb {
            from: Vec::new(),
            to,
        });
        let up = self.master.filter(|_| self.up && update.takes_down());
        let steps = inverse.map(Step::SetLink).into_iter();
        let steps = steps.chain(options.map(Step::SetPort));
        let steps = steps.chain(vlans).chain(fdb);
        steps.chain(up.map(Step::Up)).collect()
    }
}

impl Step {
    /// What undoes the step, on a tap that was `before`; None is a tap that the plan creates. To delete that takes back all
    /// that was done to it, whoever else has it open, and comes before its bridge is deleted.
    fn undo(&self, before: Option<LinkState<'_>>) -> Vec<Self> {
        match (self, before) {
            (Self::CreateBridge(new), _) => vec![Self::DeleteBridge(new.clone())],
            (Self::DeleteBridge(_) | Self::DeleteTap, _) => Vec::new(),
            (_, None) => vec![Self::DeleteTap],
            (Self::SetLink(update), Some(before)) => before.revert(update),
            (Self::SetPort(options), Some(_)) => vec![Self::SetPort(options.inverted())],
            (Self::SetFdb { from, to }, Some(_)) => vec![Self::SetFdb {
                from: to.clone(),
                to: from.clone(),
            }],
            (Self::SetVlans { from, to }, Some(_)) => vec![Self::SetVlans {
                from: to.clone(),
                to: from.clone(),
            }],
            (Self::Up(_), Some(_)) => vec![Self::SetLink(LinkUpdate::DOWN)],
            (
                Self::CheckQuota(_)
                | Self::CreateTap { .. }
                | Self::SetAccess { .. }
                | Self::WaitForwarding { .. }
                | Self::PassFd
                | Self::SetPersist,
                Some(_),
            ) => Vec::new(),
        }
    }

    /// What no undo takes back once the step is done, on a tap that was `before`.
    fn remains(&self, before: Option<LinkState<'_>>) -> Option<&'static str> {
        if let Self::CreateBridge(_) = self {
            return Some("the new bridge is left as it is");
        }
        let before = before?;
        if let Self::SetAccess { .. } = self {
            return Some("it keeps its new owner");
        }
        if let Self::SetLink(update) = self
            && before.up
            && before.master.is_none()
            && update.takes_down()
        {
            return Some("it was up in no bridge, and stays down");
        }
        None
    }
}

/// Steps on the way of a tap that the plan creates.
pub(super) fn of_created_tap(steps: impl IntoIterator<Item = Step>) -> Vec<PlannedStep> {
    let planned = steps.into_iter().map(|step| PlannedStep {
        undo: step.undo(None),
        remains: step.remains(None),
        step,
    });
    planned.collect()
}

/// Steps on a tap that exists.
pub(super) fn of_existing_tap(
    tap: &ExistingTap,
    steps: impl IntoIterator<Item = Step>,
) -> Vec<PlannedStep> {
    let mut state = LinkState::of(tap);
    let planned = steps.into_iter().map(|step| {
        let before = state;
        state = before.after(&step);
        PlannedStep {
            undo: step.undo(Some(before)),
            remains: step.remains(Some(before)),
            step,
        }
    });
    planned.collect()
}
