//! Findings of --check, also about what cannot be built here.

use crate::build::{link, name};
use nix::errno::Errno;
use qemu_ifup::check::diagnose;
use qemu_ifup::check::finding::{Finding, Level, exit_code};
use qemu_ifup::check::snapshot::{BridgeDetails, CheckContext, HostSnapshot};
use qemu_ifup::config::acl::Verdict;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::error::hint::TUN_HINTS;
use qemu_ifup::model::addr::MacAddr;
use qemu_ifup::model::bridge::{BR_MAX_PORTS, BridgeInfo};
use qemu_ifup::model::link::{Link, LinkKind, TapInfo};
use qemu_ifup::model::state::{InterfaceManager, Sysctls, TapHolder};
use qemu_ifup::policy::caller::Authority;

/// What is seen of a host where all is well.
fn healthy() -> HostSnapshot {
    let bridge = link(2, "br0", LinkKind::Bridge(BridgeInfo::default()));
    let info = TapInfo {
        owner: Some(54321),
        persistent: true,
        ..TapInfo::default()
    };
    let tap = Link {
        master: Some(2),
        carrier: false,
        address: Some(MacAddr([0xfe, 0, 0, 0, 0, 1])),
        ..link(3, "tap0", LinkKind::Tap(info))
    };
    HostSnapshot {
        context: CheckContext {
            bridge_from: "default",
            authority: Authority::Root,
            uid: 0,
            net_admin: true,
            conf: Ok(Vec::new()),
            acl: Ok(Some(Verdict::Allowed)),
            bridge_name: name("br0"),
            creates_bridge: false,
            tap: Some(name("tap0")),
        },
        tun: Ok(()),
        bridge: Some(bridge),
        bridge_details: Some(BridgeDetails {
            ports: vec![tap.clone()],
            has_address: true,
            has_own_mac: Some(true),
        }),
        bridges: vec![name("br0")],
        sysctls: Sysctls {
            bridge_nf: Some(false),
            ip_forward: Some(true),
        },
        tap: Some(tap),
        tap_has_address: false,
        holder: None,
        managers: Vec::new(),
    }
}

/// What is found where this is different.
fn found_with(change: impl Fn(&mut HostSnapshot)) -> Vec<Finding> {
    let mut snapshot = healthy();
    change(&mut snapshot);
    diagnose(&snapshot)
}

fn ports(count: u32) -> Vec<Link> {
    let port = |n| link(10 + n, &format!("p{n}"), LinkKind::Other("veth".to_owned()));
    let ports = (0..count).map(port);
    ports
        .map(|port| Link {
            address: None,
            ..port
        })
        .collect()
}

type Change = fn(&mut HostSnapshot);

#[test]
fn each_thing_that_was_seen_has_its_finding() {
    let bridge_full = Level::Problem(ExitCode::Bridge);
    #[rustfmt::skip]
    let table: [(Change, Level, &str); 12] = [
        (|_| {}, Level::Ok, "VLAN filtering is off"),
        (
            |snapshot| {
                let filtering = BridgeInfo {
                    vlan_filtering: true,
                    ..BridgeInfo::default()
                };
                snapshot.bridge.as_mut().unwrap().kind = LinkKind::Bridge(filtering);
            },
            Level::Ok,
            "VLAN filtering is on",
        ),
        (|snapshot| snapshot.bridge_details.as_mut().unwrap().ports = ports(1022), Level::Ok, "br0 has 1022 of 1023 ports"),
        (|snapshot| snapshot.bridge_details.as_mut().unwrap().ports = ports(1023), bridge_full, "cannot attach to br0: the bridge is full"),
        (|snapshot| snapshot.managers = vec![MANAGER], Level::Warning, "NetworkManager is running and may configure the tap"),
        (
            |snapshot| {
                snapshot.managers = vec![InterfaceManager {
                    manages: false,
                    ..MANAGER
                }];
            },
            Level::Ok,
            "NetworkManager is running and leaves the tap alone",
        ),
        (|snapshot| snapshot.sysctls = Sysctls::default(), Level::Ok, "bridged frames do not go through iptables"),
        (|snapshot| snapshot.tap_has_address = true, Level::Warning, "tap0 has an IPv6 address of its own"),
        (
            |snapshot| {
                snapshot.holder = Some(TapHolder {
                    pid: 7,
                    command: b"q\x1b[2J\n".to_vec(),
                });
                snapshot.tap.as_mut().unwrap().carrier = true;
            },
            Level::Warning,
            "tap0 is open in q\\x1b[2J\\x0a (pid 7): another QEMU gets EBUSY",
        ),
        (|snapshot| snapshot.context.acl = Ok(None), Level::Ok, "does not bind root"),
        (|snapshot| snapshot.tun = Err(Errno::EIO), Level::Problem(ExitCode::Tun), "I/O error"),
        (|snapshot| snapshot.bridge.as_mut().unwrap().carrier = false, Level::Ok, "no carrier until a port has one"),
    ];
    for (change, level, words) in table {
        let found = found_with(change);
        let line = found.iter().find(|found| found.message.contains(words));
        let line = line.unwrap_or_else(|| panic!("no '{words}': {found:#?}"));
        assert_eq!(line.level, level, "{line:?}");
        // One that is not as it should be says message to do; that the device has an error, nobody here can fix.
        let has_fix = level != Level::Ok && words != "I/O error";
        assert_eq!(line.fix.is_some(), has_fix, "{line:?}");
        // And nothing else is wrong.
        let others = found.iter().filter(|found| found.level != Level::Ok);
        assert_eq!(
            others.count(),
            usize::from(level != Level::Ok),
            "{found:#?}"
        );
        let code = match level {
            Level::Problem(code) => code,
            Level::Ok | Level::Warning => ExitCode::Success,
        };
        assert_eq!(exit_code(&found), code);
    }
    assert_eq!(BR_MAX_PORTS, 1023);
}

const MANAGER: InterfaceManager = InterfaceManager {
    name: "NetworkManager",
    manages: true,
    fix: "nmcli device set tap0 managed no",
};

#[test]
fn each_way_in_which_the_device_is_missing_has_its_own_advice() {
    for (errno, hint) in TUN_HINTS {
        let found = found_with(|snapshot| snapshot.tun = Err(errno));
        let line = found.iter().find(|found| found.subject == "/dev/net/tun");
        let line = line.unwrap();
        assert_eq!(line.level, Level::Problem(ExitCode::Tun));
        assert_eq!(line.message, errno.desc());
        assert_eq!(line.fix.as_deref(), Some(hint));
    }
    assert_eq!(
        TUN_HINTS[2].1, TUN_HINTS[3].1,
        "one cause, two error numbers"
    );
}
