//! The only place that touches the system's interfaces: it observes facts and carries out steps.

pub mod attribute;
pub mod bridge;
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
use crate::cli::Access;
use crate::error::{Cause, Error};
use crate::facts::{Facts, IfIndex, Kind, Link, LinkRef, PortState, Random};
use crate::kernel::handover::Handover;
use crate::kernel::netlink::{Netlink, News};
use crate::kernel::tap::{InheritedTap, TapFd, give};
use crate::name::IfName;
use crate::plan::{Plan, access_of};
use crate::policy::{MakeLeave, Wish};
use crate::step::{NewBridge, Step};

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
        let mut make = || {
            let tap = TapFd::make_any(vnet_hdr)?;
            let name = tap.name()?;
            self.give_made(tap, name, leave.access)?;
            Ok(name)
        };
        make().map_err(|cause| match cause {
            Cause::Device(errno) => Error::Tun(errno),
            Cause::Refused { .. }
            | Cause::Ignored
            | Cause::Contested(_)
            | Cause::Late(_)
            | Cause::Nonsense(_) => Error::step("make a tap", cause),
        })
    }

    /// Gives the tap that was made just now to its owner, and looks whether it is theirs alone: until it is given, a tap with
    /// several queues is open to everybody who can open /dev/net/tun.
    fn give_made(&mut self, tap: TapFd, name: IfName, access: Access<u32>) -> Result<(), Cause> {
        let given = give(tap.descriptor(), access);
        let made = self.made.insert(tap);
        given?;
        let link = link::by_name(&mut self.netlink, name)?;
        // The driver tells only the name of what a descriptor has open. Had the tap been renamed before the look, the name
        // would be another one's, and so it is asked for after it.
        if made.name()? != name {
            return Err(RENAMED);
        }
        self.index = Some(link.index);
        is_given(&link, access)
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
            return Err(Error::step(format!("look up {tap}"), RENAMED));
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
            if wish.is_some() && self.made.is_none() {
                let netlink = &mut self.netlink;
                // It may have been renamed since it was looked up.
                let found = InheritedTap::find(|name| {
                    Ok(name == tap
                        || link::if_there(link::by_name(netlink, name))?
                            .is_some_and(|other| other.index == link.index))
                });
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

    /// Gives a tap that was there, and looks whether that happened: what a caller passed on as its descriptor may be one of a
    /// tap of the same name elsewhere.
    fn give(&mut self, access: Access<u32>, is_at_hand: bool) -> Result<(), Cause> {
        let index = self.index()?;
        let opened = match &self.tap {
            _ if is_at_hand => None,
            Some(Link {
                name,
                kind: Kind::Tap(info),
                ..
            }) => {
                let (name, tap) = (*name, TapFd::reopen(*name, info)?);
                if ifreq::index_of(&self.netlink, name)? != index || tap.name()? != name {
                    return Err(RENAMED);
                }
                Some(tap)
            }
            Some(_) | None => return Err(Errno::ENODEV.into()),
        };
        let descriptor = opened.as_ref().map(TapFd::descriptor);
        let descriptor = descriptor.or(self.at_hand()).ok_or(Errno::ENODEV)?;
        give(descriptor, access)?;
        let link = link::by_index(&mut self.netlink, index)
            .map_err(|_| Cause::Contested("the kernel does not say whether it is"))?;
        let given = is_given(&link, access);
        // A queue that somebody else has opened before it was given would keep it alive, and get the guest's frames.
        if let Kind::Tap(info) = &link.kind
            && given.is_err()
            && access_of(info) == Some(access)
            && !info.persistent
        {
            self.delete(index)?;
        }
        given
    }

    /// Removes an interface. It may be gone although no answer came, or because another program was quicker.
    fn delete(&mut self, index: IfIndex) -> Result<(), Cause> {
        let deleted = link::delete(&mut self.netlink, index);
        if deleted.is_err()
            && let Ok(None) = link::if_there(link::by_index(&mut self.netlink, index))
        {
            return Ok(());
        }
        deleted
    }

    /// Removes the tap that was made, also where it was not looked at yet, and whoever else has it open.
    fn abandon(&mut self) -> Result<(), Cause> {
        let Some(made) = self.made.take() else {
            return Ok(());
        };
        let index = match self.index {
            Some(index) => index,
            None => {
                let name = made.name()?;
                let index = ifreq::index_of(&self.netlink, name)?;
                if made.name()? != name {
                    return Err(RENAMED);
                }
                index
            }
        };
        // Before it is closed: until then, nothing else can have its number.
        let deleted = self.delete(index);
        drop(made);
        match deleted {
            Err(_) if link::if_there(link::by_index(&mut self.netlink, index)) == Ok(None) => {
                Ok(())
            }
            deleted => deleted,
        }
    }

    /// How many taps these may open.
    fn count(&mut self, access: Access<u32>) -> Result<u32, Cause> {
        let mut count = 0;
        link::each(&mut self.netlink, |link| {
            if let Kind::Tap(info) = &link.kind
                && access_of(info) == Some(access)
            {
                count += 1;
            }
        })?;
        Ok(count)
    }

    /// Brings the tap up as a port, and looks whether it is one of this bridge: somebody may have moved it.
    fn up(&mut self, bridge: LinkRef) -> Result<(), Cause> {
        let index = self.index()?;
        link::change_port(&mut self.netlink, index, &[], true)?;
        let link = link::by_index(&mut self.netlink, index)?;
        if link.up && link.master == Some(bridge.index) {
            Ok(())
        } else {
            Err(Cause::Contested(
                "it was taken down or moved at the same moment",
            ))
        }
    }
}

const RENAMED: Cause = Cause::Nonsense("it was renamed at the same moment");

/// Whether a tap is open to these and nobody else, by the kernel's own word, while one queue of it is open in a program that
/// we know of: this one, or QEMU.
fn is_given(link: &Link, access: Access<u32>) -> Result<(), Cause> {
    match &link.kind {
        Kind::Tap(info) if access_of(info) != Some(access) => Err(Cause::Contested(
            "the kernel says that it is not; the descriptor that was passed on may be another tap's",
        )),
        Kind::Tap(info) if info.queues.is_some_and(|queues| queues != 1) => Err(Cause::Contested(
            "another program has opened a queue of it before it had an owner",
        )),
        Kind::Tap(_) => Ok(()),
        Kind::Tun | Kind::Bridge(_) | Kind::Other(_) | Kind::Plain => Err(Errno::ENODEV.into()),
    }
}

impl Kernel {
    /// Removes a bridge that we made, unless it has a port. It also is gone where it never came to be, or another one has got
    /// its number.
    fn remove_bridge(&mut self, new: &NewBridge) -> Result<(), Cause> {
        let index = new.link.index;
        match link::if_there(link::by_index(&mut self.netlink, index))? {
            Some(link) if link.address == Some(new.mac) => {}
            Some(_) | None => return Ok(()),
        }
        let mut has_ports = false;
        link::each(&mut self.netlink, |link| {
            has_ports |= link.master == Some(index);
        })?;
        if has_ports {
            return Err(Cause::Nonsense("a port is in it by now"));
        }
        link::delete(&mut self.netlink, index)
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
        Ok(View {
            tun: host::try_tun(),
            bridge,
            bridge_view,
            bridges: self.bridges(),
            switches: host::switches(),
            tap,
            tap_has_address,
            holder: looked
                .tap
                .filter(|_| index.is_some())
                .and_then(host::holder),
            managers: host::managers(index),
            looked,
        })
    }
}

impl System for Kernel {
    fn carry_out(&mut self, plan: &Plan, step: &Step) -> Result<(), Cause> {
        match step {
            Step::MakeBridge(new) => bridge::make_bridge(&mut self.netlink, new),
            Step::RemoveBridge(new) => self.remove_bridge(new),
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
                self.give_made(made, plan.tap(), *access)
            }
            Step::Quota { access, most, made } => {
                let others = self.count(*access)?.saturating_sub((*made).into());
                if others < *most {
                    Ok(())
                } else {
                    Err(Errno::EDQUOT.into())
                }
            }
            Step::Change(change) => {
                let index = self.index()?;
                link::change(&mut self.netlink, index, change)
            }
            Step::Up(bridge) => self.up(*bridge),
            Step::Give { access, at_hand } => self.give(*access, *at_hand),
            Step::HandOver => match (&self.handover, &self.made) {
                (Some(handover), Some(tap)) => handover.hand(tap.descriptor()),
                (_, _) => Err(Errno::EBADF.into()),
            },
            Step::Keep => match &self.made {
                Some(made) => made.keep(),
                None => Err(Errno::ENODEV.into()),
            },
            Step::Abandon => self.abandon(),
            Step::Delete => {
                let index = self.index()?;
                self.delete(index)
            }
        }
    }
}

/// Numbers for bridges that we make begin here, where those that the kernel gives by itself, counting up from 1, never come.
const FIRST_OWN_INDEX: IfIndex = 1 << 30;

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
