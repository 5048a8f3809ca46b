//! Findings of --check, also about what cannot be built here.

use crate::build::{link, name};
use nix::errno::Errno;
use qemu_ifup::check::diagnose;
use qemu_ifup::check::finding::{Finding, Fix, Level, exit_code};
use qemu_ifup::check::snapshot::{BridgeDetails, CheckContext, HostSnapshot};
use qemu_ifup::config::acl::Verdict;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::error::hint::TUN_HINTS;
use qemu_ifup::model::addr::MacAddr;
use qemu_ifup::model::bridge::{BR_MAX_PORTS, BridgeInfo, PortOptions};
use qemu_ifup::model::link::{Link, LinkKind, TapInfo};
use qemu_ifup::model::state::InterfaceManager::{Dhcpcd, NetworkManager, Networkd};
use qemu_ifup::model::state::{Sysctls, TapHolder};
use qemu_ifup::policy::caller::Authority;
use qemu_ifup::sys::error::strerror;

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
        privileged_helper: None,
        context: CheckContext {
            binds_users: false,
            bridge_from: "default",
            authority: Authority::Root,
            uid: 0,
            reader: Authority::Root,
            net_admin: true,
            withheld: None,
            conf: Ok(Vec::new()),
            acl: Ok(Some(Verdict::Allowed)),
            bridge_name: name("br0"),
            creates_bridge: false,
            addresses: Vec::new(),
            mtu: None,
            port: PortOptions::default(),
            lock_mac: None,
            has_options: false,
            wait: None,
            tap: Some(name("tap0")),
        },
        tun: Ok(()),
        bridge: Some(bridge),
        bridge_details: Some(BridgeDetails {
            ports: vec![tap.clone()],
            network_in_use: None,
            has_address: true,
            has_own_mac: Some(true),
        }),
        network_in_use: None,
        bridges: vec![name("br0")],
        sysctls: Sysctls {
            ip_forward: Some(true),
            disable_ipv6: Some(false),
            ..Sysctls::default()
        },
        tap: Some(tap),
        tap_master: Some(name("br0")),
        tap_has_address: false,
        tap_lacks_mac: false,
        holders: Vec::new(),
        managers: Vec::new(),
        vhost_net: Ok(()),
        is_guest: false,
        bridge_driver: Some(true),
        denied_by_apparmor: None,
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

/// Programs that have the tap open: pid and uid of each.
fn hold(snapshot: &mut HostSnapshot, holders: &[(u32, u32)]) {
    let command = b"q\x1b[2J\n".to_vec();
    let holder = |&(pid, uid)| TapHolder {
        pid,
        uid,
        command: command.clone(),
    };
    snapshot.holders = holders.iter().map(holder).collect();
    snapshot.tap.as_mut().unwrap().carrier = true;
}

type Change = fn(&mut HostSnapshot);

/// The findings that are no "ok".
fn bad(found: &[Finding]) -> Vec<&Finding> {
    found
        .iter()
        .filter(|found| found.level != Level::Ok)
        .collect()
}

fn bridge_info(snapshot: &mut HostSnapshot) -> &mut BridgeInfo {
    let LinkKind::Bridge(info) = &mut snapshot.bridge.as_mut().unwrap().kind else {
        panic!("no bridge");
    };
    info
}

fn details(snapshot: &mut HostSnapshot) -> &mut BridgeDetails {
    snapshot.bridge_details.as_mut().unwrap()
}

