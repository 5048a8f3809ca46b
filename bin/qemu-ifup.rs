//! qemu-ifup: brings a tap up on a bridge. See the library for everything.
#![no_main]

qemu_ifup::program!(qemu_ifup::ifup_main);
