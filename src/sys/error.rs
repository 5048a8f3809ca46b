//! [`SysError`]: why the kernel did not do as it was asked.

use std::fmt::{self, Display};

use nix::errno::Errno;

use crate::escape::Escaped;
use crate::model::spec::TapAccess;

/// The words of an errno that other programs have, and that people search for: those of glibc's strerror(3). The libc that
/// the program is linked with may be musl, whose words are others.
pub(crate) fn strerror(errno: Errno) -> &'static str {
    let differs = GLIBC.iter().find(|(number, _)| *number == errno);
    differs.map_or(errno.desc(), |(_, words)| words)
}

/// Where the nix crate has other words.
const GLIBC: [(Errno, &str); 6] = [
    (Errno::ENOTTY, "Inappropriate ioctl for device"),
    (Errno::EOPNOTSUPP, "Operation not supported"),
    (Errno::EAGAIN, "Resource temporarily unavailable"),
    (Errno::ENOMEM, "Cannot allocate memory"),
    (Errno::EBADF, "Bad file descriptor"),
    (Errno::ENFILE, "Too many open files in system"),
];

/// What a refusal means where the kernel does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// IPv6 is disabled for new interfaces, or the kernel does not have it.
    Ipv6Off,
    /// A new bridge was to have the same address twice.
    SameAddress,
    NoVlanFiltering,
    /// The id is not mapped in this user namespace.
    NotMapped(TapAccess<u32>),
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv6Off => f.write_str("IPv6 is disabled"),
            Self::SameAddress => f.write_str("the same address is given twice"),
            Self::NoVlanFiltering => f.write_str("this kernel does not support VLAN filtering"),
            Self::NotMapped(id) => write!(f, "{id} is not mapped in this user namespace"),
        }
    }
}

/// Why a request to the kernel failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SysError {
    /// It was refused: an errno, and the kernel's own message where there was one.
    Errno {
        errno: Errno,
        /// The message of the extended ACK (`NLMSGERR_ATTR_MSG` in linux/netlink.h): the kernel's text only.
        ext_ack: Option<Vec<u8>>,
    },
    /// It was refused, and we know what that means.
    Known(Cause, Errno),
    /// /dev/net/tun cannot be opened, or is another device (ENOTTY).
    TunDevice(Errno),
    /// It was acknowledged and not carried out; which part of it.
    NotApplied(&'static str),
    /// A netlink reply is malformed or not expected; how.
    Protocol(&'static str),
    /// Something else is not as it must be; what.
    Invalid(&'static str),
}

impl SysError {
    /// The errno of a request that the kernel refused without a known cause.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Errno { errno, .. } => Some(*errno),
            Self::Known(..)
            | Self::TunDevice(_)
            | Self::NotApplied(_)
            | Self::Protocol(_)
            | Self::Invalid(_) => None,
        }
    }
}

impl From<Errno> for SysError {
    fn from(errno: Errno) -> Self {
        Self::Errno {
            errno,
            ext_ack: None,
        }
    }
}

impl From<std::io::Error> for SysError {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self::Invalid("the system call failed without an error code"),
        }
    }
}

impl Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno {
                errno,
                ext_ack: None,
            }
            | Self::TunDevice(errno) => f.write_str(strerror(*errno)),
            Self::Known(cause, errno) => write!(f, "{cause} ({})", strerror(*errno)),
            Self::Errno {
                errno,
                ext_ack: Some(text),
            } => write!(f, "{} ({})", Escaped(text), strerror(*errno)),
            Self::NotApplied(part) => {
                write!(
                    f,
                    "the kernel accepted the request but did not apply {part}"
                )
            }
            Self::Protocol(reason) | Self::Invalid(reason) => f.write_str(reason),
        }
    }
}
