//! Names of interfaces.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, run};
use crate::expect::sandbox;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

#[test]
fn names_that_the_kernel_would_not_take_reach_it_from_neither_program() {
    let Some(s) = sandbox() else { return };
    let before = s.snapshot();
    let names: [(&[u8], &str); 19] = [
        (b"", ""),
        (b"1234567890123456", "1234567890123456"),
        (b"12345678901234567890", "12345678901234567890"),
        (b".", "."),
        (b"..", ".."),
        (b"a/b", "a/b"),
        (b"/", "/"),
        (b"a:b", "a:b"),
        (b"a b", "a b"),
        (b" tap0", " tap0"),
        (b"tap0 ", "tap0 "),
        (b"tap0\n", "tap0\\x0a"),
        (b"a\tb", "a\\x09b"),
        (b"a\x0bb", "a\\x0bb"),
        (b"a\x0cb", "a\\x0cb"),
        (b"a\rb", "a\\x0db"),
        (b"a\xa0b", "a\\xa0b"),
        (b"tap%d", "tap%d"),
        (b"%", "%"),
    ];
    for (name, shown) in names {
        for program in ["qemu-ifup", "qemu-ifdown"] {
            let run = run(command(bin(program)).arg("--").arg(OsStr::from_bytes(name)));
            let start = format!("{program}: '{shown}' is not an interface name: ");
            assert_eq!(run.code, 2, "{start} {run:?}");
            assert!(run.stderr.starts_with(&start), "{start} {run:?}");
        }
        let bridge = OsStr::from_bytes(name);
        let run = run(command(bin("qemu-ifup"))
            .arg("--bridge")
            .arg(bridge)
            .arg("tap0"));
        assert_eq!(run.code, 2, "{bridge:?} {run:?}");
    }
    s.assert_unchanged(&before);
}

/// Does the kernel create a tap of that name, which must be new? It is told to keep it: so they all go at once, with the
/// namespace, which is far quicker than one by one.
fn kernel_accepts(name: &[u8]) -> bool {
    nix::ioctl_readwrite_bad!(tunsetiff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tunsetpersist, libc::TUNSETPERSIST);

    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    let mut request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: u16::try_from(flags).unwrap().cast_signed(),
        },
    };
    let tun: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives on until it returns.
    let made = unsafe { tunsetiff(tun.as_raw_fd(), &raw mut request) };
    if made.is_ok() {
        // SAFETY: TUNSETPERSIST takes a number and touches no memory of ours.
        unsafe { tunsetpersist(tun.as_raw_fd(), 1) }.unwrap();
    }
    made.is_ok()
}

/// Does qemu-ifup take that for the name of a bridge, which does not exist? In the name of a tap a comma stands between two.
fn we_accept(name: &[u8]) -> bool {
    let run = run(command(bin("qemu-ifup"))
        .arg("--bridge")
        .arg(OsStr::from_bytes(name))
        .arg("tap0"));
    assert!([2, 4].contains(&run.code), "{run:?}");
    run.code == 4
}

#[test]
fn our_rules_for_names_are_the_kernels_own() {
    let Some(s) = Sandbox::new() else { return };
    // The kernel expands %, which is why we refuse it.
    let any_byte = (1..=255).filter(|&byte| byte != b'%');
    let mut names: Vec<Vec<u8>> = any_byte.map(|byte| vec![b'a', byte, b'b']).collect();
    names.extend((1..libc::IFNAMSIZ).map(|length| vec![b'n'; length]));
    let odd = [
        ".", "..", "...", "all", "default", ".a", "a.", "-", "-h", "A",
    ];
    names.extend(odd.map(|name| name.as_bytes().to_owned()));

    let mut taken = 0;
    for name in names {
        let ours = we_accept(&name);
        let kernel = kernel_accepts(&name);
        assert_eq!(ours, kernel, "{}", name.escape_ascii());
        taken += usize::from(kernel);
    }
    assert!(taken > 200, "{taken}");
    // What is too long or empty is not refused by the kernel but cut, or replaced by one of its own choosing.
    for name in [vec![], vec![b'm'; 16], vec![b'o'; 17]] {
        assert!(!we_accept(&name));
        assert!(kernel_accepts(&name));
    }
    assert!(s.link(&"m".repeat(15)).is_some());
}
