//! One request, one answer, over a netlink socket. Knows nothing of what the messages are about.
//!
//! A message is a 16-byte header (length, type, flags, sequence number, port) and a body. The kernel answers a
//! request before `sendto(2)` returns: with an object, or with NLMSG_ERROR, which carries a negative error number, or
//! 0 for "done". With NETLINK_EXT_ACK it may add its reason in words; with NETLINK_CAP_ACK it does not repeat the
//! whole request in the answer. See netlink(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkHeader, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::Cause;

/// The kernel has answered by the time it is asked for the answer, so one that is late this many seconds never comes.
const PATIENCE: i64 = 5;

/// Room for an answer about one interface, which takes 1 to 2 kB.
const ROOM: usize = 8 * 1024;
/// Room for a part of a dump: the kernel fills as much as is asked for, up to this (`netlink_dump()` in
/// net/netlink/af_netlink.c).
const DUMP_ROOM: usize = 32 * 1024;

/// `RTMGRP_LINK` in linux/rtnetlink.h, as a mask of groups.
const LINK_GROUP: u32 = 1;

/// Bytes of a netlink header (`struct nlmsghdr` in linux/netlink.h).
const HEADER: usize = 16;

/// Each message begins at a multiple of this many bytes (`NLMSG_ALIGNTO` in linux/netlink.h).
const ALIGNMENT: usize = 4;

/// The attribute of an error that holds the kernel's words (`NLMSGERR_ATTR_MSG` in linux/netlink.h).
const WORDS: u16 = 1;

/// What carries messages to the kernel and back: a socket, or a test.
pub trait Wire {
    /// Sends one message.
    ///
    /// # Errors
    /// As `sendto(2)`.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Receives one datagram into the spare room of `into`, and returns the length it really had, which is more than
    /// arrived if it was cut, and whether the kernel sent it.
    ///
    /// # Errors
    /// As `recvfrom(2)`; `WouldBlock` when none comes in time.
    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)>;
}

impl Wire for Socket {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let kernel = SocketAddr::new(0, 0);
        self.send_to(message, &kernel, 0).map(|_| ())
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        // MSG_TRUNC: return the real length of a datagram that was cut.
        let (length, from) = self.recv_from(into, libc::MSG_TRUNC)?;
        Ok((length, from.port_number() == 0))
    }
}

/// A conversation with the kernel.
#[derive(Debug)]
pub struct Netlink<W> {
    wire: W,
    sequence: u32,
    answer: Vec<u8>,
}

/// A socket that hears of every change to an interface.
#[derive(Debug)]
pub struct News(Socket);

impl News {
    /// Listens from now on.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen() -> Result<Self, Cause> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        Ok(Self(socket))
    }

    /// Waits until something changed. What it was is not told: it is looked up, which finds the latest state even if
    /// news were lost.
    ///
    /// # Errors
    /// Nothing changed for that long: EAGAIN.
    pub fn wait(&mut self, patience: Duration) -> Result<(), Cause> {
        let micros = i64::try_from(patience.as_micros())
            .unwrap_or(i64::MAX)
            .max(1);
        limit_waiting(&self.0, TimeVal::microseconds(micros))?;
        match self.0.recv(&mut Vec::with_capacity(1), libc::MSG_TRUNC) {
            Ok(_) => Ok(()),
            // A signal, or more news than the socket holds: either way it is time to look.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOBUFS)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn limit_waiting(socket: &Socket, patience: TimeVal) -> Result<(), Cause> {
    // SAFETY: the descriptor is open as long as `socket`, which outlives this borrow.
    let descriptor = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    setsockopt(&descriptor, ReceiveTimeout, &patience)?;
    Ok(())
}

impl Netlink<Socket> {
    /// Opens one about interfaces and addresses.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> Result<Self, Cause> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        limit_waiting(&socket, TimeVal::seconds(PATIENCE))?;
        Ok(Self::over(socket))
    }
}

