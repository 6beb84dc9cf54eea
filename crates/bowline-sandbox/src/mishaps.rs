//! What goes wrong because somebody asked for it: calls that fail, tasks without capacity, tasks that cannot start.
//!
//! Asked for by a scenario, for good, or by a control call, for a number of times.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::api::ApiError;
use crate::identifiers::Account;

/// Everything that shall go wrong next.
#[derive(Debug, Default)]
pub(crate) struct Mishaps {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the operation's name.
    calls: BTreeMap<String, Vec<Planned<CallError>>>,
    placements: Vec<Planned<Placement>>,
    starts: Vec<Planned<StartFailure>>,
    late_tasks: Duration,
}

/// Something with the number of times that it is still to happen; `None` is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned<T> {
    pub(crate) what: T,
    pub(crate) times: Option<u64>,
}

/// An error that an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallError {
    pub(crate) operation: String,
    pub(crate) code: String,
    /// The usual text of the code if there is none.
    pub(crate) message: Option<String>,
    pub(crate) status: Option<StatusCode>,
}

/// An entry of RunTask's `failures`, in place of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
    pub(crate) arn: Option<String>,
}

/// Why a task does not start: `CannotPullContainerError: …` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartFailure {
    pub(crate) reason: String,
    /// The first container if none is named.
    pub(crate) container: Option<String>,
}

impl Mishaps {
    /// With what the scenarios want.
    pub(crate) fn new(
        calls: Vec<CallError>,
        placement: Option<Placement>,
        start: Option<StartFailure>,
        late_tasks: Duration,
    ) -> Self {
        let mishaps = Self::default();
        for error in calls {
            mishaps.fail_call(error, None);
        }
        {
            let mut inner = mishaps.inner();
            let times = None;
            inner
                .placements
                .extend(placement.map(|what| Planned { what, times }));
            inner
                .starts
                .extend(start.map(|what| Planned { what, times }));
            inner.late_tasks = late_tasks;
        }
        mishaps
    }

    /// An operation fails so many times.
    pub(crate) fn fail_call(&self, what: CallError, times: Option<u64>) {
        let mut inner = self.inner();
        let calls = inner.calls.entry(what.operation.clone()).or_default();
        calls.push(Planned { what, times });
    }

    /// RunTask finds no place for so many tasks.
    pub(crate) fn fail_placement(&self, what: Placement, times: u64) {
        let times = Some(times);
        self.inner().placements.push(Planned { what, times });
    }

    /// So many tasks do not start.
    pub(crate) fn fail_start(&self, what: StartFailure, times: u64) {
        let times = Some(times);
        self.inner().starts.push(Planned { what, times });
    }

    /// DescribeTasks and ListTasks do not know tasks of RunTask for so long, on the sandbox's clock.
    pub(crate) fn delay_tasks(&self, span: Duration) {
        self.inner().late_tasks = span;
    }

    /// See [`Self::delay_tasks`].
    pub(crate) fn late_tasks(&self) -> Duration {
        self.inner().late_tasks
    }

    /// The error of this call, if it shall have one.
    pub(crate) fn of_call(&self, operation: &str, account: &Account) -> Option<ApiError> {
        let mut inner = self.inner();
        Some(next(inner.calls.get_mut(operation)?)?.error(account))
    }

    /// Why there is no place for the next task of RunTask, if there shall be none.
    pub(crate) fn of_placement(&self) -> Option<Placement> {
        next(&mut self.inner().placements)
    }

