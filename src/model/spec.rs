//! The settings that are wanted for a tap and its bridge port.

use std::ffi::OsString;
use std::fmt::{self, Display};

use crate::model::addr::{IpPrefix, UnicastMac};
use crate::model::bridge::PortOptions;
use crate::model::if_name::IfName;
use crate::model::vlan::PortVlan;

/// A user or a group as it was written: a name to look up, or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameOrId {
    /// A uid or gid; never the kernel's "no id", 4294967295.
    Id(u32),
    /// A name of /etc/passwd or /etc/group.
    Name(OsString),
}

/// Who may open a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TapAccess<T> {
    Owner(T),
    Group(T),
}

impl Display for TapAccess<u32> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "uid {uid}"),
            Self::Group(gid) => write!(f, "gid {gid}"),
        }
    }
}

/// The unprivileged user for whom this program created a tap. It is written into the tap's alias: a program that has the tap
/// open can change the tap's owner, but not its alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Creator(pub u32);

const CREATOR_PREFIX: &str = "created by qemu-ifup for uid ";

impl Creator {
    /// The creator in an alias, if this program wrote that.
    pub(crate) fn from_alias(alias: &str) -> Option<Self> {
        alias.strip_prefix(CREATOR_PREFIX)?.parse().ok().map(Self)
    }
}

impl Display for Creator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CREATOR_PREFIX}{}", self.0)
    }
}

/// How many taps unprivileged users may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) user: Creator,
    /// The number of taps that this user may have.
    pub(crate) max: u32,
    /// The number of taps that all such users together may have.
    pub(crate) max_all: u32,
}

/// The settings of a tap that is to be brought up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapSpec {
    pub(crate) tap: IfName,
    pub(crate) bridge: IfName,
    /// A tap that exists may be on any bridge: no bridge is named, and the caller cannot change a tap.
    pub(crate) any_bridge: bool,
    pub(crate) access: Option<TapAccess<u32>>,
    /// Who may open it by the command line alone.
    pub(crate) asked_access: Option<TapAccess<u32>>,
    /// Who may open it by the configuration alone, which binds an unprivileged user.
    pub(crate) bound_access: Option<TapAccess<u32>>,
    /// The MTU by the configuration alone, which binds an unprivileged user.
    pub(crate) bound_mtu: Option<u32>,
    /// The caller named the tap, so that a bridge of the configuration is for it.
    pub(crate) is_named: bool,
    /// The bridge by the configuration alone, which binds an unprivileged user.
    pub(crate) bound_bridge: Option<IfName>,
    pub(crate) multi_queue: bool,
    /// Its MTU; None is the bridge's.
    pub(crate) mtu: Option<u32>,
    /// If the bridge does not exist, it is created with these addresses.
    pub(crate) create_bridge: Option<Vec<IpPrefix>>,
    pub(crate) port: PortOptions,
    /// The only address that the port accepts frames from; the inner `None` lifts this limit.
    pub(crate) lock_mac: Option<Option<UnicastMac>>,
    pub(crate) vlans: Option<VlanSpec>,
    /// It gets no queueing discipline if it was never up: its guest has queued the frames already.
    pub(crate) noqueue: bool,
    /// The seconds to wait until it forwards, at most.
    pub(crate) wait: Option<u32>,
    /// The number of taps that an unprivileged user may have, if root sets it.
    pub(crate) max_taps: Option<u32>,
    /// The largest such number in the configuration, for any tap.
    pub(crate) largest_max_taps: Option<u32>,
    /// Root's configuration has a line for names such as this.
    pub(crate) name_configured: bool,
}

impl TapSpec {
    /// The VLANs that a port which has `current` is to have.
    pub(crate) fn wanted_vlans(&self, current: Vec<PortVlan>) -> Vec<PortVlan> {
        match &self.vlans {
            Some(vlans) => vlans.resolve(&current),
            None => current,
        }
    }
}

/// The VLANs that are wanted for a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VlanSpec {
    /// The untagged VLAN; None keeps the current one.
    pub(crate) pvid: Option<u16>,
    pub(crate) tagged: Vec<u16>,
}

impl VlanSpec {
    /// All VLANs that a port which has `current` is to have, in order.
    ///
    /// If no untagged VLAN is given, the current one stays. Every other VLAN that is not given is removed, since through it the
    /// guest could bypass the VLANs that are given.
    pub(crate) fn resolve(&self, current: &[PortVlan]) -> Vec<PortVlan> {
        let pvid = match self.pvid {
            Some(vid) => Some(PortVlan::untagged(vid)),
            None => current.iter().copied().find(|vlan| vlan.pvid),
        };
        let mut wanted: Vec<_> = self.tagged.iter().copied().map(PortVlan::tagged).collect();
        if let Some(pvid) = pvid {
            wanted.retain(|vlan| vlan.vid != pvid.vid);
            let place = wanted.partition_point(|vlan| vlan.vid < pvid.vid);
            wanted.insert(place, pvid);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_names_a_creator_only_where_it_is_ours() {
        let creator = Creator(4_294_967_294);
        assert_eq!(Creator::from_alias(&creator.to_string()), Some(creator));
        for other in [
            "",
            "web server",
            "created by qemu-ifup for uid ",
            "created by qemu-ifup for uid x",
        ] {
            assert_eq!(Creator::from_alias(other), None);
        }
    }

    #[test]
    fn a_port_gets_what_was_asked_for_and_nothing_else() {
        let before = [PortVlan::untagged(1), PortVlan::tagged(7)];
        let spec = |pvid, tagged: &[u16]| VlanSpec {
            pvid,
            tagged: tagged.to_vec(),
        };
        assert_eq!(
            spec(Some(10), &[]).resolve(&before),
            [PortVlan::untagged(10)]
        );
        assert_eq!(
            spec(None, &[10, 20]).resolve(&before),
            [
                PortVlan::untagged(1),
                PortVlan::tagged(10),
                PortVlan::tagged(20)
            ]
        );
        assert_eq!(
            spec(Some(10), &[10, 20]).resolve(&before),
            [PortVlan::untagged(10), PortVlan::tagged(20)],
            "the untagged VLAN named among the tagged ones stays untagged"
        );
    }
}
