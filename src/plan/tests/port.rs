//! Options of the bridge port.

use super::{PERSIST, br, commands, finished, owned, undos, up};
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::addr::UnicastMac;
use crate::model::bridge::{
    BridgeInfo, BridgePortInfo, FdbEntry, PortOption, PortOptions, PortState,
};
use crate::model::link::{Link, LinkKind};
use crate::model::spec::{TapSpec, VlanSpec};
use crate::model::state::{CurrentState, TapState};
use crate::model::vlan::PortVlan;
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::tests::build::{bridge, name, spec, state, state_of, tap, tap_state};

#[test]
fn a_port_is_limited_before_it_goes_up() {
    let limited = TapSpec {
        port: PortOptions::default().with(PortOption::Isolated, true),
        vlans: Some(VlanSpec {
            // Next to the tagged ones, of which it is none.
            pvid: Some(19),
            tagged: vec![20, 21, 22, 30],
        }),
        ..spec()
    };
    let plan = up(limited.clone(), state(None)).unwrap();
    let all = commands(&plan);
    let (joining, limiting) = all.split_at(2);
    assert!(joining[1].ends_with(" master br0"));
    assert_eq!(
        limiting,
        [
            "bridge link set dev tap0 isolated on",
            "bridge vlan del dev tap0 vid 1\n\
             bridge vlan add dev tap0 vid 19 pvid untagged\n\
             bridge vlan add dev tap0 vid 20-22\n\
             bridge vlan add dev tap0 vid 30",
            "ip link set dev tap0 up",
            PERSIST,
        ]
    );

    // A port that has it all is left alone; one that lacks something gets that.
    let port = |isolated| Link {
        port: Some(BridgePortInfo {
            state: PortState::Forwarding,
            options: PortOptions::of_new_port().with(PortOption::Isolated, isolated),
        }),
        ..finished(owned())
    };
    let having = |link, vlans: &[PortVlan]| {
        state_of(TapState {
            master: br(2),
            vlans: vlans.to_vec(),
            ..tap_state(link)
        })
    };
    let all: Vec<PortVlan> = [PortVlan::untagged(19)]
        .into_iter()
        .chain([20, 21, 22, 30].map(PortVlan::tagged))
        .collect();
    let plan = up(limited.clone(), having(port(true), &all)).unwrap();
    assert_eq!(commands(&plan), Vec::<String>::new());
    let plan = up(limited, having(port(false), &[PortVlan::untagged(19)])).unwrap();
    assert_eq!(
        commands(&plan),
        [
            "bridge link set dev tap0 isolated on",
            "bridge vlan add dev tap0 vid 20-22\nbridge vlan add dev tap0 vid 30",
        ]
    );
    assert_eq!(
        undos(&plan),
        [
            "bridge link set dev tap0 isolated off",
            "bridge vlan del dev tap0 vid 20-22\nbridge vlan del dev tap0 vid 30",
        ]
    );
}

#[test]
fn a_port_is_locked_before_it_goes_up_in_each_of_its_vlans() {
    let mac = UnicastMac::parse("52:54:00:00:00:01");
    let options = PortOptions::of_locked_port();
    let locked = |vlans: Option<VlanSpec>| TapSpec {
        port: options,
        lock_mac: Some(mac),
        vlans,
        ..spec()
    };
    let pvid = |vid| VlanSpec {
        pvid: Some(vid),
        tagged: vec![20],
    };
    let lock = "bridge link set dev tap0 guard on learning off flood off locked on
ip link set dev tap0 type bridge_slave fdb_flush";
    let add = "bridge fdb replace 52:54:00:00:00:01 dev tap0 master static sticky";
    let del = "bridge fdb del 52:54:00:00:00:01 dev tap0 master";
    let plan = up(locked(None), state(None)).unwrap();
    let all = commands(&plan);
    assert_eq!(all[2..], [lock, add, "ip link set dev tap0 up", PERSIST]);
    let entries = |plan: &Plan| -> Vec<Vec<u16>> {
        let steps = plan.steps().iter();
        let entries = steps.filter_map(|planned| {
            let Step::SetFdb { to, .. } = &planned.step else {
                return None;
            };
            Some(to.iter().map(|entry| entry.vid).collect())
        });
        entries.collect()
    };
    assert_eq!(entries(&plan), [[1]]);
    let plan = up(locked(Some(pvid(10))), state(None)).unwrap();
    assert_eq!(entries(&plan), [[10, 20]]);
    let unfiltered = CurrentState {
        bridge: Some(Link {
            kind: LinkKind::Bridge(BridgeInfo::default()),
            ..bridge()
        }),
        ..state(None)
    };
    assert_eq!(entries(&up(locked(None), unfiltered).unwrap()), [[0]]);

    // A port that is locked in VLAN 10: its entry goes with that VLAN, and is there again before what fails is over.
    let entry = |vid| FdbEntry {
        mac: mac.unwrap().into(),
        vid,
        sticky: true,
    };
    let there = |fdb: &[FdbEntry]| {
        state_of(TapState {
            master: br(2),
            vlans: vec![PortVlan::untagged(10)],
            fdb: fdb.to_vec(),
            ..tap_state(Link {
                port: Some(BridgePortInfo {
                    options: options.or(PortOptions::of_new_port()),
                    ..BridgePortInfo::default()
                }),
                ..finished(owned())
            })
        })
    };
    let plan = up(locked(None), there(&[entry(10), entry(0)])).unwrap();
    assert_eq!(commands(&plan), Vec::<String>::new());
    for missing in [&[][..], &[entry(0)], &[entry(11)]] {
        assert_eq!(commands(&up(locked(None), there(missing)).unwrap()), [add]);
    }
    let plan = up(locked(Some(pvid(30))), there(&[entry(10), entry(0)])).unwrap();
    let vlans = "bridge vlan del dev tap0 vid 10
bridge vlan add dev tap0 vid 20
bridge vlan add dev tap0 vid 30 pvid untagged";
    assert_eq!(commands(&plan), [del, vlans, add]);
    let back = "bridge vlan del dev tap0 vid 20
bridge vlan del dev tap0 vid 30
bridge vlan add dev tap0 vid 10 pvid untagged";
    assert_eq!(undos(&plan), [add, back, del]);
    let unlock = |given| TapSpec {
        port: given,
        lock_mac: Some(None),
        ..spec()
    };
    let none = PortOptions::default();
    let plan = up(unlock(none), there(&[entry(10)])).unwrap();
    let unlocked = "bridge link set dev tap0 guard off learning on flood on locked off";
    assert_eq!(commands(&plan), [unlocked, del]);
    let given = none.with(PortOption::Guard, true);
    let plan = up(unlock(given), there(&[entry(10)])).unwrap();
    assert_eq!(commands(&plan), [&unlocked.replace("guard off ", ""), del]);
    // One that is not locked has these by itself, and the entry is somebody else's.
    let mut guarded = there(&[entry(10)]);
    let port = guarded.tap.as_mut().unwrap().link.port.as_mut().unwrap();
    port.options = port.options.with(PortOption::Locked, false);
    let plan = up(unlock(none), guarded).unwrap();
    assert_eq!(commands(&plan), Vec::<String>::new());

    // Another port of the bridge has the address.
    let error = up(
        locked(None),
        CurrentState {
            mac_in_use: Some(name("tap1")),
            ..there(&[])
        },
    );
    let error = error.unwrap_err();
    let said = "cannot lock the tap to MAC 52:54:00:00:00:01: tap1 already uses that MAC";
    assert_eq!(error.to_string(), said);
    assert_eq!(error.exit_code(), ExitCode::Bridge);
}

