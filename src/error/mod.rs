//! [`Error`]: everything that can go wrong. [`display`] has what is said of it, [`hint`] what helps, [`exit_code`] the code.

pub mod display;
pub mod exit_code;
pub mod hint;

use nix::errno::Errno;

use crate::config::error::{ConfigError, UsageError};
use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::bridge::{PortOption, PortState};
use crate::model::if_name::IfName;
use crate::model::link::LinkKind;
use crate::model::spec::{Creator, Quota, TapAccess};
use crate::sys::error::SysError;
use crate::sys::privilege::Withheld;

/// Why the work was not done. Its text is an action and a reason; the reporter puts the interface before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
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
    /// The caller is not root, and the program has no privilege to lend, or something keeps it from them.
    MissingCapNetAdmin(Option<Withheld>),
    /// Root's rules do not let this caller do it.
    Denied {
        /// What was refused.
        action: String,
        /// The rule.
        reason: String,
        /// What would make it possible.
        hint: String,
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
    /// Somebody else created the bridge between the look and our own request.
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
        /// What cannot be done.
        action: String,
        /// Why not.
        reason: &'static str,
        /// A program has it open.
        in_use: bool,
    },
    /// Another program has the tap open, and only that one could do this.
    TapBusy {
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
    /// Somebody else created the tap between the look and our own request.
    TapExists(IfName),
    /// Somebody else acts on the tap at the same moment.
    TapContested {
        /// The tap.
        name: IfName,
        /// The step that failed.
        action: String,
        /// What somebody did.
        reason: &'static str,
    },
    /// /dev/net/tun cannot be used.
    TunDevice(Errno),
    /// The port does not forward in time.
    ForwardingTimeout {
        /// The bridge that it is a port of.
        bridge: IfName,
        /// Its state.
        state: PortState,
    },
    /// A step failed for any other reason.
    StepFailed {
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

/// A setting of a tap that is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
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
    /// A step that failed.
    pub fn failed(action: impl Into<String>, reason: impl Into<SysError>) -> Self {
        Self::StepFailed {
            action: action.into(),
            reason: reason.into(),
        }
    }
}

impl From<UsageError> for Error {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
