//! The conversation with the kernel, over a transport that answers whatever the test wants.

mod dump;

use crate::model::addr::MacAddr;
use crate::model::bridge::{FdbEntry, PortOptions};
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, LinkKind, TapInfo};
use crate::sys::error::SysError;
use crate::sys::netlink::bridge::set_port;
use crate::sys::netlink::fdb::set_static;
use crate::sys::netlink::link_parse::parse_link;
use crate::sys::netlink::socket::{NetlinkSocket, Transport};
use netlink_packet_core::DefaultNla;
use nix::errno::Errno;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io;

/// NLMSG_ERROR of linux/netlink.h.
const ERROR: u16 = 2;

/// NLM_F_CAPPED | NLM_F_ACK_TLVS.
const CAPPED_WITH_ATTRIBUTES: u16 = 0x300;

/// What the wire does when it is asked for an answer.
#[derive(Clone)]
pub(crate) enum Event {
    Bytes(Vec<u8>),
    Cut(Vec<u8>),
    Stranger(Vec<u8>),
    Fails(i32),
}

#[derive(Default)]
pub(crate) struct Script(pub(crate) VecDeque<Event>);

impl Transport for Script {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        // A wire with nothing more to say is a receive time-out.
        match self.0.pop_front().unwrap_or(Event::Fails(libc::EAGAIN)) {
            Event::Bytes(bytes) => {
                into.extend(&bytes);
                Ok((bytes.len(), true))
            }
            Event::Cut(bytes) => {
                into.extend(&bytes);
                Ok((bytes.len() + 1, true))
            }
            Event::Stranger(bytes) => {
                into.extend(&bytes);
                Ok((bytes.len(), false))
            }
            Event::Fails(number) => Err(io::Error::from_raw_os_error(number)),
        }
    }
}

pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn verdict(number: i32, ext_ack: &[u8]) -> Vec<u8> {
    [&number.to_ne_bytes()[..], &[0; 16], ext_ack].concat()
}

fn ack(sequence: u32) -> Event {
    Event::Bytes(message(ERROR, 0x100, sequence, &verdict(0, &[])))
}

/// One request that wants an acknowledgement, answered by these events.
fn request(events: impl IntoIterator<Item = Event>) -> Result<(), SysError> {
    let mut netlink = NetlinkSocket::with_transport(Script(events.into_iter().collect()));
    netlink.request_ack(libc::RTM_SETLINK, 0, &DefaultNla::new(1, vec![0; 4]))
}

fn protocol_error(result: Result<(), SysError>) -> &'static str {
    match result {
        Err(SysError::Protocol(problem)) => problem,
        other => {
            assert_eq!(other, Ok(()), "a refusal is not nonsense");
            ""
        }
    }
}

#[test]
fn an_ack_is_success_and_an_errno_is_a_refusal() {
    assert_eq!(request([ack(1)]), Ok(()));
    let refusal = message(ERROR, 0x100, 1, &verdict(-libc::EBUSY, &[]));
    assert_eq!(
        request([Event::Bytes(refusal)]),
        Err(SysError::from(Errno::EBUSY))
    );
}

#[test]
fn the_ext_ack_is_part_of_a_refusal() {
    let ext_ack = [
        attribute(2, &7u32.to_ne_bytes()),
        attribute(1, b"Device is \x1b[31mbusy\0"),
    ]
    .concat();
    let refusal = message(
        ERROR,
        CAPPED_WITH_ATTRIBUTES,
        1,
        &verdict(-libc::EBUSY, &ext_ack),
    );
    let cause = request([Event::Bytes(refusal.clone())]).unwrap_err();
    assert_eq!(
        cause.to_string(),
        r"Device is \x1b[31mbusy (Device or resource busy)"
    );

    // Without the flag that announces them, the same bytes are no attributes.
    let mut silent = refusal;
    silent.splice(6..8, 0x100u16.to_ne_bytes());
    let cause = request([Event::Bytes(silent)]).unwrap_err();
    assert_eq!(cause.to_string(), "Device or resource busy");
}

