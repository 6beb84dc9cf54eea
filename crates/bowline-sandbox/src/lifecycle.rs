//! One task's life: from RunTask's order to STOPPED, with real processes in between.

mod begin;
mod birth;
mod escort;
mod health;
mod order;
mod stop;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::dormant::{self, Dormant};
use crate::mishaps::StartFailure;
use crate::prerequisites;
use crate::process::{self, ContainerSpec, Exit, Output};
use crate::room::Room;
use crate::runtime;
use crate::scheduler;
use crate::state::definition::TaskDefinition;
use crate::state::task::{
    AgentStatus, ContainerStatus, Launch, LogTarget, Overrides, Stop, Task, TaskStatus,
};
use crate::state::{Agents, Shared, Tag, TaskKey, World};
use begin::Beginning;
pub(crate) use birth::{host_name, new_task};
use escort::Escort;
use order::Prospect;
pub(crate) use order::check as check_dependencies;

/// How long a container may wait for those it depends on, unless its definition says otherwise; on the sandbox's clock.
const START_TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// What Fargate says of a container whose log group is not there.
const NO_LOG_GROUP: &str = "ResourceInitializationError: failed to validate logger args: create stream has been retried \
    1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : \
    exit status 1";

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
    /// How long its images are pulled.
    pub(crate) pull: Duration,
    /// What shall keep it from starting.
    pub(crate) start_failure: Option<StartFailure>,
    /// When lists and descriptions begin to know it, on the sandbox's clock.
    pub(crate) visible_from: Duration,
    /// Without processes until somebody needs them.
    pub(crate) lazy: bool,
}

/// Puts a task into the world and starts its life. The cluster exists.
pub(crate) fn launch(shared: &Arc<Shared>, world: &mut World, order: Order) -> TaskKey {
    let key = TaskKey {
        cluster: order.cluster.clone(),
        id: crate::identifiers::hex(32),
    };
    let task = new_task(shared, world, order, key.clone());
    let life = Life::new(shared, &task);
    if let Some(cluster) = world.clusters.get_mut(&key.cluster) {
        cluster.tasks.insert(key.id.clone(), task);
        shared.lifecycles.spawn(life.live());
    }
    key
}

/// What the lifecycle of one task holds.
pub(crate) struct Life {
    pub(crate) shared: Arc<Shared>,
    key: TaskKey,
    definition: Arc<TaskDefinition>,
    pub(crate) halt: CancellationToken,
    pace: Duration,
    dormant: Option<Dormant>,
    escort: Escort,
}

/// A container that was started, and its place in the definition.
struct Running {
    index: usize,
    process: Arc<process::Container>,
}

/// What a lifecycle waits for, by the place of the container.
#[derive(Clone, Copy)]
enum Event {
    Exited(usize, Exit),
    /// Its exec agent has been PENDING for long enough.
    AgentDue(usize),
    /// It has waited for others for long enough.
    WaitedTooLong(usize),
    Checked(usize, health::Verdict),
}

type Events = FuturesUnordered<BoxFuture<'static, Event>>;

