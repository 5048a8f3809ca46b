//! qemu-ifdown: takes a tap off its bridge and down. See the library for everything.
#![no_main]

qemu_ifup::program!(qemu_ifup::ifdown_main);
