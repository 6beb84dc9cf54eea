//! What `ls` shows, in every form.

use bowline::model::{Cluster, Container, Readiness, Service, Task};
use serde::Serialize;

use super::{View, age, json, table};
use crate::cli::OutputFormat;
use crate::error::CommandError;

/// The answer to one `ls`. Absent lists were not asked for; empty ones were, and there is nothing.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Listing {
    /// The cluster everything below is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clusters: Option<Vec<Cluster>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<Vec<Service>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<Task>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<Vec<ContainerRow>>,
}

/// A container together with the task it is in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerRow {
    pub(crate) task_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Option<String>,
    pub(crate) exec: Readiness,
    #[serde(flatten)]
    pub(crate) container: Container,
}

impl ContainerRow {
    /// One row for each container of a task.
    pub(crate) fn of(task: &Task) -> impl Iterator<Item = Self> + '_ {
        task.containers.iter().map(|container| Self {
            task_id: task.task_id.clone(),
            service_name: task.service_name.clone(),
            exec: task.readiness(container),
            container: container.clone(),
        })
    }
}

impl Listing {
    /// The text for stdout.
    pub(crate) fn render(&self, format: OutputFormat, view: View) -> Result<String, CommandError> {
        // Whole identifiers are for copying: they are not broken.
        let unbroken = View {
            width: None,
            ..view
        };
        match format {
            OutputFormat::Table => Ok(self.tables(false, view)),
            OutputFormat::Wide => Ok(self.tables(true, unbroken)),
            OutputFormat::Json => json::document(self),
            OutputFormat::Ndjson => self.lines(),
            OutputFormat::Name => Ok(self.names()),
            OutputFormat::Sarif => Err(no_sarif()),
        }
    }

    /// Whether there is nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.clusters.iter().flatten().next().is_none()
            && self.services.iter().flatten().next().is_none()
            && self.tasks.iter().flatten().next().is_none()
            && self.containers.iter().flatten().next().is_none()
    }

    fn tables(&self, wide: bool, view: View) -> String {
        let tables = [
            self.clusters.as_deref().map(|rows| clusters(rows, view)),
            self.services
                .as_deref()
                .map(|rows| services(rows, wide, view)),
            self.tasks.as_deref().map(|rows| tasks(rows, wide, view)),
            self.containers
                .as_deref()
                .map(|rows| containers(rows, wide, view)),
        ];
        let tables: Vec<String> = tables.into_iter().flatten().collect();
        tables.join("\n")
    }

    fn lines(&self) -> Result<String, CommandError> {
        let mut text = String::new();
        for cluster in self.clusters.iter().flatten() {
            text.push_str(&json::line("cluster", cluster)?);
        }
        for service in self.services.iter().flatten() {
            text.push_str(&json::line("service", service)?);
        }
        for task in self.tasks.iter().flatten() {
            text.push_str(&json::line("task", task)?);
        }
        for container in self.containers.iter().flatten() {
            text.push_str(&json::line("container", container)?);
        }
        Ok(text)
    }

    /// Each line is a target for any other command, except that a cluster is a value for `--cluster`.
    fn names(&self) -> String {
        let cluster = self.cluster.as_deref().unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        names.extend(
            self.clusters
                .iter()
                .flatten()
                .map(|c| c.cluster_name.clone()),
        );
        names.extend(
            self.services
                .iter()
                .flatten()
                .map(|service| format!("{cluster}/{}", service.service_name)),
        );
        names.extend(
            self.tasks
                .iter()
                .flatten()
                .map(|task| format!("{cluster}/{}", task.task_id)),
        );
        names.extend(
            self.containers
                .iter()
                .flatten()
                .map(|row| format!("{cluster}/{}/{}", row.task_id, row.container.name)),
        );
        names.into_iter().map(|name| name + "\n").collect()
    }
}

fn clusters(clusters: &[Cluster], view: View) -> String {
    let header = [
        "CLUSTER",
        "STATUS",
        "SERVICES",
        "RUNNING",
        "PENDING",
        "INSTANCES",
    ];
    table::render(
        &header,
        clusters.iter().map(|cluster| {
            vec![
                cluster.cluster_name.clone(),
                text(cluster.status.as_deref()),
                cluster.active_services_count.to_string(),
                cluster.running_tasks_count.to_string(),
                cluster.pending_tasks_count.to_string(),
                cluster.registered_container_instances_count.to_string(),
            ]
        }),
        view.width,
    )
}

