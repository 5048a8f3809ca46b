//! Frames past the bridge.

use crate::alone;
use crate::common::eventually;
use crate::common::sandbox::Sandbox;
use crate::common::users::open_tap_as;
use crate::races::host::Host;
use crate::races::{ROUNDS, assert_done, tell};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// The port of the datagrams with which a tap is flooded.
const PORT: u16 = 9999;

/// The Internet checksum, of a sum that has begun already.
fn checksum(begun: u32, bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| {
        let [high, low] = [pair[0], pair.get(1).copied().unwrap_or(0)];
        u32::from(u16::from_be_bytes([high, low]))
    });
    let mut sum = begun + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A datagram from 0.0.0.0 to 255.255.255.255, which every IPv4 stack takes.
fn datagram() -> Vec<u8> {
    let data = b"flood";
    let length = |headers: usize| u16::try_from(headers + data.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0];
    ip.extend(length(28));
    // No fragment, to live for 64 hops, UDP, a checksum to come.
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    ip.extend([0; 4]);
    ip.extend([255; 4]);
    let sum = checksum(0, &ip);
    ip[10..12].copy_from_slice(&sum);
    let mut frame = [0xff; 6].to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 9, 0x08, 0x00]);
    frame.extend(ip);
    frame.extend([0, 5]);
    frame.extend(PORT.to_be_bytes());
    frame.extend(length(8));
    // Without a checksum of its own.
    frame.extend([0, 0]);
    frame.extend(data);
    frame
}

/// The type of a Router Advertisement in ICMPv6.
const ADVERTISEMENT: u8 = 134;

/// A Router Advertisement from fe80::9 to all nodes: who takes it has a new default route.
fn advertisement() -> Vec<u8> {
    let mut icmp = vec![ADVERTISEMENT, 0, 0, 0, 64, 0];
    icmp.extend(1800_u16.to_be_bytes());
    icmp.extend([0; 8]);
    let mut addresses = [0; 32];
    addresses[..2].copy_from_slice(&[0xfe, 0x80]);
    addresses[15] = 9;
    addresses[16..18].copy_from_slice(&[0xff, 0x02]);
    addresses[31] = 1;
    let length = u8::try_from(icmp.len()).unwrap();
    let pseudo = [&addresses[..], &[0, 0, 0, length, 0, 0, 0, 58], &icmp].concat();
    let sum = checksum(0, &pseudo);
    icmp[2..4].copy_from_slice(&sum);
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 9, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend(addresses);
    frame.extend(icmp);
    frame
}

/// Hears what the host's own network stack takes from one interface, and from no other: so no flood from elsewhere can
/// fill its queue.
struct Ear {
    datagrams: OwnedFd,
    advertisements: OwnedFd,
}

impl Ear {
    fn at(interface: &str) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = |family, protocol| {
            let socket = socket(family, SockType::Raw, flags, protocol).unwrap();
            setsockopt(&socket, sockopt::BindToDevice, &interface.into()).unwrap();
            socket
        };
        // Raw ones: they hear of a datagram whether anybody waits for it or not.
        Self {
            datagrams: open(AddressFamily::Inet, SockProtocol::Udp),
            advertisements: open(AddressFamily::Inet6, SockProtocol::IcmpV6),
        }
    }

    /// How many datagrams and advertisements have come since the last time.
    fn heard(&self) -> [usize; 2] {
        let all = |socket: &OwnedFd, is_one: fn(&[u8]) -> bool| {
            let mut buffer = [0; 256];
            let mut count = 0;
            while let Ok(size) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                count += usize::from(is_one(&buffer[..size]));
            }
            count
        };
        [
            all(&self.datagrams, |packet| {
                packet.get(22..24) == Some(&PORT.to_be_bytes())
            }),
            all(&self.advertisements, |message| {
                message.first() == Some(&ADVERTISEMENT)
            }),
        ]
    }
}

/// Who has the tap open writes frames into it without pause, while `toggle` takes it down and up or moves it, and says in
/// which bridge it is then. Through the bridge they arrive; from the tap itself the host takes none, ever.
fn no_frame_gets_past_the_bridge(
    what: &str,
    mut tap: File,
    s: &Sandbox,
    toggle: impl Fn(usize) -> &'static str,
) {
    let past = Ear::at("tap0");
    let through = ["br0", "br1"].map(|bridge| (bridge, Ear::at(bridge)));
    let frames = [datagram(), advertisement()];
    let stop = AtomicBool::new(false);
    let mut hits = [0; 2];
    let start = Instant::now();
    thread::scope(|scope| {
        let flood = || {
            while !stop.load(Ordering::Relaxed) {
                for frame in &frames {
                    // While the tap is down it takes none.
                    let _ = tap.write(frame);
                }
            }
        };
        let flooding = scope.spawn(flood);
        let rounds = || {
            for round in 0..ROUNDS {
                let bridge = toggle(round);
                let (_, ear) = through.iter().find(|(name, _)| *name == bridge).unwrap();
                ear.heard();
                let comes = eventually(|| (ear.heard()[0] > 0).then_some(()));
                comes.unwrap_or_else(|| panic!("{what}: nothing comes through {bridge}"));
                for (hits, heard) in hits.iter_mut().zip(past.heard()) {
                    *hits += usize::from(heard > 0);
                }
                s.look();
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rounds));
        stop.store(true, Ordering::Relaxed);
        flooding.join().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    let [datagrams, advertisements] = hits;
    tell(&format!(
        "{what}: {ROUNDS} rounds; past the bridge came datagrams in {datagrams}, advertisements in {advertisements}; {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    assert_eq!(hits, [0; 2], "{what}");
}

#[test]
fn a_running_guest_gets_no_frame_past_the_bridge_while_root_moves_its_tap() {
    let _alone = alone();
    let Some(host) = Host::new() else { return };
    // As QEMU creates it: not persistent, and nobody's.
    let tap = open_tap_as(0, "tap0", 0).unwrap();
    assert_done(&host.ifup(0, &["tap0"]));
    no_frame_gets_past_the_bridge("flooded, moved by root", tap, &host.sandbox, |round| {
        let bridge = ["br1", "br0"][round % 2];
        assert_done(&host.ifup(0, &["--bridge", bridge, "tap0"]));
        bridge
    });
}
