//! The tasks a selector matches in one cluster.

use std::collections::BTreeSet;

use super::arn::{ArnKind, EcsArn};
use super::error::TargetError;
use super::resolve::current_cluster;
use super::suggest;
use super::tag::TagFilter;
use super::wanted::Wanted;
use super::{AnyName, ClusterName, FamilyName, Selector, TaskId};
use crate::aws::ecs::{TaskFilter, last_part};
use crate::aws::error::AwsError;
use crate::client::Client;
use crate::model::Task;

/// One search in one cluster.
pub(super) struct Search<'a> {
    client: &'a Client,
    pub(super) cluster: ClusterName,
}

impl<'a> Search<'a> {
    pub(super) async fn begin(client: &'a Client, wanted: &Wanted) -> Result<Self, TargetError> {
        let cluster = current_cluster(client, wanted.cluster.as_ref()).await?;
        Ok(Self { client, cluster })
    }

    pub(super) async fn tasks(
        &self,
        selector: Option<&Selector>,
    ) -> Result<Vec<Task>, TargetError> {
        match selector {
            None => self.only().await,
            Some(Selector::Any(name)) => self.any(name).await,
            Some(Selector::Service(name)) => self.service(name.as_str()).await,
            Some(Selector::Task(id)) => self.task(id).await,
            Some(Selector::Family(name)) => self.family(name).await,
            Some(Selector::Tag(tag)) => self.tag(tag).await,
            Some(Selector::Arn(arn)) => match arn.kind {
                ArnKind::Service => self.service(&arn.name).await,
                ArnKind::Task => self.whole_task(&arn.name).await,
                ArnKind::Container => self.container(arn).await,
                ArnKind::TaskDefinition => self.definition(arn).await,
                ArnKind::Cluster => self.only().await,
            },
        }
    }

    /// Service, then task id or its beginning, then family.
    async fn any(&self, name: &AnyName) -> Result<Vec<Task>, TargetError> {
        let name = name.as_str();
        if let Some(tasks) = self.of_service(name).await? {
            return Ok(tasks);
        }
        let all = self.list(TaskFilter::All).await?;
        let by_id = with_prefix(&all, name);
        if !by_id.is_empty() {
            return self.one_task(name, by_id).await;
        }
        let of_family = self.list(TaskFilter::Family(name)).await?;
        if !of_family.is_empty() {
            return self.described(&of_family).await;
        }
        Err(self.not_found(name.to_owned(), name, &all).await)
    }

    async fn service(&self, name: &str) -> Result<Vec<Task>, TargetError> {
        if let Some(tasks) = self.of_service(name).await? {
            return Ok(tasks);
        }
        Err(self.not_found(format!("service {name}"), name, &[]).await)
    }

    async fn task(&self, id: &TaskId) -> Result<Vec<Task>, TargetError> {
        if id.is_whole() {
            return self.whole_task(id.as_str()).await;
        }
        let all = self.list(TaskFilter::All).await?;
        let by_id = with_prefix(&all, id.as_str());
        if by_id.is_empty() {
            return Err(self.no_such_task(format!("a running task {id}…"), id.as_str(), &all));
        }
        self.one_task(id.as_str(), by_id).await
    }

    /// A task by its whole id, also one that has stopped.
    async fn whole_task(&self, id: &str) -> Result<Vec<Task>, TargetError> {
        let found = self.described(&[id.to_owned()]).await?;
        if found.is_empty() {
            let all = self.list(TaskFilter::All).await?;
            return Err(self.no_such_task(format!("task {id}"), id, &all));
        }
        Ok(found)
    }

    async fn family(&self, name: &FamilyName) -> Result<Vec<Task>, TargetError> {
        let arns = self.list(TaskFilter::Family(name.as_str())).await?;
        if !arns.is_empty() {
            return self.described(&arns).await;
        }
        let all = self.described(&self.list(TaskFilter::All).await?).await?;
        let families: BTreeSet<&str> = all
            .iter()
            .filter_map(|task| family_of(task.task_definition_arn.as_deref()?))
            .collect();
        Err(TargetError::NotFound {
            target: format!("a running task of family {name}"),
            cluster: self.cluster.to_string(),
            kind: "families",
            suggestions: suggest::near(name.as_str(), families.iter().copied()),
            candidates: shown(families.into_iter()),
        })
    }

