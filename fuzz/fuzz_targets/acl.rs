//! The ACL and what it includes: the input is cut at each 0xff into the file itself and the included `/1`, `/2` ...
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use qemu_ifup::config::acl::{Acl, Verdict};
use qemu_ifup::config::error::ConfigError;
use qemu_ifup::error::Error;
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::sys::file::Contents;

fuzz_target!(|data: &[u8]| {
    let files: Vec<&[u8]> = data.split(|&b| b == 0xff).collect();
    let open = |n: usize, more: &[u8]| Contents {
        bytes: [files[n], more].concat(),
        dev_ino: (0, n as u64),
        root_owned: true,
    };
    let include = |path: &Path| {
        let number = path
            .to_str()
            .and_then(|p| p.strip_prefix('/')?.parse().ok());
        let found = number.filter(|&n| n < files.len()).map(|n| open(n, b""));
        found.ok_or(io::Error::from_raw_os_error(2).into())
    };
    let load = |more: &[u8]| Acl::load(Path::new("/0"), &open(0, more), include);

    let br0 = IfName::new(b"br0").expect("a name");
    match load(b"") {
        Ok(acl) if acl.verdict(br0) == Verdict::Allowed => {
            let denied = load(b"\ndeny all").expect("one more line that is in order");
            assert!(matches!(denied.verdict(br0), Verdict::Denied(_)));
        }
        Ok(acl) => {
            let acl_and_more = load(b"\ndeny br1").map(|acl| acl.verdict(br0));
            assert_eq!(acl_and_more, Ok(acl.verdict(br0)));
        }
        Err(error) => {
            let text = Error::from(ConfigError::Acl(error)).to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
});
