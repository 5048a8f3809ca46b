//! packaging/build, and the packages that it makes.

use crate::common::needs;
use crate::install::{orders, run_by};

/// Defines `checkout DIR`, `newer DIR`, which gives it another version, and `pack DIR OUT`, which takes stand-ins for the programs: busybox, which is static as well.
const PACK: &str = r##"
top=$(dirname "$INSTALL")
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
checkout() { # DIR
    mkdir -p "$1"
    tar -C "$top" --exclude=./target --exclude=./fuzz/target --exclude=./.git -c . | tar -C "$1" --no-same-owner -x
    git -C "$1" init -q
    commit "$1"
}
commit() { # DIR
    git -C "$1" add -A
    git -C "$1" -c user.name=tester -c user.email=tester@example.org commit -q -m test --date @1700000000
}
newer() { # DIR
    sed -i 's/^version = .*/version = "99.0.0"/' "$1/Cargo.toml"
    sed -i '/^name = "qemu-ifup"/{n;s/.*/version = "99.0.0"/}' "$1/Cargo.lock"
    commit "$1"
}
export GIT_COMMITTER_DATE='@1700000000 +0000'
mkdir "$SCRATCH/fake"
real=$(command -v cargo)
cat >"$SCRATCH/fake/cargo" <<END
#!/bin/sh
[ "\$1" = build ] || exec "$real" "\$@"
while [ "\$1" != --target ]; do shift; done
mkdir -p "\$4/\$2/release"
for name in qemu-ifup qemu-ifdown; do cp "\${PROGRAM:-$(command -v busybox)}" "\$4/\$2/release/\$name"; done
END
chmod +x "$SCRATCH/fake/cargo"
pack() { PATH=$SCRATCH/fake:$PATH ARCHITECTURES=x86_64 "$1/packaging/build" "$2" >"$SCRATCH/log" 2>&1 || { cat "$SCRATCH/log" >&2; return 1; }; }
"##;

fn tools() -> bool {
    ["git", "python3", "rpmbuild", "dpkg-deb", "busybox", "cargo"]
        .into_iter()
        .all(needs)
}

/// Runs a script that has what [`PACK`] defines.
fn run_with_pack(script: &str) {
    if tools() {
        run_by("bash", &[], "", &format!("{PACK}\n{script}"));
    }
}

/// `QEMU_IFUP_PACKAGES=all` takes every architecture.
#[test]
fn two_builds_are_the_same_in_every_file_and_lintian_is_content() {
    if !needs("lintian") {
        return;
    }
    run_with_pack(
        r#"
        [ "${QEMU_IFUP_PACKAGES:-}" = all ] || export ARCHITECTURES=x86_64
        checkout "$SCRATCH/one"
        checkout "$SCRATCH/another/place"
        ln -s "${CARGO_HOME:-$HOME/.cargo}" "$SCRATCH/home"
        "$SCRATCH/one/packaging/build" "$SCRATCH/1" >&2
        (umask 077; CARGO_HOME=$SCRATCH/home "$SCRATCH/another/place/packaging/build" "$SCRATCH/2" >&2)
        diff -r "$SCRATCH/1" "$SCRATCH/2" >&2
        [ "$(ls "$SCRATCH/1" | wc -l)" -ge 5 ]
        (cd "$SCRATCH/1" && sha256sum -c --quiet SHA256SUMS)

        same "" "$(lintian --allow-root --fail-on none "$SCRATCH"/1/*.deb)"

        # What the tarball installs is what the checkout does.
        tar -C "$SCRATCH" -xzf "$SCRATCH"/1/*-x86_64.tar.gz
        DESTDIR=$SCRATCH/a "$SCRATCH"/qemu-ifup-*/install.sh
        DESTDIR=$SCRATCH/b "$INSTALL" --from "$SCRATCH"/qemu-ifup-*/bin
        diff -r "$SCRATCH/a" "$SCRATCH/b" >&2
        [ "$("$SCRATCH/a/usr/local/bin/qemu-ifup" --version | cut -d' ' -f1)" = qemu-ifup ]
        "#,
    );
}

