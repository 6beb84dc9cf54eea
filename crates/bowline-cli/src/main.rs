//! The binary `bowline`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `__container-init` is dispatched here, before clap and before any thread exists: the sandbox starts
    // this program again as the first process of a container.
    bowline_cli::main(std::env::args_os())
}
