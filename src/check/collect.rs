//! Fills the snapshot: the one file of this layer that asks the system. Nothing is changed.

use nix::errno::Errno;

use crate::check::snapshot::{BridgeDetails, CheckContext, HostSnapshot};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::model::bridge::{FdbEntry, PortOption};
use crate::model::link::Link;
use crate::sys::error::SysError;
use crate::sys::netlink::addr::{LinkAddress, get_addresses};
use crate::sys::netlink::{fdb, link};
use crate::sys::procfs;
use crate::sys::tun;

/// Looks at everything that a guest's network depends on.
pub(crate) fn collect(kernel: &mut Kernel, context: CheckContext) -> Result<HostSnapshot, Error> {
    let failed = |error| Error::failed("read the network configuration", error);
    let bridge = kernel.find_bridge(context.bridge())?;
    let addresses = get_addresses(kernel.netlink()).map_err(failed)?;
    let bridge_details = match &bridge {
        Some(link) if link.bridge().is_some() => Some(bridge_details(kernel, link, &addresses)?),
        Some(_) | None => None,
    };
    let tap = match context.tap {
        Some(name) => kernel.find_link(name)?,
        None => None,
    };
    let tap_has_address = tap
        .as_ref()
        .is_some_and(|tap| has_address(&addresses, tap, libc::RT_SCOPE_LINK));
    let is_locked = |tap: &&Link| {
        let port = tap.port.unwrap_or_default();
        port.options.is_on(PortOption::Locked)
    };
    let locked = tap.as_ref().filter(is_locked);
    let tap_lacks_mac = match locked {
        Some(tap) => {
            let entries = fdb::get_static(kernel.netlink(), tap.index).map_err(failed)?;
            let is_one = |entry: &FdbEntry| context.lock_mac().is_none_or(|mac| entry.mac == mac);
            !entries.iter().any(is_one)
        }
        None => false,
    };
    Ok(HostSnapshot {
        tun: try_tun(),
        bridge,
        bridge_details,
        network_in_use: kernel.network_in_use(
            context.bridge(),
            &context.options.addresses,
            &addresses,
        ),
        bridges: kernel.bridges(),
        sysctls: procfs::sysctls(),
        tap_master: match tap.as_ref().and_then(|tap| tap.master) {
            Some(index) => {
                let master = link::optional(link::get_by_index(kernel.netlink(), index));
                master.map_err(failed)?.map(|master| master.name)
            }
            None => None,
        },
        tap_has_address,
        tap_lacks_mac,
        holders: tap
            .as_ref()
            .map(|tap| procfs::holders(tap.name))
            .unwrap_or_default(),
        managers: procfs::managers(tap.as_ref()),
        vhost_net: procfs::vhost_net(),
        is_guest: procfs::is_guest(),
        bridge_driver: procfs::has_bridge_driver(),
        privileged_helper: procfs::privileged_helper(),
        denied_by_apparmor: procfs::denied_by_apparmor(),
        tap,
        context,
    })
}

fn has_address(addresses: &[LinkAddress], link: &Link, scope: u8) -> bool {
    let mut addresses = addresses.iter();
    addresses.any(|address| address.index == link.index && address.scope == scope)
}

fn bridge_details(
    kernel: &mut Kernel,
    bridge: &Link,
    addresses: &[LinkAddress],
) -> Result<BridgeDetails, Error> {
    let failed = |error| Error::failed("read the network configuration", error);
    let mut ports = link::get_all(kernel.netlink()).map_err(failed)?;
    ports.retain(|link| link.master == Some(bridge.index));
    let own = addresses.iter();
    let own = own.filter(|address| address.index == bridge.index);
    let own: Vec<_> = own.map(|address| address.prefix).collect();
    Ok(BridgeDetails {
        ports,
        has_address: has_address(addresses, bridge, libc::RT_SCOPE_UNIVERSE),
        network_in_use: kernel.network_in_use(bridge.name, &own, addresses),
        has_own_mac: procfs::has_own_mac(bridge),
    })
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
