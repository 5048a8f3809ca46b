//! The actions that can be authorized, and the authorizations, without which no plan is made.
//!
//! An unprivileged user can create taps and delete them, but not change them: for such a user there is no [`Act::Change`], and
//! [`Policy::authorize_release`] deletes by the owner's right.

use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::spec::{Quota, TapAccess, TapSpec};
use crate::model::state::{CurrentState, NewIds};
use crate::policy::bridge::{TargetBridge, resolve_bridge};
use crate::policy::caller::Unrestricted;
use crate::policy::rules::Policy;
use crate::policy::tap::{ExistingTap, as_wanted, check_changeable};

/// A tap may be brought up. Only [`Policy::authorize_up`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedUp {
    pub(crate) spec: TapSpec,
    pub(crate) act: Act,
    pub(crate) bridge: TargetBridge,
    /// The kernel has IPv6.
    pub(crate) ipv6: bool,
    /// Who may open the tap if it is created, or if it has no owner yet.
    pub(crate) access: TapAccess<u32>,
    pub(crate) quota: Option<Quota>,
    /// The user who runs QEMU, if known: the caller, or the user behind sudo, pkexec or doas.
    pub(crate) invoking_uid: Option<u32>,
    /// The run gives up its privilege before it waits.
    pub(crate) drops_privileges: bool,
    /// For the tap or the bridge that is created.
    pub(crate) ids: NewIds,
    _sealed: Sealed,
}

/// What may be done to a tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is created, or this run has created it to hand it over to QEMU.
    Create {
        /// To be handed over to QEMU.
        for_qemu: bool,
    },
    /// It exists and has the wanted settings: nothing is changed.
    Leave(ExistingTap),
    /// It exists and may be changed: attached, moved, reconfigured and brought up.
    Change(ExistingTap, Unrestricted),
}

impl AuthorizedUp {
    /// The tap, if it existed before.
    pub(crate) fn tap(&self) -> Option<&ExistingTap> {
        match &self.act {
            Act::Create { .. } => None,
            Act::Leave(tap) | Act::Change(tap, _) => Some(tap),
        }
    }
}

/// A tap may be taken down. Only [`Policy::authorize_down`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedDown {
    /// The name that was given.
    pub(crate) name: IfName,
    /// The tap, if it still exists.
    pub(crate) tap: Option<ExistingTap>,
    /// Delete it as well.
    pub(crate) delete: bool,
    _unrestricted: Unrestricted,
}

/// A tap may be deleted by its owner, or left unchanged. Only [`Policy::authorize_release`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedRelease {
    /// The name that was given.
    pub(crate) name: IfName,
    /// The tap, if it still exists.
    pub(crate) tap: Option<ExistingTap>,
    pub(crate) delete: bool,
    _sealed: Sealed,
}

/// A tap may be created, which disappears with this program unless it is handed over. Only [`Policy::authorize_create`] returns
/// it.
#[derive(Debug)]
pub(crate) struct AuthorizedCreate {
    /// Its name; None lets the kernel choose one.
    pub(crate) name: Option<IfName>,
    _sealed: Sealed,
}

/// Cannot be constructed outside this module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed;

