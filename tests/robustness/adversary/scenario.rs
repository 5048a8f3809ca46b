//! What the programs are called for: every mode, by root and by a user.

use super::bound::{FOUR, LOCK};
use crate::common::users::{ALICE, BOB};

/// A tap that is there before.
#[derive(Debug, Clone, Copy)]
pub struct Tap {
    pub owner: Option<u32>,
    pub multi_queue: bool,
    /// The bridge that it is up in; else it is down.
    pub bridge: Option<&'static str>,
    pub persistent: bool,
}

/// Who has it open before, with one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Alice,
    Mallory,
    /// A QEMU of root's, whose guest can write frames and nothing else.
    Qemu,
}

/// What the program inherits as descriptor 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    Nothing,
    /// The holder's tap, as from QEMU.
    Tap,
    /// A tap of the same name in another network.
    Forged,
    /// A socket to hand a tap over by.
    Socket,
}

/// How it ends when nobody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Done,
    Refused,
    /// Refused with this exit code.
    With(i32),
    /// Whichever; only "done" has to be true.
    Either,
}

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub program: &'static str,
    pub args: &'static [&'static str],
    pub caller: u32,
    pub tap: Option<Tap>,
    pub holder: Holder,
    pub handed: Handed,
    pub conf: &'static str,
    pub ends: Ends,
    /// Whose the tap is to be.
    pub owner: u32,
    /// That is what was asked for, not just what follows where nothing is said.
    pub owner_asked: bool,
    pub bridge: &'static str,
    pub isolated: bool,
}

impl Scenario {
    pub fn tap_name(&self) -> &'static str {
        if self.handed == Handed::Socket {
            "tap0" // of the kernel's choosing
        } else {
            "tap7"
        }
    }

    /// The run is a user's, who changes nothing that exists.
    pub fn is_users(&self) -> bool {
        self.caller != 0
    }

    pub fn is_refused(&self) -> bool {
        matches!(self.ends, Ends::Refused | Ends::With(_))
    }

    pub fn is_up(&self) -> bool {
        self.program == "qemu-ifup"
    }

    pub fn deletes(&self) -> bool {
        self.args.contains(&"--delete")
    }

    pub fn makes_bridge(&self) -> bool {
        self.bridge == NEW_BRIDGE
    }

    pub fn wants_lock(&self) -> bool {
        self.conf.contains("--lock-mac")
    }

    pub fn wants_queues(&self) -> bool {
        self.args.contains(&"--multi-queue") || self.conf.contains("--multi-queue")
    }
}

/// There is none of that name.
pub const NEW_BRIDGE: &str = "br7";
/// The uids as options take them.
const FOR_ALICE: &str = "54321";
const FOR_BOB: &str = "54322";

/// Fresh, by Alice.
pub const PLAIN: Scenario = Scenario {
    name: "",
    program: "qemu-ifup",
    args: &["tap7"],
    caller: ALICE,
    tap: None,
    holder: Holder::Nobody,
    handed: Handed::Nothing,
    conf: "",
    ends: Ends::Done,
    owner: ALICE,
    owner_asked: false,
    bridge: "br0",
    isolated: false,
};
const ROOTS: Scenario = Scenario {
    caller: 0,
    owner: 0,
    ..PLAIN
};
const ROOTS_FOR_ALICE: Scenario = Scenario {
    args: &["--owner", FOR_ALICE, "tap7"],
    caller: 0,
    owner_asked: true,
    ..PLAIN
};
const ROOTS_FOR_BOB: Scenario = Scenario {
    args: &["--owner", FOR_BOB, "tap7"],
    caller: 0,
    owner: BOB,
    owner_asked: true,
    ..PLAIN
};
const DOWN: Scenario = Scenario {
    program: "qemu-ifdown",
    tap: Some(UP),
    holder: Holder::Alice,
    ..PLAIN
};
const DELETE: Scenario = Scenario {
    args: &["--delete", "tap7"],
    ..DOWN
};

/// Down and idle.
pub const HERS: Tap = Tap {
    owner: Some(ALICE),
    multi_queue: false,
    bridge: None,
    persistent: true,
};
const HERS_QUEUES: Tap = Tap {
    multi_queue: true,
    ..HERS
};
const UP: Tap = Tap {
    bridge: Some("br0"),
    ..HERS
};
const UP_QUEUES: Tap = Tap {
    multi_queue: true,
    ..UP
};
const UP_ELSEWHERE: Tap = Tap {
    bridge: Some("br1"),
    ..HERS
};
const NOBODYS: Tap = Tap {
    owner: None,
    ..HERS
};
const NOBODYS_QUEUES: Tap = Tap {
    multi_queue: true,
    ..NOBODYS
};
const QEMUS: Tap = Tap {
    persistent: false,
    ..NOBODYS
};
const QEMUS_QUEUES: Tap = Tap {
    persistent: false,
    ..NOBODYS_QUEUES
};

