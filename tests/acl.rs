//! Root's rules: what they mean, what leaves a doubt, and that QEMU's own helper never reads them more strictly.
#![allow(unsafe_code, reason = "the tests make system calls of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "in a test a panic is the report"
)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use proptest::prelude::*;
use qemu_ifup::config::acl::{ACL_FILE, Acl, AclError, AclErrorKind, Location, Verdict};
use qemu_ifup::error::exit_code::ExitCode;
use qemu_ifup::model::if_name::{IfName, IfNameError};
use qemu_ifup::sys::error::SysError;
use qemu_ifup::sys::file::{self, Contents};

use common::{Sandbox, bin, command, have, skip, test_name};

/// What a set of files says of a bridge: a verdict, or why there is none.
type Judgement = Result<Verdict, AclError>;

/// Judges by files that are in memory only; the first one is the ACL itself.
fn judge(files: &[(&str, &[u8])], bridge: &str) -> Judgement {
    let open = |n: usize| Contents {
        bytes: files[n].1.to_owned(),
        dev_ino: (0, u64::try_from(n).unwrap()),
        root_owned: true,
    };
    let read = |path: &Path| match files.iter().position(|(name, _)| Path::new(name) == path) {
        Some(n) => Ok(open(n)),
        None => Err(Errno::ENOENT.into()),
    };
    let acl = Acl::load(Path::new(files[0].0), &open(0), read)?;
    Ok(acl.verdict(IfName::new(bridge.as_bytes()).unwrap()))
}

/// What one file says of br0.
fn br0(text: impl AsRef<[u8]>) -> Judgement {
    judge(&[(ACL_FILE, text.as_ref())], "br0")
}

fn place(file: &str, line: usize) -> Location {
    Location {
        file: file.into(),
        line,
    }
}

fn denied(line: usize) -> Judgement {
    Ok(Verdict::Denied(place(ACL_FILE, line)))
}

fn error(file: &str, line: usize, problem: AclErrorKind) -> Judgement {
    Err(AclError {
        location: place(file, line),
        kind: problem,
    })
}

const ALLOWED: Judgement = Ok(Verdict::Allowed);
const NOT_ALLOWED: Judgement = Ok(Verdict::NotAllowed);

#[test]
fn what_no_line_allows_is_not_allowed_and_a_denial_wins_wherever_it_stands() {
    let cases = [
        ("", NOT_ALLOWED),
        ("allow br0", ALLOWED),
        ("allow all", ALLOWED),
        ("allow br1\nallow br\nallow br00\nallow BR0", NOT_ALLOWED),
        ("allow br1\nallow br0", ALLOWED),
        ("deny br0", denied(1)),
        ("deny br0\nallow br0\nallow all", denied(1)),
        ("allow br0\nallow all\ndeny br0", denied(3)),
        ("allow br0\ndeny all", denied(2)),
        ("deny all\nallow br0", denied(1)),
        ("allow br0\ndeny br0\ndeny all", denied(2)),
        ("deny br1\nallow all", ALLOWED),
    ];
    for (text, expected) in cases {
        assert_eq!(br0(text), expected, "{text:?}");
    }
}

#[test]
fn comments_and_white_space_are_as_qemus_helper_reads_them() {
    let cases = [
        (
            "# all is well\n\n   \t\n#deny br0\n  # deny br0\nallow br0\n",
            ALLOWED,
        ),
        ("allow br0\r\n", ALLOWED),
        ("\r\n\r\nallow br0\r\ndeny br0\r\n", denied(4)),
        ("allow\tbr0\t", ALLOWED),
        ("\t \x0c\rallow \t\x0c\r br0 \t\x0c\r", ALLOWED),
        (" \x0c\r\t\n", NOT_ALLOWED),
        // The helper asks g_ascii_isspace(), to which the vertical tab is none, unlike to isspace() of C.
        ("\x0b", error(ACL_FILE, 1, AclErrorKind::Syntax)),
        ("\x0ballow br0", error(ACL_FILE, 1, unknown(b"\x0ballow"))),
        (
            "allow \x0bbr0",
            error(
                ACL_FILE,
                1,
                bad_name(b"\x0bbr0", IfNameError::InvalidByte(0x0b)),
            ),
        ),
        (
            "allow br0\x0b",
            error(
                ACL_FILE,
                1,
                bad_name(b"br0\x0b", IfNameError::InvalidByte(0x0b)),
            ),
        ),
        // Only a space or a tab ends the command, and a tab only where there is no space at all.
        ("allow\x0bbr0", error(ACL_FILE, 1, AclErrorKind::Syntax)),
        ("allow\rbr0", error(ACL_FILE, 1, AclErrorKind::Syntax)),
        ("allow\tbr0 ", error(ACL_FILE, 1, unknown(b"allow\tbr0"))),
        ("allow\x0b br0", error(ACL_FILE, 1, unknown(b"allow\x0b"))),
    ];
    for (text, expected) in cases {
        assert_eq!(br0(text), expected, "{text:?}");
    }
}

