//! The only place that touches the system's interfaces: it observes facts and carries out steps.

pub mod attribute;
pub mod bridge;
pub mod guard;
pub mod handover;
pub mod host;
pub mod ifreq;
pub mod link;
pub mod netlink;
pub mod start;
pub mod tap;

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netlink_sys::Socket;
use nix::errno::Errno;

use crate::apply::System;
use crate::check::{Looked, View};
use crate::error::{Cause, Error};
use crate::facts::{Facts, IfIndex, Kind, Link, LinkRef, PortState, Random};
use crate::kernel::guard::{Guard, Role};
use crate::kernel::handover::Handover;
use crate::kernel::netlink::{Netlink, News};
use crate::kernel::tap::{InheritedTap, TapFd, give};
use crate::name::IfName;
use crate::plan::Plan;
use crate::policy::{MakeLeave, Wish};
use crate::step::{LinkChange, NewBridge, Step};

/// The running kernel, and the tap that is being worked on.
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink<Socket>,
    /// The tap that was observed.
    tap: Option<Link>,
    /// Its number, or that of the tap that was made. A tap is found by name once; every change is addressed to this.
    index: Option<IfIndex>,
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
            index: None,
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
            Cause::Refused { .. } | Cause::Ignored | Cause::Late(_) | Cause::Nonsense(_) => {
                Error::step("make a tap", cause)
            }
        })?;
        self.made = Some(tap);
        Ok(name)
    }

    /// Posts a guard over what is done next. That one has no descriptor of a tap that was made, which would keep it alive.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn post_guard(&mut self) -> Result<Role, Error> {
        let role = Guard::post(|| self.made = None);
        role.map_err(|cause| Error::step("start a guard over the new bridge", cause))
    }

    /// What the guard does when the worker was killed: removes the bridge, unless it has a port: then the tap was kept in
    /// time, or the bridge is of use to somebody else by now. The tap itself is never touched.
    ///
    /// # Errors
    /// Always where it has no port, since the work is not done.
    pub fn after_a_kill(&mut self, new: &NewBridge) -> Result<(), Error> {
        let mut remove = || {
            // The other conversation may have been cut off in the middle of an answer.
            self.netlink = Netlink::open()?;
            self.remove_bridge(new, None)
        };
        let not_undone = match remove() {
            Ok(true) => Vec::new(),
            Ok(false) => return Ok(()),
            Err(cause) => {
                let doing = Step::RemoveBridge(new.clone()).purpose();
                vec![format!("{doing} ({cause})")]
            }
        };
        Err(Error::Step {
            doing: "finish".to_owned(),
            cause: Cause::Nonsense("it was killed half way"),
            not_undone,
        })
    }

    /// Looks at the tap, what it is a port of, and the bridge, changing nothing.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn observe(&mut self, tap: IfName, wish: Option<&Wish>) -> Result<Facts, Error> {
        self.tap = self.look_up(tap)?;
        self.index = self.tap.as_ref().map(|link| link.index);
        // What was made is known by its descriptor; had it been renamed, the name would be another interface's.
        if let Some(made) = &self.made
            && made.name() != Ok(tap)
        {
            let cause = Cause::Nonsense("it was renamed at the same moment");
            return Err(Error::step(format!("look up {tap}"), cause));
        }
        let bridge = match wish {
            Some(wish) => self.look_up(wish.bridge)?,
            None => None,
        };
        // A new bridge has IPv6 where the loopback interface has it.
        let example = match (&bridge, wish) {
            (
                None,
                Some(Wish {
                    create_bridge: Some(_),
                    ..
                }),
            ) => self.look_up(IfName::LOOPBACK)?,
            (found, _) => found.clone(),
        };
        let mut facts = Facts {
            tap: self.tap.clone(),
            master: None,
            bridge,
            at_hand: self.made.is_some(),
            vlans: Vec::new(),
            ipv6: example.is_some_and(|link| link.addr_gen_mode.is_some()),
            random: Random::default(),
        };
        let makes_bridge =
            facts.bridge.is_none() && wish.is_some_and(|wish| wish.create_bridge.is_some());
        if makes_bridge || wish.is_some() && facts.tap.is_none() {
            facts.random = random();
        }
        if makes_bridge {
            while self.is_taken(facts.random.index)? {
                facts.random.index += 1;
            }
        }
        if let Some(link) = &facts.tap {
            if wish.is_some() && link.carrier && self.made.is_none() {
                let found = InheritedTap::find(tap);
                self.inherited =
                    found.map_err(|cause| Error::step("look for QEMU's descriptor", cause))?;
                facts.at_hand = self.inherited.is_some();
            }
            facts.master = match (link.master, &facts.bridge) {
                (None, _) => None,
                (Some(index), Some(bridge)) if bridge.index == index => Some(bridge.reference()),
                (Some(index), _) => {
                    let name = ifreq::name_of(&self.netlink, index).map_err(|cause| {
                        Error::step(format!("look up the master of {tap}"), cause)
                    })?;
                    Some(LinkRef { index, name })
                }
            };
            if facts.master.is_some() && wish.is_some_and(|wish| wish.vlans.is_some()) {
                let vlans = bridge::vlans(&mut self.netlink, link.index);
                facts.vlans = vlans.map_err(|cause| Error::step("read its VLANs", cause))?;
            }
        }
        Ok(facts)
    }

    fn is_taken(&mut self, index: IfIndex) -> Result<bool, Error> {
        let found = link::if_there(link::by_index(&mut self.netlink, index));
        let found = found.map_err(|cause| Error::step("find a number for the bridge", cause))?;
        Ok(found.is_some())
    }

    fn look_up(&mut self, name: IfName) -> Result<Option<Link>, Error> {
        let found = link::if_there(link::by_name(&mut self.netlink, name));
        found.map_err(|cause| Error::step(format!("look up {name}"), cause))
    }

    /// The descriptor through which the tap can be given to somebody.
    fn at_hand(&self) -> Option<BorrowedFd<'_>> {
        let made = self.made.as_ref().map(TapFd::descriptor);
        made.or_else(|| self.inherited.as_ref().map(InheritedTap::descriptor))
    }

    fn index(&self) -> Result<IfIndex, Cause> {
        self.index.ok_or(Errno::ENODEV.into())
    }

    /// The number of the tap that `descriptor` has open. The driver tells only its name, so the two are compared
    /// after the look-up: had the tap been renamed in between, its name now would be another one.
    fn index_behind(&self, descriptor: &TapFd, name: IfName) -> Result<IfIndex, Cause> {
        let index = ifreq::index_of(&self.netlink, name)?;
        if descriptor.name()? == name {
            Ok(index)
        } else {
            Err(Cause::Nonsense("it was renamed at the same moment"))
        }
    }
}

