//! One subcommand a file, and what they share.

pub mod doctor;
pub mod exec;
mod follow;
pub mod help;
pub mod login;
pub mod ls;
pub mod sandbox;
pub mod service;

use bowline::Client;
use tokio::sync::OnceCell;

use crate::cli::{Command, GlobalArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::printer::Printer;
use crate::private_sandbox::PrivateSandbox;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// The global options.
    pub global: GlobalArgs,
    /// The way to stdout and stderr.
    pub printer: Printer,
    private: OnceCell<PrivateSandbox>,
}

impl Context {
    /// A context for one command.
    pub fn new(global: GlobalArgs, printer: Printer) -> Self {
        Self {
            global,
            printer,
            private: OnceCell::new(),
        }
    }

    /// A client for the account, region and endpoint of the global options.
    pub async fn client(&self) -> Result<Client, CommandError> {
        let options = if self.global.sandbox {
            let start = || PrivateSandbox::start(&self.global);
            self.private.get_or_try_init(start).await?.client_options()
        } else {
            self.global.client_options()
        };
        Ok(Client::connect(options).await?)
    }

    /// Ends what was started for the command.
    pub(crate) async fn close(self) {
        if let Some(sandbox) = self.private.into_inner() {
            sandbox.end().await;
        }
    }
}

/// The text of a command that needs neither AWS nor a runtime.
pub(crate) fn without_runtime(command: &Command) -> Result<Option<String>, CommandError> {
    match command {
        Command::Help(args) => help::text(args).map(Some),
        Command::Version => Ok(Some(format!("bowline {}\n", env!("CARGO_PKG_VERSION")))),
        _ => Ok(None),
    }
}

/// Runs a command. The verbs that start something remote are marked here: for them a target that is not
/// found is 125 and not 3.
pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, CommandError> {
    if !context.global.fault.is_empty() && !matches!(command, Command::Sandbox(_)) {
        if !context.global.sandbox {
            return Err(
                CommandError::usage("--fault is about a sandbox, and there is none")
                    .hint("add --sandbox, or run `bowline sandbox --fault …`"),
            );
        }
        sandbox::faults(&context.global.fault)?;
    }
    match command {
        Command::Exec(args) => exec::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Login(args) => login::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Ls(args) => ls::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Service(args) => service::run(args, context).await,
        Command::Sandbox(args) => sandbox::run(args, context).await,
        Command::Help(_) | Command::Version => Ok(ExitCode::Success),
    }
}
