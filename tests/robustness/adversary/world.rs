//! A network with bridges, a stranger's port, the programs installed for users, and those who act.

use super::net::{self, Change, Link, Rtnetlink};
use super::player::{Flood, PORT, Player};
use super::scenario::{Handed, Holder, Scenario};
use super::tracer::{ACL, CONF, End, Stop, Traced};
use crate::adversary::acts::RENAMED;
use crate::common::fds::received;
use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, BOB, MALLORY};
use crate::common::{bin, command, eventually};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::unistd::{Gid, Uid, dup2_raw, setgroups, setresgid, setresuid};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IoSliceMut, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

pub struct World {
    sandbox: Sandbox,
    pub rtnetlink: Rtnetlink,
    listener: Rtnetlink,
    host: UdpSocket,
    pub alice: Player,
    pub mallory: Player,
    qemu: Player,
    holder: Holder,
    flood: Option<(Flood, Lasts)>,
    /// What is there in every scenario, and that no program may change.
    pub bystanders: Vec<Link>,
    /// Of root's files; None where it is not known.
    pub conf: Option<String>,
    acl: Option<String>,
    /// What has been announced in this run so far.
    announced: Vec<Link>,
    said: PathBuf,
}

/// The moment at which an act was done.
#[derive(Debug)]
pub struct Acted {
    pub before: Vec<Link>,
    pub after: Vec<Link>,
    /// How much had been announced when it was over.
    pub announced: usize,
    /// Which of root's files the run had opened by then.
    pub looked_at: Vec<&'static str>,
    /// It had the tap open.
    pub is_open: bool,
}

/// How long frames are written without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until the next call has been made.
    OneCall,
    /// Until the program has ended.
    Throughout,
}

/// All that is known of a run when it is over.
#[derive(Debug)]
pub struct Outcome {
    pub end: End,
    pub said: String,
    pub before: Vec<Link>,
    pub after: Vec<Link>,
    pub announced: Vec<Link>,
    pub acted: Option<Acted>,
    /// How many frames reached the host's own stack, by the interface that they came in by.
    pub frames: BTreeMap<u32, usize>,
    /// The taps that these have open.
    pub holds: Vec<(u32, Vec<String>)>,
    /// What came over the socket.
    pub handed_over: Vec<OwnedFd>,
}

const ALLOWED: &str = "allow br0\nallow br1\nallow br7\n";
/// The MAC of a tap that is up before.
const MAC: [u8; 6] = [0xfe, 0, 0, 0, 0, 0x99];

