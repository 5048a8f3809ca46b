//! While a run stands still, root does something else to its tap.

use crate::common::interfaces::port;
use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use crate::common::strace::{Call, calls, interrupted};
use crate::common::{bin, command, run};
use crate::expect::sandbox;
use std::fs;

/// The calls after which a run can be stopped, each request and each ioctl on a tap; and how many of them come before it has
/// looked at the tap for the last time. What root does after that is root's own.
fn stops(s: &Sandbox, program: &str, args: &[&str]) -> (Vec<Call>, usize) {
    let mut all = calls(s, program, args);
    all.retain(|call| ["sendto", "ioctl"].contains(&call.name.as_str()));
    let looks = |call: &Call| call.line.contains("RTM_GETLINK") && call.line.contains("\"tap0\"");
    let before = all.iter().rposition(looks).unwrap_or_default();
    (all, before)
}

const OPTIONS: &str = "* --isolated --guard --no-flood\n";

/// The tap is up as a port: then with the options that are bound.
fn assert_bound(s: &Sandbox, what: &str) {
    let Some(link) = s.link("tap0") else { return };
    if !is_up(&link) {
        return;
    }
    assert_eq!(link["master"], "br0", "{what}: up in no bridge");
    let port = port(s, "tap0");
    for (option, on) in [("isolated", true), ("guard", true), ("flood", false)] {
        assert_eq!(port[option], on, "{what}: {option}");
    }
}

/// Another program takes it out of its bridge and puts it back: its options are the default ones then.
const OUT_AND_IN: &str = "ip link set tap0 nomaster; ip link set tap0 master br0";

#[test]
fn a_new_tap_that_another_program_takes_out_of_its_bridge_and_puts_back_is_never_up_without_its_options()
 {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.etc("qemu-ifup.conf", OPTIONS);
    let args = ["--owner", "54321", "tap0"];
    let (stops, looked) = stops(&s, "qemu-ifup", &args);
    let mut moved = 0;
    for (n, stop) in stops.iter().enumerate() {
        s.try_sh("ip link del tap0");
        let what = format!("after {} {}", stop.name, stop.nth);
        let run = interrupted(&s, stop, "", ("qemu-ifup", &args), || {
            if s.ports("br0").is_empty() {
                return;
            }
            moved += 1;
            s.sh(OUT_AND_IN);
        });
        let is_there = s.link("tap0").is_some();
        if n < looked {
            assert_bound(&s, &format!("{what}: {run:?}"));
        }
        assert_eq!(run.code == 0, is_there, "{what}: {run:?}");
    }
    assert!(looked > 2, "it does not look at what it has done");
    assert!(
        moved > 2,
        "it was a port at {moved} of {} stops",
        stops.len()
    );
}

#[test]
fn a_tap_that_was_there_and_loses_its_options_meanwhile_is_down_where_the_run_fails() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.etc("qemu-ifup.conf", OPTIONS);
    let create = "ip tuntap add tap0 mode tap user 54321";
    let args = ["--owner", "54321", "tap0"];
    s.sh(create);
    let (stops, looked) = stops(&s, "qemu-ifup", &args);
    let mut moved = 0;
    for (n, stop) in stops.iter().enumerate() {
        s.sh(&format!("ip link del tap0; {create}"));
        let what = format!("after {} {}", stop.name, stop.nth);
        let run = interrupted(&s, stop, "", ("qemu-ifup", &args), || {
            if s.ports("br0").is_empty() {
                return;
            }
            moved += 1;
            s.sh(OUT_AND_IN);
        });
        let link = s.link("tap0").expect("it was there before");
        if n < looked {
            assert_bound(&s, &format!("{what}: {run:?}"));
        }
        assert_eq!(run.code == 0, is_up(&link), "{what}: {run:?}");
    }
    assert!(looked > 2, "it does not look at what it has done");
    assert!(
        moved > 2,
        "it was a port at {moved} of {} stops",
        stops.len()
    );
}

#[test]
fn a_tap_that_vanishes_while_qemu_ifdown_runs_is_gone_and_that_is_what_was_wanted() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    for args in [&["tap0"][..], &["--delete", "tap0"]] {
        let create = "ip tuntap add tap0 mode tap; ip link set tap0 master br0 up";
        s.sh(create);
        let (stops, _) = stops(&s, "qemu-ifdown", args);
        assert!(stops.len() > 1, "{args:?}");
        for stop in &stops {
            s.try_sh("ip link del tap0 2>/dev/null");
            s.sh(create);
            let run = interrupted(&s, stop, "", ("qemu-ifdown", args), || {
                s.try_sh("ip link del tap0");
            });
            assert_eq!(
                run.code, 0,
                "{args:?} after {} {}: {run:?}",
                stop.name, stop.nth
            );
            assert_eq!(s.link("tap0"), None);
        }
    }
}

/// The kernel finds an interface by it, but it is another name of that one.
#[test]
fn a_name_that_is_another_interfaces_alternative_name_is_said_to_be_one() {
    let Some(s) = sandbox() else { return };
    s.sh("ip link property add dev br0 altname tap7
          ip tuntap add tap0 mode tap; ip link property add dev tap0 altname tap8");
    let before = s.snapshot();
    for (name, of) in [("tap7", "br0"), ("tap8", "tap0")] {
        for (program, args) in [
            ("qemu-ifup", &[name][..]),
            ("qemu-ifup", &["-n", name]),
            ("qemu-ifdown", &[name]),
            ("qemu-ifdown", &["--delete", name]),
        ] {
            let refused = run(command(bin(program)).args(args));
            let what = format!("{program} {args:?}: {refused:?}");
            assert_ne!(refused.code, 0, "{what}");
            let first = refused.stderr.lines().next().unwrap_or_default();
            assert!(
                first.contains("alternative name") && first.contains(of),
                "{what}"
            );
            s.assert_unchanged(&before);
        }
    }
    let log = s.dir().join("helper");
    let helper = format!(
        "{} --br=br0 --fd=0 tap7 </dev/null 2>{}",
        bin("qemu-ifup").display(),
        log.display()
    );
    let refused = s.try_sh(&helper);
    assert_ne!(refused.code, 0, "{}", fs::read_to_string(log).unwrap());
    s.assert_unchanged(&before);
}
