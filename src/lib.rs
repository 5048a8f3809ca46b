//! qemu-ifup and qemu-ifdown: bring a tap up on a bridge for QEMU, and take it down again.
//!
//! The whole program is [`run`]: shed privileges, parse, observe, judge, plan, then print or apply, and report. The
//! modules stand in that order, and an arrow between two of them points one way only:
//!
//! * [`kernel::start`] is the way in, and [`privilege`] gives up all but one, first of all;
//! * [`cli`] reads the command line, [`caller`] finds out who asks, [`name`] holds names, [`text`] makes text safe;
//! * [`conf`] and [`acl`] read root's options and rules, [`roots`] and [`mod@file`] the files they are in;
//! * [`kernel`] is the only place that touches interfaces: it observes [`facts`] and carries out steps;
//! * [`policy`] says whether the caller may, [`plan`] says which [`step`]s it takes: all pure;
//! * [`mod@apply`] carries a plan out and undoes it on failure;
//! * [`check`] says what is wrong and what mends it;
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
pub mod check;
pub mod cli;
pub mod conf;
pub mod error;
pub mod facts;
pub mod file;
pub mod kernel;
pub mod name;
pub mod plan;
pub mod policy;
pub mod privilege;
pub mod report;
pub mod roots;
pub mod step;
pub mod text;
pub mod vlan;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use crate::acl::Acl;
use crate::apply::apply;
use crate::caller::{Authority, Caller};
use crate::check::{Finding, Looked};
use crate::cli::{Action, Command, Program, Request, Settings};
use crate::conf::{CONF_FILE, Effective};
use crate::error::{Error, ExitCode};
use crate::kernel::{Kernel, start};
use crate::name::IfName;
use crate::plan::Plan;
use crate::policy::{Judge, UpLeave, Wish};
use crate::privilege::Privilege;
use crate::report::Reporter;
use crate::vlan::VlanWish;

/// Runs one of the two programs; `args` are the name it was run under, and the words after it.
// Inlined, as work() is, so that each program is compiled for itself: qemu-ifdown needs little of what qemu-ifup does.
#[inline]
pub fn run(program: Program, args: Vec<OsString>) -> ExitCode {
    let mut reporter = Reporter::new(program);
    match work(program, args, &mut reporter) {
        Ok(code) => code,
        Err(error) => {
            reporter.error(&error);
            error.exit_code()
        }
    }
}

#[inline]
fn work(program: Program, args: Vec<OsString>, reporter: &mut Reporter) -> Result<ExitCode, Error> {
    start::ignore_signals();
    let looks_at_others = args.iter().any(|word| word == "--check");
    let privilege = privilege::shed(looks_at_others)?;
    start::hold_standard_descriptors()?;
    let mut args = args.into_iter();
    let run_as = args.next().unwrap_or_default();
    let mut request = match cli::parse(program, args)? {
        Command::Help => return print(program.help()),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("{} {version}\n", program.name()));
        }
        Command::Run(request) => request,
    };
    reporter.speak(request.verbosity, request.tap());
    request.take_bridge_from_name(program, &run_as)?;

    // What it has open goes with the program, all at once.
    let mut kernel = ManuallyDrop::new(Kernel::open(request.handover())?);
    let kernel: &mut Kernel = &mut kernel;
    let caller = Caller::identify(privilege)?;
    reporter.on_behalf_of(caller.real_uid());
    if let Action::Check { tap, settings } = &request.action {
        let conf = roots::configuration(tap.unwrap_or(IfName::EXAMPLE_TAP));
        let acl = roots::acl();
        let looked = look_before(*tap, settings, &conf, &acl, &caller, privilege);
        let mut findings = check::findings(&kernel.look_around(looked)?);
        // Where nothing is wrong with the host, what was asked for may still be refused.
        if let (Some(tap), ExitCode::Done, Ok(conf), Ok(acl)) =
            (*tap, check::exit_code(&findings), conf, acl)
        {
            let judge = Judge::new(&caller, acl.as_ref(), true);
            let verdict = try_it(tap, settings, conf, &judge, kernel);
            findings.extend(verdict.err().as_ref().map(Finding::of));
        }
        report::findings(&findings).map_err(|error| Error::Output(error.into()))?;
        return Ok(check::exit_code(&findings));
    }

    let acl = acl_for(&caller)?;
    let judge = Judge::new(&caller, acl.as_ref(), request.dry_run);
    match &request.action {
        Action::Up { tap, settings } => {
            let wish = wish(*tap, settings, roots::configuration(*tap)?)?;
            bring_up(
                &wish,
                settings,
                Plan::up,
                &judge,
                &request,
                kernel,
                reporter,
            )
        }
        Action::Hand {
            vnet_hdr, settings, ..
        } => {
            let leave = judge.may_make_for(settings.bridge.unwrap_or(IfName::DEFAULT_BRIDGE))?;
            let tap = kernel.make_any(*vnet_hdr, &leave)?;
            reporter.about(tap);
            let mut wish = wish(tap, settings, roots::configuration(tap)?)?;
            // It is its caller's already, and has one queue: that is what QEMU takes from a helper.
            wish.access = None;
            wish.multi_queue = false;
            bring_up(
                &wish,
                settings,
                Plan::hand_over,
                &judge,
                &request,
                kernel,
                reporter,
            )
        }
        Action::Down { tap, delete } => {
            let facts = kernel.observe(*tap, None)?;
            let plan = Plan::down(&judge.may_take_down(*tap, *delete, facts)?);
            carry_out(&request, &plan, reporter, || {
                apply(kernel, &plan, |step| reporter.step(plan.tap(), step))
            })
        }
        Action::Check { .. } => Ok(ExitCode::Done),
    }
}

