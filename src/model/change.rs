//! Changes to request from the kernel: of an interface, and a new bridge.

use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::link::{AddrGenMode, LinkRef, Qdisc};
use crate::model::spec::Creator;

/// A change of an interface by one RTM_SETLINK. `None` leaves a setting unchanged.
///
/// The kernel changes the settings in this order: address and MTU, flags, master, addrgenmode. The order in the message has no
/// effect. It stops at the first setting that fails (`do_setlink()` in net/core/rtnetlink.c). An interface that is up before it
/// is a port passes frames to the host itself, so no update brings an interface up: that is a separate request, after the join
/// has been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LinkUpdate {
    pub(crate) address: Option<MacAddr>,
    pub(crate) mtu: Option<u32>,
    /// It is brought down. A change of the master implies that.
    pub(crate) down: bool,
    /// The bridge to attach it to; the inner `None` detaches it. It is brought down first.
    pub(crate) master: Option<Option<LinkRef>>,
    /// How it generates link-local addresses.
    pub(crate) addr_gen_mode: Option<AddrGenMode>,
    /// Its queueing discipline, while it is down. It is not an error if the kernel does not have it.
    pub(crate) qdisc: Option<Qdisc>,
    /// The creator to name in its alias; the inner `None` clears the alias.
    pub(crate) creator: Option<Option<Creator>>,
}

impl LinkUpdate {
    pub(crate) fn down() -> Self {
        Self {
            down: true,
            ..Self::default()
        }
    }

    /// Whether it only brings the interface down or detaches it.
    pub(crate) fn is_removal(&self) -> bool {
        let removal = Self {
            down: self.down,
            master: self.master.filter(Option::is_none),
            ..Self::default()
        };
        *self == removal && !self.is_empty()
    }

    /// Whether the interface is down afterwards.
    pub(crate) fn takes_down(&self) -> bool {
        self.down || self.master.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A bridge to create, up and without STP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewBridge {
    /// Its name and its ifindex. The ifindex is chosen before the bridge exists, so that the messages that create it and that
    /// add its addresses are sent together: a kill cannot leave a bridge without its addresses.
    pub(crate) link: LinkRef,
    /// Its Ethernet address, which is set so that it does not change with the ports.
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpPrefix>,
    pub(crate) vlan_filtering: bool,
}
