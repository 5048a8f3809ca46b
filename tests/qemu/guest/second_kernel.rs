//! The programs in a guest, whose kernel is not the host's.

use crate::common::sandbox::Sandbox;
use crate::guest::{Guest, boot, has_flag, sandbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A guest without cards, in which the programs run. Its bridge is created with these options of ip-link(8), and with a
/// MAC of its own: without one it would be left with 00:00:00:00:00:00 by the last port.
pub fn second_kernel(sandbox: &Sandbox, options: &str) -> Guest {
    let [mut guest] = boot(sandbox, [""]);
    guest.sh(&format!(
        "ip link add br0 address 02:00:00:00:00:01 type bridge {options}; ip link set br0 up"
    ));
    guest
}

impl Guest {
    /// Runs qemu-ifup, which has to succeed, and then to find nothing left to do.
    fn ifup(&mut self, args: &str) {
        self.sh(&format!("qemu-ifup {args}"));
        let before = self.tap0();
        let again = self.sh(&format!("qemu-ifup --verbose {args}"));
        assert!(again.ends_with(", nothing to do\n"), "{args}: {again}");
        assert_eq!(self.tap0(), before, "changed by a second {args}");
    }

    /// All that is to be known about tap0, but for what moves by itself.
    fn tap0(&mut self) -> String {
        self.sh("for show in 'ip -d addr' 'bridge -d link' 'bridge vlan'; do
                 $show show dev tap0
             done | sed -E 's/[a-z_]*_timer +[0-9.]+//g; s/NO-CARRIER,|,LOWER_UP//g; s/ state [A-Za-z]+//'")
    }

    /// qemu-ifup has to fail with this exit code and a hint.
    fn ifup_fails(&mut self, args: &str, code: i32) {
        let (is, said) = self.try_sh(&format!("qemu-ifup {args}"));
        assert_eq!(is, code, "{args}: {said}");
        assert!(said.contains("\nqemu-ifup: hint: "), "{args}: {said}");
    }

    /// Deletes tap0, of which nothing is left then.
    fn delete(&mut self) {
        self.sh("qemu-ifdown --delete tap0");
        self.assert_only(&["lo", "br0"]);
    }

    pub fn assert_only(&mut self, names: &[&str]) {
        let links = self.json("ip -j link show");
        let links = links.as_array().unwrap().iter();
        let links: BTreeSet<_> = links.map(|l| l["ifname"].as_str().unwrap()).collect();
        assert_eq!(links, names.iter().copied().collect());
    }

    /// tap0's VLANs, a word for each: `10`, with a `p` where it is the PVID and a `u` where frames leave untagged.
    fn vlans(&mut self) -> Vec<String> {
        let show = self.json("bridge -j vlan show dev tap0");
        let vlans = show[0]["vlans"].as_array().unwrap();
        let word = |vlan: &Value| {
            assert_eq!(vlan.get("vlanEnd"), None, "a range: {show:#}");
            let flags = vlan["flags"].as_array();
            let has = |flag: &str| flags.is_some_and(|flags| flags.contains(&json!(flag)));
            let p = if has("PVID") { "p" } else { "" };
            let u = if has("Egress Untagged") { "u" } else { "" };
            format!("{}{p}{u}", vlan["vlan"])
        };
        vlans.iter().map(word).collect()
    }

    fn is_isolated(&mut self) -> bool {
        let port = self.json("bridge -j -d link show dev tap0");
        port[0]["isolated"].as_bool().unwrap()
    }
}

#[test]
fn a_second_kernel_takes_a_tap_up_and_down() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "");
    guest.sh("ip link set br0 mtu 1400");
    for _ in 0..2 {
        guest.ifup("tap0");
        let link = &guest.json("ip -j -d link show dev tap0")[0];
        assert!(has_flag(link, "UP"), "{link:#}");
        assert_eq!(link["master"], "br0", "{link:#}");
        assert_eq!(link["mtu"], 1400, "{link:#}");
        assert!(link["address"].as_str().unwrap().starts_with("fe:"));
        assert_eq!(link["inet6_addr_gen_mode"], "none", "{link:#}");
        let addresses = &guest.json("ip -j addr show dev tap0")[0]["addr_info"];
        assert_eq!(addresses, &json!([]));
        let tun = &link["linkinfo"]["info_data"];
        assert_eq!(tun["type"], "tap", "{link:#}");
        assert_eq!(tun["user"], "root", "{link:#}");
        assert_eq!(tun["persist"], true, "{link:#}");

        guest.sh("qemu-ifdown tap0");
        let link = &guest.json("ip -j -d link show dev tap0")[0];
        assert_eq!(link.get("master"), None, "{link:#}");
        assert!(!has_flag(link, "UP"), "{link:#}");
        guest.delete();
    }
    guest.ifup_fails("--bridge br9 tap0", 4);
    guest.assert_only(&["lo", "br0"]);
}

