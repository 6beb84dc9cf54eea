//! Amazon ECS: clusters, services, tasks, task definitions, ExecuteCommand.

mod capacity;
mod cluster;
mod definition;
mod exec;
mod fargate;
mod run;
mod service;
mod task;

use serde_json::{Value, json};

use crate::api::{ApiError, Call};
use crate::identifiers::{Account, is_name};
use crate::scheduler;
use crate::state::{Cluster, Tag, TaskKey, World};

pub(crate) use definition::check_containers;
pub(super) use task::find as find_task;

/// Runs one operation.
pub(crate) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    scheduler::forget_old_tasks(call.shared);
    match call.operation {
        "CreateCluster" => cluster::create(call),
        "UpdateCluster" => cluster::update(call),
        "DeleteCluster" => cluster::delete(call),
        "DescribeClusters" => cluster::describe(call),
        "ListClusters" => cluster::list(call),
        "DescribeCapacityProviders" => capacity::describe(call),
        "PutClusterCapacityProviders" => capacity::put(call),
        "CreateService" => service::create(call),
        "DeleteService" => service::delete(call),
        "DescribeServices" => service::describe(call),
        "ListServices" => service::list(call),
        "UpdateService" => service::update(call),
        "DescribeTasks" => task::describe(call),
        "ListTasks" => task::list(call),
        "StopTask" => task::stop(call),
        "RunTask" => run::run(call),
        "DeregisterTaskDefinition" => definition::deregister(call),
        "DescribeTaskDefinition" => definition::describe(call),
        "ListTaskDefinitionFamilies" => definition::list_families(call),
        "ListTaskDefinitions" => definition::list(call),
        "RegisterTaskDefinition" => definition::register(call),
        "ExecuteCommand" => exec::execute(call),
        _ => Err(ApiError::unknown_operation()),
    }
}

/// The task whose processes this call needs.
pub(crate) fn needed(call: &Call<'_>) -> Option<TaskKey> {
    (call.operation == "ExecuteCommand").then(|| exec::needed(call))?
}

/// The name in a cluster's name or ARN; `default` if none is given.
fn cluster_name<'a>(account: &Account, given: Option<&'a str>) -> Result<&'a str, ApiError> {
    match given {
        None | Some("") => Ok("default"),
        Some(arn) if arn.starts_with("arn:") => account
            .within(arn, "cluster")
            .filter(|name| !name.contains('/'))
            .ok_or_else(cluster_not_found),
        Some(name) => Ok(name),
    }
}

/// The cluster with this name or ARN.
fn find_cluster<'w>(
    world: &'w World,
    account: &Account,
    given: Option<&str>,
) -> Result<&'w Cluster, ApiError> {
    let cluster = world.clusters.get(cluster_name(account, given)?);
    cluster
        .filter(|cluster| cluster.active)
        .ok_or_else(cluster_not_found)
}

fn cluster_not_found() -> ApiError {
    ApiError::new("ClusterNotFoundException", "Cluster not found.")
}

/// What stands after the cluster in the ARN of a service or task: with the cluster's name (long form) or without.
fn name_within<'a>(
    account: &Account,
    kind: &str,
    cluster: &str,
    given: &'a str,
) -> Result<Option<&'a str>, ApiError> {
    if !given.starts_with("arn:") {
        return Ok(Some(given));
    }
    let Some(rest) = account.within(given, kind) else {
        return Ok(None);
    };
    match rest.split_once('/') {
        None => Ok(Some(rest)),
        Some((of, name)) if of == cluster => Ok(Some(name)),
        Some((of, _)) => Err(ApiError::invalid_parameter(format!(
            "Identifier is for cluster {of}. Your cluster is {cluster}"
        ))),
    }
}

/// An entry of `failures` for something that is not there.
fn missing(arn: &str) -> Value {
    json!({ "arn": arn, "reason": "MISSING" })
}

/// `tags`, empty unless asked for.
fn shown_tags(tags: &[Tag], include: &[String]) -> Value {
    if includes(include, "TAGS") {
        json!(tags)
    } else {
        json!([])
    }
}

fn includes(include: &[String], what: &str) -> bool {
    include.iter().any(|word| word == what)
}

/// Refuses words that the model does not have.
fn check_include(include: &[String], known: &[&str]) -> Result<(), ApiError> {
    match include.iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => Err(ApiError::invalid_parameter(format!(
            "{word} is not a valid value for include."
        ))),
        None => Ok(()),
    }
}

/// Tags as ECS takes them: at most 50, keys once and not empty.
fn check_tags(tags: &[Tag]) -> Result<(), ApiError> {
    if tags.len() > 50 {
        return Err(ApiError::invalid_parameter(
            "Too many tags: at most 50 are allowed.",
        ));
    }
    for (index, tag) in tags.iter().enumerate() {
        let length = tag.key.chars().count();
        if !(1..=128).contains(&length)
            || tag.value.chars().count() > 256
            || tag.key.starts_with("aws:")
        {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid tag {:?}.",
                tag.key
            )));
        }
        if tags[..index].iter().any(|other| other.key == tag.key) {
            return Err(ApiError::invalid_parameter(format!(
                "Duplicate tag key {:?}.",
                tag.key
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_named_by_name_or_by_arn() {
        let account = Account::new("us-east-1");
        assert_eq!(cluster_name(&account, None).unwrap(), "default");
        assert_eq!(cluster_name(&account, Some("demo")).unwrap(), "demo");
        assert_eq!(
            cluster_name(&account, Some(&account.cluster("demo"))).unwrap(),
            "demo"
        );
        let elsewhere = Account::new("eu-west-1").cluster("demo");
        assert_eq!(
            cluster_name(&account, Some(&elsewhere)).unwrap_err().code,
            "ClusterNotFoundException"
        );
    }

    #[test]
    fn tasks_are_named_by_id_and_by_both_forms_of_arn() {
        let account = Account::new("us-east-1");
        let old = "arn:aws:ecs:us-east-1:123456789012:task/0123";
        for given in ["0123", &account.task("demo", "0123"), old] {
            assert_eq!(
                name_within(&account, "task", "demo", given).unwrap(),
                Some("0123")
            );
        }
        assert!(name_within(&account, "task", "other", &account.task("demo", "0123")).is_err());
        assert_eq!(
            name_within(&account, "task", "demo", &account.service("demo", "web")).unwrap(),
            None
        );
    }

    #[test]
    fn tags_are_checked() {
        let tag = |key: &str| Tag {
            key: key.to_owned(),
            value: String::new(),
        };
        assert!(check_tags(&[tag("a"), tag("b")]).is_ok());
        for bad in [
            vec![tag("")],
            vec![tag("a"), tag("a")],
            vec![tag("aws:x")],
            vec![tag("k"); 51],
        ] {
            assert!(check_tags(&bad).is_err());
        }
    }
}
