//! What is allowed, and what is not.

use crate::common::users::{ALICE, BOB};
use crate::common::{run, skip, test_name};
use crate::unprivileged::{Host, STAFF, Way, assert_done, assert_says, both_ways, run_with_stdin};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

#[test]
fn a_user_creates_a_tap_and_deletes_it() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();

        let shown = host.ifup(&["-n", "tap0"]);
        assert_done(&shown);
        assert!(shown.stdout.contains(&format!("user {ALICE}")), "{shown:?}");
        host.sandbox.assert_unchanged(&before);

        for bridge in ["br0", "br1"] {
            let args = ["-b", bridge, "tap0"];
            assert_done(&host.ifup(&args));
            host.assert_up("tap0", bridge);
            let up = host.sandbox.snapshot();
            assert_done(&host.ifup(&args));
            assert_done(&host.ifdown(&["tap0"]));
            host.sandbox.assert_unchanged(&up);
            assert_done(&host.ifdown(&["--delete", "tap0"]));
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn options_that_concern_nobody_else_are_anybodys() {
    let alice = ALICE.to_string();
    let cases: [(&[&str], &str); 6] = [
        (&["--owner", &alice], "br0"),
        (&["--owner", "alice"], "br0"),
        (&["--mtu", "1500"], "br0"),
        (&["-b", "br1"], "br1"),
        (&["--br=br1"], "br1"),
        (&["-v"], "br0"),
    ];
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for (options, bridge) in cases {
            assert_done(&host.ifup(&[options, &["tap0"]].concat()));
            host.assert_up("tap0", bridge);
            let tap = host.sandbox.link("tap0").unwrap();
            assert_eq!(tap["mtu"], 1500, "{options:?}");
            host.delete("tap0");
        }
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn a_tap_that_root_has_put_nowhere_is_a_users_to_delete_and_not_to_attach() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for whose in [
            format!("user {ALICE}"),
            format!("group {STAFF}"),
            format!("group {ALICE}"),
            format!("user {ALICE} group {STAFF}"),
        ] {
            host.sandbox
                .sh(&format!("ip tuntap add tap0 mode tap {whose}"));
            host.assert_refused("qemu-ifup", &["tap0"], 5, "bridge");
            let there = host.sandbox.snapshot();
            assert_done(&host.ifdown(&["tap0"]));
            host.sandbox.assert_unchanged(&there);
            assert_done(&host.ifdown(&["--delete", "tap0"]));
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn a_privilege_by_ambient_capability_is_bound_by_the_same_rules() {
    let Some(host) = Host::new(Way::NotAtAll) else {
        return;
    };
    let ambient = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"];
    let refused = run(&mut host.call_with(&ambient, "qemu-ifup", &["-b", "br9", "tap0"]));
    assert_says(&refused, 3, "denied by", "br9");
    assert_done(&run(&mut host.call_with(&ambient, "qemu-ifup", &["tap0"])));
    host.assert_up("tap0", "br0");
}

/// Interfaces that Alice may not touch, how they are created, and what the programs say.
#[rustfmt::skip]
const UNTOUCHABLE: [(&str, &str, i32, &str); 10] = [
    ("bobs", "ip tuntap add bobs mode tap user 54322", 3, "another user"),
    ("roots", "ip tuntap add roots mode tap user 0", 3, "another user"),
    ("nobodys", "ip tuntap add nobodys mode tap", 3, "no owner"),
    ("theirs", "ip tuntap add theirs mode tap group 54331", 3, "its group is one"),
    ("half", "ip tuntap add half mode tap user 54321 group 54331", 3, "its group is one"),
    ("halfbobs", "ip tuntap add halfbobs mode tap user 54322 group 54330", 3, "another user"),
    ("tun0", "ip tuntap add tun0 mode tun user 54321", 5, "a tun interface"),
    ("veth0", "ip link add veth0 type veth peer name veth1", 5, "of kind veth"),
    ("br0", ":", 5, "a bridge"),
    ("lo", ":", 5, "similar interface"),
];

#[test]
fn an_interface_that_is_not_the_callers_own_tap_is_refused() {
    both_ways(|host| {
        for (name, make, code, reason) in UNTOUCHABLE {
            host.sandbox.sh(make);
            for options in [&[][..], &["-b", "br1"], &["-n"], &["--owner", "alice"]] {
                host.assert_refused("qemu-ifup", &[options, &[name]].concat(), code, reason);
            }
            for options in [&[][..], &["--delete"], &["-n", "--delete"]] {
                host.assert_refused("qemu-ifdown", &[options, &[name]].concat(), code, "");
            }
        }
    });
}

#[test]
fn a_macvtap_is_no_tap() {
    both_ways(|host| {
        let made = host.sandbox.try_sh(
            "ip link add veth0 type veth peer name veth1
             ip link add link veth0 name macvtap0 type macvtap",
        );
        if made.code != 0 {
            skip(&test_name(), "this kernel has no macvtap");
            return;
        }
        host.assert_refused("qemu-ifup", &["macvtap0"], 5, "of kind macvtap");
        host.assert_refused(
            "qemu-ifdown",
            &["--delete", "macvtap0"],
            5,
            "of kind macvtap",
        );
    });
}

#[test]
fn what_goes_beyond_the_rules_is_refused_for_a_new_tap() {
    let (bob, staff, own) = (BOB.to_string(), STAFF.to_string(), ALICE.to_string());
    #[rustfmt::skip]
    let cases: [(&[&str], i32, &str); 16] = [
        (&["-b", "br8"], 3, "no line of /etc/qemu/bridge.conf allows br8"),
        (&["-b", "br9"], 3, "denied by /etc/qemu/bridge.conf:3"),
        // Whether a bridge exists is not the first thing to know about one that is not allowed.
        (&["-b", "br6"], 3, "no line of /etc/qemu/bridge.conf allows br6"),
        (&["-b", "br7"], 4, "no such bridge"),
        (&["-b", "lo"], 4, "not a bridge"),
        (&["--owner", &bob], 3, "only root can create taps for other users"),
        (&["--owner", "0"], 3, "only root can create taps for other users"),
        (&["--owner", "root"], 3, "only root can create taps for other users"),
        (&["--group", &staff], 3, "only root can create taps for other users"),
        (&["--group", &own], 3, "only root can create taps for other users"),
        (&["--group", "root"], 3, "only root can create taps for other users"),
        (&["--mtu", "1499"], 3, "it differs from the MTU of the bridge"),
        (&["--mtu", "68"], 3, "it differs from the MTU of the bridge"),
        (&["--mtu", "1501"], 3, "it differs from the MTU of the bridge"),
        (&["--mtu", "9000"], 3, "it differs from the MTU of the bridge"),
        (&["--max-taps", "99"], 3, "only root can use this option"),
    ];
    both_ways(|host| {
        for (options, code, reason) in cases {
            host.assert_refused("qemu-ifup", &[options, &["tap7"]].concat(), code, reason);
            let dry = [&["-n"], options, &["tap7"]].concat();
            host.assert_refused("qemu-ifup", &dry, code, reason);
        }
    });
}

/// What shapes the network is for root to say, on the command line or in the configuration.
#[test]
fn each_of_the_administrators_options_is_refused_to_a_user() {
    both_ways(|host| {
        // Without it --address would mean nothing, whoever asks.
        host.sandbox.etc("qemu-ifup.conf", "* --create-bridge\n");
        for option in [
            "--create-bridge",
            "--address=10.0.0.1/8",
            "--pvid=1",
            "--vlans=2",
            "--multi-queue",
            "--qdisc=default",
            "--max-taps=9",
            "--max-taps=64",
            "--no-create-bridge",
            "--no-multi-queue",
            "--no-isolated",
            "--guard",
            "--no-guard",
            "--root-block",
            "--no-root-block",
            "--no-learning",
            "--learning",
            "--no-flood",
            "--flood",
            "--no-mcast-flood",
            "--mcast-flood",
            "--neigh-suppress",
            "--no-neigh-suppress",
            "--lock-mac=52:54:00:12:34:56",
            "--no-lock-mac",
        ] {
            let (name, _) = option.split_once('=').unwrap_or((option, ""));
            let reason = format!("cannot use {name}: only root can use this option");
            for dry in [&[][..], &["-n"]] {
                let args = [dry, &[option, "tap7"]].concat();
                host.assert_refused("qemu-ifup", &args, 3, &reason);
            }
            let hint = host.ifup(&[option, "tap7"]).stderr;
            assert!(hint.contains("/etc/qemu-ifup.conf"), "{hint}");
        }
    });
}

#[test]
fn a_users_new_tap_has_a_name_that_is_not_taken_for_another_interfaces() {
    both_ways(|host| {
        let refuse = |names: &[&str]| {
            for name in names {
                for dry in [&[][..], &["-n"]] {
                    let args = [dry, &["--", name]].concat();
                    host.assert_refused(
                        "qemu-ifup",
                        &args,
                        3,
                        "cannot create the tap: an unprivileged user can create only taps whose names",
                    );
                }
                let run = host.ifup(&["--", name]);
                assert!(run.stderr.contains(": hint: "), "{name}: {run:?}");
                assert!(
                    run.stderr.contains("/etc/qemu-ifup.conf"),
                    "{name}: {run:?}"
                );
            }
        };
        let make = |names: &[&str]| {
            for name in names {
                assert_done(&host.ifup(&[name]));
                host.assert_up(name, "br0");
                host.delete(name);
            }
        };
        let others = [
            "eth1", "docker0", "wg0", "br6", "-h", "lo1", "enp1s0", "Tap0", "ta0", "xtap0", "vne0",
            "web1",
        ];
        refuse(&others);
        make(&["tap7", "vnet3"]);

        // A line for every name knows none; one with a letter in its pattern is about such names.
        for line in ["*", "????", "?*"] {
            host.sandbox
                .etc("qemu-ifup.conf", &format!("{line} --isolated\n"));
            refuse(&others);
        }
        host.sandbox
            .etc("qemu-ifup.conf", "* --isolated\nweb? --isolated\n");
        refuse(&["eth1", "web", "web10", "xweb1"]);
        make(&["web1"]);

        // What root has prepared for her is hers, by whatever name.
        let owner = ALICE.to_string();
        assert_done(&host.roots("qemu-ifup", &["--owner", &owner, "eth1"]));
        assert_done(&host.ifup(&["eth1"]));
    });
}

#[test]
fn a_users_tap_changes_no_bridges_mtu_unless_root_says_so() {
    both_ways(|host| {
        let mtu = |name: &str| host.sandbox.link(name).unwrap()["mtu"].clone();
        for of_bridge in [1500, 9000] {
            host.sandbox.sh(&format!("ip link set br0 mtu {of_bridge}"));
            for other in [1499, 1501, 9001] {
                let args = ["--mtu", &other.to_string(), "tap7"];
                host.assert_refused(
                    "qemu-ifup",
                    &args,
                    3,
                    "it differs from the MTU of the bridge",
                );
            }
            for options in [&[][..], &["--mtu", &of_bridge.to_string()]] {
                assert_done(&host.ifup(&[options, &["tap7"]].concat()));
                assert_eq!(
                    (mtu("tap7"), mtu("br0")),
                    (of_bridge.into(), of_bridge.into())
                );
                host.delete("tap7");
            }
        }
        host.sandbox.etc("qemu-ifup.conf", "tap7 --mtu 1400\n");
        assert_done(&host.ifup(&["tap7"]));
        assert_eq!(mtu("tap7"), 1400);
    });
}

#[test]
fn without_an_acl_file_nothing_is_allowed() {
    both_ways(|host| {
        host.sandbox.sh(&format!(
            "ip tuntap add mine mode tap user {ALICE}; ip link set mine master br0 up"
        ));
        for reset in ["rm /etc/qemu/bridge.conf", "rm -r /etc/qemu"] {
            host.sandbox.sh(reset);
            let reason = "/etc/qemu/bridge.conf does not exist";
            host.assert_refused("qemu-ifup", &["tap0"], 3, reason);
            // What changes nothing needs no rule.
            let before = host.sandbox.snapshot();
            assert_done(&host.ifup(&["mine"]));
            assert_done(&host.ifdown(&["mine"]));
            host.sandbox.assert_unchanged(&before);
        }
        let hint = host.ifup(&["tap0"]).stderr;
        assert!(hint.contains(": allow br0\n"), "{hint}");
    });
}

/// A second setpriv, since the first one still has root's capabilities when it starts another program.
const NO_NEW_PRIVS: &[&str] = &["--", "setpriv", "--no-new-privs"];

#[test]
fn without_the_privilege_the_message_names_the_ways_out_and_a_dry_run_still_works() {
    let cases = [
        (Way::NotAtAll, &[][..]),
        (Way::Capability, NO_NEW_PRIVS),
        (Way::Setuid, NO_NEW_PRIVS),
    ];
    for (way, options) in cases {
        // A sandbox takes the whole thread.
        let test = move || {
            let Some(host) = Host::new(way) else { return };
            host.sandbox.sh(&format!(
                "ip tuntap add mine mode tap user {ALICE}; ip link set mine master br0 up"
            ));
            let before = host.sandbox.snapshot();
            for args in [["-q", "tap0"], ["--br=br0", "--fd=0"]] {
                let mut call = host.call_with(options, "qemu-ifup", &args);
                let (_end, theirs) = UnixStream::pair().unwrap();
                let refused = run_with_stdin(&mut call, OwnedFd::from(theirs));
                assert_says(&refused, 3, "no CAP_NET_ADMIN", "without it");
                // Where the caller keeps every privilege away, neither of the usual ways out is one.
                let ways_out = match way {
                    Way::NotAtAll => ["sudo", "install.sh --setcap"],
                    Way::Capability | Way::Setuid => {
                        ["no_new_privs", "create the tap as root beforehand"]
                    }
                };
                for way_out in ways_out {
                    assert!(refused.stderr.contains(way_out), "{refused:?}");
                }
                let names_setcap = refused.stderr.contains("install.sh");
                assert_eq!(names_setcap, way == Way::NotAtAll, "{refused:?}");
                host.sandbox.assert_unchanged(&before);
            }
            let shown = run(&mut host.call_with(options, "qemu-ifup", &["-n", "tap0"]));
            assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{shown:?}");
            assert!(shown.stdout.contains("ip link set dev tap0"));
            // What changes nothing needs none, and what is one's own is gone without any.
            for (program, args) in [
                ("qemu-ifup", &["mine"][..]),
                ("qemu-ifup", &["-b=br0", "mine"]),
                ("qemu-ifdown", &["mine"]),
            ] {
                assert_done(&run(&mut host.call_with(options, program, args)));
                host.sandbox.assert_unchanged(&before);
            }
            let delete = ["--delete", "mine"];
            assert_done(&run(&mut host.call_with(options, "qemu-ifdown", &delete)));
            assert_eq!(host.sandbox.link("mine"), None);
        };
        let name = test_name();
        let thread = thread::Builder::new().name(name).spawn(test).unwrap();
        thread
            .join()
            .unwrap_or_else(|e| std::panic::resume_unwind(e));
    }
}
