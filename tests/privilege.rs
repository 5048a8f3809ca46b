//! Users without root: what root's rules let them do works, and nothing else does, whatever they try.
//!
//! Nearly every test runs twice, with programs that have the file capability and with programs that are setuid root,
//! called by a real other user in a network of its own.

#![allow(unsafe_code, reason = "the tests make system calls of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use common::{Qemu, Run, Sandbox, bin, command, eventually, is_up, needs, received, run, skip};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Gid, Uid};
use qemu_ifup::config::acl::{ACL_FILE, Acl};
use qemu_ifup::config::options::TapOptions;
use qemu_ifup::error::Error;
use qemu_ifup::model::bridge::BridgeInfo;
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::model::link::{Link, LinkKind, LinkRef, TapInfo};
use qemu_ifup::model::spec::{NameOrId, TapAccess, TapSpec};
use qemu_ifup::model::state::{CurrentState, NewIds};
use qemu_ifup::policy::caller::Caller;
use qemu_ifup::policy::rules::Policy;
use qemu_ifup::sys::file::Contents;
use qemu_ifup::sys::privilege::Credentials;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

/// The caller, `alice` in the sandbox's /etc/passwd.
const ALICE: u32 = 54321;
/// Somebody else, whom no /etc/passwd knows.
const BOB: u32 = 54322;
/// A group that Alice is in, beside her own, which has her number.
const STAFF: u32 = 54330;
/// A group that she is not in.
const OUTSIDERS: u32 = 54331;

/// Of the bridges that there are, br8 is not mentioned and br9 is denied. There is no br7, and lo is no bridge.
const RULES: &str = "allow br0\nallow br1\ndeny br9\nallow br9\nallow br7\nallow lo\n";

// ---------------------------------------------------------------------------------------------------------------------
// A host with the programs installed for users
// ---------------------------------------------------------------------------------------------------------------------

/// How the programs get their privilege.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Capability,
    Setuid,
    NotAtAll,
}

struct Host {
    sandbox: Sandbox,
    programs: PathBuf,
}

impl Host {
    /// None, and the test counts as skipped, where this cannot be.
    fn new(way: Way) -> Option<Self> {
        if way == Way::Capability && !needs("setcap") {
            return None;
        }
        let sandbox = Sandbox::new()?;
        sandbox.open_tun_to_all();
        sandbox.etc("qemu/bridge.conf", RULES);
        for bridge in ["br0", "br1", "br8", "br9"] {
            sandbox.bridge_up(bridge);
        }
        let host = Self {
            programs: sandbox.dir().join("bin"),
            sandbox,
        };
        let privilege = match way {
            Way::Capability => "setcap cap_net_admin+ep \"$program\"",
            Way::Setuid => "chmod u+s \"$program\"",
            Way::NotAtAll => ":",
        };
        host.sandbox.sh(&format!(
            "echo alice:x:{ALICE}:{ALICE}::/:/bin/sh >>/etc/passwd
             mkdir \"$DIR/bin\"
             cp {} {} \"$DIR/bin\"
             for program in \"$DIR\"/bin/*; do {privilege}; done",
            bin("qemu-ifup").display(),
            bin("qemu-ifdown").display(),
        ));
        Some(host)
    }

    /// Alice's call of one of the two programs.
    fn call(&self, program: &str, args: &[impl AsRef<OsStr>]) -> Command {
        self.call_with(&[], program, args)
    }

    /// The same with more options of setpriv(1).
    fn call_with(&self, options: &[&str], program: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let mut call = as_alice(options);
        call.arg(self.programs.join(program)).args(args);
        call
    }

    /// Alice's shell runs a script, in which `"$@"` is the call.
    fn call_in_sh(&self, script: &str, program: &str, args: &[&str]) -> Command {
        let mut call = as_alice(&[]);
        call.args(["sh", "-c", script, "sh"]);
        call.arg(self.programs.join(program)).args(args);
        call
    }

    fn ifup(&self, args: &[&str]) -> Run {
        run(&mut self.call("qemu-ifup", args))
    }

    fn ifdown(&self, args: &[&str]) -> Run {
        run(&mut self.call("qemu-ifdown", args))
    }

    /// Alice's call is refused for this reason, and nothing has changed.
    fn assert_refused(&self, program: &str, args: &[&str], code: i32, reason: &str) {
        let before = self.sandbox.snapshot();
        let refused = run(&mut self.call(program, args));
        assert_says(&refused, code, reason, &format!("{program} {args:?}"));
        self.sandbox.assert_unchanged(&before);
    }

    /// The tap is Alice's, up and in the bridge.
    fn assert_up(&self, tap: &str, bridge: &str) {
        let link = self.sandbox.link(tap).unwrap_or_else(|| panic!("no {tap}"));
        assert_eq!(link["linkinfo"]["info_data"]["user"], "alice", "{link:#}");
        assert_eq!(link["master"], bridge, "{link:#}");
        assert!(is_up(&link), "{link:#}");
    }

    /// Takes away the tap that a test has made.
    fn remove(&self, tap: &str) {
        assert_done(&self.ifdown(&["--delete", tap]));
    }
}

/// A command of Alice's, to be completed.
fn as_alice(options: &[&str]) -> Command {
    let mut command = command("setpriv");
    command.args(["--reuid", &ALICE.to_string(), "--regid", &ALICE.to_string()]);
    command.args(["--groups", &STAFF.to_string()]);
    command.args(options).arg("--");
    command
}

/// Runs the test on a host with setcap'd programs and on one with setuid programs, side by side.
fn both_ways(test: impl Fn(&Host) + Sync) {
    let (name, test) = (common::test_name(), &test);
    thread::scope(|scope| {
        for (way, word) in [(Way::Capability, "setcap"), (Way::Setuid, "setuid")] {
            // A sandbox takes the whole thread.
            let thread = thread::Builder::new().name(format!("{name} ({word})"));
            let body = move || {
                if let Some(host) = Host::new(way) {
                    test(&host);
                }
            };
            thread.spawn_scoped(scope, body).unwrap();
        }
    });
}

fn assert_done(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
}

/// It ended with this code, and its first line is a message with this reason.
fn assert_says(run: &Run, code: i32, reason: &str, what: &str) {
    assert_eq!(run.code, code, "{what}: {run:?}");
    let line = run.stderr.lines().next().unwrap_or_default();
    assert!(line.starts_with("qemu-if"), "{what}: {run:?}");
    assert!(line.contains(reason), "{what}: {reason}? {run:?}");
}

