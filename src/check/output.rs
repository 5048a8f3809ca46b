//! The answer as text.

use std::io::{self, IsTerminal};

use crate::check::finding::{Finding, Level};

/// A line for each finding, aligned, with the command that fixes it below; in colour on a terminal.
pub fn text(findings: &[Finding]) -> String {
    let is_terminal = io::stdout().is_terminal();
    let in_colour =
        is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut text = String::new();
    for finding in findings {
        // Escape sequences of ECMA-48: bold red, bold yellow, green.
        let (level, colour) = match finding.level {
            Level::Ok => ("ok", "32"),
            Level::Warning => ("warning", "1;33"),
            Level::Problem(_) => ("problem", "1;31"),
        };
        let level = format!("{level:<7}");
        let level = if in_colour {
            format!("\x1b[{colour}m{level}\x1b[0m")
        } else {
            level
        };
        text += &format!("{level}  {:<13}  {}\n", finding.subject, finding.message);
        if let Some(fix) = &finding.fix {
            text += &format!("{:22}-> {fix}\n", "");
        }
    }
    text
}
