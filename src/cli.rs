//! The command line: words in, a request out. Nothing here looks at the system.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::error::Error;
use crate::facts::{Address, MAX_MTU, MIN_MTU};
use crate::name::IfName;
use crate::text::Escaped;
use crate::vlan::{parse_list, parse_vid};

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

  -b, --bridge NAME   bridge to attach to; --br is the same (default: what follows the dot in the name
                      the program was run under, then /etc/qemu-ifup.conf, then br0)
      --create-bridge make the bridge if it does not exist (no STP, its own fixed MAC, up)
      --address A/LEN IPv4 or IPv6 address of a bridge made by --create-bridge; may be repeated
  -u, --owner USER    owner of the tap, name or uid (default: the invoking user)
  -g, --group GROUP   let a group open the tap, instead of an owner
      --multi-queue   make a tap that QEMU can open with queues=N
      --mtu N         MTU of the tap (default: the bridge's)
      --isolated      the port may not talk to other isolated ports
      --pvid VID      untagged VLAN of the port
      --vlans LIST    tagged VLANs of the port, e.g. 10,20-29
      --wait SECONDS  return only when the port forwards (STP), or fail after SECONDS
      --max-taps N    in /etc/qemu-ifup.conf: how many taps a user other than root may have (default: 64)
      --check         change nothing; say what is wrong with this host, the bridge or the tap (IFNAME may
                      be left out), and how to mend it
      --fd=N          instead of IFNAME, as QEMU's bridge helper: make a tap and hand it over socket N
      --use-vnet      with --fd: let QEMU pass on checksums and large packets (IFF_VNET_HDR)
  -n, --dry-run       change nothing; print the steps as ip(8) commands
  -v, --verbose       print each step as it is done
  -q, --quiet         print errors only
  -h, --help          print this help
  -V, --version       print the version

Each line of /etc/qemu-ifup.conf is a pattern of interface names, then options as above.
Users other than root may attach taps of their own to the bridges that /etc/qemu/bridge.conf allows, where the
program was installed with --setcap.

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 4 bridge missing, not a bridge, or full,
5 not a usable tap, 6 /dev/net/tun unusable, 7 refused by the kernel, 8 configuration or ACL file,
9 timed out waiting. QEMU prints 256 times the code.
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

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 5 not a tap, 7 refused by the kernel,
8 ACL file.
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
    /// --create-bridge
    pub create_bridge: bool,
    /// --address, each time
    pub addresses: Vec<Address>,
    /// --isolated
    pub isolated: bool,
    /// --pvid
    pub pvid: Option<u16>,
    /// --vlans, in order
    pub vlans: Vec<u16>,
    /// --wait, in seconds
    pub wait: Option<u32>,
    /// --max-taps
    pub max_taps: Option<u32>,
}

impl Settings {
    /// These settings, and where they say nothing, those.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        Self {
            bridge: self.bridge.or(under.bridge),
            access: self.access.or(under.access),
            multi_queue: self.multi_queue || under.multi_queue,
            mtu: self.mtu.or(under.mtu),
            create_bridge: self.create_bridge || under.create_bridge,
            addresses: pick(self.addresses, under.addresses),
            isolated: self.isolated || under.isolated,
            pvid: self.pvid.or(under.pvid),
            vlans: pick(self.vlans, under.vlans),
            wait: self.wait.or(under.wait),
            max_taps: self.max_taps.or(under.max_taps),
        }
    }
}

fn pick<T>(over: Vec<T>, under: Vec<T>) -> Vec<T> {
    if over.is_empty() { under } else { over }
}

/// The longest time to wait, in seconds: an hour.
const MAX_WAIT: u32 = 3600;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring it up on a bridge.
    Up {
        /// The tap.
        tap: IfName,
        /// What it is to be like.
        settings: Settings,
    },
    /// Make one of the kernel's choosing, bring it up on a bridge and hand it to QEMU.
    Hand {
        /// The socket.
        fd: i32,
        /// With a virtio-net header before each frame, if the kernel has it.
        vnet_hdr: bool,
        /// What it is to be like.
        settings: Settings,
    },
    /// Look at the host, the bridge and the tap.
    Check {
        /// The tap, if one is of interest.
        tap: Option<IfName>,
        /// What it is to be like.
        settings: Settings,
    },
    /// Detach it and bring it down.
    Down {
        /// The tap.
        tap: IfName,
        /// Remove it afterwards.
        delete: bool,
    },
}

