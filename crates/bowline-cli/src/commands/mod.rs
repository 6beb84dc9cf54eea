//! One subcommand a file, and what they share.

pub mod attach;
pub mod completion;
pub mod config;
pub mod cp;
pub mod db;
pub mod describe;
pub mod doctor;
pub mod exec;
pub(crate) mod explain;
pub(crate) mod fleet;
pub(crate) mod follow;
pub mod forward;
pub(crate) mod guard;
pub mod help;
mod job_output;
pub mod jobs;
pub mod login;
pub mod logs;
pub mod ls;
pub mod op;
pub mod plugin;
pub mod record;
pub mod run;
pub mod runbook;
pub mod sandbox;
pub mod script;
pub mod service;
pub mod stop;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use bowline::Client;
use bowline::config::Config;
use bowline::target::{Selector, TargetSpec};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::cli::{Command, GlobalArgs, OutputFormat};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::printer::Printer;
use crate::private_sandbox::PrivateSandbox;
use crate::recording::{self, Recordings};

/// For the sessions of a command that a signal ended.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// The global options, with what the configuration adds to them.
    pub global: GlobalArgs,
    /// The configuration.
    pub config: Config,
    /// The way to stdout and stderr.
    pub printer: Printer,
    /// The command line, with the program's name.
    pub(crate) arguments: Vec<OsString>,
    /// When the program was started, or nearly so.
    pub(crate) started: Instant,
    private: OnceCell<PrivateSandbox>,
    client: OnceCell<Client>,
    pub(crate) recordings: Recordings,
}

impl Context {
    /// A context for one command.
    pub fn new(
        global: GlobalArgs,
        config: Config,
        printer: Printer,
        arguments: Vec<OsString>,
    ) -> Self {
        Self {
            global,
            config,
            printer,
            arguments,
            started: Instant::now(),
            private: OnceCell::new(),
            client: OnceCell::new(),
            recordings: Recordings::default(),
        }
    }

    /// The client for the account, region and endpoint of the global options. There is one for the whole command: each
    /// looks for credentials by itself, and an MFA code is good for one session only.
    pub async fn client(&self) -> Result<Client, CommandError> {
        self.client
            .get_or_try_init(|| self.connect())
            .await
            .cloned()
    }

    async fn connect(&self) -> Result<Client, CommandError> {
        let options = if self.global.sandbox {
            let start = || PrivateSandbox::start(&self.global);
            self.private.get_or_try_init(start).await?.client_options()
        } else {
            self.global.client_options()
        };
        let client = Client::connect(options).await?;
        client.sign_in().await?;
        Ok(client)
    }

    /// The target that is meant, after its alias has been replaced; without one, the configured one, unless the options
    /// name a service or a task.
    pub(crate) fn target(&self, given: Option<&TargetSpec>) -> Option<TargetSpec> {
        let default = || {
            let by_option = self.global.service.is_some() || self.global.task.is_some();
            let setting = self
                .config
                .defaults
                .target
                .as_ref()
                .filter(|_| !by_option)?;
            self.printer
                .note(&format!("target {} ({})", setting.value, setting.origin));
            Some(&setting.value)
        };
        let expanded = self.config.expand(given.or_else(default)?);
        if let Some(note) = &expanded.note {
            self.printer.note(note);
        }
        Some(expanded.target)
    }

    /// The target that is meant, without a word about it.
    pub(crate) fn config_target(&self, given: Option<&TargetSpec>) -> Option<TargetSpec> {
        given.map(|given| self.config.expand(given).target)
    }

    /// An error about a cluster or a profile that no option named says who did.
    pub(crate) fn explain(&self, error: CommandError) -> CommandError {
        let defaults = &self.config.defaults;
        let cluster = defaults
            .cluster
            .as_ref()
            .map(|it| (it.value.as_str(), &it.origin));
        let profile = defaults
            .profile
            .as_ref()
            .map(|it| (it.value.as_str(), &it.origin));
        for (what, missing, named) in [
            ("cluster", "was not found", cluster),
            ("profile", "is not in", profile),
        ] {
            if let Some((name, origin)) = named
                && origin.layer() != "flag"
                && error
                    .to_string()
                    .starts_with(&format!("{what} {name} {missing}"))
            {
                return error.hint(format!(
                    "the {what} is named by {origin}; --{what} names another"
                ));
            }
        }
        error
    }

    /// The form of a listing: the option's, else the configured one.
    pub(crate) fn listing_format(&self) -> OutputFormat {
        let default = self.config.defaults.output.as_ref();
        self.global
            .output
            .or_else(|| default.map(|form| form.value.into()))
            .unwrap_or(OutputFormat::Table)
    }

    /// Ends the sessions of a command that was left.
    pub(crate) async fn leave(&self) {
        if let Some(client) = self.client.get() {
            // What does not end in time, ends by itself when nobody is heard of any more.
            let _ = timeout(LEAVE_LIMIT, client.finish()).await;
        }
    }

    /// Ends what was started for the command.
    pub(crate) async fn close(self) {
        if let Some(sandbox) = self.private.into_inner() {
            sandbox.end().await;
        }
    }
}

/// The target, as a task's if it is a whole id: only then ECS is asked about it directly, and knows also one that has
/// stopped.
pub(crate) fn with_whole_ids(mut target: TargetSpec) -> TargetSpec {
    if let Selector::Any(name) = &target.selector
        && name.as_str().len() == 32
        && name.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Ok(id) = name.as_str().parse()
    {
        target.selector = Selector::Task(id);
    }
    target
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
    let about_rules = matches!(&command, Command::Runbook(args) if args.explains_rules());
    if context.global.explain.is_some() && !about_rules {
        return explain::run(context).await;
    }
    recording::begin(&command, context).await?;
    match command {
        Command::Exec(args) => exec::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Script(args) => script::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Login(args) => login::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Run(args) => run::run(*args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Runbook(args) => runbook::run(args, context).await,
        Command::Attach(args) => attach::run(args, context)
            .await
            .map_err(CommandError::starting_remote),
        Command::Forward(args) => forward::run(*args, context).await,
        Command::Db(args) => db::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Op(args) => op::run(args, context).await,
        Command::Record(args) => record::run(args, context).await,
        Command::Jobs(args) => jobs::run(args, context).await,
        Command::Plugin(args) => plugin::run(args, context),
        Command::Cp(args) => cp::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Config(args) => config::run(args, context).await,
        Command::Describe(args) => describe::run(args, context).await,
        Command::Stop(args) => stop::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Service(args) => service::run(args, context).await,
        Command::Sandbox(args) => sandbox::run(args, context).await,
        Command::Completion(args) => completion::run(&args, context),
        Command::Help(_) | Command::Version => Ok(ExitCode::Success),
    }
}
