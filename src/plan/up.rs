//! The plans to bring a tap up: create it, change a tap that exists, or hand a tap over to QEMU.
//!
//! In all plans the tap joins while it is down, is restricted as a port, and only then goes up.

use crate::model::addr::MacAddr;
use crate::model::change::{LinkUpdate, NewBridge};
use crate::model::link::{AddrGenMode, MAX_MTU, MIN_IPV6_MTU, Qdisc};
use crate::model::spec::TapAccess;
use crate::plan::Plan;
use crate::plan::outcome::{Notice, Outcome};
use crate::plan::port::port_steps;
use crate::plan::step::Step;
use crate::plan::undo::with_undo;
use crate::policy::authorize::{Act, AuthorizedUp};
use crate::policy::tap::ExistingTap;

impl Plan {
    pub(crate) fn up(auth: &AuthorizedUp) -> Self {
        match &auth.act {
            Act::Create { for_qemu } => Self::create(auth, *for_qemu),
            Act::Leave(tap) => Self::leave(auth, tap),
            Act::Change(tap, _) => Self::change(auth, tap),
        }
    }

    /// Creates the tap, or takes the tap that was created for QEMU and hands it over.
    fn create(auth: &AuthorizedUp, for_qemu: bool) -> Self {
        let access = auth.access;
        let create = Step::CreateTap {
            access,
            multi_queue: auth.spec.multi_queue,
        };
        let mtu = target_mtu(auth);
        let join = LinkUpdate {
            address: Some(MacAddr::fe_from(auth.ids.tap)),
            mtu: Some(mtu),
            master: Some(Some(auth.bridge.link)),
            addr_gen_mode: (auth.ipv6 && mtu >= MIN_IPV6_MTU).then_some(AddrGenMode::None),
            qdisc: auth.spec.noqueue.then_some(Qdisc::Noqueue),
            ..LinkUpdate::default()
        };
        // Counted before, so that no tap is created in vain, and after, since other runs may create taps at the same time.
        let check_quota = auth.quota.filter(|_| !for_qemu).map(Step::CheckQuota);
        let (restrict, port) = port_steps(auth, None);
        let mut steps: Vec<Step> = check_quota.into_iter().collect();
        steps.push(create);
        if let Some(quota) = auth.quota {
            steps.push(Step::SetLink(LinkUpdate {
                creator: Some(Some(quota.user)),
                ..LinkUpdate::default()
            }));
            steps.push(Step::CheckQuota(quota));
        }
        // The bridge is created as late as possible: all that was done before disappears with this program in any case.
        steps.extend(create_bridge_step(auth));
        steps.push(Step::SetLink(join));
        steps.extend(restrict);
        steps.push(Step::Up(port));
        if for_qemu {
            steps.extend(wait_steps(auth));
            steps.push(Step::PassFd);
        } else {
            steps.push(Step::SetPersist);
        }
        // A tap that no program has open when this one ends would not continue to forward.
        let not_waited = auth.spec.wait.filter(|_| !for_qemu);
        Self {
            tap: auth.spec.tap,
            steps: with_undo(None, steps),
            notice: not_waited.map(|_| Notice::NotWaited),
            outcome: Outcome::Up {
                bridge: auth.bridge.link.name,
                access: Some(access),
            },
        }
    }

    /// Changes nothing.
    fn leave(auth: &AuthorizedUp, tap: &ExistingTap) -> Self {
        let bridge = auth.bridge.link.name;
        let is_held = tap.has_fd || tap.link.is_open();
        let steps = if is_held {
            wait_steps(auth)
        } else {
            Vec::new()
        };
        Self {
            tap: tap.link.name,
            steps: with_undo(Some(tap), steps),
            notice: Some(Notice::AlreadyUp(bridge)),
            outcome: Outcome::Up {
                bridge,
                access: tap.info.access(),
            },
        }
    }

    /// Only settings that differ are changed.
    fn change(auth: &AuthorizedUp, tap: &ExistingTap) -> Self {
        let link = &tap.link;
        let bridge = auth.bridge.link;
        let joins = link.master != Some(bridge.index);
        let updates = link_updates(auth, tap);
        let goes_up = !link.up || updates.iter().any(LinkUpdate::takes_down);
        let is_held = tap.has_fd || link.is_open();
        let wanted = wanted_access(auth, tap);
        // Every user can open a tap without an owner, and receives the guest's traffic if it is a multi-queue tap. So the
        // owner is set to the invoking user, unless another program has the tap open: then only that program could do it.
        let change = wanted.filter(|_| tap.has_fd || !link.is_open());
        let set_access = change.map(|access| Step::SetAccess {
            access,
            has_fd: tap.has_fd,
        });
        // Before the first frame: every user can read the frames of a multi-queue tap until it has an owner. An owner cannot be
        // removed again, so a tap that remains after a failure gets one as late as possible.
        let (first, last) = if tap.info.persistent {
            (None, set_access)
        } else {
            (set_access, None)
        };
        let (restrict, port) = port_steps(auth, Some(tap).filter(|_| !joins));
        // The creator in the alias can no longer open it.
        let clear_alias = change
            .filter(|_| link.creator().is_some())
            .map(|_| LinkUpdate {
                creator: Some(None),
                ..LinkUpdate::default()
            });
        // The bridge comes first: if it cannot be created, a guest that uses the tap is not affected.
        let mut steps: Vec<Step> = first.into_iter().collect();
        steps.extend(create_bridge_step(auth));
        steps.extend(updates.into_iter().map(Step::SetLink));
        steps.extend(restrict);
        steps.extend(last);
        steps.extend(clear_alias.map(Step::SetLink));
        steps.extend(goes_up.then_some(Step::Up(port)));
        if is_held {
            steps.extend(wait_steps(auth));
        }
        let steps = with_undo(Some(tap), steps);
        let wanted = wanted.filter(|_| change.is_none());
        let notice = match tap.master {
            // Every user who can open /dev/net/tun can open a queue, and receives the guest's frames.
            _ if wanted.is_some() && tap.info.access().is_none() && tap.info.multi_queue => {
                Some(Notice::OpenToAll)
            }
            Some(from) if from != bridge => Some(Notice::Moved {
                from: from.name,
                to: bridge.name,
            }),
            _ if has_other_access(auth, tap) => tap.info.access().map(|access| Notice::Of {
                access,
                not: auth
                    .invoking_uid
                    .filter(|&uid| uid != 0 && matches!(access, TapAccess::Owner(_))),
                already_up: steps.is_empty().then_some(bridge.name),
            }),
            _ if steps.is_empty() => Some(Notice::AlreadyUp(bridge.name)),
            _ if auth.spec.wait.is_some() && !is_held => Some(Notice::NotWaited),
            Some(_) | None => None,
        };
        Self {
            tap: link.name,
            steps,
            notice,
            outcome: Outcome::Up {
                bridge: bridge.name,
                access: change.or(tap.info.access()),
            },
        }
    }
}

