//! Clusters, services, tasks and containers as bowline sees them: plain data, stable JSON.
//!
//! Member names follow the ECS API in camelCase, so that a `jq` filter written for the AWS CLI mostly
//! keeps working; members that are not ECS's own (`taskId`, `serviceName` of a task) are additions.
//! Times are RFC 3339. Absent is absent: no member is ever `null`. Members are only ever added.

mod definition;
mod detail;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::definition::MASKED;
pub use self::definition::{
    ContainerDefinition, EfsVolume, EnvironmentVariable, LogConfiguration, MountPoint, PortMapping,
    SecretReference, TaskDefinition, Volume, looks_secret,
};
pub use self::detail::{
    ClusterDetail, ContainerOverride, Deployment, ExecLogging, Rollout, ServiceDetail,
    ServiceEvent, TaskDetail,
};
use crate::secret::Secret;

/// One ECS cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The cluster's name.
    pub cluster_name: String,
    /// The cluster's ARN.
    pub cluster_arn: String,
    /// ACTIVE, PROVISIONING, DEPROVISIONING, FAILED or INACTIVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Tasks that are RUNNING.
    pub running_tasks_count: i32,
    /// Tasks that are PENDING.
    pub pending_tasks_count: i32,
    /// Services that are ACTIVE.
    pub active_services_count: i32,
    /// EC2 or external instances that are registered.
    pub registered_container_instances_count: i32,
}

/// One ECS service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The service's name.
    pub service_name: String,
    /// The service's ARN.
    pub service_arn: String,
    /// The ARN of the cluster it lives in.
    pub cluster_arn: String,
    /// ACTIVE, DRAINING or INACTIVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How many tasks it should have.
    pub desired_count: i32,
    /// How many of its tasks are RUNNING.
    pub running_count: i32,
    /// How many of its tasks are PENDING.
    pub pending_count: i32,
    /// EC2, FARGATE or EXTERNAL; absent when a capacity provider strategy is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// The ARN of the task definition that new tasks use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_definition: Option<String>,
    /// Whether *new* tasks are started with ECS Exec; running ones keep what they had.
    pub enable_execute_command: bool,
    /// The rollout state of the primary deployment: COMPLETED, IN_PROGRESS or FAILED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_state: Option<String>,
    /// When the service was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The newest entry of the service's event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
}

/// One ECS task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The last part of the task's ARN.
    pub task_id: String,
    /// The task's ARN.
    pub task_arn: String,
    /// The ARN of the cluster it runs in.
    pub cluster_arn: String,
    /// The service it belongs to, taken from `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// `service:NAME`, `family:NAME` or what its starter chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The ARN of its task definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_definition_arn: Option<String>,
    /// Where it is in its life: PROVISIONING, PENDING, ACTIVATING, RUNNING … STOPPED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<String>,
    /// RUNNING or STOPPED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_status: Option<String>,
    /// HEALTHY, UNHEALTHY or UNKNOWN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_status: Option<String>,
    /// EC2, FARGATE, EXTERNAL or MANAGED_INSTANCES.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// Whether the task was started with ECS Exec; fixed for its life.
    pub enable_execute_command: bool,
    /// When it entered PENDING.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it entered RUNNING; absent when it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// When its containers had stopped; the task itself takes a little longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_stopped_at: Option<Timestamp>,
    /// When the pull of its images began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_started_at: Option<Timestamp>,
    /// When its images were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_stopped_at: Option<Timestamp>,
    /// Grows with every change: of two answers the one with the higher number is the later one.
    #[serde(default)]
    pub version: i64,
    /// Why it stopped, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_code: Option<String>,
    /// Why it stopped, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_reason: Option<String>,
    /// Who started it; `ecs-svc/…` for service tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// The availability zone it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Its containers, in the order ECS gives them.
    pub containers: Vec<Container>,
}

/// One container of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The container's name in the task definition.
    pub name: String,
    /// The container's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_arn: Option<String>,
    /// The image it was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The runtime's id, once the runtime has made the container; a part of the SSM target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// PENDING, RUNNING or STOPPED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<String>,
    /// HEALTHY, UNHEALTHY or UNKNOWN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_status: Option<String>,
    /// Its exit code; absent is *not* zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The runtime's words about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its private IPv4 address, for awsvpc tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_ipv4_address: Option<String>,
    /// The agents ECS runs inside it.
    pub managed_agents: Vec<ManagedAgent>,
}

/// An agent that ECS starts inside a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedAgent {
    /// `ExecuteCommandAgent` is the only one known.
    pub name: String,
    /// PENDING, RUNNING or STOPPED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<String>,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_started_at: Option<Timestamp>,
}

/// What AWS hands out for one connection to a session's data channel.
#[derive(Clone, Debug)]
pub struct SessionGrant {
    /// The session's id.
    pub session_id: String,
    /// The websocket URL. It must be used byte for byte: its query is not percent-encoded.
    pub stream_url: String,
    /// The token of the opening frame; good for one connection.
    pub token: Secret<String>,
}

