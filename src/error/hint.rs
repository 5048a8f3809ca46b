//! What to do about an error, where we know: the likeliest first. [`for_step`] is the table for steps that failed.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::config::acl::{AclError, AclErrorKind};
use crate::config::conf::CONF_FILE;
use crate::config::error::{ConfigError, UsageError};
use crate::error::advice::{Advice, Command};
use crate::error::{Error, StepKind};
use crate::escape::ShellQuoted;
use crate::model::bridge::PortState;
use crate::model::if_name::IfName;
use crate::model::link::LinkKind;
use crate::model::spec::TapAccess;
use crate::sys::error::{Cause, SysError};
use crate::sys::file::GROUP;
use crate::sys::privilege::Withheld;

/// What helps where a step of this kind failed for this reason. A new hint is a line here.
pub(crate) fn for_step(kind: StepKind, reason: &SysError) -> Vec<Advice> {
    match (kind, Why::of(reason)) {
        (StepKind::OpenTun, Why::Errno(Errno::ENOTTY)) => vec![Advice::run(
            "/dev/net/tun is not the tun device. To replace it, run",
            Command::root("mv /dev/net/tun /dev/net/tun.orig").and(mknod()),
        )],
        (StepKind::OpenTun, Why::Errno(Errno::ENOENT)) => vec![
            Advice::run(
                "to create /dev/net/tun, run",
                Command::root("mkdir -p /dev/net").and(mknod()),
            ),
            Advice::text(
                "in a container, or if /dev is read-only, pass the device in from the host: \
                 docker run --device /dev/net/tun, or bind-mount /dev",
            ),
        ],
        (StepKind::OpenTun, Why::Errno(Errno::ENODEV | Errno::ENXIO)) => vec![Advice::run(
            "the tun module is not loaded. To load it (in a container: on the host), run",
            Command::root("modprobe tun"),
        )],
        (StepKind::OpenTun, Why::Errno(Errno::EACCES)) => vec![Advice::run(
            "this user is not permitted to open /dev/net/tun. To permit all users, which is the \
             usual default (only its owner can open a tap that has one), run",
            Command::root("chmod 0666 /dev/net/tun"),
        )],
        (StepKind::OpenTun, Why::Errno(Errno::EPERM)) => vec![Advice::text(
            "the container or cgroup does not permit access to this device. Permit device \
             c 10:200 rwm: docker run --device /dev/net/tun, or in a systemd unit: \
             DeviceAllow=/dev/net/tun rwm",
        )],
        (StepKind::OpenTun, _) => Vec::new(),
        (StepKind::OpenNetlink, Why::Errno(Errno::EACCES)) => vec![Advice::text(
            "libvirtd's AppArmor profile does not permit netlink for a program at the path of \
             qemu-bridge-helper. Set another path in libvirt's qemu.conf: \
             bridge_helper = \"/etc/qemu-ifup\"",
        )],
        (StepKind::CreateBridge, Why::Errno(Errno::EOPNOTSUPP)) => vec![Advice::run(
            "the bridge module is not loaded. To load it (in a container: on the host), run",
            Command::root("modprobe bridge"),
        )],
        (StepKind::Attach, Why::Errno(Errno::ENODEV)) => vec![Advice::text(
            "another program deleted the tap or the bridge at the same time. \
             Run the command again",
        )],
        (_, Why::Known(Cause::Ipv6Off)) => vec![Advice::run(
            "leave out the IPv6 address. To enable IPv6 for new interfaces instead, run",
            Command::root("sysctl net.ipv6.conf.default.disable_ipv6=0"),
        )],
        (_, Why::Known(Cause::SameAddress)) => Vec::new(),
        (_, Why::Known(Cause::NoVlanFiltering)) => vec![Advice::text(
            "leave out --pvid and --vlans. They need a kernel with CONFIG_BRIDGE_VLAN_FILTERING",
        )],
        (_, Why::Known(Cause::NotMapped(id))) => {
            let map = match id {
                TapAccess::Owner(_) => "cat /proc/self/uid_map",
                TapAccess::Group(_) => "cat /proc/self/gid_map",
            };
            vec![
                Advice::text(
                    "use an owner or group that is mapped in this user namespace, for example \
                     root: --owner 0",
                ),
                Advice::run("to list the mapped ids, run", Command::plain(map)),
            ]
        }
        (_, Why::Errno(Errno::EPERM)) => vec![Advice::text(
            "this step needs CAP_NET_ADMIN in the network namespace. For a container, add it at \
             start: docker run --cap-add NET_ADMIN",
        )],
        (_, Why::NotApplied) => vec![Advice::text(
            "the running kernel does not support this option. Leave out the option",
        )],
        (_, Why::Unexpected) => vec![
            Advice::text("run the command again"),
            Advice::run(
                "if the error persists, it is a bug. Please report it to whoever provides your \
                 qemu-ifup, with the output of",
                Command::plain("qemu-ifup --version; qemu-ifup --check"),
            ),
        ],
        (_, Why::Errno(_)) => Vec::new(),
    }
}

