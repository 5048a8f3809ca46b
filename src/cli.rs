//! The command line: words in, a request out. Nothing here looks at the system.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::error::Error;
use crate::facts::{MAX_MTU, MIN_MTU};
use crate::name::IfName;
use crate::text::Escaped;

/// Which of the two programs runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// qemu-ifup
    Ifup,
    /// qemu-ifdown
    Ifdown,
}

impl Program {
    /// Its name, as messages and the log have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifup => "qemu-ifup",
            Self::Ifdown => "qemu-ifdown",
        }
    }

    /// The text of `--help`.
    pub fn help(self) -> &'static str {
        match self {
            Self::Ifup => IFUP_HELP,
            Self::Ifdown => IFDOWN_HELP,
        }
    }
}

const IFUP_HELP: &str = "\
Usage: qemu-ifup [OPTIONS] IFNAME

Bring the tap IFNAME up and attach it to a bridge; make the tap if it does not exist.
QEMU runs it: -netdev tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown

  -b, --bridge NAME   bridge to attach to (default: br0); --br is the same
  -u, --owner USER    owner of the tap, name or uid (default: the invoking user)
  -g, --group GROUP   let a group open the tap, instead of an owner
      --multi-queue   make a tap that QEMU can open with queues=N
      --mtu N         MTU of the tap (default: the bridge's)
  -n, --dry-run       change nothing; print the steps as ip(8) commands
  -v, --verbose       print each step as it is done
  -q, --quiet         print errors only
  -h, --help          print this help
  -V, --version       print the version

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 4 bridge missing, not a bridge, or full,
5 not a usable tap, 6 /dev/net/tun unusable, 7 refused by the kernel. QEMU prints 256 times the code.
";

const IFDOWN_HELP: &str = "\
Usage: qemu-ifdown [OPTIONS] IFNAME

Detach the tap IFNAME from the bridge it is in and bring it down.

      --delete        also remove the tap, if it is persistent
  -n, --dry-run       change nothing; print the steps as ip(8) commands
  -v, --verbose       print each step as it is done
  -q, --quiet         print errors only
  -h, --help          print this help
  -V, --version       print the version

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 5 not a tap, 7 refused by the kernel.
";

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Errors and notices.
    #[default]
    Normal,
    /// Every step as well.
    Verbose,
}

/// A user or a group as it was written: to be looked up, or already a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// A uid or gid; never the kernel's "no id", 4294967295.
    Number(u32),
    /// A name of /etc/passwd or /etc/group.
    Name(OsString),
}

/// Who may open a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<T> {
    /// One user.
    Owner(T),
    /// The members of one group.
    Group(T),
}

/// The options that say what a tap is to be like; all may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// --bridge
    pub bridge: Option<IfName>,
    /// --owner or --group
    pub access: Option<Access<Id>>,
    /// --multi-queue
    pub multi_queue: bool,
    /// --mtu
    pub mtu: Option<u32>,
}

/// What is to be done to the tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring it up on a bridge.
    Up(Settings),
    /// Detach it and bring it down.
    Down {
        /// Remove it afterwards.
        delete: bool,
    },
}

/// A whole command line that asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The tap.
    pub tap: IfName,
    /// The work.
    pub action: Action,
    /// Print the plan instead of carrying it out.
    pub dry_run: bool,
    /// How much to print.
    pub verbosity: Verbosity,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The help text.
    Help,
    /// The version.
    Version,
    /// Work.
    Run(Request),
}