/// What is no warning.
#[test]
fn each_thing_that_was_seen_is_said_and_nothing_else_is_wrong() {
    #[rustfmt::skip]
    let table: [(Change, &str); 15] = [
        (|_| {}, "VLAN filtering is off"),
        (|snapshot| bridge_info(snapshot).vlan_filtering = true, "VLAN filtering is on"),
        (|snapshot| details(snapshot).ports = ports(1022), "br0 has 1022 of 1023 ports"),
        (|snapshot| snapshot.managers = vec![(NetworkManager, Some(false))], "NetworkManager is running and leaves tap0 alone"),
        (|snapshot| snapshot.managers = vec![(Dhcpcd, None)], "dhcpcd is running"),
        (|_| {}, "bridged frames go through no firewall"),
        (
            |snapshot| {
                snapshot.sysctls.br_netfilter = true;
                snapshot.sysctls.bridge_nf = [true, false, true];
            },
            "bridged frames go through iptables and arptables, where no rules were found",
        ),
        // Without the module, a bridge's own switch means nothing.
        (
            |snapshot| {
                snapshot.sysctls.filters = [true; 3];
                bridge_info(snapshot).nf_call = [true; 3];
            },
            "bridged frames go through no firewall",
        ),
        (|snapshot| hold(snapshot, &[(7, 54321)]), "tap0 is in use by q\\x1b[2J\\x0a (pid 7)"),
        // Its descriptor may have been passed on by root, or by its owner.
        (|snapshot| hold(snapshot, &[(7, 54321), (8, 0)]), "tap0 is in use by q\\x1b[2J\\x0a (pid 8)"),
        (|snapshot| snapshot.context.acl = Ok(None), "does not apply to root"),
        (|snapshot| snapshot.bridge.as_mut().unwrap().carrier = false, "no carrier until a port has one"),
        (
            |snapshot| {
                bridge_info(snapshot).stp_enabled = true;
                bridge_info(snapshot).forward_delay = 1500;
                snapshot.context.wait = Some(30);
            },
            "STP is on: a port forwards after 30 s, which QEMU waits for",
        ),
        (|snapshot| snapshot.vhost_net = Err(Errno::EACCES), "/dev/vhost-net: Permission denied"),
        (
            |snapshot| {
                details(snapshot).ports = ports(1);
                snapshot.is_guest = true;
                snapshot.sysctls.ip_forward = Some(false);
            },
            "this host is itself a guest: if its hypervisor lets only its own MAC pass, guests do not get beyond p0",
        ),
    ];
    for (change, words) in table {
        let found = found_with(change);
        let said = found.iter().any(|found| found.message.contains(words));
        assert!(said && bad(&found).is_empty(), "no '{words}': {found:#?}");
        assert_eq!(exit_code(&found, true), ExitCode::Success);
    }
}

