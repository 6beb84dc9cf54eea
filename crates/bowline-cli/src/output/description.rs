//! What `describe` shows, in every form.

use bowline::model::{
    ClusterDetail, Container, ContainerDefinition, ContainerOverride, Deployment,
    EnvironmentVariable, PortMapping, Readiness, ServiceDetail, TaskDefinition, TaskDetail, Volume,
};
use serde::Serialize;

use super::listing::{self, exec_word, last_part};
use super::sheet::Sheet;
use super::{View, age, json, table};
use crate::cli::OutputFormat;
use crate::error::CommandError;

/// Events of a service that the table form shows; the wide form shows all.
const EVENTS: usize = 5;

/// The answer to one `describe`: what was asked about, and what belongs to it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    /// The cluster everything below is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clusters: Option<Vec<ClusterDetail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<Vec<ServiceDetail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<TaskDetail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_definitions: Option<Vec<TaskDefinition>>,
    /// What it is about: the others belong to it.
    #[serde(skip)]
    pub(crate) about: About,
}

/// What a description is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum About {
    #[default]
    Cluster,
    Service,
    Task,
    Family,
}

impl Description {
    /// The text for stdout.
    pub(crate) fn render(&self, format: OutputFormat, view: View) -> Result<String, CommandError> {
        match format {
            OutputFormat::Table => Ok(self.sheet(false, view)),
            OutputFormat::Wide => Ok(self.sheet(true, view)),
            OutputFormat::Json => json::document(self),
            OutputFormat::Ndjson => self.lines(),
            OutputFormat::Name => Ok(self.name()),
            OutputFormat::Sarif => Err(listing::no_sarif()),
        }
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
        for definition in self.task_definitions.iter().flatten() {
            text.push_str(&json::line("taskDefinition", definition)?);
        }
        Ok(text)
    }

    /// A target for other commands; of a cluster a value for `--cluster`.
    fn name(&self) -> String {
        let cluster = self.cluster.as_deref().unwrap_or_default();
        let services = self.services.iter().flatten();
        let tasks = self.tasks.iter().flatten();
        let definitions = self.task_definitions.iter().flatten();
        let names: Vec<String> = match self.about {
            About::Cluster => vec![cluster.to_owned()],
            About::Service => services
                .map(|service| format!("{cluster}/{}", service.service.service_name))
                .collect(),
            About::Task => tasks
                .map(|task| format!("{cluster}/{}", task.task.task_id))
                .collect(),
            About::Family => definitions
                .map(|definition| format!("family:{}", definition.family))
                .collect(),
        };
        names.into_iter().map(|name| name + "\n").collect()
    }

    fn sheet(&self, wide: bool, view: View) -> String {
        let mut sheet = Sheet::default();
        for cluster in self.clusters.iter().flatten() {
            show_cluster(&mut sheet, cluster, wide);
        }
        let cluster = self.cluster.as_deref().unwrap_or_default();
        let services = self.services.iter().flatten();
        if self.about == About::Service {
            for service in services.clone() {
                show_service(&mut sheet, service, cluster, view);
            }
        }
        let tasks = self.tasks.as_deref().unwrap_or_default();
        match (self.about, tasks) {
            (About::Task, tasks) => {
                for task in tasks {
                    show_task(&mut sheet, task, cluster, view);
                }
            }
            (_, []) => {}
            (_, tasks) => {
                sheet.title("tasks");
                let width = if wide { None } else { view.width };
                let view = View {
                    width: width.map(|width| width.saturating_sub(2)),
                    ..view
                };
                sheet.block(&listing::tasks(
                    tasks.iter().map(|task| &task.task),
                    wide,
                    view,
                ));
            }
        }
        for definition in self.task_definitions.iter().flatten() {
            show_definition(&mut sheet, definition, self.about == About::Family, view);
            let task = tasks.first().filter(|_| self.about == About::Task);
            for container in &definition.container_definitions {
                show_container(&mut sheet, container, task, &definition.volumes, view);
            }
        }
        for service in services {
            show_events(&mut sheet, service, wide, view);
        }
        sheet.text()
    }
}

