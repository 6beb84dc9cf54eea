//! From a target to the one container it means, in as few calls as that takes.
//!
//! With a known cluster a service costs ListTasks and DescribeTasks; everything else is asked only when
//! that leaves a question open.

use std::collections::BTreeSet;
use std::fmt;

use super::error::TargetError;
use super::pick::{pick_container, pick_task, rank, stopped};
use super::search::{Search, cluster_names};
use super::wanted::Wanted;
use super::{ClusterName, ContainerName, ServiceName, TargetSpec, TaskId};
use crate::client::Client;
use crate::model::{Readiness, Task};

/// What narrows a target down besides the target itself.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// The cluster, if the target names none.
    pub cluster: Option<ClusterName>,
    /// A service, in place of a target.
    pub service: Option<ServiceName>,
    /// A task, in place of a target.
    pub task: Option<TaskId>,
    /// The container, if the target names none.
    pub container: Option<ContainerName>,
    /// Several tasks or containers that match are an error, instead of a choice among them.
    pub strict: bool,
}

/// One container, found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedTarget {
    /// Its cluster.
    pub cluster: ClusterRef,
    /// Its task.
    pub task: TaskRef,
    /// The service the task belongs to.
    pub service: Option<String>,
    /// The container's name.
    pub container: String,
    /// The runtime's id of the container, once the container exists.
    pub runtime_id: Option<String>,
    /// Whether a command can be executed in it now.
    pub readiness: Readiness,
    /// Choices that were made for the user and are worth a line on stderr.
    pub notes: Vec<String>,
}

/// All tasks a target matches.
#[derive(Clone, Debug)]
pub struct MatchingTasks {
    /// The cluster they are in.
    pub cluster: ClusterName,
    /// The services they belong to, each once; a service without tasks is here too.
    pub services: Vec<String>,
    /// The tasks, best first: running, healthy, newest.
    pub tasks: Vec<Task>,
}

/// A cluster's name and ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
}

/// A task's id and ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRef {
    /// The id.
    pub id: String,
    /// The ARN.
    pub arn: String,
}

impl ResolvedTarget {
    /// The SSM name of the container: `ecs:<cluster>_<task id>_<runtime id>`.
    pub fn ssm_target(&self) -> Option<String> {
        let runtime_id = self.runtime_id.as_deref()?;
        Some(format!(
            "ecs:{}_{}_{runtime_id}",
            self.cluster.name, self.task.id
        ))
    }
}

/// `cluster/service/container`, or with the task's id when there is no service.
impl fmt::Display for ResolvedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.service.as_deref().unwrap_or(&self.task.id);
        write!(f, "{}/{name}/{}", self.cluster.name, self.container)
    }
}

/// Finds the one container that is meant.
pub(crate) async fn resolve(
    client: &Client,
    target: Option<&TargetSpec>,
    options: &TargetOptions,
) -> Result<ResolvedTarget, TargetError> {
    let wanted = Wanted::merge(client, target, options)?;
    let search = Search::begin(client, &wanted).await?;
    let tasks = search.tasks(wanted.selector.as_ref()).await?;

    let label = wanted.label();
    let cluster = search.cluster.as_str();
    let (task, mut notes) = pick_task(&label, cluster, tasks, wanted.strict)?;
    let name = pick_container(client, cluster, &task, &wanted, &mut notes).await?;
    describe(cluster, &task, &name, notes)
}

/// All tasks that match, best first.
pub(crate) async fn matching_tasks(
    client: &Client,
    target: &TargetSpec,
    options: &TargetOptions,
) -> Result<MatchingTasks, TargetError> {
    let wanted = Wanted::merge(client, Some(target), options)?;
    let search = Search::begin(client, &wanted).await?;
    let mut tasks = match search.tasks(wanted.selector.as_ref()).await {
        Err(TargetError::NoTask { .. }) if wanted.service_name().is_some() => Vec::new(),
        other => other?,
    };
    tasks.sort_by_key(rank);
    let mut services: BTreeSet<String> = tasks
        .iter()
        .filter_map(|task| task.service_name.clone())
        .collect();
    if tasks.is_empty() {
        services.extend(wanted.service_name().map(str::to_owned));
    }
    Ok(MatchingTasks {
        cluster: search.cluster,
        services: services.into_iter().collect(),
        tasks,
    })
}

/// Looks at a container again, for instance while its agent starts.
pub(crate) async fn refresh(
    client: &Client,
    target: &ResolvedTarget,
) -> Result<ResolvedTarget, TargetError> {
    let task = client
        .task(&target.cluster.name, &target.task.id)
        .await?
        .ok_or_else(|| TargetError::NotFound {
            target: format!("task {}", target.task.id),
            cluster: target.cluster.name.clone(),
            kind: "tasks",
            suggestions: Vec::new(),
            candidates: Vec::new(),
        })?;
    if task.is_stopping() {
        return Err(stopped(&task));
    }
    describe(
        &target.cluster.name,
        &task,
        &target.container,
        target.notes.clone(),
    )
}

/// The cluster that is meant when none is named.
pub(crate) async fn current_cluster(
    client: &Client,
    given: Option<&ClusterName>,
) -> Result<ClusterName, TargetError> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let mut names = cluster_names(client).await?;
    let region = client.region().to_owned();
    let chosen = match names.len() {
        0 => return Err(TargetError::NoCluster { region }),
        1 => names.remove(0),
        _ if names.iter().any(|name| name == "default") => "default".to_owned(),
        _ => {
            return Err(TargetError::ClusterAmbiguous {
                region,
                candidates: names,
            });
        }
    };
    // A name from ECS that does not fit the grammar cannot be asked for either.
    chosen.parse().map_err(|_| TargetError::ClusterAmbiguous {
        region: client.region().to_owned(),
        candidates: vec![chosen],
    })
}

pub(super) fn describe(
    cluster: &str,
    task: &Task,
    container: &str,
    notes: Vec<String>,
) -> Result<ResolvedTarget, TargetError> {
    let found = task
        .containers
        .iter()
        .find(|candidate| candidate.name == container)
        .ok_or_else(|| TargetError::ContainerNotFound {
            task: task.task_id.clone(),
            name: container.to_owned(),
            suggestions: Vec::new(),
            candidates: task.containers.iter().map(|c| c.name.clone()).collect(),
        })?;
    Ok(ResolvedTarget {
        cluster: ClusterRef {
            name: cluster.to_owned(),
            arn: task.cluster_arn.clone(),
        },
        task: TaskRef {
            id: task.task_id.clone(),
            arn: task.task_arn.clone(),
        },
        service: task.service_name.clone(),
        container: container.to_owned(),
        runtime_id: found.runtime_id.clone(),
        readiness: task.readiness(found),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Container;

    #[test]
    fn the_ssm_target_needs_a_runtime_id() {
        let found = Task {
            task_id: "t1".into(),
            containers: vec![Container {
                name: "app".into(),
                ..Container::default()
            }],
            ..Task::default()
        };
        let mut target = describe("c", &found, "app", Vec::new()).unwrap();
        assert_eq!(target.ssm_target(), None);
        target.runtime_id = Some("t1-123".into());
        assert_eq!(target.ssm_target().as_deref(), Some("ecs:c_t1_t1-123"));
        assert_eq!(target.to_string(), "c/t1/app");
    }
}
