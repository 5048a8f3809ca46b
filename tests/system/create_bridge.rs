//! --create-bridge.

use crate::common::interfaces::{assert_new_bridge, info, mac};
use crate::common::json::changes;
use crate::common::sandbox::Sandbox;
use crate::expect::{
    ADDRESSES, IPV4, assert_error, assert_in_bridge, assert_settled_as, assert_succeeded,
    create_args, words,
};
use serde_json::{Value, json};

#[test]
fn on_a_host_without_a_bridge_one_command_creates_it_with_its_addresses_and_the_tap_on_it() {
    let Some(s) = Sandbox::new() else { return };
    assert_succeeded(&s.ifup(&create_args("tap0")), "");
    assert_new_bridge(&s, "br0", &ADDRESSES);
    assert_in_bridge(&s, "br0", "tap0");

    let before = s.settled();
    let nothing = "qemu-ifup: tap0: already up on br0, nothing to do\n";
    assert_succeeded(&s.ifup(&create_args("tap0")), nothing);
    assert_settled_as(&s, &before, "the second time");

    // Without addresses, and by a name that no shell would leave alone.
    let odd = "b'$(id)";
    assert_succeeded(&s.ifup(&["--create-bridge", "--bridge", odd, "tap1"]), "");
    assert_new_bridge(&s, odd, &[]);
    assert_in_bridge(&s, odd, "tap1");
    assert_ne!(mac(&s, odd), mac(&s, "br0"));

    // A tap that is there, and in another bridge.
    let run = s.ifup(&words("--create-bridge --bridge br2 tap1"));
    assert_succeeded(&run, &format!("qemu-ifup: tap1: moved from {odd} to br2\n"));
    assert_new_bridge(&s, "br2", &[]);
    assert_in_bridge(&s, "br2", "tap1");
}

#[test]
fn a_bridge_that_exists_is_never_changed() {
    let Some(s) = Sandbox::new() else { return };
    for (setup, warning) in [
        (
            "ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 1000 ageing_time 7000
             ip address add 10.9.9.1/24 dev br0",
            "qemu-ifup: tap0: warning: bridge br0 is down and forwards nothing. To bring it up, run: ip link set dev br0 up\n",
        ),
        (
            "ip link add br0 address 02:00:00:00:00:77 mtu 9000 type bridge priority 99
             ip link set br0 addrgenmode none up",
            "",
        ),
    ] {
        s.sh(setup);
        let br0 = || {
            let mut all = s.settled();
            let of_br0 = |list: &Value| -> Vec<Value> {
                let list = list.as_array().unwrap().iter();
                list.filter(|l| l["ifname"] == "br0").cloned().collect()
            };
            json!([of_br0(&all["links"].take()), of_br0(&all["addresses"].take())])
        };
        let before = br0();
        assert_eq!(before[1].as_array().unwrap().len(), 1);
        // Nor is it said to have what only a new one gets.
        let notice = format!(
            "qemu-ifup: tap0: br0 already exists without the address {IPV4} (--address applies only to a new bridge). To add the address, run: ip address add {IPV4} dev br0\n"
        );
        let args = create_args("tap0");
        assert_succeeded(&s.ifup(&args), &format!("{notice}{warning}"));
        let quiet = [&["--quiet"], args.as_slice()].concat();
        assert_succeeded(&s.ifup(&quiet), "");
        assert_in_bridge(&s, "br0", "tap0");
        let changes = changes(&before, &br0());
        assert!(changes.is_empty(), "{setup}:\n{}", changes.join("\n"));
        s.sh("ip link del tap0; ip link del br0");
    }
}

#[test]
fn a_new_bridge_keeps_its_address_whatever_ports_come_and_go() {
    let Some(s) = Sandbox::new() else { return };
    assert_succeeded(&s.ifup(&create_args("tap0")), "");
    let before = mac(&s, "br0");
    // Each is lower than the bridge's own, which starts with 02.
    for lower in ["00:00:00:00:00:01", "00:ff:00:00:00:01"] {
        s.sh(&format!(
            "ip link add v0 address {lower} type veth peer name v1; ip link set v0 master br0 up"
        ));
        assert_eq!(mac(&s, "br0"), before);
        s.sh("ip link del v0");
        assert_eq!(mac(&s, "br0"), before);
    }
    assert_succeeded(&s.ifdown(&["--delete", "tap0"]), "");
    assert_eq!(mac(&s, "br0"), before);
    assert_new_bridge(&s, "br0", &ADDRESSES);
}

