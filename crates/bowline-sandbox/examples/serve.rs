//! Starts a sandbox, prints its environment and serves until Ctrl-C.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use bowline_sandbox::{InitCommand, Options, Sandbox};

/// The word that makes this program the init of a container.
const INIT: &str = "container-init";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|word| word == INIT).is_some() {
        return bowline_sandbox::init::main(arguments);
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let init = InitCommand {
        program: std::env::current_exe()?,
        arguments: vec![OsString::from(INIT)],
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let sandbox = Sandbox::start(Options::new(init)).await?;
        let mut out = std::io::stdout();
        for (name, value) in sandbox.environment() {
            match value {
                Some(value) => writeln!(out, "export {name}={value}")?,
                None => writeln!(out, "unset {name}")?,
            }
        }
        out.flush()?;
        tokio::signal::ctrl_c().await?;
        sandbox.shutdown().await;
        Ok(())
    })
}
