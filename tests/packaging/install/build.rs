//! --build.

use crate::common::{skip, test_name};
use crate::install::run;

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
