//! One task's life: from RunTask's order to STOPPED, with real processes in between.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::identifiers;
use crate::image::{self, Image, Place};
use crate::prerequisites;
use crate::process::{self, ContainerSpec, Exit};
use crate::scheduler;
use crate::state::definition::{ContainerDefinition, TaskDefinition};
use crate::state::task::{
    AgentStatus, Container, ContainerStatus, Interface, Launch, ManagedAgent, Overrides, Stop,
    Task, TaskStatus, Times,
};
use crate::state::{Shared, Tag, TaskKey, World};

/// What Fargate gives a container between SIGTERM and SIGKILL, unless its definition says otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// The command that the container's init serves itself.
const DEMO_WEB: &str = "bowline-demo-web";

/// A task to start, all of it already checked.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) cluster: String,
    pub(crate) definition: Arc<TaskDefinition>,
    pub(crate) group: String,
    pub(crate) started_by: Option<String>,
    pub(crate) launch: Launch,
    pub(crate) overrides: Overrides,
    pub(crate) exec_enabled: bool,
    pub(crate) tags: Vec<Tag>,
    /// Of awsvpc tasks.
    pub(crate) subnet: Option<String>,
    pub(crate) pace: Duration,
}

/// Puts a task into the world and starts its life. The cluster exists.
pub(crate) fn launch(shared: &Arc<Shared>, world: &mut World, order: Order) -> TaskKey {
    let key = TaskKey {
        cluster: order.cluster.clone(),
        id: identifiers::hex(32),
    };
    let task = new_task(shared, world, order, key.clone());
    let life = Life {
        shared: Arc::clone(shared),
        key: key.clone(),
        halt: task.halt.clone(),
        pace: task.pace,
    };
    if let Some(cluster) = world.clusters.get_mut(&key.cluster) {
        cluster.tasks.insert(key.id.clone(), task);
        shared.lifecycles.spawn(life.live());
    }
    key
}

fn new_task(shared: &Shared, world: &World, order: Order, key: TaskKey) -> Task {
    let address = world.free_address();
    // Older platforms of Fargate do not know the agent.
    let has_agent = order.exec_enabled && order.launch.resolved_platform() != "1.3.0";
    let containers = order
        .definition
        .outline
        .container_definitions
        .iter()
        .map(|definition| {
            let id = identifiers::uuid();
            let metadata_key = identifiers::hex(32);
            let directory = shared.root.join(&key.id).join(&definition.name);
            let programs = definition.tools().map(|_| {
                let name = format!("{}.bin", definition.name);
                shared.root.join(&key.id).join(name)
            });
            let argv = argv(definition, &order.overrides);
            let mut environment = environment(
                shared,
                definition,
                &order.overrides,
                &metadata_key,
                &directory,
            );
            set(&mut environment, "HOSTNAME", &host_name(address));
            if let Some(programs) = &programs {
                // Whatever the definition says: elsewhere there are programs that the image does not have.
                set(&mut environment, "PATH", &programs.to_string_lossy());
            }
            if argv.first().is_some_and(|program| program == DEMO_WEB) {
                set(
                    &mut environment,
                    "BOWLINE_LISTEN",
                    &format!("{address}:8080"),
                );
                set(&mut environment, "BOWLINE_TASK_ID", &key.id);
            }
            Container {
                id,
                name: definition.name.clone(),
                runtime_id: None,
                status: ContainerStatus::Pending,
                exit_code: None,
                reason: None,
                agent: has_agent.then(ManagedAgent::default),
                metadata_key,
                argv,
                log: shared
                    .root
                    .join(&key.id)
                    .join(format!("{}.log", definition.name)),
                place: Place {
                    environment,
                    directory,
                    programs,
                },
            }
        })
        .collect();
    Task {
        key,
        definition: order.definition,
        group: order.group,
        started_by: order.started_by,
        launch: order.launch,
        overrides: order.overrides,
        exec_enabled: order.exec_enabled,
        tags: order.tags,
        interface: order.subnet.map(new_interface),
        address,
        status: TaskStatus::Provisioning,
        times: Times::created_now(),
        stop: None,
        halt: CancellationToken::new(),
        containers,
        pace: order.pace,
        version: 1,
    }
}