// ---------------------------------------------------------------------------------------------------------------------
// What is allowed
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_user_makes_moves_and_removes_a_tap_of_her_own() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();

        let shown = host.ifup(&["-n", "tap0"]);
        assert_done(&shown);
        assert!(shown.stdout.contains(&format!("user {ALICE}")), "{shown:?}");
        host.sandbox.assert_unchanged(&before);

        assert_done(&host.ifup(&["tap0"]));
        host.assert_up("tap0", "br0");
        let up = host.sandbox.snapshot();
        let again = host.ifup(&["tap0"]);
        assert_says(&again, 0, "nothing to do", "again");
        host.sandbox.assert_unchanged(&up);

        let moved = host.ifup(&["--bridge", "br1", "tap0"]);
        assert_says(&moved, 0, "moved from br0 to br1", "moved");
        host.assert_up("tap0", "br1");

        assert_done(&host.ifdown(&["tap0"]));
        let down = host.sandbox.link("tap0").unwrap();
        assert!(down.get("master").is_none() && !is_up(&down), "{down:#}");
        assert_done(&host.ifup(&["tap0"]));
        host.assert_up("tap0", "br0");

        host.remove("tap0");
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn options_that_concern_nobody_else_are_anybodys() {
    let alice = ALICE.to_string();
    let cases: [(&[&str], &str); 7] = [
        (&["--owner", &alice], "br0"),
        (&["--owner", "alice"], "br0"),
        (&["--multi-queue"], "br0"),
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
            let queues = options == ["--multi-queue"];
            assert_eq!(tap["linkinfo"]["info_data"]["multi_queue"], queues);
            assert_eq!(tap["mtu"], 1500, "{options:?}");
            host.remove("tap0");
        }
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn a_tap_that_root_made_for_a_user_or_her_group_is_hers_to_use() {
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
            assert_done(&host.ifup(&["tap0"]));
            assert_eq!(host.sandbox.ports("br0"), ["tap0"], "{whose}");
            assert_done(&host.ifdown(&["tap0"]));
            assert_eq!(host.sandbox.ports("br0"), [""; 0], "{whose}");
            host.remove("tap0");
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

// ---------------------------------------------------------------------------------------------------------------------
// What is not
// ---------------------------------------------------------------------------------------------------------------------

/// Interfaces that Alice may not touch, how they are made, and what the programs say.
#[rustfmt::skip]
const UNTOUCHABLE: [(&str, &str, i32, &str); 12] = [
    ("bobs", "ip tuntap add bobs mode tap user 54322", 3, "another user's"),
    ("roots", "ip tuntap add roots mode tap user 0", 3, "another user's"),
    ("nobodys", "ip tuntap add nobodys mode tap", 3, "no owner"),
    ("theirs", "ip tuntap add theirs mode tap group 54331", 3, "a group that you are not in"),
    ("half", "ip tuntap add half mode tap user 54321 group 54331", 3, "a group that you are not in"),
    ("halfbobs", "ip tuntap add halfbobs mode tap user 54322 group 54330", 3, "another user's"),
    ("in9", "ip tuntap add in9 mode tap user 54321; ip link set in9 master br9 up", 3, "/etc/qemu/bridge.conf:3"),
    ("in8", "ip tuntap add in8 mode tap user 54321; ip link set in8 master br8 up", 3, "allows br8"),
    ("tun0", "ip tuntap add tun0 mode tun user 54321", 5, "a tun interface"),
    ("veth0", "ip link add veth0 type veth peer name veth1", 5, "of kind veth"),
    ("br0", ":", 5, "a bridge"),
    ("lo", ":", 5, "plain interface"),
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
                host.assert_refused("qemu-ifdown", &[options, &[name]].concat(), code, reason);
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
            skip(&common::test_name(), "this kernel has no macvtap");
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
fn what_goes_beyond_the_rules_is_refused_for_a_new_tap_and_for_an_own_one() {
    let (bob, staff, own) = (BOB.to_string(), STAFF.to_string(), ALICE.to_string());
    #[rustfmt::skip]
    let cases: [(&[&str], i32, &str); 16] = [
        (&["-b", "br8"], 3, "no line of /etc/qemu/bridge.conf allows br8"),
        (&["-b", "br9"], 3, "denied by /etc/qemu/bridge.conf:3"),
        // Whether a bridge exists is not the first thing to know about one that is not allowed.
        (&["-b", "br6"], 3, "no line of /etc/qemu/bridge.conf allows br6"),
        (&["-b", "br7"], 4, "no such bridge"),
        (&["-b", "lo"], 4, "not a bridge"),
        (&["--owner", &bob], 3, "only root gives taps to others"),
        (&["--owner", "0"], 3, "only root gives taps to others"),
        (&["--owner", "root"], 3, "only root gives taps to others"),
        (&["--group", &staff], 3, "only root gives taps to others"),
        (&["--group", &own], 3, "only root gives taps to others"),
        (&["--group", "root"], 3, "only root gives taps to others"),
        (&["--mtu", "1499"], 3, "it is not the bridge's"),
        (&["--mtu", "68"], 3, "it is not the bridge's"),
        (&["--mtu", "1501"], 3, "it is not the bridge's"),
        (&["--mtu", "9000"], 3, "it is not the bridge's"),
        (&["--max-taps", "99"], 3, "it is the administrator's option"),
    ];
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add mine mode tap user {ALICE}"));
        assert_done(&host.ifup(&["mine"]));
        for (options, code, reason) in cases {
            for tap in ["tap7", "mine"] {
                host.assert_refused("qemu-ifup", &[options, &[tap]].concat(), code, reason);
                let dry = [&["-n"], options, &[tap]].concat();
                host.assert_refused("qemu-ifup", &dry, code, reason);
            }
        }
        // What the kernel cannot do is refused as such.
        host.assert_refused("qemu-ifup", &["--multi-queue", "mine"], 5, "several queues");
    });
}

/// What shapes the network is for root to say, on the command line or in the configuration.
#[test]
fn each_of_the_administrators_options_is_refused_to_a_user() {
    both_ways(|host| {
        // Without it --address would mean nothing, whoever asks.
        host.sandbox.etc("qemu-ifup.conf", "* --create-bridge\n");
        host.sandbox
            .sh(&format!("ip tuntap add mine mode tap user {ALICE}"));
        for option in [
            "--create-bridge",
            "--address=10.0.0.1/8",
            "--pvid=1",
            "--vlans=2",
            "--max-taps=9",
            "--max-taps=64",
        ] {
            let (name, _) = option.split_once('=').unwrap_or((option, ""));
            let reason = format!("cannot use {name}: it is the administrator's option");
            for tap in ["tap7", "mine"] {
                for dry in [&[][..], &["-n"]] {
                    let args = [dry, &[option, tap]].concat();
                    host.assert_refused("qemu-ifup", &args, 3, &reason);
                }
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
                        "cannot create it: a user's tap has",
                    );
                }
                let hint = host.ifup(&["--", name]).stderr;
                assert!(hint.contains(": hint: "), "{hint}");
                assert!(hint.contains("/etc/qemu-ifup.conf"), "{hint}");
            }
        };
        let make = |names: &[&str]| {
            for name in names {
                assert_done(&host.ifup(&[name]));
                host.assert_up(name, "br0");
                host.remove(name);
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

        // What root has made for her is hers, by whatever name.
        host.sandbox
            .sh(&format!("ip tuntap add eth1 mode tap user {ALICE}"));
        make(&["eth1"]);
    });
}

#[test]
fn a_users_tap_changes_no_bridges_mtu_unless_root_says_so() {
    both_ways(|host| {
        let mtu = |name: &str| host.sandbox.link(name).unwrap()["mtu"].clone();
        host.sandbox
            .sh(&format!("ip tuntap add mine mode tap user {ALICE}"));
        for of_bridge in [1500, 9000] {
            host.sandbox.sh(&format!("ip link set br0 mtu {of_bridge}"));
            for other in [1499, 1501, 9001] {
                for tap in ["tap7", "mine"] {
                    let args = ["--mtu", &other.to_string(), tap];
                    host.assert_refused("qemu-ifup", &args, 3, "not the bridge's");
                }
            }
            for options in [&[][..], &["--mtu", &of_bridge.to_string()]] {
                assert_done(&host.ifup(&[options, &["tap7"]].concat()));
                assert_eq!(
                    (mtu("tap7"), mtu("br0")),
                    (of_bridge.into(), of_bridge.into())
                );
                host.remove("tap7");
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
            let reason = "there is no /etc/qemu/bridge.conf";
            host.assert_refused("qemu-ifup", &["tap0"], 3, reason);
            host.assert_refused("qemu-ifup", &["mine"], 3, reason);
            host.assert_refused("qemu-ifdown", &["mine"], 3, reason);
        }
        let hint = host.ifup(&["tap0"]).stderr;
        assert!(hint.contains(": allow br0\n"), "{hint}");
    });
}

/// A second setpriv, since the first one still has root's capabilities when it starts another program.
const NO_NEW_PRIVS: &[&str] = &["--", "setpriv", "--no-new-privs"];

#[test]
fn without_the_privilege_the_message_names_both_ways_out_and_a_dry_run_still_works() {
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
            for (program, args) in [
                ("qemu-ifup", ["-q", "tap0"]),
                ("qemu-ifup", ["-b=br1", "mine"]),
                ("qemu-ifup", ["--br=br0", "--fd=0"]),
                ("qemu-ifdown", ["-q", "mine"]),
                ("qemu-ifdown", ["--delete", "mine"]),
            ] {
                let mut call = host.call_with(options, program, &args);
                let (_end, theirs) = UnixStream::pair().unwrap();
                let refused = run_with_stdin(&mut call, OwnedFd::from(theirs));
                assert_says(&refused, 3, "no CAP_NET_ADMIN", program);
                for way_out in ["sudo", "install.sh --setcap", "no_new_privs"] {
                    assert!(refused.stderr.contains(way_out), "{refused:?}");
                }
                host.sandbox.assert_unchanged(&before);
            }
            for (program, tap) in [("qemu-ifup", "tap0"), ("qemu-ifdown", "mine")] {
                let shown = run(&mut host.call_with(options, program, &["-n", tap]));
                assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{shown:?}");
                assert!(shown.stdout.contains(&format!("ip link set dev {tap}")));
                host.sandbox.assert_unchanged(&before);
            }
        };
        let name = common::test_name();
        let thread = thread::Builder::new().name(name).spawn(test).unwrap();
        thread
            .join()
            .unwrap_or_else(|e| std::panic::resume_unwind(e));
    }
}