/// A reason as the table has it.
#[derive(Clone, Copy)]
enum Why {
    Errno(Errno),
    Known(Cause),
    NotApplied,
    Unexpected,
}

impl Why {
    fn of(reason: &SysError) -> Self {
        match reason {
            SysError::Errno { errno, .. } | SysError::TunDevice(errno) => Self::Errno(*errno),
            SysError::Known(cause, _) => Self::Known(*cause),
            SysError::NotApplied(_) => Self::NotApplied,
            SysError::Protocol(_) | SysError::Invalid(_) => Self::Unexpected,
        }
    }
}

fn mknod() -> Command {
    Command::root("mknod -m 0666 /dev/net/tun c 10 200")
}

const USE_BRIDGE: &str = "use a bridge: --bridge BRIDGE. To list bridges, run";

/// What helps if this interface was named as the bridge. No command attaches it to a bridge: the host would lose the network
/// that it has through it.
fn instead_of_a_bridge(name: IfName, kind: &LinkKind) -> Vec<Advice> {
    let is_uplink = match kind {
        LinkKind::Other(kind) => match kind.as_str() {
            "openvswitch" => {
                return vec![Advice::text(format!(
                    "{name} is an Open vSwitch bridge. Start QEMU with script=no, then attach the \
                     tap yourself: ovs-vsctl add-port {} TAP",
                    quoted(name)
                ))];
            }
            "macvtap" => {
                return vec![
                    Advice::text(format!(
                        "{name} is a macvtap, which does not need a bridge: open its /dev/tapN \
                         and pass the descriptor to QEMU (-netdev tap,fd=N)"
                    )),
                    Advice::text("or use a bridge: --bridge BRIDGE"),
                ];
            }
            kind => matches!(kind, "bond" | "team"),
        },
        LinkKind::Unset => name != IfName::LOOPBACK,
        LinkKind::Tap(_) | LinkKind::Tun | LinkKind::Bridge(_) => false,
    };
    let list = Command::plain("ip link show type bridge");
    let mut hints = vec![Advice::run(USE_BRIDGE, list)];
    if is_uplink {
        hints.push(Advice::text(format!(
            "to attach {name} to a bridge, use the program that manages the host's network, \
             because it must also move the IP address from {name} to the bridge (see \
             docs/networks.md). A Wi-Fi interface usually cannot be attached to a bridge"
        )));
    }
    hints
}

/// Makes a file root's that another user may have written. Only a copy, since it may be a link into a user's home.
fn make_roots(path: &Path) -> Vec<Advice> {
    let path = ShellQuoted(path.as_os_str().as_bytes());
    vec![Advice::run(
        format!(
            "check the contents of {path}: a user other than root may have written them. If they \
             are correct, make root the owner"
        ),
        Command::root(format!("cp {path} {path}.new"))
            .and(Command::root(format!("chmod go-w {path}.new")))
            .and(Command::root(format!("mv {path}.new {path}"))),
    )]
}

