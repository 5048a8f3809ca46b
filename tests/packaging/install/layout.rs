//! PREFIX, DESTDIR, and the links in /etc.

use crate::common::needs;
use crate::install::{run, sandbox};

#[test]
fn with_destdir_the_programs_and_pages_are_copied_and_nothing_else_is_done() {
    run(
        "",
        r#"
        export DESTDIR="$SCRATCH/not there yet/a b"
        PREFIX=/usr "$INSTALL" --from "$SCRATCH/v1"
        same "usr/bin/qemu-ifdown 755
usr/bin/qemu-ifup 755
usr/lib/systemd/system/qemu-tap@.service 644
usr/share/bash-completion/completions/qemu-ifdown 644
usr/share/bash-completion/completions/qemu-ifup 644
usr/share/doc/qemu-ifup/clients.md 644
usr/share/doc/qemu-ifup/command-line.md 644
usr/share/doc/qemu-ifup/networks.md 644
usr/share/doc/qemu-ifup/packages.md 644
usr/share/doc/qemu-ifup/platforms.md 644
usr/share/doc/qemu-ifup/qemu-ifup.conf.example 644
usr/share/doc/qemu-ifup/speed.md 644
usr/share/doc/qemu-ifup/troubleshooting.md 644
usr/share/fish/vendor_completions.d/qemu-ifdown.fish 644
usr/share/fish/vendor_completions.d/qemu-ifup.fish 644
usr/share/man/man5/qemu-ifup.conf.5 644
usr/share/man/man8/qemu-ifdown.8 644
usr/share/man/man8/qemu-ifup.8 644
usr/share/zsh/site-functions/_qemu-ifup 644" "$(find "$DESTDIR" ! -type d -printf '%P %m\n' | sort)"
        PREFIX=/usr "$INSTALL" --from "$SCRATCH/v2"
        [ "$(cat "$DESTDIR/usr/bin/qemu-ifup")" = "qemu-ifup two" ]
        cd "$SCRATCH"
        DESTDIR=stage/ "$INSTALL" --from v1
        cmp v1/qemu-ifup stage/usr/local/bin/qemu-ifup
        "#,
    );
}

#[test]
fn the_programs_are_in_prefix_with_absolute_links_in_etc() {
    sandbox(
        r#"
        rm -rf /usr/local/share/man
        before=$(state)
        for prefix in /usr/local "/usr/local/a b" /usr; do
            PREFIX=$prefix/ "$INSTALL" --from "$SCRATCH/v1"
            for name in qemu-ifup qemu-ifdown; do
                cmp "$SCRATCH/v1/$name" "$prefix/bin/$name"
                [ "$(readlink "/etc/$name")" = "$prefix/bin/$name" ]
            done
            [ -f "$prefix/share/man/man8/qemu-ifup.8" ]
            if [ "$prefix" = /usr ] && [ -d /usr/share/zsh/vendor-completions ]; then zsh=vendor-completions; else zsh=site-functions; fi
            [ -f "$prefix/share/zsh/$zsh/_qemu-ifup" ]
            unit=$prefix/lib/systemd/system/qemu-tap@.service
            case $prefix in
            *" "*) absent "$unit" ;;
            *) grep -qxF "ExecStart=$prefix/bin/qemu-ifup %i" "$unit"
                grep -qxF "ExecStop=$prefix/bin/qemu-ifdown --delete %i" "$unit" ;;
            esac
            [ "$(find /usr/lib/systemd /usr/local -name 'qemu-tap*' | wc -l)" -le 1 ]
            # What is moved leaves nothing behind.
            [ "$(find /usr/bin /usr/share/{man,doc,bash-completion,zsh,fish} /usr/local /etc \
                -name '*qemu-if*' ! -name '*.distrib' ! -name '*.orig' |
                grep -v '^/usr/local/share/qemu-ifup$' | wc -l)" = 14 ]
        done
        PREFIX=/opt/ignored "$INSTALL" --uninstall
        same "$before" "$(state)"
        "#,
    );
}

#[test]
fn everything_works_through_the_links() {
    if !needs("qemu-system-x86_64") {
        return;
    }
    sandbox(
        r#"
        mkdir -p /etc/qemu
        cover dev
        chmod 0666 /dev/net/tun
        rm -rf /etc/qemu-ifup.conf
        printf 'allow br0\nallow br1\n' >/etc/qemu/bridge.conf
        for bridge in br0 br1; do
            ip link add "$bridge" type bridge
            ip link set "$bridge" up
        done
        "$INSTALL" --from "$BIN" --setcap
        ln -s qemu-ifup /etc/qemu-ifup.br1
        user() { setpriv --reuid 54321 --regid 54321 --clear-groups "$@"; }

        # qemu BRIDGE COMMAND...: this QEMU has a port in the bridge while it runs, and none afterwards.
        qemu() {
            local bridge=$1
            shift
            {
                for _ in $(seq 200); do
                    [ -z "$(ip link show up master "$bridge")" ] || break
                    sleep 0.05
                done
                ip link show up master "$bridge" >"$SCRATCH/ports"
                echo quit
            } | "$@" >/dev/null
            [ -s "$SCRATCH/ports" ]
            [ -z "$(ip link show master "$bridge")" ]
        }
        machine="timeout 20 qemu-system-x86_64 -accel tcg -machine none -nodefaults -display none -monitor stdio"
        qemu br0 $machine -netdev tap,id=n1 # the default scripts
        qemu br1 $machine -netdev tap,id=n1,script=/etc/qemu-ifup.br1
        qemu br1 user $machine -netdev bridge,id=n1,br=br1,helper=/etc/qemu-ifup.br1
        qemu br0 user $machine -netdev tap,id=n1,br=br0,helper=/etc/qemu-ifup
        "#,
    );
}

#[test]
fn the_line_that_apparmor_needs_is_printed_where_its_profile_is() {
    sandbox(
        r#"
        said=$("$INSTALL" --from "$SCRATCH/v1")
        [[ $said != *AppArmor* ]]
        mkdir -p /etc/apparmor.d/local
        touch /etc/apparmor.d/usr.sbin.libvirtd
        said=$("$INSTALL" --from "$SCRATCH/v1")
        says "/etc/apparmor.d/local/usr.sbin.libvirtd"
        says "
  /usr/local/bin/qemu-ifup PUx,
  /usr/local/bin/qemu-ifdown PUx,
"
        grep PUx <<<"$said" >/etc/apparmor.d/local/usr.sbin.libvirtd
        said=$("$INSTALL" --from "$SCRATCH/v1")
        [[ $said != *AppArmor* ]]
        said=$(PREFIX=/usr/local/other "$INSTALL" --from "$SCRATCH/v1")
        says "/usr/local/other/bin/qemu-ifup PUx,"
        said=$(PREFIX=/usr "$INSTALL" --from "$SCRATCH/v1")
        [[ $said != *AppArmor* ]]
        "#,
    );
}

#[test]
fn the_next_step_is_named_as_it_can_be_typed() {
    sandbox(
        r#"
        export PATH=/usr/local/bin:$PATH
        said=$("$INSTALL" --from "$BIN" | tail -n 1)
        same "next: qemu-ifup --check" "$said"
        said=$(PREFIX=/usr/local/other "$INSTALL" --from "$BIN" | tail -n 1)
        same "next: /usr/local/other/bin/qemu-ifup --check" "$said"
        "#,
    );
}
