//! The two programs as files.

use crate::common::{bin, command, needs, run, skip, test_name};
use std::collections::BTreeSet;

#[test]
fn no_program_asks_the_systems_name_services() {
    if !needs("nm") {
        return;
    }
    // The programs as cargo has just built them: those that are shipped have no symbols.
    for program in [
        env!("CARGO_BIN_EXE_qemu-ifup"),
        env!("CARGO_BIN_EXE_qemu-ifdown"),
    ] {
        let symbols = run(command("nm").arg(program));
        assert_eq!(symbols.code, 0, "{symbols:?}");
        let names = symbols.stdout.lines().filter_map(|line| {
            let (rest, name) = line.rsplit_once(' ')?;
            // Kind n: a note of the linker's, no code.
            (!rest.ends_with(" n")).then(|| name.trim_start_matches('_'))
        });
        let names: BTreeSet<&str> = names.collect();
        assert!(names.contains("main"), "{program} has no symbols");
        let services = [
            "getpw",
            "getgrnam",
            "getgrgid",
            "getaddrinfo",
            "gethostbyname",
            "getservby",
        ];
        let found: Vec<_> = names
            .iter()
            .filter(|name| services.iter().any(|service| name.starts_with(service)))
            .collect();
        assert!(found.is_empty(), "{program}: {found:?}");
    }
}

#[test]
fn qemu_ifdown_holds_none_of_what_only_qemu_ifup_does() {
    if std::env::var_os("QEMU_IFUP_BIN_DIR").is_none() {
        return skip(&test_name(), "needs programs as they are shipped");
    }
    let has = |program: &str, text: &[u8]| {
        let bytes = std::fs::read(bin(program)).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    };
    let of_both = b"print the steps as ip(8) commands";
    assert!(has("qemu-ifup", of_both) && has("qemu-ifdown", of_both));
    // Of src/commands/session.rs, and so of all that --create-bridge and the others need.
    let of_one = b"the tap and the bridge cannot have the same name";
    assert!(has("qemu-ifup", of_one) && !has("qemu-ifdown", of_one));
}
