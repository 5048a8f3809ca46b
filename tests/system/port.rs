//! Options of the bridge port.

use crate::common::interfaces::port;
use crate::common::json::{changes, comparable, prune};
use crate::common::sandbox::Sandbox;
use crate::common::strace::calls;
use crate::common::users::open_tap_as;
use crate::common::{bin, command, run};
use crate::expect::{assert_error, assert_settled_as, assert_succeeded, words};
use serde_json::json;

#[test]
fn an_isolated_port_is_isolated_and_another_is_not() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let isolated = |tap| port(&s, tap)["isolated"].clone();
    assert_succeeded(&s.ifup(&["--isolated", "tap0"]), "");
    assert_succeeded(&s.ifup(&["tap1"]), "");
    assert_eq!(
        (isolated("tap0"), isolated("tap1")),
        (json!(true), json!(false))
    );

    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_succeeded(&s.ifup(&["--isolated", "tap0"]), nothing);
    assert_settled_as(&s, &before, "the second time");

    // One that is a port already, and open; nothing else of it changes.
    let _held = open_tap_as(0, "tap2", 0).unwrap();
    assert_succeeded(&s.ifup(&["tap2"]), "");
    let mut before = s.settled();
    assert_succeeded(&s.ifup(&["--isolated", "tap2"]), "");
    assert_eq!(isolated("tap2"), true);
    prune(&mut before, &mut |key, _| key == "isolated");
    let mut after = s.settled();
    prune(&mut after, &mut |key, _| key == "isolated");
    assert_eq!(changes(&before, &after), Vec::<String>::new());

    // A port that comes from another bridge begins anew, so it is set again.
    s.bridge_up("br1");
    let moved = s.ifup(&["--bridge", "br1", "--isolated", "tap0"]);
    assert_succeeded(&moved, "qemu-ifup: tap0: moved from br0 to br1\n");
    assert_eq!(isolated("tap0"), true);
}

#[test]
fn vlans_on_a_bridge_that_does_not_filter_them_are_refused_and_nothing_is_changed() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh(
        "ip tuntap add tap1 mode tap; ip tuntap add tap2 mode tap; ip link set tap2 master br0 up",
    );
    let before = s.snapshot();
    for options in [
        "--pvid 10",
        "--vlans 10,20-29",
        "--pvid 1 --vlans 2",
        "--create-bridge --vlans 7 --isolated",
    ] {
        for tap in ["tap0", "tap1", "tap2"] {
            let run = s.ifup(&words(&format!("{options} {tap}")));
            let error =
                format!("qemu-ifup: {tap}: cannot set VLANs: VLAN filtering is off on bridge br0");
            assert_error(&run, 4, &error, "leave out --pvid and --vlans");
            s.assert_unchanged(&before);
        }
    }
}

/// The options of a port, as bridge(8) names them in JSON, and whether each is on by itself.
const OPTIONS: [(&str, &str, &str, bool); 7] = [
    ("--isolated", "--no-isolated", "isolated", false),
    ("--guard", "--no-guard", "guard", false),
    ("--root-block", "--no-root-block", "root_block", false),
    ("--learning", "--no-learning", "learning", true),
    ("--flood", "--no-flood", "flood", true),
    ("--mcast-flood", "--no-mcast-flood", "mcast_flood", true),
    (
        "--neigh-suppress",
        "--no-neigh-suppress",
        "neigh_suppress",
        false,
    ),
];

/// The words of bridge(8) for all that can be on or off of a port, which are on.
fn switched_on(s: &Sandbox, tap: &str) -> Vec<String> {
    let shown = s.bridge(&["-d", "link", "show", "dev", tap]);
    let port = shown[0].as_object().unwrap();
    let known = OPTIONS.map(|(_, _, word, _)| word);
    let is_on = |(word, value): &(&String, &serde_json::Value)| {
        (known.contains(&word.as_str()) || *word == "locked") && **value == true
    };
    port.iter()
        .filter(is_on)
        .map(|(word, _)| word.clone())
        .collect()
}

