//! Who asks: the real user, and the one behind sudo, pkexec or doas.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{Gid, getgroups};

use crate::cli::{Access, Id};
use crate::error::{Cause, Error};
use crate::file;
use crate::privilege::Privilege;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// What stands behind the caller's wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// He is root.
    Root,
    /// The program lends him its capability, within the limits that root has set.
    Lent,
    /// Nothing does.
    None,
}

/// The user who runs the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    real: u32,
    groups: Vec<Gid>,
    authority: Authority,
    /// Kept as it was found: a variable that makes no sense matters only to those who need to know the invoking user.
    invoking: Result<u32, Error>,
}

impl Caller {
    /// Asks the kernel, and for root the environment.
    ///
    /// # Errors
    /// The kernel does not tell the groups.
    pub fn identify(privilege: Privilege) -> Result<Self, Error> {
        let mut groups = vec![privilege.real.1];
        // Root is in all of them, in effect.
        if !privilege.real.0.is_root() {
            let others = getgroups();
            groups.extend(others.map_err(|errno| Error::step("read the caller's groups", errno))?);
        }
        let variable = |name: &str| std::env::var_os(name);
        Ok(Self::from_parts(privilege, groups, variable, read))
    }

    /// The same from given parts: the real user and what the program has to lend him, his groups, a way to ask for a
    /// variable of the environment, and one to read a file.
    ///
    /// Only root is asked who stands behind him: from anybody else these variables would be a claim, not a fact.
    pub fn from_parts(
        privilege: Privilege,
        groups: Vec<Gid>,
        variable: impl Fn(&str) -> Option<OsString>,
        read: impl Fn(&'static str) -> Result<Vec<u8>, Error>,
    ) -> Self {
        let real = privilege.real.0.as_raw();
        let mut invoking = Ok(real);
        if real == 0 {
            let numeric = ["SUDO_UID", "PKEXEC_UID"]
                .into_iter()
                .find_map(|name| Some((name, variable(name)?)));
            if let Some((name, value)) = numeric {
                invoking = uid(&value).ok_or(Error::BadVariable {
                    variable: name,
                    value: value.into_encoded_bytes(),
                });
            } else if let Some(name) = variable("DOAS_USER") {
                invoking = read(PASSWD).and_then(|passwd| {
                    find_id(&passwd, name.as_bytes()).ok_or(Error::UnknownId {
                        name: name.into_encoded_bytes(),
                        file: PASSWD,
                        instead: "--owner UID",
                    })
                });
            }
        }
        let authority = match (real, privilege.net_admin) {
            (0, _) => Authority::Root,
            (_, true) => Authority::Lent,
            (_, false) => Authority::None,
        };
        Self {
            real,
            groups,
            authority,
            invoking,
        }
    }

    /// What stands behind his wishes.
    pub fn authority(&self) -> Authority {
        self.authority
    }

    /// Whether he is in this group.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.groups.contains(&Gid::from_raw(gid))
    }

    /// The real uid.
    pub fn real_uid(&self) -> u32 {
        self.real
    }

    /// The uid that a tap is made for.
    ///
    /// # Errors
    /// The environment names a user that cannot be made out.
    pub fn invoking_uid(&self) -> Result<u32, Error> {
        self.invoking.clone()
    }
}

/// Finds the number behind the user or group that an option names.
///
/// # Errors
/// It is not in /etc/passwd or /etc/group. Other sources (NSS: LDAP, systemd) are not asked: a static program
/// cannot, and one with a privilege should not load their code.
pub fn look_up(access: Access<Id>) -> Result<Access<u32>, Error> {
    let resolve = |id, file, instead| match id {
        Id::Number(number) => Ok(number),
        Id::Name(name) => find_id(&read(file)?, name.as_bytes()).ok_or(Error::UnknownId {
            name: name.into_encoded_bytes(),
            file,
            instead,
        }),
    };
    Ok(match access {
        Access::Owner(id) => Access::Owner(resolve(id, PASSWD, "--owner UID")?),
        Access::Group(id) => Access::Group(resolve(id, GROUP, "--group GID")?),
    })
}

fn read(path: &'static str) -> Result<Vec<u8>, Error> {
    let contents =
        file::read(Path::new(path)).map_err(|cause: Cause| Error::File { path, cause })?;
    Ok(contents.bytes)
}

/// The third field of the line whose first field is `name`: the uid of passwd(5), the gid of group(5).
fn find_id(file: &[u8], name: &[u8]) -> Option<u32> {
    file.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        (fields.next()? == name).then_some(())?;
        uid(OsStr::from_bytes(fields.nth(1)?))
    })
}

/// The kernel's "no id", all ones, is nobody's number.
fn uid(word: &OsStr) -> Option<u32> {
    let text = word
        .to_str()
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok().filter(|&uid| uid != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Uid;

    const FILE: &[u8] = b"root:x:0:0::/:/bin/sh\nbad line\n:x:7\nann:x:1000:100::/home/ann:/bin/sh\nbig:x:4294967295:1::\nnonumber:x:y:\n";

    fn caller(real: u32, environment: &[(&str, &str)]) -> Result<u32, Error> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let nothing = Privilege {
            real: (Uid::from_raw(real), Gid::from_raw(real)),
            net_admin: false,
        };
        Caller::from_parts(nothing, Vec::new(), variable, |_| Ok(FILE.to_vec())).invoking_uid()
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
