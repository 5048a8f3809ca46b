//! `--check`: what is wrong with this host, bridge or tap, and the command that mends it. Pure: what was seen comes in,
//! findings go out.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use nix::errno::Errno;

use crate::acl::{ACL_FILE, Verdict};
use crate::caller::Authority;
use crate::conf::CONF_FILE;
use crate::error::{Error, ExitCode};
use crate::facts::{AddrGenMode, Kind, Link, Mac, TapInfo};
use crate::name::IfName;
use crate::text::{Escaped, ShellWord};

/// The ports that a bridge has room for (`BR_PORT_BITS` in the kernel's net/bridge/br_private.h, less one).
pub const MAX_PORTS: usize = 1023;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Some guests will not have all they expect.
    Warning,
    /// A guest will not start, or have no network; with the exit code that qemu-ifup has for it.
    Problem(ExitCode),
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// The command that mends it.
    pub mend: Option<String>,
}

impl Finding {
    /// An error that qemu-ifup would end with.
    pub fn of(error: &Error) -> Self {
        Self {
            level: Level::Problem(error.exit_code()),
            about: "qemu-ifup",
            what: error.to_string(),
            mend: error.hint(),
        }
    }
}

/// Who has a tap open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Its command.
    pub command: Vec<u8>,
}

impl Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", Escaped(&self.command), self.pid)
    }
}

/// A program that configures interfaces by itself, and what it says of the tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manager {
    /// The program.
    pub name: &'static str,
    /// It takes care of the tap.
    pub manages: bool,
    /// How it is told to leave taps alone.
    pub mend: &'static str,
}

/// Settings of the kernel that decide about forwarded frames; none where it has no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switches {
    /// Frames on bridges go through iptables (net.bridge.bridge-nf-call-iptables).
    pub bridge_nf: Option<bool>,
    /// IPv4 is forwarded (net.ipv4.ip_forward).
    pub ip_forward: Option<bool>,
}

/// What was seen of the bridge, if it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeView {
    /// The interface.
    pub link: Link,
    /// Its ports.
    pub ports: Vec<Link>,
    /// It has an address that is not link-local.
    pub has_address: bool,
    /// Its MAC was set and stays, whatever ports it has. None where that is not told.
    pub has_own_mac: Option<bool>,
}

impl BridgeView {
    /// A port through which other machines are reached: one that is no tap.
    fn uplink(&self) -> Option<&Link> {
        self.ports
            .iter()
            .find(|port| !matches!(port.kind, Kind::Tap(_)))
    }
}

/// What is known before the kernel is asked.
#[derive(Debug)]
pub struct Looked {
    /// What stands behind the caller.
    pub authority: Authority,
    /// His real uid.
    pub uid: u32,
    /// CAP_NET_ADMIN is there.
    pub net_admin: bool,
    /// Where the bridge comes from.
    pub bridge_from: &'static str,
    /// The lines of the configuration that apply.
    pub conf: Result<Vec<(usize, String)>, Error>,
    /// What the ACL says of the bridge to this caller; none where there is no ACL.
    pub acl: Result<Option<Verdict>, Error>,
    /// The name of the bridge.
    pub bridge_name: IfName,
    /// It is to be made where it is missing.
    pub creates_bridge: bool,
    /// The tap that is asked about, if one is.
    pub tap: Option<IfName>,
}

/// All that was seen.
#[derive(Debug)]
pub struct View {
    /// What was known before.
    pub looked: Looked,
    /// Opening /dev/net/tun.
    pub tun: Result<(), Errno>,
    /// What is there under the bridge's name.
    pub bridge: Option<Link>,
    /// The bridge, if it is one.
    pub bridge_view: Option<BridgeView>,
    /// All bridges.
    pub bridges: Vec<IfName>,
    /// Settings of the kernel.
    pub switches: Switches,
    /// The tap that was asked about, and what is there under its name.
    pub tap: Option<(IfName, Option<Link>)>,
    /// The tap has a link-local address.
    pub tap_has_address: bool,
    /// Who has it open.
    pub holder: Option<Holder>,
    /// Programs that may grab it.
    pub managers: Vec<Manager>,
}

/// Everything that is worth a line, in the order in which a guest depends on it.
pub fn findings(view: &View) -> Vec<Finding> {
    let mut all = Findings(Vec::new());
    all.privilege(view);
    all.tun(view);
    all.files(view);
    all.bridge(view);
    all.switches(view);
    all.tap(view);
    all.managers(view);
    all.0
}

