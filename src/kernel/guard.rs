//! A child that stands guard over work that cannot be done in one: should a kill come in the middle, it outlives the worker
//! and can put things back. A program that was killed cannot.

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, setpgid};

use crate::error::Cause;

unsafe extern "C" {
    /// fork(2) alone (POSIX.1-2024). That of glibc would first put the system's name services in order, and bring them along.
    fn _Fork() -> libc::pid_t;
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Role {
    /// The one that works, and then dismisses the guard.
    Worker(Guard),
    /// The guard, and the worker was killed.
    Survivor,
}

/// The child, as its parent knows it.
#[derive(Debug)]
pub struct Guard(Pid);

impl Guard {
    /// Posts a guard. In that one this returns only if the worker is killed, and not before all that the worker had open
    /// is closed: a tap that was not kept is then gone. `first` is what the guard does before it waits.
    ///
    /// # Errors
    /// There is no room for another process.
    pub fn post(first: impl FnOnce()) -> Result<Role, Cause> {
        // Whoever ends all processes of a service by SIGTERM means the worker.
        let all = SigSet::all();
        let before = all.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: no code of ours is run by the default. Ignored, which may be inherited, it would let a guard that has ended
        // vanish by itself, and its number become another process's before it is dismissed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let worker = getpid();
        // SAFETY: this program has one thread, so the child finds everything in a state that it can go on from.
        let forked = Errno::result(unsafe { _Fork() });
        if forked == Ok(0) {
            // ^C, and kill(1) of a job, are for all processes of a group.
            let _ = setpgid(Pid::this(), Pid::this());
            first();
            if outlive(worker).is_err() {
                // No guard, then: what goes wrong with the work is the worker's to tell.
                std::process::exit(1);
            }
            return Ok(Role::Survivor);
        }
        before.thread_set_mask()?;
        Ok(Role::Worker(Self(Pid::from_raw(forked?))))
    }

    /// Ends the guard, with nothing put back.
    pub fn dismiss(self) {
        // It is our own child, and not waited for yet: the number is its own, and nothing can refuse.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Waits until this process has another parent, which is when the worker has ended. All signals are blocked, so that the
/// one that tells of it waits for us, too.
fn outlive(worker: Pid) -> Result<(), Errno> {
    const DEATH: Signal = Signal::SIGUSR1;
    set_pdeathsig(DEATH)?;
    while getppid() == worker {
        SigSet::from(DEATH).wait()?;
    }
    Ok(())
}
