//! What can be wrong with the command line and the configuration files.

use std::fmt::{self, Display};

use crate::config::acl::AclError;
use crate::escape::Escaped;
use crate::model::if_name::IfNameError;
use crate::sys::error::SysError;

/// The command line is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// An option, or a combination of options; why.
    Syntax(String),
    /// A word is not an interface name.
    InvalidName { given: Vec<u8>, reason: IfNameError },
}

impl Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(reason) => f.write_str(reason),
            Self::InvalidName { given, reason } => write!(
                f,
                "'{}' is not an interface name: {reason}",
                Escaped::truncated(given)
            ),
        }
    }
}

/// A line of /etc/qemu-ifup.conf cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfError {
    /// The line, from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// One of root's files cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// It cannot be read, for want of memory or descriptors.
    Read {
        path: &'static str,
        reason: SysError,
    },
    /// It is owned by another user than root, or writable by others.
    NotRoots { path: &'static str },
    /// It is a symbolic link to a file that does not exist.
    Dangling { path: &'static str },
    /// It is not a regular file that can be read.
    Untrusted {
        path: &'static str,
        reason: SysError,
    },
    /// A line of /etc/qemu-ifup.conf.
    Conf(ConfError),
    /// A line of /etc/qemu/bridge.conf, or of a file that it includes.
    Acl(AclError),
}
