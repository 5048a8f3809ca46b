//! `struct ifreq`, by which ioctls speak of interfaces (netdevice(7)), and the two of them that turn a name into a number
//! and back: quicker than netlink where nothing else is wanted to be known.

use std::os::fd::AsRawFd;

use crate::error::Cause;
use crate::facts::IfIndex;
use crate::name::IfName;

/// The calls of linux/sockios.h, as nix makes them.
mod ioctl {
    nix::ioctl_read_bad!(siocgifindex, libc::SIOCGIFINDEX, libc::ifreq);
    nix::ioctl_read_bad!(siocgifname, libc::SIOCGIFNAME, libc::ifreq);
}

/// The number of an interface that is known to be there; any socket will do. For a name that nobody has, the kernel would
/// go looking for a module of that name: ask by netlink then.
///
/// # Errors
/// ENODEV if there is none of that name.
pub fn index_of(socket: &impl AsRawFd, name: IfName) -> Result<IfIndex, Cause> {
    let mut request = named(name.as_bytes());
    // SAFETY: SIOCGIFINDEX reads and writes one ifreq, which `request` is.
    unsafe { ioctl::siocgifindex(socket.as_raw_fd(), &raw mut request) }?;
    // SAFETY: the kernel has written this member of the union, and any four bytes are a number.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// The name that the interface of this number has now.
///
/// # Errors
/// ENODEV if there is none of that number.
pub fn name_of(socket: &impl AsRawFd, index: IfIndex) -> Result<IfName, Cause> {
    let mut request = named(b"");
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: SIOCGIFNAME reads and writes one ifreq, which `request` is.
    unsafe { ioctl::siocgifname(socket.as_raw_fd(), &raw mut request) }?;
    name_in(&request)
}

/// An ifreq about an interface of this name. What is longer than a name can be is cut; no caller has such a thing.
pub fn named(name: &[u8]) -> libc::ifreq {
    // SAFETY: ifreq is a C structure of integers, pointers and unions of them; all zero bytes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (room, &byte) in request.ifr_name.iter_mut().zip(name) {
        *room = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

/// The name that the kernel has put into an ifreq.
///
/// # Errors
/// It is none.
pub fn name_in(request: &libc::ifreq) -> Result<IfName, Cause> {
    let bytes = request.ifr_name.map(|c| {
        let [byte] = c.to_ne_bytes();
        byte
    });
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    IfName::new(name).map_err(|_| Cause::Nonsense("an interface with an impossible name"))
}
