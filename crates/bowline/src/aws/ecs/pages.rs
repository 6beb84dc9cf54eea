//! Single pages of ECS, for whoever keeps the pace: one method, one request, never repeated by the SDK.

use aws_sdk_ecs as sdk;
use aws_smithy_types::retry::RetryConfig;

use super::{Ecs, cluster_from, service_from, task_from};
use crate::aws::error::AwsError;
use crate::model::{Cluster, Service, Task};

/// One page of ARNs and where the next one begins.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) arns: Vec<String>,
    pub(crate) next: Option<String>,
}

/// A service and the messages of its newest events, newest first.
#[derive(Debug)]
pub(crate) struct ServiceWithEvents {
    pub(crate) service: Service,
    pub(crate) events: Vec<String>,
}

impl Ecs {
    pub(crate) async fn clusters_page(&self, after: Option<String>) -> Result<Page, AwsError> {
        let answer = self
            .client
            .list_clusters()
            .max_results(LIST_PAGE)
            .set_next_token(after)
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:ListClusters", error))?;
        Ok(page(answer.cluster_arns, answer.next_token))
    }

    pub(crate) async fn services_page(
        &self,
        cluster: &str,
        after: Option<String>,
    ) -> Result<Page, AwsError> {
        let answer = self
            .client
            .list_services()
            .cluster(cluster)
            .max_results(LIST_PAGE)
            .set_next_token(after)
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:ListServices", error))?;
        Ok(page(answer.service_arns, answer.next_token))
    }

    /// Tasks that are not stopping.
    pub(crate) async fn tasks_page(
        &self,
        cluster: &str,
        after: Option<String>,
    ) -> Result<Page, AwsError> {
        let answer = self
            .client
            .list_tasks()
            .cluster(cluster)
            .max_results(LIST_PAGE)
            .set_next_token(after)
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:ListTasks", error))?;
        Ok(page(answer.task_arns, answer.next_token))
    }

    /// At most 100 clusters.
    pub(crate) async fn describe_clusters_once(
        &self,
        arns: Vec<String>,
    ) -> Result<Vec<Cluster>, AwsError> {
        let answer = self
            .client
            .describe_clusters()
            .set_clusters(Some(arns))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeClusters", error))?;
        let found = answer.clusters.unwrap_or_default().into_iter();
        Ok(found.map(cluster_from).collect())
    }

    /// At most 10 services.
    pub(crate) async fn describe_services_once(
        &self,
        cluster: &str,
        names: Vec<String>,
    ) -> Result<Vec<ServiceWithEvents>, AwsError> {
        let answer = self
            .client
            .describe_services()
            .cluster(cluster)
            .set_services(Some(names))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeServices", error))?;
        let found = answer.services.unwrap_or_default().into_iter();
        Ok(found.map(with_events).collect())
    }

    /// At most 100 tasks.
    pub(crate) async fn describe_tasks_once(
        &self,
        cluster: &str,
        arns: Vec<String>,
    ) -> Result<Vec<Task>, AwsError> {
        let answer = self
            .client
            .describe_tasks()
            .cluster(cluster)
            .set_tasks(Some(arns))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeTasks", error))?;
        let found = answer.tasks.unwrap_or_default().into_iter();
        Ok(found.map(task_from).collect())
    }
}

fn once() -> sdk::config::Builder {
    sdk::config::Builder::new().retry_config(RetryConfig::disabled())
}

fn page(arns: Option<Vec<String>>, next: Option<String>) -> Page {
    Page {
        arns: arns.unwrap_or_default(),
        next,
    }
}

fn with_events(mut service: sdk::types::Service) -> ServiceWithEvents {
    let events = service.events.take().unwrap_or_default().into_iter();
    let events: Vec<String> = events
        .filter_map(|event| event.message)
        .take(EVENTS_KEPT)
        .collect();
    ServiceWithEvents {
        service: service_from(service),
        events,
    }
}

/// The most that every listing of ECS gives at once; the default of ListServices is 10.
const LIST_PAGE: i32 = 100;
/// ECS gives a hundred.
const EVENTS_KEPT: usize = 3;
