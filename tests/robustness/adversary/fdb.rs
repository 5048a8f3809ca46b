//! The entries of a bridge's forwarding database.

use super::net::{Rtnetlink, attributes, u16_at, u32_at};

/// A MAC that a bridge keeps for a port for ever (`static` in bridge(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The port's ifindex.
    pub port: u32,
    pub mac: [u8; 6],
}

/// Of linux/neighbour.h.
const NDA_LLADDR: u16 = 2;
const NUD_NOARP: u16 = 0x40;

impl Rtnetlink {
    /// The static entries of all bridges.
    pub fn entries(&mut self) -> Vec<Entry> {
        // An ifinfomsg: the kernel takes no other header for this table.
        let mut question = vec![0; 16];
        question[0] = u8::try_from(libc::AF_BRIDGE).unwrap();
        let answer = self.dump(libc::RTM_GETNEIGH, &question);
        answer.iter().filter_map(|body| parse(body)).collect()
    }
}

/// Of an ndmsg and its attributes.
fn parse(body: &[u8]) -> Option<Entry> {
    let is_static = u16_at(body, 8) & NUD_NOARP != 0;
    let mac = attributes(&body[12..]).find(|(kind, _)| *kind == NDA_LLADDR);
    let entry = Entry {
        port: u32_at(body, 4),
        mac: mac?.1.try_into().ok()?,
    };
    is_static.then_some(entry)
}