#[test]
fn a_port_gets_the_vlans_that_were_asked_for_and_no_others() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    let both = ["5pu", "10", "20", "21", "22"];

    // What the kernel does by itself; if this fails, the removal of VLAN 1 below proves nothing.
    guest.ifup("tap0");
    assert_eq!(guest.vlans(), ["1pu"]);
    // On a port that is there, and on a new one.
    for _ in 0..2 {
        guest.ifup("--pvid 10 tap0");
        assert_eq!(guest.vlans(), ["10pu"]);
        guest.ifup("--pvid 30 tap0");
        assert_eq!(guest.vlans(), ["30pu"]);
        guest.delete();
    }
    guest.ifup("--vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), ["1pu", "10", "20", "21", "22"]);
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), both);
    guest.delete();
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), both);
    guest.ifup("--pvid 21 --vlans 5,22-23 tap0");
    assert_eq!(guest.vlans(), ["5", "21pu", "22", "23"]);
    guest.delete();

    guest.sh("qemu-ifup --dry-run --pvid 5 --vlans 10,20-22 tap0 >commands; sh -eu commands");
    assert_eq!(guest.vlans(), both, "{}", guest.sh("cat commands"));
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    guest.delete();

    for default in ["7", "0"] {
        guest.sh(&format!(
            "ip link set br0 type bridge vlan_default_pvid {default}"
        ));
        guest.ifup("--pvid 10 tap0");
        assert_eq!(guest.vlans(), ["10pu"], "where the default is {default}");
        guest.delete();
    }
}

#[test]
fn check_has_no_warning_for_a_bridge_that_filters_vlans() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    guest.sh("ip address add 192.168.10.1/24 dev br0");
    let options = "--pvid 5 --vlans 10,20-22 tap0";
    for _ in 0..2 {
        let said = guest.sh(&format!("qemu-ifup --check --strict --quiet {options}"));
        assert_eq!(said, "");
        guest.ifup(options);
    }
    let said = guest.sh(&format!("qemu-ifup --check -v {options}"));
    assert!(said.contains("VLAN filtering is on"), "{said}");
}

#[test]
fn a_trunk_of_all_vlans_is_possible_and_in_nobodys_way() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    // The kernel's answers are the longest there are, about this port and about all.
    guest.ifup("--pvid 1 --vlans 2-4094 tap0");
    assert_eq!(guest.vlans().len(), 4094);
    guest.ifup("--pvid 10 tap0");
    assert_eq!(guest.vlans(), ["10pu"]);
    guest.sh("ip tuntap add uplink mode tap
         ip link set uplink master br0
         bridge vlan add dev uplink vid 2-4094");
    guest.ifup("--pvid 20 tap0");
    assert_eq!(guest.vlans(), ["20pu"]);
}

#[test]
fn the_commands_for_vlans_in_docs_networks_md_work() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "");
    guest.sh("ip tuntap add enp1s0 mode tap; ip link set enp1s0 master br0");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/networks.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, section) = document.split_once("\n## VLANs\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let commands: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("sudo "))
        .collect();
    assert_eq!(commands.len(), 7, "{commands:#?}");
    for command in commands {
        guest.sh(command);
    }
    let vlans = guest.vlans();
    assert_eq!(
        (vlans[0].as_str(), vlans[1].as_str(), vlans.len()),
        ("10pu", "20", 11)
    );
    for port in ["enp1s0", "br0"] {
        let show = guest.json(&format!("bridge -j vlan show dev {port}"));
        let vlans = show[0]["vlans"].as_array().unwrap();
        assert!(vlans.iter().any(|vlan| vlan["vlan"] == 10), "{show:#}");
    }
    let inside = &guest.json("ip -j addr show dev br0.10")[0];
    assert!(has_flag(inside, "UP"), "{inside:#}");
    assert_eq!(
        inside["addr_info"][0]["local"], "192.168.20.1",
        "{inside:#}"
    );
}

