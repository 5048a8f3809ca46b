//! Requests about bridges and their ports.

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use nix::errno::Errno;

use crate::model::bridge::{PortOption, PortOptions};
use crate::model::change::NewBridge;
use crate::model::link::IfIndex;
use crate::sys::error::{Cause, SysError};
use crate::sys::netlink::addr::address_message;
use crate::sys::netlink::attr::{Message, put_bytes, put_nested, put_str, put_u32};
use crate::sys::netlink::link::{get_by_index, link_message};
use crate::sys::netlink::link_parse::{br, brport};
use crate::sys::netlink::socket::{NetlinkSocket, Request};

/// Creates a bridge with its addresses, up, all of it or nothing. It goes up last, so that a bridge which is up has its
/// addresses.
///
/// # Errors
/// EEXIST if there is an interface of that name; the kernel's refusal of an address.
pub(crate) fn create(netlink: &mut NetlinkSocket, new: &NewBridge) -> Result<(), SysError> {
    let mut data = vec![put_u32(br::STP_STATE, 0), put_u32(br::FORWARD_DELAY, 0)];
    // A kernel without VLAN filtering refuses even the request to switch it off.
    if new.vlan_filtering {
        data.push(put_bytes(br::VLAN_FILTERING, &[1]));
    }
    let info = [
        put_str(libc::IFLA_INFO_KIND, b"bridge"),
        put_nested(libc::IFLA_INFO_DATA, &data),
    ];
    let attributes = vec![
        put_str(libc::IFLA_IFNAME, new.link.name.as_bytes()),
        put_bytes(libc::IFLA_ADDRESS, &new.mac.0),
        put_nested(libc::IFLA_LINKINFO, &info),
    ];
    let bridge = link_message(new.link.index, attributes);
    let mut up = link_message(new.link.index, Vec::new());
    up.header.change_mask = LinkFlags::Up;
    up.header.flags = LinkFlags::Up;
    // If the bridge could not be created, there is no such ifindex, and the others are refused as well.
    let addresses: Vec<_> = new
        .addresses
        .iter()
        .map(|address| address_message(new.link.index, address))
        .collect();
    let create = NLM_F_CREATE | NLM_F_EXCL;
    let first: Request<'_> = (libc::RTM_NEWLINK, create, &bridge);
    let others = addresses
        .iter()
        .map(|address| (libc::RTM_NEWADDR, create, address as &dyn Emitable));
    let last: Request<'_> = (libc::RTM_SETLINK, 0, &up);
    let all = [first].into_iter().chain(others).chain([last]);
    let Err((position, error)) = netlink.request_batch(all) else {
        return Ok(());
    };
    let no_filtering = new.vlan_filtering && error == Errno::EOPNOTSUPP.into();
    Err(match (position, error.errno()) {
        (0, Some(errno)) if no_filtering => SysError::Known(Cause::NoVlanFiltering, errno),
        (0, _) => error,
        // The bridge exists, and one of its addresses was refused.
        (_, Some(errno @ Errno::EEXIST)) => SysError::Known(Cause::SameAddress, errno),
        // ipv6_add_addr() in net/ipv6/addrconf.c, and a kernel without IPv6.
        (_, Some(errno @ (Errno::EACCES | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT))) => {
            SysError::Known(Cause::Ipv6Off, errno)
        }
        (_, _) => error,
    })
}

/// Changes options of a bridge port, and reads them back, since the kernel ignores an option that it does not know. If learning
/// is switched off, the learned addresses are deleted.
///
/// # Errors
/// The kernel's refusal; [`SysError::NotApplied`] if it ignored an option.
pub(crate) fn set_port(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
    options: &PortOptions,
) -> Result<(), SysError> {
    let mut data = option_attributes(options);
    if options.get(PortOption::Learning) == Some(false) {
        data.push(put_bytes(brport::FLUSH, &[]));
    }
    let message = port_message(index, &data);
    netlink.request_ack(libc::RTM_NEWLINK, 0, &message)?;
    let port = get_by_index(netlink, index)?.port.unwrap_or_default();
    match options.differing_from(port.options).iter().next() {
        Some((option, _)) => Err(SysError::NotApplied(option.as_str())),
        None => Ok(()),
    }
}

/// Brings a bridge port up with these options, so that no other process can change them in between. The kernel refuses an
/// interface that is not a port, and does not bring it up: it looks for the master that the port data are for before it looks
/// at the flags (`rtnl_changelink()` in net/core/rtnetlink.c).
///
/// # Errors
/// EOPNOTSUPP if it is not a port; the kernel's refusal. An option that the kernel does not know is not an error here, see
/// [`set_port`].
pub(crate) fn set_port_up(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
    options: &PortOptions,
) -> Result<(), SysError> {
    let mut message = port_message(index, &option_attributes(options));
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = LinkFlags::Up;
    netlink.request_ack(libc::RTM_NEWLINK, 0, &message)
}

fn option_attributes(options: &PortOptions) -> Vec<DefaultNla> {
    let options = options.iter();
    options
        .map(|(option, on)| put_bytes(brport::number(option), &[u8::from(on)]))
        .collect()
}

/// A message with data for a bridge port. In RTM_SETLINK the kernel would ignore the data.
fn port_message(index: IfIndex, data: &[DefaultNla]) -> Message<LinkHeader> {
    let info = [
        put_str(libc::IFLA_INFO_SLAVE_KIND, b"bridge"),
        put_nested(libc::IFLA_INFO_SLAVE_DATA, data),
    ];
    link_message(index, vec![put_nested(libc::IFLA_LINKINFO, &info)])
}
