//! Whether the caller may do this to this interface. Pure, except [`caller`]: the state comes in, an authorization or an error
//! goes out.
//!
//! Root may change every tap. Unprivileged users may create taps on bridges that the ACL allows, and delete their own taps. No
//! caller may change an interface that is not a tap.

pub mod authorize;
pub mod bridge;
pub mod caller;
pub mod limits;
pub mod rules;
pub mod tap;
