//! The one world of a sandbox, and what every part of the server shares.

pub(crate) mod definition;
pub(crate) mod service;
pub(crate) mod store;
pub(crate) mod task;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Buckets;
use crate::attached::Programs;
use crate::auth::Credentials;
use crate::automation::Automation;
use crate::clock::SandboxClock;
use crate::faults::Switch;
use crate::functions::Function;
use crate::iam::{self, Iam};
use crate::identifiers::Account;
use crate::isolation::Makings;
use crate::kms::Kms;
use crate::logs::Logs;
use crate::mishaps::Mishaps;
use crate::network::Network;
use crate::process::InitCommand;
use crate::runtime::Engine;
use crate::sessions::Sessions;
use crate::simulated::{Fates, Fleet};
use definition::TaskDefinition;
use service::Service;
use store::Stores;
use task::{ManagedAgent, Task};

/// What every request and every lifecycle needs; made once per sandbox.
pub(crate) struct Shared {
    pub(crate) account: Account,
    pub(crate) credentials: Credentials,
    pub(crate) accept_any_credentials: bool,
    pub(crate) sessions: Sessions,
    pub(crate) faults: Switch,
    pub(crate) kms: Arc<Kms>,
    /// `http://127.0.0.1:<port>`.
    pub(crate) endpoint: String,
    /// The host that stream URLs name in place of the one that was asked.
    pub(crate) channel_host: Option<String>,
    /// Private directory below which tasks have theirs; removed at shutdown.
    pub(crate) root: PathBuf,
    pub(crate) init: InitCommand,
    /// How tasks are isolated, if they are.
    pub(crate) isolation: Option<Makings>,
    /// What runs real images, if something does.
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) agents: Agents,
    /// Real agents to start, if there are any.
    pub(crate) programs: Option<Arc<Programs>>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) mishaps: Mishaps,
    pub(crate) automation: Automation,
    /// What idle limits and the states of tasks go by.
    pub(crate) clock: SandboxClock,
    /// Seconds that the clock of the API is ahead of this machine's.
    pub(crate) clock_ahead: i64,
    /// How long tasks stay in the states that only take time in AWS.
    pub(crate) pace: Duration,
    /// How long images are pulled, if not for `pace`.
    pub(crate) pull: Option<Duration>,
    /// The lifecycles of all tasks, and the service scheduler.
    pub(crate) lifecycles: TaskTracker,
    /// Set once, when the sandbox shuts down.
    pub(crate) stop: CancellationToken,
    /// How simulated tasks fare.
    pub(crate) fates: Fates,
    calls: Mutex<Calls>,
    /// Calls of all services so far, by the action of policies.
    actions: Mutex<BTreeMap<String, u64>>,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
}

/// What a [`Shared`] is made of besides an empty world.
pub(crate) struct Setting {
    pub(crate) account: Account,
    pub(crate) credentials: Credentials,
    pub(crate) accept_any_credentials: bool,
    pub(crate) sessions: Sessions,
    pub(crate) faults: Switch,
    pub(crate) kms: Arc<Kms>,
    pub(crate) endpoint: String,
    pub(crate) channel_host: Option<String>,
    pub(crate) root: PathBuf,
    pub(crate) init: InitCommand,
    /// How tasks are isolated, if they are.
    pub(crate) isolation: Option<Makings>,
    /// What runs real images, if something does.
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) agents: Agents,
    pub(crate) programs: Option<Arc<Programs>>,
    pub(crate) mishaps: Mishaps,
    pub(crate) clock: SandboxClock,
    pub(crate) clock_ahead: i64,
    pub(crate) pace: Duration,
    pub(crate) pull: Option<Duration>,
    pub(crate) fleet: Fleet,
    /// Where log streams are kept.
    pub(crate) streams: PathBuf,
    pub(crate) lifecycles: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// How the exec agents of new containers come up.
pub(crate) struct Agents {
    /// How long they stay PENDING.
    pub(crate) pending: Duration,
    /// They stop at once, for this reason, until a service is deployed anew.
    pub(crate) stopped: Mutex<Option<String>>,
}

impl Agents {
    /// What happens when one has been PENDING for long enough.
    pub(crate) fn start(&self, agent: &mut ManagedAgent) {
        agent.start();
        if let Some(reason) = &*self.stopped() {
            agent.stop(reason);
        }
    }

