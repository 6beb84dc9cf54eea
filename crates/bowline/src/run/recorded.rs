//! The events of a run on their way to the reader, and to a recording.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::worker::{self, Beginning, Caller, Work};
use super::{RunError, RunEvent, RunReport};
use crate::record::{End, Output, RecordError, Recorder};

/// Hands events on once they are recorded. The tasks are never stopped for lack of a recording: what they do goes on
/// without us, and what they print is in their own log.
pub(super) struct Recorded {
    /// Comes before the first event.
    coming: Option<oneshot::Receiver<Recorder>>,
    recorder: Option<Recorder>,
    /// Taken, but not yet given, and how many of its lines are recorded.
    held: Option<(RunEvent, usize)>,
    ended: bool,
}

/// Starts and follows tasks, once their recording has begun.
pub(super) async fn run(work: Work, caller: Caller, to_recorded: oneshot::Sender<Recorder>) {
    if let Some(plan) = &work.options.record {
        let (argv, target) = work.beginning.described();
        match plan.begin(Some(&work.client), argv, target).await {
            // Without a reader nothing is begun below.
            Ok(recorder) => drop(to_recorded.send(recorder)),
            Err(error) => {
                let event = RunEvent::Failed(RunError::Unrecorded(error));
                // The reader may have left.
                let _ = caller.reader.send(event).await;
                return;
            }
        }
    }
    worker::run(work, caller).await;
}

impl Beginning {
    /// What is run, and where.
    fn described(&self) -> (Vec<String>, Value) {
        match self {
            Self::Launch(request) => {
                let overrides = serde_json::to_value(&request.overrides).unwrap_or_default();
                let command = overrides
                    .pointer("/containerOverrides/0/command")
                    .and_then(Value::as_array);
                let argv = command.into_iter().flatten().filter_map(Value::as_str);
                let target = json!({
                    "cluster": request.cluster,
                    "definition": request.task_definition,
                    "count": request.count,
                });
                (argv.map(str::to_owned).collect(), target)
            }
            Self::Attach { cluster, tasks, .. } => {
                (Vec::new(), json!({ "cluster": cluster, "tasks": tasks }))
            }
        }
    }
}

/// The two ends of what a recording is handed over with.
pub(super) fn pair(is_recorded: bool) -> (oneshot::Sender<Recorder>, Recorded) {
    let (to_recorded, coming) = oneshot::channel();
    let recorded = Recorded {
        coming: is_recorded.then_some(coming),
        recorder: None,
        held: None,
        ended: false,
    };
    (to_recorded, recorded)
}

impl Recorded {
    /// The next event. Cancel-safe: an event is held until it was recorded.
    pub(super) async fn next(&mut self, events: &mut mpsc::Receiver<RunEvent>) -> Option<RunEvent> {
        if self.ended {
            return None;
        }
        if self.held.is_none() {
            self.held = Some((events.recv().await?, 0));
        }
        if let Some(mut coming) = self.coming.take() {
            self.recorder = coming.try_recv().ok();
        }
        let (Some(recorder), Some((event, done))) = (&self.recorder, &mut self.held) else {
            return self.held.take().map(|(event, _)| event);
        };
        match record(recorder, event, done).await {
            Ok(()) => {}
            Err(error) if recorder.is_required() => {
                self.recorder = None;
                self.ended = true;
                return Some(RunEvent::Failed(RunError::Unrecorded(error)));
            }
            Err(error) => {
                self.recorder = None;
                return Some(RunEvent::Notice(format!("not recorded any more: {error}")));
            }
        }
        let event = self.held.take().map(|(event, _)| event);
        if matches!(event, Some(RunEvent::Ended(_) | RunEvent::Failed(_))) {
            self.recorder = None;
        }
        event
    }
}

async fn record(
    recorder: &Recorder,
    event: &RunEvent,
    done: &mut usize,
) -> Result<(), RecordError> {
    match event {
        RunEvent::Lines(lines) => {
            for line in lines.iter().skip(*done) {
                let text = format!("{}\n", line.message);
                recorder.output(Output::Stdout, Bytes::from(text)).await?;
                *done += 1;
            }
            Ok(())
        }
        RunEvent::Launched { tasks, failures } => {
            let tasks: Vec<&str> = tasks.iter().map(|task| task.task_arn.as_str()).collect();
            let event = json!({ "type": "launched", "tasks": tasks, "failures": failures });
            recorder.event(event).await
        }
        RunEvent::Status { task, text } => {
            let event = json!({ "type": "status", "task": task.task_arn, "text": text });
            recorder.event(event).await
        }
        RunEvent::Stopping { reason } => {
            let event = json!({ "type": "stopping", "reason": reason });
            recorder.event(event).await
        }
        RunEvent::Notice(text) => {
            let event = json!({ "type": "notice", "text": text });
            recorder.event(event).await
        }
        RunEvent::StopTaken => recorder.event(json!({ "type": "stop-taken" })).await,
        RunEvent::Ended(report) => {
            recorder.event(results(report)).await?;
            recorder.end(end(report)).await
        }
        RunEvent::Failed(error) => recorder.end(End::because(error.to_string())).await,
    }
}

fn results(report: &RunReport) -> Value {
    let results = report.results.iter().map(|(task, outcome)| {
        json!({
            "task": task.task_arn,
            "code": outcome.code,
            "container": outcome.container,
            "reason": outcome.text,
        })
    });
    json!({ "type": "results", "results": results.collect::<Vec<_>>() })
}

/// The code of one task, or the one that all have.
fn end(report: &RunReport) -> End {
    if report.timed_out {
        return End::because("the tasks were stopped because their time was up");
    }
    let mut codes = report.results.iter().map(|(_, outcome)| outcome.code);
    match codes.next().flatten() {
        Some(code) if report.failures.is_empty() && codes.all(|other| other == Some(code)) => {
            End::exit(code)
        }
        _ => End::because("the tasks did not all end with one exit code"),
    }
}
