#!/bin/sh
# Builds and installs qemu-ifup and qemu-ifdown, or removes them: see --help.
#
# Order: check everything, stage the new files under temporary names, and only then swap them in with rename(2).
# Whatever fails before the end is undone, newest step first.
set -eu
umask 022

help() {
    cat <<'EOF'
Usage: [sudo] [PREFIX=DIR] ./install.sh [OPTIONS]
Builds qemu-ifup and qemu-ifdown and installs them to PREFIX/bin, with links in /etc, where QEMU looks for them, and manual
pages, documents and completions for bash, zsh and fish in PREFIX/share, and
a unit for systemd in PREFIX/lib/systemd/system. PREFIX is /usr/local where nothing else is said.

      --setcap[=GROUP]
                   let unprivileged users create taps: give qemu-ifup cap_net_admin
                   (/etc/qemu/bridge.conf says on which bridges);
                   with GROUP, a name, only its members and root can run qemu-ifup.
                   To delete their taps, users need no privilege
      --bridge-helper
                   put qemu-ifup in the place of QEMU's own qemu-bridge-helper, which -nic bridge runs
      --from DIR   do not build; install the programs already built in DIR
      --build      only build, and print the directory with the programs
      --uninstall  remove what was installed and put back what was there before
  -h, --help       show this

Files of a Debian package that are in the way are diverted (dpkg-divert) to NAME.distrib, others are kept as NAME.orig;
--uninstall puts both back. What an earlier installation had in other places, or with other options, is removed.
/etc/qemu-ifup.conf is never touched.

Environment: PREFIX; CARGO_TARGET_DIR; DESTDIR, for packagers: all but the links is copied to DESTDIR/PREFIX, and
nothing else is done (no links in /etc, nothing recorded).
EOF
}

trap '' PIPE # a reader that went away (`| head -1`) must not end it half way
say() { printf '%s\n' "$*" 2>/dev/null || :; }
warn() { printf 'install.sh: %s\n' "$*" >&2 || :; }
fail() { warn "$*"; exit 1; }
usage_error() { warn "$* (see --help)"; exit 2; }

sudo=${SUDO_UID:+sudo } # for commands that whoever called this is to run

