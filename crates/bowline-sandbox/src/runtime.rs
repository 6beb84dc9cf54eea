//! Images run for real, in the containers of podman or docker.
//!
//! The engine is asked over its API; the commands of sessions are not. As with real agents they are processes that the
//! container does not know of: an init goes into its namespaces (`room.rs`, `init/session.rs`), so that terminals, signals
//! and the system's errors are the same as everywhere else. Containers have the network of this machine, like plain
//! processes: the sandbox, its metadata and their ports are at the usual addresses.
//!
//! Images below [`OWN`] are the sandbox's: their containers are processes all the same.

mod container;
mod service;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::init::session::Entry;
use crate::process::InitCommand;
use service::Service;

/// Names of images that there are none of.
const OWN: &str = "bowline/";
/// The label of our containers, with the sandbox that made them.
const LABEL: &str = "bowline.sandbox.owner";
/// For an engine to answer; one that has to be woken needs a second or two.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// For all containers to be removed at the end.
const END_LIMIT: Duration = Duration::from_secs(15);

/// What runs the containers whose images are real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// A service of podman of our own, or the one that CONTAINER_HOST names.
    Podman,
    /// The daemon that DOCKER_HOST names, or the machine's.
    Docker,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        })
    }
}

/// Whether an image is to be had from an engine.
pub(crate) fn is_real(image: Option<&str>) -> bool {
    image.is_some_and(|image| !image.is_empty() && !image.starts_with(OWN))
}

/// A connection to an engine.
#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Runtime,
    version: String,
    client: Docker,
    init: InitCommand,
    owner: String,
    /// What looks after the containers.
    followers: TaskTracker,
    /// Ends with us, and its containers with it.
    service: Option<Service>,
}

impl Engine {
    /// Connects to one, after starting it if it is podman's and none is named. What sandboxes left that were killed is
    /// removed. The error says what was refused.
    pub(crate) async fn start(
        runtime: Runtime,
        init: &InitCommand,
        folder: &Path,
    ) -> Result<Self, String> {
        let connected = timeout(ANSWER_LIMIT, service::connect(runtime, init, folder)).await;
        let late = || {
            Err(format!(
                "it does not answer within {} s",
                ANSWER_LIMIT.as_secs()
            ))
        };
        let (client, service) = connected.unwrap_or_else(|_| late())?;
        let client = client.negotiate_version().await.map_err(said)?;
        let version = client.version().await.map_err(said)?;
        let engine = Self {
            runtime,
            version: version.version.unwrap_or_default(),
            client,
            init: init.clone(),
            owner: service::owner(),
            followers: TaskTracker::new(),
            service,
        };
        engine.clear(|owner| !service::lives(owner)).await?;
        Ok(engine)
    }

    /// Its name and version.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.runtime, self.version)
    }

    /// Pulls an image that is not there. The error is for `CannotPullContainerError`.
    pub(crate) async fn provide(&self, image: &str) -> Result<(), String> {
        if self.client.inspect_image(image).await.is_ok() {
            return Ok(());
        }
        // Without a tag all of them would be pulled.
        let tagged = image
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains([':', '@']));
        let tag = if tagged { "" } else { "latest" };
        let options = CreateImageOptionsBuilder::new()
            .from_image(image)
            .tag(tag)
            .build();
        let mut progress = self.client.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(said)?;
        }
        // Some engines report a pull that failed as one that ended.
        let there = self.client.inspect_image(image).await;
        there.map(drop).map_err(said)
    }

    /// Ends all containers, and the engine if it is ours.
    pub(crate) async fn end(&self) {
        self.followers.close();
        let ended = async {
            self.followers.wait().await;
            self.clear(|owner| owner == self.owner).await
        };
        match timeout(END_LIMIT, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "some containers stay behind"),
            Err(_) => tracing::warn!("some containers do not end in time"),
        }
        if let Some(service) = &self.service {
            service.end().await;
        }
    }

    /// Removes the containers of these sandboxes.
    async fn clear(&self, whose: impl Fn(&str) -> bool) -> Result<(), String> {
        let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.client.list_containers(Some(options)).await;
        for container in found.map_err(said)? {
            let owner = container
                .labels
                .as_ref()
                .and_then(|labels| labels.get(LABEL));
            if let (Some(owner), Some(id)) = (owner, &container.id)
                && whose(owner)
            {
                self.remove(id).await;
            }
        }
        Ok(())
    }

    async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        if let Err(error) = self.client.remove_container(id, Some(options)).await {
            tracing::debug!(%error, "a container of the engine stays behind");
        }
    }
}

/// An engine's error without its client's words.
fn said(error: bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message,
        bollard::errors::Error::DockerStreamError { error } => error,
        other => other.to_string(),
    }
}

/// A container of an engine, before and while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Contained(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    wanted: Wanted,
    running: Mutex<Option<Running>>,
}

/// What a container definition says of its container.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) image: String,
    /// The image's if it is empty.
    pub(crate) entry_point: Vec<String>,
    /// The image's if it is empty, and there is no entry point.
    pub(crate) command: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) hostname: String,
    /// The image's if there is none.
    pub(crate) stop_signal: Option<String>,
    pub(crate) read_only: bool,
}

/// What is known of a container once it runs.
#[derive(Clone, Debug)]
struct Running {
    /// The number of its main process on this machine.
    process: i32,
    environment: Vec<(String, String)>,
    directory: String,
    /// Its name or number.
    stop_signal: Option<String>,
}

/// What a command of a session has from its container: variables, and the directory.
pub(crate) type Surroundings = (Vec<(String, String)>, String);

impl Contained {
    pub(crate) fn new(engine: &Arc<Engine>, wanted: Wanted) -> Self {
        Self(Arc::new(Inner {
            engine: Arc::clone(engine),
            wanted,
            running: Mutex::default(),
        }))
    }

    /// What commands have. The error is the system's: there is no such process.
    pub(crate) fn surroundings(&self) -> io::Result<Surroundings> {
        let running = self.running()?;
        Ok((running.environment, running.directory))
    }

    /// Starts the init of a session, and tells what it has to enter.
    pub(crate) fn start_session(
        &self,
        control: OwnedFd,
        [output, errors]: [BorrowedFd<'_>; 2],
    ) -> io::Result<(i32, Entry)> {
        let running = self.running()?;
        let init = &self.0.engine.init;
        // It ends by its socket, and the runtime reaps it.
        Command::new(&init.program)
            .args(&init.arguments)
            .env_clear()
            .stdin(control)
            .stdout(Stdio::from(output.try_clone_to_owned()?))
            .stderr(Stdio::from(errors.try_clone_to_owned()?))
            .spawn()?;
        Ok((running.process, Entry::Container))
    }

    fn running(&self) -> io::Result<Running> {
        let running = self.place().clone();
        running.ok_or_else(|| rustix::io::Errno::SRCH.into())
    }

    fn place(&self) -> MutexGuard<'_, Option<Running>> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
