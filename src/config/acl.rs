//! Which bridges the administrator lets ordinary users attach to: QEMU's /etc/qemu/bridge.conf.
//!
//! The grammar is that of QEMU's own helper (qemu-bridge-helper.c): one rule a line, `allow NAME`, `allow all`,
//! `deny NAME`, `deny all` or `include PATH`; `#` begins a comment line; what is not allowed is denied, and one matching
//! deny outweighs every allow. Whatever that helper refuses is refused here. Where it goes on although it cannot know
//! what the administrator meant, this one stops: see [`AclErrorKind`].

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::escape::Escaped;
use crate::model::if_name::{IfName, IfNameError};
use crate::sys::error::SysError;
use crate::sys::file::Contents;

pub(crate) const ACL_FILE: &str = "/etc/qemu/bridge.conf";

/// The longest line, without its end, that QEMU's helper reads as one.
const MAX_LINE: usize = 4095;

/// As many files as anybody needs; a few that include each other twice over would otherwise be read for ever.
const MAX_FILES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
}

impl Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        write!(f, "{}:{line}", Escaped(file.as_os_str().as_bytes()))
    }
}

/// Why a file cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AclErrorKind {
    /// The line is not a command and an argument.
    Syntax,
    /// The command is not `allow`, `deny` or `include`.
    UnknownCommand(Vec<u8>),
    /// The name is not a valid interface name. QEMU's helper makes a rule of it that matches nothing, and once truncated
    /// it to 15 bytes (CVE-2019-13164).
    InvalidName(Vec<u8>, IfNameError),
    /// The line is longer than QEMU's helper reads; it treats the rest as another line.
    LineTooLong,
    /// A byte that ends the line for QEMU's helper, and hides the rest of it.
    NulByte,
    /// A path that means another file in every directory; the caller chooses the directory.
    RelativeInclude,
    /// An include that cannot be read. QEMU's helper ignores it, and the denials in it.
    IncludeUnreadable(PathBuf, SysError),
    /// An include that is not root's, or that others may write to. QEMU's helper accepts it.
    IncludeUntrusted(PathBuf),
    /// A file that includes itself. QEMU's helper crashes.
    IncludeLoop,
    TooManyFiles,
}

impl Display for AclErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("not a rule (allow NAME, deny NAME or include PATH)"),
            Self::UnknownCommand(word) => {
                write!(
                    f,
                    "'{}' is not allow, deny or include",
                    Escaped::truncated(word)
                )
            }
            Self::InvalidName(name, kind) => {
                write!(
                    f,
                    "'{}' is not a valid bridge name: {kind}",
                    Escaped::truncated(name)
                )
            }
            Self::LineTooLong => write!(f, "the line is longer than {MAX_LINE} bytes"),
            Self::NulByte => f.write_str("there is a NUL byte in the line"),
            Self::RelativeInclude => f.write_str("the path of an include must begin with /"),
            Self::IncludeUnreadable(path, cause) => {
                let path = Escaped::truncated(path.as_os_str().as_bytes());
                write!(f, "cannot read the included file {path}: {cause}")
            }
            Self::IncludeUntrusted(_) => {
                f.write_str("the included file must be owned by root and writable only by root")
            }
            Self::IncludeLoop => f.write_str("the included file includes this one"),
            Self::TooManyFiles => write!(f, "more than {MAX_FILES} files are included"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AclError {
    pub(crate) location: Location,
    pub(crate) kind: AclErrorKind,
}

/// The bridge that a rule is for; None is all of them.
type OneOrAll = Option<IfName>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Allow(OneOrAll),
    Deny(OneOrAll),
    Include(PathBuf),
}

/// All rules of the file and of those that it includes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    allow: Vec<OneOrAll>,
    deny: Vec<(OneOrAll, Location)>,
}

/// What the rules say of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// This rule denies it.
    Denied(Location),
    /// No rule allows it.
    NotAllowed,
}