#[test]
fn what_must_not_be_published_is_refused() {
    run_with_pack(
        r#"
        checkout "$SCRATCH/one"
        refused env PROGRAM=/bin/true PATH="$SCRATCH/fake:$PATH" "$SCRATCH/one/packaging/build" "$SCRATCH/out1"
        says "is not static"
        { cat "$(command -v busybox)"; echo "$SCRATCH/one/src/lib.rs"; } >"$SCRATCH/named"
        refused env PROGRAM="$SCRATCH/named" PATH="$SCRATCH/fake:$PATH" "$SCRATCH/one/packaging/build" "$SCRATCH/out2"
        says "contains $SCRATCH/one"
        echo >>"$SCRATCH/one/README.md"
        refused "$SCRATCH/one/packaging/build" "$SCRATCH/out3"
        says "changes that are not committed"
        absent "$SCRATCH/out3"

        # A crate without a text of its licence: ours.
        cp -r "$SCRATCH/one" "$SCRATCH/two"
        rm "$SCRATCH/two/LICENSE"
        refused "$SCRATCH/two/packaging/components" "$SCRATCH/c" "$SCRATCH/s"
        says "qemu-ifup"
        says "has no licence, or no text of it"
        "#,
    );
}

/// A root with a shell, for `on_root ARGUMENTS` of rpm.
const ROOT: &str = r##"
checkout "$SCRATCH/one"
pack "$SCRATCH/one" "$SCRATCH/out"
root=$SCRATCH/root
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc"
mount --bind /proc "$root/proc"
mknod "$root/dev/null" c 1 3
cp "$(command -v busybox)" "$root/bin"
for applet in sh readlink mv ln rm; do ln -s busybox "$root/bin/$applet"; done
on_root() { rpm --root "$root" --nodeps "$@" 2>&1 | { grep -v '^rpm: ' || :; }; }
"##;

fn run_with_rpm(script: &str) {
    if needs("rpm") && tools() {
        let script = format!("{PACK}\n{ROOT}\n{script}");
        run_by("unshare", &["--mount", "bash"], "", &script);
    }
}

