//! What the integration tests share: a sandbox with a network of its own, and a QEMU in it.
//!
//! A test's thread moves into new network and mount namespaces and stays there; the programs that it starts,
//! and the threads, inherit them. Nothing that a test does is seen outside, and everything goes with the thread.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

pub mod lent;
pub mod strace;
mod watch;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use watch::{Blame, Watch};

/// Far more than anything here takes; what is not done by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: from `QEMU_IFUP_BIN_DIR` (an installed or a release build), else the one cargo just built.
pub fn bin(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("QEMU_IFUP_BIN_DIR") {
        return Path::new(&dir).join(name);
    }
    match name {
        "qemu-ifup" => env!("CARGO_BIN_EXE_qemu-ifup").into(),
        "qemu-ifdown" => env!("CARGO_BIN_EXE_qemu-ifdown").into(),
        _ => panic!("no program {name}"),
    }
}

/// Says that a test cannot run here. Where every test has to run (`QEMU_IFUP_NO_SKIP=1`) that is a failure.
pub fn skip(name: &str, why: &str) {
    assert!(
        std::env::var_os("QEMU_IFUP_NO_SKIP").is_none_or(|v| v != "1"),
        "cannot run {name}: {why}"
    );
    // Not eprintln!, which the test harness keeps to itself when the test passes.
    let _ = writeln!(io::stderr(), "SKIPPED {name}: {why}");
}

/// The name of the test that runs in this thread.
pub fn test_name() -> String {
    thread::current().name().unwrap_or("a test").to_owned()
}

