//! A host whose users create taps by a qemu-ifup that has the file capability.

use crate::common::sandbox::Sandbox;
use crate::common::users::as_user;
use crate::common::{Run, bin, command, needs, run};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// The programs, of which qemu-ifup has the file capability, and two bridges that every user may use.
pub struct Host {
    pub sandbox: Sandbox,
    pub programs: PathBuf,
}

impl Host {
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
             setcap cap_net_admin+ep \"$DIR/bin/qemu-ifup\"",
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
