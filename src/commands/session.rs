//! [`Session`], which all actions share. It prints a plan or applies it.

use crate::apply::apply;
use crate::config::conf::MatchedConf;
use crate::config::error::UsageError;
use crate::config::files::load_acl;
use crate::config::options::TapOptions;
use crate::config::table::port_option;
use crate::error::exit_code::ExitCode;
use crate::error::{Error, Immutable};
use crate::kernel::execute::TapExecutor;
use crate::kernel::{Kernel, Tap};
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Qdisc};
use crate::model::spec::{TapSpec, VlanSpec};
use crate::plan::Plan;
use crate::plan::outcome::Notice;
use crate::plan::step::Step;
use crate::policy::caller::{Authority, Caller, is_sub_uid, resolve_ids};
use crate::policy::rules::Rules;
use crate::report::{Reporter, to_stdout};
use crate::sys::error::{Cause, SysError};
use crate::sys::qemu_fd::HelperSocket;

/// The state of a run, which all actions share.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) kernel: Kernel,
    pub(super) caller: Caller,
    pub(super) reporter: &'a mut Reporter,
    pub(super) dry_run: bool,
    /// The last tap that was brought up. It is closed when the next one is, or the program ends.
    pub(super) last: Option<Tap>,
    /// The bridge about which there was a notice or warning last: there is no second one.
    pub(super) warned_bridge: Option<IfIndex>,
    /// Docker drops what bridges forward; None if that was not looked at yet.
    pub(super) docker_drops: Option<bool>,
    /// The bridges that the printed plans create.
    pub(super) planned_bridges: Vec<IfName>,
}

impl Session<'_> {
    /// Runs `act` for each tap, and reports each error. The exit code is that of the first tap that failed.
    pub(super) fn each<T>(
        &mut self,
        taps: impl IntoIterator<Item = (IfName, T)>,
        mut act: impl FnMut(&mut Self, IfName, T) -> Result<(), Error>,
    ) -> ExitCode {
        let mut code = ExitCode::Success;
        for (name, with) in taps {
            self.reporter.set_tap(name);
            if let Err(error) = act(self, name, with) {
                self.reporter.error(&error);
                if code == ExitCode::Success {
                    code = error.exit_code();
                }
            }
        }
        code
    }

    /// Whether the caller may not change a tap that exists.
    pub(super) fn is_restricted(&self) -> bool {
        self.caller.unrestricted(self.dry_run).is_none()
    }

    /// The settings that are wanted for this tap.
    pub(super) fn spec(
        &self,
        tap: IfName,
        asked: &TapOptions,
        conf: &MatchedConf,
    ) -> Result<TapSpec, Error> {
        tap_spec(self.is_restricted(), tap, asked, conf)
    }

    /// Loads the ACL; root needs none.
    pub(super) fn load_rules(&self) -> Result<Option<Rules>, Error> {
        if self.caller.authority() != Authority::Delegated {
            return Ok(None);
        }
        Ok(Some(Rules {
            acl: load_acl()?,
            is_sub_uid: is_sub_uid(self.caller.real_uid())?,
        }))
    }

    /// Applies a plan, or prints it, and reports the result.
    pub(super) fn carry_out(
        &mut self,
        plan: &Plan,
        tap: &mut Tap,
        helper: Option<&HelperSocket>,
    ) -> Result<(), Error> {
        if self.dry_run {
            let mut commands = String::new();
            for step in plan.steps().iter().map(|planned| &planned.step) {
                // For the next taps, it would exist.
                if let Step::CreateBridge(new) = step {
                    if self.planned_bridges.contains(&new.link.name) {
                        continue;
                    }
                    self.planned_bridges.push(new.link.name);
                }
                commands += &(step.ip_command(plan.tap()) + "\n");
            }
            to_stdout(&commands)?;
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
            self.notice(notice);
        }
        Ok(())
    }

    /// Prints a notice, unless it is false in a dry run, and returns whether it did.
    pub(super) fn notice(&self, notice: Notice) -> bool {
        if self.dry_run && notice.is_of_act() {
            return false;
        }
        self.reporter.notice(notice);
        if notice.is_security() && !self.dry_run {
            self.reporter.security(&notice);
        }
        true
    }
}

/// The error with the last line of the configuration that gives the option which it is about, unless the caller gives it.
pub(super) fn in_conf(error: Error, asked: &TapOptions, conf: &MatchedConf) -> Error {
    in_conf_by(error, asked, conf, is_about)
}

fn in_conf_by(
    error: Error,
    asked: &TapOptions,
    conf: &MatchedConf,
    is_about: impl Fn(&Error, &TapOptions) -> bool,
) -> Error {
    let mut lines = conf.by_line.iter().rev();
    match lines.find(|(_, options)| is_about(&error, options)) {
        Some((line, _)) if !is_about(&error, asked) => Error::InConf {
            line: *line,
            error: Box::new(error),
        },
        Some(_) | None => error,
    }
}

