//! The rules for unprivileged users: which bridges, which options, and which owner.

use crate::config::acl::{ACL_FILE, Acl, Verdict};
use crate::config::conf::CONF_FILE;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::error::advice::Advice;
use crate::model::if_name::IfName;
use crate::model::spec::{TapAccess, TapSpec};
use crate::policy::caller::{Authority, Caller, Unrestricted};

/// Root's files on what an unprivileged user may create.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The bridges. Without the file, none is allowed.
    pub(crate) acl: Option<Acl>,
    /// The caller's uid is in a range of /etc/subuid, so it belongs to another user.
    pub(crate) is_sub_uid: bool,
}

/// The rules, for one caller.
#[derive(Debug)]
pub(crate) struct Policy<'a> {
    pub(super) caller: &'a Caller,
    /// For an unprivileged user who creates a tap; None if no tap is created.
    rules: Option<&'a Rules>,
    dry_run: bool,
}

impl<'a> Policy<'a> {
    pub(crate) fn new(caller: &'a Caller, rules: Option<&'a Rules>, dry_run: bool) -> Self {
        Self {
            caller,
            rules,
            dry_run,
        }
    }
}

impl Policy<'_> {
    /// Without CAP_NET_ADMIN, only a dry run is possible: it prints the plan for a user who has it.
    pub(super) fn require_net_admin(&self) -> Result<(), Error> {
        match self.caller.authority() {
            Authority::Root | Authority::Delegated => Ok(()),
            Authority::None if self.dry_run => Ok(()),
            Authority::None => Err(Error::MissingCapNetAdmin(self.caller.withheld())),
        }
    }

    /// Whether the rules apply: the caller is an unprivileged user, and the program has its capability.
    pub(super) fn is_unprivileged(&self) -> bool {
        self.caller.authority() == Authority::Delegated
    }

    pub(super) fn is_root(&self) -> bool {
        self.caller.authority() == Authority::Root
    }

    /// The right to change taps that exist, which an unprivileged user does not have.
    pub(super) fn unrestricted(&self) -> Option<Unrestricted> {
        self.caller.unrestricted(self.dry_run)
    }

    /// A tap may be created: the caller has the privilege, is not a subordinate uid, and may use the bridge and the options.
    pub(super) fn check_creation(&self, bridge: IfName, asked: &TapOptions) -> Result<(), Error> {
        self.require_net_admin()?;
        if self.is_unprivileged() && self.rules.is_some_and(|rules| rules.is_sub_uid) {
            let uid = self.caller.real_uid();
            return Err(only_root(
                "create the tap".to_owned(),
                format!(
                    "uid {uid} is in a range of /etc/subuid, and the limit is that of its user"
                ),
                "run the command as that user, or ask root to create the tap",
            ));
        }
        self.check_acl(bridge)?;
        self.check_options(asked)
    }

    /// If a line of the configuration has the owner, the bridge or the MTU of a tap, that binds an unprivileged user.
    pub(super) fn check_bound(&self, spec: &TapSpec, asked: &TapOptions) -> Result<(), Error> {
        if self.unrestricted().is_some() {
            return Ok(());
        }
        let denied = |action: String, line: String| {
            Err(Error::Denied {
                action,
                reason: format!("a line of {CONF_FILE} has {line} for it"),
                hints: vec![Advice::text(
                    "use another tap, or ask root to change that line",
                )],
            })
        };
        let is_theirs = |access| match access {
            TapAccess::Owner(uid) => uid == self.caller.real_uid(),
            TapAccess::Group(gid) => self.caller.is_in_group(gid),
        };
        if let Some(access) = spec.bound_access.filter(|&access| !is_theirs(access)) {
            let option = match access {
                TapAccess::Owner(uid) => format!("--owner {uid}"),
                TapAccess::Group(gid) => format!("--group {gid}"),
            };
            return denied("use the tap".to_owned(), option);
        }
        match (asked.bridge, spec.bound_bridge) {
            (Some(asked), Some(bound)) if asked != bound && spec.is_named => {
                return denied(format!("attach to {asked}"), format!("--bridge {bound}"));
            }
            (_, _) => {}
        }
        match (asked.mtu, spec.bound_mtu) {
            (Some(asked), Some(bound)) if asked != bound => {
                denied(format!("set MTU {asked}"), format!("--mtu {bound}"))
            }
            (_, _) => Ok(()),
        }
    }

    /// An unprivileged user's run creates only the bridge that root's configuration creates, not one of any name.
    pub(super) fn check_new_bridge(&self, spec: &TapSpec) -> Result<(), Error> {
        let bridge = spec.bound_bridge.unwrap_or(IfName::DEFAULT_BRIDGE);
        if !self.is_unprivileged() || spec.bridge == bridge {
            return Ok(());
        }
        Err(only_root(
            format!("create the bridge {}", spec.bridge),
            format!("for this tap, {CONF_FILE} creates only {bridge}"),
            "leave out --bridge, or ask root to create the bridge",
        ))
    }

    /// Only the administrator may use options that shape the network rather than a tap, unless the configuration gives them to
    /// users.
    fn check_options(&self, asked: &TapOptions) -> Result<(), Error> {
        match asked.administrators {
            Some(name) if self.is_unprivileged() => Err(Error::Denied {
                action: format!("use --{name}"),
                reason: "only root can use this option".to_owned(),
                hints: vec![Advice::text(format!(
                    "run the command as root, or ask root to set the option for this tap in \
                     {CONF_FILE}"
                ))],
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The ACL must allow to attach to the bridge.
    fn check_acl(&self, bridge: IfName) -> Result<(), Error> {
        if !self.is_unprivileged() {
            return Ok(());
        }
        let add =
            format!("to allow {bridge}, ask root to add this line to {ACL_FILE}: allow {bridge}");
        let acl = self.rules.and_then(|rules| rules.acl.as_ref());
        let (reason, hint) = match acl.map(|acl| acl.verdict(bridge)) {
            Some(Verdict::Allowed) => return Ok(()),
            Some(Verdict::Denied(location)) => (
                format!("denied by {location}"),
                format!(
                    "a deny rule overrides all allow rules. Use another bridge, or ask root to \
                     delete {location}"
                ),
            ),
            Some(Verdict::NotAllowed) => (format!("no line of {ACL_FILE} allows {bridge}"), add),
            None => (
                format!("{ACL_FILE} does not exist, so no bridge is allowed"),
                add,
            ),
        };
        Err(Error::Denied {
            action: format!("attach to {bridge}"),
            reason,
            hints: vec![Advice::text(hint)],
        })
    }

    /// A user creates taps only for themselves: otherwise they could give an interface to another user.
    pub(super) fn check_owner(&self, spec: &TapSpec) -> Result<(), Error> {
        match spec.asked_access {
            Some(access)
                if self.is_unprivileged() && access != TapAccess::Owner(self.caller.real_uid()) =>
            {
                Err(only_root(
                    match access {
                        TapAccess::Owner(uid) => format!("set the owner to uid {uid}"),
                        TapAccess::Group(gid) => format!("set the group to gid {gid}"),
                    },
                    "only root can create taps for other users",
                    "leave out --owner and --group to own the tap yourself, or ask root to create \
                     the tap",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An error if only root may do it. No command is suggested: it could hit another guest.
pub(super) fn only_root(action: String, reason: impl Into<String>, hint: &'static str) -> Error {
    Error::Denied {
        action,
        reason: reason.into(),
        hints: vec![Advice::text(hint)],
    }
}
