//! Which files come and go.

use crate::install::{run, sandbox};

#[test]
fn manual_pages_come_and_go_with_the_programs() {
    sandbox(
        r#"
        rm -rf /usr/local/share/man
        before=$(state)
        "$INSTALL" --from "$SCRATCH/v1"
        [ "$(cd /usr/local/share/man; echo */*)" = "man5/qemu-ifup.conf.5 man8/qemu-ifdown.8 man8/qemu-ifup.8" ]
        [ "$(stat -c %a /usr/local/share/man/man8/qemu-ifup.8)" = 644 ]
        "$INSTALL" --uninstall
        same "$before" "$(state)"
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
        usage_error --from
        PREFIX=relative usage_error
        for option in --setcap --setcap=root --bridge-helper --uninstall; do
            DESTDIR=$SCRATCH/root usage_error "$option"
        done
        usage_error --setcap=
        usage_error --setcap=0
        usage_error --setcap "the guests" 2>"$SCRATCH/said"
        grep -q -F -e "--setcap='the guests'" "$SCRATCH/said"
        "$INSTALL" --help | grep -q -e --uninstall
        "$INSTALL" --help | grep -q -F -e "--setcap[=GROUP]"
        "#,
    );
}

#[test]
fn foreign_files_and_links_are_kept_as_orig_and_come_back() {
    sandbox(
        r#"
        echo mine >/usr/local/bin/qemu-ifup
        ln -s /nowhere /usr/local/bin/qemu-ifdown
        times() { ls -l --time-style=full-iso /usr/local/bin/qemu-if*; }
        before=$(state; times)
        "$INSTALL" --from "$SCRATCH/v1"
        [ "$(cat /usr/local/bin/qemu-ifup)" = "qemu-ifup one" ]
        [ "$(cat /usr/local/bin/qemu-ifup.orig)" = mine ]
        [ "$(readlink /usr/local/bin/qemu-ifdown.orig)" = /nowhere ]
        "$INSTALL" --uninstall
        same "$before" "$(state; times)"
        "#,
    );
}

#[test]
fn a_foreign_file_is_refused_when_its_orig_is_taken() {
    sandbox(
        r#"
        touch /usr/local/bin/qemu-ifdown /usr/local/bin/qemu-ifdown.orig
        before=$(state)
        refused "$INSTALL" --from "$SCRATCH/v1"
        says "/usr/local/bin/qemu-ifdown.orig already"
        same "$before" "$(state)"
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
        "$INSTALL" --from "$SCRATCH/v1"
        echo "my own" >/usr/local/bin/qemu-ifup
        refused "$INSTALL" --uninstall
        says "leaving /usr/local/bin/qemu-ifup"
        absent /usr/local/bin/qemu-ifdown
        [ "$(cat /usr/local/bin/qemu-ifup)" = "my own" ]
        "$INSTALL" --from "$SCRATCH/v1"
        [ "$(cat /usr/local/bin/qemu-ifup.orig)" = "my own" ]
        "$INSTALL" --uninstall
        [ "$(cat /usr/local/bin/qemu-ifup)" = "my own" ]
        "#,
    );
}

#[test]
fn uninstall_says_what_stays() {
    sandbox(
        r#"
        mkdir -p /etc/qemu
        rm -f /etc/qemu-ifup?* /etc/qemu-ifdown?* /etc/qemu/bridge.conf
        "$INSTALL" --from "$SCRATCH/v1"
        said=$("$INSTALL" --uninstall)
        [[ $said != *leaving* ]]
        "$INSTALL" --from "$SCRATCH/v1"
        touch /etc/qemu-ifup.conf /etc/qemu/bridge.conf
        ln -s qemu-ifup /etc/qemu-ifup.br1
        said=$("$INSTALL" --uninstall)
        for path in /etc/qemu-ifup.conf /etc/qemu/bridge.conf /etc/qemu-ifup.br1; do
            says "leaving $path: install.sh did not create it"
            [ -e "$path" ] || [ -L "$path" ]
        done
        [ "$(grep -c leaving <<<"$said")" = 3 ]
        make_group guests 54331
        "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
        said=$("$INSTALL" --uninstall)
        says "leaving the group 'guests'"
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
