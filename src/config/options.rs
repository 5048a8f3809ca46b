//! The options that say what a tap is to be like: the same on the command line and in /etc/qemu-ifup.conf.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::config::error::UsageError;
use crate::config::program::Program;
use crate::config::table::{self, Given, OptionId, OptionRow, TapOption};
use crate::escape::Escaped;
use crate::model::addr::{IpPrefix, UnicastMac};
use crate::model::bridge::PortOptions;
use crate::model::if_name::IfName;
use crate::model::link::{MAX_MTU, MIN_MTU, Qdisc};
use crate::model::parse_decimal;
use crate::model::spec::{NameOrId, TapAccess};
use crate::model::vlan::{parse_vid, parse_vid_list};
use crate::sys::file::parse_id;

/// What a tap is to be like; all may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TapOptions {
    pub(crate) bridge: Option<IfName>,
    /// --owner or --group
    pub(crate) access: Option<TapAccess<NameOrId>>,
    pub(crate) multi_queue: Option<bool>,
    pub(crate) mtu: Option<u32>,
    pub(crate) create_bridge: Option<bool>,
    /// --address, each time
    pub(crate) addresses: Vec<IpPrefix>,
    /// --isolated and the others, and their opposites
    pub(crate) port: PortOptions,
    /// The inner `None` is --no-lock-mac.
    pub(crate) lock_mac: Option<Option<UnicastMac>>,
    pub(crate) pvid: Option<u16>,
    /// --vlans, in order
    pub(crate) vlans: Vec<u16>,
    pub(crate) qdisc: Option<Qdisc>,
    /// --wait, in seconds
    pub(crate) wait: Option<u32>,
    pub(crate) max_taps: Option<u32>,
    /// The first option that is the administrator's, if one was given.
    pub(crate) administrators: Option<&'static str>,
}

impl TapOptions {
    /// What --lock-mac sets of the port, if it is asked for.
    pub(crate) fn lock(&self) -> PortOptions {
        let mac = self.lock_mac.flatten();
        mac.map(|_| PortOptions::of_locked_port())
            .unwrap_or_default()
    }

    /// These options, and for those that are not given, `defaults`.
    #[must_use]
    pub(crate) fn with_defaults(self, defaults: Self) -> Self {
        Self {
            bridge: self.bridge.or(defaults.bridge),
            access: self.access.or(defaults.access),
            multi_queue: self.multi_queue.or(defaults.multi_queue),
            mtu: self.mtu.or(defaults.mtu),
            create_bridge: self.create_bridge.or(defaults.create_bridge),
            addresses: or_if_empty(self.addresses, defaults.addresses),
            port: self.port.or(defaults.port),
            lock_mac: self.lock_mac.or(defaults.lock_mac),
            pvid: self.pvid.or(defaults.pvid),
            vlans: or_if_empty(self.vlans, defaults.vlans),
            qdisc: self.qdisc.or(defaults.qdisc),
            wait: self.wait.or(defaults.wait),
            max_taps: self.max_taps.or(defaults.max_taps),
            administrators: self.administrators,
        }
    }
}

fn or_if_empty<T>(given: Vec<T>, defaults: Vec<T>) -> Vec<T> {
    if given.is_empty() { defaults } else { given }
}

/// The longest time to wait, in seconds: an hour.
const MAX_WAIT: u32 = 3600;

/// Parses words that may be nothing but the options of [`TapOptions`].
///
/// # Errors
/// One of them is not, or its value is wrong.
pub(crate) fn parse_options<I>(words: I) -> Result<TapOptions, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = TapOptions::default();
    while let Some(arg) = parser.next()? {
        match table::find(&arg, Program::Ifup).map(|given| (given, given.row.id)) {
            Some((given, OptionId::Tap(option))) => {
                options.parse_value(given, option, &mut parser)?;
            }
            Some(_) | None => return Err(unknown_option(&arg, Program::Ifup)),
        }
    }
    Ok(options)
}

impl TapOptions {
    /// Takes an option, and its value from the words that follow.
    pub(super) fn parse_value(
        &mut self,
        given: Given,
        option: TapOption,
        parser: &mut lexopt::Parser,
    ) -> Result<(), UsageError> {
        if !given.is_for_users() {
            self.administrators.get_or_insert(given.name);
        }
        match option {
            TapOption::Bridge => self.bridge = Some(parse_if_name(&parser.value()?)?),
            TapOption::Owner | TapOption::Group if self.access.is_some() => {
                return Err(usage_error("give only one --owner or one --group"));
            }
            TapOption::Owner => {
                let owner = parse_name_or_id("--owner", parser.value()?)?;
                self.access = Some(TapAccess::Owner(owner));
            }
            TapOption::Group => {
                let group = parse_name_or_id("--group", parser.value()?)?;
                self.access = Some(TapAccess::Group(group));
            }
            TapOption::MultiQueue => self.multi_queue = Some(given.is_on()),
            TapOption::Mtu => self.mtu = Some(parse_u32_in(parser, "--mtu", MIN_MTU, MAX_MTU)?),
            TapOption::CreateBridge => self.create_bridge = Some(given.is_on()),
            TapOption::Address => {
                let expected =
                    "a host address and a prefix length, such as 192.168.10.1/24 or fd00::1/64";
                let address = parse_with(parser, "--address", expected, IpPrefix::parse)?;
                self.addresses.push(address);
            }
            TapOption::Port(option) => self.port = self.port.with(option, given.is_on()),
            TapOption::LockMac => {
                let expected = "the MAC of a network card, such as 52:54:00:12:34:56";
                let mac = parse_with(parser, "--lock-mac", expected, UnicastMac::parse)?;
                self.lock_mac = Some(Some(mac));
            }
            TapOption::NoLockMac => self.lock_mac = Some(None),
            TapOption::Pvid => {
                let expected = "a number from 1 to 4094";
                self.pvid = Some(parse_with(parser, "--pvid", expected, parse_vid)?);
            }
            TapOption::Vlans => {
                let expected = "numbers from 1 to 4094 and ranges, such as 10,20-29";
                self.vlans = parse_with(parser, "--vlans", expected, parse_vid_list)?;
            }
            TapOption::Qdisc => {
                let qdisc = |word: &str| match word {
                    "noqueue" => Some(Qdisc::Noqueue),
                    "default" => Some(Qdisc::Default),
                    _ => None,
                };
                let qdisc = parse_with(parser, "--qdisc", "noqueue or default", qdisc)?;
                self.qdisc = Some(qdisc);
            }
            TapOption::Wait => self.wait = Some(parse_u32_in(parser, "--wait", 0, MAX_WAIT)?),
            TapOption::MaxTaps => {
                self.max_taps = Some(parse_u32_in(parser, "--max-taps", 0, u32::MAX)?);
            }
        }
        Ok(())
    }
}

