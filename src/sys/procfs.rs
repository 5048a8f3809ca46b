//! What /proc, /sys and /run say: sysctls, who has a tap open, and programs that manage interfaces.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link};
use crate::model::state::{InterfaceManager, Sysctls, TapHolder};

/// Settings of the kernel for this network namespace.
pub fn sysctls() -> Sysctls {
    Sysctls {
        bridge_nf: bridge_nf(),
        ip_forward: sysctl("/proc/sys/net/ipv4/ip_forward"),
    }
}

/// Whether frames on bridges go through iptables; None where br_netfilter is not loaded.
pub fn bridge_nf() -> Option<bool> {
    sysctl("/proc/sys/net/bridge/bridge-nf-call-iptables")
}

fn sysctl(path: &str) -> Option<bool> {
    fs::read(path)
        .ok()
        .map(|bytes| bytes.first() == Some(&b'1'))
}

/// Who has the tap open, as far as /proc lets this user see (`iff:` in /proc/PID/fdinfo of a tun descriptor).
pub fn holder(tap: IfName) -> Option<TapHolder> {
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
        holds.then(|| TapHolder {
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

/// Running programs that configure interfaces by themselves, found by `/proc/PID/comm`.
pub fn managers(tap: Option<IfIndex>) -> Vec<InterfaceManager> {
    let running: Vec<Vec<u8>> = processes().map(command).collect();
    let state = |directory: &str, word: &str| {
        let path = tap.map(|index| Path::new(directory).join(index.to_string()));
        let state = path.and_then(|path| fs::read_to_string(path).ok());
        state.is_some_and(|state| state.lines().any(|line| line == word))
    };
    let network_manager = InterfaceManager {
        name: "NetworkManager",
        manages: state("/run/NetworkManager/devices", "managed=true"),
        fix: "nmcli device set IFNAME managed no",
    };
    let networkd = InterfaceManager {
        name: "systemd-networkd",
        manages: tap.is_some() && !state("/run/systemd/netif/links", "ADMIN_STATE=unmanaged"),
        fix: "printf '[Match]\\nKind=tun\\n[Link]\\nUnmanaged=yes\\n' > /etc/systemd/network/05-qemu-tap.network && networkctl reload",
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

/// Whether the MAC of an interface was set (`NET_ADDR_SET` in linux/netdevice.h), which only sysfs tells; None where that
/// shows another network namespace.
pub fn has_own_mac(link: &Link) -> Option<bool> {
    let directory = Path::new("/sys/class/net").join(OsStr::from_bytes(link.name.as_bytes()));
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    let is_this = read("ifindex")?.trim() == link.index.to_string()
        && read("address")?.trim() == link.address?.to_string();
    let how = read("addr_assign_type")?;
    is_this.then(|| how.trim() == "3")
}
