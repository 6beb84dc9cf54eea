//! Tasks and their containers, as DescribeTasks shows them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::dormant::Dormant;
use crate::image::Place;
use crate::mishaps::StartFailure;
use crate::state::definition::TaskDefinition;
use crate::state::{Tag, TaskKey, Variable};

/// One task.
pub(crate) struct Task {
    pub(crate) key: TaskKey,
    pub(crate) definition: Arc<TaskDefinition>,
    /// `family:<family>` or `service:<name>`.
    pub(crate) group: String,
    pub(crate) started_by: Option<String>,
    pub(crate) launch: Launch,
    pub(crate) overrides: Overrides,
    pub(crate) exec_enabled: bool,
    pub(crate) tags: Vec<Tag>,
    /// Of awsvpc tasks.
    pub(crate) interface: Option<Interface>,
    /// Where it may listen, whatever other tasks listen on.
    pub(crate) address: Ipv4Addr,
    pub(crate) status: TaskStatus,
    pub(crate) times: Times,
    /// Set as soon as the task shall stop: from then on its desired status is STOPPED.
    pub(crate) stop: Option<Stop>,
    /// Cancelled together with setting `stop`.
    pub(crate) halt: CancellationToken,
    pub(crate) containers: Vec<Container>,
    /// How long it stays in each state that only takes time in AWS.
    pub(crate) pace: Duration,
    /// How long its images are pulled.
    pub(crate) pull: Duration,
    /// What shall keep it from starting.
    pub(crate) start_failure: Option<StartFailure>,
    /// When lists and descriptions begin to know it, on the sandbox's clock.
    pub(crate) visible_from: Duration,
    /// When it was STOPPED, on the sandbox's clock.
    pub(crate) over_since: Option<Duration>,
    /// Its containers only seem to run until somebody needs them.
    pub(crate) dormant: Option<Dormant>,
    /// Grows with every change.
    pub(crate) version: u64,
}

impl Task {
    /// Makes it stop, unless it stops already: the first cause is the one that counts.
    pub(crate) fn request_stop(&mut self, stop: Stop) {
        if self.stop.is_none() && self.status != TaskStatus::Stopped {
            self.stop = Some(stop);
            self.version += 1;
            self.halt.cancel();
        }
    }

    /// RUNNING until somebody or something wants it stopped.
    pub(crate) fn desired(&self) -> &'static str {
        if self.stop.is_none() && self.status != TaskStatus::Stopped {
            "RUNNING"
        } else {
            "STOPPED"
        }
    }

    /// Of its essential containers with a health check: all are healthy, or one is not.
    pub(crate) fn health(&self) -> Health {
        let definitions = &self.definition.outline.container_definitions;
        let pairs = self.containers.iter().zip(definitions);
        let essential = pairs.filter(|(_, definition)| definition.is_essential());
        let found: Vec<Health> = essential
            .filter_map(|(container, _)| container.health)
            .collect();
        if found.contains(&Health::Unhealthy) {
            Health::Unhealthy
        } else if found.is_empty() || found.contains(&Health::Unknown) {
            Health::Unknown
        } else {
            Health::Healthy
        }
    }

    /// The name of its service, from the group.
    pub(crate) fn service(&self) -> Option<&str> {
        self.group.strip_prefix("service:")
    }
}

/// How a task is placed.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) launch_type: &'static str,
    pub(crate) capacity_provider: Option<String>,
    /// As requested; a task shows the resolved one.
    pub(crate) platform_version: String,
}

impl Launch {
    /// On Fargate, with the newest platform.
    pub(crate) fn fargate() -> Self {
        Self {
            launch_type: "FARGATE",
            capacity_provider: None,
            platform_version: "LATEST".to_owned(),
        }
    }

    /// What LATEST means.
    pub(crate) fn resolved_platform(&self) -> &str {
        if self.platform_version == "LATEST" {
            "1.4.0"
        } else {
            &self.platform_version
        }
    }
}

