//! Targets: words that are none, and words that mean nothing or too much.

use bowline::TargetError;
use bowline::forward::SpecError;
use bowline::target::ParseTargetError;

use super::advice::near_or_all;
use super::{Field, Problem};

impl From<ParseTargetError> for Problem {
    fn from(error: ParseTargetError) -> Self {
        Self::usage(error.to_string()).hint(
            "a target is NAME, CLUSTER/NAME or CLUSTER/NAME/CONTAINER; service:, task:, family: or tag: may stand before \
             it; or it is an ARN",
        )
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        Self::usage(error.to_string()).hint(
            "remote is a port of the task, as in 8080, or HOST:PORT, as in \"db.internal:5432\"",
        )
    }
}

impl From<TargetError> for Problem {
    fn from(error: TargetError) -> Self {
        let text = error.to_string();
        match error {
            TargetError::Aws(error) => error.into(),
            TargetError::NoCluster { .. } => not_found(text, None, Vec::new(), Vec::new())
                .hint("check the region (region=) and the account (profile=)"),
            TargetError::ClusterNotFound {
                name,
                suggestions,
                candidates,
                ..
            } => {
                let hint = near_or_all("clusters", &suggestions, &candidates);
                not_found(text, Some(name), suggestions, candidates).maybe_hint(hint)
            }
            TargetError::NotFound {
                target,
                kind,
                suggestions,
                candidates,
                ..
            } => {
                let hint = near_or_all(kind, &suggestions, &candidates);
                not_found(text, Some(target), suggestions, candidates).maybe_hint(hint)
            }
            TargetError::ContainerNotFound {
                name,
                suggestions,
                candidates,
                ..
            } => {
                let hint = near_or_all("containers", &suggestions, &candidates);
                not_found(text, Some(name), suggestions, candidates).maybe_hint(hint)
            }
            TargetError::ClusterAmbiguous { candidates, .. } => ambiguous(text, None, candidates)
                .hint("choose one with cluster=, or write CLUSTER/NAME"),
            TargetError::Ambiguous {
                target, candidates, ..
            } => ambiguous(text, Some(target), candidates).hint("name one of them"),
            TargetError::ContainerAmbiguous {
                task, candidates, ..
            } => ambiguous(text, Some(task), candidates).hint("name one with container="),
            TargetError::OtherRegion { arn, region, .. } => Self::new("TargetError", text)
                .resource(arn)
                .hint(format!("give region={region:?}")),
            TargetError::Conflict { .. } => Self::usage(text).hint("give only one of the two"),
            TargetError::NoTask { target, .. } => Self::new("TargetError", text)
                .resource(target)
                .hint("the service's events say why its tasks do not start"),
            TargetError::TaskStopped { task, .. } | TargetError::NoContainer { task, .. } => {
                Self::new("TargetError", text).resource(task)
            }
            _ => Self::new("TargetError", text),
        }
    }
}

fn not_found(
    text: String,
    what: Option<String>,
    suggestions: Vec<String>,
    candidates: Vec<String>,
) -> Problem {
    let problem = Problem::new("TargetNotFoundError", text)
        .field("suggestions", Field::Texts(suggestions))
        .field("candidates", Field::Texts(candidates));
    named(problem, what)
}

fn ambiguous(text: String, what: Option<String>, candidates: Vec<String>) -> Problem {
    let problem =
        Problem::new("TargetAmbiguousError", text).field("candidates", Field::Texts(candidates));
    named(problem, what)
}

fn named(problem: Problem, what: Option<String>) -> Problem {
    match what {
        Some(what) => problem.resource(what),
        None => problem,
    }
}
