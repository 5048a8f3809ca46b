//! What was observed: the state that a plan starts from, and what else `--check` sees of a host.

use std::fmt::{self, Display};

use crate::escape::Escaped;
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link, LinkRef};
use crate::model::vlan::PortVlan;

/// Random bytes. They are no secret, and need only differ between hosts and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewIds {
    /// For the MAC of a tap.
    pub tap: [u8; 5],
    /// For the MAC of a bridge.
    pub bridge: [u8; 5],
    /// The ifindex of a bridge: one that nobody has.
    pub index: IfIndex,
}

/// All that a plan rests on, observed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentState {
    /// The tap, if it exists.
    pub tap: Option<Link>,
    /// What the tap is a port of.
    pub master: Option<LinkRef>,
    /// The interface that was named as the bridge, if it was looked for and exists.
    pub bridge: Option<Link>,
    /// The other bridges, where the one that was named does not exist.
    pub bridges: Vec<IfName>,
    /// The VLANs of the tap as a port, where they were asked for; in order.
    pub vlans: Vec<PortVlan>,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// This program has the tap open: QEMU passed its descriptor on, or the tap was created to be handed over.
    pub has_fd: bool,
    /// For what is to be created.
    pub ids: NewIds,
}

/// A process that has a tap open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapHolder {
    /// Its pid.
    pub pid: u32,
    /// Its command (`/proc/PID/comm`).
    pub command: Vec<u8>,
}

impl Display for TapHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", Escaped(&self.command), self.pid)
    }
}

/// A running program that configures interfaces by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceManager {
    /// The program.
    pub name: &'static str,
    /// It manages the tap.
    pub manages: bool,
    /// How it is told to leave taps alone.
    pub fix: &'static str,
}

/// Settings of the kernel that decide about forwarded frames; None where it has no such setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sysctls {
    /// Frames on bridges go through iptables (net.bridge.bridge-nf-call-iptables).
    pub bridge_nf: Option<bool>,
    /// IPv4 is forwarded (net.ipv4.ip_forward).
    pub ip_forward: Option<bool>,
}
