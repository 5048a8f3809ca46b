//! A real QEMU of an ordinary user.

use crate::common::needs;
use crate::common::qemu::Qemu;
use crate::common::users::ALICE;
use crate::unprivileged::both_ways;

const CARD: &str = "-device virtio-net-pci,netdev=n1,romfile=";

#[test]
fn an_ordinary_users_qemu_gets_a_tap_in_the_bridge_in_every_way() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let ifup = host.programs.join("qemu-ifup");
        let ifdown = host.programs.join("qemu-ifdown");
        let (ifup, ifdown) = (ifup.display(), ifdown.display());
        // What prepares a tap for it, and how QEMU is told.
        let prepared = format!("SUDO_UID={ALICE} {ifup} tap0");
        let own = format!("setpriv --reuid {ALICE} --regid {ALICE} --clear-groups -- {ifup} tap0");
        #[rustfmt::skip]
        let cases = [
            (":", format!("bridge,id=n1,br=br0,helper={ifup}")),
            (":", format!("tap,id=n1,br=br0,helper={ifup}")),
            (&prepared, "tap,id=n1,ifname=tap0,script=no,downscript=no".to_owned()),
            (&prepared, format!("tap,id=n1,ifname=tap0,script={ifup},downscript={ifdown}")),
            (&own, format!("tap,id=n1,ifname=tap0,script={ifup},downscript={ifdown}")),
        ];
        for (prepare, netdev) in cases {
            host.sandbox.sh_as_ours(prepare);
            let line = format!("-netdev {netdev} {CARD}");
            let qemu = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap();
            assert_eq!(host.sandbox.ports("br0"), ["tap0"], "{netdev}");
            host.assert_up("tap0", "br0");
            let quit = qemu.quit();
            assert_eq!(quit.code, 0, "{netdev}: {quit:?}");
            assert!(!quit.stderr.contains("failed"), "{netdev}: {quit:?}");
            // One that was there before stays.
            assert_eq!(
                host.sandbox.link("tap0").is_some(),
                prepare != ":",
                "{netdev}"
            );
            host.sandbox.try_sh("ip link del tap0");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn an_ordinary_users_qemu_that_is_refused_passes_the_reason_on() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    both_ways(|host| {
        let ifup = host.programs.join("qemu-ifup");
        let ifup = ifup.display();
        host.sandbox.sh(&format!(
            "ip tuntap add tap0 mode tap vnet_hdr user {ALICE}; ip link set tap0 master br9"
        ));
        let denied = "denied by /etc/qemu/bridge.conf:3";
        let before = host.sandbox.snapshot();
        for (netdev, reason) in [
            (format!("bridge,id=n1,br=br9,helper={ifup}"), denied),
            (format!("tap,id=n1,br=br9,helper={ifup}"), denied),
            // It is down.
            (format!("tap,id=n1,ifname=tap0,script={ifup}"), "tap0: "),
        ] {
            let line = format!("-netdev {netdev} {CARD}");
            let refused = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap_err();
            assert_eq!(refused.code, 1, "{refused:?}");
            let said = |line: &str| line.starts_with("qemu-ifup: ") && line.contains(reason);
            assert!(refused.stderr.lines().any(said), "{netdev}: {refused:?}");
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn a_sandboxed_qemu_is_told_that_its_sandbox_is_the_cause() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    both_ways(|host| {
        let ifup = host.programs.join("qemu-ifup");
        let line = format!(
            "-sandbox on -netdev bridge,id=n1,br=br0,helper={} {CARD}",
            ifup.display()
        );
        let refused = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap_err();
        let reason = "no CAP_NET_ADMIN (no_new_privs is set)";
        assert!(refused.stderr.contains(reason), "{refused:?}");
        assert!(refused.stderr.contains("QEMU's -sandbox on"), "{refused:?}");
        // What the hint says: root prepares the tap.
        host.sandbox
            .sh_as_ours(&format!("SUDO_UID={ALICE} {} tap0", ifup.display()));
        let line =
            format!("-sandbox on -netdev tap,id=n1,ifname=tap0,script=no,downscript=no {CARD}");
        let qemu = Qemu::start_as(&host.sandbox, ALICE, &line).unwrap();
        host.assert_up("tap0", "br0");
        assert_eq!(qemu.quit().code, 0);
        host.delete("tap0");
    });
}
