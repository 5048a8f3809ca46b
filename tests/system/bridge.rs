//! What becomes of a bridge that is there.

use crate::common::sandbox::Sandbox;
use crate::expect::{
    assert_attached, assert_notice, assert_refused, assert_silent_success, sandbox,
};
use serde_json::json;
use std::fs;

#[test]
fn a_tap_in_another_bridge_is_moved_with_a_notice() {
    let Some(s) = sandbox() else { return };
    s.bridge_up("br1");
    assert_silent_success(&s.ifup(&["--bridge", "br1", "tap0"]));
    assert_eq!(s.ports("br1"), ["tap0"]);
    let run = s.ifup(&["tap0"]);
    assert_notice(&run, "qemu-ifup: tap0: moved from br1 to br0");
    assert_attached(&s, "tap0");
    assert_eq!(s.ports("br1"), Vec::<String>::new());
}

#[test]
fn a_jumbo_bridge_stays_one_and_the_tap_follows() {
    let Some(s) = sandbox() else { return };
    s.bridge_up("br1");
    // One is told its MTU, the other takes it from its port and would take a tap's.
    s.sh("ip link set br1 mtu 9000
          ip link add up0 mtu 9000 type veth peer name up1 mtu 9000
          ip link set up0 master br0");
    for bridge in ["br0", "br1"] {
        let mtu = |name| s.link(name).unwrap()["mtu"].clone();
        assert_eq!(mtu(bridge), 9000);
        assert_silent_success(&s.ifup(&["--bridge", bridge, "tap0"]));
        assert_eq!((mtu(bridge), mtu("tap0")), (json!(9000), json!(9000)));
        assert_silent_success(&s.ifdown(&["--delete", "tap0"]));
        assert_eq!(mtu(bridge), 9000);
    }
}

#[test]
fn the_address_of_a_bridge_with_an_uplink_stays_while_taps_come_and_go() {
    let Some(s) = Sandbox::new() else { return };
    // No address is given to the bridge: it takes the lowest of its ports.
    s.sh("ip link add br0 type bridge; ip link set br0 up
          ip link add up0 address 52:54:00:12:34:56 type veth peer name up1
          ip link set up0 master br0 up; ip link set up1 up");
    let address = || s.link("br0").unwrap()["address"].clone();
    assert_eq!(address(), "52:54:00:12:34:56");
    let taps = ["tap0", "tap1", "tap2", "tap3", "tap4"];
    for tap in taps {
        assert_silent_success(&s.ifup(&[tap]));
        assert_eq!(address(), "52:54:00:12:34:56");
    }
    for tap in taps {
        assert_silent_success(&s.ifdown(&["--delete", tap]));
        assert_eq!(address(), "52:54:00:12:34:56");
    }
}

#[test]
fn the_tap_that_a_full_bridge_has_no_room_for_is_not_left_behind() {
    let Some(s) = sandbox() else { return };
    // Both ends of 511 pairs and one of another: 1023 ports, which stay down, so that nothing runs in circles.
    let mut batch = String::new();
    for n in 0..512 {
        batch += &format!("link add a{n} type veth peer name b{n}\nlink set a{n} master br0\n");
        if n != 0 {
            batch += &format!("link set b{n} master br0\n");
        }
    }
    let file = s.dir().join("batch");
    fs::write(&file, batch).unwrap();
    s.sh("ip -batch \"$DIR/batch\"");
    let run = s.ifup(&["tap0"]);
    let error = "qemu-ifup: tap0: cannot attach to br0: the bridge already has 1023 ports";
    assert_refused(&run, 4, error, "1023");
    assert!(s.link("tap0").is_none());
    assert_eq!(s.ports("br0").len(), 1023);
    // One port less, and there is room.
    s.sh("ip link set a0 nomaster");
    assert_silent_success(&s.ifup(&["tap0"]));
}
