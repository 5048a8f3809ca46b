//! Requests about interfaces: RTM_GETLINK, RTM_SETLINK, RTM_DELLINK; and notifications of their changes.

use std::time::Duration;

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::tc::{TcHandle, TcHeader};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::model::change::LinkUpdate;
use crate::model::if_name::IfName;
use crate::model::link::{CountedTap, IfIndex, Link, Qdisc};
use crate::sys::error::SysError;
use crate::sys::netlink::attr::{
    Message, find_attr, get_u32, put_bytes, put_nested, put_str, put_u32,
};
use crate::sys::netlink::link_parse::{
    AF_INET6, IFINFOMSG_LEN, IFLA_INET6_ADDR_GEN_MODE, parse_counted, parse_link,
};
use crate::sys::netlink::socket::NetlinkSocket;

/// Looks an interface up by name.
///
/// # Errors
/// ENODEV if there is none of that name.
pub(crate) fn get_by_name(netlink: &mut NetlinkSocket, name: IfName) -> Result<Link, SysError> {
    let link = get_by_any_name(netlink, name)?;
    // Acting on an alternative name would be acting on another interface.
    if link.name == name {
        Ok(link)
    } else {
        Err(Errno::ENODEV.into())
    }
}

/// Looks an interface up by its name, or by an alternative name: the kernel finds both.
///
/// # Errors
/// ENODEV if there is none.
pub(crate) fn get_by_any_name(netlink: &mut NetlinkSocket, name: IfName) -> Result<Link, SysError> {
    let name = put_str(libc::IFLA_IFNAME, name.as_bytes());
    get(netlink, &link_message(0, vec![name]))
}

/// Looks an interface up by ifindex.
///
/// # Errors
/// ENODEV if there is none.
pub(crate) fn get_by_index(netlink: &mut NetlinkSocket, index: IfIndex) -> Result<Link, SysError> {
    get(netlink, &link_message(index, Vec::new()))
}

