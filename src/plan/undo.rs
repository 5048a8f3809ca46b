//! The undo of each step.

use crate::model::bridge::PortOptions;
use crate::model::change::LinkUpdate;
use crate::model::link::Qdisc;
use crate::model::state::TapState;
use crate::model::vlan::PortVlan;
use crate::plan::PlannedStep;
use crate::plan::step::{Port, Step};
use crate::policy::tap::ExistingTap;

impl ExistingTap {
    /// The tap after a step, with the settings that a [`LinkUpdate`] can change. Its port options, VLANs and fdb entries stay
    /// those before the plan, since the undo of a move restores them.
    fn after(mut self, step: &Step) -> Self {
        let TapState { link, master, .. } = &mut self.state;
        if let Step::SetLink(update) = step {
            link.address = update.address.or(link.address);
            link.mtu = update.mtu.unwrap_or(link.mtu);
            link.up &= !update.takes_down();
            link.addr_gen_mode = update.addr_gen_mode.or(link.addr_gen_mode);
            *master = update.master.unwrap_or(*master);
        }
        link.up |= matches!(step, Step::Up(_));
        self
    }

    /// The steps that undo an update. A tap that was up is brought up after its port settings are restored. A tap that was up
    /// without a bridge stays down, since the host itself would receive its frames.
    fn revert(&self, update: &LinkUpdate) -> Vec<Step> {
        let inverse = LinkUpdate {
            address: update.address.and(self.link.address),
            mtu: update.mtu.and(Some(self.link.mtu)),
            down: false,
            master: update.master.and(Some(self.master)),
            addr_gen_mode: update.addr_gen_mode.and(self.link.addr_gen_mode),
            qdisc: update.qdisc.map(|_| Qdisc::Default),
            creator: None,
        };
        let inverse = Some(inverse).filter(|inverse| !inverse.is_empty());
        let back = update.master.and(self.master);
        let port = self.link.port.filter(|_| back.is_some());
        let options = port.map(|port| port.options.differing_from(PortOptions::of_new_port()));
        let options = options.filter(|options| !options.is_empty());
        let default = self.default_pvid.map(PortVlan::untagged);
        let from: Vec<_> = default.into_iter().collect();
        let vlans = port.filter(|_| from != self.vlans);
        let vlans = vlans.map(|_| Step::SetVlans {
            from,
            to: self.vlans.clone(),
        });
        let fdb = port.filter(|_| !self.fdb.is_empty());
        let fdb = fdb.map(|_| Step::SetFdb {
            from: Vec::new(),
            to: self.fdb.clone(),
        });
        let up = self.master.filter(|_| self.link.up && update.takes_down());
        let up = up.map(|bridge| Port {
            bridge,
            options: options.unwrap_or_default(),
            vlans: None,
            fdb: None,
        });
        let steps = [
            inverse.map(Step::SetLink),
            options.map(Step::SetPort),
            vlans,
            fdb,
            up.map(Step::Up),
        ];
        steps.into_iter().flatten().collect()
    }
}

impl Step {
    /// The undo of the step, for the tap as it was `before`; None is a tap that the plan creates. Deleting that tap undoes all
    /// of its steps, even if another program has it open, and comes before its bridge is deleted.
    fn undo(&self, before: Option<&ExistingTap>) -> Vec<Self> {
        match (self, before) {
            (Self::CreateBridge(new), _) => vec![Self::DeleteBridge(new.clone())],
            (Self::DeleteBridge(_) | Self::DeleteTap | Self::ReleaseTap, _) => Vec::new(),
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
            (Self::Up(_), Some(_)) => vec![Self::SetLink(LinkUpdate::down())],
            (
                Self::CheckQuota(_)
                | Self::CreateTap { .. }
                | Self::SetAccess { .. }
                | Self::DropPrivileges
                | Self::WaitForwarding { .. }
                | Self::PassFd
                | Self::SetPersist,
                Some(_),
            ) => Vec::new(),
        }
    }

    /// The effect of the step that cannot be undone, for the tap as it was `before`.
    fn remains(&self, before: Option<&ExistingTap>) -> Option<&'static str> {
        match (self, before) {
            (Self::CreateBridge(_), _) => Some("the new bridge is left as it is"),
            (Self::SetAccess { .. }, Some(_)) => Some("it keeps its new owner"),
            (Self::SetLink(update), Some(tap))
                if update.takes_down() && tap.link.up && tap.master.is_none() =>
            {
                Some("it was up in no bridge, and stays down")
            }
            (_, _) => None,
        }
    }
}

/// Plans steps for this tap; None is a tap that the plan creates.
pub(super) fn with_undo(tap: Option<&ExistingTap>, steps: Vec<Step>) -> Vec<PlannedStep> {
    let mut before = tap.cloned();
    let planned = steps.into_iter().map(|step| {
        let undo = step.undo(before.as_ref());
        let remains = step.remains(before.as_ref());
        before = before.take().map(|tap| tap.after(&step));
        PlannedStep {
            step,
            undo,
            remains,
        }
    });
    planned.collect()
}
