//! Requests and replies over a netlink socket. Knows nothing of what the messages are about.
//!
//! A message is a 16-byte header (length, type, flags, sequence number, port) and a body. The kernel replies to a request
//! before `sendto(2)` returns: with an object, or with NLMSG_ERROR, which carries a negative errno, or 0 for an
//! acknowledgement. With NETLINK_EXT_ACK it may add a message of its own (the ext ACK); with NETLINK_CAP_ACK it does not
//! repeat the whole request in the reply. See netlink(7).

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkHeader,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use crate::sys::error::SysError;
use crate::sys::netlink::attr::{find_attr, get_str};

/// The buffer for a reply about one interface, which takes 1 to 2 KB. A little less than 8 KiB: for more, musl's allocator
/// takes pages for three such buffers from the kernel, not for one.
const RECV_BUFFER_SIZE: usize = 8 * 1024 - 64;
/// The buffer for a part of a dump: the kernel fills as much as is asked for, up to this (`netlink_dump()` in
/// net/netlink/af_netlink.c).
const DUMP_BUFFER_SIZE: usize = 32 * 1024;

/// How often a dump is made at most, where interfaces come and go all the time: then the last one has to do.
const MAX_DUMPS: usize = 10;

/// Bytes of a netlink header (`struct nlmsghdr` in linux/netlink.h).
const NLMSG_HDRLEN: usize = 16;

/// Each message begins at a multiple of this many bytes (linux/netlink.h).
const NLMSG_ALIGNTO: usize = 4;

/// The attribute of an NLMSG_ERROR that holds the message of the ext ACK (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;

const SHORT_REPLY: SysError = SysError::Protocol("the kernel's reply is truncated");
const OTHER_REPLY: SysError = SysError::Protocol("the kernel's reply is of another type");

/// What carries messages to the kernel and back: a socket, or a test.
pub(crate) trait Transport {
    fn send(&mut self, messages: &[u8]) -> io::Result<()>;

    /// Receives one datagram into the spare room of `into`, and returns the length it really had, which is more than
    /// arrived if it was truncated, and whether the kernel sent it.
    ///
    /// # Errors
    /// As `recvfrom(2)`; `WouldBlock` when there is none.
    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)>;
}

impl Transport for Socket {
    fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        let kernel = SocketAddr::new(0, 0);
        self.send_to(messages, &kernel, 0).map(|_| ())
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        // MSG_TRUNC: return the real length of a datagram that was truncated. MSG_DONTWAIT: the kernel has replied before
        // sendto(2) returned, and goes on with a dump in each recvfrom(2), so what is not there now never comes.
        let (length, from) = self.recv_from(into, libc::MSG_TRUNC | libc::MSG_DONTWAIT)?;
        Ok((length, from.port_number() == 0))
    }
}

/// A request of a batch: message type, flags, and body.
pub(crate) type Request<'a> = (u16, u16, &'a dyn Emitable);

/// A netlink socket, or what stands in for one.
#[derive(Debug)]
pub(crate) struct NetlinkSocket<T: ?Sized = dyn Transport> {
    sequence: u32,
    buffer: Vec<u8>,
    transport: T,
}

impl NetlinkSocket<Socket> {
    /// Opens one of NETLINK_ROUTE.
    pub(crate) fn open() -> Result<Self, SysError> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self::with_transport(socket))
    }
}

impl AsRawFd for NetlinkSocket<Socket> {
    fn as_raw_fd(&self) -> RawFd {
        self.transport.as_raw_fd()
    }
}

impl<T> NetlinkSocket<T> {
    /// Requests over any transport.
    pub(crate) fn with_transport(transport: T) -> Self {
        Self {
            sequence: 0,
            buffer: Vec::with_capacity(RECV_BUFFER_SIZE),
            transport,
        }
    }
}

impl<T: Transport + ?Sized> NetlinkSocket<T> {
    /// Requests one object and returns the body of the reply, which must be of type `expected`.
    pub(crate) fn request(
        &mut self,
        kind: u16,
        body: &impl Emitable,
        expected: u16,
    ) -> Result<&[u8], SysError> {
        self.send([(kind, 0, body as &dyn Emitable)])?;
        match self.receive()? {
            (header, body) if header.message_type == expected => {
                self.buffer.get(body).ok_or(SHORT_REPLY)
            }
            _ => Err(OTHER_REPLY),
        }
    }

