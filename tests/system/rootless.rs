//! Root of a user namespace, who is nobody outside.

use crate::common::needs;
use crate::common::run;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, as_user};
use crate::common::{Run, bin};

/// Runs a script as root of a user namespace and a network of its own, which Alice has made.
fn rootless(s: &Sandbox, script: &str) -> Run {
    // Where she may run them: not every directory lets her in.
    s.sh(&format!(
        "cp {} {} \"$DIR\"; chmod 755 \"$DIR\"",
        bin("qemu-ifup").display(),
        bin("qemu-ifdown").display()
    ));
    let script = format!(
        "PATH={}:$PATH; ip link set lo up; {script}",
        s.dir().display()
    );
    let mut unshare = as_user(ALICE, ALICE, "unshare");
    run(unshare.args(["-Urn", "sh", "-euc", &script]))
}

#[test]
fn the_configuration_of_the_hosts_root_is_good_for_root_of_a_user_namespace() {
    if !needs("unshare") {
        return;
    }
    let Some(s) = Sandbox::new() else { return };
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 192.168.10.1/24\n",
    );
    let done = rootless(
        &s,
        "qemu-ifup tap0; ip -br address show br0; qemu-ifdown --delete tap0",
    );
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("192.168.10.1/24"), "{done:?}");

    // What others may write is nobody's word, there as here.
    s.sh("chmod 0666 /etc/qemu-ifup.conf");
    let refused = rootless(&s, "qemu-ifup tap0");
    assert_eq!(refused.code, 8, "{refused:?}");
    // And so is what a user has written, whom the namespace maps.
    s.sh(&format!(
        "chmod 0644 /etc/qemu-ifup.conf; chown {ALICE} /etc/qemu-ifup.conf"
    ));
    let hers = rootless(&s, "qemu-ifup --create-bridge tap0");
    assert_eq!(hers.code, 0, "she is root there: {hers:?}");
    let outside = s.ifup(&["tap0"]);
    assert_eq!(outside.code, 8, "and nobody here: {outside:?}");
}

#[test]
fn an_id_that_the_user_namespace_does_not_map_is_named() {
    if !needs("unshare") {
        return;
    }
    let Some(s) = Sandbox::new() else { return };
    let refused = rootless(&s, "SUDO_UID=1000 qemu-ifup --create-bridge tap0");
    assert_eq!(refused.code, 7, "{refused:?}");
    let reason = "uid 1000 is not mapped in this user namespace";
    assert!(refused.stderr.contains(reason), "{refused:?}");
}
