//! --bridge-helper.

use crate::common::{needs, skip, test_name};
use crate::install::sandbox;
use std::path::Path;

const PATHS: [&str; 3] = [
    "/usr/lib/qemu/qemu-bridge-helper",
    "/usr/libexec/qemu-bridge-helper",
    "/usr/libexec/qemu/qemu-bridge-helper",
];

#[test]
fn a_real_qemu_runs_ours_and_after_uninstall_its_own_again() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    if !PATHS.into_iter().any(|path| Path::new(path).exists()) {
        skip(&test_name(), "needs a qemu-bridge-helper");
        return;
    }
    sandbox(
        r#"
        mkdir -p /etc/qemu
        cover dev
        chmod 0666 /dev/net/tun
        echo "allow br0" >/etc/qemu/bridge.conf
        ip link add br0 type bridge
        ip link set br0 up
        user() { setpriv --reuid 54321 --regid 54321 --clear-groups "$@"; }
        qemu() { timeout 20 qemu-system-x86_64 -accel tcg -machine pc -nodefaults -display none -monitor stdio -S "$@" </dev/null; }
        export -f qemu
        of_qemu() { # its own words
            refused qemu -nic bridge,br=br7,model=virtio-net-pci
            says "access denied by acl file"
        }
        of_qemu
        before=$(state)
        "$INSTALL" --from "$BIN" --bridge-helper >"$SCRATCH/said"
        grep "^linking /.*/qemu-bridge-helper to /usr/local/bin/qemu-ifup$" "$SCRATCH/said"
        grep "^note: as the bridge helper of users without root qemu-ifup needs --setcap$" "$SCRATCH/said"
        refused qemu -nic bridge,br=br7,model=virtio-net-pci
        says "qemu-ifup: tap0: cannot attach to br7: no such bridge"

        # A user's, and with the bare -nic bridge.
        "$INSTALL" --from "$BIN" --bridge-helper --setcap
        refused user bash -c "qemu -nic bridge,br=br7,model=virtio-net-pci"
        says "br7"
        says "/etc/qemu/bridge.conf"
        {
            for _ in $(seq 200); do
                [ -z "$(ip link show up master br0)" ] || break
                sleep 0.05
            done
            ip -d link show up master br0 >"$SCRATCH/ports"
            echo quit
        } | user timeout 20 qemu-system-x86_64 -accel tcg -machine pc -nodefaults -display none -monitor stdio -S \
            -nic bridge,model=virtio-net-pci >/dev/null
        grep "user 54321" "$SCRATCH/ports" # QEMU's own gives it no owner

        "$INSTALL" --uninstall
        same "$before" "$(state)"
        of_qemu
        "#,
    );
}

#[test]
fn each_place_is_found_and_put_back() {
    sandbox(
        r#"
        rm -rf /usr/lib/qemu/qemu-bridge-helper /usr/libexec/qemu-bridge-helper /usr/libexec/qemu
        bare=$(state)
        refused "$INSTALL" --from "$SCRATCH/v1" --bridge-helper
        says "there is no qemu-bridge-helper in /usr/lib/qemu, /usr/libexec or /usr/libexec/qemu: install QEMU first; nothing was changed"
        same "$bare" "$(state)"
        for dir in /usr/lib/qemu /usr/libexec /usr/libexec/qemu; do
            mkdir -p "$dir"
            helper=$dir/qemu-bridge-helper
            echo "QEMU's own" >"$helper"
            chmod 4755 "$helper"
            before=$(state)
            "$INSTALL" --from "$SCRATCH/v1" --bridge-helper
            cmp "$SCRATCH/v1/qemu-ifup" "$helper"
            [ "$(readlink "$helper")" = /usr/local/bin/qemu-ifup ]
            said=$("$INSTALL" --from "$SCRATCH/v1")
            says "note: QEMU runs its own bridge helper again; --bridge-helper puts qemu-ifup in its place"
            [ "$(cat "$helper")" = "QEMU's own" ]
            "$INSTALL" --from "$SCRATCH/v1" --bridge-helper
            "$INSTALL" --uninstall
            same "$before" "$(state)"
            rm "$helper"
        done
        "#,
    );
}
