//! A real QEMU of an ordinary user, on a tap that root has prepared: it runs its default scripts, and none of the programs has
//! any privilege.

use crate::common::json::is_up;
use crate::common::qemu::Qemu;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, MALLORY};
use crate::common::{Run, bin, command, eventually, run};
use serde_json::Value;

/// What each /etc/qemu/bridge.conf that there may be has to do with it: nothing.
const RULES: [Option<&str>; 4] = [
    None,
    Some("allow br0\n"),
    Some("deny all\n"),
    Some("nonsense\n"),
];

/// The programs in /etc as they are built, br0, and tap0 for Alice, made by root with these options.
fn prepared(options: &[&str]) -> Option<Sandbox> {
    let s = Sandbox::with("qemu-system-x86_64")?;
    s.install();
    s.bridge_up("br0");
    prepare(&s, options);
    Some(s)
}

fn prepare(s: &Sandbox, options: &[&str]) {
    let owner = ALICE.to_string();
    let args = [options, &["--owner", &owner, "tap0"]].concat();
    let made = run(command(bin("qemu-ifup")).args(args));
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(s.ports("br0"), ["tap0"]);
}

/// Up on the bridge, persistent and Alice's.
fn assert_prepared(s: &Sandbox) -> Value {
    let link = s.link("tap0").expect("no tap0");
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], "br0", "{link:#}");
    let info = link["linkinfo"]["info_data"].clone();
    assert_eq!(info["user"], ALICE, "{info:#}");
    assert_eq!(info["persist"], true, "{info:#}");
    info
}

/// It ended well, and no script failed.
fn assert_ended_well(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.stderr.contains("failed"), "{run:?}");
}

#[test]
fn a_users_qemu_runs_its_default_scripts_on_a_tap_that_root_has_prepared() {
    let Some(s) = prepared(&[]) else { return };
    let line = "-netdev tap,id=n1,ifname=tap0 -device virtio-net-pci,netdev=n1,romfile=";
    let before = s.settled();
    for rules in RULES {
        s.sh("rm -rf /etc/qemu");
        if let Some(rules) = rules {
            s.etc("qemu/bridge.conf", rules);
        }
        // One guest after the other.
        for _ in 0..2 {
            let qemu =
                Qemu::start_as(&s, ALICE, line).unwrap_or_else(|run| panic!("{rules:?}: {run:?}"));
            assert_prepared(&s);
            let forwards = || {
                let port = s.bridge(&["link", "show", "dev", "tap0"]);
                (port[0]["state"] == "forwarding").then_some(())
            };
            eventually(forwards).expect("the port does not forward");
            assert_ended_well(&qemu.quit());
            assert_prepared(&s);
        }
        // Its vnet_hdr flag is as QEMU's TUNSETIFF has made it.
        let mut before = before.clone();
        let mut after = s.settled();
        for all in [&mut before, &mut after] {
            crate::common::json::prune(all, &mut |key, _| key == "vnet_hdr");
        }
        let changes = crate::common::json::changes(&before, &after);
        assert!(changes.is_empty(), "{rules:?}: {}", changes.join("\n"));
    }
    let other = Qemu::start_as(&s, MALLORY, line).unwrap_err();
    assert!(
        other.stderr.contains("Operation not permitted"),
        "{other:?}"
    );
}

#[test]
fn a_users_qemu_with_four_queues_runs_its_default_scripts_on_a_tap_that_root_has_prepared() {
    let Some(s) = prepared(&["--multi-queue"]) else {
        return;
    };
    let line = "-netdev tap,id=n1,ifname=tap0,queues=4 -device virtio-net-pci,netdev=n1,mq=on,vectors=10,romfile=";
    for rules in RULES {
        s.sh("rm -rf /etc/qemu");
        if let Some(rules) = rules {
            s.etc("qemu/bridge.conf", rules);
        }
        let qemu =
            Qemu::start_as(&s, ALICE, line).unwrap_or_else(|run| panic!("{rules:?}: {run:?}"));
        let info = assert_prepared(&s);
        let queues = info["numqueues"].as_u64().unwrap() + info["numdisabled"].as_u64().unwrap();
        assert_eq!(queues, 4, "{info:#}");
        assert_ended_well(&qemu.quit());
        assert_prepared(&s);
    }
}

