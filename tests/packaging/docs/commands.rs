//! The commands that the documents show: which they are, and a host on which they are run as a user would.

use crate::common::sandbox::Sandbox;
use crate::common::{Run, bin, command, needs, run};
use crate::docs::file;

/// The first words of what counts as a command when it stands in a line of text. In a block of `sh` every line does.
const PROGRAMS: [&str; 37] = [
    "./install.sh",
    "apt",
    "bridge",
    "brctl",
    "cargo",
    "chmod",
    "chown",
    "cp",
    "dnsmasq",
    "echo",
    "git",
    "groupadd",
    "ifquery",
    "ip",
    "iptables",
    "journalctl",
    "kill",
    "ln",
    "ls",
    "man",
    "mkdir",
    "modprobe",
    "netplan",
    "networkctl",
    "nft",
    "nmcli",
    "ping",
    "qemu-ifdown",
    "qemu-ifup",
    "qemu-system-x86_64",
    "rm",
    "rustup",
    "ssh",
    "sysctl",
    "systemctl",
    "tests/run",
    "usermod",
];

fn is_command(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    let sudo = words.next_if_eq(&"sudo").is_some();
    let program = words.next().unwrap_or_default();
    sudo || program == "./install.sh" || PROGRAMS.contains(&program) && words.next().is_some()
}

/// All commands of a document in its order: the lines of `sh` blocks, and what stands in backquotes. Of a manual page, the
/// lines of its literal blocks.
pub fn commands(document: &str) -> Vec<String> {
    let text = file(document);
    let mut all = Vec::new();
    let mut block: Option<bool> = None;
    let mut unfinished = String::new();
    for line in text.lines() {
        let manual = document.starts_with("man/");
        let fence = line.trim_start().strip_prefix("```");
        let (starts, ends) = match (manual, fence) {
            (true, _) => (
                line.starts_with(".Bd -literal").then_some(true),
                line == ".Ed",
            ),
            (false, Some(language)) => (Some(language == "sh"), block.is_some()),
            (false, None) => (None, false),
        };
        if ends {
            block = None;
        } else if starts.is_some() {
            block = starts;
        } else if block == Some(true) {
            // Without the comment, and with the line that it goes on in.
            let line = line.split(" # ").next().unwrap().trim();
            unfinished += line.trim_end_matches('\\');
            if !line.ends_with('\\') {
                let command = std::mem::take(&mut unfinished);
                if !command.is_empty() && (!manual || is_command(&command)) {
                    all.push(command);
                }
            }
        } else if block.is_none() && !manual {
            let backquotes = line.matches('`').count();
            assert_eq!(backquotes % 2, 0, "{document}: `...` in two lines: {line}");
            let words = line.split('`').skip(1).step_by(2);
            all.extend(words.filter(|w| is_command(w)).map(str::to_owned));
        }
    }
    all
}

/// What a command needs before it, and what has to be so afterwards: scripts of root's.
pub struct Step {
    pub command: &'static str,
    pub before: &'static str,
    pub after: &'static str,
}

/// A host on which nothing is installed yet, with a copy of the source as after a build, and a user alice who may use sudo.
pub struct Host {
    pub sandbox: Sandbox,
}

/// What install.sh writes to is covered. Cargo has nothing to do: the programs have been built, by whatever Rust, and need not
/// be the static ones that are shipped.
const SET_UP: &str = r#"
mount -t tmpfs tmpfs /run
for d in usr/local var/lib/dpkg usr/lib/qemu; do
    [ -d "/$d" ] || continue
    mkdir -p "$DIR/$d" "$DIR/$d.work"
    mount -t overlay -o "lowerdir=/$d,upperdir=$DIR/$d,workdir=$DIR/$d.work" overlay "/$d"
done
mkdir "$DIR/source" "$DIR/bin"
cp -r "$TOP/install.sh" "$TOP/Cargo.toml" "$TOP/man" "$TOP/docs" "$TOP/completions" "$TOP/systemd" "$DIR/source"
for program in cargo ldd rustup; do
    echo '#!/bin/sh' >"$DIR/bin/$program"