/// The exit code for these findings: that of the first problem.
pub fn exit_code(findings: &[Finding]) -> ExitCode {
    let problem = findings.iter().find_map(|finding| match finding.level {
        Level::Problem(code) => Some(code),
        Level::Ok | Level::Warning => None,
    });
    problem.unwrap_or(ExitCode::Done)
}

struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(Level::Ok, about, what.into(), None);
    }

    fn warn(&mut self, about: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Level::Warning, about, what.into(), Some(mend.into()));
    }

    fn problem(
        &mut self,
        code: ExitCode,
        about: &'static str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(Level::Problem(code), about, what.into(), Some(mend.into()));
    }

    /// An error that qemu-ifup would end with.
    fn error(&mut self, about: &'static str, error: &Error) {
        self.0.push(Finding {
            about,
            ..Finding::of(error)
        });
    }

    fn add(&mut self, level: Level, about: &'static str, what: String, mend: Option<String>) {
        self.0.push(Finding {
            level,
            about,
            what,
            mend,
        });
    }

    fn privilege(&mut self, view: &View) {
        let about = "privilege";
        match (view.looked.authority, view.looked.net_admin) {
            (Authority::Root, true) => self.ok(about, "root, with CAP_NET_ADMIN"),
            (Authority::Lent, _) => self.ok(
                about,
                format!(
                    "uid {}, with CAP_NET_ADMIN lent by the program's file",
                    view.looked.uid
                ),
            ),
            (Authority::Root, false) => self.problem(
                ExitCode::NotPermitted,
                about,
                "root, but without CAP_NET_ADMIN (a container?)",
                "give the container that capability: --cap-add NET_ADMIN",
            ),
            (Authority::None, _) => self.problem(
                ExitCode::NotPermitted,
                about,
                format!("uid {}, without CAP_NET_ADMIN", view.looked.uid),
                "sudo qemu-ifup ..., or once: ./install.sh --setcap",
            ),
        }
    }

    fn tun(&mut self, view: &View) {
        let about = "/dev/net/tun";
        match view.tun {
            Ok(()) => self.ok(about, "can be opened"),
            Err(errno) => {
                let error = Error::Tun(errno);
                let code = Level::Problem(error.exit_code());
                self.add(code, about, errno.desc().to_owned(), error.hint());
            }
        }
    }

    fn files(&mut self, view: &View) {
        match &view.looked.conf {
            Ok(lines) => {
                for (line, text) in lines {
                    self.ok(
                        "configuration",
                        format!("{CONF_FILE}:{line} applies: {text}"),
                    );
                }
                self.ok(
                    "configuration",
                    format!(
                        "the bridge is {} ({})",
                        view.looked.bridge_name, view.looked.bridge_from
                    ),
                );
            }
            Err(error) => self.error("configuration", error),
        }
        let bridge = view.looked.bridge_name;
        let rule = [b"allow ", bridge.as_bytes()].concat();
        let add = format!("echo {} >> {ACL_FILE}", ShellWord(&rule));
        match (&view.looked.acl, view.looked.authority) {
            (Err(error), _) => self.error("ACL", error),
            (Ok(_), Authority::Root) => self.ok("ACL", "does not bind root"),
            (Ok(_), Authority::None) => {
                self.ok(
                    "ACL",
                    "not asked, since this program has no privilege to lend you",
                );
            }
            (Ok(Some(Verdict::Allowed)), Authority::Lent) => {
                self.ok("ACL", format!("{ACL_FILE} allows {bridge}"));
            }
            (Ok(Some(Verdict::Denied(place))), Authority::Lent) => self.problem(
                ExitCode::NotPermitted,
                "ACL",
                format!("{bridge} is denied by {place}"),
                "remove that line (as root), or use another bridge",
            ),
            (Ok(Some(Verdict::NotAllowed)), Authority::Lent) => self.problem(
                ExitCode::NotPermitted,
                "ACL",
                format!("no line of {ACL_FILE} allows {bridge}"),
                add,
            ),
            (Ok(None), Authority::Lent) => self.problem(
                ExitCode::NotPermitted,
                "ACL",
                format!("there is no {ACL_FILE}"),
                format!("mkdir -p /etc/qemu && {add}"),
            ),
        }
    }

    fn bridge(&mut self, view: &View) {
        let about = "bridge";
        let name = view.looked.bridge_name;
        let word = ShellWord(name.as_bytes());
        let (Some(link), bridge) = (&view.bridge, &view.bridge_view) else {
            if view.looked.creates_bridge {
                self.ok(about, format!("{name} does not exist and will be made"));
            } else {
                self.error(
                    about,
                    &Error::NoBridge {
                        name,
                        others: view.bridges.clone(),
                    },
                );
            }
            return;
        };
        let (Kind::Bridge(info), Some(bridge)) = (&link.kind, bridge) else {
            let kind = link.kind.to_string();
            return self.error(about, &Error::NotABridge { name, kind });
        };
        if link.up {
            let carrier = if link.carrier {
                ""
            } else {
                ", no carrier until a port has one"
            };
            self.ok(about, format!("{name} is up, MTU {}{carrier}", link.mtu));
        } else {
            self.problem(
                ExitCode::Bridge,
                about,
                format!("{name} is down: no frame passes"),
                format!("ip link set dev {word} up"),
            );
        }
        match (bridge.has_address, bridge.uplink()) {
            (_, Some(port)) => self.ok(about, format!("{name} has the uplink {}", port.name)),
            (true, None) => self.ok(about, format!("{name} has an address, and no uplink")),
            (false, None) => self.warn(
                about,
                format!(
                    "{name} has neither an address nor an uplink: guests reach each other only"
                ),
                format!("ip address add 192.168.10.1/24 dev {word}"),
            ),
        }
        self.ports(bridge, word);
        self.mac(view, bridge, word);
        if info.stp {
            let seconds = info.seconds_to_forwarding();
            self.warn(
                about,
                format!("STP is on: a port forwards {seconds} s after a guest starts, too late for its DHCP"),
                format!("ip link set dev {word} type bridge stp_state 0"),
            );
        } else {
            self.ok(about, "STP is off: a port forwards at once");
        }
        let filtering = if info.vlan_filtering { "on" } else { "off" };
        self.ok(about, format!("VLAN filtering is {filtering}"));
    }

    fn ports(&mut self, bridge: &BridgeView, word: ShellWord<'_>) {
        let about = "bridge";
        let Link {
            name, address, mtu, ..
        } = bridge.link;
        let count = bridge.ports.len();
        if count >= MAX_PORTS {
            self.error(about, &Error::BridgeFull(name));
        } else {
            self.ok(about, format!("{name} has {count} of {MAX_PORTS} ports"));
        }
        // A bridge whose MTU nobody set has that of its smallest port.
        let smallest = bridge.ports.iter().find(|port| port.mtu == mtu);
        let largest = bridge
            .ports
            .iter()
            .map(|port| port.mtu)
            .max()
            .unwrap_or(mtu);
        if let Some(port) = smallest.filter(|_| mtu < largest) {
            self.warn(
                about,
                format!(
                    "{name} has MTU {mtu}, because its port {} has; others have {largest}",
                    port.name
                ),
                format!(
                    "ip link set dev {} mtu {largest} && ip link set dev {word} mtu {largest}",
                    ShellWord(port.name.as_bytes())
                ),
            );
        }
        let borrowed = bridge
            .ports
            .iter()
            .find(|port| matches!(port.kind, Kind::Tap(_)) && port.address == address);
        if let (Some(port), Some(Mac([_, rest @ ..]))) = (borrowed, address) {
            // One of its own that stays: the uplink's, as without taps, or one like the tap's that is nobody's.
            let uplink = bridge.uplink().and_then(|uplink| uplink.address);
            let address = uplink.unwrap_or(Mac::local_from(rest));
            self.warn(
                about,
                format!(
                    "{name} has the MAC of its port {}: it changes when that goes, and the host is then not found",
                    port.name
                ),
                format!("ip link set dev {word} address {address}"),
            );
        }
    }

    /// The holder of a tap's descriptor can change the tap's MAC, and with it that of a bridge without one of its own.
    fn mac(&mut self, view: &View, bridge: &BridgeView, word: ShellWord<'_>) {
        let for_users = matches!(view.looked.acl, Ok(Some(Verdict::Allowed)));
        if let (true, Some(false), Some(address)) =
            (for_users, bridge.has_own_mac, bridge.link.address)
        {
            self.warn(
                "bridge",
                format!(
                    "{} has no MAC of its own: a user with a tap on it can change it to that of another machine",
                    bridge.link.name
                ),
                format!("ip link set dev {word} address {address}"),
            );
        }
    }

    fn switches(&mut self, view: &View) {
        match view.switches.bridge_nf {
            Some(true) => self.warn(
                "br_netfilter",
                "frames on bridges go through iptables, where Docker, for one, drops them (FORWARD)",
                "sysctl net.bridge.bridge-nf-call-iptables=0",
            ),
            Some(false) | None => self.ok("br_netfilter", "bridged frames do not go through iptables"),
        }
        match view.switches.ip_forward {
            // Then somebody else forwards.
            Some(false)
                if view
                    .bridge_view
                    .as_ref()
                    .is_some_and(|bridge| bridge.uplink().is_some()) => {}
            Some(false) => self.warn(
                "forwarding",
                "this host does not forward IPv4: guests reach it, and through it nothing",
                "sysctl net.ipv4.ip_forward=1",
            ),
            Some(true) => self.ok("forwarding", "this host forwards IPv4"),
            None => {}
        }
    }

    fn tap(&mut self, view: &View) {
        let about = "tap";
        let Some((name, link)) = &view.tap else {
            return;
        };
        let word = ShellWord(name.as_bytes());
        let bridge = ShellWord(view.looked.bridge_name.as_bytes());
        let again = format!("qemu-ifup --bridge {bridge} {word}");
        let Some(link) = link else {
            return self.ok(about, format!("{name} does not exist and will be made"));
        };
        let Kind::Tap(info) = &link.kind else {
            let kind = link.kind.to_string();
            return self.error(about, &Error::NotATap { name: *name, kind });
        };
        self.access(*name, info);
        let persistent = if info.persistent {
            "persistent"
        } else {
            "not persistent"
        };
        let queues = if info.multi_queue {
            "with several queues: QEMU needs queues=N, N above 1"
        } else {
            "with one queue: QEMU's queues=N fails with EINVAL"
        };
        self.ok(about, format!("{name} is {persistent}, {queues}"));
        match (&view.holder, link.is_open()) {
            (Some(holder), _) => self.warn(
                about,
                format!("{name} is open in {holder}: another QEMU gets EBUSY"),
                format!("use another name, or end it: kill {}", holder.pid),
            ),
            (None, true) => self.warn(
                about,
                format!("{name} is open in a program that you may not see: another QEMU gets EBUSY"),
                format!("sudo qemu-ifup --check {word} tells which"),
            ),
            (None, false) if info.persistent => self.ok(
                about,
                format!("{name} is open in no program, so it has no carrier: if it is left over, qemu-ifdown --delete {word}"),
            ),
            (None, false) => self.ok(about, format!("{name} has no carrier")),
        }
        let master = view
            .bridge
            .as_ref()
            .filter(|bridge| Some(bridge.index) == link.master);
        match (master, link.master) {
            (Some(bridge), _) if link.up => {
                self.ok(about, format!("{name} is up on {}", bridge.name));
            }
            (Some(_), _) => self.warn(about, format!("{name} is down"), again.clone()),
            (None, Some(_)) => self.warn(
                about,
                format!(
                    "{name} is a port of something else than {}",
                    view.looked.bridge_name
                ),
                again.clone(),
            ),
            (None, None) => {
                self.warn(about, format!("{name} is in no bridge"), again.clone());
            }
        }
        if let Some(bridge) = &view.bridge
            && link.mtu < bridge.mtu
        {
            self.warn(
                about,
                format!("{name} has MTU {}, the bridge {}", link.mtu, bridge.mtu),
                again.clone(),
            );
        }
        if view.tap_has_address {
            self.warn(
                about,
                format!("{name} has an IPv6 address of its own: the host answers the guest on it"),
                again.clone(),
            );
        } else if link
            .addr_gen_mode
            .is_some_and(|mode| mode != AddrGenMode::None)
        {
            self.warn(
                about,
                format!("{name} will give itself an IPv6 address when it has a carrier"),
                again.clone(),
            );
        }
    }

    fn access(&mut self, name: IfName, info: &TapInfo) {
        let about = "tap";
        match (info.owner, info.group) {
            (Some(uid), None) => self.ok(about, format!("{name} belongs to uid {uid}")),
            (None, Some(gid)) => self.ok(about, format!("{name} is for gid {gid}")),
            (Some(uid), Some(gid)) => self.ok(
                about,
                format!("{name} belongs to uid {uid}, who must also be in gid {gid}"),
            ),
            (None, None) => self.warn(
                about,
                format!("{name} has no owner: whoever can open /dev/net/tun can open it"),
                format!("sudo qemu-ifup {}", ShellWord(name.as_bytes())),
            ),
        }
    }

    fn managers(&mut self, view: &View) {
        for manager in &view.managers {
            let Manager {
                name,
                manages,
                mend,
            } = *manager;
            if manages {
                let tap = view
                    .tap
                    .as_ref()
                    .map_or(IfName::EXAMPLE_TAP, |(tap, _)| *tap);
                let mend = mend.replace("IFNAME", &ShellWord(tap.as_bytes()).to_string());
                self.warn(
                    "managers",
                    format!("{name} is running and may configure the tap"),
                    mend,
                );
            } else {
                self.ok(
                    "managers",
                    format!("{name} is running and leaves the tap alone"),
                );
            }
        }
    }
}
