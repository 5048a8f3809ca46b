//! From leave to steps. A plan is plain data: dry run, log, apply and undo all read the same one.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::cli::Access;
use crate::facts::{AddrGenMode, Link, LinkRef, MAX_MTU, MIN_IPV6_MTU, Mac};
use crate::name::IfName;
use crate::policy::{DownLeave, Tap, UpLeave};
use crate::step::{LinkChange, NewBridge, Step};
use crate::vlan::PortVlan;

impl LinkChange {
    /// The change that takes this one back, on an interface that was `before`.
    fn inverse(&self, before: &Before) -> Self {
        Self {
            address: self.address.and(before.address),
            mtu: self.mtu.and(Some(before.mtu)),
            up: self.up.and(Some(before.up)),
            master: self.master.and(Some(before.master)),
            addr_gen_mode: self.addr_gen_mode.and(before.addr_gen_mode),
        }
    }
}

/// What a change can change, as it is at one point of the plan.
struct Before {
    address: Option<Mac>,
    mtu: u32,
    up: bool,
    master: Option<LinkRef>,
    addr_gen_mode: Option<AddrGenMode>,
}

impl Before {
    fn of(tap: &Tap) -> Self {
        let Link {
            address,
            mtu,
            up,
            addr_gen_mode,
            ..
        } = tap.link;
        Self {
            address,
            mtu,
            up,
            master: tap.master,
            addr_gen_mode,
        }
    }

    fn then(self, change: &LinkChange) -> Self {
        Self {
            address: change.address.or(self.address),
            mtu: change.mtu.unwrap_or(self.mtu),
            up: change.up.unwrap_or(self.up),
            master: change.master.unwrap_or(self.master),
            addr_gen_mode: change.addr_gen_mode.or(self.addr_gen_mode),
        }
    }
}

/// A step and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// What undoes it, also where it was done by half. None where nothing needs to be undone: because an earlier
    /// step's undo takes it along, or because it is last and is done whole or not at all.
    pub undo: Option<Step>,
}

/// Something worth saying that is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Up on that bridge already, with everything as it should be.
    AlreadyUp(IfName),
    /// It was a port of another interface before.
    Moved {
        /// The other one.
        from: IfName,
        /// The bridge.
        to: IfName,
    },
    /// It was not waited for, since nothing forwards until a program has it open.
    NotWaited,
    /// It is gone already.
    Gone,
    /// It is down and in no bridge already.
    AlreadyDown,
    /// It is not persistent and goes with the program that has it open.
    NotPersistent,
}

impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyUp(bridge) => write!(f, "already up on {bridge}, nothing to do"),
            Self::Moved { from, to } => write!(f, "moved from {from} to {to}"),
            Self::NotWaited => {
                f.write_str("not waited for: it forwards only while a program has it open")
            }
            Self::Gone => f.write_str("does not exist (any more), nothing to do"),
            Self::AlreadyDown => f.write_str("already down and in no bridge, nothing to do"),
            Self::NotPersistent => f.write_str(
                "not removed: it is not persistent and goes with the program that has it open",
            ),
        }
    }
}

/// What the tap is afterwards, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Up on a bridge.
    Up {
        /// The bridge.
        bridge: IfName,
        /// Who may open it; everybody where that is nobody in particular.
        given_to: Option<Access<u32>>,
    },
    /// Down.
    Down {
        /// What it was detached from.
        from: Option<IfName>,
        /// It is removed.
        removed: bool,
        /// Who may open it, or might until now.
        given_to: Option<Access<u32>>,
    },
    /// It was gone before.
    Gone,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given_to = match self {
            Self::Up { bridge, given_to } => {
                write!(f, "up on {bridge}")?;
                given_to
            }
            Self::Down {
                from,
                removed,
                given_to,
            } => {
                f.write_str("down")?;
                if let Some(from) = from {
                    write!(f, ", detached from {from}")?;
                }
                if *removed {
                    f.write_str(", removed")?;
                }
                given_to
            }
            Self::Gone => return f.write_str("gone"),
        };
        match given_to {
            Some(access) => write!(f, ", given to {access}"),
            None => f.write_str(", given to everybody"),
        }
    }
}

