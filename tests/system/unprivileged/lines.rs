//! What a line of /etc/qemu-ifup.conf binds: whose a tap is, and which bridge it is for.

use crate::common::fds::received;
use crate::common::interfaces::info;
use crate::common::users::{ALICE, BOB};
use crate::unprivileged::{
    AT_FIVE, Host, STAFF, assert_done, assert_gone, both_ways, help, tap_behind,
};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// A call as QEMU's bridge helper. Its exit code and what it said, and the descriptors that came.
fn ask(host: &Host, words: &[&str]) -> (crate::common::Run, Vec<OwnedFd>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let args = [words, &["--use-vnet", "--fd=5"]].concat();
    let run = help(host, OwnedFd::from(theirs), AT_FIVE, &args);
    (run, received(&ours))
}

/// No way leads to a tap with that line, for Alice.
fn assert_kept_from_alice(host: &Host, line: &str, calls: &[&[&str]], helpers: &[&[&str]]) {
    host.sandbox.etc("qemu-ifup.conf", &format!("{line}\n"));
    let before = host.sandbox.snapshot();
    for args in calls {
        let run = host.ifup(args);
        assert_eq!(run.code, 3, "{line}: {args:?}: {run:?}");
        host.sandbox.assert_unchanged(&before);
    }
    for words in helpers {
        let (run, got) = ask(host, words);
        assert_eq!(run.code, 3, "{line}: {words:?}: {run:?}");
        assert_eq!(got.len(), 0, "{line}: {words:?}: {run:?}");
        host.sandbox.assert_unchanged(&before);
    }
}

#[test]
fn a_tap_that_a_line_gives_to_another_user_is_not_created_for_the_caller() {
    let own = ALICE.to_string();
    both_ways(|host| {
        let lock = "--lock-mac 52:54:00:00:00:07";
        for access in [
            format!("--owner {BOB}"),
            "--owner 0".to_owned(),
            "--owner root".to_owned(),
            "--group 54331".to_owned(),
            "--group 0".to_owned(),
        ] {
            for pattern in ["tap5", "tap?", "tap*"] {
                let line = format!("{pattern} {access} {lock}");
                let calls: [&[&str]; 5] = [
                    &["tap5"],
                    &["--owner", &own, "tap5"],
                    &["--owner", "alice", "tap5"],
                    &["-n", "tap5"],
                    &["--bridge", "br1", "tap5"],
                ];
                assert_kept_from_alice(host, &line, &calls, &[&["--br=br0", "tap5"]]);
            }
            // The name that the kernel chooses is no way round it.
            for pattern in ["tap*", "tap0", "*"] {
                let line = format!("{pattern} {access} {lock}");
                assert_kept_from_alice(host, &line, &[], &[&["--br=br0"]]);
            }
        }
    });
}

#[test]
fn a_tap_that_a_line_gives_to_the_caller_or_a_group_of_theirs_is_created() {
    both_ways(|host| {
        let s = &host.sandbox;
        let before = s.snapshot();
        for (access, key, value) in [
            (format!("--owner {ALICE}"), "user", "alice".to_owned()),
            ("--owner alice".to_owned(), "user", "alice".to_owned()),
            (format!("--group {STAFF}"), "group", STAFF.to_string()),
            (format!("--group {ALICE}"), "group", ALICE.to_string()),
        ] {
            s.etc("qemu-ifup.conf", &format!("tap* {access} --isolated\n"));
            assert_done(&host.ifup(&["tap5"]));
            let shown = info(s, "tap5")[key].to_string();
            assert_eq!(shown.trim_matches('"'), value, "{access}");
            host.delete("tap5");
            for words in [&["--br=br0", "tap5"][..], &["--br=br0"]] {
                let (run, got) = ask(host, words);
                assert_done(&run);
                let [tap] = got.try_into().unwrap();
                let name = tap_behind(&tap);
                assert_eq!(s.ports("br0"), [name.as_str()], "{access}");
                drop(tap);
                assert_gone(host, &[name]);
            }
            s.assert_unchanged(&before);
        }
        // A later line wins, as for everything.
        s.etc(
            "qemu-ifup.conf",
            &format!("tap* --owner {BOB}\ntap5 --owner {ALICE}\n"),
        );
        assert_done(&host.ifup(&["tap5"]));
        host.delete("tap5");
        s.etc(
            "qemu-ifup.conf",
            &format!("tap5 --owner {ALICE}\ntap* --owner {BOB}\n"),
        );
        host.assert_refused("qemu-ifup", &["tap5"], 3, "tap5");
    });
}

