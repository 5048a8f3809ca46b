//! The guest has no network: what `qemu-ifup --check`, the error messages, the warnings and the log say of it, and
//! whether what they tell people to do helps.
//!
//! Every situation is built in a network of its own. The command that mends it is taken from what the program
//! printed and run by a shell; afterwards the complaint has to be gone.

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

use common::{
    Qemu, Run, Sandbox, changes, command, lines, needs, open_tap_as, run, skip, test_name,
};
use nix::errno::Errno;
use qemu_ifup::check::diagnose;
use qemu_ifup::check::finding::{Finding, Level, exit_code};
use qemu_ifup::check::snapshot::{BridgeDetails, CheckContext, HostSnapshot};
use qemu_ifup::config::acl::Verdict;
use qemu_ifup::error::Error;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::error::hint::TUN_HINTS;
use qemu_ifup::model::addr::MacAddr;
use qemu_ifup::model::bridge::{BR_MAX_PORTS, BridgeInfo};
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::model::link::{AddrGenMode, Link, LinkKind, TapInfo};
use qemu_ifup::model::state::{InterfaceManager, Sysctls, TapHolder};
use qemu_ifup::policy::caller::Authority;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

/// A user whom no /etc/passwd knows.
const ALICE: u32 = 54321;

/// Where it is decided whether frames on bridges go through iptables.
const BRIDGE_NF: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

// ---------------------------------------------------------------------------------------------------------------------
// A host, and what the program says of it
// ---------------------------------------------------------------------------------------------------------------------

/// A host where all is well: the programs in /etc and in PATH, and a bridge with an address. `alice` runs a command as
/// that user; `sudo` stands in for the real one, which looks for programs elsewhere.
fn host() -> Option<Sandbox> {
    let s = Sandbox::new()?;
    s.install();
    s.bridge_up("br0");
    s.script("sudo", "exec \"$@\"");
    let alice = format!("exec setpriv --reuid {ALICE} --regid {ALICE} --clear-groups -- \"$@\"");
    s.script("alice", &alice);
    s.sh(&format!(
        "ln -s /etc/qemu-ifup /etc/qemu-ifdown \"$DIR\"
         ip address add 192.168.10.1/24 dev br0
         echo 1 >/proc/sys/net/ipv4/ip_forward
         if [ -e {BRIDGE_NF} ]; then echo 0 >{BRIDGE_NF}; fi"
    ));
    Some(s)
}

/// The same where this program is there as well.
fn host_with(program: &str) -> Option<Sandbox> {
    if needs(program) { host() } else { None }
}

/// The same where alice may attach taps of her own to the bridges that /etc/qemu/bridge.conf allows.
fn host_for_alice(rules: &str) -> Option<Sandbox> {
    let s = host_with("setcap")?;
    s.open_tun_to_all();
    s.etc("qemu/bridge.conf", rules);
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup; setcap cap_net_admin+ep /etc/qemu-ifdown");
    Some(s)
}

/// Runs a test with a host of its own: a sandbox takes a whole thread.
fn on_its_own<T: Send>(row: &str, test: impl FnOnce() -> T + Send) -> T {
    let name = format!("{}: {row}", test_name());
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name);
        let ended = thread.spawn_scoped(scope, test).unwrap().join();
        ended.unwrap_or_else(|_| panic!("in this row: {row}"))
    })
}

/// What somebody types.
fn sh(s: &Sandbox, line: &str) -> Run {
    s.try_sh(&format!("PATH=\"$DIR:$PATH\"\n{line}"))
}

/// The same, and it has to work.
fn must(s: &Sandbox, line: &str) -> Run {
    let run = sh(s, line);
    assert_eq!(run.code, 0, "{line}\n{run:?}");
    run
}

/// A finding as it was printed, with what is to be done about it.
#[derive(Debug)]
struct Found {
    level: String,
    about: String,
    what: String,
    mend: String,
}

#[derive(Debug)]
struct Checked {
    code: i32,
    found: Vec<Found>,
}

impl Checked {
    fn find(&self, level: &str, words: &str) -> Option<&Found> {
        let mut found = self.found.iter();
        found.find(|found| found.level == level && found.what.contains(words))
    }

    #[track_caller]
    fn says(&self, level: &str, words: &str) -> &Found {
        let found = self.find(level, words);
        found.unwrap_or_else(|| panic!("no {level} with '{words}': {self:#?}"))
    }

    #[track_caller]
    fn does_not_say(&self, level: &str, words: &str) {
        let found = self.find(level, words);
        assert!(found.is_none(), "{found:#?}");
    }
}

/// A finding is a line in three columns, and what mends it a line below the third.
fn parse(stdout: &str) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for line in stdout.lines() {
        if let Some(mend) = line.strip_prefix(&format!("{:22}-> ", "")) {
            let last = all.last_mut().expect("nothing to mend");
            assert_eq!(last.mend, "", "twice: {line}");
            mend.clone_into(&mut last.mend);
            continue;
        }
        let columns = (line.get(..9), line.get(9..24), line.get(24..));
        let (Some(level), Some(about), Some(what)) = columns else {
            panic!("no finding: {line}");
        };
        let level = level.trim_end().to_owned();
        assert!(
            ["ok", "warning", "problem"].contains(&level.as_str()),
            "{line}"
        );
        assert!(!what.is_empty() && !what.starts_with(' '), "{line}");
        all.push(Found {
            level,
            about: about.trim_end().to_owned(),
            what: what.to_owned(),
            mend: String::new(),
        });
    }
    // What else runs on the machine is not the test's.
    all.retain(|found| found.about != "managers");
    all
}

fn check(s: &Sandbox, line: &str) -> Checked {
    let run = sh(s, line);
    assert_eq!(run.stderr, "", "{run:?}");
    let found = parse(&run.stdout);
    let has_problem = found.iter().any(|found| found.level == "problem");
    assert_eq!(run.code != 0, has_problem, "{run:?}");
    Checked {
        code: run.code,
        found,
    }
}

/// The command in an advice that begins like this: up to the end of the parenthesis, the clause or the line.
#[track_caller]
fn command_in<'a>(advice: &'a str, start: &str) -> &'a str {
    let at = advice.find(start);
    let at = at.unwrap_or_else(|| panic!("no command '{start}' in: {advice}"));
    advice[at..].split([')', ';', '\n']).next().unwrap()
}

/// All interfaces, but for what the ports of a bridge do with frames: that follows the carrier with a delay.
fn snapshot(s: &Sandbox) -> Value {
    fn without_states(value: &mut Value) {
        if let Some(list) = value.as_array_mut() {
            list.iter_mut().for_each(without_states);
        } else if let Some(map) = value.as_object_mut() {
            map.remove("state");
            map.values_mut().for_each(without_states);
        }
    }
    let mut all = s.snapshot();
    without_states(&mut all);
    all
}

#[track_caller]
fn assert_unchanged(s: &Sandbox, before: &Value) {
    let changes = changes(before, &snapshot(s));
    assert!(changes.is_empty(), "not as before:\n{}", changes.join("\n"));
}

