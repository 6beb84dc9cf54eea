//! The checks: plain functions of the facts, one for each thing that keeps somebody out.
//!
//! A check gives its findings, none if it does not apply. How likely a cause is comes from its rank, the lower the
//! likelier; symptoms rank behind their causes.

mod caller;
mod container;
mod invisible;
mod network;
mod role;
mod task;

use super::facts::{Facts, Known, Unknown, Verdict};
use super::{Check, Report, Request, Severity, State};

/// All checks on all containers, ordered.
pub(super) fn report(facts: &Facts) -> Report {
    let mut checks: Vec<Check> = OF_TASK.iter().flat_map(|check| check(facts)).collect();
    for (index, name) in facts.containers.iter().enumerate() {
        let found = OF_CONTAINER
            .iter()
            .flat_map(|check| check(facts, index, name));
        checks.extend(found.map(|check| Check {
            container: Some(name.clone()),
            ..check
        }));
    }
    checks.sort_by_key(|check| (check.state, check.severity, check.rank));
    let group = facts.task.get("group").and_then(|group| group.as_str());
    Report {
        cluster: facts.cluster.clone(),
        task_id: facts.task_id().to_owned(),
        service_name: group
            .and_then(|group| group.strip_prefix("service:"))
            .map(str::to_owned),
        checks,
    }
}

type OfTask = fn(&Facts) -> Vec<Check>;
type OfContainer = fn(&Facts, usize, &str) -> Vec<Check>;

const OF_TASK: [OfTask; 20] = [
    task::running,
    task::enabled,
    task::definition,
    task::platform,
    task::ecs_agent,
    task::configuration,
    role::present,
    role::channel,
    role::key,
    role::logging,
    network::route,
    network::security_groups,
    caller::identity,
    caller::execute,
    caller::open,
    caller::key,
    caller::sessions,
    caller::start,
    caller::clock,
    caller::reach,
];

const OF_CONTAINER: [OfContainer; 11] = [
    container::agent,
    container::read_only,
    container::credentials,
    container::proxy,
    container::pid_mode,
    container::sessions,
    container::init_process,
    invisible::shell,
    invisible::space,
    invisible::logging_tools,
    invisible::host,
];

/// A check's name, rank and manner, from which its findings are made.
#[derive(Clone, Copy)]
struct Looked {
    id: &'static str,
    rank: u8,
    how: &'static str,
}

impl Looked {
    const fn new(id: &'static str, rank: u8, how: &'static str) -> Self {
        Self { id, rank, how }
    }

    fn found(self, state: State, what: impl Into<String>) -> Check {
        Check {
            id: self.id,
            container: None,
            state,
            severity: None,
            what: what.into(),
            how: self.how.to_owned(),
            fix: None,
            requests: Vec::new(),
            rank: self.rank,
        }
    }

    fn ok(self, what: impl Into<String>) -> Vec<Check> {
        vec![self.found(State::Ok, what)]
    }

    fn unknown(self, subject: &str, why: &Unknown) -> Vec<Check> {
        vec![self.found(State::Unknown, format!("{subject}: {}", why.0))]
    }

    fn problem(
        self,
        severity: Severity,
        what: impl Into<String>,
        fix: impl Into<String>,
        requests: Vec<Request>,
    ) -> Vec<Check> {
        vec![Check {
            severity: Some(severity),
            fix: Some(fix.into()),
            requests,
            ..self.found(State::Problem, what)
        }]
    }
}

/// A key's own policy may allow what nobody else does; what is forbidden stays so.
fn by_policies(verdict: &Known<Verdict>) -> Severity {
    match verdict {
        Ok(verdict) if !verdict.explicit => Severity::MayBlock,
        _ => Severity::Blocks,
    }
}

/// `a`, `a and b`, `a, b and c`.
fn join(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
