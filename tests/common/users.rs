//! Users without root, none of whom /etc/passwd knows, so that ip(8) prints their numbers.

use crate::common::command;
use crate::common::fds::open_tap;
use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::{io, thread};

/// A user who may run the programs with their capability, or to whom root gives taps. If /etc/passwd has to know a user, it is her.
pub const ALICE: u32 = 54321;
/// Somebody else to whom root gives taps.
pub const BOB: u32 = 54322;
/// One who is up to something, and may call the programs like Alice.
pub const MALLORY: u32 = 54323;

/// A command as another user, without capabilities and supplementary groups.
pub fn as_user(uid: u32, gid: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = command("setpriv");
    command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
    command.args(["--clear-groups", "--"]).arg(program);
    command
}

/// Opens a tap as another user would, by TUNSETIFF with these flags and IFF_TAP. Where one of that name is there it
/// opens that one (or with IFF_MULTI_QUEUE joins it).
pub fn open_tap_as(uid: u32, name: &str, flags: i32) -> io::Result<File> {
    let name = name.to_owned();
    let user = thread::spawn(move || {
        this_thread_becomes(uid)?;
        open_tap(&name, flags)
    });
    user.join().unwrap()
}

/// Makes the calling thread, which should end soon, another user's, without capabilities and supplementary groups. It has
/// credentials of its own as long as libc's wrappers, which change those of all threads, are left aside.
pub fn this_thread_becomes(uid: u32) -> io::Result<()> {
    // SAFETY: takes no pointers that are read (an empty list), and no memory is handed to the kernel.
    let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u8>()) };
    nix::errno::Errno::result(groups)?;
    // SAFETY: takes no pointers; the thread does nothing afterwards that needs root's group.
    let gid = unsafe { libc::syscall(libc::SYS_setresgid, uid, uid, uid) };
    nix::errno::Errno::result(gid)?;
    // SAFETY: as above, for the user.
    let uid = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    nix::errno::Errno::result(uid)?;
    Ok(())
}