/// The result of a look-up for which a missing interface is not an error.
///
/// # Errors
/// Any other than ENODEV.
pub(crate) fn optional(found: Result<Link, SysError>) -> Result<Option<Link>, SysError> {
    match found {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nothing is filtered: with RTEXT_FILTER_SKIP_STATS, some kernels omit addrgenmode together with the statistics.
fn get(netlink: &mut NetlinkSocket, message: &Message<LinkHeader>) -> Result<Link, SysError> {
    parse_link(netlink.request(libc::RTM_GETLINK, message, libc::RTM_NEWLINK)?)
}

pub(crate) fn get_all(netlink: &mut NetlinkSocket) -> Result<Vec<Link>, SysError> {
    let all = link_message(0, Vec::new());
    netlink.dump(libc::RTM_GETLINK, &all, libc::RTM_NEWLINK, parse_link)
}

/// All taps, as a count needs them. The kernel sends no other interfaces than those of the driver (`link_dump_filtered()` in
/// net/core/rtnetlink.c); a kernel that ignores the filter sends all.
pub(crate) fn get_taps(netlink: &mut NetlinkSocket) -> Result<Vec<CountedTap>, SysError> {
    let kind = put_str(libc::IFLA_INFO_KIND, b"tun");
    let taps = link_message(0, vec![put_nested(libc::IFLA_LINKINFO, &[kind])]);
    let found = netlink.dump(libc::RTM_GETLINK, &taps, libc::RTM_NEWLINK, parse_counted)?;
    Ok(found.into_iter().flatten().collect())
}

/// Changes an interface.
///
/// # Errors
/// The kernel's refusal. Part of the update may have been applied.
pub(crate) fn set(
    netlink: &mut NetlinkSocket,
    index: IfIndex,
    update: &LinkUpdate,
) -> Result<(), SysError> {
    let attributes = [
        update
            .address
            .map(|mac| put_bytes(libc::IFLA_ADDRESS, &mac.0)),
        update.mtu.map(|mtu| put_u32(libc::IFLA_MTU, mtu)),
        update
            .master
            .map(|master| put_u32(libc::IFLA_MASTER, master.map_or(0, |link| link.index))),
        update.creator.map(|creator| {
            let alias = creator.map_or(String::new(), |creator| creator.to_string());
            put_bytes(libc::IFLA_IFALIAS, alias.as_bytes())
        }),
        update.addr_gen_mode.map(|mode| {
            let mode = put_bytes(IFLA_INET6_ADDR_GEN_MODE, &[mode as u8]);
            put_nested(libc::IFLA_AF_SPEC, &[put_nested(AF_INET6, &[mode])])
        }),
    ];
    let mut message = link_message(index, attributes.into_iter().flatten().collect());
    if update.takes_down() {
        message.header.change_mask = LinkFlags::Up;
    }
    let qdisc = update.qdisc.map(|qdisc| qdisc_message(index, qdisc));
    let qdisc = qdisc
        .as_ref()
        .map(|(kind, flags, body)| (*kind, *flags, body as &dyn Emitable));
    netlink.request_ack_after(qdisc, libc::RTM_SETLINK, 0, &message)
}

pub(crate) fn delete(netlink: &mut NetlinkSocket, index: IfIndex) -> Result<(), SysError> {
    netlink.request_ack(libc::RTM_DELLINK, 0, &link_message(index, Vec::new()))
}

/// The groups that interfaces are in (`IFLA_GROUP`).
pub(crate) fn groups(netlink: &mut NetlinkSocket) -> Result<Vec<u32>, SysError> {
    let filter = libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned();
    let all = link_message(0, vec![put_u32(libc::IFLA_EXT_MASK, filter)]);
    netlink.dump(libc::RTM_GETLINK, &all, libc::RTM_NEWLINK, |body| {
        let attributes = body.get(IFINFOMSG_LEN..).unwrap_or_default();
        find_attr(attributes, libc::IFLA_GROUP)?.map_or(Ok(0), get_u32)
    })
}

/// Puts interfaces into an unused group, and deletes the group, in one `sendto(2)`: a kill cannot leave interfaces in the
/// group, and the kernel waits for its readers (RCU) once instead of once for each interface. The kernel counts ifindexes up,
/// so no other interface gets one of these. Only a process that may delete interfaces could request one of them, or put an
/// interface into the group meanwhile.
///
/// # Errors
/// The kernel's refusal to delete. Interfaces that could not be put into the group remain, which is not an error.
pub(crate) fn delete_as_group(
    netlink: &mut NetlinkSocket,
    indexes: &[IfIndex],
    group: u32,
) -> Result<(), SysError> {
    let in_group = |index| link_message(index, vec![put_u32(libc::IFLA_GROUP, group)]);
    let join: Vec<_> = indexes.iter().copied().map(in_group).collect();
    let join = join
        .iter()
        .map(|message| (libc::RTM_SETLINK, 0, message as &dyn Emitable));
    netlink.request_ack_after(join, libc::RTM_DELLINK, 0, &in_group(0))
}

/// Sets the root queueing discipline, or deletes it: then the kernel sets its default when the interface goes up.
fn qdisc_message(index: IfIndex, qdisc: Qdisc) -> (u16, u16, Message<TcHeader>) {
    let header = TcHeader {
        index: index.cast_signed(),
        parent: TcHandle::ROOT,
        ..TcHeader::default()
    };
    let (kind, flags, attributes) = match qdisc {
        Qdisc::Noqueue => (
            libc::RTM_NEWQDISC,
            NLM_F_CREATE | NLM_F_REPLACE,
            vec![put_str(libc::TCA_KIND, b"noqueue")],
        ),
        Qdisc::Default => (libc::RTM_DELQDISC, 0, Vec::new()),
    };
    (kind, flags, Message { header, attributes })
}

/// A message about an interface; ifindex 0 stands for no particular one.
pub(crate) fn link_message(index: IfIndex, attributes: Vec<DefaultNla>) -> Message<LinkHeader> {
    let header = LinkHeader {
        index,
        ..LinkHeader::default()
    };
    Message { header, attributes }
}

/// A socket that is notified of every change to an interface.
#[derive(Debug)]
pub(crate) struct LinkMonitor(Socket);

impl LinkMonitor {
    /// Subscribes to RTMGRP_LINK.
    pub(crate) fn subscribe() -> Result<Self, SysError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()))?;
        Ok(Self(socket))
    }

    /// Waits until an interface changed. The notification is not read: the caller looks the state up, and so gets the latest
    /// even if notifications were lost.
    ///
    /// # Errors
    /// EAGAIN if nothing changed for that long.
    pub(crate) fn wait_change(&mut self, timeout: Duration) -> Result<(), SysError> {
        let micros = i64::try_from(timeout.as_micros())
            .unwrap_or(i64::MAX)
            .max(1);
        setsockopt(&self.0, ReceiveTimeout, &TimeVal::microseconds(micros))?;
        match self.0.recv(&mut Vec::with_capacity(1), libc::MSG_TRUNC) {
            Ok(_) => Ok(()),
            // A signal, or more notifications than the socket holds: in both cases the caller should look.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOBUFS)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
