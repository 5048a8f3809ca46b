//! The test's own rtnetlink and tun ioctls, written apart from those of the programs: what is wrong there must not be wrong
//! here in the same way. No process is started for any of it, since thousands of runs are to be set up and looked at.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The tun driver's and the interface calls that adversaries and the set-up make.
mod ioctl {
    nix::ioctl_write_ptr_bad!(tunsetiff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_read_bad!(tungetiff, libc::TUNGETIFF, libc::ifreq);
    nix::ioctl_write_ptr_bad!(tunsetqueue, libc::TUNSETQUEUE, libc::ifreq);
    nix::ioctl_write_ptr_bad!(tunsetcarrier, libc::TUNSETCARRIER, libc::c_int);
    nix::ioctl_write_int_bad!(tunsetpersist, libc::TUNSETPERSIST);
    nix::ioctl_write_int_bad!(tunsetowner, libc::TUNSETOWNER);
    nix::ioctl_write_ptr_bad!(siocsifhwaddr, libc::SIOCSIFHWADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(siocsifname, libc::SIOCSIFNAME, libc::ifreq);
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is a C structure of integers, pointers and unions of them; all zero bytes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len(), "{name}");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request
}

/// Opens a tap as the calling thread's user: creates it where there is none, joins it with IFF_MULTI_QUEUE in the flags.
pub fn open_tap(name: &str, multi_queue: bool) -> io::Result<File> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let queues = if multi_queue {
        libc::IFF_MULTI_QUEUE
    } else {
        0
    };
    let mut request = request(name);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | queues;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap();
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    unsafe { ioctl::tunsetiff(tun.as_raw_fd(), &raw const request) }?;
    Ok(tun)
}

/// The name of the tap that a descriptor has open; an error where it has none (any more).
pub fn name_behind(tap: &impl AsRawFd) -> io::Result<String> {
    let mut request = request("");
    // SAFETY: TUNGETIFF writes one ifreq, which `request` is.
    unsafe { ioctl::tungetiff(tap.as_raw_fd(), &raw mut request) }?;
    let bytes = request.ifr_name.iter().map(|c| c.to_ne_bytes()[0]);
    let name: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
    Ok(String::from_utf8(name).unwrap())
}

pub fn set_owner(tap: &impl AsRawFd, uid: u32) -> io::Result<()> {
    // SAFETY: TUNSETOWNER takes a number and touches no memory.
    unsafe { ioctl::tunsetowner(tap.as_raw_fd(), uid.cast_signed()) }?;
    Ok(())
}

pub fn set_persistent(tap: &impl AsRawFd, persistent: bool) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes a number and touches no memory.
    unsafe { ioctl::tunsetpersist(tap.as_raw_fd(), libc::c_int::from(persistent)) }?;
    Ok(())
}

pub fn set_carrier(tap: &impl AsRawFd, on: bool) -> io::Result<()> {
    let on = libc::c_int::from(on);
    // SAFETY: TUNSETCARRIER reads one int, which `on` is.
    unsafe { ioctl::tunsetcarrier(tap.as_raw_fd(), &raw const on) }?;
    Ok(())
}

/// Gives the tap behind the descriptor another MAC; no name is needed for that.
pub fn set_mac_behind(tap: &impl AsRawFd, mac: [u8; 6]) -> io::Result<()> {
    let mut request = request("");
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in address.sa_data.iter_mut().zip(mac) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: SIOCSIFHWADDR reads one ifreq, which `request` is.
    unsafe { ioctl::siocsifhwaddr(tap.as_raw_fd(), &raw const request) }?;
    Ok(())
}

