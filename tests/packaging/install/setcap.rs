//! --setcap.

use crate::common::needs;
use crate::install::sandbox;

#[test]
fn setcap_gives_qemu_ifup_alone_the_one_capability() {
    sandbox(
        r#"
        "$INSTALL" --from "$BIN" --setcap >"$SCRATCH/said"
        [ "$(getcap /usr/local/bin/qemu-ifup)" = "/usr/local/bin/qemu-ifup cap_net_admin=ep" ]
        [ -z "$(getcap /usr/local/bin/qemu-ifdown)" ]
        grep -q "/usr/local/bin/qemu-ifup " "$SCRATCH/said"
        [ "$(grep -c "qemu-ifdown .*cap_net_admin" "$SCRATCH/said")" = 0 ]
        "$INSTALL" --from "$BIN" | grep -q "no longer"
        [ -z "$(getcap /usr/local/bin/qemu-ifup /usr/local/bin/qemu-ifdown)" ]
        "$INSTALL" --from "$BIN" >"$SCRATCH/said"
        [ "$(grep -c "no longer" "$SCRATCH/said")" = 0 ]
        "#,
    );
}

/// An older version gave it to both.
#[test]
fn an_upgrade_takes_the_capability_from_qemu_ifdown() {
    sandbox(
        r#"
        "$INSTALL" --from "$BIN" --setcap
        setcap cap_net_admin+ep /usr/local/bin/qemu-ifdown
        "$INSTALL" --from "$BIN" --setcap
        [ "$(getcap /usr/local/bin/qemu-ifup)" = "/usr/local/bin/qemu-ifup cap_net_admin=ep" ]
        [ -z "$(getcap /usr/local/bin/qemu-ifdown)" ]
        "#,
    );
}

/// It reads the same bridge.conf, and nothing of qemu-ifup.conf.
#[test]
fn a_bridge_helper_of_qemus_with_privilege_is_named() {
    sandbox(
        r#"
        rm -rf /usr/lib/qemu/qemu-bridge-helper /usr/libexec/qemu-bridge-helper /usr/libexec/qemu /etc/qemu-ifup.conf
        echo "* --isolated" >/etc/qemu-ifup.conf
        "$INSTALL" --from "$BIN" --setcap >"$SCRATCH/said"
        [ "$(grep -c qemu-bridge-helper "$SCRATCH/said")" = 0 ]
        for dir in /usr/lib/qemu /usr/libexec /usr/libexec/qemu; do
            mkdir -p "$dir"
            helper=$dir/qemu-bridge-helper
            for give in "chmod 4755" "setcap cap_net_admin+ep"; do
                rm -f "$helper"
                echo "QEMU's own" >"$helper"
                chmod 755 "$helper"
                "$INSTALL" --from "$BIN" --setcap >"$SCRATCH/said" 2>&1
                [ "$(grep -c "$helper" "$SCRATCH/said")" = 0 ]
                $give "$helper"
                "$INSTALL" --from "$BIN" --setcap >"$SCRATCH/said" 2>&1
                grep "$helper" "$SCRATCH/said"
            done
            # Without lines that bind users, it gets around none.
            mv /etc/qemu-ifup.conf "$SCRATCH/conf"
            "$INSTALL" --from "$BIN" --setcap >"$SCRATCH/said" 2>&1
            [ "$(grep -c "$helper" "$SCRATCH/said")" = 0 ]
            mv "$SCRATCH/conf" /etc/qemu-ifup.conf
            rm "$helper"
        done
        "#,
    );
}

#[test]
fn setcap_with_a_group_lets_nobody_else_run_qemu_ifup() {
    sandbox(
        r#"
        make_group "the guests" 54331
        "$INSTALL" --from "$BIN" --setcap="the guests" >"$SCRATCH/said"
        grep -q "only root and members of 'the guests' can run" "$SCRATCH/said"
        [ "$(stat -L -c "%a %u %G" /etc/qemu-ifup)" = "750 0 the guests" ]
        [ "$(getcap /usr/local/bin/qemu-ifup)" = "/usr/local/bin/qemu-ifup cap_net_admin=ep" ]
        [ -z "$(getcap /usr/local/bin/qemu-ifdown)" ]
        "#,
    );
}

#[test]
fn the_group_that_falls_away_is_said() {
    sandbox(
        r#"
        make_group guests 54331
        for lost in "" --setcap; do
            "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
            once=$(state)
            "$INSTALL" --from "$SCRATCH/v1" --setcap=guests >"$SCRATCH/said"
            [ "$(grep -c note: "$SCRATCH/said")" = 0 ]
            same "$once" "$(state)"
            said=$("$INSTALL" --from "$SCRATCH/v2" $lost)
            says "only root and members of 'guests' could run "
            says "and now everybody can; --setcap='guests' restricts "
            if [ -z "$lost" ]; then says "; --setcap='guests' gives it back"; fi
            [ "$(stat -L -c "%a %U %G" /etc/qemu-ifup)" = "755 root root" ]
            said=$("$INSTALL" --from "$SCRATCH/v2" $lost)
            [[ $said != *note:* ]]
        done
        "#,
    );
}