#[test]
fn each_option_of_a_port_is_switched_on_and_off_by_itself() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let usual = ["flood", "learning", "mcast_flood"];
    assert_succeeded(&s.ifup(&["tap0"]), "");
    assert_eq!(switched_on(&s, "tap0"), usual);
    for (on, off, word, is_usual) in OPTIONS {
        let mut other: Vec<&str> = usual.into_iter().filter(|usual| *usual != word).collect();
        if !is_usual {
            other.push(word);
            other.sort_unstable();
        }
        let (there, back) = if is_usual { (off, on) } else { (on, off) };
        for tap in ["tap0", "new"] {
            assert_succeeded(&s.ifup(&[there, tap]), "");
            assert_eq!(switched_on(&s, tap), other, "{there} {tap}");
            let before = s.settled();
            let nothing = format!("qemu-ifup: {tap}: already up on br0, nothing to do\n");
            assert_succeeded(&s.ifup(&[there, tap]), &nothing);
            assert_succeeded(&s.ifup(&[tap]), &nothing);
            assert_settled_as(&s, &before, there);
            assert_succeeded(&s.ifup(&[there, back, tap]), "");
            assert_eq!(switched_on(&s, tap), usual, "{back} {tap}");
        }
        s.sh("ip link del new");
    }
    // What a tap has by itself takes no request.
    let all = OPTIONS.map(|(on, off, _, usual)| if usual { on } else { off });
    let args = [&["--dry-run"], &all[..], &["new"]].concat();
    assert!(!s.ifup(&args).stdout.contains("bridge link"));
    // All of them in one request.
    let all = OPTIONS.map(|(on, off, _, usual)| if usual { off } else { on });
    let dry = s
        .ifup(&[&["--dry-run"], &all[..], &["new"]].concat())
        .stdout;
    assert_eq!(dry.matches("bridge link set").count(), 1, "{dry}");
    assert_succeeded(&s.ifup(&[&all[..], &["new"]].concat()), "");
    assert_eq!(
        switched_on(&s, "new"),
        ["guard", "isolated", "neigh_suppress", "root_block"]
    );
}

#[test]
fn the_later_line_wins_and_the_command_line_over_all() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.etc(
        "qemu-ifup.conf",
        "* --guard --isolated --no-flood --lock-mac 52:54:00:00:00:01
         tap? --no-guard --lock-mac 52:54:00:00:00:02
         tap1 --guard --isolated --no-lock-mac
         tap2 --no-guard --no-lock-mac --flood\n",
    );
    // Of the lines that apply, the last one with the option that conflicts is named.
    let run = s.ifup(&["tap0"]);
    let error = "/etc/qemu-ifup.conf:2: --no-guard cannot be combined with --lock-mac";
    assert_error(&run, 8, error, "run the program with --help");
    for (args, on) in [
        ("web0", &["guard", "isolated", "locked", "mcast_flood"][..]),
        ("tap1", &["guard", "isolated", "learning", "mcast_flood"]),
        ("tap2", &["flood", "isolated", "learning", "mcast_flood"]),
        (
            "tap2 --no-isolated --guard",
            &["flood", "guard", "learning", "mcast_flood"],
        ),
        (
            "tap1 --no-guard --flood",
            &["flood", "isolated", "learning", "mcast_flood"],
        ),
        (
            "web0 --no-lock-mac --no-isolated --flood --no-guard",
            &["flood", "learning", "mcast_flood"],
        ),
        (
            "tap1 --lock-mac 52:54:00:00:00:03",
            &["guard", "isolated", "locked", "mcast_flood"],
        ),
    ] {
        assert_succeeded(&s.ifup(&words(args)), "");
        let tap = words(args)[0];
        assert_eq!(switched_on(&s, tap), on, "{args}");
    }
    let entries = s.static_fdb();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["mac"], "52:54:00:00:00:03");

    // The other switches have an opposite as well.
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 10.0.0.1/8 --multi-queue\n",
    );
    let none = s.ifup(&words("--no-create-bridge --bridge br9 tap3"));
    assert_error(&none, 4, "no such bridge", "--create-bridge");
    s.etc("qemu-ifup.conf", "* --multi-queue\n");
    assert_succeeded(&s.ifup(&["tap3", "--no-multi-queue"]), "");
    assert_eq!(
        crate::common::interfaces::info(&s, "tap3")["multi_queue"],
        false
    );
    assert_succeeded(&s.ifup(&["tap4"]), "");
    assert_eq!(
        crate::common::interfaces::info(&s, "tap4")["multi_queue"],
        true
    );
}

