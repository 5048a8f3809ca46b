//! docs/networks.md, followed from top to bottom.

use crate::common::{skip, test_name};
use crate::docs::commands::{Host, Step};
use std::path::Path;

const STEPS: [Step; 9] = [
    Step {
        command: "sudo nft 'add table ip guests; add chain ip guests nat { type nat hook postrouting priority srcnat; }; add rule ip guests nat ip saddr 192.168.10.0/24 oifname != \"br0\" masquerade'",
        before: "",
        // The router beyond enp1s0 does not know the guests' network: it answers to the host's address.
        after: "ip netns exec guest busybox ping -c 1 -W 5 192.168.1.1",
    },
    Step {
        command: "sudo nft list table ip guests | sudo tee -a /etc/nftables.conf",
        before: "",
        after: "nft delete table ip guests; nft -f /etc/nftables.conf
            ip netns exec guest busybox ping -c 1 -W 5 192.168.1.1",
    },
    Step {
        command: "sudo dnsmasq --interface=br0 --bind-dynamic --dhcp-range=192.168.10.100,192.168.10.200",
        before: "",
        after: "ip netns exec guest busybox udhcpc -i eth1 -n -q -s /bin/true
            kill \"$(cat /run/dnsmasq.pid)\"",
    },
    Step {
        command: "sudo qemu-system-x86_64 ... -netdev tap,id=n1,script=/etc/qemu-ifup.br1 -device virtio-net,netdev=n1",
        before: "ip link add br1 type bridge; ip link set br1 up; ip link set br0 down",
        after: "ip link set br0 up",
    },
    Step {
        command: "sudo ip link set br0 mtu 9000",
        before: "ip link set enp1s0 master br0",
        after: "",
    },
    Step {
        command: "sudo qemu-ifup tap0",
        before: "",
        after: "ip -j link show dev tap0 | grep -qF '\"mtu\":9000'",
    },
    Step {
        command: "sudo ip link set br0 type bridge stp_state 0",
        before: "ip link set br0 type bridge stp_state 1",
        after: "qemu-ifup --check -v tap0 | grep 'STP is off'",
    },
    Step {
        command: "sudo iptables -I FORWARD -i br0 -o br0 -j ACCEPT",
        // A guest that is on the uplink's network, and Docker.
        before: "ip -n guest address add 192.168.1.50/24 dev eth1
            ip link set enp1s0 mtu 1500; ip link set br0 mtu 1500
            sysctl net.bridge.bridge-nf-call-iptables=1
            iptables -P FORWARD DROP
            ! ip netns exec guest busybox ping -c 1 -W 1 192.168.1.1",
        after: "ip netns exec guest busybox ping -c 1 -W 5 192.168.1.1",
    },
    Step {
        command: "sudo sysctl net.bridge.bridge-nf-call-iptables=0",
        before: "iptables -F FORWARD
            ! ip netns exec guest busybox ping -c 1 -W 1 192.168.1.1",
        after: "ip netns exec guest busybox ping -c 1 -W 5 192.168.1.1
            qemu-ifup --check -v tap0 | grep 'ok .* br_netfilter'",
    },
];

const UPLINK: &str = "tests/packaging/docs/uplink.rs does, with that program";
const APT: &str = "it installs to this machine";
const SYSTEMD: &str = "it needs a machine of which systemd is the first process";
const VLANS: &str = "tests/qemu/guest/second_kernel.rs does, on a kernel that has VLANs";

const NOT_RUN: [(&str, &str); 23] = [
    ("networkctl list enp1s0", SYSTEMD),
    ("nmcli device show enp1s0", UPLINK),
    ("ifquery --list", UPLINK),
    ("sudo apt install bridge-utils", APT),
    ("sudo systemctl restart networking", SYSTEMD),
    ("sudo systemctl restart systemd-networkd", SYSTEMD),
    ("sudo chmod 0600 /etc/netplan/60-br0.yaml", UPLINK),
    ("sudo netplan try", SYSTEMD),
    (
        "sudo nmcli connection add type bridge con-name br0 ifname br0 bridge.stp no ethernet.cloned-mac-address 52:54:00:aa:00:01",
        UPLINK,
    ),
    (
        "sudo nmcli connection add type ethernet con-name br0-enp1s0 ifname enp1s0 master br0 connection.autoconnect-priority 10",
        UPLINK,
    ),
    ("sudo nmcli connection up br0-enp1s0", UPLINK),
    (
        "printf '[keyfile]\\nunmanaged-devices=interface-name:tap*;interface-name:vnet*\\n' | sudo tee /etc/NetworkManager/conf.d/90-taps.conf",
        UPLINK,
    ),
    ("sudo nmcli general reload conf", UPLINK),
    (
        "ip route add default via 192.168.10.1",
        "in the guest; the one here has it already",
    ),
    ("sudo systemctl enable nftables", SYSTEMD),
    ("sudo apt install dnsmasq-base", APT),
    ("sudo ip link set br0 type bridge vlan_filtering 1", VLANS),
    ("sudo qemu-ifup --pvid 10 --vlans 20-29 tap0", VLANS),
    ("sudo bridge vlan add dev enp1s0 vid 10", VLANS),
    ("sudo bridge vlan add dev br0 vid 10 self", VLANS),
    (
        "sudo ip link add link br0 name br0.10 type vlan id 10",
        VLANS,
    ),
    ("sudo ip address add 192.168.20.1/24 dev br0.10", VLANS),
    ("sudo ip link set br0.10 up", VLANS),
];

/// A card with a router at its other end, and a guest on br0, which are namespaces.
const LAN_AND_GUEST: &str = "
    mkdir -p /run/netns
    ip netns add lan; ip netns add guest
    ip link add enp1s0 type veth peer name lan0 netns lan
    ip address add 192.168.1.10/24 dev enp1s0
    ip link set enp1s0 up
    ip -n lan address add 192.168.1.1/24 dev lan0
    ip -n lan link set lan0 up
    ip route add default via 192.168.1.1
    ip link add port0 type veth peer name eth1 netns guest
    ip link set port0 master br0 up
    ip -n guest address add 192.168.10.2/24 dev eth1
    ip -n guest link set eth1 up
    ip -n guest route add default via 192.168.10.1";

#[test]
fn the_commands_for_networks_work() {
    if !Path::new("/proc/sys/net/bridge").exists() {
        return skip(&test_name(), "needs a kernel with br_netfilter");
    }
    let Some(host) = Host::installed() else {
        return;
    };
    host.sandbox.sh(LAN_AND_GUEST);
    host.follow("docs/networks.md", "alice", &STEPS, &NOT_RUN);
}