fn show_cluster(sheet: &mut Sheet, detail: &ClusterDetail, wide: bool) {
    let cluster = &detail.cluster;
    sheet.title(&format!("cluster {}", cluster.cluster_name));
    sheet.field("status", cluster.status.clone());
    sheet.field(
        "services",
        format!("{} active", cluster.active_services_count),
    );
    let (running, pending) = (cluster.running_tasks_count, cluster.pending_tasks_count);
    sheet.field("tasks", format!("{running} running, {pending} pending"));
    if cluster.registered_container_instances_count > 0 || wide {
        let instances = cluster.registered_container_instances_count;
        sheet.field("instances", instances.to_string());
    }
    sheet.field("capacity", words(&detail.capacity_providers));
    if let Some(exec) = &detail.exec_logging {
        let mut logging = vec![match exec.logging.as_deref() {
            Some("NONE") => "not logged".to_owned(),
            Some("OVERRIDE") => "logged".to_owned(),
            _ => "logged as the container is".to_owned(),
        }];
        let group = exec.cloud_watch_log_group_name.as_ref();
        logging.extend(group.map(|group| format!("log group {group}")));
        logging.extend(
            exec.s3_bucket_name
                .as_ref()
                .map(|bucket| format!("bucket {bucket}")),
        );
        logging.extend(
            exec.kms_key_id
                .as_ref()
                .map(|key| format!("encrypted with {key}")),
        );
        sheet.field("exec", logging.join(", "));
    }
    sheet.fields("tags", pairs(&detail.tags));
    sheet.field("arn", cluster.cluster_arn.clone());
}

fn show_service(sheet: &mut Sheet, detail: &ServiceDetail, cluster: &str, view: View) {
    let service = &detail.service;
    sheet.title(&format!("service {} in {cluster}", service.service_name));
    sheet.field("status", service.status.clone());
    let (running, desired) = (service.running_count, service.desired_count);
    sheet.field(
        "tasks",
        format!(
            "{running} of {desired} running, {} pending",
            service.pending_count
        ),
    );
    sheet.fields(
        "deployments",
        detail.deployments.iter().map(|d| deployment(d, view)),
    );
    let breaker = match (detail.circuit_breaker, detail.rollback) {
        (true, true) => Some("on, rolls back".to_owned()),
        (true, false) => Some("on".to_owned()),
        (false, _) => None,
    };
    sheet.field("breaker", breaker);
    let launch = [
        service.launch_type.as_ref(),
        detail.platform_version.as_ref(),
    ];
    sheet.field(
        "launch",
        words(&launch.into_iter().flatten().cloned().collect::<Vec<_>>()),
    );
    let exec = match service.enable_execute_command {
        true => "on for new tasks",
        false => "off for new tasks",
    };
    sheet.field("exec", exec.to_owned());
    sheet.field("created", service.created_at.map(|at| when(at, view)));
    sheet.fields("tags", pairs(&detail.tags));
    sheet.field("arn", service.service_arn.clone());
}

fn deployment(deployment: &Deployment, view: View) -> String {
    let mut words = vec![
        deployment.status.clone().unwrap_or_default(),
        deployment.rollout_state.clone().unwrap_or_default(),
        deployment
            .task_definition
            .as_deref()
            .map(last_part)
            .unwrap_or_default()
            .to_owned(),
        format!("{}/{}", deployment.running_count, deployment.desired_count),
    ];
    if deployment.failed_tasks > 0 {
        words.push(format!("{} failed", deployment.failed_tasks));
    }
    if let Some(at) = deployment.created_at {
        words.push(format!(
            "{} ago",
            age::since(Some(at.as_second()), view.now)
        ));
    }
    if deployment.rollout_state.as_deref() == Some("FAILED") {
        words.extend(deployment.rollout_state_reason.clone());
    }
    words.retain(|word| !word.is_empty());
    words.join("  ")
}

fn show_task(sheet: &mut Sheet, detail: &TaskDetail, cluster: &str, view: View) {
    let task = &detail.task;
    sheet.title(&format!("task {} in {cluster}", task.task_id));
    sheet.field("service", task.service_name.clone());
    let group = task.group.clone().filter(|_| task.service_name.is_none());
    sheet.field("group", group);
    let status = task
        .last_status
        .clone()
        .map(|status| match task.desired_status.as_deref() {
            Some("STOPPED") if status != "STOPPED" => format!("{status}, to be STOPPED"),
            _ => status,
        });
    sheet.field("status", status);
    sheet.field("health", task.health_status.clone());
    let stop: Vec<String> = [&task.stop_code, &task.stopped_reason]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    sheet.field("stopped", (!stop.is_empty()).then(|| stop.join(": ")));
    let definition = task.task_definition_arn.as_deref().map(last_part);
    sheet.field("definition", definition.map(str::to_owned));
    let launch = [
        &task.launch_type,
        &detail.capacity_provider_name,
        &detail.platform_version,
        &task.availability_zone,
    ];
    sheet.field(
        "launch",
        words(&launch.into_iter().flatten().cloned().collect::<Vec<_>>()),
    );
    let exec = match task.enable_execute_command {
        true => "on",
        false => "off: a running task cannot be changed",
    };
    sheet.field("exec", exec.to_owned());
    sheet.field("started by", task.started_by.clone());
    sheet.field("created", task.created_at.map(|at| when(at, view)));
    sheet.field("started", task.started_at.map(|at| when(at, view)));
    sheet.field("stopping", detail.stopping_at.map(|at| when(at, view)));
    sheet.field("ended", task.stopped_at.map(|at| when(at, view)));
    sheet.fields("tags", pairs(&detail.tags));
    sheet.field("arn", task.task_arn.clone());
}

