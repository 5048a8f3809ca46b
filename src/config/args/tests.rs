//! The command line, word by word.

use crate::config::args::{Command, Ifdown, Ifup, IfupAction, Request, parse_ifdown, parse_ifup};
use crate::config::help::help;
use crate::config::options::{TapOptions, parse_options};
use crate::config::program::{Program, Verbosity};
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::addr::UnicastMac;
use crate::model::bridge::{PortOption, PortOptions};
use crate::model::if_name::IfName;
use crate::model::spec::{NameOrId, TapAccess};
use std::ffi::OsString;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn work<W>(command: Command<W>) -> Request<W> {
    match command {
        Command::Run(request) => request,
        Command::Help | Command::Version => panic!("that is no work"),
    }
}

fn request(args: &[&str]) -> Result<Request<Ifup>, Error> {
    Ok(work(parse_ifup("qemu-ifup".as_ref(), words(args))?))
}

fn down(args: &[&str]) -> Result<Request<Ifdown>, Error> {
    Ok(work(parse_ifdown(words(args))?))
}

fn taps(names: &[&str]) -> Vec<IfName> {
    let names = names.iter().map(|name| IfName::new(name.as_bytes()));
    names.collect::<Result<_, _>>().unwrap()
}

fn up(args: &[&str]) -> Result<(Vec<IfName>, TapOptions), Error> {
    let request = request(args)?;
    assert_eq!(request.work.action, IfupAction::Up);
    Ok((request.taps, request.work.options))
}

#[test]
fn qemu_gives_a_name_and_nothing_else() {
    let (named, options) = up(&["tap0"]).unwrap();
    let request = request(&["tap0"]).unwrap();
    assert_eq!(named, taps(&["tap0"]));
    assert_eq!(request.tap(), Some(named[0]));
    assert_eq!(options, TapOptions::default());
    assert!(!request.dry_run);
    assert_eq!(request.verbosity, Verbosity::Normal);
}

#[test]
fn every_option_is_understood_in_every_spelling() {
    for bridge in [
        &["-b", "br1"][..],
        &["-bbr1"],
        &["--bridge", "br1"],
        &["--bridge=br1"],
        &["--br=br1"],
    ] {
        let args = [bridge, &["tap0"]].concat();
        assert_eq!(
            up(&args).unwrap().1.bridge,
            Some(IfName::new(b"br1").unwrap())
        );
    }
    let args = [
        "--multi-queue",
        "--mtu",
        "9000",
        "-u",
        "1000",
        "-nv",
        "--",
        "-h",
    ];
    let (named, options) = up(&args).unwrap();
    let request = request(&args).unwrap();
    assert_eq!(named, taps(&["-h"]));
    assert!(options.multi_queue == Some(true) && request.dry_run);
    assert_eq!(options.mtu, Some(9000));
    assert_eq!(options.access, Some(TapAccess::Owner(NameOrId::Id(1000))));
    assert_eq!(request.verbosity, Verbosity::Verbose);
    assert_eq!(
        up(&["tap0", "--group=kvm"]).unwrap().1.access,
        Some(TapAccess::Group(NameOrId::Name("kvm".into())))
    );
}