/// It exists, and is not as the user wants it: a user changes nothing.
const DIFFERS: Ends = Ends::With(5);
/// Root has not given it to the user.
const NOT_THEIRS: Ends = Ends::With(3);

#[rustfmt::skip]
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "fresh, a user", ..PLAIN },
    Scenario { name: "fresh, root", ..ROOTS },
    Scenario { name: "fresh, root for Alice", ..ROOTS_FOR_ALICE },
    Scenario { name: "fresh with queues, a user", args: &["tap7"], conf: "* --multi-queue\n", ..PLAIN },
    Scenario { name: "fresh with queues, root", args: &["--multi-queue", "tap7"], ..ROOTS },
    Scenario { name: "fresh with queues, root for Alice", args: &["--multi-queue", "--owner", FOR_ALICE, "tap7"], ..ROOTS_FOR_ALICE },
    Scenario { name: "fresh and isolated, a user", args: &["--isolated", "tap7"], isolated: true, ..PLAIN },
    Scenario { name: "fresh and locked, a user", conf: LOCK, ..PLAIN },

    Scenario { name: "held, a user", tap: Some(HERS), holder: Holder::Alice, ends: DIFFERS, ..PLAIN },
    Scenario { name: "held, root", tap: Some(HERS), holder: Holder::Alice, caller: 0, ..PLAIN },
    Scenario { name: "held and isolated, a user", args: &["--isolated", "tap7"], tap: Some(HERS), holder: Holder::Alice, isolated: true, ends: DIFFERS, ..PLAIN },
    Scenario { name: "held and locked, a user", conf: LOCK, tap: Some(HERS), holder: Holder::Alice, ends: DIFFERS, ..PLAIN },
    Scenario { name: "held with queues, a user", tap: Some(HERS_QUEUES), holder: Holder::Alice, ends: DIFFERS, ..PLAIN },
    Scenario { name: "held and passed on, a user", tap: Some(HERS), holder: Holder::Alice, handed: Handed::Tap, ends: DIFFERS, ..PLAIN },
    Scenario { name: "QEMU's, root", tap: Some(QEMUS), holder: Holder::Qemu, handed: Handed::Tap, ..ROOTS },
    Scenario { name: "QEMU's with queues, root", tap: Some(QEMUS_QUEUES), holder: Holder::Qemu, handed: Handed::Tap, ..ROOTS },
    Scenario { name: "QEMU's with queues, root for Alice", tap: Some(QEMUS_QUEUES), holder: Holder::Qemu, handed: Handed::Tap, ..ROOTS_FOR_ALICE },

    Scenario { name: "idle, a user", tap: Some(HERS), ends: DIFFERS, ..PLAIN },
    Scenario { name: "idle and nobody's, root for Alice", tap: Some(NOBODYS), ..ROOTS_FOR_ALICE },
    Scenario { name: "idle and nobody's with queues, root for Alice", tap: Some(NOBODYS_QUEUES), ..ROOTS_FOR_ALICE },

    Scenario { name: "to be moved, a user", args: &["--bridge", "br0", "tap7"], tap: Some(UP_ELSEWHERE), holder: Holder::Alice, ends: DIFFERS, ..PLAIN },
    Scenario { name: "moved, root", tap: Some(UP_ELSEWHERE), holder: Holder::Alice, caller: 0, ..PLAIN },
    Scenario { name: "to be moved and isolated, a user", args: &["--isolated", "--bridge", "br0", "tap7"], tap: Some(UP_ELSEWHERE), holder: Holder::Alice, isolated: true, ends: DIFFERS, ..PLAIN },

    Scenario { name: "as wanted, a user", tap: Some(UP), holder: Holder::Alice, ..PLAIN },
    Scenario { name: "as wanted and idle, a user", tap: Some(UP), ..PLAIN },
    Scenario { name: "as wanted with queues, a user", tap: Some(UP_QUEUES), ..PLAIN },
    Scenario { name: "as wanted elsewhere, a user", tap: Some(UP_ELSEWHERE), bridge: "br1", ..PLAIN },
    Scenario { name: "up and not isolated, a user", args: &["--isolated", "tap7"], tap: Some(UP), isolated: true, ends: DIFFERS, ..PLAIN },
    Scenario { name: "up and not as bound, a user", conf: FOUR, tap: Some(UP), isolated: true, ends: DIFFERS, ..PLAIN },
    Scenario { name: "fresh with four options, a user", conf: FOUR, isolated: true, ..PLAIN },

    Scenario { name: "helper, a user", args: &["--br=br0", "--fd=5"], handed: Handed::Socket, ..PLAIN },
    Scenario { name: "helper, root", args: &["--br=br0", "--fd=5"], handed: Handed::Socket, ..ROOTS },

    Scenario { name: "new bridge, root", args: &["--create-bridge", "--address", "198.51.100.1/24", "--bridge", NEW_BRIDGE, "tap7"], bridge: NEW_BRIDGE, ..ROOTS },
    Scenario { name: "new bridge, a user", args: &["--bridge", NEW_BRIDGE, "tap7"], conf: "* --create-bridge --bridge br7\n", bridge: NEW_BRIDGE, ..PLAIN },
    Scenario { name: "new bridge, held, a user", args: &["--bridge", NEW_BRIDGE, "tap7"], conf: "* --create-bridge --bridge br7\n", bridge: NEW_BRIDGE, tap: Some(HERS), holder: Holder::Alice, ends: Ends::Refused, ..PLAIN },

    Scenario { name: "Alice's given to Bob, root", tap: Some(UP_QUEUES), ..ROOTS_FOR_BOB },
    Scenario { name: "Alice's given to Bob while she holds it, root", tap: Some(UP), holder: Holder::Alice, ends: Ends::Refused, ..ROOTS_FOR_BOB },
    Scenario { name: "Alice's with queues given to Bob while she holds it, root", tap: Some(UP_QUEUES), holder: Holder::Alice, ends: Ends::Refused, ..ROOTS_FOR_BOB },
    Scenario { name: "nobody's with Mallory inside, root for Alice", tap: Some(NOBODYS_QUEUES), holder: Holder::Mallory, ends: Ends::Refused, ..ROOTS_FOR_ALICE },

    Scenario { name: "forged, root for Alice", tap: Some(NOBODYS_QUEUES), handed: Handed::Forged, ends: Ends::Either, ..ROOTS_FOR_ALICE },
    Scenario { name: "forged with Mallory inside, root for Alice", tap: Some(NOBODYS_QUEUES), holder: Holder::Mallory, handed: Handed::Forged, ends: Ends::Refused, ..ROOTS_FOR_ALICE },
    Scenario { name: "forged, Alice's given to Bob while she holds it, root", tap: Some(UP), holder: Holder::Alice, handed: Handed::Forged, ends: Ends::Refused, ..ROOTS_FOR_BOB },
    Scenario { name: "forged and fresh, a user", handed: Handed::Forged, ends: Ends::Either, ..PLAIN },
    Scenario { name: "forged and hers, a user", tap: Some(HERS), handed: Handed::Forged, ends: Ends::Either, ..PLAIN },

    Scenario { name: "down, a user", ..DOWN },
    Scenario { name: "down, root", caller: 0, ..DOWN },
    Scenario { name: "removed, a user", holder: Holder::Nobody, ..DELETE },
    Scenario { name: "removed with queues, a user", tap: Some(UP_QUEUES), holder: Holder::Nobody, ..DELETE },
    Scenario { name: "to be removed with queues while it is held, a user", tap: Some(UP_QUEUES), ends: DIFFERS, ..DELETE },
    Scenario { name: "to be removed while it is held, a user", ends: DIFFERS, ..DELETE },
    Scenario { name: "down and removed, idle, root", caller: 0, holder: Holder::Nobody, ..DELETE },

    Scenario { name: "Bob's, a user", tap: Some(Tap { owner: Some(BOB), ..UP }), ends: NOT_THEIRS, ..PLAIN },
    Scenario { name: "Bob's taken down, a user", tap: Some(Tap { owner: Some(BOB), ..UP }), holder: Holder::Nobody, ends: NOT_THEIRS, ..DOWN },
    Scenario { name: "Bob's deleted, a user", tap: Some(Tap { owner: Some(BOB), ..UP }), holder: Holder::Nobody, ends: NOT_THEIRS, ..DELETE },
    Scenario { name: "up in a bridge that is not allowed, a user", tap: Some(Tap { bridge: Some("br8"), ..UP }), bridge: "br8", ..PLAIN },
    Scenario { name: "out of a bridge that is not allowed, a user", args: &["--bridge", "br0", "tap7"], tap: Some(Tap { bridge: Some("br8"), ..UP }), holder: Holder::Alice, ends: DIFFERS, ..PLAIN },
    Scenario { name: "to a bridge that is not allowed, a user", args: &["--bridge", "br8", "tap7"], ends: NOT_THEIRS, bridge: "br8", ..PLAIN },
];
