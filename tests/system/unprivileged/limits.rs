//! Names, users that are nobody's, and how many taps all users together may have.

use crate::common::fds::received;
use crate::common::json::is_up;
use crate::common::users::{ALICE, BOB, as_user};
use crate::common::{command, needs, run};
use crate::unprivileged::{AT_FIVE, CREATED_FOR, assert_done, assert_says, both_ways, help};
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Of each a terminal, a shell, a pattern, a program that reads JSON or a reader makes something else.
const HOSTILE: [&str; 19] = [
    "tap\u{8}\u{8}\u{8}eth0",
    "tap\u{1b}",
    "tap\u{1b}[2J",
    "tap\u{7f}",
    "tap\u{1}",
    "tap*",
    "tap?",
    "tap[0]",
    "tap\"",
    "tap'",
    "tap\\",
    "tap$HOME",
    "tap`id`",
    "tap;id",
    "tap|id",
    "tap&",
    "tap~",
    "tapü",
    "vnet\u{202e}0",
];

#[test]
fn a_users_new_tap_has_no_name_that_looks_like_another() {
    both_ways(|host| {
        let s = &host.sandbox;
        for line in ["", "* --isolated\n", "tap* --isolated\nvnet? --guard\n"] {
            s.etc("qemu-ifup.conf", line);
            let before = s.snapshot();
            for name in HOSTILE {
                for args in [&["--", name][..], &["-n", "--", name]] {
                    let refused = host.ifup(args);
                    assert_eq!(refused.code, 3, "{name:?}: {refused:?}");
                    let tame = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
                    assert!(refused.stderr.bytes().all(tame), "{refused:?}");
                }
                let (ours, theirs) = UnixStream::pair().unwrap();
                let args = ["--br=br0", "--fd=5", name];
                let refused = help(host, OwnedFd::from(theirs), AT_FIVE, &args);
                assert_eq!(refused.code, 3, "{name:?}: {refused:?}");
                assert_eq!(received(&ours).len(), 0);
            }
            s.assert_unchanged(&before);
        }
        for name in ["tap.7_a-B", "vnet-", "tap", "vnet", "tap0.100"] {
            assert_done(&host.ifup(&[name]));
            host.assert_up(name, "br0");
            host.delete(name);
        }
        // Root's names are root's.
        for name in HOSTILE {
            assert_done(&host.roots("qemu-ifup", &["--", name]));
            assert_done(&host.roots("qemu-ifdown", &["--delete", "--", name]));
        }
    });
}

/// The caller of these ids runs it.
fn as_ids(host: &crate::unprivileged::Host, uid: u32, args: &[&str]) -> crate::common::Run {
    run(as_user(uid, uid, host.programs.join("qemu-ifup")).args(args))
}

/// Each user with a range would have as many users as it has numbers, with as many taps each.
#[test]
fn a_number_out_of_a_users_range_of_them_creates_nothing() {
    both_ways(|host| {
        let s = &host.sandbox;
        let before = s.snapshot();
        for (subuid, uid, is_refused) in [
            ("bob:54321:1\n", ALICE, true),
            ("bob:54000:1000\n", ALICE, true),
            ("54322:54300:22\n", ALICE, true),
            ("bob:54300:21\n", ALICE, false),
            ("bob:54322:65536\n", ALICE, false),
            (
                "# a word\n\nann:100000:65536\nbob:165536:65536\n",
                165_537,
                true,
            ),
            (
                "ann:100000:65536\nbob:165536:65536\nlast:231072:1",
                231_072,
                true,
            ),
            ("ann:100000:65536\n", 165_536, false),
            ("ann:100000:65536\n", 99_999, false),
            ("", ALICE, false),
        ] {
            s.etc("subuid", subuid);
            let run = as_ids(host, uid, &["tap0"]);
            if is_refused {
                assert_says(&run, 3, "/etc/subuid", subuid);
                let (ours, theirs) = UnixStream::pair().unwrap();
                let mut helper = as_user(uid, uid, host.programs.join("qemu-ifup"));
                helper.args(["--br=br0", "--fd=0"]);
                let helped =
                    crate::unprivileged::run_with_stdin(&mut helper, OwnedFd::from(theirs));
                assert_eq!(helped.code, 3, "{helped:?}");
                assert_eq!(received(&ours).len(), 0);
            } else {
                assert_eq!(run.code, 0, "{subuid}: {run:?}");
                host.delete("tap0");
            }
            s.assert_unchanged(&before);
        }
        s.sh("rm -f /etc/subuid");
        assert_done(&as_ids(host, ALICE, &["tap0"]));
        // It is nobody's affair that root has a number in such a range.
        s.etc("subuid", "bob:0:100000\n");
        assert_done(&host.roots("qemu-ifup", &["tap1"]));
    });
}

