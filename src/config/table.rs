//! [`OPTIONS`]: every option, a row each. Parsing, `--help`, the rules for unprivileged users, the completions, the OPTIONS of the
//! manual pages and the block in docs/command-line.md come from these rows.
//!
//! A new switch of the bridge port is a row here, a variant in model/bridge.rs and its number in sys/netlink/link_parse.rs.
//! `QEMU_IFUP_WRITE=1 cargo test --lib options` then writes the other files.

use lexopt::Arg;

use crate::config::program::Program;
use crate::model::bridge::PortOption;

#[derive(Debug)]
pub(crate) struct OptionRow {
    pub(crate) id: OptionId,
    pub(crate) short: Option<char>,
    /// Without the two hyphens.
    pub(crate) long: &'static str,
    /// Another spelling, which only QEMU uses.
    pub(crate) alias: Option<&'static str>,
    pub(crate) opposite: Option<&'static str>,
    pub(crate) value: Option<Value>,
    /// What follows the option in `--help`, on one line.
    pub(crate) help: &'static str,
    /// Whether an unprivileged user may give it on the command line.
    pub(crate) users: Users,
    pub(crate) group: Group,
}

/// The options that are about a tap can be given in /etc/qemu-ifup.conf as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionId {
    Help,
    Version,
    DryRun,
    Verbose,
    Quiet,
    Delete,
    Check,
    Json,
    Strict,
    Fd,
    UseVnet,
    Tap(TapOption),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TapOption {
    Bridge,
    CreateBridge,
    Address,
    Owner,
    Group,
    MultiQueue,
    Mtu,
    Port(PortOption),
    LockMac,
    NoLockMac,
    Pvid,
    Vlans,
    Qdisc,
    Wait,
    MaxTaps,
}

/// The value of an option: its name in `--help`, and what a shell completes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) completion: Completion,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Completion {
    Nothing,
    Bridges,
    Users,
    Groups,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test writes the completions"))]
    Words(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    Allowed,
    /// The opposite is the administrator's.
    NoOpposite,
    /// It shapes the network rather than a tap: the administrator gives it to users in the configuration.
    Administrator,
}

/// The options of `--help` stand in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Bridge,
    Tap,
    Port,
    Diagnosis,
    Helper,
    Output,
}

impl Group {
    pub(crate) const ALL: [Self; 6] = [
        Self::Bridge,
        Self::Tap,
        Self::Port,
        Self::Diagnosis,
        Self::Helper,
        Self::Output,
    ];

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Bridge => "Bridge",
            Self::Tap => "Tap",
            Self::Port => "Bridge port",
            Self::Diagnosis => "Diagnosis",
            Self::Helper => "Bridge helper, run by QEMU",
            Self::Output => "Output",
        }
    }
}

const fn free(name: &'static str) -> Option<Value> {
    Some(Value {
        name,
        completion: Completion::Nothing,
    })
}

const fn value(name: &'static str, completion: Completion) -> Option<Value> {
    Some(Value { name, completion })
}

/// The fields that most rows leave out.
const ROW: OptionRow = OptionRow {
    id: OptionId::Help,
    short: None,
    long: "",
    alias: None,
    opposite: None,
    value: None,
    help: "",
    users: Users::Allowed,
    group: Group::Output,
};

/// An option of the bridge port, which is the administrator's.
const fn port(
    option: PortOption,
    long: &'static str,
    opposite: &'static str,
    help: &'static str,
) -> OptionRow {
    OptionRow {
        id: OptionId::Tap(TapOption::Port(option)),
        long,
        opposite: Some(opposite),
        help,
        users: Users::Administrator,
        group: Group::Port,
        ..ROW
    }
}

