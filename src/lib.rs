//! qemu-ifup and qemu-ifdown: bring a tap up on a bridge for QEMU, and take it down again.
//!
//! The whole program is [`run`]: drop privileges, parse, observe, authorize, plan, then apply or print, and report.
//!
//! The way of a call, from the last layer to the first; each imports only what stands below it:
//!
//! * [`commands`] has a file for each action, and goes this way;
//! * [`check`] is `--check`: what is wrong with a host, and the command that fixes it;
//! * [`report`] tells people, on stderr and in syslog;
//! * [`kernel`] observes the [state](model::state::CurrentState), and executes a step;
//! * [`mod@apply`] executes the steps of a plan, and rolls them back if one fails;
//! * [`plan`] says which [steps](plan::step::Step) it takes, and what undoes each (pure);
//! * [`policy`] says whether the caller may (pure);
//! * [`error`] is everything that can go wrong: message, hint and exit code;
//! * [`config`] parses the command line, /etc/qemu-ifup.conf and /etc/qemu/bridge.conf;
//! * [`sys`] makes every system call, and [`sys::netlink`] speaks rtnetlink(7);
//! * [`model`] is the plain data that they share, and [`escape`] makes untrusted text safe to show.
//!
//! To learn netlink from this code, start with [`sys::netlink::socket`] (one request, one reply) and go on to
//! [`sys::netlink::link`] and [`sys::netlink::link_parse`] (what is in them).

pub mod apply;
pub mod check;
pub mod commands;
pub mod config;
pub mod entry;
pub mod error;
pub mod escape;
pub mod kernel;
pub mod model;
pub mod plan;
pub mod policy;
pub mod report;
pub mod sys;

use std::ffi::OsString;

use nix::unistd::getuid;

use crate::config::args::{Command, parse};
use crate::config::program::Program;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::report::Reporter;
use crate::sys::privilege::{self, Keep};
use crate::sys::process;

/// Runs one of the two programs; `args` are the name it was run under, and the words after it.
// Inlined, as run_inner() is, so that each program is compiled for itself: qemu-ifdown needs little of what qemu-ifup does.
#[inline]
pub fn run(program: Program, args: Vec<OsString>) -> ExitCode {
    let mut reporter = Reporter::new(program);
    run_inner(program, args, &mut reporter).unwrap_or_else(|error| {
        reporter.error(&error);
        error.exit_code()
    })
}

#[inline]
fn run_inner(
    program: Program,
    args: Vec<OsString>,
    reporter: &mut Reporter,
) -> Result<ExitCode, Error> {
    process::ignore_signals();
    if !getuid().is_root() {
        process::begin_time_limit().map_err(|error| Error::failed("set a time limit", error))?;
    }
    let keep = match program {
        Program::Ifdown => Keep::NetAdminOfRoot,
        Program::Ifup if args.iter().any(|word| word == "--check") => Keep::Inspect,
        Program::Ifup => Keep::NetAdmin,
    };
    let credentials = privilege::drop_privileges(keep)
        .map_err(|error| Error::failed("drop privileges", error))?;
    reporter.set_uid(credentials.uid);
    process::sanitize_standard_fds()
        .map_err(|error| Error::failed("look at the standard descriptors", error))?;
    let mut args = args.into_iter();
    let argv0 = args.next().unwrap_or_default();
    match parse(program, args)? {
        Command::Help => report::to_stdout(program.help())?,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            report::to_stdout(&format!("{} {version}\n", program.name()))?;
        }
        Command::Run(mut request) => {
            reporter.configure(request.verbosity, request.tap());
            request.set_bridge_from_argv0(program, &argv0)?;
            return commands::dispatch(program, &request, credentials, reporter);
        }
    }
    Ok(ExitCode::Success)
}
