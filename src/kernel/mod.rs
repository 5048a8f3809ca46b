//! The running kernel, and one tap in it: [`observe`] looks, [`execute`] carries out one step.

pub mod execute;
pub mod observe;

use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netlink_sys::Socket;
use nix::errno::Errno;

use crate::apply::failure::{StepError, from_tun};
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link, LinkKind};
use crate::model::spec::TapAccess;
use crate::policy::authorize::AuthorizedCreate;
use crate::sys::error::SysError;
use crate::sys::netlink::link;
use crate::sys::netlink::socket::NetlinkSocket;
use crate::sys::process::random_group;
use crate::sys::qemu_fd::InheritedFd;
use crate::sys::tun::{TunFd, reset_filters, set_access};

/// The netlink socket of a call.
#[derive(Debug)]
pub struct Kernel {
    pub(super) netlink: NetlinkSocket<Socket>,
    /// The bridge that was looked at last, for the taps that follow.
    pub(super) bridge: Option<Link>,
}

/// One tap: its ifindex, and the descriptors that this program has of it.
#[derive(Debug)]
pub struct Tap {
    pub(super) name: IfName,
    /// It as it was observed.
    pub(super) link: Option<Link>,
    /// A tap is found by name once; every change is addressed to this.
    pub(super) index: Option<IfIndex>,
    pub(super) created: Option<TunFd>,
    pub(super) inherited: Option<InheritedFd>,
    /// It was deleted already: since somebody else was in it, or together with others. There is nothing to roll back.
    pub(super) deleted: bool,
}

impl Tap {
    /// The tap of this name, which may not exist.
    pub fn new(name: IfName) -> Self {
        Self {
            name,
            link: None,
            index: None,
            created: None,
            inherited: None,
            deleted: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> IfName {
        self.name
    }

    /// A descriptor through which its owner can be set.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let created = self.created.as_ref().map(TunFd::as_fd);
        created.or_else(|| self.inherited.as_ref().map(InheritedFd::as_fd))
    }

    /// Who could open it when it was observed.
    pub(super) fn access(&self) -> Option<TapAccess<u32>> {
        match &self.link.as_ref()?.kind {
            LinkKind::Tap(info) => info.access(),
            LinkKind::Tun | LinkKind::Bridge(_) | LinkKind::Other(_) | LinkKind::Unset => None,
        }
    }

    pub(super) fn index(&self) -> Result<IfIndex, Errno> {
        self.index.ok_or(Errno::ENODEV)
    }
}

/// The driver tells only the name of what a descriptor has open, so names are compared after a look-up.
pub(super) const RENAMED: SysError = SysError::Invalid("it was renamed at the same moment");

impl Kernel {
    /// Opens a netlink socket.
    pub fn open() -> Result<Self, Error> {
        let netlink = NetlinkSocket::open();
        let netlink = netlink.map_err(|error| Error::failed("open a netlink socket", error))?;
        Ok(Self {
            netlink,
            bridge: None,
        })
    }

    /// The bridge is looked at again for the next tap.
    pub fn forget_bridge(&mut self) {
        self.bridge = None;
    }

    /// Creates a tap for QEMU. Nobody else can open it, since it has one queue; it gets its owner with the plan. Until it is
    /// handed over, it lives as long as the value that is returned.
    pub fn create_for_qemu(&self, vnet_hdr: bool, auth: &AuthorizedCreate) -> Result<Tap, Error> {
        let create = || {
            let created = TunFd::create_for_qemu(auth.name, vnet_hdr).map_err(from_tun)?;
            let mut tap = Tap::new(created.name()?);
            tap.created = Some(created);
            Ok(tap)
        };
        create().map_err(|error| match error {
            StepError::TunDevice(errno) => Error::TunDevice(errno),
            StepError::Sys(reason) => match auth.name {
                Some(name) if reason.errno() == Some(Errno::EBUSY) => Error::TapImmutable {
                    name,
                    action: "create it".to_owned(),
                    reason: "it exists already, and QEMU's helper hands over a new tap",
                    in_use: true,
                },
                Some(_) | None => Error::failed("create a tap", reason),
            },
            StepError::Unverified(reason) => Error::failed("create a tap", reason),
            StepError::Contested(reason) => {
                Error::failed("create a tap", SysError::Invalid(reason))
            }
            // Only steps of a plan fail with these.
            StepError::QuotaExceeded { .. }
            | StepError::AllTapsExceeded { .. }
            | StepError::BridgeInUse
            | StepError::NotForwarding { .. } => Error::failed("create a tap", Errno::EINVAL),
        })
    }

