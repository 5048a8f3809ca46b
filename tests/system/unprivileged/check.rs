//! --check for ordinary users, and what it says of a bridge helper beside this one.

use crate::common::users::ALICE;
use crate::common::{Run, needs};
use crate::unprivileged::{Host, Stopped, Way, assert_done, both_ways};
use std::fs;
use std::process::Stdio;

/// It reads what others have written, /proc for one: not with the privilege that is for another purpose.
#[test]
fn check_gives_a_users_privilege_up_before_it_looks() {
    if !needs("strace") {
        return;
    }
    both_ways(|host| {
        assert_done(&host.ifup(&["tap0"]));
        for args in [
            &["--check", "tap0"][..],
            &["--check", "tap1"],
            &["--check"],
            &["--check", "--json", "tap0"],
        ] {
            let call = host.call("qemu-ifup", args);
            let stopped = Stopped::after("sendto", 1, &call, Stdio::null());
            let stopped = stopped.unwrap_or_else(|| panic!("{args:?}: ends early"));
            let status = fs::read_to_string(format!("/proc/{}/status", stopped.pid())).unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                let none = format!("{set}:\t0000000000000000\n");
                assert!(status.contains(&none), "{args:?}: {status}");
            }
            let ids = [ALICE; 4].map(|id| id.to_string()).join("\t");
            assert!(status.contains(&format!("Uid:\t{ids}\n")), "{status}");
            // It is no less for that.
            let run = stopped.go_on();
            assert_eq!(run.code, 0, "{args:?}: {run:?}");
            assert!(!run.stdout.contains("no CAP_NET_ADMIN"), "{run:?}");
        }
    });
}

/// Where QEMU's packages have it.
const HELPERS: [&str; 3] = [
    "/usr/lib/qemu/qemu-bridge-helper",
    "/usr/libexec/qemu-bridge-helper",
    "/usr/libexec/qemu/qemu-bridge-helper",
];

fn warns_of(run: &Run, helper: &str) -> bool {
    // One line is one finding.
    let mut lines = run.stdout.lines();
    lines.any(|line| line.starts_with("warning") && line.contains(helper))
}

/// It reads the same bridge.conf, and knows nothing of qemu-ifup.conf.
#[test]
fn a_bridge_helper_with_privilege_beside_a_configuration_that_binds_users_is_a_warning() {
    let Some(host) = Host::new(Way::Capability) else {
        return;
    };
    let s = &host.sandbox;
    s.sh("mkdir \"$DIR/usr\" \"$DIR/usr.work\"
          mount -t overlay -o \"lowerdir=/usr,upperdir=$DIR/usr,workdir=$DIR/usr.work\" overlay /usr
          rm -f /usr/lib/qemu/qemu-bridge-helper /usr/libexec/qemu-bridge-helper
          rm -rf /usr/libexec/qemu; mkdir -p /usr/lib/qemu /usr/libexec/qemu");
    let check = || host.roots("qemu-ifup", &["--check", "tap0"]);
    for helper in HELPERS {
        for (give, has_privilege) in [
            ("chmod 4755 $H", true),
            ("chmod 755 $H; setcap cap_net_admin+ep $H", true),
            ("chmod 755 $H", false),
            // Not root's: what it can do is what that user can do.
            ("chown 54321 $H; chmod 4755 $H", false),
        ] {
            let make = format!("H={helper}; rm -f $H; echo data >$H; {give}");
            s.sh(&make);
            for (conf, binds) in [
                ("* --isolated\n", true),
                ("tap? --lock-mac 52:54:00:00:00:07\n", true),
                ("", false),
            ] {
                s.etc("qemu-ifup.conf", conf);
                let run = check();
                let expected = has_privilege && binds;
                assert_eq!(warns_of(&run, helper), expected, "{make}; {conf}: {run:?}");
            }
        }
        s.sh(&format!("rm {helper}"));
    }
    // qemu-ifup itself in its place, which is what --bridge-helper of the installer makes of it, is none.
    s.etc("qemu-ifup.conf", "* --isolated\n");
    s.sh(&format!(
        "ln -s \"$DIR/bin/qemu-ifup\" {}; chmod u+s \"$DIR/bin/qemu-ifup\"",
        HELPERS[0]
    ));
    let run = check();
    assert!(!warns_of(&run, HELPERS[0]), "{run:?}");
}