    /// Whatever stopped them has passed.
    pub(crate) fn recover(&self) {
        *self.stopped() = None;
    }

    fn stopped(&self) -> MutexGuard<'_, Option<String>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A sandbox without clusters.
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            account: setting.account,
            credentials: setting.credentials,
            accept_any_credentials: setting.accept_any_credentials,
            sessions: setting.sessions,
            faults: setting.faults,
            kms: setting.kms,
            endpoint: setting.endpoint,
            channel_host: setting.channel_host,
            root: setting.root,
            init: setting.init,
            isolation: setting.isolation,
            engine: setting.engine,
            agents: setting.agents,
            programs: setting.programs,
            logs: Arc::new(Logs::new(setting.streams, setting.clock.clone())),
            mishaps: setting.mishaps,
            automation: Automation::default(),
            clock: setting.clock,
            clock_ahead: setting.clock_ahead,
            pace: setting.pace,
            pull: setting.pull,
            lifecycles: setting.lifecycles,
            stop: setting.stop,
            fates: Fates::new(setting.fleet),
            calls: Mutex::default(),
            actions: Mutex::default(),
            world: Mutex::new(World::default()),
            changes: watch::Sender::new(0),
        }
    }

    /// One more call of an operation that there is.
    pub(crate) fn count_call(&self, operation: &str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.count(operation, Instant::now());
    }

    /// How often each operation was called, and the most calls of each within one second.
    pub(crate) fn calls(&self) -> (BTreeMap<String, u64>, BTreeMap<String, usize>) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.by_operation.clone(), calls.busiest.clone())
    }

    /// One more call that needs this permission.
    pub(crate) fn count_action(&self, action: &str) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        if is_counted(&actions, action) {
            *actions.entry(action.to_owned()).or_default() += 1;
        }
    }

    /// Whether the caller's policies allow this; if not, in AWS's words.
    pub(crate) fn allows(&self, action: &str) -> Result<(), String> {
        match self.world().iam.caller_may(&self.account, action) {
            true => Ok(()),
            false => Err(iam::refusal(&self.account, action)),
        }
    }

    /// How often each was called.
    pub(crate) fn actions(&self) -> BTreeMap<String, u64> {
        let actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        actions.clone()
    }

    /// The time by the clock of the API.
    pub(crate) fn time(&self) -> SystemTime {
        let span = Duration::from_secs(self.clock_ahead.unsigned_abs());
        match self.clock_ahead >= 0 {
            true => SystemTime::now() + span,
            false => SystemTime::now() - span,
        }
    }

    /// Looks at the world. Nobody may wait while holding it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world and tells those who watch it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let result = change(&mut self.world());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Changes one task, if it is still known: every change makes its version grow.
    pub(crate) fn change_task(&self, key: &TaskKey, change: impl FnOnce(&mut Task)) {
        self.change(|world| {
            if let Some(task) = world.task_mut(key) {
                change(task);
                task.version += 1;
            }
        });
    }

    /// How many changes there were so far.
    pub(crate) fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Notices of changes from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// So many names of calls are counted, and none that is longer: more than there are.
const COUNTED_NAMES: usize = 1000;
const COUNTED_LENGTH: usize = 100;

/// A caller who is throttled or refused may have made a name up.
fn is_counted(counts: &BTreeMap<String, u64>, name: &str) -> bool {
    counts.contains_key(name) || counts.len() < COUNTED_NAMES && name.len() <= COUNTED_LENGTH
}

/// Calls of the APIs so far.
#[derive(Default)]
struct Calls {
    by_operation: BTreeMap<String, u64>,
    /// Those of the last second.
    recent: BTreeMap<String, VecDeque<Instant>>,
    /// The most within any one second.
    busiest: BTreeMap<String, usize>,
}

impl Calls {
    fn count(&mut self, operation: &str, now: Instant) {
        if !is_counted(&self.by_operation, operation) {
            return;
        }
        *self.by_operation.entry(operation.to_owned()).or_default() += 1;
        let recent = self.recent.entry(operation.to_owned()).or_default();
        recent.push_back(now);
        while recent
            .front()
            .is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1))
        {
            recent.pop_front();
        }
        let busiest = self.busiest.entry(operation.to_owned()).or_default();
        *busiest = (*busiest).max(recent.len());
    }
}

