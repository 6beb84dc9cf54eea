//! What is on at present: the worlds of one start, which a reset replaces as a whole.
//!
//! Endpoint, keys and clock stay for the life of a sandbox. Everything else belongs to a set: its tasks, its sessions and
//! its folder, so that a new one is up before the old one goes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::attached::Programs;
use crate::auth::Credentials;
use crate::clock::SandboxClock;
use crate::faults::{Faults, Switch};
use crate::identifiers::Account;
use crate::isolation::Makings;
use crate::keep::Kept;
use crate::kms::Kms;
use crate::landscape::{Blueprint, Landscape, STREAMS};
use crate::page::Page;
use crate::process::InitCommand;
use crate::runtime::Engine;
use crate::scenario::{Plan, Scenario};
use crate::sessions::{AgentOptions, Sessions};
use crate::state::Shared;
use crate::state::task::AgentStatus;
use crate::world_file::{WorldFile, WorldFileError};
use crate::{IDLE_LIMIT, StartError, logs, scheduler, tls, world};

/// How long the tasks of a new set may take to run; those of the demo world need some tens of milliseconds.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// The same for tasks that were kept: what could not run before does not keep a sandbox from starting.
const KEPT_LIMIT: Duration = Duration::from_secs(3);

/// For real agents to come before the sandbox says that it is ready; they need one to two seconds.
const AGENTS_LIMIT: Duration = Duration::from_secs(10);

/// How long sessions and containers may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What every set is made with.
pub(crate) struct Props {
    pub(crate) account: Account,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) world: Option<WorldFile>,
    pub(crate) credentials: Credentials,
    pub(crate) accept_any_credentials: bool,
    pub(crate) agent: AgentOptions,
    pub(crate) faults: Faults,
    pub(crate) endpoint: String,
    pub(crate) channel_host: Option<String>,
    pub(crate) root: PathBuf,
    pub(crate) init: InitCommand,
    /// How tasks are isolated, if they are.
    pub(crate) isolation: Option<Makings>,
    /// What runs real images, if something does.
    pub(crate) engine: Option<Arc<Engine>>,
    /// Real agents to start, if there are any.
    pub(crate) programs: Option<Arc<Programs>>,
    pub(crate) agent_pending: Duration,
    pub(crate) clock: SandboxClock,
    pub(crate) pace: Duration,
    pub(crate) access: Arc<Access>,
    pub(crate) page: Page,
    /// Set once, when the sandbox shuts down.
    pub(crate) stop: CancellationToken,
}

/// The set that is on.
pub(crate) struct Stage {
    props: Props,
    current: Mutex<Arc<Landscape>>,
    /// How many sets there were; held by whoever changes what is on.
    changes: tokio::sync::Mutex<u32>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("endpoint", &self.props.endpoint)
            .finish_non_exhaustive()
    }
}

impl Stage {
    /// The first set: what was kept, or the world of the start.
    pub(crate) async fn set(props: Props, kept: Option<&Kept>) -> Result<Self, StartError> {
        let landscape = props.raise(0, kept).await?;
        Ok(Self {
            props,
            current: Mutex::new(Arc::new(landscape)),
            changes: tokio::sync::Mutex::new(1),
        })
    }

    /// All worlds that are on.
    pub(crate) fn landscape(&self) -> Arc<Landscape> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// The sandbox's own account and region.
    pub(crate) fn home(&self) -> Arc<Shared> {
        Arc::clone(&self.landscape().home)
    }

    pub(crate) fn props(&self) -> &Props {
        &self.props
    }

    /// Requests are served from now on: real agents are started, and waited for.
    pub(crate) async fn open(&self) {
        let home = self.home();
        home.sessions.outside().open();
        self.props.agents_up(&home).await;
    }

    /// The world of the start again. The old set ends when the new one is up; if that fails it stays.
    pub(crate) async fn reset(&self) -> Result<(), StartError> {
        let mut next = self.changes.lock().await;
        let number = *next;
        // Also one that does not come up has had its number.
        *next += 1;
        let landscape = Arc::new(self.props.raise(number, None).await?);
        let old = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, landscape)
        };
        let home = self.home();
        home.sessions.outside().open();
        wind_down(&old.home).await;
        self.props.clear_away(&old.home.root).await;
        self.props.agents_up(&home).await;
        Ok(())
    }

    /// Adds what a file names, or replaces it. A file with a mistake changes nothing.
    pub(crate) async fn load(&self, file: &WorldFile) -> Result<(), WorldFileError> {
        let _alone = self.changes.lock().await;
        let landscape = self.landscape();
        file.load(&landscape.home)?;
        landscape.extend(file.extent());
        landscape.furnish_logs();
        Ok(())
    }

    /// Ends the set that is on.
    pub(crate) async fn strike(&self) {
        wind_down(&self.home()).await;
        if let Some(engine) = &self.props.engine {
            engine.end().await;
        }
    }
}

impl Props {
    async fn raise(&self, number: u32, kept: Option<&Kept>) -> Result<Landscape, StartError> {
        let root = match number {
            // The first has the sandbox's own.
            0 => self.root.clone(),
            _ => self.root.join(format!("set-{number}")),
        };
        let raised = self.raise_in(root.clone(), kept).await;
        if raised.is_err() {
            self.clear_away(&root).await;
        }
        raised
    }

