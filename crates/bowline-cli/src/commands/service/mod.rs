//! `bowline service`: what changes a service.

mod enable_exec;

use clap::{Args, Subcommand};

use self::enable_exec::EnableExecArgs;
use super::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Change a service
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

/// What can be done to a service.
#[derive(Debug, Subcommand)]
enum ServiceCommand {
    EnableExec(EnableExecArgs),
}

/// Does it.
pub async fn run(args: ServiceArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match args.command {
        ServiceCommand::EnableExec(args) => enable_exec::run(args, context).await,
    }
}
