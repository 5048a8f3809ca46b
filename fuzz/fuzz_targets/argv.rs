//! The command line: the input is a choice of program and then words, each ended by a NUL as in /proc/self/cmdline.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use qemu_ifup::config::args::{Action, Command, parse};
use qemu_ifup::config::options::TapOptions;
use qemu_ifup::config::program::Program;
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::model::spec::{NameOrId, TapAccess};

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
    let (taps, options) = (request.taps, request.options);
    match request.action {
        Action::HandOver { fd, .. } => assert!(fd >= 0 && !request.dry_run && taps.len() < 2),
        Action::Up => assert!(!taps.is_empty()),
        Action::Check(_) => {}
        Action::Down { .. } => assert!(!taps.is_empty() && options == TapOptions::default()),
    }
    assert_eq!(
        matches!(request.action, Action::Down { .. }),
        program == Program::Ifdown
    );
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