/// Every combination of caller, interface, bridge that it is in, bridge that it is to be in, and options is judged by
/// the real policy. A combination is allowed exactly where each part of it is.
#[test]
fn policy_allows_a_combination_exactly_where_it_allows_each_part() {
    let name = |name: &str| IfName::new(name.as_bytes()).unwrap();
    let contents = Contents {
        bytes: RULES.into(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    let acl = Acl::load(Path::new(ACL_FILE), &contents, |_| unreachable!()).unwrap();
    let caller = |uid, net_admin| {
        let groups = [uid, STAFF].map(Gid::from_raw);
        let privilege = Credentials {
            uid: Uid::from_raw(uid),
            gid: groups[0],
            net_admin,
        };
        Caller::from_parts(privilege, groups.into(), |_| None, |_| unreachable!())
    };
    let link = |index, name: IfName, kind| Link {
        index,
        name,
        kind,
        mtu: 1500,
        address: None,
        up: false,
        carrier: false,
        master: None,
        addr_gen_mode: None,
        port: None,
    };
    let tap = |owner, group| {
        Some(LinkKind::Tap(TapInfo {
            owner,
            group,
            ..TapInfo::default()
        }))
    };

    // The user, has the privilege, dry run, and then: is bound by the rules; or why nothing is allowed.
    let callers = [
        (0, true, false, Ok(false)),
        (0, false, false, Ok(false)),
        (ALICE, true, false, Ok(true)),
        (ALICE, true, true, Ok(true)),
        (ALICE, false, false, Err("no CAP_NET_ADMIN")),
        (ALICE, false, true, Ok(false)),
    ];
    // Why users that are bound may not, and why nobody may.
    #[rustfmt::skip]
    let taps = [
        (None, "", ""),
        (tap(Some(ALICE), None), "", ""),
        (tap(None, Some(STAFF)), "", ""),
        (tap(None, Some(ALICE)), "", ""),
        (tap(Some(ALICE), Some(STAFF)), "", ""),
        (tap(None, None), "no owner", ""),
        (tap(Some(BOB), None), "another user's", ""),
        (tap(Some(0), None), "another user's", ""),
        (tap(None, Some(OUTSIDERS)), "group that you are not in", ""),
        (tap(None, Some(0)), "group that you are not in", ""),
        (tap(Some(ALICE), Some(OUTSIDERS)), "group that you are not in", ""),
        (tap(Some(BOB), Some(STAFF)), "another user's", ""),
        (Some(LinkKind::Tun), "", "a tun"),
        (Some(LinkKind::Bridge(BridgeInfo::default())), "", "a bridge"),
        (Some(LinkKind::Other("macvtap".into())), "", "kind macvtap"),
        (Some(LinkKind::Unset), "", "plain"),
    ];
    #[rustfmt::skip]
    let masters = [
        (None, ""),
        (Some("br0"), ""),
        (Some("br1"), ""),
        (Some("br8"), "take it out of br8: no line"),
        (Some("br9"), "take it out of br9: denied by /etc/qemu/bridge.conf:3"),
    ];
    let bridges = [
        ("br0", ""),
        ("br1", ""),
        ("br8", "attach to br8: no line"),
        ("br9", "attach to br9: denied by /etc/qemu/bridge.conf:3"),
    ];
    let options = [
        (None, None, ""),
        (None, Some(1500), ""),
        (None, Some(9000), "it is not the bridge's"),
        (None, Some(1499), "it is not the bridge's"),
        (Some(TapAccess::Owner(ALICE)), None, ""),
        (Some(TapAccess::Owner(BOB)), None, "give a tap to uid 54322"),
        (Some(TapAccess::Owner(0)), None, "give a tap to uid 0"),
        (
            Some(TapAccess::Group(ALICE)),
            None,
            "give a tap to gid 54321",
        ),
        (
            Some(TapAccess::Group(STAFF)),
            None,
            "give a tap to gid 54330",
        ),
    ];

    let mut counts = [0; 2];
    for (uid, net_admin, dry_run, bound) in callers {
        let caller = caller(uid, net_admin);
        let judge = Policy::new(&caller, Some(&acl), dry_run);
        for ((kind, tap_rule, tap_fact), (master, master_rule)) in taps
            .iter()
            .flat_map(|tap| masters.map(|master| (tap, master)))
        {
            let tap = kind.clone().map(|kind| link(5, name("tap0"), kind));
            // Without a tap there is nothing that could be a port.
            let (master, master_rule) = match &tap {
                Some(_) => (master, master_rule),
                None => (None, ""),
            };
            let facts = |bridge| CurrentState {
                bridges: Vec::new(),
                tap: tap.clone(),
                master: master.map(|master| LinkRef {
                    index: 7,
                    name: name(master),
                }),
                bridge,
                has_fd: false,
                vlans: Vec::new(),
                ipv6: true,
                ids: NewIds::default(),
            };
            let mut check = |rules: &[&'static str], verdict: Option<Error>, what: &str| {
                let mut reasons = vec![*tap_fact];
                match bound {
                    Ok(true) => reasons.extend(rules),
                    Ok(false) => {}
                    Err(reason) => reasons = vec![reason],
                }
                reasons.retain(|reason| !reason.is_empty());
                counts[usize::from(verdict.is_some())] += 1;
                let text = verdict.map(|error| error.to_string());
                match &text {
                    None => assert_eq!(reasons, [""; 0], "{what}"),
                    Some(text) => assert!(
                        reasons.iter().any(|reason| text.contains(reason)),
                        "{what}: '{text}' is none of {reasons:?}"
                    ),
                }
            };

            let what = format!("uid {uid} {net_admin} {dry_run}, {kind:?} in {master:?}");
            for delete in [false, true] {
                let verdict = judge.authorize_down(name("tap0"), delete, facts(None));
                check(&[tap_rule, master_rule], verdict.err(), &what);
            }
            for ((bridge, bridge_rule), (access, mtu, option_rule)) in bridges
                .iter()
                .flat_map(|bridge| options.map(|option| (bridge, option)))
            {
                let wish = TapSpec {
                    tap: name("tap0"),
                    bridge: name(bridge),
                    access,
                    multi_queue: false,
                    mtu,
                    create_bridge: None,
                    isolated: false,
                    vlans: None,
                    wait: None,
                    max_taps: None,
                    name_configured: false,
                };
                // He asks for all of it himself; root's configuration says nothing.
                let asked = TapOptions {
                    access: access.map(|access| match access {
                        TapAccess::Owner(uid) => TapAccess::Owner(NameOrId::Id(uid)),
                        TapAccess::Group(gid) => TapAccess::Group(NameOrId::Id(gid)),
                    }),
                    mtu,
                    ..TapOptions::default()
                };
                let facts = facts(Some(link(
                    6,
                    name(bridge),
                    LinkKind::Bridge(BridgeInfo::default()),
                )));
                let what = format!("{what}, {wish:?}");
                let verdict = match judge.authorize_up(wish, &asked, facts) {
                    // What the kernel cannot do is no matter of policy.
                    Err(Error::TapImmutable { .. } | Error::TapBusy { .. }) => continue,
                    verdict => verdict.err(),
                };
                let rules = [tap_rule, master_rule, bridge_rule, option_rule];
                check(&rules, verdict, &what);
            }
        }
        for (bridge, rule) in bridges {
            let verdict = judge.authorize_create(name(bridge));
            if let Ok(leave) = &verdict {
                assert_eq!(leave.access, TapAccess::Owner(uid));
            }
            let allowed = bound.is_ok_and(|bound| !bound || rule.is_empty());
            assert_eq!(verdict.is_ok(), allowed, "uid {uid} makes one for {bridge}");
        }
    }
    assert!(counts.iter().all(|&n| n > 500), "{counts:?}");
}

// ---------------------------------------------------------------------------------------------------------------------
// QEMU's helper protocol
// ---------------------------------------------------------------------------------------------------------------------

/// Runs it to its end with this as its standard input, which [`run`] does not have.
fn run_with_stdin(call: &mut Command, stdin: impl Into<Stdio>) -> Run {
    call.stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = call.spawn().unwrap().wait_with_output().unwrap();
    // Ours is the last copy of the other's end now, and would keep the socket open.
    call.stdin(Stdio::null());
    ended(&output)
}

fn ended(output: &Output) -> Run {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap()),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Where QEMU's socket is for most of the calls below.
const AT_FIVE: &str = "5<&0 </dev/null";

/// Calls it as a helper, with a file at standard input that the shell moves to where the redirection says.
fn help(host: &Host, socket: impl Into<Stdio>, redirection: &str, args: &[&str]) -> Run {
    let script = format!("exec timeout 20 \"$@\" {redirection}");
    run_with_stdin(&mut host.call_in_sh(&script, "qemu-ifup", args), socket)
}

/// The taps go with their descriptors. A child that another test has just forked may have copies of these for a moment.
fn assert_gone(host: &Host, taps: &[String]) {
    let gone = || {
        let links = host.sandbox.links();
        (!links.iter().any(|link| taps.contains(link))).then_some(())
    };
    eventually(gone).unwrap_or_else(|| panic!("{taps:?} stay"));
}

/// The name of the tap that a descriptor has open.
fn tap_behind(descriptor: &OwnedFd) -> String {
    let info = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let name = info.lines().find_map(|line| line.strip_prefix("iff:\t"));
    name.unwrap_or_else(|| panic!("no tap: {info}")).to_owned()
}

#[test]
fn a_helper_hands_over_a_tap_that_lives_as_long_as_its_descriptor() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        // With the socket at each of the standard descriptors, too.
        for (redirection, number) in [
            (AT_FIVE, "--fd=5"),
            ("", "--fd=0"),
            ("1<&0 </dev/null", "--fd=1"),
            ("2<&0 </dev/null", "--fd=2"),
            // The lowest free one is what the program's own socket would get.
            ("3<&0 </dev/null", "--fd=3"),
        ] {
            for vnet_hdr in [true, false] {
                let mut args = vec![number, "--br=br0"];
                args.extend(vnet_hdr.then_some("--use-vnet"));
                let (ours, theirs) = UnixStream::pair().unwrap();
                assert_done(&help(host, OwnedFd::from(theirs), redirection, &args));
                let [tap] = received(&ours).try_into().unwrap();
                let name = tap_behind(&tap);
                assert!(name.starts_with("tap"), "{name}");
                host.assert_up(&name, "br0");
                let link = host.sandbox.link(&name).unwrap();
                let data = &link["linkinfo"]["info_data"];
                let seen = ["pi", "vnet_hdr", "persist", "multi_queue"].map(|key| &data[key]);
                assert_eq!(seen, [false, vnet_hdr, false, false], "{link:#}");
                assert_eq!(link["inet6_addr_gen_mode"], "none");
                drop(tap);
                assert_gone(host, &[name]);
                host.sandbox.assert_unchanged(&before);
            }
        }
    });
}

