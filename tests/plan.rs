//! CurrentState and a spec in, an exact plan out; and what happens to the plan when a step of it fails.
#![allow(unsafe_code, reason = "the tests make system calls of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "tests stop at the first surprise"
)]

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use proptest::prelude::*;
use qemu_ifup::apply::failure::StepError;
use qemu_ifup::apply::{Executor, apply};
use qemu_ifup::config::options::TapOptions;
use qemu_ifup::error::Error;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::model::addr::{IpPrefix, MacAddr};
use qemu_ifup::model::bridge::{BridgeInfo, BridgePortInfo, PortState};
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::model::link::{AddrGenMode, Link, LinkKind, LinkRef, TapInfo};
use qemu_ifup::model::spec::{TapAccess, TapSpec, VlanSpec};
use qemu_ifup::model::state::{CurrentState, NewIds};
use qemu_ifup::model::vlan::PortVlan;
use qemu_ifup::plan::Plan;
use qemu_ifup::plan::step::Step;
use qemu_ifup::policy::caller::Caller;
use qemu_ifup::policy::rules::Policy;
use qemu_ifup::sys::privilege::Credentials;

fn name(text: &str) -> IfName {
    IfName::new(text.as_bytes()).unwrap()
}

/// Root, on behalf of user 1000.
fn root() -> Caller {
    let environment = |variable: &str| (variable == "SUDO_UID").then(|| "1000".into());
    let credentials = Credentials {
        uid: Uid::from_raw(0),
        gid: Gid::from_raw(0),
        net_admin: true,
    };
    Caller::from_parts(credentials, Vec::new(), environment, |_| Ok(Vec::new()))
}

fn spec() -> TapSpec {
    TapSpec {
        tap: name("tap0"),
        bridge: name("br0"),
        access: None,
        multi_queue: false,
        mtu: None,
        create_bridge: None,
        isolated: false,
        vlans: None,
        wait: None,
        max_taps: None,
        name_configured: false,
    }
}

fn filtering() -> BridgeInfo {
    BridgeInfo {
        vlan_filtering: true,
        default_pvid: Some(1),
        ..BridgeInfo::default()
    }
}

fn bridge() -> Link {
    Link {
        index: 2,
        name: name("br0"),
        kind: LinkKind::Bridge(filtering()),
        mtu: 9000,
        address: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        up: true,
        carrier: true,
        master: None,
        addr_gen_mode: Some(AddrGenMode::Eui64),
        port: None,
    }
}

/// A tap as QEMU has just made it: down, in no bridge, with an address of the kernel's choosing.
fn tap(info: TapInfo) -> Link {
    Link {
        index: 7,
        name: name("tap0"),
        kind: LinkKind::Tap(info),
        mtu: 1500,
        address: Some(MacAddr([0x5a, 1, 2, 3, 4, 5])),
        up: false,
        carrier: true,
        master: None,
        addr_gen_mode: Some(AddrGenMode::Eui64),
        port: None,
    }
}

fn state(tap: Option<Link>) -> CurrentState {
    CurrentState {
        tap,
        master: None,
        bridge: Some(bridge()),
        bridges: Vec::new(),
        has_fd: false,
        vlans: Vec::new(),
        ipv6: true,
        ids: NewIds {
            tap: [1, 2, 3, 4, 5],
            bridge: [6, 7, 8, 9, 10],
            index: 70_000,
        },
    }
}

/// A tap with everything as it should be.
fn finished(info: TapInfo) -> Link {
    Link {
        mtu: 9000,
        address: Some(MacAddr([0xfe, 1, 2, 3, 4, 5])),
        up: true,
        carrier: false,
        master: Some(2),
        addr_gen_mode: Some(AddrGenMode::None),
        ..tap(info)
    }
}

fn owned() -> TapInfo {
    TapInfo {
        owner: Some(1000),
        persistent: true,
        ..TapInfo::default()
    }
}

fn br(index: u32) -> Option<LinkRef> {
    let name = name(if index == 2 { "br0" } else { "br1" });
    Some(LinkRef { index, name })
}

fn up(spec: TapSpec, state: CurrentState) -> Result<Plan, Error> {
    let auth =
        Policy::new(&root(), None, false).authorize_up(spec, &TapOptions::default(), state)?;
    Ok(Plan::up(&auth))
}

fn commands(plan: &Plan) -> Vec<String> {
    let steps = plan.steps().iter();
    steps.map(|p| p.step.ip_command(plan.tap())).collect()
}

/// What undoes each step, the commands one after the other.
fn undos(plan: &Plan) -> Vec<String> {
    let steps = plan.steps().iter();
    steps
        .map(|planned| {
            let commands = planned.undo.iter().map(|step| step.ip_command(plan.tap()));
            commands.collect::<Vec<_>>().join("; ")
        })
        .collect()
}

