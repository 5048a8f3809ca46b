//! [`Step`]: one thing that the kernel is asked to do.

use crate::escape::ShellQuoted;
use crate::model::bridge::{FdbEntry, PortOptions};
use crate::model::change::{LinkUpdate, NewBridge};
use crate::model::if_name::IfName;
use crate::model::link::LinkRef;
use crate::model::spec::{Quota, TapAccess};
use crate::model::vlan::PortVlan;

/// A bridge port as it has to be when it goes up. Another run may have changed it since it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The bridge that it is a port of.
    pub bridge: LinkRef,
    /// The options that matter. They are set again in the request that brings it up.
    pub options: PortOptions,
    /// All of its VLANs, if they matter.
    pub vlans: Option<Vec<PortVlan>>,
    /// All of its static entries in the forwarding database, if they matter.
    pub fdb: Option<Vec<FdbEntry>>,
}

/// One thing that the kernel is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create the bridge, all of it or nothing.
    CreateBridge(NewBridge),
    /// Delete the bridge, unless a port is in it; the undo of a [`Step::CreateBridge`] that failed.
    DeleteBridge(NewBridge),
    /// Make sure that there is room for one tap, this one, in a user's quota.
    CheckQuota(Quota),
    /// Create the tap, or take the one that was created for QEMU, and set who may open it. Until [`Step::SetPersist`] it lives
    /// only as long as this program.
    CreateTap {
        /// Who may open it.
        access: TapAccess<u32>,
        /// It takes several queues.
        multi_queue: bool,
    },
    /// Change the tap.
    SetLink(LinkUpdate),
    /// Change the tap's bridge port, and make sure that the kernel did.
    SetPort(PortOptions),
    /// Change the static entries that the forwarding database has for the port, and make sure that it then has them.
    SetFdb {
        /// Those it had.
        from: Vec<FdbEntry>,
        /// Those it is to have.
        to: Vec<FdbEntry>,
    },
    /// Change the VLANs of the port, and make sure that it then has exactly those that it should.
    SetVlans {
        /// Those it had.
        from: Vec<PortVlan>,
        /// Those it is to have.
        to: Vec<PortVlan>,
    },
    /// Set who may open a tap that exists, and make sure that nobody else has it open.
    SetAccess {
        /// Who.
        access: TapAccess<u32>,
        /// Through a descriptor that this program has; otherwise the tap is opened, just as it is, to do this.
        has_fd: bool,
    },
    /// Bring the tap up as such a port, and make sure that it is one; the kernel refuses that for an interface that is no port.
    Up(Port),
    /// Give up every privilege, and with it the limit on the time of the run.
    DropPrivileges,
    /// Wait until the port forwards.
    WaitForwarding {
        /// The bridge that it is a port of.
        bridge: IfName,
        /// For how many seconds at most.
        seconds: u32,
    },
    /// Pass the tap's descriptor to QEMU, which the tap then lives as long as. One of the two commits.
    PassFd,
    /// Make the tap outlive this program. The other commit: before it, a kill leaves nothing of the tap behind.
    SetPersist,
    /// Delete the tap, whoever else has it open.
    DeleteTap,
    /// Delete the tap as its owner, who needs no privilege: attach to it and let it disappear with the descriptor.
    ReleaseTap,
}

impl Step {
    /// What the step does, to follow "cannot".
    pub fn description(&self) -> String {
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
