//! Real Linux guests: two that talk over a bridge of this host, and one in which the programs themselves run, on a
//! kernel that is not the host's and has VLANs.
//!
//! A guest is the distribution's kernel (tests/guest-image) with busybox as its only user. It does what the test
//! writes to its serial port.

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

use common::{PATIENCE, Qemu, Run, Sandbox, bin, needs, skip};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
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
    if !["qemu-system-x86_64", "busybox", "cpio"]
        .into_iter()
        .all(needs)
    {
        return None;
    }
    if !image().exists() {
        skip(
            &common::test_name(),
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
/// and iproute2, with the libraries that these need.
fn make_image(sandbox: &Sandbox) {
    sandbox.sh(&format!(
        r#"ln -s '{image}/vmlinuz' "$DIR/vmlinuz"
        mkdir "$DIR/root"
        cd "$DIR/root"
        mkdir bin dev etc lib proc sbin sys
        cp -L "$(command -v busybox)" bin
        cp -r '{image}/modules' .
        set -- /bin/sh "$(command -v ip)" "$(command -v bridge)"
        cp -L "$@" '{ifup}' '{ifdown}' sbin
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
    make_image(sandbox);
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

/// Somebody pings an address. Several times where no answer is what is hoped for: the first may be lost to anything.
const PING: &str = "busybox ping -c 1 -W 10";
const PING_IN_VAIN: &str = "busybox ping -c 3 -W 1";

/// What guest and host do in the walk-through when QEMU runs, with an address for the second guest too.
fn configure(first: &mut Guest, second: &mut Guest) {
    first.sh("ip link set eth0 up
         ip addr add 10.0.2.15/24 dev eth0
         ip route add default via 10.0.2.2
         ip link set eth1 up
         ip addr add 192.168.10.2/24 dev eth1");
    second.sh("ip link set eth0 up
         ip addr add 192.168.10.3/24 dev eth0");
}

fn has_flag(link: &Value, flag: &str) -> bool {
    let mut flags = link["flags"].as_array().unwrap().iter();
    flags.any(|f| f == flag)
}

/// Both taps are ports that forward, and the host has no address of its own on them: with a carrier it would get one.
fn assert_forwarding(sandbox: &Sandbox) {
    let ports = sandbox.bridge(&["link", "show"]);
    for (n, tap) in ["tap0", "tap1"].into_iter().enumerate() {
        assert_eq!(ports[n]["ifname"], tap, "{ports:#}");
        assert_eq!(ports[n]["master"], "br0", "{ports:#}");
        assert_eq!(ports[n]["state"], "forwarding", "{ports:#}");
        let addresses = sandbox.ip(&["addr", "show", "dev", tap]);
        assert!(has_flag(&addresses[0], "LOWER_UP"), "{addresses:#}");
        assert_eq!(addresses[0]["addr_info"], json!([]));
    }
    assert_eq!(ports.as_array().unwrap().len(), 2, "{ports:#}");
}

/// The guests end, and with them their taps; no script had anything to complain about.
fn power_off(sandbox: &Sandbox, guests: [Guest; 2]) {
    for guest in guests {
        let ended = guest.power_off();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    }
    assert_eq!(sandbox.links(), ["lo", "br0"]);
}

#[test]
fn two_guests_and_the_host_reach_each_other() {
    let Some(sandbox) = sandbox_with_bridge() else {
        return;
    };
    let [mut first, mut second] = boot(&sandbox, [FIRST, SECOND]);
    configure(&mut first, &mut second);
    assert_forwarding(&sandbox);

    sandbox.sh(&format!("{PING} 192.168.10.2; {PING} 192.168.10.3"));
    first.sh(&format!("{PING} 192.168.10.1; {PING} 192.168.10.3"));
    second.sh(&format!("{PING} 192.168.10.1; {PING} 192.168.10.2"));
    let routes = first.json("ip -j route");
    let route = |n: usize| (routes[n]["dst"].as_str(), routes[n]["dev"].as_str());
    assert_eq!(route(0), (Some("default"), Some("eth0")), "{routes:#}");
    assert_eq!(routes[0]["gateway"], "10.0.2.2", "{routes:#}");
    assert_eq!(route(2), (Some("192.168.10.0/24"), Some("eth1")));

    // httpd returns when it listens, so nothing here races.
    first.sh("echo this is the first guest >/greeting; httpd -p 22 -h /");
    for address in ["127.0.0.1:2222", "192.168.10.2:22"] {
        let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /greeting HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.ends_with("\r\n\r\nthis is the first guest\n"),
            "{address}: {answer}"
        );
    }
    power_off(&sandbox, [first, second]);
}

#[test]
fn isolated_guests_reach_the_host_and_not_each_other() {
    let Some(sandbox) = sandbox_with_bridge() else {
        return;
    };
    sandbox.etc("qemu-ifup.conf", "* --isolated\n");
    let [mut first, mut second] = boot(&sandbox, [FIRST, SECOND]);
    configure(&mut first, &mut second);
    assert_forwarding(&sandbox);
    for port in sandbox.bridge(&["-d", "link", "show"]).as_array().unwrap() {
        assert_eq!(port["isolated"], true, "{port:#}");
    }

    sandbox.sh(&format!("{PING} 192.168.10.2; {PING} 192.168.10.3"));
    let (code, said) = first.try_sh(&format!("{PING_IN_VAIN} 192.168.10.3"));
    assert!(code != 0 && said.contains("100% packet loss"), "{said}");
    let (code, said) = second.try_sh(&format!("{PING_IN_VAIN} 192.168.10.2"));
    assert!(code != 0 && said.contains("100% packet loss"), "{said}");

    // Nothing else was in their way.
    sandbox.sh("bridge link set dev tap0 isolated off");
    first.sh(&format!("{PING} 192.168.10.3"));
    power_off(&sandbox, [first, second]);
}

/// A guest without cards, in which the programs run. Its bridge is made with these options of ip-link(8), and with a
/// MAC of its own: without one it would be left with 00:00:00:00:00:00 by the last port.
fn second_kernel(sandbox: &Sandbox, options: &str) -> Guest {
    let [mut guest] = boot(sandbox, [""]);
    guest.sh(&format!(
        "ip link add br0 address 02:00:00:00:00:01 type bridge {options}; ip link set br0 up"
    ));
    guest
}

impl Guest {
    /// Runs qemu-ifup, which has to succeed, and then to find nothing left to do.
    fn ifup(&mut self, args: &str) {
        self.sh(&format!("qemu-ifup {args}"));
        let before = self.tap0();
        let again = self.sh(&format!("qemu-ifup --verbose {args}"));
        assert!(again.ends_with(", nothing to do\n"), "{args}: {again}");
        assert_eq!(self.tap0(), before, "changed by a second {args}");
    }

    /// All that is to be known about tap0, but for what moves by itself.
    fn tap0(&mut self) -> String {
        self.sh("for show in 'ip -d addr' 'bridge -d link' 'bridge vlan'; do
                 $show show dev tap0
             done | sed -E 's/[a-z_]*_timer +[0-9.]+//g; s/NO-CARRIER,|,LOWER_UP//g; s/ state [A-Za-z]+//'")
    }

    /// qemu-ifup has to fail with this exit code and a hint.
    fn ifup_fails(&mut self, args: &str, code: i32) {
        let (is, said) = self.try_sh(&format!("qemu-ifup {args}"));
        assert_eq!(is, code, "{args}: {said}");
        assert!(said.contains("\nqemu-ifup: hint: "), "{args}: {said}");
    }

    /// Removes tap0, of which nothing is left then.
    fn delete(&mut self) {
        self.sh("qemu-ifdown --delete tap0");
        self.assert_only(&["lo", "br0"]);
    }

    fn assert_only(&mut self, names: &[&str]) {
        let links = self.json("ip -j link show");
        let links = links.as_array().unwrap().iter();
        let links: BTreeSet<_> = links.map(|l| l["ifname"].as_str().unwrap()).collect();
        assert_eq!(links, names.iter().copied().collect());
    }

    /// tap0's VLANs, a word for each: `10`, with a `p` where it is the PVID and a `u` where frames leave untagged.
    fn vlans(&mut self) -> Vec<String> {
        let show = self.json("bridge -j vlan show dev tap0");
        let vlans = show[0]["vlans"].as_array().unwrap();
        let word = |vlan: &Value| {
            assert_eq!(vlan.get("vlanEnd"), None, "a range: {show:#}");
            let flags = vlan["flags"].as_array();
            let has = |flag: &str| flags.is_some_and(|flags| flags.contains(&json!(flag)));
            let p = if has("PVID") { "p" } else { "" };
            let u = if has("Egress Untagged") { "u" } else { "" };
            format!("{}{p}{u}", vlan["vlan"])
        };
        vlans.iter().map(word).collect()
    }

    fn is_isolated(&mut self) -> bool {
        let port = self.json("bridge -j -d link show dev tap0");
        port[0]["isolated"].as_bool().unwrap()
    }
}

#[test]
fn a_second_kernel_takes_a_tap_up_and_down() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "");
    guest.sh("ip link set br0 mtu 1400");
    for _ in 0..2 {
        guest.ifup("tap0");
        let link = &guest.json("ip -j -d link show dev tap0")[0];
        assert!(has_flag(link, "UP"), "{link:#}");
        assert_eq!(link["master"], "br0", "{link:#}");
        assert_eq!(link["mtu"], 1400, "{link:#}");
        assert!(link["address"].as_str().unwrap().starts_with("fe:"));
        assert_eq!(link["inet6_addr_gen_mode"], "none", "{link:#}");
        let addresses = &guest.json("ip -j addr show dev tap0")[0]["addr_info"];
        assert_eq!(addresses, &json!([]));
        let tun = &link["linkinfo"]["info_data"];
        assert_eq!(tun["type"], "tap", "{link:#}");
        assert_eq!(tun["user"], "root", "{link:#}");
        assert_eq!(tun["persist"], true, "{link:#}");

        guest.sh("qemu-ifdown tap0");
        let link = &guest.json("ip -j -d link show dev tap0")[0];
        assert_eq!(link.get("master"), None, "{link:#}");
        assert!(!has_flag(link, "UP"), "{link:#}");
        guest.delete();
    }
    guest.ifup_fails("--bridge br9 tap0", 4);
    guest.assert_only(&["lo", "br0"]);
}

#[test]
fn a_port_gets_the_vlans_that_were_asked_for_and_no_others() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    let both = ["5pu", "10", "20", "21", "22"];

    // What the kernel does by itself; if this fails, the removal of VLAN 1 below proves nothing.
    guest.ifup("tap0");
    assert_eq!(guest.vlans(), ["1pu"]);
    // On a port that is there, and on a new one.
    for _ in 0..2 {
        guest.ifup("--pvid 10 tap0");
        assert_eq!(guest.vlans(), ["10pu"]);
        guest.ifup("--pvid 30 tap0");
        assert_eq!(guest.vlans(), ["30pu"]);
        guest.delete();
    }
    guest.ifup("--vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), ["1pu", "10", "20", "21", "22"]);
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), both);
    guest.delete();
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    assert_eq!(guest.vlans(), both);
    guest.ifup("--pvid 21 --vlans 5,22-23 tap0");
    assert_eq!(guest.vlans(), ["5", "21pu", "22", "23"]);
    guest.delete();

    guest.sh("qemu-ifup --dry-run --pvid 5 --vlans 10,20-22 tap0 >commands; sh -eu commands");
    assert_eq!(guest.vlans(), both, "{}", guest.sh("cat commands"));
    guest.ifup("--pvid 5 --vlans 10,20-22 tap0");
    guest.delete();

    for default in ["7", "0"] {
        guest.sh(&format!(
            "ip link set br0 type bridge vlan_default_pvid {default}"
        ));
        guest.ifup("--pvid 10 tap0");
        assert_eq!(guest.vlans(), ["10pu"], "where the default is {default}");
        guest.delete();
    }
}

#[test]
fn a_trunk_of_all_vlans_is_possible_and_in_nobodys_way() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 1");
    // The kernel's answers are the longest there are, about this port and about all.
    guest.ifup("--pvid 1 --vlans 2-4094 tap0");
    assert_eq!(guest.vlans().len(), 4094);
    guest.ifup("--pvid 10 tap0");
    assert_eq!(guest.vlans(), ["10pu"]);
    guest.sh("ip tuntap add uplink mode tap
         ip link set uplink master br0
         bridge vlan add dev uplink vid 2-4094");
    guest.ifup("--pvid 20 tap0");
    assert_eq!(guest.vlans(), ["20pu"]);
}

#[test]
fn vlans_are_refused_by_a_bridge_that_does_not_filter() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "vlan_filtering 0");
    for options in ["--pvid 10", "--vlans 10,20-22", "--pvid 5 --vlans 10"] {
        guest.ifup_fails(&format!("{options} tap0"), 4);
        guest.assert_only(&["lo", "br0"]);
    }
    // A port that is there stays as it is.
    guest.ifup("tap0");
    let before = guest.tap0();
    guest.ifup_fails("--pvid 10 tap0", 4);
    assert_eq!(guest.tap0(), before);
}

#[test]
fn a_second_kernel_isolates_a_port() {
    let Some(sandbox) = sandbox() else { return };
    let mut guest = second_kernel(&sandbox, "");
    guest.ifup("tap0");
    assert!(!guest.is_isolated());
    // On a port that is there, and on a new one.
    for _ in 0..2 {
        guest.ifup("--isolated tap0");
        assert!(guest.is_isolated());
        guest.delete();
    }
    guest.sh("qemu-ifup --dry-run --isolated tap0 >commands; sh -eu commands");
    assert!(guest.is_isolated(), "{}", guest.sh("cat commands"));
    guest.ifup("--isolated tap0");
}

#[test]
fn a_machine_without_a_bridge_gets_one_by_one_command() {
    let Some(sandbox) = sandbox() else { return };
    let [mut guest] = boot(&sandbox, [""]);
    guest.assert_only(&["lo"]);
    guest.ifup("--create-bridge --address 192.168.10.1/24 --address fd00::1/64 tap0");
    let bridge = &guest.json("ip -j -d addr show dev br0")[0];
    let addresses = bridge["addr_info"].as_array().unwrap().iter();
    let global: Vec<_> = addresses
        .filter(|address| address["scope"] == "global")
        .map(|address| (&address["local"], &address["prefixlen"]))
        .collect();
    let wanted = [
        (&json!("192.168.10.1"), &json!(24)),
        (&json!("fd00::1"), &json!(64)),
    ];
    assert_eq!(global, wanted, "{bridge:#}");
    let info = &bridge["linkinfo"]["info_data"];
    assert_eq!(
        (&info["stp_state"], &info["forward_delay"]),
        (&json!(0), &json!(0))
    );
    let port = guest.json("bridge -j link show dev tap0");
    assert_eq!(port[0]["master"], "br0", "{port:#}");
    guest.delete();
}

#[test]
fn what_is_made_early_at_boot_gets_addresses_of_its_own() {
    let Some(sandbox) = sandbox() else { return };
    // A guest that has just booted has no random numbers yet: it has no disk, no user, and no source of them.
    let [mut guest] = boot(&sandbox, [""]);
    guest.sh("for n in 0 1; do qemu-ifup --create-bridge --bridge br$n tap$n; done");
    let links = guest.json("ip -j link show");
    let links = links.as_array().unwrap();
    let addresses: BTreeSet<_> = links.iter().map(|l| l["address"].as_str()).collect();
    assert_eq!(addresses.len(), 5, "{links:#?}");
}
