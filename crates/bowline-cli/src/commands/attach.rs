//! `bowline attach`: back to a task, to finish as `run` would have.

use std::io::Read;

use bowline::Client;
use bowline::jobs::{JobId, ParseJobError};
use bowline::run::{PlacementFailure, RunError};
use bowline::target::{ArnKind, Selector, TargetSpec};
use clap::Args;
use serde::Deserialize;

use super::run::FollowArgs;
use super::run::follow::{self, Ended, Shown};
use super::run::report::Report;
use super::{Context, job_output};
use crate::error::{CommandError, keep};
use crate::exit_code::ExitCode;
use crate::signals::Signals;
use crate::terminal;

/// More than any answer of RunTask.
const LONGEST_INPUT: u64 = 4 << 20;

/// Go back to a task or a job and finish as run or exec would
///
/// All its output comes, from the first line on, and then its exit code. Without an ID the answer of `aws ecs run-task`,
/// or ARNs, are read from stdin. Ctrl-C leaves the task running unless --stop is given.
///
/// Examples:
///   bowline attach 3f2a9c
///   bowline attach job-3f2a9c1d-00a7ff      what it has written since we left
///   aws ecs run-task … | bowline attach
///   bowline attach --stop arn:aws:ecs:eu-west-1:123456789012:task/prod/3f2a…
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct AttachArgs {
    /// Tasks of one cluster: ids, beginnings of ids of running tasks, or ARNs
    #[arg(value_name = "ID")]
    tasks: Vec<TargetSpec>,
    /// Of a job: its output from the first byte on, not from where we were
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    follow: FollowArgs,
    /// Let Ctrl-C and SIGTERM stop the task, as run does
    #[arg(long)]
    stop: bool,
}

impl AttachArgs {
    /// The job that is meant, if one is.
    fn job(&self) -> Option<Result<JobId, CommandError>> {
        let names: Vec<String> = self.tasks.iter().map(ToString::to_string).collect();
        let is_job = |name: &String| name.starts_with("job-") && name.matches('-').count() == 2;
        match &names[..] {
            [name] if is_job(name) => Some(
                name.parse()
                    .map_err(|error: ParseJobError| CommandError::usage(error.to_string())),
            ),
            names if names.len() > 1 && names.iter().any(is_job) => {
                Some(Err(CommandError::usage("jobs are followed one at a time")))
            }
            _ => None,
        }
    }
}

/// Follows the tasks to their end.
pub async fn run(args: AttachArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(job) = args.job() {
        return job_output::attach(&job?, args.from_start, context).await;
    }
    let report = Report::new(context.global.output, "attach")?;
    let ended = start(&args, context, report).await;
    let written = report.last_line(&ended, args.follow.status_file.as_deref(), context);
    keep(ended, written).map(|ended| ended.code)
}

async fn start(
    args: &AttachArgs,
    context: &Context,
    report: Report,
) -> Result<Ended, CommandError> {
    let (targets, failures) = match args.tasks.is_empty() {
        false => (args.tasks.clone(), Vec::new()),
        true => from_stdin()?,
    };
    let mut signals = Signals::listen()?;
    let client = context.client().await?;
    let found = async {
        let mut found = Vec::new();
        for target in &targets {
            found.push(find(&client, target, context).await?);
        }
        Ok::<_, CommandError>(found)
    };
    let found = tokio::select! {
        found = found => found?,
        signal = signals.next() => return Ok(signal.code().into()),
    };
    let cluster = match &found[..] {
        [(cluster, _), rest @ ..] if rest.iter().all(|(other, _)| other == cluster) => {
            cluster.clone()
        }
        _ => return Err(CommandError::usage("the tasks are in different clusters")),
    };
    let mut tasks: Vec<String> = Vec::new();
    for (_, task) in found {
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
    let prefix = tasks.len() > 1;
    let run = client.attach(cluster, tasks, failures, args.follow.options(None));
    let shown = Shown {
        report,
        prefix,
        stop_on_interrupt: args.stop,
    };
    follow::follow(run, context, shown, signals).await
}

/// The cluster and the task that are meant. A whole id is believed: it may have stopped.
async fn find(
    client: &Client,
    target: &TargetSpec,
    context: &Context,
) -> Result<(String, String), CommandError> {
    let options = context.global.target_options();
    let id = match &target.selector {
        Selector::Arn(arn) if arn.kind == ArnKind::Task => {
            let cluster = arn.cluster.as_ref().or(options.cluster.as_ref());
            let cluster = client.current_cluster(cluster).await?;
            return Ok((cluster.to_string(), arn.name.clone()));
        }
        Selector::Any(name) => name.to_string(),
        Selector::Task(id) => id.to_string(),
        other => {
            return Err(CommandError::usage(format!("{other} is not a task"))
                .hint("`bowline ls tasks` shows the tasks; `bowline logs -f` follows services"));
        }
    };
    let by_id = TargetSpec {
        selector: Selector::Task(
            id.parse()
                .map_err(|error| CommandError::usage(format!("{error}")))?,
        ),
        ..target.clone()
    };
    let found = client.matching_tasks(&by_id, &options).await?;
    match &found.tasks[..] {
        [task] => Ok((found.cluster.to_string(), task.task_id.clone())),
        _ => Err(CommandError::usage(format!("{id} is not one task"))),
    }
}

#[derive(Deserialize)]
struct Launched {
    #[serde(default)]
    tasks: Vec<LaunchedTask>,
    #[serde(default)]
    failures: Vec<PlacementFailure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LaunchedTask {
    task_arn: String,
}

/// The answer of RunTask as the AWS CLI, an SDK or `bowline run -d` print it, or ARNs. What was not started counts as it
/// does for `run`.
fn from_stdin() -> Result<(Vec<TargetSpec>, Vec<PlacementFailure>), CommandError> {
    let nothing = |text: &str| {
        CommandError::usage(text.to_owned())
            .hint("write: bowline attach ID, or aws ecs run-task … | bowline attach")
    };
    if terminal::stdin_is_terminal() {
        return Err(nothing("no task was given"));
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_INPUT)
        .read_to_string(&mut text)?;
    let mut failures = Vec::new();
    let arns = if text.trim_start().starts_with('{') {
        let launched: Launched = serde_json::from_str(&text)
            .map_err(|error| nothing(&format!("stdin is not an answer of RunTask: {error}")))?;
        failures = launched.failures;
        launched
            .tasks
            .into_iter()
            .map(|task| task.task_arn)
            .collect()
    } else {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if arns.is_empty() && !failures.is_empty() {
        return Err(RunError::NotPlaced { failures }.into());
    }
    if arns.is_empty() {
        return Err(nothing(
            "stdin names no task: RunTask may have started none",
        ));
    }
    let parsed = arns.iter().map(|arn| arn.parse());
    let targets = parsed
        .collect::<Result<_, _>>()
        .map_err(|error| nothing(&format!("stdin is not an answer of RunTask: {error}")))?;
    Ok((targets, failures))
}
