//! The running kernel, and one tap in it: [`observe`] looks, [`execute`] carries out one step.

pub(crate) mod execute;
pub(crate) mod observe;

use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netlink_sys::Socket;
use nix::errno::Errno;

use crate::apply::failure::StepError;
use crate::error::{Error, Immutable, StepKind};
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, Link, LinkKind};
use crate::model::spec::TapAccess;
use crate::policy::authorize::AuthorizedCreate;
use crate::sys::error::SysError;
use crate::sys::netlink::link;
use crate::sys::netlink::socket::NetlinkSocket;
use crate::sys::process::random_group;
use crate::sys::qemu_fd::{InheritedFd, InheritedFds};
use crate::sys::tun::{TunFd, reset_filters, set_access};

/// The netlink socket of a call.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(super) netlink: NetlinkSocket<Socket>,
    /// The bridge that was observed last, kept for the next taps.
    pub(super) bridge: Option<Link>,
    pub(super) inherited: InheritedFds,
}

/// One tap: its ifindex, and the descriptors through which this program has it open.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(super) name: IfName,
    /// The interface as it was observed.
    pub(super) link: Option<Link>,
    /// A tap is looked up by name once; every change is addressed to this ifindex.
    pub(super) index: Option<IfIndex>,
    pub(super) created: Option<TunFd>,
    pub(super) inherited: Option<InheritedFd>,
    /// It was deleted already, because another program had it open or together with others. There is nothing to roll back.
    pub(super) deleted: bool,
}

impl Tap {
    /// The tap of this name, which may not exist.
    pub(crate) fn new(name: IfName) -> Self {
        Self {
            name,
            link: None,
            index: None,
            created: None,
            inherited: None,
            deleted: false,
        }
    }

    pub(crate) fn name(&self) -> IfName {
        self.name
    }

    /// The descriptor through which its owner can be set.
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

/// The driver reports only the name of the tap that a descriptor has open, so names are compared after a look-up.
pub(super) const RENAMED: SysError =
    SysError::Invalid("another program renamed the tap at the same time");

impl Kernel {
    /// Opens a netlink socket.
    pub(crate) fn open() -> Result<Self, Error> {
        let netlink = NetlinkSocket::open();
        let netlink = netlink
            .map_err(|error| Error::step(StepKind::OpenNetlink, "open a netlink socket", error))?;
        Ok(Self {
            netlink,
            bridge: None,
            inherited: InheritedFds::default(),
        })
    }

    /// The bridge is observed again for the next tap.
    pub(crate) fn forget_bridge(&mut self) {
        self.bridge = None;
    }

    /// Creates a tap for QEMU. No other program can open it, since it is a single-queue tap. The plan sets its owner. Until
    /// it is handed over, it lives as long as the value that is returned.
    pub(crate) fn create_for_qemu(
        &mut self,
        vnet_hdr: bool,
        auth: &AuthorizedCreate,
    ) -> Result<Tap, Error> {
        let created = TunFd::create_for_qemu(auth.name, vnet_hdr);
        match created.and_then(|created| Ok((created.name()?, created))) {
            Ok((name, created)) => Ok(Tap {
                created: Some(created),
                ..Tap::new(name)
            }),
            Err(reason) => Err(match auth.name {
                Some(name) if reason == Errno::EBUSY.into() => {
                    // It may be an alternative name.
                    self.find_link(name)?;
                    Error::TapImmutable {
                        name,
                        access: None,
                        action: "create the tap".to_owned(),
                        reason: Immutable::Exists,
                        in_use: true,
                    }
                }
                Some(_) | None => Error::step(StepKind::CreateTap, "create a tap", reason),
            }),
        }
    }

    /// Sets the owner of the tap that this run has created, and verifies it: until then, every user who can open /dev/net/tun
    /// can open a multi-queue tap.
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
        // A program that had it open until now may have left filters.
        if link.queues().is_some() {
            reset_filters(created.as_fd())?;
        }
        Ok(())
    }

    /// Groups that no interface is in; empty if the kernel does not list them.
    pub(crate) fn unused_groups(&mut self, count: usize) -> Vec<u32> {
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

    /// Deletes taps together, by a group that no other interface is in. This is best effort; taps that remain are deleted by
    /// their own plans. In a thread, it returns when the taps are gone, while the thread waits until the kernel has finished:
    /// mostly the kernel waits for its readers (RCU).
    pub(crate) fn delete_together(
        &mut self,
        taps: &[&Tap],
        group: u32,
        in_thread: bool,
    ) -> Option<JoinHandle<()>> {
        let indexes: Vec<IfIndex> = taps.iter().filter_map(|tap| tap.index).collect();
        if indexes.is_empty() {
            return None;
        }
        // The result does not matter: each tap is checked afterwards.
        if !in_thread {
            let _ = link::delete_as_group(&mut self.netlink, &indexes, group);
            return None;
        }
        let batch = indexes.clone();
        let delete = move || {
            if let Ok(mut netlink) = NetlinkSocket::open() {
                let _ = link::delete_as_group(&mut netlink, &batch, group);
            }
        };
        let thread = thread::Builder::new().spawn(delete).ok()?;
        // Other processes that wait to change an interface get their turn before the next batch.
        while !thread.is_finished() && !indexes.iter().all(|&index| self.is_gone(index)) {
            thread::sleep(Duration::from_millis(1));
        }
        Some(thread)
    }

    /// Marks the tap as deleted if it was deleted together with others.
    pub(crate) fn mark_if_gone(&mut self, tap: &mut Tap) {
        tap.deleted = tap.index.is_some_and(|index| self.is_gone(index));
    }

    pub(super) fn is_gone(&mut self, index: IfIndex) -> bool {
        link::optional(link::get_by_index(&mut self.netlink, index)) == Ok(None)
    }

    /// Looks an interface up by name.
    ///
    /// # Errors
    /// The kernel's refusal; or it is an alternative name: a change would then be made to an interface of another name.
    pub(crate) fn find_link(&mut self, name: IfName) -> Result<Option<Link>, Error> {
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

    /// The socket, for requests that only `--check` makes.
    pub(crate) fn netlink(&mut self) -> &mut NetlinkSocket<Socket> {
        &mut self.netlink
    }
}

/// Draws a group that is not in `used`; 0 is the default group of all interfaces.
pub(crate) fn unused_group(used: &[u32], mut draw: impl FnMut() -> u32) -> u32 {
    loop {
        let group = draw();
        if group != 0 && !used.contains(&group) {
            return group;
        }
    }
}

/// Verifies that only these users can open the tap, and that only one queue of it is open: that of this program, or of QEMU.
pub(super) fn verify_access(link: &Link, access: TapAccess<u32>) -> Result<(), StepError> {
    match &link.kind {
        LinkKind::Tap(info) if !info.is_for(access) => Err(StepError::Contested(
            "the owner did not change; the inherited descriptor may belong to another tap",
        )),
        LinkKind::Tap(info) if info.queues.is_some_and(|queues| queues != 1) => Err(
            StepError::Contested("another program opened a queue of the tap at the same time"),
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