/// With the real newuidmap(1): a file of one of her numbers that is set-user-ID lets Alice be that number outside, too.
#[test]
fn a_user_who_takes_a_number_of_their_range_by_newuidmap_creates_nothing() {
    if !needs("newuidmap") {
        return;
    }
    both_ways(|host| {
        let s = &host.sandbox;
        s.etc("subuid", "alice:200000:65536\n");
        s.etc("subgid", "alice:200000:65536\n");
        s.sh(&format!(
            "echo alice:x:{ALICE}: >>/etc/group; mkdir -m 777 \"$DIR/hers\""
        ));
        let script = "cp \"$(command -v setpriv)\" \"$1/setpriv\"; chown 7 \"$1/setpriv\"; chmod 4755 \"$1/setpriv\"";
        let mut make = as_user(ALICE, ALICE, "unshare");
        make.args(["--map-auto", "--map-root-user", "sh", "-euc", script, "sh"]);
        assert_done(&run(make.arg(s.dir().join("hers"))));
        let before = s.snapshot();
        let mut call = as_user(ALICE, ALICE, s.dir().join("hers/setpriv"));
        // The first number is root's there, and that is she herself or the range's first.
        let shown = run(command("stat")
            .args(["-c", "%u"])
            .arg(s.dir().join("hers/setpriv")));
        let number = shown.stdout.trim().to_owned();
        assert!(
            (200_000..265_536).contains(&number.parse::<u32>().unwrap()),
            "{shown:?}"
        );
        call.args(["--reuid", &number, "--"])
            .arg(host.programs.join("qemu-ifup"));
        let refused = run(call.arg("tap0"));
        assert_says(&refused, 3, "/etc/subuid", "a sub-uid");
        s.assert_unchanged(&before);
    });
}

#[test]
fn all_users_together_have_512_taps_or_as_many_as_root_says() {
    both_ways(|host| {
        let s = &host.sandbox;
        // Nine users' taps, and some that are root's, libvirt's or a user's by root, which do not count.
        let mut batch = String::new();
        for n in 0..511 {
            let uid = 60_000 + n / 60;
            writeln!(batch, "tuntap add t{n} mode tap user {uid}").unwrap();
            writeln!(batch, "link set t{n} alias '{CREATED_FOR}{uid}'").unwrap();
        }
        for n in 511..540 {
            let whose = ["", "user 0", "user 60001"][n % 3];
            writeln!(batch, "tuntap add t{n} mode tap {whose}").unwrap();
        }
        s.etc("batch", &batch);
        s.sh("ip -batch /etc/batch");
        let taps = |n: usize| assert_eq!(s.links().len(), 540 + 5 + n);
        taps(0);
        assert_done(&host.ifup(&["tap0"]));
        host.assert_up("tap0", "br0");
        let too_many = || {
            let refused = host.ifup(&["tap1"]);
            assert_says(&refused, 3, "tap1", "one too many");
            assert!(refused.stderr.contains("512"), "{refused:?}");
            let (ours, theirs) = UnixStream::pair().unwrap();
            let args = ["--br=br0", "--fd=5"];
            let refused = help(host, OwnedFd::from(theirs), AT_FIVE, &args);
            assert_eq!(refused.code, 3, "{refused:?}");
            assert_eq!(received(&ours).len(), 0);
            taps(1);
        };
        too_many();
        // A smaller number is for one user, and a larger one for all of them.
        s.etc("qemu-ifup.conf", "* --max-taps 7\n");
        too_many();
        let others = host.call_of(BOB, "qemu-ifup", &["tap1"]);
        assert_eq!(others.code, 3, "{others:?}");
        s.etc("qemu-ifup.conf", "* --max-taps 7\nvnet? --max-taps 514\n");
        assert_done(&host.ifup(&["tap1"]));
        assert_done(&host.call_of(BOB, "qemu-ifup", &["tap2"]));
        let others = host.call_of(BOB, "qemu-ifup", &["tap3"]);
        assert_eq!(others.code, 3, "{others:?}");
        assert!(others.stderr.contains("514"), "{others:?}");
        taps(3);
        // Root's runs are not counted.
        assert_done(&host.roots("qemu-ifup", &["tap4"]));
        assert!(is_up(&s.link("tap4").unwrap()));
        s.etc("qemu-ifup.conf", "");
        // One less, and there is room for another.
        s.sh("for n in 0 1 2; do ip link del t$n; done");
        assert_done(&host.ifup(&["tap3"]));
    });
}
