//! A tap that exists: for a user it is as they want it, or it is refused; nothing about it is changed.

use crate::common::interfaces::{info, port};
use crate::common::json::is_up;
use crate::common::users::{ALICE, BOB, open_tap_as};
use crate::common::{Run, eventually, needs, run};
use crate::unprivileged::{CREATED_FOR, Host, STAFF, assert_done, assert_says, both_ways};
use std::fs;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

/// What root says of a tap in /etc/qemu-ifup.conf, what Alice asks for besides, what root does to it once it is there, and
/// a word for what is then not as wanted.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
);

const MAC: &str = "52:54:00:00:00:07";

/// Each begins with what is as wanted until root changes one thing. `$T` is the tap.
#[rustfmt::skip]
const ROWS: [Row; 25] = [
    ("", &[], "ip link set $T down", "down"),
    ("", &[], "ip link set $T nomaster", "bridge"),
    ("", &[], "ip link set $T down; ip link set $T nomaster", ""),
    ("", &["-b", "br0"], "ip link set $T master br1", "br1"),
    ("--bridge br1", &[], "ip link set $T master br0", "br0"),
    ("--bridge br1", &["-b", "br1"], "ip link set $T master br8", "br8"),
    ("--mtu 1400", &[], "ip link set $T mtu 1300", "mtu"),
    ("", &["--mtu", "1500"], "ip link set $T mtu 1300", "mtu"),
    ("--isolated", &[], "bridge link set dev $T isolated off", "isolated"),
    ("", &["--isolated"], "bridge link set dev $T isolated off", "isolated"),
    ("--no-isolated", &[], "bridge link set dev $T isolated on", "isolated"),
    ("--guard", &[], "bridge link set dev $T guard off", "guard"),
    ("--root-block", &[], "bridge link set dev $T root_block off", "root-block"),
    ("--no-learning", &[], "bridge link set dev $T learning on", "learning"),
    ("--no-flood", &[], "bridge link set dev $T flood on", "flood"),
    ("--no-mcast-flood", &[], "bridge link set dev $T mcast_flood on", "mcast-flood"),
    ("--neigh-suppress", &[], "bridge link set dev $T neigh_suppress off", "neigh-suppress"),
    ("--lock-mac 52:54:00:00:00:08", &[], "bridge fdb del 52:54:00:00:00:08 dev $T master static", "52:54:00:00:00:08"),
    ("--lock-mac 52:54:00:00:00:09", &[], "bridge link set dev $T locked off", "lock"),
    ("--lock-mac 52:54:00:00:00:0a", &[], "bridge link set dev $T learning on", "learning"),
    ("--lock-mac 52:54:00:00:00:0b", &[], "bridge link set dev $T flood on", "flood"),
    ("--multi-queue", &[], "ip link del $T; ip tuntap add $T mode tap user 54321; ip link set $T master br0 up", "queue"),
    ("--owner 54321", &[], "ip link set $T nomaster", "bridge"),
    ("--group 54330", &[], "ip link del $T; ip tuntap add $T mode tap user 54321; ip link set $T master br0 up", "54330"),
    ("--mtu 1400 --guard --isolated --no-flood --multi-queue", &[], "bridge link set dev $T guard off", "guard"),
];

fn name(row: usize) -> String {
    format!("tap{row}")
}

/// A line for each of the taps. A bridge whose MTU was changed keeps it, whatever its ports have.
fn configure(host: &Host) {
    host.sandbox
        .sh("for b in br0 br1 br8 br9; do ip link set $b mtu 1501; ip link set $b mtu 1500; done");
    let lines = ROWS.iter().enumerate().map(|(n, (line, ..))| {
        if line.is_empty() {
            format!("# {n}\n")
        } else {
            format!("{} {line}\n", name(n))
        }
    });
    // One more, with all that a tap can have.
    let all = format!("tapall --mtu 1400 --isolated --guard --lock-mac {MAC} --multi-queue\n");
    host.sandbox
        .etc("qemu-ifup.conf", &(lines.collect::<String>() + &all));
}

