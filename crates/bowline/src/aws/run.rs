//! ECS calls for running one-off tasks and for finding what they log.

use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types as t;
use aws_smithy_runtime_api::client::result::SdkError;

use super::ecs::{Ecs, task_from};
use super::error::AwsError;
use crate::model::Task;
use crate::run::{
    AwsvpcConfiguration, ContainerDefinition, ContainerOverride, LogConfiguration,
    NetworkConfiguration, Overrides, PlacementFailure, RunRequest, ServiceSettings, StrategyItem,
    TaskDefinition,
};

/// What RunTask answered.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) tasks: Vec<Task>,
    pub(crate) failures: Vec<PlacementFailure>,
}

/// Where ECS Exec sessions are logged.
#[derive(Debug, Default)]
pub(crate) struct ExecLogging {
    /// NONE, DEFAULT or OVERRIDE; absent means DEFAULT.
    pub(crate) mode: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) bucket: Option<String>,
}

/// How RunTask can fail.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The client token was used before for another request, which started these tasks.
    Conflict(Vec<String>, AwsError),
    Aws(AwsError),
}

impl Ecs {
    /// Starts tasks. The client token makes every attempt the same, so attempts are repeated after time-outs too.
    pub(crate) async fn run_task(&self, request: &RunRequest) -> Result<Launched, LaunchError> {
        let network = request.network_configuration.as_ref().map(network_to);
        let overrides = (!request.overrides.is_empty()).then(|| overrides_to(&request.overrides));
        let strategy: Vec<_> = request
            .capacity_provider_strategy
            .iter()
            .map(strategy_to)
            .collect();
        let tags: Vec<_> = request
            .tags
            .iter()
            .map(|tag| t::Tag::builder().key(&tag.key).value(&tag.value).build())
            .collect();
        let answer = self
            .sdk()
            .run_task()
            .cluster(&request.cluster)
            .task_definition(&request.task_definition)
            .count(i32::try_from(request.count).unwrap_or(i32::MAX))
            .set_launch_type(request.launch_type.as_deref().map(t::LaunchType::from))
            .set_capacity_provider_strategy((!strategy.is_empty()).then_some(strategy))
            .set_platform_version(request.platform_version.clone())
            .set_network_configuration(network)
            .set_overrides(overrides)
            .enable_execute_command(request.enable_execute_command)
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_started_by(request.started_by.clone())
            .client_token(&request.client_token)
            .send()
            .await;
        let answer = answer.map_err(launch_error)?;
        let failures = answer.failures.unwrap_or_default();
        Ok(Launched {
            tasks: answer
                .tasks
                .unwrap_or_default()
                .into_iter()
                .map(task_from)
                .collect(),
            failures: failures.into_iter().map(failure_from).collect(),
        })
    }

    /// A task definition by family, `family:revision` or ARN.
    pub(crate) async fn definition(&self, name: &str) -> Result<TaskDefinition, AwsError> {
        let answer = self
            .sdk()
            .describe_task_definition()
            .task_definition(name)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeTaskDefinition", error))?;
        let found = answer
            .task_definition
            .ok_or_else(|| AwsError::missing("ecs:DescribeTaskDefinition", "taskDefinition"))?;
        Ok(definition_from(found))
    }

