//! What to do about an error, where we know.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::config::acl::{AclError, AclErrorKind};
use crate::config::conf::CONF_FILE;
use crate::config::error::{ConfigError, UsageError};
use crate::config::files::NOT_ROOTS;
use crate::error::Error;
use crate::escape::ShellQuoted;
use crate::model::bridge::PortState;
use crate::model::if_name::IfName;
use crate::model::link::LinkKind;
use crate::model::spec::TapAccess;
use crate::sys::error::SysError;
use crate::sys::file::GROUP;
use crate::sys::netlink::bridge::{IPV6_OFF, NO_BRIDGE_DRIVER, NO_VLAN_FILTERING};
use crate::sys::privilege::Withheld;
use crate::sys::tun::NOT_MAPPED;

/// Why /dev/net/tun cannot be used, and what to do. Other reasons speak for themselves.
pub const TUN_HINTS: [(Errno, &str); 6] = [
    (
        Errno::ENOTTY,
        "something else stands in its place: sudo mv /dev/net/tun /dev/net/tun.orig && sudo mknod -m 0666 /dev/net/tun c 10 200",
    ),
    (
        Errno::ENOENT,
        "create it: sudo mkdir -p /dev/net && sudo mknod -m 0666 /dev/net/tun c 10 200; in a container, or where /dev is read-only, it has to come from outside: docker run --device /dev/net/tun, or a bind mount of /dev",
    ),
    (
        Errno::ENODEV,
        "the kernel has no tun driver loaded: sudo modprobe tun; for a container, on its host",
    ),
    (
        Errno::ENXIO,
        "the kernel has no tun driver loaded: sudo modprobe tun; for a container, on its host",
    ),
    (
        Errno::EACCES,
        "its permissions do not allow this user to open it: sudo chmod 0666 /dev/net/tun; that is the default almost everywhere, and lets users open only what is theirs",
    ),
    (
        Errno::EPERM,
        "a container or cgroup keeps this device from its processes: allow it the device c 10:200 rwm (docker run --device /dev/net/tun; in a systemd unit DeviceAllow=/dev/net/tun rwm)",
    ),
];

/// What to do where this was named as the bridge; NAME stands for it. No command puts it into a bridge: the host would lose
/// the network that it has through it.
fn instead_of_a_bridge(name: IfName, kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Other(kind) => match kind.as_str() {
            "openvswitch" => {
                "Open vSwitch has ports of its own: give QEMU script=no, and then ovs-vsctl add-port NAME TAP"
            }
            "bond" | "team" => UPLINK,
            "macvtap" => {
                "a macvtap needs no bridge, QEMU opens it by itself (-netdev tap,fd=N); or name a bridge with --bridge"
            }
            "macvlan" => {
                "a macvlan takes no ports: name a bridge with --bridge (ip link show type bridge)"
            }
            _ => ANY_BRIDGE,
        },
        LinkKind::Unset if name != IfName::LOOPBACK => UPLINK,
        LinkKind::Unset | LinkKind::Tap(_) | LinkKind::Tun | LinkKind::Bridge(_) => ANY_BRIDGE,
    }
}

const UPLINK: &str = "name a bridge with --bridge (ip link show type bridge); to have NAME in one is for the program that manages the host's network, which also moves the address there: docs/networks.md; a Wi-Fi card can be in none";

const ANY_BRIDGE: &str = "name a bridge with --bridge (ip link show type bridge)";

/// Where no cause is known.
const REPORT: &str = "run it again; if this comes back it is a bug: please report it where you got the program from, with what these print: qemu-ifup --version; qemu-ifup --check";

/// Makes a file root's that somebody else may have written. Only a copy, since it may be a link into somebody's home.
fn make_roots(path: &Path) -> String {
    let path = ShellQuoted(path.as_os_str().as_bytes());
    format!(
        "look at what is in it; if it is what root wants: sudo cp {path} {path}.new && sudo chmod go-w {path}.new && sudo mv {path}.new {path}"
    )
}

/// A file of root's that cannot be read.
fn unreadable(path: &Path, reason: &SysError) -> String {
    if reason.errno() == Some(Errno::EACCES) {
        let path = ShellQuoted(path.as_os_str().as_bytes());
        return format!(
            "root lets only some users read it: either root runs this (sudo), or lets all read it: sudo chmod a+r {path}; its directories need a+x"
        );
    }
    if reason.errno() == Some(Errno::ENOENT) {
        return "create it, or remove what leads there".to_owned();
    }
    "it has to be a plain file, or a link to one".to_owned()
}

