//! Warnings after success.

use crate::check::command_in;
use crate::common::users::open_tap_as;
use crate::common::{have, skip, test_name};
use crate::host::{BRIDGE_NF, host, must, on_its_own};
use std::path::Path;

#[test]
fn a_guest_that_will_have_no_network_is_warned_about_in_one_line() {
    const DOWN: &str = "ip link set br0 down";
    const STP: &str = "ip link set br0 type bridge stp_state 1 forward_delay 1500";
    let docker = format!("ip link add docker0 type bridge; echo 1 >{BRIDGE_NF}");
    let everything = format!("{DOWN}; {STP}; {docker}");
    #[rustfmt::skip]
    let table = [
        // (the host, options, the warning, the command that helps)
        ("", "", "", ""),
        (DOWN, "", "bridge br0 is down and forwards nothing", "ip link set dev br0 up"),
        (STP, "", "STP is on, so the guest has no network for the first 30 s", "qemu-ifup --check"),
        (STP, "--wait 1", "", ""),
        (&docker, "", "Docker's rules drop them", "iptables -I"),
        (&everything, "", "bridge br0 is down and forwards nothing", "ip link set dev br0 up"),
        (&everything, "--quiet", "", ""),
        (&everything, "--dry-run", "", ""),
    ];
    if !Path::new(BRIDGE_NF).exists() || !have("iptables") {
        return skip(&test_name(), "needs br_netfilter and iptables");
    }
    for (prepare, options, words, start) in table {
        on_its_own(&format!("{prepare} {options}"), || {
            let Some(s) = host() else { return };
            must(&s, prepare);
            let said = must(&s, &format!("qemu-ifup {options} tap0")).stderr;
            let warnings: Vec<&str> = said.lines().filter(|l| l.contains("warning")).collect();
            if words.is_empty() {
                assert!(warnings.is_empty(), "{said}");
                return;
            }
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(warnings.len(), 1, "{said}");
            assert!(said.starts_with("qemu-ifup: tap0: warning: "), "{said}");
            assert!(said.contains(words), "{said}");
            let printed = must(&s, command_in(&said, start)).stdout;
            if start == "iptables -I" {
                // Whether there is such a rule is not looked at.
                must(&s, "iptables -C FORWARD -i br0 -o br0 -j ACCEPT");
                return;
            }
            for line in printed.lines() {
                if let Some(command) = line.trim_start().strip_prefix("-> ") {
                    must(&s, command);
                }
            }
            let then = must(&s, "qemu-ifup tap1").stderr;
            assert!(!then.contains(words), "{then}");
        });
    }
}

#[test]
fn nobody_is_warned_about_a_port_that_forwards_already() {
    let Some(s) = host() else { return };
    let _held = open_tap_as(0, "on0", 0).unwrap();
    must(&s, "qemu-ifup on0");
    s.sh("ip link set br0 type bridge stp_state 1");
    let port = s.bridge(&["link", "show", "dev", "on0"]);
    assert_eq!(port[0]["state"], "forwarding");
    let said = must(&s, "qemu-ifup on0").stderr;
    assert!(!said.contains("warning"), "{said}");
}
