//! Tasks: list, describe, stop.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{check_include, find_cluster, missing, name_within, shown_tags};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::Account;
use crate::lifecycle::host_name;
use crate::state::task::{
    AgentStatus, Container, ContainerOverride, ContainerStatus, Interface, Stop, Task, TaskStatus,
};
use crate::state::{TaskKey, World, seconds};

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "camelCase", default)]
struct List {
    cluster: Option<String>,
    container_instance: Option<String>,
    family: Option<String>,
    started_by: Option<String>,
    service_name: Option<String>,
    desired_status: Option<String>,
    launch_type: Option<String>,
    daemon_name: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: List = call.input()?;
    check_list(&input)?;
    let account = &call.shared.account;
    let arns = {
        let world = call.shared.world();
        let cluster = find_cluster(&world, account, input.cluster.as_deref())?;
        let service = match &input.service_name {
            None => None,
            Some(given) => {
                let name = name_within(account, "service", &cluster.name, given)?;
                let known = name.filter(|name| cluster.services.contains_key(*name));
                Some(known.ok_or_else(super::service::not_found)?)
            }
        };
        let now = call.shared.clock.now();
        let shown = |task: &&Task| {
            task.visible_from <= now
                && task.desired() == input.desired_status.as_deref().unwrap_or("RUNNING")
                && service.is_none_or(|name| task.service() == Some(name))
                && input.family.as_ref().is_none_or(|family| *family == task.definition.family)
                && input.started_by.as_ref().is_none_or(|by| Some(by) == task.started_by.as_ref())
                && input.launch_type.as_ref().is_none_or(|launch| launch == task.launch.launch_type)
                // There are neither instances nor daemons here.
                && input.container_instance.is_none()
                && input.daemon_name.is_none()
        };
        let tasks = cluster.tasks.values().filter(shown);
        tasks
            .map(|task| account.task(&task.key.cluster, &task.key.id))
            .collect()
    };
    let filters = List {
        max_results: None,
        next_token: None,
        ..call.input()?
    };
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 100,
        limit: 100,
        filters: &format!("ListTasks {filters:?}"),
    };
    let (arns, next) = page(arns, &request)?;
    Ok(json!({ "taskArns": arns, "nextToken": next }))
}

fn check_list(input: &List) -> Result<(), ApiError> {
    if let Some(status) = &input.desired_status
        && !["RUNNING", "PENDING", "STOPPED"].contains(&status.as_str())
    {
        return Err(ApiError::invalid_parameter(format!(
            "Invalid desiredStatus: {status}"
        )));
    }
    if let Some(launch) = &input.launch_type
        && !["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"].contains(&launch.as_str())
    {
        return Err(ApiError::invalid_parameter(format!(
            "Invalid launchType: {launch}"
        )));
    }
    let others = [
        &input.container_instance,
        &input.family,
        &input.service_name,
        &input.launch_type,
    ];
    if input.started_by.is_some() && others.iter().any(|other| other.is_some()) {
        return Err(ApiError::invalid_parameter(
            "startedBy must be the only filter.",
        ));
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    cluster: Option<String>,
    tasks: Vec<String>,
    include: Vec<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    if input.tasks.is_empty() {
        return Err(ApiError::invalid_parameter("Tasks cannot be empty."));
    }
    if input.tasks.len() > 100 {
        return Err(ApiError::invalid_parameter(
            "Tasks cannot be longer than 100.",
        ));
    }
    check_include(&input.include, &["TAGS"])?;
    let account = &call.shared.account;
    let now = call.shared.clock.now();
    let world = call.shared.world();
    let cluster = find_cluster(&world, account, input.cluster.as_deref())?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for given in &input.tasks {
        let id = name_within(account, "task", &cluster.name, given)?;
        let found = id.and_then(|id| cluster.tasks.get(id));
        match found.filter(|task| task.visible_from <= now) {
            Some(task) => tasks.push(show(account, task, &input.include)),
            None if given.starts_with("arn:") => failures.push(missing(given)),
            None => {
                check_id(given)?;
                failures.push(missing(&account.task(&cluster.name, given)));
            }
        }
    }
    Ok(json!({ "tasks": tasks, "failures": failures }))
}

/// Real ids have 32 characters, those of the oldest tasks 36.
fn check_id(id: &str) -> Result<(), ApiError> {
    if matches!(id.len(), 32 | 36) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "taskId length should be one of [32,36]",
    ))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StopTask {
    cluster: Option<String>,
    task: Option<String>,
    reason: Option<String>,
}

