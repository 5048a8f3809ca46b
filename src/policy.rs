//! May this caller do this to this interface? Pure: the facts come in, a verdict goes out.
//!
//! Root may do all of it. Others, to whom the program lends its capability, may do to their own taps what root's ACL
//! allows. Nobody may touch what is not a tap.

#![forbid(unsafe_code)]

use crate::acl::{ACL_FILE, Acl, Verdict};
use crate::caller::{Authority, Caller};
use crate::cli::{Access, Settings};
use crate::conf::CONF_FILE;
use crate::error::Error;
use crate::facts::{
    Address, BridgeInfo, Facts, Kind, Link, LinkRef, Mac, PortState, Random, TapInfo,
};
use crate::name::IfName;
use crate::step::NewBridge;
use crate::text::ShellWord;
use crate::vlan::{PortVlan, VlanWish};

/// What is wanted of a tap that is to be brought up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its name.
    pub tap: IfName,
    /// The bridge to attach to.
    pub bridge: IfName,
    /// Who may open it, where the caller said so.
    pub access: Option<Access<u32>>,
    /// It takes several queues.
    pub multi_queue: bool,
    /// Its MTU, if it is not to be the bridge's.
    pub mtu: Option<u32>,
    /// Make the bridge, with these addresses, if it is not there.
    pub create_bridge: Option<Vec<Address>>,
    /// The port may not talk to other isolated ports.
    pub isolated: bool,
    /// The VLANs of the port, if they matter.
    pub vlans: Option<VlanWish>,
    /// Wait until it forwards, for this many seconds at most.
    pub wait: Option<u32>,
    /// How many taps a user may have, if root has said so.
    pub max_taps: Option<u32>,
    /// Root's configuration speaks of taps of such a name.
    pub name_is_known: bool,
}

/// The bridge to attach to: there, or to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// By number and name.
    pub link: LinkRef,
    /// Its MTU.
    pub mtu: u32,
    /// It is up.
    pub up: bool,
    /// What is particular to bridges.
    pub info: BridgeInfo,
    /// How to make it, if it is not there.
    pub new: Option<NewBridge>,
}

/// A tap that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The interface.
    pub link: Link,
    /// What is particular to taps.
    pub info: TapInfo,
    /// What it is a port of.
    pub master: Option<LinkRef>,
    /// We have it open: QEMU passed its descriptor on, or it was made to be handed over.
    pub at_hand: bool,
    /// Its VLANs as a port, if they matter; in order.
    pub vlans: Vec<PortVlan>,
}

/// Whose wish is judged, by which rules.
#[derive(Debug)]
pub struct Judge<'a> {
    caller: &'a Caller,
    /// For callers to whom the privilege is lent. None where there is no file: then nothing is allowed to them.
    acl: Option<&'a Acl>,
    /// Nothing will be changed.
    dry_run: bool,
}

/// Leave to bring a tap up. Only [`Judge::may_bring_up`] gives it, and no plan is made without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpLeave {
    /// What is wanted.
    pub wish: Wish,
    /// The tap, if it is there already.
    pub tap: Option<Tap>,
    /// The bridge; it is one.
    pub bridge: Bridge,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// Who may open the tap if it is made, or if nobody in particular may so far.
    pub access: Access<u32>,
    /// How many taps those may have, if that is limited.
    pub quota: Option<u32>,
    /// For the address of a tap that is made.
    pub random: Random,
    _given: Given,
}

/// Leave to take a tap down. Only [`Judge::may_take_down`] gives it, and no plan is made without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownLeave {
    /// The name that was given.
    pub name: IfName,
    /// The tap, if it is still there.
    pub tap: Option<Tap>,
    /// Remove it as well.
    pub delete: bool,
    _given: Given,
}

/// Leave to make a tap of the kernel's choosing, which lives no longer than this program unless it is handed over.
#[derive(Debug)]
pub struct MakeLeave {
    /// Whose it is.
    pub access: Access<u32>,
    _given: Given,
}

/// Cannot be made outside this module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given;

