//! What only `--check` wants to know: the bridge's ports and addresses, switches of the kernel, other programs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use netlink_packet_route::address::AddressHeader;
use netlink_sys::Socket;
use nix::errno::Errno;

use crate::check::{BridgeView, Holder, Manager, Switches};
use crate::error::Cause;
use crate::facts::{IfIndex, Kind, Link};
use crate::kernel::link;
use crate::kernel::netlink::Netlink;
use crate::kernel::tap;
use crate::name::IfName;

/// The bridge, with what belongs to it.
///
/// # Errors
/// The kernel does not say.
pub fn bridge_view(netlink: &mut Netlink<Socket>, bridge: &Link) -> Result<BridgeView, Cause> {
    let mut ports = Vec::new();
    link::each(netlink, |found| {
        if found.master == Some(bridge.index) {
            ports.push(found);
        }
    })?;
    Ok(BridgeView {
        link: bridge.clone(),
        ports,
        has_address: has_address(netlink, bridge.index, GLOBAL)?,
        has_own_mac: has_own_mac(bridge),
    })
}

/// Whether the MAC of an interface was set (`NET_ADDR_SET` in linux/netdevice.h), which only sysfs tells; none where that
/// shows another network namespace.
fn has_own_mac(link: &Link) -> Option<bool> {
    let directory = Path::new("/sys/class/net").join(OsStr::from_bytes(link.name.as_bytes()));
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    let is_this = read("ifindex")?.trim() == link.index.to_string()
        && read("address")?.trim() == link.address?.to_string();
    let how = read("addr_assign_type")?;
    is_this.then(|| how.trim() == "3")
}

/// All bridges.
///
/// # Errors
/// The kernel does not say.
pub fn bridges(netlink: &mut Netlink<Socket>) -> Result<Vec<IfName>, Cause> {
    let mut names = Vec::new();
    link::each(netlink, |found| {
        if matches!(found.kind, Kind::Bridge(_)) {
            names.push(found.name);
        }
    })?;
    Ok(names)
}

/// `RT_SCOPE_UNIVERSE` in linux/rtnetlink.h.
const GLOBAL: u8 = 0;
/// `RT_SCOPE_LINK` in linux/rtnetlink.h.
pub const LINK_LOCAL: u8 = 253;

/// Bytes of `struct ifaddrmsg` in linux/if_addr.h: family, prefix length, flags, scope, and the interface's number.
const IFADDRMSG: usize = 8;

/// Whether an interface has an address of this scope.
///
/// # Errors
/// The kernel does not say.
pub fn has_address(
    netlink: &mut Netlink<Socket>,
    index: IfIndex,
    scope: u8,
) -> Result<bool, Cause> {
    let mut found = false;
    let all = AddressHeader::default();
    netlink.ask_all(libc::RTM_GETADDR, &all, libc::RTM_NEWADDR, |body| {
        let header = body.first_chunk::<IFADDRMSG>();
        let [_, _, _, this, number @ ..] =
            *header.ok_or(Cause::Nonsense("an address is cut short"))?;
        found |= this == scope && u32::from_ne_bytes(number) == index;
        Ok(())
    })?;
    Ok(found)
}

/// Opens /dev/net/tun and closes it again, which changes nothing.
///
/// # Errors
/// Why it cannot be opened.
pub fn try_tun() -> Result<(), Errno> {
    let tun = tap::open().map_err(|cause| cause.errno().unwrap_or(Errno::EIO))?;
    tap::is_tun(&tun)?.then_some(()).ok_or(Errno::ENOTTY)
}

/// Settings of the kernel for this network namespace.
pub fn switches() -> Switches {
    Switches {
        bridge_nf: bridge_nf(),
        ip_forward: switch("/proc/sys/net/ipv4/ip_forward"),
    }
}

/// Whether frames on bridges go through iptables; none where br_netfilter is not loaded.
pub fn bridge_nf() -> Option<bool> {
    switch("/proc/sys/net/bridge/bridge-nf-call-iptables")
}

fn switch(path: &str) -> Option<bool> {
    fs::read(path)
        .ok()
        .map(|bytes| bytes.first() == Some(&b'1'))
}

/// Who has the tap open, as far as /proc lets this user see: a descriptor of the tun driver names its interface.
pub fn holder(tap: IfName) -> Option<Holder> {
    let line = [b"iff:\t", tap.as_bytes(), b"\n"].concat();
    // The same name in another network namespace is another tap.
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = namespace("self");
    let is_here = |pid: &u32| *pid != std::process::id() && namespace(&pid.to_string()) == ours;
    processes().filter(is_here).find_map(|pid| {
        let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?;
        let holds = infos.filter_map(Result::ok).any(|entry| {
            let info = fs::read(entry.path()).unwrap_or_default();
            info.windows(line.len()).any(|window| window == line)
        });
        holds.then(|| Holder {
            pid,
            command: command(pid),
        })
    })
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").ok().into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn command(pid: u32) -> Vec<u8> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.truncate(name.trim_ascii_end().len());
    name
}

/// Programs that configure interfaces by themselves and are running, by the name that the kernel has for them.
pub fn managers(tap: Option<IfIndex>) -> Vec<Manager> {
    let running: Vec<Vec<u8>> = processes().map(command).collect();
    let state = |directory: &str, word: &str| {
        let path = tap.map(|index| Path::new(directory).join(index.to_string()));
        let state = path.and_then(|path| fs::read_to_string(path).ok());
        state.is_some_and(|state| state.lines().any(|line| line == word))
    };
    let network_manager = Manager {
        name: "NetworkManager",
        manages: state("/run/NetworkManager/devices", "managed=true"),
        mend: "nmcli device set IFNAME managed no",
    };
    let networkd = Manager {
        name: "systemd-networkd",
        manages: tap.is_some() && !state("/run/systemd/netif/links", "ADMIN_STATE=unmanaged"),
        mend: "printf '[Match]\\nKind=tun\\n[Link]\\nUnmanaged=yes\\n' > /etc/systemd/network/05-qemu-tap.network && networkctl reload",
    };
    [
        (network_manager, b"NetworkManager".as_slice()),
        // The kernel keeps 15 bytes of it.
        (networkd, b"systemd-network"),
    ]
    .into_iter()
    .filter(|(_, command)| running.iter().any(|name| name == command))
    .map(|(manager, _)| manager)
    .collect()
}
