//! The answer as text, and as JSON.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use crate::check::finding::Finding;
use crate::check::id::Level;
use crate::error::advice::{Advice, Reader};
use crate::model::if_name::IfName;
use crate::sys::process::terminal_width;

/// Where the third column begins: after the level and the subject.
const MESSAGE_COLUMN: usize = 24;
/// Where what fixes it begins, after the arrow.
const FIX_COLUMN: usize = 25;

/// A line for each finding, aligned, with what fixes it below; what is ok is only counted, unless `all` is asked for. On a
/// terminal it is in colour, and text is wrapped; a command is not, since it is to be copied.
pub(crate) fn text(findings: &[Finding], reader: Reader, all: bool) -> String {
    let is_terminal = io::stdout().is_terminal();
    let width = terminal_width().filter(|_| is_terminal);
    let in_colour = is_terminal
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let line = |level: Level, subject: &str, message: &str| {
        // Escape sequences of ECMA-48: green, bold yellow, bold red.
        let colour = match level {
            Level::Ok => "32",
            Level::Warning(_) => "1;33",
            Level::Problem(_) => "1;31",
        };
        let mut word = format!("{:<7}", level.as_str());
        if in_colour {
            word = format!("\x1b[{colour}m{word}\x1b[0m");
        }
        let message = wrapped(message, MESSAGE_COLUMN, width);
        format!("{word}  {subject:<13}  {message}\n")
    };
    let mut text = String::new();
    let is_listed = |finding: &&Finding| all || finding.level != Level::Ok;
    for finding in findings.iter().filter(is_listed) {
        text += &line(finding.level, finding.id.subject(), &finding.message);
        let fix = finding.fix.iter().map(|fix| fix.for_reader(reader));
        let advice = finding.advice.iter();
        let advice = advice.map(|advice| advice_lines(advice, reader, width));
        for help in fix.chain(advice) {
            text += &format!("{:22}-> {help}\n", "");
        }
    }
    let count = findings
        .iter()
        .filter(|found| found.level == Level::Ok)
        .count();
    if !all && count > 0 {
        let subject = if text.is_empty() { "all" } else { "others" };
        let message = format!("{count} checks are ok. To list them, add --verbose");
        text += &line(Level::Ok, subject, &message);
    }
    text
}

/// The text is wrapped. A command that has no room behind it is on a line of its own.
fn advice_lines(advice: &Advice, reader: Reader, width: Option<usize>) -> String {
    let whole = format!("advice: {}", advice.for_reader(reader));
    let (Some(width), Some(command)) = (width, &advice.command) else {
        return wrapped(&whole, FIX_COLUMN, width);
    };
    if FIX_COLUMN + whole.len() <= width {
        return whole;
    }
    let text = wrapped(
        &format!("advice: {}:", advice.text),
        FIX_COLUMN,
        Some(width),
    );
    format!("{text}\n{:FIX_COLUMN$}{}", "", command.for_reader(reader))
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
pub(crate) fn json(findings: &[Finding], reader: Reader) -> String {
    let or_null = |text: Option<String>| text.map_or("null".to_owned(), |text| quoted(&text));
    let name = |name: Option<IfName>| or_null(name.map(|name| name.to_string()));
    let objects = findings.iter().map(|finding| {
        let advice = finding.advice.iter();
        let advice: Vec<_> = advice.map(|advice| advice.for_reader(reader)).collect();
        let advice = Some(advice.join("\n")).filter(|advice| !advice.is_empty());
        let fix = finding.fix.as_ref().map(|fix| fix.for_reader(reader));
        format!(
            r#"{{"id":{},"level":{},"about":{},"ifname":{},"bridge":{},"what":{},"fix":{},"advice":{},"exit_code":{}}}"#,
            quoted(finding.id.as_str()),
            quoted(finding.level.as_str()),
            quoted(finding.id.subject()),
            name(finding.ifname),
            name(finding.bridge),
            quoted(&finding.message),
            or_null(fix),
            or_null(advice),
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
    use crate::check::id::Id;
    use crate::error::advice::Command;
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
            id: Id::BridgeDown,
            level: Level::Problem(ExitCode::Bridge),
            ifname: None,
            bridge: Some(IfName::DEFAULT_BRIDGE),
            message: all.clone(),
            fix: Some(Command::plain(all.clone())),
            advice: Vec::new(),
        };
        let two = [
            finding.clone(),
            Finding {
                id: Id::TunUsable,
                level: Level::Ok,
                bridge: None,
                fix: None,
                advice: vec![Advice::text("one"), Advice::run("two", Command::root("id"))],
                ..finding
            },
        ];
        let read: serde_json::Value = serde_json::from_str(&json(&two, Reader(None))).unwrap();
        let expected = serde_json::json!([
            {
                "id": "bridge-down", "level": "problem", "about": "bridge", "ifname": null,
                "bridge": "br0", "what": all, "fix": all, "advice": null, "exit_code": 4,
            },
            {
                "id": "tun-usable", "level": "ok", "about": "/dev/net/tun", "ifname": null,
                "bridge": null, "what": all, "fix": null, "advice": "one\ntwo: sudo id",
                "exit_code": 0,
            },
        ]);
        assert_eq!(read, expected);
        assert_eq!(json(&[], Reader(None)), "[]\n");
    }
}