quote() { printf "'%s'" "$(say "$1" | sed "s/'/'\\\\''/g")"; } # as one word for a shell
absolute() { case $1 in /*) say "$1" ;; *) say "$PWD/$1" ;; esac; }
exists() { [ -e "$1" ] || [ -L "$1" ]; }
have_programs() { [ -x "$1/qemu-ifup" ] && [ -x "$1/qemu-ifdown" ]; }

# --- Undo -----------------------------------------------------------------------------------------------------------

# Lines "VERB PATH", newest first. A line is noted before its step is taken (the steps back do nothing where there is
# nothing to do), so that a signal between the two leaves nothing behind.
undo=
on_failure() {
    undo="$1 $2
$undo"
}

undo_step() {
    case $1 in
    remove) rm -f -- "$2" ;;
    rmdir) [ ! -d "$2" ] || rmdir -- "$2" ;;
    take-back) ! exists "$2.qemu-ifup-old" || mv -fT -- "$2.qemu-ifup-old" "$2" ;;
    restore) ! exists "$2.orig" || mv -fT -- "$2.orig" "$2" ;;
    unrestore) exists "$2.orig" || mv -fT -- "$2" "$2.orig" ;;
    undivert) dpkg-divert --quiet --local --rename --remove "$2" ;;
    divert) dpkg-divert --quiet --local --rename --divert "$2.distrib" --add "$2" ;;
    esac
}

at_exit() {
    status=$?
    trap - EXIT
    trap '' HUP INT TERM # the way back must not be cut short
    [ -n "$undo" ] || exit "$status"
    warn "failed, putting everything back"
    while IFS= read -r line; do
        [ -z "$line" ] || undo_step "${line%% *}" "${line#* }" || warn "could not undo: $line"
    done <<EOF
$undo
EOF
    [ "$status" -ne 0 ] || status=1
    exit "$status"
}
trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- What is ours ---------------------------------------------------------------------------------------------------

# The manifest has a line "VERB SHA256 PATH" for each thing installed, kept as .orig, diverted or made.
# A file is ours when its path and checksum (of a link: of where it points) stand there. So nothing foreign is ever run
# to find out what it is, and a file of ours that somebody edited counts as foreign: it is kept, never lost.
manifest=/usr/local/share/qemu-ifup/manifest # whatever PREFIX is: there is one /etc

fingerprint() {
    if [ -L "$1" ]; then readlink -- "$1"; else cat -- "$1"; fi | sha256sum | cut -d ' ' -f 1
}
recorded() { printf '%s\n' "$known" | grep -qxF -e "$*"; }
is_ours() { { [ -f "$1" ] || [ -L "$1" ]; } && recorded "installed $(fingerprint "$1") $1"; }
is_foreign() { exists "$1" && ! is_ours "$1"; }

diverted() { [ -n "$(dpkg-divert --listpackage "$1" 2>/dev/null)" ]; }
packaged() { dpkg-query -S "$1" >/dev/null 2>&1; }
# The paths of Debian's scripts are diverted whether the package is there or not: it would find ours in the place of its
# conffile when it comes, and stay unconfigured. Another path of a package is, even while the file is missing.
must_divert() {
    case $1 in /usr/local/*) return 1 ;; esac # no package may own anything there
    command -v dpkg-divert >/dev/null && ! diverted "$1" || return 1
    case $1 in /etc/qemu-ifup | /etc/qemu-ifdown) return 0 ;; esac
    packaged "$1"
}
# What is a package's moves to the diverted name; anybody else's file is kept as .orig.
must_keep() { is_foreign "$1" && ! { must_divert "$1" && packaged "$1"; }; }

check_writable() { # PATH: the directory of it, or the nearest one that is there
    dir=$(dirname -- "$1")
    while ! exists "$dir"; do dir=$(dirname -- "$dir"); done
    [ -d "$dir" ] || fail "$dir is not a directory; nothing was changed"
    [ -w "$dir" ] || fail "cannot write to $dir; nothing was changed"
}

# A copy, not a move: at no time is there no file under this name.
copy_aside() { # PATH SUFFIX UNDO-VERB
    rm -f -- "$1.qemu-ifup-old"
    on_failure remove "$1$2"
    cp -a -- "$1" "$1$2"
    on_failure "$3" "$1"
}

# --- Build ----------------------------------------------------------------------------------------------------------

get_rust='get Rust from https://rustup.rs (Debian 13 or newer: apt install rustup && rustup default stable)'

is_static() { # DIR
    for name in qemu-ifup qemu-ifdown; do
        if ldd "$1/$name" 2>/dev/null | grep -q '=>'; then return 1; fi
    done
}

already_built() { # prints the directory with the programs
    for dir in "$target"/*-musl*/release "$target"/*/release; do
        if have_programs "$dir" && is_static "$dir"; then
            warn "cargo was not found: taking what is already built in $dir"
            say "$dir"
            return
        fi
    done
    fail "cargo was not found, and nothing is built yet: $get_rust, or use --from DIR"
}

build() { # prints the directory with the programs
    if have_programs "$top/bin"; then # a tarball of packaging/build
        say "$top/bin"
        return
    fi
    PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
    command -v cargo >/dev/null || { already_built; return; }
    cd -- "$top"
    rust=$(rustc -vV) || fail "rustc does not run; if it is rustup's: rustup default stable; nothing was changed"
    version=$(say "$rust" | sed -n 's/^release: \([0-9.]*\).*/\1/p')
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" = "$needed" ] ||
        fail "Rust $needed or newer is needed, and this is $version: rustup update; without rustup, $get_rust, or a newer one from backports (Debian 13: apt install -t trixie-backports cargo); nothing was changed"

    host=$(say "$rust" | sed -n 's/^host: //p')
    musl=$(say "$host" | sed 's/-gnu/-musl/')
    triple=$musl
    [ -d "$(rustc --print target-libdir --target "$musl" 2>/dev/null)" ] ||
        rustup target add "$musl" >/dev/null 2>&1 ||
        triple=$host # static as well, only larger
    unset CARGO_ENCODED_RUSTFLAGS               # RUSTFLAGS would not count
    export RUSTFLAGS='-C target-feature=+crt-static' # with --target, not for what runs during the build
    work=$(mktemp -d)
    {
        cargo build --release --locked --bins --target "$triple" --target-dir "$target" 2>&1 || : >"$work/failed"
    } | { tee "$work/log" >&2 || :; } # its reader may go away
    cause=$(if exists "$work/failed"; then explain "$work/log"; fi)
    rm -rf -- "$work"
    [ -z "$cause" ] || fail "the build failed: $cause; nothing was changed"
    is_static "$target/$triple/release" ||
        fail "the programs in $target/$triple/release are not static; nothing was changed"
    say "$target/$triple/release"
}

