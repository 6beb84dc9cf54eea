//! ECS calls. Limits and page sizes are those of the API reference.

mod change;
mod describe;
mod pages;

use std::collections::HashMap;
use std::io;

use aws_sdk_ecs as sdk;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_types::retry::ErrorKind;

pub(crate) use self::pages::{Page, ServiceWithEvents};
use super::config::Settings;
use super::error::AwsError;
use super::timestamp;
use crate::model::{Cluster, Container, ManagedAgent, Service, SessionGrant, Task};
use crate::secret::Secret;

/// The ECS calls bowline makes.
#[derive(Debug)]
pub(crate) struct Ecs {
    client: sdk::Client,
}

/// Which tasks of a cluster to list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TaskFilter<'a> {
    All,
    Service(&'a str),
    Family(&'a str),
}

impl Ecs {
    pub(crate) fn new(settings: &Settings) -> Self {
        let config = sdk::config::Builder::from(&settings.sdk)
            .retry_classifier(NobodyListens)
            .build();
        Self {
            client: sdk::Client::from_conf(config),
        }
    }

    pub(super) fn sdk(&self) -> &sdk::Client {
        &self.client
    }

    pub(crate) async fn cluster_arns(&self) -> Result<Vec<String>, AwsError> {
        let mut pages = self
            .client
            .list_clusters()
            .max_results(100)
            .into_paginator()
            .send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ecs:ListClusters", error))?;
            arns.extend(page.cluster_arns.unwrap_or_default());
        }
        Ok(arns)
    }

    /// Describes clusters in the order asked for; unknown ones are left out.
    pub(crate) async fn clusters(&self, arns: &[String]) -> Result<Vec<Cluster>, AwsError> {
        let mut found = HashMap::new();
        for batch in arns.chunks(CLUSTERS_PER_CALL) {
            let answer = self
                .client
                .describe_clusters()
                .set_clusters(Some(batch.to_vec()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeClusters", error))?;
            for cluster in answer.clusters.unwrap_or_default() {
                let cluster = cluster_from(cluster);
                found.insert(cluster.cluster_arn.clone(), cluster);
            }
        }
        Ok(in_order(arns, found))
    }

    pub(crate) async fn service_arns(&self, cluster: &str) -> Result<Vec<String>, AwsError> {
        let mut pages = self
            .client
            .list_services()
            .cluster(cluster)
            .max_results(100) // the default page is 10
            .into_paginator()
            .send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ecs:ListServices", error))?;
            arns.extend(page.service_arns.unwrap_or_default());
        }
        Ok(arns)
    }

    /// Describes services, named or by ARN; unknown ones are left out.
    pub(crate) async fn services(
        &self,
        cluster: &str,
        services: &[String],
    ) -> Result<Vec<Service>, AwsError> {
        let mut found = Vec::new();
        for batch in services.chunks(SERVICES_PER_CALL) {
            let answer = self
                .client
                .describe_services()
                .cluster(cluster)
                .set_services(Some(batch.to_vec()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeServices", error))?;
            let services = answer.services.unwrap_or_default();
            found.extend(services.into_iter().map(service_from));
        }
        Ok(found)
    }

    pub(crate) async fn task_arns(
        &self,
        cluster: &str,
        filter: TaskFilter<'_>,
    ) -> Result<Vec<String>, AwsError> {
        let request = self.client.list_tasks().cluster(cluster);
        let request = match filter {
            TaskFilter::All => request,
            TaskFilter::Service(name) => request.service_name(name),
            TaskFilter::Family(name) => request.family(name),
        };
        let mut pages = request.into_paginator().send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ecs:ListTasks", error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        Ok(arns)
    }

    /// The first page of a cluster's tasks, and whether there are more.
    pub(crate) async fn first_task_arns(
        &self,
        cluster: &str,
    ) -> Result<(Vec<String>, bool), AwsError> {
        let answer = self
            .client
            .list_tasks()
            .cluster(cluster)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:ListTasks", error))?;
        let more = answer.next_token.is_some();
        Ok((answer.task_arns.unwrap_or_default(), more))
    }

    /// Describes tasks by id or ARN, in the order asked for; unknown ones are left out.
    pub(crate) async fn tasks(
        &self,
        cluster: &str,
        tasks: &[String],
    ) -> Result<Vec<Task>, AwsError> {
        let mut found = HashMap::new();
        for batch in tasks.chunks(TASKS_PER_CALL) {
            let answer = self
                .client
                .describe_tasks()
                .cluster(cluster)
                .set_tasks(Some(batch.to_vec()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeTasks", error))?;
            for task in answer.tasks.unwrap_or_default() {
                let task = task_from(task);
                found.insert(task.task_id.clone(), task);
            }
        }
        let ids: Vec<String> = tasks
            .iter()
            .map(|task| last_part(task).to_owned())
            .collect();
        Ok(in_order(&ids, found))
    }

    /// Describes tasks with their tags, as key and value.
    pub(crate) async fn tagged_tasks(
        &self,
        cluster: &str,
        tasks: &[String],
    ) -> Result<Vec<(Task, Vec<(String, String)>)>, AwsError> {
        let mut found = Vec::new();
        for batch in tasks.chunks(TASKS_PER_CALL) {
            let answer = self
                .client
                .describe_tasks()
                .cluster(cluster)
                .set_tasks(Some(batch.to_vec()))
                .include(sdk::types::TaskField::Tags)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeTasks", error))?;
            for mut task in answer.tasks.unwrap_or_default() {
                let tags = task.tags.take().unwrap_or_default().into_iter();
                let tags =
                    tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
                let tags = tags.collect();
                found.push((task_from(task), tags));
            }
        }
        Ok(found)
    }

    /// The names of the essential containers of a task definition, in its order.
    pub(crate) async fn essential_containers(
        &self,
        task_definition: &str,
    ) -> Result<Vec<String>, AwsError> {
        let answer = self
            .client
            .describe_task_definition()
            .task_definition(task_definition)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeTaskDefinition", error))?;
        let containers = answer
            .task_definition
            .and_then(|definition| definition.container_definitions)
            .unwrap_or_default();
        Ok(containers
            .into_iter()
            // Absent means essential, by the API reference.
            .filter(|container| container.essential != Some(false))
            .filter_map(|container| container.name)
            .collect())
    }

    /// Starts an exec session.
    ///
    /// Every call makes a session that counts against the container's limit, so only an answer that says
    /// "throttled" is followed by another attempt; a time-out is not.
    pub(crate) async fn execute_command(
        &self,
        cluster: &str,
        task: &str,
        container: &str,
        command: &str,
    ) -> Result<SessionGrant, AwsError> {
        let only_throttling = sdk::config::Builder::new().retry_classifier(OnlyThrottling);
        let answer = self
            .client
            .execute_command()
            .cluster(cluster)
            .task(task)
            .container(container)
            .command(command)
            .interactive(true) // the only value ECS accepts
            .customize()
            .config_override(only_throttling)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:ExecuteCommand", error))?;
        let missing = |member| AwsError::missing("ecs:ExecuteCommand", member);
        let session = answer.session.ok_or_else(|| missing("session"))?;
        Ok(SessionGrant {
            session_id: session.session_id.ok_or_else(|| missing("session id"))?,
            stream_url: session.stream_url.ok_or_else(|| missing("stream URL"))?,
            token: session
                .token_value
                .map(Secret::new)
                .ok_or_else(|| missing("session token"))?,
        })
    }
}

/// The last part of an ARN or path; a plain id is its own last part.
pub(crate) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Forbids repeating a request that nothing listens for: on loopback the server is simply not there, and
/// elsewhere a refused connection is a firewall's or a typing error's answer, not a passing condition.
#[derive(Debug)]
pub(super) struct NobodyListens;

impl ClassifyRetry for NobodyListens {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = context
            .output_or_error()
            .and_then(Result::err)
            .and_then(|error| error.as_connector_error());
        match failed {
            Some(error) if is_refused(error) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "nobody listens"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// Allows another attempt only when the service said that it did nothing because of its rate limit.
#[derive(Debug)]
pub(super) struct OnlyThrottling;

impl ClassifyRetry for OnlyThrottling {
    fn classify_retry(&self, _context: &InterceptorContext) -> RetryAction {
        RetryAction::RetryForbidden
    }

    fn classify_retry_v2(&self, _: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        match previous {
            RetryAction::RetryIndicated(RetryReason::RetryableError {
                kind: ErrorKind::ThrottlingError,
                ..
            }) => previous.clone(),
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "only throttling"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn in_order<T>(keys: &[String], mut found: HashMap<String, T>) -> Vec<T> {
    keys.iter().filter_map(|key| found.remove(key)).collect()
}

fn cluster_from(cluster: sdk::types::Cluster) -> Cluster {
    Cluster {
        cluster_name: cluster.cluster_name.unwrap_or_default(),
        cluster_arn: cluster.cluster_arn.unwrap_or_default(),
        status: cluster.status,
        running_tasks_count: cluster.running_tasks_count,
        pending_tasks_count: cluster.pending_tasks_count,
        active_services_count: cluster.active_services_count,
        registered_container_instances_count: cluster.registered_container_instances_count,
    }
}

fn service_from(service: sdk::types::Service) -> Service {
    let primary = service
        .deployments
        .unwrap_or_default()
        .into_iter()
        .find(|deployment| deployment.status.as_deref() == Some("PRIMARY"));
    let newest_event = service.events.unwrap_or_default().into_iter().next();
    Service {
        service_name: service.service_name.unwrap_or_default(),
        service_arn: service.service_arn.unwrap_or_default(),
        cluster_arn: service.cluster_arn.unwrap_or_default(),
        status: service.status,
        desired_count: service.desired_count,
        running_count: service.running_count,
        pending_count: service.pending_count,
        launch_type: service.launch_type.map(|kind| kind.as_str().to_owned()),
        task_definition: service.task_definition,
        enable_execute_command: service.enable_execute_command,
        rollout_state: primary
            .and_then(|deployment| deployment.rollout_state)
            .map(|state| state.as_str().to_owned()),
        created_at: timestamp(service.created_at),
        last_event: newest_event.and_then(|event| event.message),
    }
}

pub(super) fn task_from(task: sdk::types::Task) -> Task {
    let task_arn = task.task_arn.unwrap_or_default();
    let service_name = task
        .group
        .as_deref()
        .and_then(|group| group.strip_prefix("service:"))
        .map(str::to_owned);
    let containers = task.containers.unwrap_or_default();
    Task {
        task_id: last_part(&task_arn).to_owned(),
        task_arn,
        cluster_arn: task.cluster_arn.unwrap_or_default(),
        service_name,
        group: task.group,
        task_definition_arn: task.task_definition_arn,
        last_status: task.last_status,
        desired_status: task.desired_status,
        health_status: task.health_status.map(|health| health.as_str().to_owned()),
        launch_type: task.launch_type.map(|kind| kind.as_str().to_owned()),
        enable_execute_command: task.enable_execute_command,
        created_at: timestamp(task.created_at),
        started_at: timestamp(task.started_at),
        stopped_at: timestamp(task.stopped_at),
        execution_stopped_at: timestamp(task.execution_stopped_at),
        pull_started_at: timestamp(task.pull_started_at),
        pull_stopped_at: timestamp(task.pull_stopped_at),
        version: task.version,
        stop_code: task.stop_code.map(|code| code.as_str().to_owned()),
        stopped_reason: task.stopped_reason,
        started_by: task.started_by,
        availability_zone: task.availability_zone,
        containers: containers.into_iter().map(container_from).collect(),
    }
}

fn container_from(container: sdk::types::Container) -> Container {
    let address = container
        .network_interfaces
        .unwrap_or_default()
        .into_iter()
        .find_map(|interface| interface.private_ipv4_address);
    let agents = container.managed_agents.unwrap_or_default();
    Container {
        name: container.name.unwrap_or_default(),
        container_arn: container.container_arn,
        image: container.image,
        runtime_id: container.runtime_id,
        last_status: container.last_status,
        health_status: container
            .health_status
            .map(|health| health.as_str().to_owned()),
        exit_code: container.exit_code.map(i64::from),
        reason: container.reason,
        private_ipv4_address: address,
        managed_agents: agents.into_iter().map(agent_from).collect(),
    }
}

fn agent_from(agent: sdk::types::ManagedAgent) -> ManagedAgent {
    ManagedAgent {
        name: agent
            .name
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default(),
        last_status: agent.last_status,
        reason: agent.reason,
        last_started_at: timestamp(agent.last_started_at),
    }
}

const CLUSTERS_PER_CALL: usize = 100;
const SERVICES_PER_CALL: usize = 10;
const TASKS_PER_CALL: usize = 100;