/// What a line of root's asks for of that tap is as wanted, too.
#[test]
fn a_users_qemu_starts_where_the_tap_is_as_the_configuration_has_it_and_not_where_it_is_not() {
    let Some(s) = Sandbox::with("qemu-system-x86_64") else {
        return;
    };
    s.install();
    s.bridge_up("br0");
    s.etc(
        "qemu-ifup.conf",
        "* --isolated --lock-mac 52:54:00:12:34:56 --mtu 1400\n",
    );
    prepare(&s, &[]);
    let line = "-netdev tap,id=n1,ifname=tap0 -device virtio-net-pci,netdev=n1,mac=52:54:00:12:34:56,romfile=";
    assert_ended_well(&Qemu::start_as(&s, ALICE, line).unwrap().quit());
    for (change, back) in [
        (
            "bridge link set dev tap0 isolated off",
            "bridge link set dev tap0 isolated on",
        ),
        ("ip link set tap0 mtu 1300", "ip link set tap0 mtu 1400"),
        ("ip link set tap0 down", "ip link set tap0 up"),
    ] {
        s.sh(change);
        let before = s.settled();
        let refused = Qemu::start_as(&s, ALICE, line).unwrap_err();
        let status = format!("failed with status {}\n", 256 * 5);
        assert!(refused.stderr.contains(&status), "{change}: {refused:?}");
        let mut before = before;
        let mut after = s.settled();
        for all in [&mut before, &mut after] {
            crate::common::json::prune(all, &mut |key, _| key == "vnet_hdr");
        }
        let changes = crate::common::json::changes(&before, &after);
        assert!(changes.is_empty(), "{change}: {}", changes.join("\n"));
        s.sh(back);
        assert_ended_well(&Qemu::start_as(&s, ALICE, line).unwrap().quit());
    }
}

/// The way without root's help for each guest: qemu-ifup alone has the file capability.
#[test]
fn a_users_own_persistent_tap_serves_guest_after_guest_and_stays_up_between_them() {
    let Some(s) = Sandbox::with("qemu-system-x86_64") else {
        return;
    };
    s.install();
    s.bridge_up("br0");
    s.etc("qemu/bridge.conf", "allow br0\n");
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    let before = s.snapshot();
    let made = s.as_user(ALICE, ALICE, &["/etc/qemu-ifup", "tap0"]);
    assert_eq!(made.code, 0, "{made:?}");
    let line = "-netdev tap,id=n1,ifname=tap0 -device virtio-net-pci,netdev=n1,romfile=";
    for _ in 0..2 {
        let qemu = Qemu::start_as(&s, ALICE, line).unwrap();
        assert_prepared(&s);
        // A second guest has no place in it.
        let second = Qemu::start_as(&s, ALICE, line).unwrap_err();
        assert_ne!(second.code, 0);
        assert_ended_well(&qemu.quit());
        assert_prepared(&s);
    }
    let deleted = s.as_user(ALICE, ALICE, &["/etc/qemu-ifdown", "--delete", "tap0"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    s.assert_unchanged(&before);
}

/// Nobody's guest runs on a tap that another user has made, and can take down under it.
#[test]
fn roots_qemu_does_not_start_on_a_tap_that_a_user_has_made() {
    let Some(s) = Sandbox::with("qemu-system-x86_64") else {
        return;
    };
    s.install();
    s.bridge_up("br0");
    s.etc("qemu/bridge.conf", "allow br0\n");
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    let made = s.as_user(MALLORY, MALLORY, &["/etc/qemu-ifup", "tap0"]);
    assert_eq!(made.code, 0, "{made:?}");
    let line = "-netdev tap,id=n1,ifname=tap0 -device virtio-net-pci,netdev=n1,romfile=";
    let refused = Qemu::start(&s, line).unwrap_err();
    let status = format!("failed with status {}\n", 256 * 5);
    assert!(refused.stderr.contains(&status), "{refused:?}");
    assert!(
        refused.stderr.contains(&format!("--owner {MALLORY}")),
        "{refused:?}"
    );
    assert_eq!(
        s.link("tap0").unwrap()["linkinfo"]["info_data"]["user"],
        MALLORY
    );
}
