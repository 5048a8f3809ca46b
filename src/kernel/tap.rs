//! The tun driver's ioctls. Creation and ownership of a tap have no netlink message.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::c_short;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{SFlag, fstat, major, minor};

use crate::cli::Access;
use crate::error::Cause;
use crate::facts::TapInfo;
use crate::kernel::ifreq::{name_in, named};
use crate::name::IfName;

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
}

/// A descriptor that has a tap open.
#[derive(Debug)]
pub struct TapFd(OwnedFd);

impl TapFd {
    /// Makes a tap. It lives until the descriptor is closed, or until [`TapFd::keep`].
    ///
    /// # Errors
    /// [`Cause::Device`] if /dev/net/tun cannot be opened; EBUSY if an interface of that name exists.
    pub fn make(name: IfName, multi_queue: bool) -> Result<Self, Cause> {
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        if multi_queue {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        set_interface(open()?, named(name.as_bytes()), flags)
    }

    /// Makes a tap of a name that the kernel chooses, and with a virtio-net header if that is wanted and the kernel has
    /// it.
    ///
    /// # Errors
    /// [`Cause::Device`] if /dev/net/tun cannot be opened.
    pub fn make_any(vnet_hdr: bool) -> Result<Self, Cause> {
        let tun = open()?;
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
        if vnet_hdr {
            let mut features = 0;
            // SAFETY: TUNGETFEATURES writes one unsigned int, which `features` is.
            unsafe { ioctl::tungetfeatures(tun.as_raw_fd(), &raw mut features) }?;
            flags |= features.cast_signed() & libc::IFF_VNET_HDR;
        }
        // The kernel puts the first number that is free for %d; no IfName holds such a pattern.
        set_interface(tun, named(b"tap%d"), flags)
    }

    /// Opens a tap that exists and that nobody has open, with exactly the flags it has: the kernel takes over those
    /// of the last opener.
    ///
    /// # Errors
    /// [`Cause::Device`] if /dev/net/tun cannot be opened; EBUSY if somebody has it open.
    pub fn reopen(name: IfName, info: &TapInfo) -> Result<Self, Cause> {
        let mut flags = libc::IFF_TAP;
        for (is_set, flag) in [
            (!info.packet_info, libc::IFF_NO_PI),
            (info.vnet_hdr, libc::IFF_VNET_HDR),
            (info.multi_queue, libc::IFF_MULTI_QUEUE),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        set_interface(open()?, named(name.as_bytes()), flags)
    }

    /// The name that the tap has now.
    ///
    /// # Errors
    /// The tap is gone.
    pub fn name(&self) -> Result<IfName, Cause> {
        name_behind(self.0.as_fd())
    }

    /// The descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Makes the tap outlive the descriptor.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn keep(&self) -> Result<(), Cause> {
        // SAFETY: TUNSETPERSIST takes a number and touches no memory of ours.
        unsafe { ioctl::tunsetpersist(self.0.as_raw_fd(), 1) }?;
        Ok(())
    }
}

/// A descriptor of the tap that whoever started us left open, as QEMU does. It is theirs: it is never closed here.
#[derive(Debug)]
pub struct InheritedTap(RawFd);

impl InheritedTap {
    /// Looks for it among the open descriptors; `is_it` says whether the tap of that name is the one that is meant.
    ///
    /// A program with a privilege of its own may not read /proc/self/fd, so poll(2) is asked which numbers are open.
    ///
    /// # Errors
    /// The kernel does not tell. That is not to be taken for "none": the tap would stay open to everybody.
    pub fn find(
        mut is_it: impl FnMut(IfName) -> Result<bool, Cause>,
    ) -> Result<Option<Self>, Cause> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit = RawFd::try_from(limit)
            .unwrap_or(RawFd::MAX)
            .min(MOST_DESCRIPTORS);
        let (mut first, mut at_once) = (0, FIRST_ASKED);
        while first < limit {
            let numbers = first..limit.min(first + at_once);
            first = numbers.end;
            at_once *= 2;
            for number in open_ones(numbers)? {
                let found = Self(number);
                if is_tun(found.descriptor())?
                    && let Some(name) = open_tap(found.descriptor())?
                    && is_it(name)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: poll(2) said that the number is open, and nothing in this program, which has one thread, closes a
        // descriptor that it did not open.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Whether a descriptor is one of /dev/net/tun at all: an ioctl on one of some other driver could mean anything there.
///
/// # Errors
/// The kernel does not tell.
pub fn is_tun(descriptor: impl AsFd) -> Result<bool, Errno> {
    let stat = fstat(descriptor)?;
    Ok(
        SFlag::from_bits_truncate(stat.st_mode).contains(SFlag::S_IFCHR)
            && (major(stat.st_rdev), minor(stat.st_rdev)) == TUN_DEVICE,
    )
}

/// The name of the tap that a descriptor of /dev/net/tun has open. One that has none open yet is in a bad state.
fn open_tap(descriptor: BorrowedFd<'_>) -> Result<Option<IfName>, Cause> {
    match name_behind(descriptor) {
        Ok(found) => Ok(Some(found)),
        Err(cause) if cause.errno() == Some(Errno::EBADFD) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Descriptors asked about in the first poll(2); twice as many in each one after it. QEMU's tap has a low number.
const FIRST_ASKED: RawFd = 32;
/// QEMU keeps the number that the tap has, and has fewer descriptors than this.
const MOST_DESCRIPTORS: RawFd = 65536;

/// Those of these numbers that are open descriptors.
///
/// # Errors
/// The kernel does not tell.
pub fn open_ones(numbers: std::ops::Range<RawFd>) -> Result<Vec<RawFd>, Cause> {
    let mut entries: Vec<libc::pollfd> = numbers
        .map(|fd| libc::pollfd {
            fd,
            events: 0,
            revents: 0,
        })
        .collect();
    let count = libc::nfds_t::try_from(entries.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: poll(2) reads and writes `count` entries, which is as many as there are.
    Errno::result(unsafe { libc::poll(entries.as_mut_ptr(), count, 0) })?;
    entries.retain(|entry| entry.revents & libc::POLLNVAL == 0);
    Ok(entries.into_iter().map(|entry| entry.fd).collect())
}

/// Opens the driver's device node.
///
/// # Errors
/// [`Cause::Device`] where it is the node that cannot be opened.
pub fn open() -> Result<File, Cause> {
    let file = OpenOptions::new().read(true).write(true).open(TUN);
    file.map_err(|error| match error.raw_os_error() {
        // Of the process and the machine, not of the device node.
        Some(number @ (libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
            Errno::from_raw(number).into()
        }
        Some(number) => Cause::Device(Errno::from_raw(number)),
        None => error.into(),
    })
}

fn set_interface(tun: File, mut request: libc::ifreq, flags: libc::c_int) -> Result<TapFd, Cause> {
    request.ifr_ifru.ifru_flags = low_bits(flags);
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    let result = unsafe { ioctl::tunsetiff(tun.as_raw_fd(), &raw const request) };
    if result == Err(Errno::ENOTTY) {
        // No driver but tun's knows this call.
        return Err(Cause::Device(Errno::ENOTTY));
    }
    result?;
    Ok(TapFd(tun.into()))
}

/// Says who may open the tap that this descriptor has open.
///
/// # Errors
/// The kernel's refusal.
pub fn give(tap: BorrowedFd<'_>, access: Access<u32>) -> Result<(), Cause> {
    match access {
        // SAFETY: TUNSETOWNER takes a number and touches no memory of ours.
        Access::Owner(uid) => unsafe { ioctl::tunsetowner(tap.as_raw_fd(), uid.cast_signed()) },
        // SAFETY: TUNSETGROUP takes a number and touches no memory of ours.
        Access::Group(gid) => unsafe { ioctl::tunsetgroup(tap.as_raw_fd(), gid.cast_signed()) },
    }?;
    Ok(())
}

fn name_behind(tap: BorrowedFd<'_>) -> Result<IfName, Cause> {
    let mut request = named(b"");
    // SAFETY: TUNGETIFF writes one ifreq, which `request` is.
    unsafe { ioctl::tungetiff(tap.as_raw_fd(), &raw mut request) }?;
    name_in(&request)
}

/// The flags of an ifreq are 16 bits, the topmost of which is IFF_TUN_EXCL.
fn low_bits(flags: libc::c_int) -> c_short {
    let [a, b, ..] = flags.to_le_bytes();
    c_short::from_le_bytes([a, b])
}