/// All options, in the order of `--help`.
pub(crate) const OPTIONS: &[OptionRow] = &[
    OptionRow {
        id: OptionId::Tap(TapOption::Bridge),
        short: Some('b'),
        long: "bridge",
        alias: Some("br"),
        value: value("NAME", Completion::Bridges),
        help: "bridge to attach to (alias: --br). Default: BRIDGE if the program is run as qemu-ifup.BRIDGE, else from /etc/qemu-ifup.conf, else br0",
        group: Group::Bridge,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::CreateBridge),
        long: "create-bridge",
        opposite: Some("no-create-bridge"),
        help: "create the bridge if it does not exist (up, with a fixed MAC, STP off)",
        users: Users::Administrator,
        group: Group::Bridge,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Address),
        long: "address",
        value: free("A/LEN"),
        help: "IPv4 or IPv6 address for a bridge that --create-bridge creates; can be repeated",
        users: Users::Administrator,
        group: Group::Bridge,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Owner),
        short: Some('u'),
        long: "owner",
        value: value("USER", Completion::Users),
        help: "owner of the tap, name or uid (default: the invoking user)",
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Group),
        short: Some('g'),
        long: "group",
        value: value("GROUP", Completion::Groups),
        help: "let the members of GROUP open the tap (instead of --owner)",
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::MultiQueue),
        long: "multi-queue",
        opposite: Some("no-multi-queue"),
        help: "create a multi-queue tap (for QEMU's queues=N)",
        users: Users::Administrator,
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Mtu),
        long: "mtu",
        value: free("N"),
        help: "MTU of the tap (default: the bridge's)",
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Qdisc),
        long: "qdisc",
        value: value("KIND", Completion::Words(&["noqueue", "default"])),
        help: "queueing discipline of a new tap: noqueue, or default for the kernel's default (default: noqueue)",
        users: Users::Administrator,
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::MaxTaps),
        long: "max-taps",
        value: free("N"),
        help: "in /etc/qemu-ifup.conf: maximum number of taps for each unprivileged user (default: 64)",
        users: Users::Administrator,
        group: Group::Tap,
        ..ROW
    },
    // A user who isolates their own guest takes nothing from other guests.
    OptionRow {
        users: Users::NoOpposite,
        ..port(
            PortOption::Isolated,
            "isolated",
            "no-isolated",
            "block traffic between this port and other isolated ports. Unknown unicast from the uplink still reaches the port, unless --no-flood or --lock-mac is set",
        )
    },
    port(
        PortOption::Guard,
        "guard",
        "no-guard",
        "disable the port if the guest sends a BPDU (only if STP is on)",
    ),
    port(
        PortOption::RootBlock,
        "root-block",
        "no-root-block",
        "never make this port the root port (STP)",
    ),
    port(
        PortOption::Learning,
        "no-learning",
        "learning",
        "do not learn MACs from the guest's frames",
    ),
    port(
        PortOption::Flood,
        "no-flood",
        "flood",
        "do not flood unicast for unknown MACs to the guest",
    ),
    port(
        PortOption::McastFlood,
        "no-mcast-flood",
        "mcast-flood",
        "send multicast to the guest only for groups that it has joined",
    ),
    port(
        PortOption::NeighSuppress,
        "neigh-suppress",
        "no-neigh-suppress",
        "let the bridge answer ARP and ND requests for known hosts instead of forwarding them to the guest",
    ),
    OptionRow {
        id: OptionId::Tap(TapOption::LockMac),
        long: "lock-mac",
        value: free("MAC"),
        help: "accept frames only from MAC (the guest's MAC); implies --no-learning, --no-flood and --guard (needs Linux 5.18)",
        users: Users::Administrator,
        group: Group::Port,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::NoLockMac),
        long: "no-lock-mac",
        help: "undo --lock-mac: accept frames from any MAC",
        users: Users::Administrator,
        group: Group::Port,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Pvid),
        long: "pvid",
        value: free("VID"),
        help: "untagged VLAN of the port",
        users: Users::Administrator,
        group: Group::Port,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Vlans),
        long: "vlans",
        value: free("LIST"),
        help: "tagged VLANs of the port, e.g. 10,20-29",
        users: Users::Administrator,
        group: Group::Port,
        ..ROW
    },
    OptionRow {
        id: OptionId::Tap(TapOption::Wait),
        long: "wait",
        value: free("SECONDS"),
        help: "wait until the port forwards (STP); fail after SECONDS",
        group: Group::Port,
        ..ROW
    },
    OptionRow {
        id: OptionId::Check,
        long: "check",
        help: "change nothing; report problems with this host, the bridge or the tap, and how to fix them (IFNAME is optional)",
        group: Group::Diagnosis,
        ..ROW
    },
    OptionRow {
        id: OptionId::Json,
        long: "json",
        help: "with --check: print a JSON array with one object per finding",
        group: Group::Diagnosis,
        ..ROW
    },
    OptionRow {
        id: OptionId::Strict,
        long: "strict",
        help: "with --check: exit with a nonzero code for warnings, too",
        group: Group::Diagnosis,
        ..ROW
    },
    OptionRow {
        id: OptionId::Fd,
        long: "fd",
        value: free("N"),
        help: "act as QEMU's bridge helper: create a tap and pass it to QEMU over socket N (IFNAME is optional)",
        group: Group::Helper,
        ..ROW
    },
    OptionRow {
        id: OptionId::UseVnet,
        long: "use-vnet",
        help: "with --fd: create the tap with IFF_VNET_HDR (checksum and segmentation offload)",
        group: Group::Helper,
        ..ROW
    },
    OptionRow {
        id: OptionId::Delete,
        long: "delete",
        help: "also delete the tap, if it is persistent",
        group: Group::Tap,
        ..ROW
    },
    OptionRow {
        id: OptionId::DryRun,
        short: Some('n'),
        long: "dry-run",
        help: "change nothing; print the steps as ip(8) commands",
        ..ROW
    },
    OptionRow {
        id: OptionId::Verbose,
        short: Some('v'),
        long: "verbose",
        help: "print each step as it is done",
        ..ROW
    },
    OptionRow {
        id: OptionId::Quiet,
        short: Some('q'),
        long: "quiet",
        help: "print errors only",
        ..ROW
    },
    OptionRow {
        id: OptionId::Help,
        short: Some('h'),
        long: "help",
        help: "print this help",
        ..ROW
    },
    OptionRow {
        id: OptionId::Version,
        short: Some('V'),
        long: "version",
        help: "print the version",
        ..ROW
    },
];

