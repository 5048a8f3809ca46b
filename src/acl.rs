//! Which bridges the administrator lets ordinary users attach to: QEMU's /etc/qemu/bridge.conf.
//!
//! The grammar is that of QEMU's own helper (qemu-bridge-helper.c): one rule a line, `allow NAME`, `allow all`,
//! `deny NAME`, `deny all` or `include PATH`; `#` begins a comment line; what is not allowed is denied, and one matching
//! deny outweighs every allow. Whatever that helper refuses is refused here. Where it goes on although it cannot know
//! what the administrator meant, this one stops: see [`Problem`].

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Cause;
use crate::file::Contents;
use crate::name::{IfName, NameError};
use crate::text::Escaped;

/// Where the rules are.
pub const ACL_FILE: &str = "/etc/qemu/bridge.conf";

/// The longest line, without its end, that QEMU's helper reads as one.
const MAX_LINE: usize = 4095;

/// As many files as anybody needs; a few that include each other twice over would otherwise be read for ever.
const MAX_FILES: usize = 64;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        write!(f, "{}:{line}", Escaped(file.as_os_str().as_bytes()))
    }
}

/// Why a file holds no rules that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The line is no command and argument.
    NoRule,
    /// The command is not `allow`, `deny` or `include`.
    UnknownCommand(Vec<u8>),
    /// The name is none that a bridge can have. QEMU's helper makes a rule of it that matches nothing, and once cut it
    /// to 15 bytes (CVE-2019-13164).
    BadName(Vec<u8>, NameError),
    /// The line is longer than QEMU's helper reads; it takes the rest for another line.
    LongLine,
    /// A byte that ends the line for QEMU's helper, and hides the rest of it.
    Nul,
    /// A path that means another file in every directory; the caller chooses the directory.
    RelativeInclude,
    /// An include that cannot be read. QEMU's helper ignores it, and the denials in it.
    Unreadable(Cause),
    /// An include that somebody else than root could have written. QEMU's helper believes it.
    NotRoots,
    /// A file that includes itself. QEMU's helper crashes.
    Loop,
    /// More files are included than anybody needs.
    TooManyFiles,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("not a rule (allow NAME, deny NAME or include PATH)"),
            Self::UnknownCommand(word) => {
                write!(
                    f,
                    "'{}' is not allow, deny or include",
                    Escaped::start_of(word)
                )
            }
            Self::BadName(name, problem) => {
                write!(
                    f,
                    "'{}' is no bridge's name: {problem}",
                    Escaped::start_of(name)
                )
            }
            Self::LongLine => write!(f, "the line is longer than {MAX_LINE} bytes"),
            Self::Nul => f.write_str("there is a NUL byte in the line"),
            Self::RelativeInclude => f.write_str("the path of an include must begin with /"),
            Self::Unreadable(cause) => write!(f, "cannot read the included file: {cause}"),
            Self::NotRoots => {
                f.write_str("the included file must be root's, and nobody else may write to it")
            }
            Self::Loop => f.write_str("the included file includes this one"),
            Self::TooManyFiles => write!(f, "more than {MAX_FILES} files are included"),
        }
    }
}

/// A problem and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bridges {
    All,
    One(IfName),
}

impl Bridges {
    fn contain(self, bridge: IfName) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => name == bridge,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Allow(Bridges),
    Deny(Bridges),
    Include(PathBuf),
}

/// All rules of the file and of those that it includes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    allow: Vec<Bridges>,
    deny: Vec<(Bridges, Place)>,
}

/// What the rules say of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is allowed.
    Allowed,
    /// This rule denies it.
    Denied(Place),
    /// No rule allows it.
    NotAllowed,
}

impl Acl {
    /// Puts the rules together from the contents of the file at `path` and of what it includes, which `read` reads.
    ///
    /// # Errors
    /// Anything that leaves a doubt about what the administrator meant.
    pub fn load(
        path: &Path,
        contents: &Contents,
        read: impl Fn(&Path) -> Result<Contents, Cause>,
    ) -> Result<Self, AclError> {
        let mut loader = Loader {
            read,
            acl: Self {
                allow: Vec::new(),
                deny: Vec::new(),
            },
            open: Vec::new(),
            files: 0,
        };
        loader.load(path, contents)?;
        Ok(loader.acl)
    }

    /// What the rules say of this bridge.
    pub fn judge(&self, bridge: IfName) -> Verdict {
        let denial = self.deny.iter().find(|(which, _)| which.contain(bridge));
        if let Some((_, place)) = denial {
            Verdict::Denied(place.clone())
        } else if self.allow.iter().any(|which| which.contain(bridge)) {
            Verdict::Allowed
        } else {
            Verdict::NotAllowed
        }
    }
}

struct Loader<R> {
    read: R,
    acl: Acl,
    /// The files that lead from the first one to where we are.
    open: Vec<(u64, u64)>,
    files: usize,
}

impl<R: Fn(&Path) -> Result<Contents, Cause>> Loader<R> {
    fn load(&mut self, path: &Path, contents: &Contents) -> Result<(), AclError> {
        self.open.push(contents.identity);
        for (number, line) in contents.bytes.split(|&b| b == b'\n').enumerate() {
            let place = Place {
                file: path.to_owned(),
                line: number + 1,
            };
            let fail = |problem| AclError {
                place: place.clone(),
                problem,
            };
            match parse(line).map_err(fail)? {
                None => {}
                Some(Line::Allow(bridges)) => self.acl.allow.push(bridges),
                Some(Line::Deny(bridges)) => self.acl.deny.push((bridges, place)),
                Some(Line::Include(path)) => {
                    self.files += 1;
                    if self.files > MAX_FILES {
                        return Err(fail(Problem::TooManyFiles));
                    }
                    let included =
                        (self.read)(&path).map_err(|cause| fail(Problem::Unreadable(cause)))?;
                    if !included.only_roots {
                        return Err(fail(Problem::NotRoots));
                    }
                    if self.open.contains(&included.identity) {
                        return Err(fail(Problem::Loop));
                    }
                    self.load(&path, &included)?;
                }
            }
        }
        self.open.pop();
        Ok(())
    }
}

/// Reads one line, without its end. None is a comment or an empty line.
fn parse(line: &[u8]) -> Result<Option<Line>, Problem> {
    if line.len() > MAX_LINE {
        return Err(Problem::LongLine);
    }
    if line.contains(&0) {
        return Err(Problem::Nul);
    }
    let line = trim_start(line);
    if matches!(line, [] | [b'#', ..]) {
        return Ok(None);
    }
    // A space ends the command wherever there is one; only without any does a tab.
    let end = line
        .iter()
        .position(|&b| b == b' ')
        .or_else(|| line.iter().position(|&b| b == b'\t'))
        .ok_or(Problem::NoRule)?;
    let (command, rest) = line.split_at(end);
    let argument = trim_end(trim_start(rest));
    let bridges = || match argument {
        b"all" => Ok(Bridges::All),
        name => IfName::new(name)
            .map(Bridges::One)
            .map_err(|problem| Problem::BadName(name.to_owned(), problem)),
    };
    match command {
        b"allow" => Ok(Some(Line::Allow(bridges()?))),
        b"deny" => Ok(Some(Line::Deny(bridges()?))),
        b"include" if argument.starts_with(b"/") => {
            Ok(Some(Line::Include(OsStr::from_bytes(argument).into())))
        }
        b"include" => Err(Problem::RelativeInclude),
        other => Err(Problem::UnknownCommand(other.to_owned())),
    }
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|b| !b.is_ascii_whitespace())
        .unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|b| !b.is_ascii_whitespace())
        .map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}
