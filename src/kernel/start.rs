//! The way in: what a program has before its first line, and what it does without.
//!
//! Rust's own runtime prepares every program for threads, for a stack that overflows, for a panic that unwinds and for a
//! backtrace. That is a dozen system calls, and more than half of the code, in a program that lives for a millisecond on
//! one thread and aborts where it panics. So [`program!`](crate::program) makes a plain C `main`, and this module does the
//! part that is needed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::error::{Cause, Error};
use crate::kernel::tap::open_ones;

/// Makes this file the whole of a program, whose `main` is C's.
#[macro_export]
macro_rules! program {
    ($program:expr) => {
        #[global_allocator]
        static MEMORY: $crate::kernel::start::Arena = $crate::kernel::start::Arena::new();

        #[unsafe(no_mangle)]
        unsafe extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments of main().
            let args = unsafe { $crate::kernel::start::args(argc, argv) };
            $crate::run($program, args) as std::ffi::c_int
        }
    };
}

/// The words of the command line.
///
/// # Safety
/// The arguments are those of C's `main()`: `argv` points to `argc` strings that nobody changes.
pub unsafe fn args(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the caller says that there are so many.
    let words = unsafe { std::slice::from_raw_parts(argv, count) };
    let words = words.iter().map(|&word| {
        // SAFETY: the caller says that it is a string, and that it stays as it is.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    words.collect()
}

/// A reader that went away, or a caller's limit on the size of files (RLIMIT_FSIZE), must not end us half way, by way of a
/// message: these become errors like any other.
pub fn ignore_signals() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: ignoring a signal runs no code of ours. The only error is a signal that does not exist.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Where standard input, output or error is closed, the next descriptor to be opened would get its number, and messages
/// would go to the kernel or into the tap: puts /dev/null there.
///
/// # Errors
/// The kernel does not say which are open, or /dev/null cannot be opened.
pub fn hold_standard_descriptors() -> Result<(), Error> {
    hold().map_err(|cause| Error::step("look at the standard descriptors", cause))
}

fn hold() -> Result<(), Cause> {
    let open = open_ones(0..3)?;
    for _closed in (0..3).filter(|fd| !open.contains(fd)) {
        // The lowest number that is free is this one, and it stays open.
        // SAFETY: the path is a C string.
        Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
    }
    Ok(())
}

/// Memory that is handed out from the front to the back and never taken back: a run needs little, and ends soon. What does
/// not fit comes from the system's allocator.
pub struct Arena {
    room: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

/// Bytes of the arena: room for one answer of the kernel, and as much again. What is not written to takes no memory.
const ARENA: usize = 2 * super::netlink::ROOM;

/// Every piece is aligned as malloc(3) does it, for anything: libraries rely on that even where they ask for bytes.
const ALIGNMENT: usize = 16;

// SAFETY: `room` is only ever handed out in pieces, each of which `used` gives to one caller alone.
unsafe impl Sync for Arena {}

impl Arena {
    /// All of it free.
    #[expect(clippy::new_without_default, reason = "a static needs a const fn")]
    pub const fn new() -> Self {
        Self {
            room: UnsafeCell::new([0; ARENA]),
            used: AtomicUsize::new(0),
        }
    }

    /// Where a piece of this layout begins, if there is room for it.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let room = self.room.get().cast::<u8>();
        let alignment = layout.align().max(ALIGNMENT);
        let piece = |used: usize| {
            let free = room.addr() + used;
            let start = used + (free.next_multiple_of(alignment) - free);
            let end = start.checked_add(layout.size())?;
            (end <= ARENA).then_some((start, end))
        };
        let order = Ordering::Relaxed;
        let taken = self
            .used
            .fetch_update(order, order, |used| piece(used).map(|(_, end)| end));
        let (start, _) = piece(taken.ok()?)?;
        Some(room.wrapping_add(start))
    }

    fn holds(&self, piece: *mut u8) -> bool {
        let room = self.room.get().addr();
        (room..room + ARENA).contains(&piece.addr())
    }
}

// SAFETY: take() gives every caller memory of its own, of the size and alignment that was asked for, or None; what it did
// not give is the system's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(piece) => piece,
            // SAFETY: the caller's promise is passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if !self.holds(piece) {
            // SAFETY: it is not ours, so it was the system's allocator that gave it.
            unsafe { System.dealloc(piece, layout) };
        }
    }
}

/// Where a panic aborts, nothing unwinds, and where the program is stripped, a backtrace names nothing. Rust's library would
/// bring an unwinder and a reader of debug information along all the same, half of the program: these stand in for the
/// unwinder's functions (unwind.h of the Itanium C++ ABI), so that it is left out. A panic still says what and where.
#[cfg(all(panic = "abort", target_env = "musl", not(target_arch = "arm")))]
mod unwinder {
    use std::ffi::{c_int, c_void};

    /// `_URC_END_OF_STACK`
    const END_OF_STACK: c_int = 5;

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(
        _see: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        _argument: *mut c_void,
    ) -> c_int {
        END_OF_STACK
    }

    // Only what unwinds calls these.
    macro_rules! never_called {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                std::process::abort()
            }
        )*};
    }
    never_called! {
        _Unwind_RaiseException _Unwind_Resume _Unwind_DeleteException _Unwind_FindEnclosingFunction
        _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase _Unwind_GetDataRelBase
        _Unwind_GetGR _Unwind_SetGR _Unwind_GetIP _Unwind_GetIPInfo _Unwind_SetIP _Unwind_GetCFA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out pieces of these sizes and alignments, and fills each with its number.
    fn fill(arena: &Arena, layouts: &[(usize, usize)]) -> Vec<(*mut u8, usize, u8)> {
        let numbered = (1..).zip(layouts);
        let pieces = numbered.map(|(number, &(size, align))| {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero.
            let piece = unsafe { arena.alloc(layout) };
            assert!(!piece.is_null() && piece.addr() % align.max(ALIGNMENT) == 0);
            // SAFETY: the piece is that large.
            unsafe { piece.write_bytes(number, size) };
            (piece, size, number)
        });
        pieces.collect()
    }

    #[test]
    fn pieces_are_aligned_and_do_not_overlap() {
        let arena = Box::new(Arena::new());
        let layouts = [
            (1, 1),
            (3, 2),
            (4096, 1),
            (24, 8),
            (100, 64),
            (1, 4096),
            (5, 1),
        ];
        for (piece, size, number) in fill(&arena, &layouts) {
            assert!(arena.holds(piece));
            // SAFETY: the piece was filled to this size, and nobody writes to it now.
            let bytes = unsafe { std::slice::from_raw_parts(piece, size) };
            assert!(bytes.iter().all(|&byte| byte == number), "{number}");
        }
    }

    #[test]
    fn what_does_not_fit_is_the_systems_and_goes_back_to_it() {
        let arena = Box::new(Arena::new());
        let layouts = [(ARENA - 64, 1), (4096, 1), (usize::MAX / 4, 1)];
        let layouts = layouts.map(|(size, align)| Layout::from_size_align(size, align).unwrap());
        // SAFETY: the sizes are not zero.
        let pieces = layouts.map(|layout| unsafe { arena.alloc(layout) });
        assert_eq!(pieces.map(|piece| arena.holds(piece)), [true, false, false]);
        assert_eq!(pieces.map(|piece| piece.is_null()), [false, false, true]);
        // SAFETY: the piece came from there, with this layout.
        unsafe { arena.dealloc(pieces[1], layouts[1]) };
        // There is still a little room, at the end.
        let last = fill(&arena, &[(16, 1)]);
        assert!(arena.holds(last[0].0));
    }
}