const MAC: &str = "52:54:00:12:34:56";

#[test]
fn a_locked_port_has_one_static_entry_and_all_that_keeps_it_to_that() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let locked = ["guard", "locked", "mcast_flood"];
    let usual = ["flood", "learning", "mcast_flood"];
    let entries = || {
        let entries = s.static_fdb().into_iter().map(|entry| {
            let word = |key: &str| entry[key].as_str().unwrap().to_owned();
            assert_eq!(entry["flags"], json!(["sticky"]), "{entry}");
            format!("{} {}", word("mac"), word("ifname"))
        });
        entries.collect::<Vec<_>>()
    };
    let entry = |mac: &str| vec![format!("{mac} tap0")];
    assert_succeeded(&s.ifup(&["--lock-mac", "52:54:00:AB:cd:EF", "tap0"]), "");
    assert_eq!(switched_on(&s, "tap0"), locked);
    assert_eq!(entries(), entry("52:54:00:ab:cd:ef"));
    // Another one takes its place; the second time there is nothing to do, and a run without the option leaves it.
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "tap0"]), "");
    assert_eq!(entries(), entry(MAC));
    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "tap0"]), nothing);
    assert_succeeded(&s.ifup(&["tap0"]), nothing);
    assert_settled_as(&s, &before, "the second time");
    // What is missing is added, what is more goes.
    s.sh(&format!(
        "bridge fdb del {MAC} dev tap0 master; bridge link set dev tap0 learning on
         bridge fdb add 52:54:00:00:00:99 dev tap0 master static"
    ));
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "tap0"]), "");
    assert_settled_as(&s, &before, "completed");
    // Taken back; and a port that is not locked keeps the entries that somebody else has given it.
    assert_succeeded(&s.ifup(&["--no-lock-mac", "tap0"]), "");
    assert_eq!(switched_on(&s, "tap0"), usual);
    assert_eq!(entries(), Vec::<String>::new());
    s.sh("bridge fdb add 52:54:00:00:00:99 dev tap0 master static sticky");
    assert_succeeded(&s.ifup(&["--no-lock-mac", "tap0"]), nothing);
    assert_eq!(entries(), entry("52:54:00:00:00:99"));
    // In another bridge it is locked again.
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "tap0"]), "");
    let moved = s.ifup(&["--bridge", "br1", "--lock-mac", MAC, "tap0"]);
    assert_succeeded(&moved, "qemu-ifup: tap0: moved from br0 to br1\n");
    assert_eq!(switched_on(&s, "tap0"), locked);
    assert_eq!(entries(), entry(MAC));
}

