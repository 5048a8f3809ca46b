//! The steps that restrict a bridge port.

use crate::model::addr::MacAddr;
use crate::model::bridge::{FdbEntry, PortOption, PortOptions};
use crate::model::vlan::PortVlan;
use crate::plan::step::Step;
use crate::policy::authorize::AuthorizedUp;
use crate::policy::tap::ExistingTap;

/// What the port does not have yet of what is wanted. `port` is the tap where it is a port of the bridge already; one that
/// has just joined has the kernel's defaults.
pub(super) fn port_steps(auth: &AuthorizedUp, port: Option<&ExistingTap>) -> Vec<Step> {
    let current = match port {
        Some(tap) => tap.link.port.unwrap_or_default().options,
        None => PortOptions::of_new_port(),
    };
    let is_locked = current.is_on(PortOption::Locked);
    let mut wanted = auth.spec.port;
    if auth.spec.lock_mac == Some(None) && is_locked {
        wanted = wanted.or(PortOptions::of_locked_port().inverted());
    }
    let options = Some(wanted.differing_from(current));
    let options = options.filter(|options| !options.is_empty());
    let mut steps: Vec<Step> = options.map(Step::SetPort).into_iter().collect();

    let mut vlans = match port {
        Some(tap) => tap.vlans.clone(),
        None => {
            let default = auth.bridge.info.default_pvid;
            default.map(PortVlan::untagged).into_iter().collect()
        }
    };
    // The static entries of a port that is not locked are somebody else's.
    let lock = auth.spec.lock_mac.filter(|mac| mac.is_some() || is_locked);
    let fdb = port.filter(|_| lock.is_some()).map(|tap| tap.fdb.clone());
    let mut fdb = fdb.unwrap_or_default();
    if let Some(spec) = &auth.spec.vlans {
        let to = spec.resolve(&vlans);
        if vlans != to {
            // An entry goes with its VLAN, and comes back only after it.
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
    }
    let Some(mac) = lock else {
        return steps;
    };
    let vids: Vec<u16> = if auth.bridge.info.vlan_filtering {
        vlans.iter().map(|vlan| vlan.vid).collect()
    } else {
        vec![0]
    };
    let macs = mac.iter().map(|mac| MacAddr::from(*mac));
    let entry = |mac, vid| FdbEntry {
        mac,
        vid,
        sticky: true,
    };
    let of_mac = |mac| vids.iter().map(move |&vid| entry(mac, vid));
    let to: Vec<FdbEntry> = macs.flat_map(of_mac).collect();
    let is_missing = to.iter().any(|entry| !fdb.contains(entry));
    let is_more = fdb
        .iter()
        .any(|old| to.iter().all(|new| new.mac != old.mac));
    if is_missing || is_more {
        steps.push(Step::SetFdb { from: fdb, to });
    }
    steps
}
