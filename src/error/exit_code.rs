//! The exit codes, and which error ends with which.

use nix::errno::Errno;

use crate::config::error::ConfigError;
use crate::error::Error;
use crate::sys::error::SysError;
use crate::sys::netlink::bridge::IPV6_OFF;

/// The exit codes. They are stable: QEMU prints 256 times the code and nothing else, and people search for that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The work is done.
    Success = 0,
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
    /// The port does not forward in time.
    Timeout = 9,
}

impl Error {
    /// The exit code that stands for this.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_)
            | Self::UnknownName { .. }
            | Self::InvalidEnv { .. }
            | Self::InvalidHelperFd { .. } => ExitCode::Usage,
            Self::ReadFile { .. } | Self::WriteOutput(_) => ExitCode::Unexpected,
            Self::MissingCapNetAdmin(_)
            | Self::Denied { .. }
            | Self::QuotaExceeded { .. }
            | Self::AllTapsExceeded { .. } => ExitCode::NotPermitted,
            Self::Config(ConfigError::Read { .. }) => ExitCode::Kernel,
            Self::Config(_) => ExitCode::Configuration,
            Self::AlternativeName {
                as_bridge: true, ..
            }
            | Self::NetworkInUse { .. }
            | Self::NoSuchBridge { .. }
            | Self::NotABridge { .. }
            | Self::MacInUse { .. }
            | Self::VlanFilteringOff(_)
            | Self::BridgeExists(_)
            | Self::BridgeFull(_) => ExitCode::Bridge,
            Self::NotATap { .. }
            | Self::TapImmutable { .. }
            | Self::TapBusy { .. }
            | Self::TapDiffers { .. }
            | Self::CreatedByAnother { .. }
            | Self::AlternativeName { .. }
            | Self::TapExists(_)
            | Self::TapContested { .. } => ExitCode::Tap,
            Self::TunDevice(_) => ExitCode::Tun,
            Self::InConf { error, .. } if error.exit_code() == ExitCode::Usage => {
                ExitCode::Configuration
            }
            Self::InConf { error, .. } => error.exit_code(),
            Self::StepFailed { reason, .. } => match reason {
                reason if reason.ext_ack() == Some(IPV6_OFF) => ExitCode::Kernel,
                SysError::Errno {
                    errno: Errno::EPERM | Errno::EACCES,
                    ..
                } => ExitCode::NotPermitted,
                SysError::Errno { .. } | SysError::NotApplied(_) => ExitCode::Kernel,
                SysError::Protocol(_) | SysError::Invalid(_) => ExitCode::Unexpected,
            },
            Self::ForwardingTimeout { .. } => ExitCode::Timeout,
            Self::NotUndone { cause, .. } => cause.exit_code(),
        }
    }
}
