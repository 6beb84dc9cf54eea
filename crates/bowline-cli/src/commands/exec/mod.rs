//! `bowline exec`: one command in a container.

mod engine;
mod misplaced;
pub(super) mod report;
pub(super) mod run;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use bowline::session::exec::{Engine, ExecRequest};
use bowline::target::{TargetPattern, TargetSpec};
use clap::{Args, CommandFactory, ValueEnum};

use self::engine::EngineArgs;
use self::report::Report;
use super::fleet::{self, FleetArgs};
use super::{Context, guard, job_output};
use crate::cli::{Cli, OutputFormat};
use crate::duration;
use crate::error::{CommandError, ErrorKind, keep};
use crate::exit_code::ExitCode;
use crate::picker::{self, Found, PickArgs};
use crate::terminal;

/// Run one command in a container
///
/// Its stdout, stderr and exit code come back unchanged; `bowline help
/// exit-codes` tells them from bowline's own. There is no shell unless you name
/// one. With `-o json` each event is a JSON line.
///
/// Examples:
///   bowline exec web -- ls -l /app
///   bowline exec prod/web/app -- sh -c 'echo $HOSTNAME; exit 3'
///   bowline exec -i web -- psql <dump.sql
///   bowline exec -t web -- top
///   bowline exec --timeout 5m --status-file last.json web -- ./migrate
///   bowline exec -d web -- ./backfill --all
///   bowline exec --all web worker -- uptime             every task of two services
///   bowline exec --group 'web-*' -- cat /app/version    one task of each, compared
///   bowline exec --accounts @prod --role ops --regions all web -- ./flush-cache
///   bowline exec --no-shell --allow-unknown-status web -- /app/reload
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline exec [OPTIONS] [TARGET]... -- <COMMAND>..."
)]
pub struct ExecArgs {
    /// A service, task or container; not needed where there is only one. Several, and patterns such as 'web-*' or
    /// '*/web', are many targets
    #[arg(value_name = "TARGET")]
    targets: Vec<TargetPattern>,
    #[command(flatten)]
    pick: PickArgs,
    /// Send our stdin to the command; without this its stdin is empty
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Start the command, print its job's id and leave; `bowline attach` shows its output
    #[arg(short = 'd', long, conflicts_with_all = ["stdin", "tty", "engine", "no_shell", "timeout", "allow_unknown_status"])]
    detach: bool,
    #[command(flatten)]
    engine: EngineArgs,
    /// Exit 0 if the command's exit code cannot be learned
    #[arg(long)]
    allow_unknown_status: bool,
    /// End the command after this time (30s, 10m), with exit code 124
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Also write the last JSON line, which tells where the exit code comes from, to this file
    #[arg(long, value_name = "FILE")]
    status_file: Option<PathBuf>,
    /// How often to tell the service that somebody is there; 0 means never, and after 20 idle minutes it ends the session
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    keep_alive: Duration,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection; nothing is lost meanwhile. 0 never tries
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
    /// The command and its arguments, as they are
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// The APIs that can start a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// ECS ExecuteCommand
    Ecs,
    /// SSM StartSession
    Ssm,
}

/// Runs the command.
pub async fn run(args: ExecArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.check(context)?;
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
    if args.detach {
        return keep(ended, Ok(()));
    }
    let written = report.last_line(&ended, args.status_file.as_deref(), context);
    keep(ended, written)
}

/// `exec web ls` is refused: whether `ls` were a command or a second target would be a guess. The right form is shown.
pub(crate) fn misplaced(arguments: &[OsString]) -> Option<CommandError> {
    misplaced::explain(&Cli::command(), arguments)
}