#[test]
fn answers_that_make_no_sense_are_errors_not_ignored() {
    let good = message(ERROR, 0x100, 1, &verdict(0, &[]));
    let cases = [
        ("cut by the kernel", Event::Cut(good.clone()), "too long"),
        (
            "from another process",
            Event::Stranger(good.clone()),
            "not the kernel's",
        ),
        (
            "to a request of the future",
            ack(2),
            "a request that was not sent",
        ),
        ("empty", Event::Bytes(Vec::new()), "no header"),
        (
            "two in one datagram",
            Event::Bytes([good.clone(), good.clone()].concat()),
            "not one message",
        ),
        (
            "shorter than it says",
            Event::Bytes(good.split_last().unwrap().1.to_vec()),
            "no header",
        ),
        (
            "of another type",
            Event::Bytes(message(libc::RTM_NEWLINK, 0, 1, &[0; 16])),
            "of another type",
        ),
        (
            "an error without a number",
            Event::Bytes(message(ERROR, 0, 1, &[0; 3])),
            "truncated",
        ),
        (
            "an error with a positive number",
            Event::Bytes(message(ERROR, 0, 1, &verdict(5, &[]))),
            "positive errno",
        ),
        ("none", Event::Fails(libc::EAGAIN), "did not reply"),
    ];
    for (what, event, problem) in cases {
        let said = protocol_error(request([event]));
        assert!(said.contains(problem), "{what}: {said}");
    }
    assert_eq!(
        request([Event::Fails(libc::ENOBUFS)]),
        Err(SysError::from(Errno::ENOBUFS))
    );
}

#[test]
fn a_signal_does_not_lose_the_answer() {
    assert_eq!(request([Event::Fails(libc::EINTR), ack(1)]), Ok(()));
}

#[test]
fn a_late_or_doubled_answer_is_not_taken_for_the_next_one() {
    let events = [
        Event::Fails(libc::EAGAIN),
        ack(1),
        ack(1),
        Event::Bytes(message(ERROR, 0, 2, &verdict(-libc::EPERM, &[]))),
    ];
    let mut netlink = NetlinkSocket::with_transport(Script(events.into()));
    let body = DefaultNla::new(1, Vec::new());
    assert!(netlink.request_ack(libc::RTM_SETLINK, 0, &body).is_err());
    assert_eq!(
        netlink.request_ack(libc::RTM_SETLINK, 0, &body),
        Err(SysError::from(Errno::EPERM)),
        "the first request's success must not pass for the second one's"
    );
}

/// The body of an RTM_NEWLINK: number 7, up, and these attributes.
fn interface(attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0; 16];
    body.splice(4..8, 7u32.to_ne_bytes());
    body.splice(8..12, 1u32.to_ne_bytes());
    body.extend(attributes.concat());
    body
}

fn tap_attributes() -> Vec<Vec<u8>> {
    let data = [
        attribute(1, &1000u32.to_ne_bytes()),
        attribute(3, &[2]),
        attribute(6, &[1]),
        attribute(7, &[1]),
        attribute(999, b"from a later kernel"),
    ]
    .concat();
    let info = [attribute(1, b"tun\0"), attribute(2, &data)].concat();
    let inet6 = attribute(8, &[1]);
    vec![
        attribute(libc::IFLA_IFNAME, b"tap0\0"),
        attribute(libc::IFLA_MTU, &9000u32.to_ne_bytes()),
        attribute(libc::IFLA_ADDRESS, &[0xfe, 1, 2, 3, 4, 5]),
        attribute(libc::IFLA_MASTER, &2u32.to_ne_bytes()),
        attribute(libc::IFLA_CARRIER, &[1]),
        attribute(libc::IFLA_IFALIAS, b"not \xff UTF-8"),
        attribute(libc::IFLA_LINKINFO | 0x8000, &info),
        attribute(libc::IFLA_AF_SPEC, &attribute(10, &inet6)),
    ]
}

