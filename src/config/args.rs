//! The command line: words in, a request out. Nothing here looks at the system.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::config::error::UsageError;
use crate::config::options::{
    TapOptions, parse_if_name, parse_u32_in, unknown_option, usage_error,
};
use crate::config::program::{Program, Verbosity};
use crate::config::table::{Given, OptionId, find};
use crate::escape::Escaped;
use crate::model::bridge::BR_MAX_PORTS;
use crate::model::if_name::IfName;

/// A whole command line that asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request<W> {
    pub(crate) work: W,
    /// The taps, each once.
    pub(crate) taps: Vec<IfName>,
    /// Print the plan instead of carrying it out.
    pub(crate) dry_run: bool,
    pub(crate) verbosity: Verbosity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command<W> {
    Help,
    Version,
    Run(Request<W>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ifup {
    pub(crate) action: IfupAction,
    pub(crate) options: TapOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfupAction {
    Up,
    /// Create one, bring it up on a bridge and hand it over to QEMU. Without a name, the kernel chooses one.
    HandOver {
        /// The socket.
        fd: i32,
        /// With a virtio-net header before each frame, if the kernel has it.
        vnet_hdr: bool,
    },
    /// Look at the host, the bridge and the taps that are named.
    Check(CheckOutput),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckOutput {
    /// What is ok is left out, counted, or listed.
    pub(crate) verbosity: Verbosity,
    pub(crate) json: bool,
    /// Warnings count for the exit code, too.
    pub(crate) strict: bool,
}

/// The work of qemu-ifdown: detach each tap and bring it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ifdown {
    /// Delete them as well.
    pub(crate) delete: bool,
}

const MAX_FD: u32 = i32::MAX.unsigned_abs();

/// Parses the words after qemu-ifup's own name, which is `argv0`: `/etc/qemu-ifup.br1` is the program for br1.
///
/// # Errors
/// A word is wrong, or they do not go together; the error names it.
pub(crate) fn parse_ifup<I>(argv0: &OsStr, args: I) -> Result<Command<Ifup>, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let mut options = TapOptions::default();
    let (mut fd, mut vnet_hdr) = (None, false);
    let (mut check, mut json, mut strict) = (false, false, false);
    let parsed = parse_words(Program::Ifup, args, |given, parser| {
        match given.row.id {
            OptionId::Check => check = true,
            OptionId::Json => json = true,
            OptionId::Strict => strict = true,
            OptionId::UseVnet => vnet_hdr = true,
            OptionId::Fd => fd = Some(parse_u32_in(parser, "--fd", 0, MAX_FD)?.cast_signed()),
            OptionId::Tap(option) => options.parse_value(given, option, parser)?,
            OptionId::Help
            | OptionId::Version
            | OptionId::DryRun
            | OptionId::Verbose
            | OptionId::Quiet
            | OptionId::Delete => {}
        }
        Ok(())
    })?;
    let request = match parsed {
        Command::Help => return Ok(Command::Help),
        Command::Version => return Ok(Command::Version),
        Command::Run(request) => request,
    };
    let Request {
        taps,
        dry_run,
        verbosity,
        ..
    } = request;
    let second = taps.get(1);
    let syntax = |reason| Err(UsageError::Syntax(reason));
    let action = match (fd, second) {
        (Some(_), _) if check => {
            return Err(usage_error("--check cannot be combined with --fd"));
        }
        (None, _) if check => IfupAction::Check(CheckOutput {
            verbosity,
            json,
            strict,
        }),
        (_, _) if json || strict => {
            return Err(usage_error("--json and --strict require --check"));
        }
        (Some(_), _) if dry_run => {
            return Err(usage_error("--fd cannot be combined with --dry-run"));
        }
        (Some(_), _) if options.access.is_some() || options.multi_queue.is_some() => {
            return Err(usage_error(
                "--fd cannot be combined with --owner, --group or --multi-queue",
            ));
        }
        (Some(_), Some(second)) => {
            return syntax(format!(
                "--fd accepts only one IFNAME (also given: '{second}')"
            ));
        }
        (None, Some(second)) if matches!(options.lock_mac, Some(Some(_))) => {
            return syntax(format!(
                "--lock-mac accepts only one IFNAME (also given: '{second}')"
            ));
        }
        (Some(fd), None) => IfupAction::HandOver { fd, vnet_hdr },
        (None, _) if vnet_hdr => {
            return Err(usage_error("--use-vnet requires --fd"));
        }
        (None, _) if taps.is_empty() => return Err(usage_error("IFNAME is missing")),
        (None, _) => IfupAction::Up,
    };
    let file_name = argv0.as_bytes().rsplit(|&b| b == b'/').next();
    if options.bridge.is_none()
        && let Some(bridge) = file_name.unwrap_or_default().strip_prefix(b"qemu-ifup.")
    {
        options.bridge = Some(parse_if_name(OsStr::from_bytes(bridge))?);
    }
    Ok(Command::Run(Request {
        work: Ifup { action, options },
        taps,
        dry_run,
        verbosity,
    }))
}

/// Parses the words after qemu-ifdown's own name.
///
/// # Errors
/// A word is wrong; the error names it.
pub(crate) fn parse_ifdown<I>(args: I) -> Result<Command<Ifdown>, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let mut delete = false;
    let parsed = parse_words(Program::Ifdown, args, |given, _| {
        delete |= given.row.id == OptionId::Delete;
        Ok(())
    })?;
    Ok(match parsed {
        Command::Help => Command::Help,
        Command::Version => Command::Version,
        Command::Run(Request { taps, .. }) if taps.is_empty() => {
            return Err(usage_error("IFNAME is missing"));
        }
        Command::Run(request) => Command::Run(Request {
            work: Ifdown { delete },
            taps: request.taps,
            dry_run: request.dry_run,
            verbosity: request.verbosity,
        }),
    })
}

/// Parses the words that both programs have, and leaves the other options to `take`.
fn parse_words<I>(
    program: Program,
    args: I,
    mut take: impl FnMut(Given, &mut lexopt::Parser) -> Result<(), UsageError>,
) -> Result<Command<()>, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(args);
    let mut request = Request {
        work: (),
        taps: Vec::new(),
        dry_run: false,
        verbosity: Verbosity::Normal,
    };
    while let Some(arg) = parser.next()? {
        if let Arg::Value(value) = arg {
            add_tap(&mut request.taps, &value)?;
            continue;
        }
        let given = find(&arg, program).ok_or_else(|| unknown_option(&arg, program))?;
        match given.row.id {
            OptionId::Help => return Ok(Command::Help),
            OptionId::Version => return Ok(Command::Version),
            OptionId::DryRun => request.dry_run = true,
            OptionId::Verbose => request.verbosity = Verbosity::Verbose,
            OptionId::Quiet => request.verbosity = Verbosity::Quiet,
            OptionId::Delete
            | OptionId::Check
            | OptionId::Json
            | OptionId::Strict
            | OptionId::Fd
            | OptionId::UseVnet
            | OptionId::Tap(_) => take(given, &mut parser)?,
        }
    }
    Ok(Command::Run(request))
}