fn unknown(word: &[u8]) -> AclErrorKind {
    AclErrorKind::UnknownCommand(word.to_owned())
}

fn bad_name(name: &[u8], why: IfNameError) -> AclErrorKind {
    AclErrorKind::InvalidName(name.to_owned(), why)
}

#[test]
fn a_line_that_is_no_rule_is_an_error_at_that_line_whatever_the_others_say() {
    let cases: [(&[u8], usize, AclErrorKind); 17] = [
        (b"allow", 1, AclErrorKind::Syntax),
        (b"allow br0\n\nbr0", 3, AclErrorKind::Syntax),
        (b"deny br0\npermit br0", 2, unknown(b"permit")),
        (b"Allow br0", 1, unknown(b"Allow")),
        (b"\xef\xbb\xbfallow br0", 1, unknown(b"\xef\xbb\xbfallow")),
        (b"allow ", 1, bad_name(b"", IfNameError::Empty)),
        (
            b"deny br0 # remark",
            1,
            bad_name(b"br0 # remark", IfNameError::InvalidByte(b' ')),
        ),
        (
            b"allow br0 br1",
            1,
            bad_name(b"br0 br1", IfNameError::InvalidByte(b' ')),
        ),
        (b"deny br*\0", 1, AclErrorKind::NulByte),
        (b"allow br0\n\0deny br0", 2, AclErrorKind::NulByte),
        (b"# \0\ndeny br0", 1, AclErrorKind::NulByte),
        (b"deny .", 1, bad_name(b".", IfNameError::Reserved)),
        (
            b"deny a/b",
            1,
            bad_name(b"a/b", IfNameError::InvalidByte(b'/')),
        ),
        (
            b"allow br0\ndeny br-sixteen-bytes",
            2,
            bad_name(b"br-sixteen-bytes", IfNameError::TooLong(16)),
        ),
        (b"include", 1, AclErrorKind::Syntax),
        (b"include ", 1, AclErrorKind::RelativeInclude),
        (b"include other.conf", 1, AclErrorKind::RelativeInclude),
    ];
    for (text, line, problem) in cases {
        let expected = error(ACL_FILE, line, problem);
        assert_eq!(br0(text), expected, "{}", text.escape_ascii());
    }
}

#[test]
fn a_name_of_15_bytes_is_itself_and_not_the_beginning_of_another() {
    let name = "br-fifteen-byte";
    assert_eq!(name.len(), 15);
    let allow: &[u8] = b"allow br-fifteen-byte";
    assert_eq!(judge(&[(ACL_FILE, allow)], name), ALLOWED);
    assert_eq!(judge(&[(ACL_FILE, allow)], "br-fifteen-byt"), NOT_ALLOWED);
    // The helper once cut this name to the other one (CVE-2019-13164).
    let deny: &[u8] = b"allow all\ndeny br-fifteen-bytes";
    let problem = bad_name(b"br-fifteen-bytes", IfNameError::TooLong(16));
    let expected = error(ACL_FILE, 2, problem);
    assert_eq!(judge(&[(ACL_FILE, deny)], name), expected);
}

#[test]
fn a_line_is_one_line_up_to_4095_bytes_and_an_error_beyond() {
    let padded = |rule: &str, length| format!("{rule:length$}\nallow all");
    assert_eq!(br0(padded("deny br0", 4095)), denied(1));
    let too_long = error(ACL_FILE, 1, AclErrorKind::LineTooLong);
    assert_eq!(br0(padded("deny br0", 4096)), too_long);
    // A comment is a line as well: the helper takes what follows its first 4095 bytes for a rule.
    let tail = format!("{:#<4095}allow br0\n", "");
    assert_eq!(br0(&tail), too_long);
    assert_eq!(br0(&tail[1..4096]), NOT_ALLOWED);
}

