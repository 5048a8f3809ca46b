//! The command line: words in, a request out. Nothing here looks at the system.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::config::error::UsageError;
use crate::config::options::{
    OptionKind, TapOptions, parse_if_name, parse_u32_in, unknown_option, usage_error,
};
use crate::config::program::{Program, Verbosity};
use crate::escape::Escaped;
use crate::model::bridge::BR_MAX_PORTS;
use crate::model::if_name::IfName;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Bring each tap up on a bridge.
    Up,
    /// Create one, bring it up on a bridge and hand it over to QEMU. Without a name, the kernel chooses one.
    HandOver {
        /// The socket.
        fd: i32,
        /// With a virtio-net header before each frame, if the kernel has it.
        vnet_hdr: bool,
    },
    /// Look at the host, the bridge and the taps, if any is of interest.
    Check(CheckOutput),
    /// Detach each tap and bring it down.
    Down {
        /// Delete them as well.
        delete: bool,
    },
}

/// How the answer of --check is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOutput {
    /// Without what is ok.
    pub quiet: bool,
    /// As JSON.
    pub json: bool,
    /// Warnings count for the exit code, too.
    pub strict: bool,
}

/// A whole command line that asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The work.
    pub action: Action,
    /// The taps, each once.
    pub taps: Vec<IfName>,
    /// What they are to be like.
    pub options: TapOptions,
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

/// The largest number that a descriptor can have.
const MAX_FD: u32 = i32::MAX.unsigned_abs();

/// Parses the words after the program's own name.
///
/// # Errors
/// A word is wrong, or they do not go together; the error names it.
pub fn parse<I>(program: Program, args: I) -> Result<Command, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = TapOptions::default();
    let mut taps = Vec::new();
    let mut delete = false;
    let mut fd = None;
    let mut vnet_hdr = false;
    let (mut check, mut json, mut strict) = (false, false, false);
    let mut dry_run = false;
    let mut verbosity = Verbosity::Normal;

    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short('n') | Arg::Long("dry-run") => dry_run = true,
            Arg::Short('v') | Arg::Long("verbose") => verbosity = Verbosity::Verbose,
            Arg::Short('q') | Arg::Long("quiet") => verbosity = Verbosity::Quiet,
            Arg::Long("delete") if program == Program::Ifdown => delete = true,
            Arg::Long("check") if program == Program::Ifup => check = true,
            Arg::Long("json") if program == Program::Ifup => json = true,
            Arg::Long("strict") if program == Program::Ifup => strict = true,
            Arg::Long("use-vnet") if program == Program::Ifup => vnet_hdr = true,
            Arg::Long("fd") if program == Program::Ifup => {
                fd = Some(parse_u32_in(&mut parser, "--fd", 0, MAX_FD)?.cast_signed());
            }
            Arg::Value(value) => add_tap(&mut taps, &value)?,
            option @ (Arg::Short(_) | Arg::Long(_)) => {
                // Its name is borrowed from the parser, so which option it is must be known before its value is parsed.
                let option = OptionKind::from_arg(&option)
                    .filter(|_| program == Program::Ifup)
                    .ok_or_else(|| unknown_option(&option, program))?;
                option.parse_value(&mut parser, &mut options)?;
            }
        }
    }

    let action = match (program, taps.as_slice(), fd) {
        (Program::Ifup, _, Some(_)) if check => {
            return Err(usage_error("--check and --fd exclude each other"));
        }
        (Program::Ifup, _, None) if check => Action::Check(CheckOutput {
            quiet: verbosity == Verbosity::Quiet,
            json,
            strict,
        }),
        (Program::Ifup, _, _) if json || strict => {
            return Err(usage_error("--json and --strict go with --check"));
        }
        (Program::Ifup, _, Some(_)) if dry_run => {
            return Err(usage_error(
                "--fd hands a tap to QEMU; --dry-run has none to hand over",
            ));
        }
        (Program::Ifup, _, Some(_))
            if options.access.is_some() || options.multi_queue.is_some() =>
        {
            return Err(usage_error(
                "--fd creates a tap of one queue for its caller: leave out --owner, --group and --multi-queue",
            ));
        }
        (Program::Ifup, [_, second, ..], Some(_)) => {
            return Err(UsageError::Syntax(format!(
                "--fd hands one tap to QEMU: one IFNAME is enough, '{second}' is a second one"
            )));
        }
        (Program::Ifup, [_, second, ..], None) if matches!(options.lock_mac, Some(Some(_))) => {
            return Err(UsageError::Syntax(format!(
                "--lock-mac is for one guest: one IFNAME is enough, '{second}' is a second one"
            )));
        }
        (Program::Ifup, _, Some(fd)) => Action::HandOver { fd, vnet_hdr },
        (Program::Ifup, _, None) if vnet_hdr => {
            return Err(usage_error("--use-vnet goes with --fd"));
        }
        (_, [], _) => return Err(usage_error("no IFNAME given")),
        (Program::Ifup, _, None) => Action::Up,
        (Program::Ifdown, _, _) => Action::Down { delete },
    };
    Ok(Command::Run(Request {
        action,
        taps,
        options,
        dry_run,
        verbosity,
    }))
}

/// Adds a tap to those that were named.
fn add_tap(taps: &mut Vec<IfName>, name: &OsStr) -> Result<(), UsageError> {
    let refused = |reason| {
        let name = Escaped::truncated(name.as_bytes());
        Err(UsageError::Syntax(format!("'{name}' {reason}")))
    };
    // A web page makes dashes of hyphens.
    if !name.as_bytes().first().is_none_or(u8::is_ascii) {
        return refused(
            "begins with no ASCII character: an option begins with the hyphens - or --",
        );
    }
    let has = |text: &[u8]| name.as_bytes().windows(text.len()).any(|part| part == text);
    if has(b",") || has(b"{") && has(b"..") {
        return refused("is no name of an interface: the shell has not made several of it");
    }
    let tap = parse_if_name(name)?;
    if taps.contains(&tap) {
        return refused("is named twice");
    }
    if taps.len() == BR_MAX_PORTS {
        return Err(UsageError::Syntax(format!(
            "more than {BR_MAX_PORTS} IFNAMEs, which is as many ports as a bridge has room for"
        )));
    }
    taps.push(tap);
    Ok(())
}

impl Request {
    /// The tap, where one was named and no others.
    pub fn tap(&self) -> Option<IfName> {
        match self.taps.as_slice() {
            [tap] => Some(*tap),
            _ => None,
        }
    }

    /// Fills in the bridge that the program's own name has, where no option names one:
    /// `/etc/qemu-ifup.br1` is the program for br1.
    pub fn set_bridge_from_argv0(
        &mut self,
        program: Program,
        argv0: &OsStr,
    ) -> Result<(), UsageError> {
        let path = argv0.as_bytes();
        let file_name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        if program == Program::Ifup
            && self.options.bridge.is_none()
            && let Some(bridge) = file_name.strip_prefix(b"qemu-ifup.")
        {
            self.options.bridge = Some(parse_if_name(OsStr::from_bytes(bridge))?);
        }
        Ok(())
    }
}
