//! A host whose root lends the programs' capability to its users.

use crate::common::sandbox::Sandbox;
use crate::common::users::as_user;
use crate::common::{Run, bin, command, needs, run};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// Programs with the file capability, and two bridges that everybody may use.
pub struct Lent {
    pub sandbox: Sandbox,
    pub programs: PathBuf,
}

impl Lent {
    /// None, and the test counts as skipped, where this cannot be.
    pub fn new() -> Option<Self> {
        if !needs("setcap") {
            return None;
        }
        let sandbox = Sandbox::new()?;
        sandbox.etc("qemu/bridge.conf", "allow br0\nallow br1\n");
        for bridge in ["br0", "br1"] {
            sandbox.bridge_up(bridge);
        }
        sandbox.sh(&format!(
            "mkdir \"$DIR/bin\"
             cp {} {} \"$DIR/bin\"
             for program in \"$DIR\"/bin/*; do setcap cap_net_admin+ep \"$program\"; done",
            bin("qemu-ifup").display(),
            bin("qemu-ifdown").display(),
        ));
        let programs = sandbox.dir().join("bin");
        Some(Self { sandbox, programs })
    }

    /// A user's call of one of the two programs; root's, if they are uid 0.
    pub fn call(&self, uid: u32, program: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let program = self.programs.join(program);
        let mut call = match uid {
            0 => command(program),
            _ => as_user(uid, uid, &program),
        };
        call.args(args);
        call
    }

    pub fn ifup(&self, uid: u32, args: &[&str]) -> Run {
        run(&mut self.call(uid, "qemu-ifup", args))
    }

    pub fn ifdown(&self, uid: u32, args: &[&str]) -> Run {
        run(&mut self.call(uid, "qemu-ifdown", args))
    }
}
