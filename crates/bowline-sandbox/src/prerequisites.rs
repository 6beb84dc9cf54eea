//! What an exec agent needs to be reached, and what a session needs to go on: judged at each request, so that what is
//! mended works at once.

use serde_json::Value;

use crate::iam::Decision;
use crate::identifiers::Account;
use crate::state::definition::ContainerDefinition;
use crate::state::task::Task;
use crate::state::{Variable, World};

/// What the agent connects with.
const CHANNEL_ACTIONS: [&str; 4] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

/// Variables that the agent takes for its credentials, in place of the task's role.
const CREDENTIALS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
];

/// Whether the agent in a container that runs has a connection to Session Manager.
pub(crate) fn is_connected(world: &World, account: &Account, task: &Task, container: &str) -> bool {
    let Some(definition) = definition(task, container) else {
        return false;
    };
    let overridden = task
        .overrides
        .container_overrides
        .iter()
        .filter(|change| change.name.as_deref() == Some(container))
        .flat_map(|change| &change.environment);
    let mut variables = definition.environment.iter().chain(overridden);
    if is_proxied(&variables, account) {
        return false;
    }
    let Some(role) = role(task) else {
        return false;
    };
    // Roles of definitions that somebody registered need not have been made here.
    let known = world.iam.principal(role).is_some();
    variables.all(|variable| !CREDENTIALS.contains(&variable.name.as_str()))
        && CHANNEL_ACTIONS
            .iter()
            .all(|action| !known || world.iam.decide(role, action, "*") == Decision::Allowed)
        && (task.interface.is_none() || world.network.leads_to_session_manager(account))
}

/// Whether the agent goes by a proxy; none leads anywhere here.
fn is_proxied<'v>(
    variables: &(impl Iterator<Item = &'v Variable> + Clone),
    account: &Account,
) -> bool {
    let value = |name: &str| {
        let named = variables.clone().filter(|variable| variable.name == name);
        let value = named.last()?.value.as_str();
        (!value.is_empty()).then_some(value)
    };
    let host = account.channel_host();
    let exempt = |hosts: &str| {
        hosts.split(',').map(str::trim).any(|entry| {
            entry == "*" || entry == host || (entry.starts_with('.') && host.ends_with(entry))
        })
    };
    value("HTTPS_PROXY").is_some() && !value("NO_PROXY").is_some_and(exempt)
}

/// Why an agent stops as soon as it was started, if it does.
pub(crate) fn stops(task: &Task, index: usize) -> Option<&'static str> {
    let outline = &task.definition.outline;
    if outline.container_definitions[index].readonly_root_filesystem {
        return Some("ExecuteCommandAgent process exited with exit code: 255");
    }
    // With one process namespace for the task, the agents see each other and only the first stays.
    (outline.pid_mode.as_deref() == Some("task") && index > 0)
        .then_some("ExecuteCommandAgent process exited with exit code: 1")
}

/// What the agent says when the cluster wants a session encrypted or logged and it cannot do so.
pub(crate) fn refusal(world: &World, task: &Task) -> Option<String> {
    let configuration = world
        .clusters
        .get(&task.key.cluster)?
        .configuration
        .as_ref()?;
    let exec = configuration.get("executeCommandConfiguration")?;
    let role = role(task)?;
    world.iam.principal(role)?;
    let denied = |action: &str, resource: &str| {
        let allowed = world.iam.decide(role, action, resource) == Decision::Allowed;
        (!allowed).then(|| {
            format!(
                "AccessDeniedException: User: {} is not authorized to perform: {action}",
                role.replace(":iam:", ":sts:")
                    .replace(":role/", ":assumed-role/")
            )
        })
    };
    let key = exec.get("kmsKeyId").and_then(Value::as_str);
    if let Some(text) = key.and_then(|key| denied("kms:Decrypt", key)) {
        return Some(text);
    }
    match exec.get("logging").and_then(Value::as_str) {
        Some("DEFAULT" | "OVERRIDE") => ["logs:CreateLogStream", "logs:PutLogEvents"]
            .into_iter()
            .find_map(|action| denied(action, "*")),
        _ => None,
    }
}

fn definition<'t>(task: &'t Task, container: &str) -> Option<&'t ContainerDefinition> {
    let outline = &task.definition.outline;
    Some(&outline.container_definitions[outline.container(container)?])
}

/// The role that the task's programs and its agents have.
pub(crate) fn role(task: &Task) -> Option<&str> {
    let overridden = task.overrides.task_role_arn.as_deref();
    overridden.or(task.definition.outline.task_role_arn.as_deref())
}
