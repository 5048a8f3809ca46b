//! The caller: the real user, and the invoking user behind sudo, pkexec or doas. The one file of this layer that asks the
//! system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{Gid, getgroups};

use crate::error::Error;
use crate::error::advice::Reader;
use crate::model::spec::{NameOrId, TapAccess};
use crate::sys::file::{self, GROUP, PASSWD, SUBUID, parse_id};
use crate::sys::privilege::{Credentials, Withheld};

/// What the caller may act with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    Root,
    /// They are an unprivileged user, and the program has its capability for them, within the limits that root has set.
    Delegated,
    None,
}

/// The right to change a tap that exists: of root, and of a plan that is only printed. Only `Caller::unrestricted` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unrestricted(());

/// The user who runs the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    credentials: Credentials,
    groups: Vec<Gid>,
    /// Kept as it was found: an invalid variable matters only where the invoking user is needed.
    invoking: Result<u32, Error>,
}

impl Caller {
    /// Asks the kernel, and for root the environment.
    pub(crate) fn identify(credentials: Credentials) -> Result<Self, Error> {
        let mut groups = vec![credentials.gid];
        // Root is in all of them, in effect.
        if !credentials.uid.is_root() {
            let others = getgroups();
            groups
                .extend(others.map_err(|errno| Error::failed("read the caller's groups", errno))?);
        }
        let variable = |name: &str| std::env::var_os(name);
        Ok(Self::from_parts(credentials, groups, variable, find_id))
    }

    /// The same from given parts: the credentials, the groups, a way to read a variable of the environment, and one to find
    /// a name in a file.
    ///
    /// Only root's environment names the invoking user: from anybody else these variables would be a claim, not a fact.
    pub(crate) fn from_parts(
        credentials: Credentials,
        groups: Vec<Gid>,
        variable: impl Fn(&str) -> Option<OsString>,
        find: impl Fn(&'static str, OsString) -> Result<u32, Error>,
    ) -> Self {
        let real = credentials.uid.as_raw();
        let mut invoking = Ok(real);
        if real == 0 {
            let numeric = ["SUDO_UID", "PKEXEC_UID"]
                .into_iter()
                .find_map(|name| Some((name, variable(name)?)));
            if let Some((name, value)) = numeric {
                invoking = parse_id(&value).ok_or(Error::InvalidEnv {
                    variable: name,
                    value: value.into_encoded_bytes(),
                });
            } else if let Some(name) = variable("DOAS_USER") {
                invoking = find(PASSWD, name);
            }
        }
        Self {
            credentials,
            groups,
            invoking,
        }
    }

    pub(crate) fn authority(&self) -> Authority {
        match (self.real_uid(), self.credentials.net_admin) {
            (0, _) => Authority::Root,
            (_, true) => Authority::Delegated,
            (_, false) => Authority::None,
        }
    }

    /// The right to change taps that exist: root's, or, if nothing is changed (`dry_run`), that of a user without privilege,
    /// who is shown the plan of root.
    pub(crate) fn unrestricted(&self, dry_run: bool) -> Option<Unrestricted> {
        match self.authority() {
            Authority::Root => Some(Unrestricted(())),
            Authority::None if dry_run => Some(Unrestricted(())),
            Authority::None | Authority::Delegated => None,
        }
    }

    /// Who reads the messages: the user in whose shell the program was called, also through sudo, pkexec or doas.
    pub(crate) fn reader(&self) -> Reader {
        Reader(self.invoking.as_ref().ok().copied())
    }

    pub(crate) fn has_net_admin(&self) -> bool {
        self.credentials.net_admin
    }

    /// What keeps the capability of the program's file from them.
    pub(crate) fn withheld(&self) -> Option<Withheld> {
        self.credentials.withheld
    }

    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        self.groups.contains(&Gid::from_raw(gid))
    }

    pub(crate) fn real_uid(&self) -> u32 {
        self.credentials.uid.as_raw()
    }

    /// The uid that a new tap belongs to.
    ///
    /// # Errors
    /// The environment names a user that is not known.
    pub(crate) fn invoking_uid(&self) -> Result<u32, Error> {
        self.invoking.clone()
    }
}

/// Resolves the user or group that an option names.
///
/// # Errors
/// It is not in /etc/passwd or /etc/group.
pub(crate) fn resolve_ids(access: TapAccess<NameOrId>) -> Result<TapAccess<u32>, Error> {
    let resolve = |id, file| match id {
        NameOrId::Id(id) => Ok(id),
        NameOrId::Name(name) => find_id(file, name),
    };
    Ok(match access {
        TapAccess::Owner(id) => TapAccess::Owner(resolve(id, PASSWD)?),
        TapAccess::Group(id) => TapAccess::Group(resolve(id, GROUP)?),
    })
}

fn find_id(path: &'static str, name: OsString) -> Result<u32, Error> {
    let found = file::find_id(Path::new(path), name.as_bytes());
    let found = found.map_err(|reason| Error::ReadFile { path, reason })?;
    found.ok_or(Error::UnknownName {
        name: name.into_encoded_bytes(),
        file: path,
    })
}

/// Whether the uid is one that another user may hand out (subuid(5)).
///
/// # Errors
/// The file cannot be read.
pub(crate) fn is_sub_uid(uid: u32) -> Result<bool, Error> {
    file::is_sub_uid(uid).map_err(|reason| Error::ReadFile {
        path: SUBUID,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Uid;

    fn caller(real: u32, environment: &[(&str, &str)]) -> Result<u32, Error> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let nothing = Credentials {
            uid: Uid::from_raw(real),
            gid: Gid::from_raw(real),
            net_admin: false,
            withheld: None,
        };
        let find = |file, name: OsString| match name.as_bytes() {
            b"ann" => Ok(1000),
            _ => Err(Error::UnknownName {
                name: name.into_encoded_bytes(),
                file,
            }),
        };
        Caller::from_parts(nothing, Vec::new(), variable, find).invoking_uid()
    }

    #[test]
    fn the_user_behind_root_is_found() {
        assert_eq!(caller(0, &[]), Ok(0));
        assert_eq!(caller(0, &[("SUDO_UID", "1000")]), Ok(1000));
        assert_eq!(caller(0, &[("PKEXEC_UID", "1001")]), Ok(1001));
        assert_eq!(caller(0, &[("DOAS_USER", "ann")]), Ok(1000));
        let both = [("DOAS_USER", "ann"), ("SUDO_UID", "5")];
        assert_eq!(caller(0, &both), Ok(5));
    }

    #[test]
    fn nobody_but_root_can_claim_to_act_for_another() {
        for variable in ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"] {
            assert_eq!(caller(1000, &[(variable, "0")]), Ok(1000));
        }
    }

    #[test]
    fn a_variable_that_names_nobody_is_an_error() {
        for value in ["", "x", "-1", "+1", " 1", "4294967295", "99999999999"] {
            let error = caller(0, &[("SUDO_UID", value)]).unwrap_err();
            assert!(error.to_string().contains("SUDO_UID"), "{error}");
        }
        for value in ["nobody-here", "big", "nonumber", "bad line"] {
            let error = caller(0, &[("DOAS_USER", value)]).unwrap_err();
            assert!(error.to_string().contains(value), "{error}");
        }
    }
}
