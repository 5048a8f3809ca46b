//! The bodies of the fuzz targets in fuzz/, one for each parser. They are here because the parsers are private.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is what a fuzzer looks for"
)]

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::acl::{Acl, Verdict};
use crate::config::args::{Command, IfupAction, parse_ifdown, parse_ifup};
use crate::config::error::{ConfigError, UsageError};
use crate::error::Error;
use crate::model::if_name::IfName;
use crate::model::spec::{NameOrId, TapAccess};
use crate::sys::file::Contents;
use crate::sys::netlink::link;
use crate::sys::netlink::link_parse::parse_link;
use crate::sys::netlink::socket::{NetlinkSocket, Transport};

/// The ACL and what it includes: the input is cut at each 0xff into the file itself and the included `/1`, `/2` ...
pub fn acl(data: &[u8]) {
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
}

/// The command line: the input is a choice of program and then words, each ended by a NUL as in /proc/self/cmdline.
pub fn argv(data: &[u8]) {
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
}

/// linux/rtnetlink.h and linux/netlink.h
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;

/// Says this, and then no more.
struct Says(Option<Vec<u8>>);

impl Transport for Says {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        let datagram = self.0.take().ok_or(io::ErrorKind::WouldBlock)?;
        into.extend(&datagram);
        Ok((datagram.len(), true))
    }
}

/// The answer to the first request, but for its body.
fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("a short body");
    let header = [length, kind.into(), 1, 0].map(u32::to_ne_bytes);
    [header.as_flattened(), body].concat()
}

/// What the kernel answers: the input is one datagram, or what stands behind the header of one that is in order.
pub fn netlink(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let datagram = match choice % 3 {
        0 => data.to_owned(),
        1 => answer(RTM_NEWLINK, data),
        _ => answer(NLMSG_ERROR, data),
    };
    let netlink = || NetlinkSocket::with_transport(Says(Some(datagram.clone())));

    let tap0 = IfName::new(b"tap0").expect("a name");
    if let Ok(link) = link::get_by_name(&mut netlink(), tap0) {
        assert_eq!(link.name, tap0);
        assert_eq!(parse_link(&datagram[16..]), Ok(link));
    }
    match link::delete(&mut netlink(), 1) {
        Ok(()) => assert_eq!(
            datagram[16..20],
            [0; 4],
            "done only where the error number is 0"
        ),
        Err(cause) => {
            let text = cause.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
    let _ = parse_link(data);
}
