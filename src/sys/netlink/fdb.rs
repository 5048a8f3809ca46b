//! Static entries of a bridge's forwarding database: RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH of family
//! AF_BRIDGE.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkHeader;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourHeader, NeighbourState};
use nix::errno::Errno;

use crate::model::addr::MacAddr;
use crate::model::bridge::{FdbEntry, fdb_changes};
use crate::model::link::IfIndex;
use crate::sys::error::SysError;
use crate::sys::netlink::attr::{Message, find_attr, get_u16, put_bytes, put_u32};
use crate::sys::netlink::link::link_message;
use crate::sys::netlink::socket::NetlinkSocket;

/// In linux/neighbour.h; libc has it for glibc only.
const NDA_MASTER: u16 = 9;

/// Bytes of `struct ndmsg` in linux/neighbour.h.
const NDMSG_LEN: usize = 12;

pub(crate) fn get_static(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
) -> Result<Vec<FdbEntry>, SysError> {
    let all = get(netlink, index)?.into_iter();
    let entries = all.filter(|(_, state)| *state == NeighbourState::Noarp);
    Ok(entries.map(|(entry, _)| entry).collect())
}

/// The static entries of all ports, each with its port.
pub(crate) fn get_all_static(
    netlink: &mut NetlinkSocket,
) -> Result<Vec<(IfIndex, FdbEntry)>, SysError> {
    let all = dump(netlink, link_message(0, Vec::new()))?.into_iter();
    let entries = all.filter(|(header, ..)| header.state == NeighbourState::Noarp);
    Ok(entries
        .map(|(header, entry)| (header.ifindex, entry))
        .collect())
}

/// The interface with a static or local entry for this MAC in this VLAN: a port, or the bridge itself. Learned entries do not
/// count.
pub(crate) fn find_mac(
    netlink: &mut NetlinkSocket,
    bridge: IfIndex,
    mac: MacAddr,
    vid: u16,
) -> Result<Option<IfIndex>, SysError> {
    let mut attributes = vec![
        put_u32(NDA_MASTER, bridge),
        put_bytes(libc::NDA_LLADDR, &mac.0),
    ];
    // The kernel refuses VLAN 0, and takes none for it.
    if vid != 0 {
        attributes.push(put_bytes(libc::NDA_VLAN, &vid.to_ne_bytes()));
    }
    let header = NeighbourHeader {
        family: AddressFamily::Bridge,
        ..NeighbourHeader::default()
    };
    let request = Message { header, attributes };
    let entry = match netlink.request(libc::RTM_GETNEIGH, &request, libc::RTM_NEWNEIGH) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        entry => parse_header(entry?)?,
    };
    let is_permanent = [NeighbourState::Noarp, NeighbourState::Permanent].contains(&entry.state);
    Ok(is_permanent.then_some(entry.ifindex))
}

fn parse_header(body: &[u8]) -> Result<NeighbourHeader, SysError> {
    NeighbourHeader::parse(body)
        .map_err(|_| SysError::Protocol("the kernel's reply is not an fdb entry"))
}

/// Changes the static entries of a port, and reads back whether it then has those of `to`. If `to` has entries, the port must
/// have no others, learned ones included: a locked port accepts frames from all of them.
///
/// The kernel moves an address to this port even if another port has it. The caller has asked [`find_mac`] before. If another
/// run locks another port to the address meanwhile, the later of the two gets it.
///
/// # Errors
/// The kernel's refusal; [`SysError::NotApplied`] if it did something else.
pub(crate) fn set_static(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
    from: &[FdbEntry],
    to: &[FdbEntry],
) -> Result<(), SysError> {
    let (removed, added) = fdb_changes(from, to);
    for mac in removed {
        match netlink.request_ack(libc::RTM_DELNEIGH, 0, &message(index, mac, false)) {
            // It was never added, or was deleted with its VLAN.
            Err(error) if error.errno() == Some(Errno::ENOENT) => {}
            result => result?,
        }
    }
    for (mac, sticky) in added {
        let create = NLM_F_CREATE | NLM_F_REPLACE;
        netlink.request_ack(libc::RTM_NEWNEIGH, create, &message(index, mac, sticky))?;
    }
    let found = get(netlink, index)?;
    let is_static = |state: &NeighbourState| *state == NeighbourState::Noarp;
    let has = |entry: &FdbEntry| found.iter().any(|(e, s)| e == entry && is_static(s));
    let is_other = |(entry, state): &(FdbEntry, NeighbourState)| {
        to.iter().all(|wanted| wanted.mac != entry.mac) && (is_static(state) || !to.is_empty())
    };
    if to.iter().all(has) && !found.iter().any(is_other) {
        Ok(())
    } else {
        Err(SysError::NotApplied("all of its fdb entries"))
    }
}

/// All entries of a port, static or learned, except the address of its own interface.
fn get(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
) -> Result<Vec<(FdbEntry, NeighbourState)>, SysError> {
    let mut found = dump(netlink, link_message(index, Vec::new()))?;
    found.retain(|(header, ..)| {
        header.ifindex == index && header.state != NeighbourState::Permanent
    });
    let entry = |(header, entry): (NeighbourHeader, _)| (entry, header.state);
    Ok(found.into_iter().map(entry).collect())
}

/// The entries of a port, or of all. The request is not struct ndmsg but the older form, which every
/// kernel accepts (`valid_fdb_dump_legacy()` in net/core/rtnetlink.c).
fn dump(
    netlink: &mut NetlinkSocket,
    mut of: Message<LinkHeader>,
) -> Result<Vec<(NeighbourHeader, FdbEntry)>, SysError> {
    of.header.interface_family = AddressFamily::Bridge;
    let found = netlink.dump(libc::RTM_GETNEIGH, &of, libc::RTM_NEWNEIGH, |body| {
        let header = parse_header(body)?;
        let attributes = body.get(NDMSG_LEN..).unwrap_or_default();
        let mac = find_attr(attributes, libc::NDA_LLADDR)?.unwrap_or_default();
        let vid = find_attr(attributes, libc::NDA_VLAN)?;
        let Ok(mac) = mac.try_into().map(MacAddr) else {
            return Ok(None);
        };
        let vid = vid.map(get_u16).transpose()?.unwrap_or(0);
        let sticky = header.flags.contains(NeighbourFlags::Sticky);
        Ok(Some((header, FdbEntry { mac, vid, sticky })))
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// An entry without a VLAN: the kernel adds or deletes one for frames without a VLAN, and one for each VLAN of the port
/// (`br_fdb_add()` in net/bridge/br_fdb.c). An entry that is not sticky moves to another port when a frame from this address
/// comes in there.
fn message(index: IfIndex, mac: MacAddr, sticky: bool) -> Message<NeighbourHeader> {
    let mut flags = NeighbourFlags::Controller;
    flags.set(NeighbourFlags::Sticky, sticky);
    Message {
        header: NeighbourHeader {
            family: AddressFamily::Bridge,
            ifindex: index,
            state: NeighbourState::Noarp,
            flags,
            ..NeighbourHeader::default()
        },
        attributes: vec![put_bytes(libc::NDA_LLADDR, &mac.0)],
    }
}
