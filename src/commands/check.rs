//! `qemu-ifup --check`

use crate::apply::failure::StepError;
use crate::apply::{Executor, apply};
use crate::check::collect::Collector;
use crate::check::diagnose;
use crate::check::finding::{Findings, exit_code};
use crate::check::id::{Id, Level};
use crate::check::output::{json, text};
use crate::check::snapshot::Context;
use crate::commands::session::{Session, in_conf};
use crate::config::args::CheckOutput;
use crate::config::files::{load_acl, load_conf};
use crate::config::options::TapOptions;
use crate::config::program::Verbosity;
use crate::error::exit_code::ExitCode;
use crate::error::{Difference, Error};
use crate::kernel::execute::TapCounts;
use crate::kernel::{Kernel, Tap};
use crate::model::if_name::IfName;
use crate::model::spec::TapSpec;
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::policy::rules::Policy;
use crate::report::to_stdout;

/// Says what is wrong with the host, the bridge or the taps. The exit code is that of the first problem.
pub(super) fn check(
    session: &mut Session<'_>,
    taps: &[IfName],
    asked: &TapOptions,
    output: CheckOutput,
) -> Result<ExitCode, Error> {
    let (conf, acl) = (
        load_conf().map_err(Error::from),
        load_acl().map_err(Error::from),
    );
    let rules = session.load_rules();
    let context = Context {
        caller: &session.caller,
        asked,
        conf: &conf,
        acl: &acl,
    };
    let mut collector = Collector::new(&mut session.kernel, context)?;
    let mut findings = Vec::new();
    let mut counts = None;
    let names = taps.iter().copied().map(Some);
    for name in names.chain(taps.is_empty().then_some(None)) {
        let seen = collector.look_at(&mut session.kernel, name)?;
        let mut found = diagnose(&seen);
        if let (Some(tap), Ok(conf)) = (name, &seen.conf) {
            let refused = |error| {
                let mut refused = Findings::new(seen.bridge.name, name);
                refused.error(Id::Refused, error);
                refused.into_vec()
            };
            match (session.spec(tap, asked, conf), &acl, &rules) {
                // qemu-ifup ends there, whatever the host is like.
                (Err(error), ..) => drop(found.splice(..0, refused(&error))),
                // If nothing is wrong with the host, the tap may still be refused.
                _ if exit_code(&found, false) != ExitCode::Success => {}
                (Ok(_), Ok(_), Err(error)) => found.extend(refused(error)),
                (Ok(spec), Ok(_), Ok(rules)) => {
                    let policy = Policy::new(&session.caller, rules.as_ref(), false);
                    let tried = try_up(&mut session.kernel, &policy, spec, asked, &mut counts);
                    if let Err(error) = tried {
                        found.extend(refused(&in_conf(error, asked, conf)));
                    }
                }
                (Ok(_), Err(_), _) => {}
            }
        }
        for finding in found {
            // What is about the host is found for each tap, and said once.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
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

/// Brings the tap up, but for every step that changes something.
fn try_up(
    kernel: &mut Kernel,
    policy: &Policy<'_>,
    spec: TapSpec,
    asked: &TapOptions,
    counts: &mut Option<TapCounts>,
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
    apply(&mut QuotaOnly { kernel, counts }, &Plan::up(&auth), |_| {})
}

/// Executes the one step of a plan that only counts. The taps are counted once for all names.
struct QuotaOnly<'a> {
    kernel: &'a mut Kernel,
    counts: &'a mut Option<TapCounts>,
}

impl Executor for QuotaOnly<'_> {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        let Step::CheckQuota(quota) = step else {
            return Ok(());
        };
        let counts = match *self.counts {
            Some(counts) => counts,
            None => self.kernel.count_taps(quota.user, None)?,
        };
        self.counts.insert(counts).check(*quota)
    }
}