#[test]
fn a_helper_that_cannot_hand_over_says_why_and_leaves_no_tap() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let check = |socket: OwnedFd, redirection: &str, args: &[&str], code, reason| {
            let failed = help(host, socket, redirection, args);
            assert_says(&failed, code, reason, &format!("{redirection} {args:?}"));
            host.sandbox.assert_unchanged(&before);
        };
        let file = |path| OwnedFd::from(fs::File::open(path).unwrap());
        let null = || file("/dev/null");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().into();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let listener = UnixListener::bind(host.sandbox.dir().join("listener"));
        let listener = listener.unwrap().into();
        let (ours, deserted) = UnixStream::pair().unwrap();
        // To close it is not enough: a child that another test has just forked may have a copy.
        ours.shutdown(Shutdown::Both).unwrap();
        let (_full, mut full) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        #[rustfmt::skip]
        let cases: [(OwnedFd, &str, &str, i32, &str); 11] = [
            (null(), "", "--fd=9", 2, "Bad file number"),
            (null(), "3<&-", "--fd=3", 2, "Bad file number"),
            (null(), "", "--fd=2147483647", 2, "Bad file number"),
            // We open /dev/null where one of the three is closed.
            (null(), "<&-", "--fd=0", 2, "non-socket"),
            (null(), ">&-", "--fd=1", 2, "non-socket"),
            (file("/etc/passwd"), AT_FIVE, "--fd=5", 2, "non-socket"),
            (tcp, AT_FIVE, "--fd=5", 2, "not a Unix socket"),
            (udp, AT_FIVE, "--fd=5", 2, "not a Unix socket"),
            (listener, AT_FIVE, "--fd=5", 7, "not connected"),
            (deserted.into(), AT_FIVE, "--fd=5", 7, "Broken pipe"),
            (full.into(), AT_FIVE, "--fd=5", 7, "Try again"),
        ];
        for (socket, redirection, number, code, reason) in cases {
            check(socket, redirection, &["--br=br0", number], code, reason);
        }

        for (bridge, code, reason) in [
            ("--br=br9", 3, "denied by /etc/qemu/bridge.conf:3"),
            ("--br=br8", 3, "allows br8"),
            ("--br=br7", 4, "no such bridge"),
            ("--owner=0", 2, "leave out --owner"),
            ("--group=0", 2, "leave out --owner"),
            ("--multi-queue", 2, "one queue"),
            ("--mtu=1400", 3, "not the bridge's"),
            ("--mtu=9000", 3, "not the bridge's"),
            ("--max-taps=9", 3, "the administrator's option"),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let args = ["--use-vnet", "--fd=5", bridge];
            check(theirs.into(), AT_FIVE, &args, code, reason);
            assert_eq!(received(&ours).len(), 0, "{bridge}");
        }
    });
}