#[test]
fn what_a_locked_port_does_not_go_with_is_refused_and_nothing_is_changed() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let before = s.snapshot();
    let hint = "run the program with --help";
    for option in ["--flood", "--learning", "--no-guard"] {
        let error = format!("qemu-ifup: tap0: {option} cannot be combined with --lock-mac");
        let run = s.ifup(&["--lock-mac", MAC, option, "tap0"]);
        assert_error(&run, 2, &error, hint);
        // The line of the configuration that has the one which the command line does not.
        let error =
            format!("tap0: /etc/qemu-ifup.conf:2: {option} cannot be combined with --lock-mac");
        s.etc("qemu-ifup.conf", &format!("* --isolated\ntap0 {option}\n"));
        assert_error(&s.ifup(&["--lock-mac", MAC, "tap0"]), 8, &error, hint);
        s.etc(
            "qemu-ifup.conf",
            &format!("* --isolated\ntap0 --lock-mac {MAC}\n"),
        );
        assert_error(&s.ifup(&[option, "tap0"]), 8, &error, hint);
        s.etc("qemu-ifup.conf", "");
    }
    for wrong in [
        "",
        "52:54:00:12:34",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
    ] {
        let run = s.ifup(&["--lock-mac", wrong, "tap0"]);
        let error = format!(
            "--lock-mac must be the MAC of a network card, such as 52:54:00:12:34:56, not '{wrong}'"
        );
        assert_error(&run, 2, &error, "run the program with --help");
    }
    s.assert_unchanged(&before);
}

#[test]
fn a_mac_that_something_else_on_the_bridge_has_is_refused_and_nothing_is_changed() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.bridge_up("br1");
    s.sh(
        "ip link add d0 address 52:54:00:00:00:d0 type veth peer name d1
          ip link set d0 master br0 up
          ip link set d1 up
          ip tuntap add tap2 mode tap user 0
          ip link set tap2 addrgenmode none master br0 up
          bridge fdb add 52:54:00:00:00:05 dev d0 master static",
    );
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "tap1"]), "");
    let of_bridge = crate::common::interfaces::mac(&s, "br0");
    let before = s.settled();
    let hint = "Give this guest another MAC";
    for (mac, interface) in [
        (MAC, "tap1"),
        (&of_bridge, "br0"),
        ("52:54:00:00:00:d0", "d0"),
        ("52:54:00:00:00:05", "d0"),
    ] {
        let error = format!("cannot lock the tap to MAC {mac}: {interface} already uses that MAC");
        for tap in ["tap0", "tap2"] {
            for more in ["--isolated", "--dry-run"] {
                let run = s.ifup(&["--lock-mac", mac, more, tap]);
                assert_error(&run, 4, &format!("qemu-ifup: {tap}: {error}"), hint);
            }
        }
        s.etc("qemu-ifup.conf", &format!("tap* --lock-mac {mac}\n"));
        let error = format!("tap0: /etc/qemu-ifup.conf:1: {error}");
        assert_error(&s.ifup(&["tap0"]), 4, &error, hint);
        s.etc("qemu-ifup.conf", "");
        assert_settled_as(&s, &before, mac);
    }

    // A bridge that has the address of this very tap.
    s.sh("ip link add br2 type bridge; ip tuntap add tap4 mode tap; ip link set tap4 master br2");
    let mac = crate::common::interfaces::mac(&s, "tap4");
    let run = s.ifup(&["--bridge", "br2", "--lock-mac", &mac, "tap4"]);
    assert_error(&run, 4, "br2 already uses that MAC", hint);

    // One that was learned at another port, or filtered for by an interface, or is another bridge's, is no obstacle.
    s.sh("bridge fdb add 52:54:00:00:00:06 dev d0 master dynamic
          bridge fdb add 52:54:00:00:00:07 dev d0 self permanent");
    for mac in ["52:54:00:00:00:06", "52:54:00:00:00:07", MAC] {
        if mac == MAC {
            assert_succeeded(&s.ifup(&["--no-lock-mac", "tap1"]), "");
            assert_succeeded(&s.ifup(&["--bridge", "br1", "--lock-mac", MAC, "tap3"]), "");
        }
        assert_succeeded(&s.ifup(&["--lock-mac", mac, "tap2"]), "");
        let nothing = "qemu-ifup: tap2: already up on br0, nothing to do\n";
        assert_succeeded(&s.ifup(&["--lock-mac", mac, "tap2"]), nothing);
    }
}

