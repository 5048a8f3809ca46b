//! Interfaces, as RTM_NEWLINK shows them.

use std::fmt::{self, Display};

use crate::model::addr::MacAddr;
use crate::model::bridge::{BridgeInfo, BridgePortInfo};
use crate::model::if_name::IfName;
use crate::model::spec::{Creator, TapAccess};

/// The kernel's ifindex. It does not change when the interface is renamed, so every change is addressed by it and never by
/// name.
pub(crate) type IfIndex = u32;

/// The smallest MTU of a tap (`ETH_MIN_MTU` in linux/if_ether.h).
pub(crate) const MIN_MTU: u32 = 68;
/// The largest MTU of a tap: 65535 less an Ethernet header (drivers/net/tun.c, `MAX_MTU`).
pub(crate) const MAX_MTU: u32 = 65521;
/// Below this the kernel runs no IPv6 on an interface (RFC 8200, `IPV6_MIN_MTU` in linux/ipv6.h).
pub(crate) const MIN_IPV6_MTU: u32 = 1280;

/// How the kernel generates IPv6 link-local addresses on an interface (`IN6_ADDR_GEN_MODE_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AddrGenMode {
    /// From its MAC.
    Eui64 = 0,
    /// Not at all.
    None = 1,
    /// From a secret.
    StablePrivacy = 2,
    Random = 3,
}

impl AddrGenMode {
    /// The word that ip(8) has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Eui64 => "eui64",
            Self::None => "none",
            Self::StablePrivacy => "stable_secret",
            Self::Random => "random",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qdisc {
    /// None: frames go to the driver immediately.
    Noqueue,
    /// The one that the kernel sets when an interface first goes up (net.core.default_qdisc).
    Default,
}

/// An interface by ifindex, with the name it had when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkRef {
    /// Its ifindex, by which it is addressed.
    pub(crate) index: IfIndex,
    /// Its name, for messages.
    pub(crate) name: IfName,
}

/// The kernel's data that only taps have (`IFLA_TUN_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TapInfo {
    /// The uid that may open it, if it is limited to one.
    pub(crate) owner: Option<u32>,
    /// The gid that may open it, if it is limited to one.
    pub(crate) group: Option<u32>,
    /// Frames are preceded by protocol information.
    pub(crate) packet_info: bool,
    /// Frames are preceded by a virtio-net header.
    pub(crate) vnet_hdr: bool,
    /// It stays when no program has it open any more.
    pub(crate) persistent: bool,
    /// Several queues can be opened at once.
    pub(crate) multi_queue: bool,
    /// How many queues are open, disabled ones included. None for a single-queue tap, whose queue the kernel does not count.
    pub(crate) queues: Option<u32>,
}

impl TapInfo {
    /// Whether only these users may open it.
    pub(crate) fn is_for(&self, access: TapAccess<u32>) -> bool {
        self.access() == Some(access) && (self.owner.is_none() || self.group.is_none())
    }

    /// Who may open it; None is every user.
    pub(crate) fn access(&self) -> Option<TapAccess<u32>> {
        match (self.owner, self.group) {
            (Some(uid), _) => Some(TapAccess::Owner(uid)),
            (None, Some(gid)) => Some(TapAccess::Group(gid)),
            (None, None) => None,
        }
    }
}

/// What a count of taps needs of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CountedTap {
    pub(crate) index: IfIndex,
    pub(crate) info: TapInfo,
    /// The unprivileged user for whom this program created it.
    pub(crate) creator: Option<Creator>,
    pub(crate) is_port: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Tap(TapInfo),
    /// A tun: the same driver, but packets instead of frames.
    Tun,
    Bridge(BridgeInfo),
    /// Any other kind (`IFLA_INFO_KIND`), as the kernel names it.
    Other(String),
    /// An interface without a kind, such as a network card.
    Unset,
}

impl Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(_) => f.write_str("a tap"),
            Self::Tun => f.write_str("a tun interface"),
            Self::Bridge(_) => f.write_str("a bridge"),
            Self::Other(kind) => write!(f, "an interface of kind {kind}"),
            Self::Unset => f.write_str("a physical, loopback or similar interface"),
        }
    }
}

/// An interface as one RTM_NEWLINK shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: IfIndex,
    pub(crate) name: IfName,
    pub(crate) kind: LinkKind,
    /// The longest packet it sends, in bytes without the Ethernet header.
    pub(crate) mtu: u32,
    /// Its Ethernet address, if it has one.
    pub(crate) address: Option<MacAddr>,
    /// It is administratively up (`IFF_UP`).
    pub(crate) up: bool,
    /// It has a carrier. A tap gets one when a program opens it, but that program can switch it off.
    pub(crate) carrier: bool,
    /// The ifindex of the interface that it is a port of.
    pub(crate) master: Option<IfIndex>,
    /// How it gets link-local addresses; None if it has no IPv6.
    pub(crate) addr_gen_mode: Option<AddrGenMode>,
    /// Its alias, which only CAP_NET_ADMIN can set.
    pub(crate) alias: Option<String>,
    /// Its queueing discipline, as tc(8) names it.
    pub(crate) qdisc: String,
    /// The data that only bridge ports have, if it is one.
    pub(crate) port: Option<BridgePortInfo>,
}

impl Link {
    /// The data that only taps have, if it is one.
    pub(crate) fn tap(&self) -> Option<&TapInfo> {
        match &self.kind {
            LinkKind::Tap(info) => Some(info),
            LinkKind::Tun | LinkKind::Bridge(_) | LinkKind::Other(_) | LinkKind::Unset => None,
        }
    }

    /// The data that only bridges have, if it is one.
    pub(crate) fn bridge(&self) -> Option<&BridgeInfo> {
        match &self.kind {
            LinkKind::Bridge(info) => Some(info),
            LinkKind::Tap(_) | LinkKind::Tun | LinkKind::Other(_) | LinkKind::Unset => None,
        }
    }

    /// Whether a program has the tap open: by its number of open queues, or for a single-queue tap by its carrier. The program
    /// can switch the carrier off, but then no other program can open the tap (EBUSY).
    pub(crate) fn is_open(&self) -> bool {
        let queues = |tap: &TapInfo| tap.queues.map_or(self.carrier, |queues| queues > 0);
        self.tap().is_some_and(queues)
    }

    /// How many of its queues are open; None for a single-queue tap.
    pub(crate) fn queues(&self) -> Option<u32> {
        self.tap()?.queues
    }

    /// Whether it was never up: the qdisc is noop until the first up.
    pub(crate) fn was_never_up(&self) -> bool {
        self.qdisc == "noop"
    }

    /// The unprivileged user for whom this program created the tap.
    pub(crate) fn creator(&self) -> Option<Creator> {
        self.alias.as_deref().and_then(Creator::from_alias)
    }

    pub(crate) fn link_ref(&self) -> LinkRef {
        LinkRef {
            index: self.index,
            name: self.name,
        }
    }
}
