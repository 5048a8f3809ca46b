//! The bridge that is made, the port that is limited or waited for, and the configuration that asks for them: the two
//! programs against the running kernel and a real QEMU, each test in a network of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use common::strace::{calls, interrupted, place_of};
use common::{
    Qemu, Run, Sandbox, bin, changes, command, comparable, eventually, is_up, open_tap_as, prune,
    run,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A user whom no /etc/passwd knows.
const ALICE: u32 = 54321;

const IPV4: &str = "192.168.10.1/24";
const IPV6: &str = "fd00:10::1/64";
/// All of them must be there, or no bridge.
const ADDRESSES: [&str; 3] = [IPV4, "10.1.2.3/32", IPV6];
const CREATE: [&str; 7] = [
    "--create-bridge",
    "--address",
    ADDRESSES[0],
    "--address",
    ADDRESSES[1],
    "--address",
    ADDRESSES[2],
];

fn create(tap: &str) -> Vec<&str> {
    [&CREATE[..], &[tap]].concat()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn sandbox_with_qemu() -> Option<Sandbox> {
    let s = Sandbox::with("qemu-system-x86_64")?;
    s.install();
    Some(s)
}

/// A sandbox where an ordinary user may attach taps of his own to br0, by copies of the programs in /etc.
fn sandbox_with_leave_for_alice() -> Option<Sandbox> {
    let s = Sandbox::with("setcap")?;
    s.install();
    s.open_tun_to_all();
    s.etc("qemu/bridge.conf", "allow br0\n");
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    Some(s)
}

fn alice(s: &Sandbox, args: &[&str]) -> Run {
    s.as_user(ALICE, ALICE, &[&["/etc/qemu-ifup"], args].concat())
}

/// It worked, and said just this.
fn assert_done(run: &Run, stderr: &str) {
    assert_eq!((run.code, run.stderr.as_str()), (0, stderr), "{run:?}");
}

/// It failed and said this, and after it a hint with that, unless that is empty.
fn assert_refused(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let (first, second) = run.stderr.split_once('\n').expect("no message");
    assert!(first.contains(error), "not '{error}': {run:?}");
    assert_eq!(second.contains(": hint: "), !hint.is_empty(), "{run:?}");
    assert!(second.contains(hint), "{run:?}");
}

/// What is particular to an interface of its kind.
fn info(s: &Sandbox, name: &str) -> Value {
    s.link(name).unwrap()["linkinfo"]["info_data"].clone()
}

/// What is particular to an interface as a port of a bridge.
fn port(s: &Sandbox, name: &str) -> Value {
    s.link(name).unwrap()["linkinfo"]["info_slave_data"].clone()
}

fn mac(s: &Sandbox, name: &str) -> String {
    let link = s.link(name).unwrap();
    link["address"].as_str().unwrap().to_owned()
}

/// The addresses of an interface but for those that it gives itself.
fn addresses(s: &Sandbox, name: &str) -> Vec<String> {
    let shown = s.ip(&["addr", "show", "dev", name]);
    let all = shown[0]["addr_info"].as_array().unwrap();
    let given = all.iter().filter(|a| a["scope"] != "link");
    let text = |a: &Value| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]);
    given.map(text).collect()
}

/// All that --create-bridge promises of a bridge.
fn assert_made(s: &Sandbox, bridge: &str, expected: &[&str]) {
    let link = s.link(bridge).unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "bridge");
    assert!(is_up(&link), "{link:#}");
    let info = info(s, bridge);
    assert_eq!(info["stp_state"], 0);
    assert_eq!(info["forward_delay"], 0);
    assert!(
        mac(s, bridge).starts_with("02:"),
        "not locally administered"
    );
    assert_eq!(addresses(s, bridge), expected);
}

/// It is an attached, complete tap that stays.
fn assert_attached(s: &Sandbox, bridge: &str, tap: &str) {
    let link = s.link(tap).unwrap();
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], bridge);
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(info(s, tap)["persist"], true);
    assert!(mac(s, tap).starts_with("fe:"));
}

fn assert_settled_as(s: &Sandbox, before: &Value, at: &str) {
    let changes = changes(before, &s.settled());
    assert!(
        changes.is_empty(),
        "{at}: not as before:\n{}",
        changes.join("\n")
    );
}

// Making the bridge.

#[test]
fn on_a_host_without_a_bridge_one_command_makes_it_with_its_addresses_and_the_tap_on_it() {
    let Some(s) = Sandbox::new() else { return };
    assert_done(&s.ifup(&create("tap0")), "");
    assert_made(&s, "br0", &ADDRESSES);
    assert_attached(&s, "br0", "tap0");

    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_done(&s.ifup(&create("tap0")), nothing);
    assert_settled_as(&s, &before, "the second time");

    // Without addresses, and by a name that no shell would leave alone.
    let odd = "b'$(id)";
    assert_done(&s.ifup(&["--create-bridge", "--bridge", odd, "tap1"]), "");
    assert_made(&s, odd, &[]);
    assert_attached(&s, odd, "tap1");
    assert_ne!(mac(&s, odd), mac(&s, "br0"));

    // A tap that is there, and in another bridge.
    let run = s.ifup(&words("--create-bridge --bridge br2 tap1"));
    assert_done(&run, &format!("qemu-ifup: tap1: moved from {odd} to br2\n"));
    assert_made(&s, "br2", &[]);
    assert_attached(&s, "br2", "tap1");
}

