//! Errors of one-off tasks.

use bowline::run::{PlacementFailure, PlanError, RunError};

use super::{CommandError, ErrorKind, near_or_all};

impl From<PlanError> for CommandError {
    fn from(error: PlanError) -> Self {
        let hints = plan_hints(&error);
        let kind = match error {
            PlanError::Target(error) => return Self::from(error).starting_remote(),
            PlanError::Aws(error) => return Self::from(error).starting_remote(),
            PlanError::Task { .. } => ErrorKind::Usage,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error).with_hints(hints)
    }
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        let hints = run_hints(&error);
        match error {
            RunError::Refused(error) => Self::from(*error).starting_remote(),
            RunError::Unanswered { token, source } => Self::from(*source)
                .starting_remote()
                .hint(format!(
                    "a task may have been started (`bowline ls tasks`); the same command with `--client-token {token}` \
                     starts no second one"
                )),
            error => Self::new(ErrorKind::Unavailable, error).with_hints(hints),
        }
    }
}

fn plan_hints(error: &PlanError) -> Vec<String> {
    match error {
        PlanError::Task { .. } => vec![
            "name a service or family:NAME; `bowline exec` runs a command in a task, `bowline attach` follows one"
                .to_owned(),
        ],
        PlanError::NotFound { candidates, .. } => {
            let mut hints = near_or_all("services", &[], candidates);
            hints.push("a family of another name is written family:NAME".to_owned());
            hints
        }
        PlanError::NoService { candidates, .. } => near_or_all("services", &[], candidates),
        PlanError::Ambiguous { .. } => {
            vec!["name one of them, or family:NAME".to_owned()]
        }
        PlanError::NoNetwork { candidates, .. } => {
            let mut hints =
                vec!["name --subnets and --security-groups, or a service to be like with --like".to_owned()];
            if !candidates.is_empty() {
                hints.push(format!("services with a network are {}", candidates.join(", ")));
            }
            hints
        }
        PlanError::NoContainer { candidates, .. } => {
            vec![format!("its containers are {}", candidates.join(", "))]
        }
        _ => Vec::new(),
    }
}

fn run_hints(error: &RunError) -> Vec<String> {
    match error {
        RunError::NotPlaced { failures } => {
            let mut hints: Vec<String> = Vec::new();
            for advice in failures.iter().filter_map(PlacementFailure::advice) {
                if !hints.iter().any(|hint| hint == advice) {
                    hints.push(advice.to_owned());
                }
            }
            hints
        }
        RunError::Conflict { tasks, .. } => vec![
            "use a new token for a new request, or leave out --client-token".to_owned(),
            format!(
                "`bowline attach {}` follows what the first request started",
                tasks.join(" ")
            ),
        ],
        RunError::Unwatchable { tasks, .. } => {
            vec![format!(
                "it goes on; `bowline attach {}` comes back to it",
                tasks.join(" ")
            )]
        }
        RunError::Gone { .. } => vec![
            "check cluster and region; ECS forgets a task about an hour after its end".to_owned(),
        ],
        RunError::NotStopping { task, .. } => vec![format!(
            "the host may be out of ECS's reach; `bowline attach {task}` comes back to it"
        )],
        RunError::NotStopped { tasks, source } => {
            let tasks = tasks.join(" ");
            let mut hints = vec![format!(
                "it goes on: {tasks}; `bowline attach --stop {tasks}` comes back to it"
            )];
            if source.is_access_denied() {
                hints.push("the caller needs the permission ecs:StopTask".to_owned());
            }
            hints
        }
        _ => Vec::new(),
    }
}