#[test]
fn an_included_file_counts_as_if_it_stood_there_and_a_denial_is_found_in_it() {
    let files: [(&str, &[u8]); 4] = [
        (
            ACL_FILE,
            b"include /etc/a\n\ninclude /etc/b\n\tinclude\t/etc/b\r\n",
        ),
        ("/etc/a", b"allow all\ninclude /etc/c\n"),
        // Included by two roads, and one of them twice: that is no loop.
        ("/etc/b", b"# nothing\ninclude /etc/c"),
        ("/etc/c", b"\n\ndeny br1"),
    ];
    assert_eq!(judge(&files, "br0"), ALLOWED);
    let denied = Ok(Verdict::Denied(place("/etc/c", 3)));
    assert_eq!(judge(&files, "br1"), denied);
}

#[test]
fn a_problem_in_an_included_file_is_reported_where_it_is() {
    let main: &[u8] = b"allow br0\ninclude /etc/a\n";
    let cases: [(&[u8], usize, AclErrorKind); 4] = [
        (b"\nbr0", 2, AclErrorKind::Syntax),
        (b"allow br1\n\nforbid br0", 3, unknown(b"forbid")),
        (b"include b", 1, AclErrorKind::RelativeInclude),
        (b"\n\n\ndeny \0", 4, AclErrorKind::NulByte),
    ];
    for (text, line, problem) in cases {
        let expected = error("/etc/a", line, problem);
        assert_eq!(
            judge(&[(ACL_FILE, main), ("/etc/a", text)], "br0"),
            expected
        );
    }
}

#[test]
fn an_include_that_cannot_be_read_is_an_error_where_it_is_included() {
    let missing = AclErrorKind::IncludeUnreadable(Errno::ENOENT.into());
    let files: [(&str, &[u8]); 2] = [
        (ACL_FILE, b"allow br0\ninclude /etc/a"),
        ("/etc/a", b"\n\ninclude /etc/missing"),
    ];
    assert_eq!(judge(&files, "br0"), error("/etc/a", 3, missing));

    let main = Contents {
        bytes: b"allow br0\ninclude /etc/a".to_vec(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    for cause in [
        SysError::from(Errno::EACCES),
        SysError::Invalid("it is not a regular file"),
    ] {
        let refused = Acl::load(Path::new(ACL_FILE), &main, |_| Err(cause.clone()));
        let problem = AclErrorKind::IncludeUnreadable(cause);
        assert_eq!(
            refused.map(|_| Verdict::Allowed),
            error(ACL_FILE, 2, problem)
        );
    }
}

#[test]
fn an_include_that_somebody_else_could_have_written_is_an_error() {
    let main = Contents {
        bytes: b"include /etc/a".to_vec(),
        dev_ino: (0, 0),
        root_owned: true,
    };
    let included = Contents {
        bytes: b"allow br0".to_vec(),
        dev_ino: (0, 1),
        root_owned: false,
    };
    let refused = Acl::load(Path::new(ACL_FILE), &main, |_| Ok(included.clone()));
    let expected = error(ACL_FILE, 1, AclErrorKind::IncludeUntrusted);
    assert_eq!(refused.map(|_| Verdict::Allowed), expected);
}

#[test]
fn a_file_that_includes_itself_is_an_error_by_whatever_road_and_name() {
    let itself: &[u8] = b"allow br0\ninclude /etc/qemu/bridge.conf";
    assert_eq!(br0(itself), error(ACL_FILE, 2, AclErrorKind::IncludeLoop));

    let mutual: [(&str, &[u8]); 3] = [
        (ACL_FILE, b"allow br0\ninclude /etc/a"),
        ("/etc/a", b"include /etc/b"),
        ("/etc/b", b"\ninclude /etc/a"),
    ];
    let expected = error("/etc/b", 2, AclErrorKind::IncludeLoop);
    assert_eq!(judge(&mutual, "br0"), expected);

    // Another name of the same file: it is the file that counts.
    let main = Contents {
        bytes: b"include /etc/link".to_vec(),
        dev_ino: (1, 2),
        root_owned: true,
    };
    let linked = Acl::load(Path::new(ACL_FILE), &main, |_| Ok(main.clone()));
    let expected = error(ACL_FILE, 1, AclErrorKind::IncludeLoop);
    assert_eq!(linked.map(|_| Verdict::Allowed), expected);
}

#[test]
fn more_than_64_included_files_are_an_error() {
    let include = "include /etc/a\n";
    let judge = |count| {
        let main = include.repeat(count) + "allow br0";
        judge(&[(ACL_FILE, main.as_bytes()), ("/etc/a", b"")], "br0")
    };
    assert_eq!(judge(64), ALLOWED);
    assert_eq!(judge(65), error(ACL_FILE, 65, AclErrorKind::TooManyFiles));

    // Each includes the next one twice: 40 files that would be read a million million times.
    let texts: Vec<(String, String)> = (0..40)
        .map(|n| (format!("/{n}"), format!("include /{0}\n", n + 1).repeat(2)))
        .collect();
    let mut files: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_bytes()))
        .collect();
    files.push(("/40", b"allow br0"));
    let refused = self::judge(&files, "br0").map_err(|e| e.kind);
    assert_eq!(refused, Err(AclErrorKind::TooManyFiles));
}