#[test]
fn a_bridge_that_exists_is_never_changed() {
    let Some(s) = Sandbox::new() else { return };
    for (setup, warning) in [
        (
            "ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 1000 ageing_time 7000
             ip address add 10.9.9.1/24 dev br0",
            "qemu-ifup: tap0: warning: br0 is down, no frame passes: ip link set dev br0 up\n",
        ),
        (
            "ip link add br0 address 02:00:00:00:00:77 mtu 9000 type bridge priority 99
             ip link set br0 addrgenmode none up",
            "",
        ),
    ] {
        s.sh(setup);
        let br0 = || {
            let mut all = s.settled();
            let of_br0 = |list: &Value| -> Vec<Value> {
                let list = list.as_array().unwrap().iter();
                list.filter(|l| l["ifname"] == "br0").cloned().collect()
            };
            json!([of_br0(&all["links"].take()), of_br0(&all["addresses"].take())])
        };
        let before = br0();
        assert_eq!(before[1].as_array().unwrap().len(), 1);
        assert_done(&s.ifup(&create("tap0")), warning);
        assert_attached(&s, "br0", "tap0");
        let changes = changes(&before, &br0());
        assert!(changes.is_empty(), "{setup}:\n{}", changes.join("\n"));
        s.sh("ip link del tap0; ip link del br0");
    }
}

#[test]
fn the_made_bridge_keeps_its_address_whatever_ports_come_and_go() {
    let Some(s) = Sandbox::new() else { return };
    assert_done(&s.ifup(&create("tap0")), "");
    let before = mac(&s, "br0");
    // Each is lower than the bridge's own, which starts with 02.
    for lower in ["00:00:00:00:00:01", "00:ff:00:00:00:01"] {
        s.sh(&format!(
            "ip link add v0 address {lower} type veth peer name v1; ip link set v0 master br0 up"
        ));
        assert_eq!(mac(&s, "br0"), before);
        s.sh("ip link del v0");
        assert_eq!(mac(&s, "br0"), before);
    }
    assert_done(&s.ifdown(&["--delete", "tap0"]), "");
    assert_eq!(mac(&s, "br0"), before);
    assert_made(&s, "br0", &ADDRESSES);
}

#[test]
fn the_address_and_mtu_of_a_made_bridge_stay_through_a_hundred_taps_on_a_bridge_with_no_other_port()
{
    let Some(s) = Sandbox::new() else { return };
    let of_br0 = || (mac(&s, "br0"), s.link("br0").unwrap()["mtu"].clone());
    let mut first = None;
    for n in 0..100 {
        let tap = format!("tap{n}");
        assert_done(&s.ifup(&create(&tap)), "");
        let now = of_br0();
        assert_eq!(*first.get_or_insert(now.clone()), now, "with {tap}");
        // Half of them go at once, so that the bridge is often empty, half with the namespace.
        let options: &[&str] = if n % 2 == 0 { &["--delete"] } else { &[] };
        assert_done(&s.ifdown(&[options, &[&tap]].concat()), "");
        assert_eq!(s.ports("br0"), Vec::<String>::new());
        assert_eq!(first, Some(of_br0()), "after {tap}");
    }
    assert_made(&s, "br0", &ADDRESSES);
}

#[test]
fn where_the_bridge_cannot_be_made_or_used_nothing_is_left() {
    let Some(s) = Sandbox::new() else { return };
    s.sh("ip link add v0 type veth peer name v1; ip tuntap add tun0 mode tun");
    let before = s.settled();
    let cases = [
        // What is wrong with the wish.
        (
            "--address 10.0.0.1/8 tap0",
            2,
            "--address goes with --create-bridge",
            "--help",
        ),
        (
            "--create-bridge --address 10.0.0.1 tap0",
            2,
            "10.0.0.1",
            "--help",
        ),
        (
            "--create-bridge --bridge all tap0",
            2,
            "'all' is no interface name",
            "15 bytes",
        ),
        // What is there already is no bridge, or no tap.
        (
            "--create-bridge --bridge v0 tap0",
            4,
            "cannot attach to v0: it is not a bridge but",
            "--bridge",
        ),
        (
            "--create-bridge --bridge lo tap0",
            4,
            "cannot attach to lo: it is not a bridge but",
            "name a bridge with --bridge",
        ),
        (
            "--create-bridge v0",
            5,
            "it is not a tap but an interface of kind veth",
            "name a tap",
        ),
        (
            "--create-bridge tun0",
            5,
            "it is not a tap but a tun",
            "name a tap",
        ),
        // The new bridge has the name that the tap was to have.
        (
            "--create-bridge --bridge tap0 tap0",
            2,
            "cannot be the tap and its bridge",
            "",
        ),
        // The kernel does not take one of the addresses.
        (
            "--create-bridge --address fd00::1/64 --address fd00::1/48 tap0",
            7,
            "cannot make the bridge br0: two of its addresses are the same (File exists)",
            "",
        ),
        (
            "--create-bridge --address 10.0.0.1/8 --address 10.0.0.1/8 --address fd00::1/64 tap0",
            7,
            "cannot make the bridge br0: two of its addresses are the same (File exists)",
            "",
        ),
        (
            "--create-bridge --address 10.0.0.1/8 --address ::1/128 tap0",
            7,
            "cannot make the bridge br0: ",
            "",
        ),
        // A new bridge filters VLANs where they are asked for, but this kernel may not be able to.
        (
            "--create-bridge --pvid 10 tap0",
            7,
            "cannot make the bridge br0: Operation not supported",
            "",
        ),
    ];
    for (args, code, error, hint) in cases {
        let run = s.ifup(&words(args));
        let (first, _) = run.stderr.split_once('\n').expect(args);
        assert_eq!(run.code, code, "{args}: {run:?}");
        assert!(first.contains(error), "{args}: {run:?}");
        assert!(run.stderr.contains(hint), "{args}: {run:?}");
        assert_settled_as(&s, &before, args);
    }
    // Two networks of one address are no mistake.
    let run = s.ifup(&words(
        "--create-bridge --address 10.0.0.1/8 --address 10.0.0.1/16 tap0",
    ));
    assert_done(&run, "");
    assert_made(&s, "br0", &["10.0.0.1/8", "10.0.0.1/16"]);
}

