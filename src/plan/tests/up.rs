//! A tap goes up.

use super::{PERSIST, SET_ACCESS, br, commands, finished, owned, undos, up, up_as_asked};
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::error::advice::Reader;
use crate::error::exit_code::ExitCode;
use crate::model::addr::{IpPrefix, MacAddr};
use crate::model::link::{AddrGenMode, Link, LinkKind, LinkRef, TapInfo};
use crate::model::spec::{NameOrId, TapAccess, TapSpec};
use crate::model::state::{CurrentState, TapState};
use crate::plan::outcome::Notice;
use crate::plan::step::Step;
use crate::policy::rules::Policy;
use crate::tests::build::{bridge, filtering, name, root, spec, state, state_of, tap, tap_state};

#[test]
fn a_missing_tap_is_created_configured_attached_and_only_then_made_persistent() {
    let plan = up(spec(), state(None)).unwrap();
    assert_eq!(
        commands(&plan),
        [
            "ip tuntap add dev tap0 mode tap user 1000",
            "tc qdisc replace dev tap0 root noqueue\n\
             ip link set dev tap0 address fe:01:02:03:04:05 mtu 9000 addrgenmode none master br0",
            "ip link set dev tap0 up",
            PERSIST,
        ]
    );
    let last = plan.steps().last().map(|planned| &planned.step);
    assert_eq!(last, Some(&Step::SetPersist));
    assert_eq!(
        undos(&plan),
        ["ip link delete dev tap0"; 4],
        "to remove a tap that was not kept takes back everything, whoever else has it open"
    );
    assert_eq!(plan.notice(), None);
}

#[test]
fn options_reach_the_tap_that_is_created() {
    let all = TapSpec {
        access: Some(TapAccess::Group(36)),
        multi_queue: true,
        mtu: Some(1400),
        ..spec()
    };
    let plan = up(all, state(None)).unwrap();
    assert_eq!(
        commands(&plan).first().unwrap(),
        "ip tuntap add dev tap0 mode tap group 36 multi_queue"
    );
    assert!(commands(&plan).iter().any(|c| c.contains("mtu 1400")));
}

#[test]
fn where_there_is_no_ipv6_its_addresses_are_not_spoken_of() {
    for (ipv6, mtu) in [(false, 1500), (true, 1279)] {
        let mut state = state(None);
        state.ipv6 = ipv6;
        state.bridge = Some(Link { mtu, ..bridge() });
        let plan = up(spec(), state).unwrap();
        assert!(!commands(&plan).concat().contains("addrgenmode"));
    }
}

#[test]
fn a_bridge_can_be_wider_than_any_tap() {
    let mut state = state(None);
    state.bridge = Some(Link {
        mtu: 65535,
        ..bridge()
    });
    let plan = up(spec(), state).unwrap();
    assert!(commands(&plan).concat().contains("mtu 65521"));
}

#[test]
fn the_tap_that_qemu_holds_is_given_to_the_invoking_user_before_it_sees_a_frame() {
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(TapInfo::default()))
    });
    let plan = up(spec(), held).unwrap();
    assert_eq!(
        commands(&plan),
        [
            SET_ACCESS,
            "tc qdisc replace dev tap0 root noqueue\n\
             ip link set dev tap0 address fe:01:02:03:04:05 mtu 9000 addrgenmode none master br0",
            "ip link set dev tap0 up",
        ]
    );
    assert_eq!(
        undos(&plan),
        [
            "",
            "tc qdisc delete dev tap0 root\n\
             ip link set dev tap0 address 5a:01:02:03:04:05 mtu 1500 addrgenmode eui64 nomaster",
            "ip link set dev tap0 down",
        ]
    );
    // A tap that outlasts a failure is given away as late as that allows.
    let persistent = TapInfo {
        persistent: true,
        ..TapInfo::default()
    };
    let held = state_of(TapState {
        has_fd: true,
        ..tap_state(tap(persistent))
    });
    let plan = up(spec(), held).unwrap();
    assert_eq!(
        commands(&plan)[1..],
        [SET_ACCESS, "ip link set dev tap0 up"]
    );
    assert!(plan.steps()[1].remains.is_some());
}

