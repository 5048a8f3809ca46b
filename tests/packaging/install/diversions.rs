//! Debian's own scripts.

use crate::install::debian_sandbox;

#[test]
fn debians_own_scripts_are_diverted_and_come_back() {
    debian_sandbox(
        r#"
        echo "* --bridge br7" >/etc/qemu-ifup.conf
        before=$(state)
        "$INSTALL" --from "$BIN"
        for name in qemu-ifup qemu-ifdown; do
            cmp "$BIN/$name" "/etc/$name"
            [ "$(cat "/etc/$name.distrib")" = "Debian's $name" ]
            [ "$(dpkg-divert --truename "/etc/$name")" = "/etc/$name.distrib" ]
        done
        "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn a_path_that_debian_owns_is_diverted_even_while_the_file_is_missing() {
    debian_sandbox(
        r#"
        rm /etc/qemu-ifup
        before=$(state)
        "$INSTALL" --from "$SCRATCH/v1"
        [ "$(dpkg-divert --truename /etc/qemu-ifup)" = /etc/qemu-ifup.distrib ]
        "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn when_the_debian_package_comes_later_ours_is_not_taken_for_the_packages_file() {
    debian_sandbox(
        r#"
        list=/var/lib/dpkg/info/qemu-system-common.list
        cp "$list" "$SCRATCH/list"
        sed -i '/qemu-if/d' "$list"
        "$INSTALL" --from "$SCRATCH/v1"
        [ "$(cat /etc/qemu-ifup.orig)" = "Debian's qemu-ifup" ]
        cp "$SCRATCH/list" "$list"
        "$INSTALL" --from "$SCRATCH/v2"
        [ "$(dpkg-divert --truename /etc/qemu-ifup)" = /etc/qemu-ifup.distrib ]
        absent /etc/qemu-ifup.distrib
        "$INSTALL" --uninstall
        [ "$(cat /etc/qemu-ifup)" = "Debian's qemu-ifup" ]
        [ "$(dpkg-divert --truename /etc/qemu-ifup)" = /etc/qemu-ifup ]
        "#,
    );
}

#[test]
fn a_diversion_that_the_administrator_made_stays() {
    debian_sandbox(
        r#"
        dpkg-divert --local --rename --divert /etc/qemu-ifup.mine --add /etc/qemu-ifup
        before=$(state)
        "$INSTALL" --from "$SCRATCH/v1"
        "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#,
    );
}
