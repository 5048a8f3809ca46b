//! IP addresses of interfaces: RTM_NEWADDR, RTM_GETADDR.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressHeader, AddressScope};

use crate::model::addr::IpPrefix;
use crate::model::link::IfIndex;
use crate::sys::error::SysError;
use crate::sys::netlink::attr::{Message, find_attr, put_bytes};
use crate::sys::netlink::socket::NetlinkSocket;

/// Bytes of `struct ifaddrmsg` in linux/if_addr.h: family, prefix length, flags, scope, and the ifindex.
const IFADDRMSG_LEN: usize = 8;

/// The body of an RTM_NEWADDR.
pub(super) fn address_message(index: IfIndex, address: &IpPrefix) -> Message<AddressHeader> {
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
            put_bytes(libc::IFA_LOCAL, &octets),
            put_bytes(libc::IFA_ADDRESS, &octets),
        ],
    }
}

/// An address, and the interface that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) index: IfIndex,
    /// How far it reaches (`libc::RT_SCOPE_*`).
    pub(crate) scope: u8,
    pub(crate) prefix: IpPrefix,
}

pub(crate) fn get_addresses(netlink: &mut NetlinkSocket) -> Result<Vec<LinkAddress>, SysError> {
    let all = AddressHeader::default();
    let found = netlink.dump(libc::RTM_GETADDR, &all, libc::RTM_NEWADDR, |body| {
        let (header, attributes) = body
            .split_first_chunk::<IFADDRMSG_LEN>()
            .ok_or(SysError::Protocol("an address is truncated"))?;
        let [_, prefix, _, scope, index @ ..] = *header;
        // IPv6 has the first only where there is a peer.
        let address = match find_attr(attributes, libc::IFA_LOCAL)? {
            Some(local) => Some(local),
            None => find_attr(attributes, libc::IFA_ADDRESS)?,
        };
        let address = address.unwrap_or_default();
        let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
        let ip = v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from));
        Ok(ip.ok().map(|ip| LinkAddress {
            index: u32::from_ne_bytes(index),
            scope,
            prefix: IpPrefix { ip, prefix },
        }))
    })?;
    Ok(found.into_iter().flatten().collect())
}