#[test]
fn the_address_and_mtu_of_a_new_bridge_stay_through_a_hundred_taps_on_a_bridge_with_no_other_port()
{
    let Some(s) = Sandbox::new() else { return };
    let of_br0 = || (mac(&s, "br0"), s.link("br0").unwrap()["mtu"].clone());
    let mut first = None;
    for n in 0..100 {
        let tap = format!("tap{n}");
        assert_succeeded(&s.ifup(&create_args(&tap)), "");
        let now = of_br0();
        assert_eq!(*first.get_or_insert(now.clone()), now, "with {tap}");
        // Half of them go at once, so that the bridge is often empty, half with the namespace.
        let options: &[&str] = if n % 2 == 0 { &["--delete"] } else { &[] };
        assert_succeeded(&s.ifdown(&[options, &[&tap]].concat()), "");
        assert_eq!(s.ports("br0"), Vec::<String>::new());
        assert_eq!(first, Some(of_br0()), "after {tap}");
    }
    assert_new_bridge(&s, "br0", &ADDRESSES);
}

#[test]
fn where_the_bridge_cannot_be_created_or_used_nothing_is_left() {
    let Some(s) = Sandbox::new() else { return };
    s.sh("ip link add v0 type veth peer name v1; ip tuntap add tun0 mode tun");
    // ::1 is then on no other interface.
    s.sh("ip link set lo down");
    let before = s.settled();
    let cases = [
        // What is wrong with the wish.
        (
            "--address 10.0.0.1/8 tap0",
            2,
            "--address requires --create-bridge",
            "--help",
        ),
        (
            "--create-bridge --address 10.0.0.1 tap0",
            2,
            "10.0.0.1",
            "--help",
        ),
        (
            "--create-bridge --bridge all tap0",
            2,
            "'all' is not an interface name",
            "15 bytes",
        ),
        // What is there already is no bridge, or no tap.
        (
            "--create-bridge --bridge v0 tap0",
            4,
            "cannot attach to v0: v0 is not a bridge (it is",
            "--bridge",
        ),
        (
            "--create-bridge --bridge lo tap0",
            4,
            "cannot attach to lo: lo is not a bridge (it is",
            "use a bridge: --bridge",
        ),
        (
            "--create-bridge v0",
            5,
            "not a tap (it is an interface of kind veth",
            "give the name of a tap",
        ),
        (
            "--create-bridge tun0",
            5,
            "not a tap (it is a tun",
            "give the name of a tap",
        ),
        // The new bridge has the name that the tap was to have.
        (
            "--create-bridge --bridge tap0 tap0",
            2,
            "the tap and the bridge cannot have the same name",
            "",
        ),
        // The kernel does not take one of the addresses.
        (
            "--create-bridge --address fd00::1/64 --address fd00::1/48 tap0",
            7,
            "cannot create the bridge br0: the same address is given twice (File exists)",
            "",
        ),
        (
            "--create-bridge --address 10.0.0.1/8 --address 10.0.0.1/8 --address fd00::1/64 tap0",
            7,
            "cannot create the bridge br0: the same address is given twice (File exists)",
            "",
        ),
        (
            "--create-bridge --address 10.0.0.1/8 --address ::1/128 tap0",
            7,
            "cannot create the bridge br0: ",
            "",
        ),
    ];
    for (args, code, error, hint) in cases {
        let run = s.ifup(&words(args));
        let (first, _) = run.stderr.split_once('\n').expect(args);
        assert_eq!(run.code, code, "{args}: {run:?}");
        assert!(first.contains(error), "{args}: {run:?}");
        assert!(run.stderr.contains(hint), "{args}: {run:?}");
        assert_settled_as(&s, &before, args);
    }
    // Two networks of one address are no mistake.
    let run = s.ifup(&words(
        "--create-bridge --address 10.0.0.1/8 --address 10.0.0.1/16 tap0",
    ));
    assert_succeeded(&run, "");
    assert_new_bridge(&s, "br0", &["10.0.0.1/8", "10.0.0.1/16"]);
}