fn new_interface(subnet: String) -> Interface {
    let [a, b, c, d, e] = identifiers::random::<5>();
    Interface {
        attachment_id: identifiers::uuid(),
        id: format!("eni-0{}", identifiers::hex(16)),
        mac: format!("0a:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}"),
        subnet,
    }
}

/// Overriding the command leaves the entry point alone: ECS has no way to change that.
fn argv(definition: &ContainerDefinition, overrides: &Overrides) -> Vec<String> {
    let of_container = |name: &Option<String>| name.as_deref() == Some(&definition.name);
    let command = overrides
        .container_overrides
        .iter()
        .rfind(|change| of_container(&change.name))
        .and_then(|change| change.command.as_ref())
        .unwrap_or(&definition.command);
    definition
        .entry_point
        .iter()
        .chain(command)
        .cloned()
        .collect()
}

/// The definition's environment, the overrides' and ECS's own, each later one winning; nothing of the sandbox's.
fn environment(
    shared: &Shared,
    definition: &ContainerDefinition,
    overrides: &Overrides,
    metadata_key: &str,
    directory: &Path,
) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    set(&mut environment, "PATH", image::PATH);
    set(&mut environment, "HOME", &directory.to_string_lossy());
    for variable in &definition.environment {
        set(&mut environment, &variable.name, &variable.value);
    }
    for change in &overrides.container_overrides {
        if change.name.as_deref() == Some(&definition.name) {
            for variable in &change.environment {
                set(&mut environment, &variable.name, &variable.value);
            }
        }
    }
    set(&mut environment, "AWS_EXECUTION_ENV", "AWS_ECS_FARGATE");
    set(&mut environment, "AWS_REGION", &shared.account.region);
    set(
        &mut environment,
        "AWS_DEFAULT_REGION",
        &shared.account.region,
    );
    // Also what the container's init recognises its processes by: unique, and never to be overridden.
    // Plain HTTP also where the APIs speak TLS: containers have no reason to trust the sandbox's authority.
    let plain = shared.endpoint.replacen("https:", "http:", 1);
    let metadata = format!("{plain}/v4/{metadata_key}");
    set(&mut environment, "ECS_CONTAINER_METADATA_URI_V4", &metadata);
    environment
}

fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    environment.retain(|(existing, _)| existing != name);
    environment.push((name.to_owned(), value.to_owned()));
}

pub(crate) fn host_name(address: std::net::Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}.ec2.internal")
}

/// What the lifecycle of one task holds.
struct Life {
    shared: Arc<Shared>,
    key: TaskKey,
    halt: CancellationToken,
    pace: Duration,
}

/// A container that was started, and its place in the definition.
struct Running {
    index: usize,
    process: process::Container,
}

impl Life {
    async fn live(self) {
        let running = if self.prepare().await {
            self.start().await
        } else {
            Vec::new()
        };
        self.watch_over(&running).await;
        self.stop(&running).await;
        // Dropping kills what may be left of them.
        drop(running);
        self.finish().await;
    }

    /// The states in which AWS makes the network and pulls the images. False if the task shall not start any more.
    async fn prepare(&self) -> bool {
        if !self.pause().await {
            return false;
        }
        self.change(|task| {
            task.status = TaskStatus::Pending;
            task.times.pull_started = Some(SystemTime::now());
        });
        let going_on = self.pause().await;
        self.change(|task| task.times.pull_stopped = Some(SystemTime::now()));
        going_on
    }