#[test]
fn an_ipv6_address_on_a_host_without_ipv6_is_refused_in_the_kernels_words_and_nothing_is_left() {
    let Some(s) = Sandbox::new() else { return };
    s.sh("for c in all default; do echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done");
    let before = s.settled();
    let run = s.ifup(&create("tap0"));
    assert_ne!(run.code, 0, "{run:?}");
    assert!(
        run.stderr.contains("cannot make the bridge br0: "),
        "{run:?}"
    );
    assert_settled_as(&s, &before, "refused");
    // All the others are made.
    assert_done(&s.ifup(&["--create-bridge", "--address", IPV4, "tap0"]), "");
    assert_made(&s, "br0", &[IPV4]);
    assert_eq!(s.ports("br0"), ["tap0"]);
}

// Others at the same moment.

#[test]
fn several_that_race_end_with_one_bridge_and_every_tap_on_it() {
    let Some(s) = Sandbox::new() else { return };
    for round in 0..50 {
        let taps = &["tap0", "tap1", "tap2", "tap3"][..2 + round % 3];
        let start = Barrier::new(taps.len());
        let runs: Vec<Run> = thread::scope(|scope| {
            let one = |&tap| {
                let mut ifup = command(bin("qemu-ifup"));
                ifup.args(create(tap));
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    run(&mut ifup)
                })
            };
            let racing: Vec<_> = taps.iter().map(one).collect();
            racing.into_iter().map(|r| r.join().unwrap()).collect()
        });
        for run in &runs {
            assert_done(run, "");
        }
        assert_made(&s, "br0", &ADDRESSES);
        let ports: BTreeSet<String> = s.ports("br0").into_iter().collect();
        assert!(ports.iter().eq(taps), "round {round}: {ports:?}");
        assert_eq!(s.links().len(), 1 + 1 + taps.len());
        let delete: String = taps.iter().map(|tap| format!("link del {tap}\n")).collect();
        s.sh(&format!("printf '{delete}link del br0\n' | ip -batch -"));
    }
}

#[test]
fn a_bridge_that_somebody_makes_at_that_very_moment_is_used_as_it_is() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let calls = calls(&s, "qemu-ifup", &create("tap0"));
    let args = create("tap0");
    let ifup = ("qemu-ifup", args.as_slice());
    // A process stops at the end of a call, so it has to be the one before.
    let before_making = &calls[place_of(&calls, "NLM_F_CREATE") - 1];
    s.sh("ip link del tap0; ip link del br0");
    let run = interrupted(&s, before_making, "", ifup, || {
        s.sh("ip link add br0 type bridge; ip address add 10.9.9.1/24 dev br0; ip link set br0 up");
    });
    assert_done(&run, "");
    assert_attached(&s, "br0", "tap0");
    assert_eq!(addresses(&s, "br0"), ["10.9.9.1/24"]);

    // What takes the name is not always a bridge.
    s.sh("ip link del tap0; ip link del br0");
    let run = interrupted(&s, before_making, "", ifup, || {
        s.sh("ip link add br0 type veth peer name v1");
    });
    assert_refused(
        &run,
        4,
        "cannot attach to br0: it is not a bridge but an interface of kind veth",
        "--bridge",
    );
    assert!(s.link("br0").is_some() && s.link("tap0").is_none());
}

