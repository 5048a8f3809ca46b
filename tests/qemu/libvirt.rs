//! A real libvirtd calls the programs, in both of its modes.

use crate::common::interfaces::info;
use crate::common::json::is_up;
use crate::common::sandbox::{Sandbox, lines};
use crate::common::users::{ALICE, as_user};
use crate::common::{Run, command, eventually, needs, run};
use serde_json::Value;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

/// The tap of libvirt's own that goes through the script.
const SCRIPT: &str = "<target dev='tap0'/><script path='/etc/qemu-ifup'/>";

/// A sandbox in which a libvirtd runs that sees nothing of the host's: /run without D-Bus, /sys without control groups and
/// without the host's cards. None where there is no libvirt.
fn sandbox() -> Option<Sandbox> {
    if !["libvirtd", "virsh", "qemu-system-x86_64", "setcap"]
        .into_iter()
        .all(needs)
    {
        return None;
    }
    let s = Sandbox::new()?;
    s.sh(&format!(
        r#"mount -t tmpfs -o mode=755 tmpfs /run
        mkdir "$DIR/var" "$DIR/var.work"
        mount -t overlay -o "lowerdir=/var,upperdir=$DIR/var,workdir=$DIR/var.work" overlay /var
        rm -rf /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt
        umount -R /sys
        mount -t sysfs sysfs /sys
        # Debian's libvirtd asks for them before it reads its configuration, which says root.
        for name in libvirt-qemu kvm; do
            getent group $name || echo $name:x:64055: >>/etc/group
        done
        getent passwd libvirt-qemu || echo libvirt-qemu:x:64055:64055::/:/bin/false >>/etc/passwd
        echo alice:x:{ALICE}: >>/etc/group
        echo alice:x:{ALICE}:{ALICE}::$DIR/home:/bin/sh >>/etc/passwd
        mkdir -p /etc/libvirt "$DIR/home/run" "$DIR/home/.config/libvirt"
        tee "$DIR/home/.config/libvirt/libvirtd.conf" >/etc/libvirt/libvirtd.conf <<END
auth_unix_rw = "none"
END
        cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "file"
END
        cat >"$DIR/home/.config/libvirt/qemu.conf" <<END
security_driver = "none"
stdio_handler = "file"
bridge_helper = "/etc/qemu-ifup"
END
        chown -R {ALICE}:{ALICE} "$DIR/home""#
    ));
    s.install();
    s.bridge_up("br0");
    Some(s)
}

/// A libvirtd. When it is dropped, all that it has started ends with it.
struct Libvirtd<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    uid: u32,
}

impl<'a> Libvirtd<'a> {
    /// `qemu:///system` where that is root, else this user's `qemu:///session`.
    fn start(sandbox: &'a Sandbox, uid: u32) -> Self {
        // The first process stays root's: one that becomes another user is not killed with its parent any more.
        let libvirtd = program(sandbox, uid, "libvirtd");
        let mut unshare = command("unshare");
        unshare
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", "\"$@\"; exit $?", "sh"])
            .arg(libvirtd.get_program())
            .args(libvirtd.get_args())
            .envs(
                libvirtd
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(sandbox.dir().join("libvirtd.err")).unwrap());
        let mut this = Self {
            sandbox,
            child: unshare.spawn().unwrap(),
            uid,
        };
        let answers = eventually(|| {
            let ended = this.child.try_wait().unwrap();
            assert_eq!(ended, None, "libvirtd ends: {}", this.stderr());
            (this.try_virsh(&["list"]).code == 0).then_some(())
        });
        answers.unwrap_or_else(|| panic!("libvirtd does not answer: {}", this.stderr()));
        this
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.sandbox.dir().join("libvirtd.err")).unwrap()
    }

    fn try_virsh(&self, args: &[&str]) -> Run {
        run(program(self.sandbox, self.uid, "virsh").args(args))
    }

    fn virsh(&self, args: &[&str]) {
        let run = self.try_virsh(args);
        assert_eq!(run.code, 0, "virsh {args:?}: {run:?}\n{}", self.stderr());
    }

    /// Defines a domain called `vm` with a card of this type and with these elements.
    fn define(&self, kind: &str, elements: &str) {
        let path = self.sandbox.dir().join("vm.xml");
        let xml = format!(
            "<domain type='qemu'>
               <name>vm</name>
               <uuid>00000000-0000-4000-8000-000000000001</uuid>
               <memory unit='MiB'>32</memory>
               <os><type arch='x86_64' machine='pc'>hvm</type></os>
               <devices>
                 <controller type='usb' model='none'/>
                 <memballoon model='none'/>
                 <interface type='{kind}'>
                   <model type='virtio'/>
                   <rom enabled='no'/>
                   {elements}
                 </interface>
               </devices>
             </domain>"
        );
        fs::write(&path, xml).unwrap();
        self.virsh(&["define", path.to_str().unwrap()]);
    }
}

impl Drop for Libvirtd<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// libvirtd or virsh, as this user.
fn program(sandbox: &Sandbox, uid: u32, name: &str) -> Command {
    let home = sandbox.dir().join("home");
    let (mut command, uri) = match uid {
        0 => (command(name), "qemu:///system"),
        _ => (as_user(uid, uid, name), "qemu:///session"),
    };
    command
        .env("LC_ALL", "C")
        .env("HOME", &home)
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("LIBVIRT_DEFAULT_URI", uri);
    command
}

