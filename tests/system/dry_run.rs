//! --dry-run prints commands that do the same.

use crate::common::json::{changes, comparable};
use crate::common::sandbox::Sandbox;
use crate::common::{Run, bin, command, eventually, run};
use crate::expect::{create_args, words};
use serde_json::Value;
use std::thread;

/// Where a dry run and the act start from: the bridge's MTU and what else is there, the program, its arguments.
const STARTS: [(&str, &str, &[&str]); 10] = [
    ("", "qemu-ifup", &["tap0"]),
    ("ip link set br0 mtu 9000", "qemu-ifup", &["tap0"]),
    ("ip link set br0 mtu 1000", "qemu-ifup", &["tap0"]),
    (
        "",
        "qemu-ifup",
        &["--group", "54321", "--multi-queue", "--mtu", "1400", "tap0"],
    ),
    ("", "qemu-ifup", &["--owner", "54321", "a'b\"$(id)"]),
    (
        "ip tuntap add tap0 mode tap user 54321; ip link set tap0 address 02:00:00:00:00:99",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap user 54321
         ip link set tap0 address 02:00:00:00:00:99 mtu 1400 addrgenmode eui64
         ip link set tap0 master br1 up",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap user 54321
         ip link set tap0 address fe:00:00:00:00:99 addrgenmode none; ip link set tap0 master br0",
        "qemu-ifup",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap; ip link set tap0 address fe:00:00:00:00:99 master br0 up",
        "qemu-ifdown",
        &["tap0"],
    ),
    (
        "ip tuntap add tap0 mode tap; ip link set tap0 master br0 up",
        "qemu-ifdown",
        &["--delete", "tap0"],
    ),
];

/// Does something in a sandbox of its own, all of which are alike, and returns what it leaves and what it printed.
fn in_a_like_sandbox(
    setup: &'static str,
    act: impl FnOnce(&Sandbox) -> Run + Send + 'static,
) -> Option<(Value, Run)> {
    let world = thread::spawn(move || {
        let s = Sandbox::new()?;
        for (n, bridge) in ["br0", "br1"].into_iter().enumerate() {
            s.sh(&format!(
                "ip link add {bridge} address 02:00:00:00:01:0{n} type bridge
                 ip link set {bridge} addrgenmode none; ip link set {bridge} up"
            ));
        }
        s.sh(setup);
        let run = act(&s);
        assert_eq!(run.code, 0, "after {setup}: {run:?}");
        // A tap that was created in one go has a carrier, and its port forwards, for up to a second more.
        let ports_follow = || {
            let ports = s.bridge(&["link", "show"]);
            let is_disabled = |port: &Value| port["state"] == "disabled";
            let disabled = ports.as_array().unwrap().iter().all(is_disabled);
            disabled.then_some(())
        };
        eventually(ports_follow).expect("a tap without a reader has no carrier");
        Some((s.snapshot(), run))
    });
    world.join().unwrap()
}

/// The addresses of new taps are random but for the first byte.
fn without_random(text: &str) -> String {
    let words = text.split_inclusive([' ', '"', '\n']);
    let steady = words.map(|word| match word.strip_prefix("fe:") {
        Some(rest) => format!("fe:*{}", &rest["00:00:00:00:00".len()..]),
        None => word.to_owned(),
    });
    steady.collect()
}

#[test]
fn a_dry_run_changes_nothing_and_prints_what_does_the_same() {
    for (setup, program, args) in STARTS {
        let at = format!("{program} {args:?} after '{setup}'");
        let Some((by_itself, verbose)) = in_a_like_sandbox(setup, move |_| {
            run(command(bin(program)).arg("--verbose").args(args))
        }) else {
            return;
        };
        let Some((by_shell, dry)) = in_a_like_sandbox(setup, move |s| {
            let before = s.snapshot();
            let dry = run(command(bin(program)).arg("--dry-run").args(args));
            s.assert_unchanged(&before);
            // -u as well: a name with a $ in it must not be expanded.
            s.sh_as_ours(&dry.stdout);
            dry
        }) else {
            return;
        };
        let steady = |value: &Value| -> Value {
            serde_json::from_str(&without_random(&value.to_string())).unwrap()
        };
        let changes = changes(&steady(&by_itself), &steady(&by_shell));
        assert!(changes.is_empty(), "{at}:\n{}", changes.join("\n"));

        // What --verbose tells is the same, and both end with the same notice, if any; but a dry run moves nothing.
        assert_eq!(verbose.stdout, "", "{at}");
        let told = without_random(&(dry.stdout.clone() + &dry.stderr));
        let verbose = verbose
            .stderr
            .replace("qemu-ifup: tap0: moved from br1 to br0\n", "");
        assert_eq!(without_random(&verbose), told, "{at}");
        assert!(!dry.stdout.is_empty(), "{at}");
    }
}

/// Does something in a sandbox of its own, all of which are alike, and returns what it leaves.
fn settled_in_a_sandbox(
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
fn the_commands_of_a_dry_run_create_the_same_bridge_and_the_same_port() {
    const BR0: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 up\n";
    const PORT: &str = "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 up
        ip tuntap add tap0 mode tap user 54321
        ip link set tap0 address fe:00:00:00:00:77 addrgenmode none; ip link set tap0 master br0 up";
    for (setup, args) in [
        ("", create_args("tap0")),
        (
            "",
            words("--create-bridge --bridge b'$(id) --isolated tap0"),
        ),
        (
            "ip tuntap add tap0 mode tap user 54321; ip link set tap0 up",
            create_args("tap0"),
        ),
        (BR0, create_args("tap0")),
        (BR0, words("--isolated --multi-queue tap0")),
        (PORT, words("--isolated --wait 5 tap0")),
        (
            PORT,
            words("--create-bridge --bridge br1 --address 10.0.0.1/8 --isolated --mtu 1400 tap0"),
        ),
    ] {
        let at = format!("{args:?} after '{setup}'");
        let dry_args = args.clone();
        let Some(by_itself) = settled_in_a_sandbox(setup, move |s| {
            assert_eq!(s.ifup(&args).code, 0);
        }) else {
            return;
        };
        let by_shell = settled_in_a_sandbox(setup, move |s| {
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

#[test]
fn a_dry_run_tells_of_nothing_that_was_not_done() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.bridge_up("br1");
    s.sh("ip tuntap add tap0 mode tap user 54321; ip link set tap0 master br1");
    for args in ["-n tap0", "-n --wait 5 tap0", "-n --wait 5 tap1"] {
        let run = s.ifup(&words(args));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{args}: {run:?}");
        assert!(run.stdout.contains(" master br0"), "{args}: {run:?}");
    }
}
