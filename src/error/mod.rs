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
    /// The command line is wrong.
    Usage(UsageError),
    /// A user or a group is not known.
    UnknownName {
        /// The name.
        name: Vec<u8>,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A variable of the environment that should name the invoking user does not.
    InvalidEnv {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: Vec<u8>,
    },
    /// A file of the system cannot be read.
    ReadFile {
        /// The file.
        path: &'static str,
        /// Why.
        reason: SysError,
    },
    /// Standard output cannot be written.
    WriteOutput(SysError),
    /// The caller is not root, and the program has no file capability, or something keeps it from them.
    MissingCapNetAdmin(Option<Withheld>),
    /// This caller is not permitted to do it.
    Denied {
        /// What was refused.
        action: String,
        /// The rule.
        reason: String,
        /// What would make it possible.
        hints: Vec<Advice>,
    },
    /// The user has as many taps as they may.
    QuotaExceeded {
        /// Who, and how many they may have.
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
        /// Why not.
        error: Box<Error>,
    },
    /// --fd is not a Unix socket.
    InvalidHelperFd {
        /// The descriptor.
        fd: i32,
        /// Why not.
        reason: SysError,
    },
    /// A new bridge is to have an address of a network that another interface is in.
    NetworkInUse {
        /// The bridge.
        bridge: IfName,
        /// The address.
        address: IpPrefix,
        /// The other interface.
        interface: IfName,
    },
    /// There is no such bridge.
    NoSuchBridge {
        /// Its name.
        name: IfName,
        /// The bridges that exist.
        existing: Vec<IfName>,
    },
    /// The interface that was named as the bridge is not one.
    NotABridge {
        /// The interface.
        name: IfName,
        /// What it is.
        kind: LinkKind,
    },
    /// A port is to be locked to an address that the bridge has for something else.
    MacInUse {
        /// The address.
        mac: MacAddr,
        /// The bridge.
        bridge: IfName,
        /// The other port, or the bridge.
        interface: IfName,
    },
    /// The bridge does not filter VLANs.
    VlanFilteringOff(IfName),
    /// Another program created the bridge between the look and our own request.
    BridgeExists(IfName),
    /// The bridge has no room for another port.
    BridgeFull(IfName),
    /// The interface is not a tap.
    NotATap {
        /// The interface.
        name: IfName,
        /// What it is.
        kind: LinkKind,
    },
    /// The tap exists and cannot be given the queues, owner or group that were asked for.
    TapImmutable {
        /// The tap.
        name: IfName,
        /// Who may open it.
        access: Option<TapAccess<u32>>,
        /// What cannot be done.
        action: String,
        /// Why not.
        reason: Immutable,
        /// A program has it open.
        in_use: bool,
    },
    /// Another program has the tap open, and only that one could do this.
    TapBusy {
        /// It was to be deleted by its owner.
        deletes: bool,
        /// The tap.
        name: IfName,
        /// What cannot be done.
        action: String,
    },
    /// The tap is an unprivileged user's, and is not as wanted: they create taps and delete them, and change none.
    TapDiffers {
        /// The tap.
        name: IfName,
        /// The bridge that it should be on.
        bridge: IfName,
        /// Who may open it.
        access: Option<TapAccess<u32>>,
        /// The first setting that is not as wanted.
        difference: Difference,
        /// The user may delete it now, and create it anew.
        can_create: bool,
    },
    /// The tap was created for another user than the one who runs QEMU, and root has not said that it is to be used.
    CreatedByAnother {
        /// The tap.
        name: IfName,
        /// The bridge that it should be on.
        bridge: IfName,
        /// Who may open it.
        access: Option<TapAccess<u32>>,
        /// The user whom its alias names.
        creator: Creator,
    },
    /// The name is an alternative name of another interface.
    AlternativeName {
        /// The name.
        name: IfName,
        /// The interface.
        interface: IfName,
        /// It was named as the bridge.
        as_bridge: bool,
    },
    /// All users together have as many taps as they may.
    AllTapsExceeded {
        /// The limit.
        quota: Quota,
        /// The number of taps that there are.
        taps: u32,
    },
    /// Another program created the tap between the look and our own request.
    TapExists(IfName),
    /// Another program changes the tap at the same time.
    TapContested {
        /// The tap.
        name: IfName,
        /// The step that failed.
        action: String,
        /// What the other program did.
        reason: &'static str,
    },
    /// The port does not forward in time.
    ForwardingTimeout {
        /// The bridge that it is a port of.
        bridge: IfName,
        /// Its state.
        state: PortState,
    },
    /// A step failed for any other reason.
    StepFailed {
        /// What kind of step it was.
        kind: StepKind,
        /// The step.
        action: String,
        /// The reason.
        reason: SysError,
    },
    /// A step failed, and not all is as before.
    NotUndone {
        /// Why the step failed.
        cause: Box<Self>,
        /// What is not as before, each an action and a reason.
        left: Vec<String>,
    },
}

/// What kind of step failed: with the reason, it decides on the hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the steps of a plan have the same names, and are described there"
)]
pub(crate) enum StepKind {
    /// /dev/net/tun could not be used, whichever step wanted to.
    OpenTun,
    OpenNetlink,
    CreateBridge,
    DeleteBridge,
    CheckQuota,
    CreateTap,
    /// The tap could not be attached to a bridge.
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
    /// It has a group.
    HasGroup,
    /// It has an owner.
    HasOwner,
    /// QEMU's bridge helper creates its tap.
    Exists,
}

/// A setting of a tap that is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It is in no bridge.
    NoBridge,
    /// It is in another bridge.
    OtherBridge {
        /// The bridge that it is in.
        is: IfName,
        /// The bridge that it should be in.
        wanted: IfName,
    },
    /// It is down.
    Down,
    /// It disappears with the program that has it open.
    NotPersistent,
    /// Others may open it.
    Access(TapAccess<u32>),
    /// It takes one queue.
    OneQueue,
    /// Another program has a queue of it open beside QEMU.
    SharedQueue,
    /// Its MTU.
    Mtu {
        /// The MTU that it has.
        is: u32,
        /// The MTU that is wanted.
        wanted: u32,
    },
    /// An option of its port should be on, or off.
    PortOption(PortOption, bool),
    /// Its VLANs.
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
