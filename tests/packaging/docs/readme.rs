//! README.md, followed from top to bottom.

use crate::docs::commands::{Host, Step};

const STEPS: [Step; 15] = [
    Step {
        command: "./install.sh && sudo qemu-ifup --create-bridge --address 192.168.10.1/24 tap0 && ip address show br0 && bridge link",
        before: "",
        after: "ip -br address show dev br0 | grep -qF 192.168.10.1/24
            ip -j link show dev tap0 | grep -qF '\"master\":\"br0\"'",
    },
    Step {
        command: "sudo qemu-ifdown --delete tap0",
        before: "",
        after: "! ip link show dev tap0",
    },
    Step {
        command: "sudo qemu-system-x86_64 -m 1024 -drive file=guest.qcow2 -netdev user,id=n0,hostfwd=tcp::2222-:22 -device virtio-net,netdev=n0 -netdev tap,id=n1,ifname=tap0,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown -device virtio-net,netdev=n1",
        // As after a reboot.
        before: "ip link delete br0",
        after: "ip -br address show dev br0 | grep -qF 192.168.10.1/24
            ! ip link show dev tap0",
    },
    Step {
        command: "sudo qemu-ifup tap0",
        before: "",
        after: "ip -j -d link show dev tap0 | grep -qF '\"user\":\"alice\"'
            ip -j link show dev tap0 | grep -qF '\"master\":\"br0\"'",
    },
    Step {
        command: "qemu-system-x86_64 ... -netdev tap,id=n1,ifname=tap0 -device virtio-net,netdev=n1",
        before: "",
        after: "test \"$(ip -o link show master br0 up | wc -l)\" = 1",
    },
    Step {
        command: "sudo qemu-ifup tap1 tap2 tap3",
        before: "",
        after: "test \"$(ip -o link show master br0 up | wc -l)\" = 3",
    },
    Step {
        command: "./install.sh --setcap",
        before: "",
        after: "getcap \"$(readlink -f /etc/qemu-ifup)\" | grep -q cap_net_admin
            test -z \"$(getcap \"$(readlink -f /etc/qemu-ifdown)\")\"",
    },
    Step {
        command: "sudo chmod 0666 /dev/net/tun",
        before: "chmod 0600 /dev/net/tun",
        after: "",
    },
    Step {
        command: "qemu-system-x86_64 ... -netdev bridge,id=n1,br=br0,helper=/etc/qemu-ifup -device virtio-net,netdev=n1",
        before: "",
        after: "test -z \"$(ip link show master br0)\"",
    },
    Step {
        command: "./install.sh --setcap=GROUP",
        before: "",
        after: "test \"$(stat -L -c '%G %a' /etc/qemu-ifup)\" = 'netusers 750'",
    },
    Step {
        command: "qemu-ifup tap7",
        before: "",
        after: "ip -j link show dev tap7 | grep -qF '\"master\":\"br0\"'",
    },
    Step {
        command: "qemu-ifdown --delete tap7",
        before: "",
        after: "! ip link show dev tap7",
    },
    Step {
        command: "./install.sh --uninstall",
        before: "",
        after: "! find /usr/local /etc/qemu-ifup /etc/qemu-ifdown -name 'qemu-if*' ! -name '*.conf' | grep .",
    },
    Step {
        command: "sudo ip link delete br0",
        before: "",
        after: "",
    },
    Step {
        command: "sudo ip link delete tap0",
        before: "ip tuntap add tap0 mode tap",
        after: "",
    },
];

const NOT_RUN: [(&str, &str); 15] = [
    (
        "sudo apt install ./qemu-ifup_VERSION_amd64.deb",
        "tests/packaging/packages.rs does, with dpkg",
    ),
    (
        "sudo apt remove qemu-ifup",
        "tests/packaging/packages.rs does, with dpkg",
    ),
    ("sudo apt install gcc", "it installs to this machine"),
    ("sudo tests/run", "this is one of its tests"),
    ("ip link set eth1 up", IN_THE_GUEST),
    ("ip addr add 192.168.10.2/24 dev eth1", IN_THE_GUEST),
    ("ip route", IN_THE_GUEST),
    ("ping -c 1 192.168.10.1", IN_THE_GUEST),
    ("ip link", IN_THE_GUEST),
    ("ssh -p 2222 localhost", IN_THE_GUEST),
    ("ssh 192.168.10.2", IN_THE_GUEST),
    (
        "./install.sh --setcap --bridge-helper",
        "tests/packaging/install/ does",
    ),
    ("man qemu-ifup", A_PAGER),
    ("man qemu-ifdown", A_PAGER),
    ("man qemu-ifup.conf", A_PAGER),
];

/// tests/qemu/guest/two_guests.rs does the same with a guest that has a kernel.
const IN_THE_GUEST: &str = "in the guest; tests/qemu/guest/two_guests.rs";

const A_PAGER: &str = "man-db need not be here; the pages are read by manual.rs";

#[test]
fn the_readme_can_be_followed_word_for_word() {
    let Some(host) = Host::new() else { return };
    host.follow("README.md", "alice", &STEPS, &NOT_RUN);
}
