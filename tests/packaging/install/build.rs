//! --build.

use crate::common::{is_static, needs, skip, test_name};
use crate::install::run;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// A source tree in which cargo only tells how it was called.
const FAKE_CARGO: &str = r#"
mkdir -p "$SCRATCH/tree" "$SCRATCH/home/.cargo/bin"
cp "$INSTALL" "$(dirname "$INSTALL")/Cargo.toml" "$SCRATCH/tree"
tools=$SCRATCH/home/.cargo/bin
fake() { # NAME SCRIPT
    printf '#!/bin/sh\n%s\n' "$2" >"$tools/$1"
    chmod +x "$tools/$1"
}
fake cargo 'echo "cargo $* flags=${RUSTFLAGS-none}/${CARGO_ENCODED_RUSTFLAGS-none} in $PWD" >>"$HOME/log"'
rust() { fake rustc "printf 'release: $1\nhost: $2\n'"; }
rust 9.0.0-nightly i686-unknown-linux-gnu
fake rustup 'echo "rustup $*" >>"$HOME/log"; exit ${RUSTUP_STATUS:-0}'
# Only what the build needs: no cargo of this machine.
mkdir "$SCRATCH/bin"
for tool in sh dirname id sed env sort head grep mktemp tee rm ldd cat; do ln -s "$(command -v "$tool")" "$SCRATCH/bin"; done
build() { env -i PATH="$SCRATCH/bin" HOME="$SCRATCH/home" "$@" "$SCRATCH/tree/install.sh" --build; }
"#;

#[test]
fn the_build_is_static_for_rusts_own_host_and_no_flags_from_outside_change_it() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            [ "$(build RUSTFLAGS=-g CARGO_ENCODED_RUSTFLAGS=-g CARGO_BUILD_RUSTFLAGS=-g CARGO_TARGET_DIR="$SCRATCH/t t")" = "$SCRATCH/t t/i686-unknown-linux-musl/release" ]
            same "$(cat "$SCRATCH/home/log")" "rustup target add i686-unknown-linux-musl
cargo build --release --locked --bins --target i686-unknown-linux-musl --target-dir $SCRATCH/t t flags=-C target-feature=+crt-static/none in $SCRATCH/tree"
            rust 9.0.0 armv7-unknown-linux-gnueabihf
            [ "$(build)" = "$SCRATCH/tree/target/armv7-unknown-linux-musleabihf/release" ]
            rust 9.0.0 x86_64-alpine-linux-musl
            [ "$(build)" = "$SCRATCH/tree/target/x86_64-alpine-linux-musl/release" ]
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
            [ "$(build RUSTUP_STATUS=1)" = "$SCRATCH/tree/target/i686-unknown-linux-gnu/release" ]
            grep -q "target i686-unknown-linux-gnu .*flags=-C target-feature=+crt-static/none" "$SCRATCH/home/log"
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
            says "cargo was not found, and nothing is built yet: get Rust from https://rustup.rs (Debian 13 or newer: apt install rustup && rustup default stable)"
            stand_ins "$SCRATCH/tree/target/release" "of a developer"
            refused build
            stand_ins "$SCRATCH/tree/target/x-y-z/release" built
            [ "$(build)" = "$SCRATCH/tree/target/x-y-z/release" ]
            "#
        ),
    );
}

#[test]
fn a_rust_that_is_too_old_or_not_set_up_is_said_before_the_build() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            for version in 1.63.0 1.87.0 1.88.0; do
                rust "$version" i686-unknown-linux-gnu
                if [ "$version" = 1.88.0 ]; then build; continue; fi
                refused build
                says "Rust 1.88 or newer is needed, and this is $version: rustup update"
                says "apt install rustup"
                says "backports"
                absent "$SCRATCH/home/log"
            done
            fake rustc 'exit 1'
            refused build
            says "rustc does not run; if it is rustup's: rustup default stable"
            "#
        ),
    );
}

