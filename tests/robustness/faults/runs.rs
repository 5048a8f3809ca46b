//! The runs in which every system call fails once, or is the last.

use crate::faults::mode::{ATTACHED, CREATED, Handed, Mode, PLAIN, bridge_with};
use crate::faults::whatever_happens_it_is_done_or_as_before;

#[test]
fn whatever_happens_to_ifup_there_is_no_tap_or_a_whole_one() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup, fresh, with a syslogd",
        logs: true,
        least: [90, 70, 30],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_ifup_for_a_running_qemu_its_tap_is_as_before_or_whole() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup, held by QEMU",
        handed: Handed::Tap,
        between: true,
        least: [90, 70, 30],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_the_helper_qemu_gets_a_whole_tap_or_there_is_none() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup, as QEMU's helper",
        args: &["--fd=5", "--use-vnet", "--br=br0"],
        handed: Handed::Socket,
        least: [90, 70, 30],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_while_a_bridge_is_made_there_is_none_or_a_whole_one() {
    let args: Vec<&str> = CREATED.split(' ').chain(["tap0"]).collect();
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --create-bridge",
        args: args.leak(),
        setup: "",
        between: true,
        least: [90, 70, 30],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_while_a_bridge_is_made_for_a_tap_that_is_there_both_are_done_or_as_before() {
    let args: Vec<&str> = CREATED.split(' ').chain(["tap0"]).collect();
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --create-bridge, a tap that is there",
        args: args.leak(),
        setup: "ip tuntap add tap0 mode tap; ip link set tap0 address 02:00:00:00:00:99",
        between: true,
        least: [120, 90, 35],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_ifdown_the_tap_is_up_as_before_or_down_in_no_bridge() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifdown, with a syslogd",
        program: "qemu-ifdown",
        setup: ATTACHED,
        logs: true,
        least: [45, 40, 18],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_ifdown_with_delete_the_tap_is_up_as_before_or_gone() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifdown --delete",
        program: "qemu-ifdown",
        args: &["--delete", "tap0"],
        setup: ATTACHED,
        least: [45, 40, 18],
        ..PLAIN
    });
}

/// A tap that needs every step that there is for one that exists.
const FAR_FROM_READY: &str = bridge_with!(
    "",
    "ip link add br1 address 02:00:00:00:00:78 mtu 1400 type bridge
    ip link set br1 addrgenmode none
    ip link set br1 up
    ip tuntap add dev tap0 mode tap
    ip link set tap0 address 02:00:00:00:00:99 mtu 1400 addrgenmode eui64
    ip link set tap0 master br1 up
    bridge fdb add 52:54:00:00:00:01 dev tap0 master static"
);

#[test]
fn whatever_happens_to_a_tap_on_its_way_to_another_bridge_it_is_there_or_back() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup, from another bridge",
        setup: FAR_FROM_READY,
        between: true,
        least: [110, 90, 35],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_a_tap_that_is_to_be_isolated_it_is_whole_and_isolated_or_there_is_none() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --isolated",
        args: &["--isolated", "tap0"],
        least: [120, 90, 35],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_a_port_that_is_to_be_isolated_it_is_or_is_not() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --isolated, a port",
        args: &["--isolated", "tap0"],
        setup: ATTACHED,
        least: [60, 45, 20],
        ..PLAIN
    });
}

/// A port that is locked to another MAC.
fn locked() -> &'static str {
    let lock = "bridge link set dev tap0 isolated on locked on learning off flood off guard on
        bridge fdb add 52:54:00:00:00:01 dev tap0 master static sticky";
    format!("{ATTACHED}\n{lock}").leak()
}

const LOCK: &[&str] = &[
    "--lock-mac",
    "52:54:00:12:34:56",
    "--root-block",
    "--no-mcast-flood",
    "--neigh-suppress",
    "tap0",
];

#[test]
fn whatever_happens_to_a_tap_that_is_to_be_locked_it_is_whole_and_locked_or_there_is_none() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --lock-mac",
        args: LOCK,
        least: [120, 90, 35],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_a_locked_port_that_gets_another_mac_it_has_this_or_that() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --lock-mac, a locked port",
        args: LOCK,
        setup: locked(),
        // Locked to no MAC for a moment: it takes nothing then.
        between: true,
        least: [60, 45, 20],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_ifdown_a_locked_port_is_locked_as_before_or_in_no_bridge() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifdown, a locked port",
        program: "qemu-ifdown",
        setup: locked(),
        least: [45, 40, 18],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_while_a_running_qemus_port_is_looked_at_it_is_as_before_or_forwards() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --wait, held by QEMU",
        args: &["--wait", "1", "tap0"],
        handed: Handed::Tap,
        between: true,
        least: [90, 70, 30],
        ..PLAIN
    });
}

/// With this a port forwards after 4 seconds, and that changes nothing else: for so long the bridge then remembers who is where.
const STP: &str = bridge_with!("stp_state 1 forward_delay 200 ageing_time 400", "");

/// Where the wait begins.
const SUBSCRIBES: &str = "nl_groups=0x000001";

#[test]
fn whatever_happens_while_a_running_qemus_port_listens_and_learns_it_is_as_before_or_forwards() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --wait, held by QEMU, with STP",
        args: &["--wait", "15", "tap0"],
        setup: STP,
        handed: Handed::Tap,
        between: true,
        part: [SUBSCRIBES, "/dev/log"],
        waits: 2,
        side_by_side: 24,
        least: [40, 30, 10],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_after_a_wait_in_vain_for_a_running_qemus_port_it_is_as_before_or_that_is_told()
{
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup --wait, held by QEMU, in vain",
        args: &["--wait", "0", "tap0"],
        setup: STP,
        handed: Handed::Tap,
        between: true,
        code: 9,
        part: [SUBSCRIBES, "write(2,"],
        least: [30, 10, 8],
        ..PLAIN
    });
}

#[test]
fn whatever_happens_to_one_of_several_taps_each_is_whole_or_not_there() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifup, three taps, with a syslogd",
        args: &["tap0", "tap1", "tap2"],
        logs: true,
        between: true,
        least: [200, 150, 60],
        ..PLAIN
    });
}

const THREE_ATTACHED: &str = bridge_with!(
    "",
    "for n in 0 1 2; do
        ip tuntap add tap$n mode tap user 54321
        ip link set tap$n address fe:00:00:00:00:7$n addrgenmode none
        ip link set tap$n master br0 up
    done"
);

#[test]
fn whatever_happens_to_taps_that_are_deleted_together_each_is_up_as_before_or_gone() {
    whatever_happens_it_is_done_or_as_before(Mode {
        name: "ifdown --delete, three taps",
        program: "qemu-ifdown",
        args: &["--delete", "tap0", "tap1", "tap2"],
        setup: THREE_ATTACHED,
        between: true,
        least: [60, 40, 30],
        ..PLAIN
    });
}
