//! Task definitions: what is registered is kept as it came, and what the sandbox acts on is read from it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::state::{Tag, Variable};
use crate::{image, simulated};

/// The label with the stop signal of the image: INT, QUIT, HUP, USR1, USR2 or KILL, with or without SIG before it.
const STOP_SIGNAL: &str = "bowline.sandbox.stop-signal";

/// One revision of a family.
pub(crate) struct TaskDefinition {
    pub(crate) family: String,
    pub(crate) revision: usize,
    /// False once deregistered: what runs goes on, nothing new starts.
    pub(crate) active: bool,
    pub(crate) registered_at: SystemTime,
    /// The request that registered it, without `tags`.
    pub(crate) document: Value,
    pub(crate) outline: Outline,
    pub(crate) tags: Vec<Tag>,
}

/// What the sandbox itself needs of a definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outline {
    pub(crate) family: String,
    pub(crate) network_mode: Option<String>,
    pub(crate) pid_mode: Option<String>,
    #[serde(default)]
    pub(crate) requires_compatibilities: Vec<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) task_role_arn: Option<String>,
    pub(crate) ephemeral_storage: Option<Value>,
    #[serde(default)]
    pub(crate) volumes: Vec<Value>,
    pub(crate) container_definitions: Vec<ContainerDefinition>,
}

impl Outline {
    /// Each task of it has a network interface of its own.
    pub(crate) fn is_awsvpc(&self) -> bool {
        self.network_mode.as_deref() == Some("awsvpc")
    }

    /// There is something for the exec agent to sign with.
    pub(crate) fn has_task_role(&self) -> bool {
        self.task_role_arn
            .as_ref()
            .is_some_and(|role| !role.is_empty())
    }

    /// Position of the container with this name.
    pub(crate) fn container(&self, name: &str) -> Option<usize> {
        self.container_definitions
            .iter()
            .position(|container| container.name == name)
    }
}

/// What the sandbox itself needs of a container definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerDefinition {
    pub(crate) name: String,
    pub(crate) image: Option<String>,
    pub(crate) cpu: Option<i64>,
    pub(crate) memory: Option<i64>,
    pub(crate) memory_reservation: Option<i64>,
    pub(crate) essential: Option<bool>,
    #[serde(default)]
    pub(crate) entry_point: Vec<String>,
    #[serde(default)]
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) environment: Vec<Variable>,
    /// Seconds between SIGTERM and SIGKILL.
    pub(crate) stop_timeout: Option<u64>,
    /// Seconds that it may wait for what it depends on.
    pub(crate) start_timeout: Option<u64>,
    #[serde(default)]
    pub(crate) depends_on: Vec<Dependency>,
    pub(crate) health_check: Option<HealthCheck>,
    #[serde(default)]
    pub(crate) docker_labels: BTreeMap<String, String>,
    pub(crate) log_configuration: Option<LogConfiguration>,
    #[serde(default)]
    pub(crate) readonly_root_filesystem: bool,
    pub(crate) user: Option<String>,
    pub(crate) working_directory: Option<String>,
}

/// An entry of `dependsOn`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dependency {
    pub(crate) container_name: String,
    pub(crate) condition: Condition,
}

/// What a container that others depend on must have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Condition {
    Start,
    Complete,
    Success,
    Healthy,
}

/// `healthCheck` of a container definition; its times are in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HealthCheck {
    /// `CMD` and an argument vector, `CMD-SHELL` and a line, or `NONE`.
    pub(crate) command: Vec<String>,
    pub(crate) interval: Option<u64>,
    pub(crate) timeout: Option<u64>,
    pub(crate) retries: Option<u32>,
    pub(crate) start_period: Option<u64>,
}

/// `logConfiguration` of a container definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogConfiguration {
    pub(crate) log_driver: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

impl ContainerDefinition {
    /// True unless the definition says otherwise, as in ECS.
    pub(crate) fn is_essential(&self) -> bool {
        self.essential.unwrap_or(true)
    }

    /// The label that says what the image has.
    pub(crate) fn tools(&self) -> Option<&str> {
        let label = self.docker_labels.get(image::LABEL)?;
        Some(label.as_str()).filter(|label| !label.trim().is_empty())
    }

    /// It has no processes, see `simulated.rs`.
    pub(crate) fn is_simulated(&self) -> bool {
        self.docker_labels.contains_key(simulated::LABEL)
    }

    /// The signal that asks it to stop, which is its image's affair: SIGTERM unless a label says otherwise.
    pub(crate) fn stop_signal(&self) -> Signal {
        let label = self.stop_signal_label();
        match label.map(|label| label.strip_prefix("SIG").unwrap_or(label)) {
            Some("INT") => Signal::INT,
            Some("QUIT") => Signal::QUIT,
            Some("HUP") => Signal::HUP,
            Some("USR1") => Signal::USR1,
            Some("USR2") => Signal::USR2,
            Some("KILL") => Signal::KILL,
            _ => Signal::TERM,
        }
    }

    /// What the label says of that signal.
    pub(crate) fn stop_signal_label(&self) -> Option<&str> {
        self.docker_labels.get(STOP_SIGNAL).map(String::as_str)
    }

    /// The log group of its output, if it goes to CloudWatch Logs.
    pub(crate) fn log_group(&self) -> Option<&str> {
        let configuration = self.log_configuration.as_ref()?;
        let group = configuration.options.get("awslogs-group")?;
        (configuration.log_driver == "awslogs").then_some(group)
    }
}
