//! `bowline script`: a script of ours, run in a container.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
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
use crate::error::{CommandError, ErrorKind, keep};
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
    /// A service, task or container, or several, or patterns such as 'web-*' or '*/web'; then the script
    #[arg(value_name = "TARGET|FILE", required = true)]
    words: Vec<OsString>,
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
    #[command(flatten)]
    fleet: FleetArgs,
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
    let written = report.last_line(&ended, args.status_file.as_deref(), context);
    keep(ended, written)
}

async fn start(
    args: &ScriptArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    let (targets, file) = args.words()?;
    let mut request = args.request(&file)?;
    if args.fleet.is_asked(&targets) {
        return many(args, &targets, &file, request, context, report).await;
    }
    let client = context.client().await?;
    let pick = PickArgs::default();
    let asked = picker::resolve(
        &client,
        targets.first().and_then(TargetPattern::one),
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
    request.record = context.recording("script")?;
    follow(&client, target, request, context, report, false).await
}

/// The script on every target there is.
async fn many(
    args: &ScriptArgs,
    targets: &[TargetPattern],
    file: &Path,
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
        deed: fleet::Deed::Exec {
            targets,
            request: Box::new(ExecRequest {
                timeout: None,
                record: context.recording("script")?,
                ..request
            }),
            time_limit: args.timeout,
        },
        what: file.display().to_string(),
        json: report == Report::Json,
    };
    fleet::run(task, context).await
}

impl ScriptArgs {
    /// The targets, and the script behind them.
    fn words(&self) -> Result<(Vec<TargetPattern>, PathBuf), CommandError> {
        let lacking = |what: &str| {
            let hint = "write: bowline script TARGET FILE [-- ARGUMENTS]";
            CommandError::usage(format!("{what} is missing")).hint(hint)
        };
        let (file, targets) = self
            .words
            .split_last()
            .ok_or_else(|| lacking("the script"))?;
        if targets.is_empty() && !self.fleet.names_its_places() {
            return Err(lacking("the target or the script"));
        }
        let targets = targets.iter().map(|word| {
            let word = word.to_string_lossy();
            word.parse()
                .map_err(|error| CommandError::usage(format!("{error}")))
        });
        let targets: Result<Vec<TargetPattern>, CommandError> = targets.collect();
        Ok((targets?, PathBuf::from(file)))
    }

    fn request(&self, path: &Path) -> Result<ExecRequest, CommandError> {
        let source = fs::read(path).map_err(|error| {
            let text = format!("cannot read the script {}: {error}", path.display());
            CommandError::new(ErrorKind::Usage, text)
        })?;
        let name = path
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
