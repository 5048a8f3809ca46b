//! Which files come and go.

use crate::install::{run, sandbox};

#[test]
fn destdir_takes_everything_and_may_contain_spaces() {
    run(
        "",
        r#"
        export DESTDIR="$SCRATCH/not there yet/a b"
        "$INSTALL" --from "$BIN" --etc "/opt/q e"
        for name in qemu-ifup qemu-ifdown; do
            cmp "$BIN/$name" "$DESTDIR/opt/q e/$name"
            [ "$(stat -c %a "$DESTDIR/opt/q e/$name")" = 755 ]
            [ "$(readlink "$DESTDIR/usr/local/sbin/$name")" = "/opt/q e/$name" ]
        done
        "$INSTALL" --uninstall
        [ -z "$(ls -A "$DESTDIR")" ]
        "#,
    );
}

#[test]
fn destdir_may_be_relative_to_the_working_directory() {
    run(
        "",
        r#"
        cd "$SCRATCH"
        DESTDIR=stage "$INSTALL" --from v1
        cmp v1/qemu-ifup stage/etc/qemu-ifup
        DESTDIR=stage "$INSTALL" --uninstall
        [ -z "$(ls -A stage)" ]
        "#,
    );
}

#[test]
fn manual_pages_come_and_go_with_the_programs() {
    run(
        "",
        r#"
        mkdir -p "$SCRATCH/tree/man"
        cp "$INSTALL" "$SCRATCH/tree"
        touch "$SCRATCH"/tree/man/{qemu-ifup.8,qemu-ifdown.8,qemu-ifup.conf.5}
        export DESTDIR=$SCRATCH/root
        "$SCRATCH/tree/install.sh" --from "$SCRATCH/v1"
        [ "$(cd "$DESTDIR/usr/local/share/man"; echo */*)" = "man5/qemu-ifup.conf.5 man8/qemu-ifdown.8 man8/qemu-ifup.8" ]
        [ "$(stat -c %a "$DESTDIR/usr/local/share/man/man8/qemu-ifup.8")" = 644 ]
        "$SCRATCH/tree/install.sh" --uninstall
        [ -z "$(ls -A "$DESTDIR")" ]
        "#,
    );
}

#[test]
fn a_wrong_call_is_a_usage_error() {
    run(
        "",
        r#"
        usage_error() { local status=0; "$INSTALL" "$@" || status=$?; [ "$status" = 2 ]; }
        usage_error --frobnicate
        usage_error --etc
        usage_error --etc relative
        DESTDIR=$SCRATCH/root usage_error --setcap
        DESTDIR=$SCRATCH/root usage_error --setcap=root
        usage_error --setcap=
        usage_error --setcap=0
        "$INSTALL" --help | grep -q -e --uninstall
        "$INSTALL" --help | grep -q -F -e "--setcap[=GROUP]"
        "#,
    );
}

#[test]
fn foreign_files_and_links_are_kept_as_orig_and_come_back() {
    sandbox(
        r#"
        mkdir /etc/other
        echo mine >/etc/other/qemu-ifup
        ln -s /nowhere /etc/other/qemu-ifdown
        echo "mine too" >/usr/local/sbin/qemu-ifup
        before=$(state; ls -lR --time-style=full-iso /etc/other)
        "$INSTALL" --from "$SCRATCH/v1" --etc /etc/other
        [ "$(cat /etc/other/qemu-ifup)" = "qemu-ifup one" ]
        [ "$(cat /etc/other/qemu-ifup.orig)" = mine ]
        [ "$(readlink /etc/other/qemu-ifdown.orig)" = /nowhere ]
        [ "$(cat /usr/local/sbin/qemu-ifup.orig)" = "mine too" ]
        "$INSTALL" --uninstall
        same "$before" "$(state; ls -lR --time-style=full-iso /etc/other)"
        "#,
    );
}

#[test]
fn a_foreign_file_is_refused_when_its_orig_is_taken() {
    sandbox(
        r#"
        mkdir /etc/other
        touch /etc/other/qemu-ifdown /etc/other/qemu-ifdown.orig
        before=$(state; ls -R /etc/other)
        refused "$INSTALL" --from "$SCRATCH/v1" --etc /etc/other
        says "/etc/other/qemu-ifdown.orig already"
        same "$before" "$(state; ls -R /etc/other)"
        "#,
    );
}

#[test]
fn a_second_install_changes_nothing() {
    sandbox(
        r#"
        "$INSTALL" --from "$SCRATCH/v1"
        once=$(state)
        "$INSTALL" --from "$SCRATCH/v1"
        same "$once" "$(state)"
        "#,
    );
}

#[test]
fn an_upgrade_replaces_ours_and_can_still_be_taken_back() {
    sandbox(
        r#"
        before=$(state)
        "$INSTALL" --from "$SCRATCH/v1"
        names=$(find /etc /usr/local -name '*qemu-if*' | sort)
        "$INSTALL" --from "$SCRATCH/v2"
        [ "$(cat /etc/qemu-ifup)" = "qemu-ifup two" ]
        same "$names" "$(find /etc /usr/local -name '*qemu-if*' | sort)"
        "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn a_program_that_somebody_replaced_by_hand_is_never_lost() {
    sandbox(
        r#"
        "$INSTALL" --from "$SCRATCH/v1" --etc /etc/other
        echo "my own" >/etc/other/qemu-ifup
        refused "$INSTALL" --uninstall
        says "leaving /etc/other/qemu-ifup"
        absent /etc/other/qemu-ifdown
        [ "$(cat /etc/other/qemu-ifup)" = "my own" ]
        "$INSTALL" --from "$SCRATCH/v1" --etc /etc/other
        [ "$(cat /etc/other/qemu-ifup.orig)" = "my own" ]
        "$INSTALL" --uninstall
        [ "$(cat /etc/other/qemu-ifup)" = "my own" ]
        "#,
    );
}

#[test]
fn uninstall_may_be_run_twice() {
    sandbox(
        r#"
        "$INSTALL" --uninstall | grep -q "nothing is installed"
        "$INSTALL" --from "$SCRATCH/v1"
        "$INSTALL" --uninstall
        before=$(state)
        "$INSTALL" --uninstall | grep -q "nothing is installed"
        same "$before" "$(state)"
        "#,
    );
}
