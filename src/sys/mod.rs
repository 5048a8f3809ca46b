//! Every system call of the program, one subject a file. Knows what the kernel can be asked, and neither plans nor policy.

pub mod error;
pub mod fd_passing;
pub mod file;
pub mod ifreq;
pub mod inherited_fd;
pub mod netlink;
pub mod passwd;
pub mod privilege;
pub mod process;
pub mod procfs;
pub mod random;
pub mod tun;
