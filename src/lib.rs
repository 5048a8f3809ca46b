//! qemu-ifup and qemu-ifdown: bring a tap up on a bridge for QEMU, and take it down again.
//!
//! The whole program is [`run`]: parse, observe, judge, plan, then print or apply, and report. The modules stand in
//! that order, and an arrow between two of them points one way only:
//!
//! * [`cli`] reads the command line, [`caller`] finds out who asks, [`name`] holds names, [`text`] makes text safe;
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

pub mod apply;
pub mod caller;
pub mod cli;
pub mod error;
pub mod facts;
pub mod kernel;
pub mod name;
pub mod plan;
pub mod policy;
pub mod report;
pub mod step;
pub mod text;

use std::ffi::OsString;

use crate::apply::apply;
use crate::caller::Caller;
use crate::cli::{Action, Command, Program, Request, Settings};
use crate::error::{Error, ExitCode};
use crate::kernel::Kernel;
use crate::name::IfName;
use crate::plan::Plan;
use crate::policy::Wish;
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
    let request = match cli::parse(program, args)? {
        Command::Help => return print(program.help()),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("{} {version}\n", program.name()));
        }
        Command::Run(request) => request,
    };
    reporter.about(request.tap, request.verbosity);

    let caller = Caller::identify();
    let mut kernel = Kernel::open()?;
    let plan = match request.action {
        Action::Up(ref settings) => {
            let wish = wish(request.tap, settings)?;
            let facts = kernel.observe(wish.tap, Some(wish.bridge))?;
            Plan::up(&policy::may_bring_up(&caller, wish, facts)?)
        }
        Action::Down { delete } => {
            let facts = kernel.observe(request.tap, None)?;
            Plan::down(&policy::may_take_down(&caller, request.tap, delete, facts)?)
        }
    };
    carry_out(&request, &mut kernel, &plan, reporter)
}

/// Names are looked up here, the defaults filled in by those who know them.
fn wish(tap: IfName, settings: &Settings) -> Result<Wish, Error> {
    let bridge = match settings.bridge {
        Some(bridge) => bridge,
        None => IfName::new(DEFAULT_BRIDGE).map_err(|problem| Error::Name {
            given: DEFAULT_BRIDGE.to_owned(),
            problem,
        })?,
    };
    let access = settings.access.clone().map(caller::look_up).transpose()?;
    Ok(Wish {
        tap,
        bridge,
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
