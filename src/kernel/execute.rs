//! One step, executed by the kernel.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::apply::Executor;
use crate::apply::failure::StepError;
use crate::kernel::{Kernel, RENAMED, Tap, verify_access};
use crate::model::bridge::{PortState, has_exactly};
use crate::model::change::{LinkUpdate, NewBridge};
use crate::model::if_name::IfName;
use crate::model::link::{IfIndex, TapInfo};
use crate::model::spec::{Creator, Quota, TapAccess};
use crate::plan::step::{Port, Step};
use crate::sys::error::SysError;
use crate::sys::ifreq::name_to_index;
use crate::sys::netlink::link::LinkMonitor;
use crate::sys::netlink::{bridge, fdb, link, vlan};
use crate::sys::qemu_fd::HelperSocket;
use crate::sys::tun::{TunFd, reset_filters, set_access};
use crate::sys::{privilege, process};

/// How long to wait until another program closes the tap, before that is an error: QEMU does so as it ends.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// The time between two tries.
const RELEASE_INTERVAL: Duration = Duration::from_millis(20);

/// Executes steps on one tap.
#[derive(Debug)]
pub(crate) struct TapExecutor<'a> {
    pub(crate) kernel: &'a mut Kernel,
    pub(crate) tap: &'a mut Tap,
    /// The socket on which QEMU waits for its descriptor, if it does.
    pub(crate) helper: Option<&'a HelperSocket>,
}

impl Executor for TapExecutor<'_> {
    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        if self.tap.deleted && !matches!(step, Step::DeleteBridge(_)) {
            return Ok(());
        }
        let netlink = &mut self.kernel.netlink;
        match step {
            Step::CreateBridge(new) => bridge::create(netlink, new)?,
            Step::DeleteBridge(new) => self.delete_new_bridge(new)?,
            Step::CheckQuota(quota) => {
                let counts = self.kernel.count_taps(quota.user, self.tap.index)?;
                counts.check(*quota)?;
            }
            Step::CreateTap {
                access,
                multi_queue,
            } => {
                if self.tap.created.is_none() {
                    let created = TunFd::create(self.tap.name, *multi_queue);
                    self.tap.created = Some(created?);
                }
                self.kernel.give_created(self.tap, *access)?;
            }
            Step::SetLink(update) => self.set_link(update)?,
            Step::SetPort(options) => bridge::set_port(netlink, self.tap.index()?, options)?,
            Step::SetFdb { from, to } => {
                fdb::set_static(netlink, self.tap.index()?, from, to)?;
            }
            Step::SetVlans { from, to } => {
                vlan::set_port_vlans(netlink, self.tap.index()?, from, to)?;
            }
            Step::SetAccess { access, has_fd } => self.set_access(*access, *has_fd)?,
            Step::Up(port) => self.up(port)?,
            Step::DropPrivileges => {
                privilege::drop_all()?;
                process::end_time_limit();
            }
            Step::WaitForwarding { bridge, seconds } => self.wait_forwarding(*bridge, *seconds)?,
            Step::PassFd => match (self.helper, &self.tap.created) {
                (Some(helper), Some(created)) => helper.send_fd(created.as_fd())?,
                (_, _) => return Err(Errno::EBADF.into()),
            },
            Step::SetPersist => match &self.tap.created {
                Some(created) => created.set_persist(true)?,
                None => return Err(Errno::ENODEV.into()),
            },
            Step::DeleteTap => self.delete_tap()?,
            Step::ReleaseTap => self.release()?,
        }
        Ok(())
    }
}

/// How many taps count for a quota.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TapCounts {
    taps: u32,
    all: u32,
}

impl TapCounts {
    /// Refuses one more than the quota permits.
    pub(crate) fn check(self, quota: Quota) -> Result<(), StepError> {
        let Self { taps, all } = self;
        if taps >= quota.max {
            return Err(StepError::QuotaExceeded { quota, taps });
        }
        if all >= quota.max_all {
            return Err(StepError::AllTapsExceeded { quota, taps: all });
        }
        Ok(())
    }
}

