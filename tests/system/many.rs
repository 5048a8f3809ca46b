//! Several taps in one call: each is judged, done and told of by itself.

use crate::common::fds::open_tap;
use crate::common::json::is_up;
use crate::common::sandbox::{Sandbox, lines};
use crate::common::strace::{Call, calls, calls_in};
use crate::common::{Run, bin, command, eventually, run};
use crate::expect::{assert_attached, assert_silent_success, sandbox};
use std::process::Stdio;
use std::time::Duration;
use std::{fs, thread};

/// The lines of stderr that are no hints.
fn messages(run: &Run) -> Vec<&str> {
    let lines = run.stderr.lines();
    lines.filter(|line| !line.contains(": hint: ")).collect()
}

/// As many names.
fn taps(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("tap{number}")).collect()
}

fn words(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The call that deletes all of them.
fn together(all: &[Call]) -> &Call {
    let mut sent = all.iter().filter(|call| call.name == "sendto");
    let found = sent.find(|call| call.line.contains("IFLA_GROUP"));
    found.expect("they are not deleted together")
}

/// The reply to the dump before that.
fn dump(all: &[Call]) -> &Call {
    let mut received = all.iter().filter(|call| call.name == "recvfrom");
    received.next().expect("they are not dumped")
}

/// Runs a program with this done to some of its system calls; what it called is in what is returned.
fn with_injection(s: &Sandbox, inject: &str, program: &str, args: &[&str]) -> (Run, Vec<Call>) {
    let log = s.dir().join("injected");
    let run = run(command("strace")
        .args(["-e", "trace=sendto,recvfrom,getrandom", "-o"])
        .arg(&log)
        .args(["-e", inject])
        .arg(bin(program))
        .args(args));
    (run, calls_in(&fs::read_to_string(log).unwrap()))
}

#[test]
fn what_fails_in_the_middle_has_a_message_of_its_own_and_the_others_are_done() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link add veth0 type veth peer name veth1; ip tuntap add tun0 mode tun");
    s.etc("qemu-ifup.conf", "tap1 --bridge br9\n");
    let foreign = |s: &Sandbox| [s.link("veth0"), s.link("tun0")];
    let before = foreign(&s);

    let up = s.ifup(&["tap0", "tap1", "veth0", "tap2", "br0", "tap3"]);
    let expected = [
        "qemu-ifup: tap1: /etc/qemu-ifup.conf:1: cannot attach to br9: no such bridge (existing bridges: br0)",
        "qemu-ifup: veth0: not a tap (it is an interface of kind veth)",
        "qemu-ifup: br0: not a tap (it is a bridge)",
    ];
    assert_eq!(messages(&up), expected);
    assert_eq!(up.code, 4, "that of the first: {up:?}");
    for tap in ["tap0", "tap2", "tap3"] {
        assert_attached(&s, tap);
    }
    assert_eq!(s.link("tap1"), None);

    for (options, verb) in [(&[][..], "down"), (&["--delete"], "deleted")] {
        let names = ["tap0", "tun0", "tap9", "tap2", "tap3"];
        let down = s.ifdown(&[options, &names].concat());
        let expected = [
            "qemu-ifdown: tun0: not a tap (it is a tun interface)",
            "qemu-ifdown: tap9: does not exist, nothing to do",
        ];
        assert_eq!(messages(&down), expected, "{verb}");
        assert_eq!(down.code, 5, "{down:?}");
        for tap in ["tap0", "tap2", "tap3"] {
            let link = s.link(tap);
            let is_down = |link| !is_up(&link) && link.get("master").is_none();
            match verb {
                "down" => assert!(link.is_some_and(is_down), "{tap}"),
                _ => assert_eq!(link, None),
            }
        }
    }
    assert_eq!(foreign(&s), before);
}