/// Is the program in PATH?
pub fn have(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The same, and where it is not, that is said: a test cannot run here.
pub fn needs(program: &str) -> bool {
    if !have(program) {
        skip(&test_name(), &format!("needs {program}"));
    }
    have(program)
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// The exit code, or as in a shell 128 + the signal that ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that does not see who called `sudo` for the tests: that would decide who owns a tap.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "SUDO_UID",
        "SUDO_GID",
        "SUDO_USER",
        "PKEXEC_UID",
        "DOAS_USER",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end and takes its output. One that hangs is killed and fails the test.
pub fn run(command: &mut Command) -> Run {
    run_with_input(command.stdin(Stdio::null()))
}

/// The same with a standard input that it has already.
pub fn run_with_input(command: &mut Command) -> Run {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child).unwrap_or_else(|| panic!("{command:?} does not end"));
    Run {
        code: code(status),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Waits for a child; one that does not end in time is killed, and None returned.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let status = eventually(|| child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// Asks again and again until there is an answer, or patience ends.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Namespaces of its own for the test's thread, with `lo` up and private copies (overlays) of /etc and /dev. In them
/// nothing is configured: no qemu-ifup, no qemu-ifup.conf, no bridge.conf, no /dev/log, whatever the host has.
///
/// A test fails where one of our programs brings a tap up that is a port of no bridge, even for a moment: whoever holds
/// its descriptor would then reach the host's own network. What the test itself does by [`Sandbox::sh`] is its own affair.
pub struct Sandbox {
    dir: PathBuf,
    watch: Mutex<Watch>,
}

impl Sandbox {
    /// None, and the test counts as skipped, where the host does not let us.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        if !nix::unistd::geteuid().is_root() {
            skip(&test_name(), "needs root");
            return None;
        }
        if let Err(e) = unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) {
            skip(&test_name(), &format!("no namespaces: {e}"));
            return None;
        }
        let dir = std::env::temp_dir().join(format!(
            "qemu-ifup-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir(&dir).unwrap();
        let watch = Mutex::new(Watch::start());
        let sandbox = Self { dir, watch };
        // The tmpfs under everything vanishes with the namespace, even when the test is killed.
        let made = sandbox.try_sh(
            "mount --make-rprivate /
             mount -t tmpfs -o mode=755 tmpfs \"$DIR\"
             for d in etc dev; do
                 mkdir \"$DIR/$d\" \"$DIR/$d.work\"
                 mount -t overlay -o \"lowerdir=/$d,upperdir=$DIR/$d,workdir=$DIR/$d.work\" overlay /$d
             done
             rm -rf /dev/log /etc/qemu-ifup* /etc/qemu-ifdown* /etc/qemu
             ip link set lo up",
        );
        if made.code != 0 {
            skip(
                &test_name(),
                &format!("no private /etc and /dev: {}", made.stderr),
            );
            return None;
        }
        Some(sandbox)
    }

    /// The same for a test that needs this program.
    pub fn with(program: &str) -> Option<Self> {
        if needs(program) { Self::new() } else { None }
    }

    /// A directory of the test's own, `$DIR` in its scripts.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a shell script (sh -eu) that has to succeed; what it printed.
    pub fn sh(&self, script: &str) -> String {
        let run = self.try_sh(script);
        assert_eq!(run.code, 0, "{script}\n{}", run.stderr);
        run.stdout
    }

    /// The same for commands that a program of ours has printed, or that call one: what they do, we do.
    pub fn sh_as_ours(&self, script: &str) {
        let run = self.plain_sh(script);
        assert_eq!(run.code, 0, "{script}\n{}", run.stderr);
    }

    pub fn try_sh(&self, script: &str) -> Run {
        self.look();
        let run = self.plain_sh(script);
        self.read_news(Blame::Nobody);
        run
    }

    fn plain_sh(&self, script: &str) -> Run {
        run(command("sh").args(["-euc", script]).env("DIR", &self.dir))
    }

    /// The test brings this tap up in no bridge, or something does for which our programs are not to blame.
    pub fn tap_may_be_up_alone(&self, tap: &str) {
        self.watch.lock().unwrap().excuse(tap);
    }

    /// Reads what the kernel has told of taps so far. To be called now and then where many programs run between two scripts
    /// of the test's, since the kernel keeps so much and no more.
    pub fn look(&self) {
        self.read_news(Blame::Us);
    }

    fn read_news(&self, blame: Blame) {
        // Another thread's panic while it reads does not make what this one reads wrong.
        let mut watch = self.watch.lock().unwrap_or_else(|e| e.into_inner());
        watch.read(blame);
    }

    /// What `ip -j -d ARGS` says. It has to succeed.
    pub fn ip(&self, args: &[&str]) -> Value {
        json_of(command("ip").args(["-j", "-d"]).args(args))
            .unwrap_or_else(|r| panic!("ip {args:?}: {r:?}"))
    }

    /// What `bridge -j ARGS` says. It has to succeed.
    pub fn bridge(&self, args: &[&str]) -> Value {
        json_of(command("bridge").arg("-j").args(args))
            .unwrap_or_else(|r| panic!("bridge {args:?}: {r:?}"))
    }

    /// The interface, None if there is none of that name.
    pub fn link(&self, name: &str) -> Option<Value> {
        let found = json_of(command("ip").args(["-j", "-d", "link", "show", "dev", name])).ok()?;
        found.get(0).cloned()
    }

    /// The names of the bridge's ports.
    pub fn ports(&self, bridge: &str) -> Vec<String> {
        names(&self.ip(&["link", "show", "master", bridge]))
    }

    /// The names of all interfaces.
    pub fn links(&self) -> Vec<String> {
        names(&self.ip(&["link", "show"]))
    }

    /// Makes a bridge and brings it up. Its MAC is fixed and it makes no fe80:: address, since both would change
    /// with the first port and stay changed when that is gone.
    pub fn bridge_up(&self, name: &str) {
        static COUNT: AtomicU32 = AtomicU32::new(1);

        let n = COUNT.fetch_add(1, Ordering::Relaxed) % 256;
        let mac = format!("02:00:00:00:00:{n:02x}");
        self.sh(&format!(
            "ip link add {name} address {mac} type bridge
             ip link set {name} addrgenmode none
             ip link set {name} up"
        ));
    }

    pub fn ifup(&self, args: &[&str]) -> Run {
        self.look();
        run(command(bin("qemu-ifup")).args(args))
    }

    pub fn ifdown(&self, args: &[&str]) -> Run {
        run(command(bin("qemu-ifdown")).args(args))
    }

    /// Runs a command as another user, without capabilities and supplementary groups.
    pub fn as_user(&self, uid: u32, gid: u32, args: &[&str]) -> Run {
        run(as_user(uid, gid, args[0]).args(&args[1..]))
    }

    /// All interfaces, addresses and bridge ports, to compare before and after. Left out is what moves by itself.
    pub fn snapshot(&self) -> Value {
        let mut all = json!({
            "links": self.ip(&["link", "show"]),
            "addresses": self.ip(&["addr", "show"]),
            "ports": self.bridge(&["link", "show"]),
        });
        steady(&mut all);
        all
    }

    /// The snapshot without what follows the carrier of a tap, which goes up to a second after its last reader: the state
    /// of the port, and what the bridge's IPv6 does with that. Without the queueing discipline as well, which an interface
    /// gets when it first goes up, and which is there to stay.
    pub fn settled(&self) -> Value {
        let mut all = self.snapshot();
        prune(&mut all, &mut |key, value| {
            matches!(key, "state" | "tentative" | "qdisc") || value["scope"] == "link"
        });
        all
    }

    /// Nothing has changed since that snapshot; what has is listed.
    pub fn assert_unchanged(&self, before: &Value) {
        let changes = changes(before, &self.snapshot());
        assert!(changes.is_empty(), "not as before:\n{}", changes.join("\n"));
    }

    /// Writes a file below /etc, seen in this sandbox only.
    pub fn etc(&self, path: &str, contents: &str) {
        let path = Path::new("/etc").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Puts the two programs where QEMU looks for them.
    pub fn install(&self) {
        // By another process: a program that this one has open for writing, even in a child that another thread
        // has just forked, cannot be run (ETXTBSY).
        let copied = run(command("cp")
            .args([bin("qemu-ifup"), bin("qemu-ifdown")])
            .arg("/etc"));
        assert_eq!(copied.code, 0, "{copied:?}");
    }

    /// Writes a shell script into the test's directory, where everybody may run it.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.dir.join(name);
        // Not by this process, as above.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\"; chmod 755 \"$1\"";
        let written = run(command("sh")
            .args(["-euc", write, "sh"])
            .arg(&path)
            .arg(body));
        assert_eq!(written.code, 0, "{written:?}");
        path
    }

    /// The syslog of this sandbox. To read from it never blocks.
    pub fn devlog(&self) -> UnixDatagram {
        let socket = UnixDatagram::bind("/dev/log").unwrap();
        fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// Lets every user open /dev/net/tun, as most distributions do and some do not.
    pub fn open_tun_to_all(&self) {
        fs::set_permissions("/dev/net/tun", fs::Permissions::from_mode(0o666)).unwrap();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = run(command("umount").arg("-l").arg(&self.dir));
        let _ = fs::remove_dir(&self.dir);
        self.look();
        let watch = self.watch.lock().unwrap_or_else(|e| e.into_inner());
        // A second panic would end all tests.
        if !thread::panicking() {
            watch.assert_good();
        }
    }
}

/// The lines that have come to a syslog socket so far.
pub fn lines(log: &UnixDatagram) -> Vec<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(size) = log.recv(&mut buffer) {
        lines.push(String::from_utf8_lossy(&buffer[..size]).into_owned());
    }
    lines
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; it changes the calling thread only (CLONE_NEWNS implies CLONE_FS), and the
    // descriptors and memory that Rust relies on are not among what it changes.
    nix::errno::Errno::result(unsafe { libc::unshare(flags) })?;
    Ok(())
}

fn as_user(uid: u32, gid: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = command("setpriv");
    command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
    command.args(["--clear-groups", "--"]).arg(program);
    command
}

/// Lets the command inherit a descriptor, as this number.
pub fn inherit(command: &mut Command, descriptor: impl Into<OwnedFd>, number: RawFd) {
    let descriptor = descriptor.into();
    assert_ne!(descriptor.as_raw_fd(), number);
    let duplicate = move || {
        // SAFETY: takes two numbers; what else has the second one in this child is not used by it any more.
        nix::errno::Errno::result(unsafe { libc::dup2(descriptor.as_raw_fd(), number) })?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(duplicate) };
}

fn json_of(command: &mut Command) -> Result<Value, Run> {
    let run = run(command);
    // Some versions print nothing where an empty list is meant.
    match run.stdout.trim() {
        _ if run.code != 0 => Err(run),
        "" => Ok(json!([])),
        text => {
            Ok(serde_json::from_str(text).unwrap_or_else(|e| panic!("{command:?}: {e}: {text}")))
        }
    }
}

fn names(links: &Value) -> Vec<String> {
    let name = |link: &Value| link["ifname"].as_str().unwrap().to_owned();
    links.as_array().unwrap().iter().map(name).collect()
}

/// Takes out the running timers, what follows the carrier with up to a second's delay, and what a bridge computes
/// from its ports and keeps when they are gone.
fn steady(value: &mut Value) {
    if let Some(list) = value.as_array_mut() {
        list.retain(|v| !matches!(v.as_str(), Some("NO-CARRIER" | "LOWER_UP")));
        list.iter_mut().for_each(steady);
    } else if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| {
            !key.ends_with("_timer") && key != "operstate" && !key.starts_with("tso_max_")
        });
        map.values_mut().for_each(steady);
    }
}

/// A snapshot without numbers and without what is random: the MACs but for their first byte, and all that comes of them.
pub fn comparable(mut snapshot: Value) -> Value {
    prune(&mut snapshot, &mut |key, value| {
        let is_mac = |text: &str| text.len() == "02:00:00:00:00:00".len();
        if let Some(mac) = value.as_str().filter(|text| is_mac(text)) {
            *value = json!(mac[..3]);
        }
        matches!(key, "ifindex" | "bridge_id" | "root_id")
            || matches!(
                key,
                "designated_bridge" | "designated_root" | "bridge" | "root"
            )
    });
    snapshot
}

/// Removes what is picked, by its key (in a list an empty one) and its value, which may also be changed.
pub fn prune(value: &mut Value, pick: &mut impl FnMut(&str, &mut Value) -> bool) {
    if let Some(list) = value.as_array_mut() {
        list.retain_mut(|v| !pick("", v));
        list.iter_mut().for_each(|v| prune(v, pick));
    } else if let Some(map) = value.as_object_mut() {
        map.retain(|key, v| !pick(key, v));
        map.values_mut().for_each(|v| prune(v, pick));
    }
}

/// Whether an interface is administratively up.
pub fn is_up(link: &Value) -> bool {
    link["flags"].as_array().unwrap().iter().any(|f| f == "UP")
}

/// Where two snapshots differ, one line for each place: comparing them whole would print pages.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    leaves("", before, &mut old);
    leaves("", after, &mut new);
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| format!("{path}: {:?} -> {:?}", old.get(path), new.get(path)))
        .collect()
}