pub(super) fn parse_if_name(word: &OsStr) -> Result<IfName, UsageError> {
    IfName::new(word.as_bytes()).map_err(|reason| UsageError::InvalidName {
        given: word.as_bytes().to_owned(),
        reason,
    })
}

/// The value of this option, a number within these bounds.
pub(super) fn parse_u32_in(
    parser: &mut lexopt::Parser,
    option: &str,
    min: u32,
    max: u32,
) -> Result<u32, UsageError> {
    let parse = |word: &str| parse_decimal(word).filter(|n| (min..=max).contains(n));
    parse_with(
        parser,
        option,
        &format!("a number from {min} to {max}"),
        parse,
    )
}

/// The value of this option, which takes what `parse` does.
fn parse_with<T>(
    parser: &mut lexopt::Parser,
    option: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, UsageError> {
    let word = parser.value()?;
    let value = word.to_str().and_then(parse);
    value.ok_or_else(|| invalid_value(option, expected, &word))
}

fn parse_name_or_id(option: &str, word: OsString) -> Result<NameOrId, UsageError> {
    let is_name = !word.as_bytes().iter().all(u8::is_ascii_digit);
    match parse_id(&word) {
        Some(id) => Ok(NameOrId::Id(id)),
        None if is_name => Ok(NameOrId::Name(word)),
        None => {
            let expected = "a name or a number below 4294967295";
            Err(invalid_value(option, expected, &word))
        }
    }
}

fn invalid_value(option: &str, expected: &str, word: &OsStr) -> UsageError {
    let given = Escaped::truncated(word.as_bytes());
    UsageError::Syntax(format!("{option} must be {expected}, not '{given}'"))
}

/// An option that this program does not have, or not here.
pub(super) fn unknown_option(arg: &Arg<'_>, program: Program) -> UsageError {
    UsageError::Syntax(match arg {
        Arg::Short(letter) => format!("unknown option -{}", letter.escape_default()),
        Arg::Long(word) => {
            let given = Escaped::truncated(word.as_bytes());
            let other = program.other();
            if table::find(arg, program).is_some() {
                format!("--{given} is not allowed in /etc/qemu-ifup.conf")
            } else if table::find(arg, other).is_some() {
                format!("unknown option --{given} (an option of {})", other.name())
            } else if let Some(meant) = nearest(word, program) {
                format!("unknown option --{given}, did you mean --{meant}?")
            } else {
                format!("unknown option --{given}")
            }
        }
        Arg::Value(word) => format!(
            "unexpected argument '{}'",
            Escaped::truncated(word.as_bytes())
        ),
    })
}

/// The long option that was probably meant: it begins with the word, or takes two edits at most.
fn nearest(word: &str, program: Program) -> Option<&'static str> {
    let options = || table::options_of(program).flat_map(OptionRow::names);
    let begins = options().find(|option| option.starts_with(word));
    let is_near = |edits, option: &str| is_within(edits, word.as_bytes(), option.as_bytes());
    let near = |edits| options().find(|option| word.len() > 2 && is_near(edits, option));
    begins.or_else(|| near(1)).or_else(|| near(2))
}

/// Whether this many insertions, deletions and substitutions make one of the other.
fn is_within(edits: u8, a: &[u8], b: &[u8]) -> bool {
    let (rest_a, rest_b) = (
        a.get(1..).unwrap_or_default(),
        b.get(1..).unwrap_or_default(),
    );
    if !a.is_empty() && a.first() == b.first() {
        return is_within(edits, rest_a, rest_b);
    }
    match edits.checked_sub(1) {
        None => a.is_empty() && b.is_empty(),
        Some(left) => {
            is_within(left, rest_a, b)
                || is_within(left, a, rest_b)
                || is_within(left, rest_a, rest_b)
        }
    }
}

pub(super) fn usage_error(reason: &str) -> UsageError {
    UsageError::Syntax(reason.to_owned())
}

/// lexopt's own errors, all of which are about words of the caller, with those escaped.
impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        use lexopt::Error::{MissingValue, UnexpectedValue};
        let escaped = |text: &str| Escaped::truncated(text.as_bytes()).to_string();
        Self::Syntax(
            if let MissingValue {
                option: Some(option),
            } = &error
            {
                format!("{} needs a value", escaped(option))
            } else if let UnexpectedValue { option, .. } = &error {
                format!("{} does not take a value", escaped(option))
            } else {
                escaped(&error.to_string())
            },
        )
    }
}
