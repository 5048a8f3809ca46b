//! qemu-ifup and qemu-ifdown: bring a tap up on a bridge for QEMU, and take it down again.
//!
//! The whole program is [`run`]: shed privileges, parse, observe, judge, plan, then print or apply, and report. The
//! modules stand in that order, and an arrow between two of them points one way only:
//!
//! * [`privilege`] gives up all but one, first of all;
//! * [`cli`] reads the command line, [`caller`] finds out who asks, [`name`] holds names, [`text`] makes text safe;
//! * [`acl`] reads root's rules, [`mod@file`] the files they are in;
//! * [`kernel`] is the only place that touches interfaces: it observes [`facts`] and carries out steps;
//! * [`policy`] says whether the caller may, [`plan`] says which [`step`]s it takes: all pure;
//! * [`mod@apply`] carries a plan out and undoes it on failure;
//! * [`report`] tells people, [`error`] knows what can go wrong and what helps.
//!
//! To learn netlink from this code, start with `kernel/netlink.rs` (one request, one answer) and go on to
//! `kernel/link.rs` (what is in them).

#![forbid(unsafe_op_in_unsafe_fn)]

#[cfg(all(not(debug_assertions), not(target_feature = "crt-static")))]
compile_error!("release builds are static: unset RUSTFLAGS, which overrides .cargo/config.toml");

pub mod acl;
pub mod apply;
pub mod caller;
pub mod cli;
pub mod error;
pub mod facts;
pub mod file;
pub mod kernel;
pub mod name;
pub mod plan;
pub mod policy;
pub mod privilege;
pub mod report;
pub mod step;
pub mod text;

use std::ffi::OsString;
use std::path::Path;

use nix::errno::Errno;

use crate::acl::{ACL_FILE, Acl};
use crate::apply::apply;
use crate::caller::{Authority, Caller};
use crate::cli::{Action, Command, Program, Request, Settings};
use crate::error::{Cause, Error, ExitCode};
use crate::kernel::Kernel;
use crate::name::IfName;
use crate::plan::Plan;
use crate::policy::{Judge, Wish};
use crate::report::{Reporter, to_stdout};

/// The bridge where nobody names one.
const DEFAULT_BRIDGE: &[u8] = b"br0";

/// Runs one of the two programs; `args` are the words after its own name.
pub fn run<I>(program: Program, args: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let mut reporter = Reporter::new(program);
    match work(program, args, &mut reporter) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            reporter.error(&error);
            error.exit_code()
        }
    }
}

fn work<I>(program: Program, args: I, reporter: &mut Reporter) -> Result<(), Error>
where
    I: IntoIterator<Item = OsString>,
{
    let privilege = privilege::shed()?;
    let request = match cli::parse(program, args)? {
        Command::Help => return print(program.help()),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("{} {version}\n", program.name()));
        }
        Command::Run(request) => request,
    };
    reporter.speak(request.verbosity, request.tap());

    let handover = match request.action {
        Action::Hand { fd, .. } => Some(fd),
        Action::Up { .. } | Action::Down { .. } => None,
    };
    let mut kernel = Kernel::open(handover)?;
    let caller = Caller::identify(privilege)?;
    let acl = acl_for(&caller)?;
    let judge = Judge::new(&caller, acl.as_ref(), request.dry_run);
    let plan = match &request.action {
        Action::Up { tap, settings } => {
            let wish = wish(*tap, settings)?;
            let facts = kernel.observe(wish.tap, Some(wish.bridge))?;
            Plan::up(&judge.may_bring_up(wish, facts)?)
        }
        Action::Hand {
            vnet_hdr, settings, ..
        } => {
            let leave = judge.may_make_for(bridge(settings)?)?;
            let tap = kernel.make_any(*vnet_hdr, &leave)?;
            reporter.about(tap);
            let wish = wish(tap, settings)?;
            let facts = kernel.observe(wish.tap, Some(wish.bridge))?;
            Plan::hand_over(&judge.may_bring_up(wish, facts)?)
        }
        Action::Down { tap, delete } => {
            let facts = kernel.observe(*tap, None)?;
            Plan::down(&judge.may_take_down(*tap, *delete, facts)?)
        }
    };
    carry_out(&request, &mut kernel, &plan, reporter)
}

/// The rules for callers to whom the privilege is lent; nobody else is bound by them.
fn acl_for(caller: &Caller) -> Result<Option<Acl>, Error> {
    if caller.authority() != Authority::Lent {
        return Ok(None);
    }
    let path = Path::new(ACL_FILE);
    let doubt = |cause| Error::AclFile {
        path: ACL_FILE,
        cause,
    };
    let contents = match file::read(path) {
        Ok(contents) => contents,
        Err(cause) if cause.errno() == Some(Errno::ENOENT) => return Ok(None),
        Err(cause) => return Err(doubt(cause)),
    };
    if !contents.only_roots {
        return Err(doubt(Cause::Nonsense(
            "it must be root's, and nobody else may write to it",
        )));
    }
    Acl::load(path, &contents, file::read)
        .map(Some)
        .map_err(Error::Acl)
}

fn bridge(settings: &Settings) -> Result<IfName, Error> {
    match settings.bridge {
        Some(bridge) => Ok(bridge),
        None => IfName::new(DEFAULT_BRIDGE).map_err(|problem| Error::Name {
            given: DEFAULT_BRIDGE.to_owned(),
            problem,
        }),
    }
}

/// Names are looked up here, the defaults filled in by those who know them.
fn wish(tap: IfName, settings: &Settings) -> Result<Wish, Error> {
    let access = settings.access.clone().map(caller::look_up).transpose()?;
    Ok(Wish {
        tap,
        bridge: bridge(settings)?,
        access,
        multi_queue: settings.multi_queue,
        mtu: settings.mtu,
    })
}

fn carry_out(
    request: &Request,
    kernel: &mut Kernel,
    plan: &Plan,
    reporter: &Reporter,
) -> Result<(), Error> {
    if request.dry_run {
        let commands: String = plan
            .steps()
            .iter()
            .map(|planned| planned.step.command(plan.tap()) + "\n")
            .collect();
        print(&commands)?;
    } else {
        apply(kernel, plan, |step| {
            reporter.step(&step.command(plan.tap()));
        })?;
        reporter.done(&plan.summary());
    }
    if let Some(notice) = plan.notice() {
        reporter.notice(&notice);
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    to_stdout(text).map_err(|error| Error::Output(error.into()))
}
