//! What /proc, /sys, /run and /etc/apparmor.d say: settings, who has a tap open, and what else may keep a guest from its
//! network.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::model::bridge::BridgeNf;
use crate::model::if_name::IfName;
use crate::model::link::Link;
use crate::model::parse_decimal;
use crate::model::state::{InterfaceManager, Sysctls, TapHolder};
use crate::sys::privilege::has_file_capabilities;

/// Settings of the kernel for this network namespace.
pub(crate) fn sysctls() -> Sysctls {
    Sysctls {
        bridge_nf: bridge_nf(),
        br_netfilter: Path::new("/proc/sys/net/bridge").exists(),
        filters: filters(),
        ip_forward: sysctl("/proc/sys/net/ipv4/ip_forward"),
        disable_ipv6: sysctl("/proc/sys/net/ipv6/conf/default/disable_ipv6"),
    }
}

/// Whether frames on all bridges go through the firewall.
pub(crate) fn bridge_nf() -> BridgeNf {
    ["iptables", "ip6tables", "arptables"].map(bridge_nf_calls)
}

/// Whether they go through this tool's rules.
pub(crate) fn bridge_nf_calls(tool: &str) -> bool {
    let path = format!("/proc/sys/net/bridge/bridge-nf-call-{tool}");
    sysctl(&path) == Some(true)
}

/// Whether there may be rules, as far as this user can see; not which ones.
fn filters() -> BridgeNf {
    let nftables = Path::new("/sys/module/nf_tables").exists();
    ["ip", "ip6", "arp"].map(|family| {
        let tables = fs::read_to_string(format!("/proc/net/{family}_tables_names"));
        nftables || tables.is_ok_and(|tables| tables.lines().any(|table| table == "filter"))
    })
}

fn sysctl(path: &str) -> Option<bool> {
    fs::read(path)
        .ok()
        .map(|bytes| bytes.first() == Some(&b'1'))
}

/// Who has which tap open, as far as /proc lets this user see (`iff:` in /proc/PID/fdinfo of a tun descriptor). The same name in
/// another network namespace is another tap.
pub(crate) fn holders() -> Vec<(IfName, TapHolder)> {
    let ours = network_namespace("self").ok();
    let is_here =
        |pid: &u32| *pid != std::process::id() && network_namespace(&pid.to_string()).ok() == ours;
    let mut holders = Vec::new();
    for pid in processes().filter(is_here) {
        let taps = open_taps(pid);
        // Most programs have none.
        if let Some(holder) = (!taps.is_empty()).then(|| holder(pid)).flatten() {
            holders.extend(taps.into_iter().map(|tap| (tap, holder.clone())));
        }
    }
    holders
}

/// The taps that a program has open, each once.
fn open_taps(pid: u32) -> Vec<IfName> {
    let mut taps = Vec::new();
    for info in fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .into_iter()
        .flatten()
    {
        let info = info
            .and_then(|entry| fs::read(entry.path()))
            .unwrap_or_default();
        let mut lines = info.split(|&byte| byte == b'\n');
        let name = lines.find_map(|line| line.strip_prefix(b"iff:\t"));
        if let Some(tap) = name.and_then(|name| IfName::new(name).ok())
            && !taps.contains(&tap)
        {
            taps.push(tap);
        }
    }
    taps
}

fn holder(pid: u32) -> Option<TapHolder> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:\t"))?;
    Some(TapHolder {
        pid,
        uid: parse_decimal(uids.split('\t').next()?)?,
        command: command(pid),
    })
}

fn network_namespace(pid: &str) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net"))
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

/// The programs that configure interfaces by themselves and run, found by `/proc/PID/comm`; not those that are known to be
/// in another network namespace.
pub(crate) fn managers() -> Vec<InterfaceManager> {
    let ours = network_namespace("self").ok();
    let is_here = |pid: &u32| match network_namespace(&pid.to_string()) {
        // This cannot be read for a process of another user.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        Ok(other) => Some(other) == ours,
    };
    let running: Vec<Vec<u8>> = processes().filter(is_here).map(command).collect();
    let commands = [
        (InterfaceManager::NetworkManager, "NetworkManager"),
        // The kernel keeps 15 bytes of it.
        (InterfaceManager::Networkd, "systemd-network"),
        (InterfaceManager::Dhcpcd, "dhcpcd"),
    ];
    let is_running = |command: &str| running.iter().any(|name| name == command.as_bytes());
    let managers = commands
        .into_iter()
        .filter(|(_, command)| is_running(command));
    managers.map(|(manager, _)| manager).collect()
}

