//! A world file's items made into clusters, services and tasks.

mod again;
mod values;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use self::again::{processes, take_over};
use super::definition::document;
use super::schema::{Age, Cluster, Family, File, Many, Service, Start, StopCode, Task};
use super::scope::Scope;
use super::yaml::At;
use super::{WorldFileError, yaml};
use crate::api::check_containers;
use crate::dormant;
use crate::iam;
use crate::identifiers::{self, is_name};
use crate::image;
use crate::lifecycle::{self, Life, Order};
use crate::network;
use crate::state::definition::{Outline, TaskDefinition};
use crate::state::service::{Deployment, Event, ServiceStatus};
use crate::state::task::{ContainerStatus, Launch, Overrides, Stop, TaskStatus};
use crate::state::{self, Shared, StrategyItem, Tag, TaskKey, World};
use crate::world;

/// Tasks of a world that have processes from the start: each container is at least two.
const EAGER_LIMIT: usize = 200;

/// Tasks of a world in all. Each takes some kilobytes.
const TASKS_LIMIT: usize = 50_000;

/// Puts all of a file into an empty world.
pub(super) fn furnish(
    file: &File,
    name: &str,
    shared: &Arc<Shared>,
    world: &mut World,
) -> Result<(), WorldFileError> {
    build(file, name, shared, world, Mode::Empty)
}

/// Adds what a file names to a world that is in use, or replaces it. A mistake in the file changes nothing.
pub(super) fn load(
    file: &File,
    name: &str,
    shared: &Arc<Shared>,
    world: &mut World,
) -> Result<(), WorldFileError> {
    let mut scratch = World::default();
    scratch.definitions.clone_from(&world.definitions);
    scratch.network = world.network.clone();
    let running = (world.tasks().count(), processes(world));
    build(file, name, shared, &mut scratch, Mode::Rehearsal(running))?;
    build(file, name, shared, world, Mode::InUse)
}

fn build(
    file: &File,
    name: &str,
    shared: &Arc<Shared>,
    world: &mut World,
    mode: Mode,
) -> Result<(), WorldFileError> {
    let (tasks, eager) = match mode {
        Mode::Rehearsal(running) => running,
        Mode::Empty | Mode::InUse => (0, 0),
    };
    let mut builder = Builder {
        file: name,
        default: file.start,
        shared,
        world,
        mode,
        named: BTreeSet::new(),
        now: SystemTime::now(),
        tasks,
        eager,
    };
    builder.stores(file)?;
    builder.network(file)?;
    for family in &file.families {
        builder.family(family)?;
    }
    for cluster in &file.clusters {
        builder.cluster(cluster)?;
    }
    for function in &file.functions {
        builder.function(function)?;
    }
    Ok(())
}

/// What kind of world is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One without anything.
    Empty,
    /// One to find mistakes in, which is thrown away; so many tasks there are already, and so many with processes.
    Rehearsal((usize, usize)),
    /// One that things happen in.
    InUse,
}

struct Builder<'a> {
    file: &'a str,
    default: Start,
    shared: &'a Arc<Shared>,
    world: &'a mut World,
    mode: Mode,
    /// What the file has named so far, each with its kind.
    named: BTreeSet<(&'static str, String)>,
    now: SystemTime,
    tasks: usize,
    eager: usize,
}