const PERSIST: &str = "# tap0 stays from here on (TUNSETPERSIST); ip tuntap add did that at once";
const SET_ACCESS: &str = "# tap0 is given to uid 1000 through QEMU's own descriptor; ip(8) cannot do that to a tap that exists";

#[test]
fn a_tap_that_is_not_there_is_made_configured_joined_and_only_then_kept() {
    let plan = up(spec(), state(None)).unwrap();
    assert_eq!(
        commands(&plan),
        [
            "ip tuntap add dev tap0 mode tap user 1000",
            "ip link set dev tap0 address fe:01:02:03:04:05 mtu 9000 addrgenmode none master br0",
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
fn options_reach_the_tap_that_is_made() {
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
    let held = CurrentState {
        has_fd: true,
        ..state(Some(tap(TapInfo::default())))
    };
    let plan = up(spec(), held).unwrap();
    assert_eq!(
        commands(&plan),
        [
            SET_ACCESS,
            "ip link set dev tap0 address fe:01:02:03:04:05 mtu 9000 addrgenmode none master br0",
            "ip link set dev tap0 up",
        ]
    );
    assert_eq!(
        undos(&plan),
        [
            "",
            "ip link set dev tap0 address 5a:01:02:03:04:05 mtu 1500 addrgenmode eui64 nomaster",
            "ip link set dev tap0 down",
        ]
    );
    // A tap that outlasts a failure is given away as late as that allows.
    let persistent = TapInfo {
        persistent: true,
        ..TapInfo::default()
    };
    let held = CurrentState {
        has_fd: true,
        ..state(Some(tap(persistent)))
    };
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
        let state = CurrentState {
            master,
            ..state(Some(link))
        };
        let plan = up(spec(), state).unwrap();
        let wanted: Vec<String> = wanted.iter().map(|w| format!("{set} {w}")).collect();
        assert_eq!(commands(&plan), wanted, "{what}");
    }
}

#[test]
fn a_move_and_an_idle_second_run_are_told() {
    let idle = CurrentState {
        master: br(2),
        ..state(Some(finished(owned())))
    };
    let notice = up(spec(), idle).unwrap().notice().unwrap().to_string();
    assert_eq!(notice, "already up on br0, nothing to do");

    let elsewhere = Link {
        master: Some(3),
        ..finished(owned())
    };
    let elsewhere = CurrentState {
        master: br(3),
        ..state(Some(elsewhere))
    };
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
        let state = CurrentState {
            master: br(2),
            has_fd,
            ..state(Some(link))
        };
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
        let state = CurrentState {
            master: br(2),
            ..state(Some(link))
        };
        let error = up(spec, state).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Tap, "{error}");
        let hint = if matches!(error, Error::TapBusy { .. }) {
            "qemu-ifup --check tap0"
        } else {
            "qemu-ifdown --delete tap0"
        };
        assert!(error.hint().unwrap().ends_with(hint), "{error}");
    }
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

fn down(link: Option<Link>, delete: bool) -> Plan {
    let master = link.as_ref().and_then(|link| link.master).and_then(br);
    let state = CurrentState {
        master,
        bridge: None,
        ..state(link)
    };
    let auth = Policy::new(&root(), None, false)
        .authorize_down(name("tap0"), delete, state)
        .unwrap();
    Plan::down(&auth)
}

#[test]
fn a_tap_goes_down_or_is_removed_in_one_message() {
    let done = finished(owned());
    let plan = down(Some(done.clone()), false);
    assert_eq!(commands(&plan), ["ip link set dev tap0 nomaster down"]);
    assert_eq!(
        undos(&plan),
        ["ip link set dev tap0 master br0; ip link set dev tap0 up"]
    );
    // What is removed needs nothing else first, and so there is nothing between two steps.
    assert_eq!(
        commands(&down(Some(done), true)),
        ["ip link delete dev tap0"]
    );
}

#[test]
fn what_is_down_or_gone_already_is_told() {
    let idle = Link {
        up: false,
        master: None,
        ..finished(owned())
    };
    let told = |plan: Plan| plan.notice().map(|n| n.to_string()).unwrap_or_default();
    assert!(told(down(None, false)).contains("does not exist"));
    assert!(told(down(Some(idle.clone()), false)).contains("already down"));
    assert_eq!(told(down(Some(idle), true)), "");
    let held = finished(TapInfo::default());
    let plan = down(Some(held), true);
    assert!(!plan.steps().iter().any(|p| p.step == Step::DeleteTap));
    assert!(told(plan).contains("not persistent"));
}

/// A system that fails the steps it is told to, and remembers what it was asked.
struct Model {
    failing: Vec<usize>,
    asked: Vec<Step>,
}

impl Executor for Model {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        let position = self.asked.len();
        self.asked.push(step.clone());
        if self.failing.contains(&position) {
            Err(Errno::EIO.into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn whichever_step_fails_all_that_was_tried_is_undone_in_reverse() {
    let held = CurrentState {
        has_fd: true,
        ..state(Some(tap(TapInfo::default())))
    };
    for plan in [
        up(spec(), state(None)).unwrap(),
        up(spec(), held).unwrap(),
        down(Some(finished(owned())), true),
    ] {
        for failing in 0..plan.steps().len() {
            let mut model = Model {
                failing: vec![failing],
                asked: Vec::new(),
            };
            let mut done = 0;
            let error = apply(&mut model, &plan, |_| done += 1).unwrap_err();
            assert_eq!(done, failing);
            let (tried, _) = plan.steps().split_at(failing + 1);
            let expected: Vec<Step> = tried
                .iter()
                .map(|planned| planned.step.clone())
                .chain(tried.iter().rev().flat_map(|p| p.undo.clone()))
                .collect();
            assert_eq!(model.asked, expected);
            let failed = plan.steps()[failing].step.description();
            let text = error.to_string();
            assert!(text.contains(&failed), "{text}");
            let remains = tried.iter().rev().skip(1).any(|p| p.remains.is_some());
            assert_eq!(text.contains("not undone"), remains, "{text}");
        }
    }
}

#[test]
fn what_could_not_be_undone_is_said() {
    let held = CurrentState {
        has_fd: true,
        ..state(Some(tap(TapInfo::default())))
    };
    let plan = up(spec(), held).unwrap();
    let mut model = Model {
        failing: vec![1, 2],
        asked: Vec::new(),
    };
    let error = apply(&mut model, &plan, |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot attach to br0: I/O error; not undone: detach from its bridge (I/O error); \
         not undone: whom it was given to stays so"
    );
    assert_eq!(model.asked.len(), 3);
    assert_eq!(error.exit_code(), ExitCode::Kernel);
}

fn to_create(addresses: &[&str]) -> TapSpec {
    let addresses = addresses.iter().map(|text| IpPrefix::parse(text).unwrap());
    TapSpec {
        create_bridge: Some(addresses.collect()),
        ..spec()
    }
}

#[test]
fn a_bridge_is_made_only_where_there_is_none_and_is_removed_if_the_tap_fails() {
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
        tap: Some(Link {
            master: None,
            up: false,
            ..there
        }),
        ..none()
    };
    // As late as it can for a tap that is made, since a kill after that leaves it behind; and before anything is done to a
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

#[test]
fn addresses_are_read_whole_or_not_at_all() {
    for good in [
        "192.168.10.1/24",
        "10.0.0.1/0",
        "10.0.0.1/32",
        "fd00::1/64",
        "::1/128",
    ] {
        assert_eq!(IpPrefix::parse(good).unwrap().to_string(), good);
    }
    for bad in [
        "",
        "/",
        "192.168.10.1",
        "192.168.10.1/",
        "192.168.10.1/33",
        "192.168.10/24",
        "fd00::1/129",
        "fd00::1/-1",
        "10.0.0.1/+8",
        "10.0.0.1/8/8",
        "0.0.0.0/8",
        "224.0.0.1/4",
        "ff02::1/64",
        "host/24",
    ] {
        assert_eq!(IpPrefix::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_port_is_limited_before_it_goes_up() {
    let limited = TapSpec {
        isolated: true,
        vlans: Some(VlanSpec {
            pvid: Some(10),
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
             bridge vlan add dev tap0 vid 10 pvid untagged\n\
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
            isolated: Some(isolated),
        }),
        ..finished(owned())
    };
    let having = |link, vlans: &[PortVlan]| CurrentState {
        master: br(2),
        vlans: vlans.to_vec(),
        ..state(Some(link))
    };
    let all: Vec<PortVlan> = [PortVlan::untagged(10)]
        .into_iter()
        .chain([20, 21, 22, 30].map(PortVlan::tagged))
        .collect();
    let plan = up(limited.clone(), having(port(true), &all)).unwrap();
    assert_eq!(commands(&plan), Vec::<String>::new());
    let plan = up(limited, having(port(false), &[PortVlan::untagged(10)])).unwrap();
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
    let held = CurrentState {
        has_fd: true,
        ..state(Some(tap(owned())))
    };
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

/// A tap as it may be found: made by QEMU, prepared, moved, left over, of any MTU.
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