/// Whether a command can be executed in a container now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub enum Readiness {
    /// Task, container and exec agent run.
    Ready,
    /// Something is still starting; the text names it.
    Pending(String),
    /// The task was started without ECS Exec. A running task cannot be changed.
    NotEnabled,
    /// The exec agent does not run; the text is ECS's reason.
    AgentStopped(String),
}

impl Task {
    /// The family of its task definition, from the ARN.
    pub fn family(&self) -> Option<&str> {
        let resource = self.task_definition_arn.as_deref()?.rsplit('/').next()?;
        Some(resource.split(':').next().unwrap_or(resource))
    }

    /// Whether the task is RUNNING and not on its way down.
    pub fn is_running(&self) -> bool {
        self.last_status.as_deref() == Some("RUNNING")
            && self.desired_status.as_deref() != Some("STOPPED")
    }

    /// Whether the task has stopped or is stopping.
    pub fn is_stopping(&self) -> bool {
        self.desired_status.as_deref() == Some("STOPPED")
            || self.last_status.as_deref() == Some("STOPPED")
    }

    /// Whether a command can be executed in one of its containers now.
    ///
    /// A task may be RUNNING for seconds, with a cold image for tens of seconds, before its agent runs.
    pub fn readiness(&self, container: &Container) -> Readiness {
        if !self.enable_execute_command {
            return Readiness::NotEnabled;
        }
        if !self.is_running() {
            return Readiness::Pending(format!("task is {}", state(self.last_status.as_deref())));
        }
        if container.last_status.as_deref() != Some("RUNNING") || container.runtime_id.is_none() {
            return Readiness::Pending(format!(
                "container {} is {}",
                container.name,
                state(container.last_status.as_deref())
            ));
        }
        container.agent_readiness()
    }
}

impl Container {
    /// Whether ECS or another AWS service put this container into the task: the user did not.
    pub fn is_injected(&self) -> bool {
        self.name.starts_with("ecs-service-connect-")
            || self.name.starts_with("aws-guardduty-agent")
    }

    fn agent_readiness(&self) -> Readiness {
        let Some(agent) = self
            .managed_agents
            .iter()
            .find(|agent| agent.name == EXEC_AGENT)
        else {
            return Readiness::Pending("exec agent is not reported yet".to_owned());
        };
        match agent.last_status.as_deref() {
            Some("RUNNING") => Readiness::Ready,
            Some("STOPPED") => Readiness::AgentStopped(
                agent
                    .reason
                    .clone()
                    .unwrap_or_else(|| "no reason given".to_owned()),
            ),
            _ => Readiness::Pending(format!(
                "exec agent is {}",
                state(agent.last_status.as_deref())
            )),
        }
    }
}

fn state(value: Option<&str>) -> &str {
    value.unwrap_or("in an unknown state")
}

/// The managed agent that makes `ExecuteCommand` possible.
const EXEC_AGENT: &str = "ExecuteCommandAgent";

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Task {
        Task {
            last_status: Some("RUNNING".into()),
            desired_status: Some("RUNNING".into()),
            enable_execute_command: true,
            task_definition_arn: Some("arn:aws:ecs:r:1:task-definition/web:7".into()),
            ..Task::default()
        }
    }

    fn container(agent: &str) -> Container {
        Container {
            name: "app".into(),
            last_status: Some("RUNNING".into()),
            runtime_id: Some("abc-1".into()),
            managed_agents: vec![ManagedAgent {
                name: EXEC_AGENT.into(),
                last_status: Some(agent.into()),
                ..ManagedAgent::default()
            }],
            ..Container::default()
        }
    }

    #[test]
    fn readiness_follows_task_container_and_agent() {
        let task = running();
        assert_eq!(task.readiness(&container("RUNNING")), Readiness::Ready);
        assert_eq!(
            task.readiness(&container("PENDING")),
            Readiness::Pending("exec agent is PENDING".into())
        );
        assert!(matches!(
            task.readiness(&container("STOPPED")),
            Readiness::AgentStopped(_)
        ));

        let no_runtime = Container {
            runtime_id: None,
            ..container("RUNNING")
        };
        assert!(matches!(task.readiness(&no_runtime), Readiness::Pending(_)));
        let starting = Task {
            last_status: Some("PENDING".into()),
            ..running()
        };
        assert_eq!(
            starting.readiness(&container("RUNNING")),
            Readiness::Pending("task is PENDING".into())
        );
        let without = Task {
            enable_execute_command: false,
            ..running()
        };
        assert_eq!(
            without.readiness(&container("RUNNING")),
            Readiness::NotEnabled
        );
    }

    #[test]
    fn json_has_no_nulls_and_keeps_api_names() {
        let json = serde_json::to_value(running()).unwrap();
        assert_eq!(json["lastStatus"], "RUNNING");
        assert!(json.as_object().unwrap().values().all(|v| !v.is_null()));
        let back: Task = serde_json::from_value(json).unwrap();
        assert_eq!(back, running());
    }

    #[test]
    fn family_comes_from_the_definition() {
        assert_eq!(running().family(), Some("web"));
        assert_eq!(Task::default().family(), None);
    }
}
