//! A root who takes rights away while a user's run stands still.

use super::acts::{Act, May};
use super::bound::ISOLATED;
use super::net::{self, Change, Link};
use super::tracer::{ACL, CONF};
use super::world::World;
use crate::common::users::BOB;
use std::io;

/// What a run that looks afterwards must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// It attaches nothing.
    Bridge,
    /// It attaches nothing without what this line binds.
    Line(&'static str),
    /// It attaches nothing: a line gives the tap to another user.
    Tap,
}

impl Takes {
    /// The file that says so.
    pub fn file(self) -> &'static str {
        if self == Self::Bridge { ACL } else { CONF }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Right {
    pub act: Act,
    pub takes: Takes,
}

/// Of one of root's decisions about a tap that is there. The stopped run has to leave it at that.
const fn tap(act: Act) -> Right {
    Right {
        act,
        takes: Takes::Nothing,
    }
}

/// The tap is no longer what the options were set for, and goes up with them all the same or not at all.
const ANEW: Act = Act {
    name: "root takes it out and puts it back while it is down",
    deed: |w, tap, _| w.root_puts_back(tap),
    may: &[],
};

#[rustfmt::skip]
pub const RIGHTS: &[Right] = &[
    tap(Act { name: "root gives it to Bob", deed: |w, tap, _| w.root_gives(tap, BOB), may: &[May::Own] }),
    tap(Act { name: "root gives it to Bob in a bridge that is not allowed", deed: |w, tap, _| {
        w.root_gives(tap, BOB)?;
        w.root_attaches(tap, "br8")
    }, may: &[May::Own, May::Move] }),
    tap(Act { name: "root gives it to Bob and takes it out", deed: |w, tap, _| {
        w.root_gives(tap, BOB)?;
        w.root_takes_out(tap)
    }, may: &[May::Own, May::Down] }),
    tap(Act { name: "root puts it into a bridge that is not allowed", deed: |w, tap, _| w.root_attaches(tap, "br8"), may: &[May::Move, May::Cure] }),
    tap(Act { name: "root takes it out", deed: |w, tap, _| w.root_takes_out(tap), may: &[May::Down] }),
    tap(ANEW),
    Right { act: Act { name: "root denies all bridges", deed: |w, _, _| { w.root_denies(); Ok(()) }, may: &[] }, takes: Takes::Bridge },
    Right { act: Act { name: "root isolates all", deed: |w, _, _| { w.root_adds(ISOLATED); Ok(()) }, may: &[May::Restrict] }, takes: Takes::Line(ISOLATED) },
    Right { act: Act { name: "root's line gives it to Bob", deed: |w, _, _| { w.root_adds(BOBS); Ok(()) }, may: &[May::Own] }, takes: Takes::Tap },
    Right { act: Act { name: "root denies all bridges and takes it out", deed: |w, tap, _| {
        w.root_denies();
        w.root_takes_out(tap)
    }, may: &[May::Down] }, takes: Takes::Bridge },
];

const BOBS: &str = "tap[07] --owner 54322\n";

const DOWN: (Option<bool>, Option<u32>) = (Some(false), None);

impl World {
    fn tap(&mut self, name: &str) -> io::Result<Link> {
        let link = self.find(name).filter(|link| link.tun.is_some());
        link.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// As far as nobody holds its only queue.
    fn root_gives(&mut self, name: &str, uid: u32) -> io::Result<()> {
        let tun = self.tap(name)?.tun;
        let tap = net::open_tap(name, tun.is_some_and(|tun| tun.multi_queue))?;
        net::set_owner(&tap, uid)
    }

    fn root_attaches(&mut self, name: &str, bridge: &str) -> io::Result<()> {
        let tap = self.tap(name)?;
        let bridge = self.find(bridge).ok_or(io::ErrorKind::NotFound)?;
        // Down, so that it is never up in no bridge on its way.
        let then_up = (Some(true), None);
        self.change_in_turn(tap.index, &[DOWN, (None, Some(bridge.index)), then_up])
    }

    /// Each change after the other: whether the tap is up, and what it is a port of.
    fn change_in_turn(
        &mut self,
        index: u32,
        changes: &[(Option<bool>, Option<u32>)],
    ) -> io::Result<()> {
        for &(up, master) in changes {
            let change = Change {
                up,
                master,
                ..Change::default()
            };
            self.rtnetlink.change(index, change)?;
        }
        Ok(())
    }

    fn root_takes_out(&mut self, name: &str) -> io::Result<()> {
        let tap = self.tap(name)?;
        self.change_in_turn(tap.index, &[DOWN, (None, Some(0))])
    }

    fn root_puts_back(&mut self, name: &str) -> io::Result<()> {
        let tap = self.tap(name)?;
        let bridge = tap.master.filter(|_| !tap.up);
        let bridge = bridge.ok_or(io::ErrorKind::Unsupported)?;
        for master in [0, bridge] {
            let change = Change {
                master: Some(master),
                ..Change::default()
            };
            self.rtnetlink.change(tap.index, change)?;
        }
        Ok(())
    }

    fn root_denies(&mut self) {
        self.write_acl("deny all\nallow br0\nallow br1\nallow br7\n");
    }

    /// One line more in the configuration.
    fn root_adds(&mut self, line: &str) {
        let conf = format!("{}{line}", self.conf.as_deref().unwrap_or_default());
        self.write_conf(&conf);
    }
}
