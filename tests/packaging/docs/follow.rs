//! The other documents, followed from top to bottom; and no document is forgotten.

use crate::docs::commands::{Host, Step, commands};
use crate::docs::documents;
use crate::docs::manual::PAGES;

const TROUBLESHOOTING: [Step; 19] = [
    Step {
        command: "ip address add 192.168.10.1/24 dev br0",
        before: "ip address flush dev br0",
        after: "",
    },
    Step {
        command: "sysctl net.ipv6.conf.default.disable_ipv6=0",
        before: "sysctl net.ipv6.conf.default.disable_ipv6=1",
        after: "/etc/qemu-ifup --create-bridge --bridge br6 --address fd00::1/64 tap6",
    },
    Step {
        command: "cp /etc/qemu-ifup.conf /etc/qemu-ifup.conf.new && chmod go-w /etc/qemu-ifup.conf.new && mv /etc/qemu-ifup.conf.new /etc/qemu-ifup.conf",
        before: "chown alice /etc/qemu-ifup.conf; ! /etc/qemu-ifup tap0",
        after: "/etc/qemu-ifup tap0",
    },
    Step {
        command: "rm /etc/qemu-ifup.conf",
        before: "ln -sf /nowhere /etc/qemu-ifup.conf",
        after: "/etc/qemu-ifup tap0",
    },
    Step {
        command: "mkdir -p /dev/net && mknod /dev/net/tun c 10 200",
        before: "rm -r /dev/net",
        after: "/etc/qemu-ifup --check -v | grep 'ok .* /dev/net/tun'",
    },
    Step {
        command: "qemu-ifup --owner USER tap0",
        before: "",
        after: "ip -j -d link show dev tap0 | grep -qF '\"user\":\"alice\"'",
    },
    Step {
        command: "usermod -aG GROUP USER",
        before: "groupadd netusers",
        after: "id -nG alice | grep -qw netusers",
    },
    Step {
        command: "echo '* --create-bridge --address 192.168.10.1/24' >> /etc/qemu-ifup.conf",
        before: "ip link delete br0",
        after: "/etc/qemu-ifup tap0; ip -br address show dev br0 | grep -qF 192.168.10.1/24",
    },
    Step {
        command: "qemu-ifdown --delete tap0 && qemu-ifup --multi-queue tap0",
        before: "",
        after: "ip -j -d link show dev tap0 | grep -qF '\"multi_queue\":true'",
    },
    Step {
        command: "ip link set dev br0 type bridge stp_state 0",
        before: "ip link set dev br0 type bridge stp_state 1",
        after: "/etc/qemu-ifup --check -v | grep 'STP is off'",
    },
    Step {
        command: "iptables -I FORWARD -i br0 -o br0 -j ACCEPT",
        before: "iptables -P FORWARD DROP",
        after: "",
    },
    Step {
        command: "echo '* --wait 35' >> /etc/qemu-ifup.conf",
        before: "",
        // What follows need not wait for anybody who opens a tap.
        after: "/etc/qemu-ifup --check -v tap0 | grep -F -- '--wait 35'; rm /etc/qemu-ifup.conf; touch /etc/qemu-ifup.conf",
    },
    Step {
        command: "ip link set dev br0 mtu 9000 && qemu-ifup tap0",
        before: "ip link set dev br0 mtu 1500",
        after: "ip -j link show dev tap0 | grep -qF '\"mtu\":9000'",
    },
    Step {
        command: "ip link set dev br0 address MAC",
        before: "",
        after: "",
    },
    Step {
        command: "ip link set dev NAME nomaster",
        before: "ip link add enp1s0 type veth peer name lan0; ip link set enp1s0 master br0",
        after: "! ip -j link show dev enp1s0 | grep master",
    },
    Step {
        command: "sudo /etc/qemu-ifup tap0",
        before: "",
        after: "",
    },
    Step {
        command: "qemu-ifdown --delete tap0",
        before: "",
        after: "! ip link show dev tap0",
    },
    Step {
        command: "./install.sh --setcap",
        before: "",
        after: "getcap \"$(readlink -f /etc/qemu-ifup)\" | grep -q cap_net_admin",
    },
    Step {
        command: "./install.sh",
        before: "",
        after: "",
    },
];

#[test]
fn the_fixes_for_the_symptoms_work() {
    let Some(host) = Host::installed() else {
        return;
    };
    host.follow(
        "docs/troubleshooting.md",
        "root",
        &TROUBLESHOOTING,
        &[
            ("bridge helper failed", "a message of QEMU's"),
            ("modprobe tun", "it is for this machine's kernel"),
            ("modprobe bridge", "it is for this machine's kernel"),
            (
                "qemu-ifup --create-bridge --bridge brvlan --pvid 10 tap0",
                "this machine's kernel need not have VLANs; tests/qemu/guest/second_kernel.rs",
            ),
            (
                "journalctl -t qemu-ifup -t qemu-ifdown",
                "it needs systemd's journal; tests/system/log.rs reads what would be in it",
            ),
        ],
    );
}

#[test]
fn the_commands_of_the_command_line_document_work() {
    let Some(host) = Host::installed() else {
        return;
    };
    host.follow("docs/command-line.md", "alice", &[], &[]);
}