explain() { # LOG: what failed, and what to do
    if grep -q 'linker .* not found' "$1"; then
        say "there is no linker: install a C compiler (Debian: apt install gcc libc6-dev; Fedora: dnf install gcc)"
    elif grep -qE 'cannot find -l|unable to find library -l|cannot open [^ ]*crt[^ ]*\.o|cannot find [^ ]*crt[^ ]*\.o' "$1"; then
        say "there is no static C library: rustup target add $musl; without rustup, install it (Debian: apt install libc6-dev; Fedora: dnf install glibc-static)"
    elif grep -qE 'undefined (reference|symbol)|GLIBC_[0-9.]+. not found' "$1"; then
        say "the C library (glibc) is too old for this Rust: rustup target add $musl, which brings its own"
    elif grep -qE 'failed to download|[Cc]ould not resolve|[Cc]ould ?n.t connect|network failure|unable to update registry' "$1"; then
        say "cannot download the crates: check the network and the proxy (cargo fetch --locked gets them beforehand)"
    else
        say "see above"
    fi
}

build_as_invoker() { # under sudo cargo is the caller's, and what it writes must stay theirs
    if [ "$(id -u)" -eq 0 ] && [ "${SUDO_USER:-root}" != root ]; then
        sudo -u "$SUDO_USER" -H env "CARGO_TARGET_DIR=$target" sh "$top/install.sh" --build
    else
        build
    fi
}

# --- Install --------------------------------------------------------------------------------------------------------

each_item() { # calls "$1 KIND SOURCE PATH" for every thing that is installed
    for name in qemu-ifup qemu-ifdown; do
        "$1" program "$bin/$name" "$prefix/bin/$name"
    done
    for page in "$top"/man/*.[58]; do
        [ -f "$page" ] || continue # there is none: the pattern itself
        "$1" page "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
    done
    for page in "$top"/docs/*; do
        case $page in *.svg) continue ;; esac # plots of speed.md, for a reader with a browser
        [ -f "$page" ] || continue
        "$1" page "$page" "$prefix/share/doc/qemu-ifup/${page##*/}"
    done
    for name in qemu-ifup qemu-ifdown; do # bash and fish look for a file with the name of the program
        "$1" page "$top/completions/qemu-ifup.bash" "$prefix/share/bash-completion/completions/$name"
        "$1" page "$top/completions/qemu-ifup.fish" "$prefix/share/fish/vendor_completions.d/$name.fish"
    done
    zsh=$prefix/share/zsh/site-functions
    # Debian's zsh does not look there for what is not in /usr/local.
    if [ -z "$DESTDIR" ] && [ -d "$prefix/share/zsh/vendor-completions" ]; then zsh=$prefix/share/zsh/vendor-completions; fi
    "$1" page "$top/completions/_qemu-ifup" "$zsh/_qemu-ifup"
    case $prefix in
    *[!A-Za-z0-9/._-]*) ;; # which systemd would read as something else
    *) "$1" unit "$top/systemd/qemu-tap@.service" "$prefix/lib/systemd/system/qemu-tap@.service" ;;
    esac
    [ -z "$DESTDIR" ] || return 0
    for name in qemu-ifup qemu-ifdown; do
        "$1" link "$prefix/bin/$name" "/etc/$name"
    done
    for path in $helpers; do
        "$1" link "$prefix/bin/qemu-ifup" "$path"
    done
}

