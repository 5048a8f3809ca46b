//! Findings of --check, also about what cannot be built here.

use crate::check::diagnose;
use crate::check::finding::{Finding, exit_code};
use crate::check::id::{Id, Level};
use crate::check::snapshot::{Bridge, BridgeDetails, Context, Host, Snapshot};
use crate::config::acl::{ACL_FILE, Acl};
use crate::config::conf::{Conf, MatchedConf};
use crate::config::options::TapOptions;
use crate::error::advice::Reader;
use crate::error::exit_code::ExitCode;
use crate::model::addr::MacAddr;
use crate::model::bridge::{BR_MAX_PORTS, BridgeInfo};
use crate::model::if_name::IfName;
use crate::model::link::{Link, LinkKind, TapInfo};
use crate::model::state::InterfaceManager::{Dhcpcd, NetworkManager, Networkd};
use crate::model::state::{Sysctls, TapHolder};
use crate::policy::caller::Caller;
use crate::sys::error::strerror;
use crate::sys::file::Contents;
use crate::sys::privilege::Credentials;
use crate::tests::build::{link, name};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;

fn root() -> Caller {
    let credentials = Credentials {
        uid: 0.into(),
        gid: 0.into(),
        net_admin: true,
        withheld: None,
    };
    Caller::from_parts(credentials, Vec::new(), |_| None, |_, _| Ok(0))
}