/// Reads the words after the program's own name.
///
/// # Errors
/// [`Error::Usage`] or [`Error::Name`], naming the word.
pub fn parse<I>(program: Program, args: I) -> Result<Command, Error>
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(args);
    let mut settings = Settings::default();
    let mut tap = None;
    let mut delete = false;
    let mut dry_run = false;
    let mut verbosity = Verbosity::Normal;

    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short('n') | Arg::Long("dry-run") => dry_run = true,
            Arg::Short('v') | Arg::Long("verbose") => verbosity = Verbosity::Verbose,
            Arg::Short('q') | Arg::Long("quiet") => verbosity = Verbosity::Quiet,
            Arg::Long("delete") if program == Program::Ifdown => delete = true,
            Arg::Value(value) if tap.is_none() => tap = Some(interface_name(&value)?),
            Arg::Value(value) => {
                return Err(Error::Usage(format!(
                    "one IFNAME is enough, '{}' is a second one",
                    Escaped(value.as_bytes())
                )));
            }
            option @ (Arg::Short(_) | Arg::Long(_)) => {
                // Which option it is must be known before its value is read: its name is borrowed from the parser.
                let option = Setting::named(&option)
                    .filter(|_| program == Program::Ifup)
                    .ok_or_else(|| unknown(&option))?;
                option.read(&mut parser, &mut settings)?;
            }
        }
    }

    let tap = tap.ok_or_else(|| Error::Usage("no IFNAME given".to_owned()))?;
    let action = match program {
        Program::Ifup => Action::Up(settings),
        Program::Ifdown => Action::Down { delete },
    };
    Ok(Command::Run(Request {
        tap,
        action,
        dry_run,
        verbosity,
    }))
}

/// The options behind [`Settings`].
#[derive(Debug, Clone, Copy)]
enum Setting {
    Bridge,
    Owner,
    Group,
    MultiQueue,
    Mtu,
}

impl Setting {
    fn named(arg: &Arg<'_>) -> Option<Self> {
        match arg {
            Arg::Short('b') | Arg::Long("bridge" | "br") => Some(Self::Bridge),
            Arg::Short('u') | Arg::Long("owner") => Some(Self::Owner),
            Arg::Short('g') | Arg::Long("group") => Some(Self::Group),
            Arg::Long("multi-queue") => Some(Self::MultiQueue),
            Arg::Long("mtu") => Some(Self::Mtu),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => None,
        }
    }

    fn read(self, parser: &mut lexopt::Parser, settings: &mut Settings) -> Result<(), Error> {
        match self {
            Self::Bridge => {
                let value = parser.value().map_err(usage)?;
                settings.bridge = Some(interface_name(&value)?);
            }
            Self::Owner | Self::Group if settings.access.is_some() => {
                return Err(Error::Usage(
                    "a tap is given to one --owner or one --group, not to two".to_owned(),
                ));
            }
            Self::Owner => {
                let value = parser.value().map_err(usage)?;
                settings.access = Some(Access::Owner(id("--owner", value)?));
            }
            Self::Group => {
                let value = parser.value().map_err(usage)?;
                settings.access = Some(Access::Group(id("--group", value)?));
            }
            Self::MultiQueue => settings.multi_queue = true,
            Self::Mtu => {
                let value = parser.value().map_err(usage)?;
                settings.mtu = Some(number("--mtu", &value, MIN_MTU, MAX_MTU)?);
            }
        }
        Ok(())
    }
}

fn interface_name(word: &OsStr) -> Result<IfName, Error> {
    IfName::new(word.as_bytes()).map_err(|problem| Error::Name {
        given: word.as_bytes().to_owned(),
        problem,
    })
}

fn number(option: &str, word: &OsStr, min: u32, max: u32) -> Result<u32, Error> {
    decimal(word)
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| {
            Error::Usage(format!(
                "{option} takes a number from {min} to {max}, not '{}'",
                Escaped(word.as_bytes())
            ))
        })
}

