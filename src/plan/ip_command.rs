//! Each step as the ip(8) and bridge(8) commands that do the same.

use crate::escape::ShellQuoted;
use crate::model::bridge::{PortOption, fdb_changes};
use crate::model::change::{LinkUpdate, NewBridge};
use crate::model::if_name::IfName;
use crate::model::link::Qdisc;
use crate::model::spec::{Quota, TapAccess};
use crate::model::vlan::{PortVlan, difference, group_ranges};
use crate::plan::step::Step;

impl Step {
    /// The command that does the same, as a line for sh; a comment if there is none.
    pub(crate) fn ip_command(&self, tap: IfName) -> String {
        let dev = ShellQuoted(tap.as_bytes());
        match self {
            Self::CreateBridge(bridge) => create_bridge(bridge),
            Self::DeleteBridge(bridge) => {
                let bridge = ShellQuoted(bridge.link.name.as_bytes());
                format!("ip link delete dev {bridge}")
            }
            Self::CheckQuota(Quota { user, max, max_all }) => {
                format!(
                    "# refused if uid {} has {max} other taps, or all users together {max_all}",
                    user.0
                )
            }
            Self::CreateTap {
                access,
                multi_queue,
            } => {
                let queues = if *multi_queue { " multi_queue" } else { "" };
                let (word, id) = match access {
                    TapAccess::Owner(uid) => ("user", uid),
                    TapAccess::Group(gid) => ("group", gid),
                };
                format!("ip tuntap add dev {dev} mode tap {word} {id}{queues}")
            }
            Self::SetLink(update) => set_link(dev, update),
            Self::SetPort(options) => {
                let flush = if options.get(PortOption::Learning) == Some(false) {
                    format!("\nip link set dev {dev} type bridge_slave fdb_flush")
                } else {
                    String::new()
                };
                format!("bridge link set dev {dev} {options}{flush}")
            }
            Self::SetFdb { from, to } => {
                let (removed, added) = fdb_changes(from, to);
                let del = |mac| format!("bridge fdb del {mac} dev {dev} master");
                let add = |(mac, sticky)| {
                    let sticky = if sticky { " sticky" } else { "" };
                    format!("bridge fdb replace {mac} dev {dev} master static{sticky}")
                };
                let lines = removed.into_iter().map(del);
                let lines = lines.chain(added.into_iter().map(add));
                lines.collect::<Vec<_>>().join("\n")
            }
            Self::SetVlans { from, to } => set_vlans(dev, from, to),
            Self::SetAccess { access, has_fd } => {
                let how = if *has_fd {
                    "QEMU's own descriptor"
                } else {
                    "TUNSETOWNER or TUNSETGROUP"
                };
                format!(
                    "# {dev} is given to {access} through {how}; ip(8) cannot do that to a tap that exists"
                )
            }
            Self::Up(_) => format!("ip link set dev {dev} up"),
            Self::DropPrivileges => "# from here on without any privilege".to_owned(),
            Self::WaitForwarding { seconds, .. } => format!(
                "# {dev} is waited for until it forwards, {seconds} s at most; ip(8) cannot do that"
            ),
            Self::PassFd => {
                format!("# {dev} is handed over to QEMU (SCM_RIGHTS) and goes when QEMU does")
            }
            Self::SetPersist => format!(
                "# {dev} stays from here on (TUNSETPERSIST); ip tuntap add did that at once"
            ),
            Self::DeleteTap => format!("ip link delete dev {dev}"),
            Self::ReleaseTap => format!("ip tuntap del dev {dev} mode tap"),
        }
    }
}

fn set_link(dev: ShellQuoted<'_>, update: &LinkUpdate) -> String {
    let qdisc = update.qdisc.map(|qdisc| match qdisc {
        Qdisc::Noqueue => format!("tc qdisc replace dev {dev} root noqueue"),
        Qdisc::Default => format!("tc qdisc delete dev {dev} root"),
    });
    let args = Some(update.ip_link_args()).filter(|args| !args.is_empty());
    let link = args.map(|args| format!("ip link set dev {dev}{args}"));
    qdisc.into_iter().chain(link).collect::<Vec<_>>().join("\n")
}

fn create_bridge(new: &NewBridge) -> String {
    let bridge = ShellQuoted(new.link.name.as_bytes());
    let mac = new.mac;
    let filtering = if new.vlan_filtering {
        " vlan_filtering 1"
    } else {
        ""
    };
    let mut lines = vec![format!(
        "ip link add name {bridge} address {mac} type bridge stp_state 0 forward_delay 0{filtering}"
    )];
    let addresses = new.addresses.iter();
    lines.extend(addresses.map(|address| format!("ip address add {address} dev {bridge}")));
    lines.push(format!("ip link set dev {bridge} up"));
    lines.join("\n")
}

/// The old VLANs are deleted first, since a port has one PVID.
fn set_vlans(dev: ShellQuoted<'_>, from: &[PortVlan], to: &[PortVlan]) -> String {
    let mut lines = Vec::new();
    for (verb, changing, kept) in [("del", from, to), ("add", to, from)] {
        for (vlan, last) in group_ranges(&difference(changing, kept)) {
            let mut line = format!("bridge vlan {verb} dev {dev} vid {}", vlan.vid);
            if last != vlan.vid {
                line += &format!("-{last}");
            }
            if verb == "add" && vlan.pvid {
                line += " pvid";
            }
            if verb == "add" && vlan.untagged {
                line += " untagged";
            }
            lines.push(line);
        }
    }
    lines.join("\n")
}