#[test]
fn vlans_are_refused_by_a_bridge_that_does_not_filter() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 0");
    for options in ["--pvid 10", "--vlans 10,20-22", "--pvid 5 --vlans 10"] {
        guest.ifup_fails(&format!("{options} tap0"), 4);
        guest.assert_only(&["lo", "br0"]);
    }
    // A port that is there stays as it is.
    guest.ifup("tap0");
    let before = guest.tap0();
    guest.ifup_fails("--pvid 10 tap0", 4);
    assert_eq!(guest.tap0(), before);
    // What the hint says: another bridge, which does.
    let (_, said) = guest.try_sh("qemu-ifup --pvid 10 tap0");
    let options = "--create-bridge --bridge brvlan";
    assert!(said.contains(options), "{said}");
    guest.sh(&format!("qemu-ifup {options} --pvid 10 tap1"));
    assert_eq!(guest.tap0(), before);
}

#[test]
fn where_there_is_no_bridge_driver_the_command_that_loads_it_is_named() {
    let Some(sandbox) = sandbox() else { return };
    let [mut guest] = boot(&sandbox, [""]);
    guest.sh("rmmod bridge");
    let (code, said) = guest.try_sh("qemu-ifup --create-bridge tap0");
    assert_eq!(code, 7, "{said}");
    let error = "cannot create the bridge br0: Unknown device type (Operation not supported)";
    assert!(said.contains(error), "{said}");
    assert!(
        said.contains("hint: ") && said.contains(": modprobe bridge"),
        "{said}"
    );
    guest.assert_only(&["lo"]);
}

#[test]
fn a_second_kernel_isolates_a_port() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "");
    guest.ifup("tap0");
    assert!(!guest.is_isolated());
    // On a port that is there, and on a new one.
    for _ in 0..2 {
        guest.ifup("--isolated tap0");
        assert!(guest.is_isolated());
        guest.delete();
    }
    guest.sh("qemu-ifup --dry-run --isolated tap0 >commands; sh -eu commands");
    assert!(guest.is_isolated(), "{}", guest.sh("cat commands"));
    guest.ifup("--isolated tap0");
}

#[test]
fn a_second_kernel_locks_a_port_in_each_of_its_vlans() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    let entries = |guest: &mut Guest| -> Vec<String> {
        let show = "bridge fdb show dev tap0 | grep 52:54:00 | sed 's/ *$//' | sort";
        guest.sh(show).lines().map(str::to_owned).collect()
    };
    let entry = |vlan: &str| format!("52:54:00:12:34:56 {vlan}sticky master br0 static");
    let lock = "--lock-mac 52:54:00:12:34:56";
    // On a new port, and on one that is there.
    for _ in 0..2 {
        guest.ifup(&format!("{lock} --pvid 10 --vlans 20-21 tap0"));
        let all = ["", "vlan 10 ", "vlan 20 ", "vlan 21 "].map(entry);
        let mut all = all.to_vec();
        all.sort();
        assert_eq!(entries(&mut guest), all);
        let port = guest.sh("bridge -d link show dev tap0");
        for word in ["learning off", "flood off", "guard on", "locked on"] {
            assert!(port.contains(word), "{port}");
        }
        // An entry goes with its VLAN.
        guest.ifup(&format!("{lock} --pvid 30 --vlans 21 tap0"));
        let mut all = ["", "vlan 21 ", "vlan 30 "].map(entry).to_vec();
        all.sort();
        assert_eq!(entries(&mut guest), all);
        guest.ifup("--no-lock-mac tap0");
        assert_eq!(entries(&mut guest), Vec::<String>::new());
        guest.sh("ip link del tap0; qemu-ifup tap0");
    }
    guest.delete();
    guest.sh(&format!(
        "qemu-ifup --dry-run {lock} --pvid 10 tap0 >commands; sh -eu commands"
    ));
    assert_eq!(guest.vlans(), ["10pu"]);
    guest.ifup(&format!("{lock} --pvid 10 tap0"));
}

