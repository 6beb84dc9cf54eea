//! Families of a world file as task definitions, in ECS's own words.

use serde_json::{Map, Value, json};

use super::schema::{Container, Family, Logs, Volume};
use super::scope::Scope;
use crate::demo_web;
use crate::identifiers::Account;

/// The document that RegisterTaskDefinition would have been given for one copy of a family.
pub(super) fn document(family: &Family, name: &str, scope: &Scope, account: &Account) -> Value {
    let role = |given: &Option<String>, default: &str| {
        let given = given.as_deref().unwrap_or(default);
        match scope.fill(given) {
            arn if arn.starts_with("arn:") => arn,
            name => account.role(&name),
        }
    };
    let awsvpc = family.network_mode.as_deref().unwrap_or("awsvpc") == "awsvpc";
    let containers = family.containers.iter();
    let containers: Vec<Value> = containers
        .map(|container| container_document(container, name, awsvpc, scope, account))
        .collect();
    let volumes = family.volumes.iter().map(|v| volume_document(v, scope));
    let mut document = json!({
        "family": name,
        "networkMode": family.network_mode.as_deref().unwrap_or("awsvpc"),
        "cpu": family.cpu.as_deref().unwrap_or("256"),
        "memory": family.memory.as_deref().unwrap_or("512"),
        "taskRoleArn": role(&family.task_role, "ecs-task"),
        "executionRoleArn": role(&family.execution_role, "ecs-execution"),
        "containerDefinitions": containers,
        "volumes": volumes.collect::<Vec<_>>(),
        "placementConstraints": [],
    });
    if awsvpc {
        document["requiresCompatibilities"] = json!(["FARGATE"]);
    }
    document
}

fn container_document(
    container: &Container,
    family: &str,
    awsvpc: bool,
    scope: &Scope,
    account: &Account,
) -> Value {
    let filled = |text: &String| scope.fill(text);
    let pairs = |map: &std::collections::BTreeMap<String, String>, value: &str| -> Vec<Value> {
        map.iter()
            .map(|(name, text)| json!({ "name": name, value: scope.fill(text) }))
            .collect()
    };
    let ports = container.ports.iter().map(|port| {
        let host = if awsvpc { port.number } else { 0 };
        json!({ "containerPort": port.number, "hostPort": host, "protocol": port.protocol })
    });
    let mounts = container.mounts.iter().map(|mount| {
        json!({
            "sourceVolume": scope.fill(&mount.volume.value),
            "containerPath": mount.path,
            "readOnly": mount.read_only,
        })
    });
    let labels: Map<String, Value> = container
        .labels
        .iter()
        .map(|(name, text)| (name.clone(), scope.fill(text).into()))
        .collect();
    let mut document = json!({
        "name": scope.fill(&container.name.value),
        "image": scope.fill(&container.image),
        "cpu": container.cpu.unwrap_or(0),
        "essential": container.essential,
        "command": command(container).iter().map(filled).collect::<Vec<_>>(),
        "environment": pairs(&container.environment, "value"),
        "portMappings": ports.collect::<Vec<_>>(),
        "mountPoints": mounts.collect::<Vec<_>>(),
        "volumesFrom": [],
    });
    let optional = [
        ("entryPoint", list(&container.entry_point)),
        ("memory", container.memory.map(Value::from)),
        (
            "memoryReservation",
            container.memory_reservation.map(Value::from),
        ),
        ("secrets", some(pairs(&container.secrets, "valueFrom"))),
        ("dockerLabels", (!labels.is_empty()).then(|| labels.into())),
        (
            "logConfiguration",
            logs(container.logs.as_ref(), family, scope, account),
        ),
        (
            "healthCheck",
            container.health.as_ref().map(
                |command| json!({ "command": command, "interval": 30, "timeout": 5, "retries": 3 }),
            ),
        ),
        ("user", container.user.as_deref().map(Value::from)),
        (
            "workingDirectory",
            container.working_directory.as_deref().map(Value::from),
        ),
        ("stopTimeout", container.stop_timeout.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            document[name] = value;
        }
    }
    document
}

/// A container without a command serves the port that the built-in server has, else it does nothing.
fn command(container: &Container) -> Vec<String> {
    match &container.command {
        Some(command) => command.clone(),
        None if !container.entry_point.is_empty() => Vec::new(),
        None if container
            .ports
            .iter()
            .any(|port| port.number == demo_web::PORT) =>
        {
            vec![demo_web::PROGRAM.to_owned()]
        }
        None => ["sleep", "infinity"].map(str::to_owned).to_vec(),
    }
}

/// CloudWatch Logs, unless the file says otherwise; no configuration at all with the driver `none`.
fn logs(logs: Option<&Logs>, family: &str, scope: &Scope, account: &Account) -> Option<Value> {
    let driver = logs
        .and_then(|logs| logs.driver.as_deref())
        .unwrap_or("awslogs");
    let mut options = Map::new();
    match driver {
        "none" => return None,
        "awslogs" => {
            let group = logs.and_then(|logs| logs.group.as_deref());
            let group = group.map_or_else(|| format!("/ecs/{family}"), |group| scope.fill(group));
            let prefix = logs
                .and_then(|logs| logs.prefix.as_deref())
                .unwrap_or("ecs");
            options.insert("awslogs-group".to_owned(), group.into());
            options.insert("awslogs-region".to_owned(), account.region.as_str().into());
            options.insert("awslogs-stream-prefix".to_owned(), prefix.into());
        }
        _ => {}
    }
    for (name, text) in logs.iter().flat_map(|logs| &logs.options) {
        options.insert(name.clone(), scope.fill(text).into());
    }
    Some(json!({ "logDriver": driver, "options": options }))
}

fn volume_document(volume: &Volume, scope: &Scope) -> Value {
    let mut document = json!({ "name": scope.fill(&volume.name) });
    if let Some(path) = &volume.host {
        document["host"] = json!({ "sourcePath": path });
    }
    if let Some(efs) = &volume.efs {
        let enabled = |on: bool| if on { "ENABLED" } else { "DISABLED" };
        document["efsVolumeConfiguration"] = json!({
            "fileSystemId": scope.fill(&efs.file_system),
            "rootDirectory": efs.root.as_deref().unwrap_or("/"),
            "transitEncryption": enabled(efs.transit_encryption),
        });
        if efs.access_point.is_some() || efs.iam {
            let mut authorization = json!({ "iam": enabled(efs.iam) });
            if let Some(point) = &efs.access_point {
                authorization["accessPointId"] = scope.fill(point).into();
            }
            document["efsVolumeConfiguration"]["authorizationConfig"] = authorization;
        }
    }
    document
}

fn list(words: &[String]) -> Option<Value> {
    (!words.is_empty()).then(|| json!(words))
}

fn some(list: Vec<Value>) -> Option<Value> {
    (!list.is_empty()).then_some(Value::Array(list))
}
