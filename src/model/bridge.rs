//! Bridges and their ports, as RTM_NEWLINK shows them.

use std::fmt::{self, Display};

use crate::model::addr::MacAddr;
use crate::model::vlan::PortVlan;

/// The ports that a bridge has room for (`BR_PORT_BITS` in the kernel's net/bridge/br_private.h, less one).
pub(crate) const BR_MAX_PORTS: usize = 1023;

/// The kernel's data about a bridge (`IFLA_BR_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BridgeInfo {
    pub(crate) stp_enabled: bool,
    /// How long a port listens, and then learns, in hundredths of a second (STP).
    pub(crate) forward_delay: u32,
    /// It filters VLANs. Without that, the VLANs of its ports have no effect.
    pub(crate) vlan_filtering: bool,
    /// The untagged VLAN that a port gets when it joins, if any.
    pub(crate) default_pvid: Option<u16>,
    /// Multicast snooping is on: frames to a group go only to ports with a member of that group.
    pub(crate) snoops_multicast: bool,
    /// Another host on its network is the IPv6 querier (MLD), without which snooping has no effect.
    pub(crate) has_other_querier: bool,
    /// Its own switches for bridged traffic through the firewall, in addition to those for all bridges.
    pub(crate) nf_call: BridgeNf,
}

/// Whether bridged traffic goes through iptables, ip6tables and arptables (`nf_call_*`, net.bridge.bridge-nf-call-*).
pub(crate) type BridgeNf = [bool; 3];

impl BridgeInfo {
    /// The seconds until a port forwards if the bridge speaks STP, rounded up: it listens, and then learns for as long.
    pub(crate) fn forwarding_delay_secs(&self) -> u32 {
        self.forward_delay.div_ceil(50)
    }

    /// The VLANs of a port that has just joined.
    pub(crate) fn vlans_of_new_port(&self) -> Vec<PortVlan> {
        let default = self.default_pvid.map(PortVlan::untagged);
        default.into_iter().collect()
    }
}

/// The kernel's data about a port of a bridge (`IFLA_BRPORT_*` in linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BridgePortInfo {
    pub(crate) state: PortState,
    /// Its options. An option that the kernel does not know is off.
    pub(crate) options: PortOptions,
}

/// An option of a bridge port that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortOption {
    /// It may not talk to other isolated ports.
    Isolated,
    /// A BPDU that comes in disables it, if the bridge speaks STP.
    Guard,
    /// It does not become the root port (STP).
    RootBlock,
    /// The bridge learns the source addresses of incoming frames, and sends frames for them to this port.
    Learning,
    /// Unknown unicast is flooded to it.
    Flood,
    /// Multicast to groups without a known member is flooded to it.
    McastFlood,
    /// The bridge answers ARP and ND itself if it can, and does not forward the request to this port.
    NeighSuppress,
    /// It accepts frames only from addresses that the forwarding database has for it.
    Locked,
}

impl PortOption {
    pub(crate) const ALL: [Self; 8] = [
        Self::Isolated,
        Self::Guard,
        Self::RootBlock,
        Self::Learning,
        Self::Flood,
        Self::McastFlood,
        Self::NeighSuppress,
        Self::Locked,
    ];

    /// The word that bridge(8) has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Guard => "guard",
            Self::RootBlock => "root_block",
            Self::Learning => "learning",
            Self::Flood => "flood",
            Self::McastFlood => "mcast_flood",
            Self::NeighSuppress => "neigh_suppress",
            Self::Locked => "locked",
        }
    }
}

/// Options of a bridge port, each on or off. `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PortOptions([Option<bool>; PortOption::ALL.len()]);

impl PortOptions {
    /// The options with the value that `of` returns for each.
    pub(crate) fn from_fn(of: impl FnMut(PortOption) -> Option<bool>) -> Self {
        Self(PortOption::ALL.map(of))
    }

    /// The options of a port that has just joined (`new_nbp()` in net/bridge/br_if.c).
    pub(crate) fn of_new_port() -> Self {
        use PortOption::{Flood, Learning, McastFlood};
        Self::from_fn(|option| Some(matches!(option, Learning | Flood | McastFlood)))
    }

    /// The options that limit a port to the addresses that the forwarding database has for it.
    pub(crate) fn of_locked_port() -> Self {
        Self::from_fn(|option| match option {
            PortOption::Locked | PortOption::Guard => Some(true),
            PortOption::Learning | PortOption::Flood => Some(false),
            PortOption::Isolated
            | PortOption::RootBlock
            | PortOption::McastFlood
            | PortOption::NeighSuppress => None,
        })
    }

