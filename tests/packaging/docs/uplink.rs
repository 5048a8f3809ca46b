//! The recipes of docs/networks.md for a bridge with an uplink: each is written down and carried out as it stands there, by the
//! real program, in namespaces in which enp1s0 is a card with a DHCP server and a router at its other end.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, skip, test_name};
use crate::docs::{between, file, path};
use std::path::{Path, PathBuf};

/// Where tests/network-managers puts the programs.
fn programs() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| path("target"));
    let target = std::path::absolute(target).unwrap();
    target.join("network-managers/root")
}

const SET_UP: &str = r#"
set -eu
mkdir "$DIR/usr" "$DIR/usr.work" "$DIR/var" "$DIR/var.work"
mount -t overlay -o "lowerdir=$ROOT/usr:/usr,upperdir=$DIR/usr,workdir=$DIR/usr.work" overlay /usr
mount -t overlay -o "lowerdir=/var,upperdir=$DIR/var,workdir=$DIR/var.work" overlay /var
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys # without it they wait for udev
for program in systemctl udevadm; do # by which netplan tells systemd, which is not there
    ln -sf /bin/true "/usr/bin/$program"
done
cp -a "$ROOT/etc/." /etc
echo 0123456789abcdef0123456789abcdef >/etc/machine-id # without one, networkd's DHCP client does not start
ldconfig
mkdir -p /run/dbus /run/network /run/netns /run/systemd /etc/network /etc/netplan /etc/systemd/network
rm -f /etc/netplan/* /etc/systemd/network/* /etc/NetworkManager/system-connections/*
for user in systemd-network messagebus; do
    id "$user" >/dev/null 2>&1 || useradd --system "$user"
done
cp "$IFUP" /etc/qemu-ifup
sysctl -q net.ipv4.ip_forward=0
for switch in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$switch" ] || echo 0 >"$switch"; done

mac=52:54:00:aa:00:01
ip netns add lan
ip link add enp1s0 address "$mac" type veth peer name lan0 netns lan
ip -n lan address add 192.168.1.1/24 dev lan0
ip -n lan link set lan0 up
cat >/run/udhcpd.conf <<'END'
start 192.168.1.100
end 192.168.1.150
interface lan0
lease_file /run/udhcpd.leases
pidfile /run/udhcpd.pid
option subnet 255.255.255.0
option router 192.168.1.1
END
touch /run/udhcpd.leases
ip netns exec lan busybox udhcpd /run/udhcpd.conf

# Waits until the bridge is as the document says.
is_there() {
    for _ in $(seq 150); do
        if ip route show default | grep -q 'via 192.168.1.1 dev br0' &&
            ip -o -4 address show dev br0 | grep -q "inet $ADDRESS"; then break; fi
        sleep 0.1
    done
    ip route show default | grep -q 'via 192.168.1.1 dev br0'
    [ "$(ip -o link show master br0 | grep -c enp1s0)" = 1 ]
    [ -z "$(ip -o -4 address show dev enp1s0)" ]
    ip -o -4 address show dev br0 | grep -q "inet $ADDRESS"
    ip link show dev br0 | grep -q "link/ether $mac"
    busybox ping -c 1 -W 5 192.168.1.1
}
"#;

/// With a tap, all is as before, and --check has nothing to complain about.
const THEN: &str = r#"
is_there
/etc/qemu-ifup tap0
is_there
[ "$(ip -o link show master br0 | wc -l)" = 2 ]
/etc/qemu-ifup --check tap0 >&2
/etc/qemu-ifup --check -v | grep -F 'br0 has the uplink enp1s0'
if /etc/qemu-ifup --check tap0 | grep -E '^(warning|problem)'; then exit 1; fi
"#;

/// The blocks of a section, without the words before and after them.
fn blocks(section: &str) -> Vec<String> {
    let document = file("docs/networks.md");
    let section = between(&document, &format!("\n### {section}\n"), "\n##");
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').unwrap().1.to_owned())
        .collect()
}

/// A block with one line replaced by others; it has to be there.
fn with(block: &str, line: &str, others: &str) -> String {
    assert!(block.lines().any(|l| l == line), "no {line} in {block}");
    block.replacen(line, others.trim_end(), 1)
}

/// Puts a file where a script that follows is to find it.
fn write(name: &str, text: &str) -> String {
    format!("cat >'{name}' <<'END'\n{}\nEND\n", text.trim_end())
}

/// Carries a recipe out, once as it is and once with a fixed address.
fn follow(recipe: impl Fn(bool) -> String + Sync) {
    let recipe = &recipe;
    for (fixed, address) in [
        (false, "192.168.1.1[0-9][0-9]/24"),
        (true, "192.168.1.10/24"),
    ] {
        // A sandbox takes a whole thread.
        let thread = std::thread::Builder::new().name(test_name());
        std::thread::scope(|scope| {
            let run = thread.spawn_scoped(scope, || {
                let root = programs();
                if !Path::new(&root).exists() {
                    return skip(&test_name(), "needs tests/network-managers");
                }
                let Some(sandbox) = Sandbox::new() else {
                    return;
                };
                let script = sandbox.dir().join("script");
                let text = format!("{SET_UP}\n{}\n{THEN}", recipe(fixed));
                std::fs::write(&script, text).unwrap();
                // The daemons end with the script.
                sandbox.sh(&format!(
                    "ROOT='{}' IFUP='{}' ADDRESS='{address}' export ROOT IFUP ADDRESS
                     unshare --pid --fork --kill-child --mount-proc bash -x '{}'",
                    root.display(),
                    bin("qemu-ifup").display(),
                    script.display()
                ));
            });
            run.unwrap()
                .join()
                .unwrap_or_else(|_| panic!("fixed address: {fixed}"));
        });
    }
}

#[test]
fn the_recipe_for_ifupdown_works() {
    follow(|fixed| {
        let [mut interfaces, iface, _restart] = blocks("ifupdown").try_into().unwrap();
        if fixed {
            interfaces = with(&interfaces, "iface br0 inet dhcp", &iface);
        }
        let written = write("/etc/network/interfaces", &interfaces);
        format!(
            "{written}
            ifquery --list | grep -x br0
            ifup --no-act -a
            ifup -a"
        )
    });
}

const NETWORKD: &str = "/usr/lib/systemd/systemd-networkd &";

#[test]
fn the_recipe_for_networkd_works() {
    follow(|fixed| {
        let [netdev, uplink, mut bridge, address, _restart] =
            blocks("systemd-networkd").try_into().unwrap();
        if fixed {
            bridge = with(&bridge, "DHCP=yes", &address);
        }
        [
            write("/etc/systemd/network/10-br0.netdev", &netdev),
            write("/etc/systemd/network/10-enp1s0.network", &uplink),
            write("/etc/systemd/network/10-br0.network", &bridge),
            NETWORKD.to_owned(),
        ]
        .concat()
    });
}

#[test]
fn the_recipe_for_netplan_works() {
    follow(|fixed| {
        let [mut yaml, address, commands] = blocks("netplan").try_into().unwrap();
        if fixed {
            yaml = with(&yaml, "      dhcp4: true", &address);
        }
        let (chmod, _) = commands.split_once('\n').unwrap();
        [
            write("/etc/netplan/60-br0.yaml", &yaml),
            chmod.replace("sudo ", "") + "\n",
            "said=$(netplan generate 2>&1); [ -z \"$said\" ] || { echo \"$said\" >&2; exit 1; }\n"
                .to_owned(),
            NETWORKD.to_owned(),
        ]
        .concat()
    });
}

#[test]
fn the_recipe_for_network_manager_works_and_outlives_a_reboot() {
    follow(|fixed| {
        let [commands, address, leave_taps] = blocks("NetworkManager").try_into().unwrap();
        let mut commands = commands.replace("sudo ", "");
        if fixed {
            commands = commands.replacen('\n', &format!(" {address}\n"), 1);
        }
        format!(
            "dbus-daemon --system --fork --nopidfile
            start() {{ NetworkManager --no-daemon & manager=$!; nm-online -s -q -t 20; }}
            start
            nmcli connection add type ethernet con-name office ifname enp1s0
            nmcli connection up office
            office=$(nmcli -g connection.uuid connection show office)
            nmcli device show enp1s0 | grep office
            {commands}
            {}
            is_there
            kill $manager
            wait $manager || true
            rm -r /run/NetworkManager
            # The former connection was in use again in between.
            sed -i \"s/^$office=.*/$office=$(($(date +%s) + 1000))/\" /var/lib/NetworkManager/timestamps
            grep -q \"^$office=\" /var/lib/NetworkManager/timestamps
            ip link delete br0
            ip link set enp1s0 down
            start",
            leave_taps.replace("sudo ", "")
        )
    });
}
