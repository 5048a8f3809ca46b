//! `qemu-ifdown IFNAME...`

use crate::commands::session::Session;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::kernel::Tap;
use crate::model::if_name::IfName;
use crate::plan::Plan;
use crate::policy::caller::Authority;
use crate::policy::rules::Policy;

/// How many taps are deleted together at most: meanwhile, for about 20 ms, no other process can change an interface.
const MAX_TOGETHER: usize = 64;

/// Takes taps off their bridges and down.
pub(super) fn down(
    session: &mut Session<'_>,
    taps: &[IfName],
    delete: bool,
) -> Result<ExitCode, Error> {
    if session.caller.authority() != Authority::Root {
        let taps = taps.iter().map(|&name| (name, ()));
        return Ok(session.each(taps, |session, name, ()| release(session, name, delete)));
    }
    let mut planned = Vec::with_capacity(taps.len());
    let mut threads = Vec::new();
    // The batch that is not full comes first: the kernel waits for one batch after the other, so a later batch should not end
    // while the kernel still waits for an earlier one.
    let batches = taps.rchunks(MAX_TOGETHER).rev();
    let mut groups = Vec::new();
    if delete && taps.len() > 1 && !session.dry_run {
        groups = session.kernel.unused_groups(batches.len());
    }
    for names in batches {
        let first = planned.len();
        let mut plan = |name| {
            let mut tap = Tap::new(name);
            let state = session.kernel.observe(&mut tap, None)?;
            let policy = Policy::new(&session.caller, None, session.dry_run);
            let plan = Plan::down(&policy.authorize_down(name, delete, state)?);
            Ok::<_, Error>((plan, tap))
        };
        planned.extend(names.iter().map(|&name| (name, plan(name))));
        if let Some(group) = groups.pop() {
            let batch = planned.iter().skip(first).flat_map(|(_, planned)| planned);
            let to_delete = batch.filter(|(plan, _)| plan.deletes());
            let to_delete: Vec<_> = to_delete.map(|(_, tap)| tap).collect();
            let in_thread = taps.len() > MAX_TOGETHER;
            threads.extend(session.kernel.delete_together(&to_delete, group, in_thread));
        }
    }
    let code = session.each(planned, |session, _, planned| {
        let (plan, mut tap) = planned?;
        if plan.deletes() && taps.len() > 1 {
            session.kernel.mark_if_gone(&mut tap);
        }
        session.carry_out(&plan, &mut tap, None)
    });
    for thread in threads {
        let _ = thread.join(); // each tap was checked already
    }
    Ok(code)
}

/// Deletes a tap of an unprivileged user, or leaves it as it is. This needs no privilege.
fn release(session: &mut Session<'_>, name: IfName, delete: bool) -> Result<(), Error> {
    let mut tap = Tap::new(name);
    let state = session.kernel.observe(&mut tap, None)?;
    let policy = Policy::new(&session.caller, None, session.dry_run);
    let plan = Plan::release(&policy.authorize_release(name, delete, state)?);
    session.carry_out(&plan, &mut tap, None)
}
