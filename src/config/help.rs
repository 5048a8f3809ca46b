//! `--help`: two paragraphs, and between them the rows of the table.

use crate::config::program::Program;
use crate::config::table::{Completion, Group, OptionRow, options_of};

/// The column in which the texts of the options begin, from 0, and the last one.
const TEXT_COLUMN: usize = 22;
const WIDTH: usize = 80;

const IFUP_BEGIN: &str = "\
Usage: qemu-ifup [OPTIONS] IFNAME...

Bring up each tap IFNAME and attach it to a bridge. Create taps that do not
exist. QEMU runs this program:
-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown
";

const IFUP_END: &str = "
Each line of /etc/qemu-ifup.conf is a pattern for tap names, followed by options
as above. If an option and its opposite are both given, the last one wins. The
command line overrides the file. If the program has a file capability
(install.sh), unprivileged users create taps on the bridges that
/etc/qemu/bridge.conf allows, and lines of /etc/qemu-ifup.conf bind them.

Exit codes: 0 success, 1 unexpected error, 2 usage, 3 not permitted, 4 bridge
missing, not a bridge, or full, 5 not a usable tap, 6 /dev/net/tun unusable,
7 refused by the kernel, 8 invalid configuration or ACL file, 9 timed out.
QEMU reports the code multiplied by 256.
";

const IFDOWN_BEGIN: &str = "\
Usage: qemu-ifdown [OPTIONS] IFNAME...

Bring down each tap IFNAME and detach it from its bridge. An unprivileged user's
tap stays as it is, unless it is deleted.
";

const IFDOWN_END: &str = "
Exit codes: 0 success, 1 unexpected error, 2 usage, 3 not permitted, 5 not a
tap, or in use, 7 refused by the kernel, 9 timed out.
";

pub(crate) fn help(program: Program) -> String {
    let (begin, end) = match program {
        Program::Ifup => (IFUP_BEGIN, IFUP_END),
        Program::Ifdown => (IFDOWN_BEGIN, IFDOWN_END),
    };
    begin.to_owned() + &groups(program) + end
}

/// The options of a program in their groups.
pub(crate) fn groups(program: Program) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let mut rows = options_of(program)
            .filter(|row| row.group == group)
            .peekable();
        if rows.peek().is_some() {
            text += &format!("\n{}:\n", group.heading());
            text.extend(rows.map(describe));
        }
    }
    text
}

/// An option as `--help` writes it: `-b, --bridge NAME`.
pub(crate) fn spelling(row: &OptionRow) -> String {
    let short = row
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    let mut text = format!("{short}--{}", row.long);
    if let Some(value) = row.value {
        // QEMU passes the number of its socket in the same word.
        let between = if matches!(value.completion, Completion::Nothing) && row.long == "fd" {
            '='
        } else {
            ' '
        };
        text.push(between);
        text += value.name;
    }
    if let Some(opposite) = row.opposite {
        text += &format!(", --{opposite}");
    }
    text
}

/// The option and its text, which begins in the same line if there is room.
fn describe(row: &OptionRow) -> String {
    let mut text = format!("  {}", spelling(row));
    if text.len() < TEXT_COLUMN {
        text = format!("{text:TEXT_COLUMN$}");
    } else {
        text += &format!("\n{:TEXT_COLUMN$}", "");
    }
    let mut column = TEXT_COLUMN;
    for (position, word) in row.help.split(' ').enumerate() {
        if position > 0 && column + 1 + word.len() > WIDTH {
            text += &format!("\n{:TEXT_COLUMN$}", "");
            column = TEXT_COLUMN;
        } else if position > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += word.len();
    }
    text.push('\n');
    text
}
