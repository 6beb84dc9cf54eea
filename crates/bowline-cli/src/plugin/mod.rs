//! `session-manager-plugin`: what bowline does when it is called by that name, as the AWS CLI and others call AWS's own
//! program for sessions.
//!
//! The texts on stdout are those of AWS's program, because there are tools that read them.

mod call;
mod ports;
mod session;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process;

use bowline::session::CLIENT_VERSION;

use self::call::{Asked, Call, Wrong};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::logging;
use crate::printer::Printer;

/// The name of AWS's program.
pub(crate) const NAME: &str = "session-manager-plugin";

/// Whether the program was called by that name, through a link or as a copy.
pub(crate) fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(NAME))
}

/// Does what the words behind the program's name say.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> process::ExitCode {
    logging::start(0);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let environment = |name: &str| std::env::var(name).ok();
    let said = match call::read(&words, environment) {
        Ok(Asked::Installed) => Printer.document(
            "\nThe Session Manager plugin was installed successfully. Use the AWS CLI to start a session.\n\n",
        ),
        Ok(Asked::Version) => Printer.document(&format!("{CLIENT_VERSION}\n")),
        Ok(Asked::Session(call)) => return serve(*call),
        Err(wrong) => {
            // In these cases there is nobody but stdout to tell it to, as with AWS's program.
            let _ = Printer.document(&wrong_text(&wrong));
            return ExitCode::Failed.into();
        }
    };
    match said {
        Ok(()) => ExitCode::Success.into(),
        Err(_) => ExitCode::Failed.into(),
    }
}

fn wrong_text(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Word(word) => {
            format!("\nUnknown operation {word}. \nUse {NAME} --version to check the version.\n\n")
        }
        Wrong::Operation => "Invalid Operation".to_owned(),
        Wrong::Response(reason) => format!("Cannot perform start session: {reason}\n"),
    }
}

fn serve(call: Call) -> process::ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            Printer.error(&CommandError::from(error));
            return ExitCode::Failed.into();
        }
    };
    let code = runtime.block_on(session::run(call));
    // A blocked read of stdin cannot be cancelled and must not hold the process.
    runtime.shutdown_background();
    code.into()
}
