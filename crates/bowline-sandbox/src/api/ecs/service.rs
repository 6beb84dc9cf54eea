//! Services.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    check_include, check_tags, cluster_name, cluster_not_found, definition, find_cluster, is_name,
};
use super::{missing, name_within, run, shown_tags};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::Account;
use crate::state::service::{CircuitBreaker, Deployment, Service, ServiceStatus};
use crate::state::task::{Task, TaskStatus};
use crate::state::{Cluster, StrategyItem, Tag, seconds};

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "camelCase", default)]
struct List {
    cluster: Option<String>,
    launch_type: Option<String>,
    scheduling_strategy: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: List = call.input()?;
    let account = &call.shared.account;
    let arns = {
        let world = call.shared.world();
        let cluster = find_cluster(&world, account, input.cluster.as_deref())?;
        let shown = cluster.services.values().filter(|service| {
            service.status != ServiceStatus::Inactive
                && input
                    .launch_type
                    .as_deref()
                    .is_none_or(|kind| service.by_launch_type && kind == service.launch.launch_type)
                && input
                    .scheduling_strategy
                    .as_deref()
                    .is_none_or(|strategy| strategy == "REPLICA")
        });
        shown
            .map(|service| account.service(&cluster.name, &service.name))
            .collect()
    };
    let filters = format!(
        "ListServices {:?} {:?} {:?}",
        input.cluster, input.launch_type, input.scheduling_strategy
    );
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        // Ten, unlike every other list of ECS.
        default: 10,
        limit: 100,
        filters: &filters,
    };
    let (arns, next) = page(arns, &request)?;
    Ok(json!({ "serviceArns": arns, "nextToken": next }))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Describe {
    cluster: Option<String>,
    services: Vec<String>,
    include: Vec<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    if input.services.is_empty() {
        return Err(ApiError::invalid_parameter("Services cannot be empty."));
    }
    if input.services.len() > 10 {
        return Err(ApiError::invalid_parameter(
            "Services cannot be longer than 10.",
        ));
    }
    check_include(&input.include, &["TAGS"])?;
    let account = &call.shared.account;
    let world = call.shared.world();
    let cluster = find_cluster(&world, account, input.cluster.as_deref())?;
    let wanted = cluster.wanted_tasks();
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for given in &input.services {
        let name = name_within(account, "service", &cluster.name, given)?;
        match name.and_then(|name| cluster.services.get(name)) {
            Some(service) => {
                let tasks = wanted
                    .get(service.name.as_str())
                    .map_or(&[][..], |tasks| tasks);
                services.push(show_with(account, cluster, service, tasks, &input.include));
            }
            None if given.starts_with("arn:") => failures.push(missing(given)),
            None => failures.push(missing(&account.service(&cluster.name, given))),
        }
    }
    Ok(json!({ "services": services, "failures": failures }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Create {
    cluster: Option<String>,
    service_name: String,
    task_definition: Option<String>,
    desired_count: Option<i64>,
    launch_type: Option<String>,
    capacity_provider_strategy: Vec<StrategyItem>,
    platform_version: Option<String>,
    network_configuration: Option<Value>,
    enable_execute_command: bool,
    deployment_configuration: Option<Value>,
    tags: Vec<Tag>,
}

pub(super) fn create(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Create = call.input()?;
    if !is_name(&input.service_name) {
        return Err(ApiError::invalid_parameter(
            "Service name must have between 1 and 255 letters, digits, hyphens and underscores.",
        ));
    }
    check_tags(&input.tags)?;
    let desired_count = count(input.desired_count.unwrap_or(1))?;
    if input.launch_type.is_some() && !input.capacity_provider_strategy.is_empty() {
        return Err(ApiError::invalid_parameter(
            "Specify either Launch Type or Capacity Provider Strategy, but not both.",
        ));
    }
    let account = &call.shared.account;
    let name = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        find_cluster(world, account, Some(name))?;
        let definition = definition::to_run(world, account, input.task_definition.as_deref())?;
        run::subnet(&definition, input.network_configuration.as_ref())?;
        if input.enable_execute_command && !definition.outline.has_task_role() {
            return Err(without_role("created"));
        }
        let cluster = world.clusters.get_mut(name).ok_or_else(cluster_not_found)?;
        let known = cluster.services.get(&input.service_name);
        if known.is_some_and(|service| service.status != ServiceStatus::Inactive) {
            return Err(ApiError::invalid_parameter(
                "Creation of service was not idempotent.",
            ));
        }
        let strategy = input
            .capacity_provider_strategy
            .first()
            .or_else(|| cluster.default_strategy.first());
        let provider = match &input.launch_type {
            Some(_) => None,
            None => strategy.map(|item| item.capacity_provider.clone()),
        };
        let by_default = if provider.is_some() { "FARGATE" } else { "EC2" };
        let kind = input.launch_type.as_deref().unwrap_or(by_default);
        let mut launch = run::platform(kind, input.platform_version.as_deref())?;
        launch.capacity_provider = provider;
        let service = Service {
            name: input.service_name.clone(),
            status: ServiceStatus::Active,
            desired_count,
            exec_enabled: input.enable_execute_command,
            by_launch_type: launch.capacity_provider.is_none(),
            launch,
            network: input.network_configuration,
            created_at: SystemTime::now(),
            breaker: breaker(input.deployment_configuration.as_ref())?.unwrap_or_default(),
            deployments: vec![Deployment::new(definition)],
            events: VecDeque::new(),
            tags: input.tags,
            lazy: false,
            steady: false,
            failures: 0,
            not_before: None,
            over_since: None,
        };
        cluster.services.insert(input.service_name.clone(), service);
        let service = &cluster.services[&input.service_name];
        Ok(json!({ "service": show(account, cluster, service, &["TAGS".to_owned()]) }))
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Update {
    cluster: Option<String>,
    service: String,
    desired_count: Option<i64>,
    task_definition: Option<String>,
    force_new_deployment: bool,
    enable_execute_command: Option<bool>,
    network_configuration: Option<Value>,
    platform_version: Option<String>,
    deployment_configuration: Option<Value>,
}

pub(super) fn update(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Update = call.input()?;
    let desired_count = input.desired_count.map(count).transpose()?;
    let account = &call.shared.account;
    let cluster = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        find_cluster(world, account, Some(cluster))?;
        let definition = match &input.task_definition {
            Some(given) => Some(definition::to_run(world, account, Some(given))?),
            None => None,
        };
        let name =
            name_within(account, "service", cluster, &input.service)?.ok_or_else(not_found)?;
        let cluster = world
            .clusters
            .get_mut(cluster)
            .ok_or_else(cluster_not_found)?;
        let service = cluster.services.get_mut(name).ok_or_else(not_found)?;
        if service.status != ServiceStatus::Active {
            return Err(ApiError::new(
                "ServiceNotActiveException",
                "Service was not ACTIVE.",
            ));
        }
        if let Some(version) = &input.platform_version {
            service.launch.platform_version =
                run::platform(service.launch.launch_type, Some(version))?.platform_version;
        }
        let Some(current) = service.deployments.first() else {
            return Err(not_found());
        };
        let deployed = definition.as_ref().unwrap_or(&current.definition);
        if input.enable_execute_command == Some(true) && !deployed.outline.has_task_role() {
            return Err(without_role("updated"));
        }
        let changes_tasks = definition.is_some()
            || input.network_configuration.is_some()
            || input.platform_version.is_some();
        if input.force_new_deployment || changes_tasks {
            let definition = definition.unwrap_or_else(|| Arc::clone(&current.definition));
            service.roll_out(Deployment::new(definition));
            service.failures = 0;
            call.shared.agents.recover();
        }
        if let Some(breaker) = breaker(input.deployment_configuration.as_ref())? {
            service.breaker = breaker;
        }
        if let Some(network) = input.network_configuration {
            service.network = Some(network);
        }
        service.exec_enabled = input.enable_execute_command.unwrap_or(service.exec_enabled);
        service.desired_count = desired_count.unwrap_or(service.desired_count);
        service.steady = false;
        service.not_before = None;
        if let Some(primary) = service.deployments.first_mut() {
            primary.updated_at = SystemTime::now();
        }
        let service = &cluster.services[name];
        Ok(json!({ "service": show(account, cluster, service, &[]) }))
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delete {
    cluster: Option<String>,
    service: String,
    force: bool,
}

pub(super) fn delete(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Delete = call.input()?;
    let account = &call.shared.account;
    let cluster = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        find_cluster(world, account, Some(cluster))?;
        let name =
            name_within(account, "service", cluster, &input.service)?.ok_or_else(not_found)?;
        let cluster = world
            .clusters
            .get_mut(cluster)
            .ok_or_else(cluster_not_found)?;
        let service = cluster.services.get_mut(name).ok_or_else(not_found)?;
        if service.desired_count > 0 && !input.force {
            return Err(ApiError::invalid_parameter(
                "The service cannot be stopped while it is scaled above 0.",
            ));
        }
        service.desired_count = 0;
        service.steady = false;
        service.status = ServiceStatus::Draining;
        let service = &cluster.services[name];
        Ok(json!({ "service": show(account, cluster, service, &[]) }))
    })
}

pub(super) fn not_found() -> ApiError {
    ApiError::new("ServiceNotFoundException", "Service not found.")
}

/// ECS Exec asked for where the agent would have no role to work with.
pub(super) fn without_role(done: &str) -> ApiError {
    ApiError::invalid_parameter(format!(
        "The service couldn't be {done} because a valid taskRoleArn is not being used. \
         Specify a valid task role in your task definition and try again."
    ))
}

/// The circuit breaker of a deployment configuration; the rest of it is not acted on.
fn breaker(configuration: Option<&Value>) -> Result<Option<CircuitBreaker>, ApiError> {
    let given = configuration.and_then(|given| given.get("deploymentCircuitBreaker"));
    given
        .map(CircuitBreaker::deserialize)
        .transpose()
        .map_err(|error| ApiError::serialization(&error.to_string()))
}

fn count(desired: i64) -> Result<usize, ApiError> {
    // Real services may have thousands; each of ours is a process on this machine.
    usize::try_from(desired)
        .ok()
        .filter(|count| *count <= 100)
        .ok_or_else(|| {
            ApiError::invalid_parameter("desiredCount must be between 0 and 100 in the sandbox.")
        })
}

/// How many of a service's wanted tasks, or of those of one of its deployments, are running and not yet running.
fn counts(tasks: &[&Task], deployment: Option<&str>) -> (usize, usize) {
    let of_it = |task: &&&Task| deployment.is_none_or(|id| task.started_by.as_deref() == Some(id));
    let tasks = tasks.iter().filter(of_it);
    let (running, pending): (Vec<&Task>, Vec<&Task>) =
        tasks.partition(|task| task.status == TaskStatus::Running);
    (running.len(), pending.len())
}

/// A service on its own, as the calls that change one answer it.
fn show(account: &Account, cluster: &Cluster, service: &Service, include: &[String]) -> Value {
    let tasks = cluster
        .wanted_tasks()
        .remove(service.name.as_str())
        .unwrap_or_default();
    show_with(account, cluster, service, &tasks, include)
}

fn show_with(
    account: &Account,
    cluster: &Cluster,
    service: &Service,
    tasks: &[&Task],
    include: &[String],
) -> Value {
    let (running, pending) = counts(tasks, None);
    let by_launch_type = service.by_launch_type.then_some(service.launch.launch_type);
    let strategy = service.launch.capacity_provider.as_ref();
    let strategy =
        strategy.map(|provider| json!([{ "capacityProvider": provider, "weight": 1, "base": 0 }]));
    let definition = service
        .deployments
        .first()
        .map(|primary| &primary.definition);
    let deployments: Vec<Value> = service
        .deployments
        .iter()
        .enumerate()
        .map(|(index, deployment)| {
            let (running, pending) = counts(tasks, Some(&deployment.id));
            let (state, why) = match deployment {
                Deployment { failed: true, .. } => (
                    "FAILED",
                    "ECS deployment circuit breaker: tasks failed to start.".to_owned(),
                ),
                Deployment { completed: true, .. } => {
                    ("COMPLETED", format!("ECS deployment {} completed.", deployment.id))
                }
                _ => ("IN_PROGRESS", format!("ECS deployment {} in progress.", deployment.id)),
            };
            json!({
                "id": deployment.id,
                "status": if index == 0 { "PRIMARY" } else { "ACTIVE" },
                "taskDefinition": account.definition(&deployment.definition.family, deployment.definition.revision),
                "desiredCount": if index == 0 { service.desired_count } else { running + pending },
                "runningCount": running,
                "pendingCount": pending,
                "failedTasks": deployment.failed_tasks,
                "createdAt": seconds(deployment.created_at),
                "updatedAt": seconds(deployment.updated_at),
                "launchType": by_launch_type,
                "capacityProviderStrategy": strategy,
                "platformVersion": service.launch.resolved_platform(),
                "platformFamily": "Linux",
                "networkConfiguration": service.network,
                "rolloutState": state,
                "rolloutStateReason": why,
            })
        })
        .collect();
    let events: Vec<Value> = service
        .events
        .iter()
        .map(|event| json!({ "id": event.id, "createdAt": seconds(event.at), "message": event.message }))
        .collect();
    json!({
        "serviceArn": account.service(&cluster.name, &service.name),
        "serviceName": service.name,
        "clusterArn": account.cluster(&cluster.name),
        "status": service.status.as_str(),
        "desiredCount": service.desired_count,
        "runningCount": running,
        "pendingCount": pending,
        "launchType": by_launch_type,
        "capacityProviderStrategy": strategy,
        "platformVersion": service.launch.platform_version,
        "platformFamily": "Linux",
        "taskDefinition": definition.map(|definition| account.definition(&definition.family, definition.revision)),
        "deploymentConfiguration": { "maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING",
            "deploymentCircuitBreaker": service.breaker },
        "deploymentController": { "type": "ECS" },
        "deployments": deployments,
        "events": events,
        "createdAt": seconds(service.created_at),
        "createdBy": account.caller(),
        "networkConfiguration": service.network,
        "schedulingStrategy": "REPLICA",
        "enableECSManagedTags": false,
        "enableExecuteCommand": service.exec_enabled,
        "propagateTags": "NONE",
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "tags": shown_tags(&service.tags, include),
    })
}
