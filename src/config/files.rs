//! Opens /etc/qemu-ifup.conf and /etc/qemu/bridge.conf. What they say is root's word, so nobody else may have written them.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use crate::config::acl::{ACL_FILE, Acl};
use crate::config::conf::{CONF_FILE, Conf};
use crate::config::error::ConfigError;
use crate::sys::file::{self, Contents};

/// /etc/qemu-ifup.conf; empty where there is no file.
///
/// # Errors
/// The file cannot be read, is not root's alone, or has a mistake.
pub(crate) fn load_conf() -> Result<Conf, ConfigError> {
    match read_trusted(CONF_FILE)? {
        Some(contents) => Conf::parse(contents.bytes).map_err(ConfigError::Conf),
        None => Ok(Conf::default()),
    }
}

/// The rules for unprivileged callers; None where there is no file.
///
/// # Errors
/// The file, or one that it includes, cannot be relied on.
pub(crate) fn load_acl() -> Result<Option<Acl>, ConfigError> {
    let Some(contents) = read_trusted(ACL_FILE)? else {
        return Ok(None);
    };
    let acl = Acl::load(Path::new(ACL_FILE), &contents, file::read);
    acl.map(Some).map_err(ConfigError::Acl)
}

fn read_trusted(path: &'static str) -> Result<Option<Contents>, ConfigError> {
    match file::read(Path::new(path)) {
        Ok(contents) if contents.root_owned => Ok(Some(contents)),
        Ok(_) => Err(ConfigError::NotRoots { path }),
        Err(reason) => match reason.errno() {
            Some(Errno::ENOENT) if fs::read_link(path).is_ok() => {
                Err(ConfigError::Dangling { path })
            }
            Some(Errno::ENOENT) => Ok(None),
            // Of the process and the machine, not of the file.
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
                Err(ConfigError::Read { path, reason })
            }
            Some(_) | None => Err(ConfigError::Untrusted { path, reason }),
        },
    }
}
