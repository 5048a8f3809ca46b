//! What is looked at before the plan, and after it for warnings: nothing is changed.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::kernel::{Kernel, RENAMED, Tap};
use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::bridge::{BridgePortInfo, FdbEntry, PortOption, locked_entries};
use crate::model::if_name::IfName;
use crate::model::link::{Link, LinkRef};
use crate::model::spec::TapSpec;
use crate::model::state::{CurrentState, NewIds, TapState};
use crate::policy::authorize::AuthorizedUp;
use crate::sys::ifreq::index_to_name;
use crate::sys::netlink::addr::{LinkAddress, get_addresses};
use crate::sys::netlink::{fdb, link, vlan};
use crate::sys::process::new_ids;
use crate::sys::procfs;
use crate::sys::qemu_fd::InheritedFd;

/// How long to wait until another run has finished to create a bridge, and the time between two looks.
const CREATE_PATIENCE: Duration = Duration::from_millis(100);
const CREATE_INTERVAL: Duration = Duration::from_millis(2);

impl Kernel {
    /// Observes the tap, its bridge, and the bridge of the spec, if there is one: all that a plan rests on.
    pub(crate) fn observe(
        &mut self,
        tap: &mut Tap,
        spec: Option<&TapSpec>,
    ) -> Result<CurrentState, Error> {
        let link = self.find_link(tap.name)?;
        // If the tap that was created has been renamed, this name is that of another interface.
        if let Some(created) = &tap.created
            && created.name() != Ok(tap.name)
        {
            return Err(Error::failed(format!("look up {}", tap.name), RENAMED));
        }
        tap.index = link.as_ref().map(|link| link.index);
        tap.link.clone_from(&link);
        let Some(spec) = spec else {
            let tap = link.map(|link| self.tap_state(link, None, None, false));
            return Ok(CurrentState {
                tap: tap.transpose()?,
                ..CurrentState::default()
            });
        };
        let in_any = link.as_ref().and_then(|link| link.master);
        let bridge = match (self.bridge.take(), in_any.filter(|_| spec.any_bridge)) {
            (_, Some(index)) => link::optional(link::get_by_index(&mut self.netlink, index))
                .map_err(|error| Error::failed("look up its bridge", error))?,
            (Some(link), None) if link.name == spec.bridge => Some(link),
            (Some(_) | None, None) => self.find_bridge(spec.bridge)?,
        };
        self.bridge.clone_from(&bridge);
        if let Some(link) = &link
            && tap.created.is_none()
        {
            tap.inherited = self.find_inherited(link)?;
        }
        let creates_bridge = bridge.is_none() && spec.create_bridge.is_some();
        // A new bridge has IPv6 if the loopback interface has it.
        let ipv6 = if creates_bridge {
            has_ipv6(self.find_link(IfName::LOOPBACK)?.as_ref())
        } else {
            has_ipv6(bridge.as_ref())
        };
        let is_missing = link.is_none();
        let has_fd = tap.inherited.is_some();
        let state = link.map(|link| self.tap_state(link, Some(spec), bridge.as_ref(), has_fd));
        let state = state.transpose()?;
        Ok(CurrentState {
            mac_in_use: match &bridge {
                Some(bridge) => self.mac_in_use(bridge, spec, state.as_ref())?,
                None => None,
            },
            tap: state,
            ids: if creates_bridge || is_missing || tap.created.is_some() {
                self.new_ids(creates_bridge)?
            } else {
                NewIds::default()
            },
            bridges: if bridge.is_none() && !creates_bridge {
                self.bridges()
            } else {
                Vec::new()
            },
            network_in_use: match &spec.create_bridge {
                Some(wanted) if creates_bridge && !wanted.is_empty() => {
                    let all = get_addresses(&mut self.netlink).map_err(|error| {
                        Error::failed("look at the addresses of this host", error)
                    })?;
                    self.network_in_use(spec.bridge, wanted, &all)
                }
                Some(_) | None => None,
            },
            bridge,
            ipv6,
            is_created: tap.created.is_some(),
        })
    }

