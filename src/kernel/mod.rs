//! The only place that touches the system's interfaces: it observes facts and carries out steps.

pub mod handover;
pub mod link;
pub mod netlink;
pub mod tap;

use std::os::fd::{BorrowedFd, RawFd};

use netlink_sys::Socket;
use nix::errno::Errno;

use crate::apply::System;
use crate::error::{Cause, Error};
use crate::facts::{Facts, IfIndex, Kind, Link};
use crate::kernel::handover::Handover;
use crate::kernel::netlink::Netlink;
use crate::kernel::tap::{InheritedTap, TapFd, give};
use crate::name::IfName;
use crate::plan::Plan;
use crate::policy::MakeLeave;
use crate::step::Step;

/// The running kernel, and the tap that is being worked on.
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink<Socket>,
    /// The tap that was observed. It is found by name once; every change is addressed to this number.
    tap: Option<Link>,
    made: Option<TapFd>,
    inherited: Option<InheritedTap>,
    handover: Option<Handover>,
}

impl Kernel {
    /// Starts a conversation, with the socket to hand a tap over if there is one.
    ///
    /// # Errors
    /// The number is no Unix socket's, or the kernel has no netlink for us.
    pub fn open(handover: Option<RawFd>) -> Result<Self, Error> {
        let handover = handover
            .map(|fd| Handover::over(fd).map_err(|cause| Error::NoSocket { fd, cause }))
            .transpose()?;
        let netlink =
            Netlink::open().map_err(|cause| Error::step("open a netlink socket", cause))?;
        Ok(Self {
            netlink,
            tap: None,
            made: None,
            inherited: None,
            handover,
        })
    }

    /// Makes a tap of the kernel's choosing, to be handed over, and gives it to its owner; returns its name. Until it is
    /// handed over, it lives as long as this.
    ///
    /// # Errors
    /// /dev/net/tun cannot be used, or the kernel refuses.
    pub fn make_any(&mut self, vnet_hdr: bool, leave: &MakeLeave) -> Result<IfName, Error> {
        let make = || {
            let tap = TapFd::make_any(vnet_hdr)?;
            give(tap.descriptor(), leave.access)?;
            Ok((tap.name()?, tap))
        };
        let (name, tap) = make().map_err(|cause| match cause {
            Cause::Device(errno) => Error::Tun(errno),
            Cause::Refused { .. } | Cause::Nonsense(_) => Error::step("make a tap", cause),
        })?;
        self.made = Some(tap);
        Ok(name)
    }

    /// Looks at the tap, what it is a port of, and the bridge, changing nothing.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn observe(&mut self, tap: IfName, bridge: Option<IfName>) -> Result<Facts, Error> {
        self.tap = self.look_up(tap)?;
        // What was made is known by its descriptor; had it been renamed, the name would be another interface's.
        if let Some(made) = &self.made
            && made.name() != Ok(tap)
        {
            let cause = Cause::Nonsense("it was renamed at the same moment");
            return Err(Error::step(format!("look up {tap}"), cause));
        }
        let bridge = match bridge {
            Some(name) => self.look_up(name)?,
            None => None,
        };
        let mut facts = Facts {
            tap: self.tap.clone(),
            master: None,
            bridge,
            at_hand: self.made.is_some(),
            random: random(),
        };
        if let Some(link) = &facts.tap {
            if link.carrier && self.made.is_none() {
                self.inherited = InheritedTap::find(tap);
                facts.at_hand = self.inherited.is_some();
            }
            facts.master = match (link.master, &facts.bridge) {
                (None, _) => None,
                (Some(index), Some(bridge)) if bridge.index == index => Some(bridge.reference()),
                (Some(index), _) => {
                    let master = link::by_index(&mut self.netlink, index);
                    let master = master.map_err(|cause| {
                        Error::step(format!("look up the master of {tap}"), cause)
                    })?;
                    Some(master.reference())
                }
            };
        }
        Ok(facts)
    }

    fn look_up(&mut self, name: IfName) -> Result<Option<Link>, Error> {
        match link::by_name(&mut self.netlink, name) {
            Ok(link) => Ok(Some(link)),
            Err(cause) if cause.errno() == Some(Errno::ENODEV) => Ok(None),
            Err(cause) => Err(Error::step(format!("look up {name}"), cause)),
        }
    }

    /// The descriptor through which the tap can be given to somebody.
    fn at_hand(&self) -> Option<BorrowedFd<'_>> {
        let made = self.made.as_ref().map(TapFd::descriptor);
        made.or_else(|| self.inherited.as_ref().map(InheritedTap::descriptor))
    }

    fn index(&self) -> Result<IfIndex, Cause> {
        match &self.tap {
            Some(link) => Ok(link.index),
            None => Err(Errno::ENODEV.into()),
        }
    }

    /// The number of the tap that `descriptor` has open. The driver tells only its name, so the two are compared
    /// after the look-up: had the tap been renamed in between, its name now would be another one.
    fn index_behind(&mut self, descriptor: &TapFd, name: IfName) -> Result<Link, Cause> {
        let link = link::by_name(&mut self.netlink, name)?;
        if descriptor.name()? == name && matches!(link.kind, Kind::Tap(_)) {
            Ok(link)
        } else {
            Err(Cause::Nonsense("it was renamed at the same moment"))
        }
    }
}

impl System for Kernel {
    fn carry_out(&mut self, plan: &Plan, step: &Step) -> Result<(), Cause> {
        match step {
            Step::Make {
                access,
                multi_queue,
            } => {
                let made = TapFd::make(plan.tap(), *multi_queue)?;
                give(made.descriptor(), *access)?;
                self.tap = Some(self.index_behind(&made, plan.tap())?);
                self.made = Some(made);
                Ok(())
            }
            Step::Change(change) => {
                let index = self.index()?;
                link::change(&mut self.netlink, index, change)
            }
            Step::Give { access, at_hand: _ } => match (self.at_hand(), &self.tap) {
                (Some(tap), _) => give(tap, *access),
                (
                    None,
                    Some(Link {
                        name,
                        index,
                        kind: Kind::Tap(info),
                        ..
                    }),
                ) => {
                    let (name, index) = (*name, *index);
                    let tap = TapFd::reopen(name, info)?;
                    if self.index_behind(&tap, name)?.index != index {
                        return Err(Cause::Nonsense("it was renamed at the same moment"));
                    }
                    give(tap.descriptor(), *access)
                }
                (None, _) => Err(Errno::ENODEV.into()),
            },
            Step::HandOver => match (&self.handover, &self.made) {
                (Some(handover), Some(tap)) => handover.hand(tap.descriptor()),
                (_, _) => Err(Errno::EBADF.into()),
            },
            Step::Keep => match &self.made {
                Some(made) => made.keep(),
                None => Err(Errno::ENODEV.into()),
            },
            Step::Abandon => {
                // Closing its only descriptor removes it.
                self.made = None;
                Ok(())
            }
            Step::Delete => {
                let index = self.index()?;
                link::delete(&mut self.netlink, index)
            }
        }
    }
}

/// Five random bytes. They are no secret and need only differ between taps.
fn random() -> [u8; 5] {
    let mut bytes = [0; 5];
    // SAFETY: getrandom(2) writes at most as many bytes as it is told, which is as many as there are.
    // Should it fail, the address is still valid; that the kernel has random bytes is not ours to enforce.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    bytes
}