fn show_definition(sheet: &mut Sheet, definition: &TaskDefinition, whole: bool, view: View) {
    sheet.title(&format!(
        "definition {}:{}",
        definition.family, definition.revision
    ));
    if whole {
        sheet.field("status", definition.status.clone());
        sheet.field(
            "registered",
            definition.registered_at.map(|at| when(at, view)),
        );
    }
    let size = [
        definition
            .cpu
            .as_ref()
            .map(|cpu| format!("{cpu} CPU units")),
        definition
            .memory
            .as_ref()
            .map(|memory| format!("{memory} MiB")),
    ];
    sheet.field("size", joined(size));
    sheet.field("network", definition.network_mode.clone());
    sheet.field("task role", definition.task_role_arn.clone());
    sheet.field("exec. role", definition.execution_role_arn.clone());
    if whole {
        sheet.field("arn", definition.task_definition_arn.clone());
    }
}

fn show_container(
    sheet: &mut Sheet,
    container: &ContainerDefinition,
    task: Option<&TaskDetail>,
    volumes: &[Volume],
    view: View,
) {
    let essential = if container.essential {
        ""
    } else {
        " (not essential)"
    };
    sheet.title(&format!("container {}{essential}", container.name));
    if let Some(task) = task {
        let running = task
            .task
            .containers
            .iter()
            .find(|c| c.name == container.name);
        if let Some(running) = running {
            show_running(sheet, task, running, view);
        }
    }
    let change = task.and_then(|task| {
        let mut changes = task.container_overrides.iter();
        changes.find(|change| change.name == container.name)
    });
    sheet.field("image", container.image.clone());
    let command = match change.map(|change| &change.command[..]) {
        Some(words @ [_, ..]) => words,
        _ => &container.command,
    };
    sheet.field("entry point", command_line(&container.entry_point));
    sheet.field("command", command_line(command));
    sheet.field("user", container.user.clone());
    sheet.field("directory", container.working_directory.clone());
    let limits = [
        (container.cpu > 0).then(|| format!("{} CPU units", container.cpu)),
        container.memory.map(|memory| format!("{memory} MiB")),
        container
            .memory_reservation
            .map(|memory| format!("{memory} MiB reserved")),
        container
            .readonly_root_filesystem
            .then(|| "read-only root file system".to_owned()),
    ];
    sheet.field("limits", joined(limits));
    sheet.fields("ports", container.port_mappings.iter().map(port));
    sheet.fields("environment", environment(container, change));
    let secrets = container.secrets.iter();
    sheet.fields(
        "secrets",
        secrets.map(|secret| format!("{} from {}", secret.name, secret.value_from)),
    );
    let mounts = container.mount_points.iter().map(|mount| {
        let volume = volumes
            .iter()
            .find(|volume| volume.name == mount.source_volume);
        let access = if mount.read_only { ", read-only" } else { "" };
        format!(
            "{} from {}{access}",
            mount.container_path,
            described_volume(&mount.source_volume, volume)
        )
    });
    sheet.fields("mounts", mounts);
    sheet.field("health", command_line(&container.health_check));
    let logs = container.log_configuration.as_ref().map(|logs| {
        let options = logs
            .options
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let options: Vec<String> = std::iter::once(logs.log_driver.clone())
            .chain(options)
            .collect();
        options.join(" ")
    });
    sheet.field("logs", logs);
    let labels = container.docker_labels.iter();
    sheet.fields(
        "labels",
        labels.map(|(name, value)| format!("{name}={value}")),
    );
}

