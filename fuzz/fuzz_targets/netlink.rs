//! What the kernel answers: see src/fuzz.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qemu_ifup::fuzz::netlink(data));