#[test]
fn a_tap_whose_line_names_a_bridge_goes_into_no_other() {
    both_ways(|host| {
        let s = &host.sandbox;
        let line = "tap5 --bridge br0 --lock-mac 52:54:00:00:00:07";
        let calls: [&[&str]; 4] = [
            &["-b", "br1", "tap5"],
            &["--br=br1", "tap5"],
            &["-n", "-b", "br1", "tap5"],
            &["--bridge=br8", "tap5"],
        ];
        let helpers: [&[&str]; 2] = [&["--br=br1", "tap5"], &["--bridge=br1", "tap5"]];
        assert_kept_from_alice(host, line, &calls, &helpers);
        for args in [&["tap5"][..], &["-b", "br0", "tap5"]] {
            assert_done(&host.ifup(args));
            host.assert_up("tap5", "br0");
            host.delete("tap5");
        }
        let (run, got) = ask(host, &["--br=br0", "tap5"]);
        assert_done(&run);
        assert_eq!(got.len(), 1);
        drop(got);
        assert_gone(host, &["tap5".to_owned()]);
        // Root's command line wins over root's configuration.
        let owner = ALICE.to_string();
        assert_done(&host.roots("qemu-ifup", &["-b", "br1", "--owner", &owner, "tap5"]));
        assert_eq!(s.ports("br1"), ["tap5"]);
    });
}

/// Nothing is left to say that it was not done as the line says.
#[test]
fn a_run_of_roots_that_cannot_give_a_tap_to_whom_the_line_says_fails() {
    both_ways(|host| {
        let s = &host.sandbox;
        let owner = BOB.to_string();
        for line in [
            format!("tap5 --owner {ALICE}"),
            format!("tap5 --group {STAFF}"),
        ] {
            s.etc("qemu-ifup.conf", &format!("{line}\n"));
            // Another program has it open, and passes no descriptor on.
            s.sh("ip tuntap add tap5 mode tap");
            let held = crate::common::fds::open_tap("tap5", 0).unwrap();
            let before = s.settled();
            let run = host.roots("qemu-ifup", &["tap5"]);
            assert_eq!(run.code, 5, "{line}: {run:?}");
            crate::expect::assert_settled_as(s, &before, &line);
            drop(held);
            host.delete("tap5");
        }
        // What the command line says instead is done.
        assert_done(&host.roots("qemu-ifup", &["--owner", &owner, "tap5"]));
        assert_eq!(info(s, "tap5")["user"], BOB);
    });
}

#[test]
fn a_lines_mtu_binds_and_only_the_bridge_of_a_line_is_created() {
    both_ways(|host| {
        host.sandbox.sh("ip link set br0 mtu 1500");
        assert_kept_from_alice(
            host,
            "tap* --mtu 1400",
            &[&["--mtu", "1500", "tap5"]],
            &[
                &["--br=br0", "--mtu=1500", "tap5"],
                &["--br=br0", "--mtu=1500"],
            ],
        );
        host.sandbox.etc("qemu/bridge.conf", "allow all\n");
        for line in ["* --create-bridge", "* --create-bridge --bridge br7"] {
            let names: [&[&str]; 2] = [
                &["--bridge", "brx", "tap5"],
                &["--bridge", "br\x1b[31m", "tap5"],
            ];
            assert_kept_from_alice(host, line, &names, &[&["--br=brx"], &["--br=brx", "tap5"]]);
        }
        assert_done(&host.ifup(&["tap5"]));
        assert_eq!(host.sandbox.ports("br7"), ["tap5"]);
        assert_done(&host.ifdown(&["--delete", "tap5"]));
        host.sandbox.sh("ip link del br7");
    });
}
