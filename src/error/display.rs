//! What is said of an error: "cannot", the action, and the reason.

use std::fmt::{self, Display};

use crate::config::acl::AclError;
use crate::config::conf::CONF_FILE;
use crate::config::error::{ConfError, ConfigError};
use crate::error::{Difference, Error};
use crate::escape::Escaped;
use crate::model::if_name::IfName;
use crate::sys::error::strerror;
use crate::sys::privilege::Withheld;

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => Display::fmt(error, f),
            Self::UnknownName { name, file, .. } => write!(
                f,
                "cannot look up '{}': not in {file}",
                Escaped::truncated(name)
            ),
            Self::InvalidEnv { variable, value } => write!(
                f,
                "cannot tell the invoking user: {variable} is '{}'",
                Escaped::truncated(value)
            ),
            Self::ReadFile { path, reason } | Self::Config(ConfigError::Read { path, reason }) => {
                write!(f, "cannot read {path}: {reason}")
            }
            Self::WriteOutput(reason) => write!(f, "cannot write the output: {reason}"),
            Self::MissingCapNetAdmin(withheld) => {
                f.write_str("cannot change interfaces: this user may not (no CAP_NET_ADMIN")?;
                f.write_str(match withheld {
                    Some(Withheld::NoNewPrivs) => ": the caller has no_new_privs set)",
                    Some(Withheld::Nosuid) => ": the program's file system is mounted nosuid)",
                    None => ")",
                })
            }
            Self::Denied { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::QuotaExceeded { quota, taps } => write!(
                f,
                "cannot create it: uid {} has as many taps as a user may have: {taps} of {}",
                quota.user.0, quota.max
            ),
            Self::Config(ConfigError::Acl(AclError { location, kind })) => {
                write!(f, "cannot tell what is allowed: {location}: {kind}")
            }
            Self::Config(ConfigError::Conf(ConfError { line, reason })) => {
                write!(f, "cannot rely on {CONF_FILE}:{line}: {reason}")
            }
            Self::InConf { line, error } => write!(f, "{CONF_FILE}:{line}: {error}"),
            Self::Config(ConfigError::Untrusted { path, reason }) => {
                write!(f, "cannot rely on {path}: {reason}")
            }
            Self::InvalidHelperFd { fd, reason } => {
                write!(f, "cannot hand a tap over descriptor {fd}: {reason}")
            }
            Self::NetworkInUse {
                bridge,
                address,
                interface,
            } => write!(
                f,
                "cannot create the bridge {bridge} with {address}: {interface} is in that network already"
            ),
            Self::NoSuchBridge { name, existing } => no_such_bridge(f, *name, existing),
            Self::NotABridge { name, kind } => write!(
                f,
                "cannot attach to {name}: it is not a bridge but {}",
                Escaped(kind.to_string().as_bytes())
            ),
            Self::MacInUse { mac, interface, .. } => {
                write!(
                    f,
                    "cannot lock it to {mac}: {interface} has that MAC already"
                )
            }
            Self::VlanFilteringOff(name) => write!(
                f,
                "cannot set VLANs: {name} does not filter them (vlan_filtering is off)"
            ),
            Self::BridgeExists(name) => write!(
                f,
                "cannot create the bridge {name}: somebody else created it at the same moment"
            ),
            Self::BridgeFull(name) => write!(f, "cannot attach to {name}: the bridge is full"),
            Self::NotATap { kind, .. } => write!(
                f,
                "cannot use it: it is not a tap but {}",
                Escaped(kind.to_string().as_bytes())
            ),
            Self::TapImmutable { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::TapBusy { action, .. } => {
                write!(
                    f,
                    "cannot {action}: it is in use, another program has it open"
                )
            }
            Self::TapDiffers { difference, .. } => write!(
                f,
                "cannot change it: {difference}; a user other than root creates taps and deletes them, and changes none"
            ),
            Self::CreatedByAnother { creator, .. } => {
                write!(f, "cannot use it: uid {} created it", creator.0)
            }
            Self::AlternativeName { interface, .. } => write!(
                f,
                "cannot use the name: it is an alternative name of {interface}"
            ),
            Self::AllTapsExceeded { quota, taps } => write!(
                f,
                "cannot create it: all users other than root have {taps} taps, of {} that they may have together",
                quota.max_all
            ),
            Self::TapExists(name) => write!(
                f,
                "cannot create {name}: somebody else created it at the same moment"
            ),
            Self::TapContested { action, reason, .. } => write!(f, "cannot {action}: {reason}"),
            Self::TunDevice(errno) => write!(f, "cannot use /dev/net/tun: {}", strerror(*errno)),
            Self::ForwardingTimeout { state, .. } => {
                write!(f, "cannot wait until it forwards: it is still {state}")
            }
            Self::StepFailed { action, reason } => write!(f, "cannot {action}: {reason}"),
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
            Self::NoBridge => f.write_str("it is in no bridge"),
            Self::OtherBridge { is, wanted } => write!(f, "it is in {is}, not in {wanted}"),
            Self::Down => f.write_str("it is down"),
            Self::NotPersistent => f.write_str("it is not persistent"),
            Self::Access(access) => write!(f, "it is not for {access} alone"),
            Self::OneQueue => f.write_str("it takes one queue, not several"),
            Self::SharedQueue => f.write_str("another program has a queue of it open"),
            Self::Mtu { is, wanted } => write!(f, "its MTU is {is}, not {wanted}"),
            Self::PortOption(option, on) => {
                let (is, wanted) = if *on { ("off", "on") } else { ("on", "off") };
                write!(f, "{} is {is}, not {wanted}", option.as_str())
            }
            Self::Vlans => f.write_str("its VLANs are others"),
            Self::Locked => f.write_str("it is locked to a MAC"),
            Self::NotLockedTo(mac) => write!(f, "it is not locked to {mac} alone"),
        }
    }
}

/// With the bridges that exist, or the first eight of them.
fn no_such_bridge(f: &mut fmt::Formatter<'_>, name: IfName, existing: &[IfName]) -> fmt::Result {
    write!(f, "cannot attach to {name}: no such bridge")?;
    for (position, other) in existing.iter().take(8).enumerate() {
        let before = if position == 0 { " (there is " } else { ", " };
        write!(f, "{before}{other}")?;
    }
    f.write_str(if existing.is_empty() { "" } else { ")" })
}
