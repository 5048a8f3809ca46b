//! qemu-ifdown and ordinary users: it has no privilege and needs none.

use crate::common::fds::open_tap;
use crate::common::json::is_up;
use crate::common::users::{ALICE, BOB, open_tap_as};
use crate::common::{needs, run};
use crate::unprivileged::{Host, STAFF, Stopped, Way, assert_done, assert_says, both_ways};
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Hers, up on br0, as `ip tuntap` makes it with these words.
fn make(host: &Host, tap: &str, words: &str) {
    host.sandbox.sh(&format!(
        "ip tuntap add {tap} mode tap {words}; ip link set {tap} addrgenmode none master br0 up"
    ));
}

#[test]
fn qemu_ifdown_of_a_user_gives_every_capability_up_before_it_looks() {
    if !needs("strace") {
        return;
    }
    let Some(host) = Host::new(Way::NotAtAll) else {
        return;
    };
    let everything = [
        "--inh-caps=+net_admin,+chown",
        "--ambient-caps=+net_admin,+chown",
    ];
    for (prepare, options) in [
        ("setcap cap_net_admin+ep $F", &[][..]),
        ("setcap cap_net_admin,cap_chown,cap_sys_admin+eip $F", &[]),
        ("chmod 4755 $F", &[]),
        ("chmod 755 $F", &everything),
    ] {
        host.sandbox.sh(&format!(
            "F=\"$DIR/bin/qemu-ifdown\"; cp \"$F\" \"$F.new\"; mv \"$F.new\" \"$F\"; chmod 755 \"$F\"; {}",
            prepare.replace("$F", "\"$F\"")
        ));
        make(&host, "tap0", &format!("user {ALICE}"));
        for args in [&["tap0"][..], &["--delete", "tap0"], &["-n", "tap0"]] {
            let call = host.call_with(options, "qemu-ifdown", args);
            let stopped = Stopped::after("sendto", 1, &call, Stdio::null());
            let stopped = stopped.unwrap_or_else(|| panic!("{prepare} {args:?}: ends early"));
            let status = fs::read_to_string(format!("/proc/{}/status", stopped.pid())).unwrap();
            for line in status
                .lines()
                .filter(|line| line.starts_with("Cap") && !line.starts_with("CapBnd"))
            {
                assert!(
                    line.ends_with("\t0000000000000000"),
                    "{prepare} {args:?}: {line}"
                );
            }
            let ids = [ALICE; 4].map(|id| id.to_string()).join("\t");
            assert!(status.contains(&format!("Uid:\t{ids}\n")), "{status}");
            assert_done(&stopped.go_on());
        }
        assert_eq!(host.sandbox.link("tap0"), None, "{prepare}");
    }
}

