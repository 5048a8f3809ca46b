//! What `--check` judges: all that was seen, and what was known before.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::config::acl::{Acl, Verdict};
use crate::config::conf::MatchedConf;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::bridge::PortOptions;
use crate::model::if_name::IfName;
use crate::model::link::Link;
use crate::model::spec::TapAccess;
use crate::model::state::{InterfaceManager, Sysctls, TapHolder};
use crate::policy::caller::Caller;

/// What is known before the kernel is asked. An error is one of the findings.
#[derive(Debug)]
pub(crate) struct CheckContext {
    pub(crate) caller: Caller,
    /// What the command line asks for.
    pub(crate) asked: TapOptions,
    /// The same with the defaults of the configuration.
    pub(crate) options: TapOptions,
    /// The lines of the configuration that match.
    pub(crate) conf: Result<MatchedConf, Error>,
    pub(crate) acl: Result<Option<Acl>, Error>,
    /// The tap that is asked about, if one is.
    pub(crate) tap: Option<IfName>,
}

impl CheckContext {
    pub(crate) fn bridge(&self) -> IfName {
        self.options.bridge.unwrap_or(IfName::DEFAULT_BRIDGE)
    }

    /// What the ACL says of the bridge.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let acl = self.acl.as_ref().ok()?.as_ref();
        acl.map(|acl| acl.verdict(self.bridge()))
    }

    /// The options of the port, with those of a lock.
    pub(super) fn port(&self) -> PortOptions {
        self.options.port.or(self.options.lock())
    }

    pub(super) fn lock_mac(&self) -> Option<MacAddr> {
        self.options.lock_mac.flatten().map(MacAddr::from)
    }

    /// The command line has options besides the bridge: they are needed to bring the tap up.
    pub(super) fn has_options(&self) -> bool {
        let asked = self.asked.clone();
        TapOptions {
            bridge: None,
            ..asked
        } != TapOptions::default()
    }
}

/// All that was seen.
#[derive(Debug)]
pub(crate) struct HostSnapshot {
    /// What was known before.
    pub(crate) context: CheckContext,
    /// The result of opening /dev/net/tun.
    pub(crate) tun: Result<(), Errno>,
    /// The interface of the bridge's name.
    pub(crate) bridge: Option<Link>,
    /// What belongs to the bridge, if it is one.
    pub(crate) bridge_details: Option<BridgeDetails>,
    /// One of the addresses of a new bridge, and the interface that is in the same network.
    pub(crate) network_in_use: Option<(IpPrefix, IfName)>,
    /// All bridges.
    pub(crate) bridges: Vec<IfName>,
    pub(crate) sysctls: Sysctls,
    /// The interface of the tap's name.
    pub(crate) tap: Option<Link>,
    /// The interface that the tap is a port of.
    pub(crate) tap_master: Option<IfName>,
    /// The tap has a link-local address.
    pub(crate) tap_has_address: bool,
    /// The tap is locked, and the forwarding database has no static entry of it, or none of the MAC that is asked for.
    pub(crate) tap_lacks_mac: bool,
    /// Who has the tap open, as far as the caller is permitted to know.
    pub(crate) holders: Vec<TapHolder>,
    /// Programs that run and configure interfaces; whether they manage the tap, where that is told.
    pub(crate) managers: Vec<(InterfaceManager, Option<bool>)>,
    /// Whether the caller may open /dev/vhost-net.
    pub(crate) vhost_net: Result<(), Errno>,
    /// This host is itself a guest.
    pub(crate) is_guest: bool,
    /// The kernel has bridges, or a module for them; None where that is not told.
    pub(crate) bridge_driver: Option<bool>,
    /// A bridge helper of QEMU's with a privilege of its own, by a set-user-ID bit (true) or by capabilities.
    pub(crate) privileged_helper: Option<(PathBuf, bool)>,
    /// This program's path, where AppArmor does not let libvirtd run it.
    pub(crate) denied_by_apparmor: Option<PathBuf>,
}

impl HostSnapshot {
    pub(super) fn is_callers_tap(&self) -> bool {
        let access = TapAccess::Owner(self.context.caller.real_uid());
        let tap = self.tap.as_ref().and_then(Link::tap);
        tap.is_some_and(|tap| tap.is_for(access))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeDetails {
    pub(crate) ports: Vec<Link>,
    /// It has an address that is not link-local.
    pub(crate) has_address: bool,
    /// One of its addresses, and the interface that is in the same network.
    pub(crate) network_in_use: Option<(IpPrefix, IfName)>,
    /// Its MAC was set and stays, whatever ports it has. None where that is not told.
    pub(crate) has_own_mac: Option<bool>,
}

impl BridgeDetails {
    /// The ports through which other machines are reached: those that are no taps.
    pub(super) fn uplinks(&self) -> impl Iterator<Item = &Link> {
        self.ports.iter().filter(|port| port.tap().is_none())
    }

    /// One of them, if there is one; better one that works.
    pub(super) fn uplink(&self) -> Option<&Link> {
        self.uplinks().max_by_key(|port| (port.up, port.carrier))
    }
}