/// The steps to take, and what to say of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    tap: IfName,
    steps: Vec<Planned>,
    notice: Option<Notice>,
    outcome: Outcome,
}

impl Plan {
    /// What it takes to bring the tap up.
    pub fn up(leave: &UpLeave) -> Self {
        match &leave.tap {
            None => Self::make_and_bring_up(leave),
            Some(tap) => Self::converge(leave, tap),
        }
    }

    fn make_and_bring_up(leave: &UpLeave) -> Self {
        let mtu = wanted_mtu(leave);
        let first = LinkChange {
            address: Some(Mac::above_every_card_from(leave.random.tap)),
            mtu: Some(mtu),
            addr_gen_mode: (leave.ipv6 && mtu >= MIN_IPV6_MTU).then_some(AddrGenMode::None),
            ..LinkChange::default()
        };
        let make = Step::Make {
            access: leave.access,
            multi_queue: leave.wish.multi_queue,
        };
        // The bridge comes as late as it can: what was done before goes with this program in any case.
        let steps = [make, Step::Change(first)]
            .into_iter()
            .chain(bridge_to_make(leave))
            .chain(join(leave, None, Some(leave.bridge.link), true))
            .chain([Step::Keep])
            .map(|step| Planned {
                undo: undo_of_making(&step),
                step,
            })
            .collect();
        Self {
            tap: leave.wish.tap,
            steps,
            // Nobody has it open once this program ends, so it would not go on forwarding.
            notice: leave.wish.wait.map(|_| Notice::NotWaited),
            outcome: Outcome::Up {
                bridge: leave.bridge.link.name,
                given_to: Some(leave.access),
            },
        }
    }

    /// Only what differs is changed.
    fn converge(leave: &UpLeave, tap: &Tap) -> Self {
        let link = &tap.link;
        let bridge = leave.bridge.link;
        let mtu = wanted_mtu(leave);
        let address = link.address.map(Mac::above_every_card);
        let makes_addresses = match link.addr_gen_mode {
            Some(mode) => mode != AddrGenMode::None,
            // It is too small for IPv6; with a larger MTU it gets that, and begins to.
            None => link.mtu < MIN_IPV6_MTU && leave.ipv6,
        } && mtu >= MIN_IPV6_MTU;
        let joins = link.master != Some(bridge.index);
        let joins_limited = joins && !limits(leave, None).is_empty();
        // Only going down removes a link-local address that the tap has got already, and only what is down joins the
        // bridge without a frame getting past the limits that it is to have.
        let down = LinkChange {
            up: ((makes_addresses || joins_limited) && link.up).then_some(false),
            ..LinkChange::default()
        };
        // What the tap does not have yet cannot be changed in the message that gives it: IPv6 comes with the MTU.
        let widen = LinkChange {
            mtu: (makes_addresses && link.addr_gen_mode.is_none()).then_some(mtu),
            ..LinkChange::default()
        };
        let first = LinkChange {
            address: address.filter(|_| address != link.address),
            mtu: (mtu != link.mtu && widen.mtu.is_none()).then_some(mtu),
            addr_gen_mode: makes_addresses.then_some(AddrGenMode::None),
            ..LinkChange::default()
        };
        let goes_up = !link.up || down.up.is_some();

        let changes = [down, widen, first]
            .into_iter()
            .filter(|change| *change != LinkChange::default())
            .map(Step::Change);
        // The bridge comes first: if it cannot be made, a guest that uses the tap has not noticed.
        let wanted = bridge_to_make(leave).into_iter().chain(changes).chain(join(
            leave,
            Some(tap),
            joins.then_some(bridge),
            goes_up,
        ));
        let mut steps = with_undo(tap, wanted);
        let is_held = tap.at_hand || link.carrier;
        if let Some(seconds) = leave.wish.wait.filter(|_| is_held) {
            steps.push(Planned {
                step: Step::Wait {
                    bridge: bridge.name,
                    seconds,
                },
                undo: None,
            });
        }
        // An owner that was set cannot be taken back to none, so this comes last.
        if let Some(access) = new_access(leave, tap) {
            steps.push(Planned {
                step: Step::Give {
                    access,
                    at_hand: tap.at_hand,
                },
                undo: None,
            });
        }
        let notice = match tap.master {
            Some(from) if from != bridge => Some(Notice::Moved {
                from: from.name,
                to: bridge.name,
            }),
            _ if steps.is_empty() => Some(Notice::AlreadyUp(bridge.name)),
            _ if leave.wish.wait.is_some() && !is_held => Some(Notice::NotWaited),
            Some(_) | None => None,
        };
        Self {
            tap: link.name,
            steps,
            notice,
            outcome: Outcome::Up {
                bridge: bridge.name,
                given_to: new_access(leave, tap).or(access_of(tap)),
            },
        }
    }

