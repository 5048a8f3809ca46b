//! What the kernel answers: the input is one datagram, or what stands behind the header of one that is in order.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use qemu_ifup::model::if_name::IfName;
use qemu_ifup::sys::netlink::link;
use qemu_ifup::sys::netlink::link_parse::parse_link;
use qemu_ifup::sys::netlink::socket::{NetlinkSocket, Transport};

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

fuzz_target!(|data: &[u8]| {
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
});
