//! From a pattern to every container it means, in as few calls as that takes: a cluster's tasks are listed once.

use std::collections::{BTreeMap, BTreeSet};

use super::error::TargetError;
use super::pattern::{TargetGlob, TargetPattern, glob};
use super::pick::{pick_container, rank};
use super::resolve::{ResolvedTarget, TargetOptions, current_cluster, describe, resolve};
use super::search::{Search, cluster_names, in_cluster};
use super::wanted::Wanted;
use super::{ClusterName, ContainerPart, EcsArn};
use crate::aws::ecs::{TaskFilter, last_part};
use crate::client::Client;
use crate::model::Task;

/// Finds what a pattern means in one account and region: one task of each service, or `every` task.
///
/// # Errors
/// Also where it means nothing.
pub(crate) async fn several(
    client: &Client,
    pattern: &TargetPattern,
    options: &TargetOptions,
    every: bool,
) -> Result<Vec<ResolvedTarget>, TargetError> {
    match pattern {
        TargetPattern::One(spec) if !every && spec.container != Some(ContainerPart::Every) => {
            let mut found = resolve(client, Some(spec), options).await?;
            found.notes.clear();
            Ok(vec![found])
        }
        TargetPattern::One(spec) => {
            let wanted = Wanted::merge(client, Some(spec), options)?;
            let search = Search::begin(client, &wanted).await?;
            let tasks = search.tasks(wanted.selector.as_ref()).await?;
            let chosen = chosen(tasks, every, |_| String::new());
            if chosen.is_empty() {
                return Err(nothing(&pattern.to_string(), search.cluster.as_str()));
            }
            containers(client, search.cluster.as_str(), chosen, &wanted).await
        }
        TargetPattern::Glob(pattern) => globbed(client, pattern, options, every).await,
    }
}

/// Tasks by their ARNs, each with its container: those that still run.
pub(crate) async fn again(
    client: &Client,
    wanted: &[(EcsArn, String)],
) -> Result<Vec<ResolvedTarget>, TargetError> {
    let mut by_cluster: BTreeMap<&str, Vec<&(EcsArn, String)>> = BTreeMap::new();
    for pair in wanted {
        let cluster = pair
            .0
            .cluster
            .as_ref()
            .map_or("default", ClusterName::as_str);
        by_cluster.entry(cluster).or_default().push(pair);
    }
    let mut found = Vec::new();
    for (cluster, pairs) in by_cluster {
        let ids: BTreeSet<String> = pairs.iter().map(|(arn, _)| arn.name.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let tasks = client.ecs().tasks(cluster, &ids).await?;
        for (arn, container) in pairs {
            let task = tasks.iter().find(|task| task.task_id == arn.name);
            if let Some(task) = task.filter(|task| !task.is_stopping()) {
                found.push(describe(cluster, task, container, Vec::new())?);
            }
        }
    }
    Ok(found)
}

async fn globbed(
    client: &Client,
    pattern: &TargetGlob,
    options: &TargetOptions,
    every: bool,
) -> Result<Vec<ResolvedTarget>, TargetError> {
    let options = TargetOptions {
        cluster: options.cluster.clone(),
        container: pattern
            .container
            .as_ref()
            .and_then(ContainerPart::name)
            .or(options.container.as_ref())
            .cloned(),
        ..TargetOptions::default()
    };
    let mut wanted = Wanted::merge(client, None, &options)?;
    if pattern.container == Some(ContainerPart::Every) {
        wanted.container = Some(ContainerPart::Every);
    }
    let mut found = Vec::new();
    for cluster in clusters(client, pattern, options.cluster.as_ref()).await? {
        let arns = client.ecs().task_arns(cluster.as_str(), TaskFilter::All);
        let arns = in_cluster(client, &cluster, arns.await).await?;
        let mut tasks = client.ecs().tasks(cluster.as_str(), &arns).await?;
        tasks.retain(|task| glob(&pattern.name, name(task)));
        let chosen = chosen(tasks, every, |task| name(task).to_owned());
        found.extend(containers(client, cluster.as_str(), chosen, &wanted).await?);
    }
    match found.is_empty() {
        true => Err(nothing(
            &pattern.to_string(),
            pattern.cluster.as_deref().unwrap_or("the current one"),
        )),
        false => Ok(found),
    }
}

/// The clusters of a pattern; `given` is that of a pattern without one.
pub(crate) async fn clusters(
    client: &Client,
    pattern: &TargetGlob,
    given: Option<&ClusterName>,
) -> Result<Vec<ClusterName>, TargetError> {
    match &pattern.cluster {
        None => Ok(vec![current_cluster(client, given).await?]),
        Some(name) if !name.contains(['*', '?']) => Ok(name.parse().into_iter().collect()),
        Some(of) => {
            let names = cluster_names(client).await?;
            let names = names.into_iter().filter(|name| glob(of, name));
            Ok(names.filter_map(|name| name.parse().ok()).collect())
        }
    }
}

/// The name by which a task is found: its service's, else its family's.
fn name(task: &Task) -> &str {
    let family = || {
        let definition = task.task_definition_arn.as_deref().unwrap_or_default();
        last_part(definition).split(':').next().unwrap_or_default()
    };
    task.service_name.as_deref().unwrap_or_else(family)
}

/// Those that are not stopping, in a lasting order; of each group only the best unless `every` one is wanted.
fn chosen(mut tasks: Vec<Task>, every: bool, group: impl Fn(&Task) -> String) -> Vec<Task> {
    tasks.retain(|task| !task.is_stopping());
    if !every {
        tasks.sort_by_key(rank);
        let mut seen = BTreeSet::new();
        tasks.retain(|task| seen.insert(group(task)));
    }
    tasks.sort_by(|a, b| (name(a), &a.task_arn).cmp(&(name(b), &b.task_arn)));
    tasks
}

/// The containers that are meant in each task. Tasks of one definition are alike.
async fn containers(
    client: &Client,
    cluster: &str,
    tasks: Vec<Task>,
    wanted: &Wanted,
) -> Result<Vec<ResolvedTarget>, TargetError> {
    let mut known: BTreeMap<Option<String>, String> = BTreeMap::new();
    let mut found = Vec::new();
    for task in tasks {
        let names = match (&wanted.container, known.get(&task.task_definition_arn)) {
            (Some(ContainerPart::Every), _) => {
                let own = task
                    .containers
                    .iter()
                    .filter(|container| !container.is_injected());
                own.map(|container| container.name.clone()).collect()
            }
            (_, Some(name)) => vec![name.clone()],
            (_, None) => {
                let name = pick_container(client, cluster, &task, wanted, &mut Vec::new()).await?;
                known.insert(task.task_definition_arn.clone(), name.clone());
                vec![name]
            }
        };
        for name in names {
            found.push(describe(cluster, &task, &name, Vec::new())?);
        }
    }
    Ok(found)
}

fn nothing(target: &str, cluster: &str) -> TargetError {
    TargetError::NoTask {
        target: target.to_owned(),
        cluster: cluster.to_owned(),
        detail: Some("no running task matches".to_owned()),
    }
}
