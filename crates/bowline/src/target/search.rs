//! The tasks a selector matches in one cluster.

use std::collections::BTreeSet;

use super::arn::ArnKind;
use super::error::TargetError;
use super::resolve::current_cluster;
use super::suggest;
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
            Some(Selector::Arn(arn)) => match arn.kind {
                ArnKind::Service => self.service(&arn.name).await,
                ArnKind::Task => self.whole_task(&arn.name).await,
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
            let label = format!("a running task {id}…");
            return Err(self.not_found(label, id.as_str(), &all).await);
        }
        self.one_task(id.as_str(), by_id).await
    }

    /// A task by its whole id, also one that has stopped.
    async fn whole_task(&self, id: &str) -> Result<Vec<Task>, TargetError> {
        let found = self.described(&[id.to_owned()]).await?;
        if found.is_empty() {
            return Err(self.not_found(format!("task {id}"), id, &[]).await);
        }
        Ok(found)
    }

    async fn family(&self, name: &FamilyName) -> Result<Vec<Task>, TargetError> {
        let arns = self.list(TaskFilter::Family(name.as_str())).await?;
        if arns.is_empty() {
            return Err(TargetError::NoTask {
                target: format!("family {name}"),
                cluster: self.cluster.to_string(),
                detail: None,
            });
        }
        self.described(&arns).await
    }

    /// The tasks of the only service, or the only task.
    async fn only(&self) -> Result<Vec<Task>, TargetError> {
        let arns = self.list(TaskFilter::All).await?;
        let tasks = self.described(&arns).await?;
        let groups: BTreeSet<String> = tasks
            .iter()
            .map(|task| match &task.service_name {
                Some(service) => service.clone(),
                None => format!("task:{}", task.task_id),
            })
            .collect();
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

fn with_prefix(arns: &[String], prefix: &str) -> Vec<String> {
    let matches = |arn: &&String| last_part(arn).starts_with(prefix);
    arns.iter().filter(matches).cloned().collect()
}

/// How many names a message may list.
const CANDIDATES_SHOWN: usize = 20;
