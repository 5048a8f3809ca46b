//! Words in, settings out: the command line, /etc/qemu-ifup.conf and /etc/qemu/bridge.conf. Pure, but for [`files`].

pub(crate) mod acl;
pub(crate) mod args;
pub(crate) mod conf;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod help;
pub(crate) mod options;
pub(crate) mod program;
pub(crate) mod table;

#[cfg(test)]
mod documents;
