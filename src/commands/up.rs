//! `qemu-ifup IFNAME`, and `qemu-ifup --fd=N` as QEMU's bridge helper.

use std::thread;
use std::time::{Duration, Instant};

use crate::commands::session::{Session, in_conf};
use crate::config::conf::MatchedConf;
use crate::config::error::UsageError;
use crate::config::files::load_conf;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::kernel::Tap;
use crate::model::if_name::IfName;
use crate::model::spec::TapSpec;
use crate::model::state::{CurrentState, TapState};
use crate::plan::Plan;
use crate::plan::outcome::bridge_notices;
use crate::policy::caller::Authority;
use crate::policy::rules::{Policy, Rules};
use crate::sys::qemu_fd::HelperSocket;

/// How many times another process may create the bridge just before we do, and delete it before we look, until that is an
/// error.
const MAX_CREATE_RACES: usize = 3;

/// How long to wait for another run that brings the same tap up for the same user, and the time between two looks.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);
const FINISH_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn up(
    session: &mut Session<'_>,
    taps: &[IfName],
    options: &TapOptions,
) -> Result<ExitCode, Error> {
    if let ([_, second, ..], Authority::Delegated) = (taps, session.caller.authority()) {
        return Err(Error::Usage(UsageError::Syntax(format!(
            "an unprivileged user can name only one tap in a call (also given: '{second}')"
        ))));
    }
    let conf = load_conf()?;
    let taps = taps.iter().map(|&name| (name, ()));
    Ok(session.each(taps, |session, name, ()| {
        let conf = conf.for_tap(name)?;
        let spec = session.spec(name, options, &conf)?;
        BringUp {
            spec: &spec,
            asked: options,
            conf: &conf,
            helper: None,
        }
        .run(session, Tap::new(name), None)
    }))
}

/// Creates a tap, brings it up on a bridge and hands it over to QEMU. Without a name, the kernel chooses one.
pub(super) fn hand_over(
    session: &mut Session<'_>,
    helper: Option<&HelperSocket>,
    name: Option<IfName>,
    vnet_hdr: bool,
    options: &TapOptions,
) -> Result<(), Error> {
    let conf = load_conf()?;
    let rules = session.load_rules()?;
    let spec_of = |session: &Session<'_>, name| {
        let conf = conf.for_tap(name)?;
        let mut spec = session.spec(name, options, &conf)?;
        // QEMU accepts only a single-queue tap from a helper.
        spec.multi_queue = false;
        Ok::<_, Error>((spec, conf))
    };
    let named = name.map(|name| spec_of(session, name)).transpose()?;
    let bridge = named.as_ref().map(|(spec, _)| spec.bridge);
    let bridge = bridge.or(options.bridge);
    let policy = Policy::new(&session.caller, rules.as_ref(), session.dry_run);
    let auth = policy.authorize_create(
        bridge.unwrap_or(IfName::DEFAULT_BRIDGE),
        named.as_ref().map(|(spec, _)| spec),
        options,
    )?;
    let tap = session.kernel.create_for_qemu(vnet_hdr, &auth)?;
    session.reporter.set_tap(tap.name());
    let (spec, conf) = match named {
        Some(named) => named,
        None => {
            let (mut spec, conf) = spec_of(session, tap.name())?;
            // QEMU has named the bridge, but not the tap. A line for all taps does not bind it to another bridge.
            spec.is_named = false;
            (spec, conf)
        }
    };
    BringUp {
        spec: &spec,
        asked: options,
        conf: &conf,
        helper,
    }
    .run(session, tap, rules)
}

/// Brings a tap up, and hands it over if there is a helper's socket.
struct BringUp<'a> {
    spec: &'a TapSpec,
    /// The caller's own options. The spec has those of the configuration, too.
    asked: &'a TapOptions,
    conf: &'a MatchedConf,
    helper: Option<&'a HelperSocket>,
}

impl BringUp<'_> {
    fn run(&self, session: &mut Session<'_>, tap: Tap, rules: Option<Rules>) -> Result<(), Error> {
        let result = self.try_run(session, tap, rules);
        // The bridge may be the reason of a failure, and a port with its own MTU changes that of the bridge.
        if result.is_err() || self.spec.mtu.is_some() {
            session.kernel.forget_bridge();
        }
        result.map_err(|error| in_conf(error, self.asked, self.conf))
    }

    /// Deleting a tap is a way to another one only if the user may create it.
    fn with_way_out(&self, session: &Session<'_>, mut error: Error) -> Error {
        if let Error::TapDiffers { can_create, .. } = &mut error
            && *can_create
        {
            *can_create = session.load_rules().is_ok_and(|rules| {
                let policy = Policy::new(&session.caller, rules.as_ref(), session.dry_run);
                policy.may_create(self.spec, self.asked)
            });
        }
        error
    }

    /// Observes the tap, authorizes the plan, and carries it out. If another run changes the same tap or bridge, it is observed
    /// again.
    fn try_run(
        &self,
        session: &mut Session<'_>,
        mut tap: Tap,
        mut rules: Option<Rules>,
    ) -> Result<(), Error> {
        let mut races = 0;
        let end = Instant::now() + FINISH_PATIENCE;
        let mut auth = loop {
            let state = session.kernel.observe(&mut tap, Some(self.spec))?;
            if rules.is_none() && state.tap.is_none() {
                rules = session.load_rules()?;
            }
            let may_be_finished = session.is_restricted() && is_unfinished(&state);
            let policy = Policy::new(&session.caller, rules.as_ref(), session.dry_run);
            let auth = match policy.authorize_up(self.spec.clone(), self.asked, state) {
                Err(_) if may_be_finished && Instant::now() < end => {
                    thread::sleep(FINISH_INTERVAL);
                    continue;
                }
                Err(error) => return Err(self.with_way_out(session, error)),
                Ok(auth) => auth,
            };
            match session.carry_out(&Plan::up(&auth), &mut tap, self.helper) {
                // The bridge exists now, and the tap only needs to be attached to it.
                Err(Error::BridgeExists(_)) if races < MAX_CREATE_RACES => races += 1,
                Err(Error::TapExists(_)) if session.is_restricted() && Instant::now() < end => {
                    thread::sleep(FINISH_INTERVAL);
                }
                result => break result.map(|()| auth)?,
            }
        };
        session.last = Some(tap);
        let bridge = auth.bridge.link.index;
        if session.warned_bridge == Some(bridge) {
            return Ok(());
        }
        let kernel = &mut session.kernel;
        let may_be_new = self.spec.create_bridge.is_some();
        auth.bridge.up = auth.bridge.up || kernel.is_up_when_created(auth.bridge.link, may_be_new);
        let missing = kernel.missing_address(&auth);
        let drops = !session.dry_run
            && *session
                .docker_drops
                .get_or_insert_with(|| kernel.docker_drops());
        for notice in bridge_notices(&auth, missing, drops) {
            if session.notice(notice) {
                session.warned_bridge = Some(bridge);
            }
        }
        Ok(())
    }
}

/// Whether another run may still be bringing the tap up: the tap is not persistent yet, and was not passed on to this run.
fn is_unfinished(state: &CurrentState) -> bool {
    let is_unfinished = |tap: &TapState| {
        let info = tap.link.tap();
        info.is_some_and(|info| !info.persistent) && !tap.has_fd
    };
    state.tap.as_ref().is_some_and(is_unfinished) && !state.is_created
}
