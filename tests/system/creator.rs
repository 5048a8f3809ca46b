//! Root and taps that users have made: whose a tap is, is said, and nobody's guest runs on another's tap unawares.

use crate::common::interfaces::info;
use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use crate::common::strace::{calls, place_of};
use crate::common::users::{ALICE, BOB, open_tap_as};
use crate::common::{Run, bin, command, eventually, run};
use crate::expect::{assert_in_bridge, ifup_with, sandbox};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

/// Makes tap0 as a user's qemu-ifup makes it for Bob.
fn bobs(s: &Sandbox, words: &str) {
    s.sh(&format!(
        "ip tuntap add tap0 mode tap user {BOB} {words}
         ip link set tap0 addrgenmode none alias 'created by qemu-ifup for uid {BOB}' master br0
         ip link set tap0 up"
    ));
}

/// A tap loses its carrier a moment after it is closed.
fn await_closed(s: &Sandbox) {
    let is_closed = || {
        let flags = s.link("tap0").unwrap()["flags"].clone();
        let flags = flags.as_array().unwrap().clone();
        (!flags.iter().any(|flag| flag == "LOWER_UP")).then_some(())
    };
    eventually(is_closed).expect("the tap keeps its carrier");
}

fn alias(s: &Sandbox) -> Option<String> {
    let link = s.link("tap0").unwrap();
    let alias = link["ifalias"].as_str()?;
    Some(alias.to_owned())
}

/// Refused, with the command that says that it is meant so.
fn assert_refused(run: &Run) {
    assert_eq!(run.code, 5, "{run:?}");
    let way = format!("--owner {BOB}");
    assert!(run.stderr.contains(&way), "{run:?}");
}

#[test]
fn a_tap_that_another_user_has_created_is_not_taken_for_roots() {
    let Some(s) = sandbox() else { return };
    for words in ["", "multi_queue"] {
        bobs(&s, words);
        for change in [
            ":",
            "ip link set tap0 down",
            "ip link set tap0 nomaster; ip link set tap0 down",
        ] {
            s.sh(change);
            let before = s.snapshot();
            assert_refused(&s.ifup(&["tap0"]));
            assert_refused(&s.ifup(&["--isolated", "tap0"]));
            let alices = ALICE.to_string();
            assert_refused(&ifup_with(&[("SUDO_UID", &alices)], &["tap0"]));
            s.assert_unchanged(&before);
        }
        s.sh("ip link del tap0");
    }
    // As QEMU calls it: it has the tap open, and passes the descriptor on.
    bobs(&s, "");
    let held = open_tap_as(0, "tap0", 0).unwrap();
    let mut call = command(bin("qemu-ifup"));
    crate::common::fds::inherit(&mut call, held, 50);
    assert_refused(&run(call.arg("tap0")));
    drop(call);
    assert_eq!(info(&s, "tap0")["user"], BOB);
}

