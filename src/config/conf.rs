//! /etc/qemu-ifup.conf: options for taps whose names match a pattern, read by the command line's own parser.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::config::error::ConfError;
use crate::config::options::{TapOptions, parse_options};
use crate::escape::Escaped;
use crate::model::if_name::IfName;

pub(crate) const CONF_FILE: &str = "/etc/qemu-ifup.conf";

/// What a configuration has for one tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MatchedConf {
    pub(crate) options: TapOptions,
    /// The lines that they come from: number, from 1, and text, escaped.
    pub(crate) lines: Vec<(usize, String)>,
    /// The options of each of these lines.
    pub(crate) by_line: Vec<(usize, TapOptions)>,
    /// One of them is for such names only: its pattern is more than `*` and `?`.
    pub(crate) names_tap: bool,
    /// The largest --max-taps of all lines, whichever tap they are for.
    pub(crate) largest_max_taps: Option<u32>,
    /// A line, whichever tap it is for, restricts the taps of unprivileged users.
    pub(crate) binds_users: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conf(Vec<ConfLine>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfLine {
    number: usize,
    text: Vec<u8>,
    pattern: Vec<u8>,
    options: TapOptions,
}

impl Conf {
    /// Parses the contents of the file.
    ///
    /// # Errors
    /// A line that cannot be read, whatever it is for: a mistake must not wait for the day its tap comes up.
    pub(crate) fn parse(contents: &[u8]) -> Result<Self, ConfError> {
        let lines = contents.split(|&b| b == b'\n').enumerate();
        let parsed =
            lines.filter_map(|(position, text)| parse_line(position + 1, text).transpose());
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a line restricts the taps of users: the lines that only name a bridge, or create one, do not.
    fn binds_users(&self) -> bool {
        self.0.iter().any(|line| {
            let TapOptions {
                access,
                port,
                lock_mac,
                pvid,
                vlans,
                max_taps,
                ..
            } = &line.options;
            access.is_some()
                || !port.is_empty()
                || lock_mac.is_some()
                || pvid.is_some()
                || !vlans.is_empty()
                || max_taps.is_some()
        })
    }

    /// What it has for this tap: the options of every line that matches, and later ones win.
    pub(crate) fn for_tap(&self, tap: IfName) -> MatchedConf {
        let mut matched = MatchedConf {
            largest_max_taps: self.0.iter().filter_map(|line| line.options.max_taps).max(),
            binds_users: self.binds_users(),
            ..MatchedConf::default()
        };
        let lines = self.0.iter();
        for line in lines.filter(|line| glob_match(&line.pattern, tap.as_bytes())) {
            let options = line.options.clone();
            matched.by_line.push((line.number, options.clone()));
            matched.options = options.with_defaults(matched.options);
            let text = Escaped::truncated(line.text.trim_ascii()).to_string();
            matched.lines.push((line.number, text));
            matched.names_tap |= line.pattern.iter().any(|byte| !b"*?".contains(byte));
        }
        matched
    }
}

/// Parses one line. None is a comment or an empty line.
fn parse_line(number: usize, text: &[u8]) -> Result<Option<ConfLine>, ConfError> {
    let fail = |reason| ConfError {
        line: number,
        reason,
    };
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .take_while(|word| !word.starts_with(b"#"));
    let Some(pattern) = words.next() else {
        return Ok(None);
    };
    if pattern.starts_with(b"-") {
        let word = Escaped::truncated(pattern);
        return Err(fail(format!(
            "a line must begin with a pattern for interface names (for example *), not with '{word}'"
        )));
    }
    // What a shell would read otherwise, and what is in no name.
    if pattern.iter().any(|byte| b"[{/:%".contains(byte)) {
        let word = Escaped::truncated(pattern);
        return Err(fail(format!(
            "'{word}' is not a valid pattern: only * (any text) and ? (one character) are special, and [ {{ / : % are not allowed"
        )));
    }
    let options = words.map(|word| OsString::from(OsStr::from_bytes(word)));
    let options = parse_options(options).map_err(|error| fail(error.to_string()))?;
    Ok(Some(ConfLine {
        number,
        text: text.to_owned(),
        pattern: pattern.to_owned(),
        options,
    }))
}

/// Whether the name matches: `*` is any number of bytes, `?` is one.
fn glob_match(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last `*` was, and how much of the name it matches so far.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while let Some(&byte) = name.get(n) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(&wanted), _) if wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|&b| b == b'*'))
}

#[cfg(test)]
mod tests;
