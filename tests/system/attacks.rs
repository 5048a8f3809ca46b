//! What a guest can do to others on its bridge, and which option of the port stops it: each attack is sent through the
//! descriptor of a tap, and what comes of it is compared with the table in SECURITY.md. One row of it is for tests/qemu/guest/.

use crate::common::eventually;
use crate::common::interfaces::mac;
use crate::common::sandbox::Sandbox;
use crate::common::security::{EVIL, Mac, TO_BE_ROOT, bpdu, frame, section, table, text};
use crate::common::users::open_tap_as;
use crate::expect::{assert_error, assert_silent_success, words};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// The other guest's MAC, and that of the gateway behind the uplink.
const VICTIM: Mac = [0x52, 0x54, 0, 0, 0, 2];
const GATEWAY: Mac = [0x52, 0x54, 0, 0, 0, 0xfe];
const UNKNOWN: Mac = [0x52, 0x54, 0, 0, 0, 0x99];
const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];
const HOST_IP: [u8; 4] = [192, 168, 10, 1];
const EVIL_IP: [u8; 4] = [192, 168, 10, 2];
const VICTIM_IP: [u8; 4] = [192, 168, 10, 3];

fn fd00(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// The attacker's link-local address, as its MAC gives it.
const EVIL_LINK_LOCAL: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1,
];
const ALL_NODES_IP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A frame of a type for experiments (IEEE 802), which nobody answers.
fn plain(to: Mac, from: Mac) -> Vec<u8> {
    frame(to, from, 0x88b5, b"attack")
}

/// An ARP reply: this address is at the attacker's MAC.
fn arp(to: Mac, claimed: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 2];
    let body = [&head[..], &EVIL, &claimed, &to, &target].concat();
    frame(to, EVIL, 0x0806, &body)
}

fn icmp6(to: Mac, from_ip: [u8; 16], to_ip: [u8; 16], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [
        &from_ip[..],
        &to_ip,
        &[0, 0],
        &length,
        &[0, 0, 0, 58],
        &message,
    ]
    .concat();
    let words = pseudo
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let head = [&[0x60, 0, 0, 0], &length[..], &[58, 255]].concat();
    frame(
        to,
        EVIL,
        0x86dd,
        &[&head[..], &from_ip, &to_ip, &message].concat(),
    )
}

/// A neighbour advertisement, unasked for: this address is at the attacker's MAC.
fn advertisement(to: Mac, claimed: [u8; 16], to_ip: [u8; 16]) -> Vec<u8> {
    let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0], &claimed[..], &[2, 1], &EVIL].concat();
    icmp6(to, EVIL_LINK_LOCAL, to_ip, &message)
}

/// A router advertisement: the attacker is the default router.
fn router() -> Vec<u8> {
    let message = [
        &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1][..],
        &EVIL,
    ]
    .concat();
    icmp6(ALL_NODES, EVIL_LINK_LOCAL, ALL_NODES_IP, &message)
}

/// A bridge with an address, an uplink, and two guests.
struct World<'a> {
    s: &'a Sandbox,
    evil: File,
    victim: File,
    uplink: File,
    host: Mac,
}

/// The options of both guests, where MAC is that of each.
const COLUMNS: [&str; 5] = [
    "",
    "--isolated",
    "--no-learning --no-flood",
    "--lock-mac MAC",
    "--lock-mac MAC --isolated",
];

