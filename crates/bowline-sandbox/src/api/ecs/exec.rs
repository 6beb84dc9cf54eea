//! ExecuteCommand: the checks, then a session.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::task;
use crate::api::{ApiError, Call, ssm};
use crate::logs::{self, SessionLog};
use crate::prerequisites;
use crate::sessions::{SessionKind, SessionRequest};
use crate::simulated::Fate;
use crate::state::task::{AgentStatus, Container, Task, TaskStatus};
use crate::state::{TaskKey, World};

/// The apostrophe was U+2019 for years and is a plain one in newer captures; clients match what is before it.
const NOT_ENABLED: &str = "The execute command failed because execute command was not enabled when the task was run \
    or the execute command agent isn't running. Wait and try again or run a new task with execute command enabled \
    and try again.";

/// Also for an agent that has stopped: only then does the task show why.
const NOT_CONNECTED: &str = "The execute command failed due to an internal error. Try again later.";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Input {
    cluster: Option<String>,
    task: Option<String>,
    container: Option<String>,
    command: Option<String>,
    interactive: Option<bool>,
}

pub(super) fn execute(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Input = call.input()?;
    let command = input.command.filter(|command| !command.is_empty());
    let command = command.ok_or_else(|| ApiError::invalid_parameter("Command cannot be empty."))?;
    if input.interactive != Some(true) {
        return Err(ApiError::invalid_parameter(
            "Interactive must be true: no other mode is supported.",
        ));
    }
    let account = &call.shared.account;
    // The session starts while the world stands still: a container that ends then ends the session too.
    let world = call.shared.world();
    let task = task::find(
        &world,
        account,
        input.cluster.as_deref(),
        input.task.as_deref(),
    )?;
    let container = choose(task, input.container.as_deref())?;
    match container.agent_status() {
        Some(AgentStatus::Running) if task.exec_enabled && task.status == TaskStatus::Running => {}
        Some(AgentStatus::Stopped) => {
            return Err(ApiError::new("TargetNotConnectedException", NOT_CONNECTED));
        }
        _ => return Err(ApiError::invalid_parameter(NOT_ENABLED)),
    }
    if container.place.simulated == Some(Fate::Unreachable)
        || !prerequisites::is_connected(&world, account, task, &container.name)
    {
        return Err(ApiError::new("TargetNotConnectedException", NOT_CONNECTED));
    }
    let target = container
        .target(&task.key)
        .ok_or_else(|| ApiError::invalid_parameter(NOT_ENABLED))?;
    let outside = call.shared.sessions.attached(&container.place);
    if outside.is_some_and(|agents| !agents.is_online(&target)) {
        return Err(ApiError::new("TargetNotConnectedException", NOT_CONNECTED));
    }
    let grant = call.shared.sessions.start(SessionRequest {
        id_prefix: "ecs-execute-command".to_owned(),
        target,
        kind: SessionKind::Interactive { command },
        document: ssm::EXEC_DOCUMENT.to_owned(),
        owner: account.caller(),
        reason: None,
        refusal: prerequisites::refusal(&world, task),
        place: container.place.clone(),
        log: log_group(&world, task, &container.name).map(|group| SessionLog {
            folder: logs::group_folder(&call.shared.root, group),
            group: group.to_owned(),
            logs: Arc::clone(&call.shared.logs),
        }),
        kms_key: configuration(&world, task)
            .and_then(|exec| exec.get("kmsKeyId")?.as_str())
            .map(str::to_owned),
    });
    let TaskKey { cluster, id } = &task.key;
    Ok(json!({
        "clusterArn": account.cluster(cluster),
        "containerArn": account.container(cluster, id, &container.id),
        "containerName": container.name,
        "interactive": true,
        "taskArn": account.task(cluster, id),
        "session": {
            "sessionId": grant.session_id,
            "streamUrl": ssm::stream_url(call, &grant),
            "tokenValue": grant.token,
        },
    }))
}

/// The task of a session that is asked for, unless it will be refused.
pub(super) fn needed(call: &Call<'_>) -> Option<TaskKey> {
    let input: Input = call.input().ok()?;
    let world = call.shared.world();
    let (cluster, task) = (input.cluster.as_deref(), input.task.as_deref());
    let task = task::find(&world, &call.shared.account, cluster, task).ok()?;
    let container = choose(task, input.container.as_deref()).ok()?;
    let needed = container.agent_status() == Some(AgentStatus::Running)
        && container.place.simulated.is_none();
    needed.then(|| task.key.clone())
}

/// The log group that the cluster's configuration wants this session's output in.
fn log_group<'w>(world: &'w World, task: &'w Task, container: &str) -> Option<&'w str> {
    let exec = configuration(world, task)?;
    match exec.get("logging")?.as_str()? {
        "DEFAULT" => {
            let outline = &task.definition.outline;
            outline.container_definitions[outline.container(container)?].log_group()
        }
        "OVERRIDE" => exec
            .pointer("/logConfiguration/cloudWatchLogGroupName")?
            .as_str(),
        _ => None,
    }
}

/// What the cluster says about exec sessions.
fn configuration<'w>(world: &'w World, task: &Task) -> Option<&'w Value> {
    let cluster = world.clusters.get(&task.key.cluster)?;
    cluster
        .configuration
        .as_ref()?
        .get("executeCommandConfiguration")
}

/// Only a task with a single container lets the name be left out.
fn choose<'t>(task: &'t Task, name: Option<&str>) -> Result<&'t Container, ApiError> {
    match (name.filter(|name| !name.is_empty()), &task.containers[..]) {
        (None, [only]) => Ok(only),
        (None, _) => Err(ApiError::invalid_parameter(
            "A container name is required: the task has more than one container.",
        )),
        (Some(name), containers) => containers
            .iter()
            .find(|container| container.name == name)
            .ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "The container {name} was not found in the task."
                ))
            }),
    }
}