/// For an ordinary user exactly the VLANs of the configuration are as wanted, and the lock in each of them.
#[test]
fn a_users_port_that_has_other_vlans_than_it_is_to_have_is_refused() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    guest.sh(
        "echo alice:x:54321:54321::/:/bin/sh >>/etc/passwd; echo alice:x:54321: >>/etc/group
         mkdir -p /etc/qemu; echo allow br0 >/etc/qemu/bridge.conf
         echo 'tap* --pvid 10 --vlans 20-22 --lock-mac 52:54:00:12:34:56' >/etc/qemu-ifup.conf
         chmod 755 / /etc /sbin /dev; chmod 644 /etc/qemu-ifup.conf /etc/qemu/bridge.conf
         chmod 666 /dev/net/tun; chown 0:0 $(command -v qemu-ifup); chmod 4755 $(command -v qemu-ifup)",
    );
    let ifup = "busybox su -s /bin/sh alice -c 'qemu-ifup tap0'";
    for change in [
        "bridge vlan del dev tap0 vid 21",
        "bridge vlan add dev tap0 vid 99",
        "bridge vlan add dev tap0 vid 20 pvid untagged",
        "bridge vlan add dev tap0 vid 10",
        "bridge fdb del 52:54:00:12:34:56 dev tap0 vlan 20 master static",
    ] {
        guest.sh(ifup);
        assert_eq!(guest.vlans(), ["10pu", "20", "21", "22"]);
        let show = "bridge fdb show dev tap0 | sort";
        let (before, entries) = (guest.tap0(), guest.sh(show));
        guest.sh(ifup);
        assert_eq!((guest.tap0(), guest.sh(show)), (before, entries));
        guest.sh(change);
        let (before, entries) = (guest.tap0(), guest.sh(show));
        let (code, said) = guest.try_sh(ifup);
        assert_eq!(code, 5, "{change}: {said}");
        let way = "qemu-ifdown --delete tap0 && qemu-ifup tap0";
        assert!(said.contains(way), "{change}: {said}");
        assert_eq!(
            (guest.tap0(), guest.sh(show)),
            (before, entries),
            "{change}"
        );
        guest.delete();
    }
}

/// What a strike at one system call needs, in the guest: $SETUP creates what is there before, $ARGS are qemu-ifup's.
const FAULTS: &str = r#"
state() {
    for show in 'ip -d link' 'bridge vlan' 'bridge fdb'; do
        $show show dev tap0 2>&1 || echo none
    done | grep -v permanent | sed -E 's/^[0-9]+: //; s/[a-z_]*_timer +[0-9.]+//g; s/NO-CARRIER,|,LOWER_UP//g
        s/ state [A-Za-z]+//; s/fe:[0-9a-f:]+//; s/qdisc [a-z]+//; s/(port_id|port_no|designated_port) [0-9a-fx]+//g'
}
reset() {
    ip link del tap0 2>/dev/null || :
    eval "$SETUP"
}
strike() { # what happens, to which system call, and to the how manieth
    reset
    code=0
    strace -qq -o /dev/null -e "inject=$2:$1:when=$3" qemu-ifup $ARGS >said 2>&1 || code=$?
    case $1,$code in
    error=*,0) is=done ;;
    error=*) is=before ;;
    *) qemu-ifup $ARGS >>said 2>&1; is=done ;; # the next run completes it
    esac
    state >after
    cmp $is after || { echo "$code"; cat said $is after; }
}
"#;

#[test]
fn whatever_fails_a_port_has_its_vlans_and_options_or_all_is_as_before() {
    whatever_fails_all_is_done_or_as_before(
        "bridge link set dev tap0 locked on learning off flood off guard on
        bridge fdb add 52:54:00:00:00:01 dev tap0 master static sticky",
        "--lock-mac 52:54:00:12:34:56 --pvid 5 --vlans 10,20-22 --isolated tap0",
        14,
    );
}

