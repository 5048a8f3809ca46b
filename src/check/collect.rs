//! Fills the snapshots: the one file of this layer that asks the system. Nothing is changed.

use std::rc::Rc;

use nix::errno::Errno;

use crate::check::snapshot::{Bridge, BridgeDetails, Context, Host, Snapshot};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::model::bridge::{FdbEntry, PortOption};
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link};
use crate::model::state::TapHolder;
use crate::sys::error::SysError;
use crate::sys::netlink::addr::{LinkAddress, get_addresses};
use crate::sys::netlink::{fdb, link};
use crate::sys::procfs;
use crate::sys::tun;

/// What is seen of the host once, however many taps are asked about.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    pub(crate) host: Host<'a>,
    links: Vec<Link>,
    addresses: Vec<LinkAddress>,
    /// The static entries of all ports, once they were needed.
    fdb: Option<Vec<(IfIndex, FdbEntry)>>,
    /// Who has taps open, once it was needed.
    holders: Option<Vec<(IfName, TapHolder)>>,
    bridges: Vec<Rc<Bridge>>,
}

fn failed(error: SysError) -> Error {
    Error::failed("read the network configuration", error)
}

impl<'a> Collector<'a> {
    /// Looks at everything that the network of any guest depends on.
    pub(crate) fn new(kernel: &mut Kernel, context: Context<'a>) -> Result<Self, Error> {
        let links = link::get_all(kernel.netlink()).map_err(failed)?;
        let bridges = links.iter().filter(|link| link.bridge().is_some());
        Ok(Self {
            host: Host {
                context,
                tun: try_tun(),
                bridges: bridges.map(|link| link.name).collect(),
                sysctls: procfs::sysctls(),
                managers: procfs::managers(),
                vhost_net: procfs::vhost_net(),
                is_guest: procfs::is_guest(),
                bridge_driver: procfs::has_bridge_driver(),
                privileged_helper: procfs::privileged_helper(),
                denied_by_apparmor: procfs::denied_by_apparmor(),
            },
            addresses: get_addresses(kernel.netlink()).map_err(failed)?,
            links,
            fdb: None,
            holders: None,
            bridges: Vec::new(),
        })
    }

    /// Looks at everything else that this tap's guest depends on.
    pub(crate) fn look_at(
        &mut self,
        kernel: &mut Kernel,
        name: Option<IfName>,
    ) -> Result<Snapshot<'_>, Error> {
        let Context { asked, conf, .. } = self.host.context;
        let conf = match conf {
            Ok(conf) => Ok(conf.for_tap(name.unwrap_or(IfName::EXAMPLE_TAP))?),
            Err(error) => Err(error),
        };
        let options = match &conf {
            Ok(conf) => asked.clone().with_defaults(conf.options.clone()),
            Err(_) => asked.clone(),
        };
        let bridge = self.bridge(kernel, options.bridge.unwrap_or(IfName::DEFAULT_BRIDGE))?;
        let tap = match name {
            Some(name) => kernel.find_link(name)?,
            None => None,
        };
        let lock_mac = options.lock_mac.flatten().map(Into::into);
        let tap_lacks_mac = match &tap {
            Some(tap)
                if tap
                    .port
                    .unwrap_or_default()
                    .options
                    .is_on(PortOption::Locked) =>
            {
                let is_one = |(port, entry): &(_, FdbEntry)| {
                    *port == tap.index && lock_mac.is_none_or(|mac| entry.mac == mac)
                };
                !self.fdb(kernel)?.iter().any(is_one)
            }
            Some(_) | None => false,
        };
        let holders = match &tap {
            Some(tap) => {
                let all = self.holders.get_or_insert_with(procfs::holders).iter();
                let of_this = all.filter(|(name, _)| *name == tap.name);
                of_this.map(|(_, holder)| holder.clone()).collect()
            }
            None => Vec::new(),
        };
        let master = tap.as_ref().and_then(|tap| tap.master);
        let master = self.links.iter().find(|link| Some(link.index) == master);
        let manages = |&manager| (manager, procfs::manages(manager, tap.as_ref()));
        Ok(Snapshot {
            name,
            network_in_use: kernel.network_in_use(bridge.name, &options.addresses, &self.addresses),
            options,
            conf,
            bridge,
            tap_master: master.map(|link| link.name),
            tap_has_address: tap
                .as_ref()
                .is_some_and(|tap| self.has_address(tap, libc::RT_SCOPE_LINK)),
            tap_lacks_mac,
            holders,
            managed: self.host.managers.iter().map(manages).collect(),
            tap,
            host: &self.host,
        })
    }

    fn has_address(&self, link: &Link, scope: u8) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|address| address.index == link.index && address.scope == scope)
    }

    fn fdb(&mut self, kernel: &mut Kernel) -> Result<&[(IfIndex, FdbEntry)], Error> {
        let entries = match self.fdb.take() {
            Some(entries) => entries,
            None => fdb::get_all_static(kernel.netlink()).map_err(failed)?,
        };
        Ok(self.fdb.insert(entries))
    }

    fn bridge(&mut self, kernel: &mut Kernel, name: IfName) -> Result<Rc<Bridge>, Error> {
        if let Some(bridge) = self.bridges.iter().find(|bridge| bridge.name == name) {
            return Ok(Rc::clone(bridge));
        }
        let link = kernel.find_bridge(name)?;
        let is_bridge = |link: &&Link| link.bridge().is_some();
        let details = link.as_ref().filter(is_bridge).map(|link| {
            let ports = self
                .links
                .iter()
                .filter(|port| port.master == Some(link.index));
            let own = self.addresses.iter();
            let own = own.filter(|address| address.index == link.index);
            let own: Vec<_> = own.map(|address| address.prefix).collect();
            BridgeDetails {
                ports: ports.cloned().collect(),
                has_address: self.has_address(link, libc::RT_SCOPE_UNIVERSE),
                network_in_use: kernel.network_in_use(name, &own, &self.addresses),
                has_own_mac: procfs::has_own_mac(link),
            }
        });
        let bridge = Rc::new(Bridge {
            name,
            link,
            details,
        });
        self.bridges.push(Rc::clone(&bridge));
        Ok(bridge)
    }
}

/// Opens /dev/net/tun and closes it again.
fn try_tun() -> Result<(), Errno> {
    let tun = tun::open().map_err(|error| match (&error, error.errno()) {
        (SysError::TunDevice(errno), _) => *errno,
        (_, Some(errno)) => errno,
        (_, None) => Errno::EIO,
    })?;
    tun::is_tun(&tun)?.then_some(()).ok_or(Errno::ENOTTY)
}
