//! qemu-ifup: brings a tap up on a bridge. See the library for everything.

use qemu_ifup::cli::Program;

fn main() -> std::process::ExitCode {
    qemu_ifup::run(Program::Ifup, std::env::args_os()).into()
}