fn services(services: &[Service], wide: bool, view: View) -> String {
    let mut header = vec![
        "SERVICE",
        "STATUS",
        "TASKS",
        "ROLLOUT",
        "EXEC",
        "DEFINITION",
    ];
    if wide {
        header.extend(["LAUNCH", "AGE", "ARN"]);
    }
    table::render(
        &header,
        services.iter().map(|service| {
            let mut row = vec![
                service.service_name.clone(),
                text(service.status.as_deref()),
                format!("{}/{}", service.running_count, service.desired_count),
                text(service.rollout_state.as_deref()),
                match service.enable_execute_command {
                    true => "on".to_owned(),
                    false => "off".to_owned(),
                },
                text(service.task_definition.as_deref().map(last_part)),
            ];
            if wide {
                row.push(text(service.launch_type.as_deref()));
                row.push(age::since(
                    service.created_at.map(|at| at.as_second()),
                    view.now,
                ));
                row.push(service.service_arn.clone());
            }
            row
        }),
        view.width,
    )
}

pub(super) fn tasks<'t>(
    tasks: impl IntoIterator<Item = &'t Task>,
    wide: bool,
    view: View,
) -> String {
    let mut header = vec![
        "TASK",
        "SERVICE",
        "STATUS",
        "HEALTH",
        "EXEC",
        "AGE",
        "CONTAINERS",
    ];
    if wide {
        header.extend(["DEFINITION", "ZONE", "ARN"]);
    }
    table::render(
        &header,
        tasks.into_iter().map(|task| {
            let names: Vec<&str> = task.containers.iter().map(|c| c.name.as_str()).collect();
            let mut row = vec![
                shown_id(&task.task_id, wide),
                text(task.service_name.as_deref()),
                text(task.last_status.as_deref()),
                text(task.health_status.as_deref()),
                exec_of(task),
                age::since(
                    task.started_at.or(task.created_at).map(|at| at.as_second()),
                    view.now,
                ),
                text(Some(names.join(",").as_str())),
            ];
            if wide {
                row.push(text(task.task_definition_arn.as_deref().map(last_part)));
                row.push(text(task.availability_zone.as_deref()));
                row.push(task.task_arn.clone());
            }
            row
        }),
        view.width,
    )
}

fn containers(rows: &[ContainerRow], wide: bool, view: View) -> String {
    let mut header = vec!["CONTAINER", "TASK", "SERVICE", "STATUS", "EXEC", "ADDRESS"];
    if wide {
        header.extend(["IMAGE", "RUNTIME ID"]);
    }
    table::render(
        &header,
        rows.iter().map(|row| {
            let container = &row.container;
            let mut cells = vec![
                container.name.clone(),
                shown_id(&row.task_id, wide),
                text(row.service_name.as_deref()),
                text(container.last_status.as_deref()),
                exec_word(&row.exec).to_owned(),
                text(container.private_ipv4_address.as_deref()),
            ];
            if wide {
                cells.push(text(container.image.as_deref()));
                cells.push(text(container.runtime_id.as_deref()));
            }
            cells
        }),
        view.width,
    )
}

/// One word for a task: the worst of its own containers tells the most.
fn exec_of(task: &Task) -> String {
    let own = task
        .containers
        .iter()
        .filter(|container| !container.is_injected());
    let worst = own
        .map(|container| task.readiness(container))
        .max_by_key(severity);
    text(worst.as_ref().map(exec_word))
}

fn severity(readiness: &Readiness) -> u8 {
    match readiness {
        Readiness::Ready => 0,
        Readiness::Pending(_) => 1,
        Readiness::AgentStopped(_) => 2,
        Readiness::NotEnabled => 3,
    }
}

pub(super) fn exec_word(readiness: &Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Pending(_) => "pending",
        Readiness::AgentStopped(_) => "stopped",
        Readiness::NotEnabled => "off",
    }
}

/// Twelve digits of a task's id are unique in practice and still work as a target.
fn shown_id(id: &str, whole: bool) -> String {
    match whole {
        true => id.to_owned(),
        false => id.chars().take(12).collect(),
    }
}

pub(super) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// `-` stands for absent, so that columns can be counted.
fn text(value: Option<&str>) -> String {
    value
        .filter(|value| !value.is_empty())
        .unwrap_or("-")
        .to_owned()
}