#[test]
fn an_interface_is_read_whatever_else_the_kernel_says_of_it() {
    let link = parse_link(&interface(&tap_attributes())).unwrap();
    assert_eq!(link.index, 7);
    assert_eq!(link.name, IfName::new(b"tap0").unwrap());
    assert_eq!(
        (link.mtu, link.master, link.up, link.carrier),
        (9000, Some(2), true, true)
    );
    assert_eq!(link.address.unwrap().to_string(), "fe:01:02:03:04:05");
    assert_eq!(link.addr_gen_mode, Some(AddrGenMode::None));
    let info = TapInfo {
        owner: Some(1000),
        persistent: true,
        multi_queue: true,
        ..TapInfo::default()
    };
    assert_eq!(link.kind, LinkKind::Tap(info));
}

#[test]
fn an_interface_that_is_cut_short_anywhere_is_refused() {
    let whole = interface(&tap_attributes());
    // Cut between two attributes, or in the padding after one, it is a shorter interface and still well formed.
    let mut end = 16;
    let mut ends = Vec::new();
    for attribute in tap_attributes() {
        let unpadded = u16::from_ne_bytes(attribute.first_chunk().copied().unwrap());
        ends.extend(end + usize::from(unpadded)..=end + attribute.len());
        end += attribute.len();
    }
    let mut refused = 0;
    for length in 0..whole.len() {
        let (start, _) = whole.split_at(length);
        match parse_link(start) {
            Err(SysError::Protocol(_)) => refused += 1,
            Ok(_) => assert!(ends.contains(&length), "cut at {length}"),
            Err(other) => assert_eq!(other.to_string(), "", "not a refusal"),
        }
    }
    assert!(refused > whole.len() / 2);
}

fn acked(sequence: u32, then: Vec<Event>) -> NetlinkSocket<Script> {
    NetlinkSocket::with_transport(Script([ack(sequence)].into_iter().chain(then).collect()))
}

/// `IFLA_BRPORT_*` in linux/if_link.h.
const GUARD: u16 = 5;
const LEARNING: u16 = 8;
const LOCKED: u16 = 39;

#[test]
fn a_port_option_that_the_kernel_does_not_know_or_ignores_is_named() {
    // What kernels before 5.18 say of a port.
    let port = |options: &[(u16, u8)]| {
        let data: Vec<u8> = options
            .iter()
            .flat_map(|(kind, on)| attribute(*kind, &[*on]))
            .collect();
        let info = [attribute(4, b"bridge\0"), attribute(5 | 0x8000, &data)].concat();
        interface(&[
            attribute(libc::IFLA_IFNAME, b"tap0\0"),
            attribute(libc::IFLA_LINKINFO | 0x8000, &info),
        ])
    };
    let set = |options: PortOptions, answer: Vec<u8>| {
        let answer = Event::Bytes(message(libc::RTM_NEWLINK, 0, 2, &answer));
        set_port(&mut acked(1, vec![answer]), 7, &options)
    };
    let locked = PortOptions::of_locked_port();
    let all = [(GUARD, 1), (LEARNING, 0), (9, 0)];
    assert_eq!(set(locked, port(&all)), Err(SysError::NotApplied("locked")));
    let off = [&all[..], &[(LOCKED, 0)]].concat();
    assert_eq!(set(locked, port(&off)), Err(SysError::NotApplied("locked")));
    let on = [&all[..], &[(LOCKED, 1)]].concat();
    assert_eq!(set(locked, port(&on)), Ok(()));
    let learns = [(GUARD, 1), (LEARNING, 1), (9, 0), (LOCKED, 1)];
    assert_eq!(
        set(locked, port(&learns)),
        Err(SysError::NotApplied("learning"))
    );
    // What it does not know is off.
    assert_eq!(
        set(locked.inverted(), port(&[(LEARNING, 1), (9, 1)])),
        Ok(())
    );
}

