//! Looking closely at clusters, services, tasks and definitions, and stopping or restarting them.

use crate::aws::ecs::{TaskFilter, last_part};
use crate::aws::error::AwsError;
use crate::client::Client;
use crate::model::{ClusterDetail, ServiceDetail, Task, TaskDefinition, TaskDetail};
use crate::target::{ArnKind, ClusterName, Selector, TargetError, TargetOptions, TargetSpec, near};

impl Client {
    /// A cluster with its configuration and tags; `None` if there is none of the name.
    pub async fn cluster_detail(
        &self,
        cluster: &ClusterName,
    ) -> Result<Option<ClusterDetail>, AwsError> {
        self.ecs().cluster_detail(cluster.as_str()).await
    }

    /// A service with deployments, events and tags; `None` if the cluster has none of the name.
    pub async fn service_detail(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<Option<ServiceDetail>, AwsError> {
        let found = self.ecs().service_detail(cluster.as_str(), service).await?;
        // Deleted ones are described for a while; nothing can be done with them.
        Ok(found.filter(|found| found.service.status.as_deref() != Some("INACTIVE")))
    }

    /// A task with overrides and tags, also one that has stopped within the last hour.
    pub async fn task_detail(
        &self,
        cluster: &ClusterName,
        task: &str,
    ) -> Result<Option<TaskDetail>, AwsError> {
        let task = [task.to_owned()];
        let found = self.ecs().task_details(cluster.as_str(), &task).await?;
        Ok(found.into_iter().next())
    }

    /// The tasks of a service that are not stopping, newest first.
    pub async fn service_tasks(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<Vec<TaskDetail>, AwsError> {
        let filter = TaskFilter::Service(service);
        let arns = self.ecs().task_arns(cluster.as_str(), filter).await?;
        let mut tasks = self.ecs().task_details(cluster.as_str(), &arns).await?;
        // Some emulators ignore the filter.
        tasks.retain(|task| task.task.service_name.as_deref() == Some(service));
        tasks.sort_by(|a, b| {
            let key = |task: &TaskDetail| (task.task.started_at, task.task.task_id.clone());
            key(b).cmp(&key(a))
        });
        Ok(tasks)
    }

    /// A task definition by ARN, `family:revision`, or family (its newest active revision).
    pub async fn task_definition(&self, name: &str) -> Result<Option<TaskDefinition>, AwsError> {
        self.ecs().task_definition(name).await
    }

    /// Asks ECS to stop a task. It returns at once; the containers have their stop timeout to end.
    pub async fn stop_task(
        &self,
        cluster: &ClusterName,
        task: &str,
        reason: Option<&str>,
    ) -> Result<Task, AwsError> {
        self.ecs().stop_task(cluster.as_str(), task, reason).await
    }

    /// Starts a new deployment of a service as it is. The answer's primary deployment is the new one;
    /// [`ServiceDetail::rollout`] says how far it is.
    pub async fn force_new_deployment(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<ServiceDetail, AwsError> {
        self.ecs()
            .force_new_deployment(cluster.as_str(), service)
            .await
    }

    /// The service a target names, or the options, or the only one of the cluster. Of target and options the target
    /// counts. Services that cannot be found come with those that can.
    pub async fn find_service(
        &self,
        target: Option<&TargetSpec>,
        options: &TargetOptions,
    ) -> Result<(ClusterName, ServiceDetail), TargetError> {
        let arn = target.and_then(|target| match &target.selector {
            Selector::Arn(arn) => Some(arn),
            _ => None,
        });
        if let Some(arn) = arn.filter(|arn| arn.region != self.region()) {
            return Err(TargetError::OtherRegion {
                arn: arn.to_string(),
                region: arn.region.clone(),
                client_region: self.region().to_owned(),
            });
        }
        let cluster = target
            .and_then(|target| target.cluster.as_ref())
            .or_else(|| arn.and_then(|arn| arn.cluster.as_ref()))
            .or(options.cluster.as_ref());
        let cluster = self.current_cluster(cluster).await?;
        let name = match target.map(|target| &target.selector) {
            Some(Selector::Any(name)) => Some(name.as_str()),
            Some(Selector::Service(name)) => Some(name.as_str()),
            Some(Selector::Arn(arn)) if arn.kind == ArnKind::Service => Some(arn.name.as_str()),
            Some(_) => return Err(self.no_service(&cluster, &label(target)).await),
            None => options.service.as_ref().map(|service| service.as_str()),
        };
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.only_service(&cluster).await?,
        };
        let listed = self.service_detail(&cluster, &name).await;
        let found = crate::target::in_cluster(self, &cluster, listed).await?;
        match found {
            Some(service) => Ok((cluster, service)),
            None => Err(self.no_service(&cluster, &name).await),
        }
    }

    async fn only_service(&self, cluster: &ClusterName) -> Result<String, TargetError> {
        let mut names = self.service_names(cluster).await?;
        if names.len() == 1 {
            return Ok(names.remove(0));
        }
        if names.is_empty() {
            return Err(TargetError::NoTask {
                target: "the service".to_owned(),
                cluster: cluster.to_string(),
                detail: Some("the cluster has no services".to_owned()),
            });
        }
        names.truncate(CANDIDATES);
        Err(TargetError::Ambiguous {
            target: "the service".to_owned(),
            cluster: cluster.to_string(),
            candidates: names,
        })
    }

    async fn no_service(&self, cluster: &ClusterName, name: &str) -> TargetError {
        // A caller who may not list gets the plain error.
        let mut candidates = self.service_names(cluster).await.unwrap_or_default();
        let suggestions = near(name, candidates.iter().map(String::as_str));
        candidates.truncate(CANDIDATES);
        TargetError::NotFound {
            target: format!("service {name}"),
            cluster: cluster.to_string(),
            kind: "service",
            suggestions,
            candidates,
        }
    }

    async fn service_names(&self, cluster: &ClusterName) -> Result<Vec<String>, TargetError> {
        let listed = self.ecs().service_arns(cluster.as_str()).await;
        let arns = crate::target::in_cluster(self, cluster, listed).await?;
        let mut names: Vec<String> = arns.iter().map(|arn| last_part(arn).to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

fn label(target: Option<&TargetSpec>) -> String {
    target.map(ToString::to_string).unwrap_or_default()
}

/// More names than this help nobody in an error.
const CANDIDATES: usize = 20;
