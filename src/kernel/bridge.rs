//! Bridges, their ports and their VLANs in netlink's terms.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressHeader, AddressScope};
use netlink_packet_route::link::{BridgeVlanInfoFlags, LinkFlags, LinkHeader};
use nix::errno::Errno;

use crate::error::Cause;
use crate::facts::{Address, BridgeInfo, IfIndex, PortInfo, PortState};
use crate::kernel::attribute::{
    Message, attributes, byte, bytes, find, flag, nest, number, short, text, word,
};
use crate::kernel::link;
use crate::kernel::netlink::{Netlink, Wire};
use crate::step::NewBridge;
use crate::vlan::{PortVlan, without};

/// What is inside `IFLA_INFO_DATA` of a bridge (`IFLA_BR_*` in linux/if_link.h).
mod br {
    pub(super) const FORWARD_DELAY: u16 = 1;
    pub(super) const STP_STATE: u16 = 5;
    pub(super) const VLAN_FILTERING: u16 = 7;
    pub(super) const VLAN_DEFAULT_PVID: u16 = 39;
}

/// What is inside `IFLA_INFO_SLAVE_DATA` of a bridge's port (`IFLA_BRPORT_*` in linux/if_link.h).
mod brport {
    pub(super) const STATE: u16 = 1;
    pub(super) const ISOLATED: u16 = 33;
}

/// A VLAN inside `IFLA_AF_SPEC` of a bridge's port (`IFLA_BRIDGE_VLAN_INFO` in linux/if_bridge.h): flags and ID.
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

/// `RTEXT_FILTER_BRVLAN_COMPRESSED` in linux/rtnetlink.h: VLANs, with consecutive ones as a range.
const RTEXT_FILTER_BRVLAN_COMPRESSED: u32 = 1 << 2;

/// Makes a bridge with its addresses, up, all of it or nothing.
///
/// # Errors
/// EEXIST if there is an interface of that name; the kernel's refusal of an address.
pub fn make_bridge<W: Wire>(netlink: &mut Netlink<W>, new: &NewBridge) -> Result<(), Cause> {
    let mut bridge = link::message(new.link.index);
    bridge.header.change_mask = LinkFlags::Up;
    bridge.header.flags = LinkFlags::Up;
    let mut data = vec![word(br::STP_STATE, 0), word(br::FORWARD_DELAY, 0)];
    // A kernel without it refuses even the wish to have it off.
    if new.vlan_filtering {
        data.push(bytes(br::VLAN_FILTERING, &[1]));
    }
    let info = [
        text(libc::IFLA_INFO_KIND, b"bridge"),
        nest(libc::IFLA_INFO_DATA, &data),
    ];
    bridge.attributes = vec![
        text(libc::IFLA_IFNAME, new.link.name.as_bytes()),
        bytes(libc::IFLA_ADDRESS, &new.mac.0),
        nest(libc::IFLA_LINKINFO, &info),
    ];
    // To a number that does not exist, since the bridge could not be made, an address cannot be given.
    let addresses: Vec<Message<AddressHeader>> = new
        .addresses
        .iter()
        .map(|address| address_message(new.link.index, address))
        .collect();
    let create = NLM_F_CREATE | NLM_F_EXCL;
    let first: (u16, u16, &dyn Emitable) = (libc::RTM_NEWLINK, create, &bridge);
    let others = addresses
        .iter()
        .map(|address| (libc::RTM_NEWADDR, create, address as &dyn Emitable));
    let Err((position, cause)) = netlink.tell_all([first].into_iter().chain(others)) else {
        return Ok(());
    };
    if position == 0 {
        return Err(cause);
    }
    // The bridge is there, and one of its addresses was refused.
    match cause.errno() {
        Some(Errno::EEXIST) => Err(Cause::Refused {
            errno: Errno::EEXIST,
            words: Some(b"two of its addresses are the same".to_vec()),
        }),
        _ => Err(cause),
    }
}

fn address_message(index: IfIndex, address: &Address) -> Message<AddressHeader> {
    let (family, octets) = match address.ip {
        IpAddr::V4(ip) => (AddressFamily::Inet, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::Inet6, ip.octets().to_vec()),
    };
    Message {
        header: AddressHeader {
            family,
            prefix_len: address.prefix,
            scope: AddressScope::Universe,
            index,
            ..AddressHeader::default()
        },
        attributes: vec![
            bytes(libc::IFA_LOCAL, &octets),
            bytes(libc::IFA_ADDRESS, &octets),
        ],
    }
}

/// Says whether a port may talk to other isolated ones, and looks whether the kernel listened.
///
/// # Errors
/// The kernel's refusal; [`Cause::Ignored`] where it did not listen.
pub fn isolate<W: Wire>(
    netlink: &mut Netlink<W>,
    index: IfIndex,
    isolated: bool,
) -> Result<(), Cause> {
    let data = [bytes(brport::ISOLATED, &[u8::from(isolated)])];
    link::change_port(netlink, index, &data, false)?;
    match link::by_index(netlink, index)?
        .port
        .and_then(|port| port.isolated)
    {
        Some(now) if now == isolated => Ok(()),
        Some(_) | None => Err(Cause::Ignored),
    }
}

