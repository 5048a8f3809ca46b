//! File descriptors: of taps, inherited, and passed over a socket.

use crate::common::PATIENCE;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command inherit a descriptor, as this number.
pub fn inherit(command: &mut Command, descriptor: impl Into<OwnedFd>, number: RawFd) {
    let descriptor = descriptor.into();
    assert_ne!(descriptor.as_raw_fd(), number);
    let duplicate = move || {
        // SAFETY: takes two numbers; what else has the second one in this child is not used by it any more.
        Errno::result(unsafe { libc::dup2(descriptor.as_raw_fd(), number) })?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(duplicate) };
}

/// What came over the socket: the descriptors that came with exactly one byte, or none if there was no byte.
pub fn received(socket: &UnixStream) -> Vec<OwnedFd> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 16];
    let mut room = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut room, Some(&mut space), flags) {
            // A receive with a timeout is not restarted after a signal, and libc signals all threads if one changes its ids.
            Err(Errno::EINTR) => {}
            message => break message.unwrap(),
        }
    };
    let descriptors: Vec<OwnedFd> = message
        .cmsgs()
        .unwrap()
        .flat_map(|message| {
            let ControlMessageOwned::ScmRights(descriptors) = message else {
                panic!("{message:?}");
            };
            descriptors
        })
        // SAFETY: recvmsg(2) has just made these descriptors for us, and nobody else knows their numbers.
        .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
        .collect();
    assert_eq!(
        message.bytes,
        descriptors.len(),
        "one byte with one descriptor"
    );
    descriptors
}

const TUNSETIFF: libc::Ioctl =
    nix::request_code_write!(b'T', 202, std::mem::size_of::<libc::c_int>());

/// Opens a tap as the calling thread's user.
pub fn open_tap(name: &str, flags: i32) -> io::Result<File> {
    let tun = open_tun()?;
    set_interface(&tun, name, flags)?;
    Ok(tun)
}

/// Opens the driver's device.
pub fn open_tun() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open("/dev/net/tun")
}

/// Opens a tap, which is created where there is none of that name.
pub fn set_interface(tun: &File, name: &str, flags: i32) -> io::Result<()> {
    let mut ifname = [0; libc::IFNAMSIZ];
    assert!(name.len() < ifname.len());
    for (to, from) in ifname.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let ifru_flags = i16::try_from(flags | libc::IFF_TAP | libc::IFF_NO_PI).unwrap();
    let mut request = libc::ifreq {
        ifr_name: ifname,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags },
    };
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives on until it returns; the name in it ends with a zero.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request) };
    Errno::result(done)?;
    Ok(())
}