/// A line that may well mean something, or anything at all.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => good_line(),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn good_line() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&str; 8] = [
        "allow br0",
        "allow br1",
        "allow all",
        " deny\tbr0\r",
        "deny br1",
        "deny all",
        "# deny br0",
        "",
    ];
    prop::sample::select(&LINES[..]).prop_map(Vec::from)
}

fn files() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(any_line(), 0..6)
}

/// The verdict alone: which line denies depends on their order.
#[derive(Debug, PartialEq)]
enum Says {
    Allowed,
    Denied,
    NotAllowed,
    Nothing,
}

fn says(lines: &[Vec<u8>]) -> Says {
    match br0(lines.join(&b'\n')) {
        Ok(Verdict::Allowed) => Says::Allowed,
        Ok(Verdict::Denied(_)) => Says::Denied,
        Ok(Verdict::NotAllowed) => Says::NotAllowed,
        Err(_) => Says::Nothing,
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_verdict_or_an_error_within_the_file(
        text in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Err(error) = br0(&text) {
            let lines = text.split(|&b| b == b'\n').count();
            prop_assert!((1..=lines).contains(&error.location.line));
        }
    }

    #[test]
    fn one_more_denial_never_allows_anything(
        lines in files(),
        deny in prop::sample::select(&["deny br0", "deny br1", "deny all"][..]),
        at in any::<prop::sample::Index>(),
    ) {
        let before = says(&lines);
        let mut more = lines;
        more.insert(at.index(more.len() + 1), deny.into());
        let after = says(&more);
        prop_assert!(after != Says::Allowed || before == Says::Allowed && deny == "deny br1");
    }

    #[test]
    fn no_line_lifts_a_denial(
        lines in files(),
        line in any_line(),
        at in any::<prop::sample::Index>(),
    ) {
        let before = says(&lines);
        let mut more = lines;
        more.insert(at.index(more.len() + 1), line);
        prop_assert!(before != Says::Denied || says(&more) != Says::Allowed);
    }

    #[test]
    fn the_order_of_the_lines_does_not_matter(
        (lines, shuffled) in files().prop_flat_map(|lines| {
            let same = Just(lines.clone());
            (same, Just(lines).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(says(&lines), says(&shuffled));
    }
}

/// QEMU's own helper, the part of it that reads the ACL, is the other side of a comparison.
const HELPER: &str = "/usr/lib/qemu/qemu-bridge-helper";
const FILES: u32 = 4000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// An ordinary user. Root would find every include readable.
const USER: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Allowed,
    Denied,
    /// No verdict: the file is in error.
    Refused,
    /// No verdict either.
    Crashed,
}

/// Everything in which we are stricter than QEMU's helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    MissingInclude,
    UnreadableInclude,
    IncludeOfADirectory,
    RelativeInclude,
    Loop,
    TooManyFiles,
    LongLine,
    Nul,
    NameOfNoBridge,
    /// The helper refuses the same line in the ACL itself, and ignores it, with the rest of the file, in an include.
    ErrorInAnInclude,
}

const REASONS: [Reason; 10] = [
    Reason::MissingInclude,
    Reason::UnreadableInclude,
    Reason::IncludeOfADirectory,
    Reason::RelativeInclude,
    Reason::Loop,
    Reason::TooManyFiles,
    Reason::LongLine,
    Reason::Nul,
    Reason::NameOfNoBridge,
    Reason::ErrorInAnInclude,
];

/// Why we refuse a file that the helper may accept; None if it has to refuse it as well.
fn reason(error: &AclError) -> Option<Reason> {
    let included = error.location.file != Path::new(ACL_FILE);
    match &error.kind {
        AclErrorKind::IncludeUnreadable(cause) => match cause.errno() {
            Some(Errno::ENOENT) => Some(Reason::MissingInclude),
            Some(Errno::EACCES) => Some(Reason::UnreadableInclude),
            Some(_) => None,
            None => Some(Reason::IncludeOfADirectory),
        },
        AclErrorKind::RelativeInclude => Some(Reason::RelativeInclude),
        // All of the generated files are root's.
        AclErrorKind::IncludeUntrusted => None,
        AclErrorKind::IncludeLoop => Some(Reason::Loop),
        AclErrorKind::TooManyFiles => Some(Reason::TooManyFiles),
        AclErrorKind::LineTooLong => Some(Reason::LongLine),
        AclErrorKind::NulByte => Some(Reason::Nul),
        AclErrorKind::Syntax
        | AclErrorKind::UnknownCommand(_)
        | AclErrorKind::InvalidName(_, IfNameError::TooLong(_)) => {
            included.then_some(Reason::ErrorInAnInclude)
        }
        AclErrorKind::InvalidName(..) => Some(Reason::NameOfNoBridge),
    }
}

const ONE: &[u8] = b"/etc/qemu/one.conf";
const TWO: &[u8] = b"/etc/qemu/two.conf";
const SECRET: &[u8] = b"/etc/qemu/secret.conf";

const NAMES: [&[u8]; 9] = [
    b"br0",
    b"br0",
    b"br0",
    b"br1",
    b"br1",
    b"all",
    b"all",
    b"br-fifteen-byte",
    b"br\xff",
];
const BRIDGES: [&[u8]; 5] = [b"br0", b"br0", b"br1", b"br-fifteen-byte", b"br\xff"];
const ODD_NAMES: [&[u8]; 16] = [
    b"",
    b".",
    b"..",
    b"default",
    b"a/b",
    b"br:0",
    b"br%d",
    b"br0 br1",
    b"br0\tbr1",
    b"br\xa0",
    b"ALL",
    b"al",
    b"br0all",
    b"br-fifteen-bytes",
    b"br-fifteen-byte-and-more",
    b"br0\0",
];
const COMMANDS: [&[u8]; 8] = [
    b"allow", b"allow", b"allow", b"allow", b"deny", b"include", b"include", b"#",
];
const ODD_COMMANDS: [&[u8]; 9] = [
    b"Allow",
    b"allow:",
    b"permit",
    b"#deny",
    b"",
    b"denydeny",
    b"\0allow",
    b"\xefallow",
    b"include",
];
const INCLUDES: [&[u8]; 2] = [ONE, TWO];
const ODD_INCLUDES: [&[u8]; 14] = [
    ONE,
    b"/etc/qemu/bridge.conf",
    b"/etc/qemu/../qemu/one.conf",
    b"/etc/qemu/link-to-two.conf",
    b"/etc/qemu/missing.conf",
    b"/etc/qemu/directory",
    b"/etc/qemu/directory",
    SECRET,
    SECRET,
    SECRET,
    b"relative.conf",
    b"./relative.conf",
    b"/etc/qemu/one.conf # remark",
    b"",
];
const SPACES: [&[u8]; 6] = [b" ", b" ", b"  ", b"\t", b" \t", b" \x0c"];
const ODD_SPACES: [&[u8]; 6] = [b"", b"\x0b", b"\r", b"\x0c ", b"\xa0", b"\t "];
const MARGINS: [&[u8]; 6] = [b"", b"", b"", b" ", b"\t", b"\r"];
const ODD_MARGINS: [&[u8]; 5] = [b"\0", b"\x0b", b"\x0c \r", b" # remark", b"\x85"];

/// Makes files up, always the same ones (xorshift64*).
struct Author {
    state: u64,
    /// How odd the file at hand is: one choice in so many.
    one_odd_in: u64,
}

impl Author {
    fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn pick(&mut self, plain: &[&'static [u8]], odd: &[&'static [u8]]) -> &'static [u8] {
        let from = if self.below(self.one_odd_in) == 0 {
            odd
        } else {
            plain
        };
        let n = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(n).unwrap()]
    }

    fn line(&mut self) -> Vec<u8> {
        let command = self.pick(&COMMANDS, &ODD_COMMANDS);
        let argument = if command == b"include" {
            self.pick(&INCLUDES, &ODD_INCLUDES)
        } else {
            self.pick(&NAMES, &ODD_NAMES)
        };
        let before = self.pick(&MARGINS, &ODD_MARGINS);
        let between = self.pick(&SPACES, &ODD_SPACES);
        let after = self.pick(&MARGINS, &ODD_MARGINS);
        let rule = [before, command, between, argument, after].concat();
        if self.below(self.one_odd_in * 2) != 0 {
            return rule;
        }
        // Of a length at which the helper may or may not take it for two: 4095 is the limit.
        let length = usize::try_from(4090 + self.below(12)).unwrap();
        match self.below(3) {
            0 => [&vec![b'#'; length][..], &rule].concat(),
            1 => [rule, vec![b' '; length]].concat()[..length].to_vec(),
            _ => [vec![b' '; length - rule.len()], rule].concat(),
        }
    }

    fn text(&mut self, lines: u64) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(lines + 1) {
            // So often that a limit on their number is met now and then.
            let times = if self.below(self.one_odd_in * 6) == 0 {
                65
            } else {
                1
            };
            let mut line = self.line();
            line.extend(self.pick(&[b"\n", b"\n", b"\r\n", b"\n\n"], &[b"", b"\r", b"\n\0"]));
            text.extend(line.repeat(times));
        }
        text
    }
}

