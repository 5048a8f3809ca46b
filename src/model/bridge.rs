//! Bridges and their ports, as RTM_NEWLINK shows them.

use std::fmt::{self, Display};

/// The ports that a bridge has room for (`BR_PORT_BITS` in the kernel's net/bridge/br_private.h, less one).
pub const BR_MAX_PORTS: usize = 1023;

/// What the kernel says of a bridge (`IFLA_BR_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgeInfo {
    /// It speaks STP.
    pub stp_enabled: bool,
    /// How long a port listens, and then learns, in hundredths of a second (STP).
    pub forward_delay: u32,
    /// It filters VLANs; otherwise those of its ports mean nothing.
    pub vlan_filtering: bool,
    /// The untagged VLAN that a port gets when it joins, if any.
    pub default_pvid: Option<u16>,
    /// It sends frames to a group only where somebody has reported to be in it: multicast snooping is on.
    pub snoops_multicast: bool,
    /// Somebody else on its network asks for these reports over IPv6 (MLD), which makes snooping act.
    pub has_other_querier: bool,
    /// Its own switches for what goes through the firewall, beside those for all bridges.
    pub nf_call: BridgeNf,
}

/// Which tool's chains the frames on a bridge go through (`nf_call_*`, net.bridge.bridge-nf-call-*): iptables, ip6tables,
/// arptables.
pub type BridgeNf = [bool; 3];

impl BridgeInfo {
    /// How many seconds a port takes to forward where the bridge speaks STP, rounded up: it listens, and learns for as
    /// long again.
    pub fn forwarding_delay_secs(&self) -> u32 {
        self.forward_delay.div_ceil(50)
    }
}

/// What the kernel says of a port of a bridge (`IFLA_BRPORT_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgePortInfo {
    /// What it does with frames.
    pub state: PortState,
    /// It may not talk to other isolated ports. None where the kernel does not know the option.
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
