//! The kernel's own messages about taps, from a sandbox's first moment on: it tells of every change, however short.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};
use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};

/// Whose doing the messages are that have not been read yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Us,
    Nobody,
}

/// Listens to RTMGRP_LINK, and notes each tap that comes to be up while it is a port of no bridge.
pub struct Watch {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Those that are so now, by ifindex: told again, for whatever reason, it is nothing new.
    up_alone: HashSet<u32>,
    excused: HashSet<String>,
    offences: Vec<String>,
}

/// Some ten thousand messages; the memory is taken only as they come.
const ROOM: usize = 64 << 20;

impl Watch {
    /// In the network of the calling thread.
    pub fn start() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).unwrap();
        let groups = libc::RTMGRP_LINK.cast_unsigned();
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).unwrap();
        Self {
            socket,
            buffer: vec![0; 1 << 16],
            up_alone: HashSet::new(),
            excused: HashSet::new(),
            offences: Vec::new(),
        }
    }

    pub fn excuse(&mut self, tap: &str) {
        self.excused.insert(tap.to_owned());
    }

    /// Reads all that has come.
    pub fn read(&mut self, blame: Blame) {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(size) => {
                    let changes: Vec<LinkMessage> = messages(&self.buffer[..size])
                        .filter_map(LinkMessage::of)
                        .collect();
                    changes.iter().for_each(|change| self.note(change, blame));
                }
                Err(Errno::EAGAIN) => return,
                // Not "nothing was wrong".
                Err(Errno::ENOBUFS) => self.offences.push("the kernel dropped messages".to_owned()),
                Err(Errno::EINTR) => {}
                Err(e) => panic!("cannot read the messages about interfaces: {e}"),
            }
        }
    }

    fn note(&mut self, change: &LinkMessage, blame: Blame) {
        if !change.is_up_alone {
            self.up_alone.remove(&change.index);
        } else if self.up_alone.insert(change.index)
            && blame == Blame::Us
            && !self.excused.contains(&change.name)
        {
            self.offences
                .push(format!("{} came up in no bridge", change.name));
        }
    }

    pub fn assert_good(&self) {
        let (all, some) = (self.offences.len(), self.offences.iter().take(5));
        let some: Vec<_> = some.collect();
        assert!(all == 0, "{all} times not as promised: {some:?}");
    }
}

/// What one message says of a tap.
struct LinkMessage {
    index: u32,
    name: String,
    is_up_alone: bool,
}

/// `struct nlmsghdr` in linux/netlink.h and `struct ifinfomsg` in linux/rtnetlink.h.
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
/// `IFLA_INFO_KIND` and `IFLA_INFO_DATA` in linux/if_link.h, and `IFLA_TUN_TYPE` with its value for a tap.
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const TUN_TYPE: u16 = 3;
const TAP: u8 = 2;

impl LinkMessage {
    /// None where it is about something else.
    fn of(message: &[u8]) -> Option<Self> {
        let kind = u16::from_ne_bytes(message[4..6].try_into().unwrap());
        let (body, attributes) = message[HEADER..].split_at_checked(IFINFOMSG)?;
        let word = |at: usize| u32::from_ne_bytes(body[at..at + 4].try_into().unwrap());
        let find = |wanted| find_in(attributes, wanted);
        let info = find(libc::IFLA_LINKINFO)?;
        let data = find_in(info, INFO_DATA)?;
        let is_tap =
            find_in(info, INFO_KIND)?.starts_with(b"tun\0") && find_in(data, TUN_TYPE)? == [TAP];
        // A bridge tells of its ports as well, as another family.
        if body[0] != 0 || !is_tap {
            return None;
        }
        let name = find(libc::IFLA_IFNAME)?.strip_suffix(&[0])?;
        let is_up = word(8) & libc::IFF_UP.cast_unsigned() != 0;
        Some(Self {
            index: word(4),
            name: String::from_utf8_lossy(name).into_owned(),
            is_up_alone: kind == libc::RTM_NEWLINK && is_up && find(libc::IFLA_MASTER).is_none(),
        })
    }
}

/// The messages in what was received at once, each with its header. Their length is their first four bytes.
fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(bytes, |head| {
        usize::try_from(u32::from_ne_bytes(*head.first_chunk()?)).ok()
    })
    .filter(|message| message.len() >= HEADER)
}

/// The value of the first attribute of that kind. Their length is their first two bytes, their kind the next two.
fn find_in(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = parts(bytes, |head| {
        Some(u16::from_ne_bytes(*head.first_chunk()?).into())
    });
    let all = all.find(|part| part.get(2..4) == Some(&wanted.to_ne_bytes()));
    all.map(|part| &part[4..])
}

/// Cuts bytes into parts, each of which says how long it is and begins at a multiple of four.
fn parts(mut rest: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let part = rest.get(..length(rest)?).filter(|part| part.len() >= 4)?;
        rest = rest
            .get(part.len().next_multiple_of(4)..)
            .unwrap_or_default();
        Some(part)
    })
}