impl Error {
    /// What to do about it, where we know. What takes privilege begins with `sudo `; [`crate::report`] leaves that out for
    /// whoever needs none.
    pub fn hint(&self) -> Option<String> {
        let quoted = |name: &IfName| ShellQuoted(name.as_bytes()).to_string();
        let hint = match self {
            Self::Usage(UsageError::Syntax(_)) => "--help lists the options".to_owned(),
            Self::Usage(UsageError::InvalidName { .. }) => {
                "an interface name has 1 to 15 bytes, without white space and without / : %".to_owned()
            }
            Self::UnknownName { file, .. } => {
                let instead = if *file == GROUP { "--group GID" } else { "--owner UID" };
                format!("a user or group that is not in that file is named by number: {instead}")
            }
            Self::InvalidEnv { variable, .. } => {
                format!("run it without {variable} (unset {variable}), or through sudo, pkexec or doas")
            }
            Self::ReadFile { .. } | Self::WriteOutput(_) | Self::Config(ConfigError::Read { .. }) => return None,
            Self::MissingCapNetAdmin(Some(Withheld::NoNewPrivs)) => {
                "QEMU's -sandbox on, systemd's NoNewPrivileges= and containers set it, and it keeps every program from getting a privilege: run the caller without it, or let root prepare the tap before (for QEMU: script=no,downscript=no)".to_owned()
            }
            Self::MissingCapNetAdmin(Some(Withheld::Nosuid)) => {
                "a file there lends no privilege: run it as root (with sudo), or install it on a file system that is mounted without nosuid".to_owned()
            }
            Self::MissingCapNetAdmin(None) => {
                "run it as root (with sudo), or let the program lend its privilege to users: install.sh --setcap, or with a package what docs/packages.md has for it".to_owned()
            }
            Self::Denied { hint, .. } => hint.clone(),
            Self::QuotaExceeded { quota, .. } => format!(
                "delete one that no program has open (sudo qemu-ifdown --delete NAME; ip link show type tun lists them, with the alias \"{}\" or as given by root; who has one open, qemu-ifup --check NAME says), or let root allow more: --max-taps N in {CONF_FILE}", quota.user
            ),
            Self::Config(ConfigError::Acl(AclError { kind: AclErrorKind::IncludeUntrusted(path), .. })) => make_roots(path),
            Self::Config(ConfigError::Acl(AclError { kind: AclErrorKind::IncludeUnreadable(path, reason), .. })) => unreadable(path, reason),
            Self::Config(ConfigError::Acl(_)) => "the rules are: allow NAME, allow all, deny NAME, deny all, include /PATH; a comment is a line of its own that begins with #".to_owned(),
            Self::Config(ConfigError::Conf(_)) => "a line is a pattern of interface names, then options as on the command line: web? --bridge br1".to_owned(),
            Self::InConf { error, .. } => return error.hint(),
            Self::Config(ConfigError::Untrusted { path, reason }) if *reason == NOT_ROOTS => make_roots(Path::new(path)),
            Self::Config(ConfigError::Untrusted { path, reason }) => unreadable(Path::new(path), reason),
            Self::InvalidHelperFd { .. } => {
                "--fd is for QEMU, which passes the number of a socket: -netdev bridge,helper=/etc/qemu-ifup".to_owned()
            }
            Self::NetworkInUse { .. } => {
                "this host would reach only one of the two: give the bridge another network with --address (a line of /etc/qemu-ifup.conf for some taps may have its own)".to_owned()
            }
            Self::NoSuchBridge { name, .. } => {
                let name = quoted(name);
                format!(
                    "let qemu-ifup create it, now and after each boot (echo '* --create-bridge --address 192.168.10.1/24' | sudo tee -a {CONF_FILE}), with any network that is not in use here; or create it (sudo ip link add {name} type bridge && sudo ip link set {name} up); or name another one (--bridge)"
                )
            }
            Self::NotABridge { name, kind } => {
                instead_of_a_bridge(*name, kind).replace("NAME", &quoted(name))
            }
            Self::MacInUse { mac, bridge, .. } => format!(
                "a MAC is for one guest: give this one another (QEMU's mac=); this shows what has it: bridge fdb show br {} | grep {mac}",
                quoted(bridge)
            ),
            Self::VlanFilteringOff(name) => {
                format!("leave out --pvid and --vlans, or let qemu-ifup create another bridge, which does (--create-bridge --bridge brvlan); to switch it on stops the tagged frames that cross {name} now: see docs/networks.md")
            }
            Self::BridgeExists(_) | Self::TapExists(_) => "run it again".to_owned(),
            Self::BridgeFull(_) => {
                "a bridge holds 1023 ports: delete taps that are left over, or use a second bridge".to_owned()
            }
            Self::NotATap { .. } => {
                "name a tap, such as tap0 (those that exist: ip link show type tun)".to_owned()
            }
            Self::TapImmutable { name, in_use: false, .. } => format!(
                "delete it, and qemu-ifup creates it again: sudo qemu-ifdown --delete {}",
                quoted(name)
            ),
            Self::TapImmutable { name, .. } | Self::TapBusy { name, .. } => format!(
                "name another tap, or leave the option out; this says which program has it open: sudo qemu-ifup --check {}",
                quoted(name)
            ),
            Self::TapDiffers { name, can_create: true, .. } => {
                let name = quoted(name);
                format!("delete it, and create it anew with the options of this call: qemu-ifdown --delete {name} && qemu-ifup {name}")
            }
            Self::TapDiffers { name, bridge, access, can_create: false, .. } => {
                let access = match access {
                    Some(TapAccess::Owner(uid)) => format!(" --owner {uid}"),
                    Some(TapAccess::Group(gid)) => format!(" --group {gid}"),
                    None => String::new(),
                };
                format!("root changes it, also while a guest has it open: sudo qemu-ifup --bridge {}{access} {}", quoted(bridge), quoted(name))
            }
            Self::CreatedByAnother { name, bridge, creator } => format!(
                "to bring it up for that user: sudo qemu-ifup --bridge {} --owner {} {name}; to have the name for another use, delete it: sudo qemu-ifdown --delete {name}",
                quoted(bridge), creator.0, name = quoted(name)
            ),
            Self::AlternativeName { interface, as_bridge: true, .. } => {
                format!("if that is the bridge, name it: --bridge {}", quoted(interface))
            }
            Self::AlternativeName { name, interface, .. } => format!(
                "choose another name, or take it from that interface: sudo ip link property del dev {} altname {}",
                quoted(interface), quoted(name)
            ),
            Self::AllTapsExceeded { .. } => format!(
                "a user deletes a tap that is left over (qemu-ifdown --delete NAME), or root allows more: a line with --max-taps N in {CONF_FILE}, for whichever tap"
            ),
            Self::TapContested { name, .. } => format!(
                "run it again, and see who else uses it: sudo qemu-ifup --check {}",
                quoted(name)
            ),
            Self::TunDevice(errno) => {
                let known = TUN_HINTS.iter().find(|(number, _)| number == errno);
                return known.map(|(_, hint)| (*hint).to_owned());
            }
            Self::ForwardingTimeout { bridge, state: PortState::Disabled, .. } => {
                format!("the bridge is down (sudo ip link set dev {} up), QEMU has switched the link off, or --guard has shut the port", quoted(bridge))
            }
            Self::ForwardingTimeout { .. } => {
                "STP takes twice the forward delay, which is 30 s at most: --wait 65; a bridge that can be part of no loop needs no STP (docs/networks.md)".to_owned()
            }
            Self::NotUndone { cause, .. } => return cause.hint(),
            Self::StepFailed { reason, .. } => match reason {
                SysError::Errno { errno: Errno::EPERM, .. } => {
                    "this takes CAP_NET_ADMIN in the network namespace; a container has to get it from outside: docker run --cap-add NET_ADMIN"
                }
                SysError::Errno { ext_ack: Some(text), .. } => match text.as_slice() {
                    IPV6_OFF => "leave the IPv6 address out, or switch IPv6 on for interfaces that are created from now on: sudo sysctl net.ipv6.conf.default.disable_ipv6=0",
                    NO_BRIDGE_DRIVER => "the kernel has no bridge driver loaded: sudo modprobe bridge; for a container, on its host",
                    NO_VLAN_FILTERING => "leave out --pvid and --vlans; it takes a kernel with CONFIG_BRIDGE_VLAN_FILTERING",
                    _ if text.starts_with(NOT_MAPPED) => "name an owner or a group that it maps, root for one (--owner 0); what it maps: cat /proc/self/uid_map",
                    _ => return None,
                },
                SysError::Errno { errno: Errno::EACCES, .. } => {
                    "under libvirtd's AppArmor profile the path of qemu-bridge-helper has no netlink: name another in libvirt's qemu.conf: bridge_helper = \"/etc/qemu-ifup\""
                }
                SysError::NotApplied(_) => "the running kernel is too old for this option: leave it out",
                SysError::Errno { .. } => return None,
                SysError::Protocol(_) | SysError::Invalid(_) => REPORT,
            }
            .to_owned(),
        };
        Some(hint)
    }
}
