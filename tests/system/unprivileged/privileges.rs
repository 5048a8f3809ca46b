//! What is left of the privileges.

use crate::common::users::ALICE;
use crate::common::{bin, command, needs, run};
use crate::unprivileged::{Host, STAFF, Stopped, Way, as_alice, assert_says, both_ways};
use std::fs;
use std::process::Stdio;

/// CAP_NET_ADMIN alone, and no capability, as /proc/PID/status has them.
const ONE: &str = "0000000000001000";

const NONE: &str = "0000000000000000";

#[test]
fn after_the_start_it_is_the_caller_with_one_capability() {
    if !needs("strace") {
        return;
    }
    let Some(host) = Host::new(Way::NotAtAll) else {
        return;
    };
    let ids = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    let (root, alice) = (ids(0), ids(ALICE));
    let everything = [
        "--inh-caps=+net_admin,+chown,+setuid,+sys_admin",
        "--ambient-caps=+net_admin,+chown,+setuid,+sys_admin",
    ];
    let roots = |options: &[&str]| {
        let mut call = command("setpriv");
        call.args(options).arg(host.programs.join("qemu-ifup"));
        call.arg("tap0");
        call
    };
    let alices = |options: &[&str]| host.call_with(options, "qemu-ifup", &["tap0"]);
    // How the program's file is prepared, who calls it, and whose ids and which capabilities it has then.
    #[rustfmt::skip]
    let cases = [
        (":", roots(&[]), &root, ONE),
        (":", roots(&everything), &root, ONE),
        ("chmod 6755 $F", roots(&[]), &root, ONE),
        ("setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        ("setcap cap_net_admin,cap_chown,cap_sys_admin+eip $F", alices(&[]), &alice, ONE),
        ("setcap cap_net_admin+p $F", alices(&[]), &alice, ONE),
        ("chmod 4755 $F", alices(&[]), &alice, ONE),
        ("chmod 6755 $F", alices(&[]), &alice, ONE),
        ("chgrp 54331 $F; chmod 2755 $F; setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        ("chown 54322:54331 $F; chmod 6755 $F; setcap cap_net_admin+ep $F", alices(&[]), &alice, ONE),
        (":", alices(&everything), &alice, ONE),
        ("chmod 4755 $F", alices(&everything), &alice, ONE),
        (":", alices(&["--inh-caps=+chown", "--ambient-caps=+chown"]), &alice, NONE),
        ("chown 54322:54331 $F; chmod 6755 $F", alices(&[]), &alice, NONE),
        (":", alices(&[]), &alice, NONE),
    ];
    let plain = bin("qemu-ifup");
    for (make, call, ids, capabilities) in cases {
        host.sandbox.sh(&format!(
            "F=$DIR/bin/qemu-ifup; rm -f $F; cp {} $F; chmod 755 $F; {make}",
            plain.display()
        ));
        let stopped = Stopped::after("sendto", 1, &call, Stdio::null())
            .unwrap_or_else(|| panic!("{make}: {call:?} ends early"));
        let status = fs::read_to_string(format!("/proc/{}/status", stopped.pid())).unwrap();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        let what = format!("{make}: {call:?}");
        assert_eq!(field("Name"), Some("qemu-ifup"), "{what}");
        for (name, value) in [
            ("Uid", ids.as_str()),
            ("Gid", ids),
            ("CapPrm", capabilities),
            ("CapEff", capabilities),
            ("CapInh", NONE),
            ("CapAmb", NONE),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(field(name), Some(value), "{what}: {name}\n{status}");
        }
        if *ids == alice {
            let groups = field("Groups").unwrap().split_whitespace();
            assert_eq!(groups.collect::<Vec<_>>(), [STAFF.to_string()], "{what}");
        }
    }
}

/// With the programs installed for users: what else can be wrong is said first, and nobody is sent to install them again.
#[test]
fn what_keeps_the_programs_privilege_from_a_user_is_named() {
    both_ways(|host| {
        // By a second exec: setpriv(1) itself still has root's capabilities.
        let mut call = as_alice(&[]);
        call.args(["setpriv", "--no-new-privs"]);
        let no_new_privs = run(call.arg(host.programs.join("qemu-ifup")).arg("tap0"));
        host.sandbox.sh(
            "mkdir \"$DIR/nosuid\"; mount -t tmpfs -o nosuid tmpfs \"$DIR/nosuid\"; cp -a \"$DIR\"/bin/* \"$DIR/nosuid\"",
        );
        let mut call = as_alice(&[]);
        let nosuid = run(call
            .arg(host.sandbox.dir().join("nosuid/qemu-ifup"))
            .arg("tap0"));
        for (run, cause, hint) in [
            (no_new_privs, "no_new_privs is set)", "QEMU's -sandbox on"),
            (
                nosuid,
                "the program's file system is mounted nosuid)",
                "mounted nosuid",
            ),
        ] {
            let reason = format!("not permitted to change interfaces: no CAP_NET_ADMIN ({cause}");
            assert_says(&run, 3, &reason, hint);
            assert!(run.stderr.contains(hint), "{run:?}");
            assert!(!run.stderr.contains("install.sh"), "{run:?}");
        }
    });
    let Some(host) = Host::new(Way::NotAtAll) else {
        return;
    };
    let plain = host.ifup(&["tap0"]);
    assert_says(
        &plain,
        3,
        "not permitted to change interfaces: no CAP_NET_ADMIN",
        "plain",
    );
    assert!(plain.stderr.contains("install.sh --setcap"), "{plain:?}");
}
