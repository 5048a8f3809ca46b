//! Other virtual machine monitors than QEMU, which run no script: they open a tap that root has prepared for their user.
//! What they do to it is in `Tap::open_named` and what calls that: for Firecracker in src/vmm/src/devices/virtio/net/tap.rs and
//! device.rs of its sources, for Cloud Hypervisor in net_util/src/tap.rs and open_tap.rs.

use crate::common::eventually;
use crate::common::interfaces::info;
use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, MALLORY, open_tap_as};
use crate::expect::assert_succeeded;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// Both want the header of virtio_net. (`IFF_TAP | IFF_NO_PI` is what `open_tap_as` adds.)
const FIRECRACKER: i32 = libc::IFF_VNET_HDR;

/// Cloud Hypervisor with more than one pair of queues: `num_queues=4` and more.
const SEVERAL_QUEUES: i32 = libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// `struct virtio_net_hdr_v1` in linux/virtio_net.h.
const VNET_HDR: usize = 12;

const TUNSETOFFLOAD: libc::Ioctl =
    nix::request_code_write!(b'T', 208, std::mem::size_of::<libc::c_uint>());
const TUNSETVNETHDRSZ: libc::Ioctl =
    nix::request_code_write!(b'T', 216, std::mem::size_of::<libc::c_int>());

/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6` in linux/if_tun.h.
const OFFLOADS: libc::c_ulong = 0x07;

/// What both do with the descriptor of a tap before the guest gets it.
fn set_up(tap: &File) {
    let size = libc::c_int::try_from(VNET_HDR).unwrap();
    // SAFETY: TUNSETVNETHDRSZ reads one int, which lives on until it returns.
    let done = unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETVNETHDRSZ, &raw const size) };
    nix::errno::Errno::result(done).unwrap();
    // SAFETY: TUNSETOFFLOAD takes a number.
    let done = unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETOFFLOAD, OFFLOADS) };
    nix::errno::Errno::result(done).unwrap();
    // SAFETY: F_SETFL takes a number, and nothing here relies on reads that block.
    let done = unsafe { libc::fcntl(tap.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    nix::errno::Errno::result(done).unwrap();
}

/// A frame goes from one guest to the other, over the bridge. Again and again: a port forwards only when its carrier has been
/// noticed.
fn assert_frame_passes(mut from: &File, to: &[&File]) {
    let mut frame = [0; VNET_HDR + 60];
    frame[VNET_HDR..VNET_HDR + 14]
        .copy_from_slice(b"\xff\xff\xff\xff\xff\xff\x52\x54\x00\x00\x00\x01\x88\xb5");
    let came = eventually(|| {
        from.write_all(&frame).unwrap();
        let mut buffer = [0; 2048];
        to.iter().find_map(|&(mut tap)| {
            loop {
                match tap.read(&mut buffer) {
                    // The header may say something else, and other frames may pass.
                    Ok(size) if buffer[VNET_HDR..size] == frame[VNET_HDR..] => return Some(()),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                    Err(e) => panic!("{e}"),
                }
            }
        })
    });
    came.expect("no frame comes through");
}

fn sandbox() -> Option<Sandbox> {
    let s = Sandbox::new()?;
    s.bridge_up("br0");
    Some(s)
}

/// Alice's tap, with one queue or several.
fn prepare(s: &Sandbox, options: &[&str], tap: &str) {
    let owner = ALICE.to_string();
    let run = s.ifup(&[options, &["--owner", &owner, tap]].concat());
    assert_succeeded(&run, "");
}

#[test]
fn firecracker_and_cloud_hypervisor_run_without_root_on_taps_that_root_has_prepared() {
    let Some(s) = sandbox() else { return };
    prepare(&s, &[], "tap0");
    prepare(&s, &["--multi-queue"], "tap1");
    let taps = ["tap0", "tap1"];
    let shown = || {
        for tap in taps {
            let link = s.link(tap).unwrap();
            assert!(is_up(&link), "{link:#}");
            assert_eq!(info(&s, tap)["user"], ALICE);
        }
        assert_eq!(s.ports("br0"), taps);
    };
    for _ in 0..2 {
        let firecracker = open_tap_as(ALICE, "tap0", FIRECRACKER).unwrap();
        let hypervisor: Vec<_> = (0..2)
            .map(|_| open_tap_as(ALICE, "tap1", SEVERAL_QUEUES).unwrap())
            .collect();
        set_up(&firecracker);
        hypervisor.iter().for_each(set_up);
        shown();
        for tap in taps {
            assert_eq!(info(&s, tap)["vnet_hdr"], true, "{tap}");
        }
        let queues: Vec<_> = hypervisor.iter().collect();
        assert_frame_passes(&firecracker, &queues);
        assert_frame_passes(queues[1], &[&firecracker]);
        drop((firecracker, hypervisor));
        shown();
    }
    for tap in taps {
        assert_succeeded(&s.ifdown(&["--delete", tap]), "");
    }
}

#[test]
fn a_tap_prepared_for_another_number_of_queues_or_another_user_is_refused_by_the_kernel() {
    let Some(s) = sandbox() else { return };
    prepare(&s, &[], "tap0");
    prepare(&s, &["--multi-queue"], "tap1");
    let refused = |uid, tap, flags, error| {
        let opened = open_tap_as(uid, tap, flags);
        let why = opened.expect_err(tap).raw_os_error();
        assert_eq!(why, Some(error), "{uid} {tap}");
    };
    refused(ALICE, "tap0", SEVERAL_QUEUES, libc::EINVAL);
    refused(ALICE, "tap1", FIRECRACKER, libc::EINVAL);
    refused(MALLORY, "tap0", FIRECRACKER, libc::EPERM);
    refused(MALLORY, "tap1", SEVERAL_QUEUES, libc::EPERM);
    // Without a prepared tap they would have to make one.
    refused(ALICE, "tap2", FIRECRACKER, libc::EPERM);
    let _held = open_tap_as(ALICE, "tap0", FIRECRACKER).unwrap();
    refused(ALICE, "tap0", FIRECRACKER, libc::EBUSY);

    // Cloud Hypervisor looks here first, and says that there is "no support" on one side or the other.
    s.sh("mount -t sysfs sysfs /sys");
    for (tap, several) in [("tap0", false), ("tap1", true)] {
        let flags = fs::read_to_string(format!("/sys/class/net/{tap}/tun_flags")).unwrap();
        let flags = i32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap();
        assert_eq!(flags & libc::IFF_MULTI_QUEUE != 0, several, "{tap}");
    }
}
