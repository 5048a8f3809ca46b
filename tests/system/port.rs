//! Options of the bridge port.

use crate::common::interfaces::port;
use crate::common::json::{changes, prune};
use crate::common::sandbox::Sandbox;
use crate::common::users::open_tap_as;
use crate::expect::{assert_error, assert_settled_as, assert_succeeded, words};
use serde_json::json;

#[test]
fn an_isolated_port_is_isolated_and_another_is_not() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    let isolated = |tap| port(&s, tap)["isolated"].clone();
    assert_succeeded(&s.ifup(&["--isolated", "tap0"]), "");
    assert_succeeded(&s.ifup(&["tap1"]), "");
    assert_eq!(
        (isolated("tap0"), isolated("tap1")),
        (json!(true), json!(false))
    );

    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_succeeded(&s.ifup(&["--isolated", "tap0"]), nothing);
    assert_settled_as(&s, &before, "the second time");

    // One that is a port already, and open; nothing else of it changes.
    let _held = open_tap_as(0, "tap2", 0).unwrap();
    assert_succeeded(&s.ifup(&["tap2"]), "");
    let mut before = s.settled();
    assert_succeeded(&s.ifup(&["--isolated", "tap2"]), "");
    assert_eq!(isolated("tap2"), true);
    prune(&mut before, &mut |key, _| key == "isolated");
    let mut after = s.settled();
    prune(&mut after, &mut |key, _| key == "isolated");
    assert_eq!(changes(&before, &after), Vec::<String>::new());

    // A port that comes from another bridge begins anew, so it is set again.
    s.bridge_up("br1");
    let moved = s.ifup(&["--bridge", "br1", "--isolated", "tap0"]);
    assert_succeeded(&moved, "qemu-ifup: tap0: moved from br0 to br1\n");
    assert_eq!(isolated("tap0"), true);
}

#[test]
fn vlans_on_a_bridge_that_does_not_filter_them_are_refused_and_nothing_is_changed() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh(
        "ip tuntap add tap1 mode tap; ip tuntap add tap2 mode tap; ip link set tap2 master br0 up",
    );
    let before = s.snapshot();
    for options in [
        "--pvid 10",
        "--vlans 10,20-29",
        "--pvid 1 --vlans 2",
        "--create-bridge --vlans 7 --isolated",
    ] {
        for tap in ["tap0", "tap1", "tap2"] {
            let run = s.ifup(&words(&format!("{options} {tap}")));
            let error = format!("qemu-ifup: {tap}: cannot set VLANs: br0 does not filter them");
            assert_error(&run, 4, &error, "leave out --pvid and --vlans");
            s.assert_unchanged(&before);
        }
    }
}
