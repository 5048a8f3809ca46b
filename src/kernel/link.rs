//! Interfaces in netlink's terms: what is asked and told of them, and how the answer is read.
//!
//! An answer is walked, and only what is needed is taken: netlink-packet-route's own parse of an interface is all or
//! nothing, and would fail on, say, a bridge whose alias is not UTF-8.

use netlink_packet_core::{DefaultNla, NlaBuffer};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use nix::errno::Errno;

use crate::error::Cause;
use crate::facts::{AddrGenMode, IfIndex, Kind, Link, Mac, PortInfo, TapInfo};
use crate::kernel::attribute::{
    Message, attributes, byte, bytes, find, flag, nest, number, text, word,
};
use crate::kernel::bridge;
use crate::kernel::netlink::{Netlink, Wire};
use crate::name::IfName;
use crate::step::LinkChange;

/// What is inside `IFLA_INFO_DATA` of a tun or tap (`IFLA_TUN_*` in linux/if_link.h).
mod tun {
    pub(super) const OWNER: u16 = 1;
    pub(super) const GROUP: u16 = 2;
    pub(super) const TYPE: u16 = 3;
    pub(super) const PI: u16 = 4;
    pub(super) const VNET_HDR: u16 = 5;
    pub(super) const PERSIST: u16 = 6;
    pub(super) const MULTI_QUEUE: u16 = 7;
    pub(super) const NUM_QUEUES: u16 = 8;
    pub(super) const NUM_DISABLED_QUEUES: u16 = 9;
    /// The TYPE of a tap (`IFF_TAP` in linux/if_tun.h).
    pub(super) const TAP: u8 = 2;
}

/// How link-local addresses are made, inside `IFLA_AF_SPEC`, `AF_INET6`: a byte, `IN6_ADDR_GEN_MODE_*`
/// (linux/if_link.h).
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;

/// The attribute of an address family has the family's number for its type (linux/socket.h).
const AF_INET6: u16 = 10;

/// Bytes of `struct ifinfomsg` (linux/rtnetlink.h), which stands before the attributes.
pub const IFINFOMSG: usize = 16;

/// Looks an interface up by name.
///
/// # Errors
/// ENODEV if there is none of that name.
pub fn by_name<W: Wire>(netlink: &mut Netlink<W>, name: IfName) -> Result<Link, Cause> {
    let mut named = message(0);
    named.attributes = vec![text(libc::IFLA_IFNAME, name.as_bytes())];
    let link = get(netlink, &named)?;
    // The kernel also finds alternative names; acting on those would be acting on another interface.
    if link.name == name {
        Ok(link)
    } else {
        Err(Errno::ENODEV.into())
    }
}

/// Looks an interface up by number.
///
/// # Errors
/// ENODEV if there is none of that number.
pub fn by_index<W: Wire>(netlink: &mut Netlink<W>, index: IfIndex) -> Result<Link, Cause> {
    get(netlink, &message(index))
}