    /// Sets who may open the tap that this run has created, and looks whether that is so: until then, a tap with several queues
    /// is open to everybody who can open /dev/net/tun.
    pub(super) fn give_created(
        &mut self,
        tap: &mut Tap,
        access: TapAccess<u32>,
    ) -> Result<(), StepError> {
        let created = tap.created.as_ref().ok_or(Errno::ENODEV)?;
        set_access(created.as_fd(), access)?;
        let link = link::get_by_name(&mut self.netlink, tap.name)?;
        if created.name()? != tap.name {
            return Err(RENAMED.into());
        }
        tap.index = Some(link.index);
        verify_access(&link, access)?;
        // Whoever was in it may have left something behind.
        if link.queues().is_some() {
            reset_filters(created.as_fd())?;
        }
        Ok(())
    }

    /// Groups that no interface is in; none where that cannot be told.
    pub fn unused_groups(&mut self, count: usize) -> Vec<u32> {
        let Ok(mut used) = link::groups(&mut self.netlink) else {
            return Vec::new();
        };
        let mut draw = || {
            let group = unused_group(&used, random_group);
            used.push(group);
            group
        };
        (0..count).map(|_| draw()).collect()
    }

    /// Deletes taps all at once in a group that nobody else uses, as far as that can be done: what is left is deleted one by
    /// one by its plan. In a thread, it returns when they are gone; for what the kernel then still does, mostly to wait for
    /// its readers (RCU), the thread waits.
    pub fn delete_together(
        &mut self,
        taps: &[&Tap],
        group: u32,
        in_thread: bool,
    ) -> Option<JoinHandle<()>> {
        let indexes: Vec<IfIndex> = taps.iter().filter_map(|tap| tap.index).collect();
        if indexes.is_empty() {
            return None;
        }
        // Whatever becomes of it: it is looked at which of them are gone.
        if !in_thread {
            let _ = link::delete_as_group(&mut self.netlink, &indexes, group);
            return None;
        }
        let lot = indexes.clone();
        let delete = move || {
            if let Ok(mut netlink) = NetlinkSocket::open() {
                let _ = link::delete_as_group(&mut netlink, &lot, group);
            }
        };
        let thread = thread::Builder::new().spawn(delete).ok()?;
        // Whoever else waits to change an interface gets their turn before the next lot.
        while !thread.is_finished() && !indexes.iter().all(|&index| self.is_gone(index)) {
            thread::sleep(Duration::from_millis(1));
        }
        Some(thread)
    }

    /// Looks whether the tap was deleted together with others.
    pub fn look_if_deleted(&mut self, tap: &mut Tap) {
        tap.deleted = tap.index.is_some_and(|index| self.is_gone(index));
    }

    /// Whether no interface has this ifindex.
    pub(super) fn is_gone(&mut self, index: IfIndex) -> bool {
        link::optional(link::get_by_index(&mut self.netlink, index)) == Ok(None)
    }

    /// Looks an interface up by name.
    ///
    /// # Errors
    /// The kernel's refusal; or it is an alternative name: to act on that would be to act on another interface.
    pub fn find_link(&mut self, name: IfName) -> Result<Option<Link>, Error> {
        let found = link::optional(link::get_by_any_name(&mut self.netlink, name));
        match found.map_err(|error| Error::failed(format!("look up {name}"), error))? {
            Some(link) if link.name != name => Err(Error::AlternativeName {
                name,
                interface: link.name,
                as_bridge: false,
            }),
            found => Ok(found),
        }
    }

    /// The socket, for what only `--check` asks.
    pub fn netlink(&mut self) -> &mut NetlinkSocket<Socket> {
        &mut self.netlink
    }
}

/// Draws a group that none of `used` is; 0 is that of all interfaces that nobody put into another.
pub fn unused_group(used: &[u32], mut draw: impl FnMut() -> u32) -> u32 {
    loop {
        let group = draw();
        if group != 0 && !used.contains(&group) {
            return group;
        }
    }
}

/// Whether a tap is open to these and nobody else, by the kernel's own word, while one queue of it is open in a program that
/// we know of: this one, or QEMU.
pub(super) fn verify_access(link: &Link, access: TapAccess<u32>) -> Result<(), StepError> {
    match &link.kind {
        LinkKind::Tap(info) if !info.is_for(access) => Err(StepError::Contested(
            "the kernel says that it is not; the descriptor that was passed on may be another tap's",
        )),
        LinkKind::Tap(info) if info.queues.is_some_and(|queues| queues != 1) => Err(
            StepError::Contested("another program has opened a queue of it meanwhile"),
        ),
        LinkKind::Tap(_) => Ok(()),
        LinkKind::Tun | LinkKind::Bridge(_) | LinkKind::Other(_) | LinkKind::Unset => {
            Err(Errno::ENODEV.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_drawn_until_it_is_nobodys() {
        let mut draws = [5, 0, 7, 9].into_iter();
        assert_eq!(unused_group(&[0, 5, 7], || draws.next().unwrap()), 9);
        assert_eq!(unused_group(&[], || draws.next().unwrap_or(1)), 1);
    }
}
