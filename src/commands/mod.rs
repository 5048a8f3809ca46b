//! The actions of the command line, a file each.

mod check;
mod down;
mod session;
mod up;

use std::mem::ManuallyDrop;

use nix::errno::Errno;

use crate::commands::session::Session;
use crate::config::args::{Action, Request};
use crate::config::program::Program;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::kernel::Kernel;
use crate::policy::caller::Caller;
use crate::report::Reporter;
use crate::sys::privilege::Credentials;
use crate::sys::qemu_fd::HelperSocket;

/// Carries the request out, for one tap after the other. Errors for a tap are reported, and the exit code is that of the first.
///
/// # Errors
/// Nothing was done to any tap.
#[inline]
pub fn dispatch(
    program: Program,
    request: &Request,
    credentials: Credentials,
    reporter: &mut Reporter,
) -> Result<ExitCode, Error> {
    // Before anything is opened: a number that is closed could become a descriptor of this program.
    let helper = match request.action {
        Action::HandOver { fd, .. } => Some(
            HelperSocket::from_fd(fd).map_err(|reason| Error::InvalidHelperFd { fd, reason })?,
        ),
        Action::Up | Action::Check(_) | Action::Down { .. } => None,
    };
    let kernel = Kernel::open()?;
    let caller = Caller::identify(credentials)?;
    reporter.set_caller(&caller);
    // The kernel closes everything together when the program ends.
    let mut session = ManuallyDrop::new(Session {
        kernel,
        caller,
        reporter,
        dry_run: request.dry_run,
        last: None,
        warned_bridge: None,
        docker_drops: None,
        planned_bridges: Vec::new(),
    });
    let Request { taps, options, .. } = request;
    // parse() makes no other request; without these lines, each program would hold all of the other one's code.
    if matches!(request.action, Action::Down { .. }) != (program == Program::Ifdown) {
        return Err(Error::failed("do this", Errno::ENOSYS));
    }
    match request.action {
        Action::Up => up::up(&mut session, taps, options),
        Action::HandOver { vnet_hdr, .. } => {
            let tap = request.tap();
            up::hand_over(&mut session, helper.as_ref(), tap, vnet_hdr, options)
                .map(|()| ExitCode::Success)
        }
        Action::Check(output) => check::check(&mut session, credentials, taps, options, output),
        Action::Down { delete } => down::down(&mut session, taps, delete),
    }
}
