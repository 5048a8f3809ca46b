//! `qemu-ifdown IFNAME...`

use crate::apply::kernel::Tap;
use crate::commands::session::Session;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::policy::rules::Policy;

/// How many taps are deleted together at most: nobody else can change an interface meanwhile, which is some 20 ms.
const MAX_TOGETHER: usize = 64;

/// Takes taps off their bridges and down.
#[inline]
pub(super) fn down(
    session: &mut Session<'_>,
    taps: &[IfName],
    delete: bool,
) -> Result<ExitCode, Error> {
    let acl = session.load_acl()?;
    let mut code = ExitCode::Success;
    for names in taps.chunks(MAX_TOGETHER) {
        let mut plan = |name| {
            let mut tap = Tap::new(name);
            let state = session.kernel.observe(&mut tap, None)?;
            let policy = Policy::new(&session.caller, acl.as_ref(), session.dry_run);
            let plan = Plan::down(&policy.authorize_down(name, delete, state)?);
            Ok::<_, Error>((plan, tap))
        };
        let mut planned: Vec<_> = names.iter().map(|&name| (name, plan(name))).collect();
        if !session.dry_run {
            let planned = planned.iter_mut().flat_map(|(_, planned)| planned);
            let deleted = planned.filter(|(plan, _)| plan.deletes());
            let deleted = deleted.map(|(_, tap)| tap).collect();
            session.kernel.delete_together(deleted);
        }
        let of_these = session.each(planned, |session, _, planned| {
            let (plan, mut tap) = planned?;
            session.carry_out(&plan, &mut tap, None)
        });
        if code == ExitCode::Success {
            code = of_these;
        }
    }
    Ok(code)
}