    /// Requests a change and waits for the acknowledgement.
    pub(crate) fn request_ack(
        &mut self,
        kind: u16,
        flags: u16,
        body: &impl Emitable,
    ) -> Result<(), SysError> {
        self.request_ack_after([], kind, flags, body)
    }

    /// As [`Self::request_ack`], in one `sendto(2)` with best-effort requests first: they are not acknowledged, and errors for
    /// them are skipped like every late reply.
    pub(crate) fn request_ack_after<'a>(
        &mut self,
        before: impl IntoIterator<Item = Request<'a>>,
        kind: u16,
        flags: u16,
        body: &'a impl Emitable,
    ) -> Result<(), SysError> {
        let last: Request<'_> = (kind, NLM_F_ACK | flags, body);
        self.send(before.into_iter().chain([last]))?;
        self.recv_ack()
    }

    fn recv_ack(&mut self) -> Result<(), SysError> {
        match self.receive()? {
            (header, _) if header.message_type == NLMSG_ERROR => Ok(()),
            _ => Err(OTHER_REPLY),
        }
    }

    /// Requests several changes, one after the other, in one `sendto(2)`: a kill cannot leave only some of
    /// them done. The kernel does not stop at the first one that fails, so the later ones must then be harmless.
    ///
    /// # Errors
    /// The position of the first request that was refused, from 0, and its error.
    pub(crate) fn request_batch<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
    ) -> Result<(), (usize, SysError)> {
        let before = self.sequence;
        let requests = requests.into_iter();
        let requests = requests.map(|(kind, flags, body)| (kind, NLM_F_ACK | flags, body));
        self.send(requests).map_err(|error| (0, error))?;
        let last = self.sequence;
        let mut first_refusal = Ok(());
        for (position, sequence) in (before + 1..=last).enumerate() {
            self.sequence = sequence;
            let ack = self.recv_ack();
            first_refusal = first_refusal.and(ack.map_err(|error| (position, error)));
        }
        first_refusal
    }

    /// Requests all objects of a kind, and returns what `parse` makes of the body of each.
    ///
    /// # Errors
    /// The kernel's refusal, a malformed reply, or the first error of `parse`.
    pub(crate) fn dump<O>(
        &mut self,
        kind: u16,
        body: &impl Emitable,
        expected: u16,
        parse: impl Fn(&[u8]) -> Result<O, SysError>,
    ) -> Result<Vec<O>, SysError> {
        let mut objects: Vec<Result<O, SysError>> = Vec::new();
        for _attempt in 0..MAX_DUMPS {
            objects.clear();
            self.buffer.clear();
            self.buffer.reserve(DUMP_BUFFER_SIZE);
            self.send([(kind, NLM_F_DUMP, body as &dyn Emitable)])?;
            // Whatever is wrong with one, the dump is read to its end: no other could begin before.
            let mut each = |body: &[u8]| objects.push(parse(body));
            if self.receive_dump(expected, &mut each)? {
                break;
            }
        }
        objects.into_iter().collect()
    }

    /// Receives a dump: whether no object came or went meanwhile (NLM_F_DUMP_INTR), so that none is missing.
    fn receive_dump(
        &mut self,
        expected: u16,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, SysError> {
        let mut is_whole = true;
        loop {
            self.receive_datagram()?;
            // A datagram holds many messages here; the last of all is NLMSG_DONE.
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let header = parse_header(rest)?;
                let length = usize::try_from(header.length).map_err(|_| Errno::EMSGSIZE)?;
                let (message, others) = rest
                    .split_at_checked(length.next_multiple_of(NLMSG_ALIGNTO).min(rest.len()))
                    .ok_or(SHORT_REPLY)?;
                rest = others;
                if header.sequence_number != self.sequence {
                    continue;
                }
                is_whole &= header.flags & NLM_F_DUMP_INTR == 0;
                let body = message.get(NLMSG_HDRLEN..length).unwrap_or_default();
                match header.message_type {
                    NLMSG_DONE => return Ok(is_whole),
                    NLMSG_ERROR => return parse_nlmsgerr(header.flags, body).map(|()| is_whole),
                    kind if kind == expected => each(body),
                    _ => return Err(OTHER_REPLY),
                }
            }
        }
    }

    /// Sends requests, together.
    fn send<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
    ) -> Result<(), SysError> {
        let mut messages = Vec::with_capacity(256);
        for (kind, flags, body) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let length = NLMSG_HDRLEN + body.buffer_len();
            let mut header = NetlinkHeader::default();
            header.length = u32::try_from(length).map_err(|_| Errno::EMSGSIZE)?;
            header.message_type = kind;
            header.flags = NLM_F_REQUEST | flags;
            header.sequence_number = self.sequence;
            let start = messages.len();
            messages.resize(start + length, 0);
            // emit() panics where there is too little room: there are `length` bytes, of which NLMSG_HDRLEN come first.
            let message = messages.get_mut(start..).unwrap_or_default();
            if let Some((room, rest)) = message.split_at_mut_checked(NLMSG_HDRLEN) {
                header.emit(room);
                body.emit(rest);
            }
        }
        self.transport.send(&messages)?;
        Ok(())
    }

    /// Receives the reply to the last request: its header, and where in the buffer its body is. A refusal is an error.
    fn receive(&mut self) -> Result<(NetlinkHeader, Range<usize>), SysError> {
        loop {
            self.receive_datagram()?;
            let header = parse_header(&self.buffer)?;
            // Serial-number arithmetic: a late reply to an earlier request is no reply to this one.
            let age = self.sequence.wrapping_sub(header.sequence_number);
            if age != 0 && age < self.sequence {
                continue;
            }
            if age != 0 {
                return Err(SysError::Protocol(
                    "the kernel replied to a request that was not sent",
                ));
            }
            if usize::try_from(header.length) != Ok(self.buffer.len()) {
                return Err(SysError::Protocol("the kernel's reply is not one message"));
            }
            if header.message_type == NLMSG_ERROR {
                let body = self.buffer.get(NLMSG_HDRLEN..).unwrap_or_default();
                parse_nlmsgerr(header.flags, body)?;
            }
            return Ok((header, NLMSG_HDRLEN..self.buffer.len()));
        }
    }

    /// Receives the next datagram from the kernel, whole.
    fn receive_datagram(&mut self) -> Result<(), SysError> {
        self.buffer.clear();
        let (length, from_kernel) = loop {
            match self.transport.receive(&mut self.buffer) {
                Ok(received) => break received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(SysError::Protocol("the kernel did not reply"));
                }
                Err(error) => return Err(error.into()),
            }
        };
        if length > self.buffer.len() {
            return Err(SysError::Protocol("the kernel's reply is too long"));
        }
        if !from_kernel {
            return Err(SysError::Protocol("the reply is not the kernel's"));
        }
        Ok(())
    }
}

