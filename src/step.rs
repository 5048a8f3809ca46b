//! The things that the kernel is asked to do, each with the ip(8) command that does the same.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::cli::Access;
use crate::facts::{AddrGenMode, LinkRef, Mac};
use crate::name::IfName;
use crate::text::ShellWord;

/// What is to become of an interface in one RTM_SETLINK. `None` leaves a thing as it is.
///
/// The kernel acts on the parts in this order, whatever order they are sent in: address and MTU, up or down, master,
/// addrgenmode (`do_setlink()` in net/core/rtnetlink.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkChange {
    /// Its Ethernet address.
    pub address: Option<Mac>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Whether it is up.
    pub up: Option<bool>,
    /// What it is a port of; the inner `None` is nothing.
    pub master: Option<Option<LinkRef>>,
    /// How it makes link-local addresses.
    pub addr_gen_mode: Option<AddrGenMode>,
}

/// One thing that the kernel is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the tap. Until [`Step::Keep`] it lives only as long as this program.
    Make {
        /// Who may open it.
        access: Access<u32>,
        /// It takes several queues.
        multi_queue: bool,
    },
    /// Change the tap.
    Change(LinkChange),
    /// Say who may open a tap that exists.
    Give {
        /// Who.
        access: Access<u32>,
        /// Through a descriptor at hand; otherwise the tap is opened, just as it is, to do this.
        at_hand: bool,
    },
    /// Hand the tap's descriptor over to QEMU, which the tap then lives as long as. The other commit.
    HandOver,
    /// Make the tap stay when this program ends. This is the commit: before it, a kill leaves nothing behind.
    Keep,
    /// Give up a tap that was made and not kept; the undo of [`Step::Make`].
    Abandon,
    /// Remove the tap.
    Delete,
}

impl Step {
    /// What the step does, to follow "cannot".
    pub fn purpose(&self, tap: IfName) -> String {
        match self {
            Self::Make { .. } => format!("make {tap}"),
            Self::Change(change) => match change.master {
                Some(Some(bridge)) => format!("attach to {}", bridge.name),
                Some(None) => "detach from its bridge".to_owned(),
                None if change.mtu.is_some()
                    || change.address.is_some()
                    || change.addr_gen_mode.is_some() =>
                {
                    format!("set {}", change.attributes().trim_start())
                }
                None if change.up == Some(true) => "bring it up".to_owned(),
                None => "bring it down".to_owned(),
            },
            Self::Give { access, .. } => format!("give it to {access}"),
            Self::HandOver => "hand it over to QEMU".to_owned(),
            Self::Keep => "make it persistent".to_owned(),
            Self::Abandon => "give it up".to_owned(),
            Self::Delete => "remove it".to_owned(),
        }
    }

    /// The ip(8) command that does the same, as a line for sh; a comment where ip(8) has none.
    pub fn command(&self, tap: IfName) -> String {
        let dev = ShellWord(tap.as_bytes());
        match self {
            Self::Make {
                access,
                multi_queue,
            } => {
                let queues = if *multi_queue { " multi_queue" } else { "" };
                let (word, id) = match access {
                    Access::Owner(uid) => ("user", uid),
                    Access::Group(gid) => ("group", gid),
                };
                format!("ip tuntap add dev {dev} mode tap {word} {id}{queues}")
            }
            Self::Change(change) => format!("ip link set dev {dev}{}", change.attributes()),
            Self::Give { access, at_hand } => {
                let how = if *at_hand {
                    "QEMU's own descriptor"
                } else {
                    "TUNSETOWNER or TUNSETGROUP"
                };
                format!(
                    "# {dev} is given to {access} through {how}; ip(8) cannot do that to a tap that exists"
                )
            }
            Self::HandOver => {
                format!("# {dev} is handed over to QEMU (SCM_RIGHTS) and goes when QEMU does")
            }
            Self::Keep => format!(
                "# {dev} stays from here on (TUNSETPERSIST); ip tuntap add did that at once"
            ),
            Self::Abandon | Self::Delete => format!("ip link delete dev {dev}"),
        }
    }
}

impl LinkChange {
    /// As ip-link(8) spells it, each with a space before it.
    fn attributes(&self) -> String {
        let mut words = String::new();
        if let Some(address) = self.address {
            words += &format!(" address {address}");
        }
        if let Some(mtu) = self.mtu {
            words += &format!(" mtu {mtu}");
        }
        if let Some(mode) = self.addr_gen_mode {
            words += &format!(" addrgenmode {}", mode.word());
        }
        match self.master {
            Some(Some(bridge)) => {
                words += &format!(" master {}", ShellWord(bridge.name.as_bytes()));
            }
            Some(None) => words += " nomaster",
            None => {}
        }
        match self.up {
            Some(true) => words += " up",
            Some(false) => words += " down",
            None => {}
        }
        words
    }
}

impl Display for Access<u32> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "uid {uid}"),
            Self::Group(gid) => write!(f, "gid {gid}"),
        }
    }
}