fn show_running(sheet: &mut Sheet, task: &TaskDetail, running: &Container, view: View) {
    let status = [
        running.last_status.clone(),
        running.exit_code.map(|code| format!("exit code {code}")),
        running.reason.clone(),
        running
            .health_status
            .clone()
            .filter(|health| health != "UNKNOWN"),
    ];
    sheet.field("status", joined(status));
    let mut exec = Vec::new();
    // Of a task that stops it says what its status says.
    if !task.task.is_stopping() {
        let readiness = task.task.readiness(running);
        exec.push(exec_word(&readiness).to_owned());
        if let Readiness::Pending(why) | Readiness::AgentStopped(why) = readiness {
            exec.push(why);
        }
    }
    for agent in &running.managed_agents {
        let state = agent
            .last_status
            .as_deref()
            .unwrap_or("in an unknown state");
        let since = agent
            .last_started_at
            .map(|at| age::since(Some(at.as_second()), view.now));
        let since = since
            .map(|age| format!(", started {age} ago"))
            .unwrap_or_default();
        exec.push(format!("{} is {state}{since}", agent.name));
    }
    sheet.field("exec", (!exec.is_empty()).then(|| exec.join("; ")));
    sheet.field("address", running.private_ipv4_address.clone());
    sheet.field("runtime id", running.runtime_id.clone());
}

fn show_events(sheet: &mut Sheet, service: &ServiceDetail, wide: bool, view: View) {
    let shown = if wide { usize::MAX } else { EVENTS };
    let events = service.events.iter().take(shown);
    let rows = events.map(|event| {
        let age = age::since(event.created_at.map(|at| at.as_second()), view.now);
        vec![age, event.message.clone()]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        sheet.title("events, newest first");
        let width = view
            .width
            .filter(|_| !wide)
            .map(|width| width.saturating_sub(2));
        let text = table::render(&["AGE", "EVENT"], rows, width);
        sheet.block(&text);
    }
}

/// The definition's environment with what the task was started with instead.
fn environment(container: &ContainerDefinition, change: Option<&ContainerOverride>) -> Vec<String> {
    let changed = change.map_or(&[][..], |change| &change.environment);
    let kept = container
        .environment
        .iter()
        .filter(|variable| changed.iter().all(|changed| changed.name != variable.name));
    let shown = |variable: &EnvironmentVariable, note: &str| match &variable.value {
        Some(value) => format!("{}={value}{note}", variable.name),
        None => format!("{} (masked){note}", variable.name),
    };
    let kept = kept.map(|variable| shown(variable, ""));
    kept.chain(
        changed
            .iter()
            .map(|variable| shown(variable, "  (of this task)")),
    )
    .collect()
}

fn described_volume(name: &str, volume: Option<&Volume>) -> String {
    let Some(volume) = volume else {
        return name.to_owned();
    };
    if let Some(efs) = &volume.efs {
        let root = efs.root_directory.as_deref().filter(|root| *root != "/");
        let point = efs.access_point_id.as_ref();
        let parts = [
            Some(format!(
                "{name}: EFS {}{}",
                efs.file_system_id,
                root.unwrap_or_default()
            )),
            point.map(|point| format!("access point {point}")),
            efs.iam.then(|| "IAM".to_owned()),
            Some(match efs.transit_encryption {
                true => "encrypted in transit".to_owned(),
                false => "not encrypted in transit".to_owned(),
            }),
        ];
        return joined(parts).unwrap_or_default();
    }
    match &volume.host_path {
        Some(path) => format!("{name}: {path} of the host"),
        None => format!("{name}: storage of the task"),
    }
}

fn port(port: &PortMapping) -> String {
    let inside = match (&port.container_port_range, port.container_port) {
        (Some(range), _) => range.clone(),
        (None, Some(port)) => port.to_string(),
        (None, None) => "any".to_owned(),
    };
    let protocol = port.protocol.as_deref().unwrap_or("tcp");
    let outside = port
        .host_port
        .filter(|host| *host != 0 && Some(*host) != port.container_port);
    let outside = outside
        .map(|host| format!(", {host} on the host"))
        .unwrap_or_default();
    let name = port
        .name
        .as_ref()
        .map(|name| format!(", {name}"))
        .unwrap_or_default();
    format!("{inside}/{protocol}{outside}{name}")
}

/// Words as one would type them.
fn command_line(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| shell_words::join(words))
}

/// The moment and how long ago it was.
fn when(at: jiff::Timestamp, view: View) -> String {
    let second = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    format!(
        "{second} ({} ago)",
        age::since(Some(at.as_second()), view.now)
    )
}

fn joined(parts: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn words(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

fn pairs(pairs: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}
