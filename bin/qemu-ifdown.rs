//! qemu-ifdown: takes a tap down. See the library for everything.

use qemu_ifup::cli::Program;

fn main() -> std::process::ExitCode {
    qemu_ifup::run(Program::Ifdown, std::env::args_os()).into()
}
