//! [`Step`]: one request to the kernel.

use crate::error::StepKind;
use crate::escape::ShellQuoted;
use crate::model::bridge::{FdbEntry, PortOptions};
use crate::model::change::{LinkUpdate, NewBridge};
use crate::model::if_name::IfName;
use crate::model::link::LinkRef;
use crate::model::spec::{Quota, TapAccess};
use crate::model::vlan::PortVlan;

/// The settings that a bridge port must have when it goes up. Another run may have changed them since they were set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) bridge: LinkRef,
    /// The options that are wanted. They are set again in the request that brings it up.
    pub(crate) options: PortOptions,
    /// All of its VLANs, if they are given.
    pub(crate) vlans: Option<Vec<PortVlan>>,
    /// All of its static entries in the forwarding database, if it is locked.
    pub(crate) fdb: Option<Vec<FdbEntry>>,
}

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create the bridge, completely or not at all.
    CreateBridge(NewBridge),
    /// Delete the bridge, unless it has a port; the undo of a [`Step::CreateBridge`] that failed.
    DeleteBridge(NewBridge),
    /// Make sure that the user's quota has room for this tap.
    CheckQuota(Quota),
    /// Create the tap, or take the tap that was created for QEMU, and set its owner. Until [`Step::SetPersist`], it
    /// disappears with this program.
    CreateTap {
        access: TapAccess<u32>,
        multi_queue: bool,
    },
    SetLink(LinkUpdate),
    /// Change options of the tap's bridge port, and verify them.
    SetPort(PortOptions),
    /// Change the static entries of the port in the forwarding database, and verify them.
    SetFdb {
        /// The entries that it had.
        from: Vec<FdbEntry>,
        /// The entries that are wanted.
        to: Vec<FdbEntry>,
    },
    /// Change the VLANs of the port, and verify them.
    SetVlans {
        /// The VLANs that it had.
        from: Vec<PortVlan>,
        /// The VLANs that are wanted.
        to: Vec<PortVlan>,
    },
    /// Set the owner of a tap that exists, and make sure that no other program has it open.
    SetAccess {
        access: TapAccess<u32>,
        /// This program has a descriptor of it. Otherwise the tap is opened, without changing it.
        has_fd: bool,
    },
    /// Bring the tap up as a port, and verify its settings. The kernel refuses this for an interface that is not a port.
    Up(Port),
    /// Give up every privilege, and end the time limit of the run.
    DropPrivileges,
    WaitForwarding {
        bridge: IfName,
        /// The seconds to wait, at most.
        seconds: u32,
    },
    /// Pass the tap's descriptor to QEMU. The tap then disappears with QEMU. One of the two commits.
    PassFd,
    /// Make the tap persistent. The other commit: a kill before it leaves nothing of the tap behind.
    SetPersist,
    /// Delete the tap, even if another program has it open.
    DeleteTap,
    /// Delete the tap as its owner, who needs no privilege: open it, and let it disappear with the descriptor.
    ReleaseTap,
}

impl Step {
    /// What kind of step it is, for the hint if it fails.
    pub(crate) fn kind(&self) -> StepKind {
        match self {
            Self::CreateBridge(_) => StepKind::CreateBridge,
            Self::DeleteBridge(_) => StepKind::DeleteBridge,
            Self::CheckQuota(_) => StepKind::CheckQuota,
            Self::CreateTap { .. } => StepKind::CreateTap,
            Self::SetLink(LinkUpdate {
                master: Some(Some(_)),
                ..
            }) => StepKind::Attach,
            Self::SetLink(_) => StepKind::SetLink,
            Self::SetPort(_) => StepKind::SetPort,
            Self::SetFdb { .. } => StepKind::SetFdb,
            Self::SetVlans { .. } => StepKind::SetVlans,
            Self::SetAccess { .. } => StepKind::SetAccess,
            Self::Up(_) => StepKind::Up,
            Self::DropPrivileges => StepKind::DropPrivileges,
            Self::WaitForwarding { .. } => StepKind::WaitForwarding,
            Self::PassFd => StepKind::PassFd,
            Self::SetPersist => StepKind::SetPersist,
            Self::DeleteTap => StepKind::DeleteTap,
            Self::ReleaseTap => StepKind::ReleaseTap,
        }
    }

    /// The action of the step, to follow "cannot".
    pub(crate) fn description(&self) -> String {
        match self {
            Self::CreateBridge(bridge) => format!("create the bridge {}", bridge.link.name),
            Self::DeleteBridge(bridge) => format!("delete the bridge {}", bridge.link.name),
            Self::CheckQuota(quota) => format!("count the taps of uid {}", quota.user.0),
            Self::CreateTap { .. } => "create it".to_owned(),
            Self::SetLink(update) => match update.master {
                Some(Some(bridge)) => format!("attach to {}", bridge.name),
                Some(None) => "detach from its bridge".to_owned(),
                None if *update == LinkUpdate::down() => "bring it down".to_owned(),
                None => {
                    let args = update.ip_link_args();
                    let qdisc = " its queueing discipline";
                    format!("set{}", if args.is_empty() { qdisc } else { &args })
                }
            },
            Self::SetPort(options) => format!("set {options}"),
            Self::SetFdb { .. } => "set its fdb entries".to_owned(),
            Self::SetVlans { .. } => "set its VLANs".to_owned(),
            Self::SetAccess { access, .. } => format!("give it to {access}"),
            Self::Up(_) => "bring it up".to_owned(),
            Self::DropPrivileges => "drop privileges".to_owned(),
            Self::WaitForwarding { .. } => "wait until it forwards".to_owned(),
            Self::PassFd => "hand it over to QEMU".to_owned(),
            Self::SetPersist => "make it persistent".to_owned(),
            Self::DeleteTap | Self::ReleaseTap => "delete it".to_owned(),
        }
    }
}

impl LinkUpdate {
    /// As ip-link(8) spells it, each argument with a space before it.
    pub(super) fn ip_link_args(&self) -> String {
        let mut args = String::new();
        if let Some(address) = self.address {
            args += &format!(" address {address}");
        }
        if let Some(mtu) = self.mtu {
            args += &format!(" mtu {mtu}");
        }
        if let Some(mode) = self.addr_gen_mode {
            args += &format!(" addrgenmode {}", mode.as_str());
        }
        match self.master {
            Some(Some(bridge)) => {
                args += &format!(" master {}", ShellQuoted(bridge.name.as_bytes()));
            }
            Some(None) => args += " nomaster",
            None => {}
        }
        if self.down {
            args += " down";
        }
        match self.creator {
            Some(Some(creator)) => args += &format!(" alias '{creator}'"),
            Some(None) => args += " alias ''",
            None => {}
        }
        args
    }
}