    /// The tasks of one revision of a family.
    async fn definition(&self, arn: &EcsArn) -> Result<Vec<Task>, TargetError> {
        let arns = self.list(TaskFilter::Family(arn.family())).await?;
        let of_family = self.described(&arns).await?;
        let revision = |task: &Task| {
            let definition = task.task_definition_arn.as_deref().unwrap_or_default();
            last_part(definition).to_owned()
        };
        let running: BTreeSet<String> = of_family.iter().map(revision).collect();
        let tasks: Vec<Task> = of_family
            .into_iter()
            .filter(|task| revision(task) == arn.name)
            .collect();
        if !tasks.is_empty() {
            return Ok(tasks);
        }
        Err(TargetError::NotFound {
            target: format!("a running task of {}", arn.name),
            cluster: self.cluster.to_string(),
            kind: "revisions",
            suggestions: Vec::new(),
            candidates: shown(running.iter().map(String::as_str)),
        })
    }

    /// The task of a container; an ARN in the old format does not name it, so all are looked at.
    async fn container(&self, arn: &EcsArn) -> Result<Vec<Task>, TargetError> {
        if let Some(task) = &arn.task {
            return self.whole_task(task.as_str()).await;
        }
        let all = self.described(&self.list(TaskFilter::All).await?).await?;
        let of_arn = |task: &Task| {
            let mut arns = task.containers.iter().map(|c| c.container_arn.as_deref());
            arns.any(|known| known.map(last_part) == Some(&arn.name))
        };
        match all.into_iter().find(of_arn) {
            Some(task) => Ok(vec![task]),
            None => Err(TargetError::NotFound {
                target: format!("container {}", arn.name),
                cluster: self.cluster.to_string(),
                kind: "containers",
                suggestions: Vec::new(),
                candidates: Vec::new(),
            }),
        }
    }

    /// The tasks that carry a tag. ECS cannot list by tag, so all are looked at.
    async fn tag(&self, tag: &TagFilter) -> Result<Vec<Task>, TargetError> {
        let arns = self.list(TaskFilter::All).await?;
        let ecs = self.client.ecs();
        let tagged = ecs.tagged_tasks(self.cluster.as_str(), &arns).await;
        let tagged = in_cluster(self.client, &self.cluster, tagged).await?;
        let wanted = (tag.key().to_owned(), tag.value().to_owned());
        let values: BTreeSet<String> = tagged
            .iter()
            .flat_map(|(_, tags)| tags.iter())
            .filter(|(key, _)| key == tag.key())
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let tasks: Vec<Task> = tagged
            .into_iter()
            .filter(|(_, tags)| tags.contains(&wanted))
            .map(|(task, _)| task)
            .collect();
        if !tasks.is_empty() {
            return Ok(tasks);
        }
        Err(TargetError::NotFound {
            target: format!("a running task with tag {tag}"),
            cluster: self.cluster.to_string(),
            kind: "tags",
            suggestions: suggest::near(&tag.to_string(), values.iter().map(String::as_str)),
            candidates: shown(values.iter().map(String::as_str)),
        })
    }

    /// The tasks of the only service, or the only task. That there are several is mostly seen on the first page; a
    /// cluster of thousands of tasks is not listed for it.
    async fn only(&self) -> Result<Vec<Task>, TargetError> {
        let first = self
            .client
            .ecs()
            .first_task_arns(self.cluster.as_str())
            .await;
        let (arns, more) = in_cluster(self.client, &self.cluster, first).await?;
        let mut tasks = self.described(&arns).await?;
        let mut groups = groups(&tasks);
        if more && groups.len() <= 1 {
            tasks = self.described(&self.list(TaskFilter::All).await?).await?;
            groups = self::groups(&tasks);
        }
        match groups.len() {
            0 => Err(TargetError::NoTask {
                target: "the target".to_owned(),
                cluster: self.cluster.to_string(),
                detail: Some("the cluster runs nothing".to_owned()),
            }),
            1 => Ok(tasks),
            _ => Err(TargetError::Ambiguous {
                target: "the target".to_owned(),
                cluster: self.cluster.to_string(),
                candidates: groups.into_iter().take(CANDIDATES_SHOWN).collect(),
            }),
        }
    }

    /// The tasks of a service, or `None` when there is no such service.
    ///
    /// ECS answers ServiceNotFoundException. Other servers answer an empty list, or ignore the filter and
    /// answer every task of the cluster (moto 5.2): whatever is not the service's own is dropped, since a
    /// command must never run in the wrong place, and when nothing is left the service is asked for.
    async fn of_service(&self, name: &str) -> Result<Option<Vec<Task>>, TargetError> {
        let arns = match self.list(TaskFilter::Service(name)).await {
            Err(TargetError::Aws(error)) if error.is("ServiceNotFoundException") => {
                return Ok(None);
            }
            other => other?,
        };
        if !arns.is_empty() {
            let mut tasks = self.described(&arns).await?;
            tasks.retain(|task| task.service_name.as_deref() == Some(name));
            if !tasks.is_empty() {
                return Ok(Some(tasks));
            }
        }
        let known = self
            .client
            .ecs()
            .services(self.cluster.as_str(), &[name.to_owned()])
            .await?;
        let Some(service) = known.into_iter().next() else {
            return Ok(None);
        };
        if service.status.as_deref() == Some("INACTIVE") {
            return Ok(None);
        }
        Err(TargetError::NoTask {
            target: format!("service {name}"),
            cluster: self.cluster.to_string(),
            detail: Some(match service.last_event {
                Some(event) => format!("desired {}; {event}", service.desired_count),
                None => format!("desired {}", service.desired_count),
            }),
        })
    }