/// A file of root's that cannot be read.
fn unreadable(path: &Path, reason: &SysError) -> Vec<Advice> {
    let path = ShellQuoted(path.as_os_str().as_bytes());
    match reason.errno() {
        Some(Errno::EACCES) => vec![
            Advice::text(format!(
                "this user is not permitted to read {path}. Run the command as root (with sudo)"
            )),
            Advice::run(
                "to permit all users to read the file (the directories above it need a+x), run",
                Command::root(format!("chmod a+r {path}")),
            ),
        ],
        Some(Errno::ENOENT) => vec![Advice::text(format!(
            "create {path}, or delete the line (or the link) that refers to it"
        ))],
        _ => vec![Advice::text(format!(
            "{path} must be a regular file, or a symbolic link to a regular file"
        ))],
    }
}

fn quoted(name: IfName) -> String {
    ShellQuoted(name.as_bytes()).to_string()
}

/// Shows which program has a tap open.
fn who_uses(text: impl Into<String>, name: IfName) -> Advice {
    let command = format!("qemu-ifup --check -v {}", quoted(name));
    Advice::run(text.into(), Command::root(command))
}

/// A shorthand for one hint without a command.
fn one(text: impl Into<Cow<'static, str>>) -> Vec<Advice> {
    vec![Advice::text(text)]
}