    pub(crate) fn get(&self, option: PortOption) -> Option<bool> {
        self.0.get(option as usize).copied().flatten()
    }

    /// Whether it is given, and on.
    pub(crate) fn is_on(&self, option: PortOption) -> bool {
        self.get(option) == Some(true)
    }

    /// The same with one of them on or off.
    #[must_use]
    pub(crate) fn with(self, option: PortOption, on: bool) -> Self {
        Self::from_fn(|other| {
            if other == option {
                Some(on)
            } else {
                self.get(other)
            }
        })
    }

    /// These options, and `defaults` for options that are not given.
    #[must_use]
    pub(crate) fn or(self, defaults: Self) -> Self {
        Self::from_fn(|option| self.get(option).or(defaults.get(option)))
    }

    /// The options that differ from `current`.
    #[must_use]
    pub(crate) fn differing_from(self, current: Self) -> Self {
        Self::from_fn(|option| {
            self.get(option)
                .filter(|_| self.get(option) != current.get(option))
        })
    }

    /// The opposite of each that is given.
    #[must_use]
    pub(crate) fn inverted(self) -> Self {
        Self::from_fn(|option| self.get(option).map(|on| !on))
    }

    /// The options that are given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PortOption, bool)> {
        let all = PortOption::ALL.into_iter();
        all.filter_map(|option| Some((option, self.get(option)?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// As bridge(8) spells them.
impl Display for PortOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (option, on)) in self.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            let on = if on { "on" } else { "off" };
            write!(f, "{space}{} {on}", option.as_str())?;
        }
        Ok(())
    }
}

/// A static entry of the forwarding database: frames to this address go to this port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FdbEntry {
    pub(crate) mac: MacAddr,
    /// The VLAN; 0 if the bridge does not filter VLANs.
    pub(crate) vid: u16,
    /// It stays even if a frame from this address comes in at another port.
    pub(crate) sticky: bool,
}

/// The entries of a port that is locked to this MAC, if any: one in each of its VLANs.
pub(crate) fn locked_entries(
    mac: Option<MacAddr>,
    filters_vlans: bool,
    vlans: &[PortVlan],
) -> Vec<FdbEntry> {
    let vids: Vec<u16> = if filters_vlans {
        vlans.iter().map(|vlan| vlan.vid).collect()
    } else {
        vec![0]
    };
    let entry = |mac| {
        vids.iter().map(move |&vid| FdbEntry {
            mac,
            vid,
            sticky: true,
        })
    };
    mac.into_iter().flat_map(entry).collect()
}

/// Whether a port with the entries `current` has all of `wanted`, and no entry of another MAC.
pub(crate) fn has_exactly(current: &[FdbEntry], wanted: &[FdbEntry]) -> bool {
    let is_other = |old: &FdbEntry| wanted.iter().all(|new| new.mac != old.mac);
    wanted.iter().all(|entry| current.contains(entry)) && !current.iter().any(is_other)
}

/// The addresses whose entries are removed, and those whose entries are added or stay, with whether these are sticky. Each
/// address is in it once.
pub(crate) fn fdb_changes(
    from: &[FdbEntry],
    to: &[FdbEntry],
) -> (Vec<MacAddr>, Vec<(MacAddr, bool)>) {
    let macs = |entries: &[FdbEntry]| {
        let mut macs: Vec<(MacAddr, bool)> = Vec::new();
        for entry in entries {
            if macs.iter().all(|&(mac, _)| mac != entry.mac) {
                macs.push((entry.mac, entry.sticky));
            }
        }
        macs
    };
    let added = macs(to);
    let removed = macs(from).into_iter().map(|(mac, _)| mac);
    let removed = removed.filter(|mac| added.iter().all(|(new, _)| new != mac));
    (removed.collect(), added)
}

/// The state of a bridge port (`BR_STATE_*` in linux/if_bridge.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PortState {
    /// Nothing: the bridge or the port is down, or the port has no carrier.
    #[default]
    Disabled,
    /// It listens for other bridges (STP).
    Listening,
    /// It learns addresses, and does not forward yet (STP).
    Learning,
    Forwarding,
    /// It is blocked, since it would close a loop (STP).
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
