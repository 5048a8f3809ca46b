//! RTM_NEWLINK, read: the one place that knows what the kernel says of interfaces, taps, bridges and ports.
//!
//! A reply is walked, and only what is needed is taken: netlink-packet-route's own parse of an interface is all or
//! nothing, and would fail on, say, a bridge whose alias is not UTF-8.

use netlink_packet_route::link::{LinkFlags, LinkHeader};

use crate::model::addr::MacAddr;
use crate::model::bridge::{BridgeInfo, BridgePortInfo, PortOption, PortOptions, PortState};
use crate::model::if_name::IfName;
use crate::model::link::{AddrGenMode, CountedTap, Link, LinkKind, TapInfo};
use crate::model::spec::Creator;
use crate::sys::error::SysError;
use crate::sys::netlink::attr::{
    attributes, find_attr, get_bool, get_str, get_u8, get_u16, get_u32,
};

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

/// What is inside `IFLA_INFO_DATA` of a bridge (`IFLA_BR_*` in linux/if_link.h).
pub(super) mod br {
    pub(in crate::sys::netlink) const FORWARD_DELAY: u16 = 1;
    pub(in crate::sys::netlink) const STP_STATE: u16 = 5;
    pub(in crate::sys::netlink) const VLAN_FILTERING: u16 = 7;
    pub(super) const NF_CALL_IPTABLES: u16 = 36;
    pub(super) const NF_CALL_IP6TABLES: u16 = 37;
    pub(super) const NF_CALL_ARPTABLES: u16 = 38;
    pub(super) const MCAST_SNOOPING: u16 = 23;
    pub(super) const VLAN_DEFAULT_PVID: u16 = 39;
    /// Since Linux 5.16, with attributes of its own inside (`BRIDGE_QUERIER_*` in linux/if_bridge.h).
    pub(super) const MCAST_QUERIER_STATE: u16 = 47;
    pub(super) const QUERIER_IPV6_OTHER_TIMER: u16 = 7;
}

/// What is inside `IFLA_INFO_SLAVE_DATA` of a bridge port (`IFLA_BRPORT_*` in linux/if_link.h).
pub(super) mod brport {
    use crate::model::bridge::PortOption;

    pub(super) const STATE: u16 = 1;
    /// An empty attribute: forget what was learned.
    pub(in crate::sys::netlink) const FLUSH: u16 = 24;

    pub(in crate::sys::netlink) fn number(option: PortOption) -> u16 {
        match option {
            PortOption::Guard => 5,
            PortOption::RootBlock => 6,
            PortOption::Learning => 8,
            PortOption::Flood => 9,
            PortOption::McastFlood => 27,
            PortOption::NeighSuppress => 32,
            PortOption::Isolated => 33,
            PortOption::Locked => 39,
        }
    }
}

/// How link-local addresses are generated, inside `IFLA_AF_SPEC`, `AF_INET6`: a byte, `IN6_ADDR_GEN_MODE_*`
/// (linux/if_link.h).
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;

/// The attribute of an address family has the family's number as its type (linux/socket.h).
pub(super) const AF_INET6: u16 = 10;

/// Bytes of `struct ifinfomsg` (linux/rtnetlink.h), which stands before the attributes.
pub(crate) const IFINFOMSG_LEN: usize = 16;

/// Parses the body of an RTM_NEWLINK.
pub(crate) fn parse_link(body: &[u8]) -> Result<Link, SysError> {
    let header = parse_ifinfomsg(body)?;
    let all = body.get(IFINFOMSG_LEN..).unwrap_or_default();
    let name = find_attr(all, libc::IFLA_IFNAME)?;
    let name = name.ok_or(SysError::Protocol("an interface without a name"))?;
    let mut link = Link {
        index: header.index,
        name: IfName::new(get_str(name))
            .map_err(|_| SysError::Protocol("an invalid interface name"))?,
        kind: LinkKind::Unset,
        mtu: 0,
        address: None,
        up: header.flags.contains(LinkFlags::Up),
        carrier: false,
        master: None,
        addr_gen_mode: None,
        alias: None,
        qdisc: String::new(),
        port: None,
    };
    for attribute in attributes(all) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_MTU => link.mtu = get_u32(value)?,
            libc::IFLA_ADDRESS => link.address = value.try_into().ok().map(MacAddr),
            libc::IFLA_CARRIER => link.carrier = get_bool(value)?,
            libc::IFLA_MASTER => link.master = Some(get_u32(value)?).filter(|&index| index != 0),
            libc::IFLA_IFALIAS => link.alias = Some(get_lossy(value)),
            libc::IFLA_QDISC => link.qdisc = get_lossy(value),
            libc::IFLA_LINKINFO => {
                link.kind = parse_kind(value)?;
                link.port = parse_port(value)?;
            }
            libc::IFLA_AF_SPEC => link.addr_gen_mode = parse_addr_gen_mode(value)?,
            // A reply has dozens of attributes, and every kernel adds some.
            _ => {}
        }
    }
    Ok(link)
}

/// Parses from the body of an RTM_NEWLINK only what a count of taps needs, since there can be thousands; None if it is no tap.
pub(crate) fn parse_counted(body: &[u8]) -> Result<Option<CountedTap>, SysError> {
    let header = parse_ifinfomsg(body)?;
    let all = body.get(IFINFOMSG_LEN..).unwrap_or_default();
    let kind = find_attr(all, libc::IFLA_LINKINFO)?.map(parse_kind);
    let Some(LinkKind::Tap(info)) = kind.transpose()? else {
        return Ok(None);
    };
    let alias = find_attr(all, libc::IFLA_IFALIAS)?;
    let alias = alias.and_then(|alias| str::from_utf8(get_str(alias)).ok());
    let master = find_attr(all, libc::IFLA_MASTER)?.map(get_u32);
    Ok(Some(CountedTap {
        index: header.index,
        info,
        creator: alias.and_then(Creator::from_alias),
        is_port: master.transpose()?.is_some_and(|index| index != 0),
    }))
}