impl Life {
    /// Of a task that is in the world, or about to be.
    pub(crate) fn new(shared: &Arc<Shared>, task: &Task) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: task.key.clone(),
            definition: Arc::clone(&task.definition),
            halt: task.halt.clone(),
            pace: task.pace,
            dormant: task.dormant.clone(),
            escort: Escort::default(),
        }
    }

    async fn live(self) {
        match self.dormant.clone() {
            _ if !self.prepare().await => self.go_on(false).await,
            Some(dormant) => {
                self.change(|task| run(task, &self.shared.agents));
                dormant::live(self, dormant).await;
            }
            None => self.go_on(true).await,
        }
    }

    /// From the start of its containers, if they shall start at all, to its end.
    pub(crate) async fn go_on(self, start: bool) {
        let mut running = Vec::new();
        if start {
            self.run(&mut running).await;
        }
        self.stop(&running).await;
        // Dropping kills what may be left of them.
        drop(running);
        self.escort.end().await;
        self.finish().await;
    }

    /// The states in which AWS makes the network and pulls the images. False if the task shall not start any more.
    async fn prepare(&self) -> bool {
        if !self.pause(self.pace).await {
            return false;
        }
        let failure = self.look(|task| task.start_failure.clone()).flatten();
        if let Some(failure) = failure.as_ref().filter(|failure| failure.before_pull()) {
            self.fail_to_start(failure);
            return false;
        }
        if let Some(container) = self.without_log_group() {
            self.fail_to_start(&StartFailure {
                container: Some(container),
                ..StartFailure::new(NO_LOG_GROUP)
            });
            return false;
        }
        self.change(|task| {
            task.status = TaskStatus::Pending;
            task.times.pull_started = Some(SystemTime::now());
        });
        let pull = self.look(|task| task.pull).unwrap_or_default();
        let mut going_on = self.pause(pull).await;
        if going_on && let Err(failure) = self.pull().await {
            self.fail_to_start(&failure);
            going_on = false;
        }
        self.change(|task| task.times.pull_stopped = Some(SystemTime::now()));
        match failure.filter(StartFailure::at_pull) {
            Some(failure) if going_on => {
                self.fail_to_start(&failure);
                false
            }
            _ => going_on,
        }
    }

    /// Has the engine provide the images that are real.
    async fn pull(&self) -> Result<(), StartFailure> {
        let Some(engine) = &self.shared.engine else {
            return Ok(());
        };
        for container in &self.definition.outline.container_definitions {
            let image = container.image.as_deref();
            let Some(image) = image.filter(|_| runtime::is_real(image)) else {
                continue;
            };
            let pulled = tokio::select! {
                pulled = engine.provide(image) => pulled,
                () = self.halt.cancelled() => return Ok(()),
                () = self.shared.stop.cancelled() => return Ok(()),
            };
            pulled.map_err(|reason| StartFailure {
                reason: format!("CannotPullContainerError: {image}: {reason}"),
                container: Some(container.name.clone()),
            })?;
        }
        Ok(())
    }

    /// The first container whose log group is missing and that does not make it.
    fn without_log_group(&self) -> Option<String> {
        self.look(|task| {
            let groups = self.shared.logs.groups();
            let missing =
                |target: &LogTarget| !target.create_group && groups.group(&target.group).is_err();
            let mut containers = task.containers.iter();
            let found = containers.find(|container| container.log.as_ref().is_some_and(missing));
            found.map(|container| container.name.clone())
        })
        .flatten()
    }

    fn fail_to_start(&self, failure: &StartFailure) {
        let named = failure.container.as_deref();
        let index = named.and_then(|name| self.definition.outline.container(name));
        self.change(|task| {
            let container = &mut task.containers[index.unwrap_or(0)];
            container.reason = Some(failure.reason.clone());
            container.status = ContainerStatus::Stopped;
            task.request_stop(Stop {
                code: "TaskFailedToStart",
                reason: failure.reason.clone(),
            });
        });
    }

    /// Starts each container when those it depends on allow it, and looks after them until an essential one has
    /// ended, or somebody wants the task stopped.
    async fn run(&self, running: &mut Vec<Running>) {
        let mut events = Events::new();
        let mut waiting: Vec<usize> =
            (0..self.definition.outline.container_definitions.len()).collect();
        for &index in &waiting {
            events.extend(self.start_limit(index));
        }
        let mut arrived = false;
        loop {
            self.start_ready(&mut waiting, running, &mut events).await;
            if self.is_over() {
                return;
            }
            if waiting.is_empty() && !arrived {
                arrived = true;
                if let Some(dormant) = &self.dormant {
                    // It has been RUNNING for everybody since long.
                    dormant.settle();
                    continue;
                }
                self.change(|task| task.status = TaskStatus::Activating);
                if !self.pause(self.pace).await {
                    return;
                }
                self.change(|task| {
                    task.status = TaskStatus::Running;
                    task.times.started = Some(SystemTime::now());
                });
            }
            tokio::select! {
                () = self.halt.cancelled() => {}
                () = self.shared.stop.cancelled() => {}
                Some(event) = events.next() => self.happened(event, &waiting, running, &mut events),
            }
        }
    }

    fn happened(&self, event: Event, waiting: &[usize], running: &[Running], events: &mut Events) {
        match event {
            Event::Exited(index, exit) => self.record_exit(index, exit),
            Event::AgentDue(index) => self.start_agent(index),
            Event::WaitedTooLong(index) if waiting.contains(&index) => {
                self.cannot_start(
                    index,
                    "CannotStartContainerError: timed out waiting for its dependencies",
                );
            }
            Event::WaitedTooLong(_) => {}
            Event::Checked(index, verdict) => {
                self.judge(index, verdict);
                if running.iter().any(|running| running.index == index) && self.is_alive(index) {
                    events.extend(self.next_check(index, Some(verdict)));
                }
            }
        }
    }

    /// Starts what can be started now, and gives up what never can.
    async fn start_ready(
        &self,
        waiting: &mut Vec<usize>,
        running: &mut Vec<Running>,
        events: &mut Events,
    ) {
        loop {
            let prospects: Vec<(usize, Prospect)> = self
                .look(|task| {
                    let indices = waiting.iter();
                    indices
                        .map(|&index| (index, order::prospect(task, index)))
                        .collect()
                })
                .unwrap_or_default();
            let next = prospects
                .into_iter()
                .find(|(_, prospect)| *prospect != Prospect::Later);
            let Some((index, prospect)) = next else {
                return;
            };
            if self.is_over() {
                return;
            }
            waiting.retain(|waiting| *waiting != index);
            match prospect {
                Prospect::Later => {}
                Prospect::Never(why) => {
                    self.cannot_start(index, &format!("CannotStartContainerError: {why}"));
                }
                Prospect::Now => running.extend(self.start(index, events).await),
            }
        }
    }

    async fn start(&self, index: usize, events: &mut Events) -> Option<Running> {
        let started = match self.spec(index) {
            Ok(beginning) => begin::start(beginning)
                .await
                .map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        let process = match started {
            Ok(process) => Arc::new(process),
            Err(reason) => {
                self.cannot_start(index, &format!("CannotStartContainerError: {reason}"));
                return None;
            }
        };
        let mut killed = CancellationToken::new();
        self.change(|task| {
            let container = &mut task.containers[index];
            container.status = ContainerStatus::Running;
            container.runtime_id = Some(container.future_runtime_id.clone());
            killed = container.killed.clone();
        });
        events.push(Box::pin(exit_or_kill(index, Arc::clone(&process), killed)));
        let (clock, pending) = (self.shared.clock.clone(), self.shared.agents.pending);
        if pending.is_zero() {
            self.start_agent(index);
        } else {
            events.push(Box::pin(async move {
                clock.sleep(pending).await;
                Event::AgentDue(index)
            }));
        }
        events.extend(self.next_check(index, None));
        Some(Running { index, process })
    }

    /// A container that cannot start ends the task if it is essential.
    fn cannot_start(&self, index: usize, reason: &str) {
        let essential = self.definition.outline.container_definitions[index].is_essential();
        self.change(|task| {
            let container = &mut task.containers[index];
            container.reason = Some(reason.to_owned());
            container.status = ContainerStatus::Stopped;
            if essential {
                task.request_stop(Stop {
                    code: "TaskFailedToStart",
                    reason: reason.to_owned(),
                });
            }
        });
    }

    fn spec(&self, index: usize) -> Result<Beginning, String> {
        let definition = &self.definition.outline.container_definitions[index];
        let found = self.look(|task| {
            let container = &task.containers[index];
            let failure = task.start_failure.clone();
            let own = |failure: &StartFailure| match &failure.container {
                Some(name) => *name == container.name,
                None => index == 0,
            };
            let failure = failure.filter(own).map(|failure| failure.reason);
            (
                container.argv.clone(),
                container.place.clone(),
                container.log.clone(),
                failure,
            )
        });
        let (argv, place, log, failure) = found.ok_or("the task is gone")?;
        if let Some(reason) = failure {
            let words = reason.strip_prefix("CannotStartContainerError: ");
            return Err(words.unwrap_or(&reason).to_owned());
        }
        let output = match log {
            None => Output::Nothing,
            Some(LogTarget {
                group,
                stream,
                create_group,
            }) => {
                let writer = self.shared.logs.writer(&group, &stream, create_group);
                let mut writer =
                    writer.map_err(|_| format!("the log group {group} does not exist"))?;
                Output::Sink(Box::new(move |bytes| writer.write(bytes)))
            }
        };
        let spec = ContainerSpec {
            init: self.shared.init.clone(),
            argv,
            environment: place.environment,
            directory: place.directory,
            programs: place.programs,
            output,
        };
        let collected = match &place.room {
            Some(Room::Isolated(inside)) => definition
                .tools()
                .map(|_| inside.programs(&definition.name)),
            Some(Room::Engine(_)) | None => spec.programs.clone(),
        };
        Ok(Beginning {
            spec,
            tools: definition.tools().map(str::to_owned),
            collected,
            room: place.room,
        })
    }

    /// Those of all containers.
    pub(crate) fn start_agents(&self) {
        for index in 0..self.definition.outline.container_definitions.len() {
            self.start_agent(index);
        }
    }

    /// One that nobody has given another state meanwhile.
    fn start_agent(&self, index: usize) {
        let mut escorted = false;
        self.change(|task| {
            let stops = prerequisites::stops(task, index);
            let container = &mut task.containers[index];
            let pending = container.agent_status() == Some(AgentStatus::Pending);
            if pending
                && stops.is_none()
                && self.shared.sessions.attached(&container.place).is_some()
            {
                // It is RUNNING when it has come.
                escorted = true;
                return;
            }
            if let Some(agent) = container.agent.as_mut().filter(|_| pending) {
                self.shared.agents.start(agent);
                if let Some(reason) = stops {
                    agent.stop(reason);
                }
            }
        });
        if escorted {
            self.start_outside(index);
        }
    }

    /// The network goes away, then the task is STOPPED.
    async fn finish(&self) {
        let mut targets = Vec::new();
        self.change(|task| {
            if task.interface.is_some() {
                task.status = TaskStatus::Deprovisioning;
            }
            task.times.execution_stopped = Some(SystemTime::now());
            for container in &mut task.containers {
                container.status = ContainerStatus::Stopped;
            }
            // Without processes nothing has ended them so far.
            let containers = task.containers.iter();
            targets.extend(containers.filter_map(|container| container.target(&task.key)));
        });
        for target in targets {
            self.shared.sessions.end_target(&target);
        }
        let places = self.look(|task| {
            let containers = task.containers.iter();
            containers
                .map(|container| container.place.clone())
                .collect::<Vec<_>>()
        });
        begin::clear(&places.unwrap_or_default()).await;
        // What was in it is gone; of a task without processes there is none.
        let _ = tokio::fs::remove_dir(self.shared.root.join(&self.key.id)).await;
        tokio::select! {
            () = self.shared.clock.sleep(self.pace) => {}
            () = self.shared.stop.cancelled() => {}
        }
        self.shared.sessions.outside().forget(&self.key);
        let now = self.shared.clock.now();
        self.shared.change(|world| {
            if let Some(task) = world.task_mut(&self.key) {
                task.status = TaskStatus::Stopped;
                task.times.stopped = Some(SystemTime::now());
                task.over_since = Some(now);
                task.version += 1;
            }
            // What ends with the sandbox has not failed.
            if !self.shared.stop.is_cancelled() {
                scheduler::note_end(world, &self.key, now);
            }
        });
    }

    fn record_exit(&self, index: usize, exit: Exit) {
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        let mut target = None;
        let essential = self.definition.outline.container_definitions[index].is_essential();
        self.change(|task| {
            let container = &mut task.containers[index];
            container.status = ContainerStatus::Stopped;
            container.exit_code = Some(code);
            target = container.target(&task.key);
            if essential {
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
        self.look(|task| task.containers[index].exit_code.is_none())
            .unwrap_or(false)
    }

    fn is_over(&self) -> bool {
        self.halt.is_cancelled() || self.shared.stop.is_cancelled()
    }

    /// Stays in the present state for a while. False if the task shall stop.
    async fn pause(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.shared.clock.sleep(span) => {}
            () = self.halt.cancelled() => {}
            () = self.shared.stop.cancelled() => {}
        }
        !self.is_over()
    }

    fn look<T>(&self, look: impl FnOnce(&Task) -> T) -> Option<T> {
        self.shared.world().task(&self.key).map(look)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Task)) {
        self.shared.change_task(&self.key, change);
    }
}

/// All of its containers run from now on.
pub(crate) fn run(task: &mut Task, agents: &Agents) {
    let stops: Vec<_> = (0..task.containers.len())
        .map(|index| prerequisites::stops(task, index))
        .collect();
    for (container, stops) in task.containers.iter_mut().zip(stops) {
        container.status = ContainerStatus::Running;
        container.runtime_id = Some(container.future_runtime_id.clone());
        if let Some(agent) = container
            .agent
            .as_mut()
            .filter(|_| agents.pending.is_zero())
        {
            agents.start(agent);
            if let Some(reason) = stops {
                agent.stop(reason);
            }
        }
    }
    task.status = TaskStatus::Running;
    task.times.started = Some(SystemTime::now());
}

async fn exit_or_kill(
    index: usize,
    process: Arc<process::Container>,
    killed: CancellationToken,
) -> Event {
    tokio::select! {
        exit = process.wait() => return Event::Exited(index, exit),
        () = killed.cancelled() => process.kill(),
    }
    Event::Exited(index, process.wait().await)
}
