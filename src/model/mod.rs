//! Plain data that two or more layers share: names, addresses, links, and what is wanted of them.

pub mod addr;
pub mod bridge;
pub mod change;
pub mod if_name;
pub mod link;
pub mod spec;
pub mod state;
pub mod vlan;

/// Parses decimal digits and nothing else: `u32::from_str` would take a leading `+` as well.
pub fn parse_decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
