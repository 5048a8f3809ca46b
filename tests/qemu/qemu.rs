//! A real QEMU calls the two programs.

use crate::common::json::is_up;
use crate::common::qemu::Qemu;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, MALLORY, open_tap_as};
use crate::common::{Run, bin, command, eventually, run};
use serde_json::Value;
use std::fs;
use std::net::TcpStream;

/// The usual way to ask for a tap, and a card for it.
const TAP: &str = "-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown \
    -device virtio-net-pci,netdev=n1,romfile=";

/// A sandbox with both programs in /etc, and no bridge yet. None where there is no QEMU.
fn sandbox_without_bridge() -> Option<Sandbox> {
    let sandbox = Sandbox::with("qemu-system-x86_64")?;
    sandbox.install();
    Some(sandbox)
}

fn sandbox() -> Option<Sandbox> {
    let sandbox = sandbox_without_bridge()?;
    sandbox.bridge_up("br0");
    Some(sandbox)
}

/// All that qemu-ifup promises of a tap that QEMU holds.
fn assert_attached(sandbox: &Sandbox, tap: &str) {
    let link = sandbox.link(tap).unwrap();
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], "br0");
    assert_eq!(link["mtu"], sandbox.link("br0").unwrap()["mtu"]);
    assert!(
        link["address"].as_str().unwrap().starts_with("fe:"),
        "{link:#}"
    );
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(link["linkinfo"]["info_data"]["user"], "root");
    assert_eq!(link["linkinfo"]["info_data"]["persist"], false);
    let addresses = sandbox.ip(&["addr", "show", "dev", tap]);
    assert_eq!(addresses[0]["addr_info"], serde_json::json!([]));
    let port = sandbox.bridge(&["link", "show", "dev", tap]);
    assert_eq!(port[0]["master"], "br0");
    assert_eq!(port[0]["state"], "forwarding");
}

/// QEMU gave up: it names the script's wait status, 256 times the exit code, and the script has said why.
fn assert_gave_up(run: &Run, code: i32, reason: &str) {
    assert_eq!(run.code, 1, "{run:?}");
    let status = format!("failed with status {}\n", 256 * code);
    assert!(run.stderr.contains(&status), "{run:?}");
    let said = |line: &str| line.starts_with("qemu-ifup: tap0: ") && line.contains(reason);
    assert!(run.stderr.lines().any(said), "{run:?}");
}

/// QEMU ended well and neither it nor a script had anything to complain about.
fn assert_quiet(run: &Run) {
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
}

#[test]
fn a_bare_start_and_quit_leaves_nothing_behind() {
    let Some(sandbox) = sandbox() else { return };
    // Larger than a tap's own, which would pull the bridge down.
    sandbox.sh("ip link set br0 mtu 9000");
    let before = sandbox.snapshot();
    let line = format!(
        "-netdev tap,id=n1,script={},downscript={} -device virtio-net-pci,netdev=n1,romfile=",
        bin("qemu-ifup").display(),
        bin("qemu-ifdown").display()
    );
    let qemu = Qemu::start(&sandbox, &line).unwrap();
    assert_attached(&sandbox, "tap0");
    assert_eq!(sandbox.link("br0").unwrap()["mtu"], 9000);
    assert_quiet(&qemu.quit());
    sandbox.assert_unchanged(&before);
}

#[test]
fn a_guest_with_a_user_card_and_a_tap_gets_both() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.sh("ip addr add 192.168.10.1/24 dev br0");
    let before = sandbox.snapshot();
    let qemu = Qemu::start(
        &sandbox,
        "-netdev user,id=n0,hostfwd=tcp::2222-:22 -device virtio-net,netdev=n0,romfile= \
         -netdev tap,id=n1,ifname=tap0,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown \
         -device virtio-net,netdev=n1,romfile=",
    )
    .unwrap();
    assert_attached(&sandbox, "tap0");
    TcpStream::connect("127.0.0.1:2222").unwrap();
    assert_quiet(&qemu.quit());
    sandbox.assert_unchanged(&before);
}

#[test]
fn the_default_scripts_are_found_in_etc() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    let line = "-netdev tap,id=n1 -device virtio-net-pci,netdev=n1,romfile=";
    let qemu = Qemu::start(&sandbox, line).unwrap();
    assert_attached(&sandbox, "tap0");
    assert_quiet(&qemu.quit());
    sandbox.assert_unchanged(&before);
}

#[test]
fn two_guests_get_a_tap_each() {
    let Some(sandbox) = sandbox() else { return };
    let first = Qemu::start(&sandbox, TAP).unwrap();
    let second = Qemu::start(&sandbox, TAP).unwrap();
    assert_attached(&sandbox, "tap0");
    assert_attached(&sandbox, "tap1");
    assert_quiet(&first.quit());
    assert_eq!(sandbox.ports("br0"), ["tap1"]);
    assert_quiet(&second.quit());
    assert_eq!(sandbox.links(), ["lo", "br0"]);
}

