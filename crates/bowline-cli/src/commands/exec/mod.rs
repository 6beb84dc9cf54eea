//! `bowline exec`: one command in a container.

mod report;
mod run;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use bowline::session::exec::{Engine, ExecRequest};
use bowline::target::TargetSpec;
use clap::Args;

use self::report::Report;
use super::Context;
use crate::cli::OutputFormat;
use crate::duration;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::terminal;

/// Run one command in a container
///
/// Its stdout, stderr and exit code come back unchanged; `bowline help exit-codes` tells them from bowline's own. There
/// is no shell unless you name one. With `-o json` each event is a JSON line.
///
/// Examples:
///   bowline exec web -- ls -l /app
///   bowline exec prod/web/app -- sh -c 'echo $HOSTNAME; exit 3'
///   bowline exec -i web -- psql <dump.sql
///   bowline exec -t web -- top
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline exec [OPTIONS] [TARGET] -- <COMMAND>..."
)]
pub struct ExecArgs {
    /// A service, task or container; not needed where there is only one
    target: Option<TargetSpec>,
    #[arg(hide = true)]
    misplaced: Vec<OsString>,
    /// Send our stdin to the command; without this its stdin is empty
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Run the command on a terminal, with stdout and stderr as one; at a terminal your keys go to it
    #[arg(short = 't', long)]
    tty: bool,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// The command and its arguments, as they are
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub async fn run(args: ExecArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.check()?;
    let report = match context.global.output {
        None => Report::Streams,
        Some(OutputFormat::Json | OutputFormat::Ndjson) => Report::Json,
        Some(_) => {
            return Err(CommandError::usage(
                "exec prints the command's own output, or events with -o json",
            ));
        }
    };
    let ended = start(&args, context, report).await;
    report.last_line(&ended, context)?;
    ended
}

async fn start(
    args: &ExecArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    let client = context.client().await?;
    let options = context.global.target_options();
    let target = match &args.target {
        Some(target) => client.resolve(target, &options).await,
        None => client.resolve_only(&options).await,
    };
    let target = target.map_err(|error| CommandError::from(error).starting_remote())?;
    for note in &target.notes {
        context.printer.note(note);
    }
    // With a terminal on both sides the keyboard is the command's.
    let raw = args.tty && terminal::stdin_is_terminal();
    let request = ExecRequest {
        engine: if args.tty {
            Engine::Tty
        } else {
            Engine::Framed
        },
        stdin: args.stdin || raw,
        size: terminal::size(),
        wait: args.wait,
        ..ExecRequest::new(args.command.iter().cloned().map(OsString::into_vec))
    };
    run::follow(client.exec(target, request), context, report, raw).await
}

impl ExecArgs {
    /// `exec web ls` is refused: whether `ls` were a command or a second target would be a guess.
    fn check(&self) -> Result<(), CommandError> {
        let target = self
            .target
            .as_ref()
            .map_or_else(String::new, |target| format!(" {target}"));
        if !self.misplaced.is_empty() {
            let words: Vec<_> = self
                .misplaced
                .iter()
                .chain(&self.command)
                .map(|word| word.to_string_lossy())
                .collect();
            return Err(
                CommandError::usage("the command has to stand behind `--`").hint(format!(
                    "write: bowline exec{target} -- {}",
                    words.join(" ")
                )),
            );
        }
        if self.command.is_empty() {
            return Err(CommandError::usage("no command was given")
                .hint(format!("write: bowline exec{target} -- COMMAND")));
        }
        Ok(())
    }
}
