//! The sessions of this sandbox: their tokens, their states, the data channel relay and the agents.
//!
//! The API handlers (ECS ExecuteCommand, SSM StartSession …) only use what is public to the crate here.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use base64::Engine;
use http::{Request, Response};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::agent::AgentOptions;
use crate::agent::{self, FromService, Job};
use crate::channel;
use crate::clock::SandboxClock;
use crate::idle::{self, Idle};
use crate::image::Place;

/// Ended sessions that DescribeSessions can still show.
const HISTORY: usize = 1000;
/// Messages from clients that an agent has not taken yet.
const QUEUE: usize = 256;

/// What a new session shall run, and where.
#[derive(Clone, Debug)]
pub(crate) struct SessionRequest {
    /// Prefix of the id to make: `ecs-execute-command` or the caller's user name.
    pub(crate) id_prefix: String,
    /// `ecs:<cluster>_<task id>_<runtime id>`.
    pub(crate) target: String,
    /// What runs at the far end.
    pub(crate) kind: SessionKind,
    /// Name of the SSM document, for DescribeSessions.
    pub(crate) document: String,
    /// ARN of the caller.
    pub(crate) owner: String,
    /// Free text given by the caller of StartSession.
    pub(crate) reason: Option<String>,
    /// The container's inside.
    pub(crate) place: Place,
    /// The folder of the log group that the session's output is copied to.
    pub(crate) log: Option<PathBuf>,
}

/// The session types of the agent that this sandbox serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// `InteractiveCommands`: the command line as given to ExecuteCommand, not yet split into words.
    Interactive { command: String },
    /// `NonInteractiveCommands` with separate output: no terminal, and an exit code.
    NonInteractive { command: String },
    /// `Standard_Stream`: the default shell.
    Shell,
}

/// Where a session stands, in the words of DescribeSessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionStatus {
    /// Made, nobody connected yet.
    Connecting,
    /// A client is connected.
    Connected,
    /// The client's socket went away; the session lives on.
    Disconnected,
    /// Over.
    Terminated,
}

/// One row for DescribeSessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) document: String,
    pub(crate) owner: String,
    pub(crate) reason: Option<String>,
    pub(crate) status: SessionStatus,
    pub(crate) started: SystemTime,
    pub(crate) ended: Option<SystemTime>,
}

/// A session's id and the single-use token that opens its data channel.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) session_id: String,
    pub(crate) token: String,
}

/// All sessions of a sandbox, running and ended. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    options: AgentOptions,
    clock: SandboxClock,
    idle_limit: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    live: HashMap<String, Live>,
    /// Over before anybody connected: whoever comes with the token is told how they ended.
    unclaimed: VecDeque<Live>,
    ended: VecDeque<SessionInfo>,
    /// One entry for each container that ever had a session: its places.
    places: HashMap<String, Arc<Semaphore>>,
}

struct Live {
    info: SessionInfo,
    /// The one token that opens the channel now; `None` once it was used.
    token: Option<String>,
    link: Link,
    cancel: CancellationToken,
}

/// What a connected socket needs of its session.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) session_id: String,
    pub(crate) target: String,
    pub(crate) agent: mpsc::Sender<FromService>,
    /// Becomes the text for `channel_closed` when the session is over.
    pub(crate) closed: watch::Receiver<Option<String>>,
    /// Cancelled when another socket takes over.
    pub(crate) replaced: CancellationToken,
    /// Cancelled when this socket shall be lost.
    pub(crate) cut: CancellationToken,
    pub(crate) idle: Idle,
}

