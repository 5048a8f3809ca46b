//! Hosts where all is as it should be: `--check` has no warning for any of them.

use crate::check::give_uplink;
use crate::common::qemu::Qemu;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, as_user, open_tap_as};
use crate::common::{needs, run};
use crate::host::{SWITCHES_OFF, host, host_for_alice, must, on_its_own, sh};
use std::fs::File;

/// What keeps a tap open while it is looked at.
#[derive(Default)]
struct Held {
    _qemu: Option<Qemu>,
    _descriptor: Option<File>,
}

fn nothing(_: &Sandbox) -> Held {
    Held::default()
}

fn qemu(s: &Sandbox, options: &str) -> Held {
    let netdev = "-netdev tap,id=n1,ifname=tap0,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown";
    Held {
        _qemu: Some(Qemu::start(s, &format!("{netdev}{options}")).unwrap()),
        ..Held::default()
    }
}

fn open(uid: u32, flags: i32) -> Held {
    Held {
        _descriptor: Some(open_tap_as(uid, "tap0", flags).unwrap()),
        ..Held::default()
    }
}

/// A set-up: its name, a script, who then has tap0 open, another script, and the words after --check.
type Setup = (
    &'static str,
    &'static str,
    fn(&Sandbox) -> Held,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const SETUPS: [Setup; 16] = [
    ("without an uplink", "qemu-ifup tap0", nothing, "", "tap0"),
    ("a host that forwards nothing", "qemu-ifup tap0; echo 0 >/proc/sys/net/ipv4/ip_forward", nothing, "", "tap0"),
    ("no tap yet", "", nothing, "", "tap0"),
    ("no tap is named", "qemu-ifup tap0", nothing, "", ""),
    ("no bridge yet", "ip link del br0; echo '* --create-bridge --address 192.168.10.1/24' >/etc/qemu-ifup.conf", nothing, "", "tap0"),
    ("prepared", "qemu-ifup --owner 54321 tap0", nothing, "", "tap0"),
    ("prepared, and in use by its owner", "qemu-ifup --owner 54321 tap0", |_| open(ALICE, 0), "", "tap0"),
    ("prepared for several queues", "qemu-ifup --multi-queue --owner 54321 tap0", |_| open(ALICE, libc::IFF_MULTI_QUEUE), "", "tap0"),
    ("held", "", |s| qemu(s, ""), "", "tap0"),
    ("held, multi-queue", "", |s| qemu(s, ",queues=2"), "", "tap0"),
    ("one queue, where new taps get several", "echo '* --multi-queue' >/etc/qemu-ifup.conf", |s| qemu(s, ""), "", "tap0"),
    ("isolated", "echo '* --isolated' >/etc/qemu-ifup.conf; qemu-ifup tap0", nothing, "", "tap0"),
    ("like libvirt's", "", |_| open(0, 0), "qemu-ifup tap0", "tap0"),
    ("STP off", "ip link set br0 type bridge stp_state 1; ip link set br0 type bridge stp_state 0; qemu-ifup tap0", nothing, "", "tap0"),
    ("jumbo", "ip link set br0 mtu 9000; qemu-ifup tap0", nothing, "", "tap0"),
    (
        "Docker without its switches",
        "ip link add docker0 type bridge; iptables -P FORWARD DROP
         qemu-ifup tap0",
        nothing, "", "tap0",
    ),
];

/// It says nothing at all, and ends with 0, also where warnings count.
#[track_caller]
fn assert_healthy(s: &Sandbox, call: &str, args: &str) {
    let run = sh(s, &format!("{call} --check --strict --quiet {args}"));
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "", ""));
}

#[test]
fn beside_healthy_set_ups_there_is_no_warning() {
    if !needs("qemu-system-x86_64") || !needs("iptables") {
        return;
    }
    for (name, before, hold, after, args) in SETUPS {
        for uplink in [false, true] {
            on_its_own(&format!("{name}, {uplink}"), || {
                let Some(s) = host() else { return };
                // Otherwise it shows the interfaces of another network.
                s.sh("mount -t sysfs sysfs /sys");
                if uplink {
                    give_uplink(&s, 1500);
                }
                must(&s, before);
                let _held = hold(&s);
                must(&s, after);
                if uplink && name == "jumbo" {
                    // The uplink that was given is none.
                    s.sh("ip link set up0 mtu 9000; ip link set far0 mtu 9000");
                }
                assert_healthy(&s, "qemu-ifup", args);
                let said = must(&s, &format!("qemu-ifup --check {args}")).stdout;
                if said.contains("is in use by") {
                    assert!(
                        !said.contains("--delete") && !said.contains("kill"),
                        "{said}"
                    );
                }
            });
        }
    }
}

#[test]
fn beside_a_user_who_may_attach_taps_there_is_no_warning() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    s.sh("mount -t sysfs sysfs /sys");
    assert_healthy(&s, "alice qemu-ifup", "tap0");
    must(&s, "alice qemu-ifup tap0");
    let _held = open(ALICE, 0);
    assert_healthy(&s, "alice qemu-ifup", "tap0");
    // For root it is another's, unless root says so.
    assert_healthy(&s, "qemu-ifup", "--owner 54321 tap0");
}

#[test]
fn in_a_user_namespace_there_is_no_warning() {
    if !needs("unshare") {
        return;
    }
    let Some(_s) = host() else { return };
    let script = format!(
        "ip link set lo up; {SWITCHES_OFF}
         PATH=/etc:$PATH
         qemu-ifup --create-bridge --address 192.168.10.1/24 tap0
         qemu-ifup --check --strict --quiet tap0"
    );
    let mut unshare = as_user(ALICE, ALICE, "unshare");
    let done = run(unshare.args(["-Urn", "sh", "-euc", &script]));
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (0, "", ""));
}
