//! rtnetlink(7): [`socket`] sends requests and receives replies, [`attr`] builds and walks attributes, and the others say
//! what is in them.

pub(crate) mod addr;
pub(crate) mod attr;
pub(crate) mod bridge;
pub(crate) mod fdb;
pub(crate) mod link;
pub(crate) mod link_parse;
pub(crate) mod socket;
pub(crate) mod vlan;

#[cfg(test)]
mod tests;
