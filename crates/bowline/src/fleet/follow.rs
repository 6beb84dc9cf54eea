//! One attempt at one target: a fresh task, from its start to its end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::attempt::{Attempt, Worker};
use super::run::{FleetEvent, Outcome, Stream};
use super::target::FreshTask;
use crate::AwsErrorKind;
use crate::logs::{LogLine, Writer};
use crate::run::{Cause, Company, Run, RunError, RunEvent, RunOptions, RunReport};

/// After an interruption: for RunTask's answer if that is on its way, and for that of StopTask.
const STOP_LIMIT: Duration = Duration::from_millis(1600);
/// What the task is told.
const REASON: &str = "bowline run: interrupted";

impl Worker {
    /// The request is the same in each attempt, with its client token: ECS starts one task at most.
    pub(super) async fn follow(&self, fresh: &FreshTask, options: &RunOptions) -> Attempt {
        let target = self.index;
        let place = &self.target().place;
        let definition = &fresh.plan.definition;
        let options = RunOptions {
            main: fresh.is_chosen.then(|| fresh.plan.container.clone()),
            ..options.clone()
        };
        let company = Company {
            looks: Some(place.looks()),
            definition: Some(Arc::new(definition.clone())),
        };
        let named = definition.container_definitions.len() > 1;
        let limit = options.timeout.unwrap_or_default();
        let request = fresh.plan.request.clone();
        let mut run = place.client.run_among(request, options, company);
        loop {
            let event = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.leave(fresh, run).await,
                event = run.next() => event,
            };
            let event = match event {
                Some(RunEvent::Ended(report)) => return self.over(judged(&report, limit), false),
                Some(RunEvent::Failed(error)) => return self.failed(fresh, &error),
                Some(RunEvent::Launched { tasks, .. }) => {
                    let Some(task) = tasks.into_iter().next() else {
                        continue;
                    };
                    // It is the same one in each attempt.
                    let _ = fresh.task.set(task.task_arn.clone());
                    let _ = self.started.send(target).await;
                    FleetEvent::Launched {
                        target,
                        task_arn: task.task_arn,
                    }
                }
                Some(RunEvent::Lines(lines)) => FleetEvent::Output {
                    target,
                    stream: Stream::Stdout,
                    bytes: text(&lines, named),
                },
                Some(RunEvent::Status { text, .. }) => FleetEvent::Notice {
                    target,
                    text: format!("the task {text}"),
                },
                Some(RunEvent::Stopping { reason: text }) => FleetEvent::Notice { target, text },
                Some(RunEvent::Notice(text)) => FleetEvent::Notice { target, text },
                Some(RunEvent::StopTaken) => continue,
                None => {
                    let text = "it ended without a word".to_owned();
                    return self.over(Outcome::Unknown(text), false);
                }
            };
            // A reader that does not read must not keep a task from being stopped.
            tokio::select! {
                () = self.tell(event) => {}
                () = self.stop.cancelled() => return self.leave(fresh, run).await,
            }
        }
    }

    /// Has the task stopped, also if RunTask has not answered yet, and goes once ECS has taken that.
    async fn leave(&self, fresh: &FreshTask, mut run: Run) -> Attempt {
        let until = Instant::now() + STOP_LIMIT;
        run.control().stop(REASON);
        let outcome = loop {
            match timeout_at(until, run.next()).await {
                Ok(Some(RunEvent::Launched { tasks, .. })) => {
                    if let Some(task) = tasks.into_iter().next() {
                        let _ = fresh.task.set(task.task_arn);
                    }
                }
                Ok(Some(RunEvent::StopTaken | RunEvent::Ended(_))) => break Outcome::Interrupted,
                Ok(Some(RunEvent::Failed(error))) => {
                    break match (fresh.task_arn(), &error) {
                        // Nothing was started.
                        (None, RunError::Refused(_) | RunError::NotPlaced { .. }) => {
                            Outcome::Interrupted
                        }
                        (None, _) => Outcome::Unknown(self.maybe(fresh, &error)),
                        (Some(task), _) => {
                            Outcome::Unknown(format!("{task} may still run: {}", words(&error)))
                        }
                    };
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    break Outcome::Unknown(match fresh.task_arn() {
                        Some(task) => {
                            format!("{task} may still run: it could not be asked to stop in time")
                        }
                        None => unanswered(fresh, "ECS did not answer in time"),
                    });
                }
            }
        };
        self.over(outcome, false)
    }

    fn failed(&self, fresh: &FreshTask, error: &RunError) -> Attempt {
        let (outcome, passing) = match (error, fresh.task_arn()) {
            (RunError::Refused(cause), None) => {
                (Outcome::Unreachable(words(error)), cause.is_throttled())
            }
            (RunError::NotPlaced { .. } | RunError::Unrecorded(_), None) => {
                (Outcome::Unreachable(words(error)), false)
            }
            // The same token starts no second task.
            (RunError::Unanswered { source, .. }, None) => (
                Outcome::Unknown(self.maybe(fresh, error)),
                source.kind == AwsErrorKind::Unreachable,
            ),
            (_, Some(task)) if !words(error).contains(task) => {
                (Outcome::Unknown(format!("{task}: {}", words(error))), false)
            }
            _ => (Outcome::Unknown(words(error)), false),
        };
        self.over(outcome, passing)
    }

    fn maybe(&self, fresh: &FreshTask, error: &RunError) -> String {
        match error {
            RunError::Unanswered { .. } => unanswered(fresh, &words(error)),
            _ => words(error),
        }
    }
}

fn unanswered(fresh: &FreshTask, text: &str) -> String {
    format!(
        "{text}; a task may have been started in {}, with client token {}",
        fresh.plan.cluster, fresh.plan.request.client_token
    )
}

/// How a task ended that was seen to its end.
fn judged(report: &RunReport, limit: Duration) -> Outcome {
    if report.timed_out {
        return Outcome::TimedOut(limit);
    }
    let Some((_, outcome)) = report.results.first() else {
        return Outcome::Unknown("it ended without a word".to_owned());
    };
    if let Some(code) = outcome.shell_code() {
        return Outcome::Exit(code.into());
    }
    let text = outcome.text.clone();
    let text = text.unwrap_or_else(|| "the exit code is not known".to_owned());
    match outcome.cause {
        Cause::PullFailed | Cause::StartFailed => Outcome::Unreachable(text),
        _ => Outcome::Unknown(text),
    }
}

/// What happened, with what to do where that is known.
fn words(error: &RunError) -> String {
    match error {
        RunError::NotPlaced { failures } => {
            let advice = failures.iter().find_map(|failure| failure.advice());
            match advice {
                Some(advice) => format!("{error}: {advice}"),
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    }
}

/// Lines as they are; with the container in front where there are several.
fn text(lines: &[LogLine], named: bool) -> Bytes {
    let mut text = String::new();
    for line in lines {
        // Writing to a String cannot fail.
        let _ = match (&line.writer, named) {
            (Writer::Container { container, .. }, true) => {
                writeln!(text, "{container} | {}", line.message)
            }
            (writer, true) => writeln!(text, "{writer} | {}", line.message),
            (_, false) => writeln!(text, "{}", line.message),
        };
    }
    text.into()
}