/// What cargo and the linkers say, and what is made of it.
const FAILURES: [(&str, &str); 9] = [
    (
        "error: linker `cc` not found",
        "there is no linker: install a C compiler (Debian: apt install gcc libc6-dev; Fedora: dnf install gcc)",
    ),
    (
        "  = note: /usr/bin/ld: cannot find -lc: No such file or directory",
        "there is no static C library: rustup target add i686-unknown-linux-musl; without rustup, install it (Debian: apt install libc6-dev; Fedora: dnf install glibc-static)",
    ),
    (
        "rust-lld: error: unable to find library -lc",
        "there is no static C library: rustup target add",
    ),
    (
        "/usr/bin/ld: cannot find crt1.o: No such file or directory",
        "there is no static C library: rustup target add",
    ),
    (
        "std.rs: undefined reference to `_Fork'",
        "the C library (glibc) is too old for this Rust: rustup target add i686-unknown-linux-musl, which brings its own",
    ),
    (
        "cargo: /lib/libc.so.6: version `GLIBC_2.34' not found (required by cargo)",
        "the C library (glibc) is too old for this Rust",
    ),
    (
        "  [6] Could not resolve hostname (Could not resolve host: index.crates.io)",
        "cannot download the crates: check the network and the proxy",
    ),
    (
        "error: failed to download from `https://index.crates.io/config.json`",
        "cannot download the crates: check the network and the proxy",
    ),
    ("error[E0308]: mismatched types", "see above"),
];

#[test]
fn each_failure_of_the_build_says_what_failed_and_what_to_install() {
    for (said, cause) in FAILURES {
        run(
            "",
            &format!(
                r#"{FAKE_CARGO}
                cat >"$SCRATCH/home/said" <<'END'
{said}
END
                fake cargo 'echo "   Compiling libc" >&2; cat "$HOME/said" >&2; exit 101'
                refused build
                says "$(cat "$SCRATCH/home/said")"
                says "the build failed: "'{cause}'
                says "; nothing was changed"
                "#
            ),
        );
    }
}

/// POSIX has tee(1) fail where it cannot write, and BusyBox's does.
#[test]
fn a_reader_of_its_output_that_goes_away_does_not_end_the_build() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            rm "$SCRATCH/bin/tee"
            fake tee 'cat >"$1"; exit 1'
            [ "$(build)" = "$SCRATCH/tree/target/i686-unknown-linux-musl/release" ]
            "#
        ),
    );
}

#[test]
fn a_result_that_is_not_static_is_refused() {
    run(
        "",
        &format!(
            r#"{FAKE_CARGO}
            rm "$SCRATCH/bin/ldd"
            fake ldd 'case $1 in */qemu-ifdown) echo "	libc.so.6 => /lib/libc.so.6 (0x1)";; *) echo "	statically linked";; esac'
            refused build
            says "the programs in $SCRATCH/tree/target/i686-unknown-linux-musl/release are not static; nothing was changed"
            "#
        ),
    );
}

#[test]
fn under_sudo_the_build_is_done_by_the_caller() {
    if !nix::unistd::geteuid().is_root() {
        skip(&test_name(), "not root");
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

/// Runs a program that builds, as the owner of the target directory: no file in it becomes root's.
fn as_the_builder(program: impl AsRef<Path>, args: &[&str], target: &Path) -> Output {
    let owner = fs::metadata(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = Command::new(program.as_ref());
    command
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target)
        // What cargo and rustup have set for this test.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("SUDO_USER");
    if nix::unistd::geteuid().is_root() && owner.uid() != 0 {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.output().unwrap()
}

#[test]
fn what_install_sh_builds_is_static() {
    if !needs("cargo") {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    let built = as_the_builder(install, &["--build"], target);
    assert!(built.status.success(), "{built:?}");
    let dir = String::from_utf8(built.stdout).unwrap();
    for name in ["qemu-ifup", "qemu-ifdown"] {
        assert!(is_static(&Path::new(dir.trim_end()).join(name)), "{name}");
    }
}

#[test]
fn the_oldest_rust_that_is_promised_builds_it() {
    if !needs("rustup") {
        return;
    }
    let toml = include_str!("../../../Cargo.toml");
    let (_, version) = toml.split_once("\nrust-version = \"").unwrap();
    let version = version.split_once('"').unwrap().0;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oldest-rust");
    let fetch = ["toolchain", "install", version, "--profile", "minimal"];
    let fetched = as_the_builder("rustup", &fetch, &target);
    if !fetched.status.success() {
        skip(
            &test_name(),
            &format!("rustup cannot fetch {version}: {fetched:?}"),
        );
        return;
    }
    let toolchain = format!("+{version}");
    let built = as_the_builder("cargo", &[&toolchain, "build", "--locked"], &target);
    assert!(built.status.success(), "{built:?}");
}
