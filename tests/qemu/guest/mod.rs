//! Real Linux guests: two that talk over a bridge of this host, and one in which the programs themselves run, on a
//! kernel that is not the host's and has VLANs.
//!
//! A guest is the distribution's kernel (tests/guest-image) with busybox as its only user. It does what the test
//! writes to its serial port.

mod second_kernel;
mod stp;
mod two_guests;

use crate::common::qemu::Qemu;
use crate::common::sandbox::Sandbox;
use crate::common::{PATIENCE, Run, bin, needs, skip, test_name};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where tests/guest-image puts the kernel and its modules.
fn image() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    std::path::absolute(target).unwrap().join("guest")
}

/// A guest boots in 4 s where it has a processor for itself.
const BOOT: Duration = Duration::from_secs(90);

/// What the guest runs first and only. What comes after the serial port is set up is all that the test will read.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/sbin:/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module"; done
ip link set lo up
echo 1 >/proc/sys/kernel/printk # the kernel's messages would come in between
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty raw -echo
printf '\n@@@ 0\n'
# Not busybox's shell, which has an ip of its own. By name, since to a terminal on its standard input it would prompt.
exec /sbin/sh /dev/ttyS0
"#;

/// The commands of the walk-through in README.md, but for the disk. This guest has both cards.
const FIRST: &str = "-netdev user,id=n0,hostfwd=tcp::2222-:22 -device virtio-net,netdev=n0,romfile= \
    -netdev tap,id=n1,ifname=tap0,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown \
    -device virtio-net,netdev=n1,romfile=";

/// And one with a tap that QEMU names (tap1). QEMU numbers the cards of each guest from the same MAC on.
const SECOND: &str = "-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown \
    -device virtio-net,netdev=n1,romfile=,mac=52:54:00:00:00:03";

/// A sandbox with both programs in /etc. None where no guest can be booted.
fn sandbox() -> Option<Sandbox> {
    if !["qemu-system-x86_64", "busybox", "cpio", "strace"]
        .into_iter()
        .all(needs)
    {
        return None;
    }
    if !image().exists() {
        skip(
            &test_name(),
            "needs a kernel for a guest: tests/guest-image",
        );
        return None;
    }
    let sandbox = Sandbox::new()?;
    sandbox.install();
    Some(sandbox)
}

/// The same with the host's side of the walk-through.
fn sandbox_with_bridge() -> Option<Sandbox> {
    let sandbox = sandbox()?;
    sandbox.bridge_up("br0");
    sandbox.sh("ip addr add 192.168.10.1/24 dev br0");
    Some(sandbox)
}

/// Puts into the sandbox a kernel and an initramfs: busybox, the modules, the two programs, and of the host a shell
/// and iproute2, with the libraries that these need. What the test has put into $DIR/root/sbin is there as well.
fn build_image(sandbox: &Sandbox) {
    sandbox.sh(&format!(
        r#"ln -s '{image}/vmlinuz' "$DIR/vmlinuz"
        mkdir -p "$DIR/root/sbin"
        cd "$DIR/root"
        mkdir bin dev etc lib proc sys
        cp -L "$(command -v busybox)" bin
        cp -r '{image}/modules' .
        set -- /bin/sh "$(command -v ip)" "$(command -v tc)" "$(command -v bridge)" "$(command -v strace)" '{ifup}' '{ifdown}'
        cp -L "$@" sbin
        ldd "$@" | grep -o '/[^ :]*[.]so[^ :]*' | sort -u | xargs -I@ cp -L --parents @ .
        echo root:x:0:0::/:/bin/sh >etc/passwd
        cat >init <<'END'
{INIT}
END
        chmod 755 init
        find . | cpio -o -H newc --quiet >../initramfs"#,
        image = image().display(),
        ifup = bin("qemu-ifup").display(),
        ifdown = bin("qemu-ifdown").display(),
    ));
}

/// A guest that is up. It is killed when it is dropped.
struct Guest {
    qemu: Qemu,
    serial: BufReader<UnixStream>,
}

/// Boots guests side by side; returns when all are up.
fn boot<const N: usize>(sandbox: &Sandbox, args: [&str; N]) -> [Guest; N] {
    build_image(sandbox);
    let mut number = 0;
    let mut guests = args.map(|args| {
        number += 1;
        let serial = sandbox.dir().join(format!("serial-{number}"));
        let line = format!(
            "{args} -m 256 -kernel {dir}/vmlinuz -initrd {dir}/initramfs -append console=ttyS0 \
             -serial unix:{serial},server=on,wait=off",
            dir = sandbox.dir().display(),
            serial = serial.display()
        );
        let mut qemu = Qemu::start(sandbox, &line).unwrap();
        // Before it runs, so that nothing of what it says is lost.
        let serial = UnixStream::connect(serial).unwrap();
        serial.set_read_timeout(Some(BOOT)).unwrap();
        assert_eq!(qemu.cmd("cont"), "");
        Guest {
            qemu,
            serial: BufReader::new(serial),
        }
    });
    for guest in &mut guests {
        assert_eq!(guest.answer(BOOT).0, 0);
        let serial = guest.serial.get_ref();
        serial.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    guests
}

impl Guest {
    /// Runs a shell script (sh -eu) in the guest, which has to succeed; what it printed.
    fn sh(&mut self, script: &str) -> String {
        let (code, output) = self.try_sh(script);
        assert_eq!(code, 0, "{script}\n{output}");
        output
    }

    /// Its exit code, and what it printed to stdout and stderr.
    fn try_sh(&mut self, script: &str) -> (i32, String) {
        let line = format!("(set -eu\n{script}\n) </dev/null; printf '\\n@@@ %s\\n' $?\n");
        self.serial.get_mut().write_all(line.as_bytes()).unwrap();
        self.answer(PATIENCE)
    }

    /// The JSON that a script prints.
    fn json(&mut self, script: &str) -> Value {
        let output = self.sh(script);
        // Some versions print nothing where an empty list is meant.
        match output.trim() {
            "" => json!([]),
            text => serde_json::from_str(text).unwrap_or_else(|e| panic!("{script}: {e}: {text}")),
        }
    }

    /// What the guest has printed up to the next line with an exit code, and that.
    fn answer(&mut self, patience: Duration) -> (i32, String) {
        let deadline = Instant::now() + patience;
        let mut said = String::new();
        while Instant::now() < deadline {
            let mut line = Vec::new();
            if !matches!(self.serial.read_until(b'\n', &mut line), Ok(1..)) {
                break;
            }
            let line = String::from_utf8_lossy(&line);
            if let Some(code) = line.strip_prefix("@@@ ") {
                let said = said.strip_suffix('\n').unwrap_or(&said).to_owned();
                return (code.trim().parse().unwrap(), said);
            }
            said += &line;
        }
        panic!(
            "the guest does not answer; it said:\n{said}\n{}",
            self.qemu.stderr()
        );
    }

    /// Shuts the guest down, as its user would; that also ends QEMU.
    fn power_off(mut self) -> Run {
        let serial = self.serial.get_mut();
        serial.write_all(b"poweroff -f\n").unwrap();
        self.qemu.wait()
    }
}

fn has_flag(link: &Value, flag: &str) -> bool {
    let mut flags = link["flags"].as_array().unwrap().iter();
    flags.any(|f| f == flag)
}
