//! The guest reaches the host and nobody else: bridged frames go through a firewall.

use crate::check::{check, command_in};
use crate::common::{skip, test_name};
use crate::host::{BRIDGE_NF, host, host_with, must, on_its_own, sh};
use std::path::Path;

/// Two machines on br0, with an address of its network each, and a firewall that forwards nothing, as Docker's does. `reach`
/// is true where one reaches the other.
const DOCKER: &str = r#"
    ip link add docker0 type bridge
    for n in 1 2; do
        unshare -n sleep 60 >/dev/null 2>&1 & pid=$!
        while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
        ip link add v$n master br0 up type veth peer name e0 netns $pid
        nsenter -t $pid -n sh -c "ip link set lo up; ip link set e0 up; ip address add 192.168.10.10$n/24 dev e0"
        echo $pid >"$DIR/pid$n"
    done
    iptables -P FORWARD DROP
"#;

#[test]
fn complaint_docker_drops_bridged_traffic() {
    if !Path::new(BRIDGE_NF).exists() {
        return skip(&test_name(), "needs br_netfilter");
    }
    let both = format!(
        "echo 1 >{BRIDGE_NF}; echo 1 >{}",
        BRIDGE_NF.replace("iptables", "ip6tables")
    );
    #[rustfmt::skip]
    let table = [
        // (what is switched on, how the command begins that switches it off, through what the frames go then)
        (format!("echo 1 >{BRIDGE_NF}"), "sysctl", "iptables"),
        // The bridge's own switch alone does it as well.
        ("ip link set dev br0 type bridge nf_call_iptables 1".to_owned(), "ip link set", "iptables"),
        (both, "sysctl", "iptables and ip6tables"),
    ];
    for (switch, off, tools) in &table {
        for start in ["iptables -I", off] {
            on_its_own(&format!("{switch}: {start}"), || {
                let Some(s) = host_with("iptables") else {
                    return;
                };
                must(&s, DOCKER);
                must(&s, switch);
                let ping =
                    "nsenter -t $(cat \"$DIR/pid1\") -n busybox ping -c 1 -W 1 192.168.10.102";
                assert_ne!(sh(&s, ping).code, 0);
                let words = format!(
                    "bridged frames pass through {tools}, and rules (for example Docker's)"
                );
                let found = check(&s, "qemu-ifup --check tap0");
                let found = found.says("warning", &words);
                assert!(
                    found
                        .fix
                        .starts_with("advice: to show the rules, run: iptables -nL FORWARD"),
                    "{found:?}"
                );
                must(&s, command_in(&found.fix, "iptables -nL"));
                must(&s, command_in(&found.fix, start));
                must(&s, ping);
                must(&s, "kill $(cat \"$DIR\"/pid*)");
                if start == *off {
                    check(&s, "qemu-ifup --check tap0").does_not_say("warning", "pass through");
                }
            });
        }
    }
}

/// Where there is nftables, it is not told whether it has rules.
#[test]
fn frames_that_go_through_a_firewall_without_rules_are_no_matter() {
    let Some(s) = host() else { return };
    if !Path::new(BRIDGE_NF).exists() {
        return skip(&test_name(), "needs br_netfilter");
    }
    s.sh("for switch in /proc/sys/net/bridge/bridge-nf-call-*; do echo 1 >$switch; done");
    let words = "bridged frames pass through iptables and ip6tables and arptables";
    let found = check(&s, "qemu-ifup --check");
    if Path::new("/sys/module/nf_tables").exists() {
        found.says("warning", words);
    } else {
        found.says("ok", words);
    }
}
