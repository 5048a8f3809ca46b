//! [`Error`]: everything that can go wrong. [`display`] has the message, [`hint`] what helps (a list of
//! [`advice::Advice`]), [`exit_code`] the code.

pub(crate) mod advice;
pub(crate) mod display;
pub(crate) mod exit_code;
pub(crate) mod hint;

use crate::config::error::{ConfError, ConfigError, UsageError};
use crate::error::advice::Advice;
use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::bridge::{PortOption, PortState};
use crate::model::if_name::IfName;
use crate::model::link::LinkKind;
use crate::model::spec::{Creator, Quota, TapAccess};
use crate::sys::error::SysError;
use crate::sys::privilege::Withheld;

/// Why the work was not done. Its text is an action and a reason; the reporter puts the interface before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    Usage(UsageError),
    UnknownName {
        name: Vec<u8>,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A variable of the environment that should name the invoking user does not.
    InvalidEnv {
        variable: &'static str,
        value: Vec<u8>,
    },
    /// A file of the system cannot be read.
    ReadFile {
        path: &'static str,
        reason: SysError,
    },
    /// Standard output cannot be written.
    WriteOutput(SysError),
    /// The caller is not root, and the program has no file capability, or something keeps it from them.
    MissingCapNetAdmin(Option<Withheld>),
    Denied {
        action: String,
        reason: String,
        /// What would make it possible.
        hints: Vec<Advice>,
    },
    /// The user has as many taps as they may.
    QuotaExceeded {
        quota: Quota,
        /// How many they have.
        taps: u32,
    },
    /// One of root's files cannot be relied on.
    Config(ConfigError),
    /// What a line of the configuration asks for cannot be done.
    InConf {
        /// The line, from 1.
        line: usize,
        error: Box<Error>,
    },
    /// --fd is not a Unix socket.
    InvalidHelperFd {
        fd: i32,
        reason: SysError,
    },
    /// A new bridge is to have an address of a network that another interface is in.
    NetworkInUse {
        bridge: IfName,
        address: IpPrefix,
        interface: IfName,
    },
    NoSuchBridge {
        name: IfName,
        existing: Vec<IfName>,
    },
    NotABridge {
        name: IfName,
        kind: LinkKind,
    },
    /// A port is to be locked to an address that the bridge has for something else.
    MacInUse {
        mac: MacAddr,
        bridge: IfName,
        /// The other port, or the bridge.
        interface: IfName,
    },
    VlanFilteringOff(IfName),
    /// Another program created the bridge between the look and our own request.
    BridgeExists(IfName),
    BridgeFull(IfName),
    NotATap {
        name: IfName,
        kind: LinkKind,
    },
    /// The tap exists and cannot be given the queues, owner or group that were asked for.
    TapImmutable {
        name: IfName,
        access: Option<TapAccess<u32>>,
        action: String,
        reason: Immutable,
        /// A program has it open.
        in_use: bool,
    },
    /// Another program has the tap open, and only that one could do this.
    TapBusy {
        /// It was to be deleted by its owner.
        deletes: bool,
        name: IfName,
        action: String,
    },
    /// The tap is an unprivileged user's, and is not as wanted: they create taps and delete them, and change none.
    TapDiffers {
        name: IfName,
        /// The bridge that it should be on.
        bridge: IfName,
        access: Option<TapAccess<u32>>,
        /// The first setting that is not as wanted.
        difference: Difference,
        /// The user may delete it now, and create it anew.
        can_create: bool,
    },
    /// The tap was created for another user than the one who runs QEMU, and root has not said that it is to be used.
    CreatedByAnother {
        name: IfName,
        /// The bridge that it should be on.
        bridge: IfName,
        access: Option<TapAccess<u32>>,
        /// The user whom its alias names.
        creator: Creator,
    },
    /// The name is an alternative name of another interface.
    AlternativeName {
        name: IfName,
        interface: IfName,
        /// It was named as the bridge.
        as_bridge: bool,
    },
    /// All users together have as many taps as they may.
    AllTapsExceeded {
        quota: Quota,
        /// The number of taps that there are.
        taps: u32,
    },
    /// Another program created the tap between the look and our own request.
    TapExists(IfName),
    /// Another program changes the tap at the same time.
    TapContested {
        name: IfName,
        /// The step that failed.
        action: String,
        /// What the other program did.
        reason: &'static str,
    },
    /// The port does not forward in time.
    ForwardingTimeout {
        bridge: IfName,
        state: PortState,
    },
    /// A step failed for any other reason.
    StepFailed {
        kind: StepKind,
        action: String,
        reason: SysError,
    },
    /// A step failed, and not all is as before.
    NotUndone {
        cause: Box<Self>,
        /// What is not as before, each an action and a reason.
        left: Vec<String>,
    },
}

/// What kind of step failed: with the reason, it decides on the hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// /dev/net/tun could not be used, whichever step wanted to.
    OpenTun,
    OpenNetlink,
    CreateBridge,
    DeleteBridge,
    CheckQuota,
    CreateTap,
    Attach,
    /// Any other change of the interface.
    SetLink,
    SetPort,
    SetFdb,
    SetVlans,
    SetAccess,
    Up,
    DropPrivileges,
    WaitForwarding,
    PassFd,
    SetPersist,
    DeleteTap,
    ReleaseTap,
    /// What comes before a plan, mostly to look.
    Prepare,
}

/// What the kernel does not change about a tap that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immutable {
    /// It was created with one queue.
    OneQueue,
    HasGroup,
    HasOwner,
    /// QEMU's bridge helper creates its tap.
    Exists,
}

/// A setting of a tap that is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    NoBridge,
    OtherBridge {
        is: IfName,
        wanted: IfName,
    },
    Down,
    /// It disappears with the program that has it open.
    NotPersistent,
    /// Others may open it.
    Access(TapAccess<u32>),
    OneQueue,
    /// Another program has a queue of it open beside QEMU.
    SharedQueue,
    Mtu {
        is: u32,
        wanted: u32,
    },
    /// An option of its port should be on, or off.
    PortOption(PortOption, bool),
    Vlans,
    /// It is locked to a MAC.
    Locked,
    /// It is not locked to this MAC, or not to it alone.
    NotLockedTo(MacAddr),
}

impl Error {
    /// A step that failed. The one place where it is decided whether /dev/net/tun is to blame.
    pub(crate) fn step(
        kind: StepKind,
        action: impl Into<String>,
        reason: impl Into<SysError>,
    ) -> Self {
        let reason = reason.into();
        if let SysError::TunDevice(errno) = reason {
            let action = "use /dev/net/tun";
            return Self::step(StepKind::OpenTun, action, errno);
        }
        Self::StepFailed {
            kind,
            action: action.into(),
            reason,
        }
    }

    /// The same for what comes before a plan.
    pub(crate) fn failed(action: impl Into<String>, reason: impl Into<SysError>) -> Self {
        Self::step(StepKind::Prepare, action, reason)
    }
}

impl From<UsageError> for Error {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<ConfError> for Error {
    fn from(error: ConfError) -> Self {
        Self::Config(ConfigError::Conf(error))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

#[cfg(test)]
mod tests;
