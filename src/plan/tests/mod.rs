//! Which steps are planned, in which order, and what undoes them.

mod addresses;
mod down;
mod port;
mod rollback;
mod states;
mod up;

use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::addr::MacAddr;
use crate::model::link::{AddrGenMode, Link, LinkRef, TapInfo};
use crate::model::spec::TapSpec;
use crate::model::state::{CurrentState, TapState};
use crate::plan::Plan;
use crate::policy::rules::Policy;
use crate::tests::build::{name, root, state_of, tap, tap_state};

/// A tap with everything as it should be.
fn finished(info: TapInfo) -> Link {
    Link {
        mtu: 9000,
        address: Some(MacAddr([0xfe, 1, 2, 3, 4, 5])),
        up: true,
        carrier: false,
        master: Some(2),
        addr_gen_mode: Some(AddrGenMode::None),
        qdisc: "noqueue".to_owned(),
        ..tap(info)
    }
}

fn owned() -> TapInfo {
    TapInfo {
        owner: Some(1000),
        persistent: true,
        ..TapInfo::default()
    }
}

fn br(index: u32) -> Option<LinkRef> {
    let name = name(if index == 2 { "br0" } else { "br1" });
    Some(LinkRef { index, name })
}

fn up(spec: TapSpec, state: CurrentState) -> Result<Plan, Error> {
    up_as_asked(spec, &TapOptions::default(), state)
}

/// The same where the caller has asked for some of it, and the configuration for the rest.
fn up_as_asked(spec: TapSpec, asked: &TapOptions, state: CurrentState) -> Result<Plan, Error> {
    let auth = Policy::new(&root(), None, false).authorize_up(spec, asked, state)?;
    Ok(Plan::up(&auth))
}

fn commands(plan: &Plan) -> Vec<String> {
    let steps = plan.steps().iter();
    steps.map(|p| p.step.ip_command(plan.tap())).collect()
}

/// What undoes each step, the commands one after the other.
fn undos(plan: &Plan) -> Vec<String> {
    let steps = plan.steps().iter();
    steps
        .map(|planned| {
            let commands = planned.undo.iter().map(|step| step.ip_command(plan.tap()));
            commands.collect::<Vec<_>>().join("; ")
        })
        .collect()
}

const PERSIST: &str = "# tap0 stays from here on (TUNSETPERSIST); ip tuntap add did that at once";

const SET_ACCESS: &str = "# tap0 is given to uid 1000 through QEMU's own descriptor; ip(8) cannot do that to a tap that exists";

fn down(link: Option<Link>, delete: bool) -> Plan {
    let master = link.as_ref().and_then(|link| link.master).and_then(br);
    let tap = link.map(|link| TapState {
        master,
        ..tap_state(link)
    });
    let state = CurrentState {
        bridge: None,
        ..state_of(tap)
    };
    let auth = Policy::new(&root(), None, false)
        .authorize_down(name("tap0"), delete, state)
        .unwrap();
    Plan::down(&auth)
}