#[test]
fn eight_helpers_at_once_hand_over_eight_taps() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let taps: Vec<OwnedFd> = thread::scope(|scope| {
            let one = || {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let args = ["--use-vnet", "--fd=5", "--br=br0"];
                assert_done(&help(host, OwnedFd::from(theirs), AT_FIVE, &args));
                received(&ours)
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        let names: BTreeSet<String> = taps.iter().map(tap_behind).collect();
        let ports: BTreeSet<String> = host.sandbox.ports("br0").into_iter().collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(names, ports);
        drop(taps);
        assert_gone(host, &Vec::from_iter(names));
        host.sandbox.assert_unchanged(&before);
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Attacks: the caller chooses everything that a program is started with
// ---------------------------------------------------------------------------------------------------------------------

/// Alice's execve(2) with exactly these arguments, the program's own name included.
fn execve(program: &Path, argv: &[&str]) -> Run {
    let path = CString::new(program.as_os_str().as_bytes()).unwrap();
    let words: Vec<CString> = argv.iter().map(|w| CString::new(*w).unwrap()).collect();
    let mut call = command("/nonexistent");
    call.uid(ALICE).gid(ALICE);
    let instead = move || {
        // It need not grow, so that nothing is allocated after the fork.
        let mut argv = [std::ptr::null(); 4];
        for (to, from) in argv.iter_mut().zip(&words) {
            *to = from.as_ptr();
        }
        let nothing = [std::ptr::null()];
        // SAFETY: all strings end with NUL and both lists with a null pointer, and they outlive the call.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), nothing.as_ptr()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { call.pre_exec(instead) };
    run(&mut call)
}

#[test]
fn an_empty_or_absent_argv0_is_nothing_special() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            let path = host.programs.join(program);
            for argv in [&[][..], &[""], &["../../etc/passwd"]] {
                assert_says(&execve(&path, argv), 2, "no IFNAME", &format!("{argv:?}"));
            }
        }
        host.sandbox.assert_unchanged(&before);
        for argv0 in ["", "qemu-ifdown", "\u{1b}[2J"] {
            assert_done(&execve(&host.programs.join("qemu-ifup"), &[argv0, "tap0"]));
            host.assert_up("tap0", "br0");
            let down = host.programs.join("qemu-ifdown");
            assert_done(&execve(&down, &[argv0, "--delete", "tap0"]));
        }
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn closed_standard_descriptors_change_nothing() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let script = format!("exec \"$@\" {closed}");
            let call = |program, args: &[&str]| run(&mut host.call_in_sh(&script, program, args));
            assert_done(&call("qemu-ifup", &["-v", "tap0"]));
            host.assert_up("tap0", "br0");
            // Had a message gone to a descriptor that is now the tap's, it would have been sent into the bridge.
            let tap = host.sandbox.ip(&["-s", "link", "show", "dev", "tap0"]);
            assert_eq!(tap[0]["stats64"]["rx"]["packets"], 0, "{closed}");
            assert_done(&call("qemu-ifdown", &["-v", "--delete", "tap0"]));
            assert_eq!(
                call("qemu-ifup", &["-b", "br9", "tap0"]).code,
                3,
                "{closed}"
            );
            host.sandbox.assert_unchanged(&before);
        }
    });
}

/// With each of these limits the program does all of it or nothing, and a signal does not end it.
#[test]
fn tight_limits_stop_it_before_it_starts_or_not_at_all() {
    // With less than three, libc itself ends a privileged program before it starts.
    let descriptors = (3..9).map(|n| format!("--nofile={n}"));
    let others = [
        "--fsize=0",
        "--nproc=0",
        "--core=0",
        "--memlock=0",
        "--msgqueue=0",
    ];
    let limits: Vec<String> = descriptors.chain(others.map(str::to_owned)).collect();
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let mut done = 0;
        for limit in &limits {
            let limited = |program, args: &[&str]| {
                let script = format!("exec prlimit {limit} \"$@\"");
                run(&mut host.call_in_sh(&script, program, args))
            };
            let up = limited("qemu-ifup", &["-v", "tap0"]);
            if up.code == 0 {
                done += 1;
                host.assert_up("tap0", "br0");
                host.remove("tap0");
            } else {
                assert_says(&up, up.code, "qemu-ifup: ", limit);
            }
            host.sandbox.assert_unchanged(&before);
            let refused = limited("qemu-ifup", &["-b", "br9", "tap0"]);
            assert!((1..10).contains(&refused.code), "{limit}: {refused:?}");
            host.sandbox.assert_unchanged(&before);
        }
        assert!(done >= 6, "the limits are tighter than meant: {done}");
        // Standard descriptors only: there is no room for the first socket.
        let script = "exec prlimit --nofile=3 \"$@\"";
        let refused = run(&mut host.call_in_sh(script, "qemu-ifup", &["tap0"]));
        assert_says(&refused, 7, "Too many open files", "nofile=3");
    });
}

