//! --create-bridge, and others at the same moment.

use crate::common::interfaces::{addresses, assert_new_bridge};
use crate::common::json::changes;
use crate::common::sandbox::Sandbox;
use crate::common::strace::{calls, interrupted, place_of};
use crate::common::{Run, bin, command, run};
use crate::expect::{
    ADDRESSES, IPV4, assert_error, assert_in_bridge, assert_succeeded, create_args,
};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

#[test]
fn several_that_race_end_with_one_bridge_and_every_tap_on_it() {
    let Some(s) = Sandbox::new() else { return };
    for round in 0..50 {
        let taps = &["tap0", "tap1", "tap2", "tap3"][..2 + round % 3];
        let start = Barrier::new(taps.len());
        let runs: Vec<Run> = thread::scope(|scope| {
            let one = |&tap| {
                let mut ifup = command(bin("qemu-ifup"));
                ifup.args(create_args(tap));
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
            assert_succeeded(run, "");
        }
        assert_new_bridge(&s, "br0", &ADDRESSES);
        let ports: BTreeSet<String> = s.ports("br0").into_iter().collect();
        assert!(ports.iter().eq(taps), "round {round}: {ports:?}");
        assert_eq!(s.links().len(), 1 + 1 + taps.len());
        let delete: String = taps.iter().map(|tap| format!("link del {tap}\n")).collect();
        s.sh(&format!("printf '{delete}link del br0\n' | ip -batch -"));
    }
}

#[test]
fn a_bridge_that_somebody_creates_at_that_very_moment_is_used_as_it_is() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let calls = calls(&s, "qemu-ifup", &create_args("tap0"));
    let args = create_args("tap0");
    let ifup = ("qemu-ifup", args.as_slice());
    // A process stops at the end of a call, so it has to be the one before.
    let before_making = &calls[place_of(&calls, "NLM_F_CREATE") - 1];
    s.sh("ip link del tap0; ip link del br0");
    let run = interrupted(&s, before_making, "", ifup, || {
        s.sh("ip link add br0 type bridge; ip address add 10.9.9.1/24 dev br0; ip link set br0 up");
    });
    let notice = format!(
        "qemu-ifup: tap0: br0 already exists without the address {IPV4} (--address applies only to a new bridge). To add the address, run: ip address add {IPV4} dev br0\n"
    );
    assert_succeeded(&run, &notice);
    assert_in_bridge(&s, "br0", "tap0");
    assert_eq!(addresses(&s, "br0"), ["10.9.9.1/24"]);

    // What takes the name is not always a bridge.
    s.sh("ip link del tap0; ip link del br0");
    let run = interrupted(&s, before_making, "", ifup, || {
        s.sh("ip link add br0 type veth peer name v1");
    });
    assert_error(
        &run,
        4,
        "cannot attach to br0: br0 is not a bridge (it is an interface of kind veth",
        "--bridge",
    );
    assert!(s.link("br0").is_some() && s.link("tap0").is_none());
}

#[test]
fn a_bridge_that_was_created_whole_stays_whatever_others_have_done_with_it_meanwhile() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    let args = create_args("tap0");
    let create_tap0 = ("qemu-ifup", args.as_slice());
    let calls = calls(&s, "qemu-ifup", &args);
    // The bridge is there, and the tap is to join it.
    let join = &calls[place_of(&calls, "IFLA_MASTER")];
    let ifup = bin("qemu-ifup");
    let another_run = format!("'{}' --create-bridge tap1", ifup.display());
    for (meanwhile, left) in [
        (another_run.as_str(), &["br0", "tap1"][..]),
        (
            "ip link add v0 master br0 type veth peer name v1",
            &["br0", "v0", "v1"],
        ),
        // Somebody else's by the same name, and by the same number as well.
        ("ip link del br0; ip link add br0 type bridge", &["br0"]),
        (
            "index=$(ip -o link show br0 | cut -d: -f1)
             ip link del br0; ip link add br0 index $index address 02:00:00:00:00:66 type bridge",
            &["br0"],
        ),
        ("ip link del br0", &[]),
        // It was renamed, and is still the one that was created.
        (
            "ip link set br0 down; ip link set br0 name br7; ip link add br0 type bridge",
            &["br0", "br7"],
        ),
        ("", &["br0"]),
    ] {
        s.try_sh("for l in tap0 tap1 v0 br0 br7; do ip link del $l || true; done");
        let run = interrupted(&s, join, "error=EPERM:", create_tap0, || {
            s.sh(meanwhile);
        });
        let error = "qemu-ifup: tap0: cannot attach to br0: Operation not permitted; \
                     not undone: the new bridge is left as it is";
        assert_eq!(run.code, 3, "{meanwhile}: {run:?}");
        assert_eq!(run.stderr.lines().next(), Some(error), "{meanwhile}");
        let links: BTreeSet<String> = s.links().into_iter().filter(|name| name != "lo").collect();
        assert!(links.iter().eq(left), "{meanwhile}: {links:?}");
        if left.contains(&"tap1") {
            assert_new_bridge(&s, "br0", &ADDRESSES);
            assert_in_bridge(&s, "br0", "tap1");
        }
    }
}

#[test]
fn an_interface_that_has_the_ifindex_that_was_chosen_for_the_bridge_is_left_alone() {
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
    assert_eq!(all_zero(&create_args("tap0")).code, 0);
    let number = s.link("br0").unwrap()["ifindex"].clone();
    s.sh("ip link del tap0; ip link del br0");
    for victim in ["type veth peer name v1", "type bridge"] {
        s.sh(&format!(
            "ip link add v0 index {number} {victim}; ip link set v0 addrgenmode none up"
        ));
        let before = s.settled()["links"].clone();
        let run = all_zero(&create_args("tap0"));
        let after = s
            .link("v0")
            .unwrap_or_else(|| panic!("v0 ({victim}) is gone: {run:?}"));
        assert_eq!(addresses(&s, "v0"), Vec::<String>::new(), "{run:?}");
        assert_eq!(after["ifindex"], number);
        if run.code == 0 {
            assert_new_bridge(&s, "br0", &ADDRESSES);
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