#[test]
fn without_the_bridge_qemu_gives_up_with_status_1024() {
    let Some(sandbox) = sandbox_without_bridge() else {
        return;
    };
    let before = sandbox.snapshot();
    let gave_up = Qemu::start(&sandbox, TAP).unwrap_err();
    assert_gave_up(&gave_up, 4, "br0");
    sandbox.assert_unchanged(&before);
}

#[test]
fn without_the_privilege_qemu_gives_up_and_nothing_is_changed() {
    let Some(sandbox) = sandbox() else { return };
    // Made with QEMU's own flags: opening it rewrites them.
    sandbox.sh(&format!(
        "ip tuntap add tap0 mode tap vnet_hdr user {ALICE}"
    ));
    let before = sandbox.snapshot();
    let gave_up = Qemu::start_as(
        &sandbox,
        ALICE,
        "-netdev tap,id=n1,ifname=tap0,script=/etc/qemu-ifup",
    )
    .unwrap_err();
    // It exists, and is in no bridge.
    assert_gave_up(&gave_up, 5, "");
    sandbox.assert_unchanged(&before);
}

#[test]
fn a_plugged_card_joins_and_is_gone_when_pulled() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    // A PCI card would wait for the guest's consent to be pulled; a USB one does not.
    let mut qemu = Qemu::start(&sandbox, "-device qemu-xhci").unwrap();
    for _ in 0..2 {
        let add = "netdev_add tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown";
        assert_eq!(qemu.cmd(add), "");
        assert_eq!(qemu.cmd("device_add usb-net,id=card,netdev=n1"), "");
        assert_attached(&sandbox, "tap0");
        assert_eq!(qemu.cmd("device_del card"), "");
        assert_eq!(qemu.cmd("netdev_del n1"), "");
        sandbox.assert_unchanged(&before);
    }
    assert_quiet(&qemu.quit());
}

#[test]
fn a_card_that_cannot_be_plugged_leaves_the_guest_running() {
    let Some(sandbox) = sandbox_without_bridge() else {
        return;
    };
    let before = sandbox.snapshot();
    let mut qemu = Qemu::start(&sandbox, "").unwrap();
    let answer = qemu.cmd("netdev_add tap,id=n1");
    assert!(answer.contains("failed with status 1024"), "{answer}");
    sandbox.assert_unchanged(&before);
    sandbox.bridge_up("br0");
    assert_eq!(qemu.cmd("netdev_add tap,id=n1"), "");
    assert_attached(&sandbox, "tap0");
}

#[test]
fn nobody_else_can_join_a_tap_with_several_queues() {
    let Some(sandbox) = sandbox() else { return };
    let join = || open_tap_as(MALLORY, "tap0", libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR);

    // What QEMU leaves open by itself; if this fails, the refusal below proves nothing.
    let line = "-netdev tap,id=n1,queues=2,script=no,downscript=no \
        -device virtio-net-pci,netdev=n1,mq=on,romfile=";
    let qemu = Qemu::start(&sandbox, line).unwrap();
    join().expect("a tap without an owner is open to everybody");
    assert_quiet(&qemu.quit());

    let line = "-netdev tap,id=n1,queues=2,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown \
        -device virtio-net-pci,netdev=n1,mq=on,romfile=";
    let qemu = Qemu::start(&sandbox, line).unwrap();
    assert_attached(&sandbox, "tap0");
    let tun = &sandbox.link("tap0").unwrap()["linkinfo"]["info_data"];
    assert_eq!(tun["multi_queue"], true);
    // The guest's driver would enable the second one.
    let queues = tun["numqueues"].as_u64().unwrap() + tun["numdisabled"].as_u64().unwrap();
    assert_eq!(queues, 2, "one more, that nobody reads: {tun:#}");
    let refused = join().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    assert_quiet(&qemu.quit());
    assert_eq!(sandbox.links(), ["lo", "br0"]);
}

#[test]
fn a_killed_qemu_leaves_the_bridge_as_it_was() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    let qemu = Qemu::start(&sandbox, TAP).unwrap();
    sandbox.sh(&format!("kill -KILL {}", qemu.pid()));
    let killed = qemu.wait();
    assert_eq!(killed.code, 128 + libc::SIGKILL);
    sandbox.assert_unchanged(&before);
    let next = Qemu::start(&sandbox, TAP).unwrap();
    assert_attached(&sandbox, "tap0");
    assert_quiet(&next.quit());
}

