//! QEMU's bridge-helper protocol: a tap's descriptor goes over a Unix socket, together with one byte (SCM_RIGHTS in
//! unix(7); `net_bridge_run_helper()` and `recv_fd()` in QEMU's net/tap.c).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, getsockname, sendmsg};

use crate::error::Cause;

/// The socket that QEMU waits at.
#[derive(Debug)]
pub struct Handover(RawFd);

impl Handover {
    /// Makes sure that the number is that of a Unix socket.
    ///
    /// This comes before anything is opened: a number that was closed would become that of some socket of ours.
    ///
    /// # Errors
    /// It is not.
    pub fn over(number: RawFd) -> Result<Self, Cause> {
        match getsockname::<UnixAddr>(number) {
            Ok(_) => Ok(Self(number)),
            // The address is of another family.
            Err(Errno::EINVAL) => Err(Cause::Nonsense("it is a socket, but not a Unix socket")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Hands the tap over. It then lives as long as QEMU has it open.
    ///
    /// # Errors
    /// Nobody is there to take it.
    pub fn hand(&self, tap: BorrowedFd<'_>) -> Result<(), Cause> {
        let byte = [IoSlice::new(&[0])];
        let descriptors = [tap.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        // Whoever does not read must not keep us waiting, nor kill us by SIGPIPE.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.0, &byte, &rights, flags, None)?;
        Ok(())
    }
}