#[test]
fn nothing_is_done_to_any_where_a_word_is_no_name_or_a_name_stands_there_twice() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    for (args, text) in [
        (
            ["tap0", "tap/1", "tap2"],
            "'tap/1' is not an interface name",
        ),
        (["tap0", "vm%d", "tap2"], "'vm%d' is not an interface name"),
        (["tap0", "tap1", "tap0"], "'tap0' is given twice"),
    ] {
        for up in [s.ifup(&args), s.ifdown(&args)] {
            assert_eq!(up.code, 2, "{up:?}");
            let line = messages(&up)[0];
            assert!(line.contains(text) && !line.contains("tap2"), "{line}");
        }
        s.assert_unchanged(&before);
    }
}

#[test]
fn files_and_the_bridge_are_looked_at_once() {
    let Some(s) = sandbox() else { return };
    s.etc("qemu-ifup.conf", "tap* --isolated\n");
    let all = calls(&s, "qemu-ifup", &["tap0", "tap1", "tap2"]);
    let count = |text: &str| all.iter().filter(|call| call.line.contains(text)).count();
    assert_eq!(count("/etc/qemu-ifup.conf"), 1);
    assert_eq!(count("NETLINK_ROUTE)"), 1);
    // Each look by name has it in the request; "tap0" is as long as br0 is not.
    assert_eq!(count("nlmsg_len=40, nlmsg_type=RTM_GETLINK"), 1, "br0");
    for tap in ["tap0", "tap1", "tap2"] {
        assert_attached(&s, tap);
        let port = s.bridge(&["-d", "link", "show", "dev", tap]);
        assert_eq!(port[0]["isolated"], true);
    }
}

#[test]
fn a_tap_with_an_mtu_of_its_own_is_no_reason_for_the_next_to_have_that_of_before() {
    let Some(s) = sandbox() else { return };
    s.etc("qemu-ifup.conf", "tap0 --mtu 1400\n");
    assert_silent_success(&s.ifup(&["tap0", "tap1"]));
    // The bridge has followed the first, as it does where each tap has a call of its own.
    assert_eq!(s.link("tap1").unwrap()["mtu"], 1400);
}

#[test]
fn descriptors_are_closed_as_it_goes() {
    let Some(s) = sandbox() else { return };
    let names = taps(40);
    let limited = run(command("sh")
        .args(["-c", "ulimit -n 20; exec \"$@\"", "sh"])
        .arg(bin("qemu-ifup"))
        .args(&names));
    assert_silent_success(&limited);
    assert_eq!(s.ports("br0").len(), 40);
}

#[test]
fn a_bridge_is_filled_and_the_tap_for_which_it_has_no_room_is_told() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link add veth0 type veth peer name veth1; ip link set veth0 master br0");
    let names = taps(1023);
    let up = s.ifup(&words(&names));
    let full = "qemu-ifup: tap1022: cannot attach to br0: the bridge already has 1023 ports";
    assert_eq!((messages(&up), up.code), (vec![full], 4));
    assert_eq!(s.ports("br0").len(), 1023);
    assert_eq!(s.link("tap1022"), None);
    s.look();

    let down = s.ifdown(&[&["--delete"], words(&names).as_slice()].concat());
    let gone = "qemu-ifdown: tap1022: does not exist, nothing to do";
    assert_eq!((messages(&down), down.code), (vec![gone], 0));
    assert_eq!(s.links(), ["lo", "br0", "veth1", "veth0"]);
}

#[test]
fn taps_are_deleted_together_and_what_a_program_has_open_as_in_a_call_of_its_own() {
    let Some(s) = sandbox() else { return };
    let names = ["tap0", "tap1", "held", "theirs", "tap2"];
    assert_silent_success(&s.ifup(&["tap0", "tap1", "held", "tap2", "other"]));
    // One that stays when its program ends, one that does not, and one in a group of the administrator's.
    let _held = open_tap("held", 0).unwrap();
    let _theirs = open_tap("theirs", 0).unwrap();
    assert_silent_success(&s.ifup(&["theirs"]));
    s.sh("ip link set tap2 group 9; ip link set other group 9");
    let other = s.link("other");

    let all = calls(&s, "qemu-ifdown", &[&["--delete"], &names[..]].concat());
    let sent = |text: &str| {
        let sent = all.iter().filter(|call| call.name == "sendto");
        sent.filter(|call| call.line.contains(text)).count()
    };
    assert_eq!(sent("nlmsg_type=RTM_DELLINK"), 1, "all of them together");
    let line = &together(&all).line;
    assert_eq!(line.matches("RTM_SETLINK").count(), 4, "{line}");
    // The one that goes with its program is only taken down.
    assert_eq!(sent("nlmsg_type=RTM_SETLINK"), 2);
    assert_eq!(s.links(), ["lo", "br0", "other", "theirs"]);
    let theirs = s.link("theirs").unwrap();
    assert!(!is_up(&theirs) && theirs["group"] == "default", "{theirs}");
    assert_eq!(s.link("other"), other);
}

