//! What is known of one row, in the order in which one asks.

use bowline::inventory::{Inventory, Place, Row, RowKind};
use bowline::model::Readiness;

use super::line;
use crate::output::age;

/// One fact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) label: &'static str,
    pub(super) text: String,
    /// Whether it is a reason not to choose the row.
    pub(super) bad: bool,
}

/// What the row is, with its whole names.
pub(super) fn title(row: &Row) -> String {
    let place = &row.place;
    let kind = line::kind(row);
    match (&place.service, &place.task, &place.container) {
        (_, Some(task), Some(container)) => format!("{kind} {container} in task {task}"),
        (_, Some(task), None) => format!("{kind} {task}"),
        (Some(service), ..) => format!("{kind} {service}"),
        _ => format!("{kind} {}", place.cluster),
    }
}

/// The facts about a row.
pub(super) fn fields(row: &Row, inventory: &Inventory, now: i64) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut say = |label, text: String, bad| fields.push(Field { label, text, bad });
    if row.kind() != RowKind::Cluster {
        let place = &row.place;
        let service = place.service.as_deref().filter(|_| place.task.is_some());
        let of = service.map_or_else(String::new, |service| format!(", service {service}"));
        say("cluster", format!("{}{of}", place.cluster), false);
    }
    let status = [row.status.as_deref(), row.health.as_deref()];
    let status: Vec<&str> = status.into_iter().flatten().collect();
    let tasks = row.counts.as_ref().map(line::tasks);
    let since = row.started_at.map(|at| {
        let verb = match row.kind() {
            RowKind::Service => "created",
            _ => "started",
        };
        format!("{verb} {} ago", age::since(Some(at.as_second()), now))
    });
    let status = status.into_iter().map(str::to_owned);
    let status: Vec<String> = status.chain(tasks).chain(since).collect();
    if !status.is_empty() {
        say(
            "status",
            status.join(", "),
            row.health.as_deref() == Some("UNHEALTHY"),
        );
    }
    if let Some(image) = &row.image {
        say("image", image.clone(), false);
    }
    if let Some((text, bad)) = exec(row, inventory) {
        say("exec", text, bad);
    }
    if let (Some(definition), None) = (&row.definition, &row.place.container) {
        say("runs", definition.clone(), false);
    }
    let service = row.place.of_service();
    let service = service.and_then(|service| inventory.row(&service));
    for (at, event) in service.into_iter().flat_map(|row| &row.events).enumerate() {
        say(if at == 0 { "events" } else { "" }, event.clone(), false);
    }
    fields
}

/// Whether one can get in, or why not.
fn exec(row: &Row, inventory: &Inventory) -> Option<(String, bool)> {
    if row.kind() == RowKind::Service {
        return exec_of_service(&row.place, inventory);
    }
    Some(match row.exec.as_ref()? {
        Readiness::Ready => ("ready".to_owned(), false),
        Readiness::Pending(what) => (format!("not yet: {what}"), false),
        Readiness::NotEnabled => {
            let why = "off: the task was started without ECS Exec and has to be replaced";
            (why.to_owned(), true)
        }
        Readiness::AgentStopped(why) => (format!("the agent has stopped: {why}"), true),
    })
}

fn exec_of_service(service: &Place, inventory: &Inventory) -> Option<(String, bool)> {
    let first = inventory.position(service)? + 1;
    let below = inventory.rows()[first..].iter();
    let below = below.take_while(|row| row.place.of_service().as_ref() == Some(service));
    let tasks: Vec<&Row> = below.filter(|row| row.kind() == RowKind::Task).collect();
    let ready = tasks
        .iter()
        .filter(|row| row.exec == Some(Readiness::Ready));
    let ready = ready.count();
    match tasks.len() {
        0 => None,
        all => Some((format!("ready in {ready} of {all} tasks"), ready == 0)),
    }
}
