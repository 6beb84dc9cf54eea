//! RunTask and StopTask around tasks that are not followed: signals are heard, and no task is left behind unsaid.

use std::time::Duration;

use bowline::Client;
use bowline::model::Task;
use bowline::run::{PlacementFailure, RunPlan, RunRequest};
use tokio::time::timeout;

use crate::commands::Context;
use crate::error::CommandError;
use crate::signals::{Signal, Signals};

/// For the request to stop a task.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How the start ended.
pub(super) enum Launched {
    Yes {
        tasks: Vec<Task>,
        failures: Vec<PlacementFailure>,
    },
    /// A signal came meanwhile, so these are to be stopped.
    Leaving { tasks: Vec<Task>, signal: Signal },
    /// A second one came before the answer.
    Left(Signal),
}

/// Starts tasks. RunTask cannot be taken back, so its answer is waited for when a signal comes.
pub(super) async fn launch(
    client: &Client,
    request: &RunRequest,
    context: &Context,
    signals: &mut Signals,
) -> Result<Launched, CommandError> {
    let mut leaving = None;
    let launching = client.launch(request);
    tokio::pin!(launching);
    let (tasks, failures) = loop {
        tokio::select! {
            launched = &mut launching => break launched?,
            signal = signals.next() => {
                if leaving.replace(signal).is_some() {
                    context.printer.warning(
                        "left before ECS had answered; a task may have been started (`bowline ls tasks`)",
                    );
                    return Ok(Launched::Left(signal));
                }
                context.printer.note(
                    "stopping the task as soon as ECS has answered; once more leaves at once",
                );
            }
        }
    };
    Ok(match leaving {
        Some(signal) => Launched::Leaving { tasks, signal },
        None => Launched::Yes { tasks, failures },
    })
}

/// Has tasks stopped, and says what became of that.
pub(super) async fn stop(
    client: &Client,
    plan: &RunPlan,
    tasks: &[Task],
    reason: impl AsRef<str>,
    context: &Context,
) {
    let cluster = plan.cluster.as_str();
    for task in tasks {
        let stopping = client.stop_started(cluster, &task.task_arn, reason.as_ref(), STOP_LIMIT);
        let failed = match timeout(STOP_LIMIT, stopping).await {
            Ok(Ok(())) => {
                context
                    .printer
                    .note(&format!("task {} is being stopped", task.task_id));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer came in time".to_owned(),
        };
        context.printer.warning(&format!(
            "task {} could not be stopped and may still be running: {failed}",
            task.task_arn
        ));
    }
}