impl Kernel {
    /// Counts the taps except this one: those that were created for the user, whoever owns them now, and those that root has
    /// given to the user; and those that were created for any user.
    pub(crate) fn count_taps(
        &mut self,
        user: Creator,
        except: Option<IfIndex>,
    ) -> Result<TapCounts, SysError> {
        let mut counts = TapCounts { taps: 0, all: 0 };
        let own = TapAccess::Owner(user.0);
        for tap in link::get_taps(&mut self.netlink)? {
            if except == Some(tap.index) {
                continue;
            }
            let is_given = tap.info.access() == Some(own);
            let is_theirs = tap.creator.map_or(is_given, |creator| creator == user);
            counts.taps += u32::from(is_theirs);
            // A tap that another run is about to make takes no port yet, and has a limit of ten seconds.
            let is_made = tap.info.persistent || tap.is_port;
            counts.all += u32::from(tap.creator.is_some() && is_made);
        }
        Ok(counts)
    }
}

impl TapExecutor<'_> {
    /// Changes the tap. If it is to be brought down or detached and no reply came, the kernel may have done so. That is not
    /// rolled back, since the port would not get all of its settings back. The tap may also have disappeared.
    fn set_link(&mut self, update: &LinkUpdate) -> Result<(), StepError> {
        let index = self.tap.index()?;
        let netlink = &mut self.kernel.netlink;
        let set = link::set(netlink, index, update);
        if set.is_err() && update.is_removal() {
            match link::optional(link::get_by_index(netlink, index)) {
                Ok(None) => return Ok(()),
                Ok(Some(link)) if update.master.is_some() && link.master.is_none() && !link.up => {
                    return Ok(());
                }
                Ok(Some(_)) | Err(_) => {}
            }
        }
        Ok(set?)
    }

    /// Deletes a bridge that this program created, unless it has a port. If it was never created, or its ifindex is that of
    /// another interface now, there is nothing to delete.
    fn delete_new_bridge(&mut self, new: &NewBridge) -> Result<(), StepError> {
        let netlink = &mut self.kernel.netlink;
        let index = new.link.index;
        match link::optional(link::get_by_index(netlink, index))? {
            Some(link) if link.address == Some(new.mac) => {}
            Some(_) | None => return Ok(()),
        }
        let all = link::get_all(netlink)?;
        if all.iter().any(|link| link.master == Some(index)) {
            return Err(SysError::Invalid("the bridge now has a port").into());
        }
        link::delete(netlink, index)?;
        Ok(())
    }

    /// Sets the owner of a tap that existed, and verifies it: the descriptor that a caller passed on may be that of a tap of
    /// the same name in another network namespace.
    fn set_access(&mut self, access: TapAccess<u32>, has_fd: bool) -> Result<(), StepError> {
        let index = self.tap.index()?;
        let opened = if has_fd { None } else { Some(self.attach()?) };
        let fd = opened.as_ref().map(TunFd::as_fd);
        let fd = fd.or(self.tap.fd()).ok_or(Errno::ENODEV)?;
        set_access(fd, access)?;
        let link = link::get_by_index(&mut self.kernel.netlink, index);
        let link = link.map_err(StepError::Unverified)?;
        let verified = verify_access(&link, access);
        if verified.is_ok() {
            reset_filters(fd).map_err(StepError::Unverified)?;
        }
        if verified.is_err() && link.tap().and_then(TapInfo::access) == Some(access) {
            // Another program has opened a queue before. If the tap had an owner, it gets that owner back. Otherwise it is
            // deleted, since that program would receive the guest's frames.
            match self.tap.access() {
                Some(before) => set_access(fd, before)?,
                None => {
                    self.delete(index)?;
                    self.tap.deleted = true;
                }
            }
        }
        verified
    }

    /// Opens the tap without changing it.
    fn attach(&mut self) -> Result<TunFd, StepError> {
        let link = self.tap.link.as_ref().ok_or(Errno::ENODEV)?;
        let info = link.tap().ok_or(Errno::ENODEV)?;
        let opened = TunFd::attach(link.name, info)?;
        let index = name_to_index(&self.kernel.netlink, link.name)?;
        if index != link.index || opened.name()? != link.name {
            return Err(RENAMED.into());
        }
        Ok(opened)
    }

    /// Brings the tap up as a port, and verifies its settings, since another program may have moved or changed it.
    fn up(&mut self, port: &Port) -> Result<(), StepError> {
        let index = self.tap.index()?;
        let netlink = &mut self.kernel.netlink;
        bridge::set_port_up(netlink, index, &port.options)?;
        let link = link::get_by_index(netlink, index)?;
        if !link.up || link.master != Some(port.bridge.index) {
            return Err(StepError::Contested(
                "another program brought down or moved the tap at the same time",
            ));
        }
        let options = link.port.unwrap_or_default().options;
        let mut is_as_wanted = port.options.differing_from(options).is_empty();
        if let Some(vlans) = &port.vlans {
            is_as_wanted &= vlan::get_port_vlans(netlink, index)? == *vlans;
        }
        if let Some(entries) = &port.fdb {
            is_as_wanted &= has_exactly(&fdb::get_static(netlink, index)?, entries);
        }
        if is_as_wanted {
            Ok(())
        } else {
            Err(StepError::Contested(
                "another program changed the port at the same time",
            ))
        }
    }

    /// Deletes the tap as its owner. By the kernel's rule, a user who may open a tap may make it disappear with the descriptor.
    /// QEMU may be about to close it.
    fn release(&mut self) -> Result<(), StepError> {
        let index = self.tap.index()?;
        let end = Instant::now() + RELEASE_PATIENCE;
        loop {
            let Some(link) = link::optional(link::get_by_index(&mut self.kernel.netlink, index))?
            else {
                return Ok(());
            };
            let info = link.tap().ok_or(Errno::ENODEV)?;
            // Opening it would add a queue, which takes frames from the guest.
            let attached = if info.queues.is_some_and(|queues| queues > 0) {
                Err(SysError::from(Errno::EBUSY))
            } else {
                TunFd::attach(link.name, info)
            };
            let error = match attached.map_err(StepError::from) {
                Ok(tap) if tap.name()? == link.name => return Ok(tap.set_persist(false)?),
                Ok(_) => RENAMED.into(),
                Err(_) if self.kernel.is_gone(index) => return Ok(()),
                Err(error) if error == Errno::EBUSY.into() => error,
                Err(error) => return Err(error),
            };
            if Instant::now() > end {
                return Err(error);
            }
            thread::sleep(RELEASE_INTERVAL);
        }
    }

    /// Waits until the tap forwards. It subscribes to notifications before the first look, so that none is missed.
    fn wait_forwarding(&mut self, bridge: IfName, seconds: u32) -> Result<(), StepError> {
        let index = self.tap.index()?;
        let end = Instant::now() + Duration::from_secs(seconds.into());
        let mut monitor = LinkMonitor::subscribe()?;
        loop {
            let port = link::get_by_index(&mut self.kernel.netlink, index)?.port;
            let state = port.map_or(PortState::Disabled, |port| port.state);
            if state == PortState::Forwarding {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StepError::NotForwarding { bridge, state });
            }
            match monitor.wait_change(left) {
                Err(error) if error.errno() != Some(Errno::EAGAIN) => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Deletes the tap, even if it was created and its ifindex is not known yet.
    fn delete_tap(&mut self) -> Result<(), StepError> {
        let index = match (self.tap.index, &self.tap.created) {
            (Some(index), _) => index,
            (None, Some(created)) => {
                let name = created.name()?;
                let index = name_to_index(&self.kernel.netlink, name)?;
                if created.name()? != name {
                    return Err(RENAMED.into());
                }
                index
            }
            // It was never created, or was deleted already.
            (None, None) => return Ok(()),
        };
        // Before it is closed: until then, no other interface can have its ifindex.
        let deleted = self.delete(index);
        let was_created = self.tap.created.take().is_some();
        if was_created {
            self.tap.index = None;
        }
        if deleted.is_err() && was_created && self.kernel.is_gone(index) {
            return Ok(());
        }
        deleted.map_err(StepError::from)
    }

    /// Deletes an interface. It may be deleted although no reply came, or by another program.
    fn delete(&mut self, index: IfIndex) -> Result<(), SysError> {
        let deleted = link::delete(&mut self.kernel.netlink, index);
        if deleted.is_err() && self.kernel.is_gone(index) {
            return Ok(());
        }
        deleted
    }
}