    /// Why the next task does not start, if it shall not. What a scenario wants is not for the tasks of services:
    /// the demo world has to come up.
    pub(crate) fn of_start(&self, of_service: bool) -> Option<StartFailure> {
        let mut inner = self.inner();
        let asked_for = inner.starts.iter().any(|start| start.times.is_some());
        (asked_for || !of_service)
            .then(|| next(&mut inner.starts))
            .flatten()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked for by a call comes before what a scenario wants for ever.
fn next<T: Clone>(planned: &mut Vec<Planned<T>>) -> Option<T> {
    let index = planned.iter().position(|one| one.times.is_some());
    let one = planned.get_mut(index.unwrap_or(0))?;
    let what = one.what.clone();
    if let Some(times) = &mut one.times {
        *times = times.saturating_sub(1);
    }
    planned.retain(|one| one.times != Some(0));
    Some(what)
}

impl CallError {
    fn error(self, account: &Account) -> ApiError {
        let status = self.status.unwrap_or(match self.code.as_str() {
            "ServerException" | "InternalServerError" | "InternalFailure" => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            "ServiceUnavailableException" | "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        });
        let message = self
            .message
            .unwrap_or_else(|| text(&self.code, &self.operation, account));
        ApiError {
            status,
            ..ApiError::new(self.code, message)
        }
    }
}

/// The usual text of an error.
fn text(code: &str, operation: &str, account: &Account) -> String {
    let service = match operation {
        "StartSession" | "ResumeSession" | "TerminateSession" | "DescribeSessions" => "ssm",
        _ if operation.contains("Log") || operation == "StartLiveTail" => "logs",
        _ => "ecs",
    };
    match code {
        "ThrottlingException" => "Rate exceeded".to_owned(),
        "ClusterNotFoundException" => "Cluster not found.".to_owned(),
        "ServiceNotFoundException" => "Service not found.".to_owned(),
        "AccessDeniedException" => format!(
            "User: {} is not authorized to perform: {service}:{operation} \
             on resource: * because no identity-based policy allows the {service}:{operation} action",
            account.caller()
        ),
        "BlockedException" => "Your AWS account was blocked. For more information, contact AWS Support.".to_owned(),
        "UnsupportedFeatureException" => "The specified feature isn't supported in this Region.".to_owned(),
        "PlatformUnknownException" => "The specified platform version doesn't exist.".to_owned(),
        "PlatformTaskDefinitionIncompatibilityException" => {
            "The specified platform version doesn't satisfy the required capabilities of the task definition.".to_owned()
        }
        "ServerException" => "Service Unavailable. Please try again later.".to_owned(),
        "ExpiredTokenException" => "The security token included in the request is expired".to_owned(),
        "UnrecognizedClientException" => "The security token included in the request is invalid.".to_owned(),
        other => format!("The sandbox was asked to answer {operation} with {other}."),
    }
}

impl Placement {
    /// For a reason of AWS, or one of the short words of [`Self::SHORT`].
    pub(crate) fn new(reason: &str) -> Self {
        let short = Self::SHORT.iter().find(|(word, _)| *word == reason);
        Self {
            reason: short.map_or(reason, |(_, text)| text).to_owned(),
            detail: None,
            arn: None,
        }
    }

    /// Short words for long reasons.
    pub(crate) const SHORT: [(&'static str, &'static str); 2] = [
        (
            "capacity",
            "Capacity is unavailable at this time. Please try again later or in a different availability zone",
        ),
        (
            "quota",
            "You've reached the limit on the number of tasks you can run concurrently",
        ),
    ];

    /// A reason about one instance names it.
    pub(crate) fn is_about_an_instance(&self) -> bool {
        self.reason.starts_with("RESOURCE:")
            || ["AGENT", "ATTRIBUTE", "LOCATION", "MISSING", "INACTIVE"]
                .contains(&self.reason.as_str())
    }
}

impl StartFailure {
    /// For a reason of AWS, or one of the short words of [`Self::SHORT`].
    pub(crate) fn new(reason: &str) -> Self {
        let short = Self::SHORT.iter().find(|(word, _)| *word == reason);
        Self {
            reason: short.map_or(reason, |(_, text)| text).to_owned(),
            container: None,
        }
    }

    /// Short words for long reasons.
    pub(crate) const SHORT: [(&'static str, &'static str); 3] = [
        (
            "pull",
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref \
             docker.io/bowline/missing:latest: docker.io/bowline/missing:latest: not found",
        ),
        (
            "resources",
            "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
             unable to retrieve secret from asm: service call has been retried 1 time(s)",
        ),
        (
            "start",
            "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task",
        ),
    ];

    /// Before anything is pulled: the network, secrets, the log driver.
    pub(crate) fn before_pull(&self) -> bool {
        self.reason.starts_with("ResourceInitializationError")
    }

    /// Instead of the image.
    pub(crate) fn at_pull(&self) -> bool {
        self.reason.starts_with("CannotPull")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_asked_for_comes_first_and_is_used_up() {
        let mishaps = Mishaps::new(
            Vec::new(),
            Some(Placement::new("capacity")),
            None,
            Duration::ZERO,
        );
        mishaps.fail_placement(Placement::new("RESOURCE:CPU"), 2);
        let mut reasons = (0..4).map(|_| mishaps.of_placement().unwrap().reason);
        assert_eq!(reasons.next().as_deref(), Some("RESOURCE:CPU"));
        assert_eq!(reasons.next().as_deref(), Some("RESOURCE:CPU"));
        assert!(reasons.all(|reason| reason.starts_with("Capacity is unavailable")));
        assert_eq!(mishaps.of_start(false), None);
    }

    #[test]
    fn errors_have_the_status_and_the_text_of_their_code() {
        let account = Account::new("us-east-1");
        let mishaps = Mishaps::default();
        for code in ["ServerException", "ThrottlingException"] {
            let error = CallError {
                operation: "RunTask".to_owned(),
                code: code.to_owned(),
                message: None,
                status: None,
            };
            mishaps.fail_call(error, Some(1));
        }
        assert_eq!(mishaps.of_call("StopTask", &account), None);
        assert_eq!(
            mishaps.of_call("RunTask", &account).unwrap().status,
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let throttled = mishaps.of_call("RunTask", &account).unwrap();
        assert_eq!(
            (throttled.status, throttled.message.as_str()),
            (StatusCode::BAD_REQUEST, "Rate exceeded")
        );
        assert_eq!(mishaps.of_call("RunTask", &account), None);
    }
}