#[test]
fn without_delete_a_users_tap_stays_where_it_is_and_that_is_said() {
    both_ways(|host| {
        let words = [
            format!("user {ALICE}"),
            format!("group {STAFF}"),
            format!("user {ALICE} multi_queue"),
        ];
        for (n, words) in words.iter().enumerate() {
            make(host, &format!("tap{n}"), words);
        }
        host.sandbox.sh(&format!(
            "ip tuntap add tap3 mode tap user {ALICE}; ip link set tap3 master br9 up"
        ));
        let _held = open_tap_as(ALICE, "tap0", 0).unwrap();
        thread::sleep(Duration::from_millis(1200));
        for rules in ["allow br0\n", "deny all\n", "nonsense\n"] {
            host.sandbox.etc("qemu/bridge.conf", rules);
            let before = host.sandbox.snapshot();
            for (n, bridge) in ["br0", "br0", "br0", "br9"].iter().enumerate() {
                let tap = format!("tap{n}");
                let stays = host.ifdown(&[&tap]);
                assert_says(&stays, 0, &tap, rules);
                assert!(
                    stays.stderr.lines().next().unwrap().contains(bridge),
                    "{stays:?}"
                );
            }
            let all = host.ifdown(&["tap0", "tap1", "tap2", "tap3"]);
            assert_done(&all);
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn another_ones_tap_is_refused_with_delete_and_without() {
    both_ways(|host| {
        let taps = [
            format!("user {BOB}"),
            "user 0".to_owned(),
            String::new(),
            "multi_queue".to_owned(),
            "group 54331".to_owned(),
            format!("user {ALICE} group 54331"),
            format!("user {BOB} group {STAFF}"),
        ];
        for words in taps {
            make(host, "tap0", &words);
            for args in [&["tap0"][..], &["--delete", "tap0"]] {
                host.assert_refused("qemu-ifdown", args, 3, "tap0");
            }
            // Nor is it waited for.
            let flags = if words == "multi_queue" {
                libc::IFF_MULTI_QUEUE
            } else {
                0
            };
            let held = open_tap("tap0", flags).unwrap();
            let start = Instant::now();
            assert_says(
                &host.ifdown(&["--delete", "tap0"]),
                3,
                "tap0",
                "held by another",
            );
            assert!(start.elapsed() < Duration::from_millis(1500), "{words}");
            drop(held);
            host.delete("tap0");
        }
        for (name, make) in [
            ("lo", ":"),
            ("br0", ":"),
            (
                "tun0",
                &*format!("ip tuntap add tun0 mode tun user {ALICE}"),
            ),
            (
                "veth0",
                "ip link add veth0 type veth peer name veth1; ip link set veth0 master br0 up",
            ),
        ] {
            host.sandbox.sh(make);
            for args in [&[name][..], &["--delete", name]] {
                host.assert_refused("qemu-ifdown", args, 5, name);
            }
        }
    });
}

#[test]
fn a_user_deletes_taps_of_their_own_whatever_the_rules_say() {
    let nothing = "ip link set tap0 nomaster; ip link set tap0 down";
    #[rustfmt::skip]
    let cases = [
        (format!("user {ALICE}"), ":"),
        (format!("user {ALICE} multi_queue"), ":"),
        (format!("user {ALICE} pi vnet_hdr multi_queue"), ":"),
        (format!("user {ALICE} vnet_hdr"), ":"),
        (format!("user {ALICE} pi"), ":"),
        (format!("user {ALICE}"), nothing),
        (format!("user {ALICE}"), "ip link set tap0 master br9"),
        (format!("user {ALICE} group {STAFF}"), ":"),
        (format!("group {STAFF}"), ":"),
    ];
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for rules in ["allow br0\n", "deny all\n", "nonsense\n"] {
            host.sandbox.etc("qemu/bridge.conf", rules);
            for (words, change) in &cases {
                make(host, "tap0", words);
                host.sandbox.sh(change);
                assert_done(&host.ifdown(&["--delete", "tap0"]));
                assert_eq!(host.sandbox.link("tap0"), None, "{words}");
                host.sandbox.assert_unchanged(&before);
                assert_done(&host.ifdown(&["--delete", "tap0"]));
                assert_done(&host.ifdown(&["tap0"]));
            }
        }
        // What their own run has created, with all that it can have.
        host.sandbox.etc("qemu/bridge.conf", "allow br0\n");
        host.sandbox.etc(
            "qemu-ifup.conf",
            "* --multi-queue --isolated --lock-mac 52:54:00:00:00:07\n",
        );
        assert_done(&host.ifup(&["tap0"]));
        host.sandbox.etc("qemu/bridge.conf", "deny all\n");
        assert_done(&host.ifdown(&["--delete", "tap0"]));
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn several_names_are_deleted_each_by_itself() {
    both_ways(|host| {
        let s = &host.sandbox;
        make(host, "tap0", &format!("user {ALICE}"));
        make(host, "tap1", &format!("user {ALICE} multi_queue"));
        make(host, "tap2", &format!("group {STAFF}"));
        make(host, "bobs", &format!("user {BOB}"));
        let bobs = s.link("bobs");
        let names = ["--delete", "tap0", "tap9", "bobs", "tap1", "br0", "tap2"];
        let run = host.ifdown(&names);
        assert_eq!(run.code, 3, "of the first that failed: {run:?}");
        for refused in ["bobs", "br0"] {
            let message = format!("qemu-ifdown: {refused}: ");
            assert!(run.stderr.contains(&message), "{run:?}");
        }
        for gone in ["tap0", "tap1", "tap2"] {
            assert_eq!(s.link(gone), None, "{run:?}");
        }
        assert_eq!(s.link("bobs"), bobs);
        assert!(is_up(&s.link("br0").unwrap()));

        make(host, "tap0", &format!("user {ALICE}"));
        assert_says(&host.ifdown(&["--delete", "br0", "tap0"]), 5, "br0", "");
        assert_eq!(s.link("tap0"), None);
        let many: Vec<String> = (0..70).map(|n| format!("tap{n}")).collect();
        let create = many
            .iter()
            .map(|tap| format!("tuntap add {tap} mode tap user {ALICE}\\n"));
        s.sh(&format!(
            "printf '{}' | ip -batch -",
            create.collect::<String>()
        ));
        let args: Vec<&str> = ["--delete"]
            .into_iter()
            .chain(many.iter().map(String::as_str))
            .collect();
        assert_done(&host.ifdown(&args));
        assert!(
            !s.links().iter().any(|link| link.starts_with("tap")),
            "{:?}",
            s.links()
        );
    });
}

#[test]
fn a_tap_that_a_program_has_open_is_tried_for_two_seconds() {
    both_ways(|host| {
        let s = &host.sandbox;
        make(host, "tap0", &format!("user {ALICE}"));
        let held = open_tap_as(ALICE, "tap0", 0).unwrap();
        let start = Instant::now();
        let busy = host.ifdown(&["--delete", "tap0"]);
        let took = start.elapsed();
        assert_says(&busy, 5, "in use", "held");
        assert!(
            busy.stderr.contains("--check -v tap0"),
            "who it is: {busy:?}"
        );
        assert!(
            (Duration::from_millis(1800)..Duration::from_secs(4)).contains(&took),
            "{took:?}"
        );
        let link = s.link("tap0").unwrap();
        assert!(is_up(&link) && link["master"] == "br0", "{link:#}");
        assert_eq!(link["linkinfo"]["info_data"]["persist"], true, "{link:#}");

        // A guest that ends meanwhile.
        let mut call = host.call("qemu-ifdown", &["--delete", "tap0"]);
        thread::scope(|scope| {
            let run = scope.spawn(|| run(&mut call));
            thread::sleep(Duration::from_millis(800));
            assert!(
                !run.is_finished(),
                "it has not waited, or tap0 was not held"
            );
            drop(held);
            assert_done(&run.join().unwrap());
        });
        assert_eq!(s.link("tap0"), None);
    });
}

#[test]
fn a_dry_run_of_a_user_deletes_nothing() {
    both_ways(|host| {
        make(host, "tap0", &format!("user {ALICE}"));
        let before = host.sandbox.snapshot();
        for args in [&["-n", "tap0"][..], &["-n", "--delete", "tap0"]] {
            assert_done(&host.ifdown(args));
            host.sandbox.assert_unchanged(&before);
        }
        assert!(
            host.ifdown(&["-n", "--delete", "tap0"])
                .stdout
                .contains("tap0")
        );
    });
}