    /// Starts the containers in order; after one that cannot be started the rest is left alone.
    async fn start(&self) -> Vec<Running> {
        let mut running = Vec::new();
        for (index, (spec, tools)) in self.specs().into_iter().enumerate() {
            if self.is_over() {
                return running;
            }
            match start_container(spec, tools).await {
                Ok(process) => running.push(Running { index, process }),
                Err(error) => {
                    let reason = format!("CannotStartContainerError: {error}");
                    self.change(|task| {
                        task.containers[index].reason = Some(reason.clone());
                        task.containers[index].status = ContainerStatus::Stopped;
                        task.request_stop(Stop {
                            code: "TaskFailedToStart",
                            reason,
                        });
                    });
                    return running;
                }
            }
        }
        let agents_start = self.shared.agents.pending.is_zero();
        self.change(|task| {
            let now = SystemTime::now();
            let stops: Vec<_> = (0..task.containers.len())
                .map(|index| prerequisites::stops(task, index))
                .collect();
            for (container, stops) in task.containers.iter_mut().zip(stops) {
                container.status = ContainerStatus::Running;
                container.runtime_id = Some(format!("{}-{}", task.key.id, identifiers::digits(10)));
                if let Some(agent) = container.agent.as_mut().filter(|_| agents_start) {
                    self.shared.agents.start(agent);
                    if let Some(reason) = stops {
                        agent.stop(reason);
                    }
                }
            }
            task.status = TaskStatus::Running;
            task.times.started = Some(now);
        });
        running
    }

    /// What to start, and the label that says what the image has.
    fn specs(&self) -> Vec<(ContainerSpec, Option<String>)> {
        let world = self.shared.world();
        let Some(task) = world.task(&self.key) else {
            return Vec::new();
        };
        let spec = |container: &Container| ContainerSpec {
            init: self.shared.init.clone(),
            argv: container.argv.clone(),
            environment: container.place.environment.clone(),
            directory: container.place.directory.clone(),
            programs: container.place.programs.clone(),
            log: container.log.clone(),
        };
        let definitions = &task.definition.outline.container_definitions;
        let tools = definitions
            .iter()
            .map(|definition| definition.tools().map(str::to_owned));
        task.containers.iter().map(spec).zip(tools).collect()
    }

    /// Until an essential container has ended, or somebody wants the task stopped.
    async fn watch_over(&self, running: &[Running]) {
        let mut exits: FuturesUnordered<_> = running.iter().map(exit_of).collect();
        let pending = self.shared.agents.pending;
        let mut agents = std::pin::pin!(self.shared.clock.sleep(pending));
        let mut agents_pending = !pending.is_zero();
        while !self.is_over() {
            tokio::select! {
                () = self.halt.cancelled() => {}
                () = self.shared.stop.cancelled() => {}
                () = &mut agents, if agents_pending => {
                    agents_pending = false;
                    self.start_agents();
                }
                exit = exits.next() => match exit {
                    Some((index, exit)) => self.record_exit(index, exit),
                    // Only without any container, and such a task stops already.
                    None => return,
                }
            }
        }
    }

    /// Those that nobody has given another state meanwhile.
    fn start_agents(&self) {
        self.change(|task| {
            for container in &mut task.containers {
                let pending = container.agent_status() == Some(AgentStatus::Pending);
                if let Some(agent) = container.agent.as_mut().filter(|_| pending) {
                    self.shared.agents.start(agent);
                }
            }
        });
    }

    /// SIGTERM, a period of grace, SIGKILL; at once when the whole sandbox shuts down.
    async fn stop(&self, running: &[Running]) {
        let started = !running.is_empty();
        self.change(|task| {
            if started {
                task.status = TaskStatus::Stopping;
            }
            task.times.stopping = Some(SystemTime::now());
        });
        let grace: Vec<Duration> = {
            let world = self.shared.world();
            let definitions = world
                .task(&self.key)
                .map(|task| Arc::clone(&task.definition));
            let seconds = |running: &Running| {
                definitions.as_ref()?.outline.container_definitions[running.index].stop_timeout
            };
            running
                .iter()
                .map(|running| seconds(running).map_or(STOP_TIMEOUT, Duration::from_secs))
                .collect()
        };
        let mut exits: FuturesUnordered<_> = running
            .iter()
            .zip(grace)
            .filter(|(running, _)| self.is_alive(running.index))
            .map(|(running, grace)| self.end(running, grace))
            .collect();
        while let Some((index, exit)) = exits.next().await {
            self.record_exit(index, exit);
        }
    }