/// Digits only: `u32::from_str` would take a leading `+` as well.
fn decimal(word: &OsStr) -> Option<u32> {
    let text = word.to_str()?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn id(option: &str, word: OsString) -> Result<Id, Error> {
    let digits = !word.is_empty() && word.as_bytes().iter().all(u8::is_ascii_digit);
    match decimal(&word) {
        Some(number) if number != u32::MAX => Ok(Id::Number(number)),
        None if !digits && !word.is_empty() => Ok(Id::Name(word)),
        Some(_) | None => Err(Error::Usage(format!(
            "{option} takes a name or a number below 4294967295, not '{}'",
            Escaped(word.as_bytes())
        ))),
    }
}

fn unknown(arg: &Arg<'_>) -> Error {
    Error::Usage(match arg {
        Arg::Short(letter) => format!("unknown option -{}", letter.escape_default()),
        Arg::Long(word) => format!("unknown option --{}", Escaped(word.as_bytes())),
        Arg::Value(word) => format!("unexpected '{}'", Escaped(word.as_bytes())),
    })
}

/// lexopt's own errors, all of which are about the words, with those words made safe to print.
fn usage(error: lexopt::Error) -> Error {
    use lexopt::Error::{MissingValue, UnexpectedValue};
    Error::Usage(
        if let MissingValue {
            option: Some(option),
        } = &error
        {
            format!("{} needs a value", Escaped(option.as_bytes()))
        } else if let UnexpectedValue { option, .. } = &error {
            format!("{} takes no value", Escaped(option.as_bytes()))
        } else {
            Escaped(error.to_string().as_bytes()).to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn up(args: &[&str]) -> Result<(Request, Settings), Error> {
        match parse(Program::Ifup, words(args))? {
            Command::Run(request) => match request.action.clone() {
                Action::Up(settings) => Ok((request, settings)),
                Action::Down { .. } => panic!("qemu-ifup brings nothing down"),
            },
            Command::Help | Command::Version => panic!("that is no work"),
        }
    }

    #[test]
    fn qemu_gives_a_name_and_nothing_else() {
        let (request, settings) = up(&["tap0"]).unwrap();
        assert_eq!(request.tap, IfName::new(b"tap0").unwrap());
        assert_eq!(settings, Settings::default());
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
        let (request, settings) = up(&[
            "--multi-queue",
            "--mtu",
            "9000",
            "-u",
            "1000",
            "-nv",
            "--",
            "-h",
        ])
        .unwrap();
        assert_eq!(request.tap, IfName::new(b"-h").unwrap());
        assert!(settings.multi_queue && request.dry_run);
        assert_eq!(settings.mtu, Some(9000));
        assert_eq!(settings.access, Some(Access::Owner(Id::Number(1000))));
        assert_eq!(request.verbosity, Verbosity::Verbose);
        assert_eq!(
            up(&["tap0", "--group=kvm"]).unwrap().1.access,
            Some(Access::Group(Id::Name("kvm".into())))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, part) in [
            (&[][..], "no IFNAME"),
            (&["tap0", "tap1"], "'tap1' is a second one"),
            (&["--frob", "tap0"], "--frob"),
            (&["-x", "tap0"], "-x"),
            (&["--delete", "tap0"], "--delete"),
            (&["tap0", "--bridge"], "--bridge needs a value"),
            (&["--multi-queue=2", "tap0"], "--multi-queue takes no value"),
            (&["--mtu", "67", "tap0"], "68 to 65521, not '67'"),
            (&["--mtu", "65522", "tap0"], "65522"),
            (&["--mtu", "+1500", "tap0"], "+1500"),
            (&["--owner", "4294967295", "tap0"], "4294967295"),
            (&["--owner", "99999999999", "tap0"], "99999999999"),
            (&["--owner", "", "tap0"], "''"),
            (&["-u", "1", "-g", "2", "tap0"], "not to two"),
            (&["--bridge", "", "tap0"], "empty"),
            (&["abcdefghijklmnop"], "16 bytes"),
            (&["a\x1b[2J/"], "\\x1b[2J/"),
        ] {
            let error = up(args).unwrap_err();
            assert!(error.to_string().contains(part), "{args:?}: {error}");
            assert_eq!(error.exit_code(), ExitCode::Usage, "{args:?}");
        }
    }

    #[test]
    fn qemu_ifdown_has_options_of_its_own_only() {
        let parsed = parse(Program::Ifdown, words(&["--delete", "-q", "tap0"])).unwrap();
        let Command::Run(request) = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!(request.action, Action::Down { delete: true });
        assert_eq!(request.verbosity, Verbosity::Quiet);
        for option in ["--bridge=br0", "--mtu=1500", "--multi-queue", "-b"] {
            assert!(parse(Program::Ifdown, words(&[option, "tap0"])).is_err());
        }
    }
}