    /// Looks up the interface that was named as the bridge.
    pub(crate) fn find_bridge(&mut self, name: IfName) -> Result<Option<Link>, Error> {
        self.find_link(name).map_err(|mut error| {
            if let Error::AlternativeName { as_bridge, .. } = &mut error {
                *as_bridge = true;
            }
            error
        })
    }

    /// Looks for QEMU's descriptor of this tap, which may have been renamed since it was looked up.
    fn find_inherited(&mut self, tap: &Link) -> Result<Option<InheritedFd>, Error> {
        let found = self.inherited.find(|name| {
            let is_it = |found: Link| found.index == tap.index;
            let mut found = || link::optional(link::get_by_name(&mut self.netlink, name));
            Ok(name == tap.name || found()?.is_some_and(is_it))
        });
        found.map_err(|error| Error::failed("look for QEMU's descriptor", error))
    }

    /// The first of these addresses of a bridge whose network another interface is in already; `all` are those of the host.
    pub(crate) fn network_in_use(
        &self,
        bridge: IfName,
        addresses: &[IpPrefix],
        all: &[LinkAddress],
    ) -> Option<(IpPrefix, IfName)> {
        all.iter().find_map(|other| {
            let mut of_this = addresses.iter();
            let address = of_this.find(|address| address.conflicts_with(&other.prefix))?;
            // It may be deleted, or be the bridge, which another process has just created.
            let name = index_to_name(&self.netlink, other.index).ok()?;
            (name != bridge).then_some((*address, name))
        })
    }