#[test]
fn a_group_that_does_not_exist_is_refused_before_anything_is_changed() {
    sandbox(
        r#"
        "$INSTALL" --from "$SCRATCH/v1" --setcap
        before=$(state)
        refused "$INSTALL" --from "$SCRATCH/v2" --setcap=no-such-group
        says "there is no group 'no-such-group' (groupadd --system 'no-such-group' creates it); nothing was changed"
        same "$before" "$(state)"
        SUDO_UID=54321 refused "$INSTALL" --from "$SCRATCH/v2" --setcap=no-such-group
        says "(sudo groupadd --system 'no-such-group' creates it)"
        # What getent and chown would take for a number, an option or more than a name; the last is quoted for a shell.
        for name in +0 " 0" -0 0x0 --help root: "a
b" '*' "it's; \$(touch $SCRATCH/run)"; do
            refused "$INSTALL" --from "$SCRATCH/v2" --setcap="$name"
            says "there is no group '"
            same "$before" "$(state)"
        done
        says "groupadd --system 'it'\\''s; \$(touch $SCRATCH/run)' creates it"
        absent "$SCRATCH/run"
        mount --bind /dev/null "$(readlink -f "$(command -v getent)")"
        refused "$INSTALL" --from "$SCRATCH/v2" --setcap=root
        says "--setcap=GROUP needs getent; nothing was changed"
        same "$before" "$(state)"
        "#,
    );
}

/// The words are those that the README and the manual page explain.
#[test]
fn members_of_the_group_bring_taps_up_and_others_see_what_the_readme_says() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    sandbox(
        r#"
        cover dev
        chmod 0666 /dev/net/tun
        rm -rf /etc/qemu-ifup.conf
        mkdir -p /etc/qemu
        echo "allow br0" >/etc/qemu/bridge.conf
        chmod 0644 /etc/qemu/bridge.conf
        ip link add br0 type bridge
        ip link set br0 up
        make_group guests 54331
        "$INSTALL" --from "$BIN" --setcap=guests

        member() { setpriv --reuid 54321 --regid 54321 --groups 54331 "$@"; }
        outsider() { setpriv --reuid 54322 --regid 54322 --clear-groups "$@"; }
        qemu() {
            timeout 20 qemu-system-x86_64 -accel tcg -machine pc -nodefaults -display none -S                 -device virtio-net-pci,netdev=n1,romfile= "$@"
        }
        export -f qemu

        member /etc/qemu-ifup tap7
        [[ $(ip -d link show master br0) == *tap7*"tun type tap"*"user 54321"* ]]
        member /etc/qemu-ifdown --delete tap7
        [ -z "$(ip link show master br0)" ]

        refused outsider sh -c "/etc/qemu-ifup tap8"
        says "/etc/qemu-ifup: Permission denied"
        # A user's QEMU comes to its script only with a tap that it may open.
        /etc/qemu-ifup --owner 54322 tap8
        netdev=tap,id=n1,ifname=tap8,script=/etc/qemu-ifup,downscript=no
        refused outsider bash -c "qemu -netdev $netdev"
        same "$said" "qemu-system-x86_64: -netdev $netdev: network script /etc/qemu-ifup failed with status 256"
        for netdev in {bridge,tap},id=n1,br=br0,helper=/etc/qemu-ifup; do
            refused outsider bash -c "qemu -netdev $netdev"
            same "$said" "qemu-system-x86_64: -netdev $netdev: bridge helper failed"
        done
        # qemu-ifdown is for everybody.
        outsider /etc/qemu-ifdown --delete tap8
        [ -z "$(ip link show master br0)" ]
        "#,
    );
}

#[test]
fn the_note_on_a_bridge_helper_has_the_command_that_ends_its_privilege() {
    sandbox(
        r#"
        rm -rf /usr/lib/qemu/qemu-bridge-helper /usr/libexec/qemu-bridge-helper /usr/libexec/qemu
        helper=/usr/lib/qemu/qemu-bridge-helper
        mkdir -p "${helper%/*}"
        cp "$BIN/qemu-ifdown" "$helper" # any program
        note() { "$INSTALL" --from "$BIN" --setcap "$@" | grep ^note: || :; }
        warning="note: $helper has a privilege of its own and ignores /etc/qemu-ifup.conf, so that users get around its lines; this ends it:"
        echo '* --isolated' >/etc/qemu-ifup.conf
        chmod 4755 "$helper"
        same "$warning chmod u-s $helper" "$(note)"
        chmod 0755 "$helper"
        setcap cap_net_admin+ep "$helper"
        same "$warning setcap -r $helper" "$(note)"
        # With ours in its place there is none.
        same "" "$(note --bridge-helper)"
        "#,
    );
}

#[test]
fn without_the_setcap_program_nothing_is_changed() {
    sandbox(
        r#"
        before=$(state)
        mount --bind /dev/null "$(readlink -f "$(command -v setcap)")"
        refused "$INSTALL" --from "$SCRATCH/v1" --setcap
        says libcap2-bin
        same "$before" "$(state)"
        "#,
    );
}
