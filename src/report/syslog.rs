//! The line for syslog, which comes to /dev/log.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

/// Where syslogd listens (syslog(3)).
const LOG_SOCKET: &str = "/dev/log";

/// How long it is waited for room in its queue.
const PATIENCE: Duration = Duration::from_millis(10);

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
    let Ok(mut logger) = syslog::unix_custom(SyslogLine { facility, tag }, LOG_SOCKET) else {
        return;
    };
    let logger: &mut Logger<LoggerBackend, SyslogLine> = &mut logger;
    // A full queue would otherwise hold us, and QEMU with us, for as long as syslogd sleeps; but the lines for many taps come
    // faster than it reads.
    if let LoggerBackend::Unix(socket) = &logger.backend
        && socket.set_write_timeout(Some(PATIENCE)).is_err()
    {
        return;
    }
    let _ = logger
        .formatter
        .format(&mut logger.backend, severity, &text());
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
