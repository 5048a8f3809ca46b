//! The tap that exists: whether it is one, whose it is, and what it can become.

use crate::error::Error;
use crate::model::bridge::FdbEntry;
use crate::model::if_name::IfName;
use crate::model::link::{Link, LinkKind, LinkRef, TapInfo};
use crate::model::spec::{TapAccess, TapSpec};
use crate::model::state::CurrentState;
use crate::model::vlan::PortVlan;
use crate::policy::rules::{Policy, only_root};

/// A tap that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingTap {
    /// The interface.
    pub link: Link,
    /// What is particular to taps.
    pub info: TapInfo,
    /// What it is a port of.
    pub master: Option<LinkRef>,
    /// The untagged VLAN that a port of that gets when it joins, if any, and if it matters.
    pub default_pvid: Option<u16>,
    /// This program has it open: QEMU passed its descriptor on, or it was created to be handed over.
    pub has_fd: bool,
    /// Its VLANs as a port, if they matter; in order.
    pub vlans: Vec<PortVlan>,
    /// The static entries that the forwarding database has for it, if they matter.
    pub fdb: Vec<FdbEntry>,
}

impl Policy<'_> {
    /// No interface but a tap is ever touched, whoever asks; and by unprivileged callers, none but their own, and not out of
    /// a bridge that they could not have put it into.
    pub(super) fn check_tap(
        &self,
        name: IfName,
        state: CurrentState,
    ) -> Result<Option<ExistingTap>, Error> {
        let Some(link) = state.tap else {
            return Ok(None);
        };
        let LinkKind::Tap(info) = link.kind else {
            return Err(Error::NotATap {
                name,
                kind: link.kind,
            });
        };
        if self.is_unprivileged() {
            if !self.is_owner(&info) {
                return Err(only_root(
                    "use it".to_owned(),
                    match info.owner {
                        Some(uid) if uid != self.caller.real_uid() => "it is another user's",
                        None if info.group.is_none() => "it has no owner, so it is not yours",
                        Some(_) | None => "it is for a group that you are not in",
                    },
                    "name another tap; only root (sudo) may use this one",
                ));
            }
            if let Some(master) = state.master {
                self.check_acl(master.name, format!("take it out of {}", master.name))?;
            }
        }
        Ok(Some(ExistingTap {
            link,
            info,
            master: state.master,
            default_pvid: state.default_pvid,
            has_fd: state.has_fd,
            vlans: state.vlans,
            fdb: state.fdb,
        }))
    }

    /// The kernel's own rule for opening a tap (`tun_not_capable()` in drivers/net/tun.c), but for one that names
    /// nobody: that one everybody can open, and so it is nobody's.
    fn is_owner(&self, info: &TapInfo) -> bool {
        let owner = info.owner.map(|uid| uid == self.caller.real_uid());
        let group = info.group.map(|gid| self.caller.is_in_group(gid));
        (owner.is_some() || group.is_some()) && owner != Some(false) && group != Some(false)
    }
}

/// Why a tap takes no second queue.
pub const ONE_QUEUE: &str = "it was created for one, and the kernel cannot change that";

/// What the kernel lets nobody change about a tap that exists. An owner that the caller has not asked for is left as it is
/// where another program has the tap open: libvirt passes no descriptor on.
pub(super) fn check_changeable(
    spec: &TapSpec,
    access_asked: bool,
    tap: &ExistingTap,
) -> Result<(), Error> {
    let immutable = |action: String, reason| {
        Err(Error::TapImmutable {
            name: tap.link.name,
            action,
            reason,
            in_use: tap.link.is_open(),
        })
    };
    // QEMU created its tap with as many queues as it wants; the option is about taps that this program creates.
    if spec.multi_queue && !tap.info.multi_queue && !tap.has_fd {
        return immutable("give it several queues".to_owned(), ONE_QUEUE);
    }
    let TapInfo { owner, group, .. } = tap.info;
    let (action, other) = match spec.access {
        Some(TapAccess::Owner(uid)) if owner != Some(uid) => (
            format!("set the owner to uid {uid}"),
            group.map(|_| "it has a group, which the kernel cannot take back"),
        ),
        Some(TapAccess::Group(gid)) if group != Some(gid) => (
            format!("set the group to gid {gid}"),
            owner.map(|_| "it has an owner, whom the kernel cannot take back"),
        ),
        Some(_) | None => return Ok(()),
    };
    if let Some(reason) = other {
        return immutable(action, reason);
    }
    if access_asked && tap.link.is_open() && !tap.has_fd {
        return Err(Error::TapBusy {
            name: tap.link.name,
            action,
        });
    }
    Ok(())
}