struct Case {
    acl: Vec<u8>,
    one: Vec<u8>,
    two: Vec<u8>,
    bridge: &'static [u8],
}

impl Case {
    /// Some files are as root would write them, some have an oddity or two, and some are made of little else.
    fn made_up_by(author: &mut Author) -> Self {
        let degrees = [10_000, 40, 40, 12, 12, 4];
        let mut text = |lines| {
            author.one_odd_in = degrees[usize::try_from(author.below(6)).unwrap()];
            author.text(lines)
        };
        Self {
            acl: text(6),
            one: text(3),
            two: text(2),
            bridge: author.pick(&BRIDGES, &BRIDGES),
        }
    }
}

/// Both programs as an ordinary user finds them: with CAP_NET_ADMIN and no other privilege. There are no bridges and
/// no /dev/net/tun, so that what is allowed goes on to fail at once, in its own way.
struct Both {
    sandbox: Sandbox,
}

impl Both {
    fn in_a(sandbox: Sandbox) -> Self {
        let ifup = bin("qemu-ifup");
        sandbox.sh(&format!(
            "cp {HELPER} \"$DIR/helper\"; cp '{}' \"$DIR/ifup\"
             setcap cap_net_admin+ep \"$DIR/helper\"; setcap cap_net_admin+ep \"$DIR/ifup\"
             chmod 755 \"$DIR/helper\" \"$DIR/ifup\"
             rm -f /dev/net/tun
             mkdir -p /etc/qemu/directory; cd /etc/qemu
             ln -s two.conf link-to-two.conf
             echo deny all >secret.conf; chmod 600 secret.conf
             echo allow all >\"$DIR/relative.conf\"",
            ifup.display()
        ));
        Self { sandbox }
    }

