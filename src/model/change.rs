//! Changes that the kernel is asked for: to a link, and a new bridge.

use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::link::{AddrGenMode, LinkRef, Qdisc};
use crate::model::spec::Creator;

/// What to change of an interface in one RTM_SETLINK. `None` leaves a thing as it is.
///
/// The kernel acts on the parts in this order, whatever order they are sent in: address and MTU, flags, master,
/// addrgenmode (`do_setlink()` in net/core/rtnetlink.c), and stops at the first that fails. An interface that is up before
/// it is a port passes frames to the host itself, so no update brings one up: that is a request of its own, after the
/// join has been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkUpdate {
    /// Its Ethernet address.
    pub address: Option<MacAddr>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// It goes down. A change of the master implies that.
    pub down: bool,
    /// What it is a port of; the inner `None` is nothing. It goes down before it leaves or joins.
    pub master: Option<Option<LinkRef>>,
    /// How it generates link-local addresses.
    pub addr_gen_mode: Option<AddrGenMode>,
    /// Its queueing discipline, while it is down. It is no failure where the kernel does not have it.
    pub qdisc: Option<Qdisc>,
    /// The user whom its alias names as its creator; the inner `None` clears the alias.
    pub creator: Option<Option<Creator>>,
}

impl LinkUpdate {
    /// Nothing but to go down.
    pub fn down() -> Self {
        Self {
            down: true,
            ..Self::default()
        }
    }

    /// Whether the interface goes down or leaves its bridge, and nothing else changes.
    pub fn is_removal(&self) -> bool {
        let removal = Self {
            down: self.down,
            master: self.master.filter(Option::is_none),
            ..Self::default()
        };
        *self == removal && !self.is_empty()
    }

    /// Whether the interface is down afterwards.
    pub fn takes_down(&self) -> bool {
        self.down || self.master.is_some()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A bridge to create, up and without STP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBridge {
    /// Its name, and its ifindex. That is chosen before it exists, so that the messages that give it its addresses can be
    /// sent together with the one that creates it: no kill comes between them.
    pub link: LinkRef,
    /// Its own Ethernet address. One that was set stays, whatever ports come and go.
    pub mac: MacAddr,
    /// Its IP addresses.
    pub addresses: Vec<IpPrefix>,
    /// It filters VLANs.
    pub vlan_filtering: bool,
}