impl Error {
    /// What to do about it, where we know; the likeliest first.
    pub(crate) fn hints(&self) -> Vec<Advice> {
        match self {
            Self::StepFailed { kind, reason, .. } => for_step(*kind, reason),
            Self::NotUndone { cause, .. } => cause.hints(),
            Self::InConf { error, .. } => error.hints(),
            Self::Denied { hints, .. } => hints.clone(),
            Self::ReadFile { .. }
            | Self::WriteOutput(_)
            | Self::Config(ConfigError::Read { .. }) => Vec::new(),
            Self::Config(ConfigError::NotRoots { path }) => make_roots(Path::new(path)),
            Self::Config(ConfigError::Dangling { path }) => {
                unreadable(Path::new(path), &Errno::ENOENT.into())
            }
            Self::Config(ConfigError::Untrusted { path, reason }) => {
                unreadable(Path::new(path), reason)
            }
            Self::Config(ConfigError::Conf(_)) => one(
                "each line is a pattern for interface names, followed by command-line options, \
                 for example: web? --bridge br1",
            ),
            Self::Config(ConfigError::Acl(AclError { kind, .. })) => of_acl(kind),
            Self::Usage(UsageError::Syntax(_)) => {
                one("to list the options, run the program with --help")
            }
            Self::Usage(UsageError::InvalidName { .. }) => one(
                "an interface name has 1 to 15 bytes and must not contain white space, /, : or %",
            ),
            Self::UnknownName { file, .. } => {
                let (names, option) = if *file == GROUP {
                    ("groups", "--group GID")
                } else {
                    ("users", "--owner UID")
                };
                one(format!(
                    "{names} are read only from {file}. For other {names} (LDAP, systemd), give \
                     the number: {option}"
                ))
            }
            Self::InvalidEnv { variable, .. } => vec![
                Advice::run(
                    "leave out the variable. To do that, run",
                    Command::plain(format!("unset {variable}")),
                ),
                Advice::text("or start the program with sudo, pkexec or doas, which set it"),
            ],
            Self::MissingCapNetAdmin(withheld) => without_capability(*withheld),
            Self::QuotaExceeded { quota, .. } => vec![
                Advice::run(
                    "to delete a tap that is not in use, run",
                    Command::user(quota.user.0, "qemu-ifdown --delete NAME"),
                ),
                Advice::run(
                    format!(
                        "to list your taps, which have the alias \"{}\", run",
                        quota.user
                    ),
                    Command::plain("ip link show type tun"),
                ),
                Advice::text(format!(
                    "or ask root to raise the limit: --max-taps N in {CONF_FILE}"
                )),
            ],
            Self::AllTapsExceeded { .. } => one(format!(
                "delete taps that are not in use (qemu-ifdown --delete NAME), or ask root to \
                 raise the limit: a line with --max-taps N in {CONF_FILE}, for any tap"
            )),
            Self::InvalidHelperFd { .. } => one(
                "only QEMU uses --fd, to pass the number of a socket. Start QEMU with: \
                 -netdev bridge,id=n1,helper=/etc/qemu-ifup",
            ),
            Self::NetworkInUse { .. } => one(format!(
                "if two interfaces are in the same network, the host can reach only one of them. \
                 Give the bridge an address in another network: --address, on the command line \
                 or in {CONF_FILE}"
            )),
            Self::NoSuchBridge { name, .. } => vec![
                Advice::run(
                    "to let qemu-ifup create the bridge, now and after every boot (choose a \
                     network that is not in use), run",
                    Command::append(b"* --create-bridge --address 192.168.10.1/24", CONF_FILE),
                ),
                Advice::run(
                    "to create the bridge yourself, run",
                    Command::root(format!("ip link add {} type bridge", quoted(*name)))
                        .and(Command::root(format!("ip link set {} up", quoted(*name)))),
                ),
                Advice::text("to use another bridge: --bridge BRIDGE"),
            ],
            Self::NotABridge { name, kind } => instead_of_a_bridge(*name, kind),
            Self::MacInUse { mac, bridge, .. } => vec![
                Advice::text(
                    "each guest needs its own MAC. Give this guest another MAC (in QEMU: mac=)",
                ),
                Advice::run(
                    format!("to see which port uses {mac}, run"),
                    Command::plain(format!(
                        "bridge fdb show br {} | grep {mac}",
                        quoted(*bridge)
                    )),
                ),
            ],
            Self::VlanFilteringOff(name) => vec![
                Advice::text("leave out --pvid and --vlans"),
                Advice::text(
                    "or let qemu-ifup create a new bridge with VLAN filtering: \
                     --create-bridge --bridge brvlan",
                ),
                Advice::text(format!(
                    "if you turn on VLAN filtering on {name}, the tagged frames that now cross \
                     {name} are dropped: see docs/networks.md"
                )),
            ],
            Self::BridgeExists(_) | Self::TapExists(_) => one("run the command again"),
            Self::BridgeFull(_) => one(
                "a bridge can have at most 1023 ports. Delete taps that are not in use, or use \
                 another bridge: --bridge BRIDGE",
            ),
            Self::NotATap { .. } => vec![Advice::run(
                "give the name of a tap, for example tap0. To list the taps, run",
                Command::plain("ip link show type tun"),
            )],
            Self::TapImmutable {
                name,
                access,
                in_use: false,
                ..
            } => vec![Advice::run(
                "delete the tap, then run this command again to create it with the new settings",
                Command::delete(*name, *access),
            )],
            Self::TapBusy {
                name,
                deletes: true,
                ..
            } => vec![who_uses(
                "end the program that uses the tap. To see which one that is, run".to_owned(),
                *name,
            )],
            Self::TapImmutable { name, .. } | Self::TapBusy { name, .. } => vec![
                Advice::text("use another tap, or leave out the option"),
                who_uses(format!("to see which program uses {name}, run"), *name),
            ],
            Self::TapDiffers {
                name,
                can_create: true,
                ..
            } => vec![Advice::run(
                "to delete the tap and create it again (give the same options), run",
                Command::plain(format!(
                    "qemu-ifdown --delete {name} && qemu-ifup {name}",
                    name = quoted(*name)
                )),
            )],
            Self::TapDiffers {
                name,
                bridge,
                access,
                can_create: false,
                ..
            } => {
                let access = match access {
                    Some(TapAccess::Owner(uid)) => format!(" --owner {uid}"),
                    Some(TapAccess::Group(gid)) => format!(" --group {gid}"),
                    None => String::new(),
                };
                let (bridge, name) = (quoted(*bridge), quoted(*name));
                vec![Advice::run(
                    "root can change the tap, also while a guest uses it",
                    Command::root(format!("qemu-ifup --bridge {bridge}{access} {name}")),
                )]
            }
            Self::CreatedByAnother {
                name,
                bridge,
                access,
                creator,
            } => vec![
                Advice::run(
                    "to bring the tap up for that user, run",
                    Command::root(format!(
                        "qemu-ifup --bridge {} {} {}",
                        quoted(*bridge),
                        match access {
                            Some(TapAccess::Group(gid)) => format!("--group {gid}"),
                            Some(TapAccess::Owner(_)) | None => format!("--owner {}", creator.0),
                        },
                        quoted(*name)
                    )),
                ),
                Advice::run(
                    "to delete the tap, so that you can use its name, run",
                    Command::delete(*name, None),
                ),
            ],
            Self::AlternativeName {
                interface,
                as_bridge: true,
                ..
            } => one(format!(
                "if {interface} is the bridge, use its name: --bridge {}",
                quoted(*interface)
            )),
            Self::AlternativeName {
                name, interface, ..
            } => vec![
                Advice::text("use another name"),
                Advice::run(
                    format!("to delete the alternative name of {interface}, run"),
                    Command::root(format!(
                        "ip link property del dev {} altname {}",
                        quoted(*interface),
                        quoted(*name)
                    )),
                ),
            ],
            Self::TapContested { name, .. } => vec![
                Advice::text(format!(
                    "another program changed {name} at the same time. Run the command again"
                )),
                who_uses(format!("to see which program uses {name}, run"), *name),
            ],
            Self::ForwardingTimeout {
                bridge,
                state: PortState::Disabled,
            } => vec![
                Advice::run(
                    format!("if bridge {bridge} is down, bring it up"),
                    Command::root(format!("ip link set dev {} up", quoted(*bridge))),
                ),
                Advice::text("or QEMU has set the link down, or --guard has disabled the port"),
            ],
            Self::ForwardingTimeout { .. } => vec![
                Advice::text(
                    "with STP, a port starts to forward after twice the forward delay, which is \
                     at most 2 x 30 s. Use --wait 65",
                ),
                Advice::text(
                    "if the bridge cannot be part of a loop, turn off STP (see docs/networks.md)",
                ),
            ],
        }
    }
}

