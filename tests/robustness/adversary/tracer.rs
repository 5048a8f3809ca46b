//! A tracer of root's: stops a program before and after each of its system calls.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// A program that is not done by then hangs, and is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a program stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub process: Pid,
    /// Counted from 1, with those of its children.
    pub number: usize,
    /// Before the call is made; otherwise it has just been made.
    pub before: bool,
    pub call: u64,
    /// The one of root's files that it opens.
    pub file: Option<&'static str>,
}

/// Root's files, which say what a user may do.
pub const CONF: &str = "/etc/qemu-ifup.conf";
pub const ACL: &str = "/etc/qemu/bridge.conf";

impl Stop {
    /// The call changes something that others see, or learns of something that others change. What is done between two
    /// such calls is done before the second one.
    pub fn is_shared(&self) -> bool {
        self.before && (self.is_one_of(ACTS) || self.is_one_of(OPENS))
    }

    /// The call may change an interface.
    pub fn is_act(&self) -> bool {
        self.is_one_of(ACTS)
    }

    /// The call opens a file or a socket. No program learns anything of the host before that.
    pub fn is_look(&self) -> bool {
        self.is_one_of(OPENS) || self.is_one_of(&[libc::SYS_socket])
    }

    fn is_one_of(&self, calls: &[libc::c_long]) -> bool {
        calls.iter().any(|&call| call.cast_unsigned() == self.call)
    }
}

/// A tap that is not persistent goes when it is closed.
const ACTS: &[libc::c_long] = &[
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_ioctl,
    libc::SYS_close,
];

const OPENS: &[libc::c_long] = &[
    libc::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// A system call that a process is in, and the one of root's files that it opens.
type Call = (u64, Option<&'static str>);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    Signal(Signal),
}

/// A traced program, and the children that it may have.
pub struct Traced {
    program: Pid,
    /// Which system call each is in.
    processes: BTreeMap<Pid, Option<Call>>,
    /// It has made the first call of its own; what comes before is the C library's.
    began: bool,
    stops: usize,
    /// Stands still, and is to go on when the next stop is asked for.
    standing: Option<Pid>,
    end: Option<End>,
    /// Dropped when it is over, which ends the watchdog.
    _watchdog: Sender<()>,
}

/// The first calls that the programs make themselves: they ignore two signals, and look at what rights they have.
const FIRST: [libc::c_long; 3] = [
    libc::SYS_rt_sigaction,
    libc::SYS_getresuid,
    libc::SYS_capget,
];

impl Traced {
    /// Starts a program; `become_caller` is run in the child, when it is traced already: the rights of the tracer, which it is
    /// checked against when it is given a file's capabilities, are taken down at that moment.
    #[allow(clippy::zombie_processes, reason = "next() waits for it by its number")]
    pub fn start(
        command: &mut Command,
        become_caller: impl Fn() -> nix::Result<()> + Send + Sync + 'static,
    ) -> Self {
        // SAFETY: the closure makes system calls only, and takes no lock that another thread might have had at the fork.
        unsafe {
            command.pre_exec(move || {
                ptrace::traceme()?;
                Ok(become_caller()?)
            })
        };
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let program = Pid::from_raw(child.id().cast_signed());
        // It stops when the new program is in place.
        let status = waitpid(program, None).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        ptrace::setoptions(
            program,
            Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_EXITKILL
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC,
        )
        .unwrap();
        Self {
            program,
            processes: BTreeMap::from([(program, None)]),
            began: false,
            stops: 0,
            standing: Some(program),
            end: None,
            _watchdog: watchdog(program),
        }
    }

    /// It has a tap of this name open, as far as the kernel tells.
    pub fn has_open(&self, tap: &str) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fdinfo", self.program)) else {
            return false;
        };
        let line = format!("iff:\t{tap}");
        let mut files = descriptors.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
        files.any(|text| text.lines().any(|of| of == line))
    }

    pub fn pid(&self) -> Pid {
        self.program
    }

    /// Goes on to the next stop; None when all is over.
    pub fn next(&mut self) -> Option<Stop> {
        if let Some(process) = self.standing.take() {
            resume(process, None);
        }
        loop {
            // Only this thread's: the others have children too.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let status = match waitpid(None, Some(flags)) {
                Err(Errno::ECHILD) => return None,
                status => status.unwrap(),
            };
            match status {
                WaitStatus::Exited(process, code) => self.ended(process, End::Exit(code)),
                WaitStatus::Signaled(process, signal, _) => {
                    self.ended(process, End::Signal(signal));
                }
                WaitStatus::PtraceSyscall(process) => {
                    if let Some(stop) = self.at_call(process) {
                        self.standing = Some(process);
                        return Some(stop);
                    }
                    resume(process, None);
                }
                // A child's first stop, and the events of fork(2) and execve(2), are the tracer's own doing.
                WaitStatus::Stopped(process, Signal::SIGSTOP)
                    if !self.processes.contains_key(&process) =>
                {
                    self.processes.insert(process, None);
                    resume(process, None);
                }
                WaitStatus::PtraceEvent(process, ..)
                | WaitStatus::Stopped(process, Signal::SIGTRAP) => resume(process, None),
                WaitStatus::Stopped(process, signal) => {
                    // A process that stands still because of SIGSTOP has no signal to be given.
                    let is_delivered = ptrace::getsiginfo(process).is_ok();
                    resume(process, is_delivered.then_some(signal));
                }
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            }
            if self.processes.is_empty() {
                return None;
            }
        }
    }

    fn at_call(&mut self, process: Pid) -> Option<Stop> {
        let info = match ptrace::syscall_info(process) {
            // It was killed as it stood.
            Err(Errno::ESRCH) => return None,
            info => info.unwrap(),
        };
        let inside = self.processes.entry(process).or_insert(None);
        let (before, (call, file)) = if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            // SAFETY: `op` says that this member of the union is the one that the kernel has written.
            let entry = unsafe { info.u.entry };
            let call = (entry.nr, file_of(process, entry.nr, entry.args));
            *inside = Some(call);
            (true, call)
        } else {
            (false, inside.take()?)
        };
        self.began |= FIRST.iter().any(|&first| call == first.cast_unsigned());
        self.began.then(|| {
            self.stops += 1;
            Stop {
                process,
                number: self.stops,
                before,
                call,
                file,
            }
        })
    }

    fn ended(&mut self, process: Pid, end: End) {
        self.processes.remove(&process);
        if process == self.program {
            self.end = Some(end);
        }
    }

    /// How the program ended, once there are no more stops.
    pub fn end(&self) -> End {
        self.end.expect("it has not ended")
    }
}

