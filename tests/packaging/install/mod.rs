//! install.sh, run in a mount namespace where all that it writes to is covered by an overlay: the host stays as it is.
//!
//! Each test is a bash script in which any command that fails fails the test.

mod bridge_helper;
mod build;
mod diversions;
mod faults;
mod files;
mod layout;
pub mod orders;
mod setcap;
mod upgrade;

use crate::common::{bin, skip, test_name};
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
cover() { # DIR: what is changed below it stays in the sandbox
    mkdir -p "$SCRATCH/$1/upper" "$SCRATCH/$1/work"
    mount -t overlay overlay -o "lowerdir=/$1,upperdir=$SCRATCH/$1/upper,workdir=$SCRATCH/$1/work" "/$1"
}
for dir in etc usr var/lib/dpkg; do
    [ ! -d "/$dir" ] || cover "$dir"
done
"$INSTALL" --uninstall >/dev/null # it may be installed here
rm -f /etc/apparmor.d/usr.sbin.libvirtd # of which install.sh would speak
make_group() { echo "$1:x:$2:" >>/etc/group; }
state() {
    {
        find /etc -maxdepth 1 -name 'qemu-if*' -printf '%p %M %u %g %l\n'
        find /usr/local/bin /usr/local/sbin /usr/local/share -printf '%p %M %u %g %l\n'
        find /etc /usr/local/bin /usr/local/sbin /usr/local/share -maxdepth 2 -type f -name '*qemu-if*' \
            -exec sha256sum {} + -exec getcap {} +
        find /usr/lib/qemu /usr/libexec -name '*qemu-bridge-helper*' -printf '%p %M %u %g %l\n' 2>/dev/null || :
        if command -v dpkg-divert >/dev/null; then dpkg-divert --list; fi
    } | sort
}
"#;

fn run(setup: &str, script: &str) {
    run_by("bash", &[], setup, script);
}

pub fn run_by(program: &str, arguments: &[&str], setup: &str, script: &str) {
    let scratch = std::env::temp_dir().join(format!(
        "qemu-ifup-install-{}-{}",
        std::process::id(),
        // Part of a PATH, in which a colon separates.
        test_name().replace("::", "-")
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
        .env("BIN", bin("qemu-ifup").parent().unwrap())
        .env_remove("DESTDIR")
        .env_remove("PREFIX")
        .env_remove("SUDO_USER")
        .env_remove("SUDO_UID")
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

/// Runs the script where it may write anywhere in /etc and /usr, in a network of its own.
fn sandbox(script: &str) {
    let unshare = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output();
    if !unshare.is_ok_and(|output| output.status.success()) {
        skip(&test_name(), "no namespaces (not root?)");
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
        skip(&test_name(), "Debian's qemu-system-common is not installed");
        return;
    }
    let conffiles = "for name in qemu-ifup qemu-ifdown; do echo \"Debian's $name\" >/etc/$name; chmod 755 /etc/$name; done\n";
    sandbox(&format!("{conffiles}{script}"));
}
