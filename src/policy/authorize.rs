//! The three things that can be authorized, and their results, without which no plan is made.

use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::spec::{Quota, TapAccess, TapSpec};
use crate::model::state::{CurrentState, NewIds};
use crate::policy::bridge::{TargetBridge, resolve_bridge};
use crate::policy::rules::Policy;
use crate::policy::tap::{ExistingTap, check_changeable};

/// A tap may be brought up. Only [`Policy::authorize_up`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedUp {
    /// What is wanted.
    pub spec: TapSpec,
    /// The tap, if it exists.
    pub tap: Option<ExistingTap>,
    /// The bridge.
    pub bridge: TargetBridge,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// Who may open the tap if it is created, or if everybody may so far.
    pub access: TapAccess<u32>,
    /// How many taps the caller may have, if that is limited.
    pub quota: Option<Quota>,
    /// For the MAC of a tap that is created.
    pub ids: NewIds,
    _sealed: Sealed,
}

/// A tap may be taken down. Only [`Policy::authorize_down`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedDown {
    /// The name that was given.
    pub name: IfName,
    /// The tap, if it still exists.
    pub tap: Option<ExistingTap>,
    /// Delete it as well.
    pub delete: bool,
    _sealed: Sealed,
}

/// A tap may be created, which lives no longer than this program unless it is handed over. Only
/// [`Policy::authorize_create`] returns it.
#[derive(Debug)]
pub struct AuthorizedCreate {
    /// Its name; None lets the kernel choose one.
    pub name: Option<IfName>,
    /// Who may open it.
    pub access: TapAccess<u32>,
    _sealed: Sealed,
}

/// Cannot be constructed outside this module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed;

impl Policy<'_> {
    /// Authorizes the creation of a tap for this bridge; `named` is what is wanted of it where the caller has named it.
    ///
    /// # Errors
    /// The caller may not attach to the bridge, or take the name.
    pub fn authorize_create(
        &self,
        bridge: IfName,
        named: Option<&TapSpec>,
    ) -> Result<AuthorizedCreate, Error> {
        self.require_net_admin()?;
        self.check_bridge(bridge)?;
        named.map_or(Ok(()), |spec| self.check_name(spec))?;
        Ok(AuthorizedCreate {
            name: named.map(|spec| spec.tap),
            access: TapAccess::Owner(self.caller.invoking_uid()?),
            _sealed: Sealed,
        })
    }

    /// Authorizes a tap to be brought up. `asked` are the caller's own options; the rest of `spec` is root's.
    ///
    /// # Errors
    /// The caller may not, the tap is not one or cannot become what is wanted, or the bridge is not one.
    pub fn authorize_up(
        &self,
        spec: TapSpec,
        asked: &TapOptions,
        state: CurrentState,
    ) -> Result<AuthorizedUp, Error> {
        self.require_net_admin()?;
        self.check_bridge(spec.bridge)?;
        self.check_options(asked)?;
        if asked.access.is_some() {
            self.check_owner(spec.access)?;
        }
        let (ipv6, ids) = (state.ipv6, state.ids);
        let bridge = resolve_bridge(&spec, &state)?;
        let tap = self.check_tap(spec.tap, state)?;
        if asked.mtu.is_some() {
            self.check_mtu(spec.mtu, bridge.mtu)?;
        }
        match &tap {
            Some(tap) => check_changeable(&spec, asked.access.is_some(), tap)?,
            None => self.check_name(&spec)?,
        }
        let access = match spec.access {
            Some(access) => access,
            None => TapAccess::Owner(self.caller.invoking_uid()?),
        };
        Ok(AuthorizedUp {
            quota: self.quota(&spec),
            spec,
            tap,
            bridge,
            ipv6,
            access,
            ids,
            _sealed: Sealed,
        })
    }

    /// Authorizes a tap to be taken down.
    ///
    /// # Errors
    /// The caller may not, or the interface is not a tap.
    pub fn authorize_down(
        &self,
        name: IfName,
        delete: bool,
        state: CurrentState,
    ) -> Result<AuthorizedDown, Error> {
        self.require_net_admin()?;
        Ok(AuthorizedDown {
            name,
            tap: self.check_tap(name, state)?,
            delete,
            _sealed: Sealed,
        })
    }
}
