//! Words in, settings out: the command line, /etc/qemu-ifup.conf and /etc/qemu/bridge.conf. Pure, but for [`files`].

pub mod acl;
pub mod args;
pub mod conf;
pub mod error;
pub mod files;
pub mod help;
pub mod options;
pub mod program;
pub(crate) mod table;

#[cfg(test)]
mod documents;