/// Alice's calls for all the taps at once, in the order of the rows: one that is refused may look again for a second.
fn all_at_once(host: &Host) -> Vec<Run> {
    let calls = ROWS.iter().enumerate().map(|(n, (_, args, ..))| {
        let name = name(n);
        host.call("qemu-ifup", &[*args, &[&*name]].concat())
    });
    let calls: Vec<Command> = calls.collect();
    thread::scope(|scope| {
        let one = |mut call: Command| scope.spawn(move || run(&mut call));
        let all: Vec<_> = calls.into_iter().map(one).collect();
        all.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

/// Everything that there is to see of the interfaces.
fn everything(host: &Host) -> serde_json::Value {
    let mut all = host.sandbox.snapshot();
    all["vlans"] = host.sandbox.bridge(&["vlan", "show"]);
    all
}

fn assert_same(host: &Host, before: &serde_json::Value, what: &str) {
    let changes = crate::common::json::changes(before, &everything(host));
    assert!(changes.is_empty(), "{what}:\n{}", changes.join("\n"));
}

#[test]
fn a_tap_that_is_as_its_user_wants_it_stays_as_it_is() {
    both_ways(|host| {
        configure(host);
        for creator in ["the user", "root"] {
            if creator == "root" {
                let owner = ALICE.to_string();
                for (n, (line, args, ..)) in ROWS.iter().enumerate() {
                    let name = name(n);
                    let owner: &[&str] = if line.contains("--group") {
                        &[]
                    } else {
                        &["--owner", &owner]
                    };
                    assert_done(&host.roots("qemu-ifup", &[args, owner, &[&*name]].concat()));
                }
            } else {
                for made in all_at_once(host) {
                    assert_done(&made);
                }
            }
            let before = everything(host);
            for (n, again) in all_at_once(host).iter().enumerate() {
                let what = format!("by {creator}: {:?}", ROWS[n]);
                assert_eq!(again.code, 0, "{what}: {again:?}");
            }
            assert_same(host, &before, "the second run");
            for n in 0..ROWS.len() {
                host.delete(&name(n));
            }
        }
    });
}

#[test]
fn a_tap_that_is_not_as_its_user_wants_it_is_refused_with_what_is_not_and_the_way() {
    both_ways(|host| {
        configure(host);
        for made in all_at_once(host) {
            assert_done(&made);
        }
        for (n, (.., change, _)) in ROWS.iter().enumerate() {
            host.sandbox.sh(&format!("T={}; {change}", name(n)));
            host.sandbox.tap_may_be_up_alone(&name(n));
        }
        let before = everything(host);
        let mut wrong = Vec::new();
        for (n, refused) in all_at_once(host).iter().enumerate() {
            let (line, args, change, word) = ROWS[n];
            let first = refused
                .stderr
                .lines()
                .next()
                .unwrap_or_default()
                .to_lowercase()
                .replace('_', "-");
            let way = format!("qemu-ifdown --delete {} && qemu-ifup", name(n));
            if refused.code != 5 || !first.contains(word) || !refused.stderr.contains(&way) {
                wrong.push(format!("{line} {args:?}; {change}: {word}? {refused:?}"));
            }
        }
        let changes = crate::common::json::changes(&before, &everything(host));
        wrong.extend(changes);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));

        // The way that the message names.
        for (n, (_, args, ..)) in ROWS.iter().enumerate() {
            let name = name(n);
            assert_done(&host.ifdown(&["--delete", &name]));
            assert_done(&host.ifup(&[*args, &[&*name]].concat()));
        }
    });
}

/// Not even a request that changes nothing is made: it needs no privilege, and the tap may be another's a moment later.
#[test]
fn a_run_for_a_tap_that_exists_only_asks() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        let s = &host.sandbox;
        configure(host);
        assert_done(&host.ifup(&["tapall"]));
        for (change, code) in [(":", 0), ("ip link set tapall mtu 1300", 5)] {
            s.sh(change);
            let log = s.dir().join("asks");
            let call = host.call("qemu-ifup", &["tapall"]);
            let mut strace = crate::common::command("strace");
            strace.args(["-f", "-s", "4096", "-o"]).arg(&log);
            strace.arg(call.get_program()).args(call.get_args());
            let run = run(&mut strace);
            assert_eq!(run.code, code, "{run:?}");
            let calls = fs::read_to_string(&log).unwrap();
            assert!(calls.contains("RTM_GETLINK"), "{calls}");
            for word in [
                "RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST",
                "RTM_SETLINK",
                "RTM_DELLINK",
                "RTM_NEWNEIGH, nlmsg_flags=NLM_F_REQUEST",
                "RTM_DELNEIGH",
                "RTM_NEWQDISC, nlmsg_flags=NLM_F_REQUEST",
                "TUNSET",
            ] {
                let asked = calls.lines().find(|line| line.contains(word));
                assert_eq!(asked, None, "{code}");
            }
        }
    });
}

