//! Ours and Debian's QEMU package, one after the other in every order, in a real Debian.

use crate::common::{needs, skip, test_name};
use crate::install::run_by;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::sync::Mutex;

/// Makes a Debian with what qemu-system-common depends on, and that package in two versions as /debs/1.deb and 2.deb, of which
/// the second has another /etc/qemu-ifup. Makes $CHROOT of it, for later runs.
const BUILD: &str = r##"
set -eu
mount -t tmpfs -o mode=755 tmpfs "$SCRATCH"
root=$SCRATCH/root
quiet() { "$@" >"$SCRATCH/log" 2>&1 || { tail -n 20 "$SCRATCH/log" >&2; exit 1; } }
quiet debootstrap --variant=minbase "$SUITE" "$root"
mount -t proc proc "$root/proc"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # it is a tmpfs
export DEBIAN_FRONTEND=noninteractive
quiet chroot "$root" apt-get install -y --no-install-recommends -o APT::Keep-Downloaded-Packages=true qemu-system-common
mkdir "$root/debs"
cp "$root"/var/cache/apt/archives/qemu-system-common_*.deb "$root/debs/1.deb"
quiet chroot "$root" sh -euc '
    dpkg --purge qemu-system-common
    dpkg-deb -R /debs/1.deb /new
    sed -i "s/^Version: .*/&+new/" /new/DEBIAN/control
    echo "# new" >>/new/etc/qemu-ifup
    dpkg-deb -b -Znone /new /debs/2.deb
    rm -r /new
    apt-get clean
    rm -rf /var/lib/apt/lists/*'
umount "$root/proc"
mkdir "$root/src" # for install.sh
tar -C "$root" --zstd -cf "$CHROOT.new" .
mv "$CHROOT.new" "$CHROOT"
"##;

/// Defines `order STEP...`, which does so in a fresh Debian, and looks after each step.
const ORDERS: &str = r##"
set -eu
mount -t tmpfs -o mode=755 tmpfs "$SCRATCH"
base=$SCRATCH/base root=$SCRATCH/root
mkdir "$base" "$root"
tar -C "$base" --zstd -xf "$CHROOT"
cp -r "$INSTALL" "${INSTALL%/*}/man" "${INSTALL%/*}/docs" "${INSTALL%/*}/completions" "${INSTALL%/*}/systemd" "$base/src"
mount --bind "$SCRATCH" "$SCRATCH" # a place that overlays are taken from
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$SCRATCH/log" 2>&1; }

# What QEMU's package leaves, and its script in the old and the new version.
files="etc/qemu-ifdown etc/qemu-ifup usr/lib/qemu/qemu-bridge-helper"
mkdir "$SCRATCH/deb"
dpkg-deb -R "$base/debs/1.deb" "$SCRATCH/deb"
old=$(cat "$SCRATCH/deb/etc/qemu-ifup")
new="$old
# new"

by_others() { # a step of QEMU's package, or of the administrator
    case $1 in
    qemu) inside dpkg -i /debs/1.deb ;;
    new) inside dpkg -i /debs/2.deb ;;
    new-confold) inside dpkg --force-confold -i /debs/2.deb ;;
    remove) inside dpkg --remove qemu-system-common ;;
    purge) inside dpkg --purge qemu-system-common ;;
    edit) inside sh -euc 'echo "# edited" >>"$(dpkg-divert --truename /etc/qemu-ifup)"' ;;
    own) inside sh -euc 'rm -f /etc/qemu-ifup; echo "my own" >/etc/qemu-ifup' ;;
    *) return 1 ;;
    esac
}
step() {
    case $1 in
    ours)
        helper=
        [ ! -e "$root/usr/lib/qemu/qemu-bridge-helper" ] || helper=--bridge-helper
        inside /src/install.sh --from /src/v1 $helper
        ;;
    gone) inside /src/install.sh --uninstall ;;
    *) by_others "$1" ;;
    esac || { echo "$order: $1 failed:"; cat "$SCRATCH/log"; return 1; } >&2
    [ "$1" != ours ] || ours=yes
    [ "$1" != gone ] || ours=no
    # Nothing is half configured, and whoever comes finds ours while it is installed.
    same "" "$(chroot "$root" dpkg --audit)"
    inside dpkg --configure -a
    if [ "$ours" = yes ]; then
        for name in qemu-ifup qemu-ifdown; do [ "$(chroot "$root" cat "/etc/$name")" = "$name one" ]; done
        [ "$(chroot "$root" dpkg-divert --truename /etc/qemu-ifup)" = /etc/qemu-ifup.distrib ]
        [ -z "$helper" ] || [ "$(readlink "$root/usr/lib/qemu/qemu-bridge-helper")" = /usr/local/bin/qemu-ifup ]
    fi
}
order() {
    order=$* ours=no
    mkdir -p "$SCRATCH/upper" "$SCRATCH/work"
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$root"
    for step in "$@"; do
        step "$step" || { echo "in the order: $order" >&2; return 1; }
    done
    left=$(cd "$root"; find etc usr/local usr/lib/qemu ! -type d \( -name '*qemu-if*' -o -name '*qemu-bridge-helper*' \) | sort)
    left=$(echo $left)
    conffile=$(cat "$root/etc/qemu-ifup" 2>/dev/null || :)
    verified=$(chroot "$root" dpkg -V qemu-system-common 2>&1 || :)
    same "" "$(chroot "$root" dpkg-divert --list | grep qemu || :)"
    umount "$root"
    rm -rf "$SCRATCH/upper" "$SCRATCH/work"
}
as_its_owner_had_it() { # what each order ends with
    same "$files" "$left"
    same "$1" "$conffile"
    same "" "$verified"
}
"##;

const TRIED: &str = r##"
stand_ins "$base/src/v1" one

order ours qemu gone
as_its_owner_had_it "$old"
order qemu ours gone
as_its_owner_had_it "$old"
order ours gone qemu
as_its_owner_had_it "$old"
order ours qemu ours gone
as_its_owner_had_it "$old"
order qemu ours qemu gone # installed again
as_its_owner_had_it "$old"
order ours qemu new gone
as_its_owner_had_it "$new"
order qemu ours new gone
as_its_owner_had_it "$new"
order qemu ours gone new
as_its_owner_had_it "$new"
order qemu ours remove qemu gone
as_its_owner_had_it "$old"
order qemu ours purge qemu gone
as_its_owner_had_it "$old"
order ours qemu purge gone qemu
as_its_owner_had_it "$old"

order qemu edit ours gone
same "$files" "$left"
same "$old
# edited" "$conffile"
order qemu ours edit new-confold gone
# The other version is where dpkg has put it for the administrator.
same "etc/qemu-ifdown etc/qemu-ifup etc/qemu-ifup.distrib.dpkg-dist usr/lib/qemu/qemu-bridge-helper" "$left"
same "$old
# edited" "$conffile"

order own ours gone
same etc/qemu-ifup "$left"
same "my own" "$conffile"
order own ours qemu gone
same "etc/qemu-ifdown etc/qemu-ifup etc/qemu-ifup.orig usr/lib/qemu/qemu-bridge-helper" "$left"
same "$old" "$conffile"
"##;

/// That Debian, as what defines $CHROOT, with [`ORDERS`] after it; it is fetched once. None where that cannot be.
pub fn debian(suite: &str) -> Option<String> {
    static FETCHING: Mutex<()> = Mutex::new(());

    if !["unshare", "debootstrap", "dpkg-deb", "zstd"]
        .into_iter()
        .all(needs)
    {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        skip(&test_name(), "not root");
        return None;
    }
    let _fetching = FETCHING.lock().unwrap_or_else(|e| e.into_inner());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut hasher = DefaultHasher::new();
    BUILD.hash(&mut hasher); // another BUILD makes another one
    let chroot = cache.join(format!("{suite}-{:x}.tar.zst", hasher.finish()));
    let with = |script: &str| format!("SUITE={suite} CHROOT='{}'\n{script}", chroot.display());
    if !chroot.exists() {
        run_by("unshare", &["--mount", "bash"], &with(BUILD), "");
        let owner = fs::metadata(cache).unwrap();
        chown(&chroot, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    Some(with(ORDERS))
}

fn in_every_order(suite: &str) {
    if let Some(debian) = debian(suite) {
        run_by("unshare", &["--mount", "--net", "bash"], &debian, TRIED);
    }
}

#[test]
fn debian_12_is_as_it_was_after_every_order_of_ours_and_qemu() {
    in_every_order("bookworm");
}

#[test]
fn debian_13_is_as_it_was_after_every_order_of_ours_and_qemu() {
    in_every_order("trixie");
}
