//! The task and its service.

use super::Looked;
use crate::aws::call::text;
use crate::aws::ecs::last_part;
use crate::doctor::facts::Facts;
use crate::doctor::fix;
use crate::doctor::{Check, Severity};

pub(super) fn running(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new("task-running", 5, "lastStatus in ecs:DescribeTasks");
    let task = facts.task_id();
    let status = text(&facts.task, "lastStatus").unwrap_or("in an unknown state");
    if text(&facts.task, "desiredStatus") == Some("STOPPED") || status == "STOPPED" {
        let what = format!("task {task} has stopped or is stopping");
        return LOOK.problem(Severity::Blocks, what, "choose another task", Vec::new());
    }
    match status {
        "RUNNING" => LOOK.ok("the task runs"),
        other => LOOK.problem(
            Severity::Blocks,
            format!("task {task} is {other}, and only a RUNNING one can be entered"),
            "wait until it runs; if it does not, its service's events say why",
            Vec::new(),
        ),
    }
}

pub(super) fn enabled(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "exec-enabled",
        1,
        "enableExecuteCommand in ecs:DescribeTasks and ecs:DescribeServices",
    );
    if facts.is_enabled() {
        return LOOK.ok("the task was started with ECS Exec");
    }
    let service = match &facts.service {
        Ok(service) => service.as_ref(),
        Err(_) => None,
    };
    let Some(service) = service else {
        return LOOK.problem(
            Severity::Blocks,
            "the task was started without ECS Exec",
            "a running task cannot be changed: run it again with enableExecuteCommand",
            Vec::new(),
        );
    };
    let name = text(service, "serviceName").unwrap_or_default();
    if service["enableExecuteCommand"] == true {
        return LOOK.problem(
            Severity::Blocks,
            format!(
                "the task was started without ECS Exec; service {name} has it now, for newer tasks only"
            ),
            format!("replace the tasks of service {name} by a new deployment"),
            fix::redeploy(facts),
        );
    }
    LOOK.problem(
        Severity::Blocks,
        format!("the task was started without ECS Exec, and service {name} does not have it"),
        format!("turn ECS Exec on for service {name} and replace its tasks by a new deployment"),
        fix::enable(facts),
    )
}

/// What is found in the definition is about the task's own; there is nothing to say where the service deploys the same.
pub(super) fn definition(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "task-definition",
        50,
        "taskDefinition in ecs:DescribeServices, taskDefinitionArn in ecs:DescribeTasks",
    );
    let Some(newer) = facts.newer_definition() else {
        return Vec::new();
    };
    let own = text(&facts.task, "taskDefinitionArn").unwrap_or_default();
    let (own, newer) = (last_part(own), last_part(newer));
    LOOK.problem(
        Severity::Note,
        format!(
            "the task has the definition {own}, and its service deploys {newer}, which is not looked at"
        ),
        format!("look again once tasks of {newer} run"),
        Vec::new(),
    )
}

pub(super) fn platform(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "platform-version",
        2,
        "platformVersion in ecs:DescribeTasks",
    );
    let Some(version) = text(&facts.task, "platformVersion") else {
        return Vec::new();
    };
    let least: &[u32] = if facts.is_windows() {
        &[1, 0, 0]
    } else {
        &[1, 4, 0]
    };
    match numbers(version) {
        Some(numbers) if numbers.as_slice() >= least => {
            LOOK.ok(format!("platform version {version} has ECS Exec"))
        }
        Some(_) => {
            let least: Vec<String> = least.iter().map(ToString::to_string).collect();
            LOOK.problem(
                Severity::Blocks,
                format!(
                    "the task runs on Fargate's platform version {version}; ECS Exec needs {}",
                    least.join(".")
                ),
                "deploy the service on platform version LATEST",
                fix::newest_platform(facts),
            )
        }
        None => Vec::new(),
    }
}

/// The first ECS agent with ECS Exec, on Linux and on Windows.
const LINUX_AGENT: [u32; 3] = [1, 50, 2];
const WINDOWS_AGENT: [u32; 3] = [1, 56, 0];

pub(super) fn ecs_agent(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "ecs-agent",
        2,
        "versionInfo in ecs:DescribeContainerInstances",
    );
    let instance = match &facts.instance {
        Ok(None) => return Vec::new(),
        Ok(Some(instance)) => instance,
        Err(why) => return LOOK.unknown("the version of the instance's ECS agent", why),
    };
    let version = text(&instance["versionInfo"], "agentVersion").unwrap_or_default();
    let least = match facts.is_windows() {
        true => WINDOWS_AGENT,
        false => LINUX_AGENT,
    };
    match numbers(version) {
        Some(numbers) if numbers.as_slice() >= least.as_slice() => {
            LOOK.ok(format!("ECS agent {version} on the instance has ECS Exec"))
        }
        Some(_) => {
            let name =
                last_part(text(instance, "containerInstanceArn").unwrap_or_default()).to_owned();
            let [a, b, c] = least;
            LOOK.problem(
                Severity::Blocks,
                format!(
                    "the ECS agent {version} of instance {name} is too old; ECS Exec needs {a}.{b}.{c}"
                ),
                "update the agent, then replace the task",
                fix::update_agent(facts, &name),
            )
        }
        None => Vec::new(),
    }
}

/// What sessions are logged to and encrypted with; it is no problem in itself.
pub(super) fn configuration(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "cluster-configuration",
        60,
        "executeCommandConfiguration in ecs:DescribeClusters",
    );
    let exec = match &facts.configuration {
        Ok(exec) => exec,
        Err(why) => return LOOK.unknown("how the cluster logs and encrypts sessions", why),
    };
    let logging = match text(exec, "logging") {
        Some("OVERRIDE") => "sessions are logged where the cluster says",
        Some("DEFAULT") => "sessions are logged with the container's own log",
        _ => "sessions are not logged",
    };
    LOOK.ok(match text(exec, "kmsKeyId") {
        Some(key) => format!("{logging}, and encrypted with the key {key}"),
        None => logging.to_owned(),
    })
}

/// `1.4.0` as numbers; a `v` in front plays no part.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let parts = version.trim_start_matches('v').split('.');
    parts.map(|part| part.parse().ok()).collect()
}
