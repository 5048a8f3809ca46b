//! In no plan, for whatever state, and wherever it fails, is a tap up without being a port.

use crate::build::{bridge, name, root, spec, state, tap};
use crate::plan::{br, owned};
use nix::errno::Errno;
use proptest::prelude::*;
use qemu_ifup::apply::failure::StepError;
use qemu_ifup::apply::{Executor, apply};
use qemu_ifup::config::options::TapOptions;
use qemu_ifup::model::bridge::BridgePortInfo;
use qemu_ifup::model::link::{AddrGenMode, Link, TapInfo};
use qemu_ifup::model::spec::{TapAccess, TapSpec, VlanSpec};
use qemu_ifup::model::state::CurrentState;
use qemu_ifup::model::vlan::PortVlan;
use qemu_ifup::plan::Plan;
use qemu_ifup::plan::step::Step;
use qemu_ifup::policy::rules::Policy;

/// A kernel with one tap, as far as it matters whether that is up and what it is a port of. It acts on the parts of a change
/// in the order of `do_setlink()`, and fails where it is told to.
struct OneTap {
    up: bool,
    master: Option<u32>,
    /// It was up in no bridge before anything was asked, and nothing has changed that.
    alone_before: bool,
    /// The parts that are carried out before one fails.
    parts: usize,
    /// The one after that, too.
    fails_again: bool,
}

impl OneTap {
    fn part(&mut self, act: impl FnOnce(&mut Self)) -> Result<(), StepError> {
        if self.parts == 0 {
            self.parts = if self.fails_again { 0 } else { usize::MAX };
            self.fails_again = false;
            return Err(Errno::EIO.into());
        }
        self.parts -= 1;
        let (up, master) = (self.up, self.master);
        act(self);
        self.alone_before &= (up, master) == (self.up, self.master);
        let is_port = self.master.is_some();
        assert!(!self.up || is_port || self.alone_before, "up in no bridge");
        let moved = master != self.master;
        assert!(!(moved && up), "up while it joins or leaves");
        Ok(())
    }
}

impl Executor for OneTap {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        match step {
            Step::SetLink(change) => {
                if change.address.is_some() || change.mtu.is_some() {
                    self.part(|_| ())?;
                }
                if change.takes_down() {
                    self.part(|tap| tap.up = false)?;
                }
                if let Some(master) = change.master {
                    self.part(|tap| tap.master = master.map(|link| link.index))?;
                }
                if change.addr_gen_mode.is_some() {
                    self.part(|_| ())?;
                }
                Ok(())
            }
            Step::Up(_) if self.master.is_none() => Err(Errno::EOPNOTSUPP.into()),
            Step::Up(_) => self.part(|tap| tap.up = true),
            // All of it or nothing; the kernel takes it down first.
            Step::DeleteTap => {
                self.part(|tap| tap.up = false)?;
                self.master = None;
                Ok(())
            }
            Step::DeleteBridge(new) if self.master == Some(new.link.index) => {
                Err(StepError::BridgeInUse)
            }
            Step::DeleteBridge(_)
            | Step::CreateBridge(_)
            | Step::CreateTap { .. }
            | Step::CheckQuota { .. }
            | Step::SetPort(_)
            | Step::SetVlans { .. }
            | Step::WaitForwarding { .. }
            | Step::SetAccess { .. }
            | Step::PassFd
            | Step::SetPersist => self.part(|_| ()),
        }
    }
}