pub(super) fn stop(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: StopTask = call.input()?;
    let account = &call.shared.account;
    call.shared.change(|world| {
        let key = find(
            world,
            account,
            input.cluster.as_deref(),
            input.task.as_deref(),
        )?
        .key
        .clone();
        let task = world.task_mut(&key).ok_or_else(not_found)?;
        let reason = input.reason.filter(|reason| !reason.is_empty());
        task.request_stop(Stop {
            code: "UserInitiated",
            reason: reason.unwrap_or_else(|| "Task stopped by user".to_owned()),
        });
        Ok(json!({ "task": show(account, task, &[]) }))
    })
}

/// The one task that StopTask and ExecuteCommand are about.
pub(in crate::api) fn find<'w>(
    world: &'w World,
    account: &Account,
    cluster: Option<&str>,
    task: Option<&str>,
) -> Result<&'w Task, ApiError> {
    let cluster = find_cluster(world, account, cluster)?;
    let given = task.filter(|task| !task.is_empty());
    let given = given.ok_or_else(|| ApiError::invalid_parameter("Task cannot be empty."))?;
    let id = name_within(account, "task", &cluster.name, given)?;
    id.and_then(|id| cluster.tasks.get(id))
        .ok_or_else(not_found)
}

fn not_found() -> ApiError {
    ApiError::invalid_parameter("The referenced task was not found.")
}

/// A task as DescribeTasks, RunTask and StopTask show it.
pub(super) fn show(account: &Account, task: &Task, include: &[String]) -> Value {
    let TaskKey { cluster, id } = &task.key;
    let definition = &task.definition;
    let times = &task.times;
    let time = |time: Option<SystemTime>| time.map(seconds);
    let running = task.status >= TaskStatus::Running && times.started.is_some();
    let mut overrides = task.overrides.clone();
    for container in &task.containers {
        // Every container is listed, also without any change.
        if overrides
            .container_overrides
            .iter()
            .all(|change| change.name.as_ref() != Some(&container.name))
        {
            overrides.container_overrides.push(ContainerOverride {
                name: Some(container.name.clone()),
                ..Default::default()
            });
        }
    }
    json!({
        "taskArn": account.task(cluster, id),
        "clusterArn": account.cluster(cluster),
        "taskDefinitionArn": account.definition(&definition.family, definition.revision),
        "group": task.group,
        "startedBy": task.started_by,
        "launchType": task.launch.launch_type,
        "capacityProviderName": task.launch.capacity_provider,
        "platformVersion": task.launch.resolved_platform(),
        "platformFamily": "Linux",
        "availabilityZone": format!("{}a", account.region),
        "lastStatus": task.status.as_str(),
        "desiredStatus": task.desired(),
        "healthStatus": task.health().as_str(),
        "connectivity": running.then_some("CONNECTED"),
        "connectivityAt": time(times.started),
        "createdAt": seconds(times.created),
        "pullStartedAt": time(times.pull_started),
        "pullStoppedAt": time(times.pull_stopped),
        "startedAt": time(times.started),
        "stoppingAt": time(times.stopping),
        "executionStoppedAt": time(times.execution_stopped),
        "stoppedAt": time(times.stopped),
        "stopCode": task.stop.as_ref().map(|stop| stop.code),
        "stoppedReason": task.stop.as_ref().map(|stop| stop.reason.as_str()),
        "version": task.version,
        "cpu": task.overrides.cpu.as_ref().or(definition.outline.cpu.as_ref()),
        "memory": task.overrides.memory.as_ref().or(definition.outline.memory.as_ref()),
        "ephemeralStorage": task.overrides.ephemeral_storage.as_ref()
            .or(definition.outline.ephemeral_storage.as_ref())
            .cloned().unwrap_or_else(|| json!({ "sizeInGiB": 20 })),
        "enableExecuteCommand": task.exec_enabled,
        "containers": task.containers.iter().enumerate()
            .map(|(index, container)| show_container(account, task, index, container))
            .collect::<Vec<_>>(),
        "attachments": task.interface.iter().map(|interface| show_interface(task, interface)).collect::<Vec<_>>(),
        "attributes": [{ "name": "ecs.cpu-architecture", "value": cpu_architecture() }],
        "inferenceAccelerators": [],
        "overrides": { "inferenceAcceleratorOverrides": [] , "containerOverrides": overrides.container_overrides,
            "cpu": overrides.cpu, "memory": overrides.memory, "taskRoleArn": overrides.task_role_arn,
            "executionRoleArn": overrides.execution_role_arn, "ephemeralStorage": overrides.ephemeral_storage },
        "tags": shown_tags(&task.tags, include),
    })
}