/// What a look-up found, where finding nothing is an answer and not an error.
///
/// # Errors
/// Any other than ENODEV.
pub fn if_there(found: Result<Link, Cause>) -> Result<Option<Link>, Cause> {
    match found {
        Ok(link) => Ok(Some(link)),
        Err(cause) if cause.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Nothing is filtered: RTEXT_FILTER_SKIP_STATS would on older kernels leave out addrgenmode with the statistics.
fn get<W: Wire>(netlink: &mut Netlink<W>, which: &Message<LinkHeader>) -> Result<Link, Cause> {
    parse(netlink.ask(libc::RTM_GETLINK, which, libc::RTM_NEWLINK)?)
}

/// Changes an interface.
///
/// # Errors
/// The kernel's refusal. Part of the change may have been made.
pub fn change<W: Wire>(
    netlink: &mut Netlink<W>,
    index: IfIndex,
    change: &LinkChange,
) -> Result<(), Cause> {
    let mut message = message(index);
    if change.takes_down() {
        message.header.change_mask = LinkFlags::Up;
    }
    let attributes = [
        change.address.map(|mac| bytes(libc::IFLA_ADDRESS, &mac.0)),
        change.mtu.map(|mtu| word(libc::IFLA_MTU, mtu)),
        change
            .master
            .map(|master| word(libc::IFLA_MASTER, master.map_or(0, |link| link.index))),
        change.addr_gen_mode.map(|mode| {
            let mode = bytes(IFLA_INET6_ADDR_GEN_MODE, &[mode_number(mode)]);
            nest(libc::IFLA_AF_SPEC, &[nest(AF_INET6, &[mode])])
        }),
    ];
    message.attributes = attributes.into_iter().flatten().collect();
    netlink.tell(libc::RTM_SETLINK, 0, &message)
}

/// Changes a port of a bridge, and brings it up if that is wanted. What is no port of anything is refused, and not brought
/// up: the kernel looks for the master of what has data for it before it looks at the flags (`rtnl_changelink()` in
/// net/core/rtnetlink.c). In RTM_SETLINK the data would be ignored.
///
/// # Errors
/// EOPNOTSUPP if it is no port; the kernel's refusal.
pub fn change_port<W: Wire>(
    netlink: &mut Netlink<W>,
    index: IfIndex,
    data: &[DefaultNla],
    up: bool,
) -> Result<(), Cause> {
    let info = [
        text(libc::IFLA_INFO_SLAVE_KIND, b"bridge"),
        nest(libc::IFLA_INFO_SLAVE_DATA, data),
    ];
    let mut port = message(index);
    port.attributes = vec![nest(libc::IFLA_LINKINFO, &info)];
    if up {
        port.header.change_mask = LinkFlags::Up;
        port.header.flags = LinkFlags::Up;
    }
    netlink.tell(libc::RTM_NEWLINK, 0, &port)
}

/// Removes an interface.
///
/// # Errors
/// The kernel's refusal.
pub fn delete<W: Wire>(netlink: &mut Netlink<W>, index: IfIndex) -> Result<(), Cause> {
    netlink.tell(libc::RTM_DELLINK, 0, &message(index))
}

/// Shows all interfaces.
///
/// # Errors
/// The kernel does not say.
pub fn each<W: Wire>(netlink: &mut Netlink<W>, mut see: impl FnMut(Link)) -> Result<(), Cause> {
    netlink.ask_all(libc::RTM_GETLINK, &message(0), libc::RTM_NEWLINK, |body| {
        see(parse(body)?);
        Ok(())
    })
}

/// An empty message about an interface; 0 is none in particular.
pub fn message(index: IfIndex) -> Message<LinkHeader> {
    Message {
        header: LinkHeader {
            index,
            ..LinkHeader::default()
        },
        attributes: Vec::new(),
    }
}

/// Reads the body of an RTM_NEWLINK.
///
/// # Errors
/// It is cut short, or has no name.
pub fn parse(body: &[u8]) -> Result<Link, Cause> {
    let header = LinkHeader::parse(body)
        .map_err(|_| Cause::Nonsense("the kernel's answer is not an interface"))?;
    let mut link = Unfinished::default();
    for attribute in attributes(body.get(IFINFOMSG..).unwrap_or_default()) {
        link.take(&attribute?)?;
    }
    Ok(Link {
        index: header.index,
        name: link
            .name
            .ok_or(Cause::Nonsense("an interface without a name"))?,
        kind: link.kind.unwrap_or(Kind::Plain),
        mtu: link.mtu,
        address: link.address,
        up: header.flags.contains(LinkFlags::Up),
        carrier: link.carrier,
        master: link.master,
        addr_gen_mode: link.addr_gen_mode,
        port: link.port,
    })
}

/// An interface, as far as its attributes have been walked.
#[derive(Default)]
struct Unfinished {
    name: Option<IfName>,
    kind: Option<Kind>,
    mtu: u32,
    address: Option<Mac>,
    carrier: bool,
    master: Option<IfIndex>,
    addr_gen_mode: Option<AddrGenMode>,
    port: Option<PortInfo>,
}

impl Unfinished {
    fn take(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), Cause> {
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                let name = IfName::new(name)
                    .map_err(|_| Cause::Nonsense("an interface with an impossible name"))?;
                self.name = Some(name);
            }
            libc::IFLA_MTU => self.mtu = number(value)?,
            libc::IFLA_ADDRESS => self.address = value.try_into().ok().map(Mac),
            libc::IFLA_CARRIER => self.carrier = flag(value)?,
            libc::IFLA_MASTER => self.master = Some(number(value)?).filter(|&index| index != 0),
            libc::IFLA_LINKINFO => {
                self.kind = kind(value)?;
                self.port = bridge::port(value)?;
            }
            libc::IFLA_AF_SPEC => self.addr_gen_mode = addr_gen_mode(value)?,
            // An answer has dozens of attributes, and every kernel adds some.
            _ => {}
        }
        Ok(())
    }
}

/// `IFLA_LINKINFO`: a word for the kind, and data that depends on it.
fn kind(info: &[u8]) -> Result<Option<Kind>, Cause> {
    let Some(word) = find(info, libc::IFLA_INFO_KIND)? else {
        return Ok(None);
    };
    let data = find(info, libc::IFLA_INFO_DATA)?.unwrap_or_default();
    Ok(Some(match word.strip_suffix(&[0]).unwrap_or(word) {
        b"tun" => tun_or_tap(data)?,
        b"bridge" => Kind::Bridge(bridge::info(data)?),
        other => Kind::Other(String::from_utf8_lossy(other).into_owned()),
    }))
}

fn tun_or_tap(data: &[u8]) -> Result<Kind, Cause> {
    let mut info = TapInfo::default();
    let mut is_tap = false;
    for attribute in attributes(data) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            tun::OWNER => info.owner = Some(number(value)?),
            tun::GROUP => info.group = Some(number(value)?),
            tun::TYPE => is_tap = byte(value)? == tun::TAP,
            tun::PI => info.packet_info = flag(value)?,
            tun::VNET_HDR => info.vnet_hdr = flag(value)?,
            tun::PERSIST => info.persistent = flag(value)?,
            tun::MULTI_QUEUE => info.multi_queue = flag(value)?,
            tun::NUM_QUEUES | tun::NUM_DISABLED_QUEUES => {
                *info.queues.get_or_insert(0) += number(value)?;
            }
            // What later kernels add.
            _ => {}
        }
    }
    Ok(if is_tap { Kind::Tap(info) } else { Kind::Tun })
}

fn addr_gen_mode(families: &[u8]) -> Result<Option<AddrGenMode>, Cause> {
    let Some(inet6) = find(families, AF_INET6)? else {
        return Ok(None);
    };
    let Some(mode) = find(inet6, IFLA_INET6_ADDR_GEN_MODE)? else {
        return Ok(None);
    };
    match byte(mode)? {
        0 => Ok(Some(AddrGenMode::Eui64)),
        1 => Ok(Some(AddrGenMode::None)),
        2 => Ok(Some(AddrGenMode::StablePrivacy)),
        3 => Ok(Some(AddrGenMode::Random)),
        _ => Err(Cause::Nonsense("an unknown way to make IPv6 addresses")),
    }
}

fn mode_number(mode: AddrGenMode) -> u8 {
    match mode {
        AddrGenMode::Eui64 => 0,
        AddrGenMode::None => 1,
        AddrGenMode::StablePrivacy => 2,
        AddrGenMode::Random => 3,
    }
}
