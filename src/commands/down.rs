//! `qemu-ifdown IFNAME`

use crate::apply::kernel::Tap;
use crate::commands::session::Session;
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::policy::rules::Policy;

/// Takes a tap off its bridge and down.
#[inline]
pub(super) fn down(session: &mut Session<'_>, name: IfName, delete: bool) -> Result<(), Error> {
    let acl = session.load_acl()?;
    let mut tap = Tap::new(name);
    let state = session.kernel.observe(&mut tap, None)?;
    let policy = Policy::new(&session.caller, acl.as_ref(), session.dry_run);
    let plan = Plan::down(&policy.authorize_down(name, delete, state)?);
    session.carry_out(&plan, &mut tap, None)
}
