//! The command line: the input is a choice of program and then words, each ended by a NUL as in /proc/self/cmdline.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use qemu_ifup::config::args::{Command, IfupAction, parse_ifdown, parse_ifup};
use qemu_ifup::config::error::UsageError;
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::model::spec::{NameOrId, TapAccess};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, words)) = data.split_first() else {
        return;
    };
    let words = words
        .split(|&b| b == 0)
        .map(|word| OsStr::from_bytes(word).to_owned());
    let refused = |error: UsageError| {
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
    };
    if choice & 1 == 1 {
        match parse_ifdown(words) {
            Ok(Command::Run(request)) => assert!(!request.taps.is_empty()),
            Ok(Command::Help | Command::Version) => {}
            Err(error) => refused(error),
        }
        return;
    }
    let request = match parse_ifup(OsStr::new("/etc/qemu-ifup"), words) {
        Ok(Command::Run(request)) => request,
        Ok(Command::Help | Command::Version) => return,
        Err(error) => return refused(error),
    };
    let (taps, options) = (request.taps, request.work.options);
    match request.work.action {
        IfupAction::HandOver { fd, .. } => assert!(fd >= 0 && !request.dry_run && taps.len() < 2),
        IfupAction::Up => assert!(!taps.is_empty()),
        IfupAction::Check(_) => {}
    }
    for name in taps.iter().chain(&options.bridge) {
        assert!((1..=15).contains(&name.as_bytes().len()));
        assert_eq!(IfName::new(name.as_bytes()), Ok(*name));
    }
    // The kernel's "no id" is no user.
    let nobody = NameOrId::Id(u32::MAX);
    assert!(!options.access.is_some_and(|access| match access {
        TapAccess::Owner(id) | TapAccess::Group(id) => id == nobody,
    }));
});
