//! Observations: the state that a plan starts from, and facts of the host for `--check`.

use std::fmt::{self, Display};

use crate::escape::Escaped;
use crate::model::addr::IpPrefix;
use crate::model::bridge::{BridgeNf, FdbEntry};
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link, LinkRef};
use crate::model::vlan::PortVlan;

/// Random bytes. They are not secret, and only need to differ between hosts and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NewIds {
    /// For the MAC of a tap.
    pub(crate) tap: [u8; 5],
    /// For the MAC of a bridge.
    pub(crate) bridge: [u8; 5],
    /// The ifindex of a bridge, which no interface has yet.
    pub(crate) index: IfIndex,
}

/// The interface that was named as the tap, as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapState {
    /// The interface, which may be no tap.
    pub(crate) link: Link,
    /// Its bridge, or what else it is a port of.
    pub(crate) master: Option<LinkRef>,
    /// The untagged VLAN that a port gets when it joins that bridge, if any; read only if the tap is to leave it.
    pub(crate) default_pvid: Option<u16>,
    /// Its VLANs as a port, in order; read only if VLANs or a MAC are asked for, or it is to leave its bridge.
    pub(crate) vlans: Vec<PortVlan>,
    /// Its static entries in the forwarding database; read only if a MAC is asked for, it is to leave its bridge, or its port
    /// is locked.
    pub(crate) fdb: Vec<FdbEntry>,
    /// QEMU passed its descriptor on.
    pub(crate) has_fd: bool,
}

/// All that a plan rests on, observed once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CurrentState {
    pub(crate) tap: Option<TapState>,
    /// The interface that was named as the bridge, if it was looked for and exists.
    pub(crate) bridge: Option<Link>,
    /// All bridges, if the bridge that was named does not exist.
    pub(crate) bridges: Vec<IfName>,
    /// An address for the new bridge, and the interface that already has an address in its network.
    pub(crate) network_in_use: Option<(IpPrefix, IfName)>,
    /// The interface that already has the MAC to lock the port to: another port of the bridge, or the bridge itself.
    pub(crate) mac_in_use: Option<IfName>,
    /// The kernel has IPv6.
    pub(crate) ipv6: bool,
    /// This run created the tap, to hand it over to QEMU.
    pub(crate) is_created: bool,
    /// For what is to be created.
    pub(crate) ids: NewIds,
}

/// A process that has a tap open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapHolder {
    pub(crate) pid: u32,
    /// Its real uid.
    pub(crate) uid: u32,
    /// Its command (`/proc/PID/comm`).
    pub(crate) command: Vec<u8>,
}

impl Display for TapHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", Escaped(&self.command), self.pid)
    }
}

/// A program that configures interfaces automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InterfaceManager {
    NetworkManager,
    Networkd,
    Dhcpcd,
}

/// Settings of the kernel and of the firewall that decide about a guest's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sysctls {
    /// Bridged traffic of all bridges goes through the firewall; false if br_netfilter is not loaded.
    pub(crate) bridge_nf: BridgeNf,
    /// br_netfilter is loaded. Without it, a bridge's own switches have no effect.
    pub(crate) br_netfilter: bool,
    /// The firewall may have rules that drop them.
    pub(crate) filters: BridgeNf,
    /// IPv4 is forwarded (net.ipv4.ip_forward); None if unknown.
    pub(crate) ip_forward: Option<bool>,
    /// A new interface has no IPv6 (net.ipv6.conf.default.disable_ipv6); None if the kernel has no such setting.
    pub(crate) disable_ipv6: Option<bool>,
}
