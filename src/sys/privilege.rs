//! Drops every privilege that a run does not need, before anything is opened or parsed, and verifies it.
//!
//! The program may have got its privileges from its caller (root), from a file capability or from a setuid bit. Where
//! it came from makes no difference: afterwards all user and group ids are the caller's own, and the only capability
//! that may be left is the one to change interfaces (for root and `--check`, also those to look at other programs). Files
//! are therefore read with the caller's own rights. A run that changes nothing for an unprivileged user keeps none.
#![allow(unsafe_code, reason = "capget(2), capset(2) and getxattr(2)")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, getresgid, getresuid, setresgid, setresuid};

use crate::sys::error::SysError;

/// The numbers of capabilities (linux/capability.h). They are in the first of the two words of each set.
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
const NET_ADMIN: u32 = 1 << CAP_NET_ADMIN;
/// What root needs to be told which program has a tap open (/proc/PID/fdinfo in proc(5)).
const INSPECT_PROCESSES: u32 = 1 << CAP_SYS_PTRACE | 1 << CAP_DAC_READ_SEARCH;

/// `struct __user_cap_header_struct` in linux/capability.h: version 3, that of sets of 64 bits, and pid 0, which is this
/// thread.
const THIS_THREAD: [u32; 2] = [0x2008_0522, 0];

/// The ids of the caller, and what is left of the privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The real uid: the caller's own.
    pub(crate) uid: Uid,
    /// The real gid.
    pub(crate) gid: Gid,
    /// The program has CAP_NET_ADMIN, or had it until it was dropped ([`Keep::NetAdminOfRoot`]).
    pub(crate) net_admin: bool,
    /// What kept it from a user without it, whatever the program's file says; None where nothing is known to.
    pub(crate) withheld: Option<Withheld>,
}

/// What keeps the privilege of a program's file from those who run it (execve(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// A process before this one has set no_new_privs (prctl(2)).
    NoNewPrivs,
    /// The program's file system is mounted nosuid (mount(8)).
    Nosuid,
}

/// To be asked before [`drop_privileges`] sets no_new_privs itself.
fn withheld() -> Option<Withheld> {
    if prctl::get_no_new_privs() == Ok(true) {
        return Some(Withheld::NoNewPrivs);
    }
    let flags = statvfs("/proc/self/exe").ok()?.flags();
    flags
        .contains(FsFlags::ST_NOSUID)
        .then_some(Withheld::Nosuid)
}

/// Whether the program of this path has capabilities (`security.capability` in capabilities(7)).
pub(crate) fn has_file_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let name = c"security.capability".as_ptr();
    // SAFETY: both are strings that end with NUL, and with a size of 0 nothing is written.
    let size = unsafe { libc::getxattr(path.as_ptr(), name, std::ptr::null_mut(), 0) };
    size > 0
}

/// The capabilities that a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// CAP_NET_ADMIN, for whoever runs it.
    NetAdmin,
    /// CAP_NET_ADMIN for root. An unprivileged user needs none: the owner of a tap deletes it without.
    NetAdminOfRoot,
    /// What it takes to look at interfaces and at other programs, for root; an unprivileged user looks with their own rights.
    Inspect,
}

/// Drops all privileges but those that are kept.
///
/// # Errors
/// The kernel refused, or what is left afterwards is not what it should be. Nothing may be done then.
pub(crate) fn drop_privileges(keep: Keep) -> Result<Credentials, SysError> {
    let (user, group) = (getresuid()?, getresgid()?);
    let [low, _] = capabilities()?;
    let kept = match (keep, user.real.is_root()) {
        (Keep::NetAdmin, _) | (Keep::NetAdminOfRoot, true) => NET_ADMIN,
        (Keep::Inspect, true) => NET_ADMIN | INSPECT_PROCESSES,
        (Keep::NetAdminOfRoot | Keep::Inspect, false) => 0,
    };
    let remaining = low.permitted & kept;

    let users = [user.effective, user.saved];
    let groups = [group.effective, group.saved];
    if users != [user.real; 2] || groups != [group.real; 2] {
        // Without this, leaving uid 0 would take the capability along. It lasts until the next execve(2) at most.
        prctl::set_keepcaps(true)?;
        // The group first: without the user's privileges it could not be changed any more.
        setresgid(group.real, group.real, group.real)?;
        setresuid(user.real, user.real, user.real)?;
        prctl::set_keepcaps(false)?;
        verify_ids(user.real, group.real)?;
    }
    let net_admin = low.permitted & NET_ADMIN != 0;
    let withheld = if net_admin { None } else { withheld() };
    prctl::set_no_new_privs()?;
    set_caps_verified(remaining)?;
    Ok(Credentials {
        uid: user.real,
        gid: group.real,
        net_admin,
        withheld,
    })
}

/// Drops every capability that is left, and reads back whether that is what happened.
///
/// # Errors
/// The kernel refused, or a capability is left.
pub(crate) fn drop_all() -> Result<(), SysError> {
    set_caps_verified(0)
}

/// Drops every other capability, and reads back whether that is what happened. With nothing inheritable, nothing ambient can
/// be left either (capabilities(7)).
fn set_caps_verified(keep: u32) -> Result<(), SysError> {
    let low = CapUserData {
        effective: keep,
        permitted: keep,
        inheritable: 0,
    };
    let sets = [low, CapUserData::default()];
    let mut header = THIS_THREAD;
    // SAFETY: capset(2) with version 3 reads the header and two data structures; both are that large.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) })?;
    if capabilities()? == sets {
        Ok(())
    } else {
        Err(SysError::Invalid(
            "the capabilities were not dropped as requested",
        ))
    }
}

fn verify_ids(user: Uid, group: Gid) -> Result<(), SysError> {
    let (users, groups) = (getresuid()?, getresgid()?);
    let dropped = [users.real, users.effective, users.saved] == [user; 3]
        && [groups.real, groups.effective, groups.saved] == [group; 3];
    // The ids may look right and still not be final: a saved one would let us return.
    let can_return = !user.is_root() && setresuid(user, Uid::from_raw(0), user).is_ok();
    if dropped && !can_return {
        Ok(())
    } else {
        Err(SysError::Invalid(
            "the uid and gid were not set to the caller's",
        ))
    }
}

/// `struct __user_cap_data_struct`, one for each word.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq)]
struct CapUserData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The sets of this thread, the low word first.
fn capabilities() -> Result<[CapUserData; 2], SysError> {
    let mut header = THIS_THREAD;
    let mut sets = [CapUserData::default(); 2];
    // SAFETY: capget(2) with version 3 writes the header's version and two data structures; both are that large.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr())
    })?;
    Ok(sets)
}
