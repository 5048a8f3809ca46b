//! The line for syslog, which comes to /dev/log.

use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use syslog::{Facility, LogFormat, LoggerBackend, Severity};

/// Where syslogd listens (syslog(3)).
const LOG_SOCKET: &str = "/dev/log";

/// The time that a line may take, in milliseconds. A syslogd that hangs would otherwise hold this program, and QEMU with it.
const PATIENCE: i64 = 10;

/// Sends one line, if there is a syslogd. A line that does not arrive is not worth a failure.
pub(super) fn send(
    facility: Facility,
    severity: Severity,
    tag: &'static str,
    text: impl FnOnce() -> String,
) {
    // Containers have none, and to find that out by way of a socket takes three times as long.
    if !Path::new(LOG_SOCKET).exists() {
        return;
    }
    let Ok(mut backend) = open() else {
        return;
    };
    let _ = SyslogLine { facility, tag }.format(&mut backend, severity, &text());
}

/// Connects to syslogd, which has a datagram socket as a rule, else a stream socket.
fn open() -> Result<LoggerBackend, Errno> {
    let io = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    let socket_of_datagrams = UnixDatagram::unbound().map_err(io)?;
    match socket_of_datagrams.connect(LOG_SOCKET).map_err(io) {
        Ok(()) => {
            let patience = Duration::from_millis(PATIENCE.unsigned_abs());
            socket_of_datagrams
                .set_write_timeout(Some(patience))
                .map_err(io)?;
            return Ok(LoggerBackend::Unix(socket_of_datagrams));
        }
        Err(Errno::EPROTOTYPE) => {}
        Err(errno) => return Err(errno),
    }
    // A full backlog makes connect(2) wait for as long as the socket may take to send; the line is the second that may wait, and
    // what is left of it when the socket is closed the third.
    let stream = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&stream, SendTimeout, &TimeVal::milliseconds(PATIENCE / 3))?;
    connect(stream.as_raw_fd(), &UnixAddr::new(LOG_SOCKET)?)?;
    Ok(LoggerBackend::UnixStream(BufWriter::new(UnixStream::from(
        stream,
    ))))
}

/// The classic line without a time: every syslogd stamps what it receives with its own clock and time zone.
struct SyslogLine {
    facility: Facility,
    tag: &'static str,
}

impl LogFormat<&str> for SyslogLine {
    fn format<W: Write>(&self, to: &mut W, severity: Severity, text: &str) -> syslog::Result<()> {
        let priority = self.facility as u8 | severity as u8;
        let line = format!("<{priority}>{}[{}]: {text}", self.tag, std::process::id());
        to.write_all(line.as_bytes())?;
        to.flush()?;
        Ok(())
    }
}
