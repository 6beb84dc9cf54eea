//! `bowline exec -d` and `bowline attach job-…`: a command that goes on without us, and its output from where we were.

use std::time::Duration;

use bowline::jobs::{JobError, JobId, JobOffsets};
use bowline::session::exec::{ExecEvent, ExecRequest};
use bowline::{Client, ResolvedTarget};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Context;
use super::exec::report::Report;
use super::jobs;
use crate::error::{CommandError, ErrorKind, keep};
use crate::exit_code::ExitCode;
use crate::job_record::{self, JobRecord};
use crate::signals::Signals;
use crate::writer::{Stream, Writers};

/// How long lost sessions are replaced by new ones when nothing comes of it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// What the program that follows says itself, but for what a job may write too.
const NO_JOB: &[u8] = b"bowline: there is no job-";

/// Starts a job and prints its id.
pub(crate) async fn start(
    client: &Client,
    target: &ResolvedTarget,
    request: &ExecRequest,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let words = request
        .argv
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let command = shell_words::join(words);
    let id = client
        .start_job(target, request, &command)
        .await
        .map_err(jobs::error_of)?;
    if let Err(error) = JobRecord::new(client, id.clone(), target, command).write() {
        tracing::info!(%error, "the job is not written down here");
    }
    context.printer.document(&format!("{id}\n"))?;
    context
        .printer
        .note(&format!("its output: bowline attach {id}"));
    Ok(ExitCode::Success)
}

/// Follows a job from the last byte that was delivered here.
pub(crate) async fn attach(
    id: &JobId,
    from_start: bool,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let client = context.client().await?;
    let target = jobs::find(&client, id, context)
        .await
        .map_err(CommandError::starting_remote)?;
    let command = String::new();
    let mut record = job_record::read(id)
        .unwrap_or_else(|| JobRecord::new(&client, id.clone(), &target, command));
    if from_start {
        record.offsets = JobOffsets::default();
    }
    let report = match context.global.output {
        None => Report::Streams,
        Some(_) => Report::Json,
    };
    let mut signals = Signals::listen()?;
    let following = follow(&client, &target, &mut record, report, context);
    let ended = tokio::select! {
        ended = following => ended,
        signal = signals.next() => {
            context.printer.note(&format!("{id} goes on; bowline attach {id} comes back to it"));
            Ok(signal.code())
        }
    };
    client.finish().await;
    let written = report.last_line(&ended, None, context);
    keep(ended, written)
}

async fn follow(
    client: &Client,
    target: &ResolvedTarget,
    record: &mut JobRecord,
    report: Report,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let like = ExecRequest::new(["true"]);
    let mut writers = Writers::start()?;
    let mut give_up = Instant::now() + PATIENCE;
    loop {
        let mut exec = client.follow_job(target, &record.id, record.offsets, &like);
        let reason = loop {
            match exec.next().await {
                Some(ExecEvent::Exit { code }) => {
                    writers.finish().await?;
                    return super::follow::exit_code(code);
                }
                Some(ExecEvent::Closed { reason }) => break reason,
                Some(event) => {
                    let (out, err) = match &event {
                        ExecEvent::Stdout(bytes) => (bytes.len(), 0),
                        ExecEvent::Stderr(bytes) if is_ours(bytes) => {
                            writers.finish().await?;
                            return Err(jobs::lost(&record.id));
                        }
                        ExecEvent::Stderr(bytes)
                            if bytes.starts_with(NO_JOB)
                                && is_gone(client, target, record).await =>
                        {
                            return Err(jobs::error_of(JobError::NotFound {
                                id: record.id.clone(),
                                container: target.container.clone(),
                            })
                            .starting_remote());
                        }
                        ExecEvent::Stderr(bytes) => (0, bytes.len()),
                        _ => (0, 0),
                    };
                    let mut unwritten: Option<(Stream, Bytes)> = report.event(&event, context);
                    writers.write(&mut unwritten).await?;
                    if out + err > 0 {
                        give_up = Instant::now() + PATIENCE;
                        record.offsets.stdout += out as u64;
                        record.offsets.stderr += err as u64;
                        if let Err(error) = record.write() {
                            tracing::info!(%error, "what was delivered is not written down");
                        }
                    }
                }
                None => {
                    return Err(CommandError::new(
                        ErrorKind::Unavailable,
                        "the session ended without a word",
                    ));
                }
            }
        };
        if Instant::now() > give_up {
            return Err(CommandError::from(reason).hint(format!(
                "the job goes on; bowline attach {} comes back to it",
                record.id
            )));
        }
        tracing::info!(%reason, "a session ended early; the job is followed in another");
        sleep(PAUSE).await;
    }
}

/// What the program that follows says itself.
fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(b"bowline: the job is gone and has left no exit code")
}

async fn is_gone(client: &Client, target: &ResolvedTarget, record: &JobRecord) -> bool {
    match client.jobs(target).await {
        Ok(jobs) => jobs.iter().all(|job| job.id != record.id),
        Err(_) => false,
    }
}
