//! The actions of the command line, a file each.

mod check;
mod down;
mod session;
mod up;

use std::mem::ManuallyDrop;

use crate::commands::session::Session;
use crate::config::args::{Ifdown, Ifup, IfupAction, Request};
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::kernel::Kernel;
use crate::policy::caller::Caller;
use crate::report::Reporter;
use crate::sys::privilege::Credentials;
use crate::sys::qemu_fd::HelperSocket;

/// Does the work of qemu-ifup, to each tap by itself: the exit code is that of the first that failed, which is reported.
///
/// # Errors
/// Why nothing was done to any.
pub(crate) fn ifup(
    request: &Request<Ifup>,
    credentials: Credentials,
    reporter: &mut Reporter,
) -> Result<ExitCode, Error> {
    let Ifup { action, options } = &request.work;
    // Before anything is opened: a number that was closed would become that of something of ours.
    let helper = match action {
        IfupAction::HandOver { fd, .. } => Some(
            HelperSocket::from_fd(*fd)
                .map_err(|reason| Error::InvalidHelperFd { fd: *fd, reason })?,
        ),
        IfupAction::Up | IfupAction::Check(_) => None,
    };
    let mut session = session(request, credentials, reporter)?;
    let taps = &request.taps;
    match action {
        IfupAction::Up => up::up(&mut session, taps, options),
        IfupAction::HandOver { vnet_hdr, .. } => {
            let tap = request.tap();
            up::hand_over(&mut session, helper.as_ref(), tap, *vnet_hdr, options)
                .map(|()| ExitCode::Success)
        }
        IfupAction::Check(output) => check::check(&mut session, taps, options, *output),
    }
}

/// Does the work of qemu-ifdown, to each tap by itself: the exit code is that of the first that failed, which is reported.
///
/// # Errors
/// Why nothing was done to any.
pub(crate) fn ifdown(
    request: &Request<Ifdown>,
    credentials: Credentials,
    reporter: &mut Reporter,
) -> Result<ExitCode, Error> {
    let mut session = session(request, credentials, reporter)?;
    down::down(&mut session, &request.taps, request.work.delete)
}

fn session<'a, W>(
    request: &Request<W>,
    credentials: Credentials,
    reporter: &'a mut Reporter,
) -> Result<ManuallyDrop<Session<'a>>, Error> {
    reporter.configure(request.verbosity, request.tap());
    let kernel = Kernel::open()?;
    let caller = Caller::identify(credentials)?;
    reporter.set_caller(&caller);
    // The kernel closes everything together when the program ends.
    Ok(ManuallyDrop::new(Session {
        kernel,
        caller,
        reporter,
        dry_run: request.dry_run,
        last: None,
        warned_bridge: None,
        docker_drops: None,
        planned_bridges: Vec::new(),
    }))
}
