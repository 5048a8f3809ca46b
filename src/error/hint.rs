//! What to do about an error, where we know.

use nix::errno::Errno;

use crate::config::conf::CONF_FILE;
use crate::config::error::UsageError;
use crate::error::Error;
use crate::escape::ShellQuoted;
use crate::model::bridge::PortState;
use crate::model::if_name::IfName;
use crate::model::link::LinkKind;
use crate::sys::error::SysError;
use crate::sys::privilege::Withheld;

/// Why /dev/net/tun cannot be used, and what to do. Other reasons speak for themselves.
pub const TUN_HINTS: [(Errno, &str); 6] = [
    (
        Errno::ENOTTY,
        "something else stands in its place: rm /dev/net/tun && mknod /dev/net/tun c 10 200",
    ),
    (
        Errno::ENOENT,
        "create it: mkdir -p /dev/net && mknod /dev/net/tun c 10 200; or give it to the container: --device /dev/net/tun",
    ),
    (
        Errno::ENODEV,
        "the kernel has no tun driver loaded: modprobe tun",
    ),
    (
        Errno::ENXIO,
        "the kernel has no tun driver loaded: modprobe tun",
    ),
    (
        Errno::EACCES,
        "its permissions do not let this user in: chmod 0666 /dev/net/tun",
    ),
    (
        Errno::EPERM,
        "a container or cgroup keeps this device from its processes: allow it the device c 10:200 rwm",
    ),
];

/// What to do where this was named as the bridge; NAME stands for it.
fn instead_of_a_bridge(name: IfName, kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Other(kind) => match kind.as_str() {
            "openvswitch" => {
                "Open vSwitch has ports of its own: give QEMU script=no, and then ovs-vsctl add-port NAME TAP"
            }
            "bond" => {
                "put the bond into a bridge: ip link add br0 type bridge && ip link set NAME master br0; then name the bridge"
            }
            "team" => {
                "put the team into a bridge: ip link add br0 type bridge && ip link set NAME master br0; then name the bridge"
            }
            "macvtap" => {
                "a macvtap needs no bridge, QEMU opens it by itself (-netdev tap,fd=N); or name a bridge with --bridge"
            }
            "macvlan" => {
                "a macvlan takes no ports: name a bridge with --bridge; ip link show type bridge lists them"
            }
            _ => ANY_BRIDGE,
        },
        LinkKind::Unset if name != IfName::LOOPBACK => {
            "a network card is put into a bridge (ip link add br0 type bridge && ip link set NAME master br0; its address moves to br0), and that is what --bridge names"
        }
        LinkKind::Unset | LinkKind::Tap(_) | LinkKind::Tun | LinkKind::Bridge(_) => ANY_BRIDGE,
    }
}

const ANY_BRIDGE: &str = "name a bridge with --bridge; ip link show type bridge lists them";

impl Error {
    /// What to do about it, where we know.
    pub fn hint(&self) -> Option<String> {
        let quoted = |name: &IfName| ShellQuoted(name.as_bytes()).to_string();
        let hint = match self {
            Self::Usage(UsageError::Syntax(_)) => "--help lists the options".to_owned(),
            Self::Usage(UsageError::InvalidName { .. }) => {
                "an interface name has 1 to 15 bytes, without white space and without / : %".to_owned()
            }
            Self::UnknownName { instead, .. } => {
                format!("a user or group that is not in that file is named by number: {instead}")
            }
            Self::InvalidEnv { variable, .. } => {
                format!("run it without {variable}, or through sudo, pkexec or doas")
            }
            Self::ReadFile { .. } | Self::WriteOutput(_) => return None,
            Self::MissingCapNetAdmin(Some(Withheld::NoNewPrivs)) => {
                "QEMU's -sandbox on, systemd's NoNewPrivileges= and containers set it, and it keeps every program from getting a privilege: run the caller without it, or let root prepare the tap before (for QEMU: script=no,downscript=no)".to_owned()
            }
            Self::MissingCapNetAdmin(Some(Withheld::Nosuid)) => {
                "a file there lends no privilege: run it as root (with sudo), or install it on a file system that is mounted without nosuid".to_owned()
            }
            Self::MissingCapNetAdmin(None) => {
                "run it as root (with sudo), or let the program lend its privilege to users: install.sh --setcap".to_owned()
            }
            Self::Denied { hint, .. } => hint.clone(),
            Self::QuotaExceeded { .. } => format!(
                "delete one (qemu-ifdown --delete NAME; ip tuntap list names them), or let root allow more: --max-taps N in {CONF_FILE}"
            ),
            Self::Acl(_) => "the rules are: allow NAME, allow all, deny NAME, deny all, include /PATH".to_owned(),
            Self::Conf(_) => "a line is a pattern of interface names, then options as on the command line: web? --bridge br1".to_owned(),
            Self::UntrustedFile { path, .. } => {
                format!("it must be a plain file that root can rely on: chown root {path} && chmod 0644 {path}")
            }
            Self::InvalidHelperFd { .. } => {
                "--fd is for QEMU, which passes the number of a socket: -netdev bridge,helper=/etc/qemu-ifup".to_owned()
            }
            Self::NoSuchBridge { name, .. } => {
                let name = quoted(name);
                format!(
                    "let qemu-ifup create it (--create-bridge --address 192.168.10.1/24), create it (ip link add {name} type bridge && ip link set {name} up), or name another one (--bridge)"
                )
            }
            Self::NotABridge { name, kind } => {
                instead_of_a_bridge(*name, kind).replace("NAME", &quoted(name))
            }
            Self::VlanFilteringOff(name) => {
                let name = quoted(name);
                format!("let it: ip link set dev {name} type bridge vlan_filtering 1; or leave out --pvid and --vlans")
            }
            Self::BridgeExists(_) | Self::TapExists(_) => "run it again".to_owned(),
            Self::BridgeFull(_) => {
                "a bridge holds 1023 ports: delete taps that are left over, or use a second bridge".to_owned()
            }
            Self::NotATap { .. } => {
                "name a tap, or a name that is not in use: the tap is then created".to_owned()
            }
            Self::TapImmutable { name, .. } => format!(
                "delete it first, it is then created anew: qemu-ifdown --delete {}",
                quoted(name)
            ),
            Self::TapBusy { name, .. } => format!(
                "end that program first, or leave the option out; this names it: qemu-ifup --check {}",
                quoted(name)
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
                format!("the bridge is down (ip link set dev {} up), or QEMU has switched the link off", quoted(bridge))
            }
            Self::ForwardingTimeout { bridge, .. } => {
                let bridge = quoted(bridge);
                format!("STP takes twice the forward delay: wait longer, shorten it (ip link set dev {bridge} type bridge forward_delay 400), or do without (ip link set dev {bridge} type bridge stp_state 0)")
            }
            Self::StepFailed { reason, .. } => match reason {
                SysError::Errno { errno: Errno::EPERM, .. } => {
                    "this takes CAP_NET_ADMIN in the network namespace; a container often goes without"
                }
                SysError::NotApplied => "the running kernel is too old for this option: leave it out",
                SysError::Errno { .. } | SysError::Protocol(_) | SysError::Invalid(_) => return None,
            }
            .to_owned(),
        };
        Some(hint)
    }
}