/// Whether this program manages this interface; None if unknown.
pub(crate) fn manages(manager: InterfaceManager, link: Option<&Link>) -> Option<bool> {
    let has_line = |directory: &str, line: &str| {
        let file = Path::new(directory).join(link?.index.to_string());
        let state = fs::read_to_string(file).ok()?;
        Some(state.lines().any(|found| found == line))
    };
    match manager {
        InterfaceManager::NetworkManager => has_line("/run/NetworkManager/devices", "managed=true"),
        InterfaceManager::Networkd => {
            let unmanaged = has_line("/run/systemd/netif/links", "ADMIN_STATE=unmanaged");
            unmanaged.map(|unmanaged| !unmanaged)
        }
        // It has a file only for an interface that it was started for by name. Since version 9 it leaves taps alone.
        InterfaceManager::Dhcpcd => None,
    }
}

/// Whether the MAC of an interface was set (`NET_ADDR_SET` in linux/netdevice.h), which only sysfs tells; None where that
/// shows another network namespace.
pub(crate) fn has_own_mac(link: &Link) -> Option<bool> {
    let directory = Path::new("/sys/class/net").join(OsStr::from_bytes(link.name.as_bytes()));
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    let is_this = read("ifindex")?.trim() == link.index.to_string()
        && read("address")?.trim() == link.address?.to_string();
    let how = read("addr_assign_type")?;
    is_this.then(|| how.trim() == "3")
}

/// Why the caller cannot use /dev/vhost-net, as far as its permissions tell: to open it would load a module.
pub(crate) fn vhost_net() -> Result<(), Errno> {
    access("/dev/vhost-net", AccessFlags::R_OK | AccessFlags::W_OK)
}

/// Whether this host is itself a guest: the processor says so (x86), or the machine has the name of a hypervisor or a cloud.
pub(crate) fn is_guest() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let vendor = read("/sys/class/dmi/id/sys_vendor");
    let is_known = |name: &str| vendor.starts_with(name);
    ["QEMU", "Amazon EC2", "Google", "VMware"]
        .into_iter()
        .any(is_known)
        || read("/proc/cpuinfo")
            .split_ascii_whitespace()
            .any(|word| word == "hypervisor")
}

/// Whether the kernel has bridges, or a module for them to load; None if unknown.
pub(crate) fn has_bridge_driver() -> Option<bool> {
    if Path::new("/sys/module/bridge").exists() {
        return Some(true);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let modules = Path::new("/lib/modules").join(release.trim_ascii_end());
    let lists =
        ["modules.builtin", "modules.dep"].map(|list| fs::read_to_string(modules.join(list)).ok());
    let [builtin, loadable] = lists;
    Some((builtin? + &loadable?).contains("/bridge.ko"))
}

/// This program's path, where libvirtd's AppArmor profile does not let it run that: by itself it allows /usr/bin and
/// /usr/sbin.
pub(crate) fn denied_by_apparmor() -> Option<PathBuf> {
    let program = fs::read_link("/proc/self/exe").ok()?;
    let is_allowed = |directory: &str| program.parent() == Some(Path::new(directory));
    let rules = fs::read("/etc/apparmor.d/local/usr.sbin.libvirtd").unwrap_or_default();
    let has_rule = rules.split(|&byte| byte == b'\n').any(|line| {
        let rest = line
            .trim_ascii_start()
            .strip_prefix(program.as_os_str().as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b" "))
    });
    let denied = Path::new("/etc/apparmor.d/usr.sbin.libvirtd").exists()
        && !["/usr/bin", "/usr/sbin"].into_iter().any(is_allowed)
        && !has_rule;
    denied.then_some(program)
}

/// A bridge helper of QEMU's that is not this program and has a privilege of its own, by a set-user-ID bit (true) or by
/// capabilities.
pub(crate) fn privileged_helper() -> Option<(PathBuf, bool)> {
    let own = fs::metadata("/proc/self/exe").ok();
    let own = own.map(|file| (file.dev(), file.ino()));
    let directories = ["/usr/lib/qemu", "/usr/libexec", "/usr/libexec/qemu"];
    let paths = directories.map(|directory| Path::new(directory).join("qemu-bridge-helper"));
    paths.into_iter().find_map(|path| {
        let file = fs::metadata(&path).ok()?;
        if Some((file.dev(), file.ino())) == own {
            return None;
        }
        let is_set_user_id = file.mode() & libc::S_ISUID != 0 && file.uid() == 0;
        (is_set_user_id || has_file_capabilities(&path)).then_some((path, is_set_user_id))
    })
}