fn acl(lines: &str) -> Acl {
    let contents = Contents {
        bytes: lines.into(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    Acl::load(Path::new(ACL_FILE), &contents, |_| unreachable!()).unwrap()
}

/// A snapshot in parts, each of which can be changed.
struct Seen {
    host: Host<'static>,
    bridge: Bridge,
    rest: Snapshot<'static>,
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn healthy_host() -> Host<'static> {
    Host {
        context: Context {
            caller: leak(root()),
            asked: leak(TapOptions::default()),
            conf: leak(Ok(Conf::default())),
            acl: leak(Ok(Some(acl("allow br0\n")))),
        },
        tun: Ok(()),
        bridges: vec![name("br0")],
        sysctls: Sysctls {
            ip_forward: Some(true),
            disable_ipv6: Some(false),
            ..Sysctls::default()
        },
        managers: Vec::new(),
        vhost_net: Ok(()),
        is_guest: false,
        bridge_driver: Some(true),
        privileged_helper: None,
        denied_by_apparmor: None,
    }
}

/// What is seen of a host if all is well.
fn healthy() -> Seen {
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
    let bridge = Bridge {
        name: name("br0"),
        link: Some(link(2, "br0", LinkKind::Bridge(BridgeInfo::default()))),
        details: Some(BridgeDetails {
            ports: vec![tap.clone()],
            network_in_use: None,
            has_address: true,
            has_own_mac: Some(true),
        }),
    };
    Seen {
        host: healthy_host(),
        bridge: bridge.clone(),
        rest: Snapshot {
            host: leak(healthy_host()),
            name: Some(tap.name),
            options: TapOptions::default(),
            conf: Ok(MatchedConf::default()),
            bridge: Rc::new(bridge),
            network_in_use: None,
            tap: Some(tap),
            tap_master: Some(name("br0")),
            tap_has_address: false,
            tap_lacks_mac: false,
            holders: Vec::new(),
            managed: Vec::new(),
        },
    }
}

/// What is found if this is different.
fn found_with(change: impl Fn(&mut Seen)) -> Vec<Finding> {
    let mut seen = healthy();
    change(&mut seen);
    diagnose(&Snapshot {
        host: &seen.host,
        bridge: Rc::new(seen.bridge),
        ..seen.rest
    })
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
fn hold(seen: &mut Seen, holders: &[(u32, u32)]) {
    let command = b"q\x1b[2J\n".to_vec();
    let holder = |&(pid, uid)| TapHolder {
        pid,
        uid,
        command: command.clone(),
    };
    seen.rest.holders = holders.iter().map(holder).collect();
    seen.rest.tap.as_mut().unwrap().carrier = true;
}

type Change = fn(&mut Seen);

/// The findings that are no "ok".
fn bad(found: &[Finding]) -> Vec<&Finding> {
    found
        .iter()
        .filter(|found| found.level != Level::Ok)
        .collect()
}

fn bridge_info(seen: &mut Seen) -> &mut BridgeInfo {
    let LinkKind::Bridge(info) = &mut seen.bridge.link.as_mut().unwrap().kind else {
        panic!("no bridge");
    };
    info
}

fn details(seen: &mut Seen) -> &mut BridgeDetails {
    seen.bridge.details.as_mut().unwrap()
}

/// What is no warning.
#[test]
fn each_thing_that_was_seen_is_said_and_nothing_else_is_wrong() {
    #[rustfmt::skip]
    let table: [(Change, &str); 15] = [
        (|_| {}, "VLAN filtering is off"),
        (|seen| bridge_info(seen).vlan_filtering = true, "VLAN filtering is on"),
        (|seen| details(seen).ports = ports(1022), "br0 has 1022 of 1023 ports"),
        (|seen| seen.rest.managed = vec![(NetworkManager, Some(false))], "NetworkManager is running and does not manage tap0"),
        (|seen| seen.rest.managed = vec![(Dhcpcd, None)], "dhcpcd is running"),
        (|_| {}, "bridged frames bypass the firewall"),
        (
            |seen| {
                seen.host.sysctls.br_netfilter = true;
                seen.host.sysctls.bridge_nf = [true, false, true];
            },
            "bridged frames pass through iptables and arptables, where no rules were found",
        ),
        // Without the module, a bridge's own switch means nothing.
        (
            |seen| {
                seen.host.sysctls.filters = [true; 3];
                bridge_info(seen).nf_call = [true; 3];
            },
            "bridged frames bypass the firewall",
        ),
        (|seen| hold(seen, &[(7, 54321)]), "tap0 is in use by q\\x1b[2J\\x0a (pid 7)"),
        // Its descriptor may have been passed on by root, or by its owner.
        (|seen| hold(seen, &[(7, 54321), (8, 0)]), "tap0 is in use by q\\x1b[2J\\x0a (pid 8)"),
        (|seen| seen.host.context.acl = &Ok(None), "does not apply to root"),
        (|seen| seen.bridge.link.as_mut().unwrap().carrier = false, "no carrier (normal until a port has a carrier)"),
        (
            |seen| {
                bridge_info(seen).stp_enabled = true;
                bridge_info(seen).forward_delay = 1500;
                seen.rest.options.wait = Some(30);
            },
            "STP is on: ports forward after 30 s, and QEMU waits for that (--wait)",
        ),
        (|seen| seen.host.vhost_net = Err(Errno::EACCES), "/dev/vhost-net cannot be opened (Permission denied)"),
        (
            |seen| {
                details(seen).ports = ports(1);
                seen.host.is_guest = true;
                seen.host.sysctls.ip_forward = Some(false);
            },
            "this host is a virtual machine. If its hypervisor accepts only this host's MAC, guests cannot reach the network beyond p0",
        ),
    ];
    for (change, words) in table {
        let found = found_with(change);
        let said = found.iter().any(|found| found.message.contains(words));
        assert!(said && bad(&found).is_empty(), "no '{words}': {found:#?}");
        assert_eq!(exit_code(&found, true), ExitCode::Success);
    }
}

/// A change, what kind of finding it is, what is said, what is to be done, and whether that is a command that fixes it.
type Row = (Change, Id, &'static str, &'static str, bool);

/// What is to be done, as root reads it.
fn help(found: &Finding) -> (String, bool) {
    let root = Reader(Some(0));
    match &found.fix {
        Some(fix) => {
            assert!(found.advice.is_empty(), "{found:?}");
            (fix.for_reader(root), true)
        }
        None => {
            let advice = found.advice.iter().map(|advice| advice.for_reader(root));
            (advice.collect::<Vec<_>>().join("\n"), false)
        }
    }
}

#[test]
fn each_thing_that_is_not_as_it_should_be_has_its_level_and_its_fix() {
    #[rustfmt::skip]
    let table: [Row; 8] = [
        (
            |seen| details(seen).ports = ports(1023),
            Id::BridgeFull,
            "cannot attach to br0: the bridge already has 1023 ports",
            "a bridge can have at most 1023 ports. Delete taps that are not in use, or use another bridge: --bridge BRIDGE", false,
        ),
        (|seen| seen.host.tun = Err(Errno::EIO), Id::TunUnusable, "I/O error", "", false),
        (
            |seen| seen.rest.managed = vec![(NetworkManager, Some(true))],
            Id::ManagerManagesTap,
            "NetworkManager is running and may configure tap0",
            "nmcli device set tap0 managed no", true,
        ),
        (
            |seen| {
                seen.bridge.link = None;
                seen.rest.options.create_bridge = Some(true);
                seen.host.bridge_driver = Some(false);
            },
            Id::BridgeModuleMissing,
            "the kernel does not support bridges, and there is no bridge module",
            "install the package that has all modules of this kernel, or a kernel with CONFIG_BRIDGE", false,
        ),
        (
            |seen| seen.rest.managed = vec![(Networkd, Some(true))],
            Id::ManagerManagesTap,
            "systemd-networkd is running and may configure tap0",
            r"printf '[Match]\nName=tap0\n[Link]\nUnmanaged=yes\n' | tee /etc/systemd/network/05-qemu-ifup-tap0.network && networkctl reload", true,
        ),
        (
            |seen| seen.host.denied_by_apparmor = Some("/usr/local/bin/qemu-ifup".into()),
            Id::ApparmorDenies,
            "AppArmor does not permit libvirtd to run /usr/local/bin/qemu-ifup, so <script path=...> fails",
            "add the line '/usr/local/bin/qemu-ifup PUx,' and the same line for qemu-ifdown to /etc/apparmor.d/local/usr.sbin.libvirtd, then run: systemctl reload apparmor", false,
        ),
        (
            |seen| hold(seen, &[(7, 54321), (8, 1000)]),
            Id::TapShared,
            "tap0 is also in use by q\\x1b[2J\\x0a (pid 8) (uid 1000), who is not the owner: this program receives some of the guest's frames",
            "before you go on using the guest, find out what this program is: ps -fp 8", false,
        ),
        (
            |seen| {
                bridge_info(seen).stp_enabled = true;
                bridge_info(seen).forward_delay = 1500;
                details(seen).ports = ports(2);
            },
            Id::StpDelay,
            "STP is on: ports forward 30 s after a guest starts, which is often too late for DHCP",
            "echo '* --wait 35' | tee -a /etc/qemu-ifup.conf", true,
        ),
    ];
    for (change, id, words, to_do, is_fix) in table {
        let found = found_with(change);
        let bad = bad(&found);
        assert_eq!(bad.len(), 1, "{words}: {found:#?}");
        assert_eq!((bad[0].id, &*bad[0].message), (id, words));
        assert_eq!(help(bad[0]), (to_do.to_owned(), is_fix));
        let level = id.level();
        assert_eq!(bad[0].level, level);
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
        let found = found_with(|seen| {
            seen.bridge.link.as_mut().unwrap().address = address;
            let details = details(seen);
            details.has_own_mac = has_own_mac;
            details.ports[0].address = tap;
            details.ports.extend(uplink.map(|last| Link {
                address: Some(MacAddr([2, 0, 0, 0, 0, last])),
                ..link(4, "up0", LinkKind::Unset)
            }));
        });
        let fixes: Vec<_> = bad(&found).into_iter().map(help).collect();
        let expected = command.map(|command| (command.to_owned(), true));
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(
            fixes, expected,
            "{address:?} {tap:?} {uplink:?} {has_own_mac:?}"
        );
    }
}

#[test]
fn each_way_in_which_the_device_is_missing_has_its_own_advice() {
    let advice = |errno| {
        let found = found_with(|seen| seen.host.tun = Err(errno));
        let found = found.iter().find(|found| found.id == Id::TunUnusable);
        let found = found.unwrap();
        assert_eq!(found.level, Level::Problem(ExitCode::Tun));
        assert_eq!(found.message, strerror(errno));
        help(found).0
    };
    let all = [
        Errno::ENOTTY,
        Errno::ENOENT,
        Errno::ENODEV,
        Errno::ENXIO,
        Errno::EACCES,
        Errno::EPERM,
    ];
    let different: BTreeSet<String> = all.into_iter().map(advice).collect();
    // One cause has two error numbers.
    assert_eq!(advice(Errno::ENODEV), advice(Errno::ENXIO));
    assert_eq!(different.len(), all.len() - 1, "{different:?}");
    assert!(!different.contains(""));
}

#[test]
fn each_finding_names_the_interface_and_the_bridge_that_it_is_about() {
    let (tap, bridge) = (Some(name("tap0")), Some(name("br0")));
    #[rustfmt::skip]
    let table: [(Change, Id, Option<IfName>, Option<IfName>); 6] = [
        (|_| {}, Id::Root, None, None),
        (|_| {}, Id::VlanFiltering, None, bridge),
        (|_| {}, Id::TapOwner, tap, None),
        (|_| {}, Id::TapUp, tap, bridge),
        (|seen| seen.bridge.link.as_mut().unwrap().up = false, Id::BridgeDown, None, bridge),
        (|seen| details(seen).ports = ports(1), Id::UplinkUp, Some(name("p0")), bridge),
    ];
    for (change, id, ifname, bridge) in table {
        let found = found_with(change);
        let found = found.iter().find(|found| found.id == id);
        let found = found.unwrap_or_else(|| panic!("no {id:?}"));
        assert_eq!((found.ifname, found.bridge), (ifname, bridge), "{found:?}");
    }
}

/// (id, level, meaning) of each.
fn documented_rows() -> Vec<(String, String, String)> {
    let row = |id: &Id| {
        let (name, level) = (id.as_str(), id.level().as_str());
        (name.to_owned(), level.to_owned(), id.meaning().to_owned())
    };
    Id::ALL.iter().map(row).collect()
}

#[test]
fn the_manual_and_the_page_on_troubles_list_the_findings_of_the_source() {
    let file = |name| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    let manual = file("man/qemu-ifup.8").unwrap();
    let (_, list) = manual.split_once(".Ss Findings\n").unwrap();
    let (list, _) = list.split_once(".El\n").unwrap();
    let of_manual = list.split(".It Li ").skip(1).map(|item| {
        let (name, text) = item.split_once('\n').unwrap();
        let (level, meaning) = text.split_once(": ").unwrap();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        (name.to_owned(), level.to_owned(), meaning)
    });
    assert_eq!(of_manual.collect::<Vec<_>>(), documented_rows());

    let page = file("docs/troubleshooting.md").unwrap();
    let (_, table) = page.split_once("| id | level | meaning |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    let of_page = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        (name.to_owned(), cells[2].to_owned(), cells[3].to_owned())
    });
    assert_eq!(of_page.collect::<Vec<_>>(), documented_rows());
}

#[test]
fn the_ids_of_findings_are_unique_and_in_lower_case() {
    let names: BTreeSet<&str> = Id::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(names.len(), Id::ALL.len());
    for name in names {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_plain), "{name}");
    }
}
