//! The listener in each sandbox.

use crate::common::sandbox::Sandbox;
use crate::common::test_name;
use std::thread;

#[test]
fn a_tap_that_comes_up_in_no_bridge_fails_the_test_in_whose_sandbox_it_is() {
    const UP: &str = "ip tuntap add tap0 mode tap; ip link set tap0 up; ip link set tap0 down";

    let outcome = |act: fn(&Sandbox)| {
        let test = move || {
            let sandbox = Sandbox::new();
            sandbox.as_ref().map(act).is_some()
        };
        thread::Builder::new()
            .name(test_name())
            .spawn(test)
            .unwrap()
            .join()
            .ok()
    };
    let up_alone: fn(&Sandbox) = |s| s.sh_as_ours(UP);
    let seen = outcome(up_alone);
    if seen == Some(false) {
        return;
    }
    assert_eq!(seen, None, "not noticed");
    // The test's own doing, or announced by it; and as it has to be.
    let others: [fn(&Sandbox); 3] = [
        |s| drop(s.sh(UP)),
        |s| {
            s.tap_may_be_up_alone("tap0");
            s.sh_as_ours(UP);
        },
        |s| {
            s.bridge_up("br0");
            s.sh_as_ours(
                "ip tuntap add tap0 mode tap; ip link set tap0 master br0; ip link set tap0 up
                ip link set tap0 down nomaster",
            );
        },
    ];
    for act in others {
        assert_eq!(outcome(act), Some(true));
    }
}