impl<'a> World<'a> {
    fn new(s: &'a Sandbox, options: &str) -> Self {
        s.bridge_up("br0");
        s.sh(
            "ip address add 192.168.10.1/24 dev br0; ip address add fd00::1/64 dev br0 nodad
              echo 2 >/proc/sys/net/ipv6/conf/br0/accept_ra
              echo 0 >/proc/sys/net/ipv4/neigh/br0/locktime",
        );
        let open = |name| {
            // A child that another test's thread has just forked may have a copy of the one before for a moment.
            let tap = eventually(|| open_tap_as(0, name, 0).ok()).unwrap();
            fcntl(&tap, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            tap
        };
        let [evil, victim, uplink] = ["tap0", "tap1", "up0"].map(open);
        s.sh("ip link set up0 addrgenmode none; ip link set up0 master br0 up");
        for (tap, mac) in [("tap0", EVIL), ("tap1", VICTIM)] {
            let args = format!("{options} {tap}").replace("MAC", &text(mac));
            assert_silent_success(&s.ifup(&words(&args)));
            // As SECURITY.md says: without it, nothing that is for the guest finds it.
            if options == "--no-learning --no-flood" {
                s.sh(&format!(
                    "bridge fdb add {} dev {tap} master static",
                    text(mac)
                ));
            }
        }
        let host = mac(s, "br0");
        let host = host
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        let host = host.collect::<Vec<_>>().try_into().unwrap();
        Self {
            s,
            evil,
            victim,
            uplink,
            host,
        }
    }

    /// Everybody is where they belong, and nothing is waiting to be read.
    fn settle(&self) {
        for (mut port, mac) in [
            (&self.victim, VICTIM),
            (&self.uplink, GATEWAY),
            (&self.evil, EVIL),
        ] {
            port.write_all(&plain(BROADCAST, mac)).unwrap();
        }
        for port in [&self.victim, &self.uplink, &self.evil] {
            received(port, &[]);
        }
    }

    /// The attacker sends this; whether it arrives there.
    fn arrives(&self, frame: &[u8], at: &File) -> bool {
        (&self.evil).write_all(frame).unwrap();
        received(at, frame)
    }

    /// The attacker sends in the name of another one; whether it gets then what is for that one.
    fn steals(&self, mac: Mac, mut sender: &File, from: Mac) -> bool {
        (&self.evil).write_all(&plain(BROADCAST, mac)).unwrap();
        received(&self.evil, &[]);
        let frame = plain(mac, from);
        sender.write_all(&frame).unwrap();
        received(&self.evil, &frame)
    }

    /// Whether the host believes that this address is at the attacker's MAC.
    fn convinces_host(&self, address: &str, frame: &[u8]) -> bool {
        let neighbour = || self.s.sh(&format!("ip neigh show {address} dev br0"));
        self.s.sh(&format!(
            "ip neigh replace {address} lladdr {} dev br0 nud stale",
            text(VICTIM)
        ));
        // It changes an entry only after a tick of its clock.
        thread::sleep(Duration::from_millis(50));
        (&self.evil).write_all(frame).unwrap();
        let found = neighbour();
        assert!(found.contains("lladdr"), "{found}");
        found.contains(&text(EVIL))
    }

    fn becomes_router(&self) -> bool {
        let routes = || self.s.sh("ip -6 route show default dev br0");
        // The advertisement to the guests was one to the host, too.
        self.s.sh("ip -6 route flush default dev br0");
        assert_eq!(routes(), "");
        (&self.evil).write_all(&router()).unwrap();
        routes().contains("proto ra")
    }
}

/// Reads all that has come; whether that frame is there. The kernel passes a frame on before the write of it returns.
fn received(mut port: &File, frame: &[u8]) -> bool {
    let mut found = false;
    let mut buffer = [0; 2048];
    while let Ok(size) = port.read(&mut buffer) {
        found |= buffer[..size].starts_with(frame) && !frame.is_empty();
    }
    found
}

type Attack = (&'static str, fn(&World<'_>) -> bool);

/// Each attack, in the words of the table, and whether it succeeds.
const ATTACKS: [Attack; 13] = [
    ("send from the host's MAC", |w| {
        w.arrives(&plain(GATEWAY, w.host), &w.uplink)
    }),
    ("send to guests from the gateway's MAC", |w| {
        w.arrives(&plain(VICTIM, GATEWAY), &w.victim)
    }),
    ("send from another guest's MAC", |w| {
        w.arrives(&plain(GATEWAY, VICTIM), &w.uplink)
    }),
    ("get the gateway's frames by its MAC", |w| {
        w.steals(GATEWAY, &w.victim, VICTIM)
    }),
    ("get another guest's frames by its MAC", |w| {
        w.steals(VICTIM, &w.uplink, GATEWAY)
    }),
    ("get unknown unicast from the uplink", |w| {
        let frame = plain(UNKNOWN, GATEWAY);
        (&w.uplink).write_all(&frame).unwrap();
        received(&w.evil, &frame)
    }),
    ("ARP spoofing of another guest", |w| {
        w.arrives(&arp(VICTIM, HOST_IP, VICTIM_IP), &w.victim)
    }),
    ("ND spoofing of another guest", |w| {
        w.arrives(&advertisement(VICTIM, fd00(1), fd00(3)), &w.victim)
    }),
    ("RA to another guest", |w| w.arrives(&router(), &w.victim)),
    ("ARP spoofing of the host", |w| {
        w.convinces_host("192.168.10.3", &arp(w.host, VICTIM_IP, HOST_IP))
    }),
    ("ND spoofing of the host", |w| {
        w.convinces_host("fd00::3", &advertisement(w.host, fd00(3), fd00(1)))
    }),
    ("RA to the host", |w| w.becomes_router()),
    ("BPDU on a bridge without STP", |w| {
        w.arrives(&bpdu(), &w.uplink)
    }),
];

fn outcomes(world: &World<'_>) -> Vec<bool> {
    let outcome = |(_, attack): &Attack| {
        world.settle();
        attack(world)
    };
    ATTACKS.iter().map(outcome).collect()
}

