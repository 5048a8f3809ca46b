//! What fails is taken back.

use crate::install::sandbox;

#[test]
fn directories_that_cannot_be_written_are_found_before_anything_is_changed() {
    sandbox(
        r#"
        before=$(state)
        mount --bind /usr/local/bin /usr/local/bin
        mount -o remount,bind,ro /usr/local/bin
        refused "$INSTALL" --from "$SCRATCH/v1"
        says "cannot write to /usr/local/bin; nothing was changed"
        same "$before" "$(state)"
        umount /usr/local/bin
        touch /etc/a-file
        PREFIX=/etc/a-file refused "$INSTALL" --from "$SCRATCH/v1"
        says "/etc/a-file is not a directory; nothing was changed"
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn a_failure_at_the_last_name_puts_everything_back() {
    sandbox(
        r#"
        mkdir -p /usr/libexec/qemu
        touch "$SCRATCH/pinned" /usr/libexec/qemu/qemu-bridge-helper
        mount --bind "$SCRATCH/pinned" /usr/libexec/qemu/qemu-bridge-helper # rename(2) to a mount point: EBUSY
        before=$(state)
        refused "$INSTALL" --from "$SCRATCH/v1" --bridge-helper
        says "linking /usr/libexec/qemu/qemu-bridge-helper"
        says "putting everything back"
        same "$before" "$(state)"
        "#,
    );
}

/// Defines `at_every_step HOW COMMAND...`: runs the command again and again. In the Nth run the Nth change that it makes
/// fails (HOW is `fail`) or ends with a SIGTERM for the script (`term`), until a run has no Nth change and so succeeds.
const FAULTS: &str = r#"
# With one page and one document, which are installed like all others: it is tried once for every step.
mkdir -p "$SCRATCH"/{faulty,tree/man,tree/docs}
cp "$INSTALL" "$SCRATCH/tree"
cp -r "${INSTALL%/*}"/{completions,systemd} "$SCRATCH/tree"
cp "${INSTALL%/*}/man/qemu-ifup.8" "$SCRATCH/tree/man"
cp "${INSTALL%/*}/docs/qemu-ifup.conf.example" "$SCRATCH/tree/docs"
INSTALL=$SCRATCH/tree/install.sh
for tool in mv cp ln mkdir chmod chown setcap dpkg-divert; do
    real=$(command -v "$tool") || continue
    cat >"$SCRATCH/faulty/$tool" <<END
#!/bin/sh
case \$1 in --listpackage) exec $real "\$@" ;; esac
left=\$((\$(cat $SCRATCH/left) - 1))
echo \$left >$SCRATCH/left
[ \$left -eq 0 ] || exec $real "\$@"
if [ \$(cat $SCRATCH/how) = term ]; then $real "\$@"; kill -TERM \$PPID; else exit 1; fi
END
    chmod +x "$SCRATCH/faulty/$tool"
done
at_every_step() {
    echo "$1" >"$SCRATCH/how"
    shift
    before=$(state)
    steps=0
    while echo $((steps + 1)) >"$SCRATCH/left"; ! said=$(PATH="$SCRATCH/faulty:$PATH" "$@" 2>&1); do
        same "$before" "$(state)" || { echo "after step $((steps + 1)): $said" >&2; return 1; }
        [[ $said != *"could not undo"* ]] || { echo "$said" >&2; return 1; }
        steps=$((steps + 1))
        [ "$steps" -lt 100 ]
    done
    [ "$(cat "$SCRATCH/left")" -gt 0 ]
}
"#;

#[test]
fn an_install_that_fails_at_any_step_leaves_everything_as_it_was() {
    sandbox(&format!(
        r#"{FAULTS}
        echo foreign >/usr/local/bin/qemu-ifup
        make_group guests 54331
        at_every_step fail "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
        [ "$steps" -gt 12 ]
        [ "$(cat /etc/qemu-ifup)" = "qemu-ifup one" ]
        at_every_step fail env PREFIX=/usr/local/moved "$INSTALL" --from "$SCRATCH/v2"
        [ "$(readlink /etc/qemu-ifup)" = /usr/local/moved/bin/qemu-ifup ]
        [ "$(cat /usr/local/bin/qemu-ifup)" = foreign ]
        "#
    ));
}

#[test]
fn an_install_that_is_ended_by_a_signal_leaves_everything_as_it_was() {
    sandbox(&format!(
        r#"{FAULTS}
        echo foreign >/usr/local/bin/qemu-ifup
        make_group guests 54331
        at_every_step term "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
        [ "$steps" -gt 12 ]
        at_every_step term env PREFIX=/usr/local/moved "$INSTALL" --from "$SCRATCH/v2"
        "#
    ));
}

#[test]
fn an_uninstall_that_fails_at_any_step_leaves_everything_as_it_was() {
    sandbox(&format!(
        r#"{FAULTS}
        echo foreign >/usr/local/bin/qemu-ifup
        clean=$(state)
        "$INSTALL" --from "$SCRATCH/v1" --setcap
        at_every_step fail "$INSTALL" --uninstall
        [ "$steps" -gt 4 ]
        same "$clean" "$(state)"
        "$INSTALL" --from "$SCRATCH/v1" --setcap
        at_every_step term "$INSTALL" --uninstall
        same "$clean" "$(state)"
        "#
    ));
}

#[test]
fn without_root_it_says_so_or_goes_on_with_sudo() {
    sandbox(
        r#"
        cp "$INSTALL" "$SCRATCH"
        before=$(state)
        if command -v sudo >/dev/null; then mount --bind /dev/null "$(readlink -f "$(command -v sudo)")"; fi
        nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
        refused nobody "$SCRATCH/install.sh" --from "$SCRATCH/v1"
        says "only root can write to /etc"
        refused nobody "$SCRATCH/install.sh" --uninstall
        says "only root can write to /etc"
        same "$before" "$(state)"

        mkdir "$SCRATCH/bin"
        printf '#!/bin/sh\nprintf "<%%s>" "$@"\n' >"$SCRATCH/bin/sudo"
        chmod +x "$SCRATCH/bin/sudo"
        export PATH=$SCRATCH/bin:$PATH
        PREFIX="/opt/a b" nobody "$SCRATCH/install.sh" --from "$SCRATCH/v1" --setcap | tail -n 1 >"$SCRATCH/said"
        same "$(cat "$SCRATCH/said")" "<env><PREFIX=/opt/a b><sh><$SCRATCH/install.sh><--from><$SCRATCH/v1><--setcap>"
        nobody "$SCRATCH/install.sh" --from "$SCRATCH/v1" --setcap="the guests" --bridge-helper | tail -n 1 >"$SCRATCH/said"
        same "$(cat "$SCRATCH/said")" \
            "<env><PREFIX=/usr/local><sh><$SCRATCH/install.sh><--from><$SCRATCH/v1><--setcap=the guests><--bridge-helper>"
        "#,
    );
}

/// As `./install.sh | head -1` does it: whoever reads goes away after so many lines.
#[test]
fn a_reader_that_goes_away_does_not_leave_half_an_installation() {
    sandbox(
        r#"
        mkdir -p /usr/libexec/qemu
        echo "QEMU's own" >/usr/libexec/qemu/qemu-bridge-helper
        "$INSTALL" --from "$SCRATCH/v1" --bridge-helper >"$SCRATCH/said"
        whole=$(state)
        lines=$(wc -l <"$SCRATCH/said")
        "$INSTALL" --uninstall
        bare=$(state)
        [ "$lines" -gt 4 ]
        for n in $(seq 0 "$lines"); do
            "$INSTALL" --from "$SCRATCH/v1" --bridge-helper 2>&1 | head -n "$n" >/dev/null
            same "$whole" "$(state)"
            "$INSTALL" --uninstall 2>&1 | head -n "$n" >/dev/null
            same "$bare" "$(state)"
        done
        "#,
    );
}