#[test]
fn of_what_a_program_has_open_is_told_by_name() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0", "held", "tap1"]));
    let _held = open_tap("held", 0).unwrap();
    let _theirs = open_tap("theirs", 0).unwrap();
    let down = s.ifdown(&["--delete", "theirs", "tap0", "held", "tap1"]);
    let expected = [
        "qemu-ifdown: theirs: not deleted, only down and in no bridge: it is not persistent and disappears with the program that has it open",
        "qemu-ifdown: held: a program has it open, which has no network from now on, also if the tap is created again",
    ];
    assert_eq!((messages(&down), down.code), (expected.to_vec(), 0));
    assert_eq!(s.links(), ["lo", "br0", "theirs"]);
}

#[test]
fn where_they_cannot_be_deleted_together_they_are_one_by_one() {
    let Some(s) = sandbox() else { return };
    let names = ["tap0", "tap1", "tap2"];
    let args = [&["--delete"], &names[..]].concat();
    for (what, errno) in [
        ("delete", "ENOBUFS"),
        ("delete", "EPERM"),
        ("dump", "ENOMEM"),
    ] {
        assert_silent_success(&s.ifup(&names));
        let all = calls(&s, "qemu-ifdown", &args);
        assert_silent_success(&s.ifup(&names));
        let call = if what == "dump" {
            dump(&all)
        } else {
            together(&all)
        };
        let inject = call.inject(&format!("error={errno}"));
        let (run, all) = with_injection(&s, &inject, "qemu-ifdown", &args);
        assert_silent_success(&run);
        let sent = all.iter().filter(|call| call.name == "sendto");
        let alone = sent
            .filter(|call| call.line.contains("RTM_DELLINK") && !call.line.contains("IFLA_GROUP"));
        assert_eq!(alone.count(), 3, "{what}");
        assert_eq!(s.links(), ["lo", "br0"]);
    }
}

/// More than are deleted at once, so that threads wait for them.
const TWO_LOTS: usize = 70;

#[test]
fn where_no_thread_can_be_had_they_are_deleted_one_by_one() {
    let Some(s) = sandbox() else { return };
    let names = taps(TWO_LOTS);
    assert_silent_success(&s.ifup(&words(&names)));
    let log = s.dir().join("threads");
    let down = run(command("strace")
        .args(["-e", "trace=/^clone,sendto", "-o"])
        .arg(&log)
        .args(["-e", "inject=/^clone:error=EAGAIN"])
        .arg(bin("qemu-ifdown"))
        .arg("--delete")
        .args(&names));
    assert_silent_success(&down);
    assert_eq!(s.links(), ["lo", "br0"]);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("(INJECTED)").count(), 2, "{log}");
    let sent = log.lines();
    let alone = sent.filter(|call| call.contains("RTM_DELLINK") && !call.contains("IFLA_GROUP"));
    assert_eq!(alone.count(), TWO_LOTS);
}

#[test]
fn each_lot_is_looked_at_when_it_is_its_turn() {
    let Some(s) = sandbox() else { return };
    let names = taps(TWO_LOTS);
    assert_silent_success(&s.ifup(&words(&names)));
    // After the first lot, it is held up.
    let down = command("strace")
        .args(["-o", "/dev/null", "-e", "trace=/^clone"])
        .args(["-e", "inject=/^clone:delay_exit=500000:when=1"])
        .arg(bin("qemu-ifdown"))
        .arg("--delete")
        .args(&names)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually(|| (!s.links().contains(&names[0])).then_some(())).unwrap();
    let last = &names[TWO_LOTS - 1];
    s.sh(&format!("ip link set {last} name renamed"));
    let down = down.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&down.stderr);
    assert!(said.contains(&format!("{last}: does not exist")), "{said}");
    assert_eq!(s.links(), ["lo", "br0", "renamed"]);
}

