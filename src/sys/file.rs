//! Reads files of the system safely: no FIFO is waited for, and nothing but a regular file is read. And finds users and
//! groups in some of them: other sources (NSS: LDAP, systemd) are not asked, since a static program cannot, and one with a
//! privilege should not load their code.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::getuid;

use crate::model::parse_decimal;
use crate::sys::error::SysError;

/// The largest file that is read whole, in bytes: more than any of them has a reason to hold.
pub(crate) const MAX_SIZE: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    /// Device and inode number: the same for every name of the file.
    pub(crate) dev_ino: (u64, u64),
    /// It is root's, and nobody else may write to it.
    pub(crate) root_owned: bool,
}

/// Reads a file with the rights of this process. What is opened is what is checked and read.
///
/// # Errors
/// It cannot be opened, is no regular file, or is larger than [`MAX_SIZE`].
pub(crate) fn read(path: &Path) -> Result<Contents, SysError> {
    let (mut file, metadata) = open_regular(path)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, since the size may have changed since, or be unknown (/proc).
    file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)? > MAX_SIZE {
        return Err(SysError::Invalid("larger than 1 MiB"));
    }
    Ok(Contents {
        bytes,
        dev_ino: (metadata.dev(), metadata.ino()),
        root_owned: is_owned_by_root(metadata.uid()) && metadata.mode() & 0o022 == 0,
    })
}

fn open_regular(path: &Path) -> Result<(File, Metadata), SysError> {
    let file = OpenOptions::new()
        .read(true)
        // A FIFO would otherwise be waited for, and a terminal become ours.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(SysError::Invalid("not a regular file"))
    }
}

/// The longest line that [`find_in_lines`] looks at, in bytes. A line of passwd(5) that is longer is cut off there.
const MAX_LINE: u64 = 4096;

/// The first result of `find` for a line, without its end. The file may be of any size: no more of it is read than is needed,
/// and no more than a line is held in memory.
///
/// # Errors
/// The file cannot be opened or read, or is no regular file.
pub(crate) fn find_in_lines<T>(
    path: &Path,
    mut find: impl FnMut(&[u8]) -> Option<T>,
) -> Result<Option<T>, SysError> {
    let (file, _) = open_regular(path)?;
    // Most of these files are small, and musl takes pages from the kernel for more.
    let mut reader = BufReader::with_capacity(1024, file);
    let mut line = Vec::new();
    let mut is_begin = true;
    loop {
        line.clear();
        reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let whole = line.strip_suffix(b"\n");
        // The rest of a line that is too long is no line of its own.
        if is_begin && let Some(found) = find(whole.unwrap_or(&line)) {
            return Ok(Some(found));
        }
        is_begin = whole.is_some();
    }
}

/// The owner of a file whose own one the user namespace does not map (`DEFAULT_OVERFLOWUID` in linux/highuid.h).
const OVERFLOW_UID: u32 = 65534;

/// Whether this uid is root's word. To root of a user namespace, the files of the host's root belong to nobody whom it maps,
/// and are as good as any in that namespace's /etc; in a namespace that maps the overflow uid, they could be that user's.
fn is_owned_by_root(uid: u32) -> bool {
    uid == 0 || uid == OVERFLOW_UID && getuid().is_root() && is_mapped(OVERFLOW_UID) == Some(false)
}

/// Whether the user namespace maps this uid (user_namespaces(7)); None if unknown.
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
pub(crate) const PASSWD: &str = "/etc/passwd";
/// Where groups are listed (group(5)).
pub(crate) const GROUP: &str = "/etc/group";

/// The uid of a name in passwd(5), or the gid of one in group(5): the third field of its line.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn find_id(path: &Path, name: &[u8]) -> Result<Option<u32>, SysError> {
    find_in_lines(path, |line| id_of(line, name))
}

/// The third field of a line whose first field is `name`.
fn id_of(line: &[u8], name: &[u8]) -> Option<u32> {
    let mut fields = line.split(|&byte| byte == b':');
    (fields.next()? == name).then_some(())?;
    parse_id(OsStr::from_bytes(fields.nth(1)?))
}

/// Where the uids are listed that users may hand out in user namespaces of their own (subuid(5)).
pub(crate) const SUBUID: &str = "/etc/subuid";

/// Whether a user may hand this uid out: any number of them would be one user. Without the file there are none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn is_sub_uid(uid: u32) -> Result<bool, SysError> {
    match find_in_lines(Path::new(SUBUID), |line| has_sub_uid(line, uid)) {
        Ok(found) => Ok(found.is_some()),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A line is a user, the first uid, and how many there are.
fn has_sub_uid(line: &[u8], uid: u32) -> Option<()> {
    if line.trim_ascii_start().starts_with(b"#") {
        return None;
    }
    let mut fields = line.split(|&byte| byte == b':').skip(1);
    let mut number = || parse_c_number(std::str::from_utf8(fields.next()?).ok()?);
    let (first, count) = (number()?, number()?);
    (first..first.saturating_add(count))
        .contains(&uid.into())
        .then_some(())
}

/// Parses a number as strtoul(3) does with base 0, by which newuidmap(1) reads its file: decimal, octal or hexadecimal.
fn parse_c_number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X"))
    {
        (digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text, 8)
    } else {
        (text, 10)
    };
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    // Only a number that is too large is left.
    is_number.then(|| u64::from_str_radix(digits, radix).unwrap_or(u64::MAX))
}

/// Parses a uid or gid. The kernel's "no id", all ones, is nobody's.
pub(crate) fn parse_id(word: &OsStr) -> Option<u32> {
    parse_decimal(word.to_str()?).filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_their_lines_and_nowhere_else() {
        let path = std::env::temp_dir().join(format!("qemu-ifup-lines-{}", std::process::id()));
        let long = format!("{}:x:7\n", "a".repeat(5000));
        let lines =
            format!("root:x:0:0\nbad line\n{long}ann:x:1000:100\nbig:x:4294967295:1\nend:x:5");
        std::fs::write(&path, lines).unwrap();
        let find = |name: &[u8]| find_id(&path, name).unwrap();
        assert_eq!(find(b"root"), Some(0));
        assert_eq!(find(b"ann"), Some(1000));
        assert_eq!(find(b"end"), Some(5), "the last line has no end");
        assert_eq!(find(b"big"), None, "it is the kernel's no id");
        assert_eq!(find(b"bad line"), None);
        // 904 bytes of the long line are left after the first 4096.
        assert_eq!(find("a".repeat(904).as_bytes()), None);
        std::fs::remove_file(&path).unwrap();
        assert!(find_id(&path, b"root").is_err());
    }

    #[test]
    fn a_sub_uid_is_in_a_range_of_a_line() {
        let has = |line: &str, uid| has_sub_uid(line.as_bytes(), uid).is_some();
        assert!(has("ann:100000:65536", 100_000));
        assert!(has("1000:100000:65536", 165_535));
        assert!(!has("ann:100000:65536", 165_536));
        assert!(!has("ann:100000:65536", 99_999));
        assert!(has("ann:4294967000:65536", 4_294_967_001));
        for line in [
            "ann:0x186a0:65536",
            "ann:0303240:65536",
            "ann: 100000:65536",
            "ann:+100000:65536",
            "ann:100000:4294967296",
            "ann:100000:99999999999999999999999",
        ] {
            assert!(has(line, 100_005), "{line}");
        }
        for wrong in [
            "", "#", "ann", "ann:1", "ann:x:5", "ann:1:", "#ann:0:9", "ann:0x:9",
        ] {
            assert!(!has(wrong, 1), "{wrong}");
        }
    }
}
