//! install.sh, run in a mount namespace where all that it writes to is covered by an overlay: the host stays as it is.
//!
//! Each test is a bash script in which any command that fails fails the test.

#![allow(unsafe_code, reason = "the tests make system calls of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

/// Defines what the scripts use.
const TOOLS: &str = r#"
set -euE
trap 'echo "failed at: $BASH_COMMAND" >&2' ERR

refused() { # COMMAND...: it must fail, and its words go to $said
    if said=$("$@" 2>&1); then echo "not refused: $*: $said" >&2; return 1; fi
}
says() { [[ $said == *"$1"* ]] || { echo "expected '$1' in: $said" >&2; return 1; } }
same() { diff -u <(printf '%s\n' "$1") <(printf '%s\n' "$2") >&2; }
absent() { [ ! -e "$1" ] && [ ! -L "$1" ]; }

# Stand-ins for the programs where it does not matter what they do: quick to copy.
stand_ins() { # DIR TEXT
    mkdir -p "$1"
    for name in qemu-ifup qemu-ifdown; do
        echo "$name $2" >"$1/$name"
        chmod +x "$1/$name"
    done
}
stand_ins "$SCRATCH/v1" one
stand_ins "$SCRATCH/v2" two
"#;

/// Covers the directories, and defines `state`, which prints all that an installation could change.
const COVER: &str = r#"
set -eu
mount -t tmpfs -o mode=755 sandbox "$SCRATCH"
for dir in etc usr/local var/lib/dpkg; do
    [ -d "/$dir" ] || continue
    mkdir -p "$SCRATCH/$dir/upper" "$SCRATCH/$dir/work"
    mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$SCRATCH/$dir/upper,workdir=$SCRATCH/$dir/work" "/$dir"
done
"$INSTALL" --uninstall >/dev/null # it may be installed here
make_group() { echo "$1:x:$2:" >>/etc/group; }
state() {
    {
        find /etc -maxdepth 1 -name 'qemu-if*' -printf '%p %M %u %g %l\n'
        find /usr/local/sbin /usr/local/share -printf '%p %M %u %g %l\n'
        find /etc /usr/local/sbin /usr/local/share -maxdepth 2 -type f -name '*qemu-if*' -exec sha256sum {} + -exec getcap {} +
        if command -v dpkg-divert >/dev/null; then dpkg-divert --list; fi
    } | sort
}
"#;

fn run(setup: &str, script: &str) {
    run_by("bash", &[], setup, script);
}