#[test]
fn of_an_option_and_its_opposite_the_later_one_wins() {
    let given = |args: &[&str]| up(&[args, &["tap0"]].concat()).unwrap().1;
    for (on, off, option) in [
        ("--isolated", "--no-isolated", PortOption::Isolated),
        ("--guard", "--no-guard", PortOption::Guard),
        ("--root-block", "--no-root-block", PortOption::RootBlock),
        ("--learning", "--no-learning", PortOption::Learning),
        ("--flood", "--no-flood", PortOption::Flood),
        ("--mcast-flood", "--no-mcast-flood", PortOption::McastFlood),
        (
            "--neigh-suppress",
            "--no-neigh-suppress",
            PortOption::NeighSuppress,
        ),
    ] {
        let only = |on| PortOptions::default().with(option, on);
        assert_eq!(given(&[on]).port, only(true));
        assert_eq!(given(&[off]).port, only(false));
        assert_eq!(given(&[on, off]).port, only(false));
        assert_eq!(given(&[off, on]).port, only(true));
    }
    assert_eq!(
        given(&["--create-bridge", "--no-create-bridge"]).create_bridge,
        Some(false)
    );
    assert_eq!(
        given(&["--no-multi-queue", "--multi-queue"]).multi_queue,
        Some(true)
    );
    let mac = UnicastMac::parse("52:54:00:12:34:56");
    let lock = ["--lock-mac", "52:54:00:12:34:56"];
    assert_eq!(given(&lock).lock_mac, Some(mac));
    assert_eq!(
        given(&[lock[0], lock[1], "--no-lock-mac"]).lock_mac,
        Some(None)
    );
    assert_eq!(
        given(&["--no-lock-mac", lock[0], lock[1]]).lock_mac,
        Some(mac)
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (args, part) in [
        (&[][..], "IFNAME is missing"),
        (&["tap0", "tap1", "tap0"], "'tap0' is given twice"),
        (&["--check", "tap0", "tap0"], "'tap0' is given twice"),
        (
            &["--lock-mac", "52:54:00:12:34:56", "tap0", "tap1"],
            "--lock-mac accepts only one IFNAME (also given: 'tap1')",
        ),
        (
            &["tap{0..3}"],
            "'tap{0..3}' is not an interface name. Separate names with spaces",
        ),
        (
            &["tap0,tap1"],
            "'tap0,tap1' is not an interface name. Separate names with spaces",
        ),
        (
            &["\u{2014}check", "tap0"],
            "check' begins with a character that is not ASCII. Options begin with the ASCII hyphen: - or --",
        ),
        (&["tap0", "tap/1", "tap2"], "'tap/1' is not an interface"),
        (&["--frob", "tap0"], "--frob"),
        (&["-x", "tap0"], "-x"),
        (&["--delete", "tap0"], "--delete"),
        (&["tap0", "--bridge"], "--bridge needs a value"),
        (
            &["--multi-queue=2", "tap0"],
            "--multi-queue does not take a value",
        ),
        (&["--guard=on", "tap0"], "--guard does not take a value"),
        (&["--no-gard", "tap0"], "did you mean --no-guard?"),
        (&["--locked", "tap0"], "unknown option --locked"),
        (
            &["--lock-mac", "x", "tap0"],
            "such as 52:54:00:12:34:56, not 'x'",
        ),
        (&["--mtu", "67", "tap0"], "68 to 65521, not '67'"),
        (&["--mtu", "65522", "tap0"], "65522"),
        (&["--mtu", "+1500", "tap0"], "+1500"),
        (&["--owner", "4294967295", "tap0"], "4294967295"),
        (&["--owner", "99999999999", "tap0"], "99999999999"),
        (&["--owner", "", "tap0"], "''"),
        (
            &["-u", "1", "-g", "2", "tap0"],
            "only one --owner or one --group",
        ),
        (&["--bridge", "", "tap0"], "empty"),
        (&["--fd=3", "tap0", "tap1"], "also given: 'tap1'"),
        (&["--fd=3", "tap0", "--multi-queue"], "--multi-queue"),
        (&["--fd=3", "-n"], "--dry-run"),
        (&["--fd=-1"], "'-1'"),
        (&["--fd=2147483648"], "2147483648"),
        (&["--fd=x"], "'x'"),
        (&["--use-vnet", "tap0"], "requires --fd"),
        (&["--use-vnet"], "requires --fd"),
        (&["--json", "tap0"], "require --check"),
        (&["--strict"], "require --check"),
        (&["--strict", "--fd=3"], "require --check"),
        (&["--json=1", "--check"], "--json does not take a value"),
        (&["abcdefghijklmnop"], "16 bytes"),
        (&["a\x1b[2J/"], "\\x1b[2J/"),
    ] {
        let error = up(args).unwrap_err();
        assert!(error.to_string().contains(part), "{args:?}: {error}");
        assert_eq!(error.exit_code(), ExitCode::Usage, "{args:?}");
    }
}

#[test]
fn several_taps_are_named_and_options_are_for_all_of_them() {
    let args = ["tap2", "--mtu", "1400", "tap0", "--", "-b"];
    let (named, options) = up(&args).unwrap();
    assert_eq!(named, taps(&["tap2", "tap0", "-b"]), "in their order");
    assert_eq!(options.mtu, Some(1400));
    // Then a message about the whole call is about no tap.
    assert_eq!(request(&args).unwrap().tap(), None);

    let names: Vec<String> = (0..1024).map(|n| format!("tap{n}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = up(&names).unwrap_err().to_string();
    assert!(error.contains("more than 1023 IFNAMEs"), "{error}");
    names.pop();
    assert_eq!(up(&names).unwrap().0.len(), 1023);
    assert!(down(&names).is_ok());
}

#[test]
fn qemu_ifdown_has_options_of_its_own_only() {
    let request = down(&["--delete", "-q", "tap0"]).unwrap();
    assert_eq!(request.work, Ifdown { delete: true });
    assert_eq!(request.taps, taps(&["tap0"]));
    assert_eq!(request.verbosity, Verbosity::Quiet);
    for option in [
        "--bridge=br0",
        "--mtu=1500",
        "--multi-queue",
        "-b",
        "--fd=3",
        "--use-vnet",
        "--check",
        "--json",
        "--strict",
    ] {
        assert!(down(&[option, "tap0"]).is_err());
    }
}

#[test]
fn qemu_calls_its_helper_without_a_name_unless_its_user_has_given_it_one() {
    for (vnet, named) in [(true, false), (false, false), (true, true)] {
        let mut args = vec!["--fd=21", "--br=br7"];
        args.extend(vnet.then_some("--use-vnet"));
        // What stands in helper= comes first.
        if named {
            args.insert(0, "vm1");
        }
        let request = request(&args).unwrap();
        let (fd, vnet_hdr) = (21, vnet);
        assert_eq!(request.work.action, IfupAction::HandOver { fd, vnet_hdr });
        assert_eq!(request.tap(), named.then(|| IfName::new(b"vm1").unwrap()));
        assert_eq!(
            request.work.options.bridge,
            Some(IfName::new(b"br7").unwrap())
        );
    }
}

#[test]
fn a_mistyped_option_has_the_nearest_one_suggested_or_none() {
    let cases: [(&str, Option<&str>); 12] = [
        ("--bridg=br1", Some("--bridge")),
        ("--brigde=br1", Some("--bridge")),
        ("--create-brige", Some("--create-bridge")),
        ("--createbridge", Some("--create-bridge")),
        ("--addr=10.0.0.1/8", Some("--address")),
        ("--multiqueue", Some("--multi-queue")),
        ("--own=5", Some("--owner")),
        ("--dry", Some("--dry-run")),
        ("--mut=9", Some("--mtu")),
        ("--frob", None),
        ("--x", None),
        (
            "--a-very-long-word-that-is-near-to-nothing-at-all-and-goes-on-and-on",
            None,
        ),
    ];
    for (given, meant) in cases {
        let text = up(&[given, "tap0"]).unwrap_err().to_string();
        let (option, _) = given.split_once('=').unwrap_or((given, ""));
        let meant = meant.map(|meant| format!(", did you mean {meant}?"));
        let option = option.get(..66).unwrap_or(option);
        assert_eq!(
            text,
            format!("unknown option {option}{}", meant.unwrap_or_default())
        );
    }
    let error = down(&["--delet", "tap0"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown option --delet, did you mean --delete?"
    );
}

#[test]
fn an_option_of_the_other_program_is_said_to_be_that_ones() {
    let theirs = "unknown option --delete (an option of qemu-ifdown)";
    let error = up(&["--delete", "tap0"]).unwrap_err();
    assert_eq!(error.to_string(), theirs);
    let in_conf = parse_options(words(&["--delete"])).unwrap_err();
    assert_eq!(in_conf.to_string(), theirs);
    for option in ["--check", "--bridge", "--wait", "--fd"] {
        let error = down(&[option, "tap0"]).unwrap_err();
        let theirs = format!("unknown option {option} (an option of qemu-ifup)");
        assert_eq!(error.to_string(), theirs);
    }
}

#[test]
fn the_help_fits_a_terminal_of_80_columns() {
    for program in [Program::Ifup, Program::Ifdown] {
        for line in help(program).lines() {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
