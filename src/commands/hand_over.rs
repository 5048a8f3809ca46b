//! `qemu-ifup --fd=N`: QEMU's bridge helper.

use crate::commands::session::{Session, tap_spec};
use crate::commands::up::BringUp;
use crate::config::files::load_conf;
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::policy::rules::Policy;
use crate::sys::fd_passing::HelperSocket;

/// Creates a tap whose name the kernel chooses, brings it up on a bridge and hands it over to QEMU.
#[inline]
pub(super) fn hand_over(
    session: &mut Session<'_>,
    helper: Option<&HelperSocket>,
    vnet_hdr: bool,
    options: &TapOptions,
) -> Result<(), Error> {
    let acl = session.load_acl()?;
    let policy = Policy::new(&session.caller, acl.as_ref(), session.dry_run);
    let auth = policy.authorize_create(options.bridge.unwrap_or(IfName::DEFAULT_BRIDGE))?;
    let tap = session.kernel.create_any(vnet_hdr, &auth)?;
    session.reporter.set_tap(tap.name());
    let mut spec = tap_spec(tap.name(), options, load_conf(tap.name())?)?;
    // It is its caller's already, and has one queue: that is what QEMU takes from a helper.
    spec.access = None;
    spec.multi_queue = false;
    BringUp {
        spec: &spec,
        asked: options,
        acl: acl.as_ref(),
        helper,
        plan: Plan::hand_over,
    }
    .run(session, tap)
}