#[test]
fn whenever_it_is_killed_each_tap_is_up_as_before_or_gone() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link add veth0 type veth peer name veth1; ip link set veth0 master br0");
    let names = taps(TWO_LOTS);
    let (mut some, mut all) = (0, 0);
    // On a busy machine it takes more rounds until one is killed before it begins.
    for delay in (0..20).chain(0..20).chain(0..20) {
        if delay == 0 && some > 0 && all > 0 {
            break;
        }
        assert_eq!(s.ifup(&words(&names)).code, 0);
        let before = s.links();
        let mut child = command(bin("qemu-ifdown"))
            .arg("--delete")
            .args(&names)
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(delay * 2));
        let _ = child.kill();
        child.wait().unwrap();
        let ports = s.ports("br0");
        let left = s.links();
        // Whoever is in the kernel ends what they began there.
        let is_whole = |name: &String| ports.contains(name) == left.contains(name);
        assert!(names.iter().all(is_whole), "{ports:?} {left:?}");
        for other in ["lo", "br0", "veth0", "veth1"] {
            assert!(left.iter().any(|name| name == other), "{left:?}");
        }
        some += usize::from(left.len() < before.len());
        all += usize::from(left.len() == before.len());
    }
    assert!(some > 0 && all > 0, "{some} and {all}");
}

#[test]
fn a_strangers_interface_is_in_no_group_that_is_drawn() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link add veth0 type veth peer name veth1");
    // What getrandom(2) returns first, with the number in its second four bytes.
    let group = 0x0a0b_0c0d_u32;
    let bytes: String = [1, group, 2]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let args = ["--delete", "tap0", "tap1"];
    assert_silent_success(&s.ifup(&args[1..]));
    // C's library may have drawn some before.
    let is_ours = |call: &&Call| call.name == "getrandom" && call.line.contains(", 12, ");
    let all = calls(&s, "qemu-ifdown", &args);
    let first = all.iter().find(is_ours).unwrap();
    let inject = first.inject(&format!("poke_exit=@arg1={bytes}"));
    for (stranger, draws) in [(7, 1), (group, 2)] {
        assert_silent_success(&s.ifup(&["tap0", "tap1"]));
        s.sh(&format!("ip link set veth0 group {stranger}"));
        let (run, all) = with_injection(&s, &inject, "qemu-ifdown", &args);
        assert_silent_success(&run);
        let drawn = all.iter().filter(is_ours).count();
        assert_eq!(drawn, draws, "draws with a stranger in {stranger}");
        let line = &together(&all).line;
        let is_first = line.contains(&format!("nla_type=IFLA_GROUP}}, {group}"));
        assert_eq!(is_first, draws == 1, "{line}");
        let links = s.links();
        assert_eq!(links, ["lo", "br0", "veth1", "veth0"]);
    }
}

#[test]
fn each_tap_has_its_line_in_syslog() {
    let Some(s) = sandbox() else { return };
    let log = s.devlog();
    s.ifup(&["tap0", "lo", "tap1"]);
    s.ifdown(&["--delete", "tap0", "tap1"]);
    let lines = lines(&log);
    let said = |line: &String| line.split_once("]: ").unwrap().1.to_owned();
    let said: Vec<String> = lines.iter().map(said).collect();
    let expected = [
        "tap0: up on br0, given to uid 0 (uid 0, called by pid ",
        "lo: not a tap (it is a physical, loopback or similar interface) (uid 0, called by pid ",
        "tap1: up on br0, given to uid 0 (uid 0, called by pid ",
        "tap0: down, detached from br0, deleted, given to uid 0 (uid 0, called by pid ",
        "tap1: down, detached from br0, deleted, given to uid 0 (uid 0, called by pid ",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn no_line_is_lost_where_syslogd_reads_more_slowly_than_taps_are_deleted() {
    let Some(s) = sandbox() else { return };
    let names = taps(60);
    let names = words(&names);
    assert_silent_success(&s.ifup(&names));
    let log = s.devlog();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        let all = eventually(|| {
            // One each time, while its queue has room for ten in a new network namespace (net.unix.max_dgram_qlen).
            let mut buffer = [0; 512];
            read.extend(log.recv(&mut buffer).ok());
            (read.len() == 60).then_some(())
        });
        (all.is_some(), read.len())
    });
    assert_silent_success(&s.ifdown(&[&["--delete"], names.as_slice()].concat()));
    assert_eq!(reader.join().unwrap(), (true, 60));
}

