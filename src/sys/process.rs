//! The process itself: signals, descriptors, its terminal, and random bytes.
#![allow(unsafe_code, reason = "signals, poll(2), getrandom(2) and TIOCGWINSZ")]

use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::RawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;
use nix::unistd::alarm;

use crate::model::link::IfIndex;
use crate::model::state::NewIds;
use crate::sys::error::SysError;

/// If a message cannot be written, because its reader has ended or because of the caller's limit on the size of files
/// (RLIMIT_FSIZE), that must not end the program half way: both become errors.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: ignoring a signal runs no code of ours. The only error is a signal that does not exist.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The longest run of an unprivileged user, in seconds. A permission must not outlast its reason: a run that the user stops
/// for longer ends as it goes on, before its next instruction.
const MAX_RUN: u32 = 10;

/// The exit status of a run that took longer: `ExitCode::Timeout`.
pub(crate) const TIMED_OUT: c_int = 9;

/// Only exits, since writing a message could block.
extern "C" fn exit_timed_out(_signal: c_int) {
    // SAFETY: _exit(2) is async-signal-safe and touches no memory of ours.
    unsafe { libc::_exit(TIMED_OUT) }
}

/// Ends this run with exit status `TIMED_OUT` after 10 seconds, see [`end_time_limit`].
///
/// SIGALRM gets a handler, since its default action does nothing to process 1 of a pid namespace, and a caller may have
/// ignored or blocked it.
///
/// # Errors
/// The kernel refused.
pub(crate) fn begin_time_limit() -> Result<(), SysError> {
    let handler = SigHandler::Handler(exit_timed_out);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler calls nothing but _exit(2).
    unsafe { sigaction(Signal::SIGALRM, &action) }?;
    alarm::set(MAX_RUN);
    SigSet::from(Signal::SIGALRM).thread_unblock()?;
    Ok(())
}

/// Ends the limit. The run must have given up every privilege before.
pub(crate) fn end_time_limit() {
    alarm::cancel();
}

/// Opens /dev/null in place of a standard descriptor that is closed: the next descriptor to be opened would otherwise get
/// its number, and messages would go to the kernel or into the tap.
pub(crate) fn sanitize_standard_fds() -> Result<(), SysError> {
    let open = open_fds(0..3)?;
    for _closed in (0..3).filter(|fd| !open.contains(fd)) {
        // The lowest number that is free is this one, and it stays open.
        std::mem::forget(fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())?);
    }
    Ok(())
}

/// The numbers in this range that are open descriptors, by poll(2).
pub(crate) fn open_fds(numbers: Range<RawFd>) -> Result<Vec<RawFd>, SysError> {
    let mut entries: Vec<libc::pollfd> = numbers
        .map(|fd| libc::pollfd {
            fd,
            events: 0,
            revents: 0,
        })
        .collect();
    let count = libc::nfds_t::try_from(entries.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: poll(2) reads and writes `count` entries, which is as many as there are.
    Errno::result(unsafe { libc::poll(entries.as_mut_ptr(), count, 0) })?;
    entries.retain(|entry| entry.revents & libc::POLLNVAL == 0);
    Ok(entries.into_iter().map(|entry| entry.fd).collect())
}

/// The call of ioctl_tty(2), as nix makes it.
mod ioctl {
    nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);
}

/// How many columns the terminal of standard output has; None if unknown.
pub(crate) fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
    unsafe { ioctl::tiocgwinsz(libc::STDOUT_FILENO, &raw mut size) }.ok()?;
    Some(size.ws_col.into()).filter(|&columns| columns > 0)
}

/// Where ifindexes that we choose begin; those that the kernel chooses, counting up from 1, never come here.
const FIRST_OWN_INDEX: IfIndex = 1 << 30;

/// New random identifiers.
pub(crate) fn new_ids() -> NewIds {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = random_bytes();
    NewIds {
        tap: [a, b, c, d, e],
        bridge: [f, g, h, i, j],
        index: FIRST_OWN_INDEX + IfIndex::from(u16::from_ne_bytes([k, l])),
    }
}

/// A random number of a group of interfaces.
pub(crate) fn random_group() -> u32 {
    // Without getrandom(2), these are the bytes of the clock that change.
    let [_, _, _, _, a, b, c, d, ..] = random_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// Random bytes, also early at boot, before the kernel guarantees their quality.
fn random_bytes() -> [u8; 12] {
    let mut bytes = [0; 12];
    // SAFETY: getrandom(2) writes at most as many bytes as it is told, which is as many as there are.
    let got =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_INSECURE) };
    if usize::try_from(got) == Ok(bytes.len()) {
        return bytes;
    }
    // A sandbox may forbid the call.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seed = now.as_nanos().rotate_left(32) ^ u128::from(std::process::id());
    for (byte, &seed) in bytes.iter_mut().zip(&seed.to_ne_bytes()) {
        *byte = seed;
    }
    bytes
}