#[test]
fn a_new_bridge_filters_vlans_where_they_are_asked_for_and_is_not_created_by_a_kernel_that_cannot()
{
    let Some(s) = Sandbox::new() else { return };
    let can = s.try_sh("ip link add b type bridge vlan_filtering 1 && ip link del b");
    let before = s.settled();
    let run = s.ifup(&words("--create-bridge --pvid 10 tap0"));
    if can.code == 0 {
        assert_succeeded(&run, "");
        assert_eq!(info(&s, "br0")["vlan_filtering"], 1);
        let vlans = &s.bridge(&["vlan", "show", "dev", "tap0"])[0]["vlans"];
        let expected = json!([{"vlan": 10, "flags": ["PVID", "Egress Untagged"]}]);
        assert_eq!(vlans, &expected);
    } else {
        let error =
            "tap0: cannot create the bridge br0: this kernel does not support VLAN filtering";
        assert_eq!(run.code, 7, "{run:?}");
        assert!(run.stderr.contains(error), "{run:?}");
        assert!(
            run.stderr.contains("leave out --pvid and --vlans"),
            "{run:?}"
        );
        assert_settled_as(&s, &before, "refused");
    }
}

#[test]
fn an_ipv6_address_on_a_host_without_ipv6_is_refused_with_a_hint_and_nothing_is_left() {
    let Some(s) = Sandbox::new() else { return };
    s.sh("for c in all default; do echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done");
    let before = s.settled();
    let run = s.ifup(&create_args("tap0"));
    // Not 3: root may, and it would help nobody to be told that they may not.
    assert_error(
        &run,
        7,
        "cannot create the bridge br0: IPv6 is disabled",
        "leave out the IPv6 address",
    );
    assert_settled_as(&s, &before, "refused");
    // All the others are created.
    assert_succeeded(&s.ifup(&["--create-bridge", "--address", IPV4, "tap0"]), "");
    assert_new_bridge(&s, "br0", &[IPV4]);
    assert_eq!(s.ports("br0"), ["tap0"]);
}

#[test]
fn a_network_that_another_interface_is_in_is_not_given_to_a_new_bridge() {
    let Some(s) = Sandbox::new() else { return };
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 192.168.10.1/24\nweb? --bridge br1\n",
    );
    assert_succeeded(&s.ifup(&["tap0"]), "");
    let before = s.settled();
    for (args, prefix) in [
        (&["web0"][..], "qemu-ifup: web0: /etc/qemu-ifup.conf:1: "),
        (
            &["--bridge", "br1", "--address", "192.168.10.7/24", "tap1"],
            "qemu-ifup: tap1: ",
        ),
    ] {
        let run = s.ifup(args);
        let address = args.get(3).unwrap_or(&"192.168.10.1/24");
        let error = format!(
            "{prefix}cannot create bridge br1 with address {address}: br0 already has an address in that network"
        );
        assert_error(&run, 4, &error, "an address in another network: --address");
        assert_settled_as(&s, &before, "refused");
        let check = s.ifup(&[&["--check", "-q"], args].concat());
        assert_eq!(check.code, 4, "{check:?}");
        assert!(
            check
                .stdout
                .contains("br0 already has an address in that network"),
            "{check:?}"
        );
    }
    s.etc(
        "qemu-ifup.conf",
        "* --create-bridge --address 192.168.10.1/24\nweb? --bridge br1 --address 192.168.11.1/24\n",
    );
    assert_succeeded(&s.ifup(&["web0"]), "");
    let all_well = s.ifup(&["--check", "-q", "--strict", "web0"]);
    assert_eq!((all_well.code, &*all_well.stdout), (0, ""), "{all_well:?}");
    // What came about in another way.
    s.sh("ip address add 192.168.10.9/24 dev br1");
    let check = s.ifup(&["--check", "-q", "web0"]);
    assert!(
        check
            .stdout
            .contains("br1 (192.168.10.9/24) and br0 are in the same network"),
        "{check:?}"
    );
}