impl UpLeave {
    /// Why the guest will certainly have no network although all went well, if so; `docker_drops` says whether Docker
    /// drops what bridges forward.
    pub fn warning(&self, docker_drops: bool) -> Option<String> {
        let Bridge { link, info, up, .. } = &self.bridge;
        let (name, word) = (link.name, ShellWord(link.name.as_bytes()));
        if !up {
            let mend = format!("ip link set dev {word} up");
            return Some(format!("warning: {name} is down, no frame passes: {mend}"));
        }
        let forwards = |tap: &Tap| {
            let is_port = tap.link.is_open() && tap.link.master == Some(link.index);
            is_port
                && tap
                    .link
                    .port
                    .is_some_and(|port| port.state == PortState::Forwarding)
        };
        if info.stp && self.wish.wait.is_none() && !self.tap.as_ref().is_some_and(forwards) {
            let seconds = info.seconds_to_forwarding();
            return Some(format!(
                "warning: {name} has STP, so the guest has no network for {seconds} s: --wait {}, or ip link set dev {word} type bridge stp_state 0",
                seconds + 5
            ));
        }
        docker_drops.then(|| {
            format!(
                "warning: frames on {name} go through iptables, where Docker drops them: sysctl net.bridge.bridge-nf-call-iptables=0"
            )
        })
    }
}

impl<'a> Judge<'a> {
    /// A judge of this caller's wishes.
    pub fn new(caller: &'a Caller, acl: Option<&'a Acl>, dry_run: bool) -> Self {
        Self {
            caller,
            acl,
            dry_run,
        }
    }

    /// Judges a wish to make a tap for this bridge.
    ///
    /// # Errors
    /// The caller may not attach to the bridge.
    pub fn may_make_for(&self, bridge: IfName) -> Result<MakeLeave, Error> {
        self.has_privilege()?;
        self.may_attach_to(bridge)?;
        Ok(MakeLeave {
            access: Access::Owner(self.caller.invoking_uid()?),
            _given: Given,
        })
    }

    /// Judges a wish to bring a tap up, of which `asked` is what the caller said himself; the rest is root's.
    ///
    /// # Errors
    /// The caller may not, the tap is none or cannot become what is wanted, or the bridge is none.
    pub fn may_bring_up(
        &self,
        wish: Wish,
        asked: &Settings,
        facts: Facts,
    ) -> Result<UpLeave, Error> {
        self.has_privilege()?;
        self.may_attach_to(wish.bridge)?;
        self.may_ask(asked)?;
        if asked.access.is_some() {
            self.may_give_away(wish.access)?;
        }
        let ipv6 = facts.ipv6;
        let random = facts.random;
        let bridge = bridge(&wish, facts.bridge.as_ref(), random)?;
        let tap = self.own_tap(wish.tap, facts)?;
        if asked.mtu.is_some() {
            self.may_set_mtu(wish.mtu, bridge.mtu)?;
        }
        match &tap {
            Some(tap) => can_become(&wish, tap)?,
            None => self.may_take_name(&wish)?,
        }
        let quota = wish.max_taps.unwrap_or(MAX_TAPS);
        let access = match wish.access {
            Some(access) => access,
            None => Access::Owner(self.caller.invoking_uid()?),
        };
        Ok(UpLeave {
            wish,
            tap,
            bridge,
            ipv6,
            access,
            quota: self.is_bound().then_some(quota),
            random,
            _given: Given,
        })
    }

    /// Judges a wish to take a tap down.
    ///
    /// # Errors
    /// The caller may not, or the interface is no tap.
    pub fn may_take_down(
        &self,
        name: IfName,
        delete: bool,
        facts: Facts,
    ) -> Result<DownLeave, Error> {
        self.has_privilege()?;
        Ok(DownLeave {
            name,
            tap: self.own_tap(name, facts)?,
            delete,
            _given: Given,
        })
    }

    /// Without a privilege there is nothing to judge, but a plan can be shown: it is for whoever has one.
    fn has_privilege(&self) -> Result<(), Error> {
        match self.caller.authority() {
            Authority::Root | Authority::Lent => Ok(()),
            Authority::None if self.dry_run => Ok(()),
            Authority::None => Err(Error::NoPrivilege),
        }
    }

    /// The rules below are for those to whom the privilege is lent.
    fn is_bound(&self) -> bool {
        self.caller.authority() == Authority::Lent
    }