fn leaves<'a>(path: &str, value: &'a Value, found: &mut BTreeMap<String, &'a Value>) {
    if let Some(map) = value.as_object() {
        for (key, value) in map {
            leaves(&format!("{path}/{key}"), value, found);
        }
    } else if let Some(list) = value.as_array() {
        for (n, value) in list.iter().enumerate() {
            // By name where there is one, so that one more interface does not shift the others.
            let key = value["ifname"]
                .as_str()
                .map_or(n.to_string(), str::to_owned);
            leaves(&format!("{path}/{key}"), value, found);
        }
    } else {
        found.insert(path.to_owned(), value);
    }
}

/// What came over the socket: the descriptors that came with exactly one byte, or none if there was no byte.
pub fn received(socket: &UnixStream) -> Vec<OwnedFd> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 16];
    let mut room = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut room, Some(&mut space), flags).unwrap();
    let descriptors: Vec<OwnedFd> = message
        .cmsgs()
        .unwrap()
        .flat_map(|message| {
            let ControlMessageOwned::ScmRights(descriptors) = message else {
                panic!("{message:?}");
            };
            descriptors
        })
        // SAFETY: recvmsg(2) has just made these descriptors for us, and nobody else knows their numbers.
        .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
        .collect();
    assert_eq!(
        message.bytes,
        descriptors.len(),
        "one byte with one descriptor"
    );
    descriptors
}

