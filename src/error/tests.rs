//! Errors that cannot be provoked here: exit code and hints.

use crate::error::advice::{Advice, Command, Reader};
use crate::error::exit_code::ExitCode;
use crate::error::{Error, StepKind};
use crate::model::link::LinkKind;
use crate::model::spec::TapAccess;
use crate::sys::error::{Cause, SysError, strerror};
use crate::tests::build::name;
use nix::errno::Errno;

/// The hints as an unprivileged user reads them, one a line.
fn hints(error: &Error) -> String {
    let hints = error.hints().into_iter();
    let hints = hints.map(|hint| hint.for_reader(Reader(Some(1000))));
    hints.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_no_bridge_has_a_hint_for_its_kind() {
    // Tried by hand: a card that is put into a bridge takes the host's address along, and the host off its network.
    let uplink = "to attach w0 to a bridge, use the program that manages the host's network";
    let table = [
        (Some("openvswitch"), "ovs-vsctl add-port w0 "),
        (Some("bond"), uplink),
        (Some("team"), uplink),
        (None, uplink),
        (Some("macvtap"), "-netdev tap,fd=N"),
        (Some("macvlan"), "ip link show type bridge"),
        (Some("wireguard"), "ip link show type bridge"),
    ];
    for (word, hint) in table {
        let kind = word.map_or(LinkKind::Unset, |word| LinkKind::Other(word.to_owned()));
        let error = Error::NotABridge {
            name: name("w0"),
            kind,
        };
        assert_eq!(error.exit_code(), ExitCode::Bridge);
        assert!(
            error.to_string().contains(word.unwrap_or("physical")),
            "{error}"
        );
        let found = hints(&error);
        assert!(!found.contains("master"), "{found}");
        assert!(found.contains(hint), "{word:?}: {found}");
        assert_eq!(
            found.contains("w0"),
            hint.contains("w0") || word == Some("macvtap"),
            "{found}"
        );
    }
}

#[test]
fn what_nobody_foresaw_is_to_be_reported_with_what_is_needed() {
    for reason in [SysError::Protocol("odd"), SysError::Invalid("odd")] {
        let error = Error::failed("look", reason);
        assert_eq!(error.exit_code(), ExitCode::Unexpected);
        let hint = hints(&error);
        for part in ["Please report", "qemu-ifup --version", "qemu-ifup --check"] {
            assert!(hint.contains(part), "{hint}");
        }
    }
}

#[test]
fn a_kernel_without_what_a_bridge_takes_has_its_cause_and_a_hint() {
    let of_kernel = SysError::Errno {
        errno: Errno::EOPNOTSUPP,
        ext_ack: Some("Unknown device type".into()),
    };
    let known = |cause| SysError::Known(cause, Errno::EOPNOTSUPP);
    for (reason, text, hint) in [
        (of_kernel, "Unknown device type", "sudo modprobe bridge"),
        (
            known(Cause::NoVlanFiltering),
            "this kernel does not support VLAN filtering",
            "leave out --pvid",
        ),
        (
            known(Cause::Ipv6Off),
            "IPv6 is disabled",
            "run: sudo sysctl net.ipv6",
        ),
        (
            known(Cause::NotMapped(TapAccess::Group(7))),
            "gid 7 is not mapped in this user namespace",
            "run: cat /proc/self/gid_map",
        ),
        (
            known(Cause::SameAddress),
            "the same address is given twice",
            "",
        ),
    ] {
        let error = Error::step(StepKind::CreateBridge, "create the bridge br0", reason);
        assert_eq!(error.exit_code(), ExitCode::Kernel);
        let found = hints(&error);
        assert!(found.contains(hint), "{found}");
        let expected = format!("cannot create the bridge br0: {text} (Operation not supported)");
        assert_eq!(error.to_string(), expected);
    }
}

/// The table knows which step failed, whoever opened /dev/net/tun.
#[test]
fn a_hint_is_found_by_the_kind_of_the_step_and_its_reason() {
    let failed = |kind, reason: SysError| Error::step(kind, "do it", reason);
    let joined = failed(StepKind::Attach, Errno::ENODEV.into());
    assert!(hints(&joined).contains("deleted the tap or the bridge"));
    assert_eq!(hints(&failed(StepKind::Up, Errno::ENODEV.into())), "");

    let opened = failed(StepKind::CreateTap, SysError::TunDevice(Errno::ENODEV));
    assert_eq!(
        opened.to_string(),
        "cannot use /dev/net/tun: No such device"
    );
    assert_eq!(opened.exit_code(), ExitCode::Tun);
    assert!(hints(&opened).ends_with("run: sudo modprobe tun"));

    let denied = failed(StepKind::OpenNetlink, Errno::EACCES.into());
    assert!(hints(&denied).contains("bridge_helper = \"/etc/qemu-ifup\""));
    assert_eq!(hints(&failed(StepKind::SetPort, Errno::EACCES.into())), "");
}

#[test]
fn a_command_has_sudo_where_its_reader_needs_it_and_no_word_of_it_is_changed() {
    let (root, owner, other, unknown) = (
        Reader(Some(0)),
        Reader(Some(1000)),
        Reader(Some(1001)),
        Reader(None),
    );
    let delete = Command::delete(name("tap0"), Some(TapAccess::Owner(1000)));
    for (reader, expected) in [
        (root, "qemu-ifdown --delete tap0"),
        (owner, "qemu-ifdown --delete tap0"),
        (other, "sudo qemu-ifdown --delete tap0"),
        (unknown, "sudo qemu-ifdown --delete tap0"),
    ] {
        assert_eq!(delete.for_reader(reader), expected);
    }
    let line = Command::root("mkdir -p /a").and(Command::append(b"sudo foo", "/a/b"));
    let advice = Advice::run("to use sudo foo, run", line);
    assert_eq!(
        advice.for_reader(root),
        "to use sudo foo, run: mkdir -p /a && echo 'sudo foo' | tee -a /a/b"
    );
    assert_eq!(
        advice.for_reader(owner),
        "to use sudo foo, run: sudo mkdir -p /a && echo 'sudo foo' | sudo tee -a /a/b"
    );
}

#[test]
fn errors_have_the_words_that_people_search_for() {
    assert_eq!(strerror(Errno::ENOTTY), "Inappropriate ioctl for device");
    assert_eq!(strerror(Errno::EBUSY), "Device or resource busy");
    assert_eq!(strerror(Errno::EOPNOTSUPP), "Operation not supported");
}
