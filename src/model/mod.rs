//! Plain data that two or more layers share: names, addresses, links, and what is wanted of them.

pub(crate) mod addr;
pub(crate) mod bridge;
pub(crate) mod change;
pub(crate) mod if_name;
pub(crate) mod link;
pub(crate) mod spec;
pub(crate) mod state;
pub(crate) mod vlan;

/// Parses decimal digits and nothing else: `u32::from_str` would take a leading `+` as well.
pub(crate) fn parse_decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