    /// What it takes to bring up the tap that was made for QEMU, and hand it over.
    ///
    /// Nothing that is done to the tap needs to be undone: until it is handed over, it lives no longer than this program.
    pub fn hand_over(leave: &UpLeave) -> Self {
        let mut plan = Self::up(leave);
        plan.steps.push(Planned {
            step: Step::HandOver,
            undo: None,
        });
        for planned in &mut plan.steps {
            planned.undo = undo_of_making(&planned.step);
        }
        plan
    }

    /// What it takes to take the tap down.
    pub fn down(leave: &DownLeave) -> Self {
        let Some(tap) = &leave.tap else {
            return Self {
                tap: leave.name,
                steps: Vec::new(),
                notice: Some(Notice::Gone),
                outcome: Outcome::Gone,
            };
        };
        let change = LinkChange {
            up: tap.link.up.then_some(false),
            master: tap.link.master.map(|_| None),
            ..LinkChange::default()
        };
        let removed = leave.delete && tap.info.persistent;
        let step = if removed {
            // The kernel detaches it and brings it down by itself, all at once.
            Some(Step::Delete)
        } else {
            Some(Step::Change(change)).filter(|_| change != LinkChange::default())
        };
        let steps = with_undo(tap, step.into_iter());
        let notice = if leave.delete && !removed {
            Some(Notice::NotPersistent)
        } else {
            steps.is_empty().then_some(Notice::AlreadyDown)
        };
        Self {
            tap: leave.name,
            steps,
            notice,
            outcome: Outcome::Down {
                from: tap.master.map(|master| master.name),
                removed,
                given_to: access_of(tap),
            },
        }
    }

    /// The tap that the plan is about.
    pub fn tap(&self) -> IfName {
        self.tap
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Planned] {
        &self.steps
    }

    /// The bridge that is made. It outlasts this program from its first moment on, and the tap only later: a kill in between
    /// would leave the bridge alone.
    pub fn new_bridge(&self) -> Option<&NewBridge> {
        self.steps.iter().find_map(|planned| {
            if let Step::MakeBridge(new) = &planned.step {
                Some(new)
            } else {
                None
            }
        })
    }

    /// What the tap is afterwards.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What to say once it is done.
    pub fn notice(&self) -> Option<Notice> {
        self.notice
    }
}

/// The bridge's MTU, since a port with a smaller one pulls the bridge, and with it every guest, down to its own.
fn wanted_mtu(leave: &UpLeave) -> u32 {
    leave.wish.mtu.unwrap_or(leave.bridge.mtu.min(MAX_MTU))
}

fn bridge_to_make(leave: &UpLeave) -> Option<Step> {
    leave.bridge.new.clone().map(Step::MakeBridge)
}