    /// Writes the files, and lets both judge them, and the library as well, for its reasons.
    fn judge(&self, case: &Case) -> (Outcome, Outcome, Judgement) {
        fs::write(ACL_FILE, &case.acl).unwrap();
        fs::write(OsStr::from_bytes(ONE), &case.one).unwrap();
        fs::write(OsStr::from_bytes(TWO), &case.two).unwrap();
        let bridge = [b"--br=", case.bridge].concat();
        let bridge = OsStr::from_bytes(&bridge);
        // At the same time: they do not know of each other.
        let helper = self.start("helper", [bridge, "--fd=0".as_ref()]);
        let ours = self.start("ifup", [bridge, "tap0".as_ref()]);
        (of_helper(helper), of_ours(ours), by_library(case.bridge))
    }

    fn start(&self, program: &str, args: [&OsStr; 2]) -> Child {
        let mut command = command(self.sandbox.dir().join(program));
        command
            .args(args)
            .current_dir(self.sandbox.dir())
            .uid(USER)
            .gid(USER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: between fork and exec; setrlimit(2) is one system call, and takes no lock and no memory.
        unsafe {
            // The helper recurses over an include that loops, until the stack ends. With a usual one it would come
            // to the limit of open files first on some hosts, and try all roads through the loop.
            command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_STACK, 1 << 18, 1 << 18)?));
        }
        command.spawn().unwrap()
    }
}

