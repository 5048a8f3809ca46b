//! Dumps: all interfaces, all addresses.

use super::{Event, Script, message};
use crate::sys::error::SysError;
use crate::sys::netlink::socket::NetlinkSocket;
use netlink_packet_core::DefaultNla;
use nix::errno::Errno;

/// A dump of two parts, of which one is marked as interrupted.
fn interrupted_dump(sequence: u32, body: u8) -> [Event; 2] {
    const DONE: u16 = 3;
    const DUMP_INTR: u16 = 0x10;
    [
        Event::Bytes(message(
            libc::RTM_NEWLINK,
            0x2 | DUMP_INTR,
            sequence,
            &[body; 4],
        )),
        Event::Bytes(message(DONE, 0x2, sequence, &[0; 4])),
    ]
}

fn dump<O>(
    events: impl IntoIterator<Item = Event>,
    parse: impl Fn(&[u8]) -> Result<O, SysError>,
) -> Result<Vec<O>, SysError> {
    let mut netlink = NetlinkSocket::with_transport(Script(events.into_iter().collect()));
    let body = DefaultNla::new(1, vec![0; 4]);
    netlink.dump(libc::RTM_GETLINK, &body, libc::RTM_NEWLINK, parse)
}

fn bodies(events: impl IntoIterator<Item = Event>) -> Result<Vec<Vec<u8>>, SysError> {
    dump(events, |body| Ok(body.to_owned()))
}

#[test]
fn a_dump_that_was_interrupted_is_made_again_and_what_it_said_is_forgotten() {
    let whole = [
        Event::Bytes(message(libc::RTM_NEWLINK, 0x2, 3, &[3; 4])),
        Event::Bytes(message(3, 0x2, 3, &[0; 4])),
    ];
    let events = interrupted_dump(1, 1).into_iter();
    let events = events.chain(interrupted_dump(2, 2)).chain(whole);
    assert_eq!(bodies(events), Ok(vec![vec![3; 4]]));
    // Where that never ends, the last one has to do.
    let endless = (1..=20).flat_map(|n| interrupted_dump(n, u8::try_from(n).unwrap()));
    assert_eq!(bodies(endless), Ok(vec![vec![10; 4]]));
}

#[test]
fn a_dump_is_read_to_its_end_whatever_is_wrong_with_an_object() {
    const WRONG: SysError = SysError::Protocol("wrong");
    let try_dump = |last: Vec<u8>| {
        let object = Event::Bytes(message(libc::RTM_NEWLINK, 0x2, 1, &[0; 4]));
        dump([object, Event::Bytes(last)], |_| Err::<(), _>(WRONG))
    };
    assert_eq!(try_dump(message(3, 0x2, 1, &[0; 4])), Err(WRONG));
    // NLMSG_ERROR with EPERM, which it only sees if it reads on.
    let refusal = [&(-1_i32).to_ne_bytes()[..], &[0; 16]].concat();
    assert_eq!(
        try_dump(message(2, 0, 1, &refusal)),
        Err(Errno::EPERM.into())
    );
}
