//! `bowline jobs`: detached commands, listed, awaited, ended and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline::jobs::{Job, JobError, JobId, JobState};
use bowline::target::{TargetOptions, TargetSpec};
use bowline::{Client, ResolvedTarget};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::job_record::{self, JobRecord};
use crate::output::json::without_nulls;
use crate::output::table;
use crate::terminal;

/// Containers that are asked for their jobs at the same time.
const AT_ONCE: usize = 8;

/// See to detached commands
///
/// `bowline exec -d` starts one, `bowline attach job-…` shows its output. Jobs are known by the container that runs
/// them, and those started here also by this machine.
///
/// Examples:
///   bowline jobs ls                 the jobs that were started here
///   bowline jobs ls web             those of a container
///   bowline jobs wait job-3f2a9c1d-00a7ff
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// List jobs: those that were started here, or all of a target's container
    ///
    /// Examples:
    ///   bowline jobs ls web
    #[command(verbatim_doc_comment)]
    #[command(alias = "list")]
    Ls {
        /// A service, task or container
        target: Option<TargetSpec>,
    },
    /// Wait for a job's end; its exit code is ours
    ///
    /// Examples:
    ///   bowline jobs wait job-3f2a9c1d-00a7ff
    #[command(verbatim_doc_comment)]
    Wait {
        /// The job
        job: JobId,
    },
    /// End a job: SIGTERM to it and what it started, SIGKILL ten seconds later
    ///
    /// Examples:
    ///   bowline jobs cancel job-3f2a9c1d-00a7ff
    #[command(verbatim_doc_comment)]
    Cancel {
        /// The job
        job: JobId,
    },
    /// Remove jobs that have ended, with their output
    ///
    /// Examples:
    ///   bowline jobs rm job-3f2a9c1d-00a7ff
    #[command(verbatim_doc_comment)]
    Rm {
        /// The jobs
        #[arg(required = true)]
        jobs: Vec<JobId>,
    },
}

