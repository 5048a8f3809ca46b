//! Errors that cannot be provoked here: exit code and hint.

use crate::build::name;
use nix::errno::Errno;
use qemu_ifup::error::Error;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::model::link::LinkKind;
use qemu_ifup::sys::error::{SysError, strerror};

#[test]
fn what_is_no_bridge_has_a_hint_for_its_kind() {
    // Tried by hand: a card that is put into a bridge takes the host's address along, and the host off its network.
    let uplink = "to have w0 in one is for the program that manages the host's network";
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
            error.to_string().contains(word.unwrap_or("network card")),
            "{error}"
        );
        let found = error.hint().unwrap();
        assert!(!found.contains("master"), "{found}");
        assert!(found.contains(hint), "{word:?}: {found}");
        assert_eq!(
            found.matches("w0").count(),
            hint.matches("w0").count(),
            "{found}"
        );
    }
}

#[test]
fn what_nobody_foresaw_is_to_be_reported_with_what_is_needed() {
    for reason in [SysError::Protocol("odd"), SysError::Invalid("odd")] {
        let error = Error::failed("look", reason);
        assert_eq!(error.exit_code(), ExitCode::Unexpected);
        let hint = error.hint().unwrap();
        for part in ["please report", "qemu-ifup --version", "qemu-ifup --check"] {
            assert!(hint.contains(part), "{hint}");
        }
    }
}

#[test]
fn a_kernel_without_what_a_bridge_takes_has_its_cause_and_a_hint() {
    for (text, hint) in [
        ("Unknown device type", "sudo modprobe bridge"),
        ("this kernel has no VLAN filtering", "leave out --pvid"),
    ] {
        let reason = SysError::Errno {
            errno: Errno::EOPNOTSUPP,
            ext_ack: Some(text.into()),
        };
        let error = Error::failed("create the bridge br0", reason);
        assert_eq!(error.exit_code(), ExitCode::Kernel);
        let found = error.hint().unwrap();
        assert!(found.contains(hint), "{found}");
        let expected = format!("cannot create the bridge br0: {text} (Operation not supported)");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn errors_have_the_words_that_people_search_for() {
    assert_eq!(strerror(Errno::ENOTTY), "Inappropriate ioctl for device");
    assert_eq!(strerror(Errno::EBUSY), "Device or resource busy");
    assert_eq!(strerror(Errno::EOPNOTSUPP), "Operation not supported");
}
