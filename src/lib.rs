//! qemu-ifup and qemu-ifdown: bring a tap up on a bridge for QEMU, and take it down again.
//!
//! The two programs are [`ifup_main`] and [`ifdown_main`]: drop privileges, parse, observe, authorize, plan, then apply or print, and report.
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

mod apply;
mod check;
mod commands;
mod config;
pub mod entry;
mod error;
mod escape;
#[cfg(fuzzing)]
pub mod fuzz;
mod kernel;
mod model;
mod plan;
mod policy;
mod report;
mod sys;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use nix::unistd::getuid;

use crate::config::args::{Command, Request, parse_ifdown, parse_ifup};
use crate::config::help::help;
use crate::config::program::Program;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::report::Reporter;
use crate::sys::privilege::{self, Credentials, Keep};
use crate::sys::process;

/// Runs qemu-ifup; `args` are the name it was run under, and the words after it.
pub fn ifup_main(args: Vec<OsString>) -> ExitCode {
    let keep = if args.iter().any(|word| word == "--check") {
        Keep::Inspect
    } else {
        Keep::NetAdmin
    };
    start(Program::Ifup, keep, |credentials, reporter| {
        let mut args = args.into_iter();
        let argv0 = args.next().unwrap_or_default();
        match asked(Program::Ifup, parse_ifup(&argv0, args)?)? {
            Some(request) => commands::ifup(&request, credentials, reporter),
            None => Ok(ExitCode::Success),
        }
    })
}

/// Runs qemu-ifdown; `args` are the name it was run under, and the words after it.
pub fn ifdown_main(args: Vec<OsString>) -> ExitCode {
    start(
        Program::Ifdown,
        Keep::NetAdminOfRoot,
        |credentials, reporter| match asked(
            Program::Ifdown,
            parse_ifdown(args.into_iter().skip(1))?,
        )? {
            Some(request) => commands::ifdown(&request, credentials, reporter),
            None => Ok(ExitCode::Success),
        },
    )
}

/// Limits the time of an unprivileged user's run, drops privileges, and lets the program do its work; an error is reported.
fn start(
    program: Program,
    keep: Keep,
    work: impl FnOnce(Credentials, &mut Reporter) -> Result<ExitCode, Error>,
) -> ExitCode {
    let mut reporter = Reporter::new(program);
    let result = prepare(keep).and_then(|credentials| {
        reporter.set_uid(credentials.uid);
        work(credentials, &mut reporter)
    });
    result.unwrap_or_else(|error| {
        reporter.error(&error);
        error.exit_code()
    })
}

/// What comes before the command line is parsed.
fn prepare(keep: Keep) -> Result<Credentials, Error> {
    process::ignore_signals();
    if !getuid().is_root() {
        process::begin_time_limit().map_err(|error| Error::failed("set a time limit", error))?;
    }
    let credentials = privilege::drop_privileges(keep);
    let credentials = credentials.map_err(|error| Error::failed("drop privileges", error))?;
    process::sanitize_standard_fds()
        .map_err(|error| Error::failed("look at the standard descriptors", error))?;
    Ok(credentials)
}

/// The work that is asked for. Help and version are printed here.
fn asked<W>(program: Program, command: Command<W>) -> Result<Option<Request<W>>, Error> {
    match command {
        Command::Help => report::to_stdout(&help(program))?,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            report::to_stdout(&format!("{} {version}\n", program.name()))?;
        }
        Command::Run(request) => return Ok(Some(request)),
    }
    Ok(None)
}
