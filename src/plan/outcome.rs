//! Everything that is said after success: notices for stderr, and the outcome for the log.

use std::fmt::{self, Display};

use crate::error::advice::{Advice, Command};
use crate::escape::ShellQuoted;
use crate::model::addr::IpPrefix;
use crate::model::bridge::PortState;
use crate::model::if_name::IfName;
use crate::model::spec::TapAccess;
use crate::policy::authorize::AuthorizedUp;
use crate::policy::tap::ExistingTap;

/// Something worth saying that is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Up on that bridge already, with the wanted settings.
    AlreadyUp(IfName),
    /// It was a port of another interface before.
    Moved {
        from: IfName,
        to: IfName,
    },
    /// A multi-queue tap without owner. The owner was not set: another program has the tap open.
    OpenToAll,
    /// Root uses a tap that belongs to another user or group.
    Of {
        access: TapAccess<u32>,
        /// The user other than root who runs QEMU, and may not open it.
        not: Option<u32>,
        /// The bridge that it was up on already.
        already_up: Option<IfName>,
    },
    /// It belongs to an unprivileged user, who cannot take a tap down.
    Stays(Option<IfName>),
    /// It was not waited for, since it forwards only while a program has it open.
    NotWaited,
    /// The bridge existed already, and lacks an address that a new bridge would have got.
    NoAddress {
        bridge: IfName,
        address: IpPrefix,
    },
    Gone,
    /// It is down and in no bridge already.
    AlreadyDown,
    /// It is not persistent, and disappears with the program that has it open.
    NotPersistent {
        is_down: bool,
    },
    DeletedInUse,
    /// The guest has no network: the bridge is down.
    BridgeDown(IfName),
    /// The guest has no network yet: the bridge has STP, and nothing waits.
    Stp {
        bridge: IfName,
        /// The time until its ports forward.
        seconds: u32,
    },
    /// The guest has no network: Docker drops what this bridge forwards.
    DockerDrops(IfName),
}

impl Notice {
    /// Whether it goes to the security log (LOG_AUTH), too.
    pub(crate) fn is_security(self) -> bool {
        self == Self::OpenToAll
    }

    /// Whether it is false in a dry run, which did nothing.
    pub(crate) fn is_of_act(self) -> bool {
        matches!(
            self,
            Self::Moved { .. }
                | Self::NotWaited
                | Self::BridgeDown(_)
                | Self::Stp { .. }
                | Self::DockerDrops(_)
        )
    }
}

/// What to say of the bridge once a tap is up on it: that it lacks an address, and why the guest will have no network.
/// `docker_drops`: Docker drops what bridges forward.
pub(crate) fn bridge_notices(
    auth: &AuthorizedUp,
    missing_address: Option<IpPrefix>,
    docker_drops: bool,
) -> impl Iterator<Item = Notice> {
    let bridge = &auth.bridge;
    let name = bridge.link.name;
    let forwards = |tap: &ExistingTap| {
        let port = tap.link.port;
        tap.link.is_open()
            && tap.link.master == Some(bridge.link.index)
            && port.is_some_and(|port| port.state == PortState::Forwarding)
    };
    let waits = auth.spec.wait.is_some() || auth.tap().is_some_and(forwards);
    let no_network = if !bridge.up {
        Some(Notice::BridgeDown(name))
    } else if bridge.info.stp_enabled && !waits {
        Some(Notice::Stp {
            bridge: name,
            seconds: bridge.info.forwarding_delay_secs(),
        })
    } else {
        docker_drops.then_some(Notice::DockerDrops(name))
    };
    let no_address = missing_address.map(|address| Notice::NoAddress {
        bridge: name,
        address,
    });
    no_address.into_iter().chain(no_network)
}

impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyUp(bridge) => write!(f, "already up on {bridge}, nothing to do"),
            Self::Moved { from, to } => write!(f, "moved from {from} to {to}"),
            Self::OpenToAll => f.write_str(
                "warning: it has several queues and no owner, so that every user can join it and \
                 read the guest's traffic: create it with qemu-ifup first, and let the other \
                 program (libvirt: managed='no') only open it",
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
                "left attached to {bridge}: an unprivileged user can delete the tap (--delete), but not \
                 detach it"
            ),
            Self::Stays(None) => f.write_str(
                "left unchanged: an unprivileged user can delete the tap (--delete), but not change it",
            ),
            Self::NotWaited => {
                f.write_str("not waited for: it forwards only while a program has it open")
            }
            Self::NoAddress { bridge, address } => write!(
                f,
                "{bridge} already exists without the address {address} \
                 (--address applies only to a new bridge). To add the address, run"
            ),
            Self::Gone => f.write_str("does not exist, nothing to do"),
            Self::AlreadyDown => f.write_str("already down and in no bridge, nothing to do"),
            Self::NotPersistent { is_down } => {
                let only = if *is_down {
                    ", only down and in no bridge"
                } else {
                    ""
                };
                write!(
                    f,
                    "not deleted{only}: it is not persistent and disappears with the program that \
                     has it open"
                )
            }
            Self::DeletedInUse => f.write_str(
                "a program has it open, which has no network from now on, also if the tap is \
                 created again",
            ),
            Self::BridgeDown(bridge) => write!(
                f,
                "warning: bridge {bridge} is down and forwards nothing. To bring it up, run"
            ),
            Self::Stp { seconds, .. } => write!(
                f,
                "warning: STP is on, so the guest has no network for the first {seconds} s. \
                 To make QEMU wait, add --wait {}. For other fixes, run",
                seconds + 5
            ),
            Self::DockerDrops(bridge) => write!(
                f,
                "warning: frames on {bridge} pass through iptables, and Docker's rules drop them. \
                 To accept them until the next boot, run"
            ),
        }
    }
}

impl Notice {
    /// The command that helps; the text then ends before ": COMMAND".
    fn command(self) -> Option<Command> {
        match self {
            Self::NoAddress { bridge, address } => {
                let bridge = ShellQuoted(bridge.as_bytes());
                let command = format!("ip address add {address} dev {bridge}");
                Some(Command::root(command))
            }
            Self::BridgeDown(bridge) => {
                let bridge = ShellQuoted(bridge.as_bytes());
                Some(Command::root(format!("ip link set dev {bridge} up")))
            }
            Self::Stp { bridge, .. } => {
                let bridge = ShellQuoted(bridge.as_bytes());
                let command = format!("qemu-ifup --check --bridge {bridge}");
                Some(Command::plain(command))
            }
            Self::DockerDrops(bridge) => {
                let bridge = ShellQuoted(bridge.as_bytes());
                let command = format!("iptables -I FORWARD -i {bridge} -o {bridge} -j ACCEPT");
                Some(Command::root(command))
            }
            Self::AlreadyUp(_)
            | Self::Moved { .. }
            | Self::OpenToAll
            | Self::Of { .. }
            | Self::Stays(_)
            | Self::NotWaited
            | Self::Gone
            | Self::AlreadyDown
            | Self::NotPersistent { .. }
            | Self::DeletedInUse => None,
        }
    }
}

impl From<Notice> for Advice {
    fn from(notice: Notice) -> Self {
        Self {
            text: notice.to_string().into(),
            command: notice.command(),
        }
    }
}

/// The state of the tap afterwards, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Up {
        bridge: IfName,
        /// Who may open it; None is every user.
        access: Option<TapAccess<u32>>,
    },
    Down {
        /// The bridge that it was detached from.
        from: Option<IfName>,
        deleted: bool,
        /// Who may open it, or could until it was deleted.
        access: Option<TapAccess<u32>>,
    },
    /// It did not exist.
    Gone,
    /// It was left unchanged.
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
