//! The way in: what a program has before its first line, and what it does without.
//!
//! Rust's own runtime prepares every program for threads, for a stack that overflows, for a panic that unwinds and for a
//! backtrace. That is a dozen system calls, and more than half of the code, in a program that lives for a millisecond on
//! one thread and aborts where it panics. So [`program!`](crate::program) makes a plain C `main`, and this module does the
//! part that is needed.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use crate::error::{Cause, Error};
use crate::kernel::tap::open_ones;

/// Makes this file the whole of a program, whose `main` is C's.
#[macro_export]
macro_rules! program {
    ($program:expr) => {
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