#[test]
fn each_option_stops_the_attacks_that_security_md_says_and_no_others() {
    let Some(s) = Sandbox::new() else { return };
    let mut rows = vec![vec!["attack".to_owned()]];
    rows.extend(ATTACKS.map(|(name, _)| vec![name.to_owned()]));
    for options in COLUMNS {
        let world = World::new(&s, options);
        let name = if options.is_empty() {
            "default"
        } else {
            options
        };
        rows[0].push(name.to_owned());
        for (row, succeeds) in rows[1..].iter_mut().zip(outcomes(&world)) {
            row.push(if succeeds { "" } else { "stopped" }.to_owned());
        }
        // Whatever is stopped, honest frames are not.
        world.settle();
        assert!(
            world.arrives(&plain(GATEWAY, EVIL), &world.uplink),
            "{options}"
        );
        let answer = plain(EVIL, GATEWAY);
        (&world.uplink).write_all(&answer).unwrap();
        assert!(received(&world.evil, &answer), "{options}");
        drop(world);
        s.sh("ip link del br0");
    }
    let lines = |rows: &[Vec<String>]| {
        rows.iter()
            .map(|row| format!("| {} |", row.join(" | ")))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut said = table();
    said.remove(1); // the line below the heading
    let to_be_root = said.iter().position(|row| row[0] == TO_BE_ROOT);
    said.remove(to_be_root.unwrap());
    assert_eq!(lines(&said), lines(&rows), "seen:\n{}", lines(&rows));
}

#[test]
fn the_rules_of_security_md_stop_what_the_options_do_not() {
    let Some(s) = Sandbox::with("nft") else {
        return;
    };
    let world = World::new(&s, "--lock-mac MAC --isolated");
    let rules: Vec<String> = section()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("sudo nft ")?.to_owned()))
        .collect();
    assert!(rules.len() > 3, "{rules:?}");
    for rule in rules {
        s.sh(&format!("nft {rule}"));
    }
    let succeeded = outcomes(&world);
    let names = ATTACKS
        .iter()
        .zip(succeeded)
        .filter(|(_, succeeds)| *succeeds);
    let names: Vec<_> = names.map(|((name, _), _)| *name).collect();
    assert_eq!(names, Vec::<&str>::new());

    // What the guest says of its own addresses is believed.
    world.settle();
    for (address, frame) in [
        ("192.168.10.2", arp(world.host, EVIL_IP, HOST_IP)),
        ("fd00::2", advertisement(world.host, fd00(2), fd00(1))),
    ] {
        assert!(world.convinces_host(address, &frame), "{address}");
    }
    assert!(world.arrives(&plain(GATEWAY, EVIL), &world.uplink));
}

#[test]
fn nobody_takes_the_mac_that_a_port_is_locked_to() {
    let Some(s) = Sandbox::new() else { return };
    let world = World::new(&s, "");
    world.settle();
    assert!(
        world.steals(VICTIM, &world.uplink, GATEWAY),
        "it proves nothing"
    );
    assert_silent_success(&s.ifup(&["--lock-mac", &text(VICTIM), "tap1"]));
    world.settle();
    assert!(!world.steals(VICTIM, &world.uplink, GATEWAY));
    assert!((&world.victim).write_all(&plain(GATEWAY, VICTIM)).is_ok());
    assert!(
        received(&world.uplink, &plain(GATEWAY, VICTIM)),
        "it is cut off"
    );
}

/// The holder of a tap needs no privilege to give it another MAC, and the kernel takes a static entry for that.
#[test]
fn the_holder_of_another_tap_cuts_off_a_locked_guest_and_check_says_so() {
    let Some(s) = Sandbox::new() else { return };
    let world = World::new(&s, "--lock-mac MAC");
    let honest = plain(GATEWAY, VICTIM);
    let passes = || {
        (&world.victim).write_all(&honest).unwrap();
        received(&world.uplink, &honest)
    };
    let problem = "tap1 is locked, but br0 has no static fdb entry";
    let own = mac(&s, "tap0");
    assert!(passes());
    assert!(!s.ifup(&["--check", "tap1"]).stdout.contains(problem));
    set_mac(&world.evil, VICTIM);
    assert!(!passes());
    // The attacker does not get the frames: they are the host's.
    let answer = plain(VICTIM, GATEWAY);
    (&world.uplink).write_all(&answer).unwrap();
    assert!(!received(&world.evil, &answer));
    let check = s.ifup(&["--check", "tap1"]);
    assert_eq!(check.code, 5, "{check:?}");
    assert!(check.stdout.contains(problem), "{check:?}");
    let lock = "qemu-ifup --bridge br0 --lock-mac MAC tap1";
    assert!(check.stdout.contains(lock), "{check:?}");
    // While the other one has it, it is named.
    let lock = lock.replace("MAC", &text(VICTIM));
    let lock = || s.ifup(&words(&lock)[1..]);
    let refused = lock();
    assert_error(&refused, 4, "tap0 already uses that MAC", "bridge fdb show");
    s.sh(&format!("ip link set dev tap0 address {own}"));
    assert_silent_success(&lock());
    assert!(passes());

    // Nor do they get the frames of one that is not locked.
    drop(world);
    s.sh("ip link del br0");
    let world = World::new(&s, "");
    world.settle();
    set_mac(&world.evil, VICTIM);
    (&world.uplink).write_all(&answer).unwrap();
    assert!(!received(&world.evil, &answer) && !received(&world.victim, &answer));
}

/// SIOCSIFHWADDR on the descriptor of a tap.
fn set_mac(tap: &File, mac: Mac) {
    // SAFETY: all bytes may be zero in an ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, byte) in address.sa_data.iter_mut().zip(mac) {
        *to = byte.cast_signed();
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: it reads one ifreq, which `request` is.
    let done = unsafe {
        libc::ioctl(
            tap.as_raw_fd(),
            libc::SIOCSIFHWADDR as _,
            &raw const request,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
