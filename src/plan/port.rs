//! The steps that restrict a bridge port.

use crate::model::change::PortUpdate;
use crate::model::vlan::PortVlan;
use crate::plan::step::Step;
use crate::policy::authorize::AuthorizedUp;
use crate::policy::tap::ExistingTap;

/// What the port does not have yet of what is wanted. `port` is the tap where it is a port of the bridge already; one that
/// has just joined has the kernel's defaults.
pub(super) fn port_steps(auth: &AuthorizedUp, port: Option<&ExistingTap>) -> Vec<Step> {
    let isolated = port.and_then(|tap| tap.link.port?.isolated);
    let update = PortUpdate {
        isolated: (auth.spec.isolated && isolated != Some(true)).then_some(true),
    };
    let update = Some(update).filter(|update| !update.is_empty());
    let mut steps: Vec<Step> = update.map(Step::SetPort).into_iter().collect();
    if let Some(spec) = &auth.spec.vlans {
        let from = match port {
            Some(tap) => tap.vlans.clone(),
            None => {
                let default = auth.bridge.info.default_pvid;
                default.map(PortVlan::untagged).into_iter().collect()
            }
        };
        let to = spec.resolve(&from);
        if from != to {
            steps.push(Step::SetVlans { from, to });
        }
    }
    steps
}