/// SARIF is for findings.
pub(crate) fn no_sarif() -> CommandError {
    CommandError::usage("only `runbook check` prints SARIF").hint("use -o json")
}

#[cfg(test)]
mod tests {
    use bowline::model::ManagedAgent;

    use super::*;

    fn listing() -> Listing {
        let container = Container {
            name: "app".into(),
            last_status: Some("RUNNING".into()),
            runtime_id: Some("0123456789abcdef0123456789abcdef-1234567890".into()),
            private_ipv4_address: Some("10.0.0.7".into()),
            managed_agents: vec![ManagedAgent {
                name: "ExecuteCommandAgent".into(),
                last_status: Some("RUNNING".into()),
                ..ManagedAgent::default()
            }],
            ..Container::default()
        };
        let task = Task {
            task_id: "0123456789abcdef0123456789abcdef".into(),
            task_arn:
                "arn:aws:ecs:eu-west-1:123456789012:task/demo/0123456789abcdef0123456789abcdef"
                    .into(),
            service_name: Some("web".into()),
            last_status: Some("RUNNING".into()),
            enable_execute_command: true,
            containers: vec![container],
            ..Task::default()
        };
        Listing {
            cluster: Some("demo".into()),
            services: Some(vec![Service {
                service_name: "web".into(),
                status: Some("ACTIVE".into()),
                running_count: 2,
                desired_count: 2,
                enable_execute_command: true,
                task_definition: Some(
                    "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:1".into(),
                ),
                ..Service::default()
            }]),
            containers: Some(ContainerRow::of(&task).collect()),
            tasks: Some(vec![task]),
            ..Listing::default()
        }
    }

    fn shown(format: OutputFormat) -> String {
        listing().render(format, View::default()).unwrap()
    }

    #[test]
    fn table() {
        insta::assert_snapshot!(shown(OutputFormat::Table), @r"
        SERVICE  STATUS  TASKS  ROLLOUT  EXEC  DEFINITION
        web      ACTIVE  2/2    -        on    web:1

        TASK          SERVICE  STATUS   HEALTH  EXEC   AGE  CONTAINERS
        0123456789ab  web      RUNNING  -       ready  -    app

        CONTAINER  TASK          SERVICE  STATUS   EXEC   ADDRESS
        app        0123456789ab  web      RUNNING  ready  10.0.0.7
        ");
    }

    #[test]
    fn wide() {
        insta::assert_snapshot!(shown(OutputFormat::Wide), @r"
        SERVICE  STATUS  TASKS  ROLLOUT  EXEC  DEFINITION  LAUNCH  AGE  ARN
        web      ACTIVE  2/2    -        on    web:1       -       -

        TASK                              SERVICE  STATUS   HEALTH  EXEC   AGE  CONTAINERS  DEFINITION  ZONE  ARN
        0123456789abcdef0123456789abcdef  web      RUNNING  -       ready  -    app         -           -     arn:aws:ecs:eu-west-1:123456789012:task/demo/0123456789abcdef0123456789abcdef

        CONTAINER  TASK                              SERVICE  STATUS   EXEC   ADDRESS   IMAGE  RUNTIME ID
        app        0123456789abcdef0123456789abcdef  web      RUNNING  ready  10.0.0.7  -      0123456789abcdef0123456789abcdef-1234567890
        ");
    }

    #[test]
    fn names_are_targets() {
        let names = shown(OutputFormat::Name);
        insta::assert_snapshot!(names, @r"
        demo/web
        demo/0123456789abcdef0123456789abcdef
        demo/0123456789abcdef0123456789abcdef/app
        ");
        for name in names.lines() {
            name.parse::<bowline::TargetSpec>().unwrap();
        }
    }

    #[test]
    fn ndjson_has_one_tagged_object_a_line() {
        let text = shown(OutputFormat::Ndjson);
        let kinds: Vec<String> = text
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["kind"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(kinds, ["service", "task", "container"]);
    }

    #[test]
    fn json_holds_only_what_was_asked_for() {
        let value: serde_json::Value = serde_json::from_str(&shown(OutputFormat::Json)).unwrap();
        assert!(value.get("clusters").is_none());
        assert_eq!(value["containers"][0]["exec"]["state"], "ready");
        assert_eq!(
            value["containers"][0]["taskId"],
            value["tasks"][0]["taskId"]
        );
    }
}