pub fn detach_queue(tap: &impl AsRawFd) -> io::Result<()> {
    let mut request = request("");
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_DETACH_QUEUE).unwrap();
    // SAFETY: TUNSETQUEUE reads one ifreq, which `request` is.
    unsafe { ioctl::tunsetqueue(tap.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Renames an interface by ioctl, with the rights of the calling thread.
pub fn rename(old: &str, new: &str) -> io::Result<()> {
    let any = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let mut request = request(old);
    request.ifr_ifru.ifru_newname = self::request(new).ifr_name;
    // SAFETY: SIOCSIFNAME reads one ifreq, which `request` is.
    unsafe { ioctl::siocsifname(any.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// What only a tap has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tun {
    pub owner: Option<u32>,
    pub persistent: bool,
    pub multi_queue: bool,
}

/// An interface as the kernel describes it, in an answer or by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: String,
    pub up: bool,
    pub master: Option<u32>,
    pub mtu: u32,
    pub mac: Vec<u8>,
    pub tun: Option<Tun>,
    /// How it makes link-local addresses: 1 is not at all (`IN6_ADDR_GEN_MODE_NONE`).
    pub addr_gen_mode: Option<u8>,
    pub isolated: bool,
    pub locked: bool,
    pub guard: bool,
    /// These two are on in a new port.
    pub learning: bool,
    pub flood: bool,
}

/// What is to become of an interface, in one RTM_SETLINK.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    pub mac: Option<[u8; 6]>,
    pub up: Option<bool>,
    pub master: Option<u32>,
    pub no_addresses: bool,
}

const RTM_NEWLINK: u16 = libc::RTM_NEWLINK;
const AF_INET6: u16 = 10;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFLA_BRPORT_GUARD: u16 = 5;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;
/// Of a tap's IFLA_INFO_DATA (linux/if_link.h).
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;

/// A socket to ask rtnetlink by, or to listen to what it announces.
pub struct Rtnetlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Rtnetlink {
    /// To ask.
    pub fn new() -> Self {
        Self::of_groups(0)
    }

    /// To be told of every change of an interface (RTMGRP_LINK).
    pub fn listener() -> Self {
        Self::of_groups(u32::try_from(libc::RTMGRP_LINK).unwrap())
    }

    fn of_groups(groups: u32) -> Self {
        let protocol = SockProtocol::NetlinkRoute;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).unwrap();
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).unwrap();
        Self {
            socket,
            sequence: 0,
        }
    }

    /// What has been announced since this was asked last: interfaces that are new or have changed.
    pub fn announced(&self) -> Vec<Link> {
        let mut links = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => links.extend(
                    messages(&buffer[..length])
                        .filter(|(kind, _)| *kind == RTM_NEWLINK)
                        .filter_map(|(_, body)| Link::parse(body)),
                ),
                Err(Errno::EAGAIN) => return links,
                Err(e) => panic!("announcements are lost: {e}"),
            }
        }
    }

    /// All interfaces.
    pub fn links(&mut self) -> Vec<Link> {
        let answer = self.dump(libc::RTM_GETLINK, &[0; 16]);
        answer.iter().filter_map(|body| Link::parse(body)).collect()
    }

    /// The interface of this name.
    pub fn link(&mut self, name: &str) -> Option<Link> {
        let mut body = header(0, None);
        attribute(
            &mut body,
            libc::IFLA_IFNAME,
            &[name.as_bytes(), b"\0"].concat(),
        );
        self.send(libc::RTM_GETLINK, libc::NLM_F_REQUEST, &body);
        let mut buffer = [0; 8192];
        let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        let mut answer = messages(&buffer[..length]);
        let link = answer.find(|(kind, _)| *kind == RTM_NEWLINK);
        link.and_then(|(_, body)| Link::parse(body))
    }

    /// The bodies of all messages that answer a question.
    pub(super) fn dump(&mut self, kind: u16, question: &[u8]) -> Vec<Vec<u8>> {
        // The kernel says so where something changed while it listed them (NLM_F_DUMP_INTR): then once more.
        loop {
            let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
            self.send(kind, flags, question);
            let mut bodies = Vec::new();
            let mut interrupted = false;
            let mut buffer = vec![0; 1 << 16];
            'answer: loop {
                let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
                let answer = &buffer[..length];
                interrupted |= u16_at(answer, 6) & 0x10 != 0;
                for (kind, body) in messages(answer) {
                    if libc::c_int::from(kind) == libc::NLMSG_DONE {
                        break 'answer;
                    }
                    bodies.push(body.to_vec());
                }
            }
            if !interrupted {
                return bodies;
            }
        }
    }

    pub fn change(&mut self, index: u32, change: Change) -> io::Result<()> {
        let mut body = header(index, change.up);
        if let Some(mac) = change.mac {
            attribute(&mut body, libc::IFLA_ADDRESS, &mac);
        }
        if let Some(master) = change.master {
            attribute(&mut body, libc::IFLA_MASTER, &master.to_ne_bytes());
        }
        if change.no_addresses {
            let (mut mode, mut inet6) = (Vec::new(), Vec::new());
            attribute(&mut mode, IFLA_INET6_ADDR_GEN_MODE, &[1]);
            attribute(&mut inet6, AF_INET6, &mode);
            attribute(&mut body, libc::IFLA_AF_SPEC, &inet6);
        }
        self.ask(libc::RTM_SETLINK, 0, &body)
    }

    pub fn delete(&mut self, index: u32) -> io::Result<()> {
        self.ask(libc::RTM_DELLINK, 0, &header(index, None))
    }

    /// Creates a bridge of this name and ifindex.
    pub fn make_bridge(&mut self, name: &str, index: u32) -> io::Result<()> {
        let mut body = header(index, None);
        let mut kind = Vec::new();
        attribute(&mut kind, libc::IFLA_INFO_KIND, b"bridge");
        attribute(&mut body, libc::IFLA_LINKINFO, &kind);
        attribute(
            &mut body,
            libc::IFLA_IFNAME,
            &[name.as_bytes(), b"\0"].concat(),
        );
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.ask(libc::RTM_NEWLINK, flags, &body)
    }

    fn ask(&mut self, kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<()> {
        self.send(kind, libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags, body);
        let mut buffer = [0; 4096];
        let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let error = i32::from_ne_bytes(buffer[16..length][..4].try_into().unwrap());
        if error == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(-error))
        }
    }

    fn send(&mut self, kind: u16, flags: libc::c_int, body: &[u8]) {
        self.sequence += 1;
        let mut message = u32::try_from(16 + body.len())
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(u16::try_from(flags).unwrap().to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
    }
}