fn parse_header(message: &[u8]) -> Result<NetlinkHeader, SysError> {
    use netlink_packet_core::{NetlinkBuffer, Parseable};
    NetlinkBuffer::new_checked(message)
        .and_then(|buffer| NetlinkHeader::parse(&buffer))
        .map_err(|_| SysError::Protocol("the kernel's reply has no header"))
}

/// The body of NLMSG_ERROR (`struct nlmsgerr` in linux/netlink.h): a negative errno or 0, the header of the request, then
/// attributes.
fn parse_nlmsgerr(flags: u16, body: &[u8]) -> Result<(), SysError> {
    let (number, rest) = body.split_first_chunk::<4>().ok_or(SHORT_REPLY)?;
    let number = i32::from_ne_bytes(*number);
    if number == 0 {
        return Ok(());
    }
    if number > 0 {
        return Err(SysError::Protocol(
            "the kernel's reply has a positive errno",
        ));
    }
    let attributes = match rest.get(NLMSG_HDRLEN..) {
        Some(attributes) if flags & NLM_F_ACK_TLVS != 0 => attributes,
        _ => &[],
    };
    let text = find_attr(attributes, NLMSGERR_ATTR_MSG).unwrap_or_default();
    let text = text.map(get_str).filter(|text| !text.is_empty());
    Err(SysError::Errno {
        errno: Errno::from_raw(number.saturating_neg()),
        ext_ack: text.map(<[u8]>::to_owned),
    })
}
