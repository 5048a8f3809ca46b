//! The tap that exists: whether it is a tap, who owns it, and which settings it can get.

use std::ops::Deref;

use crate::error::{Difference, Error, Immutable};
use crate::model::addr::MacAddr;
use crate::model::bridge::{PortOption, has_exactly, locked_entries};
use crate::model::if_name::IfName;
use crate::model::link::{Link, LinkKind, TapInfo};
use crate::model::spec::{Creator, TapAccess, TapSpec, VlanSpec};
use crate::model::state::TapState;
use crate::policy::bridge::TargetBridge;
use crate::policy::rules::{Policy, only_root};

/// An interface that exists and is a tap: no other is ever touched, not even for root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExistingTap {
    pub(crate) state: TapState,
    /// The part of it that only taps have.
    pub(crate) info: TapInfo,
}

impl Deref for ExistingTap {
    type Target = TapState;

    fn deref(&self) -> &TapState {
        &self.state
    }
}

impl ExistingTap {
    /// # Errors
    /// The interface is not a tap.
    pub(super) fn new(name: IfName, state: TapState) -> Result<Self, Error> {
        let LinkKind::Tap(info) = state.link.kind else {
            let kind = state.link.kind;
            return Err(Error::NotATap { name, kind });
        };
        Ok(Self { state, info })
    }

    /// Whether another program has a queue open beside QEMU, whose frames it would get: QEMU runs its script after it has opened
    /// one queue.
    fn is_shared(&self) -> bool {
        self.has_fd && self.info.queues.is_some_and(|queues| queues != 1)
    }

    /// Whether the tap is for these alone, and nothing of another creator can be left in it. A holder can give the tap to another
    /// user and leave filters or a queue behind; the alias still names its creator.
    pub(crate) fn is_settled_for(&self, access: TapAccess<u32>) -> bool {
        let is_creator = |creator: Creator| match access {
            TapAccess::Owner(uid) => creator.0 == uid,
            TapAccess::Group(_) => true,
        };
        self.info.is_for(access) && self.link.creator().is_none_or(is_creator)
    }
}

