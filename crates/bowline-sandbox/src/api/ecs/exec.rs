//! ExecuteCommand: the checks, then a session.

use serde::Deserialize;
use serde_json::{Value, json};

use super::task;
use crate::api::{ApiError, Call, ssm};
use crate::sessions::{SessionKind, SessionRequest};
use crate::state::TaskKey;
use crate::state::task::{Container, Task, TaskStatus};

/// The apostrophe was U+2019 for years and is a plain one in newer captures; clients match what is before it.
const NOT_ENABLED: &str = "The execute command failed because execute command was not enabled when the task was run \
    or the execute command agent isn't running. Wait and try again or run a new task with execute command enabled \
    and try again.";

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
    if !task.exec_enabled || task.status != TaskStatus::Running || !container.takes_sessions() {
        return Err(ApiError::invalid_parameter(NOT_ENABLED));
    }
    let target = container
        .target(&task.key)
        .ok_or_else(|| ApiError::invalid_parameter(NOT_ENABLED))?;
    let grant = call.shared.sessions.start(SessionRequest {
        id_prefix: "ecs-execute-command".to_owned(),
        target,
        kind: SessionKind::Interactive { command },
        document: ssm::EXEC_DOCUMENT.to_owned(),
        owner: account.caller(),
        reason: None,
        environment: container.environment.clone(),
        directory: container.directory.clone(),
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
            "streamUrl": ssm::stream_url(call.host, &grant.session_id),
            "tokenValue": grant.token,
        },
    }))
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
