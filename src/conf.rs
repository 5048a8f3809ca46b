//! /etc/qemu-ifup.conf: options for taps whose names match a pattern, read by the command line's own parser.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::cli::{Settings, parse_settings};
use crate::error::Error;
use crate::name::IfName;
use crate::text::Escaped;

/// Where the configuration is.
pub const CONF_FILE: &str = "/etc/qemu-ifup.conf";

/// A line that cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// What a configuration has for one tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    /// The options.
    pub settings: Settings,
    /// The lines that they come from: number, from 1, and text, escaped.
    pub lines: Vec<(usize, String)>,
    /// One of them is not for every name: it has a letter or the like in its pattern.
    pub names_the_tap: bool,
}

/// The options that a configuration has for this tap. Every line that matches applies, and later ones win.
///
/// # Errors
/// A line that cannot be read, whether it matches or not: a mistake must not wait for the day its tap comes up.
pub fn settings_for(tap: IfName, contents: &[u8]) -> Result<Effective, ConfError> {
    let mut effective = Effective::default();
    for (number, line) in contents.split(|&b| b == b'\n').enumerate() {
        let fail = |problem| ConfError {
            line: number + 1,
            problem,
        };
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with(b"#"));
        let Some(pattern) = words.next() else {
            continue;
        };
        if pattern.starts_with(b"-") {
            let word = Escaped::start_of(pattern);
            return Err(fail(format!(
                "a line begins with a pattern of interface names (such as *), not with '{word}'"
            )));
        }
        let options = words.map(|word| OsString::from(OsStr::from_bytes(word)));
        let found = parse_settings(options).map_err(|error: Error| fail(error.to_string()))?;
        if matches(pattern, tap.as_bytes()) {
            effective.settings = found.over(effective.settings);
            let text = Escaped::start_of(line.trim_ascii()).to_string();
            effective.lines.push((number + 1, text));
            effective.names_the_tap |= pattern.iter().any(|byte| !b"*?".contains(byte));
        }
    }
    Ok(effective)
}

/// Whether the name matches: `*` is any number of bytes, `?` is one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last `*` was, and how much of the name it stands for so far.
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
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}