#[test]
fn whatever_fails_a_port_is_in_another_bridge_or_has_its_vlans_as_before() {
    whatever_fails_all_is_done_or_as_before(
        "bridge link set dev tap0 isolated on
        bridge vlan del dev tap0 vid 1
        bridge vlan add dev tap0 vid 10 pvid untagged
        bridge vlan add dev tap0 vid 20-22
        bridge fdb add 52:54:00:00:00:01 dev tap0 master static",
        "--bridge br1 tap0",
        7,
    );
}

/// With tap0 as a port of br0, to which `port` is done before.
fn whatever_fails_all_is_done_or_as_before(port: &str, args: &str, least: usize) {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    guest.sh("ip link add br1 address 02:00:00:00:00:02 type bridge vlan_filtering 1; ip link set br1 up");
    let attached = "ip tuntap add tap0 mode tap user 54321
        ip link set tap0 address fe:00:00:00:00:77 addrgenmode none
        ip link set tap0 master br0 up";
    guest.sh(&format!(
        "cat >faults <<'END'\nSETUP='{attached}\n{port}'; ARGS='{args}'{FAULTS}\nEND"
    ));
    guest.sh(". ./faults; reset; state >before; strace -qq -o log qemu-ifup $ARGS; state >done");
    let mut tried = 0;
    // A kill before a request, and one that was done and whose answer is lost; from the first change on.
    for (call, blow) in [("sendto", "signal=SIGKILL"), ("recvfrom", "error=EPERM")] {
        let count = |log: &str| format!("{log} | grep -c '^{call}('");
        let counts = guest.sh(&(count("sed /NLM_F_ACK/q log") + "; " + &count("cat log")));
        let mut counts = counts.lines().map(|count| count.parse::<usize>().unwrap());
        let (first, last) = (counts.next().unwrap(), counts.next().unwrap());
        for nth in first..=last {
            let said = guest.sh(&format!(". ./faults; strike {blow} {call} {nth}"));
            assert_eq!(said, "", "{blow} at {call} {nth}");
            tried += 1;
        }
    }
    assert!(tried > least, "{tried}");
}

#[test]
fn a_machine_without_a_bridge_gets_one_by_one_command() {
    let Some(sandbox) = sandbox() else { return };
    let [mut guest] = boot(&sandbox, [""]);
    guest.assert_only(&["lo"]);
    guest.ifup("--create-bridge --address 192.168.10.1/24 --address fd00::1/64 tap0");
    let bridge = &guest.json("ip -j -d addr show dev br0")[0];
    let addresses = bridge["addr_info"].as_array().unwrap().iter();
    let global: Vec<_> = addresses
        .filter(|address| address["scope"] == "global")
        .map(|address| (&address["local"], &address["prefixlen"]))
        .collect();
    let wanted = [
        (&json!("192.168.10.1"), &json!(24)),
        (&json!("fd00::1"), &json!(64)),
    ];
    assert_eq!(global, wanted, "{bridge:#}");
    let info = &bridge["linkinfo"]["info_data"];
    assert_eq!(
        (&info["stp_state"], &info["forward_delay"]),
        (&json!(0), &json!(0))
    );
    let port = guest.json("bridge -j link show dev tap0");
    assert_eq!(port[0]["master"], "br0", "{port:#}");
    guest.delete();

    guest.sh("ip link del br0");
    guest.ifup("--create-bridge --pvid 10 tap0");
    assert_eq!(guest.vlans(), ["10pu"]);
}

#[test]
fn what_is_created_early_at_boot_gets_addresses_of_its_own() {
    let Some(sandbox) = sandbox() else { return };
    // A guest that has just booted has no random numbers yet: it has no disk, no user, and no source of them.
    let [mut guest] = boot(&sandbox, [""]);
    guest.sh("for n in 0 1; do qemu-ifup --create-bridge --bridge br$n tap$n; done");
    let links = guest.json("ip -j link show");
    let links = links.as_array().unwrap();
    let addresses: BTreeSet<_> = links.iter().map(|l| l["address"].as_str()).collect();
    assert_eq!(addresses.len(), 5, "{links:#?}");
}