    /// Whether the bridge is up after the run that creates it has finished, if one does. A bridge that was never up may be in
    /// creation: it goes up last, after it got its addresses.
    pub(crate) fn is_up_when_created(&mut self, bridge: LinkRef, may_be_new: bool) -> bool {
        let end = Instant::now() + CREATE_PATIENCE;
        loop {
            match link::get_by_index(&mut self.netlink, bridge.index) {
                Ok(link) if !link.up && may_be_new && link.was_never_up() => {}
                link => return link.is_ok_and(|link| link.up),
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(CREATE_INTERVAL);
        }
    }

    /// An address that a new bridge would have got, and that the bridge, which exists already, lacks. An address whose network
    /// another interface serves is skipped: in a line of the configuration for all taps, it is meant for that one.
    pub(crate) fn missing_address(&mut self, auth: &AuthorizedUp) -> Option<IpPrefix> {
        let wanted = auth.spec.create_bridge.as_ref()?;
        if wanted.is_empty() || auth.bridge.is_new {
            return None;
        }
        let LinkRef { index, name } = auth.bridge.link;
        let all = get_addresses(&mut self.netlink).ok()?;
        let mut wanted = wanted.iter().copied();
        wanted.find(|&address| {
            let is_it = |own: &LinkAddress| own.index == index && own.prefix == address;
            !all.iter().any(is_it) && self.network_in_use(name, &[address], &all).is_none()
        })
    }

    /// Whether Docker drops what bridges forward: it runs, and bridged frames go through iptables.
    pub(crate) fn docker_drops(&mut self) -> bool {
        matches!(self.find_link(IfName::DOCKER_BRIDGE), Ok(Some(_)))
            && procfs::bridge_nf_calls("iptables")
    }

    /// All bridges; empty if the kernel does not list them.
    pub(crate) fn bridges(&mut self) -> Vec<IfName> {
        let all = link::get_all(&mut self.netlink).unwrap_or_default();
        let bridges = all.iter().filter(|link| link.bridge().is_some());
        bridges.map(|link| link.name).collect()
    }

    /// The state of the tap as the plan needs it: for this spec and bridge, or without a spec to take it down.
    fn tap_state(
        &mut self,
        link: Link,
        spec: Option<&TapSpec>,
        bridge: Option<&Link>,
        has_fd: bool,
    ) -> Result<TapState, Error> {
        let master = self.master(&link, bridge)?;
        // If a move fails, the port gets back what it lost when it left its bridge.
        let left =
            master.filter(|&left| spec.is_some() && Some(left) != bridge.map(Link::link_ref));
        let reads_fdb = left.is_some() || spec.is_some_and(|spec| spec.lock_mac.is_some());
        let reads_vlans = reads_fdb || spec.is_some_and(|spec| spec.vlans.is_some());
        Ok(TapState {
            default_pvid: left.map_or(Ok(None), |left| self.default_pvid(left))?,
            vlans: if master.is_some() && reads_vlans {
                vlan::get_port_vlans(&mut self.netlink, link.index)
                    .map_err(|error| Error::failed("read its VLANs", error))?
            } else {
                Vec::new()
            },
            fdb: self.static_fdb(&link, reads_fdb)?,
            link,
            master,
            has_fd,
        })
    }

    /// The bridge of the tap, or what else it is a port of.
    fn master(&mut self, tap: &Link, bridge: Option<&Link>) -> Result<Option<LinkRef>, Error> {
        let Some(index) = tap.master else {
            return Ok(None);
        };
        if let Some(bridge) = bridge.filter(|bridge| bridge.index == index) {
            return Ok(Some(bridge.link_ref()));
        }
        let name = index_to_name(&self.netlink, index);
        let name = name.map_err(|error| Error::failed("look up what it is a port of", error))?;
        Ok(Some(LinkRef { index, name }))
    }

    /// The untagged VLAN that a port gets when it joins, if this is a bridge.
    fn default_pvid(&mut self, master: LinkRef) -> Result<Option<u16>, Error> {
        let found = link::get_by_index(&mut self.netlink, master.index);
        let found = found.map_err(|error| Error::failed(format!("look up {}", master.name), error));
        Ok(found?.bridge().and_then(|info| info.default_pvid))
    }

    /// The static entries of a port in the forwarding database, if they are asked for or it is locked to them.
    fn static_fdb(&mut self, tap: &Link, is_asked: bool) -> Result<Vec<FdbEntry>, Error> {
        let is_locked = |port: BridgePortInfo| port.options.is_on(PortOption::Locked);
        if !tap.port.is_some_and(|port| is_asked || is_locked(port)) {
            return Ok(Vec::new());
        }
        fdb::get_static(&mut self.netlink, tap.index)
            .map_err(|error| Error::failed("read its fdb entries", error))
    }

    /// The interface other than the tap that has the address of a lock permanently, in a VLAN that the tap will be in.
    fn mac_in_use(
        &mut self,
        bridge: &Link,
        spec: &TapSpec,
        tap: Option<&TapState>,
    ) -> Result<Option<IfName>, Error> {
        let (Some(mac), Some(info)) = (spec.lock_mac.flatten(), bridge.bridge()) else {
            return Ok(None);
        };
        let mac = MacAddr::from(mac);
        // The bridge may have the address of a port, and the entry is then that of the port.
        if bridge.address == Some(mac) {
            return Ok(Some(bridge.name));
        }
        let failed = |error| Error::failed(format!("look for {mac} on {}", bridge.name), error);
        let port = tap.filter(|tap| tap.link.master == Some(bridge.index));
        let vlans = port.map_or_else(|| info.vlans_of_new_port(), |port| port.vlans.clone());
        let vlans = spec.wanted_vlans(vlans);
        let locked = locked_entries(Some(mac), info.vlan_filtering, &vlans);
        // Frames without a VLAN have an entry, too.
        for vid in locked.iter().map(|entry| entry.vid).chain([0]) {
            let found = fdb::find_mac(&mut self.netlink, bridge.index, mac, vid);
            if let Some(index) = found.map_err(failed)?
                && tap.is_none_or(|tap| tap.link.index != index)
            {
                let name = index_to_name(&self.netlink, index).map_err(failed)?;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Random identifiers, with an unused ifindex if one is needed.
    fn new_ids(&mut self, needs_index: bool) -> Result<NewIds, Error> {
        let mut ids = new_ids();
        let failed = |error| Error::failed("find an ifindex for the bridge", error);
        let mut look = |index| link::optional(link::get_by_index(&mut self.netlink, index));
        while needs_index && look(ids.index).map_err(failed)?.is_some() {
            ids.index += 1;
        }
        Ok(ids)
    }
}

fn has_ipv6(link: Option<&Link>) -> bool {
    link.is_some_and(|link| link.addr_gen_mode.is_some())
}