#[test]
fn undoing_does_not_remove_what_others_have_begun_to_use_or_have_made() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let args = create("tap0");
    let create_tap0 = ("qemu-ifup", args.as_slice());
    let calls = calls(&s, "qemu-ifup", &args);
    // The bridge is there, and the tap is to join it.
    let join = &calls[place_of(&calls, "IFLA_MASTER")];
    let not_undone = "; not undone: remove the bridge br0 (a port is in it by now)";
    let ifup = bin("qemu-ifup");
    let another_run = format!("'{}' --create-bridge tap1", ifup.display());
    for (meanwhile, said, left) in [
        (another_run.as_str(), not_undone, &["br0", "tap1"][..]),
        (
            "ip link add v0 master br0 type veth peer name v1",
            not_undone,
            &["br0", "v0", "v1"],
        ),
        // Somebody else's by the same name, and by the same number as well.
        ("ip link del br0; ip link add br0 type bridge", "", &["br0"]),
        (
            "index=$(ip -o link show br0 | cut -d: -f1)
             ip link del br0; ip link add br0 index $index address 02:00:00:00:00:66 type bridge",
            "",
            &["br0"],
        ),
        ("ip link del br0", "", &[]),
        // It was renamed, and is still the one that was made.
        (
            "ip link set br0 down; ip link set br0 name br7; ip link add br0 type bridge",
            "",
            &["br0"],
        ),
        ("", "", &[]),
    ] {
        s.try_sh("for l in tap0 tap1 v0 br0; do ip link del $l || true; done");
        let run = interrupted(&s, join, "error=EPERM:", create_tap0, || {
            s.sh(meanwhile);
        });
        let error = format!("qemu-ifup: tap0: cannot attach to br0: Operation not permitted{said}");
        assert_eq!(run.code, 3, "{meanwhile}: {run:?}");
        assert_eq!(
            run.stderr.lines().next(),
            Some(error.as_str()),
            "{meanwhile}"
        );
        let links: BTreeSet<String> = s.links().into_iter().filter(|name| name != "lo").collect();
        assert!(links.iter().eq(left), "{meanwhile}: {links:?}");
        if left.contains(&"tap1") {
            assert_made(&s, "br0", &ADDRESSES);
            assert_attached(&s, "br0", "tap1");
        }
    }
}

#[test]
fn an_interface_that_has_the_number_that_was_chosen_for_the_bridge_is_left_alone() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    // Random bytes that are all zero (the call is made to return without writing any) choose the first number.
    let all_zero = |args: &[&str]| {
        run(command("strace")
            .args(["-qq", "-o", "/dev/null", "-e", "inject=getrandom:retval=12"])
            .arg(bin("qemu-ifup"))
            .args(args))
    };
    assert_eq!(all_zero(&create("tap0")).code, 0);
    let number = s.link("br0").unwrap()["ifindex"].clone();
    s.sh("ip link del tap0; ip link del br0");
    for victim in ["type veth peer name v1", "type bridge"] {
        s.sh(&format!(
            "ip link add v0 index {number} {victim}; ip link set v0 addrgenmode none up"
        ));
        let before = s.settled()["links"].clone();
        let run = all_zero(&create("tap0"));
        let after = s
            .link("v0")
            .unwrap_or_else(|| panic!("v0 ({victim}) is gone: {run:?}"));
        assert_eq!(addresses(&s, "v0"), Vec::<String>::new(), "{run:?}");
        assert_eq!(after["ifindex"], number);
        if run.code == 0 {
            assert_made(&s, "br0", &ADDRESSES);
            s.sh("ip link del tap0; ip link del br0");
        }
        let changes = changes(&before, &s.settled()["links"]);
        assert!(
            changes.is_empty(),
            "{victim} {run:?}:\n{}",
            changes.join("\n")
        );
        s.sh("ip link del v0");
    }
}

// Limits of the port.

#[test]
fn an_isolated_port_is_isolated_and_another_is_not() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let isolated = |tap| port(&s, tap)["isolated"].clone();
    assert_done(&s.ifup(&["--isolated", "tap0"]), "");
    assert_done(&s.ifup(&["tap1"]), "");
    assert_eq!(
        (isolated("tap0"), isolated("tap1")),
        (json!(true), json!(false))
    );

    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_done(&s.ifup(&["--isolated", "tap0"]), nothing);
    assert_settled_as(&s, &before, "the second time");

    // One that is a port already, and open; nothing else of it changes.
    let _held = open_tap_as(0, "tap2", 0).unwrap();
    assert_done(&s.ifup(&["tap2"]), "");
    let mut before = s.settled();
    assert_done(&s.ifup(&["--isolated", "tap2"]), "");
    assert_eq!(isolated("tap2"), true);
    prune(&mut before, &mut |key, _| key == "isolated");
    let mut after = s.settled();
    prune(&mut after, &mut |key, _| key == "isolated");
    assert_eq!(changes(&before, &after), Vec::<String>::new());

    // A port that comes from another bridge begins anew, so it is set again.
    s.bridge_up("br1");
    let moved = s.ifup(&["--bridge", "br1", "--isolated", "tap0"]);
    assert_done(&moved, "qemu-ifup: tap0: moved from br0 to br1\n");
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
            let error = format!("qemu-ifup: {tap}: cannot set VLANs: br0 does not keep them apart");
            assert_refused(
                &run,
                4,
                &error,
                "ip link set dev br0 type bridge vlan_filtering 1",
            );
            s.assert_unchanged(&before);
        }
    }
}

// Dry run.

/// Does something in a sandbox of its own, all of which are alike, and returns what it leaves.
fn in_a_like_sandbox(
    setup: &'static str,
    act: impl FnOnce(&Sandbox) + Send + 'static,
) -> Option<Value> {
    let world = thread::spawn(move || {
        let s = Sandbox::new()?;
        s.sh(setup);
        act(&s);
        Some(comparable(s.settled()))
    });
    world.join().unwrap()
}