#[test]
fn the_commands_for_security_work() {
    let Some(host) = Host::installed() else {
        return;
    };
    host.follow(
        "SECURITY.md",
        "alice",
        &[],
        &[(
            "git log -1 --format=%ce",
            "it needs the repository, which an archive of the source is not",
        )],
    );
}

#[test]
fn the_examples_of_the_manual_pages_work() {
    let Some(host) = Host::installed() else {
        return;
    };
    host.sandbox
        .sh("ip link add br1 type bridge; ip link set br1 up; groupadd netusers");
    for page in PAGES {
        let name = format!("man/{page}");
        if !commands(&name).is_empty() {
            host.follow(&name, "root", &[], &[]);
        }
    }
}

const APPARMOR: &str = "it needs a kernel with AppArmor";

const OTHER_PROGRAM: &str =
    "that program need not be here; tests/system/vmm.rs does with a tap what it does";

#[test]
fn the_commands_for_clients_work() {
    let Some(host) = Host::installed() else {
        return;
    };
    host.must_as("alice", "./install.sh --setcap");
    host.sandbox.etc("qemu/bridge.conf", "allow br0\n");
    host.follow(
        "docs/clients.md",
        "alice",
        &[
            Step {
                command: "qemu-system-x86_64 ... -netdev tap,id=n1,ifname=tap0 -device virtio-net,netdev=n1",
                before: "/etc/qemu-ifdown --delete tap0; /etc/qemu-ifup --owner alice tap0",
                after: "ip link delete tap0",
            },
            Step {
                command: "sudo qemu-ifup --multi-queue tap0",
                before: "/etc/qemu-ifdown --delete tap0",
                after: "",
            },
        ],
        &[
            (
                "sudo qemu-system-x86_64 ... -nic tap,model=virtio",
                "it needs a boot ROM, which need not be here",
            ),
            ("journalctl -t qemu-ifup", "it needs systemd's journal"),
            ("ip netns exec", "it is not the whole command"),
            ("sudo apparmor_parser -r /etc/apparmor.d/usr.sbin.libvirtd", APPARMOR),
            ("sudo lkvm run ... --network mode=tap,script=/etc/qemu-ifup", OTHER_PROGRAM),
            (
                "vng --qemu-opts='-netdev bridge,id=n9,br=br0,helper=/etc/qemu-ifup -device virtio-net-pci,netdev=n9'",
                OTHER_PROGRAM,
            ),
            ("cloud-hypervisor ... --net tap=tap0", OTHER_PROGRAM),
            ("cloud-hypervisor ... --net tap=tap1,num_queues=4", OTHER_PROGRAM),
            (
                "sudo systemctl enable --now qemu-tap@tap0",
                "it needs systemd as the first process; tests/packaging/systemd.rs",
            ),
        ],
    );
}

const A_PACKAGE: &str = "tests/packaging/packages.rs does, in a Debian and in an rpm's root";

#[test]
fn the_commands_for_the_packages_work() {
    let Some(host) = Host::new() else {
        return;
    };
    host.follow(
        "docs/packages.md",
        "alice",
        &[
            Step {
                command: "./install.sh --setcap=GROUP",
                before: "groupadd netusers",
                after: "groupdel netusers",
            },
            Step {
                command: "sudo groupadd --system GROUP",
                before: "",
                after: "getent group netusers",
            },
        ],
        &[
            ("sudo apt install ./qemu-ifup_VERSION_amd64.deb", A_PACKAGE),
            (
                "sudo dnf install ./qemu-ifup-VERSION-1.x86_64.rpm",
                A_PACKAGE,
            ),
            (
                "sudo dpkg-statoverride --update --add root GROUP 4750 /usr/bin/qemu-ifup",
                A_PACKAGE,
            ),
            (
                "sudo dpkg-statoverride --remove /usr/bin/qemu-ifup",
                A_PACKAGE,
            ),
            (
                "echo 'z /usr/bin/qemu-ifup 4750 root GROUP' | sudo tee /etc/tmpfiles.d/qemu-ifup.conf",
                A_PACKAGE,
            ),
            (
                "sudo systemd-tmpfiles --create /etc/tmpfiles.d/qemu-ifup.conf",
                A_PACKAGE,
            ),
            ("sudo rm /etc/tmpfiles.d/qemu-ifup.conf", A_PACKAGE),
            ("sudo chmod 755 /usr/bin/qemu-ifup", A_PACKAGE),
        ],
    );
}

const FOR_DEVELOPERS: &str = "for who works on the source; tests/run runs them or their like";

/// Documents in which no command is for a user of the programs.
const NOT_FOLLOWED: [(&str, &str); 3] = [
    ("CHANGELOG.md", "it tells of changes"),
    ("CONTRIBUTING.md", FOR_DEVELOPERS),
    ("docs/speed.md", FOR_DEVELOPERS),
];

#[test]
fn no_document_is_forgotten() {
    let followed = [
        "README.md",
        "SECURITY.md",
        "docs/clients.md",
        "docs/command-line.md",
        "docs/networks.md",
        "docs/packages.md",
        "docs/troubleshooting.md",
    ];
    for document in documents() {
        let known = followed.contains(&document.as_str())
            || NOT_FOLLOWED.iter().any(|(name, _)| *name == document);
        assert!(known || commands(&document).is_empty(), "{document}");
    }
}
