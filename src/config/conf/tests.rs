//! The lines of /etc/qemu-ifup.conf.

use crate::config::conf::{Conf, glob_match};
use crate::config::error::ConfError;
use crate::config::options::{TapOptions, parse_options};
use crate::model::if_name::IfName;
use crate::model::spec::{NameOrId, TapAccess};
use proptest::prelude::*;

fn read(tap: &str, contents: &[u8]) -> Result<TapOptions, ConfError> {
    let conf = Conf::parse(contents.to_vec())?;
    Ok(conf.for_tap(IfName::new(tap.as_bytes()).unwrap())?.options)
}

/// The options of a command line.
fn options(line: &str) -> TapOptions {
    parse_options(line.split_whitespace().map(Into::into)).unwrap()
}

#[test]
fn every_line_that_matches_applies_and_later_ones_win() {
    let file = "\
# taps of this host
*      --bridge virbr0 --mtu 1400   # the default
web?   --bridge br1 --pvid 10 --isolated
\tweb1\t--pvid=11 --vlans 20-21,30

db*    --bridge br2 -u 1000
db9    --group kvm
";
    for (tap, effective) in [
        ("tap0", "--bridge virbr0 --mtu 1400"),
        ("web2", "--bridge br1 --mtu 1400 --pvid 10 --isolated"),
        (
            "web1",
            "--bridge br1 --mtu 1400 --pvid 11 --isolated --vlans 20,21,30",
        ),
        ("web10", "--bridge virbr0 --mtu 1400"),
        ("db1", "--bridge br2 --mtu 1400 --owner 1000"),
        ("db9", "--bridge br2 --mtu 1400 --group kvm"),
    ] {
        assert_eq!(
            read(tap, file.as_bytes()).unwrap(),
            options(effective),
            "{tap}"
        );
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = options("--bridge br1 --mtu 1400 --owner 5 --address 10.0.0.1/8 --vlans 7 --wait 3");
    let line = options("--bridge br2 --group 6 --address 10.0.0.2/8 --address fd00::1/64 --pvid 9");
    let both = line.with_defaults(file);
    assert_eq!(both.bridge, options("-b br2").bridge);
    assert_eq!(both.access, Some(TapAccess::Group(NameOrId::Id(6))));
    assert_eq!(
        (both.mtu, both.pvid, both.wait),
        (Some(1400), Some(9), Some(3))
    );
    assert_eq!(both.addresses.len(), 2, "a list is replaced, not added to");
    assert_eq!(both.vlans, [7]);
}

#[test]
fn a_file_of_nothing_says_nothing() {
    for file in ["", "\n\n", "# only\n  # remarks", "*", "*\n?\n"] {
        assert_eq!(
            read("tap0", file.as_bytes()).unwrap(),
            TapOptions::default()
        );
    }
}

#[test]
fn a_mistake_is_named_with_its_line_even_if_the_line_does_not_match() {
    for (line, reason) in [
        ("web? --frob", "--frob"),
        ("web? --bridge", "--bridge needs a value"),
        ("web? --bridge a/b", "a/b"),
        ("web? --mtu 9", "68 to 65521"),
        ("web? --pvid 4095", "1 to 4094"),
        ("web? --vlans 5-4", "5-4"),
        ("web? --address 10.0.0.1", "prefix length"),
        ("web? --wait x", "--wait"),
        (
            "web? --owner 1 --group 2",
            "only one --owner or one --group",
        ),
        ("web? --verbose", "--verbose"),
        ("web? --fd=3", "--fd is not allowed in /etc/qemu-ifup.conf"),
        ("web? br1", "br1"),
        ("--bridge br1", "must begin with a pattern"),
        ("web[0-9] --bridge br1", "'web[0-9]' is not a valid pattern"),
        ("web{0,1} --bridge br1", "'web{0,1}' is not a valid pattern"),
        ("web0: --bridge br1", "'web0:' is not a valid pattern"),
        ("web? --bridge a\u{1b}[2J\u{7f}/", "\\x1b"),
    ] {
        let file = format!("# one\n* --mtu 1500\n{line}\n");
        let error = read("tap0", file.as_bytes()).unwrap_err();
        assert_eq!(error.line, 3, "{line}");
        assert!(error.reason.contains(reason), "{line}: {}", error.reason);
    }
}

#[test]
fn hostile_files_are_read_or_refused_but_never_believed() {
    assert!(read("tap0", b"* --bridge br\0").is_err());
    assert!(read("tap0", b"* --mtu 15\xff0").is_err());
    assert_eq!(
        read("tap0", b"* --bridge br\xff").unwrap().bridge,
        Some(IfName::new(b"br\xff").unwrap()),
        "the kernel takes such a name"
    );
    let many = "* --mtu 1400\n".repeat(100_000);
    assert_eq!(read("tap0", many.as_bytes()).unwrap().mtu, Some(1400));
    let long = [b"* --bridge ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let error = read("tap0", &long).unwrap_err();
    assert!(error.reason.len() < 300, "{}", error.reason);
    let stars = [vec![b'*'; 100_000], b" --mtu 1400".to_vec()].concat();
    assert_eq!(read("tap0", &stars).unwrap().mtu, Some(1400));
    let near_misses = [b"*a".repeat(50_000), b" --mtu 1400".to_vec()].concat();
    assert_eq!(read("aaaaaaaaaaaaaaa", &near_misses).unwrap().mtu, None);
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_it_panic(contents in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read("tap0", &contents);
    }

    #[test]
    fn a_pattern_without_wildcards_matches_itself_only(
        pattern in "[a-z0-9]{1,6}", name in "[a-z0-9]{1,6}"
    ) {
        let file = format!("{pattern} --mtu 1400");
        let found = read(&name, file.as_bytes()).unwrap().mtu.is_some();
        prop_assert_eq!(found, pattern == name);
    }

    #[test]
    fn a_name_with_parts_starred_out_matches(name in "[a-z0-9]{4,9}", from in 0usize..4, to in 0usize..4) {
        let (start, end) = (from.min(to), from.max(to));
        let pattern = format!("{}*{}", name.split_at(start).0, name.split_at(end).1);
        let file = format!("{pattern} --mtu 1400");
        prop_assert!(read(&name, file.as_bytes()).unwrap().mtu.is_some());
    }
}

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
