//! From leave to steps. A plan is plain data: dry run, log, apply and undo all read the same one.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::cli::Access;
use crate::facts::{AddrGenMode, Link, LinkRef, MAX_MTU, MIN_IPV6_MTU, Mac, TapInfo};
use crate::name::IfName;
use crate::policy::{DownLeave, Tap, UpLeave};
use crate::step::{LinkChange, Step};
use crate::vlan::PortVlan;

/// What a change can change, as it is at one point of the plan.
#[derive(Clone, Copy)]
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
            up: self.up && !change.takes_down(),
            master: change.master.unwrap_or(self.master),
            addr_gen_mode: change.addr_gen_mode.or(self.addr_gen_mode),
        }
    }

    /// The steps that take a change back. What was up goes up again once it is a port as before; what was up in no bridge
    /// stays down, since the host would take its frames for its own.
    fn take_back(self, change: &LinkChange) -> Vec<Step> {
        let inverse = LinkChange {
            address: change.address.and(self.address),
            mtu: change.mtu.and(Some(self.mtu)),
            down: false,
            master: change.master.and(Some(self.master)),
            addr_gen_mode: change.addr_gen_mode.and(self.addr_gen_mode),
        };
        let up = self.master.filter(|_| self.up && change.takes_down());
        let inverse = Some(inverse).filter(|inverse| *inverse != LinkChange::default());
        let steps = inverse.map(Step::Change).into_iter();
        steps.chain(up.map(Step::Up)).collect()
    }
}