/// Opens a tap as another user would, by TUNSETIFF with these flags and IFF_TAP. Where one of that name is there it
/// opens that one (or with IFF_MULTI_QUEUE joins it).
pub fn open_tap_as(uid: u32, name: &str, flags: i32) -> io::Result<File> {
    let name = name.to_owned();
    let user = thread::spawn(move || {
        this_thread_becomes(uid)?;
        open_tap(&name, flags)
    });
    user.join().unwrap()
}

/// Makes the calling thread, which should end soon, another user's, without capabilities and supplementary groups. It has
/// credentials of its own as long as libc's wrappers, which change those of all threads, are left aside.
pub fn this_thread_becomes(uid: u32) -> io::Result<()> {
    // SAFETY: takes no pointers that are read (an empty list), and no memory is handed to the kernel.
    let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u8>()) };
    nix::errno::Errno::result(groups)?;
    // SAFETY: takes no pointers; the thread does nothing afterwards that needs root's group.
    let gid = unsafe { libc::syscall(libc::SYS_setresgid, uid, uid, uid) };
    nix::errno::Errno::result(gid)?;
    // SAFETY: as above, for the user.
    let uid = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    nix::errno::Errno::result(uid)?;
    Ok(())
}

/// Does something in a network of its own, where nothing is, and comes back.
pub fn in_another_network<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let there = || {
        unshare(libc::CLONE_NEWNET).unwrap();
        act()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap())
}

const TUNSETIFF: libc::Ioctl =
    nix::request_code_write!(b'T', 202, std::mem::size_of::<libc::c_int>());