fn parse_ifinfomsg(body: &[u8]) -> Result<LinkHeader, SysError> {
    LinkHeader::parse(body)
        .map_err(|_| SysError::Protocol("the kernel's reply is not an interface"))
}

/// A string that may be anything.
fn get_lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(get_str(value)).into_owned()
}

/// `IFLA_LINKINFO`: a string for the kind, and data that depends on it.
fn parse_kind(info: &[u8]) -> Result<LinkKind, SysError> {
    let Some(kind) = find_attr(info, libc::IFLA_INFO_KIND)? else {
        return Ok(LinkKind::Unset);
    };
    let data = find_attr(info, libc::IFLA_INFO_DATA)?.unwrap_or_default();
    match get_str(kind) {
        b"tun" => parse_tun(data),
        b"bridge" => parse_bridge(data).map(LinkKind::Bridge),
        _ => Ok(LinkKind::Other(get_lossy(kind))),
    }
}

fn parse_tun(data: &[u8]) -> Result<LinkKind, SysError> {
    let mut info = TapInfo::default();
    let mut is_tap = false;
    for attribute in attributes(data) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            tun::OWNER => info.owner = Some(get_u32(value)?),
            tun::GROUP => info.group = Some(get_u32(value)?),
            tun::TYPE => is_tap = get_u8(value)? == tun::TAP,
            tun::PI => info.packet_info = get_bool(value)?,
            tun::VNET_HDR => info.vnet_hdr = get_bool(value)?,
            tun::PERSIST => info.persistent = get_bool(value)?,
            tun::MULTI_QUEUE => info.multi_queue = get_bool(value)?,
            tun::NUM_QUEUES | tun::NUM_DISABLED_QUEUES => {
                *info.queues.get_or_insert(0) += get_u32(value)?;
            }
            // What later kernels add.
            _ => {}
        }
    }
    Ok(if is_tap {
        LinkKind::Tap(info)
    } else {
        LinkKind::Tun
    })
}

fn parse_bridge(data: &[u8]) -> Result<BridgeInfo, SysError> {
    let mut info = BridgeInfo::default();
    for attribute in attributes(data) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            br::FORWARD_DELAY => info.forward_delay = get_u32(value)?,
            br::STP_STATE => info.stp_enabled = get_u32(value)? != 0,
            br::VLAN_FILTERING => info.vlan_filtering = get_bool(value)?,
            br::MCAST_SNOOPING => info.snoops_multicast = get_bool(value)?,
            br::MCAST_QUERIER_STATE => {
                info.has_other_querier = find_attr(value, br::QUERIER_IPV6_OTHER_TIMER)?.is_some();
            }
            br::NF_CALL_IPTABLES => info.nf_call[0] = get_bool(value)?,
            br::NF_CALL_IP6TABLES => info.nf_call[1] = get_bool(value)?,
            br::NF_CALL_ARPTABLES => info.nf_call[2] = get_bool(value)?,
            br::VLAN_DEFAULT_PVID => info.default_pvid = Some(get_u16(value)?).filter(|&v| v != 0),
            // A bridge has dozens of settings.
            _ => {}
        }
    }
    Ok(info)
}

/// What `IFLA_LINKINFO` says of an interface as a port, if it is one of a bridge.
fn parse_port(info: &[u8]) -> Result<Option<BridgePortInfo>, SysError> {
    let kind = find_attr(info, libc::IFLA_INFO_SLAVE_KIND)?.unwrap_or_default();
    if get_str(kind) != b"bridge" {
        return Ok(None);
    }
    let data = find_attr(info, libc::IFLA_INFO_SLAVE_DATA)?.unwrap_or_default();
    let state = match find_attr(data, brport::STATE)?.map(get_u8).transpose()? {
        Some(0) | None => PortState::Disabled,
        Some(1) => PortState::Listening,
        Some(2) => PortState::Learning,
        Some(3) => PortState::Forwarding,
        Some(4) => PortState::Blocking,
        Some(_) => return Err(SysError::Protocol("an unknown port state")),
    };
    let mut options = PortOptions::default();
    for option in PortOption::ALL {
        let value = find_attr(data, brport::number(option))?;
        options = options.with(option, value.map(get_bool).transpose()? == Some(true));
    }
    Ok(Some(BridgePortInfo { state, options }))
}

fn parse_addr_gen_mode(families: &[u8]) -> Result<Option<AddrGenMode>, SysError> {
    let inet6 = find_attr(families, AF_INET6)?.unwrap_or_default();
    let mode = find_attr(inet6, IFLA_INET6_ADDR_GEN_MODE)?;
    match mode.map(get_u8).transpose()? {
        None => Ok(None),
        Some(0) => Ok(Some(AddrGenMode::Eui64)),
        Some(1) => Ok(Some(AddrGenMode::None)),
        Some(2) => Ok(Some(AddrGenMode::StablePrivacy)),
        Some(3) => Ok(Some(AddrGenMode::Random)),
        Some(_) => Err(SysError::Protocol("an unknown addrgenmode")),
    }
}