/// A step and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// What undoes it, also where it was done by half. Nothing where nothing needs to be undone: because an earlier
    /// step's undo takes it along, or because it is done whole or not at all.
    pub undo: Vec<Step>,
    /// What no undo takes back once it is done, for people.
    pub stays: Option<&'static str>,
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
        let access = leave.access;
        let quota = |made| {
            let step = |most| Step::Quota { access, most, made };
            leave.quota.map(step)
        };
        let make = Step::Make {
            access,
            multi_queue: leave.wish.multi_queue,
        };
        let mtu = wanted_mtu(leave);
        let join = LinkChange {
            address: Some(Mac::above_every_card_from(leave.random.tap)),
            mtu: Some(mtu),
            master: Some(Some(leave.bridge.link)),
            addr_gen_mode: (leave.ipv6 && mtu >= MIN_IPV6_MTU).then_some(AddrGenMode::None),
            ..LinkChange::default()
        };
        // Counted before, since a kill and a queue of the caller's own could make each tap outlast its own count; and after,
        // since others may be made at the same moment.
        // The bridge comes as late as it can: what was done before goes with this program in any case.
        let steps = quota(false)
            .into_iter()
            .chain([make])
            .chain(quota(true))
            .chain(bridge_to_make(leave))
            .chain([Step::Change(join)])
            .chain(limits(leave, None))
            .chain([Step::Up(leave.bridge.link), Step::Keep])
            .map(of_a_made_tap)
            .collect();
        Self {
            tap: leave.wish.tap,
            steps,
            // Nobody has it open once this program ends, so it would not go on forwarding.
            notice: leave.wish.wait.map(|_| Notice::NotWaited),
            outcome: Outcome::Up {
                bridge: leave.bridge.link.name,
                given_to: Some(access),
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
        // Only going down removes a link-local address that the tap has got already.
        let goes_down = link.up && (makes_addresses || joins);
        let down = LinkChange {
            // What was up in no bridge is not brought up there again: a step of its own, so that it is clear what stays.
            down: goes_down && link.master.is_none(),
            ..LinkChange::default()
        };
        // What the tap does not have yet cannot be changed in the message that gives it: IPv6 comes with the MTU.
        let widens = makes_addresses && link.addr_gen_mode.is_none();
        let widen = LinkChange {
            mtu: widens.then_some(mtu),
            down: widens && goes_down && !down.down,
            ..LinkChange::default()
        };
        let join = LinkChange {
            address: address.filter(|_| address != link.address),
            mtu: (mtu != link.mtu && !widens).then_some(mtu),
            down: goes_down && !down.down && !widen.down,
            master: joins.then_some(Some(bridge)),
            addr_gen_mode: makes_addresses.then_some(AddrGenMode::None),
        };
        let changes = [down, widen, join]
            .into_iter()
            .filter(|change| *change != LinkChange::default())
            .map(Step::Change);

        let give = new_access(leave, tap).map(|access| Step::Give {
            access,
            at_hand: tap.at_hand,
        });
        // Before the first frame: a tap with several queues shows them to everybody until it is given to somebody. An owner
        // that was set cannot be taken back to none, so a tap that outlasts a failure gets one as late as that allows.
        let (first, last) = if tap.info.persistent {
            (None, give)
        } else {
            (give, None)
        };
        let is_held = tap.at_hand || tap.link.is_open();
        let wait = leave.wish.wait.filter(|_| is_held);
        let wait = wait.map(|seconds| Step::Wait {
            bridge: bridge.name,
            seconds,
        });
        let goes_up = !link.up || goes_down;
        // If the bridge cannot be made, a guest that uses the tap has not noticed.
        let wanted = first
            .into_iter()
            .chain(bridge_to_make(leave))
            .chain(changes)
            .chain(limits(leave, Some(tap).filter(|_| !joins)))
            .chain(last)
            .chain(goes_up.then_some(Step::Up(bridge)))
            .chain(wait);
        let steps = with_undo(tap, wanted);
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
                given_to: new_access(leave, tap).or(access_of(&tap.info)),
            },
        }
    }

    /// What it takes to bring up the tap that was made for QEMU, and hand it over. Until then it is ours.
    pub fn hand_over(leave: &UpLeave) -> Self {
        let mut plan = Self::up(leave);
        let access = leave.access;
        let quota = leave.quota.map(|most| Step::Quota {
            access,
            most,
            made: true,
        });
        let up = plan.steps.into_iter().map(|planned| planned.step);
        let steps = quota.into_iter().chain(up).chain([Step::HandOver]);
        plan.steps = steps.map(of_a_made_tap).collect();
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
        // In one message: the kernel takes it down before it detaches it.
        let change = LinkChange {
            down: tap.link.up,
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
                given_to: access_of(&tap.info),
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

/// A step on the way of a tap that was made just now: to remove the tap takes back all that was done to it, and comes before
/// its bridge is removed.
fn of_a_made_tap(step: Step) -> Planned {
    let undo = match &step {
        Step::MakeBridge(new) => vec![Step::RemoveBridge(new.clone())],
        Step::Make { .. }
        | Step::Quota { .. }
        | Step::Change(_)
        | Step::Up(_)
        | Step::Isolate(_)
        | Step::Vlans { .. }
        | Step::Wait { .. }
        | Step::Give { .. }
        | Step::HandOver
        | Step::Keep => vec![Step::Abandon],
        Step::RemoveBridge(_) | Step::Abandon | Step::Delete => Vec::new(),
    };
    Planned {
        step,
        undo,
        stays: None,
    }
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
        let before = now;
        let mut stays = None;
        let undo = match &step {
            Step::Change(change) => {
                now = before.then(change);
                if before.up && change.takes_down() && before.master.is_none() {
                    stays = Some("it was up in no bridge, and stays down");
                }
                before.take_back(change)
            }
            Step::Up(_) => {
                now.up = true;
                vec![Step::Change(LinkChange {
                    down: true,
                    ..LinkChange::default()
                })]
            }
            Step::Isolate(isolated) => vec![Step::Isolate(!isolated)],
            Step::Vlans { from, to } => vec![Step::Vlans {
                from: to.clone(),
                to: from.clone(),
            }],
            Step::MakeBridge(new) => vec![Step::RemoveBridge(new.clone())],
            Step::Give { .. } => {
                stays = Some("whom it was given to stays so");
                Vec::new()
            }
            Step::RemoveBridge(_)
            | Step::Make { .. }
            | Step::Quota { .. }
            | Step::Wait { .. }
            | Step::HandOver
            | Step::Keep
            | Step::Abandon
            | Step::Delete => Vec::new(),
        };
        planned.push(Planned { step, undo, stays });
    }
    planned
}

/// Who is to be let in from now on, if that is a change.
///
/// A tap that names nobody lets everybody in, who with several queues receives the guest's traffic; so it is given to
/// the invoking user unless another program has it open, where only that program could do it.
fn new_access(leave: &UpLeave, tap: &Tap) -> Option<Access<u32>> {
    let current = access_of(&tap.info);
    let reachable = tap.at_hand || !tap.link.is_open();
    match (current, leave.wish.access) {
        (None, _) if reachable => Some(leave.access),
        (Some(current), Some(wanted)) if current != wanted => Some(wanted),
        (Some(_) | None, _) => None,
    }
}

/// Whom the tap names.
pub fn access_of(info: &TapInfo) -> Option<Access<u32>> {
    match (info.owner, info.group) {
        (Some(uid), _) => Some(Access::Owner(uid)),
        (None, Some(gid)) => Some(Access::Group(gid)),
        (None, None) => None,
    }
}
