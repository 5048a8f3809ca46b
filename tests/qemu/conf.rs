//! A QEMU that says no more than the name of a tap: the rest stands in /etc/qemu-ifup.conf.

use crate::common::eventually;
use crate::common::interfaces::{assert_new_bridge, port};
use crate::common::qemu::Qemu;
use crate::common::sandbox::Sandbox;
use serde_json::json;

const IPV4: &str = "192.168.10.1/24";

/// A bridge with STP and the shortest delay that the kernel takes with it, twice which a port needs to forward.
const STP: &str =
    "ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 200
    ip link set br0 addrgenmode none up";

fn sandbox_with_qemu() -> Option<Sandbox> {
    let s = Sandbox::with("qemu-system-x86_64")?;
    s.install();
    Some(s)
}

#[test]
fn a_bare_netdev_on_a_host_without_a_bridge_needs_one_line_of_configuration() {
    let Some(s) = sandbox_with_qemu() else { return };
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 192.168.10.1/24\n",
    );
    let first = Qemu::start(&s, "-netdev tap,id=n1").unwrap();
    assert_new_bridge(&s, "br0", &[IPV4]);
    let second = Qemu::start(&s, "-netdev tap,id=n1").unwrap();
    assert_eq!(s.ports("br0"), ["tap0", "tap1"]);
    for qemu in [first, second] {
        let run = qemu.quit();
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.stderr.contains("qemu-if"), "{run:?}");
    }
    assert_eq!(s.links(), ["lo", "br0"]);
    assert_new_bridge(&s, "br0", &[IPV4]);
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
            .contains("qemu-ifup: invalid line: /etc/qemu-ifup.conf:4: "),
        "{run:?}"
    );
    assert_eq!(s.links(), ["lo"]);

    s.sh("sed -i /frob/d /etc/qemu-ifup.conf");
    // QEMU says --br=br0, which wins.
    let first = Qemu::start(&s, helper).unwrap();
    let second = Qemu::start(&s, helper).unwrap();
    assert_new_bridge(&s, "br0", &[IPV4]);
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
    assert!(run.stderr.contains("(state: listening)"), "{run:?}");
    // 256 times the exit code.
    assert!(run.stderr.contains("failed with status 2304"), "{run:?}");
    let helper = "-netdev bridge,id=n1,br=br0,helper=/etc/qemu-ifup";
    let run = Qemu::start(&s, helper).unwrap_err();
    assert!(run.stderr.contains("(state: listening)"), "{run:?}");
    s.assert_unchanged(&before);

    let _qemu = Qemu::start(&s, "-netdev tap,id=n1,ifname=slow").unwrap();
    assert_eq!(port(&s, "slow")["state"], "forwarding");
}