#[test]
fn a_dry_run_prints_what_makes_all_of_them_and_a_new_bridge_once() {
    let Some(s) = Sandbox::new() else { return };
    let args = ["--create-bridge", "--bridge", "br5", "tap0", "lo", "tap1"];
    let before = s.snapshot();
    let shown = s.ifup(&[&["--dry-run"], &args[..]].concat());
    assert_eq!(shown.code, 5, "{shown:?}");
    assert_eq!(messages(&shown).len(), 1, "{shown:?}");
    s.assert_unchanged(&before);
    assert_eq!(shown.stdout.matches("type bridge").count(), 1);
    s.sh_as_ours(&shown.stdout);
    assert_eq!(s.ports("br5"), ["tap0", "tap1"]);

    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge\nweb? --bridge br6\napp? --bridge br7\n",
    );
    let shown = s.ifup(&["--dry-run", "web0", "app0", "web1"]);
    assert_eq!(shown.stdout.matches("type bridge").count(), 2, "{shown:?}");

    let before = s.snapshot();
    let shown = s.ifdown(&["-n", "--delete", "tap0", "tap1"]);
    assert_eq!(
        (shown.code, shown.stdout.as_str()),
        (0, "ip link delete dev tap0\nip link delete dev tap1\n")
    );
    s.assert_unchanged(&before);
}

#[test]
fn what_is_wrong_with_a_bridge_is_said_once() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link set br0 down");
    let up = s.ifup(&["tap0", "tap1", "tap2"]);
    let down = "qemu-ifup: tap0: warning: bridge br0 is down and forwards nothing. To bring it up, run: ip link set dev br0 up";
    assert_eq!((messages(&up), up.code), (vec![down], 0));
    assert_eq!(s.ports("br0").len(), 3);
}

#[test]
fn check_has_the_host_once_and_each_tap_in_one_array() {
    let Some(s) = sandbox() else { return };
    assert_silent_success(&s.ifup(&["tap0"]));
    s.sh("ip link add veth0 type veth peer name veth1");
    let before = s.snapshot();
    let checked = s.ifup(&["--check", "--json", "tap0", "tap7", "veth0", "lo"]);
    assert_eq!(checked.code, 5, "{checked:?}");
    let found: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    let found = found.as_array().unwrap();
    let about = |subject: &str| {
        let found = found.iter().filter(|finding| finding["about"] == subject);
        let what = found.map(|finding| finding["what"].as_str().unwrap().to_owned());
        what.collect::<Vec<_>>()
    };
    assert_eq!(about("privilege").len(), 1);
    assert_eq!(about("/dev/net/tun").len(), 1);
    let of_taps = about("tap");
    for expected in [
        "tap0 is up on br0",
        "tap7 does not exist and will be created",
        "veth0: not a tap (it is an interface of kind veth)",
        "lo: not a tap (it is a physical, loopback or similar interface)",
    ] {
        assert!(of_taps.iter().any(|what| what == expected), "{of_taps:#?}");
    }
    s.assert_unchanged(&before);
    // Every finding is there once, and text has them as well.
    let text = s.ifup(&["--check", "-v", "tap0", "tap7", "veth0", "lo"]);
    let lines = text.stdout.lines();
    let of_host = lines.filter(|line| line.contains("/dev/net/tun "));
    assert_eq!((of_host.count(), text.code), (1, 5));
}
