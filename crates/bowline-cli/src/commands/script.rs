//! `bowline script`: a script of ours, run in a container.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use bowline::script::{Script, ScriptError};
use bowline::session::exec::ExecRequest;
use bowline::target::TargetPattern;
use clap::Args;

use super::exec::report::Report;
use super::exec::run::follow;
use super::fleet::{self, FleetArgs};
use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::picker::{self, Found, PickArgs};

/// Ship a local script to a container and run it
///
/// It is run by what its #! names, else by sh. Its streams and its exit code come back as with exec, and nothing of
/// it stays in the container.
///
/// Examples:
///   bowline script web check.sh
///   bowline script web report.py -- --since yesterday
///   bowline script --env MODE=full --interpreter 'python3 -u' web job.txt
///   bowline script -i web load.sh <rows.csv
///   bowline script --all 'web-*' check.sh
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline script [OPTIONS] <TARGET>... <FILE> [-- <ARGS>...]"
)]
pub struct ScriptArgs {
    /// A service, task or container. Several, and patterns such as 'web-*' or '*/web', are many targets
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<TargetPattern>,
    /// The script
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    fleet: FleetArgs,
    /// What runs it, in place of what its first line names
    #[arg(long, value_name = "COMMAND")]
    interpreter: Option<String>,
    /// A variable of its environment (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Send our stdin to the script; without this its stdin is empty
    #[arg(short = 'i', long)]
    stdin: bool,
    /// End the script after this time (30s, 10m), with exit code 124
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Also write the last JSON line, which tells where the exit code comes from, to this file
    #[arg(long, value_name = "FILE")]
    status_file: Option<PathBuf>,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection. 0 never tries
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
    /// The script's arguments, as they are
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Runs the script.
pub async fn run(args: ScriptArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let report = match context.global.output {
        None => Report::Streams,
        Some(OutputFormat::Json | OutputFormat::Ndjson) => Report::Json,
        Some(_) => {
            return Err(CommandError::usage(
                "script prints the script's own output, or events with -o json",
            ));
        }
    };
    let ended = start(&args, context, report).await;
    report.last_line(&ended, args.status_file.as_deref(), context)?;
    ended
}

async fn start(
    args: &ScriptArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    let request = args.request()?;
    if args.fleet.is_asked(&args.targets) {
        return many(args, request, context, report).await;
    }
    let client = context.client().await?;
    let pick = PickArgs::default();
    let asked = picker::resolve(
        &client,
        args.targets.first().and_then(TargetPattern::one),
        &pick,
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
    follow(&client, target, request, context, report, false).await
}

/// The script on every target there is.
async fn many(
    args: &ScriptArgs,
    request: ExecRequest,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    if args.stdin {
        return Err(CommandError::usage(
            "-i is for one target, and many are meant",
        ));
    }
    let task = fleet::Task {
        args: &args.fleet,
        targets: &args.targets,
        request: ExecRequest {
            timeout: None,
            ..request
        },
        time_limit: args.timeout,
        what: args.file.display().to_string(),
        json: report == Report::Json,
    };
    fleet::run(task, context).await
}

impl ScriptArgs {
    fn request(&self) -> Result<ExecRequest, CommandError> {
        let source = fs::read(&self.file).map_err(|error| {
            let text = format!("cannot read the script {}: {error}", self.file.display());
            CommandError::new(ErrorKind::Usage, text)
        })?;
        let name = self
            .file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let mut script = Script::new(name.unwrap_or_else(|| "script".to_owned()), source);
        if let Some(text) = &self.interpreter {
            let words = shell_words::split(text)
                .map_err(|error| CommandError::usage(format!("--interpreter: {error}")))?;
            script.interpreter = Some(words);
        }
        for pair in &self.env {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                CommandError::usage(format!("--env {pair}: a variable looks like NAME=VALUE"))
            })?;
            script.environment.push((name.to_owned(), value.to_owned()));
        }
        script.arguments = self
            .arguments
            .iter()
            .cloned()
            .map(OsString::into_vec)
            .collect();
        script.stdin = self.stdin;
        let request = script.request().map_err(|error| match error {
            ScriptError::NoInterpreter => CommandError::usage("--interpreter is empty"),
            error => CommandError::usage(error.to_string()),
        })?;
        Ok(ExecRequest {
            wait: self.wait,
            reconnect_for: self.reconnect_for,
            timeout: self.timeout,
            ..request
        })
    }
}