/// The tap is up and a port of br0; what else is particular to it as a tap.
fn assert_attached(s: &Sandbox, tap: &str) -> Value {
    let link = s
        .link(tap)
        .unwrap_or_else(|| panic!("no {tap}: {:?}", s.links()));
    assert!(is_up(&link), "{link:#}");
    assert_eq!(link["master"], "br0", "{link:#}");
    info(s, tap)
}

#[test]
fn libvirt_starts_a_domain_whose_tap_goes_through_the_script() {
    let Some(s) = sandbox() else { return };
    // libvirt itself brings the tap up before it runs the script.
    s.tap_may_be_up_alone("tap0");
    let log = s.devlog();
    let libvirtd = Libvirtd::start(&s, 0);
    let before = s.snapshot();

    // One queue. libvirt passes no descriptor on, so that no other program can give the tap an owner.
    libvirtd.define("ethernet", SCRIPT);
    libvirtd.virsh(&["start", "vm"]);
    let tap = assert_attached(&s, "tap0");
    assert_eq!(tap.get("user"), None, "{tap:#}");
    let said = lines(&log);
    assert!(
        said.iter().any(|line| line.starts_with("<30>qemu-ifup[")),
        "{said:?}"
    );
    assert!(
        !said.iter().any(|line| line.contains("warning")),
        "{said:?}"
    );
    libvirtd.virsh(&["destroy", "vm"]);
    s.assert_unchanged(&before);
    // A line that wants one is not ignored.
    s.etc("qemu-ifup.conf", "* --owner 54321\n");
    let refused = libvirtd.try_virsh(&["start", "vm"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let reason =
        "status 5: qemu-ifup: tap0: /etc/qemu-ifup.conf:1: cannot set the owner to uid 54321";
    assert!(refused.stderr.contains(reason), "{refused:?}");
    s.assert_unchanged(&before);
    s.etc("qemu-ifup.conf", "");

    // Several: everybody can join the tap, and a warning in the auth log says so.
    libvirtd.define("ethernet", &format!("{SCRIPT}<driver queues='2'/>"));
    libvirtd.virsh(&["start", "vm"]);
    let tap = assert_attached(&s, "tap0");
    assert_eq!(tap["multi_queue"], true, "{tap:#}");
    let said = lines(&log);
    let is_warning = |line: &String| {
        line.starts_with("<36>qemu-ifup[") && line.contains("tap0: warning: it has several queues")
    };
    assert!(said.iter().any(is_warning), "{said:?}");
    libvirtd.virsh(&["destroy", "vm"]);
    s.assert_unchanged(&before);

    // The script's failure is the domain's, in the program's own words.
    s.sh("ip link del br0");
    let refused = libvirtd.try_virsh(&["start", "vm"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let reason = "status 4: qemu-ifup: tap0: cannot attach to br0: no such bridge";
    assert!(refused.stderr.contains(reason), "{refused:?}");
    assert_eq!(s.links(), ["lo"]);
}

#[test]
fn libvirt_opens_a_tap_that_root_has_prepared() {
    let Some(s) = sandbox() else { return };
    let libvirtd = Libvirtd::start(&s, 0);
    for (options, driver) in [(&[][..], ""), (&["--multi-queue"], "<driver queues='2'/>")] {
        let prepared = s.ifup(&[options, &["--owner", "54321", "tap0"]].concat());
        assert_eq!(prepared.code, 0, "{prepared:?}");
        libvirtd.define(
            "ethernet",
            &format!("<target dev='tap0' managed='no'/>{driver}"),
        );
        for _ in 0..2 {
            libvirtd.virsh(&["start", "vm"]);
            assert_eq!(assert_attached(&s, "tap0")["user"], "alice");
            libvirtd.virsh(&["destroy", "vm"]);
            assert_attached(&s, "tap0");
        }
        let deleted = s.ifdown(&["--delete", "tap0"]);
        assert_eq!(deleted.code, 0, "{deleted:?}");
    }
}

#[test]
fn a_users_own_libvirt_runs_the_program_as_its_bridge_helper() {
    let Some(s) = sandbox() else { return };
    let log = s.devlog();
    let libvirtd = Libvirtd::start(&s, ALICE);
    let before = s.snapshot();
    libvirtd.define("bridge", "<source bridge='br0'/>");

    // Not without root's leave. Whether the program's own words are in libvirt's error depends on who is faster there.
    let refused = |reason: &str| {
        let run = libvirtd.try_virsh(&["start", "vm"]);
        assert_eq!(run.code, 1, "{run:?}");
        let helper = "/etc/qemu-ifup --use-vnet --br=br0";
        assert!(run.stderr.contains(helper), "{run:?}");
        let said = lines(&log);
        assert!(said.iter().any(|line| line.contains(reason)), "{said:?}");
    };
    refused("no CAP_NET_ADMIN");
    s.sh("setcap cap_net_admin+ep /etc/qemu-ifup");
    refused("/etc/qemu/bridge.conf");
    s.assert_unchanged(&before);

    s.etc("qemu/bridge.conf", "allow br0\n");
    libvirtd.virsh(&["start", "vm"]);
    assert_eq!(s.ports("br0").len(), 1);
    let tap = s.ports("br0").remove(0);
    assert_eq!(assert_attached(&s, &tap)["user"], "alice");
    libvirtd.virsh(&["destroy", "vm"]);
    eventually(|| s.ports("br0").is_empty().then_some(())).expect("the tap stays");
    s.assert_unchanged(&before);
}
