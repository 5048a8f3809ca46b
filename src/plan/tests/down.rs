//! A tap goes down.

use super::{commands, down, finished, owned, undos};
use crate::model::link::{Link, TapInfo};
use crate::plan::Plan;
use crate::plan::step::Step;

#[test]
fn a_tap_goes_down_or_is_deleted_in_one_message() {
    let done = finished(owned());
    let plan = down(Some(done.clone()), false);
    assert_eq!(commands(&plan), ["ip link set dev tap0 nomaster down"]);
    assert_eq!(
        undos(&plan),
        ["ip link set dev tap0 master br0; ip link set dev tap0 up"]
    );
    // What is deleted needs nothing else first, and so there is nothing between two steps.
    assert_eq!(
        commands(&down(Some(done), true)),
        ["ip link delete dev tap0"]
    );
}

#[test]
fn what_is_down_or_gone_already_is_told() {
    let idle = Link {
        up: false,
        master: None,
        ..finished(owned())
    };
    let told = |plan: Plan| plan.notice().map(|n| n.to_string()).unwrap_or_default();
    assert!(told(down(None, false)).contains("does not exist"));
    assert!(told(down(Some(idle.clone()), false)).contains("already down"));
    assert_eq!(told(down(Some(idle), true)), "");
    let in_use = Link {
        carrier: true,
        ..finished(owned())
    };
    assert_eq!(told(down(Some(in_use.clone()), false)), "");
    assert!(told(down(Some(in_use), true)).contains("has no network from now on"));
    let held = finished(TapInfo::default());
    let plan = down(Some(held), true);
    assert!(!plan.steps().iter().any(|p| p.step == Step::DeleteTap));
    assert!(told(plan).contains("not persistent"));
}