/// A change, how bad it is, what is said, and what is to be done.
type Row = (Change, Level, &'static str, Option<Fix>);

#[test]
fn each_thing_that_is_not_as_it_should_be_has_its_level_and_its_fix() {
    let command = |text: &str| Some(Fix::Command(text.to_owned()));
    let advice = |text: &str| Some(Fix::Advice(text.to_owned()));
    let (bridge, tap) = (
        Level::Warning(ExitCode::Bridge),
        Level::Warning(ExitCode::Tap),
    );
    #[rustfmt::skip]
    let table: [Row; 8] = [
        (
            |snapshot| details(snapshot).ports = ports(1023),
            Level::Problem(ExitCode::Bridge),
            "cannot attach to br0: the bridge is full",
            advice("a bridge holds 1023 ports: delete taps that are left over, or use a second bridge"),
        ),
        (|snapshot| snapshot.tun = Err(Errno::EIO), Level::Problem(ExitCode::Tun), "I/O error", None),
        (
            |snapshot| snapshot.managers = vec![(NetworkManager, Some(true))],
            tap,
            "NetworkManager is running and may configure tap0",
            command("nmcli device set tap0 managed no"),
        ),
        (
            |snapshot| {
                snapshot.bridge = None;
                snapshot.context.creates_bridge = true;
                snapshot.bridge_driver = Some(false);
            },
            Level::Problem(ExitCode::Kernel),
            "the kernel has no bridges, and no module for them",
            advice("install the package with all modules of this kernel; or a kernel with CONFIG_BRIDGE"),
        ),
        (
            |snapshot| snapshot.managers = vec![(Networkd, Some(true))],
            tap,
            "systemd-networkd is running and may configure tap0",
            command(r"printf '[Match]\nName=tap0\n[Link]\nUnmanaged=yes\n' | tee /etc/systemd/network/05-qemu-ifup-tap0.network && networkctl reload"),
        ),
        (
            |snapshot| snapshot.denied_by_apparmor = Some("/usr/local/bin/qemu-ifup".into()),
            Level::Warning(ExitCode::NotPermitted),
            "AppArmor does not let libvirtd run /usr/local/bin/qemu-ifup, as <script> would",
            advice("the line '/usr/local/bin/qemu-ifup PUx,' in /etc/apparmor.d/local/usr.sbin.libvirtd, one such for qemu-ifdown, and then systemctl reload apparmor"),
        ),
        (
            |snapshot| hold(snapshot, &[(7, 54321), (8, 1000)]),
            tap,
            "tap0 is also open in q\\x1b[2J\\x0a (pid 8) of uid 1000, whose tap it is not: it gets some of the guest's frames",
            advice("find out what that is, before its guest goes on: ps -fp 8"),
        ),
        (
            |snapshot| {
                bridge_info(snapshot).stp_enabled = true;
                bridge_info(snapshot).forward_delay = 1500;
                details(snapshot).ports = ports(2);
            },
            bridge,
            "STP is on: a port forwards 30 s after a guest starts, too late for its DHCP",
            command("echo '* --wait 35' | tee -a /etc/qemu-ifup.conf"),
        ),
    ];
    for (change, level, words, fix) in table {
        let found = found_with(change);
        let bad = bad(&found);
        assert_eq!(bad.len(), 1, "{words}: {found:#?}");
        assert_eq!(
            (bad[0].level, &*bad[0].message, &bad[0].fix),
            (level, words, &fix)
        );
        let warns = matches!(level, Level::Warning(_));
        let code = if warns {
            ExitCode::Success
        } else {
            level.exit_code()
        };
        assert_eq!(exit_code(&found, false), code);
        assert_eq!(exit_code(&found, true), level.exit_code());
    }
    assert_eq!(BR_MAX_PORTS, 1023);
}

/// Two warnings for one MAC would have commands that undo each other.
#[test]
fn there_is_at_most_one_warning_about_the_mac_of_a_bridge_and_none_about_one_that_was_set() {
    const LOW: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OF_TAP: &str = "ip link set dev br0 address 02:00:00:00:00:01";
    const OF_UPLINK: &str = "ip link set dev br0 address 02:00:00:00:00:07";
    #[rustfmt::skip]
    let table = [
        // (of the bridge, of its tap, of its uplink, whether it was set, the command)
        (Some(LOW), Some(LOW), None, Some(true), None),
        (Some(LOW), Some(LOW), None, Some(false), Some(OF_TAP)),
        (Some(LOW), Some(LOW), None, None, Some(OF_TAP)),
        (Some(LOW), Some(LOW), Some(7), Some(false), Some(OF_UPLINK)),
        (Some(LOW), Some(LOW), Some(7), Some(true), None),
        // Not the lowest one, so it was set.
        (Some(LOW), Some(LOW), Some(0), None, None),
        (Some(LOW), None, None, Some(false), Some(OF_TAP)),
        (Some(LOW), None, None, Some(true), None),
        (Some(LOW), None, None, None, None),
        // As a bridge has it that lost its last port.
        (Some(MacAddr([0; 6])), None, None, Some(false), None),
        (None, None, None, None, None),
    ];
    for (address, tap, uplink, has_own_mac, command) in table {
        let found = found_with(|snapshot| {
            snapshot.bridge.as_mut().unwrap().address = address;
            let details = details(snapshot);
            details.has_own_mac = has_own_mac;
            details.ports[0].address = tap;
            details.ports.extend(uplink.map(|last| Link {
                address: Some(MacAddr([2, 0, 0, 0, 0, last])),
                ..link(4, "up0", LinkKind::Unset)
            }));
        });
        let fixes: Vec<_> = bad(&found).iter().map(|found| found.fix.clone()).collect();
        let expected: Vec<_> = command
            .map(|command| Some(Fix::Command(command.to_owned())))
            .into_iter()
            .collect();
        assert_eq!(
            fixes, expected,
            "{address:?} {tap:?} {uplink:?} {has_own_mac:?}"
        );
    }
}

#[test]
fn each_way_in_which_the_device_is_missing_has_its_own_advice() {
    for (errno, hint) in TUN_HINTS {
        let found = found_with(|snapshot| {
            snapshot.tun = Err(errno);
            snapshot.context.reader = Authority::None;
        });
        let line = found.iter().find(|found| found.subject == "/dev/net/tun");
        let line = line.unwrap();
        assert_eq!(line.level, Level::Problem(ExitCode::Tun));
        assert_eq!(line.message, strerror(errno));
        assert_eq!(line.fix, Some(Fix::Advice(hint.to_owned())));
    }
    assert_eq!(
        TUN_HINTS[2].1, TUN_HINTS[3].1,
        "one cause, two error numbers"
    );
}
