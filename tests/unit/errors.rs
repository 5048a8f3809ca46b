//! Errors that cannot be provoked here: exit code and hint.

use crate::build::name;
use qemu_ifup::error::Error;
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::model::link::LinkKind;

#[test]
fn what_is_no_bridge_has_a_hint_for_its_kind() {
    let into_bridge = "ip link add br0 type bridge && ip link set w0 master br0";
    let table = [
        (Some("openvswitch"), "ovs-vsctl add-port w0 "),
        (Some("bond"), into_bridge),
        (Some("team"), into_bridge),
        (None, into_bridge),
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
        assert!(found.contains(hint), "{word:?}: {found}");
        assert_eq!(
            found.matches("w0").count(),
            hint.matches("w0").count(),
            "{found}"
        );
    }
}
