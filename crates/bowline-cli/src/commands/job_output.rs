//! `bowline exec -d` and `bowline attach job-…`: a command that goes on without us, and its output from where we were.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bowline::jobs::{JobError, JobId, JobOffsets};
use bowline::session::exec::{ExecEvent, ExecRequest};
use bowline::{Client, ResolvedTarget};
use bytes::Bytes;
use tokio::time::{Instant, interval, sleep, timeout};

use super::Context;
use super::exec::report::Report;
use super::jobs;
use crate::error::{CommandError, ErrorKind, keep};
use crate::exit_code::ExitCode;
use crate::job_record::{self, JobRecord};
use crate::signals::Signals;
use crate::writer::{Stream, Writers, Written};

/// How long lost sessions are replaced by new ones when nothing comes of it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what was delivered is written down.
const NOTING: Duration = Duration::from_secs(1);
/// For output that a slow reader has not taken yet when we leave.
const LAST_WRITES: Duration = Duration::from_millis(500);

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
    let mut delivery = Delivery::start(record, report)?;
    let mut stopped = false;
    let ended = tokio::select! {
        ended = follow(&client, &target, &mut delivery, context) => Ok(ended),
        signal = signals.next() => Err(signal),
    };
    let ended = match ended {
        // A slow reader can still be left.
        Ok(ended) => tokio::select! {
            written = delivery.finish() => {
                Ok(ended.and_then(|code| written.map(|()| code).map_err(CommandError::from)))
            },
            signal = signals.next() => Err(signal),
        },
        Err(signal) => {
            // What does not get out in time comes again.
            stopped = timeout(LAST_WRITES, delivery.finish()).await.is_err();
            Err(signal)
        }
    };
    delivery.note();
    let ended = ended.unwrap_or_else(|signal| {
        context.printer.note(&format!(
            "{id} goes on; bowline attach {id} comes back to it"
        ));
        Ok(signal.code())
    });
    client.finish().await;
    if stopped {
        // The last line would wait for the reader too.
        return ended;
    }
    let written = report.last_line(&ended, None, context);
    keep(ended, written)
}

async fn follow(
    client: &Client,
    target: &ResolvedTarget,
    delivery: &mut Delivery,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let like = ExecRequest::new(["true"]);
    let mut give_up = Instant::now() + PATIENCE;
    let mut noting = interval(NOTING);
    loop {
        let id = delivery.record.id.clone();
        let mut exec = client.follow_job(target, &id, delivery.taken, &like);
        let reason = loop {
            // Every arm is cancel-safe: channels and a timer.
            let event = tokio::select! {
                event = exec.next() => event,
                _ = noting.tick() => {
                    delivery.note();
                    continue;
                }
            };
            match event {
                Some(ExecEvent::Exit { code }) => return super::follow::exit_code(code),
                Some(ExecEvent::Closed { reason }) => break reason,
                Some(ExecEvent::Stderr(bytes)) if is_ours(&bytes) => return Err(jobs::lost(&id)),
                Some(ExecEvent::Stderr(bytes))
                    if bytes.starts_with(NO_JOB) && is_gone(client, target, &id).await =>
                {
                    return Err(jobs::error_of(JobError::NotFound {
                        id,
                        container: target.container.clone(),
                    })
                    .starting_remote());
                }
                Some(event) => {
                    if delivery.take(&event, context).await? {
                        give_up = Instant::now() + PATIENCE;
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
                "the job goes on; bowline attach {id} comes back to it"
            )));
        }
        tracing::info!(%reason, "a session ended early; the job is followed in another");
        sleep(PAUSE).await;
    }
}

/// The output on its way to ours, and how much of it got there: only that is written down.
struct Delivery {
    record: JobRecord,
    report: Report,
    /// Until all is written.
    writers: Option<Writers>,
    written: Written,
    /// What came of the job, written or not.
    taken: JobOffsets,
    /// What was delivered before us.
    before: JobOffsets,
    /// Of events as JSON: where the lines end in our output, and how much of the job is delivered with them.
    lines: VecDeque<(u64, JobOffsets)>,
    /// Bytes of such lines.
    length: u64,
    noted: JobOffsets,
}

impl Delivery {
    fn start(record: JobRecord, report: Report) -> io::Result<Self> {
        let writers = Writers::counting()?;
        let offsets = record.offsets;
        Ok(Self {
            record,
            report,
            written: writers.written(),
            writers: Some(writers),
            taken: offsets,
            before: offsets,
            lines: VecDeque::new(),
            length: 0,
            noted: offsets,
        })
    }

    /// Whether there was output of the job in the event.
    async fn take(&mut self, event: &ExecEvent, context: &Context) -> io::Result<bool> {
        let before = self.taken;
        match event {
            ExecEvent::Stdout(bytes) => self.taken.stdout += bytes.len() as u64,
            ExecEvent::Stderr(bytes) => self.taken.stderr += bytes.len() as u64,
            _ => {}
        }
        let mut piece: Option<(Stream, Bytes)> = self.report.event(event, context);
        if let (Report::Json, Some((_, line))) = (self.report, &piece) {
            self.length += line.len() as u64;
            self.lines.push_back((self.length, self.taken));
        }
        while let (Some(writers), Some(_)) = (&mut self.writers, &piece) {
            tokio::select! {
                written = writers.write(&mut piece) => written?,
                // A reader that has stopped is no reason to forget what it has read.
                () = sleep(NOTING) => self.note(),
            }
        }
        Ok(self.taken != before)
    }

    /// Waits until all is written.
    async fn finish(&mut self) -> io::Result<()> {
        match self.writers.take() {
            Some(writers) => writers.finish().await,
            None => Ok(()),
        }
    }

    /// Writes down what was delivered, if that is more than before.
    fn note(&mut self) {
        let (stdout, stderr) = (self.written.stdout(), self.written.stderr());
        match self.report {
            Report::Streams => {
                self.record.offsets = JobOffsets {
                    stdout: self.before.stdout + stdout,
                    stderr: self.before.stderr + stderr,
                };
            }
            Report::Json => {
                while let Some((end, offsets)) = self.lines.front()
                    && *end <= stdout
                {
                    self.record.offsets = *offsets;
                    self.lines.pop_front();
                }
            }
        }
        if self.record.offsets == self.noted {
            return;
        }
        self.noted = self.record.offsets;
        if let Err(error) = self.record.write() {
            tracing::info!(%error, "what was delivered is not written down");
        }
    }
}

/// What the program that follows says itself.
fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(b"bowline: the job is gone and has left no exit code")
}

async fn is_gone(client: &Client, target: &ResolvedTarget, id: &JobId) -> bool {
    match client.jobs(target).await {
        Ok(jobs) => jobs.iter().all(|job| job.id != *id),
        Err(_) => false,
    }
}
