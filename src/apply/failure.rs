//! Why a step failed, and which error that is.

use std::fmt::{self, Display};

use nix::errno::Errno;

use crate::error::Error;
use crate::error::advice::Advice;
use crate::model::bridge::PortState;
use crate::model::change::LinkUpdate;
use crate::model::if_name::IfName;
use crate::model::spec::Quota;
use crate::plan::step::Step;
use crate::sys::error::SysError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepError {
    /// The kernel refused it.
    Sys(SysError),
    /// Another program changes the tap at the same time; how.
    Contested(&'static str),
    /// The step was done, and the kernel does not say with what result.
    Unverified(SysError),
    /// The user has as many taps as they may.
    QuotaExceeded {
        quota: Quota,
        /// How many they have.
        taps: u32,
    },
    /// All users together have as many taps as they may.
    AllTapsExceeded {
        quota: Quota,
        /// The number of taps that there are.
        taps: u32,
    },
    /// The port does not forward in time.
    NotForwarding { bridge: IfName, state: PortState },
}

impl StepError {
    /// Whether the step was done all the same.
    pub(super) fn took_effect(&self) -> bool {
        matches!(self, Self::Unverified(_))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.errno() == Some(Errno::ENODEV)
    }

    fn errno(&self) -> Option<Errno> {
        let Self::Sys(error) = self else {
            return None;
        };
        error.errno()
    }
}

impl<E: Into<SysError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Sys(error.into())
    }
}

impl Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sys(error) | Self::Unverified(error) => Display::fmt(error, f),
            Self::Contested(reason) => f.write_str(reason),
            Self::QuotaExceeded { .. } | Self::AllTapsExceeded { .. } => {
                f.write_str("the limit is reached")
            }
            Self::NotForwarding { state, .. } => write!(f, "the port is still {state}"),
        }
    }
}

/// The error for a step that failed on this tap: some failures have a name, an exit code and a hint of their own.
pub(super) fn classify(tap: IfName, step: &Step, error: StepError) -> Error {
    let action = step.description();
    match (step, error.errno()) {
        // br_add_if() in net/bridge/br_if.c, where no port number is left.
        (
            Step::SetLink(LinkUpdate {
                master: Some(Some(bridge)),
                ..
            }),
            Some(Errno::EXFULL),
        ) => return Error::BridgeFull(bridge.name),
        (Step::CreateTap { .. }, Some(Errno::EBUSY)) => return Error::TapExists(tap),
        (Step::SetAccess { has_fd: false, .. } | Step::ReleaseTap, Some(Errno::EBUSY)) => {
            let deletes = matches!(step, Step::ReleaseTap);
            return Error::TapBusy {
                deletes,
                name: tap,
                action,
            };
        }
        // tun_not_capable() in drivers/net/tun.c: the tap has another owner by now.
        (Step::ReleaseTap, Some(Errno::EPERM)) => {
            return Error::Denied {
                action,
                reason: "its owner is another user".to_owned(),
                hints: vec![Advice::text("use another tap. Only root can use this tap")],
            };
        }
        (Step::CreateBridge(new), Some(Errno::EEXIST)) if error == Errno::EEXIST.into() => {
            return Error::BridgeExists(new.link.name);
        }
        (_, _) => {}
    }
    let contested = |action, reason| Error::TapContested {
        name: tap,
        action,
        reason,
    };
    match error {
        StepError::Contested(reason) => contested(action, reason),
        // rtnl_changelink() in net/core/rtnetlink.c, for what is no port.
        StepError::Sys(error)
            if matches!(step, Step::Up(_)) && error.errno() == Some(Errno::EOPNOTSUPP) =>
        {
            contested(action, "another program detached the tap at the same time")
        }
        StepError::Sys(reason) | StepError::Unverified(reason) => {
            Error::step(step.kind(), action, reason)
        }
        StepError::NotForwarding { bridge, state } => Error::ForwardingTimeout { bridge, state },
        StepError::QuotaExceeded { quota, taps } => Error::QuotaExceeded { quota, taps },
        StepError::AllTapsExceeded { quota, taps } => Error::AllTapsExceeded { quota, taps },
    }
}