#[test]
fn a_port_that_is_not_locked_keeps_its_options_when_it_is_to_be_unlocked() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let own = ["--guard", "--no-learning", "--no-flood", "tap0"];
    assert_succeeded(&s.ifup(&own), "");
    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_succeeded(&s.ifup(&["--no-lock-mac", "tap0"]), nothing);
    assert_settled_as(&s, &before, "not locked");
    assert_succeeded(&s.ifup(&["--no-lock-mac", "--flood", "tap0"]), "");
    assert_eq!(switched_on(&s, "tap0"), ["flood", "guard", "mcast_flood"]);
    // What is given stays off; the rest of what locks a port goes.
    assert_succeeded(&s.ifup(&["--lock-mac", MAC, "--no-flood", "tap0"]), "");
    assert_succeeded(&s.ifup(&["--no-lock-mac", "--no-flood", "tap0"]), "");
    assert_eq!(switched_on(&s, "tap0"), ["learning", "mcast_flood"]);
}

/// A port that has options and an address of its own already.
const LOCKED: &str =
    "bridge link set dev tap0 isolated on locked on guard on learning off flood off
    bridge fdb add 52:54:00:00:00:01 dev tap0 master static sticky";

/// One that is not locked: what somebody has given it, and what it has learned, which takes a port that forwards.
const STATIC: &str = "bridge fdb add 52:54:00:00:00:01 dev tap0 master static
    bridge fdb add 52:54:00:00:00:02 dev tap0 master static sticky
    n=0
    until bridge fdb add 52:54:00:00:00:03 dev tap0 master dynamic 2>&1; do
        n=$((n + 1)); [ $n -lt 200 ]; sleep 0.05
    done";

#[test]
fn a_move_that_fails_leaves_a_port_its_static_entries() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh("ip link add br1 address 02:00:00:00:00:77 type bridge");
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    assert_succeeded(&s.ifup(&["tap0"]), "");
    s.sh(STATIC);
    let before = s.settled();
    let moved = s.ifup(&["--bridge", "br1", "--wait", "1", "tap0"]);
    assert_eq!(moved.code, 9, "{moved:?}");
    assert!(!moved.stderr.contains("not undone"), "{moved:?}");
    assert_settled_as(&s, &before, "after a move that failed");
}

#[test]
fn whichever_request_fails_the_options_of_a_port_are_as_before() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let lock = format!("--lock-mac {MAC} --root-block --no-isolated tap0");
    let cases = [
        ("qemu-ifup", lock.clone(), ""),
        ("qemu-ifup", lock.clone(), LOCKED),
        ("qemu-ifup", "--no-lock-mac tap0".to_owned(), LOCKED),
        ("qemu-ifup", format!("--bridge br1 {lock}"), LOCKED),
        ("qemu-ifup", "--bridge br1 tap0".to_owned(), LOCKED),
        ("qemu-ifup", "--bridge br1 tap0".to_owned(), STATIC),
        ("qemu-ifdown", "tap0".to_owned(), LOCKED),
    ];
    for (program, args, setup) in cases {
        let args = words(&args);
        let mut held = None;
        let mut reset = || {
            s.try_sh("ip link del tap0");
            s.sh("ip tuntap add tap0 mode tap user 54321
                 ip link set tap0 address fe:00:00:00:00:77 addrgenmode none
                 ip link set tap0 master br0 up");
            // A port that nobody has open does not forward.
            held = (setup == STATIC).then(|| open_tap_as(0, "tap0", 0).unwrap());
            s.sh(setup);
        };
        reset();
        let all = calls(&s, program, &args);
        let done = comparable(s.settled());
        // A request that is not sent, and one that is done while its answer is lost.
        let exchanges = all
            .iter()
            .filter(|call| ["sendto", "recvfrom"].contains(&&*call.name));
        let mut tried = 0;
        for call in exchanges {
            reset();
            let before = s.settled();
            let run = run(command("strace")
                .args(["-qq", "-o", "/dev/null", "-e", &call.inject("error=EPERM")])
                .arg(bin(program))
                .args(&args));
            let at = format!(
                "{program} {args:?} after '{setup}', at {:.90}: {run:?}",
                call.line
            );
            tried += 1;
            // The last look is at what else is on this host, and needs no answer; nor does a port that has left.
            if run.code == 0 {
                let left = changes(&done, &comparable(s.settled()));
                assert!(left.is_empty(), "{at}: not done: {left:?}");
                continue;
            }
            assert!(!run.stderr.contains("not undone"), "{at}");
            assert_settled_as(&s, &before, &at);
        }
        assert!(tried > 6, "{program} {args:?}: {tried}");
    }
}