/// A tap as it may be found: created by QEMU, prepared, moved, left over, of any MTU.
fn any_tap() -> impl Strategy<Value = Option<Link>> {
    let info = (any::<[bool; 3]>(), prop::option::of(0..3_u32)).prop_map(
        |([owned, persistent, group], queues)| TapInfo {
            owner: owned.then_some(1000),
            group: (group && !owned).then_some(36),
            persistent,
            multi_queue: queues.is_some(),
            queues,
            ..TapInfo::default()
        },
    );
    let mode = prop::option::of(prop::sample::select(vec![
        AddrGenMode::None,
        AddrGenMode::Eui64,
    ]));
    let master = prop::sample::select(vec![None, Some(2), Some(3)]);
    let mtu = prop::sample::select(vec![1000, 1500, 9000]);
    let link = (info, mode, master, mtu, any::<[bool; 3]>()).prop_map(
        |(info, addr_gen_mode, master, mtu, [up, carrier, isolated])| Link {
            mtu,
            up,
            carrier,
            master,
            addr_gen_mode,
            port: master.map(|_| BridgePortInfo {
                isolated: Some(isolated),
                ..BridgePortInfo::default()
            }),
            ..tap(info)
        },
    );
    prop::option::of(link)
}

fn any_spec() -> impl Strategy<Value = TapSpec> {
    let access = prop::sample::select(vec![
        None,
        Some(TapAccess::Owner(1000)),
        Some(TapAccess::Group(36)),
    ]);
    let options = (access, any::<[bool; 4]>(), prop::option::of(1000..9000_u32));
    options.prop_map(|(access, [isolated, vlans, create, wait], mtu)| TapSpec {
        access,
        isolated,
        mtu,
        vlans: vlans.then(|| VlanSpec {
            pvid: Some(10),
            tagged: vec![20],
        }),
        create_bridge: create.then(Vec::new),
        wait: wait.then_some(1),
        ..spec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn in_no_plan_and_wherever_it_fails_is_a_tap_ever_up_without_being_a_port(
        link in any_tap(),
        spec in any_spec(),
        has_fd in any::<bool>(),
        no_bridge in any::<bool>(),
        way in 0..4,
        parts in 0..24_usize,
        fails_again in any::<bool>(),
    ) {
        let mut system = OneTap {
            up: link.as_ref().is_some_and(|link| link.up),
            master: link.as_ref().and_then(|link| link.master),
            alone_before: link.as_ref().is_some_and(|link| link.up && link.master.is_none()),
            parts,
            fails_again,
        };
        let was_port = system.master;
        let was_up = system.up;
        let made = Link { master: None, port: None, up: false, ..tap(owned()) };
        let state = CurrentState {
            master: was_port.and_then(br),
            bridge: Some(bridge()).filter(|_| !(no_bridge && spec.create_bridge.is_some() && was_port != Some(2))),
            has_fd,
            vlans: vec![PortVlan::untagged(1)],
            ..state(if way == 0 { Some(made) } else { link.clone() })
        };
        let caller = root();
        let policy = Policy::new(&caller, None, false);
        let plan = match way {
            0 => {
                (system.up, system.master, system.alone_before) = (false, None, false);
                let state = CurrentState { master: None, has_fd: true, ..state };
                let spec = TapSpec { access: None, ..spec };
                policy.authorize_up(spec, &TapOptions::default(), state).map(|auth| Plan::hand_over(&auth))
            }
            1 => policy.authorize_down(name("tap0"), has_fd, state).map(|auth| Plan::down(&auth)),
            _ => policy.authorize_up(spec, &TapOptions::default(), state).map(|auth| Plan::up(&auth)),
        };
        let Ok(plan) = plan else {
            return Ok(());
        };
        let steps = plan.steps();
        let goes_up = steps.iter().any(|planned| matches!(planned.step, Step::Up(_)));
        let existed = link.is_some() && way != 0;
        let result = apply(&mut system, &plan, |_| ());
        if result.is_ok() && way != 1 {
            prop_assert!(system.up && system.master.is_some(), "not up at the end");
            prop_assert!(goes_up || was_up);
        }
        if let Err(error) = result && existed && !fails_again && !error.to_string().contains("not undone") {
            prop_assert_eq!((system.up, system.master), (was_up, was_port), "not as before: {}", error);
        }
    }
}
