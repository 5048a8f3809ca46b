//! [`Session`]: what all actions share. It shows a plan or applies it.

use crate::apply::apply;
use crate::apply::execute::TapExecutor;
use crate::apply::kernel::{Kernel, Tap};
use crate::config::acl::Acl;
use crate::config::conf::MatchedConf;
use crate::config::error::UsageError;
use crate::config::files::load_acl;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::link::Qdisc;
use crate::model::spec::{TapSpec, VlanSpec};
use crate::plan::Plan;
use crate::policy::caller::{Authority, Caller, resolve_ids};
use crate::report::{Reporter, to_stdout};
use crate::sys::qemu_fd::HelperSocket;

/// What all actions share.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) kernel: Kernel,
    pub(super) caller: Caller,
    pub(super) reporter: &'a mut Reporter,
    /// Print the plan instead of applying it.
    pub(super) dry_run: bool,
}

impl Session<'_> {
    /// The rules, which are for unprivileged callers only.
    pub(super) fn load_acl(&self) -> Result<Option<Acl>, Error> {
        match self.caller.authority() {
            Authority::Delegated => Ok(load_acl()?),
            Authority::Root | Authority::None => Ok(None),
        }
    }

    /// Applies a plan, or prints it, and tells of it.
    pub(super) fn carry_out(
        &mut self,
        plan: &Plan,
        tap: &mut Tap,
        helper: Option<&HelperSocket>,
    ) -> Result<(), Error> {
        if self.dry_run {
            let steps = plan.steps().iter();
            let commands = steps.map(|planned| planned.step.ip_command(plan.tap()) + "\n");
            to_stdout(&commands.collect::<String>())?;
        } else {
            let kernel = &mut self.kernel;
            let mut executor = TapExecutor {
                kernel,
                tap,
                helper,
            };
            let reporter = &self.reporter;
            apply(&mut executor, plan, |step| reporter.step(plan.tap(), step))?;
            self.reporter.done(plan.outcome());
        }
        if let Some(notice) = plan.notice() {
            self.reporter.notice(&notice);
            if notice.is_security() && !self.dry_run {
                self.reporter.security(&notice);
            }
        }
        Ok(())
    }
}

/// What is wanted of the tap, by the options and those of the configuration: names are resolved here, and defaults filled
/// in.
pub(super) fn tap_spec(
    tap: IfName,
    asked: &TapOptions,
    conf: MatchedConf,
) -> Result<TapSpec, Error> {
    let usage = |reason: String| Err(Error::Usage(UsageError::Syntax(reason)));
    let options = asked.clone().with_defaults(conf.options);
    if !options.addresses.is_empty() && !options.create_bridge {
        return usage("--address goes with --create-bridge".to_owned());
    }
    if options.create_bridge && options.bridge == Some(tap) {
        return usage(format!("{tap} cannot be the tap and its bridge"));
    }
    let vlans = VlanSpec {
        pvid: options.pvid,
        tagged: options.vlans,
    };
    Ok(TapSpec {
        tap,
        bridge: options.bridge.unwrap_or(IfName::DEFAULT_BRIDGE),
        access: options.access.map(resolve_ids).transpose()?,
        multi_queue: options.multi_queue,
        mtu: options.mtu,
        create_bridge: options.create_bridge.then_some(options.addresses),
        isolated: options.isolated,
        vlans: (vlans.pvid.is_some() || !vlans.tagged.is_empty()).then_some(vlans),
        noqueue: options.qdisc != Some(Qdisc::Default),
        wait: options.wait,
        max_taps: options.max_taps,
        name_configured: conf.names_tap,
    })
}
