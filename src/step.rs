//! The things that the kernel is asked to do, each with the ip(8) command that does the same.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::cli::Access;
use crate::facts::{AddrGenMode, Address, LinkRef, Mac};
use crate::name::IfName;
use crate::text::ShellWord;
use crate::vlan::{PortVlan, ranges, without};

/// What is to become of an interface in one RTM_SETLINK. `None` leaves a thing as it is.
///
/// The kernel acts on the parts in this order, whatever order they are sent in: address and MTU, flags, master,
/// addrgenmode (`do_setlink()` in net/core/rtnetlink.c), and stops at the first that fails. An interface that is up before it
/// is a port hands frames to the host itself, so no change brings one up: that is [`Step::Up`], after the join is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkChange {
    /// Its Ethernet address.
    pub address: Option<Mac>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// It goes down. A change of the master implies that.
    pub down: bool,
    /// What it is a port of; the inner `None` is nothing. It goes down before it leaves or joins.
    pub master: Option<Option<LinkRef>>,
    /// How it makes link-local addresses.
    pub addr_gen_mode: Option<AddrGenMode>,
}

/// A bridge that is to be made, up and without STP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBridge {
    /// Its name, and the number that it gets. That is chosen before it exists, so that the messages that give it its
    /// addresses can be sent together with the one that makes it: no kill comes between them.
    pub link: LinkRef,
    /// Its own Ethernet address. One that was set stays, whatever ports come and go.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// It keeps VLANs apart.
    pub vlan_filtering: bool,
}

/// One thing that the kernel is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the bridge, all of it or nothing.
    MakeBridge(NewBridge),
    /// Remove the bridge, unless somebody else's port is in it by now; the undo of [`Step::MakeBridge`].
    RemoveBridge(NewBridge),
    /// Make the tap. Until [`Step::Keep`] it lives only as long as this program.
    Make {
        /// Who may open it.
        access: Access<u32>,
        /// It takes several queues.
        multi_queue: bool,
    },
    /// Make sure that those who may open the tap have no more taps than they may: EDQUOT.
    Quota {
        /// Who.
        access: Access<u32>,
        /// How many they may have.
        most: u32,
        /// The tap is made already; else there has to be room for it.
        made: bool,
    },
    /// Change the tap.
    Change(LinkChange),
    /// Bring the tap up as a port of this bridge; the kernel refuses that for what is no port.
    Up(LinkRef),
    /// Say whether the port may talk to other isolated ports, and make sure that the kernel listened.
    Isolate(bool),
    /// Change the VLANs of the port, and make sure that it then has exactly those that it should.
    Vlans {
        /// Those it had.
        from: Vec<PortVlan>,
        /// Those it is to have.
        to: Vec<PortVlan>,
    },
    /// Wait until the port forwards.
    Wait {
        /// The bridge that it is a port of.
        bridge: IfName,
        /// For how many seconds at most.
        seconds: u32,
    },
    /// Say who may open a tap that exists.
    Give {
        /// Who.
        access: Access<u32>,
        /// Through a descriptor at hand; otherwise the tap is opened, just as it is, to do this.
        at_hand: bool,
    },
    /// Hand the tap's descriptor over to QEMU, which the tap then lives as long as. The other commit.
    HandOver,
    /// Make the tap stay when this program ends. This is the commit: before it, a kill leaves nothing of the tap behind.
    Keep,
    /// Remove a tap that was made and not kept, whoever else has it open by now; the undo of [`Step::Make`] and of all that
    /// was done to it.
    Abandon,
    /// Remove the tap.
    Delete,
}

impl Step {
    /// What the step does, to follow "cannot".
    pub fn purpose(&self) -> String {
        match self {
            Self::MakeBridge(bridge) => format!("make the bridge {}", bridge.link.name),
            Self::RemoveBridge(bridge) => format!("remove the bridge {}", bridge.link.name),
            Self::Make { .. } => "make it".to_owned(),
            Self::Isolate(true) => "isolate it".to_owned(),
            Self::Isolate(false) => "end its isolation".to_owned(),
            Self::Vlans { .. } => "set its VLANs".to_owned(),
            Self::Wait { .. } => "wait until it forwards".to_owned(),
            Self::Change(change) => match change.master {
                Some(Some(bridge)) => format!("attach to {}", bridge.name),
                Some(None) => "detach from its bridge".to_owned(),
                None if change.mtu.is_some()
                    || change.address.is_some()
                    || change.addr_gen_mode.is_some() =>
                {
                    format!("set {}", change.attributes().trim_start())
                }
                None => "bring it down".to_owned(),
            },
            Self::Quota { access, .. } => format!("count the taps of {access}"),
            Self::Up(_) => "bring it up".to_owned(),
            Self::Give { access, .. } => format!("give it to {access}"),
            Self::HandOver => "hand it over to QEMU".to_owned(),
            Self::Keep => "make it persistent".to_owned(),
            Self::Abandon => "give it up".to_owned(),
            Self::Delete => "remove it".to_owned(),
        }
    }