#[test]
fn only_what_differs_is_changed() {
    let done = finished(owned());
    let set = "ip link set dev tap0";
    let cases: [(&str, Link, Option<LinkRef>, &[&str]); 8] = [
        ("nothing", done.clone(), br(2), &[]),
        (
            "down",
            Link {
                up: false,
                ..done.clone()
            },
            br(2),
            &["up"],
        ),
        (
            "no bridge",
            Link {
                master: None,
                ..done.clone()
            },
            None,
            &["down", "master br0", "up"],
        ),
        (
            "another bridge",
            Link {
                master: Some(3),
                ..done.clone()
            },
            br(3),
            &["master br0 down", "up"],
        ),
        (
            "MTU",
            Link {
                mtu: 1500,
                ..done.clone()
            },
            br(2),
            &["mtu 9000"],
        ),
        (
            "address",
            Link {
                address: Some(MacAddr([2, 9, 9, 9, 9, 9])),
                ..done.clone()
            },
            br(2),
            &["address fe:09:09:09:09:09"],
        ),
        (
            "makes link-local addresses, but is down and so has none yet",
            Link {
                addr_gen_mode: Some(AddrGenMode::StablePrivacy),
                up: false,
                ..done.clone()
            },
            br(2),
            &["addrgenmode none", "up"],
        ),
        (
            "has a link-local address, which only going down removes",
            Link {
                addr_gen_mode: Some(AddrGenMode::Eui64),
                ..done
            },
            br(2),
            &["addrgenmode none down", "up"],
        ),
    ];
    for (what, link, master, wanted) in cases {
        let state = state_of(TapState {
            master,
            ..tap_state(link)
        });
        let plan = up(spec(), state).unwrap();
        let wanted: Vec<String> = wanted.iter().map(|w| format!("{set} {w}")).collect();
        assert_eq!(commands(&plan), wanted, "{what}");
    }
}

#[test]
fn a_move_and_an_idle_second_run_are_told() {
    let idle = state_of(TapState {
        master: br(2),
        ..tap_state(finished(owned()))
    });
    let notice = up(spec(), idle).unwrap().notice().unwrap().to_string();
    assert_eq!(notice, "already up on br0, nothing to do");

    let elsewhere = Link {
        master: Some(3),
        ..finished(owned())
    };
    let elsewhere = state_of(TapState {
        master: br(3),
        ..tap_state(elsewhere)
    });
    let plan = up(spec(), elsewhere).unwrap();
    let notice = plan.notice().unwrap().to_string();
    assert_eq!(notice, "moved from br1 to br0");
    assert_eq!(
        undos(&plan),
        [
            "ip link set dev tap0 master br1; ip link set dev tap0 up",
            "ip link set dev tap0 down"
        ]
    );
}

#[test]
fn a_tap_that_lets_everybody_in_is_given_to_the_invoking_user_if_that_can_be_done() {
    let nobodys = TapInfo {
        persistent: true,
        ..TapInfo::default()
    };
    let given = |carrier, has_fd| {
        let link = Link {
            carrier,
            ..finished(nobodys)
        };
        let state = state_of(TapState {
            master: br(2),
            has_fd,
            ..tap_state(link)
        });
        commands(&up(spec(), state).unwrap()).len()
    };
    assert_eq!(given(false, false), 1, "idle");
    assert_eq!(given(true, true), 1, "held by QEMU, which started us");
    assert_eq!(given(true, false), 0, "held by somebody else");
}

#[test]
fn what_nobody_can_change_about_a_tap_is_refused_with_a_way_out() {
    let of_a_group = TapInfo {
        group: Some(36),
        ..TapInfo::default()
    };
    let held = |info| Link {
        carrier: true,
        ..finished(info)
    };
    let owner = |uid| TapSpec {
        access: Some(TapAccess::Owner(uid)),
        ..spec()
    };
    let group = |gid| TapSpec {
        access: Some(TapAccess::Group(gid)),
        ..spec()
    };
    let queues = TapSpec {
        multi_queue: true,
        ..spec()
    };
    for (spec, link) in [
        (queues, finished(owned())),
        (group(36), finished(owned())),
        (owner(1000), finished(of_a_group)),
        (owner(1001), held(owned())),
        (group(37), held(of_a_group)),
    ] {
        let state = state_of(TapState {
            master: br(2),
            ..tap_state(link)
        });
        let asked = TapOptions {
            access: Some(TapAccess::Owner(NameOrId::Id(1000))),
            ..TapOptions::default()
        };
        let error = up_as_asked(spec, &asked, state).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Tap, "{error}");
        let hint = if matches!(error, Error::TapBusy { .. }) {
            "qemu-ifup --check -v tap0"
        } else {
            "qemu-ifdown --delete tap0"
        };
        let hints = error.hints();
        let last = hints.last().unwrap().for_reader(Reader(Some(0)));
        assert!(last.ends_with(hint), "{error}: {last}");
    }
}