/// The states a task goes through; one never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskStatus {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// When things happened to a task.
pub(crate) struct Times {
    pub(crate) created: SystemTime,
    pub(crate) pull_started: Option<SystemTime>,
    pub(crate) pull_stopped: Option<SystemTime>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) stopping: Option<SystemTime>,
    pub(crate) execution_stopped: Option<SystemTime>,
    pub(crate) stopped: Option<SystemTime>,
}

impl Times {
    /// Nothing but the creation, which is now.
    pub(crate) fn created_now() -> Self {
        Self {
            created: SystemTime::now(),
            pull_started: None,
            pull_stopped: None,
            started: None,
            stopping: None,
            execution_stopped: None,
            stopped: None,
        }
    }
}

/// Why a task stops.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// `stopCode`.
    pub(crate) code: &'static str,
    /// `stoppedReason`.
    pub(crate) reason: String,
}

/// The network interface of an awsvpc task. Its address is the task's.
pub(crate) struct Interface {
    pub(crate) attachment_id: String,
    pub(crate) id: String,
    pub(crate) mac: String,
    pub(crate) subnet: String,
}

/// One container of a task, in the order of the definition.
pub(crate) struct Container {
    /// The last part of its ARN.
    pub(crate) id: String,
    pub(crate) name: String,
    /// Once the runtime has made it.
    pub(crate) runtime_id: Option<String>,
    /// What the runtime will call it.
    pub(crate) future_runtime_id: String,
    pub(crate) status: ContainerStatus,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    /// The exec agent, if the task was started with it.
    pub(crate) agent: Option<ManagedAgent>,
    /// The secret part of its metadata URI.
    pub(crate) metadata_key: String,
    pub(crate) argv: Vec<String>,
    /// Where its processes run.
    pub(crate) place: Place,
    /// Where its output goes, if CloudWatch Logs is to have it.
    pub(crate) log: Option<LogTarget>,
    /// Of containers with a health check.
    pub(crate) health: Option<Health>,
    /// Cancelled to have it killed, as for want of memory.
    pub(crate) killed: CancellationToken,
}

/// A log stream of the awslogs driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// `awslogs-create-group`.
    pub(crate) create_group: bool,
}

/// What a container's health check has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

impl Container {
    /// `ecs:<cluster>_<task id>_<runtime id>`, once there is one.
    pub(crate) fn target(&self, task: &TaskKey) -> Option<String> {
        let runtime_id = self.runtime_id.as_ref()?;
        Some(format!("ecs:{}_{}_{runtime_id}", task.cluster, task.id))
    }

    /// The state of its exec agent, as long as the container runs.
    pub(crate) fn agent_status(&self) -> Option<AgentStatus> {
        let agent = self.agent.as_ref()?;
        (self.status == ContainerStatus::Running).then_some(agent.status)
    }
}

/// The states of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContainerStatus {
    Pending,
    Running,
    Stopped,
}

impl ContainerStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// The ExecuteCommandAgent of a container.
#[derive(Default)]
pub(crate) struct ManagedAgent {
    pub(crate) status: AgentStatus,
    pub(crate) last_started_at: Option<SystemTime>,
    /// Why it is STOPPED.
    pub(crate) reason: Option<String>,
}

impl ManagedAgent {
    /// It runs from now on.
    pub(crate) fn start(&mut self) {
        *self = Self {
            status: AgentStatus::Running,
            last_started_at: Some(SystemTime::now()),
            reason: None,
        };
    }

    /// It has stopped; when it started last stays known.
    pub(crate) fn stop(&mut self, reason: &str) {
        self.status = AgentStatus::Stopped;
        self.reason = Some(reason.to_owned());
    }
}

/// The states of an exec agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum AgentStatus {
    #[default]
    Pending,
    Running,
    Stopped,
}

impl AgentStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// `overrides` of RunTask.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Overrides {
    pub(crate) container_overrides: Vec<ContainerOverride>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) execution_role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral_storage: Option<Value>,
}

/// What RunTask changes of one container. The entry point cannot be changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerOverride {
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) environment: Vec<Variable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment_files: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_requirements: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_reservation: Option<i64>,
}
