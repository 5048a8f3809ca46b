//! The tun driver's ioctls (linux/if_tun.h): rtnetlink can neither create a tap nor set its owner.
#![allow(unsafe_code, reason = "ioctl(2)")]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::c_short;
use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat, major, minor};

use crate::model::if_name::IfName;
use crate::model::link::TapInfo;
use crate::model::spec::TapAccess;
use crate::sys::error::{Cause, SysError};
use crate::sys::ifreq::{parse_name, with_name};

/// The driver's device node (Documentation/networking/tuntap.rst of the kernel).
const TUN: &str = "/dev/net/tun";
/// The device number of that node, the same everywhere.
const TUN_DEVICE: (u64, u64) = (10, 200);

/// The calls of linux/if_tun.h, as nix makes them.
mod ioctl {
    nix::ioctl_write_ptr_bad!(tunsetiff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_read_bad!(tungetiff, libc::TUNGETIFF, libc::ifreq);
    nix::ioctl_read_bad!(tungetfeatures, libc::TUNGETFEATURES, libc::c_uint);
    nix::ioctl_write_int_bad!(tunsetpersist, libc::TUNSETPERSIST);
    nix::ioctl_write_int_bad!(tunsetowner, libc::TUNSETOWNER);
    nix::ioctl_write_int_bad!(tunsetgroup, libc::TUNSETGROUP);
    nix::ioctl_write_ptr_bad!(tunsettxfilter, libc::TUNSETTXFILTER, [u16; 2]);
    nix::ioctl_write_int_bad!(tundetachfilter, libc::TUNDETACHFILTER);
    nix::ioctl_write_ptr_bad!(tunsetsteeringebpf, libc::TUNSETSTEERINGEBPF, libc::c_int);
    nix::ioctl_write_ptr_bad!(tunsetfilterebpf, libc::TUNSETFILTEREBPF, libc::c_int);
}

/// A descriptor that has a tap open.
#[derive(Debug)]
pub(crate) struct TunFd(OwnedFd);

impl AsFd for TunFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The tap has no carrier until somebody else opens it: a bridge without other ports would get one with it, lose it when this
/// program ends, and begin DHCP and duplicate address detection each time. Kernels before 6.2 ignore it
/// (linux/if_tun.h).
const IFF_NO_CARRIER: i32 = 0x0040;

impl TunFd {
    /// Creates a tap. It lives until the descriptor is closed, or until [`TunFd::set_persist`].
    ///
    /// # Errors
    /// EBUSY if an interface of that name exists.
    pub(crate) fn create(name: IfName, multi_queue: bool) -> Result<Self, SysError> {
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL | IFF_NO_CARRIER;
        if multi_queue {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        tunsetiff(open()?, with_name(name.as_bytes()), flags)
    }

    /// Creates a tap for QEMU, with a virtio-net header if that is wanted and the kernel has it. Without a name, the kernel
    /// chooses one.
    ///
    /// # Errors
    /// EBUSY if an interface of that name exists.
    pub(crate) fn create_for_qemu(name: Option<IfName>, vnet_hdr: bool) -> Result<Self, SysError> {
        let tun = open()?;
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        if vnet_hdr {
            let mut features = 0;
            // SAFETY: TUNGETFEATURES writes one unsigned int, which `features` is.
            unsafe { ioctl::tungetfeatures(tun.as_raw_fd(), &raw mut features) }?;
            flags |= features.cast_signed() & libc::IFF_VNET_HDR;
        }
        // The kernel puts the first number that is free for %d; no IfName holds such a pattern.
        let request = name.map_or(with_name(b"tap%d"), |name| with_name(name.as_bytes()));
        tunsetiff(tun, request, flags)
    }

    /// Opens a tap that exists, with exactly the flags it has: the kernel takes over those of the last opener.
    ///
    /// # Errors
    /// EBUSY if it has one queue and somebody has it open.
    pub(crate) fn attach(name: IfName, info: &TapInfo) -> Result<Self, SysError> {
        let mut flags = libc::IFF_TAP;
        for (is_set, flag) in [
            (!info.packet_info, libc::IFF_NO_PI),
            (info.vnet_hdr, libc::IFF_VNET_HDR),
            (info.multi_queue, libc::IFF_MULTI_QUEUE),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        tunsetiff(open()?, with_name(name.as_bytes()), flags)
    }

    /// The name that the tap has now.
    pub(crate) fn name(&self) -> Result<IfName, SysError> {
        tun_name(self.as_fd())
    }

    /// Makes the tap outlive its descriptors, or disappear with the last of them.
    pub(crate) fn set_persist(&self, persistent: bool) -> Result<(), SysError> {
        // SAFETY: TUNSETPERSIST takes a number and touches no memory of ours.
        unsafe { ioctl::tunsetpersist(self.0.as_raw_fd(), persistent.into()) }?;
        Ok(())
    }
}

/// Whether a descriptor is one of /dev/net/tun at all: an ioctl on one of some other driver could mean anything there.
pub(crate) fn is_tun(descriptor: impl AsFd) -> Result<bool, Errno> {
    let stat = fstat(descriptor)?;
    Ok(
        SFlag::from_bits_truncate(stat.st_mode).contains(SFlag::S_IFCHR)
            && (major(stat.st_rdev), minor(stat.st_rdev)) == TUN_DEVICE,
    )
}

/// Opens the driver's device node.
///
/// # Errors
/// [`SysError::TunDevice`] where it is the node that cannot be opened.
pub(crate) fn open() -> Result<File, SysError> {
    let file = OpenOptions::new().read(true).write(true).open(TUN);
    file.map_err(|error| match error.raw_os_error() {
        // Of the process and the machine, not of the device node.
        Some(number @ (libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
            Errno::from_raw(number).into()
        }
        Some(number) => SysError::TunDevice(Errno::from_raw(number)),
        None => error.into(),
    })
}

fn tunsetiff(tun: File, mut request: libc::ifreq, flags: libc::c_int) -> Result<TunFd, SysError> {
    // The flags are 16 bits here, the topmost of which is IFF_TUN_EXCL.
    let [a, b, ..] = flags.to_le_bytes();
    request.ifr_ifru.ifru_flags = c_short::from_le_bytes([a, b]);
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    match unsafe { ioctl::tunsetiff(tun.as_raw_fd(), &raw const request) } {
        Ok(_) => Ok(TunFd(tun.into())),
        // No driver but tun's knows this call.
        Err(Errno::ENOTTY) => Err(SysError::TunDevice(Errno::ENOTTY)),
        Err(errno) => Err(errno.into()),
    }
}

/// Sets who may open the tap that this descriptor has open.
pub(crate) fn set_access(tap: BorrowedFd<'_>, access: TapAccess<u32>) -> Result<(), SysError> {
    let set = match access {
        // SAFETY: TUNSETOWNER takes a number and touches no memory of ours.
        TapAccess::Owner(uid) => unsafe { ioctl::tunsetowner(tap.as_raw_fd(), uid.cast_signed()) },
        // SAFETY: TUNSETGROUP takes a number and touches no memory of ours.
        TapAccess::Group(gid) => unsafe { ioctl::tunsetgroup(tap.as_raw_fd(), gid.cast_signed()) },
    };
    match set {
        Ok(_) => Ok(()),
        Err(errno @ Errno::EINVAL) => Err(SysError::Known(Cause::NotMapped(access), errno)),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes away all four filters of a tap, which stay when the program that set them is gone: an owner would not get the frames,
/// or another program's BPF would choose them.
pub(crate) fn reset_filters(tap: BorrowedFd<'_>) -> Result<(), SysError> {
    // struct tun_filter: no flags, and no addresses, which lets everything through.
    let everything = [0, 0];
    // The descriptor of no program.
    let none = -1;
    // SAFETY: TUNSETTXFILTER reads the two numbers, and as many addresses after them as the second says.
    unsafe { ioctl::tunsettxfilter(tap.as_raw_fd(), &raw const everything) }?;
    // SAFETY: TUNDETACHFILTER touches no memory of ours.
    unsafe { ioctl::tundetachfilter(tap.as_raw_fd(), 0) }?;
    // SAFETY: TUNSETSTEERINGEBPF reads one int, which `none` is.
    unsafe { ioctl::tunsetsteeringebpf(tap.as_raw_fd(), &raw const none) }?;
    // SAFETY: TUNSETFILTEREBPF reads one int, which `none` is.
    unsafe { ioctl::tunsetfilterebpf(tap.as_raw_fd(), &raw const none) }?;
    Ok(())
}

/// The name of the tap that a descriptor has open.
///
/// # Errors
/// EBADFD if it has none open.
pub(crate) fn tun_name(tap: BorrowedFd<'_>) -> Result<IfName, SysError> {
    let mut request = with_name(b"");
    // SAFETY: TUNGETIFF writes one ifreq, which `request` is.
    unsafe { ioctl::tungetiff(tap.as_raw_fd(), &raw mut request) }?;
    parse_name(&request)
}