impl Builder<'_> {
    /// The same name twice in a file is a mistake.
    fn once(
        &mut self,
        kind: &'static str,
        name: &str,
        at: &At<String>,
    ) -> Result<(), WorldFileError> {
        match self.named.insert((kind, name.to_owned())) {
            true => Ok(()),
            false => Err(self.error(at, format!("there are two {kind} {name}"))),
        }
    }

    fn family(&mut self, family: &Family) -> Result<(), WorldFileError> {
        let many = many(family.repeat, family.each.as_ref());
        for scope in self.copies(&Scope::default(), &many, &family.name)? {
            let name = self.name(&family.name, &scope, "family")?;
            self.once("families", &name, &family.name)?;
            self.check_volumes(family)?;
            let document = document(family, &name, &scope, &self.shared.account);
            let outline: Outline = serde_json::from_value(document.clone())
                .map_err(|error| self.error(&family.name, format!("family {name}: {error}")))?;
            check_containers(&outline).map_err(|error| {
                self.error(&family.name, format!("family {name}: {}", error.message))
            })?;
            for container in &outline.container_definitions {
                if let Some(label) = container.docker_labels.get(image::LABEL) {
                    image::Image::parse(label).map_err(|reason| {
                        self.error(&family.name, format!("family {name}: {reason}"))
                    })?;
                }
            }
            for (member, like) in [
                ("taskRoleArn", iam::DEMO_TASK),
                ("executionRoleArn", iam::DEMO_EXECUTION),
            ] {
                let role = document[member].as_str().unwrap_or_default();
                let account = &self.shared.account;
                self.world.iam.create_task_role(account, role, like);
            }
            let tags = tags(&family.tags, &scope);
            let latest = self.world.latest(&name);
            if latest.is_some_and(|it| it.document == document && it.tags == tags) {
                continue;
            }
            let revisions = self.world.definitions.entry(name.clone()).or_default();
            let definition = Arc::new(TaskDefinition {
                family: name,
                revision: revisions.len() + 1,
                active: true,
                registered_at: self.now,
                document,
                outline,
                tags,
            });
            revisions.push(definition);
        }
        Ok(())
    }

    /// A mount of a volume that does not exist is a mistake that ECS refuses as well.
    fn check_volumes(&self, family: &Family) -> Result<(), WorldFileError> {
        let volumes: BTreeSet<&str> = family.volumes.iter().map(|v| v.name.as_str()).collect();
        let mounts = family
            .containers
            .iter()
            .flat_map(|container| &container.mounts);
        match mounts
            .into_iter()
            .find(|mount| !volumes.contains(mount.volume.value.as_str()))
        {
            Some(mount) => Err(self.error(
                &mount.volume,
                format!("the family has no volume {}", mount.volume.value),
            )),
            None => Ok(()),
        }
    }

    fn cluster(&mut self, cluster: &Cluster) -> Result<(), WorldFileError> {
        let many = many(cluster.repeat, cluster.each.as_ref());
        for scope in self.copies(&Scope::default(), &many, &cluster.name)? {
            let name = self.name(&cluster.name, &scope, "cluster")?;
            self.once("clusters", &name, &cluster.name)?;
            let known = self.world.clusters.remove(&name);
            let known = known.filter(|known| known.active);
            let mut made = known.unwrap_or_else(|| state::Cluster::new(&name));
            made.capacity_providers = ["FARGATE", "FARGATE_SPOT"].map(str::to_owned).to_vec();
            made.default_strategy = vec![StrategyItem {
                capacity_provider: "FARGATE".to_owned(),
                weight: 1,
                base: 0,
            }];
            made.tags = tags(&cluster.tags, &scope);
            made.configuration = cluster.exec_logging.as_deref().map(|logging| {
                json!({ "executeCommandConfiguration": match logging {
                    "none" => json!({ "logging": "NONE" }),
                    "default" => json!({ "logging": "DEFAULT" }),
                    group => json!({
                        "logging": "OVERRIDE",
                        "logConfiguration": {
                            "cloudWatchLogGroupName": scope.fill(group),
                            "cloudWatchEncryptionEnabled": false,
                        },
                    }),
                } })
            });
            self.world.clusters.insert(name.clone(), made);
            self.clear(&name, cluster, &scope);
            for service in &cluster.services {
                self.service(service, &name, &scope)?;
            }
            for task in &cluster.tasks {
                self.standalone(task, &name, &scope)?;
            }
        }
        Ok(())
    }

    fn service(
        &mut self,
        service: &Service,
        cluster: &str,
        outer: &Scope,
    ) -> Result<(), WorldFileError> {
        let many = many(service.repeat, service.each.as_ref());
        for scope in self.copies(outer, &many, &service.name)? {
            let name = self.name(&service.name, &scope, "service")?;
            if !self.named.insert(("services", format!("{cluster}/{name}"))) {
                let text = format!("there are two services {name} in cluster {cluster}");
                return Err(self.error(&service.name, text));
            }
            let family = service.family.as_ref().unwrap_or(&service.name);
            let definition = self.definition(family, &scope)?;
            let desired = service
                .desired
                .as_ref()
                .and_then(|turns| turns.of(scope.number));
            let desired = desired.copied().unwrap_or(1);
            let lazy = service.start.unwrap_or(self.default) == Start::Lazy;
            self.count(desired, lazy, &service.name)?;
            let created = self.ago(
                service
                    .age
                    .as_ref()
                    .and_then(|turns| turns.of(scope.number)),
            );
            let exec = service
                .exec
                .as_ref()
                .and_then(|turns| turns.of(scope.number));

            let mut made = world::service(&name, definition);
            made.desired_count = desired;
            made.exec_enabled = exec.copied().unwrap_or(true);
            made.lazy = lazy;
            made.created_at = created;
            made.tags = tags(&service.tags, &scope);
            if let Some(provider) = &service.capacity_provider {
                self.check_provider(provider, &service.name)?;
                made.by_launch_type = false;
                made.launch.capacity_provider = Some(provider.clone());
            }
            if !made.deployments[0].definition.outline.is_awsvpc() {
                made.network = None;
            }
            let known = self.world.clusters.get_mut(cluster);
            let known = known.and_then(|known| known.services.remove(&name));
            match known.filter(|known| known.status == ServiceStatus::Active) {
                Some(known) => take_over(&mut made, known),
                None if lazy => self.settle(&mut made, cluster, created),
                None => {}
            }
            if let Some(cluster) = self.world.clusters.get_mut(cluster) {
                cluster.services.insert(name, made);
            }
        }
        Ok(())
    }

    /// The tasks of a service run, have done so for a while, and nothing is left to do for it.
    fn settle(&mut self, service: &mut state::service::Service, cluster: &str, since: SystemTime) {
        let Some(order) = crate::scheduler::order(self.shared, service, cluster, self.shared.pace)
        else {
            return;
        };
        if matches!(self.mode, Mode::Rehearsal(_)) {
            return;
        }
        let keys: Vec<TaskKey> = (0..service.desired_count)
            .map(|_| self.running(order.clone(), since))
            .collect();
        service.steady = true;
        service.status = ServiceStatus::Active;
        let name = service.name.clone();
        service.events = VecDeque::new();
        if let Some(primary) = service.deployments.first_mut() {
            settle_deployment(primary, since);
        }
        let mut note = |what: &str| {
            service.events.push_front(Event {
                id: identifiers::uuid(),
                at: since,
                message: format!("(service {name}) {what}"),
            });
        };
        if !keys.is_empty() {
            let tasks: Vec<String> = keys
                .iter()
                .map(|key| format!("(task {})", key.id))
                .collect();
            note(&format!(
                "has started {} tasks: {}.",
                tasks.len(),
                tasks.join(" ")
            ));
        }
        note("has reached a steady state.");
    }

    /// A task that runs since then, without a process.
    fn running(&mut self, order: Order, since: SystemTime) -> TaskKey {
        let key = self.insert(order, since);
        if let Some(task) = self.world.task_mut(&key) {
            lifecycle::run(task, &self.shared.agents);
            task.times.started = Some(since);
            let agents = task.containers.iter_mut().filter_map(|c| c.agent.as_mut());
            for agent in agents {
                agent.last_started_at = agent.last_started_at.map(|_| since);
            }
            let life = Life::new(self.shared, task);
            if let Some(dormant) = task.dormant.clone() {
                self.shared.lifecycles.spawn(dormant::live(life, dormant));
            }
        }
        key
    }

    fn insert(&mut self, order: Order, since: SystemTime) -> TaskKey {
        let key = TaskKey {
            cluster: order.cluster.clone(),
            id: identifiers::hex(32),
        };
        let mut task = lifecycle::new_task(self.shared, self.world, order, key.clone());
        task.times.created = since;
        task.times.pull_started = Some(since);
        task.times.pull_stopped = Some(since);
        if let Some(cluster) = self.world.clusters.get_mut(&key.cluster) {
            cluster.tasks.insert(key.id.clone(), task);
        }
        key
    }

    fn standalone(
        &mut self,
        task: &Task,
        cluster: &str,
        outer: &Scope,
    ) -> Result<(), WorldFileError> {
        let many = many(task.repeat, task.each.as_ref());
        for scope in self.copies(outer, &many, &task.family)? {
            let definition = self.definition(&task.family, &scope)?;
            let count = task.count.unwrap_or(1);
            let lazy = task.start.unwrap_or(self.default) == Start::Lazy || task.stopped.is_some();
            self.count(count, lazy, &task.family)?;
            let exec = task.exec.as_ref().and_then(|turns| turns.of(scope.number));
            let since = self.ago(task.age.as_ref().and_then(|turns| turns.of(scope.number)));
            let group = task.group.as_ref().map(|group| scope.fill(group));
            if group
                .as_deref()
                .is_some_and(|group| group.starts_with("service:"))
            {
                return Err(self.error(&task.family, "a group cannot be a service's".to_owned()));
            }
            let order = Order {
                cluster: cluster.to_owned(),
                group: group.unwrap_or_else(|| format!("family:{}", definition.family)),
                subnet: definition
                    .outline
                    .is_awsvpc()
                    .then(|| network::SUBNET.to_owned()),
                definition,
                started_by: task.started_by.as_ref().map(|by| scope.fill(by)),
                launch: Launch::fargate(),
                overrides: Overrides::default(),
                exec_enabled: exec.copied().unwrap_or(true),
                tags: tags(&task.tags, &scope),
                pace: self.shared.pace,
                pull: self.shared.pull.unwrap_or(self.shared.pace),
                start_failure: None,
                visible_from: Duration::ZERO,
                lazy,
            };
            if matches!(self.mode, Mode::Rehearsal(_)) {
                continue;
            }
            for _ in 0..count {
                let key = match &task.stopped {
                    Some(stopped) => {
                        self.stopped(order.clone(), since, stopped);
                        continue;
                    }
                    None if lazy => self.running(order.clone(), since),
                    None => lifecycle::launch(self.shared, self.world, order.clone()),
                };
                self.world.furnished.push(key);
            }
        }
        Ok(())
    }

    fn stopped(&mut self, order: Order, at: SystemTime, stopped: &super::schema::Stopped) {
        let key = self.insert(order, at);
        let (code, reason) = stop_texts(stopped.code);
        let Some(task) = self.world.task_mut(&key) else {
            return;
        };
        lifecycle::run(task, &self.shared.agents);
        task.dormant = None;
        task.status = TaskStatus::Stopped;
        task.times.started = Some(at);
        task.times.stopping = Some(at);
        task.times.execution_stopped = Some(at);
        task.times.stopped = Some(at);
        task.over_since = Some(self.shared.clock.now());
        task.stop = Some(Stop {
            code,
            reason: stopped.reason.clone().unwrap_or_else(|| reason.to_owned()),
        });
        for container in &mut task.containers {
            container.status = ContainerStatus::Stopped;
            container.exit_code = stopped.exit_code;
        }
    }

    fn definition(
        &self,
        family: &At<String>,
        scope: &Scope,
    ) -> Result<Arc<TaskDefinition>, WorldFileError> {
        let name = scope.fill(&family.value);
        let known = self.world.latest(&name).map(Arc::clone);
        known.ok_or_else(|| {
            let place = match self.mode {
                Mode::Empty => "in this file",
                _ => "in this file or in the sandbox",
            };
            self.error(family, format!("there is no family {name} {place}"))
        })
    }

    fn count(&mut self, tasks: usize, lazy: bool, at: &At<String>) -> Result<(), WorldFileError> {
        // Checked before anything is made: a number may be anything.
        self.tasks = self.tasks.saturating_add(tasks);
        if self.tasks > TASKS_LIMIT {
            return Err(self.error(at, format!("more than {TASKS_LIMIT} tasks")));
        }
        if !lazy {
            self.eager += tasks;
            if self.eager > EAGER_LIMIT {
                return Err(self.error(
                    at,
                    format!("more than {EAGER_LIMIT} tasks with `start: eager`; each is processes of this machine"),
                ));
            }
        }
        Ok(())
    }

    fn check_provider(&self, provider: &str, at: &At<String>) -> Result<(), WorldFileError> {
        match provider {
            "FARGATE" | "FARGATE_SPOT" => Ok(()),
            other => Err(self.error(
                at,
                format!("capacity_provider {other:?} is neither FARGATE nor FARGATE_SPOT"),
            )),
        }
    }

    fn ago(&self, age: Option<&Age>) -> SystemTime {
        let age = age.map_or(Duration::ZERO, |age| age.0);
        self.now.checked_sub(age).unwrap_or(self.now)
    }

    fn copies(
        &self,
        scope: &Scope,
        many: &Many<'_>,
        at: &At<String>,
    ) -> Result<Vec<Scope>, WorldFileError> {
        scope.copies(many).map_err(|text| self.error(at, text))
    }

    fn name(&self, text: &At<String>, scope: &Scope, what: &str) -> Result<String, WorldFileError> {
        let name = scope.fill(&text.value);
        if is_name(&name) {
            return Ok(name);
        }
        Err(self.error(
            text,
            format!("{name:?} cannot be the name of a {what}: it needs letters, digits, hyphens and underscores"),
        ))
    }

    fn error(&self, at: &At<String>, text: String) -> WorldFileError {
        WorldFileError::new(self.file, Some(yaml::place(at.defined)), text)
    }
}

fn settle_deployment(deployment: &mut Deployment, since: SystemTime) {
    deployment.completed = true;
    deployment.created_at = since;
    deployment.updated_at = since;
}

fn stop_texts(code: StopCode) -> (&'static str, &'static str) {
    match code {
        StopCode::EssentialContainerExited => (
            "EssentialContainerExited",
            "Essential container in task exited",
        ),
        StopCode::TaskFailedToStart => ("TaskFailedToStart", "Task failed to start"),
        StopCode::UserInitiated => ("UserInitiated", "Task stopped by user"),
        StopCode::ServiceSchedulerInitiated => (
            "ServiceSchedulerInitiated",
            "Scaling activity initiated by the service",
        ),
        StopCode::SpotInterruption => ("SpotInterruption", "Your Spot Task was interrupted."),
    }
}

fn many<'a>(
    repeat: Option<usize>,
    each: Option<&'a std::collections::BTreeMap<String, Vec<String>>>,
) -> Many<'a> {
    Many { repeat, each }
}

fn tags(tags: &std::collections::BTreeMap<String, String>, scope: &Scope) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag {
            key: key.clone(),
            value: scope.fill(value),
        })
        .collect()
}
