//! Agents from outside: real ones, which come over the control channel as they come to AWS.
//!
//! An agent proves by its keys which container it is in, keeps one WebSocket on which it is given sessions, and opens a
//! data channel of its own for each of them. `rest.rs` is its requests, `socket.rs` its two kinds of socket,
//! `message.rs` what is said on the first one, `session.rs` the way between its data channel and the client's.
//! With programs to start (`program.rs`), each container gets an agent of its own, which sees a private part of the
//! file system (`view.rs`); `names.rs` is the hosts that only tasks reach.

mod message;
mod names;
pub(crate) mod program;
mod rest;
mod session;
mod socket;
pub(crate) mod view;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{self, Credentials};
use crate::iam::Decision;
use crate::identifiers;
use crate::prerequisites;
use crate::state::task::{AgentStatus, Container, Task};
use crate::state::{Shared, TaskKey};
pub(crate) use program::Programs;
pub(crate) use rest::{answer, wants};
pub(crate) use session::serve;

/// How long a lost connection counts as one that will be back: the real agent is within 2.5 s.
const ABSENCE: Duration = Duration::from_secs(5);
/// What a container shows of an agent that stays away.
const LOST: &str = "ExecuteCommandAgent has lost its connection";
/// Messages on their way to an agent's control channel.
const QUEUE: usize = 64;

/// The agents of all worlds of a sandbox that come from outside. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attached {
    inner: Arc<Inner>,
}

struct Inner {
    table: Mutex<Table>,
    /// Counts agents that came or went.
    changes: watch::Sender<u64>,
    tasks: TaskTracker,
    /// The sandbox answers requests for these worlds.
    opened: CancellationToken,
    stop: CancellationToken,
}

#[derive(Default)]
struct Table {
    /// By key id.
    keys: HashMap<String, Key>,
    /// By target.
    agents: HashMap<String, Agent>,
    /// By session, as long as it wants an agent.
    channels: HashMap<String, Channel>,
    sockets: u64,
}

/// An agent that has asked for a control channel.
#[derive(Default)]
struct Agent {
    /// Opens the next socket, once.
    token: Option<String>,
    /// The socket in use.
    line: Option<Line>,
}

struct Line {
    number: u64,
    messages: mpsc::Sender<Bytes>,
}

/// A session's end on the agent's side.
struct Channel {
    target: String,
    token: Option<String>,
    /// Takes the sockets with which the agent comes.
    door: mpsc::Sender<socket::Caller>,
    /// Becomes the agent's last word.
    completed: watch::Sender<Option<String>>,
}

/// Keys of a container, kept by what its world holds.
struct Key {
    credentials: Credentials,
    shared: Weak<Shared>,
    task: TaskKey,
    container: String,
}