impl Policy<'_> {
    /// A user uses only a tap that they may open and have created, unless the configuration sets its owner. (That this owner is
    /// the user was checked before.)
    pub(super) fn check_theirs(&self, spec: &TapSpec, tap: &ExistingTap) -> Result<(), Error> {
        self.check_owned(&tap.info)?;
        match tap.link.creator() {
            Some(Creator(uid)) if uid != self.caller.real_uid() && spec.bound_access.is_none() => {
                Err(only_root(
                    "use the tap".to_owned(),
                    format!("uid {uid} created it"),
                    "use another tap. Only root can use this tap",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Root's QEMU does not use a tap of an unprivileged user who took the name first.
    pub(super) fn check_creator(&self, spec: &TapSpec, tap: &ExistingTap) -> Result<(), Error> {
        match tap.link.creator() {
            Some(creator)
                if spec.access.is_none() && creator.0 != self.caller.invoking_uid()? =>
            {
                Err(Error::CreatedByAnother {
                    name: spec.tap,
                    bridge: spec.bridge,
                    access: tap.info.access(),
                    creator,
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The tap has an owner, and the kernel lets the user open it.
    pub(super) fn check_owned(&self, info: &TapInfo) -> Result<(), Error> {
        if self.is_owner(info) {
            return Ok(());
        }
        Err(only_root(
            "use the tap".to_owned(),
            match info.owner {
                Some(uid) if uid != self.caller.real_uid() => "its owner is another user",
                None if info.group.is_none() => "it has no owner",
                Some(_) | None => "its group is one that you are not a member of",
            },
            "use another tap. Only root can use this tap",
        ))
    }

    /// The setting in which a user's tap differs, with a way to a tap that has it.
    pub(super) fn cannot_change(
        &self,
        spec: &TapSpec,
        tap: &ExistingTap,
        difference: Difference,
    ) -> Error {
        Error::TapDiffers {
            name: spec.tap,
            bridge: spec.bridge,
            access: tap.info.access(),
            difference,
            // The user can delete it and create it again.
            can_create: self.is_unprivileged() && !tap.link.is_open(),
        }
    }

    /// The kernel's rule for opening a tap (`tun_not_capable()` in drivers/net/tun.c), except for a tap without owner and
    /// group: every user can open that, so no user owns it.
    fn is_owner(&self, info: &TapInfo) -> bool {
        let owner = info.owner.map(|uid| uid == self.caller.real_uid());
        let group = info.group.map(|gid| self.caller.is_in_group(gid));
        (owner.is_some() || group.is_some()) && owner != Some(false) && group != Some(false)
    }
}

/// Refuses settings of a tap that exists which the kernel cannot change.
pub(super) fn check_changeable(spec: &TapSpec, tap: &ExistingTap) -> Result<(), Error> {
    let immutable = |action: String, reason| {
        Err(Error::TapImmutable {
            name: tap.link.name,
            access: tap.info.access(),
            action,
            reason,
            in_use: tap.link.is_open(),
        })
    };
    // QEMU created its tap with the queues that it wants; the option is for taps that this program creates.
    if spec.multi_queue && !tap.info.multi_queue && !tap.has_fd {
        return immutable("use several queues".to_owned(), Immutable::OneQueue);
    }
    let busy = |action| {
        Err(Error::TapBusy {
            deletes: false,
            name: tap.link.name,
            action,
        })
    };
    if tap.is_shared() {
        return busy("use the tap for QEMU".to_owned());
    }
    let TapInfo { owner, group, .. } = tap.info;
    let (action, other) = match spec.access {
        Some(access) if tap.is_settled_for(access) => return Ok(()),
        Some(TapAccess::Owner(uid)) => (
            format!("set the owner to uid {uid}"),
            group.map(|_| Immutable::HasGroup),
        ),
        Some(TapAccess::Group(gid)) => (
            format!("set the group to gid {gid}"),
            owner.map(|_| Immutable::HasOwner),
        ),
        None => return Ok(()),
    };
    if let Some(reason) = other {
        return immutable(action, reason);
    }
    if tap.link.is_open() && !tap.has_fd {
        return busy(action);
    }
    Ok(())
}

/// The bridge of a tap that has the wanted settings, or the first difference. Only settings that were asked for count; QEMU and
/// its guest change the MAC, the carrier and the queueing discipline.
pub(super) fn as_wanted(
    spec: &TapSpec,
    tap: &ExistingTap,
    bridge: Option<&Link>,
) -> Result<TargetBridge, Difference> {
    let (link, info) = (&tap.link, &tap.info);
    let Some(master) = tap.master else {
        return Err(Difference::NoBridge);
    };
    let bridge = match bridge.and_then(TargetBridge::existing) {
        Some(bridge) if bridge.link.index == master.index => bridge,
        Some(_) | None => {
            return Err(Difference::OtherBridge {
                is: master.name,
                wanted: spec.bridge,
            });
        }
    };
    if !link.up {
        return Err(Difference::Down);
    }
    if !info.persistent && !tap.has_fd {
        return Err(Difference::NotPersistent);
    }
    if let Some(access) = spec.access.filter(|&access| !info.is_for(access)) {
        return Err(Difference::Access(access));
    }
    if spec.multi_queue && !info.multi_queue && !tap.has_fd {
        return Err(Difference::OneQueue);
    }
    if let Some(mtu) = spec.mtu.filter(|&mtu| mtu != link.mtu) {
        return Err(Difference::Mtu {
            is: link.mtu,
            wanted: mtu,
        });
    }
    let options = link.port.unwrap_or_default().options;
    if let Some((option, on)) = spec.port.differing_from(options).iter().next() {
        return Err(Difference::PortOption(option, on));
    }
    let has_vlans =
        |vlans: &VlanSpec| bridge.info.vlan_filtering && vlans.resolve(&tap.vlans) == tap.vlans;
    if !spec.vlans.as_ref().is_none_or(has_vlans) {
        return Err(Difference::Vlans);
    }
    let is_locked = options.is_on(PortOption::Locked);
    match spec.lock_mac {
        Some(None) if is_locked => return Err(Difference::Locked),
        Some(Some(mac)) => {
            let mac = MacAddr::from(mac);
            let entries = locked_entries(Some(mac), bridge.info.vlan_filtering, &tap.vlans);
            if !has_exactly(&tap.fdb, &entries) {
                return Err(Difference::NotLockedTo(mac));
            }
        }
        Some(None) | None => {}
    }
    if tap.is_shared() {
        return Err(Difference::SharedQueue);
    }
    Ok(bridge)
}