    /// Options that shape the network rather than a tap are the administrator's; he gives them to users in the
    /// configuration.
    fn may_ask(&self, asked: &Settings) -> Result<(), Error> {
        let options = [
            (asked.create_bridge, "--create-bridge"),
            (!asked.addresses.is_empty(), "--address"),
            (asked.pvid.is_some(), "--pvid"),
            (!asked.vlans.is_empty(), "--vlans"),
            (asked.max_taps.is_some(), "--max-taps"),
        ];
        match options.iter().find(|(is_asked, _)| *is_asked) {
            Some((_, option)) if self.is_bound() => Err(Error::Refused {
                doing: format!("use {option}"),
                reason: "it is the administrator's option".to_owned(),
                hint: "root may; or root gives it to users in /etc/qemu-ifup.conf".to_owned(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn may_attach_to(&self, bridge: IfName) -> Result<(), Error> {
        self.acl_allows(bridge, || format!("attach to {bridge}"))
    }

    fn acl_allows(&self, bridge: IfName, doing: impl Fn() -> String) -> Result<(), Error> {
        if !self.is_bound() {
            return Ok(());
        }
        let word = ShellWord(bridge.as_bytes());
        let add = format!("to allow it, root adds this line to {ACL_FILE}: allow {word}");
        let (reason, hint) = match self.acl.map(|acl| acl.judge(bridge)) {
            Some(Verdict::Allowed) => return Ok(()),
            Some(Verdict::Denied(place)) => (
                format!("denied by {place}"),
                format!(
                    "a denial outweighs every allow: root would have to remove it from {place}"
                ),
            ),
            Some(Verdict::NotAllowed) => (format!("no line of {ACL_FILE} allows {bridge}"), add),
            None => (format!("there is no {ACL_FILE} to allow it"), add),
        };
        Err(Error::Refused {
            doing: doing(),
            reason,
            hint,
        })
    }

    /// A tap is made for its maker: anything else would be a way to put an interface into somebody else's hands.
    fn may_give_away(&self, access: Option<Access<u32>>) -> Result<(), Error> {
        match access {
            Some(access) if self.is_bound() && access != Access::Owner(self.caller.real_uid()) => {
                Err(only_root(
                    format!("give a tap to {access}"),
                    "only root gives taps to others",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One port with a small MTU pulls the bridge, and everybody on it, down to it; a large one pulls up a bridge without other
    /// ports.
    fn may_set_mtu(&self, mtu: Option<u32>, bridge: u32) -> Result<(), Error> {
        match mtu {
            Some(mtu) if self.is_bound() && mtu != bridge => Err(only_root(
                format!("set MTU {mtu}"),
                "it is not the bridge's, and the bridge, with everybody on it, would follow",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A name that a user chooses must not be taken for another interface's: by the administrator, by a firewall, by a program
    /// that waits for it.
    fn may_take_name(&self, wish: &Wish) -> Result<(), Error> {
        let name = wish.tap.as_bytes();
        let is_a_taps = name.starts_with(b"tap") || name.starts_with(b"vnet");
        if !self.is_bound() || is_a_taps || wish.name_is_known {
            return Ok(());
        }
        let word = ShellWord(name);
        Err(Error::Refused {
            doing: "make it".to_owned(),
            reason: "a user's tap has a name such as tap0 or vnet0".to_owned(),
            hint: format!(
                "choose such a name; or root makes it (sudo qemu-ifup {word}), or writes a line for such names into {CONF_FILE}: web* --bridge {}",
                ShellWord(wish.bridge.as_bytes())
            ),
        })
    }

    /// No interface but a tap is ever touched, whoever asks; and by those who are not root, none but their own, and
    /// not out of a bridge that they could not have put it into.
    fn own_tap(&self, name: IfName, facts: Facts) -> Result<Option<Tap>, Error> {
        let Some(link) = facts.tap else {
            return Ok(None);
        };
        let info = match link.kind {
            Kind::Tap(info) => info,
            Kind::Tun | Kind::Bridge(_) | Kind::Other(_) | Kind::Plain => {
                return Err(Error::NotATap {
                    name,
                    kind: link.kind.to_string(),
                });
            }
        };
        if self.is_bound() {
            if !self.owns(&info) {
                return Err(only_root(
                    "use it".to_owned(),
                    match info.owner {
                        Some(uid) if uid != self.caller.real_uid() => "it is another user's",
                        None if info.group.is_none() => "it has no owner, so it is not yours",
                        Some(_) | None => "it is for a group that you are not in",
                    },
                ));
            }
            if let Some(master) = facts.master {
                self.acl_allows(master.name, || format!("take it out of {}", master.name))?;
            }
        }
        Ok(Some(Tap {
            link,
            info,
            master: facts.master,
            at_hand: facts.at_hand,
            vlans: facts.vlans,
        }))
    }

    /// The kernel's own rule for opening a tap (`tun_not_capable()` in drivers/net/tun.c), but for one that names
    /// nobody: that one everybody can open, and so it is nobody's.
    fn owns(&self, info: &TapInfo) -> bool {
        let owner = info.owner.map(|uid| uid == self.caller.real_uid());
        let group = info.group.map(|gid| self.caller.is_in_group(gid));
        (owner.is_some() || group.is_some()) && owner != Some(false) && group != Some(false)
    }
}

fn only_root(doing: String, reason: &str) -> Error {
    Error::Refused {
        doing,
        reason: reason.to_owned(),
        hint: "root may: run it through sudo".to_owned(),
    }
}

/// The bridge, if it is one and has what is wanted of it, or how to make it.
fn bridge(wish: &Wish, found: Option<&Link>, random: Random) -> Result<Bridge, Error> {
    let bridge = match (found, &wish.create_bridge) {
        (Some(link), _) => match link.kind {
            Kind::Bridge(info) => Bridge {
                link: link.reference(),
                mtu: link.mtu,
                up: link.up,
                info,
                new: None,
            },
            Kind::Tap(_) | Kind::Tun | Kind::Other(_) | Kind::Plain => {
                return Err(Error::NotABridge {
                    name: link.name,
                    kind: link.kind.to_string(),
                });
            }
        },
        (None, Some(addresses)) => {
            let link = LinkRef {
                index: random.index,
                name: wish.bridge,
            };
            let new = NewBridge {
                link,
                mac: Mac::local_from(random.bridge),
                addresses: addresses.clone(),
                vlan_filtering: wish.vlans.is_some(),
            };
            Bridge {
                link,
                mtu: NEW_BRIDGE_MTU,
                up: true,
                info: BridgeInfo {
                    vlan_filtering: new.vlan_filtering,
                    ..NEW_BRIDGE
                },
                new: Some(new),
            }
        }
        (None, None) => {
            return Err(Error::NoBridge {
                name: wish.bridge,
                others: Vec::new(),
            });
        }
    };
    if wish.vlans.is_some() && !bridge.info.vlan_filtering {
        return Err(Error::NoVlanFiltering(wish.bridge));
    }
    Ok(bridge)
}

/// The MTU of a new bridge (`ETH_DATA_LEN` in linux/if_ether.h).
const NEW_BRIDGE_MTU: u32 = 1500;
/// How the kernel makes a bridge that is not told otherwise.
const NEW_BRIDGE: BridgeInfo = BridgeInfo {
    stp: false,
    forward_delay: 0,
    vlan_filtering: false,
    default_pvid: Some(1),
};

/// How many taps a user may have if root does not say: each costs the kernel memory, and the bridge a port.
const MAX_TAPS: u32 = 64;

/// What the kernel lets nobody change about a tap that exists.
fn can_become(wish: &Wish, tap: &Tap) -> Result<(), Error> {
    let fixed = |doing: String, reason| {
        Err(Error::FixedTap {
            name: tap.link.name,
            doing,
            reason,
        })
    };
    // QEMU made its tap with as many queues as it wants; the option is about taps that we make.
    if wish.multi_queue && !tap.info.multi_queue && !tap.at_hand {
        return fixed(
            "give it several queues".to_owned(),
            "it was made for one, and the kernel cannot change that",
        );
    }
    let TapInfo { owner, group, .. } = tap.info;
    let (doing, other) = match wish.access {
        Some(Access::Owner(uid)) if owner != Some(uid) => (
            format!("set the owner to uid {uid}"),
            group.map(|_| "it has a group, which the kernel cannot take back"),
        ),
        Some(Access::Group(gid)) if group != Some(gid) => (
            format!("set the group to gid {gid}"),
            owner.map(|_| "it has an owner, whom the kernel cannot take back"),
        ),
        Some(_) | None => return Ok(()),
    };
    if let Some(reason) = other {
        return fixed(doing, reason);
    }
    if tap.link.is_open() && !tap.at_hand {
        let name = tap.link.name;
        return Err(Error::TapInUse { name, doing });
    }
    Ok(())
}