/// After the bridge was made anew, for one.
#[test]
fn root_repairs_a_users_tap_by_its_owners_number_also_while_a_guest_holds_it() {
    let Some(s) = sandbox() else { return };
    let owner = BOB.to_string();
    for is_held in [false, true] {
        bobs(&s, "");
        let held = is_held.then(|| open_tap_as(BOB, "tap0", 0).unwrap());
        s.sh("ip link set tap0 nomaster; ip link set tap0 down");
        let done = s.ifup(&["--owner", &owner, "tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_in_bridge(&s, "br0", "tap0");
        assert_eq!(info(&s, "tap0")["user"], BOB);
        assert!(alias(&s).is_some(), "it is still Bob's own");
        // If its creator is the user behind sudo, no option is needed.
        s.sh("ip link set tap0 nomaster; ip link set tap0 down");
        let done = ifup_with(&[("SUDO_UID", &owner)], &["tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        // Nor is one if the configuration says it.
        s.sh("ip link set tap0 nomaster; ip link set tap0 down");
        s.etc("qemu-ifup.conf", &format!("tap0 --owner {owner}\n"));
        let done = s.ifup(&["tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_in_bridge(&s, "br0", "tap0");
        s.etc("qemu-ifup.conf", "");
        drop(held);
        s.sh("ip link del tap0");
    }
}

#[test]
fn whose_a_tap_is_that_root_itself_has_made_for_a_user_is_said() {
    let Some(s) = sandbox() else { return };
    for alias in ["", "ip link set tap0 alias 'web server'"] {
        s.sh(&format!("ip tuntap add tap0 mode tap user {BOB}; {alias}"));
        for what in ["new", "as wanted already"] {
            let done = s.ifup(&["tap0"]);
            assert_eq!(done.code, 0, "{what}: {done:?}");
            assert!(done.stderr.contains(&BOB.to_string()), "{what}: {done:?}");
            assert_in_bridge(&s, "br0", "tap0");
            assert_eq!(info(&s, "tap0")["user"], BOB, "it stays");
        }
        // Where it is asked for, or is the invoking user's, there is nothing to say.
        let owner = BOB.to_string();
        for done in [
            s.ifup(&["--owner", &owner, "tap0"]),
            ifup_with(&[("SUDO_UID", &owner)], &["tap0"]),
        ] {
            assert_eq!(done.code, 0, "{done:?}");
            assert!(!done.stderr.contains(&owner), "{done:?}");
        }
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_tap_that_changes_its_owner_is_no_longer_its_creators() {
    let Some(s) = sandbox() else { return };
    let alices = ALICE.to_string();
    for words in ["", "multi_queue"] {
        bobs(&s, words);
        let done = s.ifup(&["--owner", &alices, "tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(info(&s, "tap0")["user"], ALICE);
        assert_eq!(alias(&s), None);
        s.sh("ip link del tap0");
        // By the configuration.
        bobs(&s, words);
        s.etc("qemu-ifup.conf", &format!("tap0 --owner {ALICE}\n"));
        let done = s.ifup(&["tap0"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(info(&s, "tap0")["user"], ALICE);
        assert_eq!(alias(&s), None);
        s.etc("qemu-ifup.conf", "");
        s.sh("ip link del tap0");
    }
    // A word of root's own stays.
    s.sh(&format!(
        "ip tuntap add tap0 mode tap user {BOB}; ip link set tap0 alias 'web server'"
    ));
    let done = s.ifup(&["--owner", &alices, "tap0"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(alias(&s).as_deref(), Some("web server"));
    // One that Bob holds cannot be taken from him by half.
    s.sh("ip link del tap0");
    bobs(&s, "");
    let _held = open_tap_as(BOB, "tap0", 0).unwrap();
    let before = s.settled();
    let busy = s.ifup(&["--owner", &alices, "tap0"]);
    assert_eq!(busy.code, 5, "{busy:?}");
    crate::expect::assert_settled_as(&s, &before, "held");
}

/// Its holder can change the owner without any privilege. The alias still names the creator.
#[test]
fn a_tap_that_its_creator_has_made_another_users_is_taken_over_whole_or_not_at_all() {
    let Some(s) = sandbox() else { return };
    let alices = ALICE.to_string();
    for (words, flags) in [("", 0), ("multi_queue", libc::IFF_MULTI_QUEUE)] {
        bobs(&s, words);
        let held = open_tap_as(BOB, "tap0", flags).unwrap();
        // SAFETY: TUNSETOWNER takes a number and touches no memory.
        unsafe { ioctl::owner(held.as_raw_fd(), ALICE.cast_signed()) }.unwrap();
        assert_eq!(info(&s, "tap0")["user"], ALICE);
        // He still has a queue of it.
        let before = s.settled();
        let busy = s.ifup(&["--owner", &alices, "tap0"]);
        assert_eq!(busy.code, 5, "{busy:?}");
        crate::expect::assert_settled_as(&s, &before, "held");
        // A filter that lets no frame pass stays when he closes it.
        // SAFETY: TUNSETTXFILTER reads flags, a count of 1 and one address after it.
        unsafe { ioctl::tx(held.as_raw_fd(), [0_u16, 1, 0, 0, 0].as_ptr()) }.unwrap();
        drop(held);
        await_closed(&s);
        let calls = calls(&s, "qemu-ifup", &["--owner", &alices, "tap0"]);
        let [given, reset] = ["TUNSETOWNER", "TUNSETTXFILTER"].map(|call| place_of(&calls, call));
        assert!(given < reset, "{words}");
        assert_eq!(alias(&s), None);
        s.sh("ip link del tap0");
    }
}

/// QEMU has one queue open as it runs its script. A second one would get frames of the guest.
#[test]
fn roots_qemu_does_not_run_on_a_tap_that_another_program_has_a_queue_of() {
    let Some(s) = sandbox() else { return };
    s.sh("ip tuntap add tap0 mode tap user 0 multi_queue");
    let call = |held: File| {
        let mut call = command(bin("qemu-ifup"));
        crate::common::fds::inherit(&mut call, held, 50);
        run(call.arg("tap0"))
    };
    let others = open_tap_as(0, "tap0", libc::IFF_MULTI_QUEUE).unwrap();
    let qemus = open_tap_as(0, "tap0", libc::IFF_MULTI_QUEUE).unwrap();
    let before = s.settled();
    let refused = call(qemus.try_clone().unwrap());
    assert_eq!(refused.code, 5, "{refused:?}");
    crate::expect::assert_settled_as(&s, &before, "another queue");
    drop(others);
    let done = call(qemus);
    assert_eq!(done.code, 0, "{done:?}");
    assert_in_bridge(&s, "br0", "tap0");
}

mod ioctl {
    nix::ioctl_write_int_bad!(owner, libc::TUNSETOWNER);
    nix::ioctl_write_ptr_bad!(attach, libc::TUNATTACHFILTER, libc::sock_fprog);
    nix::ioctl_write_ptr_bad!(filter, libc::TUNSETFILTEREBPF, libc::c_int);
    nix::ioctl_write_ptr_bad!(steering, libc::TUNSETSTEERINGEBPF, libc::c_int);
    nix::ioctl_write_ptr_bad!(tx, libc::TUNSETTXFILTER, u16);
}

/// A program that says 0 of each frame: by a filter it is dropped.
fn drop_all_ebpf() -> io::Result<File> {
    // struct bpf_insn: r0 = 0; exit.
    let program: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let license = c"GPL";
    // union bpf_attr for BPF_PROG_LOAD: BPF_PROG_TYPE_SOCKET_FILTER, the count, the program, the license.
    let mut attr = [0_u64; 16];
    attr[0] = 1 | 2 << 32;
    attr[1] = program.as_ptr() as u64;
    attr[2] = license.as_ptr() as u64;
    // SAFETY: BPF_PROG_LOAD (5) reads the attributes, and the program and the license to which they point.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            5,
            attr.as_ptr(),
            std::mem::size_of_val(&attr),
        )
    };
    let fd = nix::errno::Errno::result(fd)?;
    // SAFETY: bpf(2) has just made this descriptor, and nobody else knows its number.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(i32::try_from(fd).unwrap()) })
}

/// The former owner would decide by them what the next one gets.
#[test]
fn a_tap_that_changes_its_owner_has_none_of_the_filters_of_the_former_one() {
    let Some(s) = sandbox() else { return };
    let drops = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let classic = libc::sock_fprog {
        len: 1,
        filter: drops.as_ptr().cast_mut(),
    };
    // struct tun_filter: one address, and no frame but to that.
    let only: [u16; 5] = [0, 1, 0x0202, 0x0202, 0x0202];
    let ebpf = drop_all_ebpf();
    if let Err(error) = &ebpf {
        // A kernel without bpf(2), or one that is locked down.
        assert!(
            matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)),
            "{error}"
        );
    }
    let number = ebpf.as_ref().map(AsRawFd::as_raw_fd);
    for filter in [
        "none",
        "TUNATTACHFILTER",
        "TUNSETFILTEREBPF",
        "TUNSETTXFILTER",
    ] {
        bobs(&s, "");
        let bobs_end = open_tap_as(BOB, "tap0", 0).unwrap();
        let fd = bobs_end.as_raw_fd();
        let set = match (filter, number) {
            // SAFETY: TUNATTACHFILTER reads the program, which lives on.
            ("TUNATTACHFILTER", _) => unsafe { ioctl::attach(fd, &raw const classic) },
            // SAFETY: TUNSETTXFILTER reads the two numbers and the one address after them.
            ("TUNSETTXFILTER", _) => unsafe { ioctl::tx(fd, (&raw const only).cast()) },
            // SAFETY: TUNSETFILTEREBPF reads one int.
            ("TUNSETFILTEREBPF", Ok(number)) => unsafe { ioctl::filter(fd, &raw const number) },
            _ => Ok(0),
        };
        set.unwrap_or_else(|e| panic!("{filter}: {e}"));
        if let Ok(number) = number {
            // SAFETY: TUNSETSTEERINGEBPF reads one int.
            unsafe { ioctl::steering(fd, &raw const number) }.unwrap();
        }
        drop(bobs_end);
        await_closed(&s);
        let done = s.ifup(&["--owner", &ALICE.to_string(), "tap0"]);
        assert_eq!(done.code, 0, "{filter}: {done:?}");
        let mut tap = open_tap_as(ALICE, "tap0", 0).unwrap();
        fcntl(&tap, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        s.sh("ip addr replace 192.168.10.1/24 dev br0; ip neigh replace 192.168.10.2 lladdr 52:54:00:00:00:02 dev br0");
        let sender = std::net::UdpSocket::bind("192.168.10.1:0").unwrap();
        let mut frame = [0; 1600];
        eventually(|| {
            let _ = sender.send_to(b"data", "192.168.10.2:9");
            tap.read(&mut frame).ok()
        })
        .unwrap_or_else(|| panic!("{filter}: no frame reaches the owner"));
        drop(tap);
        s.sh("ip link del tap0");
    }
}

#[test]
fn all_four_filters_are_reset_before_the_tap_is_its_new_owners_to_use() {
    let Some(s) = Sandbox::with("strace") else {
        return;
    };
    s.bridge_up("br0");
    bobs(&s, "");
    let owner = ALICE.to_string();
    let args = ["--owner", &*owner, "tap0"];
    let made = calls(&s, "qemu-ifup", &args);
    for filter in [
        "TUNDETACHFILTER",
        "TUNSETTXFILTER",
        "TUNSETFILTEREBPF",
        "TUNSETSTEERINGEBPF",
    ] {
        let call = made.iter().find(|call| call.line.contains(filter));
        let call = call.unwrap_or_else(|| panic!("no {filter}"));
        let is_ebpf = filter.ends_with("EBPF");
        assert!(
            !is_ebpf || call.line.contains("-1") || call.line.contains("0x"),
            "{}",
            call.line
        );
    }
    // What is right already is not set again: then a guest may hold the tap.
    let again = calls(&s, "qemu-ifup", &args);
    let sets = again.iter().find(|call| call.line.contains("TUNSET"));
    assert!(sets.is_none(), "{}", sets.unwrap().line);
}

#[test]
fn check_says_the_same_of_a_tap_that_another_user_has_created() {
    let Some(s) = sandbox() else { return };
    bobs(&s, "");
    let before = s.snapshot();
    let checked = s.ifup(&["--check", "tap0"]);
    assert_eq!(checked.code, 5, "{checked:?}");
    let problem = |line: &str| line.starts_with("problem");
    assert!(checked.stdout.lines().any(problem), "{checked:?}");
    assert!(
        checked.stdout.contains(&format!("--owner {BOB}")),
        "{checked:?}"
    );
    for args in [
        &["--check", "--owner", "54322", "tap0"][..],
        &["--check", "tap1"],
    ] {
        let checked = s.ifup(args);
        assert_eq!(checked.code, 0, "{args:?}: {checked:?}");
    }
    let checked = ifup_with(&[("SUDO_UID", "54322")], &["--check", "tap0"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    s.assert_unchanged(&before);
    assert!(is_up(&s.link("tap0").unwrap()));
}
