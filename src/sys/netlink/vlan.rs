//! VLANs of bridge ports, in messages of family AF_BRIDGE.

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::BridgeVlanInfoFlags;
use nix::errno::Errno;

use crate::model::link::IfIndex;
use crate::model::vlan::{PortVlan, difference};
use crate::sys::error::SysError;
use crate::sys::netlink::attr::{attributes, find_attr, get_u16, put_bytes, put_nested};
use crate::sys::netlink::link::link_message;
use crate::sys::netlink::socket::NetlinkSocket;

/// A VLAN inside `IFLA_AF_SPEC` of a bridge port (linux/if_bridge.h).
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

/// Inside the reply to RTM_GETVLAN (linux/if_bridge.h): a VLAN, with the last ID if it is a range.
const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
const BRIDGE_VLANDB_ENTRY_RANGE: u16 = 2;

/// Not yet in the libc crate (linux/rtnetlink.h).
const RTM_NEWVLAN: u16 = 112;
const RTM_GETVLAN: u16 = 114;

/// `struct br_vlan_msg` (linux/if_bridge.h) for one port: family, three bytes of padding, ifindex.
struct BrVlanMsg(IfIndex);

const BR_VLAN_MSG_LEN: usize = 8;

impl Emitable for BrVlanMsg {
    fn buffer_len(&self) -> usize {
        BR_VLAN_MSG_LEN
    }

    fn emit(&self, buffer: &mut [u8]) {
        let [a, b, c, d] = self.0.to_ne_bytes();
        buffer.copy_from_slice(&[AddressFamily::Bridge.into(), 0, 0, 0, a, b, c, d]);
    }
}

/// The VLANs of a port, in the order of their IDs, in which the kernel keeps them (net/bridge/br_vlan.c).
pub(crate) fn get_port_vlans(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
) -> Result<Vec<PortVlan>, SysError> {
    let found = netlink.dump(RTM_GETVLAN, &BrVlanMsg(index), RTM_NEWVLAN, |body| {
        let mut vlans = Vec::new();
        for entry in attributes(body.get(BR_VLAN_MSG_LEN..).unwrap_or_default()) {
            let entry = entry?;
            let info = find_attr(entry.value(), BRIDGE_VLANDB_ENTRY_INFO)?;
            if let Some(info) = info.filter(|_| entry.kind() == BRIDGE_VLANDB_ENTRY) {
                let (flags, first) = parse_vlan_info(info)?;
                let last = find_attr(entry.value(), BRIDGE_VLANDB_ENTRY_RANGE)?;
                let last = last.map(get_u16).transpose()?.unwrap_or(first);
                vlans.extend((first..=last).map(|vid| port_vlan(flags, vid)));
            }
        }
        Ok(vlans)
    });
    match found {
        // The kernel has no VLAN filtering, or the interface is no longer a port.
        Err(error) if matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL)) => {
            Ok(Vec::new())
        }
        found => Ok(found?.concat()),
    }
}

fn port_vlan(flags: BridgeVlanInfoFlags, vid: u16) -> PortVlan {
    PortVlan {
        vid,
        pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
        untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
    }
}

/// Changes the VLANs of a port, and reads back whether it then has exactly those of `to`.
///
/// # Errors
/// The kernel's refusal; [`SysError::NotApplied`] if it did something else.
pub(crate) fn set_port_vlans(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
    from: &[PortVlan],
    to: &[PortVlan],
) -> Result<(), SysError> {
    // The old VLANs are deleted first, since a port has at most one PVID.
    for (kind, changing, kept) in [(libc::RTM_DELLINK, from, to), (libc::RTM_SETLINK, to, from)] {
        let changed: Vec<_> = difference(changing, kept).iter().map(vlan_info).collect();
        if !changed.is_empty() {
            let spec = put_nested(libc::IFLA_AF_SPEC, &changed);
            let mut message = link_message(index, vec![spec]);
            message.header.interface_family = AddressFamily::Bridge;
            netlink.request_ack(kind, 0, &message)?;
        }
    }
    if get_port_vlans(netlink, index)? == to {
        Ok(())
    } else {
        Err(SysError::NotApplied("all of its VLANs"))
    }
}

/// `struct bridge_vlan_info` in linux/if_bridge.h: flags and ID.
fn parse_vlan_info(value: &[u8]) -> Result<(BridgeVlanInfoFlags, u16), SysError> {
    let [a, b, c, d] = value else {
        return Err(SysError::Protocol("a VLAN that is not four bytes long"));
    };
    let flags = BridgeVlanInfoFlags::from_bits_retain(u16::from_ne_bytes([*a, *b]));
    Ok((flags, u16::from_ne_bytes([*c, *d])))
}

fn vlan_info(vlan: &PortVlan) -> DefaultNla {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    let [a, b] = flags.bits().to_ne_bytes();
    let [c, d] = vlan.vid.to_ne_bytes();
    put_bytes(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d])
}
