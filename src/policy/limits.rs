//! Limits for unprivileged callers: how many taps, of which names, and which MTU.

use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::escape::ShellQuoted;
use crate::model::spec::{Creator, Quota, TapSpec};
use crate::policy::rules::{Policy, only_root};

/// The taps that a user may have if root does not say: each costs the kernel memory, and the bridge a port.
const DEFAULT_MAX_TAPS: u32 = 64;

/// The taps that all unprivileged users together may have, unless root allows one of them more: half the ports of a bridge.
const DEFAULT_MAX_ALL_TAPS: u32 = 512;

impl Policy<'_> {
    /// How many taps the caller may have, if that is limited.
    pub(super) fn quota(&self, spec: &TapSpec) -> Option<Quota> {
        self.is_unprivileged().then(|| Quota {
            user: Creator(self.caller.real_uid()),
            max: spec.max_taps.unwrap_or(DEFAULT_MAX_TAPS),
            max_all: spec.largest_max_taps.unwrap_or(0).max(DEFAULT_MAX_ALL_TAPS),
        })
    }

    /// One port with a small MTU pulls the bridge, and everybody on it, down to it; a large one pulls up a bridge without
    /// other ports.
    pub(super) fn check_mtu(&self, mtu: Option<u32>, bridge: u32) -> Result<(), Error> {
        match mtu {
            Some(mtu) if self.is_unprivileged() && mtu != bridge => Err(only_root(
                format!("set MTU {mtu}"),
                "it is not the bridge's, and the bridge, with everybody on it, would follow",
                "leave it out: the tap gets the bridge's; only root (sudo) may set another",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A name that a user chooses must not be mistaken for another interface's: by the administrator, by a firewall, by a
    /// program that waits for it or prints it.
    pub(super) fn check_name(&self, spec: &TapSpec) -> Result<(), Error> {
        let name = spec.tap.as_bytes();
        let is_taps = name.starts_with(b"tap") || name.starts_with(b"vnet");
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        if !self.is_unprivileged() {
            return Ok(());
        }
        if !name.iter().all(is_plain) {
            return Err(only_root(
                "create it".to_owned(),
                "the name of a user's tap has only letters, digits, '.', '_' and '-'",
                "choose such a name",
            ));
        }
        if is_taps || spec.name_configured {
            return Ok(());
        }
        let mut hint = format!(
            "choose such a name; or root creates it (sudo qemu-ifup -- {}), or writes a line for that name into {CONF_FILE}",
            ShellQuoted(name)
        );
        let line = [name, b" --bridge ", spec.bridge.as_bytes()].concat();
        if spec.bridge.as_bytes().iter().all(is_plain) && !name.starts_with(b"-") {
            hint += &format!(": echo {} | sudo tee -a {CONF_FILE}", ShellQuoted(&line));
        }
        Err(Error::Denied {
            action: "create it".to_owned(),
            reason: "a user's tap has a name such as tap0 or vnet0".to_owned(),
            hint,
        })
    }
}