/// A whole command line that asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The work.
    pub action: Action,
    /// Print the plan instead of carrying it out.
    pub dry_run: bool,
    /// How much to print.
    pub verbosity: Verbosity,
}

impl Request {
    /// The tap that is spoken of by name.
    pub fn tap(&self) -> Option<IfName> {
        match self.action {
            Action::Up { tap, .. } | Action::Down { tap, .. } => Some(tap),
            Action::Check { tap, .. } => tap,
            Action::Hand { .. } => None,
        }
    }
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
    let mut fd = None;
    let mut vnet_hdr = false;
    let mut check = false;
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
            Arg::Long("check") if program == Program::Ifup => check = true,
            Arg::Long("use-vnet") if program == Program::Ifup => vnet_hdr = true,
            Arg::Long("fd") if program == Program::Ifup => {
                let value = parser.value().map_err(usage)?;
                fd = Some(number("--fd", &value, 0, MAX_FD)?.cast_signed());
            }
            Arg::Value(value) if tap.is_none() => tap = Some(interface_name(&value)?),
            Arg::Value(value) => {
                return Err(Error::Usage(format!(
                    "one IFNAME is enough, '{}' is a second one",
                    Escaped::start_of(value.as_bytes())
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

    let action = match (program, tap, fd) {
        (Program::Ifup, _, Some(_)) if check => {
            return Err(usage_of("--check and --fd exclude each other"));
        }
        (Program::Ifup, tap, None) if check => Action::Check { tap, settings },
        (Program::Ifup, None, Some(_)) if dry_run => {
            return Err(usage_of(
                "--fd hands a tap to QEMU; --dry-run has none to hand over",
            ));
        }
        (Program::Ifup, None, Some(_)) if settings.access.is_some() || settings.multi_queue => {
            return Err(usage_of(
                "--fd makes a tap of one queue for its caller: leave out --owner, --group and --multi-queue",
            ));
        }
        (Program::Ifup, None, Some(fd)) => Action::Hand {
            fd,
            vnet_hdr,
            settings,
        },
        (Program::Ifup, Some(_), Some(_)) => {
            return Err(usage_of(
                "with --fd the kernel chooses the name: leave out IFNAME",
            ));
        }
        (Program::Ifup, _, None) if vnet_hdr => {
            return Err(usage_of("--use-vnet goes with --fd"));
        }
        (_, None, _) => return Err(usage_of("no IFNAME given")),
        (Program::Ifup, Some(tap), None) => Action::Up { tap, settings },
        (Program::Ifdown, Some(tap), _) => Action::Down { tap, delete },
    };
    Ok(Command::Run(Request {
        action,
        dry_run,
        verbosity,
    }))
}

/// The largest number that a descriptor can have.
const MAX_FD: u32 = i32::MAX.unsigned_abs();

impl Request {
    /// The socket to hand a tap over, if that is what is wanted.
    pub fn handover(&self) -> Option<i32> {
        match self.action {
            Action::Hand { fd, .. } => Some(fd),
            Action::Up { .. } | Action::Check { .. } | Action::Down { .. } => None,
        }
    }

    /// Fills in the bridge that the program's own name says, if it says one and the options do not:
    /// `/etc/qemu-ifup.br1` is the program for br1.
    ///
    /// # Errors
    /// [`Error::Name`] if what follows the dot is no interface name.
    pub fn take_bridge_from_name(&mut self, program: Program, run_as: &OsStr) -> Result<(), Error> {
        match &mut self.action {
            Action::Up { settings, .. }
            | Action::Hand { settings, .. }
            | Action::Check { settings, .. }
                if settings.bridge.is_none() =>
            {
                settings.bridge = bridge_in(program, run_as)?;
            }
            Action::Up { .. }
            | Action::Hand { .. }
            | Action::Check { .. }
            | Action::Down { .. } => {}
        }
        Ok(())
    }
}

fn bridge_in(program: Program, run_as: &OsStr) -> Result<Option<IfName>, Error> {
    let file_name = run_as
        .as_bytes()
        .rsplit(|&b| b == b'/')
        .next()
        .unwrap_or_default();
    let after_name = file_name.strip_prefix(program.name().as_bytes());
    let bridge = after_name.and_then(|rest| rest.strip_prefix(b"."));
    bridge
        .map(|name| interface_name(OsStr::from_bytes(name)))
        .transpose()
}

/// Reads words that may be nothing but options behind [`Settings`].
///
/// # Errors
/// [`Error::Usage`] or [`Error::Name`], naming the word.
pub fn parse_settings<I>(words: I) -> Result<Settings, Error>
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(words);
    let mut settings = Settings::default();
    while let Some(arg) = parser.next().map_err(usage)? {
        let setting = Setting::named(&arg).ok_or_else(|| unknown(&arg))?;
        setting.read(&mut parser, &mut settings)?;
    }
    Ok(settings)
}

/// The options behind [`Settings`].
#[derive(Debug, Clone, Copy)]
enum Setting {
    Bridge,
    CreateBridge,
    Address,
    Owner,
    Group,
    MultiQueue,
    Mtu,
    Isolated,
    Pvid,
    Vlans,
    Wait,
    MaxTaps,
}

impl Setting {
    fn named(arg: &Arg<'_>) -> Option<Self> {
        match arg {
            Arg::Short('b') | Arg::Long("bridge" | "br") => Some(Self::Bridge),
            Arg::Short('u') | Arg::Long("owner") => Some(Self::Owner),
            Arg::Short('g') | Arg::Long("group") => Some(Self::Group),
            Arg::Long("multi-queue") => Some(Self::MultiQueue),
            Arg::Long("mtu") => Some(Self::Mtu),
            Arg::Long("create-bridge") => Some(Self::CreateBridge),
            Arg::Long("address") => Some(Self::Address),
            Arg::Long("isolated") => Some(Self::Isolated),
            Arg::Long("pvid") => Some(Self::Pvid),
            Arg::Long("vlans") => Some(Self::Vlans),
            Arg::Long("wait") => Some(Self::Wait),
            Arg::Long("max-taps") => Some(Self::MaxTaps),
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
                return Err(usage_of(
                    "a tap is given to one --owner or one --group, not to two",
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
            Self::CreateBridge => settings.create_bridge = true,
            Self::Address => {
                let value = parser.value().map_err(usage)?;
                let address = value.to_str().and_then(Address::parse);
                let wanted =
                    "an address and a prefix length, such as 192.168.10.1/24 or fd00::1/64";
                settings
                    .addresses
                    .push(address.ok_or_else(|| not("--address", wanted, &value))?);
            }
            Self::Isolated => settings.isolated = true,
            Self::Pvid => {
                let value = parser.value().map_err(usage)?;
                let pvid = value.to_str().and_then(parse_vid);
                settings.pvid =
                    Some(pvid.ok_or_else(|| not("--pvid", "a number from 1 to 4094", &value))?);
            }
            Self::Vlans => {
                let value = parser.value().map_err(usage)?;
                let vlans = value.to_str().and_then(parse_list);
                let wanted = "numbers from 1 to 4094 and ranges, such as 10,20-29";
                settings.vlans = vlans.ok_or_else(|| not("--vlans", wanted, &value))?;
            }
            Self::Wait => {
                let value = parser.value().map_err(usage)?;
                settings.wait = Some(number("--wait", &value, 0, MAX_WAIT)?);
            }
            Self::MaxTaps => {
                let value = parser.value().map_err(usage)?;
                settings.max_taps = Some(number("--max-taps", &value, 0, u32::MAX)?);
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
        .ok_or_else(|| not(option, &format!("a number from {min} to {max}"), word))
}

/// A value that is not what the option takes.
fn not(option: &str, wanted: &str, word: &OsStr) -> Error {
    let start = Escaped::start_of(word.as_bytes());
    Error::Usage(format!("{option} takes {wanted}, not '{start}'"))
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
        Some(_) | None => Err(not(option, "a name or a number below 4294967295", &word)),
    }
}

fn unknown(arg: &Arg<'_>) -> Error {
    Error::Usage(match arg {
        Arg::Short(letter) => format!("unknown option -{}", letter.escape_default()),
        Arg::Long(word) => format!("unknown option --{}", Escaped::start_of(word.as_bytes())),
        Arg::Value(word) => format!("unexpected '{}'", Escaped::start_of(word.as_bytes())),
    })
}

fn usage_of(problem: &str) -> Error {
    Error::Usage(problem.to_owned())
}

/// lexopt's own errors, all of which are about the words, with those words made safe to print.
fn usage(error: lexopt::Error) -> Error {
    use lexopt::Error::{MissingValue, UnexpectedValue};
    Error::Usage(
        if let MissingValue {
            option: Some(option),
        } = &error
        {
            format!("{} needs a value", Escaped::start_of(option.as_bytes()))
        } else if let UnexpectedValue { option, .. } = &error {
            format!("{} takes no value", Escaped::start_of(option.as_bytes()))
        } else {
            Escaped::start_of(error.to_string().as_bytes()).to_string()
        },
    )
}