    /// The ip(8) command that does the same, as a line for sh; a comment where ip(8) has none.
    pub fn command(&self, tap: IfName) -> String {
        let dev = ShellWord(tap.as_bytes());
        match self {
            Self::MakeBridge(bridge) => bridge.commands(),
            Self::RemoveBridge(bridge) => {
                format!(
                    "ip link delete dev {}",
                    ShellWord(bridge.link.name.as_bytes())
                )
            }
            Self::Isolate(isolated) => {
                let word = if *isolated { "on" } else { "off" };
                format!("bridge link set dev {dev} isolated {word}")
            }
            Self::Vlans { from, to } => vlan_commands(dev, from, to),
            Self::Wait { seconds, .. } => format!(
                "# {dev} is waited for until it forwards, {seconds} s at most; ip(8) cannot do that"
            ),
            Self::Make {
                access,
                multi_queue,
            } => {
                let queues = if *multi_queue { " multi_queue" } else { "" };
                let (word, id) = match access {
                    Access::Owner(uid) => ("user", uid),
                    Access::Group(gid) => ("group", gid),
                };
                format!("ip tuntap add dev {dev} mode tap {word} {id}{queues}")
            }
            Self::Quota { access, most, made } => {
                let more = if *made { "more than " } else { "" };
                format!("# refused where {access} has {more}{most} taps")
            }
            Self::Change(change) => format!("ip link set dev {dev}{}", change.attributes()),
            Self::Up(_) => format!("ip link set dev {dev} up"),
            Self::Give { access, at_hand } => {
                let how = if *at_hand {
                    "QEMU's own descriptor"
                } else {
                    "TUNSETOWNER or TUNSETGROUP"
                };
                format!(
                    "# {dev} is given to {access} through {how}; ip(8) cannot do that to a tap that exists"
                )
            }
            Self::HandOver => {
                format!("# {dev} is handed over to QEMU (SCM_RIGHTS) and goes when QEMU does")
            }
            Self::Keep => format!(
                "# {dev} stays from here on (TUNSETPERSIST); ip tuntap add did that at once"
            ),
            Self::Abandon | Self::Delete => format!("ip link delete dev {dev}"),
        }
    }
}

impl NewBridge {
    fn commands(&self) -> String {
        let bridge = ShellWord(self.link.name.as_bytes());
        let mac = self.mac;
        let filtering = if self.vlan_filtering {
            " vlan_filtering 1"
        } else {
            ""
        };
        let mut lines = vec![format!(
            "ip link add name {bridge} address {mac} type bridge stp_state 0 forward_delay 0{filtering}"
        )];
        let addresses = self.addresses.iter();
        lines.extend(addresses.map(|address| format!("ip address add {address} dev {bridge}")));
        lines.push(format!("ip link set dev {bridge} up"));
        lines.join("\n")
    }
}

/// Those of `to` that are not in `from` are added, and the other way round removed: first, since a port has one PVID.
fn vlan_commands(dev: ShellWord<'_>, from: &[PortVlan], to: &[PortVlan]) -> String {
    let mut lines = Vec::new();
    for (verb, these, others) in [("del", from, to), ("add", to, from)] {
        for (vlan, last) in ranges(&without(these, others)) {
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

impl LinkChange {
    /// Whether the interface is down afterwards.
    pub fn takes_down(&self) -> bool {
        self.down || self.master.is_some()
    }

    /// As ip-link(8) spells it, each with a space before it.
    fn attributes(&self) -> String {
        let mut words = String::new();
        if let Some(address) = self.address {
            words += &format!(" address {address}");
        }
        if let Some(mtu) = self.mtu {
            words += &format!(" mtu {mtu}");
        }
        if let Some(mode) = self.addr_gen_mode {
            words += &format!(" addrgenmode {}", mode.word());
        }
        match self.master {
            Some(Some(bridge)) => {
                words += &format!(" master {}", ShellWord(bridge.name.as_bytes()));
            }
            Some(None) => words += " nomaster",
            None => {}
        }
        if self.down {
            words += " down";
        }
        words
    }
}

impl Display for Access<u32> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "uid {uid}"),
            Self::Group(gid) => write!(f, "gid {gid}"),
        }
    }
}
