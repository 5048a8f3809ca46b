//! The steps that restrict a bridge port, and the settings that it must have when it goes up.

use crate::model::addr::MacAddr;
use crate::model::bridge::{PortOption, PortOptions, has_exactly, locked_entries};
use crate::plan::step::{Port, Step};
use crate::policy::authorize::AuthorizedUp;
use crate::policy::tap::ExistingTap;

/// The steps for settings that the port does not have yet, and all settings that are wanted. `port` is the tap if it is a
/// port of the bridge already; a port that has just joined has the kernel's defaults.
pub(super) fn port_steps(auth: &AuthorizedUp, port: Option<&ExistingTap>) -> (Vec<Step>, Port) {
    let current = match port {
        Some(tap) => tap.link.port.unwrap_or_default().options,
        None => PortOptions::of_new_port(),
    };
    let is_locked = current.is_on(PortOption::Locked);
    let mut wanted = Port {
        bridge: auth.bridge.link,
        options: auth.spec.port,
        vlans: None,
        fdb: None,
    };
    if auth.spec.lock_mac == Some(None) && is_locked {
        wanted.options = wanted.options.or(PortOptions::of_locked_port().inverted());
    }
    let options = Some(wanted.options.differing_from(current));
    let options = options.filter(|options| !options.is_empty());
    let mut steps: Vec<Step> = options.map(Step::SetPort).into_iter().collect();

    let mut vlans = match port {
        Some(tap) => tap.vlans.clone(),
        None => auth.bridge.info.vlans_of_new_port(),
    };
    // If a port is not locked, another program has added its static entries.
    let lock = auth.spec.lock_mac.filter(|mac| mac.is_some() || is_locked);
    let fdb = port.filter(|_| lock.is_some()).map(|tap| tap.fdb.clone());
    let mut fdb = fdb.unwrap_or_default();
    if auth.spec.vlans.is_some() {
        let to = auth.spec.wanted_vlans(vlans.clone());
        if vlans != to {
            // The kernel deletes an entry with its VLAN, and can add it only after the VLAN.
            if !fdb.is_empty() {
                let from = std::mem::take(&mut fdb);
                steps.push(Step::SetFdb {
                    from,
                    to: Vec::new(),
                });
            }
            let from = std::mem::replace(&mut vlans, to.clone());
            steps.push(Step::SetVlans { from, to });
        }
        wanted.vlans = Some(vlans.clone());
    }
    if let Some(mac) = lock {
        let filters = auth.bridge.info.vlan_filtering;
        let to = locked_entries(mac.map(MacAddr::from), filters, &vlans);
        wanted.fdb = Some(to.clone());
        if !has_exactly(&fdb, &to) {
            steps.push(Step::SetFdb { from: fdb, to });
        }
    }
    (steps, wanted)
}
