//! Reads small files of the system safely: no FIFO is waited for, and nothing but a regular file is read. And finds users and
//! groups in two of them: other sources (NSS: LDAP, systemd) are not asked, since a static program cannot, and one with a
//! privilege should not load their code.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::getuid;

use crate::model::parse_decimal;
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
    /// It is root's, and nobody else may write to it.
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
        root_owned: is_roots(metadata.uid()) && metadata.mode() & 0o022 == 0,
    })
}

/// The owner of a file whose own one the user namespace does not map (`DEFAULT_OVERFLOWUID` in linux/highuid.h).
const OVERFLOW_UID: u32 = 65534;

/// Whether this uid is root's word. To root of a user namespace, the files of the host's root belong to nobody whom it maps,
/// and are as good as any in that namespace's /etc; in a namespace that maps the overflow uid, they could be that user's.
fn is_roots(uid: u32) -> bool {
    uid == 0 || uid == OVERFLOW_UID && getuid().is_root() && is_mapped(OVERFLOW_UID) == Some(false)
}

/// Whether the user namespace maps this uid (user_namespaces(7)); None where that is not told.
fn is_mapped(uid: u32) -> Option<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let mut ranges = map.lines().map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let first = parse_decimal(fields.next()?)?;
        let count = parse_decimal(fields.nth(1)?)?;
        Some(first..first.saturating_add(count))
    });
    ranges.try_fold(false, |mapped, range| Some(mapped || range?.contains(&uid)))
}

/// Where users are listed (passwd(5)).
pub const PASSWD: &str = "/etc/passwd";
/// Where groups are listed (group(5)).
pub const GROUP: &str = "/etc/group";

/// The third field of the line whose first field is `name`: the uid of passwd(5), the gid of group(5).
pub fn find_id(contents: &[u8], name: &[u8]) -> Option<u32> {
    contents.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        (fields.next()? == name).then_some(())?;
        parse_id(OsStr::from_bytes(fields.nth(1)?))
    })
}

/// Parses a uid or gid. The kernel's "no id", all ones, is nobody's.
pub fn parse_id(word: &OsStr) -> Option<u32> {
    parse_decimal(word.to_str()?).filter(|&id| id != u32::MAX)
}