/// How often a bridge may be made by others just as we are about to, and fail to be there when we look, before it is an
/// error.
const MOST_RACES: usize = 3;

fn bring_up(
    wish: &Wish,
    asked: &Settings,
    plan: impl Fn(&UpLeave) -> Plan,
    judge: &Judge<'_>,
    request: &Request,
    kernel: &mut Kernel,
    reporter: &Reporter,
) -> Result<ExitCode, Error> {
    let mut races = 0;
    loop {
        let facts = kernel.observe(wish.tap, Some(wish))?;
        let leave = match judge.may_bring_up(wish.clone(), asked, facts) {
            Err(Error::NoBridge { name, .. }) => {
                return Err(Error::NoBridge {
                    name,
                    others: kernel.bridges(),
                });
            }
            result => result?,
        };
        let plan = plan(&leave);
        let work = || apply(kernel, &plan, |step| reporter.step(plan.tap(), step));
        match carry_out(request, &plan, reporter, work) {
            // Then it is there now, and only needs to be attached to.
            Err(Error::BridgeAppeared(_)) if races < MOST_RACES => races += 1,
            Ok(code) => {
                if !request.dry_run
                    && let Some(warning) = leave.warning(kernel.docker_drops())
                {
                    reporter.notice(&warning);
                }
                return Ok(code);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What would become of a call without --check, as far as that can be told without doing anything.
fn try_it(
    tap: IfName,
    settings: &Settings,
    conf: Effective,
    judge: &Judge<'_>,
    kernel: &mut Kernel,
) -> Result<(), Error> {
    let wish = wish(tap, settings, conf)?;
    let facts = kernel.observe(tap, Some(&wish))?;
    judge.may_bring_up(wish, settings, facts).map(|_| ())
}

/// The rules for callers to whom the privilege is lent; nobody else is bound by them.
fn acl_for(caller: &Caller) -> Result<Option<Acl>, Error> {
    match caller.authority() {
        Authority::Lent => roots::acl(),
        Authority::Root | Authority::None => Ok(None),
    }
}

/// What --check knows before it asks the kernel. An error is one of its findings.
fn look_before(
    tap: Option<IfName>,
    settings: &Settings,
    conf: &Result<Effective, Error>,
    acl: &Result<Option<Acl>, Error>,
    caller: &Caller,
    privilege: Privilege,
) -> Looked {
    let effective = conf.as_ref().map(|conf| conf.settings.clone());
    let all = settings.clone().over(effective.unwrap_or_default());
    let bridge_name = all.bridge.unwrap_or(IfName::DEFAULT_BRIDGE);
    Looked {
        authority: caller.authority(),
        uid: caller.real_uid(),
        net_admin: privilege.net_admin,
        bridge_from: match (settings.bridge, conf) {
            (Some(_), _) => "the command line, or the name that the program was run under",
            (None, Ok(conf)) if conf.settings.bridge.is_some() => CONF_FILE,
            (None, Ok(_) | Err(_)) => "default",
        },
        conf: conf.clone().map(|conf| conf.lines),
        acl: match acl {
            Ok(acl) => Ok(acl.as_ref().map(|acl| acl.judge(bridge_name))),
            Err(error) => Err(error.clone()),
        },
        bridge_name,
        creates_bridge: all.create_bridge,
        tap,
    }
}

/// The wish behind the options and those of the configuration: names are looked up here, and the defaults filled in.
fn wish(tap: IfName, asked: &Settings, conf: Effective) -> Result<Wish, Error> {
    let settings = asked.clone().over(conf.settings);
    if !settings.addresses.is_empty() && !settings.create_bridge {
        return Err(Error::Usage(
            "--address goes with --create-bridge".to_owned(),
        ));
    }
    if settings.create_bridge && settings.bridge == Some(tap) {
        return Err(Error::Usage(format!(
            "{tap} cannot be the tap and its bridge"
        )));
    }
    let vlans = VlanWish {
        pvid: settings.pvid,
        tagged: settings.vlans,
    };
    Ok(Wish {
        tap,
        bridge: settings.bridge.unwrap_or(IfName::DEFAULT_BRIDGE),
        access: settings.access.map(caller::look_up).transpose()?,
        multi_queue: settings.multi_queue,
        mtu: settings.mtu,
        create_bridge: settings.create_bridge.then_some(settings.addresses),
        isolated: settings.isolated,
        vlans: (vlans.pvid.is_some() || !vlans.tagged.is_empty()).then_some(vlans),
        wait: settings.wait,
        max_taps: settings.max_taps,
        name_is_known: conf.names_the_tap,
    })
}

/// Shows a plan, or lets `work` carry it out and tells of it.
fn carry_out(
    request: &Request,
    plan: &Plan,
    reporter: &Reporter,
    work: impl FnOnce() -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    if request.dry_run {
        let commands: String = plan
            .steps()
            .iter()
            .map(|planned| planned.step.command(plan.tap()) + "\n")
            .collect();
        print(&commands)?;
    } else {
        work()?;
        reporter.done(plan.outcome());
    }
    if let Some(notice) = plan.notice() {
        reporter.notice(&notice);
    }
    Ok(ExitCode::Done)
}

fn print(text: &str) -> Result<ExitCode, Error> {
    let printed = report::to_stdout(text).map_err(|error| Error::Output(error.into()));
    printed.map(|()| ExitCode::Done)
}