impl Policy<'_> {
    /// Authorizes the creation of a tap for this bridge; `named` has its settings if the caller has named the tap.
    ///
    /// # Errors
    /// The caller may not attach to the bridge, or take the name.
    pub(crate) fn authorize_create(
        &self,
        bridge: IfName,
        named: Option<&TapSpec>,
        asked: &TapOptions,
    ) -> Result<AuthorizedCreate, Error> {
        if let Some(spec) = named {
            self.check_bound(spec, asked)?;
        }
        self.check_creation(bridge, asked)?;
        named.map_or(Ok(()), |spec| self.check_name(spec))?;
        Ok(AuthorizedCreate {
            name: named.map(|spec| spec.tap),
            _sealed: Sealed,
        })
    }

    /// Whether the caller may create such a tap, as far as the rules decide that; a limit on their number does not count.
    pub(crate) fn may_create(&self, spec: &TapSpec, asked: &TapOptions) -> bool {
        self.check_creation(spec.bridge, asked).is_ok()
            && self.check_owner(spec).is_ok()
            && self.check_name(spec).is_ok()
    }

    /// Authorizes a tap to be brought up. `asked` are the caller's own options; the rest of `spec` is root's.
    ///
    /// # Errors
    /// The caller may not; the tap is not a tap or cannot get the wanted settings; or the bridge is not a bridge.
    pub(crate) fn authorize_up(
        &self,
        spec: TapSpec,
        asked: &TapOptions,
        mut state: CurrentState,
    ) -> Result<AuthorizedUp, Error> {
        self.check_bound(&spec, asked)?;
        let existing = state.tap.take().filter(|_| !state.is_created);
        let (act, bridge) = match (existing, self.unrestricted()) {
            (None, _) => {
                self.check_creation(spec.bridge, asked)?;
                self.check_owner(&spec)?;
                let bridge = resolve_bridge(&spec, &state)?;
                if bridge.is_new {
                    self.check_new_bridge(&spec)?;
                }
                if asked.mtu.is_some() {
                    self.check_mtu(spec.mtu, bridge.mtu)?;
                }
                if !state.is_created {
                    self.check_name(&spec)?;
                }
                let for_qemu = state.is_created;
                (Act::Create { for_qemu }, bridge)
            }
            (Some(tap), Some(unrestricted)) => {
                let bridge = resolve_bridge(&spec, &state)?;
                let tap = ExistingTap::new(spec.tap, tap)?;
                check_changeable(&spec, &tap)?;
                self.check_creator(&spec, &tap)?;
                (Act::Change(tap, unrestricted), bridge)
            }
            (Some(tap), None) => {
                let tap = ExistingTap::new(spec.tap, tap)?;
                self.check_theirs(&spec, &tap)?;
                match as_wanted(&spec, &tap, state.bridge.as_ref()) {
                    Ok(bridge) => (Act::Leave(tap), bridge),
                    Err(difference) => return Err(self.cannot_change(&spec, &tap, difference)),
                }
            }
        };
        let access = match spec.access {
            Some(access) => access,
            None => TapAccess::Owner(self.caller.invoking_uid()?),
        };
        Ok(AuthorizedUp {
            quota: self.quota(&spec),
            drops_privileges: !self.is_root(),
            spec,
            act,
            bridge,
            ipv6: state.ipv6,
            access,
            invoking_uid: self.caller.invoking_uid().ok(),
            ids: state.ids,
            _sealed: Sealed,
        })
    }

    /// Authorizes a tap to be taken down by root.
    ///
    /// # Errors
    /// The caller may not, or the interface is not a tap.
    pub(crate) fn authorize_down(
        &self,
        name: IfName,
        delete: bool,
        state: CurrentState,
    ) -> Result<AuthorizedDown, Error> {
        match self.unrestricted() {
            Some(unrestricted) => Ok(AuthorizedDown {
                name,
                tap: existing(name, state)?,
                delete,
                _unrestricted: unrestricted,
            }),
            None => Err(Error::MissingCapNetAdmin(self.caller.withheld())),
        }
    }

    /// Authorizes an unprivileged user to delete their own tap, or to leave it on its bridge.
    ///
    /// # Errors
    /// The user does not own the tap, or the interface is not a tap.
    pub(crate) fn authorize_release(
        &self,
        name: IfName,
        delete: bool,
        state: CurrentState,
    ) -> Result<AuthorizedRelease, Error> {
        let tap = existing(name, state)?;
        if let Some(tap) = &tap {
            self.check_owned(&tap.info)?;
        }
        Ok(AuthorizedRelease {
            name,
            tap,
            delete,
            _sealed: Sealed,
        })
    }
}

fn existing(name: IfName, state: CurrentState) -> Result<Option<ExistingTap>, Error> {
    let tap = state.tap.map(|tap| ExistingTap::new(name, tap));
    tap.transpose()
}
