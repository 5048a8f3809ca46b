//! May this caller do this to this interface? Pure: the facts come in, a verdict goes out.

#![forbid(unsafe_code)]

use crate::caller::Caller;
use crate::cli::Access;
use crate::error::Error;
use crate::facts::{Facts, Kind, Link, LinkRef, TapInfo};
use crate::name::IfName;

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
    /// QEMU passed on a descriptor that has it open.
    pub inherited: bool,
}

/// Leave to bring a tap up. Only [`may_bring_up`] gives it, and no plan is made without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpLeave {
    /// What is wanted.
    pub wish: Wish,
    /// The tap, if it is there already.
    pub tap: Option<Tap>,
    /// The bridge; it is one.
    pub bridge: Link,
    /// Who may open the tap if it is made, or if nobody in particular may so far.
    pub access: Access<u32>,
    /// For the address of a tap that is made.
    pub random: [u8; 5],
    _given: Given,
}

/// Leave to take a tap down. Only [`may_take_down`] gives it, and no plan is made without.
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

/// Cannot be made outside this module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given;

/// Judges a wish to bring a tap up.
///
/// # Errors
/// The caller may not, the tap is none or cannot become what is wanted, or the bridge is none.
pub fn may_bring_up(caller: &Caller, wish: Wish, facts: Facts) -> Result<UpLeave, Error> {
    may_change_interfaces(caller)?;
    let bridge = facts.bridge.ok_or(Error::NoBridge(wish.bridge))?;
    if bridge.kind != Kind::Bridge {
        return Err(Error::NotABridge {
            name: bridge.name,
            kind: bridge.kind.to_string(),
        });
    }
    let access = match wish.access {
        Some(access) => access,
        None => Access::Owner(caller.invoking_uid()?),
    };
    let tap = tap(facts.tap, facts.master, facts.inherited)?;
    if let Some(tap) = &tap {
        can_become(&wish, tap)?;
    }
    Ok(UpLeave {
        wish,
        tap,
        bridge,
        access,
        random: facts.random,
        _given: Given,
    })
}

/// Judges a wish to take a tap down.
///
/// # Errors
/// The caller may not, or the interface is no tap.
pub fn may_take_down(
    caller: &Caller,
    name: IfName,
    delete: bool,
    facts: Facts,
) -> Result<DownLeave, Error> {
    may_change_interfaces(caller)?;
    Ok(DownLeave {
        name,
        tap: tap(facts.tap, facts.master, facts.inherited)?,
        delete,
        _given: Given,
    })
}

/// Is known before anything is observed, but judged here with the rest.
fn may_change_interfaces(caller: &Caller) -> Result<(), Error> {
    if caller.real_uid() == 0 {
        Ok(())
    } else {
        Err(Error::NotRoot)
    }
}

/// No interface but a tap is ever touched, whoever asks.
fn tap(link: Option<Link>, master: Option<LinkRef>, inherited: bool) -> Result<Option<Tap>, Error> {
    let Some(link) = link else { return Ok(None) };
    match link.kind {
        Kind::Tap(info) => Ok(Some(Tap {
            link,
            info,
            master,
            inherited,
        })),
        Kind::Tun | Kind::Bridge | Kind::Other(_) | Kind::Plain => Err(Error::NotATap {
            name: link.name,
            kind: link.kind.to_string(),
        }),
    }
}

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
    if wish.multi_queue && !tap.info.multi_queue && !tap.inherited {
        return fixed(
            "give it several queues".to_owned(),
            "it was made for one, and the kernel cannot change that",
        );
    }
    let Some(access) = wish.access else {
        return Ok(());
    };
    let TapInfo { owner, group, .. } = tap.info;
    match access {
        Access::Owner(uid) if owner != Some(uid) => {
            let doing = format!("set the owner to uid {uid}");
            if group.is_some() {
                return fixed(doing, "it has a group, which the kernel cannot take back");
            }
            if tap.link.carrier && !tap.inherited {
                return fixed(doing, "another program has it open");
            }
        }
        Access::Group(gid) if group != Some(gid) => {
            let doing = format!("set the group to gid {gid}");
            if owner.is_some() {
                return fixed(doing, "it has an owner, whom the kernel cannot take back");
            }
            if tap.link.carrier && !tap.inherited {
                return fixed(doing, "another program has it open");
            }
        }
        Access::Owner(_) | Access::Group(_) => {}
    }
    Ok(())
}
