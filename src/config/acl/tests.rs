//! Root's rules: what they mean, and what leaves a doubt.

use crate::config::acl::{ACL_FILE, Acl, AclError, AclErrorKind, Location, Verdict};
use crate::model::if_name::{IfName, IfNameError};
use crate::sys::error::SysError;
use crate::sys::file::Contents;
use nix::errno::Errno;
use proptest::prelude::*;
use std::path::Path;

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
    let missing = AclErrorKind::IncludeUnreadable("/etc/missing".into(), Errno::ENOENT.into());
    let files: [(&str, &[u8]); 2] = [
        (ACL_FILE, b"allow br0\ninclude /etc/a"),
        ("/etc/a", b"\n\ninclude /etc/missing"),
    ];
    assert_eq!(
        missing.to_string(),
        "cannot read the included file /etc/missing: No such file or directory"
    );
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
        let problem = AclErrorKind::IncludeUnreadable("/etc/a".into(), cause);
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
    let expected = error(ACL_FILE, 1, AclErrorKind::IncludeUntrusted("/etc/a".into()));
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