/// `--check` says so, and changes nothing; its advice is followed to the letter; then it says so no more.
#[track_caller]
fn complaint_and_cure(s: &Sandbox, line: &str, level: &str, words: &str, start: &str) -> Checked {
    let before = snapshot(s);
    let checked = check(s, line);
    assert_unchanged(s, &before);
    let advice = &checked.says(level, words).mend;
    must(s, command_in(advice, start));
    let after = check(s, line);
    after.does_not_say(level, words);
    after
}

/// It failed with this code; the first line says this, and the second, if there is to be one, is a hint with that.
#[track_caller]
fn assert_failed(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1 + usize::from(!hint.is_empty()), "{run:?}");
    assert!(lines[0].starts_with("qemu-if"), "{run:?}");
    assert!(lines[0].contains(error), "no '{error}': {run:?}");
    if let Some(line) = lines.get(1) {
        assert!(line.contains(": hint: "), "{run:?}");
        assert!(line.contains(hint), "no '{hint}': {run:?}");
    }
}

/// br0 with an uplink, such as a network card, whose MTU it has.
fn give_uplink(s: &Sandbox, mtu: u32) {
    s.sh(&format!(
        "ip link add up0 mtu {mtu} type veth peer name far0 mtu {mtu}
         ip link set up0 address 02:ff:00:00:00:01
         ip link set up0 up; ip link set far0 up
         ip link set up0 master br0"
    ));
}

fn mtu(s: &Sandbox, name: &str) -> u64 {
    s.link(name).unwrap()["mtu"].as_u64().unwrap()
}

fn mac(s: &Sandbox, name: &str) -> String {
    s.link(name).unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned()
}

// ---------------------------------------------------------------------------------------------------------------------
// The most common complaints
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn complaint_there_is_no_dev_net_tun() {
    #[rustfmt::skip]
    let table = [
        // (how it got lost, how the command begins)
        ("rm -r /dev/net", "mkdir"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 1 3", "rm /dev/net/tun"),
    ];
    for (broken, start) in table {
        on_its_own(broken, || {
            let Some(s) = host() else { return };
            must(&s, broken);
            let run = sh(&s, "qemu-ifup tap0");
            assert_failed(&run, 6, "cannot use /dev/net/tun: ", start);
            let checked = check(&s, "qemu-ifup --check tap0");
            assert_eq!(checked.says("problem", "").about, "/dev/net/tun");
            assert_eq!(checked.code, 6);
            complaint_and_cure(&s, "qemu-ifup --check tap0", "problem", "", start);
            must(&s, "qemu-ifup tap0");
        });
    }
}

#[test]
fn complaint_operation_not_permitted() {
    let Some(s) = host_with("setcap") else { return };
    fs::set_permissions("/dev/net/tun", fs::Permissions::from_mode(0o600)).unwrap();
    let check_it = "alice qemu-ifup --check tap0";
    let run = sh(&s, "alice qemu-ifup tap0");
    assert_failed(&run, 3, "no CAP_NET_ADMIN", "install.sh --setcap");

    // One way out is root.
    let checked = check(&s, check_it);
    let found = checked.says("problem", "uid 54321, without CAP_NET_ADMIN");
    let as_root = command_in(&found.mend, "sudo").split(',').next().unwrap();
    must(&s, &as_root.replace("...", "--owner 54321 tap0"));
    must(&s, "qemu-ifdown --delete tap0");

    // The other one is the installer, which is tested elsewhere; in the end it does this.
    assert!(found.mend.contains("./install.sh --setcap"), "{found:?}");
    must(&s, "setcap cap_net_admin+ep /etc/qemu-ifup");
    check(&s, check_it).does_not_say("problem", "CAP_NET_ADMIN");

    // Then two more things are in the way, which root mends one after the other.
    let run = sh(&s, "alice qemu-ifup tap0");
    let hint = "root adds this line to /etc/qemu/bridge.conf: allow br0";
    assert_failed(&run, 3, "there is no /etc/qemu/bridge.conf", hint);
    complaint_and_cure(&s, check_it, "problem", "Permission denied", "chmod");
    let after = complaint_and_cure(
        &s,
        check_it,
        "problem",
        "there is no /etc/qemu/bridge.conf",
        "mkdir",
    );
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "alice qemu-ifup tap0");
}

#[test]
fn complaint_operation_not_permitted_since_no_rule_allows_the_bridge() {
    let Some(s) = host_for_alice("allow br1\n") else {
        return;
    };
    let check_it = "alice qemu-ifup --check tap0";
    let words = "no line of /etc/qemu/bridge.conf allows br0";
    assert_failed(&sh(&s, "alice qemu-ifup tap0"), 3, words, "allow br0");
    assert_eq!(check(&s, check_it).code, 3);
    let after = complaint_and_cure(&s, check_it, "problem", words, "echo");
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "alice qemu-ifup tap0");
}

#[test]
fn the_advice_is_safe_to_run_whatever_the_bridge_is_called() {
    let Some(s) = host_for_alice("deny nothing\n") else {
        return;
    };
    s.sh("ip link add 'b;>$x' address 02:00:00:00:00:aa type bridge");
    let check_it = "alice qemu-ifup --check --bridge 'b;>$x' tap0";
    let checked = check(&s, check_it);
    let advice = &checked.says("problem", "no line of").mend;
    must(&s, advice);
    let advice = &checked.says("problem", "is down").mend;
    must(&s, advice);
    let after = check(&s, check_it);
    assert_eq!(after.code, 0, "{after:#?}");
}

#[test]
fn complaint_operation_not_permitted_in_a_container() {
    let Some(s) = host() else { return };
    let without = "setpriv --bounding-set -net_admin qemu-ifup";
    let run = sh(&s, &format!("{without} tap0"));
    assert_failed(&run, 3, "Operation not permitted", "CAP_NET_ADMIN");
    let checked = check(&s, &format!("{without} --check tap0"));
    let found = checked.says("problem", "root, but without CAP_NET_ADMIN");
    assert!(found.mend.contains("--cap-add NET_ADMIN"), "{found:?}");
    assert_eq!(checked.code, 3);
    must(&s, "qemu-ifup tap0");
}

#[test]
fn complaint_network_script_failed_with_status_1024() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    s.sh("ip link del br0");
    let tap = "-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=no";
    let ended = Qemu::start(&s, tap).unwrap_err();
    assert!(
        ended.stderr.contains("failed with status 1024"),
        "{ended:?}"
    );
    assert!(
        must(&s, "qemu-ifup --help")
            .stdout
            .contains("256 times the code")
    );
    let message = "qemu-ifup: tap0: cannot attach to br0: no such bridge";
    assert!(ended.stderr.contains(message), "{ended:?}");
    must(&s, command_in(&ended.stderr, "ip link add"));
    Qemu::start(&s, tap).unwrap();
}