impl Acl {
    /// Loads the rules from the contents of the file at `path` and of what it includes, which `read` reads.
    ///
    /// # Errors
    /// Anything that leaves a doubt about what the administrator meant.
    pub(crate) fn load(
        path: &Path,
        contents: &Contents,
        read: impl Fn(&Path) -> Result<Contents, SysError>,
    ) -> Result<Self, AclError> {
        let mut loader = Loader {
            read,
            acl: Self::default(),
            include_stack: Vec::new(),
            files: 0,
        };
        loader.load(path, contents)?;
        Ok(loader.acl)
    }

    pub(crate) fn verdict(&self, bridge: IfName) -> Verdict {
        let matches = |which: OneOrAll| which.is_none_or(|name| name == bridge);
        let denial = self.deny.iter().find(|(which, _)| matches(*which));
        if let Some((_, location)) = denial {
            Verdict::Denied(location.clone())
        } else if self.allow.iter().any(|which| matches(*which)) {
            Verdict::Allowed
        } else {
            Verdict::NotAllowed
        }
    }
}

struct Loader<R> {
    read: R,
    acl: Acl,
    /// The chain of includes from the first file to the current one.
    include_stack: Vec<(u64, u64)>,
    files: usize,
}

impl<R: Fn(&Path) -> Result<Contents, SysError>> Loader<R> {
    fn load(&mut self, path: &Path, contents: &Contents) -> Result<(), AclError> {
        self.include_stack.push(contents.dev_ino);
        for (number, line) in contents.bytes.split(|&b| b == b'\n').enumerate() {
            let location = Location {
                file: path.to_owned(),
                line: number + 1,
            };
            let fail = |kind| AclError {
                location: location.clone(),
                kind,
            };
            match parse(line).map_err(fail)? {
                None => {}
                Some(Rule::Allow(bridges)) => self.acl.allow.push(bridges),
                Some(Rule::Deny(bridges)) => self.acl.deny.push((bridges, location)),
                Some(Rule::Include(path)) => {
                    self.files += 1;
                    if self.files > MAX_FILES {
                        return Err(fail(AclErrorKind::TooManyFiles));
                    }
                    let included = (self.read)(&path).map_err(|cause| {
                        fail(AclErrorKind::IncludeUnreadable(path.clone(), cause))
                    })?;
                    if !included.root_owned {
                        return Err(fail(AclErrorKind::IncludeUntrusted(path)));
                    }
                    if self.include_stack.contains(&included.dev_ino) {
                        return Err(fail(AclErrorKind::IncludeLoop));
                    }
                    self.load(&path, &included)?;
                }
            }
        }
        self.include_stack.pop();
        Ok(())
    }
}

/// Parses one line, without its end. None is a comment or an empty line.
fn parse(line: &[u8]) -> Result<Option<Rule>, AclErrorKind> {
    if line.len() > MAX_LINE {
        return Err(AclErrorKind::LineTooLong);
    }
    if line.contains(&0) {
        return Err(AclErrorKind::NulByte);
    }
    let line = line.trim_ascii_start();
    if matches!(line, [] | [b'#', ..]) {
        return Ok(None);
    }
    // A space ends the command wherever there is one; only without any does a tab.
    let end = line
        .iter()
        .position(|&b| b == b' ')
        .or_else(|| line.iter().position(|&b| b == b'\t'))
        .ok_or(AclErrorKind::Syntax)?;
    let (command, rest) = line.split_at(end);
    let argument = rest.trim_ascii();
    let bridges = || match argument {
        b"all" => Ok(None),
        name => IfName::new(name)
            .map(Some)
            .map_err(|kind| AclErrorKind::InvalidName(name.to_owned(), kind)),
    };
    match command {
        b"allow" => Ok(Some(Rule::Allow(bridges()?))),
        b"deny" => Ok(Some(Rule::Deny(bridges()?))),
        b"include" if argument.starts_with(b"/") => {
            Ok(Some(Rule::Include(OsStr::from_bytes(argument).into())))
        }
        b"include" => Err(AclErrorKind::RelativeInclude),
        other => Err(AclErrorKind::UnknownCommand(other.to_owned())),
    }
}

#[cfg(test)]
mod tests;
