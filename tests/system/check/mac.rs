//! The host loses its network as guests come and go: the bridge has the MAC of one of its ports.

use crate::check::{check, complaint_and_cure, give_uplink};
use crate::common::interfaces::mac;
use crate::host::{host, host_for_alice, must};

#[test]
fn complaint_the_mac_of_the_bridge_changed_as_its_taps_came_and_went() {
    let Some(s) = host() else { return };
    s.sh("ip link add br1 up type bridge; ip address add 192.168.11.1/24 dev br1");
    must(&s, "qemu-ifup --bridge br1 tap0");
    assert_eq!(mac(&s, "br1"), mac(&s, "tap0"));
    let words = "br1 uses the MAC of its port tap0";
    complaint_and_cure(
        &s,
        "qemu-ifup --check --bridge br1",
        "warning",
        words,
        "ip link set",
    );
    let fixed = mac(&s, "br1");
    must(&s, "qemu-ifdown --delete tap0");
    assert_eq!(mac(&s, "br1"), fixed);
    // One that has a MAC of its own is not complained about.
    must(&s, "qemu-ifup tap1");
    check(&s, "qemu-ifup --check").does_not_say("warning", "MAC");
}

#[test]
fn complaint_the_host_lost_its_network_as_the_bridge_took_the_mac_of_a_tap() {
    let Some(s) = host() else { return };
    // No MAC of its own, so that of the uplink: under it, the host is known.
    s.sh("ip link del br0; ip link add br0 up type bridge");
    give_uplink(&s, 1500);
    let known = mac(&s, "up0");
    assert_eq!(mac(&s, "br0"), known);
    // A tap of the usual shell scripts, with a MAC that happens to be lower.
    s.sh("ip tuntap add old0 mode tap; ip link set old0 address 02:00:00:00:00:01 master br0 up");
    assert_eq!(mac(&s, "br0"), mac(&s, "old0"));
    let words = "br0 uses the MAC of its port old0";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!(mac(&s, "br0"), known);
    // Nor does it with ours.
    must(&s, "qemu-ifup tap0");
    assert_eq!(mac(&s, "br0"), known);
}

/// What a user can do with a descriptor of a tap shows in the bridge.
#[test]
fn a_bridge_without_a_mac_of_its_own_is_complained_about_where_users_may_attach_to_it() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    s.sh("mount -t sysfs sysfs /sys; ip link del br0; ip link add br0 up type bridge");
    give_uplink(&s, 1500);
    let known = mac(&s, "br0");
    let words = "br0 has no fixed MAC";
    complaint_and_cure(&s, "qemu-ifup --check", "warning", words, "ip link set");
    assert_eq!(mac(&s, "br0"), known);
    s.sh(
        "ip link add br1 up type bridge; ip link add port0 master br1 up type veth peer name port1",
    );
    // Nobody but root may attach to that one.
    check(&s, "qemu-ifup --check -b br1").does_not_say("warning", "no fixed MAC");
}