    async fn raise_in(&self, root: PathBuf, kept: Option<&Kept>) -> Result<Landscape, StartError> {
        self.make(&root).map_err(StartError::Directory)?;
        let mut plan = Plan::new(&self.scenarios);
        if let Some(file) = &self.world {
            plan.extent.extend(file.extent());
        }
        let kms = Arc::new(Kms::new(self.account.clone()));
        let faults = Switch::new(self.faults.clone());
        let blueprint = Blueprint {
            sessions: Sessions::new(
                self.agent.clone(),
                self.clock.clone(),
                plan.idle_limit.unwrap_or(IDLE_LIMIT),
                faults.clone(),
                Arc::clone(&kms),
                Arc::clone(&self.access),
            ),
            plan,
            credentials: self.credentials.clone(),
            accept_any_credentials: self.accept_any_credentials,
            faults: self.faults.clone(),
            endpoint: self.endpoint.clone(),
            channel_host: self.channel_host.clone(),
            root,
            init: self.init.clone(),
            isolation: self.isolation.clone(),
            engine: self.engine.clone(),
            programs: self.programs.clone(),
            agent_pending: self.agent_pending,
            clock: self.clock.clone(),
            pace: self.pace,
            lifecycles: TaskTracker::new(),
            stop: self.stop.child_token(),
        };
        let shared = blueprint.build(self.account.clone(), faults, kms);
        if let Err(error) = self.furnish(&shared, &blueprint.plan, kept).await {
            wind_down(&shared).await;
            return Err(error);
        }
        shared.lifecycles.spawn(scheduler::run(Arc::clone(&shared)));
        Ok(Landscape::new(shared, blueprint))
    }

    async fn furnish(
        &self,
        shared: &Arc<Shared>,
        plan: &Plan,
        kept: Option<&Kept>,
    ) -> Result<(), StartError> {
        shared.change(|world| world::found(world, &shared.account, plan));
        match (kept, &self.world) {
            (Some(kept), _) => {
                kept.restore(shared);
                plan.furnish_logs(shared);
                settle(shared).await;
            }
            (None, world) => {
                match world {
                    Some(file) => file.furnish(shared)?,
                    None => shared.change(|world| world::furnish(world, &shared.account, plan)),
                }
                plan.furnish_logs(shared);
                ready(shared).await?;
            }
        }
        world::finish(shared, plan);
        Ok(())
    }

    /// Waits until none of the agents that the sandbox starts is on its way any more; one that does not come is shown by
    /// its task.
    async fn agents_up(&self, shared: &Shared) {
        if self.programs.is_none() {
            return;
        }
        let mut changes = shared.watch();
        let pending = || {
            let world = shared.world();
            let mut containers = world.tasks().flat_map(|task| &task.containers);
            containers.any(|container| container.agent_status() == Some(AgentStatus::Pending))
        };
        let up = async {
            while pending() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(AGENTS_LIMIT, up).await.is_err() {
            tracing::warn!("some agents are not connected yet");
        }
    }

    /// Makes the folder of a set.
    fn make(&self, root: &Path) -> io::Result<()> {
        if root == self.root {
            return Ok(());
        }
        std::fs::create_dir(root)?;
        let authority = self.root.join(tls::AUTHORITY);
        if authority.exists() {
            // Scripts of runbooks are told to find it in the folder of their set.
            std::fs::copy(authority, root.join(tls::AUTHORITY))?;
        }
        Ok(())
    }

    /// Removes what a set that has ended had in its folder. What else is in the sandbox's own stays.
    async fn clear_away(&self, root: &Path) {
        let mut folders = Vec::new();
        if root == self.root {
            let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
            folders.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| is_of_set(path)),
            );
        } else {
            folders.push(root.to_owned());
        }
        for folder in folders {
            if let Err(error) = tokio::fs::remove_dir_all(folder).await {
                tracing::debug!(%error, "a folder of an ended set stays behind");
            }
        }
    }
}

/// Logs, their streams, and what tasks had.
fn is_of_set(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_task = |name: &str| name.len() == 32 && name.bytes().all(|it| it.is_ascii_hexdigit());
    name.is_some_and(|name| name == logs::FOLDER || name.starts_with(STREAMS) || is_task(name))
}

/// The services of a new set are scheduled here, without the pace of later tasks, until they are steady.
pub(crate) async fn ready(shared: &Arc<Shared>) -> Result<(), StartError> {
    let late = || {
        format!(
            "its tasks are not running after {} seconds",
            READY_LIMIT.as_secs()
        )
    };
    let result = tokio::time::timeout(READY_LIMIT, steady(shared)).await;
    result.unwrap_or_else(|_| Err(StartError::NotReady { reason: late() }))
}

/// The same for what was kept, which need not come up.
async fn settle(shared: &Arc<Shared>) {
    match tokio::time::timeout(KEPT_LIMIT, steady(shared)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "kept services do not all come up"),
        Err(_) => tracing::warn!("kept services are not steady yet"),
    }
}

async fn steady(shared: &Arc<Shared>) -> Result<(), StartError> {
    let mut changes = shared.watch();
    loop {
        scheduler::reconcile(shared, Duration::ZERO);
        if let Some(reason) = scheduler::start_failure(&shared.world()) {
            return Err(StartError::NotReady { reason });
        }
        if scheduler::all_steady(&shared.world()) || changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Ends all sessions and containers of a set.
async fn wind_down(shared: &Shared) {
    shared.stop.cancel();
    shared.lifecycles.close();
    let ended = async {
        shared.sessions.shutdown().await;
        shared.lifecycles.wait().await;
    };
    if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
        tracing::warn!("some sessions or containers did not end in time");
    }
}
