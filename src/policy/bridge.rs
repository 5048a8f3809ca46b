//! The bridge to attach to.

use crate::error::Error;
use crate::model::bridge::BridgeInfo;
use crate::model::link::{Link, LinkRef};
use crate::model::spec::TapSpec;
use crate::model::state::CurrentState;

/// The MTU of a new bridge (`ETH_DATA_LEN` in linux/if_ether.h).
const NEW_BRIDGE_MTU: u32 = 1500;

/// The bridge to attach to: it exists, or is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetBridge {
    pub(crate) link: LinkRef,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// The data that only bridges have.
    pub(crate) info: BridgeInfo,
    /// It does not exist yet.
    pub(crate) is_new: bool,
}

impl TargetBridge {
    /// A bridge that exists, if that interface is one.
    pub(super) fn existing(link: &Link) -> Option<Self> {
        Some(Self {
            link: link.link_ref(),
            mtu: link.mtu,
            up: link.up,
            info: *link.bridge()?,
            is_new: false,
        })
    }
}

/// The bridge: one that exists and has what is wanted of it, or one that may be created.
pub(super) fn resolve_bridge(spec: &TapSpec, state: &CurrentState) -> Result<TargetBridge, Error> {
    let bridge = match (&state.bridge, &spec.create_bridge) {
        (Some(link), _) => TargetBridge::existing(link).ok_or_else(|| Error::NotABridge {
            name: link.name,
            kind: link.kind.clone(),
        })?,
        (None, Some(_)) => {
            if let Some((address, interface)) = state.network_in_use {
                return Err(Error::NetworkInUse {
                    bridge: spec.bridge,
                    address,
                    interface,
                });
            }
            TargetBridge {
                link: LinkRef {
                    index: state.ids.index,
                    name: spec.bridge,
                },
                mtu: NEW_BRIDGE_MTU,
                up: true,
                // As the kernel creates it.
                info: BridgeInfo {
                    vlan_filtering: spec.vlans.is_some(),
                    default_pvid: Some(1),
                    snoops_multicast: true,
                    ..BridgeInfo::default()
                },
                is_new: true,
            }
        }
        (None, None) => {
            return Err(Error::NoSuchBridge {
                name: spec.bridge,
                existing: state.bridges.clone(),
            });
        }
    };
    if let (Some(Some(mac)), Some(interface)) = (spec.lock_mac, state.mac_in_use) {
        return Err(Error::MacInUse {
            mac: mac.into(),
            bridge: spec.bridge,
            interface,
        });
    }
    if spec.vlans.is_some() && !bridge.info.vlan_filtering {
        return Err(Error::VlanFilteringOff(spec.bridge));
    }
    Ok(bridge)
}