/// Clusters and task definitions, and through them all the rest.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// By family; a revision's number is its index plus one.
    pub(crate) definitions: BTreeMap<String, Vec<Arc<TaskDefinition>>>,
    /// Every address that a task ever had: a late connection must not reach another task.
    addresses: HashSet<Ipv4Addr>,
    pub(crate) iam: Iam,
    pub(crate) network: Network,
    /// Lambda functions by name.
    pub(crate) functions: BTreeMap<String, Arc<Function>>,
    /// Of S3.
    pub(crate) buckets: Buckets,
    /// Parameters and secrets.
    pub(crate) stores: Stores,
    /// Tasks of no service that world files have named.
    pub(crate) furnished: Vec<TaskKey>,
}

impl World {
    /// The task, whatever its state.
    pub(crate) fn task(&self, key: &TaskKey) -> Option<&Task> {
        self.clusters.get(&key.cluster)?.tasks.get(&key.id)
    }

    /// The task, to be changed; see [`Shared::change_task`].
    pub(crate) fn task_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.clusters.get_mut(&key.cluster)?.tasks.get_mut(&key.id)
    }

    /// Every task of every cluster.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.clusters
            .values()
            .flat_map(|cluster| cluster.tasks.values())
    }

    /// The newest ACTIVE revision of a family.
    pub(crate) fn latest(&self, family: &str) -> Option<&Arc<TaskDefinition>> {
        self.definitions
            .get(family)?
            .iter()
            .rev()
            .find(|definition| definition.active)
    }

    /// An address in 127/8 that no task has had, so that two tasks can listen on the same port.
    pub(crate) fn new_address(&mut self) -> Ipv4Addr {
        loop {
            let [a, b, c] = crate::identifiers::random::<3>();
            // 127.0.x.y is where other programs of this machine listen.
            let address = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
            if self.addresses.insert(address) {
                return address;
            }
        }
    }
}

/// Names a task among all clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskKey {
    pub(crate) cluster: String,
    pub(crate) id: String,
}

/// A cluster and what runs in it.
pub(crate) struct Cluster {
    pub(crate) name: String,
    /// ACTIVE, or INACTIVE once deleted.
    pub(crate) active: bool,
    pub(crate) capacity_providers: Vec<String>,
    pub(crate) default_strategy: Vec<StrategyItem>,
    pub(crate) configuration: Option<Value>,
    pub(crate) settings: Vec<Value>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) tasks: BTreeMap<String, Task>,
    /// What RunTask did for a client token.
    pub(crate) client_tokens: BTreeMap<String, ClientToken>,
    /// Since when it was seen to be INACTIVE, on the sandbox's clock.
    pub(crate) over_since: Option<Duration>,
}

impl Cluster {
    /// An empty cluster.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            active: true,
            capacity_providers: Vec::new(),
            default_strategy: Vec::new(),
            configuration: None,
            settings: Vec::new(),
            tags: Vec::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            client_tokens: BTreeMap::new(),
            over_since: None,
        }
    }

    /// The tasks of each service that nobody wants to stop: found at once for all, since there may be thousands of
    /// both.
    pub(crate) fn wanted_tasks(&self) -> HashMap<&str, Vec<&Task>> {
        let mut wanted: HashMap<&str, Vec<&Task>> = HashMap::new();
        for task in self.tasks.values().filter(|task| task.stop.is_none()) {
            if let Some(service) = task.service() {
                wanted.entry(service).or_default().push(task);
            }
        }
        wanted
    }
}

/// The first use of a client token.
pub(crate) struct ClientToken {
    /// Digest of the request's other parameters.
    pub(crate) parameters: Vec<u8>,
    /// Ids of the tasks that it started.
    pub(crate) tasks: Vec<String>,
    /// When it was used, on the sandbox's clock.
    pub(crate) at: Duration,
}

impl ClientToken {
    /// For how long AWS remembers one.
    const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

    pub(crate) fn is_good(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < Self::LIFE
    }
}

/// One part of a capacity provider strategy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StrategyItem {
    pub(crate) capacity_provider: String,
    #[serde(default)]
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) base: u32,
}

/// A tag; ECS spells its members in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// A name with its value, as in environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// A time as the JSON services write it: seconds since 1970 with a fraction.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whole milliseconds, which is what the services keep.
    Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