#[test]
fn the_commands_of_a_dry_run_make_the_same_bridge_and_the_same_port() {
    const BR0: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 up\n";
    const PORT: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 up
        ip tuntap add tap0 mode tap user 54321
        ip link set tap0 address fe:00:00:00:00:77 addrgenmode none; ip link set tap0 master br0 up";
    for (setup, args) in [
        ("", create("tap0")),
        (
            "",
            words("--create-bridge --bridge b'$(id) --isolated tap0"),
        ),
        (
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 up",
            create("tap0"),
        ),
        (BR0, create("tap0")),
        (BR0, words("--isolated --multi-queue tap0")),
        (PORT, words("--isolated --wait 5 tap0")),
        (
            PORT,
            words("--create-bridge --bridge br1 --address 10.0.0.1/8 --isolated --mtu 1400 tap0"),
        ),
    ] {
        let at = format!("{args:?} after '{setup}'");
        let dry_args = args.clone();
        let Some(by_itself) = in_a_like_sandbox(setup, move |s| {
            assert_eq!(s.ifup(&args).code, 0);
        }) else {
            return;
        };
        let by_shell = in_a_like_sandbox(setup, move |s| {
            let before = s.snapshot();
            let dry = s.ifup(&[&["--dry-run"], &dry_args[..]].concat());
            assert_eq!(dry.code, 0, "{dry:?}");
            assert!(!dry.stdout.is_empty());
            s.assert_unchanged(&before);
            s.sh_as_ours(&dry.stdout);
        });
        let changes = changes(&by_itself, &by_shell.unwrap());
        assert!(changes.is_empty(), "{at}:\n{}", changes.join("\n"));
    }
}

// Waiting.

/// A bridge with STP and the shortest delay that the kernel takes with it, twice which a port needs to forward.
const STP: &str =
    "ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 200
    ip link set br0 addrgenmode none up";
const DELAY: Duration = Duration::from_secs(2);

#[test]
fn waiting_ends_when_the_port_forwards_and_sleeps_meanwhile() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.sh(STP);
    let _held = open_tap_as(0, "tap0", 0).unwrap();
    let log = s.dir().join("calls");
    let start = Instant::now();
    let waiting = run(command("strace")
        .arg("-o")
        .arg(&log)
        .arg(bin("qemu-ifup"))
        .args(["--wait", "15", "tap0"]));
    let took = start.elapsed();
    assert_done(&waiting, "");
    assert_eq!(port(&s, "tap0")["state"], "forwarding");
    // The kernel's timers run up to a tick early, and the news are late by as much.
    let expected = 2 * DELAY - Duration::from_millis(200)..2 * DELAY + Duration::from_secs(2);
    assert!(expected.contains(&took), "{took:?}");
    let calls = fs::read_to_string(&log).unwrap().lines().count();
    assert!(calls < 300, "{calls} system calls");
    let exchanges = fs::read_to_string(&log).unwrap().matches("sendto(").count();
    assert!(exchanges < 30, "{exchanges} requests");

    // It forwards already.
    let start = Instant::now();
    assert_done(&s.ifup(&["--wait", "15", "tap0"]), "");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_port_that_does_not_forward_in_time_is_an_error_and_all_is_undone() {
    let Some(s) = Sandbox::new() else { return };
    let cases = [
        (STP, "it is still listening", "twice the forward delay"),
        (
            "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 addrgenmode none",
            "it is still disabled",
            "the bridge is down",
        ),
    ];
    for (setup, state, hint) in cases {
        s.sh(setup);
        let _held = open_tap_as(0, "tap0", 0).unwrap();
        let before = s.settled();
        let start = Instant::now();
        let run = s.ifup(&["--wait", "1", "--isolated", "tap0"]);
        let took = start.elapsed();
        assert_refused(
            &run,
            9,
            &format!("tap0: cannot wait until it forwards: {state}"),
            hint,
        );
        let expected = Duration::from_secs(1)..Duration::from_millis(1800);
        assert!(expected.contains(&took), "{took:?}");
        assert_settled_as(&s, &before, setup);
        // No time at all is time enough to look once.
        assert_eq!(s.ifup(&["--wait", "0", "tap0"]).code, 9);
        assert_settled_as(&s, &before, setup);
        s.sh("ip link del br0");
    }
}

#[test]
fn nothing_is_waited_for_without_stp_or_without_anybody_who_has_the_tap_open() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br1");
    s.sh(STP);
    s.sh("ip tuntap add idle mode tap");
    let _held = open_tap_as(0, "held", 0).unwrap();
    let notice = |tap| {
        format!("qemu-ifup: {tap}: not waited for: it forwards only while a program has it open\n")
    };
    for (args, said) in [
        ("--bridge br1 --wait 15 held", String::new()),
        (
            "--bridge br9 --create-bridge --wait 15 held",
            "qemu-ifup: held: moved from br1 to br9\n".to_owned(),
        ),
        ("--wait 15 idle", notice("idle")),
        ("--wait 15 new", notice("new")),
    ] {
        let start = Instant::now();
        assert_done(&s.ifup(&words(args)), &said);
        assert!(start.elapsed() < Duration::from_secs(2), "{args}");
    }
    assert_eq!(s.ports("br0").len(), 2);
    assert_eq!(port(&s, "held")["state"], "forwarding");
}

