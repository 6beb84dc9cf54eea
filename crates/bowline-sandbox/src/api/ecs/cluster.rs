//! Clusters.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{check_include, check_tags, cluster_name, includes, is_name, missing, shown_tags};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::Account;
use crate::state::service::ServiceStatus;
use crate::state::task::TaskStatus;
use crate::state::{Cluster, StrategyItem, Tag};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct List {
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: List = call.input()?;
    let account = &call.shared.account;
    let arns: Vec<String> = {
        let world = call.shared.world();
        world
            .clusters
            .values()
            .filter(|cluster| cluster.active)
            .map(|c| account.cluster(&c.name))
            .collect()
    };
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 100,
        limit: 100,
        filters: "ListClusters",
    };
    let (arns, next) = page(arns, &request)?;
    Ok(json!({ "clusterArns": arns, "nextToken": next }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    clusters: Vec<String>,
    include: Vec<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let mut input: Describe = call.input()?;
    if input.clusters.len() > 100 {
        return Err(ApiError::invalid_parameter(
            "Clusters cannot be longer than 100.",
        ));
    }
    check_include(
        &input.include,
        &[
            "ATTACHMENTS",
            "CONFIGURATIONS",
            "SETTINGS",
            "STATISTICS",
            "TAGS",
        ],
    )?;
    if input.clusters.is_empty() {
        input.clusters.push("default".to_owned());
    }
    let account = &call.shared.account;
    let world = call.shared.world();
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for given in &input.clusters {
        let name = cluster_name(account, Some(given)).ok();
        match name.and_then(|name| world.clusters.get(name)) {
            Some(cluster) => clusters.push(show(account, cluster, &input.include)),
            None if given.starts_with("arn:") => failures.push(missing(given)),
            None => failures.push(missing(&account.cluster(given))),
        }
    }
    Ok(json!({ "clusters": clusters, "failures": failures }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Create {
    cluster_name: Option<String>,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<StrategyItem>,
    configuration: Option<Value>,
    settings: Vec<Value>,
    tags: Vec<Tag>,
}

pub(super) fn create(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Create = call.input()?;
    let name = input.cluster_name.as_deref().unwrap_or("default");
    if !is_name(name) {
        return Err(ApiError::invalid_parameter(
            "Cluster name must have between 1 and 255 letters, digits, hyphens and underscores.",
        ));
    }
    check_tags(&input.tags)?;
    let account = &call.shared.account;
    call.shared.change(|world| {
        // Creating an existing one answers it as it is; an INACTIVE one comes back to life.
        let cluster = world.clusters.entry(name.to_owned()).or_insert_with(|| {
            let mut cluster = Cluster::new(name);
            cluster.active = false;
            cluster
        });
        if !cluster.active {
            cluster.active = true;
            cluster.capacity_providers = input.capacity_providers;
            cluster.default_strategy = input.default_capacity_provider_strategy;
            cluster.configuration = input.configuration;
            cluster.settings = input.settings;
            cluster.tags = input.tags;
        }
        Ok(json!({ "cluster": show(account, cluster, &everything()) }))
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Update {
    cluster: Option<String>,
    configuration: Option<Value>,
    settings: Option<Vec<Value>>,
}

/// Members that are left out stay as they are. Sessions that are open keep what they began with.
pub(super) fn update(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Update = call.input()?;
    let account = &call.shared.account;
    let name = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        let cluster = world
            .clusters
            .get_mut(name)
            .filter(|cluster| cluster.active);
        let cluster = cluster.ok_or_else(super::cluster_not_found)?;
        if input.configuration.is_some() {
            cluster.configuration = input.configuration;
        }
        if let Some(settings) = input.settings {
            cluster.settings = settings;
        }
        Ok(json!({ "cluster": show(account, cluster, &everything()) }))
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delete {
    cluster: Option<String>,
}

pub(super) fn delete(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Delete = call.input()?;
    let account = &call.shared.account;
    let name = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        let cluster = world
            .clusters
            .get_mut(name)
            .filter(|cluster| cluster.active);
        let cluster = cluster.ok_or_else(super::cluster_not_found)?;
        if cluster
            .services
            .values()
            .any(|service| service.status != ServiceStatus::Inactive)
        {
            return Err(ApiError::new(
                "ClusterContainsServicesException",
                "The Cluster cannot be deleted while Services are active.",
            ));
        }
        if cluster
            .tasks
            .values()
            .any(|task| task.status != TaskStatus::Stopped)
        {
            return Err(ApiError::new(
                "ClusterContainsTasksException",
                "The Cluster cannot be deleted while Tasks are active.",
            ));
        }
        cluster.active = false;
        Ok(json!({ "cluster": show(account, cluster, &everything()) }))
    })
}

fn everything() -> Vec<String> {
    ["CONFIGURATIONS", "SETTINGS", "TAGS"]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn show(account: &Account, cluster: &Cluster, include: &[String]) -> Value {
    let active = |status: TaskStatus| {
        cluster
            .tasks
            .values()
            .filter(|task| task.stop.is_none() && task.status == status)
            .count()
    };
    let services = cluster
        .services
        .values()
        .filter(|service| service.status == ServiceStatus::Active)
        .count();
    json!({
        "clusterArn": account.cluster(&cluster.name),
        "clusterName": cluster.name,
        "status": if cluster.active { "ACTIVE" } else { "INACTIVE" },
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": active(TaskStatus::Running),
        "pendingTasksCount": active(TaskStatus::Provisioning) + active(TaskStatus::Pending),
        "activeServicesCount": services,
        "capacityProviders": cluster.capacity_providers,
        "defaultCapacityProviderStrategy": cluster.default_strategy,
        "configuration": if includes(include, "CONFIGURATIONS") { cluster.configuration.clone() } else { None },
        "settings": if includes(include, "SETTINGS") { json!(cluster.settings) } else { json!([]) },
        "statistics": [],
        "tags": shown_tags(&cluster.tags, include),
    })
}
