//! Whether the caller may do this to this interface. Pure, except [`caller`]: the state comes in, an authorization or an error
//! goes out.
//!
//! Root may change every tap. Unprivileged users may create taps on bridges that the ACL allows, and delete their own taps. No
//! caller may change an interface that is not a tap.

pub(crate) mod authorize;
pub(crate) mod bridge;
pub(crate) mod caller;
pub(crate) mod limits;
pub(crate) mod rules;
pub(crate) mod tap;

#[cfg(test)]
mod tests;
