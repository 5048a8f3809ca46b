//! Reads small files of the system safely: no FIFO is waited for, and nothing but a regular file is read.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;

use crate::sys::error::SysError;

/// The largest file that is read, in bytes: more than any of them has a reason to hold.
pub const MAX_SIZE: u64 = 1 << 20;

/// A file's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Device and inode number: the same for every name of the file.
    pub dev_ino: (u64, u64),
    /// It is owned by root, and nobody else may write to it.
    pub root_owned: bool,
}

/// Reads a file with the rights of this process. What is opened is what is checked and read.
///
/// # Errors
/// It cannot be opened, is no regular file, or is larger than [`MAX_SIZE`].
pub fn read(path: &Path) -> Result<Contents, SysError> {
    let mut file = OpenOptions::new()
        .read(true)
        // A FIFO would otherwise be waited for, and a terminal become ours.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SysError::Invalid("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, since the size may have changed since, or be unknown (/proc).
    file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)? > MAX_SIZE {
        return Err(SysError::Invalid("it is larger than 1 MiB"));
    }
    Ok(Contents {
        bytes,
        dev_ino: (metadata.dev(), metadata.ino()),
        root_owned: metadata.uid() == 0 && metadata.mode() & 0o022 == 0,
    })
}