    /// How services run their tasks; unknown services are left out.
    pub(crate) async fn service_settings(
        &self,
        cluster: &str,
        services: &[String],
    ) -> Result<Vec<ServiceSettings>, AwsError> {
        let mut found = Vec::new();
        // The most that one call may ask for.
        for batch in services.chunks(10) {
            let answer = self
                .sdk()
                .describe_services()
                .cluster(cluster)
                .set_services(Some(batch.to_vec()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeServices", error))?;
            let services = answer.services.unwrap_or_default();
            let active = |service: &t::Service| service.status.as_deref() != Some("INACTIVE");
            found.extend(services.into_iter().filter(active).map(settings_from));
        }
        Ok(found)
    }

    /// Whether a cluster has a default capacity provider strategy.
    pub(crate) async fn has_default_strategy(&self, cluster: &str) -> Result<bool, AwsError> {
        let answer = self
            .sdk()
            .describe_clusters()
            .clusters(cluster)
            .send()
            .await;
        let answer = answer.map_err(|error| AwsError::from_sdk("ecs:DescribeClusters", error))?;
        let clusters = answer.clusters.unwrap_or_default();
        Ok(clusters
            .iter()
            .any(|cluster| !cluster.default_capacity_provider_strategy().is_empty()))
    }

    /// Where a cluster has ECS Exec sessions logged.
    pub(crate) async fn exec_logging(&self, cluster: &str) -> Result<ExecLogging, AwsError> {
        let answer = self
            .sdk()
            .describe_clusters()
            .clusters(cluster)
            .include(t::ClusterField::Configurations)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeClusters", error))?;
        let clusters = answer.clusters.unwrap_or_default().into_iter();
        let exec = clusters
            .filter_map(|cluster| cluster.configuration?.execute_command_configuration)
            .next();
        let Some(exec) = exec else {
            return Ok(ExecLogging::default());
        };
        let logs = exec.log_configuration;
        Ok(ExecLogging {
            mode: exec.logging.map(|mode| mode.as_str().to_owned()),
            group: logs
                .as_ref()
                .and_then(|logs| logs.cloud_watch_log_group_name.clone()),
            bucket: logs.and_then(|logs| logs.s3_bucket_name),
        })
    }

    /// Tasks that have stopped, as far as ECS remembers them (an hour or so).
    pub(crate) async fn stopped_task_arns(
        &self,
        cluster: &str,
        service: Option<&str>,
        family: Option<&str>,
    ) -> Result<Vec<String>, AwsError> {
        let mut pages = self
            .sdk()
            .list_tasks()
            .cluster(cluster)
            .set_service_name(service.map(str::to_owned))
            .set_family(family.map(str::to_owned))
            .desired_status(t::DesiredStatus::Stopped)
            .into_paginator()
            .send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ecs:ListTasks", error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        Ok(arns)
    }
}

fn launch_error(
    error: SdkError<RunTaskError, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
) -> LaunchError {
    let tasks = match error.as_service_error() {
        Some(RunTaskError::ConflictException(conflict)) => {
            Some(conflict.resource_ids.clone().unwrap_or_default())
        }
        _ => None,
    };
    let error = AwsError::from_sdk("ecs:RunTask", error);
    match tasks {
        Some(tasks) => LaunchError::Conflict(tasks, error),
        None => LaunchError::Aws(error),
    }
}

fn network_to(network: &NetworkConfiguration) -> t::NetworkConfiguration {
    let network = &network.awsvpc_configuration;
    let groups = &network.security_groups;
    let public_ip = network.assign_public_ip.as_deref();
    let vpc = t::AwsVpcConfiguration::builder()
        .set_subnets(Some(network.subnets.clone()))
        .set_security_groups((!groups.is_empty()).then(|| groups.clone()))
        .set_assign_public_ip(public_ip.map(t::AssignPublicIp::from))
        .build();
    // Subnets are the only member that it insists on, and they are set.
    t::NetworkConfiguration::builder()
        .set_awsvpc_configuration(vpc.ok())
        .build()
}

fn strategy_to(item: &StrategyItem) -> t::CapacityProviderStrategyItem {
    t::CapacityProviderStrategyItem::builder()
        .capacity_provider(&item.capacity_provider)
        .weight(item.weight)
        .base(item.base)
        .build()
        .expect("the provider is set")
}

fn overrides_to(overrides: &Overrides) -> t::TaskOverride {
    let containers: Vec<_> = overrides
        .container_overrides
        .iter()
        .map(container_to)
        .collect();
    let storage = overrides.ephemeral_storage.as_ref().map(|storage| {
        t::EphemeralStorage::builder()
            .size_in_gib(storage.size_in_gi_b)
            .build()
    });
    t::TaskOverride::builder()
        .set_container_overrides((!containers.is_empty()).then_some(containers))
        .set_cpu(overrides.cpu.clone())
        .set_memory(overrides.memory.clone())
        .set_task_role_arn(overrides.task_role_arn.clone())
        .set_execution_role_arn(overrides.execution_role_arn.clone())
        .set_ephemeral_storage(storage)
        .build()
}

fn container_to(container: &ContainerOverride) -> t::ContainerOverride {
    let variables = container.environment.iter().map(|variable| {
        t::KeyValuePair::builder()
            .name(&variable.name)
            .value(&variable.value)
            .build()
    });
    let files = container.environment_files.iter().filter_map(|file| {
        t::EnvironmentFile::builder()
            .value(&file.value)
            .r#type(t::EnvironmentFileType::from(file.kind.as_str()))
            .build()
            .ok()
    });
    let needs = container.resource_requirements.iter().filter_map(|need| {
        t::ResourceRequirement::builder()
            .value(&need.value)
            .r#type(t::ResourceType::from(need.kind.as_str()))
            .build()
            .ok()
    });
    let some = |empty: bool| !empty;
    t::ContainerOverride::builder()
        .name(&container.name)
        .set_command(container.command.clone())
        .set_environment(some(container.environment.is_empty()).then(|| variables.collect()))
        .set_environment_files(
            some(container.environment_files.is_empty()).then(|| files.collect()),
        )
        .set_cpu(container.cpu)
        .set_memory(container.memory)
        .set_memory_reservation(container.memory_reservation)
        .set_resource_requirements(
            some(container.resource_requirements.is_empty()).then(|| needs.collect()),
        )
        .build()
}

fn failure_from(failure: t::Failure) -> PlacementFailure {
    PlacementFailure {
        arn: failure.arn,
        reason: failure
            .reason
            .unwrap_or_else(|| "no reason was given".to_owned()),
        detail: failure.detail,
    }
}

fn settings_from(service: t::Service) -> ServiceSettings {
    let strategy = service.capacity_provider_strategy.unwrap_or_default();
    let network = service
        .network_configuration
        .and_then(|network| network.awsvpc_configuration);
    ServiceSettings {
        name: service.service_name.unwrap_or_default(),
        task_definition: service.task_definition.unwrap_or_default(),
        // Servers may answer both; RunTask refuses that.
        launch_type: service
            .launch_type
            .filter(|_| strategy.is_empty())
            .map(|kind| kind.as_str().to_owned()),
        strategy: strategy
            .into_iter()
            .map(|item| StrategyItem {
                capacity_provider: item.capacity_provider,
                weight: item.weight,
                base: item.base,
            })
            .collect(),
        platform_version: service.platform_version,
        network: network.map(|network| NetworkConfiguration {
            awsvpc_configuration: AwsvpcConfiguration {
                subnets: network.subnets,
                security_groups: network.security_groups.unwrap_or_default(),
                assign_public_ip: network.assign_public_ip.map(|ip| ip.as_str().to_owned()),
            },
        }),
        enable_execute_command: service.enable_execute_command,
    }
}

fn definition_from(definition: t::TaskDefinition) -> TaskDefinition {
    let containers = definition.container_definitions.unwrap_or_default();
    TaskDefinition {
        task_definition_arn: definition.task_definition_arn.unwrap_or_default(),
        family: definition.family.unwrap_or_default(),
        revision: definition.revision,
        network_mode: definition.network_mode.map(|mode| mode.as_str().to_owned()),
        requires_compatibilities: definition
            .requires_compatibilities
            .unwrap_or_default()
            .into_iter()
            .map(|kind| kind.as_str().to_owned())
            .collect(),
        task_role_arn: definition.task_role_arn,
        container_definitions: containers.into_iter().map(container_from).collect(),
    }
}

fn container_from(container: t::ContainerDefinition) -> ContainerDefinition {
    ContainerDefinition {
        name: container.name.unwrap_or_default(),
        essential: container.essential != Some(false),
        entry_point: container.entry_point.unwrap_or_default(),
        log_configuration: container.log_configuration.map(|logging| LogConfiguration {
            log_driver: logging.log_driver.as_str().to_owned(),
            options: logging.options.unwrap_or_default().into_iter().collect(),
        }),
    }
}
