//! The answer as text, and as JSON.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use crate::check::finding::{Finding, Fix, Level};
use crate::sys::process::terminal_width;

/// Where the third column begins: after the level and the subject.
const MESSAGE_COLUMN: usize = 24;
/// Where what fixes it begins, after the arrow.
const FIX_COLUMN: usize = 25;

/// A line for each finding, aligned, with what fixes it below. On a terminal it is in colour, and text is wrapped; a command
/// is not, since it is to be copied.
pub fn text(findings: &[Finding]) -> String {
    let is_terminal = io::stdout().is_terminal();
    let width = terminal_width().filter(|_| is_terminal);
    let in_colour = is_terminal
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let mut text = String::new();
    for finding in findings {
        // Escape sequences of ECMA-48: green, bold yellow, bold red.
        let colour = match finding.level {
            Level::Ok => "32",
            Level::Warning(_) => "1;33",
            Level::Problem(_) => "1;31",
        };
        let mut level = format!("{:<7}", finding.level.as_str());
        if in_colour {
            level = format!("\x1b[{colour}m{level}\x1b[0m");
        }
        let message = wrapped(&finding.message, MESSAGE_COLUMN, width);
        text += &format!("{level}  {:<13}  {message}\n", finding.subject);
        let fix = match &finding.fix {
            Some(Fix::Command(command)) => command.clone(),
            Some(Fix::Advice(advice)) => wrapped(&format!("advice: {advice}"), FIX_COLUMN, width),
            None => continue,
        };
        text += &format!("{:22}-> {fix}\n", "");
    }
    text
}

/// Breaks text between words, and indents all lines but the first, so that none goes beyond this width.
fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    // Less would be a column of single words.
    let Some(room) = width
        .and_then(|width| width.checked_sub(indent))
        .filter(|&room| room >= 20)
    else {
        return text.to_owned();
    };
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > room {
            lines += &format!("\n{:indent$}", "");
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += word.len();
    }
    lines
}

/// One array of objects, one on each line.
pub fn json(findings: &[Finding]) -> String {
    let objects = findings.iter().map(|finding| {
        let (fix, advice) = match &finding.fix {
            Some(Fix::Command(command)) => (quoted(command), "null".to_owned()),
            Some(Fix::Advice(advice)) => ("null".to_owned(), quoted(advice)),
            None => ("null".to_owned(), "null".to_owned()),
        };
        format!(
            r#"{{"level":{},"about":{},"what":{},"fix":{fix},"advice":{advice},"exit_code":{}}}"#,
            quoted(finding.level.as_str()),
            quoted(finding.subject),
            quoted(&finding.message),
            finding.level.exit_code() as u8,
        )
    });
    format!("[{}]\n", objects.collect::<Vec<_>>().join(",\n "))
}

/// A string of JSON (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                // Writing to a String does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code::ExitCode;

    #[test]
    fn text_is_wrapped_between_words_and_never_cut() {
        let text = "one two three four five six seven";
        assert_eq!(wrapped(text, 4, None), text);
        assert_eq!(
            wrapped(text, 4, Some(24)),
            "one two three four\n    five six seven"
        );
        // A word that is longer than the line, and a terminal that is too narrow.
        let long = "a-word-of-twenty-five-bytes-and b";
        assert_eq!(
            wrapped(long, 4, Some(24)),
            "a-word-of-twenty-five-bytes-and\n    b"
        );
        assert_eq!(wrapped(text, 4, Some(23)), text);
        assert_eq!(wrapped(text, 30, Some(20)), text);
    }

    #[test]
    fn any_text_is_one_string_of_json() {
        let all: String = ('\0'..='\u{ff}')
            .chain("\u{1f600}\u{2028}".chars())
            .collect();
        let read: serde_json::Value = serde_json::from_str(&quoted(&all)).unwrap();
        assert_eq!(read, all.as_str());
        let finding = Finding {
            level: Level::Problem(ExitCode::Bridge),
            subject: "bridge",
            message: all.clone(),
            fix: Some(Fix::Command(all.clone())),
        };
        let two = [
            finding.clone(),
            Finding {
                fix: None,
                level: Level::Ok,
                ..finding
            },
        ];
        let read: serde_json::Value = serde_json::from_str(&json(&two)).unwrap();
        let expected = serde_json::json!([
            {"level": "problem", "about": "bridge", "what": all, "fix": all, "advice": null, "exit_code": 4},
            {"level": "ok", "about": "bridge", "what": all, "fix": null, "advice": null, "exit_code": 0},
        ]);
        assert_eq!(read, expected);
        assert_eq!(json(&[]), "[]\n");
    }
}
