//! A host where all is well, and what somebody types there.

use crate::common::sandbox::Sandbox;
use crate::common::users::ALICE;
use crate::common::{Run, needs, test_name};
use std::thread;

/// Where it is decided whether frames on bridges go through iptables.
pub const BRIDGE_NF: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Takes frames on bridges out of the firewall, where they would go through it.
pub const SWITCHES_OFF: &str = "for switch in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $switch ] || echo 0 >$switch; done";

/// A host where all is well: the programs in /etc and in PATH, and a bridge with an address. `alice` runs a command as
/// that user; `sudo` stands in for the real one, which looks for programs elsewhere.
pub fn host() -> Option<Sandbox> {
    let s = Sandbox::new()?;
    s.install();
    s.bridge_up("br0");
    s.script("sudo", "exec \"$@\"");
    let alice = format!("exec setpriv --reuid {ALICE} --regid {ALICE} --clear-groups -- \"$@\"");
    s.script("alice", &alice);
    s.sh(&format!(
        "ln -s /etc/qemu-ifup /etc/qemu-ifdown \"$DIR\"
         ip address add 192.168.10.1/24 dev br0
         echo 1 >/proc/sys/net/ipv4/ip_forward
         {SWITCHES_OFF}"
    ));
    Some(s)
}

/// The same where this program is there as well.
pub fn host_with(program: &str) -> Option<Sandbox> {
    if needs(program) { host() } else { None }
}

/// The same where alice may create taps of her own on the bridges that /etc/qemu/bridge.conf allows.
pub fn host_for_alice(rules: &str) -> Option<Sandbox> {
    let s = host_with("setcap")?;
    s.etc("qemu/bridge.conf", rules);
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    Some(s)
}

/// Runs a test with a host of its own: a sandbox takes a whole thread.
pub fn on_its_own<T: Send>(row: &str, test: impl FnOnce() -> T + Send) -> T {
    let name = format!("{}: {row}", test_name());
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name);
        let ended = thread.spawn_scoped(scope, test).unwrap().join();
        ended.unwrap_or_else(|_| panic!("in this row: {row}"))
    })
}

/// What somebody types.
pub fn sh(s: &Sandbox, line: &str) -> Run {
    s.try_sh(&format!("PATH=\"$DIR:$PATH\"\n{line}"))
}

/// The same, and it has to work.
pub fn must(s: &Sandbox, line: &str) -> Run {
    let run = sh(s, line);
    assert_eq!(run.code, 0, "{line}\n{run:?}");
    run
}
