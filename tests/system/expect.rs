//! What the tests of the programs expect, and how they call them.

use crate::common::interfaces::{info, mac};
use crate::common::json::{changes, is_up};
use crate::common::sandbox::Sandbox;
use crate::common::{Run, bin, command, run};
use serde_json::Value;

/// A sandbox with br0.
pub fn sandbox() -> Option<Sandbox> {
    let sandbox = Sandbox::new()?;
    sandbox.bridge_up("br0");
    Some(sandbox)
}

pub fn ifup_with(environment: &[(&str, &str)], args: &[&str]) -> Run {
    let environment = environment.iter().copied();
    run(command(bin("qemu-ifup")).envs(environment).args(args))
}

pub fn inet6_of(sandbox: &Sandbox, dev: &str) -> Vec<Value> {
    let shown = sandbox.ip(&["addr", "show", "dev", dev]);
    let addresses = shown[0]["addr_info"].as_array().unwrap();
    let inet6 = addresses.iter().filter(|a| a["family"] == "inet6");
    inet6.cloned().collect()
}

/// All that qemu-ifup promises of a tap that nobody has open yet or any more.
pub fn assert_attached(sandbox: &Sandbox, tap: &str) {
    let link = sandbox.link(tap).unwrap();
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], "br0");
    assert_eq!(link["mtu"], sandbox.link("br0").unwrap()["mtu"]);
    let address = link["address"].as_str().unwrap();
    assert!(address.starts_with("fe:"), "{address}");
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(inet6_of(sandbox, tap), Vec::<Value>::new());
    assert_eq!(link["linkinfo"]["info_data"]["persist"], true);
}

pub fn assert_silent_success(run: &Run) {
    let Run { code, stderr, .. } = run;
    assert_eq!((*code, stderr.as_str()), (0, ""), "{run:?}");
}

/// It worked, and said this and nothing else.
pub fn assert_notice(run: &Run, notice: &str) {
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.stderr, format!("{notice}\n"), "{run:?}");
}

/// It failed, and its first line is this; where there is a second one it is a hint that contains that.
pub fn assert_refused(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let mut lines = run.stderr.lines();
    assert_eq!(lines.next(), Some(error), "{run:?}");
    let hints: Vec<&str> = lines.collect();
    assert_eq!(hints.is_empty(), hint.is_empty(), "{run:?}");
    assert!(
        hints.iter().all(|line| line.contains(": hint: ")),
        "{run:?}"
    );
    let has = hints.iter().any(|line| line.contains(hint));
    assert!(has || hint.is_empty(), "{run:?}");
}

pub const NOTHING_TO_DO: &str = "qemu-ifup: tap0: already up on br0, nothing to do";

pub const IPV4: &str = "192.168.10.1/24";

pub const IPV6: &str = "fd00:10::1/64";

/// All of them must be there, or no bridge.
pub const ADDRESSES: [&str; 3] = [IPV4, "10.1.2.3/32", IPV6];

pub const CREATE: [&str; 7] = [
    "--create-bridge",
    "--address",
    ADDRESSES[0],
    "--address",
    ADDRESSES[1],
    "--address",
    ADDRESSES[2],
];

pub fn create_args(tap: &str) -> Vec<&str> {
    [&CREATE[..], &[tap]].concat()
}

pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// It worked, and said just this.
pub fn assert_succeeded(run: &Run, stderr: &str) {
    assert_eq!((run.code, run.stderr.as_str()), (0, stderr), "{run:?}");
}

/// It failed and said this, and after it a hint with that, unless that is empty.
pub fn assert_error(run: &Run, code: i32, error: &str, hint: &str) {
    assert_eq!(run.code, code, "{run:?}");
    let (first, second) = run.stderr.split_once('\n').expect("no message");
    assert!(first.contains(error), "not '{error}': {run:?}");
    assert_eq!(second.contains(": hint: "), !hint.is_empty(), "{run:?}");
    assert!(second.contains(hint), "{run:?}");
}

/// It is an attached, complete tap that stays.
pub fn assert_in_bridge(s: &Sandbox, bridge: &str, tap: &str) {
    let link = s.link(tap).unwrap();
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], bridge);
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(info(s, tap)["persist"], true);
    assert!(mac(s, tap).starts_with("fe:"));
}

pub fn assert_settled_as(s: &Sandbox, before: &Value, at: &str) {
    let changes = changes(before, &s.settled());
    assert!(
        changes.is_empty(),
        "{at}: not as before:\n{}",
        changes.join("\n")
    );
}

/// A bridge with STP and the shortest delay that the kernel takes with it, twice which a port needs to forward.
pub const STP: &str =
    "ip link add br0 address 02:00:00:00:00:77 type bridge stp_state 1 forward_delay 200
    ip link set br0 addrgenmode none up";
