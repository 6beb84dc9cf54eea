//! Control calls that make something go wrong.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ecs, seconds};
use crate::api::{ApiError, Call};
use crate::logs::LogDelay;
use crate::mishaps::{CallError, Placement, StartFailure};
use crate::state::task::{ContainerStatus, Stop};

/// What a container that was killed for want of memory shows.
const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";

#[derive(Deserialize)]
struct FailNext {
    operation: String,
    code: String,
    message: Option<String>,
    count: Option<u64>,
    status: Option<u16>,
}

pub(super) fn fail_next(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: FailNext = call.input()?;
    let status = match input.status {
        None => None,
        Some(status) => {
            let status = StatusCode::from_u16(status).ok();
            let error =
                status.filter(|status| status.is_client_error() || status.is_server_error());
            Some(error.ok_or_else(|| {
                ApiError::invalid_parameter("Status must be that of an error: 400 to 599.")
            })?)
        }
    };
    let error = CallError {
        operation: input.operation,
        code: input.code,
        message: input.message,
        status,
    };
    let count = times(input.count)?;
    call.shared.mishaps.fail_call(error, Some(count));
    Ok(json!({ "count": count }))
}

#[derive(Deserialize)]
struct FailRunTask {
    reason: String,
    detail: Option<String>,
    arn: Option<String>,
    count: Option<u64>,
}

pub(super) fn fail_run_task(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: FailRunTask = call.input()?;
    let placement = Placement {
        detail: input.detail,
        arn: input.arn,
        ..Placement::new(&input.reason)
    };
    let reason = placement.reason.clone();
    call.shared
        .mishaps
        .fail_placement(placement, times(input.count)?);
    Ok(json!({ "reason": reason }))
}

#[derive(Deserialize)]
struct FailStart {
    reason: String,
    container: Option<String>,
    count: Option<u64>,
}

pub(super) fn fail_start(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: FailStart = call.input()?;
    let failure = StartFailure {
        container: input.container,
        ..StartFailure::new(&input.reason)
    };
    let reason = failure.reason.clone();
    call.shared.mishaps.fail_start(failure, times(input.count)?);
    Ok(json!({ "reason": reason }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndTask {
    cluster: Option<String>,
    task: Option<String>,
    stop_code: String,
    reason: Option<String>,
}

pub(super) fn end_task(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: EndTask = call.input()?;
    let known = [
        ("SpotInterruption", "Your Spot Task was interrupted."),
        (
            "TerminationNotice",
            "Host EC2 (instance i-0a1b2c3d4e5f60001) terminated.",
        ),
        (
            "InfrastructureHealth",
            "The infrastructure that the task ran on is unhealthy.",
        ),
        (
            "ServiceSchedulerInitiated",
            "Task failed ELB health checks in (target-group demo)",
        ),
    ];
    let found = known.into_iter().find(|(code, _)| *code == input.stop_code);
    let (code, usual) = found.ok_or_else(|| {
        ApiError::invalid_parameter(
            "stopCode must be SpotInterruption, TerminationNotice, InfrastructureHealth or ServiceSchedulerInitiated.",
        )
    })?;
    let reason = input.reason.unwrap_or_else(|| usual.to_owned());
    call.shared.change(|world| {
        let (cluster, task) = (input.cluster.as_deref(), input.task.as_deref());
        let key = ecs::find_task(world, &call.shared.account, cluster, task)?
            .key
            .clone();
        if let Some(task) = world.task_mut(&key) {
            task.request_stop(Stop {
                code,
                reason: reason.clone(),
            });
        }
        Ok(json!({ "stopCode": code, "stoppedReason": reason }))
    })
}

#[derive(Deserialize)]
struct KillContainer {
    cluster: Option<String>,
    task: Option<String>,
    container: Option<String>,
    reason: Option<String>,
}

pub(super) fn kill_container(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: KillContainer = call.input()?;
    let reason = input.reason.unwrap_or_else(|| OUT_OF_MEMORY.to_owned());
    call.shared.change(|world| {
        let (cluster, task) = (input.cluster.as_deref(), input.task.as_deref());
        let key = ecs::find_task(world, &call.shared.account, cluster, task)?
            .key
            .clone();
        let task = world.task_mut(&key);
        let wanted = |name: &str| input.container.as_ref().is_none_or(|wanted| wanted == name);
        let mut containers = task.into_iter().flat_map(|task| {
            task.version += 1;
            &mut task.containers
        });
        let container = containers.find(|container| wanted(&container.name));
        let running = container.filter(|container| container.status == ContainerStatus::Running);
        let container = running.ok_or_else(|| {
            ApiError::invalid_parameter("The task has no such container that runs.")
        })?;
        container.reason = Some(reason.clone());
        container.killed.cancel();
        Ok(json!({ "container": container.name, "reason": reason }))
    })
}

#[derive(Deserialize)]
struct SetTaskDelay {
    seconds: f64,
}

pub(super) fn set_task_delay(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: SetTaskDelay = call.input()?;
    call.shared.mishaps.delay_tasks(seconds(input.seconds)?);
    Ok(json!({ "seconds": input.seconds }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetLogDelay {
    seconds: Option<f64>,
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

pub(super) fn set_log_delay(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: SetLogDelay = call.input()?;
    let delay = match (input.seconds, input.min_seconds, input.max_seconds) {
        (None, None, None) => LogDelay::default(),
        (Some(both), None, None) => LogDelay {
            least: seconds(both)?,
            most: seconds(both)?,
        },
        (None, Some(least), Some(most)) if least <= most => LogDelay {
            least: seconds(least)?,
            most: seconds(most)?,
        },
        _ => {
            return Err(ApiError::invalid_parameter(
                "Either seconds, or minSeconds and maxSeconds, the latter not smaller.",
            ));
        }
    };
    call.shared.logs.groups().delay = delay;
    Ok(json!({ "minSeconds": delay.least.as_secs_f64(), "maxSeconds": delay.most.as_secs_f64() }))
}

fn times(count: Option<u64>) -> Result<u64, ApiError> {
    let count = count.unwrap_or(1);
    match count {
        0 => Err(ApiError::invalid_parameter("Count must be at least 1.")),
        count => Ok(count),
    }
}
