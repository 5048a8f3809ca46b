//! /etc/qemu-ifup.conf: options for taps whose names match a pattern, read by the command line's own parser.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::config::error::ConfError;
use crate::config::options::{TapOptions, parse_options};
use crate::escape::Escaped;
use crate::model::if_name::IfName;

/// Where the configuration is.
pub const CONF_FILE: &str = "/etc/qemu-ifup.conf";

/// What a configuration has for one tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchedConf {
    /// The options.
    pub options: TapOptions,
    /// The lines that they come from: number, from 1, and text, escaped.
    pub lines: Vec<(usize, String)>,
    /// The options of each of these lines.
    pub by_line: Vec<(usize, TapOptions)>,
    /// One of them is for such names only: its pattern is more than `*` and `?`.
    pub names_tap: bool,
}

/// The options that a configuration has for this tap. Every line that glob_match applies, and later ones win.
///
/// # Errors
/// A line that cannot be read, whether it matches or not: a mistake must not wait for the day its tap comes up.
pub fn options_for(tap: IfName, contents: &[u8]) -> Result<MatchedConf, ConfError> {
    let mut matched = MatchedConf::default();
    for (number, line) in contents.split(|&b| b == b'\n').enumerate() {
        let fail = |reason| ConfError {
            line: number + 1,
            reason,
        };
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with(b"#"));
        let Some(pattern) = words.next() else {
            continue;
        };
        if pattern.starts_with(b"-") {
            let word = Escaped::truncated(pattern);
            return Err(fail(format!(
                "a line begins with a pattern of interface names (such as *), not with '{word}'"
            )));
        }
        // What a shell would read otherwise, and what is in no name.
        if pattern.iter().any(|byte| b"[{/:%".contains(byte)) {
            let word = Escaped::truncated(pattern);
            return Err(fail(format!(
                "'{word}' is not a pattern of interface names: * is any text, ? any one character, and [ {{ / : % cannot be in it"
            )));
        }
        let options = words.map(|word| OsString::from(OsStr::from_bytes(word)));
        let found = parse_options(options).map_err(|error| fail(error.to_string()))?;
        if glob_match(pattern, tap.as_bytes()) {
            matched.by_line.push((number + 1, found.clone()));
            matched.options = found.with_defaults(matched.options);
            let text = Escaped::truncated(line.trim_ascii()).to_string();
            matched.lines.push((number + 1, text));
            matched.names_tap |= pattern.iter().any(|byte| !b"*?".contains(byte));
        }
    }
    Ok(matched)
}

/// Whether the name glob_match: `*` is any number of bytes, `?` is one.
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
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("*", "tap0", true),
            ("tap0", "tap0", true),
            ("tap0", "tap00", false),
            ("tap?", "tap0", true),
            ("tap?", "tap", false),
            ("tap?", "tap10", false),
            ("web*", "web", true),
            ("*0", "tap0", true),
            ("*0", "tap01", false),
            ("*a*b", "xaybzb", true),
            ("*a*b", "xaybz", false),
            ("**", "x", true),
            ("t*p*", "tap0", true),
            ("[t]ap0", "tap0", false),
        ];
        for (pattern, name, expected) in cases {
            let found = glob_match(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}