done
printf '#!/bin/sh\necho "release: 9.9.9"\necho "host: %s-unknown-linux-gnu"\n' "$(uname -m)" >"$DIR/bin/rustc"
chmod 755 "$DIR"/bin/*
release=$DIR/source/target/$(uname -m)-unknown-linux-musl/release
mkdir -p "$release"
cp "$IFUP" "$IFDOWN" "$release"
truncate -s 1M "$DIR/source/guest.qcow2"
"$DIR/source/install.sh" --uninstall >/dev/null # it may be installed here
mkdir -p /etc/modules-load.d # systemd's, which a chroot need not have
echo "127.0.0.1 $(uname -n)" >>/etc/hosts # for sudo, which looks itself up
userdel alice 2>/dev/null || : # whoever that is here
useradd --uid 54321 --create-home --home-dir "$DIR/alice" --shell /bin/sh alice
chown -R alice: "$DIR/source"
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
"#;

impl Host {
    /// None, and the test counts as skipped, where there cannot be one.
    pub fn new() -> Option<Self> {
        if !["sudo", "qemu-system-x86_64", "setcap", "useradd"]
            .into_iter()
            .all(needs)
        {
            return None;
        }
        let sandbox = Sandbox::new()?;
        sandbox.sh(&format!(
            "TOP='{}' IFUP='{}' IFDOWN='{}'\n{SET_UP}",
            env!("CARGO_MANIFEST_DIR"),
            bin("qemu-ifup").display(),
            bin("qemu-ifdown").display(),
        ));
        Some(Self { sandbox })
    }

    /// The same with the programs installed and br0 there.
    pub fn installed() -> Option<Self> {
        let host = Self::new()?;
        host.must_as("alice", "./install.sh");
        host.must_as(
            "alice",
            "sudo qemu-ifup --create-bridge --address 192.168.10.1/24 tap0",
        );
        host.must_as("alice", "sudo qemu-ifdown --delete tap0");
        Some(host)
    }

    /// What a user types, in the directory of the source. It has to work.
    pub fn must_as(&self, user: &str, line: &str) -> String {
        // What an ellipsis stands for, and what somebody would fill in.
        let mut line = line
            .replace(" ... ", " -nodefaults ")
            .replace("GROUP", "netusers")
            .replace("USER", "alice")
            .replace("NAME", "enp1s0")
            .replace("MAC", "02:00:00:00:00:01");
        if line.contains("qemu-system-x86_64") {
            line = line.replace("-device virtio-net,", "-device virtio-net,romfile=,");
            line = format!("echo quit | {line} -accel tcg -display none -monitor stdio -S");
        }
        let script = format!("cd '{}/source'\n{line}", self.sandbox.dir().display());
        let path = format!(
            "PATH={}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.sandbox.dir().display()
        );
        let Run {
            code,
            stdout,
            stderr,
        } = run(command("setpriv")
            .args(["--reuid", user, "--regid", user, "--init-groups", "--"])
            .args(["env", "-i", &path, "LC_ALL=C.UTF-8", "sh", "-euc", &script]));
        self.sandbox.look();
        assert_eq!(code, 0, "{line}\n{stdout}{stderr}");
        stdout
    }

    /// Runs the commands of a document in its order, but for those that are listed as not to be run.
    pub fn follow(&self, document: &str, user: &str, steps: &[Step], not_run: &[(&str, &str)]) {
        let shown = commands(document);
        assert!(!shown.is_empty(), "{document}");
        for (listed, why) in not_run {
            assert!(shown.iter().any(|c| c == listed), "{document}: no {listed}");
            assert!(!why.is_empty(), "{listed}");
        }
        for step in steps {
            let command = step.command;
            assert!(
                shown.iter().any(|c| c == command),
                "{document}: no {command}"
            );
        }
        for line in &shown {
            if not_run.iter().any(|(listed, _)| listed == line) {
                continue;
            }
            let step = steps.iter().find(|step| step.command == line);
            if let Some(step) = step {
                self.sandbox.sh(step.before);
            }
            self.must_as(user, line);
            if let Some(step) = step {
                let after = self.sandbox.try_sh(step.after);
                assert_eq!(after.code, 0, "after {line}\n{after:?}");
            }
        }
    }
}
