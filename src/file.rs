//! Reads small files of the system, and stumbles over nothing that may stand in their place.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;

use crate::error::Cause;

/// More than any of these files has a reason to hold.
pub const MAX_SIZE: u64 = 1 << 20;

/// A file's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Device and inode number: the same for every name of the file.
    pub identity: (u64, u64),
    /// It is root's, and nobody else may write to it.
    pub only_roots: bool,
}

/// Reads a file with the rights of this process. What is opened is what is checked and read.
///
/// # Errors
/// It cannot be opened, is no regular file, or is larger than [`MAX_SIZE`].
pub fn read(path: &Path) -> Result<Contents, Cause> {
    let mut file = OpenOptions::new()
        .read(true)
        // A FIFO would otherwise be waited for, and a terminal become ours.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Cause::Nonsense("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, since the size may have changed since, or be unknown (/proc).
    file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)? > MAX_SIZE {
        return Err(Cause::Nonsense("it is larger than 1 MiB"));
    }
    Ok(Contents {
        bytes,
        identity: (metadata.dev(), metadata.ino()),
        only_roots: metadata.uid() == 0 && metadata.mode() & 0o022 == 0,
    })
}
