//! The sessions of this sandbox: their tokens, their states, the data channel relay and the agents.
//!
//! The API handlers (ECS ExecuteCommand, SSM StartSession …) only use what is public to the crate here.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use base64::Engine;
use http::{Request, Response, StatusCode};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::agent::{self, Encryption, FromService, Job};
pub use crate::agent::{AgentError, AgentOptions, Outside};
use crate::attached::{self, Attached};
use crate::channel::{self, Ticket};
use crate::clock::SandboxClock;
use crate::faults::session::{SessionFaults, SocketFaults};
use crate::faults::{Resume, Switch};
use crate::identifiers;
use crate::idle::{self, Idle};
use crate::image::Place;
use crate::kms::Kms;
use crate::logs::SessionLog;
use crate::reach::PortRequest;

/// Ended sessions that DescribeSessions can still show.
const HISTORY: usize = 1000;
/// Messages from clients that an agent has not taken yet.
const QUEUE: usize = 64;
/// Sockets of a session at a time: the one in use, those it replaces, and some that have not shown their token yet.
const SOCKETS: usize = 8;
/// Sockets that come for sessions nobody knows.
const STRAY_SOCKETS: usize = 64;

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
    /// Why the agent ends the session at once, if it does.
    pub(crate) refusal: Option<String>,
    /// The container's inside.
    pub(crate) place: Place,
    /// Where the session's output is copied to.
    pub(crate) log: Option<SessionLog>,
    /// The KMS key that the session is encrypted under.
    pub(crate) kms_key: Option<String>,
}

/// The session types of the agent that this sandbox serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// `InteractiveCommands`: the command line as given to ExecuteCommand, not yet split into words.
    Interactive { command: String },
    /// `NonInteractiveCommands`: no terminal. With separate output both streams as they come, and an exit code; else
    /// all of it after the end.
    NonInteractive { command: String, separate: bool },
    /// `Standard_Stream`: the default shell.
    Shell,
    /// `Port`: connections to a port of the task, or of a host that it reaches.
    Port(PortRequest),
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

/// What opens a session's data channel, once.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) session_id: String,
    pub(crate) token: String,
    /// The part of the stream URL that is another one for each grant.
    pub(crate) cell_number: String,
}

/// What ResumeSession comes to.
pub(crate) enum Resumed {
    /// There is something to come back to.
    Granted(Grant),
    /// The session has timed out, in the service's way of saying so.
    NoToken,
    /// The caller may not.
    Denied,
    /// Unknown, or over and its client knows.
    Unknown,
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
    faults: Switch,
    kms: Arc<Kms>,
    access: Arc<Access>,
    attached: Attached,
    strays: Arc<Semaphore>,
    /// How many sessions and sockets there have been.
    sessions: AtomicU64,
    sockets: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    live: HashMap<String, Live>,
    /// Over before their clients were told: whoever comes with a token is told how they ended.
    unclaimed: VecDeque<Live>,
    ended: VecDeque<SessionInfo>,
    /// One entry for each container that ever had a session: its places.
    places: HashMap<String, Arc<Semaphore>>,
}

struct Live {
    info: SessionInfo,
    /// The one token that opens the channel now; `None` once it was used.
    token: Option<String>,
    /// The cell number of the one stream URL that is good now.
    cell_number: String,
    link: Link,
    cancel: CancellationToken,
    /// Ended by TerminateSession: there is nothing to come back to.
    terminated: bool,
    faults: Arc<SessionFaults>,
    places: Arc<Semaphore>,
}

impl Live {
    fn grant(&mut self) -> Grant {
        let (token, cell_number) = (random_token(), cell_number());
        self.token = Some(token.clone());
        self.cell_number.clone_from(&cell_number);
        Grant {
            session_id: self.info.id.clone(),
            token,
            cell_number,
        }
    }
}