#[test]
fn complaint_device_or_resource_busy() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    let tap = "-netdev tap,id=n1,ifname=busy0,script=no,downscript=no";
    let first = Qemu::start(&s, tap).unwrap();
    let second = Qemu::start(&s, tap).unwrap_err();
    assert!(
        second.stderr.contains("Device or resource busy"),
        "{second:?}"
    );

    let who = format!("busy0 is open in qemu-system-x86 (pid {})", first.pid());
    let checked = check(&s, "qemu-ifup --check busy0");
    let found = checked.says("warning", &who);
    assert!(found.what.contains("EBUSY"), "{found:?}");
    must(&s, command_in(&found.mend, "kill"));
    first.wait();
    let after = check(&s, "qemu-ifup --check busy0");
    after.does_not_say("warning", "is open in");
    Qemu::start(&s, tap).unwrap();
}

#[test]
fn complaint_the_bridge_is_missing() {
    let Some(s) = host() else { return };
    s.sh("ip link del br0; ip link add br1 type bridge; ip link add virbr0 type bridge");
    let words = "cannot attach to br0: no such bridge (there is br1, virbr0)";
    assert_failed(
        &sh(&s, "qemu-ifup tap0"),
        4,
        words,
        "ip link add br0 type bridge",
    );
    assert_eq!(check(&s, "qemu-ifup --check").code, 4);
    let after = complaint_and_cure(&s, "qemu-ifup --check", "problem", words, "ip link add");
    assert_eq!(after.code, 0, "{after:#?}");
    must(&s, "qemu-ifup tap0");
    // The advice's other way.
    s.sh("ip link del br0");
    let run = sh(&s, "qemu-ifup tap1");
    let options = command_in(&run.stderr, "--create-bridge");
    must(&s, &format!("qemu-ifup {options} tap1"));
}

#[test]
fn complaint_the_name_is_too_long() {
    let Some(s) = host() else { return };
    for line in [
        "qemu-ifup vm-database-tap0",
        "qemu-ifup --check vm-database-tap0",
    ] {
        let run = sh(&s, line);
        assert_failed(
            &run,
            2,
            "'vm-database-tap0' is no interface name: ",
            "1 to 15 bytes",
        );
    }
    must(&s, "qemu-ifup vm-database-tap");
}

#[test]
fn complaint_queues_do_not_match() {
    let Some(s) = host_with("qemu-system-x86_64") else {
        return;
    };
    s.sh("ip tuntap add one0 mode tap");
    let tap = "-netdev tap,id=n1,ifname=one0,script=no,downscript=no,queues=2";
    let ended = Qemu::start(&s, tap).unwrap_err();
    assert!(ended.stderr.contains("Invalid argument"), "{ended:?}");

    let checked = check(&s, "qemu-ifup --check one0");
    checked.says("ok", "with one queue: QEMU's queues=N fails with EINVAL");
    let run = sh(&s, "qemu-ifup --multi-queue one0");
    assert_failed(
        &run,
        5,
        "it was created for one",
        "qemu-ifdown --delete one0",
    );
    must(&s, command_in(&run.stderr, "qemu-ifdown"));
    must(&s, "qemu-ifup --multi-queue one0");
    check(&s, "qemu-ifup --check one0").says("ok", "with several queues");
    Qemu::start(&s, tap).unwrap();
}

#[test]
fn complaint_the_guest_gets_no_dhcp_with_stp() {
    let Some(s) = host() else { return };
    s.sh("ip link set br0 type bridge stp_state 1 forward_delay 1500");
    let words = "STP is on: a port forwards 30 s after a guest starts, too late for its DHCP";
    complaint_and_cure(
        &s,
        "qemu-ifup --check tap0",
        "warning",
        words,
        "ip link set",
    );
    check(&s, "qemu-ifup --check tap0").says("ok", "STP is off");
    assert_eq!(must(&s, "qemu-ifup tap0").stderr, "");
}

#[test]
fn complaint_docker_drops_bridged_traffic() {
    let Some(s) = host() else { return };
    if !Path::new(BRIDGE_NF).exists() {
        return skip(&test_name(), "needs br_netfilter");
    }
    s.sh(&format!(
        "ip link add docker0 type bridge; echo 1 >{BRIDGE_NF}"
    ));
    let words = "frames on bridges go through iptables, where Docker, for one, drops them";
    let warned = must(&s, "qemu-ifup tap0").stderr;
    assert!(warned.contains("Docker drops them: sysctl"), "{warned}");
    complaint_and_cure(&s, "qemu-ifup --check tap0", "warning", words, "sysctl");
    assert_eq!(must(&s, "qemu-ifup tap1").stderr, "");
}

#[test]
fn complaint_the_mtu_of_the_bridge_fell_to_1500() {
    let Some(s) = host() else { return };
    give_uplink(&s, 9000);
    assert_eq!(mtu(&s, "br0"), 9000);
    // What the usual shell scripts do.
    s.sh("ip tuntap add old0 mode tap; ip link set old0 master br0 up");
    assert_eq!(mtu(&s, "br0"), 1500);
    let words = "br0 has MTU 1500, because its port old0 has";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!((mtu(&s, "old0"), mtu(&s, "br0")), (9000, 9000));
    // Ours does not do it again.
    must(&s, "qemu-ifup tap0");
    assert_eq!((mtu(&s, "tap0"), mtu(&s, "br0")), (9000, 9000));
}

#[test]
fn a_bridge_whose_ports_all_have_its_mtu_is_not_complained_about() {
    for size in [1400, 1500, 9000] {
        on_its_own(&size.to_string(), || {
            let Some(s) = host() else { return };
            give_uplink(&s, size);
            must(&s, "qemu-ifup tap0");
            check(&s, "qemu-ifup --check tap0").does_not_say("warning", "MTU");
        });
    }
}

#[test]
fn complaint_the_mac_of_the_bridge_changed_as_its_taps_came_and_went() {
    let Some(s) = host() else { return };
    s.sh("ip link add br1 up type bridge; ip address add 192.168.11.1/24 dev br1");
    must(&s, "qemu-ifup --bridge br1 tap0");
    assert_eq!(mac(&s, "br1"), mac(&s, "tap0"));
    let words = "br1 has the MAC of its port tap0";
    complaint_and_cure(
        &s,
        "qemu-ifup --check --bridge br1",
        "warning",
        words,
        "ip link set",
    );
    let fixed = mac(&s, "br1");
    must(&s, "qemu-ifdown --delete tap0");
    assert_eq!(mac(&s, "br1"), fixed);
    // One that has a MAC of its own is not complained about.
    must(&s, "qemu-ifup tap1");
    check(&s, "qemu-ifup --check").does_not_say("warning", "MAC");
}

#[test]
fn complaint_the_host_lost_its_network_as_the_bridge_took_the_mac_of_a_tap() {
    let Some(s) = host() else { return };
    // No MAC of its own, so that of the uplink: under it, the host is known.
    s.sh("ip link del br0; ip link add br0 up type bridge");
    give_uplink(&s, 1500);
    let known = mac(&s, "up0");
    assert_eq!(mac(&s, "br0"), known);
    // A tap of the usual shell scripts, with a MAC that happens to be lower.
    s.sh("ip tuntap add old0 mode tap; ip link set old0 address 02:00:00:00:00:01 master br0 up");
    assert_eq!(mac(&s, "br0"), mac(&s, "old0"));
    let words = "br0 has the MAC of its port old0";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!(mac(&s, "br0"), known);
    // Nor does it with ours.
    must(&s, "qemu-ifup tap0");
    assert_eq!(mac(&s, "br0"), known);
}

