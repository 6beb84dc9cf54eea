//! The command `bowline`: arguments, output and exit codes around the library of the same name.
//!
//! It is a library so that chores and tests can reach the argument tree; the binary only calls [`main`].

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "comments of arguments are help texts, where brackets mean what is optional"
)]

pub mod cli;
pub mod commands;
mod complete;
mod confirm;
mod duration;
pub mod error;
mod escape;
pub mod exit_code;
mod job_record;
mod kept;
mod logging;
pub mod output;
mod picker;
mod plugin;
pub mod printer;
mod private_sandbox;
mod prompt;
mod recording;
mod screen;
mod signals;
mod terminal;
mod whole;
mod writer;

use std::ffi::OsString;
use std::process;

use crate::cli::Cli;
use crate::commands::Context;
use crate::commands::sandbox::CONTAINER_INIT;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::printer::Printer;

/// Runs one command line and gives the process's exit code. The runtime starts only after the arguments have
/// been read, so help, version and usage errors never pay for it.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> process::ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let program = arguments.next();
    if arguments.next_if(|word| word == CONTAINER_INIT).is_some() {
        return bowline_sandbox::init::main(arguments);
    }
    if program.as_deref().is_some_and(plugin::is_called) {
        return plugin::main(arguments);
    }
    let mut arguments: Vec<OsString> = program.into_iter().chain(arguments).collect();
    if complete::is_asked() {
        complete::answer(arguments);
        return ExitCode::Success.into();
    }
    let printer = Printer;
    let mut parsed = cli::parse(&arguments);
    // Without a command somebody at a terminal is shown what there is to log in to, and anybody else the help.
    let alone = parsed.as_ref().is_err_and(cli::lacks_command) && picker::is_possible();
    if alone {
        arguments.push("login".into());
        parsed = cli::parse(&arguments);
    }
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error)
            if error.use_stderr()
                && let Some(misplaced) = commands::exec::misplaced(&arguments) =>
        {
            printer.error(&misplaced);
            return ExitCode::Usage.into();
        }
        Err(error) => {
            printer.arguments(&error);
            return match error.use_stderr() {
                true => ExitCode::Usage.into(),
                false => ExitCode::Success.into(),
            };
        }
    };
    logging::start(cli.global.verbose);
    match run(cli, printer, arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            let error = match alone {
                true => error.hint("`bowline help` shows what else there is"),
                false => error,
            };
            printer.error(&error);
            error.exit_code().into()
        }
    }
}

fn run(mut cli: Cli, printer: Printer, arguments: Vec<OsString>) -> Result<ExitCode, CommandError> {
    if let Some(text) = commands::without_runtime(&cli.command)? {
        printer.document(&text)?;
        return Ok(ExitCode::Success);
    }
    let config = commands::config::load(&cli)?;
    cli.global.apply(&config.defaults);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
    let context = Context::new(cli.global, config, printer, arguments);
    let ended = runtime.block_on(async {
        let ended = tokio::select! {
            // The command first: it may have taken the signal that it ends with.
            biased;
            ended = commands::run(cli.command, &context) => ended,
            signal = signals::unheard() => {
                // A question may stand on the line.
                printer.note("\ninterrupted");
                context.leave().await;
                Ok(signal.code())
            }
        };
        let ended = recording::finish(&context, ended).await;
        let ended = ended.map_err(|error| context.explain(error));
        context.close().await;
        ended
    });
    // A blocked read of a terminal's stdin cannot be cancelled and must not hold the process.
    runtime.shutdown_background();
    ended
}
