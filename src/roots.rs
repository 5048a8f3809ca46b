//! Root's files: what they say is root's word, so nobody else may have written it.

#![forbid(unsafe_code)]

use std::path::Path;

use nix::errno::Errno;

use crate::acl::{ACL_FILE, Acl};
use crate::conf::{CONF_FILE, Effective, settings_for};
use crate::error::{Cause, Error};
use crate::file::{self, Contents};
use crate::name::IfName;

/// What /etc/qemu-ifup.conf has for this tap.
///
/// # Errors
/// The file cannot be read, is not root's alone, or has a mistake.
pub fn configuration(tap: IfName) -> Result<Effective, Error> {
    match roots_file(CONF_FILE)? {
        Some(contents) => settings_for(tap, &contents.bytes).map_err(Error::Conf),
        None => Ok(Effective::default()),
    }
}

/// The rules for callers to whom the privilege is lent; none where there is no file.
///
/// # Errors
/// The file, or one that it includes, cannot be relied on.
pub fn acl() -> Result<Option<Acl>, Error> {
    let Some(contents) = roots_file(ACL_FILE)? else {
        return Ok(None);
    };
    let acl = Acl::load(Path::new(ACL_FILE), &contents, file::read);
    acl.map(Some).map_err(Error::Acl)
}

fn roots_file(path: &'static str) -> Result<Option<Contents>, Error> {
    match file::read(Path::new(path)) {
        Ok(contents) if contents.only_roots => Ok(Some(contents)),
        Ok(_) => Err(Error::RootsFile {
            path,
            cause: Cause::Nonsense("it must be root's, and nobody else may write to it"),
        }),
        Err(cause) => match cause.errno() {
            Some(Errno::ENOENT) => Ok(None),
            // Of the process and the machine, not of the file.
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
                Err(Error::step(format!("read {path}"), cause))
            }
            Some(_) | None => Err(Error::RootsFile { path, cause }),
        },
    }
}
