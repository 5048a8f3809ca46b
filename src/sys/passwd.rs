//! Users and groups by name, in /etc/passwd and /etc/group.
//!
//! Other sources (NSS: LDAP, systemd) are not asked: a static program cannot, and one with a privilege should not load
//! their code.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::parse_decimal;
use crate::sys::error::SysError;
use crate::sys::file;

/// Where users are listed (passwd(5)).
pub const PASSWD: &str = "/etc/passwd";
/// Where groups are listed (group(5)).
pub const GROUP: &str = "/etc/group";

/// Reads one of the two.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &'static str) -> Result<Vec<u8>, SysError> {
    file::read(Path::new(path)).map(|contents| contents.bytes)
}

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