impl Sessions {
    /// No sessions yet; agents will behave as `options` say, and sessions end after `idle_limit` on `clock`.
    pub(crate) fn new(options: AgentOptions, clock: SandboxClock, idle_limit: Duration) -> Self {
        let shared = Shared {
            options,
            clock,
            idle_limit,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            table: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Makes a session and starts its agent (which waits for a place when the container's limit is reached).
    pub(crate) fn start(&self, request: SessionRequest) -> Grant {
        let session_id = format!("{}-{}", request.id_prefix, random_base36(26));
        let token = random_token();
        let (agent, from_service) = mpsc::channel(QUEUE);
        let (closing, closed) = watch::channel(None);
        let cancel = self.shared.stop.child_token();
        let info = SessionInfo {
            id: session_id.clone(),
            target: request.target.clone(),
            document: request.document,
            owner: request.owner,
            reason: request.reason,
            status: SessionStatus::Connecting,
            started: SystemTime::now(),
            ended: None,
        };
        let idle = Idle::new(self.shared.clock.clone(), self.shared.idle_limit);
        let link = Link {
            session_id: session_id.clone(),
            target: request.target.clone(),
            agent,
            closed,
            replaced: CancellationToken::new(),
            cut: CancellationToken::new(),
            idle: idle.clone(),
        };
        let places = {
            let mut table = self.table();
            let live = Live {
                info,
                token: Some(token.clone()),
                link,
                cancel: cancel.clone(),
            };
            table.live.insert(session_id.clone(), live);
            let limit = self.shared.options.session_limit;
            Arc::clone(
                table
                    .places
                    .entry(request.target)
                    .or_insert_with(|| Arc::new(Semaphore::new(limit))),
            )
        };
        let job = Job {
            session_id: session_id.clone(),
            kind: request.kind,
            place: request.place,
            log: request.log,
        };
        let (sessions, id) = (self.clone(), session_id.clone());
        self.shared.tasks.spawn(async move {
            let options = sessions.shared.options.clone();
            let serving = serve_in_turn(job, options, from_service, cancel.clone(), places);
            let output = within_idle_limit(serving, &idle, &cancel).await;
            sessions.ended(&session_id, &closing, output);
        });
        Grant {
            session_id: id,
            token,
        }
    }

    /// A fresh token for a living session; `None` if it is unknown or over.
    pub(crate) fn resume(&self, session_id: &str) -> Option<Grant> {
        let token = random_token();
        let mut table = self.table();
        let live = table.live.get_mut(session_id)?;
        live.token = Some(token.clone());
        live.link.idle.touch();
        Some(Grant {
            session_id: session_id.to_owned(),
            token,
        })
    }

    /// Ends a session: its process is killed, its client told. False if the id was never known.
    pub(crate) fn terminate(&self, session_id: &str) -> bool {
        let table = self.table();
        match table.live.get(session_id) {
            Some(live) => {
                live.cancel.cancel();
                true
            }
            None => table.ended.iter().any(|info| info.id == session_id),
        }
    }

    /// Loses the socket of a session's client, without a word of farewell. False if no client is connected.
    pub(crate) fn cut(&self, session_id: &str) -> bool {
        let table = self.table();
        let live = table.live.get(session_id);
        let connected = live.filter(|live| live.info.status == SessionStatus::Connected);
        if let Some(live) = connected {
            live.link.cut.cancel();
        }
        connected.is_some()
    }

    /// The container behind `target` or its agent is gone: all its sessions end.
    pub(crate) fn end_target(&self, target: &str) {
        let mut table = self.table();
        for live in table
            .live
            .values()
            .filter(|live| live.info.target == target)
        {
            live.cancel.cancel();
        }
        table.places.remove(target);
    }

    /// All sessions, newest first.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let table = self.table();
        let mut all: Vec<_> = table
            .live
            .values()
            .map(|live| live.info.clone())
            .chain(table.ended.iter().cloned())
            .collect();
        all.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// Serves `GET /v1/data-channel/{session id}`: the WebSocket upgrade and everything after it.
    /// Host, Origin and (if present) the signature were checked by the caller; the token is checked here.
    pub(crate) fn serve_channel(&self, session_id: &str, request: Request<Body>) -> Response<Body> {
        let (response, serving) = channel::upgrade(self.clone(), session_id.to_owned(), request);
        if let Some(serving) = serving {
            let stop = self.shared.stop.clone();
            self.shared.tasks.spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        response
    }

    /// Ends all sessions and sockets, and waits until they have ended.
    pub(crate) async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Uses up `token`. `None` if it is not the session's current one: unknown, used before, or the session is over.
    pub(crate) fn connect(&self, session_id: &str, token: &str) -> Option<Link> {
        let mut table = self.table();
        let Table {
            live, unclaimed, ..
        } = &mut *table;
        let unclaimed = unclaimed.iter_mut().find(|live| live.info.id == session_id);
        let live = live.get_mut(session_id).or(unclaimed)?;
        let valid = live
            .token
            .as_ref()
            .is_some_and(|right| bool::from(right.as_bytes().ct_eq(token.as_bytes())));
        if !valid {
            return None;
        }
        live.token = None;
        live.info.status = SessionStatus::Connected;
        live.link.replaced.cancel();
        live.link.replaced = CancellationToken::new();
        live.link.cut = CancellationToken::new();
        Some(live.link.clone())
    }

    /// The socket that used `link` is gone; the session lives on.
    pub(crate) fn disconnected(&self, link: &Link) {
        let mut table = self.table();
        let Some(live) = table.live.get_mut(&link.session_id) else {
            return;
        };
        if !link.replaced.is_cancelled() {
            live.info.status = SessionStatus::Disconnected;
        }
    }

    fn ended(&self, session_id: &str, closing: &watch::Sender<Option<String>>, output: String) {
        let mut table = self.table();
        if let Some(live) = table.live.remove(session_id) {
            let info = SessionInfo {
                status: SessionStatus::Terminated,
                ended: Some(SystemTime::now()),
                ..live.info.clone()
            };
            table.ended.push_front(info);
            table.ended.truncate(HISTORY);
            if live.token.is_some() {
                table.unclaimed.push_front(live);
                table.unclaimed.truncate(HISTORY);
            }
        }
        drop(table);
        closing.send_replace(Some(output));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change under the lock is complete in itself.
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a place in the container: a session beyond the limit is open but silent.
async fn serve_in_turn(
    job: Job,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
    places: Arc<Semaphore>,
) -> String {
    let place = tokio::select! {
        place = places.acquire_owned() => place,
        () = cancel.cancelled() => return String::new(),
    };
    let output = agent::serve(job, options, service, cancel).await;
    drop(place);
    output
}

/// Ends a session whose client has been silent for too long; its text then says so.
async fn within_idle_limit(
    serving: impl Future<Output = String>,
    idle: &Idle,
    cancel: &CancellationToken,
) -> String {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        output = &mut serving => output,
        () = idle.expired() => {
            cancel.cancel();
            serving.await;
            idle::TEXT.to_owned()
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

fn random_base36(length: usize) -> String {
    let bytes: [u8; 64] = random();
    bytes
        .iter()
        .take(length)
        .map(|byte| char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::from(byte % 36)]))
        .collect()
}

/// As long as tokens of the real service are.
fn random_token() -> String {
    base64::engine::general_purpose::STANDARD.encode(random::<672>())
}
