//! /etc/qemu-ifup.conf and ordinary users.

use crate::common::Run;
use crate::common::interfaces::{assert_new_bridge, info, port};
use crate::common::sandbox::Sandbox;
use crate::common::users::ALICE;
use crate::expect::{
    IPV4, assert_error, assert_in_bridge, assert_settled_as, assert_succeeded, words,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A sandbox where an ordinary user may attach taps of their own to br0, by copies of the programs in /etc.
fn sandbox_for_alice() -> Option<Sandbox> {
    let s = Sandbox::with("setcap")?;
    s.install();
    s.etc("qemu/bridge.conf", "allow br0\n");
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    Some(s)
}

fn alice(s: &Sandbox, args: &[&str]) -> Run {
    s.as_user(ALICE, ALICE, &[&["/etc/qemu-ifup"], args].concat())
}

#[test]
fn an_ordinary_user_may_not_ask_for_what_is_the_administrators_to_say() {
    let Some(s) = sandbox_for_alice() else {
        return;
    };
    s.bridge_up("br0");
    s.etc("qemu-ifup.conf", "* --create-bridge\n");
    let before = s.snapshot();
    for (options, named) in [
        ("--create-bridge", "--create-bridge"),
        ("--create-bridge --address 10.0.0.1/8", "--create-bridge"),
        ("--address 10.0.0.1/8", "--address"),
        ("--pvid 10", "--pvid"),
        ("--vlans 10,20", "--vlans"),
        ("--isolated --vlans 10", "--vlans"),
    ] {
        let run = alice(&s, &words(&format!("{options} tap0")));
        let error = format!("tap0: cannot use {named}: only root can use this option");
        assert_error(&run, 3, &error, "/etc/qemu-ifup.conf");
        s.assert_unchanged(&before);
    }
    // What concerns nobody but themselves they may ask for.
    assert_eq!(alice(&s, &words("--isolated --wait 1 tap0")).code, 0);
    assert_in_bridge(&s, "br0", "tap0");
    assert_eq!(port(&s, "tap0")["isolated"], true);
    assert_eq!(info(&s, "tap0")["user"], ALICE);
}

#[test]
fn what_the_administrator_wrote_applies_to_an_ordinary_user() {
    let Some(s) = sandbox_for_alice() else {
        return;
    };
    s.etc(
        "qemu-ifup.conf",
        "*    --create-bridge --address 192.168.10.1/24 --isolated
         vlan --pvid 10 --vlans 20\nmoved --bridge br1\nother --owner 54322\nown --owner 54321\n",
    );
    assert_succeeded(&alice(&s, &["tap0"]), "");
    assert_new_bridge(&s, "br0", &[IPV4]);
    assert_in_bridge(&s, "br0", "tap0");
    assert_eq!(port(&s, "tap0")["isolated"], true);
    assert_eq!(info(&s, "tap0")["user"], ALICE);
    assert_succeeded(&alice(&s, &["own"]), "");
    assert_eq!(info(&s, "own")["user"], ALICE);

    let before = s.settled();
    // The option is not refused; what fails is that the bridge does not filter.
    assert_error(
        &alice(&s, &["vlan"]),
        4,
        "cannot set VLANs: VLAN filtering is off on bridge br0",
        "leave out --pvid and --vlans",
    );
    // The ACL still binds: it allows br0 only.
    assert_error(
        &alice(&s, &["moved"]),
        3,
        "cannot attach to br1: no line of",
        "allow br1",
    );
    // What it gives to others it does not give to her.
    assert_error(&alice(&s, &["other"]), 3, "54322", "root");
    // One that they cannot read must not be taken for none.
    fs::set_permissions("/etc/qemu-ifup.conf", fs::Permissions::from_mode(0o600)).unwrap();
    assert_error(
        &alice(&s, &["tap1"]),
        8,
        "cannot read /etc/qemu-ifup.conf: Permission denied",
        "chmod",
    );
    assert_settled_as(&s, &before, "refused");
}
