//! In no plan, for whatever state, and wherever it fails, is a tap up without being a port.

use super::{br, owned};
use crate::apply::failure::StepError;
use crate::apply::{Executor, apply};
use crate::config::acl::{ACL_FILE, Acl};
use crate::config::options::TapOptions;
use crate::model::addr::{MacAddr, UnicastMac};
use crate::model::bridge::{BridgePortInfo, FdbEntry, PortOption, PortOptions};
use crate::model::link::{AddrGenMode, Link, TapInfo};
use crate::model::spec::{TapAccess, TapSpec, VlanSpec};
use crate::model::state::{CurrentState, TapState};
use crate::model::vlan::PortVlan;
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::policy::authorize::Act;
use crate::policy::caller::Caller;
use crate::policy::rules::{Policy, Rules};
use crate::sys::error::SysError;
use crate::sys::file::Contents;
use crate::sys::privilege::Credentials;
use crate::tests::build::{bridge, name, root, spec, state_of, tap, tap_state};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use proptest::prelude::*;
use std::path::Path;

/// A kernel with one tap, as far as it matters whether that is up and what it is a port of. It acts on the parts of a change
/// in the order of `do_setlink()`, and fails where it is told to.
struct OneTap {
    up: bool,
    master: Option<u32>,
    /// Its options as a port, and whether the forwarding database has an entry for it.
    options: PortOptions,
    has_entry: bool,
    /// It is to be locked to an address before it goes up.
    is_to_be_locked: bool,
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
            self.is_to_be_locked = false; // from here on all is put back
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
                    self.part(|tap| {
                        tap.master = master.map(|link| link.index);
                        (tap.options, tap.has_entry) = (PortOptions::of_new_port(), false);
                    })?;
                }
                if change.addr_gen_mode.is_some() {
                    self.part(|_| ())?;
                }
                Ok(())
            }
            Step::Up(_) if self.master.is_none() => Err(Errno::EOPNOTSUPP.into()),
            Step::Up(_) => {
                let is_locked = self.has_entry
                    && PortOptions::of_locked_port()
                        .differing_from(self.options)
                        .is_empty();
                assert!(is_locked || !self.is_to_be_locked, "up before it is locked");
                self.part(|tap| tap.up = true)
            }
            Step::SetPort(options) => self.part(|tap| tap.options = options.or(tap.options)),
            Step::SetFdb { to, .. } => self.part(|tap| tap.has_entry = !to.is_empty()),
            // All of it or nothing; the kernel takes it down first.
            Step::DeleteTap | Step::ReleaseTap => {
                self.part(|tap| tap.up = false)?;
                self.master = None;
                Ok(())
            }
            Step::DeleteBridge(new) if self.master == Some(new.link.index) => {
                Err(SysError::Invalid("the bridge now has a port").into())
            }
            Step::DeleteBridge(_)
            | Step::CreateBridge(_)
            | Step::CreateTap { .. }
            | Step::CheckQuota { .. }
            | Step::SetVlans { .. }
            | Step::WaitForwarding { .. }
            | Step::SetAccess { .. }
            | Step::DropPrivileges
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
    let link = (info, mode, master, mtu, any::<[bool; 4]>()).prop_map(
        |(info, addr_gen_mode, master, mtu, [up, carrier, isolated, locked])| Link {
            mtu,
            up,
            carrier,
            master,
            addr_gen_mode,
            port: master.map(|_| BridgePortInfo {
                options: PortOptions::of_locked_port()
                    .inverted()
                    .or(PortOptions::of_new_port())
                    .with(PortOption::Isolated, isolated)
                    .with(PortOption::Locked, locked),
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
    let options = (access, any::<[bool; 5]>(), prop::option::of(1000..9000_u32));
    options.prop_map(
        |(access, [isolated, vlans, create, wait, lock], mtu)| TapSpec {
            access,
            port: PortOptions::default()
                .with(PortOption::Isolated, isolated)
                .or(if lock {
                    PortOptions::of_locked_port()
                } else {
                    PortOptions::default()
                }),
            lock_mac: UnicastMac::parse("52:54:00:00:00:01")
                .filter(|_| lock)
                .map(Some),
            mtu,
            vlans: vlans.then(|| VlanSpec {
                pvid: Some(10),
                tagged: vec![20],
            }),
            create_bridge: create.then(Vec::new),
            wait: wait.then_some(1),
            ..spec()
        },
    )
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
        has_entry in any::<bool>(),
        mac in 1..3_u8,
        parts in 0..24_usize,
        fails_again in any::<bool>(),
    ) {
        let mut system = OneTap {
            up: link.as_ref().is_some_and(|link| link.up),
            master: link.as_ref().and_then(|link| link.master),
            alone_before: link.as_ref().is_some_and(|link| link.up && link.master.is_none()),
            options: link.as_ref().and_then(|link| link.port).unwrap_or_default().options,
            has_entry: has_entry && link.as_ref().is_some_and(|link| link.master.is_some()),
            is_to_be_locked: spec.lock_mac.is_some() && way != 1,
            parts,
            fails_again,
        };
        let before = (system.options, system.has_entry);
        let was_port = system.master;
        let was_up = system.up;
        let made = Link { master: None, port: None, up: false, ..tap(owned()) };
        let entry = FdbEntry { mac: MacAddr([0x52, 0x54, 0, 0, 0, mac]), vid: 1, sticky: true };
        let tap = match way {
            0 => Some(tap_state(made)),
            _ => link.clone().map(|link| TapState {
                master: was_port.and_then(br),
                has_fd,
                vlans: vec![PortVlan::untagged(1)],
                fdb: if system.has_entry { vec![entry] } else { Vec::new() },
                ..tap_state(link)
            }),
        };
        let state = CurrentState {
            bridge: Some(bridge()).filter(|_| !(no_bridge && spec.create_bridge.is_some() && was_port != Some(2))),
            ..state_of(tap)
        };
        let caller = root();
        let policy = Policy::new(&caller, None, false);
        let plan = match way {
            0 => {
                (system.up, system.master, system.alone_before) = (false, None, false);
                (system.options, system.has_entry) = (PortOptions::default(), false);
                let state = CurrentState { is_created: true, ..state };
                policy.authorize_up(spec, &TapOptions::default(), state).map(|auth| Plan::up(&auth))
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
            if was_port.is_some() {
                prop_assert_eq!((system.options, system.has_entry), before, "not as before: {}", error);
            }
        }
    }
}

/// A user who has the program's privilege, and is in group 36.
fn user() -> Caller {
    let credentials = Credentials {
        uid: Uid::from_raw(1000),
        gid: Gid::from_raw(1000),
        net_admin: true,
        withheld: None,
    };
    let groups = vec![Gid::from_raw(36)];
    Caller::from_parts(credentials, groups, |_| None, |_, _| unreachable!())
}

fn rules() -> Rules {
    let contents = Contents {
        bytes: b"allow all\n".to_vec(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    let acl = Acl::load(Path::new(ACL_FILE), &contents, |_| unreachable!());
    Rules {
        acl: acl.ok(),
        is_sub_uid: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn an_unprivileged_user_has_no_plan_but_to_create_a_tap_to_leave_it_or_to_delete_it(
        link in any_tap(),
        spec in any_spec(),
        has_fd in any::<bool>(),
        is_created in any::<bool>(),
        any_bridge in any::<bool>(),
        delete in any::<bool>(),
        master in prop::sample::select(vec![None, Some(2), Some(3)]),
    ) {
        let caller = user();
        let rules = rules();
        let policy = Policy::new(&caller, Some(&rules), false);
        let exists = link.is_some();
        let is_created = is_created && exists;
        let facts = || CurrentState {
            is_created,
            ..state_of(link.clone().map(|link| TapState {
                master: master.and_then(br),
                has_fd,
                vlans: vec![PortVlan::untagged(10), PortVlan::tagged(20)],
                ..tap_state(link)
            }))
        };
        prop_assert!(policy.authorize_down(name("tap0"), delete, facts()).is_err());
        if let Ok(auth) = policy.authorize_release(name("tap0"), delete, facts()) {
            for planned in Plan::release(&auth).steps() {
                prop_assert!(delete && planned.step == Step::ReleaseTap);
                prop_assert_eq!(&planned.undo, &[]);
            }
        }
        let spec = TapSpec { any_bridge, bound_access: spec.access, ..spec };
        let Ok(auth) = policy.authorize_up(spec, &TapOptions::default(), facts()) else {
            return Ok(());
        };
        let plan = Plan::up(&auth);
        let steps: Vec<&Step> = plan.steps().iter().map(|planned| &planned.step).collect();
        if exists && !is_created {
            prop_assert!(matches!(auth.act, Act::Leave(_)));
            prop_assert!(matches!(steps[..], [] | [Step::DropPrivileges, Step::WaitForwarding { .. }]), "{:?}", steps);
        } else {
            prop_assert_eq!(auth.act, Act::Create { for_qemu: is_created });
            let begin = if is_created { &steps[..] } else { &steps[1..] };
            prop_assert!(matches!(begin, [Step::CreateTap { .. }, ..]), "{:?}", steps);
            // Nothing that was there before is touched, and nothing needs a privilege once it is given up.
            let last = begin.iter().skip_while(|step| **step != &Step::DropPrivileges).skip(1);
            for step in last {
                prop_assert!(matches!(step, Step::WaitForwarding { .. } | Step::PassFd), "{:?}", steps);
            }
            let changes = steps.iter().any(|step| matches!(step, Step::SetAccess { .. } | Step::DeleteTap));
            prop_assert!(!changes, "{:?}", steps);
            // It is attached once, and goes up as a port with all that was asked for.
            let joins = steps.iter().filter(|step| matches!(step, Step::SetLink(update) if update.master.is_some()));
            prop_assert_eq!(joins.count(), 1);
            let ups = steps.iter().filter(|step| {
                matches!(step, Step::Up(port) if auth.spec.port.differing_from(port.options).is_empty())
            });
            prop_assert_eq!(ups.count(), 1);
        }
    }
}
