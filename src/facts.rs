//! What was observed before anything is changed, in the words that every other module uses.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::name::IfName;
use crate::vlan::PortVlan;

/// The kernel's number of an interface. It stays when the interface is renamed, which is why every change is
/// addressed by it and never by name.
pub type IfIndex = u32;

/// The smallest MTU of a tap (`ETH_MIN_MTU` in linux/if_ether.h).
pub const MIN_MTU: u32 = 68;
/// The largest MTU of a tap: 65535 less an Ethernet header (drivers/net/tun.c, `MAX_MTU`).
pub const MAX_MTU: u32 = 65521;
/// Below this the kernel runs no IPv6 on an interface (RFC 8200, `IPV6_MIN_MTU` in linux/ipv6.h).
pub const MIN_IPV6_MTU: u32 = 1280;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The same address with 0xfe as its first byte.
    ///
    /// A bridge that was given no address takes the lowest of its ports; an address that starts with 0xfe (locally
    /// administered, and higher than any real card's) never is the lowest one beside a real uplink.
    #[must_use]
    pub fn above_every_card(self) -> Self {
        let [_, rest @ ..] = self.0;
        Self::above_every_card_from(rest)
    }

    /// An address of 0xfe and these five bytes.
    #[must_use]
    pub fn above_every_card_from(rest: [u8; 5]) -> Self {
        Self::local(0xfe, rest)
    }

    /// An address of 0x02, the plainest locally administered one, and these five bytes.
    #[must_use]
    pub fn local_from(rest: [u8; 5]) -> Self {
        Self::local(0x02, rest)
    }

    fn local(first: u8, rest: [u8; 5]) -> Self {
        let [b, c, d, e, f] = rest;
        Self([first, b, c, d, e, f])
    }
}

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// How the kernel makes IPv6 link-local addresses on an interface (`IN6_ADDR_GEN_MODE_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddrGenMode {
    /// From its MAC.
    Eui64,
    /// Not at all.
    None,
    /// From a secret.
    StablePrivacy,
    /// At random.
    Random,
}

impl AddrGenMode {
    /// The word that ip(8) has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Eui64 => "eui64",
            Self::None => "none",
            Self::StablePrivacy => "stable_secret",
            Self::Random => "random",
        }
    }
}

/// An interface by number, with the name it had when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRef {
    /// Its number, by which it is addressed.
    pub index: IfIndex,
    /// Its name, for people.
    pub name: IfName,
}

/// What the kernel says of a tap beyond what it says of every interface (`IFLA_TUN_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TapInfo {
    /// The uid that may open it, if it is limited to one.
    pub owner: Option<u32>,
    /// The gid that may open it, if it is limited to one.
    pub group: Option<u32>,
    /// Frames are preceded by protocol information.
    pub packet_info: bool,
    /// Frames are preceded by a virtio-net header.
    pub vnet_hdr: bool,
    /// It outlives the programs that have it open.
    pub persistent: bool,
    /// Several queues can be opened at once.
    pub multi_queue: bool,
    /// How many queues are open, disabled ones included. None where the kernel does not count them: with one queue.
    pub queues: Option<u32>,
}

/// What the kernel says of a bridge (`IFLA_BR_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgeInfo {
    /// It speaks STP.
    pub stp: bool,
    /// How long a port listens, and then learns, in hundredths of a second (STP).
    pub forward_delay: u32,
    /// It keeps VLANs apart; otherwise those of its ports mean nothing.
    pub vlan_filtering: bool,
    /// The untagged VLAN that a port gets when it joins, if any.
    pub default_pvid: Option<u16>,
}

impl BridgeInfo {
    /// How long a port takes to forward where the bridge speaks STP, rounded up: it listens, and learns for as long again.
    pub fn seconds_to_forwarding(&self) -> u32 {
        self.forward_delay.div_ceil(50)
    }
}

