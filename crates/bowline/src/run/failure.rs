//! Tasks that RunTask did not start, though it answered 200.

use serde::{Deserialize, Serialize};

/// One entry of RunTask's `failures`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementFailure {
    /// The instance or resource it is about; never a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// ECS's word for it, or its sentence.
    #[serde(default = "no_reason")]
    pub reason: String,
    /// More of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl PlacementFailure {
    /// What it means, in words.
    pub fn meaning(&self) -> &'static str {
        self.entry()
            .map_or("ECS found no place for a task", |entry| entry.1)
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&'static str> {
        self.entry().map(|entry| entry.2)
    }

    /// Whether the same request may succeed later, without any change.
    pub fn may_pass(&self) -> bool {
        self.reason.starts_with("RESOURCE:")
            || self.reason == "AGENT"
            || self.reason.starts_with("Capacity is unavailable")
    }

    fn entry(&self) -> Option<&'static (&'static str, &'static str, &'static str)> {
        REASONS
            .iter()
            .find(|(reason, _, _)| self.reason.starts_with(reason))
    }
}

fn no_reason() -> String {
    "no reason was given".to_owned()
}

/// The beginning of the reason, what it means, what to do. Reasons are those of the API's error page and of the field.
const REASONS: [(&str, &str, &str); 13] = [
    (
        "RESOURCE:CPU",
        "no instance of the cluster has enough CPU free",
        "try again later, ask for less with --cpu, or add instances",
    ),
    (
        "RESOURCE:MEMORY",
        "no instance of the cluster has enough memory free",
        "try again later, ask for less with --memory, or add instances",
    ),
    (
        "RESOURCE:ENI",
        "no instance of the cluster has a network interface free",
        "try again later, add instances, or turn on ENI trunking",
    ),
    (
        "RESOURCE:PORTS",
        "a host port of the task is taken on every instance",
        "try again later, or use dynamic host ports in the task definition",
    ),
    (
        "RESOURCE:",
        "no instance of the cluster has free what the task needs",
        "try again later, or add instances",
    ),
    (
        "AGENT",
        "the ECS agent of the instance is not connected",
        "try again later; check the agent and the network of the instance",
    ),
    (
        "ATTRIBUTE",
        "no instance has an attribute that the task definition needs",
        "compare the definition's requiresAttributes with the instances: agent version, AMI, log driver",
    ),
    (
        "LOCATION",
        "no instance fits the placement constraints",
        "check the availability zones and constraints of the task definition",
    ),
    (
        "MemberOf",
        "no instance fits the placement constraints",
        "check the constraint expressions of the task definition",
    ),
    (
        "Capacity is unavailable",
        "Fargate has no capacity at the moment",
        "try again later, or in other availability zones with --subnets; FARGATE instead of FARGATE_SPOT",
    ),
    (
        "EMPTY CAPACITY PROVIDER",
        "the capacity provider has no instances",
        "let its Auto Scaling group grow, or use another one with --capacity-provider",
    ),
    (
        "NO ACTIVE INSTANCES",
        "the cluster has no active instances",
        "register instances, or use Fargate with --launch-type FARGATE",
    ),
    (
        "You've reached the limit",
        "the account's limit of tasks or vCPUs is reached",
        "wait until other tasks end, or raise the quota in Service Quotas",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_and_the_longer_ones_come_first() {
        let failure = |reason: &str| PlacementFailure {
            reason: reason.to_owned(),
            ..PlacementFailure::default()
        };
        assert!(failure("RESOURCE:CPU").meaning().contains("CPU"));
        assert!(
            failure("RESOURCE:GPU")
                .meaning()
                .contains("what the task needs")
        );
        assert!(failure("RESOURCE:GPU").may_pass());
        assert!(!failure("ATTRIBUTE").may_pass());
        let odd = failure("something new");
        assert_eq!(odd.meaning(), "ECS found no place for a task");
        assert_eq!(odd.advice(), None);
    }
}