/// The one of root's files that a call is about to open.
fn file_of(process: Pid, call: u64, args: [u64; 6]) -> Option<&'static str> {
    OPENS.iter().find(|open| open.cast_unsigned() == call)?;
    let is_at = libc::SYS_openat.cast_unsigned() == call;
    let mut path = [0; 64];
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let length = memory.read_at(&mut path, args[usize::from(is_at)]).ok()?;
    let path = path[..length].split(|&byte| byte == 0).next()?;
    let files = [CONF, ACL].into_iter();
    files.into_iter().find(|file| file.as_bytes() == path)
}

fn resume(process: Pid, signal: Option<Signal>) {
    // It may have been killed as it stood.
    match ptrace::syscall(process, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => panic!("cannot resume {process}: {e}"),
    }
}

/// Kills the program if it is not over in time: a test that hangs says nothing.
fn watchdog(program: Pid) -> Sender<()> {
    let (over, wait) = mpsc::channel();
    thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = nix::sys::signal::kill(program, Signal::SIGKILL);
        }
    });
    over
}

/// The name of a system call; the number of one that neither program makes today.
pub fn name_of(call: u64) -> String {
    const NAMES: &[(libc::c_long, &str)] = &[
        (libc::SYS_rt_sigaction, "rt_sigaction"),
        (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
        (libc::SYS_getresuid, "getresuid"),
        (libc::SYS_getresgid, "getresgid"),
        (libc::SYS_setresuid, "setresuid"),
        (libc::SYS_setresgid, "setresgid"),
        (libc::SYS_getgroups, "getgroups"),
        (libc::SYS_getuid, "getuid"),
        (libc::SYS_geteuid, "geteuid"),
        (libc::SYS_getpid, "getpid"),
        (libc::SYS_getppid, "getppid"),
        (libc::SYS_capget, "capget"),
        (libc::SYS_capset, "capset"),
        (libc::SYS_prctl, "prctl"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_socket, "socket"),
        (libc::SYS_setsockopt, "setsockopt"),
        (libc::SYS_getsockopt, "getsockopt"),
        (libc::SYS_getsockname, "getsockname"),
        (libc::SYS_bind, "bind"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_close, "close"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_getrandom, "getrandom"),
        (libc::SYS_prlimit64, "prlimit64"),
        (libc::SYS_brk, "brk"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_mremap, "mremap"),
        (libc::SYS_clone, "clone"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_kill, "kill"),
        (libc::SYS_clock_gettime, "clock_gettime"),
        (libc::SYS_exit_group, "exit_group"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, "open"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_stat, "stat"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_poll, "poll"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_fork, "fork"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_getrlimit, "getrlimit"),
    ];
    let known = NAMES
        .iter()
        .find(|(number, _)| number.cast_unsigned() == call);
    known.map_or(format!("call {call}"), |(_, name)| (*name).to_owned())
}
