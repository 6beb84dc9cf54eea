//! Why a run failed: before its tasks, or while they were watched.

use std::time::Duration;

use super::failure::PlacementFailure;
use crate::AwsError;
use crate::record::RecordError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It has to be recorded, and cannot be. Tasks that were started go on.
    #[error("what the tasks do has to be recorded: {0}")]
    Unrecorded(RecordError),
    /// ECS refused the call, and nothing was started.
    #[error(transparent)]
    Refused(Box<AwsError>),
    /// ECS did not answer, or not with a refusal. Tasks may have been started.
    #[error("{source}")]
    Unanswered {
        /// The same request with this client token starts none besides those.
        token: String,
        /// What came instead of an answer.
        source: Box<AwsError>,
    },
    /// ECS accepted the call and found no place for any task.
    #[error("no task was started: {}", reasons(failures))]
    NotPlaced {
        /// Why, one for each task.
        failures: Vec<PlacementFailure>,
    },
    /// The client token was used before, for another request.
    #[error("the client token was used before for another request, which started {}", tasks.join(", "))]
    Conflict {
        /// The tasks of that request.
        tasks: Vec<String>,
        /// The answer.
        source: Box<AwsError>,
    },
    /// The tasks cannot be looked at any more. They go on.
    #[error("the task cannot be watched: {source}")]
    Unwatchable {
        /// Their ARNs.
        tasks: Vec<String>,
        /// Why.
        source: Box<AwsError>,
    },
    /// ECS does not know the task (any more).
    #[error("ECS does not know task {task}")]
    Gone {
        /// Its ARN.
        task: String,
    },
    /// It was asked to stop and did not.
    #[error("task {task} was asked to stop {} s ago and has not", after.as_secs())]
    NotStopping {
        /// Its ARN.
        task: String,
        /// How long ago.
        after: Duration,
    },
    /// It could not be asked to stop. It goes on.
    #[error("the task could not be stopped: {source}")]
    NotStopped {
        /// Those that go on.
        tasks: Vec<String>,
        /// Why.
        source: Box<AwsError>,
    },
}

fn reasons(failures: &[PlacementFailure]) -> String {
    let mut said: Vec<String> = Vec::new();
    for failure in failures {
        let detail = failure.detail.as_deref();
        let detail = detail.map_or_else(String::new, |detail| format!("; {detail}"));
        let arn = failure.arn.as_deref();
        let arn = arn.map_or_else(String::new, |arn| format!(", {arn}"));
        let text = format!("{} ({}{arn}{detail})", failure.meaning(), failure.reason);
        if !said.contains(&text) {
            said.push(text);
        }
    }
    match said.is_empty() {
        true => "ECS gave neither a task nor a reason".to_owned(),
        false => said.join("; "),
    }
}