#[test]
fn a_port_that_forwards_just_before_the_news_are_subscribed_to_is_not_waited_for() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    // The other keeps the bridge's carrier up, whose changes would be news as well.
    let _held = ["tap0", "tap1"].map(|tap| {
        let held = open_tap_as(0, tap, 0).unwrap();
        assert_done(&s.ifup(&[tap]), "");
        held
    });
    let args = ["--wait", "15", "tap0"];
    let calls = calls(&s, "qemu-ifup", &args);
    let subscribes = place_of(&calls, "nl_groups=0x000001");
    // Without STP a port is whatever it is said to be.
    s.sh("bridge link set dev tap0 state 0");
    assert_eq!(port(&s, "tap0")["state"], "disabled");
    let start = Instant::now();
    let call = &calls[subscribes - 1];
    let run = interrupted(&s, call, "", ("qemu-ifup", &args), || {
        s.sh("bridge link set dev tap0 state 3");
    });
    assert_done(&run, "");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

// The configuration.

#[test]
fn the_first_of_command_line_program_name_configuration_and_default_says_the_bridge() {
    let Some(s) = Sandbox::new() else { return };
    for bridge in ["br0", "br1", "br2", "br3"] {
        s.bridge_up(bridge);
    }
    let link = |name: &str| {
        let path = s.dir().join(name);
        symlink(bin("qemu-ifup"), &path).unwrap();
        path
    };
    let (plain, named, other) = (
        link("qemu-ifup"),
        link("qemu-ifup.br1"),
        link("qemu-ifup-br1"),
    );
    const CONF: &str = "# all but one\ntap*  --bridge br2   # here\nother? --bridge br9\n";
    for (conf, program, args, expected) in [
        ("", &plain, "tap0", "br0"),
        ("", &named, "tap0", "br1"),
        ("", &named, "--bridge br3 tap0", "br3"),
        ("", &other, "tap0", "br0"),
        (CONF, &plain, "tap0", "br2"),
        (CONF, &plain, "web0", "br0"),
        (CONF, &named, "tap0", "br1"),
        (CONF, &plain, "--br=br3 tap0", "br3"),
        (CONF, &named, "-b br3 tap0", "br3"),
        (CONF, &plain, "--bridge br0 other1", "br0"),
    ] {
        s.etc("qemu-ifup.conf", conf);
        let args = words(args);
        assert_done(&run(command(program).args(&args)), "");
        let tap = args.last().unwrap();
        assert_attached(&s, expected, tap);
        s.sh(&format!("ip link del {tap}"));
    }

    let before = s.snapshot();
    for bad in [
        "qemu-ifup.",
        "qemu-ifup.1234567890123456",
        "qemu-ifup.a b",
        "qemu-ifup.br%d",
    ] {
        let run = run(command(link(bad)).arg("tap0"));
        let suffix = bad.split_once('.').unwrap().1;
        assert_refused(
            &run,
            2,
            &format!("'{suffix}' is no interface name"),
            "15 bytes",
        );
    }
    s.assert_unchanged(&before);
    // It is not asked where the command line says the bridge.
    assert_done(
        &run(command(s.dir().join("qemu-ifup.")).args(["-b", "br1", "tap0"])),
        "",
    );
}

#[test]
fn every_option_of_the_configuration_does_what_it_does_on_the_command_line() {
    let Some(s) = Sandbox::new() else { return };
    s.etc(
        "qemu-ifup.conf",
        "*    --create-bridge --address 192.168.10.1/24 --mtu 1400
         web? --bridge br1 --isolated --owner 54321 --multi-queue --address=fd00::1/64
         web9 --mtu 1300 --wait 3\n",
    );
    for (args, bridge, given, mtu, isolated) in [
        ("web0", "br1", &["fd00::1/64"][..], 1400, true),
        ("--mtu 1310 web1", "br1", &["fd00::1/64"], 1310, true),
        ("web9", "br1", &["fd00::1/64"], 1300, true),
        (
            "--address 10.0.0.1/8 db0",
            "br0",
            &["10.0.0.1/8"],
            1400,
            false,
        ),
        ("--bridge br5 db0", "br5", &[IPV4], 1400, false),
    ] {
        let args = words(args);
        let tap = args.last().unwrap();
        assert_eq!(s.ifup(&args).code, 0, "{args:?}");
        assert_attached(&s, bridge, tap);
        assert_made(&s, bridge, given);
        let link = s.link(tap).unwrap();
        assert_eq!(
            (&link["mtu"], &port(&s, tap)["isolated"]),
            (&json!(mtu), &json!(isolated)),
            "{args:?}"
        );
        let owner = if isolated {
            json!(ALICE)
        } else {
            json!("root")
        };
        assert_eq!(info(&s, tap)["user"], owner, "{args:?}");
        assert_eq!(info(&s, tap)["multi_queue"], isolated, "{args:?}");
        s.sh(&format!("ip link del {tap}; ip link del {bridge}"));
    }
}

