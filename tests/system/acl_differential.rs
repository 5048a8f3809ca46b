//! QEMU's own helper never reads root's rules more strictly than we do.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, command, have, skip, test_name};
use nix::sys::resource::{Resource, setrlimit};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// QEMU's own helper, the part of it that reads the ACL, is the other side of a comparison.
const HELPER: &str = "/usr/lib/qemu/qemu-bridge-helper";

const ACL_FILE: &str = "/etc/qemu/bridge.conf";

const FILES: u32 = 4000;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// An ordinary user. Root would find every include readable.
const USER: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Allowed,
    Denied,
    /// No verdict: the file is in error.
    Refused,
    /// No verdict either.
    Crashed,
}

/// Everything in which we are stricter than QEMU's helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    MissingInclude,
    UnreadableInclude,
    IncludeOfADirectory,
    RelativeInclude,
    Loop,
    TooManyFiles,
    LongLine,
    Nul,
    NameOfNoBridge,
    /// The helper refuses the same line in the ACL itself, and ignores it, with the rest of the file, in an include.
    ErrorInAnInclude,
}

const REASONS: [Reason; 10] = [
    Reason::MissingInclude,
    Reason::UnreadableInclude,
    Reason::IncludeOfADirectory,
    Reason::RelativeInclude,
    Reason::Loop,
    Reason::TooManyFiles,
    Reason::LongLine,
    Reason::Nul,
    Reason::NameOfNoBridge,
    Reason::ErrorInAnInclude,
];

/// Why we refuse a file that the helper may accept, as our message says it; None if the helper has to refuse it as well.
fn reason(said: &str) -> Option<Reason> {
    let (_, error) = said.lines().next()?.split_once(": invalid ACL: ")?;
    let (place, problem) = error.split_once(": ")?;
    let is_in_an_include = !place.starts_with(ACL_FILE);
    let ends = |end: &str| problem.ends_with(end);
    if problem.starts_with("cannot read the included file ") {
        return match problem.rsplit_once(": ")?.1 {
            "No such file or directory" => Some(Reason::MissingInclude),
            "Permission denied" => Some(Reason::UnreadableInclude),
            "not a regular file" => Some(Reason::IncludeOfADirectory),
            _ => None,
        };
    }
    if ends("the path of an include must begin with /") {
        Some(Reason::RelativeInclude)
    } else if ends("the included file includes this one") {
        Some(Reason::Loop)
    } else if ends("more than 64 files are included") {
        Some(Reason::TooManyFiles)
    } else if ends("the line is longer than 4095 bytes") {
        Some(Reason::LongLine)
    } else if ends("there is a NUL byte in the line") {
        Some(Reason::Nul)
    } else if ends("not a rule (allow NAME, deny NAME or include PATH)")
        || ends("is not allow, deny or include")
        || ends("bytes; the maximum is 15")
    {
        is_in_an_include.then_some(Reason::ErrorInAnInclude)
    } else {
        problem
            .contains(" is not a valid bridge name: ")
            .then_some(Reason::NameOfNoBridge)
    }
}

const ONE: &[u8] = b"/etc/qemu/one.conf";

const TWO: &[u8] = b"/etc/qemu/two.conf";

const SECRET: &[u8] = b"/etc/qemu/secret.conf";

const NAMES: [&[u8]; 9] = [
    b"br0",
    b"br0",
    b"br0",
    b"br1",
    b"br1",
    b"all",
    b"all",
    b"br-fifteen-byte",
    b"br\xff",
];

const BRIDGES: [&[u8]; 5] = [b"br0", b"br0", b"br1", b"br-fifteen-byte", b"br\xff"];

const ODD_NAMES: [&[u8]; 16] = [
    b"",
    b".",
    b"..",
    b"default",
    b"a/b",
    b"br:0",
    b"br%d",
    b"br0 br1",
    b"br0\tbr1",
    b"br\xa0",
    b"ALL",
    b"al",
    b"br0all",
    b"br-fifteen-bytes",
    b"br-fifteen-byte-and-more",
    b"br0\0",
];

const COMMANDS: [&[u8]; 8] = [
    b"allow", b"allow", b"allow", b"allow", b"deny", b"include", b"include", b"#",
];

const ODD_COMMANDS: [&[u8]; 9] = [
    b"Allow",
    b"allow:",
    b"permit",
    b"#deny",
    b"",
    b"denydeny",
    b"\0allow",
    b"\xefallow",
    b"include",
];

const INCLUDES: [&[u8]; 2] = [ONE, TWO];