/// Opens a tap as the calling thread's user.
pub fn open_tap(name: &str, flags: i32) -> io::Result<File> {
    let tun = open_tun()?;
    set_interface(&tun, name, flags)?;
    Ok(tun)
}

/// Opens the driver's device.
pub fn open_tun() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open("/dev/net/tun")
}

/// Opens a tap, which is made where there is none of that name.
pub fn set_interface(tun: &File, name: &str, flags: i32) -> io::Result<()> {
    let mut ifname = [0; libc::IFNAMSIZ];
    assert!(name.len() < ifname.len());
    for (to, from) in ifname.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let ifru_flags = i16::try_from(flags | libc::IFF_TAP | libc::IFF_NO_PI).unwrap();
    let mut request = libc::ifreq {
        ifr_name: ifname,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags },
    };
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives on until it returns; the name in it ends with a zero.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request) };
    nix::errno::Errno::result(done)?;
    Ok(())
}

/// A QEMU whose guest stands still before its first instruction (-S). It is killed when it is dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    monitor: Option<BufReader<UnixStream>>,
    dir: PathBuf,
}

impl Qemu {
    /// What every QEMU here is started with: no devices but those that a test asks for.
    pub const ARGS: &str = "-accel tcg -machine pc -nodefaults -display none -S";

    /// Starts QEMU with more arguments, given in one line. Returns when its monitor answers, so when all network
    /// scripts are done; Err if it ends before.
    pub fn start(sandbox: &Sandbox, args: &str) -> Result<Self, Run> {
        Self::start_by(sandbox, 0, command("qemu-system-x86_64"), args)
    }

    /// The same as another user.
    pub fn start_as(sandbox: &Sandbox, uid: u32, args: &str) -> Result<Self, Run> {
        Self::start_by(sandbox, uid, as_user(uid, uid, "qemu-system-x86_64"), args)
    }

    fn start_by(sandbox: &Sandbox, uid: u32, mut qemu: Command, args: &str) -> Result<Self, Run> {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = sandbox.dir().join(format!("qemu-{n}"));
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(uid), Some(uid)).unwrap();
        let socket = dir.join("monitor");
        // Files, not pipes: nobody reads while it runs.
        qemu.args(Self::ARGS.split_whitespace())
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap());
        let child = qemu.spawn().expect("cannot start QEMU");
        let mut this = Self {
            child,
            monitor: None,
            dir,
        };
        let stream = eventually(|| {
            if let Some(status) = this.child.try_wait().unwrap() {
                return Some(Err(status));
            }
            UnixStream::connect(&socket).ok().map(Ok)
        });
        match stream {
            Some(Ok(stream)) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                this.monitor = Some(BufReader::new(stream));
            }
            Some(Err(status)) => return Err(this.ended(status)),
            None => panic!("QEMU does not open its monitor: {}", this.stderr()),
        }
        match this.execute(&json!({"execute": "qmp_capabilities"})) {
            Some(_) => Ok(this),
            None => {
                let status = wait(&mut this.child).expect("QEMU does not end");
                Err(this.ended(status))
            }
        }
    }

    /// Sends one command and reads up to its answer, past all events. None if QEMU closes the monitor.
    fn execute(&mut self, command: &Value) -> Option<Value> {
        let monitor = self.monitor.as_mut().unwrap();
        writeln!(monitor.get_mut(), "{command}").ok()?;
        loop {
            let mut line = String::new();
            match monitor.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("QEMU does not answer {command}: {e}"),
            }
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer.get("return").is_some() || answer.get("error").is_some() {
                return Some(answer);
            }
        }
    }

    /// A command of the human monitor, and its answer: mostly empty when it worked.
    pub fn cmd(&mut self, line: &str) -> String {
        let answer = self
            .execute(
                &json!({"execute": "human-monitor-command", "arguments": {"command-line": line}}),
            )
            .unwrap_or_else(|| panic!("QEMU ended at {line}: {}", self.stderr()));
        answer["return"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}: {answer}"))
            .to_owned()
    }

    /// Ends it in an orderly way, with its downscripts.
    pub fn quit(mut self) -> Run {
        let _ = self.execute(&json!({"execute": "quit"}));
        self.wait()
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) -> Run {
        self.child.kill().unwrap();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        let status = wait(&mut self.child).expect("QEMU does not end");
        self.ended(status)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its scripts have written to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    fn ended(&self, status: ExitStatus) -> Run {
        Run {
            code: code(status),
            stdout: fs::read_to_string(self.dir.join("stdout")).unwrap(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