fn run_by(program: &str, arguments: &[&str], setup: &str, script: &str) {
    let scratch = std::env::temp_dir().join(format!(
        "qemu-ifup-install-{}-{}",
        std::process::id(),
        common::test_name()
    ));
    fs::create_dir(&scratch).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .arg("-c")
        .arg(format!("{setup}\n{TOOLS}\n{script}"))
        .env("SCRATCH", &scratch)
        .env(
            "INSTALL",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"),
        )
        .env("BIN", common::bin("qemu-ifup").parent().unwrap())
        .env_remove("DESTDIR")
        .env_remove("SUDO_USER")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    fs::remove_dir_all(&scratch).unwrap();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the script where it may write anywhere in /etc and /usr/local, in a network of its own.
fn sandbox(script: &str) {
    let unshare = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output();
    if !unshare.is_ok_and(|output| output.status.success()) {
        common::skip(&common::test_name(), "no namespaces (not root?)");
        return;
    }
    run_by("unshare", &["--mount", "--net", "bash"], COVER, script);
}

/// The same, where Debian's QEMU package owns the two scripts in /etc.
fn debian_sandbox(script: &str) {
    let owner = Command::new("dpkg-query")
        .args(["-S", "/etc/qemu-ifup", "/etc/qemu-ifdown"])
        .output();
    if !owner.is_ok_and(|output| output.status.success()) {
        common::skip(
            &common::test_name(),
            "Debian's qemu-system-common is not installed",
        );
        return;
    }
    let conffiles = "for name in qemu-ifup qemu-ifdown; do echo \"Debian's $name\" >/etc/$name; chmod 755 /etc/$name; done\n";
    sandbox(&format!("{conffiles}{script}"));
}

#[test]
fn both_binaries_are_static() {
    for name in ["qemu-ifup", "qemu-ifdown"] {
        let output = Command::new("ldd").arg(common::bin(name)).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.contains("statically linked") || said.contains("not a dynamic executable"),
            "{name}: {said}"
        );
    }
}

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
fn debians_own_scripts_are_diverted_and_come_back() {
    debian_sandbox(
        r#"
        echo "* --bridge br7" >/etc/qemu-ifup.conf
        before=$(state)
        "$INSTALL" --from "$BIN"
        for name in qemu-ifup qemu-ifdown; do
            cmp "$BIN/$name" "/etc/$name"
            cmp "$BIN/$name" "/usr/local/sbin/$name"
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

#[test]
fn setcap_gives_both_programs_the_one_capability() {
    sandbox(
        r#"
        "$INSTALL" --from "$BIN" --setcap
        for name in qemu-ifup qemu-ifdown; do
            [ "$(getcap "/etc/$name")" = "/etc/$name cap_net_admin=ep" ]
        done
        "$INSTALL" --from "$BIN" | grep -q "no longer have it"
        [ -z "$(getcap /etc/qemu-ifup /etc/qemu-ifdown)" ]
        "$INSTALL" --from "$BIN" >"$SCRATCH/said"
        [ "$(grep -c "no longer" "$SCRATCH/said")" = 0 ]
        "#,
    );
}

#[test]
fn setcap_with_a_group_lets_nobody_else_run_the_programs() {
    sandbox(
        r#"
        make_group "the guests" 54331
        "$INSTALL" --from "$BIN" --setcap="the guests" >"$SCRATCH/said"
        grep -q "only root and members of 'the guests' can run them" "$SCRATCH/said"
        for name in qemu-ifup qemu-ifdown; do
            [ "$(stat -c "%a %u %G" "/etc/$name")" = "750 0 the guests" ]
            [ "$(getcap "/etc/$name")" = "/etc/$name cap_net_admin=ep" ]
        done
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
            says "only root and members of 'guests' could run the programs, and now everybody can; --setcap='guests' restricts them again"
            if [ -z "$lost" ]; then says "no longer have it; --setcap='guests' gives it back"; fi
            [ "$(stat -c "%a %U %G" /etc/qemu-ifup)" = "755 root root" ]
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
        says "there is no group 'no-such-group' (groupadd --system 'no-such-group' makes it); nothing was changed"
        same "$before" "$(state)"
        # What getent and chown would take for a number, an option or more than a name; the last is quoted for a shell.
        for name in +0 " 0" -0 0x0 --help root: "a
b" '*' "it's; \$(touch $SCRATCH/run)"; do
            refused "$INSTALL" --from "$SCRATCH/v2" --setcap="$name"
            says "there is no group '"
            same "$before" "$(state)"
        done
        says "groupadd --system 'it'\\''s; \$(touch $SCRATCH/run)' makes it"
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
    if !common::needs("qemu-system-x86_64") {
        return;
    }
    sandbox(
        r#"
        mkdir -p "$SCRATCH/dev/upper" "$SCRATCH/dev/work"
        mount -t overlay overlay -o "lowerdir=/dev,upperdir=$SCRATCH/dev/upper,workdir=$SCRATCH/dev/work" /dev
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

        for name in qemu-ifup qemu-ifdown; do
            refused outsider sh -c "/etc/$name tap8"
            says "/etc/$name: Permission denied"
        done
        # A user's QEMU comes to its script only with a tap that it may open.
        /etc/qemu-ifup --owner 54322 tap8
        netdev=tap,id=n1,ifname=tap8,script=/etc/qemu-ifup,downscript=no
        refused outsider bash -c "qemu -netdev $netdev"
        same "$said" "qemu-system-x86_64: -netdev $netdev: network script /etc/qemu-ifup failed with status 256"
        for netdev in {bridge,tap},id=n1,br=br0,helper=/etc/qemu-ifup; do
            refused outsider bash -c "qemu -netdev $netdev"
            same "$said" "qemu-system-x86_64: -netdev $netdev: bridge helper failed"
        done
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

#[test]
fn directories_that_cannot_be_written_are_found_before_anything_is_changed() {
    sandbox(
        r#"
        before=$(state)
        mount --bind /usr/local/sbin /usr/local/sbin
        mount -o remount,bind,ro /usr/local/sbin
        refused "$INSTALL" --from "$SCRATCH/v1"
        says "cannot write to /usr/local/sbin; nothing was changed"
        same "$before" "$(state)"
        umount /usr/local/sbin
        touch /etc/a-file
        refused "$INSTALL" --from "$SCRATCH/v1" --etc /etc/a-file
        says "/etc/a-file is not a directory; nothing was changed"
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn a_failure_at_the_last_name_puts_everything_back() {
    sandbox(
        r#"
        touch "$SCRATCH/pinned" /usr/local/sbin/qemu-ifdown
        mount --bind "$SCRATCH/pinned" /usr/local/sbin/qemu-ifdown # rename(2) to a mount point: EBUSY
        before=$(state)
        refused "$INSTALL" --from "$SCRATCH/v1"
        says "installing /etc/qemu-ifdown"
        says "putting everything back"
        same "$before" "$(state)"
        "#,
    );
}

/// Defines `at_every_step HOW COMMAND...`: runs the command again and again. In the Nth run the Nth change that it makes
/// fails (HOW is `fail`) or ends with a SIGTERM for the script (`term`), until a run has no Nth change and so succeeds.
const FAULTS: &str = r#"
mkdir "$SCRATCH/faulty"
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
        echo foreign >/usr/local/sbin/qemu-ifup
        make_group guests 54331
        at_every_step fail "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
        [ "$steps" -gt 12 ]
        [ "$(cat /etc/qemu-ifup)" = "qemu-ifup one" ]
        at_every_step fail "$INSTALL" --from "$SCRATCH/v2"
        "#
    ));
}

#[test]
fn an_install_that_is_ended_by_a_signal_leaves_everything_as_it_was() {
    sandbox(&format!(
        r#"{FAULTS}
        echo foreign >/usr/local/sbin/qemu-ifup
        make_group guests 54331
        at_every_step term "$INSTALL" --from "$SCRATCH/v1" --setcap=guests
        [ "$steps" -gt 12 ]
        at_every_step term "$INSTALL" --from "$SCRATCH/v2"
        "#
    ));
}

#[test]
fn an_uninstall_that_fails_at_any_step_leaves_everything_as_it_was() {
    sandbox(&format!(
        r#"{FAULTS}
        echo foreign >/usr/local/sbin/qemu-ifup
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
        nobody "$SCRATCH/install.sh" --from "$SCRATCH/v1" --etc "/etc/a b" --setcap | tail -n 1 >"$SCRATCH/said"
        same "$(cat "$SCRATCH/said")" "<sh><$SCRATCH/install.sh><--etc></etc/a b><--from><$SCRATCH/v1><--setcap>"
        nobody "$SCRATCH/install.sh" --from "$SCRATCH/v1" --setcap="the guests" | tail -n 1 >"$SCRATCH/said"
        same "$(cat "$SCRATCH/said")" "<sh><$SCRATCH/install.sh><--etc></etc><--from><$SCRATCH/v1><--setcap=the guests>"
        "#,
    );
}

/// A source tree in which cargo only tells how it was called.
const FAKE_CARGO: &str = r#"
mkdir -p "$SCRATCH/tree" "$SCRATCH/home/.cargo/bin"
cp "$INSTALL" "$SCRATCH/tree"
cat >"$SCRATCH/home/.cargo/bin/cargo" <<'END'
#!/bin/sh
echo "cargo $* flags=${RUSTFLAGS-none}${CARGO_ENCODED_RUSTFLAGS-}${CARGO_BUILD_RUSTFLAGS-} in $PWD" >>"$HOME/log"
END
printf '#!/bin/sh\necho "host: some-host-triple"\n' >"$SCRATCH/home/.cargo/bin/rustc"
printf '#!/bin/sh\necho "rustup $*" >>"$HOME/log"; exit ${RUSTUP_STATUS:-0}\n' >"$SCRATCH/home/.cargo/bin/rustup"
chmod +x "$SCRATCH/home/.cargo/bin/"*
# Only what the build needs: no cargo of this machine.
mkdir "$SCRATCH/bin"
for tool in sh dirname uname id sed env; do ln -s "$(command -v "$tool")" "$SCRATCH/bin"; done
build() { env -i PATH="$SCRATCH/bin" HOME="$SCRATCH/home" "$@" "$SCRATCH/tree/install.sh" --build; }
musl=$(uname -m)-unknown-linux-musl
"#;

#[test]
fn the_build_is_for_musl_and_no_flags_from_outside_change_it() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            [ "$(build RUSTFLAGS=-g CARGO_ENCODED_RUSTFLAGS=-g CARGO_BUILD_RUSTFLAGS=-g CARGO_TARGET_DIR="$SCRATCH/t t")" = "$SCRATCH/t t/$musl/release" ]
            same "$(cat "$SCRATCH/home/log")" "rustup target add $musl
cargo build --release --locked --bins --target $musl --target-dir $SCRATCH/t t flags=none in $SCRATCH/tree"
            "#
        ),
    );
}

#[test]
fn the_build_is_for_the_host_where_musl_cannot_be_had() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            [ "$(build RUSTUP_STATUS=1)" = "$SCRATCH/tree/target/some-host-triple/release" ]
            "#
        ),
    );
}

#[test]
fn without_cargo_what_is_already_built_is_taken() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            rm "$SCRATCH/home/.cargo/bin/cargo"
            refused build
            says "cargo is not there, and nothing is built yet"
            stand_ins "$SCRATCH/tree/target/x-y-z/release" built
            [ "$(build)" = "$SCRATCH/tree/target/x-y-z/release" ]
            "#
        ),
    );
}

#[test]
fn under_sudo_the_build_is_done_by_the_caller() {
    if !nix::unistd::geteuid().is_root() {
        common::skip(&common::test_name(), "not root");
        return;
    }
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            printf '#!/bin/sh\nprintf "<%%s>" "$@"\n' >"$SCRATCH/bin/sudo"
            chmod +x "$SCRATCH/bin/sudo"
            same "$(build SUDO_USER=somebody)" \
                "<-u><somebody><-H><env><CARGO_TARGET_DIR=$SCRATCH/tree/target><sh><$SCRATCH/tree/install.sh><--build>"
            "#
        ),
    );
}
