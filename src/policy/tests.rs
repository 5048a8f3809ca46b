//! Who may do what: every combination.

use crate::config::acl::{ACL_FILE, Acl};
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::model::bridge::BridgeInfo;
use crate::model::link::{Link, LinkKind, LinkRef, TapInfo};
use crate::model::spec::{NameOrId, TapAccess, TapSpec};
use crate::model::state::{CurrentState, NewIds, TapState};
use crate::policy::caller::Caller;
use crate::policy::rules::{Policy, Rules};
use crate::sys::file::Contents;
use crate::sys::privilege::Credentials;
use crate::tests::build::{link, name, spec, state_of, tap_state};
use nix::unistd::{Gid, Uid};
use std::path::Path;

const ALICE: u32 = 54321;
const BOB: u32 = 54322;
/// A group that Alice is in, beside her own, which has her number.
const STAFF: u32 = 54330;
/// A group that she is not in.
const OUTSIDERS: u32 = 54331;

/// br8 is not mentioned and br9 is denied.
const RULES: &str = "allow br0\nallow br1\ndeny br9\nallow br9\nallow br7\nallow lo\n";

/// Every combination of caller, interface, bridge that it is in, bridge that it is to be in, and options is judged by
/// the real policy. A combination is allowed exactly where each part of it is.
#[test]
fn policy_allows_a_combination_exactly_where_it_allows_each_part() {
    let contents = Contents {
        bytes: RULES.into(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    let rules = Rules {
        acl: Some(Acl::load(Path::new(ACL_FILE), &contents, |_| unreachable!()).unwrap()),
        is_sub_uid: false,
    };
    let caller = |uid, net_admin| {
        let groups = [uid, STAFF].map(Gid::from_raw);
        let privilege = Credentials {
            uid: Uid::from_raw(uid),
            gid: groups[0],
            net_admin,
            withheld: None,
        };
        Caller::from_parts(privilege, groups.into(), |_| None, |_, _| unreachable!())
    };
    let link = |index, name, kind| Link {
        address: None,
        up: false,
        carrier: false,
        addr_gen_mode: None,
        ..link(index, name, kind)
    };
    let tap = |owner, group| {
        Some(LinkKind::Tap(TapInfo {
            owner,
            group,
            ..TapInfo::default()
        }))
    };

    // The user, has the privilege, dry run, and then: is bound by the rules; or why no tap is created.
    let callers = [
        (0, true, false, Ok(false)),
        (0, false, false, Ok(false)),
        (ALICE, true, false, Ok(true)),
        (ALICE, true, true, Ok(true)),
        (ALICE, false, false, Err("no CAP_NET_ADMIN")),
        (ALICE, false, true, Ok(false)),
    ];
    // Why users that are bound may not, and why nobody may.
    #[rustfmt::skip]
    let taps = [
        (None, "", ""),
        (tap(Some(ALICE), None), "", ""),
        (tap(None, Some(STAFF)), "", ""),
        (tap(None, Some(ALICE)), "", ""),
        (tap(Some(ALICE), Some(STAFF)), "", ""),
        (tap(None, None), "no owner", ""),
        (tap(Some(BOB), None), "another user", ""),
        (tap(Some(0), None), "another user", ""),
        (tap(None, Some(OUTSIDERS)), "not a member of", ""),
        (tap(None, Some(0)), "not a member of", ""),
        (tap(Some(ALICE), Some(OUTSIDERS)), "not a member of", ""),
        (tap(Some(BOB), Some(STAFF)), "another user", ""),
        (Some(LinkKind::Tun), "", "a tun"),
        (Some(LinkKind::Bridge(BridgeInfo::default())), "", "a bridge"),
        (Some(LinkKind::Other("macvtap".into())), "", "kind macvtap"),
        (Some(LinkKind::Unset), "", "physical"),
    ];
    let masters = [None, Some("br0"), Some("br1"), Some("br8"), Some("br9")];
    let bridges = [
        ("br0", ""),
        ("br1", ""),
        ("br8", "attach to br8: no line"),
        ("br9", "attach to br9: denied by /etc/qemu/bridge.conf:3"),
    ];
    let options = [
        (None, None, ""),
        (None, Some(1500), ""),
        (None, Some(9000), "it differs from the MTU of the bridge"),
        (None, Some(1499), "it differs from the MTU of the bridge"),
        (Some(TapAccess::Owner(ALICE)), None, ""),
        (
            Some(TapAccess::Owner(BOB)),
            None,
            "set the owner to uid 54322",
        ),
        (Some(TapAccess::Owner(0)), None, "set the owner to uid 0"),
        (
            Some(TapAccess::Group(ALICE)),
            None,
            "set the group to gid 54321",
        ),
        (
            Some(TapAccess::Group(STAFF)),
            None,
            "set the group to gid 54330",
        ),
    ];

    let mut counts = [0; 2];
    for (uid, net_admin, dry_run, bound) in callers {
        let caller = caller(uid, net_admin);
        let judge = Policy::new(&caller, Some(&rules), dry_run);
        for ((kind, tap_rule, tap_fact), master) in taps
            .iter()
            .flat_map(|tap| masters.map(|master| (tap, master)))
        {
            let tap = kind.clone().map(|kind| link(5, "tap0", kind));
            // Without a tap there is nothing that could be a port.
            let master = master.filter(|_| tap.is_some());
            let facts = |bridge| CurrentState {
                bridge,
                ids: NewIds::default(),
                ..state_of(tap.clone().map(|tap| TapState {
                    master: master.map(|master| LinkRef {
                        index: 7,
                        name: name(master),
                    }),
                    ..tap_state(tap)
                }))
            };
            let mut check = |rules: &[&'static str], verdict: Option<Error>, what: &str| {
                let mut reasons = vec![*tap_fact];
                match bound {
                    // A tap that exists is down, so it is not left as it is; and it is not changed.
                    Ok(true) | Err(_) if kind.is_some() => {
                        reasons.extend([*tap_rule, "Unprivileged users can create"]);
                    }
                    Ok(true) => reasons.extend(rules),
                    Ok(false) => {}
                    Err(reason) => reasons = vec![reason],
                }
                reasons.retain(|reason| !reason.is_empty());
                counts[usize::from(verdict.is_some())] += 1;
                let text = verdict.map(|error| error.to_string());
                match &text {
                    None => assert_eq!(reasons, [""; 0], "{what}"),
                    Some(text) => assert!(
                        reasons.iter().any(|reason| text.contains(reason)),
                        "{what}: '{text}' is none of {reasons:?}"
                    ),
                }
            };

            let what = format!("uid {uid} {net_admin} {dry_run}, {kind:?} in {master:?}");
            for delete in [false, true] {
                let verdict = judge.authorize_down(name("tap0"), delete, facts(None));
                assert!(verdict.is_err() || bound == Ok(false), "{what}");
                let verdict = judge.authorize_release(name("tap0"), delete, facts(None));
                let reasons = [*tap_rule, *tap_fact];
                let text = verdict.err().map(|error| error.to_string());
                let is_expected = |text: &String| {
                    let mut reasons = reasons.iter().filter(|reason| !reason.is_empty());
                    reasons.any(|reason| text.contains(reason))
                };
                if bound != Ok(false) {
                    let allowed = reasons.iter().all(|reason| reason.is_empty());
                    assert_eq!(text.is_none(), allowed, "{what}: {text:?}");
                }
                assert!(
                    text.is_none() || text.as_ref().is_some_and(is_expected) || bound == Ok(false),
                    "{what}: {text:?}"
                );
            }
            for ((bridge, bridge_rule), (access, mtu, option_rule)) in bridges
                .iter()
                .flat_map(|bridge| options.map(|option| (bridge, option)))
            {
                let wish = TapSpec {
                    bridge: name(bridge),
                    access,
                    asked_access: access,
                    mtu,
                    ..spec()
                };
                // They ask for all of it themselves; root's configuration says nothing.
                let asked = TapOptions {
                    access: access.map(|access| match access {
                        TapAccess::Owner(uid) => TapAccess::Owner(NameOrId::Id(uid)),
                        TapAccess::Group(gid) => TapAccess::Group(NameOrId::Id(gid)),
                    }),
                    mtu,
                    ..TapOptions::default()
                };
                let facts = facts(Some(link(
                    6,
                    bridge,
                    LinkKind::Bridge(BridgeInfo::default()),
                )));
                let what = format!("{what}, {wish:?}");
                let verdict = match judge.authorize_up(wish, &asked, facts) {
                    // What the kernel cannot do is no matter of policy.
                    Err(Error::TapImmutable { .. } | Error::TapBusy { .. }) => continue,
                    verdict => verdict.err(),
                };
                let rules = [bridge_rule, option_rule];
                check(&rules, verdict, &what);
            }
        }
        for (bridge, rule) in bridges {
            let verdict = judge.authorize_create(name(bridge), None, &TapOptions::default());
            let allowed = bound.is_ok_and(|bound| !bound || rule.is_empty());
            assert_eq!(verdict.is_ok(), allowed, "uid {uid} makes one for {bridge}");
        }
    }
    assert!(counts.iter().all(|&n| n > 500), "{counts:?}");
}