const ODD_INCLUDES: [&[u8]; 14] = [
    ONE,
    b"/etc/qemu/bridge.conf",
    b"/etc/qemu/../qemu/one.conf",
    b"/etc/qemu/link-to-two.conf",
    b"/etc/qemu/missing.conf",
    b"/etc/qemu/directory",
    b"/etc/qemu/directory",
    SECRET,
    SECRET,
    SECRET,
    b"relative.conf",
    b"./relative.conf",
    b"/etc/qemu/one.conf # remark",
    b"",
];

const SPACES: [&[u8]; 6] = [b" ", b" ", b"  ", b"\t", b" \t", b" \x0c"];

const ODD_SPACES: [&[u8]; 6] = [b"", b"\x0b", b"\r", b"\x0c ", b"\xa0", b"\t "];

const MARGINS: [&[u8]; 6] = [b"", b"", b"", b" ", b"\t", b"\r"];

const ODD_MARGINS: [&[u8]; 5] = [b"\0", b"\x0b", b"\x0c \r", b" # remark", b"\x85"];

/// Makes files up, always the same ones (xorshift64*).
struct Author {
    state: u64,
    /// How odd the file at hand is: one choice in so many.
    one_odd_in: u64,
}

impl Author {
    fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn pick(&mut self, plain: &[&'static [u8]], odd: &[&'static [u8]]) -> &'static [u8] {
        let from = if self.below(self.one_odd_in) == 0 {
            odd
        } else {
            plain
        };
        let n = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(n).unwrap()]
    }

    fn line(&mut self) -> Vec<u8> {
        let command = self.pick(&COMMANDS, &ODD_COMMANDS);
        let argument = if command == b"include" {
            self.pick(&INCLUDES, &ODD_INCLUDES)
        } else {
            self.pick(&NAMES, &ODD_NAMES)
        };
        let before = self.pick(&MARGINS, &ODD_MARGINS);
        let between = self.pick(&SPACES, &ODD_SPACES);
        let after = self.pick(&MARGINS, &ODD_MARGINS);
        let rule = [before, command, between, argument, after].concat();
        if self.below(self.one_odd_in * 2) != 0 {
            return rule;
        }
        // Of a length at which the helper may or may not take it for two: 4095 is the limit.
        let length = usize::try_from(4090 + self.below(12)).unwrap();
        match self.below(3) {
            0 => [&vec![b'#'; length][..], &rule].concat(),
            1 => [rule, vec![b' '; length]].concat()[..length].to_vec(),
            _ => [vec![b' '; length - rule.len()], rule].concat(),
        }
    }

    fn text(&mut self, lines: u64) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(lines + 1) {
            // So often that a limit on their number is met now and then.
            let times = if self.below(self.one_odd_in * 6) == 0 {
                65
            } else {
                1
            };
            let mut line = self.line();
            line.extend(self.pick(&[b"\n", b"\n", b"\r\n", b"\n\n"], &[b"", b"\r", b"\n\0"]));
            text.extend(line.repeat(times));
        }
        text
    }
}

struct Case {
    acl: Vec<u8>,
    one: Vec<u8>,
    two: Vec<u8>,
    bridge: &'static [u8],
}

impl Case {
    /// Some files are as root would write them, some have an oddity or two, and some are made of little else.
    fn made_up_by(author: &mut Author) -> Self {
        let degrees = [10_000, 40, 40, 12, 12, 4];
        let mut text = |lines| {
            author.one_odd_in = degrees[usize::try_from(author.below(6)).unwrap()];
            author.text(lines)
        };
        Self {
            acl: text(6),
            one: text(3),
            two: text(2),
            bridge: author.pick(&BRIDGES, &BRIDGES),
        }
    }
}

/// Both programs as an ordinary user finds them: with CAP_NET_ADMIN and no other privilege. There are no bridges and
/// no /dev/net/tun, so that what is allowed goes on to fail at once, in its own way.
struct Both {
    sandbox: Sandbox,
}

impl Both {
    fn in_a(sandbox: Sandbox) -> Self {
        let ifup = bin("qemu-ifup");
        sandbox.sh(&format!(
            "cp {HELPER} \"$DIR/helper\"; cp '{}' \"$DIR/ifup\"
             setcap cap_net_admin+ep \"$DIR/helper\"; setcap cap_net_admin+ep \"$DIR/ifup\"
             chmod 755 \"$DIR/helper\" \"$DIR/ifup\"
             rm -f /dev/net/tun
             mkdir -p /etc/qemu/directory; cd /etc/qemu
             ln -s two.conf link-to-two.conf
             echo deny all >secret.conf; chmod 600 secret.conf
             echo allow all >\"$DIR/relative.conf\"",
            ifup.display()
        ));
        Self { sandbox }
    }

