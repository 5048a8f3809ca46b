//! What `--check` sees of a host besides its interfaces.

use std::fmt::{self, Display};

use crate::escape::Escaped;

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