impl AsRawFd for Netlink<Socket> {
    fn as_raw_fd(&self) -> RawFd {
        self.wire.as_raw_fd()
    }
}

impl<W: Wire> Netlink<W> {
    /// A conversation over any wire.
    pub fn over(wire: W) -> Self {
        Self {
            wire,
            sequence: 0,
            answer: Vec::with_capacity(ROOM),
        }
    }

    /// Asks for one object and returns the body of the answer, which must be of type `expected`.
    ///
    /// # Errors
    /// The kernel's refusal, or an answer that makes no sense.
    pub fn ask(&mut self, kind: u16, body: &impl Emitable, expected: u16) -> Result<&[u8], Cause> {
        self.send(kind, NLM_F_REQUEST, body)?;
        match self.receive()? {
            (header, body) if header.message_type == expected => self
                .answer
                .get(body)
                .ok_or(Cause::Nonsense("the kernel's answer ends early")),
            _ => Err(Cause::Nonsense("the kernel answered something else")),
        }
    }

    /// Tells the kernel to do something and waits until it says that it is done.
    ///
    /// # Errors
    /// The kernel's refusal, or an answer that makes no sense.
    pub fn tell(&mut self, kind: u16, flags: u16, body: &impl Emitable) -> Result<(), Cause> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)?;
        self.acknowledgement()
    }

    fn acknowledgement(&mut self) -> Result<(), Cause> {
        match self.receive()? {
            (header, _) if header.message_type == NLMSG_ERROR => Ok(()),
            _ => Err(Cause::Nonsense("the kernel answered something else")),
        }
    }

    /// Tells the kernel to do several things, one after the other, in one `sendto(2)`: no kill comes between them. The
    /// kernel does not stop at the first one that fails, so the later ones must then be harmless.
    ///
    /// # Errors
    /// The first refusal, or an answer that makes no sense, and to which request, from 0.
    pub fn tell_all<'a>(
        &mut self,
        requests: impl IntoIterator<Item = (u16, u16, &'a dyn Emitable)>,
    ) -> Result<(), (usize, Cause)> {
        let at_first = |cause| (0, cause);
        let before = self.sequence;
        let mut batch = Vec::new();
        for (kind, flags, body) in requests {
            let message = self.message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body);
            batch.extend(message.map_err(at_first)?);
        }
        let last = self.sequence;
        self.wire
            .send(&batch)
            .map_err(|error| at_first(error.into()))?;
        let mut first_refusal = Ok(());
        for (position, sequence) in (before + 1..=last).enumerate() {
            self.sequence = sequence;
            let answer = self.acknowledgement();
            first_refusal = first_refusal.and(answer.map_err(|cause| (position, cause)));
        }
        first_refusal
    }

    /// Asks for all objects of a kind, and shows each body to `see`.
    ///
    /// # Errors
    /// The kernel's refusal, or an answer that makes no sense.
    pub fn ask_all(
        &mut self,
        kind: u16,
        body: &impl Emitable,
        expected: u16,
        mut see: impl FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        self.answer.clear();
        self.answer.reserve(DUMP_ROOM);
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)?;
        loop {
            self.receive_datagram()?;
            // A datagram holds many messages here, the last of all of which says that it is the last.
            let mut rest = self.answer.as_slice();
            while !rest.is_empty() {
                let header = header(rest)?;
                let length = usize::try_from(header.length).map_err(|_| Errno::EMSGSIZE)?;
                let (message, others) = rest
                    .split_at_checked(length.next_multiple_of(ALIGNMENT).min(rest.len()))
                    .ok_or(Cause::Nonsense("the kernel's answer ends early"))?;
                rest = others;
                if header.sequence_number != self.sequence {
                    continue;
                }
                let body = message.get(HEADER..length).unwrap_or_default();
                if header.message_type == NLMSG_DONE {
                    return Ok(());
                }
                if header.message_type == NLMSG_ERROR {
                    return verdict(header.flags, body);
                }
                if header.message_type != expected {
                    return Err(Cause::Nonsense("the kernel answered something else"));
                }
                see(body)?;
            }
        }
    }

    fn send(&mut self, kind: u16, flags: u16, body: &impl Emitable) -> Result<(), Cause> {
        let message = self.message(kind, flags, body)?;
        self.wire.send(&message)?;
        Ok(())
    }

    /// The next request, ready to be sent.
    fn message(&mut self, kind: u16, flags: u16, body: &dyn Emitable) -> Result<Vec<u8>, Cause> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER + body.buffer_len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(length).map_err(|_| Errno::EMSGSIZE)?;
        header.message_type = kind;
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = vec![0; length];
        // emit() panics where there is too little room: there are `length` bytes, of which HEADER come first.
        if let Some((room, rest)) = message.split_at_mut_checked(HEADER) {
            header.emit(room);
            body.emit(rest);
        }
        Ok(message)
    }

    /// Receives the answer to the last request: its header, and where in the buffer its body is. A refusal is an error.
    fn receive(&mut self) -> Result<(NetlinkHeader, std::ops::Range<usize>), Cause> {
        loop {
            self.receive_datagram()?;
            let header = header(&self.answer)?;
            // Serial-number arithmetic: a late answer to an earlier request is no answer to this one.
            let age = self.sequence.wrapping_sub(header.sequence_number);
            if age != 0 && age < self.sequence {
                continue;
            }
            if age != 0 {
                return Err(Cause::Nonsense(
                    "the kernel answered a request that was not made",
                ));
            }
            if usize::try_from(header.length) != Ok(self.answer.len()) {
                return Err(Cause::Nonsense("the kernel's answer is not one message"));
            }
            if header.message_type == NLMSG_ERROR {
                verdict(header.flags, self.answer.get(HEADER..).unwrap_or_default())?;
            }
            return Ok((header, HEADER..self.answer.len()));
        }
    }

    /// Receives what comes next from the kernel, whole.
    fn receive_datagram(&mut self) -> Result<(), Cause> {
        self.answer.clear();
        let (length, from_kernel) = loop {
            match self.wire.receive(&mut self.answer) {
                Ok(received) => break received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Cause::Nonsense("the kernel did not answer in time"));
                }
                Err(error) => return Err(error.into()),
            }
        };
        if length > self.answer.len() {
            return Err(Cause::Nonsense("the kernel's answer is too long"));
        }
        if !from_kernel {
            return Err(Cause::Nonsense("the answer is not the kernel's"));
        }
        Ok(())
    }
}

