//! One-off tasks: those that cannot be asked for, did not start, or ended without a code.

use bowline::model::Task;
use bowline::run::{Cause, Outcome, PlacementFailure, PlanError, RunError};

use super::advice::near_or_all;
use super::{Field, Problem};

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        let text = error.to_string();
        let not_found = |what: &str, name: String, candidates: Vec<String>| {
            Self::new("TargetNotFoundError", text.clone())
                .maybe_hint(near_or_all(what, &[], &candidates))
                .resource(name)
                .field("suggestions", Field::Texts(Vec::new()))
                .field("candidates", Field::Texts(candidates))
        };
        match error {
            PlanError::Target(error) => error.into(),
            PlanError::Aws(error) => error.into(),
            PlanError::Task { .. } => Self::usage(text).hint(
                "name a service or family:NAME; bowline_ecs.exec runs a command in a task that is there",
            ),
            PlanError::NotFound {
                name, candidates, ..
            }
            | PlanError::NoService {
                name, candidates, ..
            } => not_found("services", name, candidates),
            PlanError::NoContainer {
                name, candidates, ..
            } => not_found("containers", name, candidates),
            PlanError::Ambiguous { candidates, .. } => Self::new("TargetAmbiguousError", text)
                .hint("name one of them, or family:NAME")
                .field("candidates", Field::Texts(candidates)),
            PlanError::NoNetwork { .. } => Self::new("UsageError", text)
                .hint("give subnets= and security_groups=, or a service to be like with like="),
            _ => Self::new("TaskFailedError", text),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::Refused(error) => (*error).into(),
            RunError::Unanswered { source, .. } => {
                Self::from(*source).hint("a task may have been started: look before you try again")
            }
            RunError::NotPlaced { failures } => {
                let advice = failures.iter().find_map(PlacementFailure::advice);
                failed(text, "NotPlaced", None).maybe_hint(advice.map(str::to_owned))
            }
            RunError::Unwatchable { tasks, .. } | RunError::NotStopped { tasks, .. } => {
                let tasks = tasks.join(" ");
                failed(text, "Unknown", None)
                    .resource(tasks)
                    .hint("the task goes on")
            }
            RunError::Gone { task } | RunError::NotStopping { task, .. } => {
                failed(text, "Unknown", None).resource(task)
            }
            _ => failed(text, "Unknown", None),
        }
    }
}

/// A task that ended otherwise than by its command.
pub(crate) fn ended(task: &Task, outcome: &Outcome) -> Problem {
    let text = outcome.text.clone();
    let text = text.unwrap_or_else(|| "the exit code is not known".to_owned());
    let hint = match outcome.cause {
        Cause::PullFailed => {
            "check the image's name, the execution role and the task's way out to the registry"
        }
        Cause::StartFailed => {
            "check the command, the secrets and log group of the definition, and the execution role"
        }
        Cause::UserStopped => "the command had not ended by itself when somebody stopped it",
        Cause::SpotInterrupted | Cause::Infrastructure => "run it again",
        _ => "its log lines and the task's stopped reason may say more",
    };
    failed(
        format!("task {}: {text}", task.task_id),
        &format!("{:?}", outcome.cause),
        outcome.code,
    )
    .resource(&task.task_id)
    .hint(hint)
}

/// A task that was stopped because its time was up.
pub(crate) fn timed_out(task: Option<&Task>, limit: Option<f64>) -> Problem {
    let name = task.map(|task| task.task_id.clone()).unwrap_or_default();
    Problem::new(
        "TimeLimitError",
        format!("task {name} was stopped because its time was up"),
    )
    .resource(name)
    .hint("give it more time with timeout=")
    .field("limit", Field::Number(limit))
}

fn failed(text: String, cause: &str, code: Option<i64>) -> Problem {
    Problem::new("TaskFailedError", text)
        .field("cause", Field::Text(Some(cause.to_owned())))
        .field("code", Field::Integer(code))
}