pack() { # KIND SOURCE PATH: for DESTDIR
    mkdir -p -- "$(dirname -- "$DESTDIR$3")"
    copy "$1" "$2" "$DESTDIR$3"
}

copy() { # KIND SOURCE PATH
    rm -f -- "$3"
    if [ "$1" = unit ]; then sed "s|=/usr/bin/|=$prefix/bin/|" "$2" >"$3"; else cp -- "$2" "$3"; fi
    if [ "$1" = program ]; then chmod 0755 -- "$3"; else chmod 0644 -- "$3"; fi
}

# Where QEMU looks for its helper was compiled into it: Debian, Arch and Alpine; Fedora; openSUSE.
find_helpers() {
    for path in /usr/lib/qemu /usr/libexec /usr/libexec/qemu; do
        path=$path/qemu-bridge-helper
        if exists "$path"; then helpers="$helpers $path"; fi
    done
    [ -n "$helpers" ] ||
        fail "there is no qemu-bridge-helper in /usr/lib/qemu, /usr/libexec or /usr/libexec/qemu: install QEMU first; nothing was changed"
}

wanted= # the paths of this installation
check() { # KIND SOURCE PATH
    wanted="$wanted$3
"
    check_writable "$3"
    if [ -d "$3" ] && [ ! -L "$3" ]; then fail "$3 is a directory; nothing was changed"; fi
    if must_divert "$3"; then
        exists "$3.distrib" && fail "$3.distrib is in the way of diverting $3; nothing was changed"
        record diverted - "$3"
    fi
    if must_keep "$3"; then
        exists "$3.orig" && fail "$3 is not ours, and there is a $3.orig already: remove one of them; nothing was changed"
        record kept - "$3"
    fi
}

records= # what the manifest is going to gain
record() {
    records="$records$*
"
}

make_dir() { # PATH; its parents one by one, so that each can be undone
    [ -d "$1" ] || {
        make_dir "$(dirname -- "$1")"
        on_failure rmdir "$1"
        mkdir -- "$1"
        record made - "$1"
    }
}

stage() { # KIND SOURCE PATH: all that can fail for want of space or of capabilities
    new=$3.qemu-ifup-new
    make_dir "$(dirname -- "$3")"
    on_failure remove "$new"
    if [ "$1" = link ]; then
        rm -f -- "$new"
        ln -s -- "$2" "$new"
    else
        copy "$1" "$2" "$new"
    fi
    if [ "$1" = program ] && [ "${3##*/}" = qemu-ifup ]; then
        if [ -n "$group" ]; then
            chmod 0750 -- "$new"
            chown -- "root:$group" "$new"
        fi
        # Last: chown(2) takes capabilities away, and at no time may everybody run what has them for a group only.
        if [ "$setcap" = yes ]; then setcap cap_net_admin+ep "$new"; fi
    fi
    record installed "$(fingerprint "$new")" "$3"
}