/// The updates that make a tap a port of the bridge, in order: one, if that is sufficient.
fn link_updates(auth: &AuthorizedUp, tap: &ExistingTap) -> Vec<LinkUpdate> {
    let link = &tap.link;
    let bridge = auth.bridge.link;
    let mtu = target_mtu(auth);
    let address = link.address.map(MacAddr::with_fe_prefix);
    let generates_addresses = match link.addr_gen_mode {
        Some(mode) => mode != AddrGenMode::None,
        // Its MTU is too small for IPv6. With a larger one it gets IPv6, and generates addresses.
        None => link.mtu < MIN_IPV6_MTU && auth.ipv6,
    } && mtu >= MIN_IPV6_MTU;
    let joins = link.master != Some(bridge.index);
    // Only bringing it down removes a link-local address that the tap has already.
    let goes_down = link.up && (generates_addresses || joins);
    // A tap that was up without a bridge is not brought up again by the undo: a separate update, so that it is clear what
    // remains.
    let down = LinkUpdate {
        down: goes_down && link.master.is_none(),
        ..LinkUpdate::default()
    };
    // The tap gets IPv6 with the MTU, so addrgenmode cannot be changed in the same message.
    let widens = generates_addresses && link.addr_gen_mode.is_none();
    let widen = LinkUpdate {
        mtu: widens.then_some(mtu),
        down: widens && goes_down && !down.down,
        ..LinkUpdate::default()
    };
    let join = LinkUpdate {
        address: address.filter(|_| address != link.address),
        mtu: (mtu != link.mtu && !widens).then_some(mtu),
        down: goes_down && !down.down && !widen.down,
        master: joins.then_some(Some(bridge)),
        addr_gen_mode: generates_addresses.then_some(AddrGenMode::None),
        // A queueing discipline that an administrator has set stays.
        qdisc: (auth.spec.noqueue && link.was_never_up()).then_some(Qdisc::Noqueue),
        creator: None,
    };
    let updates = [down, widen, join].into_iter();
    updates.filter(|update| !update.is_empty()).collect()
}

/// The bridge's MTU by default: a port with a smaller one lowers the MTU of the bridge, and so of every guest.
fn target_mtu(auth: &AuthorizedUp) -> u32 {
    auth.spec.mtu.unwrap_or(auth.bridge.mtu.min(MAX_MTU))
}

/// Waits until the port forwards, if that is asked for. An unprivileged user's run drops its privileges first.
fn wait_steps(auth: &AuthorizedUp) -> Vec<Step> {
    let Some(seconds) = auth.spec.wait else {
        return Vec::new();
    };
    let drop = auth.drops_privileges.then_some(Step::DropPrivileges);
    let bridge = auth.bridge.link.name;
    let wait = Step::WaitForwarding { bridge, seconds };
    drop.into_iter().chain([wait]).collect()
}

/// Whether the tap belongs to another user or a group, and neither the command line nor the configuration sets that.
fn has_other_access(auth: &AuthorizedUp, tap: &ExistingTap) -> bool {
    let access = tap.info.access();
    access.is_some()
        && auth.spec.access.is_none()
        && access != auth.invoking_uid.map(TapAccess::Owner)
}

fn create_bridge_step(auth: &AuthorizedUp) -> Option<Step> {
    let addresses = auth.spec.create_bridge.as_ref();
    let addresses = addresses.filter(|_| auth.bridge.is_new)?;
    Some(Step::CreateBridge(NewBridge {
        link: auth.bridge.link,
        mac: MacAddr::locally_administered(auth.ids.bridge),
        addresses: addresses.clone(),
        vlan_filtering: auth.bridge.info.vlan_filtering,
    }))
}

/// The owner that the tap should have, if it differs.
fn wanted_access(auth: &AuthorizedUp, tap: &ExistingTap) -> Option<TapAccess<u32>> {
    match (tap.info.access(), auth.spec.access) {
        (None, _) => Some(auth.access),
        (Some(_), Some(wanted)) if !tap.is_settled_for(wanted) => Some(wanted),
        (Some(_), _) => None,
    }
}