#[test]
fn a_tap_prepared_with_sudo_serves_its_user_and_nobody_else() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    let prepared = run(command(bin("qemu-ifup"))
        .arg("tap0")
        .env("SUDO_UID", ALICE.to_string())
        .env("SUDO_GID", ALICE.to_string()));
    assert_eq!(prepared.code, 0, "{prepared:?}");

    let line = "-netdev tap,id=n1,ifname=tap0,script=no,downscript=no \
        -device virtio-net-pci,netdev=n1,romfile=";
    let refused = Qemu::start_as(&sandbox, MALLORY, line).unwrap_err();
    assert!(
        refused.stderr.contains("Operation not permitted"),
        "{refused:?}"
    );
    for _ in 0..2 {
        let qemu = Qemu::start_as(&sandbox, ALICE, line).unwrap();
        let tap = sandbox.link("tap0").unwrap();
        assert_eq!(tap["linkinfo"]["info_data"]["user"], ALICE);
        assert_eq!(sandbox.ports("br0"), ["tap0"]);
        assert_quiet(&qemu.quit());
        assert_eq!(sandbox.ports("br0"), ["tap0"], "it is persistent");
    }

    let deleted = sandbox.ifdown(&["--delete", "tap0"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    sandbox.assert_unchanged(&before);
}

#[test]
fn the_downscript_detaches_the_tap_while_qemu_still_holds_it() {
    let Some(sandbox) = sandbox() else { return };
    let seen = sandbox.dir().join("seen");
    let watch = sandbox.script(
        "watch",
        &format!(
            "/etc/qemu-ifdown \"$1\"; code=$?; ip -j link show dev \"$1\" >{}; exit $code",
            seen.display()
        ),
    );
    let line = format!("-netdev tap,id=n1,downscript={}", watch.display());
    let quit = Qemu::start(&sandbox, &line).unwrap().quit();
    assert!(!quit.stderr.contains("failed"), "{quit:?}");
    let seen: Value = serde_json::from_slice(&fs::read(seen).unwrap()).unwrap();
    assert_eq!(seen[0]["ifname"], "tap0");
    assert_eq!(seen[0].get("master"), None);
    assert!(!is_up(&seen[0]), "{seen:#}");
}

#[test]
fn a_downscript_without_the_privilege_costs_a_message_only() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    // -runas is gone since QEMU 10.
    let help = run(command("qemu-system-x86_64").arg("-help")).stdout;
    let option = if help.contains("\n-runas ") {
        "-runas nobody"
    } else {
        "-run-with user=nobody"
    };
    let quit = Qemu::start(&sandbox, &format!("{TAP} {option}"))
        .unwrap()
        .quit();
    assert_eq!(quit.code, 0, "{quit:?}");
    assert!(quit.stderr.contains("qemu-ifdown: tap0: "), "{quit:?}");
    assert!(quit.stderr.contains("failed with status 768"), "{quit:?}");
    sandbox.assert_unchanged(&before);
}

/// A QEMU that is nobody's child: whatever happens, the test must not leave it behind.
struct Daemon(String);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = run(command("kill").args(["-KILL", &self.0]));
    }
}

#[test]
fn a_qemu_in_the_background_has_its_network_before_it_detaches() {
    let Some(sandbox) = sandbox() else { return };
    let before = sandbox.snapshot();
    let pidfile = sandbox.dir().join("pid");
    let started = run(command("qemu-system-x86_64")
        .args(Qemu::ARGS.split_whitespace())
        .args(TAP.split_whitespace())
        .arg("-daemonize")
        .arg("-pidfile")
        .arg(&pidfile));
    assert_quiet(&started);
    let daemon = Daemon(fs::read_to_string(pidfile).unwrap().trim().to_owned());
    assert_attached(&sandbox, "tap0");
    // SIGTERM: it quits in an orderly way, with its downscript.
    sandbox.sh(&format!("kill {}", daemon.0));
    eventually(|| sandbox.link("tap0").is_none().then_some(())).expect("tap0 stays");
    sandbox.assert_unchanged(&before);
}

/// QEMU has created the tap with as many queues as it wants: the option is about taps that we create.
#[test]
fn a_configuration_for_several_queues_does_not_stop_a_qemu_that_has_created_its_tap() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.etc("qemu-ifup.conf", "* --multi-queue\n");
    for queues in ["", ",queues=2"] {
        let before = sandbox.snapshot();
        let line = format!(
            "-netdev tap,id=n1{queues},script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown -device virtio-net-pci,netdev=n1,romfile="
        );
        let qemu = Qemu::start(&sandbox, &line).unwrap();
        assert_attached(&sandbox, "tap0");
        assert_quiet(&qemu.quit());
        sandbox.assert_unchanged(&before);
    }
}
