//! From leave to steps. A plan is plain data: dry run, log, apply and undo all read the same one.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::cli::Access;
use crate::facts::{AddrGenMode, Link, LinkRef, MAX_MTU, MIN_IPV6_MTU, Mac};
use crate::name::IfName;
use crate::policy::{DownLeave, Tap, UpLeave};
use crate::step::{LinkChange, Step};

impl LinkChange {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

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
            Self::Gone => f.write_str("does not exist (any more), nothing to do"),
            Self::AlreadyDown => f.write_str("already down and in no bridge, nothing to do"),
            Self::NotPersistent => f.write_str(
                "not removed: it is not persistent and goes with the program that has it open",
            ),
        }
    }
}

/// The steps to take, and what to say of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    tap: IfName,
    steps: Vec<Planned>,
    notice: Option<Notice>,
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
            address: Some(Mac::above_every_card_from(leave.random)),
            mtu: Some(mtu),
            // A new tap has IPv6 where the bridge has it.
            addr_gen_mode: (leave.bridge.addr_gen_mode.is_some() && mtu >= MIN_IPV6_MTU)
                .then_some(AddrGenMode::None),
            ..LinkChange::default()
        };
        let second = LinkChange {
            up: Some(true),
            master: Some(Some(leave.bridge.reference())),
            ..LinkChange::default()
        };
        let planned = |step, undo| Planned { step, undo };
        Self {
            tap: leave.wish.tap,
            steps: vec![
                planned(
                    Step::Make {
                        access: leave.access,
                        multi_queue: leave.wish.multi_queue,
                    },
                    Some(Step::Abandon),
                ),
                planned(Step::Change(first), None),
                planned(Step::Change(second), None),
                planned(Step::Keep, None),
            ],
            notice: None,
        }
    }

    /// Only what differs is changed.
    fn converge(leave: &UpLeave, tap: &Tap) -> Self {
        let link = &tap.link;
        let bridge = leave.bridge.reference();
        let mtu = wanted_mtu(leave);
        let address = link.address.map(Mac::above_every_card);
        let makes_addresses = match link.addr_gen_mode {
            Some(mode) => mode != AddrGenMode::None,
            // It is too small for IPv6; with a larger MTU it gets that, and begins to.
            None => link.mtu < MIN_IPV6_MTU && leave.bridge.addr_gen_mode.is_some(),
        } && mtu >= MIN_IPV6_MTU;
        // Only going down removes a link-local address that the tap has got already.
        let down = LinkChange {
            up: (makes_addresses && link.up).then_some(false),
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
        let second = LinkChange {
            up: (!link.up || down.up.is_some()).then_some(true),
            master: (link.master != Some(bridge.index)).then_some(Some(bridge)),
            ..LinkChange::default()
        };

        let mut steps = changes(tap, &[down, widen, first, second]);
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
            Some(_) | None => None,
        };
        Self {
            tap: link.name,
            steps,
            notice,
        }
    }

    /// What it takes to bring up the tap that was made for QEMU, and hand it over.
    ///
    /// Nothing of it needs to be undone: until it is handed over, the tap lives no longer than this program.
    pub fn hand_over(leave: &UpLeave) -> Self {
        let mut plan = Self::up(leave);
        plan.steps.push(Planned {
            step: Step::HandOver,
            undo: None,
        });
        for planned in &mut plan.steps {
            planned.undo = None;
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
            };
        };
        let change = LinkChange {
            up: tap.link.up.then_some(false),
            master: tap.link.master.map(|_| None),
            ..LinkChange::default()
        };
        let mut steps = changes(tap, &[change]);
        let mut notice = steps.is_empty().then_some(Notice::AlreadyDown);
        if leave.delete && tap.info.persistent {
            steps.push(Planned {
                step: Step::Delete,
                undo: None,
            });
            notice = None;
        } else if leave.delete {
            notice = Some(Notice::NotPersistent);
        }
        Self {
            tap: leave.name,
            steps,
            notice,
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

    /// The whole, in words for the log.
    pub fn summary(&self) -> String {
        let steps: Vec<String> = self
            .steps
            .iter()
            .map(|p| p.step.purpose(self.tap))
            .collect();
        match self.notice {
            Some(notice) if steps.is_empty() => notice.to_string(),
            Some(_) | None => format!("done: {}", steps.join(", ")),
        }
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

/// The changes that change something, each with its inverse.
fn changes(tap: &Tap, wanted: &[LinkChange]) -> Vec<Planned> {
    let mut now = Before::of(tap);
    let mut steps = Vec::new();
    for change in wanted.iter().filter(|change| !change.is_empty()) {
        steps.push(Planned {
            step: Step::Change(*change),
            undo: Some(Step::Change(change.inverse(&now))),
        });
        now = now.then(change);
    }
    steps
}

/// Who is to be let in from now on, if that is a change.
///
/// A tap that names nobody lets everybody in, who with several queues receives the guest's traffic; so it is given to
/// the invoking user unless another program has it open, where only that program could do it.
fn new_access(leave: &UpLeave, tap: &Tap) -> Option<Access<u32>> {
    let current = match (tap.info.owner, tap.info.group) {
        (Some(uid), _) => Some(Access::Owner(uid)),
        (None, Some(gid)) => Some(Access::Group(gid)),
        (None, None) => None,
    };
    let reachable = tap.at_hand || !tap.link.carrier;
    match (current, leave.wish.access) {
        (None, _) if reachable => Some(leave.access),
        (Some(current), Some(wanted)) if current != wanted => Some(wanted),
        (Some(_) | None, _) => None,
    }
}
