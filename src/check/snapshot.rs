//! What `--check` judges: all that was seen, and what was known before.

use nix::errno::Errno;

use crate::config::acl::Verdict;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::link::{Link, LinkKind};
use crate::model::state::{InterfaceManager, Sysctls, TapHolder};
use crate::policy::caller::Authority;

/// What is known before the kernel is asked. An error is one of the findings.
#[derive(Debug)]
pub struct CheckContext {
    /// What the caller may act with.
    pub authority: Authority,
    /// The caller's real uid.
    pub uid: u32,
    /// The program has CAP_NET_ADMIN.
    pub net_admin: bool,
    /// Where the name of the bridge comes from.
    pub bridge_from: &'static str,
    /// The lines of the configuration that apply.
    pub conf: Result<Vec<(usize, String)>, Error>,
    /// What the ACL says of the bridge; None where there is no ACL.
    pub acl: Result<Option<Verdict>, Error>,
    /// The name of the bridge.
    pub bridge_name: IfName,
    /// The bridge is created where it is missing.
    pub creates_bridge: bool,
    /// The tap that is asked about, if one is.
    pub tap: Option<IfName>,
}

/// All that was seen.
#[derive(Debug)]
pub struct HostSnapshot {
    /// What was known before.
    pub context: CheckContext,
    /// The result of opening /dev/net/tun.
    pub tun: Result<(), Errno>,
    /// The interface of the bridge's name.
    pub bridge: Option<Link>,
    /// What belongs to the bridge, if it is one.
    pub bridge_details: Option<BridgeDetails>,
    /// All bridges.
    pub bridges: Vec<IfName>,
    /// Settings of the kernel.
    pub sysctls: Sysctls,
    /// The interface of the tap's name.
    pub tap: Option<Link>,
    /// The tap has a link-local address.
    pub tap_has_address: bool,
    /// Who has the tap open.
    pub holder: Option<TapHolder>,
    /// Programs that may configure the tap.
    pub managers: Vec<InterfaceManager>,
}

/// What belongs to a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeDetails {
    /// Its ports.
    pub ports: Vec<Link>,
    /// It has an address that is not link-local.
    pub has_address: bool,
    /// Its MAC was set and stays, whatever ports it has. None where that is not told.
    pub has_own_mac: Option<bool>,
}

impl BridgeDetails {
    /// A port through which other machines are reached: one that is no tap.
    pub(super) fn uplink(&self) -> Option<&Link> {
        self.ports
            .iter()
            .find(|port| !matches!(port.kind, LinkKind::Tap(_)))
    }
}
