//! The unit for systemd, in a container of which systemd is the first process.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, needs};

/// Boots a container with this host's /usr, in which everything is installed, and runs $SCRIPT in it: $DIR/said is what that
/// printed, and its last line is `done` where no command failed.
const BOOT: &str = r#"
cgroup=$DIR/cgroup root=$DIR/root
mkdir "$DIR/usr" "$DIR/usr.work" "$cgroup" "$root" "$root/usr"
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$DIR/usr,workdir=$DIR/usr.work" "$root/usr"
DESTDIR=$root PREFIX=/usr "$TOP/install.sh" --from "$BIN"
for dir in bin lib lib64 sbin; do [ ! -d "/usr/$dir" ] || ln -s "usr/$dir" "$root/$dir"; done
printf '%s\n' "$SCRIPT" >"$root/script"
cat >"$root/usr/lib/systemd/system/script.service" <<'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
StandardOutput=append:/said
StandardError=inherit
ExecStart=/bin/sh -eux /script
ExecStopPost=/bin/sh -c 'systemctl poweroff --force --force >/dev/null 2>&1'
END
# Of its own, and of the second version, which is the only one that a new systemd takes.
mount -t cgroup2 none "$cgroup"
mkdir "$cgroup/$NAME"
sh -euc '
    echo $$ >"$1/cgroup.procs"
    exec unshare --mount --cgroup --pid --fork --kill-child --mount-proc sh -euc "
        umount -l /sys/fs/cgroup
        mount -t cgroup2 none /sys/fs/cgroup
        exec timeout 60 systemd-nspawn -q --register=no --keep-unit --private-network --bind /dev/net/tun -D \"\$1\" \
            --boot systemd.unit=script.service systemd.firstboot=no systemd.mask=nftables.service >&2" sh "$2"
' sh "$cgroup/$NAME" "$root" || :
find "$cgroup/$NAME" -depth -type d -exec rmdir {} +
cat "$root/said"
"#;

const SCRIPT: &str = r#"
systemd-analyze verify --man=no --recursive-errors=yes /usr/lib/systemd/system/qemu-tap@.service
cat >/etc/qemu-ifup.conf <<'END'
tap0 --owner 1234
vm-* --bridge br1 --create-bridge --address 192.168.10.1/24 --multi-queue
END
state() { systemctl show -P ActiveState "qemu-tap@$1"; }
fails() { if "$@"; then return 1; fi; }
wait_for() { # NAME STATE
    for n in $(seq 30); do
        test "$(state "$1")" != "$2" || return 0
        sleep 0.5
    done
    systemctl status "qemu-tap@$1"
    return 1
}

# The bridge comes late.
fails systemctl start qemu-tap@tap0
test "$(state tap0)" = activating
ip link add br0 type bridge
ip link set br0 up
wait_for tap0 active
ip -d link show master br0 up | grep 'tun type tap .* user 1234'
test "$(cd /sys/class/net && echo *)" = 'br0 lo tap0'

# One with all that it can do, and it is enabled.
systemctl enable --now qemu-tap@vm-1
ip link show master br1 up | grep vm-1
test -e /etc/systemd/system/multi-user.target.wants/qemu-tap@vm-1.service

# What no time changes: not a tap, and a mistake in the file.
fails systemctl start qemu-tap@lo
test "$(state lo)" = failed
test "$(systemctl show -P ExecMainStatus qemu-tap@lo)" = 5
echo 'tap9 --frobnicate' >>/etc/qemu-ifup.conf
fails systemctl start qemu-tap@tap9
test "$(state tap9)" = failed
test "$(systemctl show -P ExecMainStatus qemu-tap@tap9)" = 8
sed -i '$d' /etc/qemu-ifup.conf

systemctl stop qemu-tap@tap0 qemu-tap@vm-1
test "$(systemctl show -P Result qemu-tap@tap0 qemu-tap@vm-1 | sort -u | tr -d '\n')" = success
test "$(cd /sys/class/net && echo *)" = 'br0 br1 lo'
echo done
"#;

#[test]
fn the_unit_keeps_a_tap_on_its_bridge() {
    if !["systemd-nspawn", "systemctl"].into_iter().all(needs) {
        return;
    }
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let said = sandbox.sh(&format!(
        "export SCRIPT='{}' NAME=qemu-ifup-test-{} TOP='{}' BIN='{}'\n{BOOT}",
        SCRIPT.replace('\'', r"'\''"),
        std::process::id(),
        env!("CARGO_MANIFEST_DIR"),
        bin("qemu-ifup").parent().unwrap().display(),
    ));
    assert_eq!(said.lines().last(), Some("done"), "{said}");
}
