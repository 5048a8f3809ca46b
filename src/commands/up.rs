//! `qemu-ifup IFNAME`, and `qemu-ifup --fd=N` as QEMU's bridge helper.

use std::thread;
use std::time::Duration;

use crate::apply::kernel::Tap;
use crate::check::advice;
use crate::check::collect::docker_drops;
use crate::commands::session::{Session, in_conf, tap_spec};
use crate::config::acl::Acl;
use crate::config::conf::MatchedConf;
use crate::config::files::load_conf;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::addr::IpPrefix;
use crate::model::if_name::IfName;
use crate::model::link::LinkRef;
use crate::model::spec::TapSpec;
use crate::plan::Plan;
use crate::plan::outcome::Notice;
use crate::policy::authorize::AuthorizedUp;
use crate::policy::bridge::TargetBridge;
use crate::policy::rules::Policy;
use crate::sys::netlink::addr::get_addresses;
use crate::sys::qemu_fd::HelperSocket;

/// How often a bridge may be created by others just as we are about to, and not exist when we look, before it is an error.
const MAX_CREATE_RACES: usize = 3;

/// Brings taps up on a bridge.
#[inline]
pub(super) fn up(
    session: &mut Session<'_>,
    taps: &[IfName],
    options: &TapOptions,
) -> Result<ExitCode, Error> {
    let acl = session.load_acl()?;
    let conf = load_conf()?;
    let taps = taps.iter().map(|&name| (name, ()));
    Ok(session.each(taps, |session, name, ()| {
        let conf = conf.for_tap(name);
        let spec = tap_spec(name, options, &conf)?;
        BringUp {
            spec: &spec,
            asked: options,
            conf: &conf,
            acl: acl.as_ref(),
            helper: None,
            plan: Plan::up,
        }
        .run(session, Tap::new(name))
    }))
}

/// Creates a tap, brings it up on a bridge and hands it over to QEMU. Without a name, the kernel chooses one.
#[inline]
pub(super) fn hand_over(
    session: &mut Session<'_>,
    helper: Option<&HelperSocket>,
    name: Option<IfName>,
    vnet_hdr: bool,
    options: &TapOptions,
) -> Result<(), Error> {
    let acl = session.load_acl()?;
    let conf = load_conf()?;
    let spec_of = |name| {
        let conf = conf.for_tap(name);
        Ok::<_, Error>((tap_spec(name, options, &conf)?, conf))
    };
    let named = name.map(spec_of).transpose()?;
    let bridge = named.as_ref().map(|(spec, _)| spec.bridge);
    let bridge = bridge.or(options.bridge);
    let policy = Policy::new(&session.caller, acl.as_ref(), session.dry_run);
    let auth = policy.authorize_create(
        bridge.unwrap_or(IfName::DEFAULT_BRIDGE),
        named.as_ref().map(|(spec, _)| spec),
    )?;
    let tap = session.kernel.create_for_qemu(vnet_hdr, &auth)?;
    session.reporter.set_tap(tap.name());
    let (mut spec, conf) = named.map_or_else(|| spec_of(tap.name()), Ok)?;
    // It is its caller's already, and has one queue: that is what QEMU takes from a helper.
    spec.access = None;
    spec.multi_queue = false;
    BringUp {
        spec: &spec,
        asked: options,
        conf: &conf,
        acl: acl.as_ref(),
        helper,
        plan: Plan::hand_over,
    }
    .run(session, tap)
}

/// What brings a tap up, and hands it over if that is wanted.
struct BringUp<'a> {
    spec: &'a TapSpec,
    /// The caller's own options, of which the spec is made with those of the configuration.
    asked: &'a TapOptions,
    conf: &'a MatchedConf,
    acl: Option<&'a Acl>,
    helper: Option<&'a HelperSocket>,
    plan: fn(&AuthorizedUp) -> Plan,
}

impl BringUp<'_> {
    #[inline]
    fn run(&self, session: &mut Session<'_>, tap: Tap) -> Result<(), Error> {
        let result = self.try_run(session, tap);
        // It may be why that failed, and a port with an MTU of its own changes the bridge's.
        if result.is_err() || self.spec.mtu.is_some() {
            session.kernel.forget_bridge();
        }
        result.map_err(|error| in_conf(error, self.asked, self.conf))
    }

    #[inline]
    fn try_run(&self, session: &mut Session<'_>, mut tap: Tap) -> Result<(), Error> {
        let mut races = 0;
        let auth = loop {
            let state = session.kernel.observe(&mut tap, Some(self.spec))?;
            let policy = Policy::new(&session.caller, self.acl, session.dry_run);
            let auth = policy.authorize_up(self.spec.clone(), self.asked, state)?;
            match session.carry_out(&(self.plan)(&auth), &mut tap, self.helper) {
                // Then it exists now, and the tap only needs to be attached to it.
                Err(Error::BridgeExists(_)) if races < MAX_CREATE_RACES => races += 1,
                result => break result.map(|()| auth)?,
            }
        };
        session.last = Some(tap);
        let bridge = auth.bridge.link;
        if session.told_of == Some(bridge.index) {
            return Ok(());
        }
        if let Some(address) = self.missing_address(session, &auth.bridge) {
            session.told_of = Some(bridge.index);
            session.reporter.notice(&Notice::NoAddress {
                bridge: bridge.name,
                address,
            });
        }
        if session.dry_run {
            return Ok(());
        }
        let kernel = &mut session.kernel;
        let drops = *session
            .docker_drops
            .get_or_insert_with(|| docker_drops(kernel));
        if let Some(warning) = advice::warning(&auth, drops) {
            session.told_of = Some(bridge.index);
            session.reporter.notice(&warning);
        }
        Ok(())
    }

    /// An address that was asked for, and that a bridge does not have which was there already. One whose network another
    /// interface is in is meant for that one, by a line of the configuration for all taps.
    fn missing_address(
        &self,
        session: &mut Session<'_>,
        bridge: &TargetBridge,
    ) -> Option<IpPrefix> {
        let wanted = self.spec.create_bridge.as_ref()?;
        if wanted.is_empty() || bridge.new.is_some() {
            return None;
        }
        let mut look = || {
            let LinkRef { index, name } = bridge.link;
            let all = get_addresses(session.kernel.netlink()).ok()?;
            let has = |address| {
                all.iter()
                    .any(|own| own.index == index && own.prefix == address)
            };
            let in_use = |address| session.kernel.network_in_use(name, &[address], &all);
            let mut wanted = wanted.iter().copied();
            wanted.find(|&address| !has(address) && in_use(address).is_none())
        };
        look()?;
        // A new bridge is there a moment before its addresses, which another qemu-ifup may be about to give it.
        thread::sleep(Duration::from_millis(100));
        look()
    }
}
