//! Limits for unprivileged callers: how many taps, of which names, and which MTU.

use crate::config::conf::CONF_FILE;
use crate::error::Error;
use crate::error::advice::{Advice, Command};
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
                "it differs from the MTU of the bridge, and would change the MTU of the bridge for \
                 all guests",
                "leave out --mtu to use the MTU of the bridge. Only root can set another MTU",
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
                "create the tap".to_owned(),
                "an unprivileged user can create only taps whose names consist of letters, \
                 digits, '.', '_' and '-'",
                "use such a name",
            ));
        }
        if is_taps || spec.name_configured {
            return Ok(());
        }
        let mut hints = vec![
            Advice::text("use a name that begins with tap or vnet"),
            Advice::run(
                "or root can create the tap",
                Command::root(format!("qemu-ifup -- {}", ShellQuoted(name))),
            ),
        ];
        let line = [name, b" --bridge ", spec.bridge.as_bytes()].concat();
        if spec.bridge.as_bytes().iter().all(is_plain) && !name.starts_with(b"-") {
            let text = "or root can permit this name with a line";
            hints.push(Advice::run(text, Command::append(&line, CONF_FILE)));
        } else {
            let text = format!("or root can permit this name with a line in {CONF_FILE}");
            hints.push(Advice::text(text));
        }
        Err(Error::Denied {
            action: "create the tap".to_owned(),
            reason: "an unprivileged user can create only taps whose names begin with tap or vnet"
                .to_owned(),
            hints,
        })
    }
}
