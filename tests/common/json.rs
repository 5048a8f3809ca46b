//! What ip(8) and bridge(8) say in JSON, and where two of their answers differ.

use crate::common::{Run, run};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

pub fn json_of(command: &mut Command) -> Result<Value, Run> {
    let run = run(command);
    // Some versions print nothing where an empty list is meant.
    match run.stdout.trim() {
        _ if run.code != 0 => Err(run),
        "" => Ok(json!([])),
        text => {
            Ok(serde_json::from_str(text).unwrap_or_else(|e| panic!("{command:?}: {e}: {text}")))
        }
    }
}

pub fn names(links: &Value) -> Vec<String> {
    let name = |link: &Value| link["ifname"].as_str().unwrap().to_owned();
    links.as_array().unwrap().iter().map(name).collect()
}

/// Takes out the running timers, whether STP tells others of a change, what follows the carrier with up to a second's delay,
/// and what a bridge computes from its ports and keeps when they are gone.
pub fn steady(value: &mut Value) {
    if let Some(list) = value.as_array_mut() {
        list.retain(|v| !matches!(v.as_str(), Some("NO-CARRIER" | "LOWER_UP")));
        list.iter_mut().for_each(steady);
    } else if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| {
            !key.ends_with("_timer")
                && !key.starts_with("topology_change")
                && key != "operstate"
                && !key.starts_with("tso_max_")
        });
        map.values_mut().for_each(steady);
    }
}

/// A snapshot without numbers and without what is random: the MACs but for their first byte, and all that comes of them.
pub fn comparable(mut snapshot: Value) -> Value {
    prune(&mut snapshot, &mut |key, value| {
        let is_mac = |text: &str| text.len() == "02:00:00:00:00:00".len();
        if let Some(mac) = value.as_str().filter(|text| is_mac(text)) {
            *value = json!(mac[..3]);
        }
        matches!(key, "ifindex" | "bridge_id" | "root_id")
            || matches!(
                key,
                "designated_bridge" | "designated_root" | "bridge" | "root"
            )
    });
    snapshot
}

/// Takes out what is picked, by its key (in a list an empty one) and its value, which may also be changed.
pub fn prune(value: &mut Value, pick: &mut impl FnMut(&str, &mut Value) -> bool) {
    if let Some(list) = value.as_array_mut() {
        list.retain_mut(|v| !pick("", v));
        list.iter_mut().for_each(|v| prune(v, pick));
    } else if let Some(map) = value.as_object_mut() {
        map.retain(|key, v| !pick(key, v));
        map.values_mut().for_each(|v| prune(v, pick));
    }
}

/// Whether an interface is administratively up.
pub fn is_up(link: &Value) -> bool {
    link["flags"].as_array().unwrap().iter().any(|f| f == "UP")
}

/// Where two snapshots differ, one line for each place: comparing them whole would print pages.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    leaves("", before, &mut old);
    leaves("", after, &mut new);
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| format!("{path}: {:?} -> {:?}", old.get(path), new.get(path)))
        .collect()
}

fn leaves<'a>(path: &str, value: &'a Value, found: &mut BTreeMap<String, &'a Value>) {
    if let Some(map) = value.as_object() {
        for (key, value) in map {
            leaves(&format!("{path}/{key}"), value, found);
        }
    } else if let Some(list) = value.as_array() {
        for (n, value) in list.iter().enumerate() {
            // By name where there is one, so that one more interface does not shift the others.
            let key = value["ifname"]
                .as_str()
                .map_or(n.to_string(), str::to_owned);
            leaves(&format!("{path}/{key}"), value, found);
        }
    } else {
        found.insert(path.to_owned(), value);
    }
}
