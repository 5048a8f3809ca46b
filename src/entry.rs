//! C's `main`, and stand-ins for the unwinder: what a program has before its first line, and what it does without.
//!
//! Rust's own runtime prepares every program for threads, for a stack that overflows, for a panic that unwinds and for a
//! backtrace, in a program that lives for a millisecond, as a rule on one thread, and aborts where it panics. The plain C
//! `main` saves 13 system calls and 8 to 12 KB of each binary; the stand-ins save 290 KB (musl, x86-64).
#![allow(
    unsafe_code,
    reason = "the arguments of C's main(), and symbols that must not be mangled"
)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// Makes the file that calls it the whole of a program, whose `main` is C's.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments of main().
            let args = unsafe { $crate::entry::args(argc, argv) };
            $main(args) as std::ffi::c_int
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

/// Where a panic aborts, nothing unwinds, and where the program is stripped, a backtrace names nothing. Rust's library would
/// link an unwinder and a reader of debug information all the same: these stand in for the unwinder's functions (unwind.h
/// of the Itanium C++ ABI), so that it is left out. A panic still says what and where.
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
