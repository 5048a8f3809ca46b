//! What is said of an error: "cannot", the action, and the reason.

use std::fmt::{self, Display};

use crate::config::acl::AclError;
use crate::config::conf::CONF_FILE;
use crate::config::error::{ConfError, ConfigError};
use crate::error::{Difference, Error, Immutable};
use crate::escape::Escaped;
use crate::model::bridge::BR_MAX_PORTS;
use crate::model::if_name::IfName;
use crate::model::spec::TapAccess;
use crate::sys::file::GROUP;
use crate::sys::privilege::Withheld;

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => Display::fmt(error, f),
            Self::UnknownName { name, file } => write!(
                f,
                "unknown {} '{}' (not in {file})",
                if *file == GROUP { "group" } else { "user" },
                Escaped::truncated(name)
            ),
            Self::InvalidEnv { variable, value } => write!(
                f,
                "cannot determine the invoking user: {variable} is '{}'",
                Escaped::truncated(value)
            ),
            Self::ReadFile { path, reason } | Self::Config(ConfigError::Read { path, reason }) => {
                write!(f, "cannot read {path}: {reason}")
            }
            Self::WriteOutput(reason) => write!(f, "cannot write the output: {reason}"),
            Self::MissingCapNetAdmin(withheld) => {
                f.write_str("not permitted to change interfaces: no CAP_NET_ADMIN")?;
                f.write_str(match withheld {
                    Some(Withheld::NoNewPrivs) => " (no_new_privs is set)",
                    Some(Withheld::Nosuid) => " (the program's file system is mounted nosuid)",
                    None => "",
                })
            }
            Self::Denied { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::QuotaExceeded { quota, taps } => write!(
                f,
                "cannot create the tap: uid {} has {taps} taps, and the limit is {}",
                quota.user.0, quota.max
            ),
            Self::Config(ConfigError::Acl(AclError { location, kind })) => {
                write!(f, "invalid ACL: {location}: {kind}")
            }
            Self::Config(ConfigError::Conf(ConfError { line, reason })) => {
                write!(f, "invalid line: {CONF_FILE}:{line}: {reason}")
            }
            Self::InConf { line, error } => write!(f, "{CONF_FILE}:{line}: {error}"),
            Self::Config(ConfigError::NotRoots { path }) => write!(
                f,
                "{path} is not safe to use: it must be owned by root and writable only by root"
            ),
            Self::Config(ConfigError::Dangling { path }) => write!(
                f,
                "cannot read {path}: it is a symbolic link to a file that does not exist"
            ),
            Self::Config(ConfigError::Untrusted { path, reason }) => {
                write!(f, "cannot read {path}: {reason}")
            }
            Self::InvalidHelperFd { fd, reason } => {
                write!(
                    f,
                    "cannot pass a tap through file descriptor {fd}: {reason}"
                )
            }
            Self::NetworkInUse {
                bridge,
                address,
                interface,
            } => write!(
                f,
                "cannot create bridge {bridge} with address {address}: \
                 {interface} already has an address in that network"
            ),
            Self::NoSuchBridge { name, existing } => no_such_bridge(f, *name, existing),
            Self::NotABridge { name, kind } => write!(
                f,
                "cannot attach to {name}: {name} is not a bridge (it is {})",
                Escaped(kind.to_string().as_bytes())
            ),
            Self::MacInUse { mac, interface, .. } => {
                write!(
                    f,
                    "cannot lock the tap to MAC {mac}: {interface} already uses that MAC"
                )
            }
            Self::VlanFilteringOff(name) => write!(
                f,
                "cannot set VLANs: VLAN filtering is off on bridge {name}"
            ),
            Self::BridgeExists(name) => write!(
                f,
                "cannot create bridge {name}: another program created it at the same time"
            ),
            Self::BridgeFull(name) => write!(
                f,
                "cannot attach to {name}: the bridge already has {BR_MAX_PORTS} ports"
            ),
            Self::NotATap { kind, .. } => write!(
                f,
                "not a tap (it is {})",
                Escaped(kind.to_string().as_bytes())
            ),
            Self::TapImmutable { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::TapBusy { action, .. } => {
                write!(f, "cannot {action}: the tap is in use by another program")
            }
            Self::TapDiffers { difference, .. } => write!(
                f,
                "cannot change the tap: {difference}. \
                 Unprivileged users can create and delete taps, but not change them"
            ),
            Self::CreatedByAnother { creator, .. } => {
                write!(f, "cannot use the tap: uid {} created it", creator.0)
            }
            Self::AlternativeName { interface, .. } => write!(
                f,
                "cannot use this name: it is an alternative name of {interface}"
            ),
            Self::AllTapsExceeded { quota, taps } => write!(
                f,
                "cannot create the tap: all unprivileged users together have {taps} taps, \
                 and the limit is {}",
                quota.max_all
            ),
            Self::TapExists(name) => write!(
                f,
                "cannot create {name}: another program created it at the same time"
            ),
            Self::TapContested { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::ForwardingTimeout { state, .. } => {
                write!(
                    f,
                    "timed out: the port does not forward yet (state: {state})"
                )
            }
            Self::StepFailed { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::NotUndone { cause, left } => {
                write!(f, "{cause}")?;
                left.iter()
                    .try_for_each(|left| write!(f, "; not undone: {left}"))
            }
        }
    }
}

impl std::error::Error for Error {}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBridge => f.write_str("it is not attached to a bridge"),
            Self::OtherBridge { is, wanted } => {
                write!(f, "it is attached to {is}, not to {wanted}")
            }
            Self::Down => f.write_str("it is down"),
            Self::NotPersistent => f.write_str("it is not persistent"),
            Self::Access(TapAccess::Owner(uid)) => write!(f, "its owner is not only uid {uid}"),
            Self::Access(TapAccess::Group(gid)) => write!(f, "its group is not only gid {gid}"),
            Self::OneQueue => f.write_str("it has one queue"),
            Self::SharedQueue => f.write_str("another program has a queue of it open"),
            Self::Mtu { is, wanted } => write!(f, "its MTU is {is}, not {wanted}"),
            Self::PortOption(option, on) => {
                let (is, wanted) = if *on { ("off", "on") } else { ("on", "off") };
                write!(f, "{} is {is}, not {wanted}", option.as_str())
            }
            Self::Vlans => f.write_str("its VLANs differ"),
            Self::Locked => f.write_str("it is locked to a MAC"),
            Self::NotLockedTo(mac) => write!(f, "it is not locked to {mac} alone"),
        }
    }
}

impl Display for Immutable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneQueue => {
                "the tap was created with one queue, and the kernel cannot change that"
            }
            Self::HasGroup => "the tap has a group, and the kernel cannot remove it",
            Self::HasOwner => "the tap has an owner, and the kernel cannot remove it",
            Self::Exists => "it already exists, and the bridge helper must create a new tap",
        })
    }
}

/// With the bridges that exist, or the first eight of them.
fn no_such_bridge(f: &mut fmt::Formatter<'_>, name: IfName, existing: &[IfName]) -> fmt::Result {
    write!(f, "cannot attach to {name}: no such bridge")?;
    for (position, other) in existing.iter().take(8).enumerate() {
        let before = if position == 0 {
            " (existing bridges: "
        } else {
            ", "
        };
        write!(f, "{before}{other}")?;
    }
    f.write_str(match existing.len() {
        0 => "",
        1..=8 => ")",
        _ => ", ...)",
    })
}