fn without_capability(withheld: Option<Withheld>) -> Vec<Advice> {
    match withheld {
        Some(Withheld::NoNewPrivs) => vec![
            Advice::text(
                "no_new_privs prevents every program from gaining privileges. QEMU's -sandbox on, \
                 systemd's NoNewPrivileges= and containers set it. Start the calling program \
                 without it",
            ),
            Advice::text(
                "or create the tap as root beforehand, and start QEMU with \
                 script=no,downscript=no",
            ),
        ],
        Some(Withheld::Nosuid) => one(
            "file capabilities do not work on a file system that is mounted nosuid. Run the \
             command as root (with sudo), or install the program on another file system",
        ),
        None => vec![
            Advice::text("run the command as root (with sudo)"),
            Advice::text(
                "to let unprivileged users run it, give the program a file capability: \
                 ./install.sh --setcap (if installed from a package, see docs/packages.md)",
            ),
        ],
    }
}

fn of_acl(kind: &AclErrorKind) -> Vec<Advice> {
    match kind {
        AclErrorKind::IncludeUntrusted(path) => make_roots(path),
        AclErrorKind::IncludeUnreadable(path, reason) => unreadable(path, reason),
        AclErrorKind::Syntax
        | AclErrorKind::UnknownCommand(_)
        | AclErrorKind::InvalidName(..)
        | AclErrorKind::LineTooLong
        | AclErrorKind::NulByte
        | AclErrorKind::RelativeInclude
        | AclErrorKind::IncludeLoop
        | AclErrorKind::TooManyFiles => one(
            "valid lines are: allow NAME, allow all, deny NAME, deny all, include /PATH. A \
             comment must be on its own line and begin with #",
        ),
    }
}