fn header(message: &[u8]) -> Result<NetlinkHeader, Cause> {
    use netlink_packet_core::{NetlinkBuffer, Parseable};
    NetlinkBuffer::new_checked(message)
        .and_then(|buffer| NetlinkHeader::parse(&buffer))
        .map_err(|_| Cause::Nonsense("the kernel's answer has no header"))
}

/// The body of NLMSG_ERROR: a negative error number or 0, the header of the request, then attributes.
fn verdict(flags: u16, body: &[u8]) -> Result<(), Cause> {
    let (number, rest) = body
        .split_first_chunk::<4>()
        .ok_or(Cause::Nonsense("the kernel's error has no number"))?;
    let number = i32::from_ne_bytes(*number);
    if number == 0 {
        return Ok(());
    }
    if number > 0 {
        return Err(Cause::Nonsense("the kernel's error is none"));
    }
    let attributes = match rest.get(HEADER..) {
        Some(attributes) if flags & NLM_F_ACK_TLVS != 0 => attributes,
        _ => &[],
    };
    let words = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == WORDS)
        .map(|attribute| {
            let words = attribute.value();
            words.strip_suffix(&[0]).unwrap_or(words).to_owned()
        })
        .filter(|words| !words.is_empty());
    Err(Cause::Refused {
        errno: Errno::from_raw(number.saturating_neg()),
        words,
    })
}
