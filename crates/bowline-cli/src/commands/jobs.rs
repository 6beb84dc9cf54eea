//! `bowline jobs`: detached commands, listed, awaited, ended and removed.

use std::collections::BTreeMap;

use bowline::jobs::{Job, JobError, JobId, JobState};
use bowline::target::TargetSpec;
use bowline::{Client, ResolvedTarget};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::job_record::{self, JobRecord};
use crate::output::json::without_nulls;
use crate::output::table;
use crate::terminal;

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
            for job in &jobs {
                match find(&client, job, context).await {
                    Ok(target) => match client.remove_job(&target, job).await {
                        Ok(()) | Err(JobError::NotFound { .. }) => {}
                        Err(error) => return Err(error_of(error)),
                    },
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
    let record = job_record::read(job);
    let mut options = context.global.target_options();
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
    let mut rows: Vec<(Option<Job>, String, Option<JobRecord>)> = Vec::new();
    if let Some(target) = target {
        let target = context.target(Some(target));
        let target = target.as_ref();
        let options = context.global.target_options();
        let found = match target {
            Some(target) => client.resolve(target, &options).await?,
            None => client.resolve_only(&options).await?,
        };
        for note in &found.notes {
            context.printer.note(note);
        }
        let jobs = client.jobs(&found).await.map_err(error_of)?;
        rows.extend(
            jobs.into_iter()
                .map(|job| (Some(job), found.to_string(), None)),
        );
    } else {
        let mut places: BTreeMap<(String, String, String), Vec<JobRecord>> = BTreeMap::new();
        for record in job_record::all(client) {
            let place = (
                record.cluster.clone(),
                record.task.clone(),
                record.container.clone(),
            );
            places.entry(place).or_default().push(record);
        }
        for records in places.into_values() {
            let Some(first) = records.first() else {
                continue;
            };
            let known = match find(client, &first.id, context).await {
                Ok(target) => client.jobs(&target).await.map_err(error_of)?,
                // The task is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            for record in records {
                let job = known.iter().find(|job| job.id == record.id).cloned();
                let place = format!(
                    "{}/{}/{}",
                    record.cluster,
                    short(&record.task),
                    record.container
                );
                rows.push((job, place, Some(record)));
            }
        }
    }
    let text = match context.listing_format() {
        OutputFormat::Json => {
            let all: Vec<Value> = rows.iter().map(document).collect();
            format!("{:#}\n", Value::Array(all))
        }
        OutputFormat::Ndjson => rows
            .iter()
            .map(|row| format!("{}\n", document(row)))
            .collect(),
        OutputFormat::Name => rows
            .iter()
            .filter_map(id)
            .map(|id| format!("{id}\n"))
            .collect(),
        _ => {
            let cells = rows.iter().map(|row| {
                let (job, place, record) = row;
                let command = job.as_ref().map(|job| job.command.clone());
                let command =
                    command.or_else(|| record.as_ref().map(|record| record.command.clone()));
                vec![
                    id(row).map(ToString::to_string).unwrap_or_default(),
                    state(job.as_ref()),
                    place.clone(),
                    command.unwrap_or_default(),
                ]
            });
            table::render(
                &["JOB", "STATE", "CONTAINER", "COMMAND"],
                cells,
                terminal::stdout_width(),
            )
        }
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

fn id(row: &(Option<Job>, String, Option<JobRecord>)) -> Option<&JobId> {
    let (job, _, record) = row;
    job.as_ref()
        .map(|job| &job.id)
        .or_else(|| record.as_ref().map(|record| &record.id))
}

fn state(job: Option<&Job>) -> String {
    match job.map(|job| job.state) {
        Some(JobState::Running) => "running".to_owned(),
        Some(JobState::Ended(code)) => format!("ended {code}"),
        Some(_) => "lost".to_owned(),
        None => "gone".to_owned(),
    }
}

fn document(row: &(Option<Job>, String, Option<JobRecord>)) -> Value {
    let (job, place, record) = row;
    let job = job.as_ref();
    let code = match job.map(|job| job.state) {
        Some(JobState::Ended(code)) => Some(code),
        _ => None,
    };
    let word = state(job);
    let time = |seconds: Option<i64>| {
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map(|time| time.to_string())
    };
    without_nulls(json!({
        "id": id(row).map(ToString::to_string),
        "state": word.split(' ').next(),
        "code": code,
        "container": place,
        "command": job.map(|job| job.command.clone()).or_else(|| record.as_ref().map(|record| record.command.clone())),
        "began": time(job.and_then(|job| job.began)),
        "ended": time(job.and_then(|job| job.ended)),
        "stdoutBytes": job.map(|job| job.stdout),
        "stderrBytes": job.map(|job| job.stderr),
    }))
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
