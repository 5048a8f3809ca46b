//! Descriptors that QEMU and its programs pass to each other: the tap's, which QEMU leaves open for its script, and the
//! bridge-helper protocol, by which one goes over a Unix socket (SCM_RIGHTS in unix(7); `net_bridge_run_helper()` and
//! `recv_fd()` in QEMU's net/tap.c).
#![allow(unsafe_code, reason = "a descriptor that is known by its number only")]

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, getsockname, sendmsg};

use crate::model::if_name::IfName;
use crate::sys::error::SysError;
use crate::sys::process::open_fds;
use crate::sys::tun::{is_tun, tun_name};

/// Descriptors in the first poll(2); each one after it has twice as many. QEMU's tap has a low number.
const FIRST_POLL_BATCH: RawFd = 32;
/// QEMU keeps the number that the tap has, and has fewer descriptors than this.
const MAX_FDS_SCANNED: RawFd = 65536;

/// A descriptor of the tap that whoever started the program left open. It is theirs: it is never closed here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InheritedFd(RawFd);

impl AsFd for InheritedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: poll(2) said that the number is open, and nothing in this program closes a
        // descriptor that it did not open.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// The descriptors of /dev/net/tun that were found open so far. Each number is looked at once in a call.
#[derive(Debug, Default)]
pub(crate) struct InheritedFds {
    found: Vec<InheritedFd>,
    /// The first number that was not looked at yet.
    next: RawFd,
}

impl InheritedFds {
    /// Looks among the open descriptors for one of a tap; `is_it` says whether the tap of that name is the one that is
    /// meant. The name alone proves nothing: it may be a tap of another network namespace.
    ///
    /// A program with a privilege of its own may not read /proc/self/fd, so poll(2) is asked which numbers are open.
    ///
    /// # Errors
    /// The kernel does not tell. That is not to be taken for "none": the tap would stay open to everybody.
    pub(crate) fn find(
        &mut self,
        mut is_it: impl FnMut(IfName) -> Result<bool, SysError>,
    ) -> Result<Option<InheritedFd>, SysError> {
        for &found in &self.found {
            // A number may be that of a tap that this program created, and has closed since.
            if is_tun(found) == Ok(true)
                && let Some(name) = open_tap(&found)?
                && is_it(name)?
            {
                return Ok(Some(found));
            }
        }
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit = RawFd::try_from(limit)
            .unwrap_or(RawFd::MAX)
            .min(MAX_FDS_SCANNED);
        while self.next < limit {
            let end = limit.min(2 * self.next + FIRST_POLL_BATCH);
            for number in open_fds(self.next..end)? {
                self.next = number + 1;
                let found = InheritedFd(number);
                if !is_tun(found)? {
                    continue;
                }
                self.found.push(found);
                if let Some(name) = open_tap(&found)?
                    && is_it(name)?
                {
                    return Ok(Some(found));
                }
            }
            self.next = end;
        }
        Ok(None)
    }
}

/// The name of the tap that a descriptor of /dev/net/tun has open, if it has one (EBADFD).
fn open_tap(descriptor: &InheritedFd) -> Result<Option<IfName>, SysError> {
    match tun_name(descriptor.as_fd()) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.errno() == Some(Errno::EBADFD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The Unix socket that QEMU reads the descriptor from.
#[derive(Debug)]
pub(crate) struct HelperSocket(RawFd);

impl HelperSocket {
    /// Verifies that a descriptor is a Unix socket. This comes before anything is opened: a number that was closed would
    /// become that of some socket of ours.
    pub(crate) fn from_fd(fd: RawFd) -> Result<Self, SysError> {
        match getsockname::<UnixAddr>(fd) {
            Ok(_) => Ok(Self(fd)),
            // The address is of another family.
            Err(Errno::EINVAL) => Err(SysError::Invalid("not a Unix socket")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends the tap's descriptor. The tap then lives as long as QEMU has it open.
    pub(crate) fn send_fd(&self, tap: BorrowedFd<'_>) -> Result<(), SysError> {
        let byte = [IoSlice::new(&[0])];
        let descriptors = [tap.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        // Whoever does not read must not keep us waiting, nor kill us by SIGPIPE.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.0, &byte, &rights, flags, None)?;
        Ok(())
    }
}