async fn start(
    args: &ExecArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    if args.detach && context.global.sandbox {
        let text = "-d leaves a job behind, and a private sandbox ends with its command";
        return Err(CommandError::usage(text).hint(
            "start one with `bowline sandbox`, load its variables, and leave out --sandbox",
        ));
    }
    let preferred = context.config.defaults.engine.as_ref();
    let preferred = preferred.map(|engine| engine.value);
    let engine = args.engine.choose(args.stdin, report, preferred)?;
    if args.fleet.is_asked(&args.targets) {
        return many(args, context, report, engine).await;
    }
    let client = context.client().await?;
    let asked = picker::resolve(
        &client,
        args.targets.first().and_then(TargetPattern::one),
        &args.pick,
        "run it there",
        context,
    );
    let target = match asked.await.map_err(CommandError::starting_remote)? {
        Found::Target(target) => *target,
        Found::Left(code) => return Ok(code),
    };
    for note in &target.notes {
        context.printer.note(note);
    }
    guard::check(context, &target).await?;
    // With a terminal on both sides the keyboard is the command's.
    let raw = engine == Engine::Tty && terminal::stdin_is_terminal();
    let mut request = ExecRequest {
        engine,
        stdin: args.stdin || raw,
        size: terminal::size(),
        wait: args.wait,
        timeout: args.timeout,
        reconnect_for: args.reconnect_for,
        keep_alive: Some(args.keep_alive).filter(|every| !every.is_zero()),
        ..ExecRequest::new(args.command.iter().cloned().map(OsString::into_vec))
    };
    if args.detach {
        return job_output::start(&client, &target, &request, context).await;
    }
    request.record = context.recording("exec")?;
    tracing::info!(?engine, "engine");
    match run::follow(&client, target, request, context, report, raw).await {
        Err(error) if args.allow_unknown_status && error.kind() == ErrorKind::StatusUnknown => {
            Ok(ExitCode::Success)
        }
        ended => ended,
    }
}

/// The command on every target there is.
async fn many(
    args: &ExecArgs,
    context: &Context,
    report: Report,
    engine: Engine,
) -> Result<ExitCode, CommandError> {
    let single = [
        ("-i", args.stdin),
        ("-t", engine == Engine::Tty),
        ("-d", args.detach),
        ("--pick", args.pick.pick || args.pick.query.is_some()),
    ];
    if let Some((option, _)) = single.iter().find(|(_, given)| *given) {
        let text = format!("{option} is for one target, and many are meant");
        return Err(CommandError::usage(text));
    }
    let words = args.command.iter().cloned().map(OsString::into_vec);
    let request = ExecRequest {
        // Streams of many targets are never a terminal's.
        engine: if engine == Engine::Plain {
            Engine::Framed
        } else {
            engine
        },
        wait: args.wait,
        reconnect_for: args.reconnect_for,
        keep_alive: Some(args.keep_alive).filter(|every| !every.is_zero()),
        record: context.recording("exec")?,
        ..ExecRequest::new(words)
    };
    let words = args.command.iter().map(|word| word.to_string_lossy());
    let task = fleet::Task {
        args: &args.fleet,
        deed: fleet::Deed::Exec {
            targets: &args.targets,
            request: Box::new(request),
            time_limit: args.timeout,
        },
        what: shell_words::join(words),
        json: report == Report::Json,
    };
    fleet::run(task, context).await
}

impl ExecArgs {
    /// Whether the command goes on without us.
    pub(crate) fn is_detached(&self) -> bool {
        self.detach
    }

    /// The target, and what is asked about it.
    pub(crate) fn question(&self) -> (Option<&TargetSpec>, &PickArgs) {
        let target = self.targets.first().and_then(TargetPattern::one);
        (target, &self.pick)
    }

    fn check(&self, context: &Context) -> Result<(), CommandError> {
        let target = self
            .targets
            .first()
            .map_or_else(String::new, |target| format!(" {target}"));
        if self.command.is_empty() {
            if self.targets.len() > 1
                && let Some(error) = misplaced(&context.arguments)
            {
                return Err(error);
            }
            return Err(CommandError::usage("no command was given")
                .hint(format!("write: bowline exec{target} -- COMMAND")));
        }
        Ok(())
    }
}