/// What an agent's keys stand for: one container of a task.
pub(crate) struct Pass {
    pub(crate) credentials: Credentials,
    pub(crate) shared: Arc<Shared>,
    task: TaskKey,
    container: String,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("task", &self.task)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Attached {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            table: Mutex::default(),
            changes: watch::Sender::new(0),
            tasks: TaskTracker::new(),
            opened: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Agents may come: what they ask for is answered from now on.
    pub(crate) fn open(&self) {
        self.inner.opened.cancel();
    }

    /// Set once they may come.
    pub(crate) fn opened(&self) -> CancellationToken {
        self.inner.opened.clone()
    }

    /// The keys of a container, the same ones for as long as it is there.
    pub(crate) fn keys(
        &self,
        shared: &Arc<Shared>,
        task: &Task,
        container: &Container,
    ) -> Credentials {
        let mut table = self.table();
        let own = |key: &&Key| key.task == task.key && key.container == container.name;
        if let Some(key) = table.keys.values().find(own) {
            return key.credentials.clone();
        }
        let credentials = Credentials {
            access_key_id: format!("ASIA{}", identifiers::base32(16)),
            secret_access_key: identifiers::secret(40),
            session_token: Some(identifiers::secret(320)),
        };
        let key = Key {
            credentials: credentials.clone(),
            shared: Arc::downgrade(shared),
            task: task.key.clone(),
            container: container.name.clone(),
        };
        table.keys.insert(credentials.access_key_id.clone(), key);
        credentials
    }

    /// Whose keys signed a request, if they are an agent's. Nothing is checked yet.
    pub(crate) fn signer(&self, headers: &HeaderMap) -> Option<Pass> {
        let (id, _) = auth::signer(headers)?;
        let table = self.table();
        let key = table.keys.get(id)?;
        Some(Pass {
            credentials: key.credentials.clone(),
            shared: key.shared.upgrade()?,
            task: key.task.clone(),
            container: key.container.clone(),
        })
    }

    /// The task is over: its keys open nothing any more.
    pub(crate) fn forget(&self, task: &TaskKey) {
        let mut table = self.table();
        table.keys.retain(|_, key| key.task != *task);
        let own = format!("ecs:{}_{}_", task.cluster, task.id);
        table.agents.retain(|target, _| !target.starts_with(&own));
    }

    /// Whether an agent is there for this target.
    pub(crate) fn is_online(&self, target: &str) -> bool {
        let table = self.table();
        table
            .agents
            .get(target)
            .is_some_and(|agent| agent.line.is_some())
    }

    /// Ends all sockets, and waits until they have ended.
    pub(crate) async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Sends a message on an agent's control channel. False if there is none.
    async fn tell(&self, target: &str, message: Bytes) -> bool {
        let line = {
            let table = self.table();
            let line = table
                .agents
                .get(target)
                .and_then(|agent| agent.line.as_ref());
            line.map(|line| line.messages.clone())
        };
        match line {
            Some(messages) => messages.send(message).await.is_ok(),
            None => false,
        }
    }

    /// Returns once the agent is there; false if it is not within `limit`.
    async fn arrival(&self, target: &str, limit: Duration) -> bool {
        let mut changes = self.inner.changes.subscribe();
        let there = async {
            while !self.is_online(target) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, there).await.is_ok()
    }

    /// A token for the next control channel of an agent.
    fn invite(&self, target: &str) -> String {
        let token = token();
        let mut table = self.table();
        table.agents.entry(target.to_owned()).or_default().token = Some(token.clone());
        token
    }

    /// A token for the next data channel of a session. `None` if the session is not this agent's, or over.
    fn invite_to_session(&self, session_id: &str, target: &str) -> Option<String> {
        let mut table = self.table();
        let channel = table.channels.get_mut(session_id);
        let channel = channel.filter(|channel| channel.target == target)?;
        let token = token();
        channel.token = Some(token.clone());
        Some(token)
    }

    /// An agent has come with its control channel.
    fn connected(
        &self,
        pass: &Pass,
        target: &str,
        given: &str,
    ) -> Option<(u64, mpsc::Receiver<Bytes>)> {
        let (messages, queue) = mpsc::channel(QUEUE);
        let number = {
            let mut table = self.table();
            let number = table.sockets + 1;
            let agent = table.agents.get_mut(target)?;
            agent.token.take_if(|right| same(right, given))?;
            agent.line = Some(Line { number, messages });
            table.sockets = number;
            number
        };
        pass.show(AgentStatus::Running, None);
        self.inner.changes.send_modify(|count| *count += 1);
        Some((number, queue))
    }

    /// An agent has come with a session's data channel: where it goes.
    fn entered(
        &self,
        session_id: &str,
        target: &str,
        given: &str,
    ) -> Option<mpsc::Sender<socket::Caller>> {
        let mut table = self.table();
        let channel = table.channels.get_mut(session_id);
        let channel = channel.filter(|channel| channel.target == target)?;
        channel.token.take_if(|right| same(right, given))?;
        Some(channel.door.clone())
    }

    /// An agent's last word of a session. It says so twice if it was told to end it.
    fn completed(&self, session_id: &str, output: String) {
        if let Some(channel) = self.table().channels.get(session_id) {
            channel.completed.send_if_modified(|word| {
                let first = word.is_none();
                if first {
                    *word = Some(output);
                }
                first
            });
        }
    }

    /// That control channel is gone. If no other comes, the container shows it.
    async fn disconnected(&self, pass: &Pass, target: &str, number: u64) {
        {
            let mut table = self.table();
            let Some(agent) = table.agents.get_mut(target) else {
                return;
            };
            if agent.line.take_if(|line| line.number == number).is_none() {
                return;
            }
        }
        self.inner.changes.send_modify(|count| *count += 1);
        tokio::select! {
            back = self.arrival(target, ABSENCE) => if back { return },
            () = self.inner.stop.cancelled() => return,
        }
        pass.show(AgentStatus::Stopped, Some(LOST));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change under the lock is complete in itself.
        self.inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// `ecs:<cluster>_<task id>_<runtime id>`, while the container runs and the agent may come: the same conditions as
    /// for the built-in one.
    fn target(&self) -> Result<String, &'static str> {
        let world = self.shared.world();
        let task = world.task(&self.task).ok_or("the task is gone")?;
        let mut containers = task.containers.iter();
        let container = containers.find(|container| container.name == self.container);
        let container = container.filter(|container| container.agent_status().is_some());
        let container = container.ok_or("the container has no agent, or does not run")?;
        if !prerequisites::is_connected(&world, &self.shared.account, task, &self.container) {
            return Err("the task's role or network does not allow it");
        }
        container
            .target(&self.task)
            .ok_or("the container does not run")
    }

    /// Who calls with these keys: the task's role, under the name of the task. `None` without a role.
    pub(crate) fn caller(&self) -> Option<String> {
        let world = self.shared.world();
        let role = world.task(&self.task).and_then(prerequisites::role)?;
        let name = role.rsplit('/').next().unwrap_or(role);
        Some(self.shared.account.assumed_role(name, &self.task.id))
    }

    /// Whether the task's role allows an action.
    pub(crate) fn may(&self, action: &str, resource: &str) -> bool {
        let world = self.shared.world();
        let role = world.task(&self.task).and_then(prerequisites::role);
        // Roles of definitions that somebody registered need not have been made here.
        role.is_some_and(|role| {
            world.iam.principal(role).is_none()
                || world.iam.decide(role, action, resource) == Decision::Allowed
        })
    }

    /// The agent's state, as long as the container runs.
    fn show(&self, status: AgentStatus, reason: Option<&str>) {
        self.shared.change_task(&self.task, |task| {
            let mut containers = task.containers.iter_mut();
            let container = containers.find(|container| container.name == self.container);
            let running = container.filter(|container| container.agent_status().is_some());
            let Some(agent) = running.and_then(|container| container.agent.as_mut()) else {
                return;
            };
            match reason {
                Some(reason) => agent.stop(reason),
                None if agent.status != status => agent.start(),
                None => {}
            }
        });
    }
}

fn same(right: &str, given: &str) -> bool {
    use subtle::ConstantTimeEq;
    bool::from(right.as_bytes().ct_eq(given.as_bytes()))
}

fn token() -> String {
    STANDARD.encode(identifiers::random::<96>())
}
