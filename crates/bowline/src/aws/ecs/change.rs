//! Calls that change something.

use aws_sdk_ecs::config::Builder;

use super::super::error::AwsError;
use super::describe::service_detail_from;
use super::{Ecs, OnlyThrottling, task_from};
use crate::model::{ServiceDetail, Task};

impl Ecs {
    /// Asks ECS to stop a task: SIGTERM, a period of grace, SIGKILL. Asking again changes nothing, so it is repeated
    /// like any reading call.
    pub(crate) async fn stop_task(
        &self,
        cluster: &str,
        task: &str,
        reason: Option<&str>,
    ) -> Result<Task, AwsError> {
        let answer = self
            .client
            .stop_task()
            .cluster(cluster)
            .task(task)
            .set_reason(reason.map(str::to_owned))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:StopTask", error))?;
        let task = answer.task.map(task_from);
        task.ok_or_else(|| AwsError::missing("ecs:StopTask", "task"))
    }

    /// Starts a new deployment of a service with what it has. Each call makes one, so only an answer that says
    /// "throttled" is followed by another attempt.
    pub(crate) async fn force_new_deployment(
        &self,
        cluster: &str,
        service: &str,
    ) -> Result<ServiceDetail, AwsError> {
        let answer = self
            .client
            .update_service()
            .cluster(cluster)
            .service(service)
            .force_new_deployment(true)
            .customize()
            .config_override(Builder::new().retry_classifier(OnlyThrottling))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ecs:UpdateService", error))?;
        let service = answer.service.map(service_detail_from);
        service.ok_or_else(|| AwsError::missing("ecs:UpdateService", "service"))
    }
}
