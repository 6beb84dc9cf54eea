//! The task metadata endpoint, version 4: what a container can learn about itself, without credentials.
//!
//! The path is the secret: each container has its own, in its environment.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::api::{RequestId, refuse, reply};
use crate::identifiers::Account;
use crate::prerequisites;
use crate::state::Shared;
use crate::state::task::{Container, Task};

/// As of a task's role. They go on being good: whoever asks again is given the same ones.
const KEYS_LIFE: Duration = Duration::from_secs(6 * 3600);

/// Answers `GET /v4/<key>`, `GET /v4/<key>/task`, and `GET /v4/<key>/credentials` where agents come from outside.
pub(crate) fn respond(worlds: &[Arc<Shared>], path: &str) -> Response<Body> {
    let rest = path.strip_prefix("/v4/").unwrap_or_default();
    let (key, what) = rest.split_once('/').unwrap_or((rest, ""));
    worlds
        .iter()
        .find_map(|shared| show(shared, key, what))
        .unwrap_or_else(|| {
            let text = "no container has this metadata path";
            refuse(StatusCode::NOT_FOUND, "NotFoundException", text)
        })
}

fn show(shared: &Arc<Shared>, key: &str, what: &str) -> Option<Response<Body>> {
    let world = shared.world();
    let (task, container) = world.tasks().find_map(|task| {
        let mut containers = task.containers.iter();
        let container = containers.find(|container| container.metadata_key == key)?;
        Some((task, container))
    })?;
    let shown = match what {
        "" => show_container(&shared.account, task, container),
        "task" => show_task(&shared.account, task),
        "credentials" => credentials(shared, task, container)?,
        _ => return None,
    };
    Some(reply::json(shown, &RequestId::new()))
}

/// Keys of the task's role, good for the container's agent only.
fn credentials(shared: &Arc<Shared>, task: &Task, container: &Container) -> Option<Value> {
    let role = prerequisites::role(task)?;
    container.agent_status()?;
    let outside = shared.sessions.attached(&container.place)?;
    let keys = outside.keys(shared, task, container);
    Some(json!({
        "RoleArn": role,
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "Token": keys.session_token,
        "Expiration": timestamp(shared.time() + KEYS_LIFE),
    }))
}

fn show_task(account: &Account, task: &Task) -> Value {
    let definition = &task.definition;
    let time = |time: Option<std::time::SystemTime>| time.and_then(timestamp);
    json!({
        "Cluster": account.cluster(&task.key.cluster),
        "TaskARN": account.task(&task.key.cluster, &task.key.id),
        "Family": definition.family,
        "Revision": definition.revision.to_string(),
        "ServiceName": task.service(),
        "DesiredStatus": task.desired(),
        "KnownStatus": task.status.as_str(),
        "PullStartedAt": time(task.times.pull_started),
        "PullStoppedAt": time(task.times.pull_stopped),
        "AvailabilityZone": format!("{}a", account.region),
        "LaunchType": task.launch.launch_type,
        "Containers": task.containers.iter()
            .map(|container| show_container(account, task, container))
            .collect::<Vec<_>>(),
    })
}

fn show_container(account: &Account, task: &Task, container: &Container) -> Value {
    let definition = &task.definition;
    let index = definition.outline.container(&container.name);
    let image = index.and_then(|index| {
        definition.outline.container_definitions[index]
            .image
            .as_ref()
    });
    json!({
        "DockerId": container.runtime_id,
        "Name": container.name,
        "DockerName": container.name,
        "Image": image,
        "Labels": {
            "com.amazonaws.ecs.cluster": account.cluster(&task.key.cluster),
            "com.amazonaws.ecs.container-name": container.name,
            "com.amazonaws.ecs.task-arn": account.task(&task.key.cluster, &task.key.id),
            "com.amazonaws.ecs.task-definition-family": definition.family,
            "com.amazonaws.ecs.task-definition-version": definition.revision.to_string(),
        },
        "DesiredStatus": task.desired(),
        "KnownStatus": container.status.as_str(),
        "ExitCode": container.exit_code,
        "CreatedAt": timestamp(task.times.created),
        "StartedAt": task.times.started.and_then(timestamp),
        "Type": "NORMAL",
        "ContainerARN": account.container(&task.key.cluster, &task.key.id, &container.id),
        "Networks": [{ "NetworkMode": "awsvpc", "IPv4Addresses": [task.address.to_string()] }],
    })
}

/// RFC 3339, unlike in the APIs.
fn timestamp(time: std::time::SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time)
        .ok()
        .map(|time| time.to_string())
}
