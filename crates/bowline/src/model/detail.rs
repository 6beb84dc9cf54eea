//! What `describe` knows more than a listing: deployments, events, what was overridden.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::definition::{EnvironmentVariable, mask};
use super::{Cluster, Service, Task};

/// A cluster and how it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDetail {
    /// What a listing shows.
    #[serde(flatten)]
    pub cluster: Cluster,
    /// Its capacity providers.
    pub capacity_providers: Vec<String>,
    /// Where sessions of ECS Exec are logged, if that is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_logging: Option<ExecLogging>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// How a cluster has sessions of ECS Exec logged and encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecLogging {
    /// NONE, DEFAULT (the container's own log group) or OVERRIDE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<String>,
    /// The log group of OVERRIDE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_watch_log_group_name: Option<String>,
    /// The bucket of OVERRIDE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_bucket_name: Option<String>,
    /// The key that sessions are encrypted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
}

/// A service, its deployments and its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetail {
    /// What a listing shows.
    #[serde(flatten)]
    pub service: Service,
    /// LATEST or a version, on Fargate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Whether ECS gives up a deployment whose tasks fail.
    pub circuit_breaker: bool,
    /// Whether it then goes back to the last deployment that worked.
    pub rollback: bool,
    /// Its deployments, the primary one first.
    pub deployments: Vec<Deployment>,
    /// What happened, newest first; ECS keeps the last 100.
    pub events: Vec<ServiceEvent>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// One roll-out of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// `ecs-svc/…`; its tasks carry it as `startedBy`.
    pub id: String,
    /// PRIMARY, ACTIVE (being replaced) or INACTIVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The ARN of its task definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_definition: Option<String>,
    /// How many tasks it should have.
    pub desired_count: i32,
    /// How many of its tasks are RUNNING.
    pub running_count: i32,
    /// How many of its tasks are PENDING.
    pub pending_count: i32,
    /// How many of its tasks ended before they were steady.
    pub failed_tasks: i32,
    /// IN_PROGRESS, COMPLETED or FAILED; absent with other deployment controllers than ECS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_state: Option<String>,
    /// ECS's words about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_state_reason: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// An entry of a service's event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEvent {
    /// Its id.
    pub id: String,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// What happened.
    pub message: String,
}

/// A task and what it was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDetail {
    /// What a listing shows.
    #[serde(flatten)]
    pub task: Task,
    /// FARGATE or another capacity provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_provider_name: Option<String>,
    /// The version of Fargate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// When it began to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping_at: Option<Timestamp>,
    /// What differs from its definition.
    pub container_overrides: Vec<ContainerOverride>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What a task was started with instead of what its definition says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOverride {
    /// The container.
    pub name: String,
    /// Its command; empty means the definition's.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub command: Vec<String>,
    /// Variables added or changed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub environment: Vec<EnvironmentVariable>,
}

impl TaskDetail {
    /// Takes out the values that look like secrets: see [`super::looks_secret`].
    pub fn mask(&mut self) {
        for change in &mut self.container_overrides {
            mask(&mut change.environment);
        }
    }
}

/// How far a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// It goes on.
    InProgress(Deployment),
    /// All its tasks run and the older ones are gone.
    Completed,
    /// ECS gave it up, by its circuit breaker for instance; the text is ECS's.
    Failed(String),
    /// Another deployment took its place, with this id: somebody's, or ECS going back to the last good one.
    Replaced(String),
}

impl ServiceDetail {
    /// How far the deployment with this id is.
    pub fn rollout(&self, id: &str) -> Rollout {
        let primary = self
            .deployments
            .iter()
            .find(|d| d.status.as_deref() == Some("PRIMARY"));
        let Some(deployment) = self.deployments.iter().find(|d| d.id == id) else {
            return Rollout::Replaced(primary.map(|d| d.id.clone()).unwrap_or_default());
        };
        match deployment.rollout_state.as_deref() {
            Some("FAILED") => Rollout::Failed(reason(deployment)),
            _ if primary.is_some_and(|primary| primary.id != id) => {
                Rollout::Replaced(primary.map(|d| d.id.clone()).unwrap_or_default())
            }
            Some("COMPLETED") => Rollout::Completed,
            // Without a state (other controllers, emulators) the counts tell.
            None if self.is_settled(deployment) => Rollout::Completed,
            _ => Rollout::InProgress(deployment.clone()),
        }
    }

    fn is_settled(&self, deployment: &Deployment) -> bool {
        self.deployments.len() == 1
            && deployment.pending_count == 0
            && deployment.running_count == deployment.desired_count
    }
}

fn reason(deployment: &Deployment) -> String {
    let reason = deployment.rollout_state_reason.clone();
    reason.unwrap_or_else(|| format!("deployment {} failed", deployment.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(id: &str, status: &str, state: Option<&str>) -> Deployment {
        Deployment {
            id: id.into(),
            status: Some(status.into()),
            rollout_state: state.map(str::to_owned),
            rollout_state_reason: state.map(|state| format!("{id} is {state}")),
            desired_count: 2,
            running_count: 1,
            ..Deployment::default()
        }
    }

    fn service(deployments: &[Deployment]) -> ServiceDetail {
        ServiceDetail {
            deployments: deployments.to_vec(),
            ..ServiceDetail::default()
        }
    }

    #[test]
    fn a_rollout_ends_completed_failed_or_replaced() {
        let new = |state| deployment("new", "PRIMARY", state);
        let old = deployment("old", "ACTIVE", Some("COMPLETED"));
        let of = |all: &[Deployment]| service(all).rollout("new");
        assert!(matches!(
            of(&[new(Some("IN_PROGRESS")), old.clone()]),
            Rollout::InProgress(_)
        ));
        assert_eq!(of(&[new(Some("COMPLETED"))]), Rollout::Completed);
        assert_eq!(
            of(&[new(Some("FAILED")), old]),
            Rollout::Failed("new is FAILED".into())
        );
        // The circuit breaker's way back is a deployment of its own.
        let back = deployment("back", "PRIMARY", Some("IN_PROGRESS"));
        let failed = deployment("new", "ACTIVE", Some("FAILED"));
        assert_eq!(
            of(&[back.clone(), failed]),
            Rollout::Failed("new is FAILED".into())
        );
        let passed = deployment("new", "ACTIVE", Some("IN_PROGRESS"));
        assert_eq!(
            of(&[back.clone(), passed]),
            Rollout::Replaced("back".into())
        );
        assert_eq!(of(&[back]), Rollout::Replaced("back".into()));
    }

    #[test]
    fn without_a_rollout_state_the_counts_decide() {
        let mut only = deployment("new", "PRIMARY", None);
        assert!(matches!(
            service(&[only.clone()]).rollout("new"),
            Rollout::InProgress(_)
        ));
        only.running_count = 2;
        assert_eq!(service(&[only.clone()]).rollout("new"), Rollout::Completed);
        let old = deployment("old", "ACTIVE", None);
        assert!(matches!(
            service(&[only, old]).rollout("new"),
            Rollout::InProgress(_)
        ));
    }
}
