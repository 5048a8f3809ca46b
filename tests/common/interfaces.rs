//! What ip(8) says of one interface.

use crate::common::json::is_up;
use crate::common::sandbox::Sandbox;
use serde_json::Value;

/// What is particular to an interface of its kind.
pub fn info(s: &Sandbox, name: &str) -> Value {
    s.link(name).unwrap()["linkinfo"]["info_data"].clone()
}

/// What is particular to an interface as a port of a bridge.
pub fn port(s: &Sandbox, name: &str) -> Value {
    s.link(name).unwrap()["linkinfo"]["info_slave_data"].clone()
}

pub fn mac(s: &Sandbox, name: &str) -> String {
    let link = s.link(name).unwrap();
    link["address"].as_str().unwrap().to_owned()
}

/// The addresses of an interface but for those that it gives itself.
pub fn addresses(s: &Sandbox, name: &str) -> Vec<String> {
    let shown = s.ip(&["addr", "show", "dev", name]);
    let all = shown[0]["addr_info"].as_array().unwrap();
    let given = all.iter().filter(|a| a["scope"] != "link");
    let text = |a: &Value| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]);
    given.map(text).collect()
}

/// All that --create-bridge promises of a bridge, and no more addresses than these.
pub fn assert_new_bridge(s: &Sandbox, bridge: &str, expected: &[&str]) {
    let link = s.link(bridge).unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "bridge");
    assert!(is_up(&link), "{link:#}");
    let info = info(s, bridge);
    assert_eq!(info["stp_state"], 0);
    assert_eq!(info["forward_delay"], 0);
    assert!(
        mac(s, bridge).starts_with("02:"),
        "not locally administered"
    );
    assert_eq!(addresses(s, bridge), expected);
}
