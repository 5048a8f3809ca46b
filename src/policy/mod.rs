//! May this caller do this to this interface? Pure, but for [`caller`]: the state comes in, an authorization or an error
//! goes out.
//!
//! Root may do all of it. Others, to whom the program lends its capability, may do to their own taps what root's ACL
//! allows. Nobody may touch what is not a tap.

pub mod authorize;
pub mod bridge;
pub mod caller;
pub mod limits;
pub mod rules;
pub mod tap;
