//! `qemu-ifdown IFNAME...`

use crate::apply::kernel::Tap;
use crate::commands::session::Session;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::policy::rules::Policy;

/// Takes taps off their bridges and down.
#[inline]
pub(super) fn down(
    session: &mut Session<'_>,
    taps: &[IfName],
    delete: bool,
) -> Result<ExitCode, Error> {
    let acl = session.load_acl()?;
    let taps = taps.iter().map(|&name| (name, ()));
    Ok(session.each(taps, |session, name, ()| {
        let mut tap = Tap::new(name);
        let state = session.kernel.observe(&mut tap, None)?;
        let policy = Policy::new(&session.caller, acl.as_ref(), session.dry_run);
        let plan = Plan::down(&policy.authorize_down(name, delete, state)?);
        session.carry_out(&plan, &mut tap, None)
    }))
}