/// What the kernel says of a port of a bridge (`IFLA_BRPORT_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortInfo {
    /// What it does with frames.
    pub state: PortState,
    /// It may not talk to other isolated ports. None where the kernel does not know of such a thing.
    pub isolated: Option<bool>,
}

/// What a port of a bridge does with frames (`BR_STATE_*` in linux/if_bridge.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortState {
    /// Nothing: the bridge or the port is down, or the port has no carrier.
    #[default]
    Disabled,
    /// It listens for other bridges (STP).
    Listening,
    /// It learns addresses, and does not forward yet (STP).
    Learning,
    /// It forwards.
    Forwarding,
    /// It is held back, since it would close a loop (STP).
    Blocking,
}

impl Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        })
    }
}

/// An address of an interface, with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// How many of its leading bits are the network's.
    pub prefix: u8,
}

impl Address {
    /// Reads `A/LEN`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|&p| digits && p <= longest)?;
        let usable = !ip.is_unspecified() && !ip.is_multicast();
        usable.then_some(Self { ip, prefix })
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A tap.
    Tap(TapInfo),
    /// A tun: the same driver, but packets instead of frames.
    Tun,
    /// A bridge.
    Bridge(BridgeInfo),
    /// Something else that has a kind (`IFLA_INFO_KIND`), by the kernel's word for it.
    Other(String),
    /// An interface without a kind, such as a network card.
    Plain,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(_) => f.write_str("a tap"),
            Self::Tun => f.write_str("a tun interface"),
            Self::Bridge(_) => f.write_str("a bridge"),
            Self::Other(word) => write!(f, "an interface of kind {word}"),
            Self::Plain => f.write_str("a network card or other plain interface"),
        }
    }
}

/// An interface as one RTM_GETLINK shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: IfIndex,
    /// Its name.
    pub name: IfName,
    /// What it is.
    pub kind: Kind,
    /// The longest packet it sends, in bytes without the Ethernet header.
    pub mtu: u32,
    /// Its Ethernet address, if it has one.
    pub address: Option<Mac>,
    /// It is administratively up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier. A tap gets one when a program opens it, but whoever has it open can switch that off.
    pub carrier: bool,
    /// The interface that it is a port of.
    pub master: Option<IfIndex>,
    /// How it gets link-local addresses; none where it has no IPv6.
    pub addr_gen_mode: Option<AddrGenMode>,
    /// What it is as a port, if it is one of a bridge.
    pub port: Option<PortInfo>,
}

impl Link {
    /// Whether a program has the tap open: by its count of queues, and where the kernel has none, as far as its carrier tells.
    /// A holder can switch that off; with one queue, though, nobody else can open the tap then (EBUSY).
    pub fn is_open(&self) -> bool {
        match &self.kind {
            Kind::Tap(info) => info.queues.map_or(self.carrier, |queues| queues > 0),
            Kind::Tun | Kind::Bridge(_) | Kind::Other(_) | Kind::Plain => false,
        }
    }

    /// The interface by number and name.
    pub fn reference(&self) -> LinkRef {
        LinkRef {
            index: self.index,
            name: self.name,
        }
    }
}

/// Random bytes. They are no secret, and need only differ between hosts and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Random {
    /// For the address of a tap.
    pub tap: [u8; 5],
    /// For the address of a bridge.
    pub bridge: [u8; 5],
    /// For the number of a bridge: one that nobody has.
    pub index: IfIndex,
}

/// All that a plan rests on, observed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The tap, if it exists.
    pub tap: Option<Link>,
    /// What the tap is a port of.
    pub master: Option<LinkRef>,
    /// The interface that was named as the bridge, if it was looked for and exists.
    pub bridge: Option<Link>,
    /// The VLANs of the tap as a port, where they were asked about; in order.
    pub vlans: Vec<PortVlan>,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// We have the tap open: QEMU passed its descriptor on, or the tap was made to be handed over.
    pub at_hand: bool,
    /// For the addresses of what is to be made.
    pub random: Random,
}
