//! QEMU's bridge-helper protocol: a tap's descriptor goes over a Unix socket, together with one byte (SCM_RIGHTS in
//! unix(7); `net_bridge_run_helper()` and `recv_fd()` in QEMU's net/tap.c).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, getsockname, sendmsg};

use crate::sys::error::SysError;

/// The Unix socket that QEMU reads the descriptor from.
#[derive(Debug)]
pub struct HelperSocket(RawFd);

impl HelperSocket {
    /// Verifies that a descriptor is a Unix socket. This comes before anything is opened: a number that was closed would
    /// become that of some socket of ours.
    ///
    /// # Errors
    /// It is not a Unix socket.
    pub fn from_fd(fd: RawFd) -> Result<Self, SysError> {
        match getsockname::<UnixAddr>(fd) {
            Ok(_) => Ok(Self(fd)),
            // The address is of another family.
            Err(Errno::EINVAL) => Err(SysError::Invalid("it is a socket, but not a Unix socket")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends the tap's descriptor. The tap then lives as long as QEMU has it open.
    ///
    /// # Errors
    /// Nobody receives it.
    pub fn send_fd(&self, tap: BorrowedFd<'_>) -> Result<(), SysError> {
        let byte = [IoSlice::new(&[0])];
        let descriptors = [tap.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        // Whoever does not read must not keep us waiting, nor kill us by SIGPIPE.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.0, &byte, &rights, flags, None)?;
        Ok(())
    }
}
