//! The command line: the input is a choice of program and then words, each ended by a NUL as in /proc/self/cmdline.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use qemu_ifup::cli::{Access, Action, Command, Id, Program, parse};
use qemu_ifup::name::IfName;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, words)) = data.split_first() else {
        return;
    };
    let program = if choice & 1 == 0 {
        Program::Ifup
    } else {
        Program::Ifdown
    };
    let words = words
        .split(|&b| b == 0)
        .map(|word| OsStr::from_bytes(word).to_owned());
    let request = match parse(program, words) {
        Ok(Command::Run(request)) => request,
        Ok(Command::Help | Command::Version) => return,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    let (tap, settings) = match request.action {
        Action::Up { tap, settings } => (Some(tap), Some(settings)),
        Action::Hand { fd, settings, .. } => {
            assert!(fd >= 0 && !request.dry_run);
            (None, Some(settings))
        }
        Action::Check { tap, settings } => (tap, Some(settings)),
        Action::Down { tap, .. } => (Some(tap), None),
    };
    assert_eq!(settings.is_some(), program == Program::Ifup);
    let settings = settings.unwrap_or_default();
    for name in tap.iter().chain(&settings.bridge) {
        assert!((1..=15).contains(&name.as_bytes().len()));
        assert_eq!(IfName::new(name.as_bytes()), Ok(*name));
    }
    // The kernel's "no id" is no user.
    let nobody = Id::Number(u32::MAX);
    assert!(!settings.access.is_some_and(|access| match access {
        Access::Owner(id) | Access::Group(id) => id == nobody,
    }));
});