impl World {
    /// None, and the test counts as skipped, where this cannot be.
    pub fn new() -> Option<Self> {
        let sandbox = Sandbox::with("setcap")?;
        // The invariants have a listener of their own, which knows what the acts may do.
        for tap in ["tap0", "tap1", "tap7", RENAMED] {
            sandbox.tap_may_be_up_alone(tap);
        }
        // Root's are without the capability, which would be nothing to them.
        sandbox.sh(&format!(
            "for user in user root; do mkdir \"$DIR/$user\"; cp {} {} \"$DIR/$user\"; done
             for program in \"$DIR\"/user/*; do setcap cap_net_admin+ep \"$program\"; done",
            bin("qemu-ifup").display(),
            bin("qemu-ifdown").display(),
        ));
        let host = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        host.set_nonblocking(true).unwrap();
        setsockopt(&host, sockopt::Ipv4PacketInfo, &true).unwrap();
        setsockopt(&host, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        let said = sandbox.dir().join("said");
        let mut world = Self {
            sandbox,
            rtnetlink: Rtnetlink::new(),
            listener: Rtnetlink::listener(),
            host,
            alice: Player::new(ALICE),
            mallory: Player::new(MALLORY),
            qemu: Player::new(0),
            holder: Holder::Nobody,
            flood: None,
            bystanders: Vec::new(),
            conf: None,
            acl: None,
            announced: Vec::new(),
            said,
        };
        world.build();
        Some(world)
    }

    fn build(&mut self) {
        for link in self.rtnetlink.links() {
            if link.name != "lo" {
                // What is a port of nothing and no tap may be of the kernel's own making, and stays.
                let _ = self.rtnetlink.delete(link.index);
            }
        }
        self.sandbox.sh(&format!(
            "ip -batch - <<END
link add br0 address 02:00:00:00:00:70 type bridge
link set br0 addrgenmode none up
address add 192.0.2.1/24 dev br0
link add br1 address 02:00:00:00:00:71 type bridge
link set br1 addrgenmode none up
link add br8 address 02:00:00:00:00:78 type bridge
link set br8 addrgenmode none up
tuntap add bobs mode tap user {BOB}
link set bobs address fe:00:00:00:00:70 addrgenmode none master br0
link set bobs up
END"
        ));
        self.bystanders = self.rtnetlink.links();
    }

    /// Creates everything as it is to be before a run.
    pub fn set_up(&mut self, scenario: &Scenario) {
        self.sandbox.look();
        for player in [&self.alice, &self.mallory, &self.qemu] {
            player.ask(Vec::clear);
        }
        let links = self.rtnetlink.links();
        if self.bystanders.iter().all(|link| links.contains(link)) {
            let theirs = |link: &Link| !self.bystanders.contains(link);
            for link in links.iter().filter(|link| theirs(link)) {
                // A bridge that is deleted may have taken it along.
                let _ = self.rtnetlink.delete(link.index);
            }
        } else {
            self.build();
        }
        self.write_conf(scenario.conf);
        self.write_acl(ALLOWED);
        self.holder = scenario.holder;
        self.make_tap(scenario);
    }

    pub fn write_conf(&mut self, conf: &str) {
        if self.conf.as_deref() != Some(conf) {
            let _ = fs::remove_file(CONF);
            if !conf.is_empty() {
                self.sandbox.etc("qemu-ifup.conf", conf);
            }
            self.conf = Some(conf.to_owned());
        }
    }

    pub fn write_acl(&mut self, acl: &str) {
        if self.acl.as_deref() != Some(acl) {
            let _ = fs::remove_file(ACL);
            self.sandbox.etc("qemu/bridge.conf", acl);
            self.acl = Some(acl.to_owned());
        }
    }

    fn make_tap(&mut self, scenario: &Scenario) {
        let (Some(tap), name) = (scenario.tap, scenario.tap_name()) else {
            return;
        };
        if tap.persistent {
            let made = net::open_tap(name, tap.multi_queue).unwrap();
            if let Some(owner) = tap.owner {
                net::set_owner(&made, owner).unwrap();
            }
            net::set_persistent(&made, true).unwrap();
        }
        if let Some(holder) = self.holder() {
            // A child that the other network's thread has just forked may have a copy of the descriptor for a moment.
            let opened = eventually(|| holder.open(name, tap.multi_queue).ok());
            opened.expect("the tap cannot be opened");
        }
        let Some(bridge) = tap.bridge else {
            return;
        };
        let index = self.find(name).unwrap().index;
        let bridge = self.bystanders.iter().find(|link| link.name == bridge);
        let join = Change {
            mac: Some(MAC),
            master: Some(bridge.unwrap().index),
            no_addresses: true,
            up: None,
        };
        self.rtnetlink.change(index, join).unwrap();
        let up = Change {
            up: Some(true),
            ..Change::default()
        };
        self.rtnetlink.change(index, up).unwrap();
    }

    pub fn find(&mut self, name: &str) -> Option<Link> {
        let mut links = self.rtnetlink.links().into_iter();
        links.find(|link| link.name == name)
    }

    pub fn holder(&self) -> Option<&Player> {
        match self.holder {
            Holder::Nobody => None,
            Holder::Alice => Some(&self.alice),
            Holder::Mallory => Some(&self.mallory),
            Holder::Qemu => Some(&self.qemu),
        }
    }

    /// All that the kernel has announced since the run began.
    pub fn announced(&mut self) -> &mut Vec<Link> {
        self.announced.extend(self.listener.announced());
        &mut self.announced
    }

    /// What was announced before is no affair of the run's.
    pub fn begin(&mut self) {
        self.announced().clear();
        self.frames();
    }

    /// Runs the program. `at` is told of each stop, and at the one of this number it may act, and says whether it has.
    pub fn run(
        &mut self,
        scenario: &Scenario,
        act_at: Option<usize>,
        mut at: impl FnMut(&mut Self, &mut Traced, Stop) -> bool,
    ) -> Outcome {
        self.set_up(scenario);
        let before = self.rtnetlink.links();
        self.begin();

        let (ours, theirs) = UnixStream::pair().unwrap();
        let passed: Option<OwnedFd> = match scenario.handed {
            Handed::Nothing => None,
            Handed::Tap => {
                let tap = |taps: &mut Vec<File>| taps[0].try_clone().unwrap();
                Some(self.holder().unwrap().ask(tap).into())
            }
            Handed::Forged => {
                let queues = scenario.tap.is_some_and(|tap| tap.multi_queue);
                Some(forge(scenario.tap_name(), queues).into())
            }
            Handed::Socket => Some(theirs.into()),
        };
        let said = File::create(&self.said).unwrap();
        let mut traced = self.start(scenario, said, passed.as_ref());
        drop(passed);
        let (mut acted, mut looked_at) = (None, Vec::new());
        while let Some(stop) = traced.next() {
            // A call begins at the stop before it and has ended at the one after it.
            if !stop.before && matches!(self.flood, Some((_, Lasts::OneCall))) {
                self.stop_flood();
            }
            // What a file has once it is open is what the run knows, or may know.
            looked_at.extend(stop.file.filter(|_| !stop.before));
            if act_at != Some(stop.number) {
                at(self, &mut traced, stop);
                continue;
            }
            let before = self.rtnetlink.links();
            let is_open = traced.has_open(scenario.tap_name());
            if at(self, &mut traced, stop) {
                acted = Some(Acted {
                    before,
                    after: self.rtnetlink.links(),
                    announced: self.announced().len(),
                    looked_at: looked_at.clone(),
                    is_open,
                });
            }
        }
        self.stop_flood();
        Outcome {
            end: traced.end(),
            said: fs::read_to_string(&self.said).unwrap(),
            before,
            after: self.rtnetlink.links(),
            announced: self.announced().clone(),
            acted,
            frames: self.frames(),
            holds: [&self.alice, &self.mallory]
                .map(|player| (player.uid, player.holds()))
                .into(),
            handed_over: if scenario.handed == Handed::Socket {
                received(&ours)
            } else {
                Vec::new()
            },
        }
    }

    pub fn start(&self, scenario: &Scenario, said: File, passed: Option<&OwnedFd>) -> Traced {
        let mut command = self.call(scenario.caller, scenario.program, scenario.args);
        start(command.stderr(said), scenario.caller, passed)
    }

    pub fn call(&self, uid: u32, program: &str, args: &[&str]) -> Command {
        let user = if uid == 0 { "root" } else { "user" };
        let mut command = command(self.sandbox.dir().join(user).join(program));
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The frames that have reached the host's own stack.
    fn frames(&self) -> BTreeMap<u32, usize> {
        let mut frames = BTreeMap::new();
        let mut bytes = [0; 64];
        let mut space = nix::cmsg_space!(libc::in_pktinfo);
        loop {
            let mut room = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let Ok(message) =
                recvmsg::<()>(self.host.as_raw_fd(), &mut room, Some(&mut space), flags)
            else {
                return frames;
            };
            for info in message.cmsgs().unwrap() {
                if let ControlMessageOwned::Ipv4PacketInfo(info) = info {
                    *frames.entry(info.ipi_ifindex.cast_unsigned()).or_default() += 1;
                }
            }
        }
    }

    // What those who act do.

    /// A user calls one of the programs, to its end.
    pub fn calls(&self, uid: u32, program: &str, args: &[&str]) -> io::Result<()> {
        let player = if uid == ALICE {
            &self.alice
        } else {
            &self.mallory
        };
        let mut call = self.call(uid, program, args);
        let ended = player.ask(move |_| call.status())?;
        if ended.success() {
            Ok(())
        } else {
            Err(io::Error::other(ended.to_string()))
        }
    }

    /// The holder of the tap does something with the descriptor. A guest cannot.
    pub fn of_holder(&self, deed: fn(&mut File) -> io::Result<()>) -> io::Result<()> {
        match (self.holder(), self.holder) {
            (None, _) | (_, Holder::Qemu) => Err(io::ErrorKind::Unsupported.into()),
            (Some(holder), _) => holder.ask(move |taps| taps.iter_mut().try_for_each(deed)),
        }
    }

    pub fn holder_writes(&self) -> io::Result<()> {
        let write = |taps: &mut Vec<File>| {
            let tap = taps.last_mut().ok_or(io::ErrorKind::NotFound)?;
            tap.write_all(&super::player::frame())
        };
        let holder = self.holder().ok_or(io::ErrorKind::Unsupported)?;
        holder.ask(write)
    }

    /// The holder writes frames without a pause.
    pub fn holder_floods(&mut self, lasts: Lasts) -> io::Result<()> {
        let holder = self.holder().ok_or(io::ErrorKind::Unsupported)?;
        self.flood = Some((holder.flood(), lasts));
        Ok(())
    }

    /// Alice opens a queue and does the same.
    pub fn alice_joins_and_floods(&mut self, tap: &'static str, lasts: Lasts) -> io::Result<()> {
        self.alice.open(tap, true)?;
        self.flood = Some((self.alice.flood(), lasts));
        Ok(())
    }

    fn stop_flood(&mut self) {
        if let Some((flood, _)) = self.flood.take() {
            flood.stop();
        }
    }

    pub fn holder_closes(&self) -> io::Result<()> {
        let holder = self.holder().ok_or(io::ErrorKind::Unsupported)?;
        holder.ask(Vec::clear);
        Ok(())
    }

    pub fn root_removes(&mut self, tap: &str) -> io::Result<()> {
        let link = self.find(tap).ok_or(io::ErrorKind::NotFound)?;
        self.rtnetlink.delete(link.index)
    }

    /// The number is used again.
    pub fn root_replaces(&mut self, tap: &str) -> io::Result<()> {
        let link = self.find(tap).ok_or(io::ErrorKind::NotFound)?;
        self.rtnetlink.delete(link.index)?;
        self.rtnetlink.make_bridge(tap, link.index)
    }
}

/// Starts a program as this user, traced by the calling thread.
pub fn start(command: &mut Command, uid: u32, passed: Option<&OwnedFd>) -> Traced {
    let passed: Option<RawFd> = passed.map(AsRawFd::as_raw_fd);
    Traced::start(command, move || {
        if let Some(passed) = passed {
            pass_on(passed)?;
        }
        if uid != 0 {
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
            setgroups(&[])?;
            setresgid(group, group, group)?;
            setresuid(user, user, user)?;
        }
        Ok(())
    })
}

/// The program finds it as descriptor 5.
fn pass_on(descriptor: RawFd) -> nix::Result<()> {
    // SAFETY: the caller has it open, and keeps it so until the fork is done.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // SAFETY: in the child, which is to become the program and has no other use for that number. It is not the same number,
    // which would stay closed on execve(2): the lowest ones have been this process's sockets from early on.
    let passed = unsafe { dup2_raw(descriptor, 5) };
    // It is to be open when this is over.
    std::mem::forget(passed?);
    Ok(())
}

/// A tap of that name in a network of its own, which lives as long as the descriptor.
fn forge(name: &'static str, multi_queue: bool) -> File {
    let elsewhere = thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        net::open_tap(name, multi_queue).unwrap()
    });
    elsewhere.join().unwrap()
}
