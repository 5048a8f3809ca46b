//! What users and holders do at a stop, and root with a tap; and what may lawfully be different afterwards because of it.

use super::net;
use super::scenario::{Holder, Scenario};
use super::world::{Lasts, World};
use crate::common::users::{ALICE, MALLORY};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;

/// What an act may lawfully bring about by itself, whenever it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Another MAC.
    Mac,
    /// Another owner.
    Own,
    /// No tap, or another thing of its name.
    Gone,
    /// Down and in no bridge.
    Down,
    /// Up in another bridge.
    Move,
    /// Restricted by what root has written.
    Restrict,
    /// Not persistent.
    Unpersist,
    /// What stood in the way of success is gone.
    Cure,
    /// The act itself creates a tap, which is there although the program failed, and need not have what the program was
    /// asked for.
    Create,
    /// Another name.
    Rename,
    /// The program's end by this signal.
    Kill(Signal),
}

/// Who does what with a scenario's tap, while the program of that pid stands still.
type Deed = fn(&mut World, &'static str, Pid) -> io::Result<()>;

#[derive(Debug, Clone, Copy)]
pub struct Act {
    pub name: &'static str,
    pub deed: Deed,
    pub may: &'static [May],
}

impl Act {
    /// There is a holder, if it is the holder's.
    pub fn is_possible(&self, scenario: &Scenario) -> bool {
        scenario.holder != Holder::Nobody || !self.name.starts_with("the holder")
    }

    pub fn may(&self, what: May) -> bool {
        self.may.contains(&what)
    }
}

pub const NOTHING: Act = Act {
    name: "nobody acts",
    deed: |_, _, _| Ok(()),
    may: &[],
};

/// The name that root gives a tap.
pub const RENAMED: &str = "tapx9";

#[rustfmt::skip]
pub const ACTS: &[Act] = &[
    Act { name: "the holder floods during the next call", deed: |w, _, _| w.holder_floods(Lasts::OneCall), may: &[] },
    Act { name: "the holder floods from here on", deed: |w, _, _| w.holder_floods(Lasts::Throughout), may: &[] },
    Act { name: "Alice joins and floods during the next call", deed: |w, tap, _| w.alice_joins_and_floods(tap, Lasts::OneCall), may: &[] },
    Act { name: "Alice joins and floods from here on", deed: |w, tap, _| w.alice_joins_and_floods(tap, Lasts::Throughout), may: &[] },
    Act { name: "the holder writes a frame", deed: |w, _, _| w.holder_writes(), may: &[] },
    Act { name: "Alice opens a queue", deed: |w, tap, _| w.alice.open(tap, true), may: &[] },
    Act { name: "Alice opens it", deed: |w, tap, _| w.alice.open(tap, false), may: &[] },
    Act { name: "Mallory opens a queue", deed: |w, tap, _| w.mallory.open(tap, true), may: &[] },
    Act { name: "Mallory opens it", deed: |w, tap, _| w.mallory.open(tap, false), may: &[] },
    Act { name: "the holder switches the carrier off", deed: |w, _, _| w.of_holder(|tap| net::set_carrier(tap, false)), may: &[] },
    Act { name: "the holder switches the carrier on", deed: |w, _, _| w.of_holder(|tap| net::set_carrier(tap, true)), may: &[] },
    Act { name: "the holder detaches the queue", deed: |w, _, _| w.of_holder(|tap| net::detach_queue(tap)), may: &[] },
    Act { name: "the holder sets the MAC", deed: |w, _, _| w.of_holder(|tap| net::set_mac_behind(tap, [2, 0, 0, 0, 0, 1])), may: &[May::Mac] },
    Act { name: "the holder gives it to Mallory", deed: |w, _, _| w.of_holder(|tap| net::set_owner(tap, MALLORY)), may: &[May::Own] },
    Act { name: "the holder makes it not persistent", deed: |w, _, _| w.of_holder(|tap| net::set_persistent(tap, false)), may: &[May::Unpersist] },
    Act { name: "the holder closes it", deed: |w, _, _| w.holder_closes(), may: &[May::Cure, May::Gone] },
    Act { name: "Alice renames it", deed: |w, tap, _| w.alice.ask(move |_| net::rename(tap, RENAMED)), may: &[] },
    Act { name: "Alice terminates the program", deed: |w, _, pid| w.alice.ask(move |_| Ok(kill(pid, Signal::SIGTERM)?)), may: &[May::Kill(Signal::SIGTERM)] },
    Act { name: "Alice kills the program", deed: |w, _, pid| w.alice.ask(move |_| Ok(kill(pid, Signal::SIGKILL)?)), may: &[May::Kill(Signal::SIGKILL)] },
    Act { name: "Alice stops the program and continues it", deed: |w, _, pid| w.alice.ask(move |_| Ok(kill(pid, Signal::SIGSTOP).and_then(|()| kill(pid, Signal::SIGCONT))?)), may: &[] },
    Act { name: "Alice takes it down", deed: |w, tap, _| w.calls(ALICE, "qemu-ifdown", &[tap]), may: &[] },
    Act { name: "Alice deletes it", deed: |w, tap, _| w.calls(ALICE, "qemu-ifdown", &["--delete", tap]), may: &[May::Gone, May::Cure] },
    Act { name: "Alice moves it", deed: |w, tap, _| w.calls(ALICE, "qemu-ifup", &["--bridge", "br1", tap]), may: &[May::Create] },
    Act { name: "Alice brings it up", deed: |w, tap, _| w.calls(ALICE, "qemu-ifup", &["--bridge", "br0", tap]), may: &[May::Create] },
    Act { name: "Alice makes it anew", deed: |w, tap, _| {
        w.calls(ALICE, "qemu-ifdown", &["--delete", tap])?;
        w.calls(ALICE, "qemu-ifup", &["--bridge", "br0", tap])
    }, may: &[May::Gone, May::Cure, May::Create] },
    Act { name: "Mallory takes it down", deed: |w, tap, _| w.calls(MALLORY, "qemu-ifdown", &[tap]), may: &[] },
    Act { name: "Mallory deletes it", deed: |w, tap, _| w.calls(MALLORY, "qemu-ifdown", &["--delete", tap]), may: &[] },
    Act { name: "Mallory moves it", deed: |w, tap, _| w.calls(MALLORY, "qemu-ifup", &["--bridge", "br1", tap]), may: &[May::Create] },
    Act { name: "root renames it", deed: |_, tap, _| net::rename(tap, RENAMED), may: &[May::Rename, May::Cure, May::Gone] },
    Act { name: "root removes it", deed: |w, tap, _| w.root_removes(tap), may: &[May::Gone, May::Cure] },
    Act { name: "root makes a bridge of its name and number", deed: |w, tap, _| w.root_replaces(tap), may: &[May::Gone, May::Cure, May::Create] },
];
