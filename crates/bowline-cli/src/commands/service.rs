//! `bowline service`: what is done to or asked about a service as a whole.

mod enable_exec;
mod events;
mod restart;

use clap::{Args, Subcommand};

use super::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Restart a service, follow its events, or turn ECS Exec on
///
/// Examples:
///   bowline service restart web --wait
///   bowline service events web --follow
///   bowline service enable-exec web
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
enum ServiceCommand {
    Restart(restart::RestartArgs),
    Events(events::EventsArgs),
    EnableExec(enable_exec::EnableExecArgs),
}

/// Runs one of its commands.
pub async fn run(args: ServiceArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match args.command {
        ServiceCommand::Restart(args) => restart::run(args, context).await,
        ServiceCommand::Events(args) => events::run(args, context).await,
        ServiceCommand::EnableExec(args) => enable_exec::run(args, context).await,
    }
}