#[test]
fn a_locked_port_with_another_entry_than_its_own_or_without_one_is_an_error() {
    const STATIC: u16 = 0x40;
    const LEARNED: u16 = 2;
    const ITS_OWN: u16 = 0x80;
    const STICKY: u8 = 0x40;
    let mac = |last| MacAddr([0x52, 0x54, 0, 0, 0, last]);
    let entry = |index: u32, last: u8, vid: u16, state: u16| {
        let mut body = vec![7, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([STICKY, 0]);
        body.extend(attribute(libc::NDA_LLADDR, &mac(last).0));
        if vid != 0 {
            body.extend(attribute(libc::NDA_VLAN, &vid.to_ne_bytes()));
        }
        body
    };
    let set = |to: &[FdbEntry], found: &[Vec<u8>]| {
        let requests = u32::from(!to.is_empty());
        let mut events: Vec<Event> = (1..=requests).map(ack).collect();
        let found = found.iter();
        let sequence = requests + 1;
        events
            .extend(found.map(|body| Event::Bytes(message(libc::RTM_NEWNEIGH, 2, sequence, body))));
        events.push(Event::Bytes(message(3, 2, sequence, &[0; 4])));
        let mut netlink = NetlinkSocket::with_transport(Script(events.into()));
        set_static(&mut netlink, 7, &[], to)
    };
    let missing = Err(SysError::NotApplied("all of its fdb entries"));
    let to = [10, 20].map(|vid| FdbEntry {
        mac: mac(1),
        vid,
        sticky: true,
    });
    let [ten, twenty] = [10, 20].map(|vid| entry(7, 1, vid, STATIC));
    let own = entry(7, 9, 10, ITS_OWN);
    let both = [ten.clone(), entry(8, 3, 10, LEARNED), twenty.clone(), own];
    assert_eq!(set(&to, &both), Ok(()));
    assert_eq!(set(&to, std::slice::from_ref(&ten)), missing);
    assert_eq!(set(&to, &[ten.clone(), entry(8, 1, 20, STATIC)]), missing);
    assert_eq!(set(&to, &[ten.clone(), entry(7, 1, 20, LEARNED)]), missing);
    let mut loose = twenty.clone();
    loose[10] = 0;
    assert_eq!(set(&to, &[ten.clone(), loose]), missing);
    for more in [STATIC, LEARNED] {
        let more = entry(7, 2, 10, more);
        assert_eq!(set(&to, &[ten.clone(), twenty.clone(), more]), missing);
    }
    // Without a lock, what is learned is as it should be.
    assert_eq!(set(&[], &[entry(7, 2, 10, LEARNED)]), Ok(()));
    assert_eq!(set(&[], &[ten]), missing);
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_link(&body);
    }

    #[test]
    fn no_damage_to_a_good_interface_makes_the_parser_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut body = interface(&tap_attributes());
        for (position, byte) in changes {
            *position.get_mut(&mut body) = byte;
        }
        let _ = parse_link(&body);
    }

    #[test]
    fn only_an_acknowledgement_of_this_very_request_is_success(
        bytes in proptest::collection::vec(any::<u8>(), 0..80)
    ) {
        prop_assert!(request([Event::Bytes(bytes)]).is_err());
    }

    #[test]
    fn whatever_comes_before_the_acknowledgement_success_is_told_only_by_it(
        late in proptest::collection::vec(1u32..5, 0..6),
        number in 1i32..132,
    ) {
        // The fifth request; answers to the four before it straggle in, in any order.
        let mut events: VecDeque<Event> = (1..5).map(|_| Event::Fails(libc::EAGAIN)).collect();
        events.extend(late.into_iter().map(ack));
        events.push_back(Event::Bytes(message(ERROR, 0, 5, &verdict(-number, &[]))));
        let mut netlink = NetlinkSocket::with_transport(Script(events));
        let body = DefaultNla::new(1, Vec::new());
        for _ in 1..5 {
            prop_assert!(netlink.request_ack(libc::RTM_SETLINK, 0, &body).is_err());
        }
        prop_assert_eq!(
            netlink.request_ack(libc::RTM_SETLINK, 0, &body),
            Err(SysError::from(Errno::from_raw(number)))
        );
    }
}
