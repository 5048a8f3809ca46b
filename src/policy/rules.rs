//! The rules for unprivileged callers: which bridges, which options, and whose the tap may be.

use crate::config::acl::{ACL_FILE, Acl, Verdict};
use crate::config::options::{TapOptions, switch};
use crate::error::Error;
use crate::model::bridge::PortOption;
use crate::model::if_name::IfName;
use crate::model::spec::TapAccess;
use crate::policy::caller::{Authority, Caller};

/// The rules, for one caller.
#[derive(Debug)]
pub struct Policy<'a> {
    pub(super) caller: &'a Caller,
    /// For unprivileged callers. None where there is no file: then nothing is allowed to them.
    acl: Option<&'a Acl>,
    /// Nothing will be changed.
    dry_run: bool,
}

impl<'a> Policy<'a> {
    /// The rules for this caller.
    pub fn new(caller: &'a Caller, acl: Option<&'a Acl>, dry_run: bool) -> Self {
        Self {
            caller,
            acl,
            dry_run,
        }
    }
}

impl Policy<'_> {
    /// Without CAP_NET_ADMIN nothing can be done, but a plan can be shown: it is for whoever has it.
    pub(super) fn require_net_admin(&self) -> Result<(), Error> {
        match self.caller.authority() {
            Authority::Root | Authority::Delegated => Ok(()),
            Authority::None if self.dry_run => Ok(()),
            Authority::None => Err(Error::MissingCapNetAdmin(self.caller.withheld())),
        }
    }

    /// Whether the rules apply: they are for callers to whom the capability is lent.
    pub(super) fn is_unprivileged(&self) -> bool {
        self.caller.authority() == Authority::Delegated
    }

    /// Options that shape the network rather than a tap are the administrator's; they give them to users in the
    /// configuration.
    pub(super) fn check_options(&self, asked: &TapOptions) -> Result<(), Error> {
        let given = |is_given: bool| is_given.then_some(true);
        let options = [
            (asked.create_bridge, "create-bridge"),
            (given(!asked.addresses.is_empty()), "address"),
            (given(asked.pvid.is_some()), "pvid"),
            (given(!asked.vlans.is_empty()), "vlans"),
            (asked.multi_queue, "multi-queue"),
            (given(asked.qdisc.is_some()), "qdisc"),
            (given(asked.max_taps.is_some()), "max-taps"),
            (asked.lock_mac.map(|mac| mac.is_some()), "lock-mac"),
        ];
        // Whoever isolates their own guest takes nothing from anybody.
        let port = asked.port.iter();
        let port = port.filter(|option| *option != (PortOption::Isolated, true));
        let port = port.map(|(option, on)| (Some(on), option.as_str()));
        let mut all = options.into_iter().chain(port);
        match all.find_map(|(on, name)| Some((on?, name))) {
            Some((on, name)) if self.is_unprivileged() => Err(Error::Denied {
                action: format!("use --{}", switch(name, on)),
                reason: "it is the administrator's option".to_owned(),
                hint: "root may; or root gives it to users in /etc/qemu-ifup.conf".to_owned(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The ACL must allow to attach to the bridge.
    pub(super) fn check_bridge(&self, bridge: IfName) -> Result<(), Error> {
        self.check_acl(bridge, format!("attach to {bridge}"))
    }

    /// The ACL must allow the bridge.
    pub(super) fn check_acl(&self, bridge: IfName, action: String) -> Result<(), Error> {
        if !self.is_unprivileged() {
            return Ok(());
        }
        let add = format!("to allow it, root adds this line to {ACL_FILE}: allow {bridge}");
        let (reason, hint) = match self.acl.map(|acl| acl.verdict(bridge)) {
            Some(Verdict::Allowed) => return Ok(()),
            Some(Verdict::Denied(location)) => (
                format!("denied by {location}"),
                format!(
                    "a denial outweighs every allow: root would have to delete it from {location}"
                ),
            ),
            Some(Verdict::NotAllowed) => (format!("no line of {ACL_FILE} allows {bridge}"), add),
            None => (format!("there is no {ACL_FILE} to allow it"), add),
        };
        Err(Error::Denied {
            action,
            reason,
            hint,
        })
    }

    /// A tap is created for its creator: anything else would be a way to put an interface into somebody else's hands.
    pub(super) fn check_owner(&self, access: Option<TapAccess<u32>>) -> Result<(), Error> {
        match access {
            Some(access)
                if self.is_unprivileged() && access != TapAccess::Owner(self.caller.real_uid()) =>
            {
                Err(only_root(
                    format!("give a tap to {access}"),
                    "only root gives taps to others",
                    "leave it out: the tap is then yours; or root (sudo) creates it",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An error where root alone may do it. To others no command is given: it would be another guest's tap, or its bridge.
pub(super) fn only_root(action: String, reason: &str, hint: &str) -> Error {
    Error::Denied {
        action,
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}