/// What QEMU and the tools around it change by themselves is no difference.
#[test]
fn a_tap_that_its_users_guest_has_open_is_as_wanted() {
    both_ways(|host| {
        let s = &host.sandbox;
        s.etc("qemu-ifup.conf", "tap1 --multi-queue\n");
        let flags = [libc::IFF_VNET_HDR, libc::IFF_MULTI_QUEUE];
        // A tap that is closed loses its carrier a moment later.
        let mut held = Vec::new();
        for (tap, flags) in ["tap0", "tap1"].into_iter().zip(flags) {
            assert_done(&host.ifup(&[tap]));
            held.push(open_tap_as(ALICE, tap, flags).unwrap());
            s.sh(&format!(
                "ip link set {tap} address 52:54:00:01:02:03; ip link set {tap} txqueuelen 77 addrgenmode none
                 tc qdisc replace dev {tap} root pfifo 2>/dev/null || :"
            ));
            let forwards = || (port(s, tap)["state"] == "forwarding").then_some(());
            eventually(forwards).expect("no carrier");
            let before = everything(host);
            assert_done(&host.ifup(&[tap]));
            assert_same(host, &before, tap);
        }
    });
}

/// Where nobody names a bridge, any is as wanted: also one that users may not attach to.
#[test]
fn a_tap_that_root_has_put_into_a_bridge_of_its_own_choice_is_as_wanted() {
    both_ways(|host| {
        let s = &host.sandbox;
        for bridge in ["br1", "br8", "br9"] {
            s.sh(&format!(
                "ip tuntap add tap0 mode tap user {ALICE}; ip link set tap0 master {bridge} up"
            ));
            let before = everything(host);
            assert_done(&host.ifup(&["tap0"]));
            let other = host.ifup(&["-b", "br0", "tap0"]);
            assert_says(&other, 5, bridge, "another bridge is asked for");
            assert_same(host, &before, bridge);
            host.delete("tap0");
        }
    });
}

#[test]
fn a_tap_that_is_not_the_callers_is_refused_whatever_it_is_like() {
    let (bob, of_bob) = (BOB, format!("{CREATED_FOR}{BOB}"));
    // How it is made; all are up on br0, so that nothing but whose it is can be wrong.
    let theirs = [
        format!("user {bob}"),
        "user 0".to_owned(),
        String::new(),
        "multi_queue".to_owned(),
        "group 54331".to_owned(),
        format!("user {ALICE} group 54331"),
        format!("user {bob} group {STAFF}"),
    ];
    both_ways(|host| {
        let s = &host.sandbox;
        let check = |make: &str| {
            s.sh(make);
            let before = everything(host);
            let refused = host.ifup(&["tap0"]);
            assert_eq!(refused.code, 3, "{make}: {refused:?}");
            assert!(
                !refused.stderr.contains("&& qemu-ifup"),
                "{make}: {refused:?}"
            );
            assert_same(host, &before, make);
        };
        let up = "ip link set tap0 master br0 up";
        for whose in &theirs {
            check(&format!("ip tuntap add tap0 mode tap {whose}; {up}"));
            host.delete("tap0");
        }
        // Given to Alice by one who had it open, who may be in it still.
        let given = format!(
            "ip tuntap add tap0 mode tap user {ALICE}; ip link set tap0 alias '{of_bob}'; {up}"
        );
        check(&given);
        s.etc("qemu-ifup.conf", "* --isolated\n");
        check(":");
        // Where root's configuration gives it to her, it is hers.
        for line in [
            format!("tap0 --owner {ALICE}"),
            format!("tap? --owner {ALICE}"),
        ] {
            s.etc("qemu-ifup.conf", &format!("{line}\n"));
            let before = everything(host);
            assert_done(&host.ifup(&["tap0"]));
            assert_same(host, &before, &line);
        }
        s.etc("qemu-ifup.conf", &format!("tap0 --owner {BOB}\n"));
        check(":");
    });
}

