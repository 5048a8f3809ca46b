//! The exit codes, and which error ends with which.

use nix::errno::Errno;

use crate::config::error::ConfigError;
use crate::error::{Error, StepKind};
use crate::sys::error::SysError;

/// The exit codes. They are stable: QEMU prints 256 times the code and nothing else, and people search for that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The work is done.
    Success = 0,
    /// An unexpected error.
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The caller is not permitted to do this.
    NotPermitted = 3,
    /// The bridge is missing, is not a bridge, or is full.
    Bridge = 4,
    /// The interface is not a usable tap.
    Tap = 5,
    /// /dev/net/tun cannot be used.
    Tun = 6,
    /// The kernel refused a step.
    Kernel = 7,
    /// The configuration or the ACL file is invalid.
    Configuration = 8,
    /// The port does not forward in time.
    Timeout = 9,
}

impl Error {
    pub(crate) fn exit_code(&self) -> ExitCode {
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
            Self::InConf { error, .. } if error.exit_code() == ExitCode::Usage => {
                ExitCode::Configuration
            }
            Self::InConf { error, .. } => error.exit_code(),
            Self::StepFailed {
                kind: StepKind::OpenTun,
                ..
            } => ExitCode::Tun,
            Self::StepFailed { reason, .. } => match reason {
                SysError::Errno {
                    errno: Errno::EPERM | Errno::EACCES,
                    ..
                } => ExitCode::NotPermitted,
                SysError::TunDevice(_) => ExitCode::Tun,
                SysError::Errno { .. } | SysError::Known(..) | SysError::NotApplied(_) => {
                    ExitCode::Kernel
                }
                SysError::Protocol(_) | SysError::Invalid(_) => ExitCode::Unexpected,
            },
            Self::ForwardingTimeout { .. } => ExitCode::Timeout,
            Self::NotUndone { cause, .. } => cause.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::TIMED_OUT;

    #[test]
    fn the_handler_of_the_time_limit_exits_with_the_code_of_a_timeout() {
        assert_eq!(TIMED_OUT, ExitCode::Timeout as i32);
    }
}
