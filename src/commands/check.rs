//! `qemu-ifup --check`

use crate::apply::failure::StepError;
use crate::apply::{Executor, apply};
use crate::check::collect::collect;
use crate::check::diagnose;
use crate::check::finding::{Finding, Findings, exit_code};
use crate::check::id::{Id, Level};
use crate::check::output::{json, text};
use crate::check::snapshot::CheckContext;
use crate::commands::session::{Session, in_conf};
use crate::config::acl::Acl;
use crate::config::args::CheckOutput;
use crate::config::conf::Conf;
use crate::config::files::{load_acl, load_conf};
use crate::config::options::TapOptions;
use crate::config::program::Verbosity;
use crate::error::exit_code::ExitCode;
use crate::error::{Difference, Error};
use crate::kernel::execute::TapExecutor;
use crate::kernel::{Kernel, Tap};
use crate::model::if_name::IfName;
use crate::model::spec::TapSpec;
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::policy::rules::{Policy, Rules};
use crate::report::to_stdout;

/// Says what is wrong with the host, the bridge or the taps. The exit code is that of the first problem.
pub(super) fn check(
    session: &mut Session<'_>,
    taps: &[IfName],
    options: &TapOptions,
    output: CheckOutput,
) -> Result<ExitCode, Error> {
    let conf = load_conf().map_err(Error::from);
    let acl = load_acl().map_err(Error::from);
    let rules = session.load_rules();
    let mut findings = Vec::new();
    let mut look = |tap| -> Result<(), Error> {
        for finding in check_one(session, tap, options, &conf, &acl, &rules)? {
            // What is about the host is found for each tap, and said once.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        Ok(())
    };
    if taps.is_empty() {
        look(None)?;
    }
    taps.iter().try_for_each(|&tap| look(Some(tap)))?;
    if output.verbosity == Verbosity::Quiet {
        findings.retain(|finding| finding.level != Level::Ok);
    }
    let reader = session.caller.reader();
    to_stdout(&if output.json {
        json(&findings, reader)
    } else {
        text(&findings, reader, output.verbosity == Verbosity::Verbose)
    })?;
    Ok(exit_code(&findings, output.strict))
}

/// The findings for one tap, or for the host alone.
fn check_one(
    session: &mut Session<'_>,
    tap: Option<IfName>,
    options: &TapOptions,
    conf: &Result<Conf, Error>,
    acl: &Result<Option<Acl>, Error>,
    rules: &Result<Option<Rules>, Error>,
) -> Result<Vec<Finding>, Error> {
    let name = tap.unwrap_or(IfName::EXAMPLE_TAP);
    let conf = conf.as_ref().map(|conf| conf.for_tap(name));
    let conf = conf.map_err(Clone::clone);
    let matched = conf.as_ref().map(|conf| conf.options.clone());
    let context = CheckContext {
        caller: session.caller.clone(),
        asked: options.clone(),
        options: options.clone().with_defaults(matched.unwrap_or_default()),
        conf: conf.clone(),
        acl: acl.clone(),
        tap,
    };
    let snapshot = collect(&mut session.kernel, context)?;
    let mut findings = diagnose(&snapshot);
    if let (Some(tap), Ok(conf)) = (tap, conf) {
        let refusal = |error| {
            let mut refused = Findings::new(snapshot.context.bridge(), Some(tap));
            refused.error(Id::Refused, &error);
            refused.into_vec()
        };
        match (session.spec(tap, options, &conf), acl) {
            // qemu-ifup ends there, whatever the host is like.
            (Err(error), _) => findings = [refusal(error), findings].concat(),
            // Where nothing is wrong with the host, what was asked for may still be refused.
            (Ok(spec), Ok(_)) if exit_code(&findings, false) == ExitCode::Success => {
                let tried = rules.as_ref().map_err(Clone::clone).and_then(|rules| {
                    let policy = Policy::new(&session.caller, rules.as_ref(), false);
                    try_up(&mut session.kernel, &policy, spec, options)
                });
                let refused = tried.err().map(|error| in_conf(error, options, &conf));
                findings.extend(refused.into_iter().flat_map(refusal));
            }
            (Ok(_), Ok(_) | Err(_)) => {}
        }
    }
    Ok(findings)
}

/// Brings the tap up, but for every step that changes something.
fn try_up(
    kernel: &mut Kernel,
    policy: &Policy<'_>,
    spec: TapSpec,
    asked: &TapOptions,
) -> Result<(), Error> {
    let mut tap = Tap::new(spec.tap);
    let mut state = kernel.observe(&mut tap, Some(&spec))?;
    // A tap that a program has open has the queues that the program wants. Its owner is a matter of the configuration.
    let keep_flags = asked.multi_queue != Some(true)
        && state.tap.as_ref().is_some_and(|tap| {
            let has_access = |access| tap.link.tap().is_some_and(|info| info.is_for(access));
            tap.link.is_open() && spec.access.is_none_or(has_access)
        });
    if let Some(tap) = &mut state.tap {
        tap.has_fd |= keep_flags;
    }
    let auth = match policy.authorize_up(spec, asked, state) {
        // A guest that runs may have opened several queues.
        Err(
            Error::TapImmutable { .. }
            | Error::TapBusy { .. }
            | Error::TapDiffers {
                difference: Difference::SharedQueue,
                ..
            },
        ) if keep_flags => return Ok(()),
        authorized => authorized?,
    };
    let kernel = TapExecutor {
        kernel,
        tap: &mut tap,
        helper: None,
    };
    apply(&mut QuotaOnly(kernel), &Plan::up(&auth), |_| {})
}

/// Executes the one step of a plan that only counts.
struct QuotaOnly<'a>(TapExecutor<'a>);

impl Executor for QuotaOnly<'_> {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        if matches!(step, Step::CheckQuota { .. }) {
            self.0.execute(step)
        } else {
            Ok(())
        }
    }
}
