//! Everything that can go wrong: what is said of it, what helps, and the exit code.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use nix::errno::Errno;

use crate::acl::AclError;
use crate::cli::Access;
use crate::conf::{CONF_FILE, ConfError};
use crate::facts::PortState;
use crate::name::{IfName, NameError};
use crate::text::{Escaped, ShellWord};

/// The exit codes. They are stable: QEMU prints 256 times the code and nothing else, and people search for that
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The work is done.
    Done = 0,
    /// Something that nobody foresaw.
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The caller may not do this.
    NotPermitted = 3,
    /// The bridge is missing, is not a bridge, or is full.
    Bridge = 4,
    /// The interface is not a usable tap.
    Tap = 5,
    /// /dev/net/tun cannot be used.
    Tun = 6,
    /// The kernel refused a step.
    Kernel = 7,
    /// The configuration or the ACL file cannot be relied on.
    Configuration = 8,
    /// What was waited for did not come.
    Timeout = 9,
}

/// Why the system did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It said no: an error number of errno(3), and the kernel's own words (extended ACK) where it had some.
    Refused {
        /// The error number.
        errno: Errno,
        /// The kernel's words.
        words: Option<Vec<u8>>,
    },
    /// /dev/net/tun cannot be opened, or is something else.
    Device(Errno),
    /// It said yes and did not do it.
    Ignored,
    /// Somebody else has a hand in the tap; how.
    Contested(&'static str),
    /// The port does not forward in time; what it does instead.
    Late(PortState),
    /// Its answer makes no sense; what is wrong with it.
    Nonsense(&'static str),
}

impl Cause {
    /// The error number, if it said no.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::Device(errno) => Some(*errno),
            Self::Ignored | Self::Contested(_) | Self::Late(_) | Self::Nonsense(_) => None,
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Refused { errno, words: None }
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self::Nonsense("the system call failed without a reason"),
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { errno, words: None } | Self::Device(errno) => f.write_str(errno.desc()),
            Self::Refused {
                errno,
                words: Some(words),
            } => write!(f, "{} ({})", Escaped(words), errno.desc()),
            Self::Ignored => f.write_str("the kernel said yes, but did not do it"),
            Self::Late(state) => write!(f, "it is still {state}"),
            Self::Contested(problem) | Self::Nonsense(problem) => f.write_str(problem),
        }
    }
}

/// Why the work was not done. Its text is a step and a reason; the reporter puts the interface before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line is wrong.
    Usage(String),
    /// A word is no interface name.
    Name {
        /// The word.
        given: Vec<u8>,
        /// What is wrong with it.
        problem: NameError,
    },
    /// A user or a group is not known.
    UnknownId {
        /// The name.
        name: Vec<u8>,
        /// Where it was looked for.
        file: &'static str,
        /// How to name it by number instead.
        instead: &'static str,
    },
    /// A variable of the environment that should name the invoking user does not.
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: Vec<u8>,
    },
    /// A file of the system cannot be read.
    File {
        /// The file.
        path: &'static str,
        /// Why.
        cause: Cause,
    },
    /// Standard output cannot be written.
    Output(Cause),
    /// The caller is not root, and the program has no privilege to lend.
    NoPrivilege,
    /// Root's rules do not let this caller do it.
    Refused {
        /// What he wanted.
        doing: String,
        /// The rule.
        reason: String,
        /// What would make it possible.
        hint: String,
    },
    /// The ACL leaves a doubt.
    Acl(AclError),
    /// A file of root's rules cannot be read, or others than root may write to it.
    RootsFile {
        /// The file.
        path: &'static str,
        /// Why.
        cause: Cause,
    },
    /// --fd names no Unix socket.
    NoSocket {
        /// The descriptor.
        fd: i32,
        /// Why not.
        cause: Cause,
    },
    /// There is no such bridge.
    NoBridge {
        /// Its name.
        name: IfName,
        /// The bridges that there are.
        others: Vec<IfName>,
    },
    /// The interface that was named as the bridge is none.
    NotABridge {
        /// The interface.
        name: IfName,
        /// What it is, for people.
        kind: String,
    },
    /// The bridge does not keep VLANs apart.
    NoVlanFiltering(IfName),
    /// Somebody else made the bridge between our look and our own making of it.
    BridgeAppeared(IfName),
    /// The configuration cannot be relied on.
    Conf(ConfError),
    /// The bridge has no room for another port.
    BridgeFull(IfName),
    /// The interface is not a tap.
    NotATap {
        /// The interface.
        name: IfName,
        /// What it is, for people.
        kind: String,
    },
    /// The tap exists and cannot be given the queues, owner or group that were asked for.
    FixedTap {
        /// The tap.
        name: IfName,
        /// What cannot be done.
        doing: String,
        /// Why not.
        reason: &'static str,
    },
    /// Another program has the tap open, and only that one could do this.
    TapInUse {
        /// The tap.
        name: IfName,
        /// What cannot be done.
        doing: String,
    },
    /// The tap was made by somebody else between our look and our own making of it.
    Appeared(IfName),
    /// Those who would get the tap have as many as a user may have.
    Quota {
        /// Who.
        access: Access<u32>,
        /// How many that are.
        most: u32,
    },
    /// The tap cannot be made, since its device node cannot be used.
    Tun(Errno),
    /// The port does not forward in time.
    Late {
        /// The bridge that it is a port of.
        bridge: IfName,
        /// What it does instead.
        state: PortState,
        /// What could not be put back afterwards, each a step and a reason.
        not_undone: Vec<String>,
    },
    /// A step failed, for whatever reason.
    Step {
        /// The step.
        doing: String,
        /// The reason.
        cause: Cause,
        /// What could not be put back afterwards, each a step and a reason.
        not_undone: Vec<String>,
    },
}

