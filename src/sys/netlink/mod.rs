//! rtnetlink(7): [`socket`] sends requests and receives replies, [`attr`] builds and walks attributes, and the others say
//! what is in them.

pub mod addr;
pub mod attr;
pub mod bridge;
pub mod fdb;
pub mod link;
pub mod link_parse;
pub mod socket;
pub mod vlan;