#[test]
fn a_message_to_a_file_that_may_not_grow_does_not_end_it_half_way() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let file = host.sandbox.dir().join("stderr");
        host.sandbox
            .sh("touch \"$DIR/stderr\"; chmod 666 \"$DIR/stderr\"");
        // SIGXFSZ ends whoever does not expect it.
        let script = format!("ulimit -f 0; exec \"$@\" 2>{0} >{0}", file.display());
        let call = |program, args: &[&str]| run(&mut host.call_in_sh(&script, program, args)).code;
        for args in [&["-v", "tap0"][..], &["tap0"], &["-b", "br1", "tap0"]] {
            assert_eq!(call("qemu-ifup", args), 0, "{args:?}");
        }
        host.assert_up("tap0", "br1");
        assert_eq!(call("qemu-ifup", &["-b", "br9", "tap0"]), 3);
        assert_eq!(call("qemu-ifup", &["--help"]), 1, "it cannot be written");
        assert_eq!(call("qemu-ifdown", &["-v", "--delete", "tap0"]), 0);
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn too_little_memory_leaves_nothing_half_done() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let mut outcomes = BTreeSet::new();
        for kilobytes in [
            64, 512, 600, 650, 700, 720, 740, 760, 800, 900, 1000, 2000, 4000, 1_000_000,
        ] {
            let script = format!("exec prlimit --as={} \"$@\"", kilobytes * 1024);
            let up = run(&mut host.call_in_sh(&script, "qemu-ifup", &["tap0"]));
            outcomes.insert(up.code == 0);
            if up.code == 0 {
                host.assert_up("tap0", "br0");
                host.remove("tap0");
            }
            host.sandbox.assert_unchanged(&before);
        }
        assert_eq!(outcomes.len(), 2, "one of these is enough and one is not");
    });
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let variables = "SUDO_UID=0 SUDO_GID=0 SUDO_USER=root PKEXEC_UID=0 PKEXEC_UID=54322 DOAS_USER=root SUDO_UID=x \
        TZ=:/dev/tty TZ=../../../../dev/zero LANG=../../tmp LC_ALL=xx_XX.UTF-8 LANGUAGE=\u{1b}[2J \
        RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=99999999999999 \
        LD_PRELOAD=/nonexistent/evil.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/nonexistent/evil.so LD_DEBUG=all \
        GCONV_PATH=/tmp GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_CHECK_=3 MALLOC_TRACE=/tmp/trace \
        RESOLV_HOST_CONF=/etc/shadow PATH=/tmp IFS=/ HOME=/root TMPDIR=/root";
    let long = format!("A={}", "x".repeat(100_000));
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        let before = host.sandbox.snapshot();
        let each = variables.split_whitespace().map(|variable| vec![variable]);
        for some in each.chain([variables.split_whitespace().collect(), vec![long.as_str()]]) {
            // By env(1), since for setpriv itself some of these mean something.
            let with = |program: &str, args: &[&str]| {
                let mut call = as_alice(&[]);
                call.arg("/usr/bin/env").args(&some);
                run(call.arg(host.programs.join(program)).args(args))
            };
            let up = with("qemu-ifup", &["tap0"]);
            assert_eq!((up.code, up.stderr.as_str()), (0, ""), "{some:.200?}");
            host.assert_up("tap0", "br0");
            let refused = with("qemu-ifdown", &["--delete", "bobs"]);
            assert_says(&refused, 3, "another user's", "environment");
            let refused = with("qemu-ifup", &["--owner=0", "tap0"]);
            assert_says(&refused, 3, "only root", "environment");
            host.remove("tap0");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

/// Options with a value, and what would be one. The last two are an unknown option and IFNAME.
const WORDS: [&str; 9] = [
    "--bridge=",
    "--br=",
    "--owner=",
    "--group=",
    "--mtu=",
    "--fd=",
    "-b",
    "--",
    "",
];

/// What it has said cannot do anything to a terminal or a log, and is not a novel.
fn assert_tame(run: &Run, log: &[String], what: &str) {
    let printable = |line: &str| line.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    for line in run.stderr.lines() {
        assert!(
            printable(line) && line.starts_with("qemu-if"),
            "{what}: {line:?}"
        );
    }
    assert!(!run.stderr.contains('\r'), "{what}: {run:?}");
    assert!(
        run.stderr.len() < 2000,
        "{what}: {} bytes",
        run.stderr.len()
    );
    assert_eq!(log.len(), 1, "{what}: {log:?}");
    assert!(printable(&log[0]), "{what}: {log:?}");
}

#[test]
fn escape_sequences_and_line_ends_reach_neither_the_terminal_nor_the_log() {
    let evil: [&[u8]; 8] = [
        b"\x1b[2J",
        b"a\nqemu-ifup: all is well",
        b"a\r\x1b]0;x\x07",
        b"\x9b31m",
        b"\xff\xfe",
        "\u{202e}pat".as_bytes(),
        b"\x7f\x08\x08",
        b"\x1b[2J\n\x1b[31mERROR very very long, longer than any name can be",
    ];
    both_ways(|host| {
        let log = host.sandbox.devlog();
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            for bytes in evil {
                for word in WORDS {
                    let word = [word.as_bytes(), bytes].concat();
                    // As IFNAME some would be taken, and a tap made: the denied bridge forbids that.
                    let mut args = vec![OsStr::from_bytes(&word)];
                    args.push(OsStr::new("tap0"));
                    if program == "qemu-ifup" && word == bytes {
                        args = vec!["-bbr9".as_ref(), args[0]];
                    } else if word == bytes {
                        args.push(OsStr::new("tap1"));
                    }
                    let refused = run(&mut host.call(program, &args));
                    let what = format!("{program} {args:?}");
                    assert!(matches!(refused.code, 2 | 3), "{what}: {refused:?}");
                    assert_tame(&refused, &common::lines(&log), &what);
                }
            }
        }
        host.sandbox.assert_unchanged(&before);

        // A name that the kernel takes may be a tap's, and a bridge's.
        let name = "\u{1b}[2J";
        host.sandbox.sh(&format!(
            "ip tuntap add \"$(printf '\\033[2J')\" mode tap user {BOB}"
        ));
        let refused = host.ifdown(&[name]);
        assert_says(&refused, 3, r"\x1b[2J: cannot use it", "a tap");
        assert_tame(&refused, &common::lines(&log), "a tap");
        let shown = host.ifup(&["-n", "tap\u{1b}[3J"]);
        assert_done(&shown);
        assert!(!shown.stdout.contains('\u{1b}'), "{shown:?}");
        host.sandbox.etc(
            "qemu/bridge.conf",
            "allow br0\nallow \u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\n",
        );
        let refused = host.ifup(&["tap0"]);
        assert_says(&refused, 8, "bridge.conf:2", "a rule");
        assert_tame(&refused, &common::lines(&log), "a rule");
    });
}

