//! The two programs as files.

use crate::common::{command, needs, run};
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