#[test]
fn a_configuration_that_cannot_be_relied_on_stops_ifup_before_it_changes_anything_but_never_ifdown()
{
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh("ip tuntap add tap1 mode tap user 54321");
    s.sh("ip link set tap1 addrgenmode none address fe:00:00:00:00:77; ip link set tap1 master br0 up");
    let before = s.snapshot();
    let path = "cannot rely on /etc/qemu-ifup.conf: ";
    let line = "cannot rely on /etc/qemu-ifup.conf:";
    let only_roots = "it must be root's, and nobody else may write to it";
    let not_regular = "it is not a regular file";
    let cases = [
        // Whose it is, and who may write to it.
        ("echo '* --mtu 1400' >$C; chmod 666 $C", path, only_roots),
        ("echo '* --mtu 1400' >$C; chmod 620 $C", path, only_roots),
        ("echo '* --mtu 1400' >$C; chown 54321 $C", path, only_roots),
        (
            ">\"$DIR/c\"; chown 54321 \"$DIR/c\"; ln -s \"$DIR/c\" $C",
            path,
            only_roots,
        ),
        // What it is.
        ("mkfifo $C", path, not_regular),
        ("mkfifo \"$DIR/c\"; ln -s \"$DIR/c\" $C", path, not_regular),
        ("mkdir $C", path, not_regular),
        ("ln -s /dev/zero $C", path, not_regular),
        ("ln -s /dev/tty $C", path, ""),
        ("ln -s qemu-ifup.conf $C", path, "symbolic links"),
        (
            "ln -s b /etc/qemu-ifup.a; ln -s /etc/qemu-ifup.a /etc/b; ln -s b $C",
            path,
            "symbolic links",
        ),
        (
            "head -c 10485760 /dev/zero | tr '\\0' ' ' >$C",
            path,
            "it is larger than 1 MiB",
        ),
        ("truncate -s 1T $C", path, "it is larger than 1 MiB"),
        // What is in it, in lines that match and in others.
        (
            "printf '* --mtu 1400\\n\\n* --frob\\n' >$C",
            line,
            "3: unknown option --frob",
        ),
        ("printf 'nobody --mtu 9\\n' >$C", line, "1: "),
        (
            "printf '* --bridge br\\0\\n' >$C",
            line,
            "1: 'br\\x00' is no interface name",
        ),
        ("printf '* --mtu 15\\37700\\n' >$C", line, "1: "),
        (
            "printf -- '--mtu 1400\\n' >$C",
            line,
            "1: a line begins with a pattern",
        ),
        (
            "{ yes '* --mtu 1400' | head -n 70000; echo '* --mtu'; } >$C",
            line,
            "70001: ",
        ),
        (
            "{ printf '* --bridge '; head -c 900000 /dev/zero | tr '\\0' a; } >$C",
            line,
            "1: 'aaaa",
        ),
    ];
    for (make, start, problem) in cases {
        s.sh(&format!(
            "C=/etc/qemu-ifup.conf; rm -rf $C /etc/qemu-ifup.a /etc/b \"$DIR/c\"\n{make}"
        ));
        let begun = Instant::now();
        for tap in ["tap0", "tap1"] {
            let run = s.ifup(&["--isolated", tap]);
            let at = format!("{make}: {run:.500?}");
            assert_eq!(run.code, 8, "{at}");
            assert!(
                run.stderr
                    .starts_with(&format!("qemu-ifup: {tap}: {start}")),
                "{at}"
            );
            assert!(run.stderr.contains(problem), "{at}");
            assert!(
                run.stderr.contains(": hint: ") && run.stderr.len() < 1000,
                "{at}"
            );
        }
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{make}: {:?}",
            begun.elapsed()
        );
        s.assert_unchanged(&before);
        assert_done(&s.ifdown(&["tap1"]), "");
        s.sh("ip link set tap1 master br0 up");
    }
}

#[test]
fn a_configuration_that_is_missing_empty_or_elsewhere_is_none_to_complain_of() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    for (make, mtu) in [
        ("", 1500),
        (">$C", 1500),
        ("printf '* --mtu 1400' >$C", 1400),
        ("printf '* --mtu 1400\\r\\n' >$C; chmod 400 $C", 1400),
        ("echo '* --mtu 1400' >\"$DIR/c\"; ln -s \"$DIR/c\" $C", 1400),
        (
            "{ yes '* --mtu 1300' | head -n 50000; echo '* --mtu 1400'; } >$C",
            1400,
        ),
    ] {
        s.sh(&format!(
            "C=/etc/qemu-ifup.conf; rm -rf $C \"$DIR/c\"\n{make}"
        ));
        assert_done(&s.ifup(&["tap0"]), "");
        assert_eq!(s.link("tap0").unwrap()["mtu"], mtu, "{make}");
        s.sh("ip link del tap0");
    }
}

// Ordinary users.

#[test]
fn an_ordinary_user_may_not_ask_for_what_is_the_administrators_to_say() {
    let Some(s) = sandbox_with_leave_for_alice() else {
        return;
    };
    s.bridge_up("br0");
    s.etc("qemu-ifup.conf", "* --create-bridge\n");
    let before = s.snapshot();
    for (options, named) in [
        ("--create-bridge", "--create-bridge"),
        ("--create-bridge --address 10.0.0.1/8", "--create-bridge"),
        ("--address 10.0.0.1/8", "--address"),
        ("--pvid 10", "--pvid"),
        ("--vlans 10,20", "--vlans"),
        ("--isolated --vlans 10", "--vlans"),
    ] {
        let run = alice(&s, &words(&format!("{options} tap0")));
        let error = format!("tap0: cannot use {named}: it is the administrator's option");
        assert_refused(&run, 3, &error, "/etc/qemu-ifup.conf");
        s.assert_unchanged(&before);
    }
    // What concerns nobody but himself he may ask for.
    assert_eq!(alice(&s, &words("--isolated --wait 1 tap0")).code, 0);
    assert_attached(&s, "br0", "tap0");
    assert_eq!(port(&s, "tap0")["isolated"], true);
    assert_eq!(info(&s, "tap0")["user"], ALICE);
}

