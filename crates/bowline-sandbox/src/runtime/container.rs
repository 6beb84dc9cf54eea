//! The main process of a container of an engine: from its creation to its removal.

use std::collections::HashMap;
use std::fs;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, ResourcesUlimits};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use rustix::process::Resource;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Contained, LABEL, Running, said};
use crate::init::sweep::MARK;
use crate::process::{self, Container, END_LIMIT, Exit, KILLED, Order, Output, StartError, Target};

type Attached = AttachContainerResults;

impl Contained {
    /// Makes and starts it. The variables of its image come before `environment`.
    pub(crate) async fn start(
        &self,
        environment: &[(String, String)],
        output: Output,
    ) -> Result<Container, StartError> {
        let engine = &self.0.engine;
        let target = process::open(output).await?;
        let id = self.create(environment).await.map_err(StartError)?;
        let begun = self.begin(&id, environment).await;
        let attached = match begun {
            Ok(attached) => attached,
            Err(reason) => {
                engine.remove(&id).await;
                return Err(StartError(reason));
            }
        };
        let (orders, taken) = mpsc::channel(ORDERS);
        let (exit, seen) = tokio::sync::watch::channel(None);
        let contained = self.clone();
        // Not aborted when the container is dropped: somebody has to remove it.
        engine.followers.spawn(async move {
            let ended = contained.follow(&id, attached, target, taken).await;
            *contained.place() = None;
            exit.send_replace(Some(ended));
            contained.0.engine.remove(&id).await;
        });
        Ok(Container::of_engine(orders, seen))
    }

