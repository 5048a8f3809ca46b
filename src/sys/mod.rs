//! Every system call of the program, one subject a file. Knows what the kernel can be asked, and neither plans nor policy.

pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod ifreq;
pub(crate) mod netlink;
pub(crate) mod privilege;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod qemu_fd;
pub(crate) mod tun;
