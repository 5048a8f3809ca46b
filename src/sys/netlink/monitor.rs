//! [`LinkMonitor`]: notifications of changes to interfaces.

use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys::error::SysError;
use crate::sys::netlink::socket::set_recv_timeout;

/// A socket that is notified of every change to an interface.
#[derive(Debug)]
pub struct LinkMonitor(Socket);

impl LinkMonitor {
    /// Subscribes to RTMGRP_LINK.
    ///
    /// # Errors
    /// The socket cannot be created.
    pub fn subscribe() -> Result<Self, SysError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()))?;
        Ok(Self(socket))
    }

    /// Waits until something changed. What it was is not read: the caller looks it up, and so finds the latest state even
    /// if notifications were lost.
    ///
    /// # Errors
    /// EAGAIN if nothing changed for that long.
    pub fn wait_change(&mut self, timeout: Duration) -> Result<(), SysError> {
        let micros = i64::try_from(timeout.as_micros())
            .unwrap_or(i64::MAX)
            .max(1);
        set_recv_timeout(&self.0, TimeVal::microseconds(micros))?;
        match self.0.recv(&mut Vec::with_capacity(1), libc::MSG_TRUNC) {
            Ok(_) => Ok(()),
            // A signal, or more notifications than the socket holds: either way it is time to look.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOBUFS)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