/// What a connected socket needs of its session.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) session_id: String,
    pub(crate) target: String,
    /// The number of the socket.
    pub(crate) socket: u64,
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
    pub(crate) fn new(
        options: AgentOptions,
        clock: SandboxClock,
        idle_limit: Duration,
        faults: Switch,
        kms: Arc<Kms>,
        access: Arc<Access>,
    ) -> Self {
        let shared = Shared {
            options,
            clock,
            idle_limit,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            faults,
            kms,
            access,
            attached: Attached::new(),
            strays: Arc::new(Semaphore::new(STRAY_SOCKETS)),
            sessions: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
            table: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Makes a session and starts its agent (which waits for a place when the container's limit is reached).
    pub(crate) fn start(&self, request: SessionRequest) -> Grant {
        let session_id = format!("{}-{}", request.id_prefix, identifiers::base36(26));
        let target = request.target.clone();
        let (agent, from_service) = mpsc::channel(QUEUE);
        let (closing, closed) = watch::channel(None);
        let cancel = self.shared.stop.child_token();
        let (document, owner) = (request.document.clone(), request.owner.clone());
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
        let access = &self.shared.access;
        access.opened(&session_id, &info.owner, &info.document, &info.target);
        let idle = Idle::new(self.shared.clock.clone(), self.shared.idle_limit);
        let link = Link {
            session_id: session_id.clone(),
            target: request.target.clone(),
            socket: 0,
            agent,
            closed,
            replaced: CancellationToken::new(),
            cut: CancellationToken::new(),
            idle: idle.clone(),
        };
        let ordinal = self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        let mut live = Live {
            info,
            token: None,
            cell_number: String::new(),
            link,
            cancel: cancel.clone(),
            terminated: false,
            faults: SessionFaults::new(self.shared.faults.clone(), ordinal),
            places: Arc::new(Semaphore::new(SOCKETS)),
        };
        let grant = live.grant();
        let places = {
            let mut table = self.table();
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
            target: target.clone(),
            document,
            owner,
            kind: request.kind,
            place: request.place,
            log: request.log,
            encryption: request.kms_key.map(|key| Encryption {
                key,
                target,
                kms: Arc::clone(&self.shared.kms),
            }),
        };
        let (sessions, refusal) = (self.clone(), request.refusal);
        self.shared.tasks.spawn(async move {
            let options = sessions.shared.options.clone();
            let delay = sessions.shared.faults.now().agent_delay();
            let attached = sessions.attached(&job.place);
            let serving = async {
                let Some(_place) = turn(places, delay, &cancel).await else {
                    return String::new();
                };
                match attached {
                    Some(attached) => {
                        attached::serve(attached, &job, from_service, cancel.clone()).await
                    }
                    None => agent::serve(job, options, from_service, cancel.clone()).await,
                }
            };
            let output = match refusal {
                Some(text) => text,
                None => within_idle_limit(serving, &idle, &cancel).await,
            };
            sessions.ended(&session_id, &closing, output);
        });
        grant
    }

    /// Agents that come over the control channel, wherever the containers are.
    pub(crate) fn outside(&self) -> &Attached {
        &self.shared.attached
    }

    /// The same, if the container at this place has such an agent. Containers without processes have the built-in one.
    pub(crate) fn attached(&self, place: &Place) -> Option<&Attached> {
        let outside = self.shared.options.outside.is_some() && place.simulated.is_none();
        outside.then_some(&self.shared.attached)
    }

    /// How agents behave.
    pub(crate) fn options(&self) -> &AgentOptions {
        &self.shared.options
    }

    /// A fresh token and stream URL for a session that lives, or that ended before its client was told.
    pub(crate) fn resume(&self, session_id: &str) -> Resumed {
        let policy = self.shared.faults.now().resume();
        let mut table = self.table();
        let Some(live) = table.find(session_id).filter(|live| !live.terminated) else {
            return Resumed::Unknown;
        };
        match policy {
            Resume::Denied => Resumed::Denied,
            Resume::Gone => Resumed::Unknown,
            Resume::NoToken => Resumed::NoToken,
            Resume::Allowed => {
                live.link.idle.touch();
                Resumed::Granted(live.grant())
            }
        }
    }

    /// Ends a session: its process is killed, its client told. False if the id was never known.
    pub(crate) fn terminate(&self, session_id: &str) -> bool {
        let mut table = self.table();
        match table.find(session_id) {
            Some(live) => {
                live.terminated = true;
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
        let refuse = |status, text: &'static str| {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            response
        };
        let query = request.uri().query().unwrap_or_default();
        let (faults, places) = match self.table().find(session_id) {
            // Byte for byte: clients that take the URL apart and put it together again differ in the cell number.
            Some(live) if query != channel_query(&live.cell_number) => {
                let text = "this is not the latest stream URL of the session\n";
                return refuse(StatusCode::NOT_FOUND, text);
            }
            Some(live) => (Arc::clone(&live.faults), Arc::clone(&live.places)),
            // It is told by a close frame, as with a wrong token.
            None => {
                let nothing = SessionFaults::new(Switch::new(Default::default()), 0);
                (nothing, Arc::clone(&self.shared.strays))
            }
        };
        let Ok(place) = places.try_acquire_owned() else {
            let text = "there are too many connections to this session\n";
            return refuse(StatusCode::TOO_MANY_REQUESTS, text);
        };
        let ticket = Ticket {
            session_id: session_id.to_owned(),
            faults: SocketFaults::new(faults),
            place,
        };
        let (response, serving) = channel::upgrade(self.clone(), ticket, request);
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
        self.shared.attached.shutdown().await;
    }

    /// Uses up `token`. `None` if it is not the session's current one: unknown, used before, or the session is over.
    pub(crate) fn connect(&self, session_id: &str, token: &str) -> Option<Link> {
        let mut table = self.table();
        let live = table.find(session_id)?;
        let valid = live
            .token
            .as_ref()
            .is_some_and(|right| bool::from(right.as_bytes().ct_eq(token.as_bytes())));
        if !valid || self.shared.faults.now().refuses_token() {
            return None;
        }
        live.token = None;
        live.info.status = SessionStatus::Connected;
        live.link.replaced.cancel();
        live.link.replaced = CancellationToken::new();
        live.link.cut = CancellationToken::new();
        live.link.socket = 1 + self.shared.sockets.fetch_add(1, Ordering::Relaxed);
        Some(live.link.clone())
    }

    /// The socket that used `link` is gone; the session lives on, unless its client was told of its end.
    pub(crate) fn disconnected(&self, link: &Link, told: bool) {
        let gone = self.shared.faults.now().resume() == Resume::Gone;
        let mut table = self.table();
        if told {
            let over = |live: &Live| live.info.id == link.session_id && live.token.is_none();
            table.unclaimed.retain(|live| !over(live));
        }
        let Some(live) = table.live.get_mut(&link.session_id) else {
            return;
        };
        if !link.replaced.is_cancelled() {
            live.info.status = SessionStatus::Disconnected;
            if gone {
                live.cancel.cancel();
            }
        }
    }

    fn ended(&self, session_id: &str, closing: &watch::Sender<Option<String>>, output: String) {
        let mut table = self.table();
        if let Some(live) = table.live.remove(session_id) {
            let now = SystemTime::now();
            let info = SessionInfo {
                status: SessionStatus::Terminated,
                ended: Some(now),
                ..live.info.clone()
            };
            let lasted = now.duration_since(info.started).unwrap_or_default();
            self.shared.access.closed(session_id, &info.owner, lasted);
            table.ended.push_front(info);
            table.ended.truncate(HISTORY);
            if live.token.is_some() || !live.terminated {
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

impl Table {
    /// A session that lives, or whose client has not been told of its end.
    fn find(&mut self, session_id: &str) -> Option<&mut Live> {
        let mut over = self.unclaimed.iter_mut();
        let live = self.live.get_mut(session_id);
        live.or_else(|| over.find(|live| live.info.id == session_id))
    }
}

/// What follows the `?` of a stream URL.
pub(crate) fn channel_query(cell_number: &str) -> String {
    format!("role=publish_subscribe&cell-number={cell_number}")
}

/// Real ones are base64, not percent-encoded, with `+`, `/` and `=` in them: clients must not touch the query.
fn cell_number() -> String {
    let mut bytes = [0xfb_u8; 34];
    bytes[3..6].fill(0xff);
    bytes[6..].copy_from_slice(&identifiers::random::<28>());
    // fb fb fb is "+/v7" and ff ff ff is "////"; 34 bytes end in "==".
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Waits for a place in the container: a session beyond the limit is open but silent. `None` if it is to end.
async fn turn(
    places: Arc<Semaphore>,
    delay: Duration,
    cancel: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    let start = async {
        tokio::time::sleep(delay).await;
        places.acquire_owned().await.ok()
    };
    tokio::select! {
        place = start => place,
        () = cancel.cancelled() => None,
    }
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

/// As long as tokens of the real service are.
fn random_token() -> String {
    base64::engine::general_purpose::STANDARD.encode(identifiers::random::<672>())
}
