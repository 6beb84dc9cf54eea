//! Looking at one thing closely.

use std::collections::BTreeMap;

use aws_sdk_ecs::types as sdk;

use super::super::error::AwsError;
use super::super::timestamp;
use super::{Ecs, TASKS_PER_CALL, cluster_from, service_from, task_from};
use crate::model::{
    ClusterDetail, ContainerDefinition, ContainerOverride, Deployment, EfsVolume,
    EnvironmentVariable, ExecLogging, LogConfiguration, MountPoint, PortMapping, SecretReference,
    ServiceDetail, ServiceEvent, TaskDefinition, TaskDetail, Volume,
};

impl Ecs {
    /// The cluster with its configuration and tags; `None` if there is none of the name.
    pub(crate) async fn cluster_detail(
        &self,
        cluster: &str,
    ) -> Result<Option<ClusterDetail>, AwsError> {
        let answer = self
            .client
            .describe_clusters()
            .clusters(cluster)
            .include(sdk::ClusterField::Configurations)
            .include(sdk::ClusterField::Tags)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeClusters", error))?;
        let found = answer.clusters.unwrap_or_default().into_iter().next();
        Ok(found.map(cluster_detail_from))
    }

    /// The service with deployments, events and tags; `None` if there is none of the name.
    pub(crate) async fn service_detail(
        &self,
        cluster: &str,
        service: &str,
    ) -> Result<Option<ServiceDetail>, AwsError> {
        let answer = self
            .client
            .describe_services()
            .cluster(cluster)
            .services(service)
            .include(sdk::ServiceField::Tags)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeServices", error))?;
        let found = answer.services.unwrap_or_default().into_iter().next();
        Ok(found.map(service_detail_from))
    }

    /// The tasks with overrides and tags; those that ECS does not know are left out.
    pub(crate) async fn task_details(
        &self,
        cluster: &str,
        tasks: &[String],
    ) -> Result<Vec<TaskDetail>, AwsError> {
        let mut found = Vec::new();
        for batch in tasks.chunks(TASKS_PER_CALL) {
            let answer = self
                .client
                .describe_tasks()
                .cluster(cluster)
                .set_tasks(Some(batch.to_vec()))
                .include(sdk::TaskField::Tags)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ecs:DescribeTasks", error))?;
            let tasks = answer.tasks.unwrap_or_default();
            found.extend(tasks.into_iter().map(task_detail_from));
        }
        Ok(found)
    }

