//! Limits for unprivileged callers: how many taps, of which names, and which MTU.

use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::escape::ShellQuoted;
use crate::model::spec::{Creator, Quota, TapSpec};
use crate::policy::rules::{Policy, only_root};

/// The taps that a user may have by default: each needs memory of the kernel and a port of the bridge.
const DEFAULT_MAX_TAPS: u32 = 64;

/// The taps that all unprivileged users together may have, unless root allows more for one user: half the ports of a bridge.
const DEFAULT_MAX_ALL_TAPS: u32 = 512;

impl Policy<'_> {
    /// The limit on the caller's taps, if there is one.
    pub(super) fn quota(&self, spec: &TapSpec) -> Option<Quota> {
        self.is_unprivileged().then(|| Quota {
            user: Creator(self.caller.real_uid()),
            max: spec.max_taps.unwrap_or(DEFAULT_MAX_TAPS),
            max_all: spec.largest_max_taps.unwrap_or(0).max(DEFAULT_MAX_ALL_TAPS),
        })
    }

    /// A port with a small MTU lowers the MTU of the bridge for all of its guests. A port with a large MTU raises that of a
    /// bridge without other ports.
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

    /// The administrator, a firewall, and programs that wait for an interface or print its name must not mistake a user's tap
    /// for another interface.
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
