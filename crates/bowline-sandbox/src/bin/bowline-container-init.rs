//! The container init as a program of its own, for this crate's tests; `bowline` carries it as a hidden subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline_sandbox::init::main(std::env::args_os().skip(1))
}