    async fn one_task(&self, prefix: &str, arns: Vec<String>) -> Result<Vec<Task>, TargetError> {
        if arns.len() > 1 {
            return Err(TargetError::Ambiguous {
                target: format!("task {prefix}…"),
                cluster: self.cluster.to_string(),
                candidates: arns
                    .iter()
                    .take(CANDIDATES_SHOWN)
                    .map(|arn| last_part(arn).to_owned())
                    .collect(),
            });
        }
        self.described(&arns).await
    }

    async fn list(&self, filter: TaskFilter<'_>) -> Result<Vec<String>, TargetError> {
        let listed = self
            .client
            .ecs()
            .task_arns(self.cluster.as_str(), filter)
            .await;
        in_cluster(self.client, &self.cluster, listed).await
    }

    async fn described(&self, tasks: &[String]) -> Result<Vec<Task>, TargetError> {
        let described = self.client.ecs().tasks(self.cluster.as_str(), tasks).await;
        in_cluster(self.client, &self.cluster, described).await
    }

    fn no_such_task(&self, target: String, id: &str, task_arns: &[String]) -> TargetError {
        let ids = || task_arns.iter().map(|arn| last_part(arn));
        TargetError::NotFound {
            target,
            cluster: self.cluster.to_string(),
            kind: "tasks",
            suggestions: suggest::near(id, ids()),
            candidates: shown(ids()),
        }
    }

    /// Names what there is; a caller who may not list gets the plain error.
    async fn not_found(&self, target: String, name: &str, task_arns: &[String]) -> TargetError {
        let services = self.client.ecs().service_arns(self.cluster.as_str()).await;
        let mut candidates: Vec<String> = services
            .unwrap_or_default()
            .iter()
            .map(|arn| last_part(arn).to_owned())
            .collect();
        candidates.sort();
        let tasks = task_arns.iter().map(|arn| last_part(arn));
        let suggestions = suggest::near(name, candidates.iter().map(String::as_str).chain(tasks));
        candidates.truncate(CANDIDATES_SHOWN);
        TargetError::NotFound {
            target,
            cluster: self.cluster.to_string(),
            kind: "services",
            suggestions,
            candidates,
        }
    }
}

/// The answer of a call about a cluster; if there is no such cluster, the error names those there are.
pub(crate) async fn in_cluster<T>(
    client: &Client,
    cluster: &ClusterName,
    answer: Result<T, AwsError>,
) -> Result<T, TargetError> {
    let error = match answer {
        Ok(answer) => return Ok(answer),
        Err(error) if error.is("ClusterNotFoundException") => error,
        Err(error) => return Err(error.into()),
    };
    // A caller who may not list clusters gets the plain error.
    let Ok(names) = cluster_names(client).await else {
        return Err(error.into());
    };
    Err(TargetError::ClusterNotFound {
        name: cluster.to_string(),
        region: client.region().to_owned(),
        suggestions: suggest::near(cluster.as_str(), names.iter().map(String::as_str)),
        candidates: names.into_iter().take(CANDIDATES_SHOWN).collect(),
    })
}

pub(super) async fn cluster_names(client: &Client) -> Result<Vec<String>, TargetError> {
    let arns = client.ecs().cluster_arns().await?;
    let mut names: Vec<String> = arns.iter().map(|arn| last_part(arn).to_owned()).collect();
    names.sort();
    Ok(names)
}

/// `job` of `arn:…:task-definition/job:3`.
fn family_of(definition: &str) -> Option<&str> {
    last_part(definition).split(':').next()
}

fn shown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.take(CANDIDATES_SHOWN).map(str::to_owned).collect()
}

/// The services of tasks; a task of no service is one of its own.
fn groups(tasks: &[Task]) -> BTreeSet<String> {
    let names = tasks.iter().map(|task| match &task.service_name {
        Some(service) => service.clone(),
        None => format!("task:{}", task.task_id),
    });
    names.collect()
}

fn with_prefix(arns: &[String], prefix: &str) -> Vec<String> {
    let matches = |arn: &&String| last_part(arn).starts_with(prefix);
    arns.iter().filter(matches).cloned().collect()
}

/// How many names a message may list.
const CANDIDATES_SHOWN: usize = 20;
