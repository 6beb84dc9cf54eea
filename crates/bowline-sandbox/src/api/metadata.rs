//! The task metadata endpoint, version 4: what a container can learn about itself, without credentials.
//!
//! The path is the secret: each container has its own, in its environment.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::api::{RequestId, refuse, reply};
use crate::identifiers::Account;
use crate::state::Shared;
use crate::state::task::{Container, Task};

/// Answers `GET /v4/<key>` and `GET /v4/<key>/task`.
pub(crate) fn respond(shared: &Shared, path: &str) -> Response<Body> {
    let rest = path.strip_prefix("/v4/").unwrap_or_default();
    let (key, whole_task) = match rest.strip_suffix("/task") {
        Some(key) => (key, true),
        None => (rest, false),
    };
    let world = shared.world();
    let found = world.tasks().find_map(|task| {
        let container = task
            .containers
            .iter()
            .find(|container| container.metadata_key == key)?;
        Some((task, container))
    });
    match found {
        Some((task, _)) if whole_task => {
            reply::json(show_task(&shared.account, task), &RequestId::new())
        }
        Some((task, container)) => reply::json(
            show_container(&shared.account, task, container),
            &RequestId::new(),
        ),
        None => refuse(
            StatusCode::NOT_FOUND,
            "NotFoundException",
            "no container has this metadata path",
        ),
    }
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