fn of_helper(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The last line: before it come the complaints about lines, which quote them.
    let last = said.lines().last().unwrap_or_default();
    match output.status.code() {
        None => Outcome::Crashed,
        Some(1) if last.starts_with("failed to open /dev/net/tun") => Outcome::Allowed,
        Some(1) if last == "access denied by acl file" => Outcome::Denied,
        Some(1) if last.starts_with("failed to parse default acl file") => Outcome::Refused,
        Some(code) => panic!("the helper ends with {code}: {said}"),
    }
}

fn of_ours(child: Child) -> Outcome {
    const ALLOWED: i32 = ExitCode::Bridge as i32;
    const DENIED: i32 = ExitCode::NotPermitted as i32;
    const REFUSED: i32 = ExitCode::Configuration as i32;

    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        Some(ALLOWED) => Outcome::Allowed,
        Some(DENIED) => Outcome::Denied,
        Some(REFUSED) => Outcome::Refused,
        other => panic!(
            "ours ends with {other:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn by_library(bridge: &[u8]) -> Judgement {
    let path = Path::new(ACL_FILE);
    let read = |path: &Path| match path.as_os_str().as_bytes() {
        // This process is root and could read it.
        SECRET => Err(Errno::EACCES.into()),
        _ => file::read(path),
    };
    let acl = Acl::load(path, &file::read(path).unwrap(), read)?;
    Ok(acl.verdict(IfName::new(bridge).unwrap()))
}

#[test]
fn where_we_and_qemus_helper_differ_we_are_the_stricter_for_a_known_reason() {
    if !Path::new(HELPER).is_file() || !have("setcap") {
        return skip(&test_name(), "needs qemu-bridge-helper and setcap");
    }
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let both = Both::in_a(sandbox);
    let mut author = Author {
        state: SEED,
        one_odd_in: 1,
    };
    let mut agreed: BTreeMap<Outcome, u32> = BTreeMap::new();
    let mut stricter: BTreeMap<Reason, BTreeMap<Outcome, u32>> = BTreeMap::new();
    for number in 0..FILES {
        let case = Case::made_up_by(&mut author);
        let (helper, ours, judgement) = both.judge(&case);
        let fails = |why: &str| -> ! {
            panic!(
                "{why}: the helper: {helper:?}, ours: {ours:?}, the library: {judgement:?}
                 seed {SEED:#x}, file {number}, bridge {}\n{ACL_FILE}:\n{}\n\none.conf:\n{}\n\ntwo.conf:\n{}",
                case.bridge.escape_ascii(),
                case.acl.escape_ascii(),
                case.one.escape_ascii(),
                case.two.escape_ascii()
            )
        };
        let expected = match &judgement {
            Ok(Verdict::Allowed) => Outcome::Allowed,
            Ok(Verdict::Denied(_) | Verdict::NotAllowed) => Outcome::Denied,
            Err(_) => Outcome::Refused,
        };
        if ours != expected {
            fails("the program and the library do not agree");
        }
        if ours == helper {
            *agreed.entry(ours).or_default() += 1;
            continue;
        }
        // That they differ is in order only where we give no verdict, and say why.
        match judgement.as_ref().map_err(reason) {
            Err(Some(reason)) => {
                *stricter
                    .entry(reason)
                    .or_default()
                    .entry(helper)
                    .or_default() += 1;
            }
            Ok(_) | Err(None) => fails("they differ for no reason that is known"),
        }
    }
    let _ = writeln!(
        io::stderr(),
        "{FILES} ACL files: both {agreed:?}; refused by ours only: {stricter:?}"
    );

    // Without these the comparison would have been about nothing.
    for outcome in [Outcome::Allowed, Outcome::Denied, Outcome::Refused] {
        let count = agreed.get(&outcome).copied().unwrap_or_default();
        assert!(count >= FILES / 20, "both said {outcome:?} {count} times");
    }
    for reason in REASONS {
        let helper = stricter.remove(&reason).unwrap_or_default();
        let worst = if reason == Reason::Loop {
            Outcome::Crashed
        } else {
            Outcome::Allowed
        };
        assert!(
            helper.contains_key(&worst),
            "{reason:?}: the helper said {helper:?}"
        );
    }
}