#[test]
fn arguments_of_a_hundred_kilobytes_are_refused_in_a_few_words() {
    both_ways(|host| {
        let log = host.sandbox.devlog();
        let before = host.sandbox.snapshot();
        for program in ["qemu-ifup", "qemu-ifdown"] {
            for word in WORDS {
                for filling in ["A", "7", "\u{1b}"] {
                    let long = word.to_owned() + &filling.repeat(100_000);
                    let refused = run(&mut host.call(program, &[&long]));
                    let what = format!("{program} {word}{filling:?}...");
                    assert_eq!(refused.code, 2, "{what}: {:.300}", refused.stderr);
                    assert_tame(&refused, &common::lines(&log), &what);
                }
            }
            let many = vec!["-v"; 50_000];
            assert_says(&run(&mut host.call(program, &many)), 2, "no IFNAME", "many");
            common::lines(&log);
        }
        host.sandbox.assert_unchanged(&before);
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Attacks: the moment between a look and an act
// ---------------------------------------------------------------------------------------------------------------------

/// A program that has been stopped in the middle of its work.
struct Stopped(Option<Child>);

impl Stopped {
    /// Starts a call under strace(1), which stops it by SIGSTOP right after its `nth` system call of that name.
    /// The tracer is root, who does not take the privilege away. None if it ends before.
    fn after(syscall: &str, nth: u32, call: &Command, stdin: impl Into<Stdio>) -> Option<Self> {
        let mut strace = command("strace");
        // -D: the program, not strace, is our child.
        strace.args(["-D", "-qq", "-o", "/dev/null", "-e"]);
        strace.args([format!("trace={syscall}"), "-e".to_owned()]);
        strace.arg(format!("inject={syscall}:signal=STOP:when={nth}"));
        strace
            .arg("--")
            .arg(call.get_program())
            .args(call.get_args());
        strace
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let stopped = Self(Some(strace.spawn().unwrap()));
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let pid = nix::unistd::Pid::from_raw(stopped.pid().try_into().unwrap());
        let status = waitid(Id::Pid(pid), flags).unwrap();
        matches!(status, WaitStatus::Stopped(..)).then_some(stopped)
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Lets it go on, to its end.
    fn go_on(mut self) -> Run {
        let child = self.0.take().unwrap();
        let sent = run(command("kill").args(["-CONT", &child.id().to_string()]));
        assert_done(&sent);
        ended(&child.wait_with_output().unwrap())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_program_that_its_caller_traces_has_no_privilege() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let script = "exec strace -o /dev/null \"$@\"";
        let refused = run(&mut host.call_in_sh(script, "qemu-ifup", &["tap0"]));
        assert_says(&refused, 3, "no CAP_NET_ADMIN", "traced");
        host.sandbox.assert_unchanged(&before);
    });
}

/// While the call is stopped after each of its system calls of that name in turn, root gives the name tap0, which the
/// call is about, to Bob's tap. Whatever becomes of the call, it leaves Bob's alone.
fn assert_bobs_is_safe(host: &Host, make: &str, call: &Command, syscall: &str) {
    let sandbox = &host.sandbox;
    let before = sandbox.snapshot();
    let bobs = |name| {
        let mut link = sandbox.link(name).unwrap();
        link.as_object_mut().unwrap().remove("ifname");
        link
    };
    for nth in 1.. {
        sandbox.sh(make);
        let victim = bobs("bobs");
        // For a helper; the others do not care.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stopped = Stopped::after(syscall, nth, call, OwnedFd::from(theirs));
        let Some(stopped) = stopped else {
            assert!(nth > 2, "it was not stopped: {call:?}");
            sandbox.try_sh("ip link del tap0");
            break;
        };
        sandbox.try_sh("ip link set tap0 name eth0");
        sandbox.sh("ip link set bobs name tap0");
        let run = stopped.go_on();
        let what = format!("{call:?} after {syscall} {nth}: {run:?}");
        let changes = common::changes(&victim, &bobs("tap0"));
        assert!(changes.is_empty(), "{what}\n{}", changes.join("\n"));
        drop(ours);
        if run.code != 0 && make == ":" {
            assert_eq!(sandbox.link("eth0"), None, "{what}");
        }
        sandbox.try_sh("ip link del eth0");
        sandbox.sh("ip link set tap0 name bobs");
        sandbox.assert_unchanged(&before);
    }
}

#[test]
fn a_tap_renamed_between_look_and_act_does_not_move_the_act_to_another() {
    if !needs("strace") {
        return;
    }
    let mine = format!("ip tuntap add tap0 mode tap user {ALICE}; ip link set tap0 master br1 up");
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        let call = |program: &str, args: &[&str]| host.call(program, args);
        for (make, call, syscall) in [
            (&*mine, call("qemu-ifup", &["tap0"]), "sendto"),
            (&mine, call("qemu-ifdown", &["tap0"]), "sendto"),
            (&mine, call("qemu-ifdown", &["--delete", "tap0"]), "sendto"),
            (":", call("qemu-ifup", &["tap0"]), "sendto"),
            (":", call("qemu-ifup", &["tap0"]), "ioctl"),
        ] {
            assert_bobs_is_safe(host, make, &call, syscall);
        }
    });
}

#[test]
fn a_helpers_tap_renamed_between_making_and_look_does_not_move_the_act_to_another() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        host.sandbox
            .sh(&format!("ip tuntap add bobs mode tap user {BOB}"));
        // No rule stands between root and Bob's tap.
        let mut roots = command(host.programs.join("qemu-ifup"));
        roots.args(["--br=br0", "--fd=0"]);
        for call in [host.call("qemu-ifup", &["--br=br0", "--fd=0"]), roots] {
            for syscall in ["ioctl", "sendto"] {
                assert_bobs_is_safe(host, ":", &call, syscall);
            }
        }
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Attacks: odd files
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn an_acl_file_that_is_not_a_plain_file_of_roots_allows_nothing() {
    // How it is made, in /etc/qemu, and what comes of it.
    #[rustfmt::skip]
    let cases = [
        ("echo allow br0 >rules; ln -s rules bridge.conf", 0, ""),
        ("ln -s nowhere bridge.conf", 3, "there is no"),
        ("ln -s bridge.conf bridge.conf", 8, "symbolic links"),
        ("mkfifo bridge.conf", 8, "not a regular file"),
        ("mkdir bridge.conf", 8, "not a regular file"),
        ("mknod bridge.conf c 1 5; chmod 644 bridge.conf", 8, "not a regular file"),
        ("ln -s /dev/zero bridge.conf", 8, "not a regular file"),
        ("ln -s /proc/self/mem bridge.conf", 8, ""),
        ("(echo allow br0; yes '#' | head -c 10485760) >bridge.conf", 8, "larger than"),
        ("echo allow br0 >bridge.conf; truncate -s 4G bridge.conf", 8, "larger than"),
        ("echo allow br0 >bridge.conf; chmod 666 bridge.conf", 8, "nobody else may write"),
        ("echo allow br0 >bridge.conf; chmod 664 bridge.conf", 8, "nobody else may write"),
        ("echo allow br0 >bridge.conf; chown 54321 bridge.conf", 8, "must be root's"),
        ("echo allow br0 >bridge.conf; chown 54322 bridge.conf", 8, "must be root's"),
        ("echo allow br0 >a; chown 54321 a; ln -s a bridge.conf", 8, "must be root's"),
        ("echo allow br0 >bridge.conf; chmod 600 bridge.conf", 8, "Permission denied"),
        ("echo allow br0 >bridge.conf; chmod 700 .", 8, "Permission denied"),
        ("mkfifo f; (echo allow br0; echo include $PWD/f) >bridge.conf", 8, "bridge.conf:2: cannot read"),
        ("(echo allow br0; echo include /etc/shadow) >bridge.conf", 8, "bridge.conf:2: cannot read"),
        ("(echo allow br0; echo include $PWD) >bridge.conf", 8, "bridge.conf:2: cannot read"),
    ];
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for (make, code, reason) in cases {
            host.sandbox.sh(&format!(
                "rm -rf /etc/qemu; mkdir -m 755 /etc/qemu; cd /etc/qemu; umask 022; {make}"
            ));
            let up = host.ifup(&["tap0"]);
            if code == 0 {
                assert_done(&up);
                host.remove("tap0");
            } else {
                assert_says(&up, code, reason, make);
            }
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn an_included_acl_file_that_somebody_else_could_have_written_allows_nothing() {
    // Who has it and who may write to it, and whether it is believed.
    let cases = [
        ("0:0", "644", true),
        ("0:54321", "640", true),
        ("54321:54321", "644", false),
        ("54321:54321", "444", false),
        ("54322:54321", "644", false),
        ("0:0", "664", false),
        ("0:54330", "664", false),
        ("0:0", "646", false),
        ("0:0", "666", false),
    ];
    both_ways(|host| {
        let sandbox = &host.sandbox;
        // By itself, by a link, and by another file that is as it should be.
        sandbox.sh("ln -s more /etc/qemu/link; echo include /etc/qemu/more >/etc/qemu/between");
        for path in ["/etc/qemu/more", "/etc/qemu/link", "/etc/qemu/between"] {
            sandbox.etc("qemu/bridge.conf", &format!("include {path}\n"));
            for (owner, mode, is_believed) in cases {
                sandbox.etc("qemu/more", "allow br0\n");
                sandbox.sh(&format!(
                    "chown {owner} /etc/qemu/more; chmod {mode} /etc/qemu/more"
                ));
                if is_believed {
                    assert_done(&host.ifup(&["tap0"]));
                    host.remove("tap0");
                } else {
                    let reason = "the included file must be root's, and nobody else may write";
                    host.assert_refused("qemu-ifup", &["tap0"], 8, reason);
                }
            }
        }
        // A denial in such a file is no more to be relied on than the lack of one.
        sandbox.etc("qemu/bridge.conf", "allow br0\ninclude /etc/qemu/more\n");
        sandbox.etc("qemu/more", "deny br9\n");
        sandbox.sh("chown 54321 /etc/qemu/more");
        host.assert_refused("qemu-ifup", &["tap0"], 8, "/etc/qemu/bridge.conf:2");
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// What is left of the privileges
// ---------------------------------------------------------------------------------------------------------------------

/// CAP_NET_ADMIN alone, and no capability, as /proc/PID/status has them.
const ONE: &str = "0000000000001000";
const NONE: &str = "0000000000000000";

#[test]
fn after_the_start_it_is_the_caller_with_one_capability() {
    if !needs("strace") {
        return;
    }
    let Some(host) = Host::new(Way::NotAtAll) else {
        return;
    };
    let ids = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    let (root, alice) = (ids(0), ids(ALICE));
    let everything = [
        "--inh-caps=+net_admin,+chown,+setuid,+sys_admin",
        "--ambient-caps=+net_admin,+chown,+setuid,+sys_admin",
    ];
    let roots = |options: &[&str]| {
        let mut call = command("setpriv");
        call.args(options).arg(host.programs.join("qemu-ifup"));
        call.arg("tap0");
        call
    };
    let alices = |options: &[&str]| host.call_with(options, "qemu-ifup", &["tap0"]);
    // How the program's file is made, who calls it, and whose ids and which capabilities it has then.
    #[rustfmt::skip]
    let cases = [
        (":", roots(&[]), &root, ONE),
        (":", roots(&everything), &root, ONE),
        ("chmod 6755 $F", roots(&[]), &root, ONE),
        ("setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        ("setcap cap_net_admin,cap_chown,cap_sys_admin+eip $F", alices(&[]), &alice, ONE),
        ("setcap cap_net_admin+p $F", alices(&[]), &alice, ONE),
        ("chmod 4755 $F", alices(&[]), &alice, ONE),
        ("chmod 6755 $F", alices(&[]), &alice, ONE),
        ("chgrp 54331 $F; chmod 2755 $F; setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        ("chown 54322:54331 $F; chmod 6755 $F; setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        (":", alices(&everything), &alice, ONE),
        ("chmod 4755 $F", alices(&everything), &alice, ONE),
        (":", alices(&["--inh-caps=+chown", "--ambient-caps=+chown"]), &alice, NONE),
        ("chown 54322:54331 $F; chmod 6755 $F", alices(&[]), &alice, NONE),
        (":", alices(&[]), &alice, NONE),
    ];
    let plain = bin("qemu-ifup");
    for (make, call, ids, capabilities) in cases {
        host.sandbox.sh(&format!(
            "F=$DIR/bin/qemu-ifup; rm -f $F; cp {} $F; chmod 755 $F; {make}",
            plain.display()
        ));
        let stopped = Stopped::after("sendto", 1, &call, Stdio::null())
            .unwrap_or_else(|| panic!("{make}: {call:?} ends early"));
        let status = fs::read_to_string(format!("/proc/{}/status", stopped.pid())).unwrap();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        let what = format!("{make}: {call:?}");
        assert_eq!(field("Name"), Some("qemu-ifup"), "{what}");
        for (name, value) in [
            ("Uid", ids.as_str()),
            ("Gid", ids),
            ("CapPrm", capabilities),
            ("CapEff", capabilities),
            ("CapInh", NONE),
            ("CapAmb", NONE),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(field(name), Some(value), "{what}: {name}\n{status}");
        }
        if *ids == alice {
            let groups = field("Groups").unwrap().split_whitespace();
            assert_eq!(groups.collect::<Vec<_>>(), [STAFF.to_string()], "{what}");
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// A real QEMU of an ordinary user
// ---------------------------------------------------------------------------------------------------------------------

const CARD: &str = "-device virtio-net-pci,netdev=n1,romfile=";

#[test]
fn an_ordinary_users_qemu_gets_a_tap_in_the_bridge_in_every_way() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let ifup = host.programs.join("qemu-ifup");
        let ifdown = host.programs.join("qemu-ifdown");
        let (ifup, ifdown) = (ifup.display(), ifdown.display());
        // What prepares a tap for it, and how QEMU is told.
        let prepared = format!("SUDO_UID={ALICE} {ifup} tap0");
        // With QEMU's own flags: opening it rewrites them.
        let made = format!("ip tuntap add tap0 mode tap vnet_hdr user {ALICE}");
        #[rustfmt::skip]
        let cases = [
            (":", format!("bridge,id=n1,br=br0,helper={ifup}")),
            (":", format!("tap,id=n1,br=br0,helper={ifup}")),
            (&prepared, "tap,id=n1,ifname=tap0,script=no,downscript=no".to_owned()),
            (&made, format!("tap,id=n1,ifname=tap0,script={ifup},downscript={ifdown}")),
        ];
        for (prepare, netdev) in cases {
            host.sandbox.sh_as_ours(prepare);
            let line = format!("-netdev {netdev} {CARD}");
            let qemu = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap();
            assert_eq!(host.sandbox.ports("br0"), ["tap0"], "{netdev}");
            host.assert_up("tap0", "br0");
            let quit = qemu.quit();
            assert_eq!((quit.code, quit.stderr.as_str()), (0, ""), "{netdev}");
            host.sandbox.try_sh("ip link del tap0");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn an_ordinary_users_qemu_that_is_refused_passes_the_reason_on() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    both_ways(|host| {
        let ifup = host.programs.join("qemu-ifup");
        let ifup = ifup.display();
        host.sandbox.sh(&format!(
            "ip tuntap add tap0 mode tap vnet_hdr user {ALICE}; ip link set tap0 master br9"
        ));
        let before = host.sandbox.snapshot();
        for netdev in [
            format!("bridge,id=n1,br=br9,helper={ifup}"),
            format!("tap,id=n1,br=br9,helper={ifup}"),
            format!("tap,id=n1,ifname=tap0,script={ifup}"),
        ] {
            let line = format!("-netdev {netdev} {CARD}");
            let refused = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap_err();
            assert_eq!(refused.code, 1, "{refused:?}");
            let said = |line: &str| {
                line.starts_with("qemu-ifup: ")
                    && line.contains("denied by /etc/qemu/bridge.conf:3")
            };
            assert!(refused.stderr.lines().any(said), "{netdev}: {refused:?}");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// The source and the programs
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn no_program_asks_the_systems_name_services() {
    if !needs("nm") {
        return;
    }
    // The programs as cargo has just built them: those that are shipped have no symbols.
    for program in [
        env!("CARGO_BIN_EXE_qemu-ifup"),
        env!("CARGO_BIN_EXE_qemu-ifdown"),
    ] {
        let symbols = run(command("nm").arg(program));
        assert_done(&symbols);
        let names = symbols.stdout.lines().filter_map(|line| {
            let (rest, name) = line.rsplit_once(' ')?;
            // Kind n: a note of the linker's, no code.
            (!rest.ends_with(" n")).then(|| name.trim_start_matches('_'))
        });
        let names: BTreeSet<&str> = names.collect();
        assert!(names.contains("main"), "{program} has no symbols");
        let services = [
            "getpw",
            "getgrnam",
            "getgrgid",
            "getaddrinfo",
            "gethostbyname",
            "getservby",
        ];
        let found: Vec<_> = names
            .iter()
            .filter(|name| services.iter().any(|service| name.starts_with(service)))
            .collect();
        assert!(found.is_empty(), "{program}: {found:?}");
    }
}