#[test]
fn the_rpm_is_installed_verified_and_removed() {
    run_with_rpm(
        r#"
        echo mine >"$root/etc/qemu-ifup"
        same /bin/sh "$(rpm -qp --requires "$SCRATCH"/out/*.rpm | grep -v '^rpmlib(' | sort -u)"
        on_root -i "$SCRATCH"/out/*.rpm
        same "" "$(on_root -V qemu-ifup)"
        for name in qemu-ifup qemu-ifdown; do [ "$(readlink "$root/etc/$name")" = "/usr/bin/$name" ]; done
        [ "$(cat "$root/etc/qemu-ifup.orig")" = mine ]
        rm "$root/etc/qemu-ifdown"
        on_root -U --replacepkgs "$SCRATCH"/out/*.rpm
        absent "$root/etc/qemu-ifdown"
        same "" "$(on_root -V qemu-ifup)"
        on_root -e qemu-ifup
        same etc/qemu-ifup "$(cd "$root" && find . -name '*qemu*' -printf '%P\n')"
        [ "$(cat "$root/etc/qemu-ifup")" = mine ]
        mkdir -p "$root/usr/local/share/qemu-ifup"
        touch "$root/usr/local/share/qemu-ifup/manifest"
        said=$(on_root -i "$SCRATCH"/out/*.rpm)
        says "sudo ./install.sh --uninstall"
        absent "$root/usr/bin/qemu-ifup"
        "#,
    );
}

/// With the commands of docs/packages.md.
#[test]
fn an_upgrade_of_the_rpm_keeps_what_tmpfiles_d_gives_users_and_nothing_else() {
    if !needs("systemd-tmpfiles") || !needs("getcap") {
        return;
    }
    run_with_rpm(
        r#"
        newer "$SCRATCH/one"
        pack "$SCRATCH/one" "$SCRATCH/out2"
        tmpfiles=$(command -v systemd-tmpfiles)
        for file in "$tmpfiles" $(ldd "$tmpfiles" | grep -o '/[^ ]*'); do
            mkdir -p "$root${file%/*}"
            cp -L "$file" "$root$file"
        done
        for applet in tee chmod; do ln -s busybox "$root/bin/$applet"; done
        echo root:x:0:0::/:/bin/sh >"$root/etc/passwd"
        printf '%s\n' root:x:0: guests:x:998: >"$root/etc/group"
        mkdir -p "$root/etc/tmpfiles.d"
        rights() { stat -c '%a %u %g' "$root"/usr/bin/qemu-if{up,down} && getcap "$root"/usr/bin/qemu-if{up,down}; }
        nobody="755 0 0
755 0 0" members="4750 0 998
755 0 0"
        documented() { # TEXT: the command with that
            line=$(grep "^[a-z].*$1" "${INSTALL%/*}/docs/packages.md" | sed "s/GROUP/guests/; s/sudo //")
            same 1 "$(echo "$line" | wc -l)"
            chroot "$root" /bin/busybox sh -euc "PATH=$PATH; $line"
        }

        on_root -i "$SCRATCH"/out/*.rpm
        same "$nobody" "$(rights)"
        setcap cap_net_admin+ep "$root/usr/bin/qemu-ifup"
        on_root -U "$SCRATCH"/out2/*.rpm
        same "$nobody" "$(rights)"

        documented 'tee /etc/tmpfiles.d'
        documented 'systemd-tmpfiles --create'
        same "$members" "$(rights)"
        on_root -U --oldpackage "$SCRATCH"/out/*.rpm
        same "$members" "$(rights)"
        on_root -U "$SCRATCH"/out2/*.rpm
        same "$members" "$(rights)"
        on_root -e qemu-ifup
        on_root -i "$SCRATCH"/out2/*.rpm
        same "$members" "$(rights)"

        # Without its group the upgrade goes through, and gives nobody anything.
        sed -i /guests/d "$root/etc/group"
        said=$(on_root -U --replacepkgs "$SCRATCH"/out2/*.rpm)
        says guests
        same "$nobody" "$(rights)"

        echo guests:x:998: >>"$root/etc/group"
        documented 'systemd-tmpfiles --create'
        same "$members" "$(rights)"
        documented 'rm /etc/tmpfiles.d'
        documented 'chmod 755'
        same 755 "$(stat -c %a "$root/usr/bin/qemu-ifup" "$root/usr/bin/qemu-ifdown" | sort -u)"
        on_root -U --replacepkgs "$SCRATCH"/out2/*.rpm
        same "$nobody" "$(rights)"
        "#,
    );
}

/// Another `step` for `order`: ours is a package here.
const TRIED: &str = r##"
checkout "$SCRATCH/one"
pack "$SCRATCH/one" "$SCRATCH/out"
cp "$SCRATCH"/out/*.deb "$base/debs/ours.deb"
newer "$SCRATCH/one"
pack "$SCRATCH/one" "$SCRATCH/out2"
cp "$SCRATCH"/out2/*.deb "$base/debs/ours-new.deb"
stand_ins "$base/src/v1" one

step() {
    case $1 in
    ours) inside dpkg -i /debs/ours.deb ;;
    ours-new) inside dpkg -i /debs/ours-new.deb ;;
    gone) inside dpkg --remove qemu-ifup ;;
    forgotten) inside dpkg --purge qemu-ifup ;;
    unlinked) inside rm /etc/qemu-ifdown ;;
    restricted) inside dpkg-statoverride --update --add root games 4750 /usr/bin/qemu-ifup ;;
    still-restricted) [ "$(chroot "$root" stat -c '%G %a' /usr/bin/qemu-ifup)" = 'games 4750' ] && inside dpkg-statoverride --remove /usr/bin/qemu-ifup ;;
    *) by_others "$1" ;;
    esac || { echo "$order: $1 failed:"; cat "$SCRATCH/log"; return 1; } >&2
    case $1 in
    ours) ours=yes linked="qemu-ifup qemu-ifdown" ;;
    gone | forgotten) ours=no ;;
    own) linked=qemu-ifdown ;;
    unlinked) linked=qemu-ifup ;;
    esac
    same "" "$(chroot "$root" dpkg --audit)"
    if [ "$ours" = yes ]; then
        same "" "$(chroot "$root" dpkg -V qemu-ifup | grep -v ' /usr/share/\(man\|doc\)/' || :)"
        for name in $linked; do [ "$(readlink "$root/etc/$name")" = "/usr/bin/$name" ]; done
        [ "$(chroot "$root" dpkg-divert --truename /etc/qemu-ifup)" = /etc/qemu-ifup.distrib ]
        [ "$(chroot "$root" dpkg-divert --listpackage /etc/qemu-ifup)" = qemu-ifup ]
    else
        same "" "$(chroot "$root" dpkg-divert --list '/etc/qemu-*')"
    fi
}

order ours qemu gone
as_its_owner_had_it "$old"
order qemu ours gone forgotten
as_its_owner_had_it "$old"
order ours qemu forgotten
as_its_owner_had_it "$old"
order ours gone qemu
as_its_owner_had_it "$old"
order qemu ours gone ours ours-new gone # installed again while dpkg still knows it
as_its_owner_had_it "$old"
order ours qemu new ours-new gone
as_its_owner_had_it "$new"
order qemu ours ours-new new gone
as_its_owner_had_it "$new"
order qemu ours remove qemu gone
as_its_owner_had_it "$old"
order qemu ours remove gone qemu
as_its_owner_had_it "$old"
order qemu remove ours qemu gone
as_its_owner_had_it "$old"
order qemu ours unlinked ours-new gone
as_its_owner_had_it "$old"
order ours restricted ours-new still-restricted gone
same "" "$left"

# A conffile that was edited stays edited, and the link that was replaced stays replaced.
order qemu edit ours ours-new gone
same "$files" "$left"
same "$old
# edited" "$conffile"
order qemu ours own ours-new gone
same "etc/qemu-ifdown etc/qemu-ifup etc/qemu-ifup.dpkg-dist usr/lib/qemu/qemu-bridge-helper" "$left"
same "my own" "$conffile"
order own ours gone
same etc/qemu-ifup "$left"
same "my own" "$conffile"
order own ours qemu gone
same "etc/qemu-ifdown etc/qemu-ifup etc/qemu-ifup.orig usr/lib/qemu/qemu-bridge-helper" "$left"
same "$old" "$conffile"
# dpkg does not purge a conffile that is diverted.
order qemu ours purge gone
same "etc/qemu-ifdown etc/qemu-ifup" "$left"

# Not both at once.
order=both ours=no
mkdir -p "$SCRATCH/upper" "$SCRATCH/work"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$root"
inside env PREFIX=/usr /src/install.sh --from /src/v1
refused chroot "$root" dpkg -i /debs/ours.deb
says "remove that first: sudo ./install.sh --uninstall"
[ "$(readlink "$root/etc/qemu-ifup")" = /usr/bin/qemu-ifup ] # the links are not the package's
inside env PREFIX=/usr /src/install.sh --uninstall
inside dpkg -i /debs/ours.deb
refused chroot "$root" /src/install.sh --from /src/v1
says "apt remove qemu-ifup"
umount "$root"
"##;

fn in_every_order(suite: &str) {
    if !tools() {
        return;
    }
    if let Some(debian) = orders::debian(suite) {
        let arguments = ["--mount", "--net", "bash"];
        run_by("unshare", &arguments, &debian, &format!("{PACK}\n{TRIED}"));
    }
}

#[test]
fn debian_12_is_as_it_was_after_every_order_of_our_package_and_qemu() {
    in_every_order("bookworm");
}

#[test]
fn debian_13_is_as_it_was_after_every_order_of_our_package_and_qemu() {
    in_every_order("trixie");
}
