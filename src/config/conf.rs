//! /etc/qemu-ifup.conf: options for taps whose names match a pattern, read by the command line's own parser.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::config::error::ConfError;
use crate::config::options::{TapOptions, parse_options};
use crate::escape::Escaped;
use crate::model::if_name::IfName;

/// Where the configuration is.
pub(crate) const CONF_FILE: &str = "/etc/qemu-ifup.conf";

/// What a configuration has for one tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MatchedConf {
    /// The options.
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

/// A configuration, all of whose lines are valid. Only lines that match a tap are kept: there can be thousands for others.
#[derive(Debug, Default)]
pub(crate) struct Conf {
    contents: Vec<u8>,
    largest_max_taps: Option<u32>,
    binds_users: bool,
}

impl Conf {
    /// Parses the contents of the file.
    ///
    /// # Errors
    /// A line that is invalid, whatever it is for: a mistake must not wait for the day its tap comes up.
    pub(crate) fn parse(contents: Vec<u8>) -> Result<Self, ConfError> {
        let mut largest_max_taps = None;
        let mut binds_users = false;
        let mut valid = b"".as_slice();
        for line in lines(&contents) {
            let line = line?;
            // Many lines differ only in their pattern.
            if line.options == valid {
                continue;
            }
            let options = line.parse_options()?;
            valid = line.options;
            largest_max_taps = largest_max_taps.max(options.max_taps);
            binds_users |= restricts_users(&options);
        }
        Ok(Self {
            contents,
            largest_max_taps,
            binds_users,
        })
    }

    /// What it has for this tap: the options of every line that matches, and later ones win.
    ///
    /// # Errors
    /// Those of [`Self::parse`], which has read the same lines.
    pub(crate) fn for_tap(&self, tap: IfName) -> Result<MatchedConf, ConfError> {
        let mut matched = MatchedConf {
            largest_max_taps: self.largest_max_taps,
            binds_users: self.binds_users,
            ..MatchedConf::default()
        };
        for line in lines(&self.contents) {
            let line = line?;
            if glob_match(line.pattern, tap.as_bytes()) {
                let options = line.parse_options()?;
                matched.by_line.push((line.number, options.clone()));
                matched.options = options.with_defaults(matched.options);
                let text = Escaped::truncated(line.text).to_string();
                matched.lines.push((line.number, text));
                matched.names_tap |= line.pattern.iter().any(|byte| !b"*?".contains(byte));
            }
        }
        Ok(matched)
    }
}

/// Whether a line restricts the taps of users: the lines that only name a bridge, or create one, do not.
fn restricts_users(options: &TapOptions) -> bool {
    options.access.is_some()
        || !options.port.is_empty()
        || options.lock_mac.is_some()
        || options.pvid.is_some()
        || !options.vlans.is_empty()
        || options.max_taps.is_some()
}

/// A line with a pattern.
struct Line<'a> {
    number: usize,
    text: &'a [u8],
    pattern: &'a [u8],
    options: &'a [u8],
}

/// The lines, without comments and empty lines.
fn lines(contents: &[u8]) -> impl Iterator<Item = Result<Line<'_>, ConfError>> {
    let lines = contents.split(|&byte| byte == b'\n').enumerate();
    lines.filter_map(|(position, text)| Line::parse(position + 1, text).transpose())
}

impl<'a> Line<'a> {
    fn parse(number: usize, text: &'a [u8]) -> Result<Option<Self>, ConfError> {
        let text = text.trim_ascii();
        let end = text.iter().position(u8::is_ascii_whitespace);
        let (pattern, options) = text.split_at(end.unwrap_or(text.len()));
        if pattern.is_empty() || pattern.starts_with(b"#") {
            return Ok(None);
        }
        let fail = |reason| {
            Err(ConfError {
                line: number,
                reason,
            })
        };
        if pattern.starts_with(b"-") {
            let word = Escaped::truncated(pattern);
            return fail(format!(
                "a line must begin with a pattern for interface names (for example *), not with \
                 '{word}'"
            ));
        }
        // What a shell would read otherwise, and what is in no name.
        if pattern.iter().any(|byte| b"[{/:%".contains(byte)) {
            let word = Escaped::truncated(pattern);
            return fail(format!(
                "'{word}' is not a valid pattern: only * (any text) and ? (one character) are \
                 special, and [ {{ / : % are not allowed"
            ));
        }
        Ok(Some(Self {
            number,
            text,
            pattern,
            options,
        }))
    }

    fn parse_options(&self) -> Result<TapOptions, ConfError> {
        let words = self
            .options
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with(b"#"));
        parse_options(words.map(|word| OsString::from(OsStr::from_bytes(word)))).map_err(|error| {
            ConfError {
                line: self.number,
                reason: error.to_string(),
            }
        })
    }
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