impl Kernel {
    /// Removes a bridge that we made, unless it has a port besides `ours`, and returns whether it is gone: it also is where
    /// it never came to be, or another one has got its number.
    fn remove_bridge(&mut self, new: &NewBridge, ours: Option<IfIndex>) -> Result<bool, Cause> {
        let index = new.link.index;
        match link::if_there(link::by_index(&mut self.netlink, index))? {
            Some(link) if link.address == Some(new.mac) => {}
            Some(_) | None => return Ok(true),
        }
        let mut has_ports = false;
        link::each(&mut self.netlink, |link| {
            has_ports |= link.master == Some(index) && Some(link.index) != ours;
        })?;
        if has_ports {
            return Ok(false);
        }
        link::delete(&mut self.netlink, index).map(|()| true)
    }

    /// Waits until the tap forwards. The news are subscribed to before the first look, so none is missed in between.
    fn wait(&mut self, seconds: u32) -> Result<(), Cause> {
        let index = self.index()?;
        let end = Instant::now() + Duration::from_secs(seconds.into());
        let mut news = News::listen()?;
        loop {
            let port = link::by_index(&mut self.netlink, index)?.port;
            let state = port.map_or(PortState::Disabled, |port| port.state);
            if state == PortState::Forwarding {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Cause::Late(state));
            }
            match news.wait(left) {
                Err(cause) if cause.errno() != Some(Errno::EAGAIN) => return Err(cause),
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Kernel {
    /// Whether Docker drops what bridges forward: frames on them go through iptables, and it is there.
    pub fn docker_drops(&mut self) -> bool {
        matches!(self.look_up(IfName::DOCKER_BRIDGE), Ok(Some(_)))
            && host::bridge_nf() == Some(true)
    }

    /// All bridges; none where the kernel does not say.
    pub fn bridges(&mut self) -> Vec<IfName> {
        host::bridges(&mut self.netlink).unwrap_or_default()
    }

    /// Looks at everything that a guest's network depends on, changing nothing.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn look_around(&mut self, looked: Looked) -> Result<View, Error> {
        let failed = |cause| Error::step("look around", cause);
        let bridge = self.look_up(looked.bridge_name)?;
        let bridge_view = match &bridge {
            Some(link) if matches!(link.kind, Kind::Bridge(_)) => {
                Some(host::bridge_view(&mut self.netlink, link).map_err(failed)?)
            }
            Some(_) | None => None,
        };
        let tap = match looked.tap {
            Some(name) => Some((name, self.look_up(name)?)),
            None => None,
        };
        let index = tap
            .as_ref()
            .and_then(|(_, link)| Some(link.as_ref()?.index));
        let tap_has_address = match index {
            Some(index) => {
                host::has_address(&mut self.netlink, index, host::LINK_LOCAL).map_err(failed)?
            }
            None => false,
        };
        let is_held = tap
            .as_ref()
            .is_some_and(|(_, link)| link.as_ref().is_some_and(|link| link.carrier));
        Ok(View {
            tun: host::try_tun(),
            bridge,
            bridge_view,
            bridges: self.bridges(),
            switches: host::switches(),
            tap,
            tap_has_address,
            holder: looked.tap.filter(|_| is_held).and_then(host::holder),
            managers: host::managers(index),
            looked,
        })
    }
}

impl System for Kernel {
    fn change(&mut self, changes: &[LinkChange]) -> Result<(), (usize, Cause)> {
        let index = self.index().map_err(|cause| (0, cause))?;
        link::change(&mut self.netlink, index, changes)
    }

    fn carry_out(&mut self, plan: &Plan, step: &Step) -> Result<(), Cause> {
        match step {
            Step::MakeBridge(new) => bridge::make_bridge(&mut self.netlink, new),
            // Our own tap is released together with it.
            Step::RemoveBridge(new) => match self.remove_bridge(new, self.index)? {
                true => Ok(()),
                false => Err(Cause::Nonsense("another port is in it by now")),
            },
            Step::Isolate(isolated) => {
                let index = self.index()?;
                bridge::isolate(&mut self.netlink, index, *isolated)
            }
            Step::Vlans { from, to } => {
                let index = self.index()?;
                bridge::set_vlans(&mut self.netlink, index, from, to)
            }
            Step::Wait { seconds, .. } => self.wait(*seconds),
            Step::Make {
                access,
                multi_queue,
            } => {
                let made = TapFd::make(plan.tap(), *multi_queue)?;
                give(made.descriptor(), *access)?;
                self.index = Some(self.index_behind(&made, plan.tap())?);
                self.made = Some(made);
                Ok(())
            }
            Step::Change(change) => self.change(&[*change]).map_err(|(_, cause)| cause),
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
                    if self.index_behind(&tap, name)? != index {
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
                let deleted = link::delete(&mut self.netlink, index);
                // It may be gone although no answer came, or because another program was quicker.
                if deleted.is_err()
                    && let Ok(None) = link::if_there(link::by_index(&mut self.netlink, index))
                {
                    return Ok(());
                }
                deleted
            }
        }
    }
}

/// Numbers for bridges that we make begin here, above those that the kernel gives by itself on any machine but the
/// busiest.
const FIRST_OWN_INDEX: IfIndex = 1 << 16;

/// Random bytes, also early at boot, when the kernel does not vouch for them yet.
fn random_bytes() -> [u8; 12] {
    let mut bytes = [0; 12];
    // Linux before 5.6 does not know the first flag.
    for flags in [libc::GRND_INSECURE, libc::GRND_NONBLOCK] {
        // SAFETY: getrandom(2) writes at most as many bytes as it is told, which is as many as there are.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        if usize::try_from(got) == Ok(bytes.len()) {
            return bytes;
        }
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seed = now.as_nanos().rotate_left(32) ^ u128::from(std::process::id());
    for (byte, &seed) in bytes.iter_mut().zip(&seed.to_ne_bytes()) {
        *byte = seed;
    }
    bytes
}

fn random() -> Random {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = random_bytes();
    Random {
        tap: [a, b, c, d, e],
        bridge: [f, g, h, i, j],
        index: FIRST_OWN_INDEX + IfIndex::from(u16::from_ne_bytes([k, l])),
    }
}