/// An ifinfomsg.
fn header(index: u32, up: Option<bool>) -> Vec<u8> {
    let is_up = libc::IFF_UP.cast_unsigned();
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend((if up == Some(true) { is_up } else { 0 }).to_ne_bytes());
    body.extend((if up.is_some() { is_up } else { 0 }).to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The type and body of each message.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 16 {
            return None;
        }
        let length = usize::try_from(u32_at(bytes, 0)).unwrap();
        let (message, kind) = (&bytes[16..length], u16_at(bytes, 4));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, message))
    })
}

/// The type and value of each attribute.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let length = usize::from(u16_at(bytes, 0));
        // The two topmost bits say that it is nested, or big-endian.
        let (value, kind) = (&bytes[4..length], u16_at(bytes, 2) & 0x3fff);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn text(value: &[u8]) -> String {
    let text = value.split(|&byte| byte == 0).next().unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}

impl Link {
    /// None for what a bridge says of its ports in messages of the same type (AF_BRIDGE), which lack most of it.
    fn parse(body: &[u8]) -> Option<Self> {
        if body[0] != 0 {
            return None;
        }
        let mut link = Self {
            index: u32_at(body, 4),
            up: u32_at(body, 8) & libc::IFF_UP.cast_unsigned() != 0,
            ..Self::default()
        };
        for (kind, value) in attributes(&body[16..]) {
            match kind {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_ADDRESS => link.mac = value.to_vec(),
                libc::IFLA_MTU => link.mtu = u32_at(value, 0),
                libc::IFLA_MASTER => link.master = Some(u32_at(value, 0)),
                libc::IFLA_LINKINFO => link.take_info(value),
                libc::IFLA_AF_SPEC => {
                    let inet6 = attributes(value).find(|(family, _)| *family == AF_INET6);
                    link.addr_gen_mode = inet6
                        .into_iter()
                        .flat_map(|(_, value)| attributes(value))
                        .find(|(kind, _)| *kind == IFLA_INET6_ADDR_GEN_MODE)
                        .map(|(_, mode)| mode[0]);
                }
                _ => {}
            }
        }
        Some(link)
    }

    fn take_info(&mut self, info: &[u8]) {
        for (kind, value) in attributes(info) {
            match kind {
                libc::IFLA_INFO_KIND => self.kind = text(value),
                libc::IFLA_INFO_DATA if self.kind == "tun" => {
                    let of = |wanted| attributes(value).find(|(kind, _)| *kind == wanted);
                    let is_set = |wanted| of(wanted).is_some_and(|(_, value)| value[0] != 0);
                    self.tun = Some(Tun {
                        owner: of(IFLA_TUN_OWNER).map(|(_, value)| u32_at(value, 0)),
                        persistent: is_set(IFLA_TUN_PERSIST),
                        multi_queue: is_set(IFLA_TUN_MULTI_QUEUE),
                    });
                }
                libc::IFLA_INFO_SLAVE_DATA => {
                    let of = |wanted| attributes(value).find(|(kind, _)| *kind == wanted);
                    let is_set = |wanted| of(wanted).is_some_and(|(_, value)| value[0] != 0);
                    self.isolated = is_set(IFLA_BRPORT_ISOLATED);
                    self.locked = is_set(IFLA_BRPORT_LOCKED);
                    self.guard = is_set(IFLA_BRPORT_GUARD);
                    self.learning = is_set(IFLA_BRPORT_LEARNING);
                    self.flood = is_set(IFLA_BRPORT_UNICAST_FLOOD);
                }
                _ => {}
            }
        }
    }
}
