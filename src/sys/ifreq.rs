//! `struct ifreq`, by which ioctls name interfaces (netdevice(7)), and the two ioctls that turn a name into an ifindex and
//! back: faster than netlink where nothing else is needed.
#![allow(unsafe_code, reason = "ioctl(2), and a C union")]

use std::os::fd::AsRawFd;

use crate::model::if_name::IfName;
use crate::model::link::IfIndex;
use crate::sys::error::SysError;

/// The calls of linux/sockios.h, as nix makes them.
mod ioctl {
    nix::ioctl_read_bad!(siocgifindex, libc::SIOCGIFINDEX, libc::ifreq);
    nix::ioctl_read_bad!(siocgifname, libc::SIOCGIFNAME, libc::ifreq);
}

/// The ifindex of an interface that is known to exist; any socket will do. For a name that nobody has, the kernel would try
/// to load a module of that name: use netlink then.
///
/// # Errors
/// ENODEV if there is none.
pub(crate) fn name_to_index(socket: &impl AsRawFd, name: IfName) -> Result<IfIndex, SysError> {
    let mut request = with_name(name.as_bytes());
    // SAFETY: SIOCGIFINDEX reads and writes one ifreq, which `request` is.
    unsafe { ioctl::siocgifindex(socket.as_raw_fd(), &raw mut request) }?;
    // SAFETY: the kernel has written this member of the union, and any four bytes are an integer.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// The name that the interface of this ifindex has now.
///
/// # Errors
/// ENODEV if there is none.
pub(crate) fn index_to_name(socket: &impl AsRawFd, index: IfIndex) -> Result<IfName, SysError> {
    let mut request = with_name(b"");
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: SIOCGIFNAME reads and writes one ifreq, which `request` is.
    unsafe { ioctl::siocgifname(socket.as_raw_fd(), &raw mut request) }?;
    parse_name(&request)
}

/// An ifreq with this interface name. A longer one than fits would be truncated; no caller has one.
pub(crate) fn with_name(name: &[u8]) -> libc::ifreq {
    // SAFETY: ifreq is a C structure of integers, pointers and unions of them; all zero bytes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (room, &byte) in request.ifr_name.iter_mut().zip(name) {
        *room = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

/// The interface name in an ifreq that the kernel has filled in.
pub(crate) fn parse_name(request: &libc::ifreq) -> Result<IfName, SysError> {
    let bytes = request.ifr_name.map(|c| {
        let [byte] = c.to_ne_bytes();
        byte
    });
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    IfName::new(name)
        .map_err(|_| SysError::Protocol("the kernel returned an invalid interface name"))
}
