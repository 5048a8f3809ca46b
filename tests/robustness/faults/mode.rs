//! The ways to run a program, and those in which its system calls can fail.

/// How each system call can fail. What is left out cannot (getuid(2)), or is not the program's own doing.
pub const FAILURES: &[(&str, &[&str])] = &[
    (
        "socket",
        &[
            "EMFILE",
            "ENFILE",
            "ENOBUFS",
            "ENOMEM",
            "EACCES",
            "EAFNOSUPPORT",
        ],
    ),
    ("setsockopt", &["ENOPROTOOPT", "EPERM", "ENOMEM"]),
    ("getsockname", &["EBADF", "ENOTSOCK", "ENOBUFS"]),
    ("sendto", &["ENOBUFS", "EPERM", "ENOMEM", "EAGAIN", "EINTR"]),
    ("recvfrom", &["ENOBUFS", "EAGAIN", "EINTR", "ENOMEM"]),
    (
        "sendmsg",
        &[
            "EPIPE",
            "EAGAIN",
            "ENOBUFS",
            "ETOOMANYREFS",
            "ECONNRESET",
            "EPERM",
        ],
    ),
    ("connect", &["ECONNREFUSED", "EACCES", "EAGAIN", "EPERM"]),
    ("open", OPEN),
    ("openat", OPEN),
    ("fcntl", &["EINVAL"]),
    ("bind", &["EADDRINUSE", "ENOMEM", "EPERM"]),
    ("write", &["EPIPE", "EAGAIN", "ENOBUFS", "ECONNREFUSED"]),
    ("stat", &["EACCES", "ENOMEM"]),
    ("readlink", &["EACCES", "ENOMEM"]),
    ("readlinkat", &["EACCES", "ENOMEM"]),
    ("fstat", &["EIO"]),
    ("newfstatat", &["EIO"]),
    ("statx", &["EIO", "ENOSYS"]),
    ("read", &["EIO", "EINTR"]),
    ("close", &["EIO", "EINTR"]),
    ("ioctl", &["EBUSY", "EPERM", "EINVAL", "ENOMEM", "ENODEV"]),
    ("capget", &["EPERM", "EINVAL"]),
    ("capset", &["EPERM", "EINVAL"]),
    ("prctl", &["EPERM", "EINVAL"]),
    ("getresuid", &["EPERM"]),
    ("getresgid", &["EPERM"]),
    ("getgroups", &["EPERM", "EINVAL"]),
    ("getrandom", &["ENOSYS", "EAGAIN", "EINTR"]),
    ("poll", POLL),
    ("ppoll", POLL),
    ("getrlimit", &["EPERM"]),
    ("prlimit64", &["EPERM"]),
    ("mmap", &["ENOMEM"]),
    ("mremap", &["ENOMEM"]),
    ("munmap", &["ENOMEM"]),
    ("brk", &["ENOMEM"]),
];

pub const OPEN: &[&str] = &["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM"];

pub const POLL: &[&str] = &["ENOMEM", "EINTR"];

/// These cannot fail, as the program makes them.
pub const NEVER_FAIL: &[&str] = &[
    "rt_sigaction",
    "rt_sigprocmask",
    "getpid",
    "getuid",
    "geteuid",
    "getppid",
    "gettid",
    "exit_group",
];

/// The allocator's calls.
pub const MEMORY: &[&str] = &["mmap", "mremap", "munmap", "brk"];

/// Where these fail from some point on, so does what is done to put things back.
pub const LASTING: &[&str] = &["sendto", "recvfrom", "ioctl"];

/// Something that the program inherits as this number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    Nothing,
    /// The tap, which is not persistent: QEMU runs its script like this.
    Tap,
    /// A socket to hand a tap over by: QEMU runs its helper like this.
    Socket,
}

/// One way to run a program.
#[derive(Clone, Copy)]
pub struct Mode {
    pub name: &'static str,
    pub program: &'static str,
    pub args: &'static [&'static str],
    /// Creates everything that there is before the run, but for what is handed.
    pub setup: &'static str,
    pub handed: Handed,
    /// There is a syslogd.
    pub logs: bool,
    /// A kill may leave something between nothing done and everything done, see `Trial::is_between()`.
    pub between: bool,
    /// The exit code where nothing is done to it.
    pub code: i32,
    /// From the call on whose line has this, and before one with that: the others are another mode's. Or all of them.
    pub part: [&'static str; 2],
    /// So often it waits until the kernel has something to say of an interface.
    pub waits: usize,
    /// So many runs side by side, for those that sleep most of their time.
    pub side_by_side: usize,
    /// At least so many failures are tried, and so many of them matter; and so many kills.
    pub least: [usize; 3],
}

/// qemu-ifup of tap0, of which there is only the bridge. Each mode has a name and bounds of its own.
pub const PLAIN: Mode = Mode {
    name: "",
    program: "qemu-ifup",
    args: &["tap0"],
    setup: BRIDGE,
    handed: Handed::Nothing,
    logs: false,
    between: false,
    code: 0,
    part: [""; 2],
    waits: 0,
    side_by_side: 1,
    least: [usize::MAX; 3],
};

/// Creates br0 with these options of ip-link(8), and then does this.
macro_rules! bridge_with {
    ($options:literal, $then:literal) => {
        concat!(
            "ip link add br0 address 02:00:00:00:00:77 type bridge ",
            $options,
            "\nip link set br0 addrgenmode none\nip link set br0 up\n",
            $then
        )
    };
}
pub(super) use bridge_with;

pub const BRIDGE: &str = bridge_with!("", "");

pub const ATTACHED: &str = bridge_with!(
    "",
    "ip tuntap add tap0 mode tap user 54321
    ip link set tap0 address fe:00:00:00:00:77 addrgenmode none
    ip link set tap0 master br0 up"
);

pub const CREATED: &str = "--create-bridge --address 192.168.10.1/24 --address fd00:10::1/64";

impl Mode {
    /// The taps that are named: each is as before or done, whatever happens to another.
    pub fn taps(&self) -> impl Iterator<Item = &'static str> {
        let args = self.args.iter().copied();
        args.filter(|arg| arg.starts_with("tap"))
    }

    pub fn has_several(&self) -> bool {
        self.taps().count() > 1
    }
}