    /// Writes the files, and lets both judge them; and what ours says.
    fn judge(&self, case: &Case) -> (Outcome, Outcome, String) {
        fs::write(ACL_FILE, &case.acl).unwrap();
        fs::write(OsStr::from_bytes(ONE), &case.one).unwrap();
        fs::write(OsStr::from_bytes(TWO), &case.two).unwrap();
        let bridge = [b"--br=", case.bridge].concat();
        let bridge = OsStr::from_bytes(&bridge);
        // At the same time: they do not know of each other.
        let helper = self.start("helper", [bridge, "--fd=0".as_ref()]);
        let ours = self.start("ifup", [bridge, "tap0".as_ref()]);
        let (ours, said) = of_ours(ours);
        (of_helper(helper), ours, said)
    }

    fn start(&self, program: &str, args: [&OsStr; 2]) -> Child {
        let mut command = command(self.sandbox.dir().join(program));
        command
            .args(args)
            .current_dir(self.sandbox.dir())
            .uid(USER)
            .gid(USER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: between fork and exec; setrlimit(2) is one system call, and takes no lock and no memory.
        unsafe {
            // The helper recurses over an include that loops, until the stack ends. With a usual one it would come
            // to the limit of open files first on some hosts, and try all roads through the loop.
            command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_STACK, 1 << 18, 1 << 18)?));
        }
        command.spawn().unwrap()
    }
}

fn of_helper(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The last line: before it come the complaints about lines, which quote them.
    let last = said.lines().last().unwrap_or_default();
    match output.status.code() {
        None => Outcome::Crashed,
        Some(1) if last.starts_with("failed to open /dev/net/tun") => Outcome::Allowed,
        Some(1) if last == "access denied by acl file" => Outcome::Denied,
        Some(1) if last.starts_with("failed to parse default acl file") => Outcome::Refused,
        Some(code) => panic!("the helper ends with {code}: {said}"),
    }
}

fn of_ours(child: Child) -> (Outcome, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome = match output.status.code() {
        // It has come as far as to the bridge, which does not exist.
        Some(4) => Outcome::Allowed,
        Some(3) => Outcome::Denied,
        Some(8) => Outcome::Refused,
        other => panic!("ours ends with {other:?}: {said}"),
    };
    (outcome, said)
}

#[test]
fn where_we_and_qemus_helper_differ_we_are_the_stricter_for_a_known_reason() {
    if !Path::new(HELPER).is_file() || !have("setcap") {
        return skip(&test_name(), "needs qemu-bridge-helper and setcap");
    }
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let both = Both::in_a(sandbox);
    let mut author = Author {
        state: SEED,
        one_odd_in: 1,
    };
    let mut agreed: BTreeMap<Outcome, u32> = BTreeMap::new();
    let mut stricter: BTreeMap<Reason, BTreeMap<Outcome, u32>> = BTreeMap::new();
    for number in 0..FILES {
        let case = Case::made_up_by(&mut author);
        let (helper, ours, said) = both.judge(&case);
        let fails = |why: &str| -> ! {
            panic!(
                "{why}: the helper: {helper:?}, ours: {ours:?}, which says: {said}
                 seed {SEED:#x}, file {number}, bridge {}\n{ACL_FILE}:\n{}\n\none.conf:\n{}\n\ntwo.conf:\n{}",
                case.bridge.escape_ascii(),
                case.acl.escape_ascii(),
                case.one.escape_ascii(),
                case.two.escape_ascii()
            )
        };
        if ours == helper {
            *agreed.entry(ours).or_default() += 1;
            continue;
        }
        // That they differ is in order only where we give no verdict, and say why.
        let Some(reason) = reason(&said).filter(|_| ours == Outcome::Refused) else {
            fails("they differ for no reason that is known")
        };
        *stricter
            .entry(reason)
            .or_default()
            .entry(helper)
            .or_default() += 1;
    }
    let _ = writeln!(
        io::stderr(),
        "{FILES} ACL files: both {agreed:?}; refused by ours only: {stricter:?}"
    );

    // Without these the comparison would have been about nothing.
    for outcome in [Outcome::Allowed, Outcome::Denied, Outcome::Refused] {
        let count = agreed.get(&outcome).copied().unwrap_or_default();
        assert!(count >= FILES / 20, "both said {outcome:?} {count} times");
    }
    for reason in REASONS {
        let helper = stricter.remove(&reason).unwrap_or_default();
        let worst = if reason == Reason::Loop {
            Outcome::Crashed
        } else {
            Outcome::Allowed
        };
        assert!(
            helper.contains_key(&worst),
            "{reason:?}: the helper said {helper:?}"
        );
    }
}