#[test]
fn a_port_that_is_back_in_its_bridge_has_what_it_had_before_it_goes_up() {
    let there = |vlans: &[PortVlan], default_pvid| {
        state_of(TapState {
            master: br(3),
            default_pvid,
            vlans: vlans.to_vec(),
            fdb: vec![FdbEntry {
                mac: UnicastMac::parse("52:54:00:00:00:01").unwrap().into(),
                vid: 10,
                sticky: false,
            }],
            ..tap_state(Link {
                master: Some(3),
                port: Some(BridgePortInfo {
                    options: PortOptions::of_new_port().with(PortOption::Isolated, true),
                    ..BridgePortInfo::default()
                }),
                ..finished(owned())
            })
        })
    };
    let back = |vlans: &str| {
        format!(
            "ip link set dev tap0 master br1; bridge link set dev tap0 isolated on; {vlans}\
             bridge fdb replace 52:54:00:00:00:01 dev tap0 master static; ip link set dev tap0 up"
        )
    };
    let ten = "bridge vlan add dev tap0 vid 10 pvid untagged; ";
    let one = "bridge vlan del dev tap0 vid 1";
    for (vlans, default_pvid, undone) in [
        (
            &[PortVlan::untagged(10)][..],
            Some(1),
            format!("{one}\n{ten}"),
        ),
        (&[PortVlan::untagged(10)], None, ten.to_owned()),
        (&[], Some(1), format!("{one}; ")),
        (&[PortVlan::untagged(1)], Some(1), String::new()),
    ] {
        let plan = up(spec(), there(vlans, default_pvid)).unwrap();
        assert_eq!(undos(&plan)[0], back(&undone));
    }
    // Its new bridge does not begin with what it had in the other.
    let plan = up(spec(), there(&[PortVlan::untagged(10)], Some(1))).unwrap();
    let all = commands(&plan);
    assert_eq!(
        all,
        [
            "ip link set dev tap0 master br0 down",
            "ip link set dev tap0 up"
        ]
    );
}

#[test]
fn vlans_on_a_bridge_that_does_not_keep_them_apart_are_refused() {
    let tagged = TapSpec {
        vlans: Some(VlanSpec {
            pvid: None,
            tagged: vec![10],
        }),
        ..spec()
    };
    let mut state = state(None);
    state.bridge = Some(Link {
        kind: LinkKind::Bridge(BridgeInfo::default()),
        ..bridge()
    });
    let error = up(tagged, state).unwrap_err();
    assert_eq!(error, Error::VlanFilteringOff(name("br0")));
    assert_eq!(error.exit_code(), ExitCode::Bridge);
}

#[test]
fn only_a_tap_that_a_program_has_open_is_waited_for_and_before_it_is_kept() {
    let patient = TapSpec {
        wait: Some(7),
        ..spec()
    };
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(owned()))
    });
    let plan = up(patient.clone(), held).unwrap();
    let last = plan.steps().last().map(|planned| &planned.step);
    let waits = |step: &Step| matches!(step, Step::WaitForwarding { seconds: 7, .. });
    assert!(last.is_some_and(waits));

    let idle = Link {
        carrier: false,
        ..tap(owned())
    };
    for state in [state(None), state(Some(idle))] {
        let plan = up(patient.clone(), state).unwrap();
        assert!(!plan.steps().iter().any(|p| waits(&p.step)));
        assert!(
            plan.notice()
                .unwrap()
                .to_string()
                .contains("not waited for")
        );
    }
}