put() { # KIND SOURCE PATH
    if must_keep "$3"; then
        say "keeping $3 as $3.orig"
        copy_aside "$3" .orig restore
    fi
    if must_divert "$3"; then
        say "diverting $3 to $3.distrib"
        rename=--no-rename # what stands there now is ours, kept, or nothing
        if is_foreign "$3" && packaged "$3"; then rename=--rename; fi
        on_failure undivert "$3"
        dpkg-divert --quiet --local "$rename" --divert "$3.distrib" --add "$3"
    fi
    if is_ours "$3"; then
        look_at_privileges "$3"
        copy_aside "$3" .qemu-ifup-old take-back
    elif ! exists "$3"; then
        on_failure remove "$3"
    fi
    if [ "$1" = link ]; then say "linking $3 to $2"; else say "installing $3"; fi
    mv -fT -- "$3.qemu-ifup-new" "$3"
}

# What an earlier installation had in other places, or with other options.
remove_unwanted() { printf '%s' "$wanted" | grep -qxF -e "$1" || remove "$1"; }

lost_capability=no lost_group=''
look_at_privileges() { # PATH of ours, before it is replaced or removed
    [ ! -L "$1" ] || return 0
    if [ "$setcap" = no ] && getcap "$1" 2>/dev/null | grep -q cap_net_admin; then lost_capability=yes; fi
    if [ -z "$group" ] && [ "$(stat -c %a -- "$1")" = 750 ]; then lost_group=$(stat -c %G -- "$1"); fi
}

write_manifest() {
    on_failure remove "$manifest.qemu-ifup-new"
    printf '%s\n' "$known" "$records" | sed '/^$/d' | sort -u >"$manifest.qemu-ifup-new"
    mv -fT -- "$manifest.qemu-ifup-new" "$manifest"
}

# The exact name has to come back: for getent "+0" is a number, and for chown it would be one too.
check_group() {
    command -v getent >/dev/null || fail "--setcap=GROUP needs getent; nothing was changed"
    entry=$(getent group "$group" 2>/dev/null || :)
    [ "${entry%%:*}" = "$group" ] ||
        fail "there is no group $(quote "$group") (${sudo}groupadd --system $(quote "$group") creates it); nothing was changed"
}

install() {
    have_programs "$bin" || fail "$bin does not have both qemu-ifup and qemu-ifdown; nothing was changed"
    if [ -n "$DESTDIR" ]; then
        each_item pack
        return
    fi
    if packaged /usr/bin/qemu-ifup || rpm -q qemu-ifup >/dev/null 2>&1; then
        fail "the package qemu-ifup is installed: remove it first (apt remove qemu-ifup, or dnf remove qemu-ifup); nothing was changed"
    fi
    if [ "$setcap" = yes ]; then
        command -v setcap >/dev/null || fail "--setcap needs setcap (Debian: apt install libcap2-bin); nothing was changed"
    fi
    [ -z "$group" ] || check_group
    [ "$helper" = no ] || find_helpers
    check_writable "$manifest"
    each_item check
    each_path check_removal installed
    each_item stage
    make_dir "$(dirname -- "$manifest")"
    if [ -f "$manifest" ]; then
        copy_aside "$manifest" .qemu-ifup-old take-back
    else
        on_failure remove "$manifest"
    fi
    write_manifest # before the first swap: after a power cut in between, a second run still knows what is whose
    each_item put
    before=$known
    each_path remove_unwanted installed
    each_line forget "$removed"
    write_manifest
    undo= # the point of no return: what follows only cleans up
    known=$before
    each_path forget_copy installed
    rm -f -- "$manifest.qemu-ifup-old"
    each_path remove_empty made
    advise
}

# A helper of QEMU's with privileges of its own reads the same bridge.conf, and not the lines that bind users.
note_other_helpers() {
    grep -Eqs '^[^#]*--(isolated|guard|root-block|no-|learning|flood|mcast-flood|neigh-suppress|lock-mac|pvid|vlans|owner|group|max-taps)' \
        /etc/qemu-ifup.conf || return 0
    for other in /usr/lib/qemu /usr/libexec /usr/libexec/qemu; do
        other=$other/qemu-bridge-helper
        if [ ! -f "$other" ] || is_ours "$other"; then continue; fi
        if [ -u "$other" ]; then
            ends="chmod u-s"
        elif [ -n "$(getcap "$other" 2>/dev/null)" ]; then
            ends="setcap -r"
        else
            continue
        fi
        say "note: $other has a privilege of its own and ignores /etc/qemu-ifup.conf, so that users get around its lines; this ends it: $sudo$ends $other"
    done
}

