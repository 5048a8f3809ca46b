//! A sandbox with a network of its own.
//!
//! A test's thread moves into new network and mount namespaces and stays there; the programs that it starts,
//! and the threads, inherit them. Nothing that a test does is seen outside, and everything goes with the thread.

use super::watch::{Blame, Watch};
use crate::common::json::{changes, json_of, names, prune, steady};
use crate::common::users::as_user;
use crate::common::{Run, bin, command, needs, run, skip, test_name};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io, thread};

/// Namespaces of its own for the test's thread, with `lo` up and private copies (overlays) of /etc and /dev. In them
/// nothing is configured: no qemu-ifup, no qemu-ifup.conf, no bridge.conf, no AppArmor profile of libvirtd, no /dev/log, no user
/// `alice`, whatever the host has.
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
             rm -rf /dev/log /etc/qemu-ifup* /etc/qemu-ifdown* /etc/qemu /etc/apparmor.d/usr.sbin.libvirtd
             sed -i '/^\\(alice\\|ann\\|annes\\):/d' /etc/passwd /etc/group
             [ ! -e /dev/net/tun ] || chmod 0666 /dev/net/tun # as almost everywhere
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
        self.read_messages(Blame::Nobody);
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
        self.read_messages(Blame::Us);
    }

    fn read_messages(&self, blame: Blame) {
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

    /// Creates a bridge and brings it up. Its MAC is fixed and it makes no fe80:: address, since both would change
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
            "fdb": self.static_fdb(),
        });
        steady(&mut all);
        all
    }

    /// The static entries of all bridges' forwarding databases.
    pub fn static_fdb(&self) -> Vec<Value> {
        let all = self.bridge(&["fdb", "show"]);
        let entries = all.as_array().unwrap().iter();
        let mut entries: Vec<Value> = entries
            .filter(|e| e["state"] == "static")
            .cloned()
            .collect();
        entries.sort_by_key(Value::to_string);
        entries
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

/// Moves the calling thread into namespaces of its own.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; it changes the calling thread only (CLONE_NEWNS implies CLONE_FS), and the
    // descriptors and memory that Rust relies on are not among what it changes.
    nix::errno::Errno::result(unsafe { libc::unshare(flags) })?;
    Ok(())
}
