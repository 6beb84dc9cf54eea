//! What is known about a task, its caller and its network. Documents are AWS's own, as they came.

use serde_json::Value;

use crate::aws::call::{list, text};

/// A fact, or why it is not known.
pub(super) type Known<T> = Result<T, Unknown>;

/// Why something is not known: a clause that goes behind a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

impl Unknown {
    pub(super) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// Everything the checks look at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) region: String,
    /// From the task's ARN.
    pub(super) partition: String,
    pub(super) account: String,
    pub(super) cluster: String,
    pub(super) task: Value,
    /// The names of the containers to look at.
    pub(super) containers: Vec<String>,
    /// `None` if the task belongs to none.
    pub(super) service: Known<Option<Value>>,
    /// `executeCommandConfiguration`, an empty object if there is none.
    pub(super) configuration: Known<Value>,
    pub(super) definition: Known<Value>,
    /// The instance of a task that is on one.
    pub(super) instance: Known<Option<Value>>,
    pub(super) caller: Known<Caller>,
    pub(super) rights: Rights,
    pub(super) network: Known<Network>,
    /// Of each container that is looked at, its active sessions.
    pub(super) sessions: Vec<Known<Vec<Value>>>,
    /// The host of the data channel that was reached, or the words of the failure.
    pub(super) reach: Known<Result<String, String>>,
    /// Seconds that AWS's clock is ahead of ours.
    pub(super) skew: Option<i64>,
    /// Seconds since the task was started, by our clock.
    pub(super) age: Option<i64>,
}

/// Whoever makes the calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) arn: String,
    pub(super) user_id: String,
}

/// What policies say, by what they were asked about.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) execute: Known<Verdict>,
    pub(super) open: Known<Verdict>,
    pub(super) sessions: Known<Verdict>,
    pub(super) start: Known<Verdict>,
    pub(super) caller_key: Known<Verdict>,
    pub(super) channel: Known<Verdict>,
    pub(super) logging: Known<Verdict>,
    pub(super) key: Known<Verdict>,
}

impl Rights {
    /// Nothing was asked.
    pub(super) fn unknown(why: &Unknown) -> Self {
        Self {
            execute: Err(why.clone()),
            open: Err(why.clone()),
            sessions: Err(why.clone()),
            start: Err(why.clone()),
            caller_key: Err(why.clone()),
            channel: Err(why.clone()),
            logging: Err(why.clone()),
            key: Err(why.clone()),
        }
    }
}

/// What policies say about a few actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The actions that are not allowed.
    pub(super) denied: Vec<String>,
    /// One of them is forbidden by a statement, so allowing it elsewhere does not help.
    pub(super) explicit: bool,
    /// The user or role does not exist.
    pub(super) nobody: bool,
}

/// Where the task is in the network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) subnet_id: String,
    pub(super) vpc_id: String,
    /// The subnet's addresses.
    pub(super) cidr: Option<String>,
    pub(super) table: Known<Value>,
    pub(super) endpoints: Known<Vec<Value>>,
    /// The task's security groups.
    pub(super) groups: Known<Vec<Value>>,
    /// Those of the endpoint for Session Manager, if there is one.
    pub(super) endpoint_groups: Known<Vec<Value>>,
    /// Whether the task has an address on the internet.
    pub(super) public: Known<bool>,
}

impl Facts {
    pub(super) fn task_id(&self) -> &str {
        let arn = text(&self.task, "taskArn").unwrap_or_default();
        arn.rsplit('/').next().unwrap_or(arn)
    }

    pub(super) fn container(&self, name: &str) -> Option<&Value> {
        let mut containers = list(&self.task, "containers").iter();
        containers.find(|container| text(container, "name") == Some(name))
    }

    /// The definition of a container.
    pub(super) fn container_definition(&self, name: &str) -> Known<&Value> {
        let definition = self.definition.as_ref().map_err(Clone::clone)?;
        list(definition, "containerDefinitions")
            .iter()
            .find(|container| text(container, "name") == Some(name))
            .ok_or_else(|| Unknown::new("the task definition does not have this container"))
    }

    /// The ARN of the task's role; an override comes before the definition.
    pub(super) fn role_arn(&self) -> Known<Option<&str>> {
        role_arn(&self.task, &self.definition)
    }

    /// The service, if ECS itself deploys it.
    pub(super) fn deployed_by_ecs(&self) -> Option<&Value> {
        let service = self.service.as_ref().ok()?.as_ref()?;
        let controller = text(&service["deploymentController"], "type");
        matches!(controller, None | Some("ECS")).then_some(service)
    }

    /// What the service deploys, if the task has another definition: a roll-out or a rollback is under way. Of services
    /// that others deploy, task sets have the definitions.
    pub(super) fn newer_definition(&self) -> Option<&str> {
        let service = self.deployed_by_ecs()?;
        let deployed = text(service, "taskDefinition")?;
        (text(&self.task, "taskDefinitionArn") != Some(deployed)).then_some(deployed)
    }

    /// The agent of a container.
    pub(super) fn agent(&self, name: &str) -> Option<&Value> {
        let agents = list(self.container(name)?, "managedAgents").iter();
        agents
            .into_iter()
            .find(|agent| text(agent, "name") == Some("ExecuteCommandAgent"))
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.task["enableExecuteCommand"] == true
    }

    pub(super) fn is_on_instance(&self) -> bool {
        text(&self.task, "containerInstanceArn").is_some()
    }

    pub(super) fn is_windows(&self) -> bool {
        text(&self.task, "platformFamily").is_some_and(|family| family.starts_with("Windows"))
    }
}

/// The ARN of a task's role.
pub(super) fn role_arn<'f>(
    task: &'f Value,
    definition: &'f Known<Value>,
) -> Known<Option<&'f str>> {
    if let Some(overridden) = text(&task["overrides"], "taskRoleArn") {
        return Ok(Some(overridden));
    }
    match definition {
        Ok(definition) => Ok(text(definition, "taskRoleArn")),
        Err(why) => Err(why.clone()),
    }
}