/// What takes a step back for a tap that lives no longer than this program: it takes along all that was done to it.
fn undo_of_making(step: &Step) -> Option<Step> {
    match step {
        Step::Make { .. } => Some(Step::Abandon),
        Step::MakeBridge(new) => Some(Step::RemoveBridge(new.clone())),
        Step::Change(_)
        | Step::Isolate(_)
        | Step::Vlans { .. }
        | Step::Wait { .. }
        | Step::Give { .. }
        | Step::HandOver
        | Step::Keep
        | Step::RemoveBridge(_)
        | Step::Abandon
        | Step::Delete => None,
    }
}

/// The steps by which a tap becomes the port that is wanted, and goes up: in one message where that will do. Where the
/// port is to be limited, it is so before it goes up: until then, no frame passes.
fn join(leave: &UpLeave, tap: Option<&Tap>, master: Option<LinkRef>, up: bool) -> Vec<Step> {
    let port = tap.filter(|_| master.is_none());
    let limits = limits(leave, port);
    let change = |master: Option<LinkRef>, up: bool| LinkChange {
        master: master.map(Some),
        up: up.then_some(true),
        ..LinkChange::default()
    };
    let mut steps = Vec::new();
    if limits.is_empty() {
        steps.push(Step::Change(change(master, up)));
    } else {
        steps.push(Step::Change(change(master, false)));
        steps.extend(limits);
        steps.push(Step::Change(change(None, up)));
    }
    steps.retain(|step| *step != Step::Change(LinkChange::default()));
    steps
}

/// The limits of the port that it does not have yet; a port that has just joined has none.
fn limits(leave: &UpLeave, port: Option<&Tap>) -> Vec<Step> {
    let mut steps = Vec::new();
    let isolated = port.and_then(|tap| tap.link.port?.isolated);
    if leave.wish.isolated && isolated != Some(true) {
        steps.push(Step::Isolate(true));
    }
    if let Some(wish) = &leave.wish.vlans {
        let from = match port {
            Some(tap) => tap.vlans.clone(),
            None => {
                let default = leave.bridge.info.default_pvid;
                default.map(PortVlan::untagged).into_iter().collect()
            }
        };
        let to = wish.wanted(&from);
        if from != to {
            steps.push(Step::Vlans { from, to });
        }
    }
    steps
}

/// Steps on a tap that is there, each with its inverse.
fn with_undo(tap: &Tap, steps: impl Iterator<Item = Step>) -> Vec<Planned> {
    let mut now = Before::of(tap);
    let mut planned = Vec::new();
    for step in steps {
        let undo = match &step {
            Step::Change(change) => {
                let inverse = change.inverse(&now);
                now = now.then(change);
                Some(Step::Change(inverse))
            }
            Step::Isolate(isolated) => Some(Step::Isolate(!isolated)),
            Step::Vlans { from, to } => Some(Step::Vlans {
                from: to.clone(),
                to: from.clone(),
            }),
            Step::MakeBridge(new) => Some(Step::RemoveBridge(new.clone())),
            Step::RemoveBridge(_)
            | Step::Make { .. }
            | Step::Wait { .. }
            | Step::Give { .. }
            | Step::HandOver
            | Step::Keep
            | Step::Abandon
            | Step::Delete => None,
        };
        planned.push(Planned { step, undo });
    }
    planned
}

/// Who is to be let in from now on, if that is a change.
///
/// A tap that names nobody lets everybody in, who with several queues receives the guest's traffic; so it is given to
/// the invoking user unless another program has it open, where only that program could do it.
fn new_access(leave: &UpLeave, tap: &Tap) -> Option<Access<u32>> {
    let current = access_of(tap);
    let reachable = tap.at_hand || !tap.link.carrier;
    match (current, leave.wish.access) {
        (None, _) if reachable => Some(leave.access),
        (Some(current), Some(wanted)) if current != wanted => Some(wanted),
        (Some(_) | None, _) => None,
    }
}

/// Whom the tap names.
fn access_of(tap: &Tap) -> Option<Access<u32>> {
    match (tap.info.owner, tap.info.group) {
        (Some(uid), _) => Some(Access::Owner(uid)),
        (None, Some(gid)) => Some(Access::Group(gid)),
        (None, None) => None,
    }
}