#[test]
fn what_the_administrator_wrote_applies_to_an_ordinary_user() {
    let Some(s) = sandbox_with_leave_for_alice() else {
        return;
    };
    s.etc(
        "qemu-ifup.conf",
        "*    --create-bridge --address 192.168.10.1/24 --isolated
         vlan --pvid 10 --vlans 20\nmoved --bridge br1\nother --owner 54322\n",
    );
    assert_done(&alice(&s, &["tap0"]), "");
    assert_made(&s, "br0", &[IPV4]);
    assert_attached(&s, "br0", "tap0");
    assert_eq!(port(&s, "tap0")["isolated"], true);
    assert_eq!(info(&s, "tap0")["user"], ALICE);
    assert_done(&alice(&s, &["other"]), "");
    assert_eq!(info(&s, "other")["user"], 54322);

    let before = s.settled();
    // The option is not refused; what fails is that the bridge does not filter.
    assert_refused(
        &alice(&s, &["vlan"]),
        4,
        "cannot set VLANs: br0",
        "vlan_filtering 1",
    );
    // The ACL still binds: it allows br0 only.
    assert_refused(
        &alice(&s, &["moved"]),
        3,
        "cannot attach to br1: no line of",
        "allow br1",
    );
    // One that he cannot read must not be taken for none.
    fs::set_permissions("/etc/qemu-ifup.conf", fs::Permissions::from_mode(0o600)).unwrap();
    assert_refused(
        &alice(&s, &["tap1"]),
        8,
        "cannot rely on /etc/qemu-ifup.conf: Permission denied",
        "chmod",
    );
    assert_settled_as(&s, &before, "refused");
}

// Under QEMU.

#[test]
fn a_bare_netdev_on_a_host_without_a_bridge_needs_one_line_of_configuration() {
    let Some(s) = sandbox_with_qemu() else { return };
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 192.168.10.1/24\n",
    );
    let first = Qemu::start(&s, "-netdev tap,id=n1").unwrap();
    assert_made(&s, "br0", &[IPV4]);
    let second = Qemu::start(&s, "-netdev tap,id=n1").unwrap();
    assert_eq!(s.ports("br0"), ["tap0", "tap1"]);
    for qemu in [first, second] {
        let run = qemu.quit();
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.stderr.contains("qemu-if"), "{run:?}");
    }
    assert_eq!(s.links(), ["lo", "br0"]);
    assert_made(&s, "br0", &[IPV4]);
}

#[test]
fn the_bridge_helper_finds_its_options_by_the_name_that_the_kernel_chose() {
    let Some(s) = sandbox_with_qemu() else { return };
    s.etc(
        "qemu-ifup.conf",
        "*    --create-bridge --address 192.168.10.1/24 --bridge br7
         tap0 --isolated\ntap1 --mtu 1400\ntap2 --frob\n",
    );
    let helper = "-netdev bridge,id=n1,br=br0,helper=/etc/qemu-ifup";
    // A mistake is one, whichever tap it is about.
    let run = Qemu::start(&s, helper).unwrap_err();
    assert!(
        run.stderr
            .contains("qemu-ifup: tap0: cannot rely on /etc/qemu-ifup.conf:4: "),
        "{run:?}"
    );
    assert_eq!(s.links(), ["lo"]);

    s.sh("sed -i /frob/d /etc/qemu-ifup.conf");
    // QEMU says --br=br0, which wins.
    let first = Qemu::start(&s, helper).unwrap();
    let second = Qemu::start(&s, helper).unwrap();
    assert_made(&s, "br0", &[IPV4]);
    assert_eq!(s.ports("br0"), ["tap0", "tap1"]);
    let of = |tap| {
        (
            port(&s, tap)["isolated"].clone(),
            s.link(tap).unwrap()["mtu"].clone(),
        )
    };
    assert_eq!(of("tap0"), (json!(true), json!(1500)));
    assert_eq!(of("tap1"), (json!(false), json!(1400)));
    drop((first, second));
    eventually(|| s.ports("br0").is_empty().then_some(())).expect("taps without QEMU");
}

#[test]
fn qemu_does_not_start_where_the_port_does_not_forward_in_time_and_starts_where_it_does() {
    let Some(s) = sandbox_with_qemu() else { return };
    s.sh(STP);
    s.etc("qemu-ifup.conf", "* --wait 1\nslow --wait 15\n");
    let before = s.snapshot();
    let run = Qemu::start(&s, "-netdev tap,id=n1").unwrap_err();
    assert!(run.stderr.contains("it is still listening"), "{run:?}");
    // 256 times the exit code.
    assert!(run.stderr.contains("failed with status 2304"), "{run:?}");
    let helper = "-netdev bridge,id=n1,br=br0,helper=/etc/qemu-ifup";
    let run = Qemu::start(&s, helper).unwrap_err();
    assert!(run.stderr.contains("it is still listening"), "{run:?}");
    s.assert_unchanged(&before);

    let _qemu = Qemu::start(&s, "-netdev tap,id=n1,ifname=slow").unwrap();
    assert_eq!(port(&s, "slow")["state"], "forwarding");
}