    /// A task definition by ARN, `family:revision` or family; `None` if there is none.
    pub(crate) async fn task_definition(
        &self,
        name: &str,
    ) -> Result<Option<TaskDefinition>, AwsError> {
        let answer = self
            .client
            .describe_task_definition()
            .task_definition(name)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:DescribeTaskDefinition", error));
        match answer {
            Ok(answer) => Ok(answer.task_definition.map(definition_from)),
            // "Unable to describe task definition.": ECS has no code of its own for this.
            Err(error) if error.is("ClientException") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn cluster_detail_from(mut cluster: sdk::Cluster) -> ClusterDetail {
    let exec = cluster
        .configuration
        .take()
        .and_then(|configuration| configuration.execute_command_configuration);
    ClusterDetail {
        capacity_providers: cluster.capacity_providers.take().unwrap_or_default(),
        exec_logging: exec.map(exec_logging_from),
        tags: tags_from(cluster.tags.take()),
        cluster: cluster_from(cluster),
    }
}

fn exec_logging_from(exec: sdk::ExecuteCommandConfiguration) -> ExecLogging {
    let (group, bucket) = match exec.log_configuration {
        Some(logs) => (logs.cloud_watch_log_group_name, logs.s3_bucket_name),
        None => (None, None),
    };
    ExecLogging {
        logging: exec.logging.map(|logging| logging.as_str().to_owned()),
        cloud_watch_log_group_name: group,
        s3_bucket_name: bucket,
        kms_key_id: exec.kms_key_id,
    }
}

pub(super) fn service_detail_from(mut service: sdk::Service) -> ServiceDetail {
    let breaker = service
        .deployment_configuration
        .take()
        .and_then(|configuration| configuration.deployment_circuit_breaker);
    let deployments = service.deployments.clone().unwrap_or_default();
    let events = service.events.clone().unwrap_or_default();
    ServiceDetail {
        platform_version: service.platform_version.take(),
        circuit_breaker: breaker.as_ref().is_some_and(|breaker| breaker.enable),
        rollback: breaker.is_some_and(|breaker| breaker.rollback),
        deployments: deployments.into_iter().map(deployment_from).collect(),
        events: events.into_iter().map(event_from).collect(),
        tags: tags_from(service.tags.take()),
        service: service_from(service),
    }
}

fn deployment_from(deployment: sdk::Deployment) -> Deployment {
    Deployment {
        id: deployment.id.unwrap_or_default(),
        status: deployment.status,
        task_definition: deployment.task_definition,
        desired_count: deployment.desired_count,
        running_count: deployment.running_count,
        pending_count: deployment.pending_count,
        failed_tasks: deployment.failed_tasks,
        rollout_state: deployment
            .rollout_state
            .map(|state| state.as_str().to_owned()),
        rollout_state_reason: deployment.rollout_state_reason,
        created_at: timestamp(deployment.created_at),
        updated_at: timestamp(deployment.updated_at),
    }
}

fn event_from(event: sdk::ServiceEvent) -> ServiceEvent {
    ServiceEvent {
        id: event.id.unwrap_or_default(),
        created_at: timestamp(event.created_at),
        message: event.message.unwrap_or_default(),
    }
}

fn task_detail_from(mut task: sdk::Task) -> TaskDetail {
    let overrides = task
        .overrides
        .take()
        .and_then(|overrides| overrides.container_overrides)
        .unwrap_or_default();
    let overrides = overrides.into_iter().map(|change| ContainerOverride {
        name: change.name.unwrap_or_default(),
        command: change.command.unwrap_or_default(),
        environment: variables_from(change.environment),
    });
    TaskDetail {
        capacity_provider_name: task.capacity_provider_name.take(),
        platform_version: task.platform_version.take(),
        stopping_at: timestamp(task.stopping_at),
        // ECS lists every container, also without any change.
        container_overrides: overrides
            .filter(|change| !change.command.is_empty() || !change.environment.is_empty())
            .collect(),
        tags: tags_from(task.tags.take()),
        task: task_from(task),
    }
}

fn definition_from(definition: sdk::TaskDefinition) -> TaskDefinition {
    let containers = definition.container_definitions.unwrap_or_default();
    let volumes = definition.volumes.unwrap_or_default();
    TaskDefinition {
        task_definition_arn: definition.task_definition_arn.unwrap_or_default(),
        family: definition.family.unwrap_or_default(),
        revision: definition.revision,
        status: definition.status.map(|status| status.as_str().to_owned()),
        network_mode: definition.network_mode.map(|mode| mode.as_str().to_owned()),
        cpu: definition.cpu,
        memory: definition.memory,
        task_role_arn: definition.task_role_arn,
        execution_role_arn: definition.execution_role_arn,
        registered_at: timestamp(definition.registered_at),
        container_definitions: containers.into_iter().map(container_from).collect(),
        volumes: volumes.into_iter().map(volume_from).collect(),
    }
}

fn container_from(container: sdk::ContainerDefinition) -> ContainerDefinition {
    let secrets = container.secrets.unwrap_or_default();
    let mut secrets: Vec<_> = secrets
        .into_iter()
        .map(|secret| SecretReference {
            name: secret.name,
            value_from: secret.value_from,
        })
        .collect();
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    let ports = container.port_mappings.unwrap_or_default();
    let mounts = container.mount_points.unwrap_or_default();
    ContainerDefinition {
        name: container.name.unwrap_or_default(),
        image: container.image,
        // Absent means essential, by the API reference.
        essential: container.essential.unwrap_or(true),
        entry_point: container.entry_point.unwrap_or_default(),
        command: container.command.unwrap_or_default(),
        cpu: container.cpu,
        memory: container.memory,
        memory_reservation: container.memory_reservation,
        user: container.user,
        working_directory: container.working_directory,
        readonly_root_filesystem: container.readonly_root_filesystem.unwrap_or_default(),
        environment: variables_from(container.environment),
        secrets,
        port_mappings: ports.into_iter().map(port_from).collect(),
        mount_points: mounts.into_iter().map(mount_from).collect(),
        health_check: container
            .health_check
            .map(|check| check.command)
            .unwrap_or_default(),
        log_configuration: container.log_configuration.map(|logs| LogConfiguration {
            log_driver: logs.log_driver.as_str().to_owned(),
            options: logs.options.unwrap_or_default().into_iter().collect(),
        }),
        docker_labels: container
            .docker_labels
            .unwrap_or_default()
            .into_iter()
            .collect(),
    }
}

fn variables_from(variables: Option<Vec<sdk::KeyValuePair>>) -> Vec<EnvironmentVariable> {
    let variables = variables.unwrap_or_default().into_iter();
    let mut variables: Vec<_> = variables
        .map(|variable| EnvironmentVariable {
            name: variable.name.unwrap_or_default(),
            value: variable.value,
            masked: false,
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

fn port_from(port: sdk::PortMapping) -> PortMapping {
    PortMapping {
        container_port: port.container_port,
        host_port: port.host_port,
        container_port_range: port.container_port_range,
        protocol: port.protocol.map(|protocol| protocol.as_str().to_owned()),
        name: port.name,
    }
}

fn mount_from(mount: sdk::MountPoint) -> MountPoint {
    MountPoint {
        source_volume: mount.source_volume.unwrap_or_default(),
        container_path: mount.container_path.unwrap_or_default(),
        read_only: mount.read_only.unwrap_or_default(),
    }
}

fn volume_from(volume: sdk::Volume) -> Volume {
    let efs = volume.efs_volume_configuration.map(|efs| {
        let (access_point_id, iam) = match efs.authorization_config {
            Some(access) => (access.access_point_id, access.iam),
            None => (None, None),
        };
        EfsVolume {
            file_system_id: efs.file_system_id,
            root_directory: efs.root_directory,
            access_point_id,
            iam: iam == Some(sdk::EfsAuthorizationConfigIam::Enabled),
            transit_encryption: efs.transit_encryption == Some(sdk::EfsTransitEncryption::Enabled),
        }
    });
    Volume {
        name: volume.name.unwrap_or_default(),
        host_path: volume.host.and_then(|host| host.source_path),
        efs,
    }
}

fn tags_from(tags: Option<Vec<sdk::Tag>>) -> BTreeMap<String, String> {
    let tags = tags.unwrap_or_default().into_iter();
    tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect()
}