/// What a user can do with a descriptor of a tap shows in the bridge.
#[test]
fn a_bridge_without_a_mac_of_its_own_is_complained_about_where_users_may_attach_to_it() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    s.sh("mount -t sysfs sysfs /sys; ip link del br0; ip link add br0 up type bridge");
    give_uplink(&s, 1500);
    let known = mac(&s, "br0");
    let words = "br0 has no MAC of its own";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!(mac(&s, "br0"), known);
    s.sh(
        "ip link add br1 up type bridge; ip link add port0 master br1 up type veth peer name port1",
    );
    // Nobody but root may attach to that one.
    check(&s, "qemu-ifup --check -b br1").does_not_say("warning", "MAC of its own");
}

#[test]
fn complaint_a_tap_is_left_behind() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup left0");
    let checked = check(&s, "qemu-ifup --check left0");
    checked.says("ok", "left0 is persistent");
    let found = checked.says("ok", "left0 is open in no program");
    must(&s, command_in(&found.what, "qemu-ifdown"));
    assert!(s.link("left0").is_none());
    check(&s, "qemu-ifup --check left0").says("ok", "left0 does not exist and will be created");
}

#[test]
fn complaints_about_a_tap_are_mended_by_the_command_that_is_given() {
    #[rustfmt::skip]
    let table = [
        // (the tap, the call, the complaint)
        ("ip tuntap add t0 mode tap", "t0", "t0 is in no bridge"),
        ("ip tuntap add t0 mode tap", "t0", "t0 has no owner"),
        ("ip tuntap add t0 mode tap", "t0", "t0 will give itself an IPv6 address"),
        ("qemu-ifup t0; ip link set t0 down", "t0", "t0 is down"),
        ("qemu-ifup t0; ip link set br0 mtu 9000", "t0", "t0 has MTU 1500, the bridge 9000"),
        (
            "ip link add br1 up address 02:00:00:00:00:aa type bridge; ip address add 192.168.11.1/24 dev br1; ip tuntap add t0 mode tap",
            "--bridge br1 t0",
            "t0 is in no bridge",
        ),
        (
            "ip link add br1 up address 02:00:00:00:00:aa type bridge; ip address add 192.168.11.1/24 dev br1; qemu-ifup t0",
            "--bridge br1 t0",
            "t0 is a port of",
        ),
    ];
    for (tap, args, words) in table {
        on_its_own(words, || {
            let Some(s) = host() else { return };
            must(&s, tap);
            let line = format!("qemu-ifup --check {args}");
            let after = complaint_and_cure(&s, &line, "warning", words, "");
            let ok = after.found.iter().all(|found| found.level == "ok");
            assert!(ok, "{after:#?}");
        });
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Exit codes and hints
// ---------------------------------------------------------------------------------------------------------------------

/// Provokes each of these on a host of its own: (what is done to the host, the call, exit code, message, hint).
fn provoke(rules: Option<&str>, table: &[(&str, &str, i32, &str, &str)]) {
    for (prepare, line, code, error, hint) in table {
        on_its_own(line, || {
            let host = match rules {
                Some(rules) => host_for_alice(rules),
                None => host(),
            };
            let Some(s) = host else { return };
            must(&s, prepare);
            assert_failed(&sh(&s, line), *code, error, hint);
        });
    }
}

/// What is not here needs a second program at just the right moment, or a kernel that says yes and does not act.
#[test]
fn each_error_has_its_exit_code_and_its_hint() {
    let no_bridge = "let qemu-ifup create it (--create-bridge --address 192.168.10.1/24), create it (ip link add br9";
    #[rustfmt::skip]
    let table = [
        ("", "qemu-ifup --help >/dev/full", 1, "cannot write the output: No space", ""),
        ("", "qemu-ifup --check >/dev/full", 1, "cannot write the output: No space", ""),
        ("", "qemu-ifup -n tap0 >/dev/full", 1, "cannot write the output: No space", ""),
        ("rm /etc/passwd", "qemu-ifup -u ann tap0", 1, "cannot read /etc/passwd: No such", ""),
        ("", "qemu-ifup", 2, "no IFNAME given", "--help lists the options"),
        ("", "qemu-ifdown --wait 1 tap0", 2, "unknown option --wait", "--help lists"),
        ("", "qemu-ifup a/b", 2, "'a/b' is no interface name", "1 to 15 bytes"),
        ("", "qemu-ifup -u ann0 tap0", 2, "'ann0': not in /etc/passwd", "--owner UID"),
        ("", "qemu-ifup -g staff0 tap0", 2, "'staff0': not in /etc/group", "--group GID"),
        ("", "SUDO_UID=x qemu-ifup tap0", 2, "SUDO_UID is 'x'", "run it without SUDO_UID"),
        ("", "qemu-ifup --fd=0 </dev/null", 2, "hand a tap over descriptor 0", "for QEMU"),
        ("", "alice qemu-ifup tap0", 3, "no CAP_NET_ADMIN", "sudo"),
        ("", "qemu-ifup -b br9 tap0", 4, "cannot attach to br9: no such bridge", no_bridge),
        ("", "qemu-ifup -b lo tap0", 4, "it is not a bridge but", "ip link show type bridge"),
        (
            "ip link add d0 type veth peer name d1",
            "qemu-ifup -b d0 tap0",
            4,
            "it is not a bridge but an interface of kind veth",
            "ip link show type bridge",
        ),
        ("", "qemu-ifup --pvid 5 tap0", 4, "br0 does not filter them", "ip link set dev br0 type bridge vlan_filtering 1"),
        ("", "qemu-ifup lo", 5, "it is not a tap but", "name a tap"),
        ("", "qemu-ifdown lo", 5, "it is not a tap but", "name a tap"),
        (
            "ip tuntap add t0 mode tap user 5",
            "qemu-ifup --group 7 t0",
            5,
            "cannot set the group to gid 7: it has an owner",
            "qemu-ifdown --delete t0",
        ),
        ("rm /dev/net/tun", "qemu-ifup tap0", 6, "No such file", "mknod /dev/net/tun c 10 200"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 10 199", "qemu-ifup tap0", 6, "No such device", "modprobe tun"),
        ("rm /dev/net/tun; mknod /dev/net/tun c 120 0", "qemu-ifup tap0", 6, "No such device or address", "modprobe tun"),
        ("", "qemu-ifup -b br9 --create-bridge --address ::1/128 tap0", 7, "cannot create the bridge br9: ", ""),
        (
            "printf '\\n* --bridge\\n' >/etc/qemu-ifup.conf",
            "qemu-ifup tap0",
            8,
            "cannot rely on /etc/qemu-ifup.conf:2: --bridge needs a value",
            "web? --bridge br1",
        ),
        (
            "touch /etc/qemu-ifup.conf; chmod 666 /etc/qemu-ifup.conf",
            "qemu-ifup tap0",
            8,
            "cannot rely on /etc/qemu-ifup.conf: it must be root's",
            "chown root /etc/qemu-ifup.conf && chmod 0644 /etc/qemu-ifup.conf",
        ),
    ];
    provoke(None, &table);
}

#[test]
fn a_hint_does_not_name_the_other_program() {
    let Some(s) = host() else { return };
    for (program, other) in [("qemu-ifup", "qemu-ifdown"), ("qemu-ifdown", "qemu-ifup")] {
        let run = sh(&s, &format!("alice {program} tap0"));
        assert_failed(&run, 3, "no CAP_NET_ADMIN", "sudo");
        assert!(!run.stderr.contains(other), "{run:?}");
    }
}

#[test]
fn each_refusal_has_its_exit_code_and_its_hint() {
    #[rustfmt::skip]
    let table = [
        (
            "",
            "alice qemu-ifup -b br8 tap0",
            3,
            "no line of /etc/qemu/bridge.conf allows br8",
            "root adds this line to /etc/qemu/bridge.conf: allow br8",
        ),
        ("", "alice qemu-ifup -b br9 tap0", 3, "denied by /etc/qemu/bridge.conf:2", "root would have to delete it from /etc/qemu/bridge.conf:2"),
        ("", "alice qemu-ifup -u 5 tap0", 3, "cannot give a tap to uid 5", "sudo"),
        ("", "alice qemu-ifup --mtu 1000 tap0", 3, "cannot set MTU 1000", "sudo"),
        ("", "alice qemu-ifup --create-bridge tap0", 3, "cannot use --create-bridge", "qemu-ifup.conf"),
        ("", "alice qemu-ifup --pvid 5 tap0", 3, "cannot use --pvid", "qemu-ifup.conf"),
        ("ip tuntap add t0 mode tap user 5", "alice qemu-ifup t0", 3, "it is another user's", "sudo"),
        ("ip tuntap add t0 mode tap", "alice qemu-ifdown t0", 3, "it has no owner", "sudo"),
        ("ip tuntap add t0 mode tap group 5", "alice qemu-ifup t0", 3, "a group that you are not in", "sudo"),
        ("chmod 600 /dev/net/tun", "alice qemu-ifup tap0", 6, "cannot use /dev/net/tun: Permission denied", "chmod 0666 /dev/net/tun"),
        (
            "echo permit br0 >>/etc/qemu/bridge.conf",
            "alice qemu-ifup tap0",
            8,
            "/etc/qemu/bridge.conf:4: 'permit' is not allow, deny or include",
            "the rules are: allow NAME",
        ),
        (
            "chmod 666 /etc/qemu/bridge.conf",
            "alice qemu-ifup tap0",
            8,
            "cannot rely on /etc/qemu/bridge.conf",
            "chown root /etc/qemu/bridge.conf && chmod 0644 /etc/qemu/bridge.conf",
        ),
    ];
    provoke(Some("allow br0\ndeny br9\nallow br9\n"), &table);
}

#[test]
fn a_device_that_a_cgroup_keeps_away_has_a_hint_of_its_own() {
    let Some(s) = host_with("strace") else { return };
    let strace = "strace -qq -o /dev/null -P /dev/net/tun -e inject=open,openat:error=EPERM";
    let run = sh(&s, &format!("{strace} qemu-ifup tap0"));
    let error = "cannot use /dev/net/tun: Operation not permitted";
    assert_failed(&run, 6, error, "allow it the device c 10:200 rwm");
    let checked = check(&s, &format!("{strace} qemu-ifup --check"));
    checked.says("problem", "Operation not permitted");
    assert_eq!(checked.code, 6);
}

#[test]
fn a_wait_in_vain_ends_with_9_and_the_command_that_helps() {
    #[rustfmt::skip]
    let table = [
        // (the bridge, why it does not forward, how the command begins)
        ("ip link set br0 type bridge stp_state 1", "listening", "ip link set dev br0 type bridge"),
        ("ip link set br0 down", "disabled", "ip link set dev br0 up"),
    ];
    for (bridge, state, start) in table {
        on_its_own(state, || {
            let Some(s) = host() else { return };
            s.sh(bridge);
            let _held = open_tap_as(0, "wait0", 0).unwrap();
            let run = sh(&s, "qemu-ifup --wait 0 wait0");
            let error = format!("cannot wait until it forwards: it is still {state}");
            assert_failed(&run, 9, &error, start);
        });
    }
}

#[test]
fn what_is_no_bridge_has_a_hint_for_its_kind() {
    let into_bridge = "ip link add br0 type bridge && ip link set w0 master br0";
    let table = [
        (Some("openvswitch"), "ovs-vsctl add-port w0 "),
        (Some("bond"), into_bridge),
        (Some("team"), into_bridge),
        (None, into_bridge),
        (Some("macvtap"), "-netdev tap,fd=N"),
        (Some("macvlan"), "ip link show type bridge"),
        (Some("wireguard"), "ip link show type bridge"),
    ];
    for (word, hint) in table {
        let kind = word.map_or(LinkKind::Unset, |word| LinkKind::Other(word.to_owned()));
        let error = Error::NotABridge {
            name: name("w0"),
            kind,
        };
        assert_eq!(error.exit_code(), ExitCode::Bridge);
        assert!(
            error.to_string().contains(word.unwrap_or("network card")),
            "{error}"
        );
        let found = error.hint().unwrap();
        assert!(found.contains(hint), "{word:?}: {found}");
        assert_eq!(
            found.matches("w0").count(),
            hint.matches("w0").count(),
            "{found}"
        );
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// --check itself
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn where_all_is_well_check_says_so_and_changes_nothing() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup tap0");
    let before = snapshot(&s);
    for line in [
        "qemu-ifup --check tap0",
        "qemu-ifup --check tap1",
        "qemu-ifup --check",
    ] {
        let checked = check(&s, line);
        let ok = checked.found.iter().all(|found| found.level == "ok");
        assert!(ok && checked.code == 0, "{line}: {checked:#?}");
        let abouts: Vec<_> = checked.found.iter().map(|found| &found.about).collect();
        assert_eq!(
            abouts.contains(&&"tap".to_owned()),
            line.contains("tap"),
            "{line}"
        );
    }
    assert_unchanged(&s, &before);
}

#[test]
fn the_exit_code_is_that_of_the_first_problem() {
    let Some(s) = host() else { return };
    s.sh("rm /dev/net/tun; ip link set br0 down");
    #[rustfmt::skip]
    let problems = [
        ("alice qemu-ifup --check lo", vec!["privilege", "/dev/net/tun", "bridge", "tap"], 3),
        ("qemu-ifup --check lo", vec!["/dev/net/tun", "bridge", "tap"], 6),
    ];
    for (line, expected, code) in problems {
        let checked = check(&s, line);
        let problems = checked
            .found
            .iter()
            .filter(|found| found.level == "problem");
        let abouts: Vec<_> = problems.map(|found| found.about.as_str()).collect();
        assert_eq!((abouts, checked.code), (expected, code));
    }
}

#[test]
fn check_ends_with_the_code_that_the_work_itself_would_end_with() {
    #[rustfmt::skip]
    let table = [
        // (what is done to the host, who calls, options and tap, exit code)
        ("", "", "tap0", 0),
        ("", "", "-b br9 tap0", 4),
        ("", "", "-b lo tap0", 4),
        ("", "", "lo", 5),
        ("", "", "--pvid 5 tap0", 4),
        ("", "", "--owner ann0 tap0", 2),
        ("ip tuntap add t0 mode tap", "", "--multi-queue t0", 5),
        ("ip tuntap add t0 mode tap user 5", "", "--group 7 t0", 5),
        ("", "alice", "tap0", 0),
        ("", "alice", "-b br9 tap0", 3),
        ("", "alice", "-b br8 tap0", 3),
        ("", "alice", "--owner 5 tap0", 3),
        ("", "alice", "--pvid 5 tap0", 3),
        ("ip tuntap add t0 mode tap user 5", "alice", "t0", 3),
        ("ip tuntap add t0 mode tap", "alice", "t0", 3),
        ("echo '* --pvid 5' >/etc/qemu-ifup.conf", "", "tap0", 4),
        ("echo '* --bridge br8' >/etc/qemu-ifup.conf", "alice", "tap0", 3),
    ];
    let mut wrong = Vec::new();
    for (prepare, who, args, code) in table {
        let codes = on_its_own(args, || {
            let s = host_for_alice("allow br0\ndeny br9\n")?;
            s.sh("ip link add br8 up address 02:00:00:00:00:aa type bridge");
            must(&s, prepare);
            let checked = sh(&s, &format!("{who} qemu-ifup --check {args}")).code;
            Some((checked, sh(&s, &format!("{who} qemu-ifup {args}")).code))
        });
        if codes.is_some_and(|codes| codes != (code, code)) {
            wrong.push(format!(
                "{prepare}; {who} qemu-ifup [--check] {args}: {codes:?}, not {code}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "(--check, the work):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn an_ordinary_user_is_told_all_that_he_may_know() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup --owner 54321 mine0");
    let _held = open_tap_as(0, "mine0", 0).unwrap();
    let before = snapshot(&s);
    let checked = check(&s, "alice qemu-ifup --check mine0");
    assert_unchanged(&s, &before);
    assert_eq!(checked.code, 3);
    checked.says("problem", "uid 54321, without CAP_NET_ADMIN");
    for words in [
        "br0 is up, MTU 1500",
        "br0 has an address",
        "br0 has 1 of 1023 ports",
        "mine0 belongs to uid 54321",
        "mine0 is up on br0",
    ] {
        checked.says("ok", words);
    }
    checked.says("warning", "mine0 is open in a program that you may not see");
}

#[test]
fn a_tap_of_the_same_name_in_another_network_is_not_taken_for_this_one() {
    let Some(s) = host() else { return };
    s.sh("ip tuntap add twin0 mode tap");
    let other = on_its_own("the other one", || {
        let sandbox = Sandbox::new()?;
        let held = open_tap_as(0, "twin0", 0).unwrap();
        Some((sandbox, held))
    });
    let checked = check(&s, "qemu-ifup --check twin0");
    checked.does_not_say("warning", "is open in");
    drop(other);
}

#[test]
fn lines_of_the_configuration_are_named_with_file_and_number() {
    let Some(s) = host() else { return };
    s.bridge_up("br1");
    s.etc(
        "qemu-ifup.conf",
        "# bridges\n*    --bridge br0\ntap? --bridge br1 --isolated\nweb? --bridge br2\n",
    );
    let checked = check(&s, "qemu-ifup --check tap0");
    checked.says("ok", "/etc/qemu-ifup.conf:2 applies: *    --bridge br0");
    checked.says(
        "ok",
        "/etc/qemu-ifup.conf:3 applies: tap? --bridge br1 --isolated",
    );
    checked.says("ok", "the bridge is br1");
    checked.does_not_say("ok", "/etc/qemu-ifup.conf:4");
    // The command line wins.
    let checked = check(&s, "qemu-ifup --check --bridge br0 tap0");
    checked.says("ok", "the bridge is br0");
}

#[test]
fn broken_files_of_roots_are_findings_with_exit_code_8() {
    #[rustfmt::skip]
    let table = [
        // (the file, its contents, its mode, what is said, how the command begins, if there is one)
        ("qemu-ifup.conf", "# nothing\nweb? --brige br1\n", 0o644, "/etc/qemu-ifup.conf:2: unknown option", ""),
        ("qemu-ifup.conf", "* --bridge br0\n", 0o666, "cannot rely on /etc/qemu-ifup.conf", "chown"),
        ("qemu/bridge.conf", "allow br0\nallow\n", 0o644, "/etc/qemu/bridge.conf:2: not a rule", ""),
        ("qemu/bridge.conf", "allow br0\n", 0o664, "cannot rely on /etc/qemu/bridge.conf", "chown"),
    ];
    for (file, contents, mode, words, start) in table {
        on_its_own(words, || {
            let Some(s) = host() else { return };
            s.etc(file, contents);
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(Path::new("/etc").join(file), mode).unwrap();
            let checked = check(&s, "qemu-ifup --check tap0");
            assert_eq!(checked.code, 8, "{checked:#?}");
            assert_ne!(checked.says("problem", words).mend, "");
            if !start.is_empty() {
                complaint_and_cure(&s, "qemu-ifup --check tap0", "problem", words, start);
            }
        });
    }
}

#[test]
fn a_missing_bridge_that_would_be_made_is_no_problem() {
    let Some(s) = host() else { return };
    s.etc(
        "qemu-ifup.conf",
        "tap? --bridge br7 --create-bridge --address 192.168.7.1/24\n",
    );
    for line in [
        "qemu-ifup --check tap0",
        "qemu-ifup --check -b br6 --create-bridge tap1",
    ] {
        let checked = check(&s, line);
        assert_eq!(checked.code, 0, "{checked:#?}");
        checked.says("ok", "does not exist and will be created");
        must(&s, &line.replace("--check", ""));
    }
    assert_eq!(check(&s, "qemu-ifup --check -b br5 web0").code, 4);
}

#[test]
fn a_bridge_with_an_uplink_needs_no_forwarding_by_the_host() {
    let Some(s) = host() else { return };
    s.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    let words = "this host does not forward IPv4";
    check(&s, "qemu-ifup --check").says("warning", words);
    give_uplink(&s, 1500);
    check(&s, "qemu-ifup --check").does_not_say("warning", words);
    s.sh("ip link del up0");
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "sysctl");
}

#[test]
fn a_bridge_that_leads_nowhere_is_complained_about() {
    let Some(s) = host() else { return };
    s.sh("ip address flush dev br0");
    let words = "br0 has neither an address nor an uplink";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip address");
    s.sh("ip link set br0 down");
    complaint_and_cure(
        &s,
        "qemu-ifup --check",
        "problem",
        "br0 is down",
        "ip link set",
    );
}

#[test]
fn escape_sequences_in_names_do_not_reach_the_terminal() {
    let Some(s) = host() else { return };
    s.etc("qemu-ifup.conf", "* --bridge br9 # \u{1b}[31m\n");
    s.sh("name=$(printf 'x\\033[31m'); ip link add \"$name\" type bridge");
    for name in ["t\u{1b}[2J", "x\u{1b}[31m"] {
        for option in ["", "--bridge"] {
            let line = format!("qemu-ifup --check {option} '{name}'");
            let said = sh(&s, &line).stdout;
            assert!(!said.contains('\u{1b}'), "{said:?}");
            assert!(said.contains(&name.replace('\u{1b}', "\\x1b")), "{said}");
        }
    }
}

#[test]
fn colours_are_for_terminals_and_not_where_no_color_is_set() {
    let Some(s) = host_with("script") else { return };
    s.sh("ip link set br0 type bridge stp_state 1; rm /dev/net/tun");
    // The sandbox has a /dev without pseudo-terminals.
    s.sh("mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts; ln -sf pts/ptmx /dev/ptmx");
    let plain = sh(&s, "qemu-ifup --check tap0");
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:?}");

    let on_terminal = |variables: &str| {
        let line = "script -qec 'qemu-ifup --check tap0' /dev/null";
        let run = sh(&s, &format!("{variables} {line}"));
        assert_eq!(run.code, 6, "{run:?}");
        run.stdout.replace("\r\n", "\n")
    };
    let colourful = on_terminal("NO_COLOR=");
    let mut without = colourful.clone();
    for (word, colour) in [("ok     ", "32"), ("warning", "1;33"), ("problem", "1;31")] {
        let painted = format!("\u{1b}[{colour}m{word}\u{1b}[0m");
        assert!(colourful.contains(&painted), "{colourful:?}");
        without = without.replace(&painted, word);
    }
    // The same columns, and no other escape sequence.
    assert_eq!(without, plain.stdout);
    assert_eq!(on_terminal("NO_COLOR=1"), plain.stdout);
}

// ---------------------------------------------------------------------------------------------------------------------
// Findings about what cannot be built here
// ---------------------------------------------------------------------------------------------------------------------

fn name(word: &str) -> IfName {
    IfName::new(word.as_bytes()).unwrap()
}

fn link(index: u32, word: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name(word),
        kind,
        mtu: 1500,
        address: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        up: true,
        carrier: true,
        master: None,
        addr_gen_mode: Some(AddrGenMode::None),
        port: None,
    }
}

/// What is seen of a host where all is well.
fn healthy() -> HostSnapshot {
    let bridge = link(2, "br0", LinkKind::Bridge(BridgeInfo::default()));
    let info = TapInfo {
        owner: Some(ALICE),
        persistent: true,
        ..TapInfo::default()
    };
    let tap = Link {
        master: Some(2),
        carrier: false,
        address: Some(MacAddr([0xfe, 0, 0, 0, 0, 1])),
        ..link(3, "tap0", LinkKind::Tap(info))
    };
    HostSnapshot {
        context: CheckContext {
            bridge_from: "default",
            authority: Authority::Root,
            uid: 0,
            net_admin: true,
            conf: Ok(Vec::new()),
            acl: Ok(Some(Verdict::Allowed)),
            bridge_name: name("br0"),
            creates_bridge: false,
            tap: Some(name("tap0")),
        },
        tun: Ok(()),
        bridge: Some(bridge),
        bridge_details: Some(BridgeDetails {
            ports: vec![tap.clone()],
            has_address: true,
            has_own_mac: Some(true),
        }),
        bridges: vec![name("br0")],
        sysctls: Sysctls {
            bridge_nf: Some(false),
            ip_forward: Some(true),
        },
        tap: Some(tap),
        tap_has_address: false,
        holder: None,
        managers: Vec::new(),
    }
}

/// What is found where this is different.
fn found_with(change: impl Fn(&mut HostSnapshot)) -> Vec<Finding> {
    let mut snapshot = healthy();
    change(&mut snapshot);
    diagnose(&snapshot)
}

fn ports(count: u32) -> Vec<Link> {
    let port = |n| link(10 + n, &format!("p{n}"), LinkKind::Other("veth".to_owned()));
    let ports = (0..count).map(port);
    ports
        .map(|port| Link {
            address: None,
            ..port
        })
        .collect()
}

type Change = fn(&mut HostSnapshot);

#[test]
fn each_thing_that_was_seen_has_its_finding() {
    let bridge_full = Level::Problem(ExitCode::Bridge);
    #[rustfmt::skip]
    let table: [(Change, Level, &str); 12] = [
        (|_| {}, Level::Ok, "VLAN filtering is off"),
        (
            |snapshot| {
                let filtering = BridgeInfo {
                    vlan_filtering: true,
                    ..BridgeInfo::default()
                };
                snapshot.bridge.as_mut().unwrap().kind = LinkKind::Bridge(filtering);
            },
            Level::Ok,
            "VLAN filtering is on",
        ),
        (|snapshot| snapshot.bridge_details.as_mut().unwrap().ports = ports(1022), Level::Ok, "br0 has 1022 of 1023 ports"),
        (|snapshot| snapshot.bridge_details.as_mut().unwrap().ports = ports(1023), bridge_full, "cannot attach to br0: the bridge is full"),
        (|snapshot| snapshot.managers = vec![MANAGER], Level::Warning, "NetworkManager is running and may configure the tap"),
        (
            |snapshot| {
                snapshot.managers = vec![InterfaceManager {
                    manages: false,
                    ..MANAGER
                }];
            },
            Level::Ok,
            "NetworkManager is running and leaves the tap alone",
        ),
        (|snapshot| snapshot.sysctls = Sysctls::default(), Level::Ok, "bridged frames do not go through iptables"),
        (|snapshot| snapshot.tap_has_address = true, Level::Warning, "tap0 has an IPv6 address of its own"),
        (
            |snapshot| {
                snapshot.holder = Some(TapHolder {
                    pid: 7,
                    command: b"q\x1b[2J\n".to_vec(),
                });
                snapshot.tap.as_mut().unwrap().carrier = true;
            },
            Level::Warning,
            "tap0 is open in q\\x1b[2J\\x0a (pid 7): another QEMU gets EBUSY",
        ),
        (|snapshot| snapshot.context.acl = Ok(None), Level::Ok, "does not bind root"),
        (|snapshot| snapshot.tun = Err(Errno::EIO), Level::Problem(ExitCode::Tun), "I/O error"),
        (|snapshot| snapshot.bridge.as_mut().unwrap().carrier = false, Level::Ok, "no carrier until a port has one"),
    ];
    for (change, level, words) in table {
        let found = found_with(change);
        let line = found.iter().find(|found| found.message.contains(words));
        let line = line.unwrap_or_else(|| panic!("no '{words}': {found:#?}"));
        assert_eq!(line.level, level, "{line:?}");
        // One that is not as it should be says message to do; that the device has an error, nobody here can fix.
        let has_fix = level != Level::Ok && words != "I/O error";
        assert_eq!(line.fix.is_some(), has_fix, "{line:?}");
        // And nothing else is wrong.
        let others = found.iter().filter(|found| found.level != Level::Ok);
        assert_eq!(
            others.count(),
            usize::from(level != Level::Ok),
            "{found:#?}"
        );
        let code = match level {
            Level::Problem(code) => code,
            Level::Ok | Level::Warning => ExitCode::Success,
        };
        assert_eq!(exit_code(&found), code);
    }
    assert_eq!(BR_MAX_PORTS, 1023);
}

const MANAGER: InterfaceManager = InterfaceManager {
    name: "NetworkManager",
    manages: true,
    fix: "nmcli device set tap0 managed no",
};

#[test]
fn each_way_in_which_the_device_is_missing_has_its_own_advice() {
    for (errno, hint) in TUN_HINTS {
        let found = found_with(|snapshot| snapshot.tun = Err(errno));
        let line = found.iter().find(|found| found.subject == "/dev/net/tun");
        let line = line.unwrap();
        assert_eq!(line.level, Level::Problem(ExitCode::Tun));
        assert_eq!(line.message, errno.desc());
        assert_eq!(line.fix.as_deref(), Some(hint));
    }
    assert_eq!(
        TUN_HINTS[2].1, TUN_HINTS[3].1,
        "one cause, two error numbers"
    );
}

// ---------------------------------------------------------------------------------------------------------------------
// Warnings after success
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_guest_that_will_have_no_network_is_warned_about_in_one_line() {
    const DOWN: &str = "ip link set br0 down";
    const STP: &str = "ip link set br0 type bridge stp_state 1 forward_delay 1500";
    let docker = format!("ip link add docker0 type bridge; echo 1 >{BRIDGE_NF}");
    let everything = format!("{DOWN}; {STP}; {docker}");
    #[rustfmt::skip]
    let table = [
        // (the host, options, the warning, the command that helps)
        ("", "", "", ""),
        (DOWN, "", "br0 is down, no frame passes", "ip link set dev br0 up"),
        (STP, "", "br0 has STP, so the guest has no network for 30 s", "ip link set dev br0"),
        (STP, "--wait 1", "", ""),
        (&docker, "", "Docker drops them", "sysctl"),
        (&everything, "", "br0 is down, no frame passes", "ip link set dev br0 up"),
        (&everything, "--quiet", "", ""),
        (&everything, "--dry-run", "", ""),
    ];
    if !Path::new(BRIDGE_NF).exists() {
        return skip(&test_name(), "needs br_netfilter");
    }
    for (prepare, options, words, start) in table {
        on_its_own(&format!("{prepare} {options}"), || {
            let Some(s) = host() else { return };
            must(&s, prepare);
            let said = must(&s, &format!("qemu-ifup {options} tap0")).stderr;
            let warnings: Vec<&str> = said.lines().filter(|l| l.contains("warning")).collect();
            if words.is_empty() {
                assert!(warnings.is_empty(), "{said}");
                return;
            }
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(warnings.len(), 1, "{said}");
            assert!(said.starts_with("qemu-ifup: tap0: warning: "), "{said}");
            assert!(said.contains(words), "{said}");
            must(&s, command_in(&said, start));
            let then = must(&s, "qemu-ifup tap1").stderr;
            assert!(!then.contains(words), "{then}");
        });
    }
}

#[test]
fn nobody_is_warned_about_a_port_that_forwards_already() {
    let Some(s) = host() else { return };
    let _held = open_tap_as(0, "on0", 0).unwrap();
    must(&s, "qemu-ifup on0");
    s.sh("ip link set br0 type bridge stp_state 1");
    let port = s.bridge(&["link", "show", "dev", "on0"]);
    assert_eq!(port[0]["state"], "forwarding");
    let said = must(&s, "qemu-ifup on0").stderr;
    assert!(!said.contains("warning"), "{said}");
}

// ---------------------------------------------------------------------------------------------------------------------
// The log
// ---------------------------------------------------------------------------------------------------------------------

/// One line, from this facility and severity, of this program, with all these words, and for whom it was.
#[track_caller]
fn assert_logged(lines: &[String], start: &str, words: &[&str], uid: u32) {
    let [line] = lines else {
        panic!("not one line: {lines:#?}");
    };
    assert!(line.starts_with(start), "{line}");
    for word in words {
        assert!(line.contains(word), "no '{word}': {line}");
    }
    let end = format!(" (uid {uid}, for pid {})", std::process::id());
    assert!(line.ends_with(&end), "no '{end}': {line}");
}

#[test]
fn each_success_is_one_line_with_tap_bridge_owner_caller_and_parent() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    let log = s.devlog();
    let success = |uid: u32, program: &str, args: &[&str], words: &[&str]| {
        let path = format!("/etc/{program}");
        let args = [&[path.as_str()], args].concat();
        let run = match uid {
            0 => run(command(args[0]).args(&args[1..])),
            uid => s.as_user(uid, uid, &args),
        };
        assert_eq!(run.code, 0, "{run:?}");
        assert_logged(&lines(&log), &format!("<30>{program}["), words, uid);
    };
    let theirs = ["tap0: up on br0", "given to uid 54321"];
    success(0, "qemu-ifup", &["--owner", "54321", "tap0"], &theirs);
    success(0, "qemu-ifup", &["tap0"], &theirs);
    success(
        0,
        "qemu-ifup",
        &["--group", "7", "tap1"],
        &["tap1: up on br0", "given to gid 7"],
    );
    success(
        ALICE,
        "qemu-ifup",
        &["tap2"],
        &["tap2: up on br0", "given to uid 54321"],
    );
    success(
        ALICE,
        "qemu-ifdown",
        &["tap2"],
        &["tap2: down", "detached from br0"],
    );
    success(
        0,
        "qemu-ifdown",
        &["--delete", "tap0"],
        &["tap0: down", "br0", "deleted"],
    );

    // What changes nothing leaves no trace.
    must(
        &s,
        "qemu-ifup --dry-run tap3; qemu-ifup --check tap3 || :; qemu-ifup --help",
    );
    assert_eq!(lines(&log), Vec::<String>::new());
}

#[test]
fn the_line_for_a_tap_that_was_taken_down_names_its_owner_too() {
    let Some(s) = host() else { return };
    must(&s, "qemu-ifup --owner 54321 tap0");
    let log = s.devlog();
    assert_eq!(run(command("/etc/qemu-ifdown").arg("tap0")).code, 0);
    assert_logged(
        &lines(&log),
        "<30>qemu-ifdown[",
        &["tap0: down", "br0", "uid 54321"],
        0,
    );
}

#[test]
fn each_refusal_is_one_line_for_the_administrator_with_the_rule() {
    let Some(s) = host_for_alice("allow br0\n# not this one\ndeny br9\nallow br9\n") else {
        return;
    };
    s.sh("ip tuntap add t0 mode tap user 5");
    let log = s.devlog();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 4] = [
        (&["--bridge", "br9", "tap0"], "tap0: cannot attach to br9: denied by /etc/qemu/bridge.conf:3"),
        (&["--bridge", "br8", "tap0"], "tap0: cannot attach to br8: no line of /etc/qemu/bridge.conf allows br8"),
        (&["t0"], "t0: cannot use it: it is another user's"),
        (&["--owner", "5", "tap0"], "tap0: cannot give a tap to uid 5"),
    ];
    for (args, words) in table {
        let run = s.as_user(ALICE, ALICE, &[&["/etc/qemu-ifup"], args].concat());
        assert_eq!(run.code, 3, "{run:?}");
        assert_logged(&lines(&log), "<37>qemu-ifup[", &[words], ALICE);
    }
}