#[test]
fn a_port_that_left_its_bridge_is_not_put_back_where_only_the_answer_is_lost() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    let reset = || {
        assert_eq!(s.ifup(&["tap0"]).code, 0);
        s.sh(STATIC);
    };
    reset();
    let all = calls(&s, "qemu-ifdown", &["tap0"]);
    let done = s.settled();
    reset();
    let answer = all.iter().rfind(|call| call.name == "recvfrom").unwrap();
    let run = run(command("strace")
        .args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &answer.inject("error=ENOBUFS"),
        ])
        .arg(bin("qemu-ifdown"))
        .arg("tap0"));
    assert_succeeded(&run, "");
    assert_settled_as(&s, &done, &answer.line);
}

#[test]
fn what_a_port_learned_before_it_is_locked_is_forgotten() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    s.sh("ip link set tap0 master br0 up");
    for option in ["--no-learning", "--lock-mac=52:54:00:12:34:56"] {
        s.sh("bridge link set dev tap0 learning on
              bridge fdb add 52:54:00:00:00:99 dev tap0 master dynamic");
        assert_succeeded(&s.ifup(&[option, "tap0"]), "");
        let left = s.sh("bridge fdb show dev tap0 | grep 52:54:00:00:00:99 || true");
        assert_eq!(left, "", "{option}");
    }
}

#[test]
fn the_commands_of_a_dry_run_lock_a_port_and_unlock_it() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let dry = |args: &str| {
        let run = s.ifup(&words(&format!("--dry-run {args}")));
        assert_eq!(run.code, 0, "{run:?}");
        s.sh_as_ours(&run.stdout);
        run.stdout
    };
    let options = "--guard --root-block --no-mcast-flood --neigh-suppress --isolated";
    let plan = dry(&format!("{options} --lock-mac {MAC} tap0"));
    let mut lines: Vec<&str> = plan
        .lines()
        .filter(|line| line.contains("bridge"))
        .collect();
    let expected = [
        "bridge link set dev tap0 isolated on guard on root_block on learning off flood off \
         mcast_flood off neigh_suppress on locked on",
        "ip link set dev tap0 type bridge_slave fdb_flush",
        "bridge fdb replace 52:54:00:12:34:56 dev tap0 master static sticky",
    ];
    let expected = expected.map(|line| line.replace("         ", ""));
    assert_eq!(lines.split_off(lines.len() - 3), expected, "{plan}");
    let by_shell = s.settled();
    assert_succeeded(
        &s.ifup(&words(&format!("{options} --lock-mac {MAC} tap0"))),
        "qemu-ifup: tap0: already up on br0, nothing to do\n",
    );
    assert_settled_as(&s, &by_shell, "the program itself");
    let plan = dry("--no-lock-mac tap0");
    assert!(
        plan.contains(&format!("bridge fdb del {MAC} dev tap0 master\n")),
        "{plan}"
    );
    assert_eq!(s.static_fdb().len(), 0);
}
