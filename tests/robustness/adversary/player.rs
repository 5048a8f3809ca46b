//! Those who act: threads with another user's rights, and descriptors of taps that are theirs.

use super::net;
use nix::errno::Errno;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

type Order = Box<dyn FnOnce(&mut Vec<File>) + Send>;

/// A user who waits for orders. What is asked is done with her rights and not with root's.
pub struct Player {
    pub uid: u32,
    orders: Sender<Order>,
}

impl Player {
    /// In the namespaces of the calling thread.
    pub fn new(uid: u32) -> Self {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            if uid != 0 {
                become_user(uid);
            }
            let mut taps = Vec::new();
            for order in inbox {
                order(&mut taps);
            }
        });
        Self { uid, orders }
    }

    /// Lets her do something with the taps that she has open, and waits for the answer.
    pub fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Vec<File>) -> T + Send + 'static,
    ) -> T {
        self.tell(order).recv().unwrap()
    }

    /// The same without waiting.
    fn tell<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Vec<File>) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (answer, answered) = mpsc::channel();
        let order: Order = Box::new(move |taps| {
            // Nobody may want to know.
            let _ = answer.send(order(taps));
        });
        self.orders.send(order).unwrap();
        answered
    }

    /// She opens a tap or joins it, and keeps it open.
    pub fn open(&self, name: &'static str, multi_queue: bool) -> std::io::Result<()> {
        self.ask(move |taps| {
            taps.push(net::open_tap(name, multi_queue)?);
            Ok(())
        })
    }

    /// The taps that she has open and that are still there.
    pub fn holds(&self) -> Vec<String> {
        self.ask(|taps| taps.iter().flat_map(net::name_behind).collect())
    }

    /// She writes frames into the tap that she opened last, without a pause, until that is stopped. Returns when it goes on.
    pub fn flood(&self) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (begin, begun) = mpsc::channel();
        let ended = self.tell(move |taps| {
            let frame = frame();
            let _ = begin.send(());
            while !stopped.load(Ordering::Relaxed) {
                let Some(mut tap) = taps.last() else {
                    return;
                };
                // A tap that is down takes none (EIO); one that is gone neither.
                let _ = std::io::Write::write(&mut tap, &frame);
            }
        });
        begun.recv().unwrap();
        Flood { stop, ended }
    }
}

/// Frames are written without a pause, until this is stopped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Flood {
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.ended.recv().unwrap();
    }
}

/// A thread has credentials of its own, as long as libc's wrappers, which change those of all threads, are left aside.
fn become_user(uid: u32) {
    // SAFETY: takes no pointers that are read (an empty list), and no memory is handed to the kernel.
    let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u8>()) };
    Errno::result(groups).unwrap();
    // SAFETY: takes no pointers; nothing else runs in this thread.
    let gid = unsafe { libc::syscall(libc::SYS_setresgid, uid, uid, uid) };
    Errno::result(gid).unwrap();
    // SAFETY: as above, for the user.
    let uid = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    Errno::result(uid).unwrap();
}

/// The port of the host's that the frames are for.
pub const PORT: u16 = 9999;

/// A broadcast of one UDP datagram without a sender's address: the host takes it on whatever interface it comes in, and this
/// may have no address itself.
pub fn frame() -> Vec<u8> {
    let data = b"over the bridge?";
    let total = u16::try_from(20 + 8 + data.len()).unwrap();
    let mut ip = vec![0x45, 0];
    ip.extend(total.to_be_bytes());
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0]); // an id, no fragment, TTL 64, UDP, the checksum's place
    ip.extend([0, 0, 0, 0, 255, 255, 255, 255]);
    let mut sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x08, 0x00]); // from a guest; IPv4
    frame.extend(ip);
    frame.extend(5_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend((8 + 16_u16).to_be_bytes());
    frame.extend([0, 0]); // no checksum
    frame.extend(data);
    frame
}
