//! The only place that touches the system's interfaces: it observes facts and carries out steps.

pub mod link;
pub mod netlink;
pub mod tap;

use netlink_sys::Socket;
use nix::errno::Errno;

use crate::apply::System;
use crate::error::{Cause, Error};
use crate::facts::{Facts, IfIndex, Kind, Link};
use crate::kernel::netlink::Netlink;
use crate::kernel::tap::{InheritedTap, TapFd};
use crate::name::IfName;
use crate::plan::Plan;
use crate::step::Step;

/// The running kernel, and the tap that is being worked on.
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink<Socket>,
    /// The tap that was observed. It is found by name once; every change is addressed to this number.
    tap: Option<Link>,
    made: Option<TapFd>,
    inherited: Option<InheritedTap>,
}

impl Kernel {
    /// Starts a conversation.
    ///
    /// # Errors
    /// The kernel has no netlink for us.
    pub fn open() -> Result<Self, Error> {
        let netlink =
            Netlink::open().map_err(|cause| Error::step("open a netlink socket", cause))?;
        Ok(Self {
            netlink,
            tap: None,
            made: None,
            inherited: None,
        })
    }

    /// Looks at the tap, what it is a port of, and the bridge, changing nothing.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn observe(&mut self, tap: IfName, bridge: Option<IfName>) -> Result<Facts, Error> {
        self.tap = self.look_up(tap)?;
        let bridge = match bridge {
            Some(name) => self.look_up(name)?,
            None => None,
        };
        let mut facts = Facts {
            tap: self.tap.clone(),
            master: None,
            bridge,
            inherited: false,
            random: random(),
        };
        if let Some(link) = &facts.tap {
            if link.carrier {
                self.inherited = InheritedTap::find(tap);
                facts.inherited = self.inherited.is_some();
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
                made.give(*access)?;
                self.tap = Some(self.index_behind(&made, plan.tap())?);
                self.made = Some(made);
                Ok(())
            }
            Step::Change(change) => {
                let index = self.index()?;
                link::change(&mut self.netlink, index, change)
            }
            Step::Give {
                access,
                inherited: _,
            } => match (&self.inherited, &self.tap) {
                (Some(tap), _) => tap.give(*access),
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
                    tap.give(*access)
                }
                (None, _) => Err(Errno::ENODEV.into()),
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