/// Why /dev/net/tun cannot be used, and what to do. Other reasons speak for themselves.
pub const TUN_HINTS: [(Errno, &str); 6] = [
    (
        Errno::ENOTTY,
        "something else stands in its place: rm /dev/net/tun && mknod /dev/net/tun c 10 200",
    ),
    (
        Errno::ENOENT,
        "make it: mkdir -p /dev/net && mknod /dev/net/tun c 10 200; or give it to the container: --device /dev/net/tun",
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

/// What people name as the bridge, by the word in its kind, and what to do instead.
const NOT_BRIDGES: [(&str, &str); 6] = [
    (
        "openvswitch",
        "Open vSwitch has ports of its own: give QEMU script=no, and then ovs-vsctl add-port NAME TAP",
    ),
    (
        "bond",
        "put the bond into a bridge: ip link add br0 type bridge && ip link set NAME master br0; then name the bridge",
    ),
    (
        "team",
        "put the team into a bridge: ip link add br0 type bridge && ip link set NAME master br0; then name the bridge",
    ),
    (
        "macvtap",
        "a macvtap needs no bridge, QEMU opens it by itself (-netdev tap,fd=N); or name a bridge with --bridge",
    ),
    (
        "macvlan",
        "a macvlan takes no ports: name a bridge with --bridge; ip link show type bridge lists them",
    ),
    (
        "plain",
        "a network card is put into a bridge (ip link add br0 type bridge && ip link set NAME master br0; its address moves to br0), and that is what --bridge names",
    ),
];
const NO_BRIDGE_AT_ALL: &str = "name a bridge with --bridge; ip link show type bridge lists them";

impl Error {
    /// A step that failed where there was nothing to put back.
    pub fn step(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Step {
            doing: doing.into(),
            cause: cause.into(),
            not_undone: Vec::new(),
        }
    }

    /// The exit code that stands for this.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_)
            | Self::Name { .. }
            | Self::UnknownId { .. }
            | Self::BadVariable { .. }
            | Self::NoSocket { .. } => ExitCode::Usage,
            Self::File { .. } | Self::Output(_) => ExitCode::Unexpected,
            Self::NoPrivilege | Self::Refused { .. } | Self::Quota { .. } => ExitCode::NotPermitted,
            Self::Acl(_) | Self::Conf(_) | Self::RootsFile { .. } => ExitCode::Configuration,
            Self::NoBridge { .. }
            | Self::NotABridge { .. }
            | Self::NoVlanFiltering(_)
            | Self::BridgeAppeared(_)
            | Self::BridgeFull(_) => ExitCode::Bridge,
            Self::NotATap { .. }
            | Self::FixedTap { .. }
            | Self::TapInUse { .. }
            | Self::Appeared(_) => ExitCode::Tap,
            Self::Tun(_) => ExitCode::Tun,
            Self::Step { cause, .. } => match cause {
                Cause::Refused {
                    errno: Errno::EPERM | Errno::EACCES,
                    ..
                } => ExitCode::NotPermitted,
                Cause::Refused { .. } | Cause::Device(_) | Cause::Ignored => ExitCode::Kernel,
                Cause::Contested(_) => ExitCode::Tap,
                Cause::Late(_) | Cause::Nonsense(_) => ExitCode::Unexpected,
            },
            Self::Late { .. } => ExitCode::Timeout,
        }
    }

    /// What to do about it, where we know.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Usage(_) => "--help lists the options".to_owned(),
            Self::Name { .. } => {
                "an interface name has 1 to 15 bytes, without white space and without / : %".to_owned()
            }
            Self::UnknownId { instead, .. } => {
                format!("a user or group that is not in that file is named by number: {instead}")
            }
            Self::BadVariable { variable, .. } => {
                format!("run it without {variable}, or through sudo, pkexec or doas")
            }
            Self::File { .. } | Self::Output(_) => return None,
            Self::NoPrivilege => {
                "run it as root (with sudo), or let the program lend its privilege to users: install.sh --setcap (a caller with no_new_privs set gets none)".to_owned()
            }
            Self::Refused { hint, .. } => hint.clone(),
            Self::Acl(_) => "the rules are: allow NAME, allow all, deny NAME, deny all, include /PATH".to_owned(),
            Self::RootsFile { path, .. } => {
                format!("it must be a plain file that root can rely on: chown root {path} && chmod 0644 {path}")
            }
            Self::Conf(_) => "a line is a pattern of interface names, then options as on the command line: web? --bridge br1".to_owned(),
            Self::NoVlanFiltering(name) => {
                let word = ShellWord(name.as_bytes());
                format!("let it: ip link set dev {word} type bridge vlan_filtering 1; or leave out --pvid and --vlans")
            }
            Self::BridgeAppeared(_) => "run it again".to_owned(),
            Self::NoSocket { .. } => {
                "--fd is for QEMU, which passes the number of a socket: -netdev bridge,helper=/etc/qemu-ifup".to_owned()
            }
            Self::NoBridge { name, .. } => {
                let word = ShellWord(name.as_bytes());
                format!(
                    "let qemu-ifup make it (--create-bridge --address 192.168.10.1/24), make it (ip link add {word} type bridge && ip link set {word} up), or name another one (--bridge)"
                )
            }
            Self::NotABridge { name, kind } => {
                let known = NOT_BRIDGES
                    .iter()
                    .find(|(word, _)| kind.contains(word) && *name != IfName::LOOPBACK);
                let hint = known.map_or(NO_BRIDGE_AT_ALL, |(_, hint)| hint);
                hint.replace("NAME", &ShellWord(name.as_bytes()).to_string())
            }
            Self::BridgeFull(_) => {
                "a bridge holds 1023 ports: remove taps that are left over, or use a second bridge".to_owned()
            }
            Self::NotATap { .. } => {
                "name a tap, or a name that is not in use: the tap is then made".to_owned()
            }
            Self::FixedTap { name, .. } => format!(
                "remove it first, it is then made anew: qemu-ifdown --delete {}",
                ShellWord(name.as_bytes())
            ),
            Self::TapInUse { name, .. } => format!(
                "end that program first, or leave the option out; this names it: qemu-ifup --check {}",
                ShellWord(name.as_bytes())
            ),
            Self::Appeared(_) => "run it again".to_owned(),
            Self::Quota { .. } => format!(
                "remove one (qemu-ifdown --delete NAME; ip tuntap list names them), or let root allow more: --max-taps N in {CONF_FILE}"
            ),
            Self::Tun(errno) => {
                let known = TUN_HINTS.iter().find(|(number, _)| number == errno);
                return known.map(|(_, hint)| (*hint).to_owned());
            }
            Self::Step { cause, .. } => match cause {
                Cause::Refused {
                    errno: Errno::EPERM,
                    ..
                } => "this takes CAP_NET_ADMIN in the network namespace; a container often goes without",
                Cause::Ignored => "the running kernel is too old for this option: leave it out",
                Cause::Contested(_) => "nothing of it is left up; run it again, and look who else is at it: sudo qemu-ifup --check IFNAME",
                Cause::Refused { .. } | Cause::Device(_) | Cause::Late(_) | Cause::Nonsense(_) => return None,
            }
            .to_owned(),
            Self::Late { bridge, state: PortState::Disabled, .. } => {
                let word = ShellWord(bridge.as_bytes());
                format!("the bridge is down (ip link set dev {word} up), or QEMU has switched the link off")
            }
            Self::Late { bridge, .. } => {
                let word = ShellWord(bridge.as_bytes());
                format!("STP takes twice the forward delay: wait longer, shorten it (ip link set dev {word} type bridge forward_delay 400), or do without (ip link set dev {word} type bridge stp_state 0)")
            }
        };
        Some(hint)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) => f.write_str(problem),
            Self::Name { given, problem } => {
                write!(
                    f,
                    "'{}' is no interface name: {problem}",
                    Escaped::start_of(given)
                )
            }
            Self::UnknownId { name, file, .. } => {
                write!(
                    f,
                    "cannot look up '{}': not in {file}",
                    Escaped::start_of(name)
                )
            }
            Self::BadVariable { variable, value } => write!(
                f,
                "cannot tell the invoking user: {variable} is '{}'",
                Escaped::start_of(value)
            ),
            Self::File { path, cause } => write!(f, "cannot read {path}: {cause}"),
            Self::Output(cause) => write!(f, "cannot write the output: {cause}"),
            Self::NoPrivilege => {
                f.write_str("cannot change interfaces: this user may not (no CAP_NET_ADMIN)")
            }
            Self::Refused { doing, reason, .. } => write!(f, "cannot {doing}: {reason}"),
            Self::Acl(AclError { place, problem }) => {
                write!(f, "cannot tell what is allowed: {place}: {problem}")
            }
            Self::RootsFile { path, cause } => write!(f, "cannot rely on {path}: {cause}"),
            Self::Conf(ConfError { line, problem }) => {
                write!(f, "cannot rely on {CONF_FILE}:{line}: {problem}")
            }
            Self::NoVlanFiltering(name) => {
                write!(
                    f,
                    "cannot set VLANs: {name} does not keep them apart (vlan_filtering is off)"
                )
            }
            Self::BridgeAppeared(name) => write!(
                f,
                "cannot make the bridge {name}: somebody else made it at the same moment"
            ),
            Self::NoSocket { fd, cause } => {
                write!(f, "cannot hand a tap over descriptor {fd}: {cause}")
            }
            Self::NoBridge { name, others } => {
                write!(f, "cannot attach to {name}: no such bridge")?;
                for (position, other) in others.iter().take(8).enumerate() {
                    let before = if position == 0 { " (there is " } else { ", " };
                    write!(f, "{before}{other}")?;
                }
                f.write_str(if others.is_empty() { "" } else { ")" })
            }
            Self::NotABridge { name, kind } => {
                write!(
                    f,
                    "cannot attach to {name}: it is not a bridge but {}",
                    Escaped(kind.as_bytes())
                )
            }
            Self::BridgeFull(name) => write!(f, "cannot attach to {name}: the bridge is full"),
            Self::NotATap { kind, .. } => {
                write!(
                    f,
                    "cannot use it: it is not a tap but {}",
                    Escaped(kind.as_bytes())
                )
            }
            Self::FixedTap { doing, reason, .. } => write!(f, "cannot {doing}: {reason}"),
            Self::TapInUse { doing, .. } => {
                write!(f, "cannot {doing}: another program has it open")
            }
            Self::Appeared(name) => write!(
                f,
                "cannot make {name}: somebody else made it at the same moment"
            ),
            Self::Quota { access, most } => write!(
                f,
                "cannot make it: {access} has {most} taps, as many as a user may have"
            ),
            Self::Tun(errno) => write!(f, "cannot use /dev/net/tun: {}", errno.desc()),
            Self::Step {
                doing,
                cause,
                not_undone,
            } => {
                write!(f, "cannot {doing}: {cause}")?;
                add_not_undone(f, not_undone)
            }
            Self::Late {
                state, not_undone, ..
            } => {
                write!(f, "cannot wait until it forwards: it is still {state}")?;
                add_not_undone(f, not_undone)
            }
        }
    }
}

impl std::error::Error for Error {}

fn add_not_undone(f: &mut fmt::Formatter<'_>, not_undone: &[String]) -> fmt::Result {
    for left in not_undone {
        write!(f, "; not undone: {left}")?;
    }
    Ok(())
}