advise() {
    if [ "$setcap" = yes ]; then
        say "$prefix/bin/qemu-ifup has cap_net_admin"
        note_other_helpers
    fi
    if [ -n "$group" ]; then
        say "only root and members of $(quote "$group") can run it (${sudo}usermod -aG $(quote "$group") USER adds one)"
    fi
    again=--setcap
    [ -z "$lost_group" ] || again=--setcap=$(quote "$lost_group")
    if [ "$lost_capability" = yes ]; then
        say "note: qemu-ifup had cap_net_admin and no longer has it; $again gives it back"
    fi
    if [ -n "$lost_group" ]; then
        say "note: only root and members of $(quote "$lost_group") could run qemu-ifup, and now everybody can; $again restricts it again"
    fi
    if [ "$helper" = yes ] && [ "$setcap" = no ]; then
        say "note: as the bridge helper of users without root qemu-ifup needs --setcap"
    fi
    case $removed in *qemu-bridge-helper*)
        say "note: QEMU runs its own bridge helper again; --bridge-helper puts qemu-ifup in its place" ;;
    esac
    local_profile=/etc/apparmor.d/local/usr.sbin.libvirtd
    if [ "$prefix" != /usr ] && [ -f /etc/apparmor.d/usr.sbin.libvirtd ] &&
        ! grep -qsF "$prefix/bin/qemu-ifup PUx," "$local_profile"; then
        say "note: AppArmor keeps libvirtd from running them in $prefix/bin; lines for $local_profile that let it:"
        say "  $prefix/bin/qemu-ifup PUx,"
        say "  $prefix/bin/qemu-ifdown PUx,"
        say "and then: ${sudo}apparmor_parser -r /etc/apparmor.d/usr.sbin.libvirtd"
    fi
    program=$prefix/bin/qemu-ifup
    if [ "$(command -v qemu-ifup)" = "$program" ]; then program=qemu-ifup; fi
    say "next: ${sudo}$program --check"
}

# --- Uninstall ------------------------------------------------------------------------------------------------------

each_line() { # calls "$1 LINE" for each line of $2
    while IFS= read -r line; do
        [ -z "$line" ] || "$1" "$line"
    done <<EOF
$2
EOF
}
each_path() { # calls "$1 PATH" for every path that the manifest lists as VERB $2
    each_line "$1" "$(printf '%s\n' "$known" | sed -n "s/^$2 [^ ]* //p" | sort -ru)"
}

check_removal() { ! exists "$1" || check_writable "$1"; }

removed='' left=no
remove() {
    if is_foreign "$1"; then
        warn "leaving $1: it is no longer what was installed"
        left=yes
        return
    fi
    removed="$removed$1
"
    if exists "$1"; then
        say "removing $1"
        look_at_privileges "$1"
        copy_aside "$1" .qemu-ifup-old take-back
        rm -f -- "$1"
    fi
    if recorded "diverted - $1" && diverted "$1"; then
        say "ending the diversion of $1"
        on_failure divert "$1"
        dpkg-divert --quiet --local --rename --remove "$1"
    fi
    if recorded "kept - $1" && exists "$1.orig"; then
        if exists "$1"; then
            say "leaving $1.orig: a package has brought its own $1 since"
        else
            say "putting back $1"
            on_failure unrestore "$1"
            mv -fT -- "$1.orig" "$1"
        fi
    fi
}

forget() { # PATH: the manifest's lines for it
    known=$(printf '%s\n' "$known" | while IFS= read -r entry; do
        [ "${entry#* * }" = "$1" ] || printf '%s\n' "$entry"
    done)
}
forget_copy() { rm -f -- "$1.qemu-ifup-old" "$1.qemu-ifup-new"; }
remove_empty() { rmdir -- "$1" 2>/dev/null || :; }