/// The VLANs of a port, in order.
///
/// # Errors
/// The kernel does not say.
pub fn vlans<W: Wire>(netlink: &mut Netlink<W>, index: IfIndex) -> Result<Vec<PortVlan>, Cause> {
    let mut vlans = Vec::new();
    let mut all = link::message(0);
    all.header.interface_family = AddressFamily::Bridge;
    // Of all ports, since the kernel does not tell of one; as ranges, since others may be in thousands of VLANs.
    all.attributes = vec![word(libc::IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED)];
    netlink.ask_all(libc::RTM_GETLINK, &all, libc::RTM_NEWLINK, |body| {
        let header = LinkHeader::parse(body)
            .map_err(|_| Cause::Nonsense("the kernel's answer is not an interface"))?;
        if header.index == index {
            let all = body.get(link::IFINFOMSG..).unwrap_or_default();
            let spec = find(all, libc::IFLA_AF_SPEC)?.unwrap_or_default();
            let mut first = None;
            for vlan in attributes(spec) {
                let vlan = vlan?;
                if vlan.kind() == IFLA_BRIDGE_VLAN_INFO {
                    let (vlan, flags) = port_vlan(vlan.value())?;
                    if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
                        first = Some(vlan.vid);
                    } else {
                        let vids = first.take().unwrap_or(vlan.vid)..=vlan.vid;
                        vlans.extend(vids.map(|vid| PortVlan { vid, ..vlan }));
                    }
                }
            }
        }
        Ok(())
    })?;
    vlans.sort_unstable();
    Ok(vlans)
}

/// `struct bridge_vlan_info` in linux/if_bridge.h.
fn port_vlan(value: &[u8]) -> Result<(PortVlan, BridgeVlanInfoFlags), Cause> {
    let [a, b, c, d] = value else {
        return Err(Cause::Nonsense("a VLAN that is not of four bytes"));
    };
    let flags = BridgeVlanInfoFlags::from_bits_retain(u16::from_ne_bytes([*a, *b]));
    let vlan = PortVlan {
        vid: u16::from_ne_bytes([*c, *d]),
        pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
        untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
    };
    Ok((vlan, flags))
}

/// Changes the VLANs of a port from these to those, and looks whether it then has exactly those.
///
/// # Errors
/// The kernel's refusal; [`Cause::Ignored`] where it did something else.
pub fn set_vlans<W: Wire>(
    netlink: &mut Netlink<W>,
    index: IfIndex,
    from: &[PortVlan],
    to: &[PortVlan],
) -> Result<(), Cause> {
    // A port has one PVID at most, so what is to go goes first.
    for (kind, these, others) in [(libc::RTM_DELLINK, from, to), (libc::RTM_SETLINK, to, from)] {
        let changed: Vec<DefaultNla> = without(these, others).iter().map(vlan_info).collect();
        if !changed.is_empty() {
            let mut port = link::message(index);
            port.header.interface_family = AddressFamily::Bridge;
            port.attributes = vec![nest(libc::IFLA_AF_SPEC, &changed)];
            netlink.tell(kind, 0, &port)?;
        }
    }
    if vlans(netlink, index)? == to {
        Ok(())
    } else {
        Err(Cause::Ignored)
    }
}

fn vlan_info(vlan: &PortVlan) -> DefaultNla {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    let [a, b] = flags.bits().to_ne_bytes();
    let [c, d] = vlan.vid.to_ne_bytes();
    bytes(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d])
}

/// Reads `IFLA_INFO_DATA` of a bridge.
///
/// # Errors
/// It is cut short.
pub fn info(data: &[u8]) -> Result<BridgeInfo, Cause> {
    let mut info = BridgeInfo::default();
    for attribute in attributes(data) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            br::FORWARD_DELAY => info.forward_delay = number(value)?,
            br::STP_STATE => info.stp = number(value)? != 0,
            br::VLAN_FILTERING => info.vlan_filtering = flag(value)?,
            br::VLAN_DEFAULT_PVID => info.default_pvid = Some(short(value)?).filter(|&v| v != 0),
            // A bridge has dozens of settings.
            _ => {}
        }
    }
    Ok(info)
}

/// What `IFLA_LINKINFO` says of an interface as a port, if it is one of a bridge.
///
/// # Errors
/// It is cut short.
pub fn port(info: &[u8]) -> Result<Option<PortInfo>, Cause> {
    let kind = find(info, libc::IFLA_INFO_SLAVE_KIND)?.unwrap_or_default();
    if kind.strip_suffix(&[0]).unwrap_or(kind) != b"bridge" {
        return Ok(None);
    }
    let data = find(info, libc::IFLA_INFO_SLAVE_DATA)?.unwrap_or_default();
    let state = match find(data, brport::STATE)?.map(byte).transpose()? {
        Some(0) | None => PortState::Disabled,
        Some(1) => PortState::Listening,
        Some(2) => PortState::Learning,
        Some(3) => PortState::Forwarding,
        Some(4) => PortState::Blocking,
        Some(_) => return Err(Cause::Nonsense("an unknown state of a port")),
    };
    let isolated = find(data, brport::ISOLATED)?.map(flag).transpose()?;
    Ok(Some(PortInfo { state, isolated }))
}
