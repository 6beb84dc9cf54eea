//! What bowline wants to know of a task definition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A task definition, as far as running one and reading its logs needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinition {
    /// Its ARN, with the revision.
    pub task_definition_arn: String,
    /// Its family.
    pub family: String,
    /// Its revision.
    pub revision: i32,
    /// awsvpc, bridge, host or none; absent means the platform's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// The launch types it was registered for.
    pub requires_compatibilities: Vec<String>,
    /// The role of its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_role_arn: Option<String>,
    /// Its containers, in its order.
    pub container_definitions: Vec<ContainerDefinition>,
}

/// A container of a task definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDefinition {
    /// Its name.
    pub name: String,
    /// Whether its end is the end of the task. ECS takes "not said" for yes.
    pub essential: bool,
    /// The entry point that the definition sets; the image may have another.
    pub entry_point: Vec<String>,
    /// Where its output goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_configuration: Option<LogConfiguration>,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogConfiguration {
    /// The driver.
    pub log_driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

impl TaskDefinition {
    /// Whether its tasks have a network interface of their own, which has to be given subnets.
    pub fn needs_network(&self) -> bool {
        self.network_mode.as_deref() == Some("awsvpc")
    }

    /// Whether it is for Fargate and nothing else.
    pub fn is_fargate_only(&self) -> bool {
        self.requires_compatibilities == ["FARGATE"]
    }

    /// The names of the essential containers.
    pub fn essential(&self) -> Vec<String> {
        let essential = |one: &&ContainerDefinition| one.essential;
        let containers = self.container_definitions.iter().filter(essential);
        containers.map(|one| one.name.clone()).collect()
    }

    /// A container by its name.
    pub fn container(&self, name: &str) -> Option<&ContainerDefinition> {
        self.container_definitions
            .iter()
            .find(|one| one.name == name)
    }
}
