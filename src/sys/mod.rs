//! Every system call of the program, one subject a file. Knows what the kernel can be asked, and neither plans nor policy.

pub mod error;
pub mod file;
pub mod ifreq;
pub mod netlink;
pub mod privilege;
pub mod process;
pub mod procfs;
pub mod qemu_fd;
pub mod tun;
