//! From version 0.1, which had the programs in /etc and links in /usr/local/sbin.

use crate::install::sandbox;

/// Defines `version_0_1 DIR`: what that version's install.sh did with the programs in DIR.
const VERSION_0_1: &str = r#"
version_0_1() {
    local sum list=/usr/local/share/qemu-ifup/manifest
    mkdir -p /usr/local/sbin /usr/local/share/man/man8
    [ -d /usr/local/share/qemu-ifup ] || { mkdir /usr/local/share/qemu-ifup; echo "made - /usr/local/share/qemu-ifup" >"$list"; }
    note() { if [ -L "$1" ]; then readlink "$1"; else cat "$1"; fi | sha256sum | sed "s|^|installed |; s|-\$|$1|; s|  *| |g" >>"$list"; }
    for name in qemu-ifup qemu-ifdown; do
        if command -v dpkg-divert >/dev/null; then
            dpkg-divert --quiet --local --rename --divert "/etc/$name.distrib" --add "/etc/$name"
            echo "diverted - /etc/$name" >>"$list"
        elif [ -e "/etc/$name" ]; then
            mv "/etc/$name" "/etc/$name.orig"
            echo "kept - /etc/$name" >>"$list"
        fi
        cp "$1/$name" "/etc/$name"
        if [ -e "/usr/local/sbin/$name" ]; then
            mv "/usr/local/sbin/$name" "/usr/local/sbin/$name.orig"
            echo "kept - /usr/local/sbin/$name" >>"$list"
        fi
        ln -s "/etc/$name" "/usr/local/sbin/$name"
        note "/etc/$name"
        note "/usr/local/sbin/$name"
    done
    echo "an old page" >/usr/local/share/man/man8/qemu-ifup.8
    note /usr/local/share/man/man8/qemu-ifup.8
    grep -qE '^installed [0-9a-f]{64} /etc/qemu-ifup$' "$list"
}
mkdir -p /usr/local/sbin /usr/local/share/man/man8 /usr/local/share/man/man5
"#;

#[test]
fn an_installation_of_version_0_1_is_moved_over() {
    sandbox(&format!(
        r#"{VERSION_0_1}
        echo mine >/usr/local/sbin/qemu-ifdown
        before=$(state)
        "$INSTALL" --from "$SCRATCH/v2"
        fresh=$(state)
        "$INSTALL" --uninstall
        same "$before" "$(state)"

        version_0_1 "$SCRATCH/v1"
        setcap cap_net_admin+ep /etc/qemu-ifup
        said=$("$INSTALL" --from "$SCRATCH/v2")
        says "removing /usr/local/sbin/qemu-ifup"
        says "putting back /usr/local/sbin/qemu-ifdown"
        says "qemu-ifup had cap_net_admin and no longer has it"
        same "$fresh" "$(state)"
        # What is not ours any more is forgotten: what comes there later is not our affair.
        echo "mine too" >/usr/local/sbin/qemu-ifup
        "$INSTALL" --uninstall
        rm /usr/local/sbin/qemu-ifup
        same "$before" "$(state)"
        "#
    ));
}

#[test]
fn an_installation_of_version_0_1_is_uninstalled() {
    sandbox(&format!(
        r#"{VERSION_0_1}
        echo mine >/usr/local/sbin/qemu-ifdown
        before=$(state)
        version_0_1 "$SCRATCH/v1"
        "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#
    ));
}

#[test]
fn what_somebody_made_of_an_old_link_is_left_alone() {
    sandbox(&format!(
        r#"{VERSION_0_1}
        version_0_1 "$SCRATCH/v1"
        ln -sf /etc/my-own /usr/local/sbin/qemu-ifup
        said=$("$INSTALL" --from "$SCRATCH/v2" 2>&1)
        says "leaving /usr/local/sbin/qemu-ifup: it is no longer what was installed"
        [ "$(readlink /etc/qemu-ifup)" = /usr/local/bin/qemu-ifup ]
        [ "$(readlink /usr/local/sbin/qemu-ifup)" = /etc/my-own ]
        absent /usr/local/sbin/qemu-ifdown
        "#
    ));
}