fn add_tap(taps: &mut Vec<IfName>, name: &OsStr) -> Result<(), UsageError> {
    let refused = |reason| {
        let name = Escaped::truncated(name.as_bytes());
        Err(UsageError::Syntax(format!("'{name}' {reason}")))
    };
    // A web page makes dashes of hyphens.
    if !name.as_bytes().first().is_none_or(u8::is_ascii) {
        return refused(
            "begins with a character that is not ASCII. Options begin with the ASCII hyphen: - or --",
        );
    }
    let has = |text: &[u8]| name.as_bytes().windows(text.len()).any(|part| part == text);
    if has(b",") || has(b"{") && has(b"..") {
        return refused(
            "is not an interface name. Separate names with spaces (brace expansion such as {a,b} does not work in every shell)",
        );
    }
    let tap = parse_if_name(name)?;
    if taps.contains(&tap) {
        return refused("is given twice");
    }
    if taps.len() == BR_MAX_PORTS {
        return Err(UsageError::Syntax(format!(
            "more than {BR_MAX_PORTS} IFNAMEs (the maximum number of ports of a bridge)"
        )));
    }
    taps.push(tap);
    Ok(())
}

impl<W> Request<W> {
    /// The tap, if one was named and no others.
    pub(crate) fn tap(&self) -> Option<IfName> {
        match self.taps.as_slice() {
            [tap] => Some(*tap),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