fn show_container(account: &Account, task: &Task, index: usize, container: &Container) -> Value {
    let TaskKey { cluster, id } = &task.key;
    let definition = &task.definition.outline.container_definitions[index];
    let interfaces: Vec<Value> = task
        .interface
        .iter()
        .map(|interface| {
            json!({
                "attachmentId": interface.attachment_id,
                "privateIpv4Address": task.address.to_string(),
            })
        })
        .collect();
    let named = |change: &&ContainerOverride| change.name.as_ref() == Some(&container.name);
    let change = task.overrides.container_overrides.iter().rfind(named);
    let amount = |own: Option<i64>, of: fn(&ContainerOverride) -> Option<i64>| {
        change.and_then(of).or(own).map(|amount| amount.to_string())
    };
    let agents = container.agent.as_ref().map(|agent| {
        let status = match container.status {
            ContainerStatus::Stopped => AgentStatus::Stopped,
            _ => agent.status,
        };
        json!([{
            "name": "ExecuteCommandAgent",
            "lastStatus": status.as_str(),
            "lastStartedAt": agent.last_started_at.map(seconds),
            "reason": agent.reason,
        }])
    });
    json!({
        "containerArn": account.container(cluster, id, &container.id),
        "taskArn": account.task(cluster, id),
        "name": container.name,
        "image": definition.image,
        "runtimeId": container.runtime_id,
        "lastStatus": container.status.as_str(),
        "exitCode": container.exit_code,
        "reason": container.reason,
        "networkBindings": [],
        "networkInterfaces": interfaces,
        "healthStatus": container.health.unwrap_or_default().as_str(),
        "managedAgents": agents,
        "cpu": amount(Some(definition.cpu.unwrap_or_default()), |change| change.cpu),
        "memory": amount(definition.memory, |change| change.memory),
        "memoryReservation": amount(definition.memory_reservation, |change| change.memory_reservation),
    })
}

fn show_interface(task: &Task, interface: &Interface) -> Value {
    let status = match task.status {
        TaskStatus::Provisioning => "PRECREATED",
        TaskStatus::Stopped => "DELETED",
        _ => "ATTACHED",
    };
    let detail = |name: &str, value: &str| json!({ "name": name, "value": value });
    json!({
        "id": interface.attachment_id,
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": [
            detail("subnetId", &interface.subnet),
            detail("networkInterfaceId", &interface.id),
            detail("macAddress", &interface.mac),
            detail("privateDnsName", &host_name(task.address)),
            detail("privateIPv4Address", &task.address.to_string()),
        ],
    })
}

fn cpu_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    }
}