#[test]
fn a_group_that_a_user_is_in_is_as_good_as_an_owner() {
    both_ways(|host| {
        let s = &host.sandbox;
        for whose in [
            format!("group {STAFF}"),
            format!("group {ALICE}"),
            format!("user {ALICE} group {STAFF}"),
        ] {
            s.sh(&format!(
                "ip tuntap add tap0 mode tap {whose}; ip link set tap0 master br0 up"
            ));
            let before = everything(host);
            assert_done(&host.ifup(&["tap0"]));
            assert_same(host, &before, &whose);
            host.delete("tap0");
        }
    });
}

#[test]
fn a_tap_that_is_missing_is_created_with_all_that_the_configuration_binds() {
    both_ways(|host| {
        let s = &host.sandbox;
        configure(host);
        let before = everything(host);
        assert_done(&host.ifup(&["tapall"]));
        host.assert_up("tapall", "br0");
        let (link, port, info) = (
            s.link("tapall").unwrap(),
            port(s, "tapall"),
            info(s, "tapall"),
        );
        assert_eq!(link["mtu"], 1400);
        assert_eq!(link["ifalias"], format!("{CREATED_FOR}{ALICE}"));
        assert_eq!([&info["persist"], &info["multi_queue"]], [true, true]);
        for (option, on) in [
            ("isolated", true),
            ("guard", true),
            ("locked", true),
            ("learning", false),
            ("flood", false),
        ] {
            assert_eq!(port[option], on, "{option}: {port:#}");
        }
        let entry = s
            .static_fdb()
            .into_iter()
            .find(|entry| entry["ifname"] == "tapall");
        assert_eq!(entry.unwrap()["mac"], MAC);
        host.delete("tapall");
        assert_same(host, &before, "deleted");
    });
}

#[test]
fn two_runs_at_once_for_one_new_tap_both_end_well_and_it_is_whole() {
    const PAIRS: usize = 200;
    both_ways(|host| {
        let s = &host.sandbox;
        s.etc(
            "qemu-ifup.conf",
            "* --isolated --guard --no-flood --mtu 1400\n",
        );
        let mut wrong = Vec::new();
        for round in 0..PAIRS {
            let start = Barrier::new(2);
            let one = || {
                let mut call = host.call("qemu-ifup", &["tap0"]);
                start.wait();
                run(&mut call)
            };
            let [first, second] = thread::scope(|scope| {
                [scope.spawn(one), scope.spawn(one)].map(|run| run.join().unwrap())
            });
            let link = s.link("tap0");
            let whole = link.as_ref().is_some_and(|link| {
                let (port, info) = (
                    &link["linkinfo"]["info_slave_data"],
                    &link["linkinfo"]["info_data"],
                );
                is_up(link)
                    && link["master"] == "br0"
                    && link["mtu"] == 1400
                    && info["persist"] == true
                    && info["user"] == "alice"
                    && port["isolated"] == true
                    && port["guard"] == true
                    && port["flood"] == false
            });
            if [first.code, second.code] != [0, 0] || !whole {
                wrong.push(format!(
                    "{round}: {first:?} {second:?}, {}",
                    if whole { "whole" } else { "not whole" }
                ));
            }
            s.try_sh("ip link del tap0");
        }
        let some = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            wrong.is_empty(),
            "{} of {PAIRS} pairs:\n{some}",
            wrong.len()
        );
    });
}

#[test]
fn to_delete_a_tap_is_no_way_out_if_the_user_may_not_create_it_again() {
    both_ways(|host| {
        let own = ALICE.to_string();
        for (tap, bridge, rules) in [
            ("tap5", "br0", "deny all\n"),
            ("web5", "br0", "allow br0\n"),
            ("tap5", "br1", "allow br0\n"),
        ] {
            host.sandbox.etc("qemu/bridge.conf", rules);
            let made = host
                .sandbox
                .ifup(&["--bridge", bridge, "--owner", &own, tap]);
            assert_eq!(made.code, 0, "{made:?}");
            let refused = host.ifup(&["--bridge", bridge, "--isolated", tap]);
            assert_eq!(refused.code, 5, "{refused:?}");
            assert!(!refused.stderr.contains("--delete"), "{refused:?}");
            assert!(refused.stderr.contains("sudo qemu-ifup"), "{refused:?}");
            host.sandbox.sh(&format!("ip link del {tap}"));
        }
    });
}
