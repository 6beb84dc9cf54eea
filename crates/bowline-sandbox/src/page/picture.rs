//! What the page shows, as JSON: no keys, no environments, no overrides.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::census::Census;
use crate::sessions::SessionInfo;
use crate::sessions::SessionStatus;
use crate::stage::Stage;
use crate::state::service::Service;
use crate::state::task::{Task, TaskStatus};
use crate::state::{Cluster, Shared, World, seconds};

/// Of everything so many are shown at most, the newest; worlds have thousands of tasks.
const ROWS: usize = 200;
/// Sessions: those that live, and the last that ended.
const SESSIONS: usize = 50;

/// The whole of it.
pub(super) fn of(stage: &Stage) -> Value {
    let home = stage.home();
    let calls: Vec<Value> = stage
        .props()
        .access
        .last()
        .iter()
        .map(|call| {
            json!({
                "at": millis(call.at),
                "account": call.account,
                "principal": call.principal,
                "operation": call.operation,
                "outcome": call.outcome,
                "ms": u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    let census = Census::of(&home);
    let (services, tasks) = {
        let world = home.world();
        (services(&world), tasks(&world))
    };
    json!({
        "endpoint": home.endpoint,
        "account": home.account.id,
        "region": home.account.region,
        "clockSpeed": home.clock.speed(),
        "census": census,
        "services": services,
        "tasks": tasks,
        "sessions": sessions(&home),
        "calls": calls,
        "logs": logs(&home),
    })
}

fn services(world: &World) -> Vec<Value> {
    let clusters = world.clusters.values();
    let services = clusters.flat_map(|cluster| {
        let tasks = cluster.wanted_tasks();
        let counts: BTreeMap<String, (usize, usize)> = tasks
            .iter()
            .map(|(name, tasks)| {
                let running = tasks
                    .iter()
                    .filter(|task| task.status == TaskStatus::Running);
                let running = running.count();
                ((*name).to_owned(), (running, tasks.len() - running))
            })
            .collect();
        cluster.services.values().map(move |service| {
            let counts = counts.get(&service.name).copied().unwrap_or_default();
            row_of_service(cluster, service, counts)
        })
    });
    services.take(ROWS).collect()
}

fn row_of_service(
    cluster: &Cluster,
    service: &Service,
    (running, pending): (usize, usize),
) -> Value {
    let primary = service.deployments.first();
    let definition = primary.map(|primary| {
        let definition = &primary.definition;
        format!("{}:{}", definition.family, definition.revision)
    });
    json!({
        "cluster": cluster.name,
        "name": service.name,
        "status": service.status.as_str(),
        "desired": service.desired_count,
        "running": running,
        "pending": pending,
        "definition": definition,
        "deployments": service.deployments.len(),
        "event": service.events.front().map(|event| event.message.as_str()),
    })
}

fn tasks(world: &World) -> Vec<Value> {
    let mut tasks: Vec<&Task> = world.tasks().collect();
    tasks.sort_by_key(|task| {
        let over = task.status == TaskStatus::Stopped;
        (over, Reverse(task.times.created), &task.key)
    });
    let rows = tasks.into_iter().take(ROWS);
    rows.map(|task| {
        let containers: Vec<Value> = task
            .containers
            .iter()
            .map(|container| {
                json!({
                    "name": container.name,
                    "status": container.status.as_str(),
                    "exitCode": container.exit_code,
                    "agent": container.agent_status().map(|status| status.as_str()),
                })
            })
            .collect();
        json!({
            "cluster": task.key.cluster,
            "id": task.key.id,
            "group": task.group,
            "definition": format!("{}:{}", task.definition.family, task.definition.revision),
            "status": task.status.as_str(),
            "desired": task.desired(),
            "health": task.health().as_str(),
            "created": millis(task.times.created),
            "reason": task.stop.as_ref().map(|stop| stop.reason.as_str()),
            "containers": containers,
        })
    })
    .collect()
}

fn sessions(shared: &Shared) -> Vec<Value> {
    let sessions = shared.sessions.list();
    sessions
        .iter()
        .take(SESSIONS)
        .map(|session: &SessionInfo| {
            json!({
                "id": session.id,
                "target": session.target,
                "document": session.document,
                "status": match session.status {
                    SessionStatus::Connecting => "connecting",
                    SessionStatus::Connected => "connected",
                    SessionStatus::Disconnected => "disconnected",
                    SessionStatus::Terminated => "ended",
                },
                "started": millis(session.started),
                "ended": session.ended.map(millis),
            })
        })
        .collect()
}

fn logs(shared: &Shared) -> Vec<Value> {
    let groups = shared.logs.groups();
    groups
        .recent()
        .map(|line| {
            json!({
                "group": line.group,
                "stream": line.stream,
                "at": line.at,
                "text": line.text,
            })
        })
        .collect()
}

fn millis(at: SystemTime) -> u64 {
    (seconds(at) * 1000.0) as u64
}
