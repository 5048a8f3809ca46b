//! A second run of the same user, with a tracer of its own.

use super::net::{Link, Rtnetlink};
use super::tracer::{End, Traced};
use super::world::start;
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// Where a run stands still, before a call that others have to do with.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// After so many changes of the tap that everybody can see,
    pub changes: usize,
    /// and so many more of such calls.
    pub calls: usize,
}

impl Place {
    /// Lets a run go on to this place; whether it stands there now, and has not ended before.
    pub fn reached(self, traced: &mut Traced, tap: &str) -> bool {
        let mut rtnetlink = Rtnetlink::new();
        let mut look = || -> Option<Link> {
            let mut links = rtnetlink.links().into_iter();
            links.find(|link| link.name == tap)
        };
        let (mut last, mut changes, mut calls) = (look(), 0, 0);
        while let Some(stop) = traced.next() {
            if !stop.is_shared() {
                continue;
            }
            if changes < self.changes {
                let now = look();
                changes += usize::from(now != last);
                last = now;
            } else {
                calls += 1;
            }
            if changes == self.changes && calls >= self.calls {
                return true;
            }
        }
        false
    }
}

/// A run that is traced by a thread of its own: one thread waits for one program only.
pub struct Second {
    go_on: Sender<()>,
    thread: JoinHandle<End>,
}

impl Second {
    /// Starts it; returns when it stands at that place or has ended.
    pub fn start(mut command: Command, uid: u32, place: Place, tap: &'static str) -> Self {
        let (go_on, wait) = mpsc::channel();
        let (stands, stood) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut traced = start(&mut command, uid, None);
            if place.reached(&mut traced, tap) {
                stands.send(()).unwrap();
                let _ = wait.recv();
                while traced.next().is_some() {}
            } else {
                stands.send(()).unwrap();
            }
            traced.end()
        });
        stood.recv().expect("the second run cannot be traced");
        Self { go_on, thread }
    }

    /// Lets it go on to its end.
    pub fn end(self) -> End {
        // It may be over already.
        let _ = self.go_on.send(());
        self.thread.join().unwrap()
    }
}
