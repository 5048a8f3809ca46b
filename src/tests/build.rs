//! Builders for the pure tests: interfaces, requests and states, of which a test names only what matters to it.

use crate::model::addr::MacAddr;
use crate::model::bridge::{BridgeInfo, PortOptions};
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, Link, LinkKind, TapInfo};
use crate::model::spec::TapSpec;
use crate::model::state::{CurrentState, NewIds, TapState};
use crate::policy::caller::Caller;
use crate::sys::privilege::Credentials;
use nix::unistd::{Gid, Uid};

pub(crate) fn name(text: &str) -> IfName {
    IfName::new(text.as_bytes()).unwrap()
}

/// Root, on behalf of user 1000.
pub(crate) fn root() -> Caller {
    let environment = |variable: &str| (variable == "SUDO_UID").then(|| "1000".into());
    let credentials = Credentials {
        uid: Uid::from_raw(0),
        gid: Gid::from_raw(0),
        net_admin: true,
        withheld: None,
    };
    Caller::from_parts(credentials, Vec::new(), environment, |_, _| unreachable!())
}

/// tap0 on br0, and nothing else is asked for.
pub(crate) fn spec() -> TapSpec {
    TapSpec {
        tap: name("tap0"),
        bridge: name("br0"),
        any_bridge: false,
        access: None,
        asked_access: None,
        bound_access: None,
        bound_bridge: None,
        bound_mtu: None,
        is_named: true,
        multi_queue: false,
        mtu: None,
        create_bridge: None,
        port: PortOptions::default(),
        lock_mac: None,
        vlans: None,
        noqueue: true,
        wait: None,
        max_taps: None,
        largest_max_taps: None,
        name_configured: false,
    }
}

pub(crate) fn filtering() -> BridgeInfo {
    BridgeInfo {
        vlan_filtering: true,
        default_pvid: Some(1),
        ..BridgeInfo::default()
    }
}

/// An interface that is up, has a carrier and is a port of nothing.
pub(crate) fn link(index: u32, text: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name(text),
        kind,
        mtu: 1500,
        address: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        up: true,
        carrier: true,
        master: None,
        addr_gen_mode: Some(AddrGenMode::None),
        alias: None,
        qdisc: "noqueue".to_owned(),
        port: None,
    }
}

/// One that filters VLANs, with jumbo frames.
pub(crate) fn bridge() -> Link {
    Link {
        mtu: 9000,
        addr_gen_mode: Some(AddrGenMode::Eui64),
        ..link(2, "br0", LinkKind::Bridge(filtering()))
    }
}

/// A tap as QEMU has just created it: down, in no bridge, with an address of the kernel's choosing.
pub(crate) fn tap(info: TapInfo) -> Link {
    Link {
        address: Some(MacAddr([0x5a, 1, 2, 3, 4, 5])),
        up: false,
        addr_gen_mode: Some(AddrGenMode::Eui64),
        qdisc: "noop".to_owned(),
        ..link(7, "tap0", LinkKind::Tap(info))
    }
}

/// This interface, which is a port of nothing.
pub(crate) fn tap_state(link: Link) -> TapState {
    TapState {
        link,
        master: None,
        default_pvid: None,
        vlans: Vec::new(),
        fdb: Vec::new(),
        has_fd: false,
    }
}

/// What the kernel says if br0 exists, and this tap.
pub(crate) fn state_of(tap: impl Into<Option<TapState>>) -> CurrentState {
    CurrentState {
        tap: tap.into(),
        bridge: Some(bridge()),
        bridges: Vec::new(),
        network_in_use: None,
        is_created: false,
        mac_in_use: None,
        ipv6: true,
        ids: NewIds {
            tap: [1, 2, 3, 4, 5],
            bridge: [6, 7, 8, 9, 10],
            index: 70_000,
        },
    }
}

/// The same for a tap that is a port of nothing.
pub(crate) fn state(tap: Option<Link>) -> CurrentState {
    state_of(tap.map(tap_state))
}