    async fn create(&self, environment: &[(String, String)]) -> Result<String, String> {
        let wanted = &self.0.wanted;
        let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
        let variables = environment.iter();
        let body = ContainerCreateBody {
            image: Some(wanted.image.clone()),
            entrypoint: some(&wanted.entry_point),
            cmd: some(&wanted.command),
            env: Some(
                variables
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            user: wanted.user.clone(),
            stop_signal: wanted.stop_signal.clone(),
            working_dir: wanted.directory.clone(),
            hostname: Some(wanted.hostname.clone()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            labels: Some(HashMap::from([(
                LABEL.to_owned(),
                self.0.engine.owner.clone(),
            )])),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                readonly_rootfs: Some(wanted.read_only),
                ulimits: Some(limits()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self.0.engine.client.create_container(None, body).await;
        created.map(|created| created.id).map_err(said)
    }

    /// Attached first: nothing of its output is lost.
    async fn begin(&self, id: &str, environment: &[(String, String)]) -> Result<Attached, String> {
        let client = &self.0.engine.client;
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = client.attach_container(id, Some(options)).await;
        let attached = attached.map_err(said)?;
        client.start_container(id, None).await.map_err(said)?;
        if let Some(running) = self.inspect(id).await? {
            match whose(running.process, id, environment) {
                Whose::Ours => *self.place() = Some(running),
                // There is nothing to enter.
                Whose::Nobodys => {}
                Whose::Anothers => {
                    return Err(format!(
                        "its process is not on this machine: {} runs containers elsewhere",
                        self.0.engine.title()
                    ));
                }
            }
        }
        Ok(attached)
    }

    /// Its main process and what commands get there; `None` if it does not run.
    async fn inspect(&self, id: &str) -> Result<Option<Running>, String> {
        let client = &self.0.engine.client;
        let inspected = match client.inspect_container(id, None).await {
            Ok(inspected) => inspected,
            // podman has a state that docker's interface does not know: ended, and not put away yet.
            Err(Error::JsonDataError { .. }) => return Ok(None),
            Err(error) => return Err(said(error)),
        };
        let state = inspected.state.unwrap_or_default();
        let config = inspected.config.unwrap_or_default();
        let process = state.pid.and_then(|pid| i32::try_from(pid).ok());
        let process = process.filter(|process| *process > 0 && state.running == Some(true));
        let variables = config.env.unwrap_or_default();
        let variables = variables.iter().filter_map(|both| both.split_once('='));
        let directory = config.working_dir.filter(|path| !path.is_empty());
        Ok(process.map(|process| Running {
            process,
            environment: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            directory: directory.unwrap_or_else(|| "/".to_owned()),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        }))
    }

    /// Until its end, with all of its output taken.
    async fn follow(
        &self,
        id: &str,
        mut attached: Attached,
        mut target: Target,
        mut orders: mpsc::Receiver<Order>,
    ) -> Exit {
        let client = &self.0.engine.client;
        let mut ends = client
            .wait_container(id, None::<WaitContainerOptions>)
            .boxed();
        let (mut open, mut commanded) = (true, true);
        let exit = loop {
            // All are cancel-safe: a stream keeps what it has not given yet.
            tokio::select! {
                end = ends.next() => break exit(end.as_ref()),
                piece = attached.output.next(), if open => open = pass(piece, &mut target).await,
                order = orders.recv(), if commanded => {
                    commanded = order.is_some();
                    self.signal(id, order.unwrap_or(Order::Kill)).await;
                }
            }
        };
        let rest = async {
            while open {
                open = pass(attached.output.next().await, &mut target).await;
            }
        };
        if timeout(END_LIMIT, rest).await.is_err() {
            tracing::warn!("the end of a container's output does not come");
        }
        exit
    }

    async fn signal(&self, id: &str, order: Order) {
        let signal = match order {
            Order::Stop => {
                let running = self.place().clone();
                let own = running.and_then(|running| running.stop_signal);
                own.unwrap_or_else(|| "SIGTERM".to_owned())
            }
            Order::Kill => "SIGKILL".to_owned(),
        };
        let options = KillContainerOptionsBuilder::new().signal(&signal).build();
        let killed = self.0.engine.client.kill_container(id, Some(options)).await;
        if let Err(error) = killed {
            // It may have ended at this very moment.
            tracing::debug!(%error, "a signal did not reach a container of the engine");
        }
    }
}

/// The open files that Fargate gives a container, and as many processes as there are numbers for; no more of either than
/// the sandbox itself may have. Left to itself an engine asks for more, and is refused where root is not allowed everything.
fn limits() -> Vec<ResourcesUlimits> {
    let numbers = fs::read_to_string("/proc/sys/kernel/pid_max");
    let numbers = numbers.ok().and_then(|text| text.trim().parse().ok());
    let limit = |name: &str, resource: Resource, [soft, hard]: [i64; 2]| {
        let own = rustix::process::getrlimit(resource).maximum;
        let own = own.and_then(|own| i64::try_from(own).ok());
        let cut = |usual: i64| own.map_or(usual, |own| own.min(usual));
        ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(cut(soft)),
            hard: Some(cut(hard)),
        }
    };
    let files = limit("nofile", Resource::Nofile, [1024, 65535]);
    let processes = limit("nproc", Resource::Nproc, [numbers.unwrap_or(PROCESSES); 2]);
    vec![files, processes]
}

/// The kernel's usual `pid_max`.
const PROCESSES: i64 = 32768;
/// Orders on their way; more are lost, and a last one comes with the end of the channel.
const ORDERS: usize = 16;

/// False at the end of the output.
async fn pass(piece: Option<Result<LogOutput, Error>>, target: &mut Target) -> bool {
    match piece {
        Some(Ok(piece)) => {
            target.take(&piece.into_bytes()).await;
            true
        }
        Some(Err(_)) | None => false,
    }
}

/// The client makes errors of all codes but zero.
fn exit(end: Option<&Result<bollard::models::ContainerWaitResponse, Error>>) -> Exit {
    let code = match end {
        Some(Ok(response)) => response.status_code,
        Some(Err(Error::DockerContainerWaitError { code, .. })) => *code,
        Some(Err(_)) | None => return KILLED,
    };
    i32::try_from(code).map_or(KILLED, Exit::Code)
}

/// Whose a process of this machine is: an engine in a virtual machine tells the numbers there.
enum Whose {
    Ours,
    /// It has ended.
    Nobodys,
    Anothers,
}

/// By the two things that only the container's own have, its control group and its metadata address.
fn whose(process: i32, id: &str, environment: &[(String, String)]) -> Whose {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup"));
    if groups.is_ok_and(|groups| groups.contains(id)) {
        return Whose::Ours;
    }
    let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    if variables.is_empty() {
        return Whose::Nobodys;
    }
    let mark = environment.iter().find(|(name, _)| name == MARK);
    let mark = mark.map(|(name, value)| format!("{name}={value}"));
    let mut variables = variables.split(|byte| *byte == 0);
    match mark.is_some_and(|mark| variables.any(|variable| variable == mark.as_bytes())) {
        true => Whose::Ours,
        false => Whose::Anothers,
    }
}
