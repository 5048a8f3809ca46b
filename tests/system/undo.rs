//! What goes wrong half way is undone, and nothing else is touched.

use crate::common::json::changes;
use crate::common::sandbox::Sandbox;
use crate::common::strace::{Call, calls, calls_in, interrupted};
use crate::common::{bin, command, run};
use serde_json::Value;
use std::fs;

/// A tap that needs every step that there is for one that exists.
const FAR_FROM_READY: &str = "ip tuntap add tap0 mode tap
    ip link set tap0 address 02:00:00:00:00:99 mtu 1400 addrgenmode eui64
    ip link set tap0 master br1 up";

#[test]
fn an_interface_that_takes_the_taps_name_half_way_is_not_touched() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let cases: [(&str, &[&str], &str); 4] = [
        ("qemu-ifup", &["tap0"], ""),
        ("qemu-ifup", &["tap0"], FAR_FROM_READY),
        ("qemu-ifdown", &["tap0"], FAR_FROM_READY),
        ("qemu-ifdown", &["--delete", "tap0"], FAR_FROM_READY),
    ];
    for (program, args, setup) in cases {
        let reset = || {
            s.try_sh("for l in tap0 other v0; do ip link del $l || true; done");
            s.sh(setup);
            s.sh("ip link add v0 type veth peer name v1");
        };
        // Without its name, and by its number: what is left must stay as it is.
        let victim = |name: &str| {
            let mut link = s.link(name).unwrap();
            link.as_object_mut().unwrap().remove("ifname");
            link
        };
        reset();
        let calls = calls(&s, program, args);
        let exchanges = ["open", "openat", "sendto", "recvfrom", "ioctl"];
        let mut acted = 0;
        for call in calls.iter().filter(|c| exchanges.contains(&&*c.name)) {
            reset();
            let tap = s.link("tap0");
            let before = victim("v0");
            let run = interrupted(&s, call, "", (program, args), || {
                // An interface that is up can be renamed on newer kernels only.
                s.try_sh("ip link set tap0 down && ip link set tap0 name other");
                s.try_sh("ip link set v0 name tap0");
            });
            let at = format!("{program} {args:?} after '{setup}', at {}", call.line);
            let changes = changes(&before, &victim("tap0"));
            assert!(changes.is_empty(), "{at}:\n{}", changes.join("\n"));
            // Where it did act, it acted on the tap that it had looked up.
            let Some(tap) = tap.filter(|_| run.code == 0) else {
                continue;
            };
            acted += 1;
            let Some(other) = s.link("other") else {
                assert_eq!(args.len(), 2, "{at}: the tap is gone");
                continue;
            };
            assert_eq!(other["ifindex"], tap["ifindex"], "{at}");
            let master = other.get("master").and_then(Value::as_str);
            let expected = (program == "qemu-ifup").then_some("br0");
            assert_eq!(master, expected, "{at}");
        }
        assert!(acted > 0 || setup.is_empty(), "{program} {args:?}");
    }
}

#[test]
fn what_was_not_tried_is_not_undone() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    s.bridge_up("br1");
    let args = ["--isolated", "--owner", "54321", "tap0"];
    let setup = FAR_FROM_READY.replace("mode tap", "mode tap user 54321");
    let reset = || {
        s.try_sh("ip link del tap0");
        s.sh(&setup);
    };
    let is_change = |call: &&Call| {
        let kinds = ["RTM_SETLINK", "RTM_NEWLINK", "RTM_DELLINK"];
        call.name == "sendto" && kinds.iter().any(|kind| call.line.contains(kind))
    };
    reset();
    let all = calls(&s, "qemu-ifup", &args);
    let requests: Vec<&Call> = all.iter().filter(is_change).collect();
    assert!(requests.len() > 2, "{}", requests.len());
    let log = s.dir().join("log");
    for (nth, call) in (1..).zip(&requests) {
        reset();
        let before = s.settled();
        let failed = run(command("strace")
            .arg("-o")
            .arg(&log)
            .args(["-e", &call.inject("error=EPERM")])
            .arg(bin("qemu-ifup"))
            .args(args));
        assert_eq!(failed.code, 3, "{failed:?}");
        let calls = calls_in(&fs::read_to_string(&log).unwrap());
        let sent = calls.iter().filter(is_change).count();
        // Each that was tried, the failed one included, is taken back by two at most: back where it was, and up.
        let most = nth + 2 * nth;
        assert!(
            sent <= most,
            "{sent} requests, {nth} of them before the failure"
        );
        let is_first = nth == 1;
        assert!(!is_first || sent <= 3, "{sent} requests: {failed:?}");
        let left = changes(&before, &s.settled());
        assert!(
            left.is_empty(),
            "after {nth}: {failed:?}\n{}",
            left.join("\n")
        );
    }
}