/// An option as it was given: the row, and the spelling without the hyphens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) row: &'static OptionRow,
    pub(crate) name: &'static str,
}

impl Given {
    pub(crate) fn is_opposite(self) -> bool {
        self.row.opposite == Some(self.name)
    }

    /// Whether it switches something on: `--no-learning` and `--no-isolated` do not.
    pub(crate) fn is_on(self) -> bool {
        !self.name.starts_with("no-")
    }

    /// Whether an unprivileged user may give it on the command line.
    pub(crate) fn is_for_users(self) -> bool {
        match self.row.users {
            Users::Allowed => true,
            Users::NoOpposite => !self.is_opposite(),
            Users::Administrator => false,
        }
    }
}

impl OptionRow {
    /// The only program that has it; None if both have.
    pub(crate) fn only_program(&self) -> Option<Program> {
        match self.id {
            OptionId::Help
            | OptionId::Version
            | OptionId::DryRun
            | OptionId::Verbose
            | OptionId::Quiet => None,
            OptionId::Delete => Some(Program::Ifdown),
            OptionId::Check
            | OptionId::Json
            | OptionId::Strict
            | OptionId::Fd
            | OptionId::UseVnet
            | OptionId::Tap(_) => Some(Program::Ifup),
        }
    }

    /// Its long spellings: its own, and that of its opposite.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.long].into_iter().chain(self.opposite)
    }
}

pub(crate) fn options_of(program: Program) -> impl Iterator<Item = &'static OptionRow> {
    let has = move |row: &&OptionRow| row.only_program().is_none_or(|only| only == program);
    OPTIONS.iter().filter(has)
}

/// The option of a program that was given.
pub(crate) fn find(arg: &Arg<'_>, program: Program) -> Option<Given> {
    options_of(program).find_map(|row| {
        let name = match arg {
            Arg::Short(letter) => row.short.filter(|short| short == letter).map(|_| row.long),
            Arg::Long(word) if row.alias == Some(word) => Some(row.long),
            Arg::Long(word) => row.names().find(|name| name == word),
            Arg::Value(_) => None,
        };
        name.map(|name| Given { row, name })
    })
}

/// How an option of the bridge port is spelled, without the hyphens.
pub(crate) fn port_option(option: PortOption, on: bool) -> &'static str {
    let of_option = |row: &&OptionRow| row.id == OptionId::Tap(TapOption::Port(option));
    let mut names = OPTIONS.iter().filter(of_option).flat_map(OptionRow::names);
    let name = names.find(|name| name.starts_with("no-") != on);
    name.unwrap_or(option.as_str())
}