/// Whether one of these options asks for what failed.
fn is_about(error: &Error, options: &TapOptions) -> bool {
    let has_addresses = !options.addresses.is_empty();
    let has_vlans = options.pvid.is_some() || !options.vlans.is_empty();
    let has_access = options.access.is_some();
    let has_port = !options.port.is_empty() || options.lock_mac.is_some();
    if let Error::StepFailed { reason, .. } = error {
        return match reason {
            SysError::Known(Cause::Ipv6Off | Cause::SameAddress, _) => has_addresses,
            SysError::Known(Cause::NoVlanFiltering, _) => has_vlans,
            SysError::Known(Cause::NotMapped(_), _) => has_access,
            SysError::NotApplied(_) => has_port,
            SysError::Errno { .. }
            | SysError::TunDevice(_)
            | SysError::Protocol(_)
            | SysError::Invalid(_) => false,
        };
    }
    let is_about_bridge = matches!(error, Error::NoSuchBridge { .. } | Error::NotABridge { .. });
    let is_about_queues = matches!(
        error,
        Error::TapImmutable {
            reason: Immutable::OneQueue,
            ..
        }
    );
    let is_about_access = matches!(
        error,
        Error::UnknownName { .. } | Error::TapImmutable { .. } | Error::TapBusy { .. }
    );
    options.bridge.is_some() && is_about_bridge
        || options.multi_queue.is_some() && is_about_queues
        || has_access && is_about_access && !is_about_queues
        || options.lock_mac.is_some() && matches!(error, Error::MacInUse { .. })
        || has_vlans && matches!(error, Error::VlanFilteringOff(_))
        || has_addresses && matches!(error, Error::Usage(_) | Error::NetworkInUse { .. })
}

/// The settings that are wanted for the tap, by the command line and the configuration: names are resolved here, and defaults
/// filled in. A restricted caller is bound by an owner in the configuration.
fn tap_spec(
    is_restricted: bool,
    tap: IfName,
    asked: &TapOptions,
    conf: &MatchedConf,
) -> Result<TapSpec, Error> {
    let usage = |reason: String| Error::Usage(UsageError::Syntax(reason));
    let options = asked.clone().with_defaults(conf.options.clone());
    if !options.addresses.is_empty() && options.create_bridge.is_none() {
        let error = usage("--address requires --create-bridge".to_owned());
        return Err(in_conf(error, asked, conf));
    }
    let creates_bridge = options.create_bridge == Some(true);
    if creates_bridge && options.bridge == Some(tap) {
        return Err(usage(
            "the tap and the bridge cannot have the same name".to_owned(),
        ));
    }
    let lock = options.lock();
    // A port that still learns is not locked: link-local frames would teach it.
    if let Some((option, on)) = options
        .port
        .differing_from(lock.or(options.port))
        .iter()
        .next()
    {
        let error = usage(format!(
            "--{} cannot be combined with --lock-mac",
            port_option(option, on)
        ));
        // Where the caller gives that one, it is about the other.
        let is_given = |options: &TapOptions| options.port.get(option).is_some();
        let is_about = |_: &Error, options: &TapOptions| {
            if is_given(asked) {
                options.lock_mac.is_some()
            } else {
                is_given(options)
            }
        };
        return Err(in_conf_by(error, asked, conf, is_about));
    }
    let resolve = |access: &Option<_>| {
        let access = access.clone().map(resolve_ids).transpose();
        access.map_err(|error| in_conf(error, asked, conf))
    };
    let asked_access = resolve(&asked.access)?;
    let bound_access = if is_restricted || asked_access.is_none() {
        resolve(&conf.options.access)?
    } else {
        None
    };
    let access = bound_access.or(asked_access);
    let vlans = VlanSpec {
        pvid: options.pvid,
        tagged: options.vlans,
    };
    Ok(TapSpec {
        tap,
        bridge: options.bridge.unwrap_or(IfName::DEFAULT_BRIDGE),
        any_bridge: is_restricted && options.bridge.is_none(),
        access,
        asked_access,
        bound_access,
        bound_bridge: conf.options.bridge,
        bound_mtu: conf.options.mtu,
        is_named: true,
        multi_queue: options.multi_queue == Some(true),
        mtu: options.mtu,
        create_bridge: creates_bridge.then_some(options.addresses),
        port: options.port.or(lock),
        lock_mac: options.lock_mac,
        vlans: (vlans.pvid.is_some() || !vlans.tagged.is_empty()).then_some(vlans),
        noqueue: options.qdisc != Some(Qdisc::Default),
        wait: options.wait,
        max_taps: options.max_taps,
        largest_max_taps: conf.largest_max_taps,
        name_configured: conf.names_tap,
    })
}
