//! A QEMU in a sandbox.

use crate::common::sandbox::Sandbox;
use crate::common::users::as_user;
use crate::common::{PATIENCE, Run, code, command, eventually, wait};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A QEMU whose guest stands still before its first instruction (-S). It is killed when it is dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    monitor: Option<BufReader<UnixStream>>,
    dir: PathBuf,
}

impl Qemu {
    /// What every QEMU here is started with: no devices but those that a test asks for.
    pub const ARGS: &str = "-accel tcg -machine pc -nodefaults -display none -S";

    /// Starts QEMU with more arguments, given in one line. Returns when its monitor answers, so when all network
    /// scripts are done; Err if it ends before.
    pub fn start(sandbox: &Sandbox, args: &str) -> Result<Self, Run> {
        Self::start_by(sandbox, 0, command("qemu-system-x86_64"), args)
    }

    /// The same as another user.
    pub fn start_as(sandbox: &Sandbox, uid: u32, args: &str) -> Result<Self, Run> {
        Self::start_by(sandbox, uid, as_user(uid, uid, "qemu-system-x86_64"), args)
    }

    fn start_by(sandbox: &Sandbox, uid: u32, mut qemu: Command, args: &str) -> Result<Self, Run> {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = sandbox.dir().join(format!("qemu-{n}"));
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(uid), Some(uid)).unwrap();
        let socket = dir.join("monitor");
        // Files, not pipes: nobody reads while it runs.
        qemu.args(Self::ARGS.split_whitespace())
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap());
        let child = qemu.spawn().expect("cannot start QEMU");
        let mut this = Self {
            child,
            monitor: None,
            dir,
        };
        let stream = eventually(|| {
            if let Some(status) = this.child.try_wait().unwrap() {
                return Some(Err(status));
            }
            UnixStream::connect(&socket).ok().map(Ok)
        });
        match stream {
            Some(Ok(stream)) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                this.monitor = Some(BufReader::new(stream));
            }
            Some(Err(status)) => return Err(this.ended(status)),
            None => panic!("QEMU does not open its monitor: {}", this.stderr()),
        }
        match this.execute(&json!({"execute": "qmp_capabilities"})) {
            Some(_) => Ok(this),
            None => {
                let status = wait(&mut this.child).expect("QEMU does not end");
                Err(this.ended(status))
            }
        }
    }

    /// Sends one command and reads up to its answer, past all events. None if QEMU closes the monitor.
    pub fn execute(&mut self, command: &Value) -> Option<Value> {
        let monitor = self.monitor.as_mut().unwrap();
        writeln!(monitor.get_mut(), "{command}").ok()?;
        loop {
            let mut line = String::new();
            match monitor.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("QEMU does not answer {command}: {e}"),
            }
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer.get("return").is_some() || answer.get("error").is_some() {
                return Some(answer);
            }
        }
    }

    /// Ends it in an orderly way, with its downscripts.
    pub fn quit(mut self) -> Run {
        let _ = self.execute(&json!({"execute": "quit"}));
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        let status = wait(&mut self.child).expect("QEMU does not end");
        self.ended(status)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its scripts have written to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    fn ended(&self, status: ExitStatus) -> Run {
        Run {
            code: code(status),
            stdout: fs::read_to_string(self.dir.join("stdout")).unwrap(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