#[test]
fn an_owner_that_only_the_configuration_names_is_an_error_if_another_program_has_the_tap_open() {
    let of = |owner, multi_queue, queues| {
        let info = TapInfo {
            owner,
            multi_queue,
            queues,
            ..TapInfo::default()
        };
        let link = Link {
            carrier: true,
            ..finished(info)
        };
        state_of(TapState {
            master: br(2),
            ..tap_state(link)
        })
    };
    let bound = || TapSpec {
        access: Some(TapAccess::Owner(1001)),
        bound_access: Some(TapAccess::Owner(1001)),
        ..spec()
    };
    for state in [
        of(Some(1000), false, None),
        of(None, false, None),
        of(Some(1000), true, Some(2)),
    ] {
        let error = up(bound(), state).unwrap_err();
        assert!(matches!(error, Error::TapBusy { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Tap);
    }
    // Right already, so it is not set again; and a tap that everybody can join is one to warn of.
    assert_eq!(
        up(bound(), of(Some(1001), false, None)).unwrap().steps(),
        []
    );
    let open = up(spec(), of(None, true, Some(2)))
        .unwrap()
        .notice()
        .unwrap();
    assert!(open == Notice::OpenToAll && open.is_security());
}

#[test]
fn nothing_but_a_tap_is_ever_touched() {
    for kind in [
        LinkKind::Tun,
        LinkKind::Bridge(filtering()),
        LinkKind::Unset,
        LinkKind::Other("veth".to_owned()),
    ] {
        let link = Link {
            kind: kind.clone(),
            ..finished(owned())
        };
        let error = up(spec(), state(Some(link.clone()))).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Tap, "{kind:?}");
        let error = Policy::new(&root(), None, false)
            .authorize_down(name("tap0"), true, state(Some(link)))
            .unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Tap, "{kind:?}");
    }
}

#[test]
fn only_a_bridge_is_a_bridge() {
    let error = up(
        spec(),
        CurrentState {
            bridge: None,
            ..state(None)
        },
    );
    let missing = Error::NoSuchBridge {
        name: name("br0"),
        existing: Vec::new(),
    };
    assert_eq!(error, Err(missing));
    for kind in [
        LinkKind::Unset,
        LinkKind::Tun,
        LinkKind::Other("bond".to_owned()),
    ] {
        let mut state = state(None);
        state.bridge = Some(Link { kind, ..bridge() });
        let error = up(spec(), state).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Bridge, "{error}");
    }
}

fn to_create(addresses: &[&str]) -> TapSpec {
    let addresses = addresses.iter().map(|text| IpPrefix::parse(text).unwrap());
    TapSpec {
        create_bridge: Some(addresses.collect()),
        ..spec()
    }
}

#[test]
fn a_bridge_is_created_only_where_there_is_none_and_is_deleted_if_the_tap_fails() {
    let none = || CurrentState {
        bridge: None,
        ..state(None)
    };
    let make = "ip link add name br0 address 02:06:07:08:09:0a type bridge stp_state 0 forward_delay 0\n\
         ip address add 192.168.10.1/24 dev br0\n\
         ip address add fd00::1/64 dev br0\n\
         ip link set dev br0 up";
    let there = Link {
        mtu: 9000,
        ..finished(owned())
    };
    let there = CurrentState {
        tap: Some(tap_state(Link {
            master: None,
            up: false,
            ..there
        })),
        ..none()
    };
    // As late as it can for a tap that is created, since a kill after that leaves it behind; and before anything is done to a
    // tap that a guest may use.
    for (state, position) in [(none(), 1), (there, 0)] {
        let plan = up(to_create(&["192.168.10.1/24", "fd00::1/64"]), state).unwrap();
        let commands = commands(&plan);
        assert_eq!(commands[position], make);
        assert!(commands[position + 1].ends_with(" master br0"));
        assert_eq!(undos(&plan)[position], "ip link delete dev br0");
    }

    let plan = up(to_create(&["192.168.10.1/24"]), state(None)).unwrap();
    assert!(
        !plan
            .steps()
            .iter()
            .any(|planned| matches!(planned.step, Step::CreateBridge(_))),
        "a bridge that exists is never changed"
    );
}