/// Does it.
pub async fn run(args: JobsArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if context.global.sandbox {
        let text = "a private sandbox ends with its command, and its jobs with it";
        return Err(CommandError::usage(text).hint(
            "start one with `bowline sandbox`, load its variables, and leave out --sandbox",
        ));
    }
    let client = context.client().await?;
    match args.command {
        JobsCommand::Ls { target } => list(&client, target.as_ref(), context).await,
        JobsCommand::Wait { job } => {
            let target = find(&client, &job, context).await?;
            let waiting = client.wait_for_job(&target, &job);
            match waiting
                .await
                .map_err(|error| error_of(error).starting_remote())?
            {
                JobState::Ended(code) => super::follow::exit_code(code),
                _ => Err(lost(&job)),
            }
        }
        JobsCommand::Cancel { job } => {
            let target = find(&client, &job, context).await?;
            guard::check(context, &target).await?;
            client.cancel_job(&target, &job).await.map_err(error_of)?;
            context.printer.note(&format!("{job} has ended"));
            Ok(ExitCode::Success)
        }
        JobsCommand::Rm { jobs } => {
            let mut entered = BTreeSet::new();
            for job in &jobs {
                match find(&client, job, context).await {
                    Ok(target) => {
                        // Of many jobs in one place it is asked once.
                        if entered.insert(target.to_string()) {
                            guard::check(context, &target).await?;
                        }
                        match client.remove_job(&target, job).await {
                            Ok(()) | Err(JobError::NotFound { .. }) => {}
                            Err(error) => return Err(error_of(error)),
                        }
                    }
                    // Its task is gone, and everything of the job with it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                job_record::remove(job);
                context.printer.note(&format!("{job} is removed"));
            }
            Ok(ExitCode::Success)
        }
    }
}

/// The container that runs a job: by what is known here, else by the task in its id.
pub(crate) async fn find(
    client: &Client,
    job: &JobId,
    context: &Context,
) -> Result<ResolvedTarget, CommandError> {
    locate(client, job, context.global.target_options()).await
}

async fn locate(
    client: &Client,
    job: &JobId,
    mut options: TargetOptions,
) -> Result<ResolvedTarget, CommandError> {
    let record = job_record::read(job);
    options.service = None;
    let spec = match &record {
        Some(record) => {
            options.cluster = record.cluster.parse().ok().or(options.cluster);
            options.container = record.container.parse().ok().or(options.container);
            format!("task:{}", record.task)
        }
        None => format!("task:{}", job.task()),
    };
    options.task = None;
    let spec: TargetSpec = spec
        .parse()
        .map_err(|error| CommandError::usage(format!("{error}")))?;
    client.resolve(&spec, &options).await.map_err(|error| {
        let error = CommandError::from(error);
        match record {
            Some(_) => error,
            None => error
                .hint("the job was not started on this machine: name its cluster with --cluster"),
        }
    })
}

/// The error of a job, for the user.
pub(crate) fn error_of(error: JobError) -> CommandError {
    match error {
        JobError::Session(error) => error.into(),
        JobError::NotFound { .. } => CommandError::new(ErrorKind::NotFound, error)
            .hint("`bowline jobs ls TARGET` lists those of a container"),
        JobError::Running { ref id } => {
            let hint = format!("`bowline jobs cancel {id}` ends it");
            CommandError::new(ErrorKind::Failed, error).hint(hint)
        }
        error => CommandError::new(ErrorKind::Failed, error),
    }
}

/// The error for a job that has left no code.
pub(crate) fn lost(job: &JobId) -> CommandError {
    let text = format!(
        "{job} is gone and has left no exit code: it was killed, or its container was started anew"
    );
    CommandError::new(ErrorKind::StatusUnknown, text)
}

async fn list(
    client: &Client,
    target: Option<&TargetSpec>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let (rows, failed) = match target {
        Some(target) => (of_container(client, target, context).await?, None),
        None => started_here(client, context).await,
    };
    let text = match context.listing_format() {
        OutputFormat::Json => {
            let all: Vec<Value> = rows.iter().map(Row::document).collect();
            format!("{:#}\n", Value::Array(all))
        }
        OutputFormat::Ndjson => rows
            .iter()
            .map(|row| format!("{}\n", row.document()))
            .collect(),
        OutputFormat::Name => rows.iter().map(|row| format!("{}\n", row.id)).collect(),
        _ => {
            let cells = rows.iter().map(|row| {
                let Row {
                    id, place, command, ..
                } = row;
                vec![id.to_string(), row.state(), place.clone(), command.clone()]
            });
            table::render(
                &["JOB", "STATE", "CONTAINER", "COMMAND"],
                cells,
                terminal::stdout_width(),
            )
        }
    };
    context.printer.document(&text)?;
    failed.map_or(Ok(ExitCode::Success), Err)
}

/// All jobs of a container, whoever started them.
async fn of_container(
    client: &Client,
    target: &TargetSpec,
    context: &Context,
) -> Result<Vec<Row>, CommandError> {
    let target = context.target(Some(target));
    let options = context.global.target_options();
    let found = match &target {
        Some(target) => client.resolve(target, &options).await?,
        None => client.resolve_only(&options).await?,
    };
    for note in &found.notes {
        context.printer.note(note);
    }
    let jobs = client.jobs(&found).await.map_err(error_of)?;
    let row = |job: Job| Row {
        id: job.id.clone(),
        place: found.to_string(),
        command: job.command.clone(),
        known: Known::There(job),
    };
    Ok(jobs.into_iter().map(row).collect())
}

/// All jobs that were started here. A container that does not answer is warned of; it is an error if none does.
async fn started_here(client: &Client, context: &Context) -> (Vec<Row>, Option<CommandError>) {
    let mut places: BTreeMap<(String, String, String), Vec<JobRecord>> = BTreeMap::new();
    for record in job_record::all(client) {
        let place = (
            record.cluster.clone(),
            record.task.clone(),
            record.container.clone(),
        );
        places.entry(place).or_default().push(record);
    }
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for (number, records) in places.values().enumerate() {
        let Some(first) = records.first().map(|record| record.id.clone()) else {
            continue;
        };
        let (client, options) = (client.clone(), context.global.target_options());
        let at_once = Arc::clone(&at_once);
        asking.spawn(async move {
            // Nobody closes it.
            let _turn = at_once.acquire().await;
            let jobs = match locate(&client, &first, options).await {
                Ok(target) => client.jobs(&target).await.map_err(error_of),
                // The task is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            (number, jobs)
        });
    }
    let mut answers: BTreeMap<usize, Result<Vec<Job>, CommandError>> = BTreeMap::new();
    while let Some(answer) = asking.join_next().await {
        // What has no answer is unknown.
        answers.extend(answer.ok());
    }
    let any = answers.values().any(Result::is_ok);
    let (mut rows, mut failed) = (Vec::new(), None);
    for (number, records) in places.into_values().enumerate() {
        let mut answer = answers.remove(&number);
        for (index, record) in records.into_iter().enumerate() {
            let place = format!(
                "{}/{}/{}",
                record.cluster,
                short(&record.task),
                record.container
            );
            if let (0, Some(Err(error))) = (index, &answer)
                && any
            {
                let text = format!("the jobs in {place} are not known: {error}");
                context.printer.warning(&text);
            }
            let known = match &answer {
                Some(Ok(jobs)) => jobs
                    .iter()
                    .find(|job| job.id == record.id)
                    .map_or(Known::Gone, |job| Known::There(job.clone())),
                _ => Known::Unknown,
            };
            let command = match &known {
                Known::There(job) => job.command.clone(),
                _ => record.command,
            };
            rows.push(Row {
                id: record.id,
                place,
                command,
                known,
            });
        }
        if let (Some(Err(error)), false) = (answer.take(), any) {
            failed.get_or_insert(error);
        }
    }
    (rows, failed)
}

/// A job, as it is listed.
struct Row {
    id: JobId,
    place: String,
    command: String,
    known: Known,
}

/// What its container says of a job.
enum Known {
    There(Job),
    /// It has no such job, or is gone itself.
    Gone,
    /// It did not answer.
    Unknown,
}

impl Row {
    fn state(&self) -> String {
        match &self.known {
            Known::There(job) => match job.state {
                JobState::Running => "running".to_owned(),
                JobState::Ended(code) => format!("ended {code}"),
                _ => "lost".to_owned(),
            },
            Known::Gone => "gone".to_owned(),
            Known::Unknown => "unknown".to_owned(),
        }
    }

    fn document(&self) -> Value {
        let job = match &self.known {
            Known::There(job) => Some(job),
            Known::Gone | Known::Unknown => None,
        };
        let code = match job.map(|job| job.state) {
            Some(JobState::Ended(code)) => Some(code),
            _ => None,
        };
        let time = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map(|time| time.to_string())
        };
        without_nulls(json!({
            "id": self.id.to_string(),
            "state": self.state().split(' ').next(),
            "code": code,
            "container": self.place,
            "command": self.command,
            "began": time(job.and_then(|job| job.began)),
            "ended": time(job.and_then(|job| job.ended)),
            "stdoutBytes": job.map(|job| job.stdout),
            "stderrBytes": job.map(|job| job.stderr),
        }))
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
