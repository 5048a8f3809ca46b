//! BPDUs on a bridge with STP, which the kernel takes in its first network namespace only: in a guest the programs run in that.

use crate::common::needs;
use crate::common::security::{EVIL, TO_BE_ROOT, bpdu, table, text};
use crate::guest::second_kernel::second_kernel;
use crate::guest::{Guest, sandbox};

/// What comes of a BPDU that says that its sender is the root of all bridges.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    is_believed: bool,
    is_port_shut: bool,
}

impl Guest {
    /// Whoever holds tap0 sends it when qemu-ifup has made a port of it, as for QEMU. A port that was shut is open again after a
    /// change of its carrier.
    fn claim_to_be_root(&mut self, options: &str) -> Outcome {
        let said = self.sh(&format!(
            "cd /sys/class/net
             until_is() {{ until [ $(cat $1) = $2 ]; do sleep 0.1; done; }}
             state=tap0/brport/state
             {{
                 until [ -e tap0 ]; do sleep 0.1; done
                 qemu-ifup {options} tap0
                 until_is $state 1
                 cat /bpdu
                 # The bridge has seen a frame before it is counted.
                 until_is tap0/statistics/rx_packets 1
                 cat br0/bridge/root_id $state >&2
                 qemu-ifup --check tap0 | grep -c \"port tap0 is disabled\" >&2
                 ip link set dev tap0 carrier off
                 ip link set dev tap0 carrier on
                 until_is $state 1
             }} | tool send tap0"
        ));
        self.assert_only(&["lo", "br0"]);
        let lines: Vec<&str> = said.lines().collect();
        let [.., root, state, told] = lines[..] else {
            panic!("{said}")
        };
        assert_eq!(told == "1", state == "0", "{said}");
        Outcome {
            is_believed: root == format!("0000.{}", text(EVIL).replace(':', "")),
            is_port_shut: state == "0",
        }
    }
}

#[test]
fn a_guest_is_the_root_of_a_bridge_with_stp_unless_an_option_stops_it_as_security_md_says() {
    let Some(sandbox) = sandbox() else { return };
    if !needs("rustc") {
        return;
    }
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/matrix.d/tool.rs");
    sandbox.sh(&format!(
        r#"mkdir -p "$DIR/root/sbin"
        rustc --edition 2024 -C strip=symbols -C target-feature=+crt-static -o "$DIR/root/sbin/tool" {tool}"#
    ));
    let mut guest = second_kernel(&sandbox, "stp_state 1");
    let bpdu = bpdu();
    let octal: String = bpdu.iter().map(|byte| format!("\\{byte:03o}")).collect();
    guest.sh(&format!("printf '{octal}' >/bpdu"));

    let mut row = vec![TO_BE_ROOT.to_owned()];
    let table = table();
    for options in &table[0][1..] {
        let options = options.replace("default", "").replace("MAC", &text(EVIL));
        let stopped = !guest.claim_to_be_root(&options).is_believed;
        row.push(if stopped { "stopped" } else { "" }.to_owned());
    }
    assert_eq!(table.iter().find(|row| row[0] == TO_BE_ROOT), Some(&row));

    let stopped = Outcome {
        is_believed: false,
        is_port_shut: false,
    };
    assert_eq!(guest.claim_to_be_root("--root-block"), stopped);
    let shut = Outcome {
        is_port_shut: true,
        ..stopped
    };
    for options in ["--guard", "--lock-mac 52:54:00:00:00:01"] {
        assert_eq!(guest.claim_to_be_root(options), shut, "{options}");
    }
}
