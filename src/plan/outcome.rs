//! What is said of a plan that was carried out.

use std::fmt::{self, Display};

use crate::escape::ShellQuoted;
use crate::model::addr::IpPrefix;
use crate::model::if_name::IfName;
use crate::model::spec::TapAccess;

impl Notice {
    /// Whether it is for whoever watches over users.
    pub fn is_security(self) -> bool {
        self == Self::OpenToAll
    }

    /// Whether it tells of what was done, which is not so in a dry run.
    pub fn is_of_act(self) -> bool {
        matches!(self, Self::Moved { .. } | Self::NotWaited)
    }
}

/// Something worth saying that is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Up on that bridge already, with everything as it should be.
    AlreadyUp(IfName),
    /// It was a port of another interface before.
    Moved {
        /// The other one.
        from: IfName,
        /// The bridge.
        to: IfName,
    },
    /// It names nobody and takes several queues, and only the program that has it open could change that.
    OpenToAll,
    /// Root uses the tap of another user or group, as root has decided before.
    Of {
        /// Who may open it.
        access: TapAccess<u32>,
        /// The user other than root who runs QEMU, and may not.
        not: Option<u32>,
        /// The bridge that it was up on already.
        already_up: Option<IfName>,
    },
    /// It belongs to an unprivileged user, who takes no tap down.
    Stays(Option<IfName>),
    /// It was not waited for, since nothing forwards until a program has it open.
    NotWaited,
    /// The bridge was there already, and does not have an address that a new one would have got.
    NoAddress {
        /// The bridge.
        bridge: IfName,
        /// The address.
        address: IpPrefix,
    },
    /// It is gone already.
    Gone,
    /// It is down and in no bridge already.
    AlreadyDown,
    /// It is not persistent and disappears with the program that has it open.
    NotPersistent {
        /// It was taken down.
        is_down: bool,
    },
    /// A program has it open, and keeps a descriptor of nothing.
    DeletedInUse,
}

impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyUp(bridge) => write!(f, "already up on {bridge}, nothing to do"),
            Self::Moved { from, to } => write!(f, "moved from {from} to {to}"),
            Self::OpenToAll => f.write_str(
                "warning: it has several queues and no owner, so that every user can join it and read the guest's traffic: create it with qemu-ifup first, and let the other program (libvirt: managed='no') only open it",
            ),
            Self::Of {
                access,
                not,
                already_up,
            } => {
                if let Some(bridge) = already_up {
                    write!(f, "already up on {bridge}, nothing to do; ")?;
                }
                write!(f, "it belongs to {access}")?;
                match not {
                    Some(uid) => write!(f, ": QEMU of uid {uid} cannot open it"),
                    None => Ok(()),
                }
            }
            Self::Stays(Some(bridge)) => write!(
                f,
                "stays on {bridge}: a user other than root deletes taps (--delete), and takes none down"
            ),
            Self::Stays(None) => f.write_str(
                "stays as it is: a user other than root deletes taps (--delete), and takes none down",
            ),
            Self::NotWaited => {
                f.write_str("not waited for: it forwards only while a program has it open")
            }
            Self::NoAddress { bridge, address } => write!(
                f,
                "{bridge} exists already, and does not have the address {address}, which only a new bridge gets: sudo ip address add {address} dev {}",
                ShellQuoted(bridge.as_bytes())
            ),
            Self::Gone => f.write_str("does not exist, nothing to do"),
            Self::AlreadyDown => f.write_str("already down and in no bridge, nothing to do"),
            Self::NotPersistent { is_down } => {
                let only = if *is_down { ", only down and in no bridge" } else { "" };
                write!(f, "not deleted{only}: it is not persistent and disappears with the program that has it open")
            }
            Self::DeletedInUse => f.write_str(
                "a program has it open, which has no network from now on, also if the tap is created again",
            ),
        }
    }
}

/// What the tap is afterwards, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Up on a bridge.
    Up {
        /// The bridge.
        bridge: IfName,
        /// Who may open it; None is everybody.
        access: Option<TapAccess<u32>>,
    },
    /// Down.
    Down {
        /// What it was detached from.
        from: Option<IfName>,
        /// It is deleted.
        deleted: bool,
        /// Who may open it, or might until now.
        access: Option<TapAccess<u32>>,
    },
    /// It was gone before.
    Gone,
    /// It was left as it is.
    Left,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self {
            Self::Up { bridge, access } => {
                write!(f, "up on {bridge}")?;
                access
            }
            Self::Down {
                from,
                deleted,
                access,
            } => {
                f.write_str("down")?;
                if let Some(from) = from {
                    write!(f, ", detached from {from}")?;
                }
                if *deleted {
                    f.write_str(", deleted")?;
                }
                access
            }
            Self::Gone => return f.write_str("gone"),
            Self::Left => return f.write_str("left as it is"),
        };
        match access {
            Some(access) => write!(f, ", given to {access}"),
            None => f.write_str(", given to everybody"),
        }
    }
}
