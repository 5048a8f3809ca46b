//! What a guest needs besides busybox, in tests/matrix and tests/qemu/guest/: whoever holds a tap, or sends through it, and a QEMU
//! that calls its bridge helper.
//!
//! Of one file, with the standard library only, so that rustc alone builds it for each architecture.
//! `tool hold NAME SECONDS [multi]`; `tool send NAME` sends what comes on its standard input, a frame each time, and holds the tap
//! as long as that is open; `tool helper PROGRAM ARGUMENT...` prints the name of the tap that it got and keeps it.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;
use std::{env, io, thread};

unsafe extern "C" {
    fn ioctl(fd: i32, request: std::ffi::c_ulong, ...) -> i32;
    fn recvmsg(fd: i32, message: *mut MsgHdr, flags: i32) -> isize;
    fn fcntl(fd: i32, command: i32, ...) -> i32;
}

/// struct msghdr of glibc and of musl; what musl has more is padding, which is 0 on a little-endian machine.
#[repr(C)]
struct MsgHdr {
    name: usize,
    name_len: u32,
    iov: *mut [usize; 2],
    iov_len: usize,
    control: *mut usize,
    control_len: usize,
    flags: i32,
}

// _IOW('T', 202, int) and _IOR('T', 210, unsigned int); powerpc has the two directions the other way round.
const POWERPC: bool = cfg!(target_arch = "powerpc64");
const TUNSETIFF: u64 = if POWERPC { 0x8004_54ca } else { 0x4004_54ca };
const TUNGETIFF: u64 = if POWERPC { 0x4004_54d2 } else { 0x8004_54d2 };

fn if_request(fd: i32, request: u64, name: &str, flags: u16) -> Result<String> {
    let mut ifreq = [0_u8; 40];
    ifreq[..name.len()].copy_from_slice(name.as_bytes());
    ifreq[16..18].copy_from_slice(&flags.to_ne_bytes());
    if unsafe { ioctl(fd, request as std::ffi::c_ulong, ifreq.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    let end = ifreq.iter().position(|&b| b == 0).unwrap();
    Ok(String::from_utf8_lossy(&ifreq[..end]).into_owned())
}

fn open(name: &str, multi: bool) -> Result<File> {
    let tun: File = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // IFF_TAP | IFF_NO_PI, IFF_MULTI_QUEUE
    if_request(tun.as_raw_fd(), TUNSETIFF, name, if multi { 0x1102 } else { 0x1002 })?;
    Ok(tun)
}

fn hold(name: &str, seconds: &str, multi: bool) -> Result<()> {
    let _tun = open(name, multi)?;
    thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
    Ok(())
}

fn send(name: &str) -> Result<()> {
    let mut tun = open(name, false)?;
    let mut frame = [0; 1514];
    loop {
        match io::stdin().read(&mut frame)? {
            0 => return Ok(()),
            size => tun.write_all(&frame[..size])?,
        }
    }
}

fn helper(program: &str, arguments: &[String]) -> Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let fd = theirs.as_raw_fd();
    unsafe { fcntl(fd, 2, 0) }; // F_SETFD: without FD_CLOEXEC
    let status = Command::new(program).arg(format!("--fd={fd}")).args(arguments).status()?;
    assert!(status.success(), "{status}");
    let mut byte = [0_u8; 1];
    let mut iov = [byte.as_mut_ptr() as usize, 1];
    let mut control = [0_usize; 8];
    let mut message: MsgHdr = unsafe { std::mem::zeroed() };
    (message.iov, message.iov_len) = (&mut iov, 1);
    (message.control, message.control_len) = (control.as_mut_ptr(), size_of_val(&control));
    if unsafe { recvmsg(ours.as_raw_fd(), &mut message, 0) } < 0 {
        return Err(Error::last_os_error());
    }
    // After struct cmsghdr: a length and two numbers.
    let tap = unsafe { control.as_ptr().cast::<i32>().add((size_of::<usize>() + 8) / 4).read() };
    println!("{}", if_request(tap, TUNGETIFF, "", 0)?);
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments[0].as_str() {
        "hold" => hold(&arguments[1], &arguments[2], arguments.len() > 3),
        "send" => send(&arguments[1]),
        _ => helper(&arguments[1], &arguments[2..]),
    }
}
