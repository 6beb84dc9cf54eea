//! The sandbox's own calls: faults and time, on demand. The crate's documentation lists them.

mod mishaps;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ecs;
use crate::api::{ApiError, Call};
use crate::faults::Faults;
use crate::identifiers::Account;
use crate::landscape::Landscape;
use crate::state::Shared;
use crate::state::task::AgentStatus;

/// What stands before the dot of `X-Amz-Target`.
pub(super) const TARGET: &str = "BowlineSandbox";

/// Runs one operation.
pub(super) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    match call.operation {
        "SetAgentState" => set_agent_state(call),
        "CutSession" => cut_session(call),
        "AdvanceClock" => advance_clock(call),
        "CountActions" => Ok(json!({ "actions": call.shared.actions() })),
        "FailNext" => mishaps::fail_next(call),
        "FailRunTask" => mishaps::fail_run_task(call),
        "FailStart" => mishaps::fail_start(call),
        "EndTask" => mishaps::end_task(call),
        "KillContainer" => mishaps::kill_container(call),
        "SetTaskDelay" => mishaps::set_task_delay(call),
        "SetLogDelay" => mishaps::set_log_delay(call),
        "SetFaults" => set_faults(call),
        "GetFaults" => Ok(call.shared.faults.now().describe()),
        _ => Err(ApiError::unknown_operation()),
    }
}

/// The calls of the caller's own account and region, and of each there is.
pub(super) async fn count_calls(landscape: &Landscape, shared: &Shared) -> Value {
    let worlds = landscape.worlds().await;
    let each: Vec<Value> = worlds
        .iter()
        .map(|world| {
            let (calls, busiest) = world.calls();
            let Account { id, region, .. } = &world.account;
            json!({ "account": id, "region": region, "calls": calls, "busiest": busiest })
        })
        .collect();
    let (calls, busiest) = shared.calls();
    json!({ "calls": calls, "busiest": busiest, "accounts": each })
}

#[derive(Deserialize)]
struct SetAgentState {
    cluster: Option<String>,
    task: Option<String>,
    container: Option<String>,
    status: AgentStatus,
    reason: Option<String>,
}

fn set_agent_state(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: SetAgentState = call.input()?;
    if input.reason.is_some() && input.status != AgentStatus::Stopped {
        return Err(ApiError::invalid_parameter(
            "Only a STOPPED agent has a reason.",
        ));
    }
    let chosen = |name: &str| input.container.as_ref().is_none_or(|wanted| wanted == name);
    let (changed, targets) = call.shared.change(|world| {
        let (cluster, task) = (input.cluster.as_deref(), input.task.as_deref());
        let key = ecs::find_task(world, &call.shared.account, cluster, task)?
            .key
            .clone();
        let (mut changed, mut targets) = (Vec::new(), Vec::new());
        let task = world.task_mut(&key);
        for container in task.into_iter().flat_map(|task| {
            task.version += 1;
            &mut task.containers
        }) {
            let target = container.target(&key);
            let Some(agent) = container.agent.as_mut().filter(|_| chosen(&container.name)) else {
                continue;
            };
            match input.status {
                AgentStatus::Pending => *agent = Default::default(),
                AgentStatus::Running => agent.start(),
                AgentStatus::Stopped => agent.stop(input.reason.as_deref().unwrap_or_default()),
            }
            changed.push(container.name.clone());
            targets.extend(target.filter(|_| input.status != AgentStatus::Running));
        }
        Ok::<_, ApiError>((changed, targets))
    })?;
    if changed.is_empty() {
        return Err(ApiError::invalid_parameter(
            "The task has no such container with an exec agent.",
        ));
    }
    for target in targets {
        call.shared.sessions.end_target(&target);
    }
    Ok(json!({ "containers": changed }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CutSession {
    session_id: String,
}

fn cut_session(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: CutSession = call.input()?;
    if call.shared.sessions.cut(&input.session_id) {
        return Ok(json!({ "sessionId": input.session_id }));
    }
    Err(ApiError::invalid_parameter(
        "No client is connected to this session.",
    ))
}

#[derive(Deserialize)]
struct AdvanceClock {
    seconds: f64,
}

fn advance_clock(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: AdvanceClock = call.input()?;
    let by = seconds(input.seconds)?;
    let clock = &call.shared.clock;
    clock.advance(by);
    Ok(json!({ "seconds": clock.now().as_secs_f64() }))
}

fn seconds(given: f64) -> Result<Duration, ApiError> {
    Duration::try_from_secs_f64(given)
        .map_err(|_| ApiError::invalid_parameter("Seconds must be a number that is not negative."))
}

fn set_faults(call: &Call<'_>) -> Result<Value, ApiError> {
    let members: Map<String, Value> = call.input()?;
    let faults = Faults::from_json(&members)
        .map_err(|error| ApiError::invalid_parameter(error.to_string()))?;
    call.shared.faults.set(faults);
    Ok(call.shared.faults.now().describe())
}