uninstall() {
    if [ ! -f "$manifest" ]; then
        say "nothing is installed (no $manifest)"
        return
    fi
    each_path check_removal installed
    check_writable "$manifest"
    each_path remove installed
    if [ "$left" = no ]; then
        on_failure take-back "$manifest"
        mv -fT -- "$manifest" "$manifest.qemu-ifup-old"
    fi
    undo=
    each_path forget_copy installed
    rm -f -- "$manifest.qemu-ifup-old"
    each_path remove_empty made
    for path in /etc/qemu-ifup.* /etc/qemu-ifdown.* /etc/qemu/bridge.conf; do
        ! exists "$path" || say "leaving $path: install.sh did not create it"
    done
    [ -z "$lost_group" ] || say "leaving the group $(quote "$lost_group")"
    [ "$left" = no ] || fail "not everything was removed"
}

# --- Main -----------------------------------------------------------------------------------------------------------

action=install from='' setcap=no group='' helper=no helpers=''
while [ $# -gt 0 ]; do
    case $1 in
    --from)
        [ $# -ge 2 ] || usage_error "$1 needs a directory"
        from=$2
        shift
        ;;
    --from=*) from=${1#*=} ;;
    --setcap)
        setcap=yes group=''
        case ${2:--} in -*) ;; *) usage_error "a group follows =, without a space: --setcap=$(quote "$2")" ;; esac
        ;;
    --setcap=*)
        setcap=yes group=${1#*=}
        # No numbers: one could be the name of one group and the number of another.
        case $group in *[!0-9]*) ;; *) usage_error "--setcap= needs the name of a group, not '$group'" ;; esac
        ;;
    --bridge-helper) helper=yes ;;
    --build) action=build ;;
    --uninstall) action=uninstall ;;
    -h | --help) help; exit ;;
    *) usage_error "unknown option '$1'" ;;
    esac
    shift
done

top=$(cd -- "$(dirname -- "$0")" && pwd)
target=$(absolute "${CARGO_TARGET_DIR:-$top/target}")
prefix=${PREFIX:-/usr/local}
prefix=${prefix%/}
case $prefix in /*) ;; *) usage_error "PREFIX needs an absolute directory" ;; esac
DESTDIR=${DESTDIR:-}
DESTDIR=${DESTDIR%/}
[ -z "$DESTDIR" ] || DESTDIR=$(absolute "$DESTDIR")
case $DESTDIR$prefix in *'
'*) usage_error "a directory name with a newline is not supported" ;; esac
if [ -n "$DESTDIR" ] && [ "$action$setcap$helper" != installnono ] && [ "$action" != build ]; then
    usage_error "DESTDIR is for packages: --setcap, --bridge-helper and --uninstall are done where they are installed"
fi
known=$(cat -- "$manifest" 2>/dev/null || :)

if [ "$action" = build ]; then
    build_as_invoker
    exit
fi

needs_sudo=no
if [ -z "$DESTDIR" ] && [ "$(id -u)" -ne 0 ]; then
    needs_sudo=yes
    command -v sudo >/dev/null || fail "only root can write to /etc and $prefix: run it as root, or set DESTDIR; nothing was changed"
fi

if [ "$action" = install ]; then
    if [ -n "$from" ]; then bin=$(absolute "$from"); else bin=$(build_as_invoker); fi
    set -- --from "$bin"
    if [ "$setcap" = yes ]; then set -- "$@" "--setcap${group:+=$group}"; fi
    if [ "$helper" = yes ]; then set -- "$@" --bridge-helper; fi
else
    set -- --uninstall
fi

if [ "$needs_sudo" = yes ]; then
    say "this needs root: going on with sudo"
    exec sudo env "PREFIX=$prefix" sh "$top/install.sh" "$@"
fi

"$action"