    async fn end(&self, running: &Running, grace: Duration) -> (usize, Exit) {
        running.process.signal(SIGTERM);
        tokio::select! {
            exit = exit_of(running) => return exit,
            () = tokio::time::sleep(grace) => {}
            () = self.shared.stop.cancelled() => {}
        }
        running.process.kill();
        exit_of(running).await
    }

    /// The network goes away, then the task is STOPPED.
    async fn finish(&self) {
        self.change(|task| {
            let now = SystemTime::now();
            task.status = TaskStatus::Deprovisioning;
            task.times.execution_stopped = Some(now);
            for container in &mut task.containers {
                container.status = ContainerStatus::Stopped;
            }
        });
        let directories: Vec<_> = {
            let world = self.shared.world();
            let containers = world
                .task(&self.key)
                .map_or(&[][..], |task| &task.containers[..]);
            containers
                .iter()
                .map(|container| &container.place)
                .flat_map(|place| [Some(&place.directory), place.programs.as_ref()])
                .flatten()
                .cloned()
                .collect()
        };
        for directory in directories {
            // Nothing to remove if the task never started.
            if let Err(error) = tokio::fs::remove_dir_all(&directory).await {
                tracing::debug!(%error, "a container's directory stays behind");
            }
        }
        tokio::select! {
            () = self.shared.clock.sleep(self.pace) => {}
            () = self.shared.stop.cancelled() => {}
        }
        self.shared.change(|world| {
            if let Some(task) = world.task_mut(&self.key) {
                task.status = TaskStatus::Stopped;
                task.times.stopped = Some(SystemTime::now());
                task.version += 1;
            }
            scheduler::note_end(world, &self.key);
        });
    }

    fn record_exit(&self, index: usize, exit: Exit) {
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        let mut target = None;
        self.change(|task| {
            let container = &mut task.containers[index];
            container.status = ContainerStatus::Stopped;
            container.exit_code = Some(code);
            target = container.target(&task.key);
            if task.definition.outline.container_definitions[index].is_essential() {
                task.request_stop(Stop {
                    code: "EssentialContainerExited",
                    reason: "Essential container in task exited".to_owned(),
                });
            }
        });
        if let Some(target) = target {
            self.shared.sessions.end_target(&target);
        }
    }

    fn is_alive(&self, index: usize) -> bool {
        let world = self.shared.world();
        world
            .task(&self.key)
            .is_some_and(|task| task.containers[index].exit_code.is_none())
    }

    fn is_over(&self) -> bool {
        self.halt.is_cancelled() || self.shared.stop.is_cancelled()
    }

    /// Stays in the present state for a while. False if the task shall stop.
    async fn pause(&self) -> bool {
        tokio::select! {
            () = self.shared.clock.sleep(self.pace) => {}
            () = self.halt.cancelled() => {}
            () = self.shared.stop.cancelled() => {}
        }
        !self.is_over()
    }

    fn change(&self, change: impl FnOnce(&mut Task)) {
        self.shared.change_task(&self.key, change);
    }
}

async fn start_container(
    spec: ContainerSpec,
    tools: Option<String>,
) -> Result<process::Container, process::StartError> {
    if let Err(error) = tokio::fs::create_dir_all(&spec.directory).await {
        return Err(process::StartError(format!(
            "cannot make the container's directory: {error}"
        )));
    }
    if spec.argv.is_empty() {
        return Err(process::StartError("no command specified".to_owned()));
    }
    if let (Some(folder), Some(tools)) = (spec.programs.clone(), tools) {
        let install = move || Image::parse(&tools)?.install(&folder);
        let installed = tokio::task::spawn_blocking(install).await;
        installed
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(process::StartError)?;
    }
    process::Container::start(spec).await
}

async fn exit_of(running: &Running) -> (usize, Exit) {
    (running.index, running.process.wait().await)
}
