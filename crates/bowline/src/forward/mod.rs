//! Ports of this machine that lead to a task, or to what stands behind it.
//!
//! Each [`ForwardSpec`] has one listener and one session at a time; all its connections share the session. The listener
//! stays open whatever happens to the session: a lost connection to the service is restored, and connections go on
//! without losing a byte; a session that is over is replaced, in another task if need be, and new connections wait for
//! that.
//!
//! In a test that needs what only a task reaches:
//!
//! ```standalone_crate
//! use bowline::forward::{BoundTo, ForwardRequest};
//! use bowline::{Client, TargetOptions};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//!     let target = client.resolve(&"web".parse()?, &TargetOptions::default()).await?;
//!     // Any free port here, port 8080 of the task there.
//!     let request = ForwardRequest::new(vec!["0:8080".parse()?]);
//!     let mut forward = client.forward(&target, request).await?;
//!     let BoundTo::Tcp(address) = forward.bound()[0] else { panic!("a port") };
//!     // Events are read as they come; dropping the forward ends its sessions.
//!     tokio::spawn(async move { while forward.next().await.is_some() {} });
//!
//!     let mut connection = TcpStream::connect(address).await?;
//!     connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
//!     let mut answer = String::new();
//!     connection.read_to_string(&mut answer).await?;
//!     assert!(answer.starts_with("HTTP/1"), "{answer}");
//!     Ok(())
//! }
//! # fn main() -> std::process::ExitCode { in_a_sandbox() }
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_a_sandbox.rs"));
//! ```

mod connection;
mod error;
mod granted;
mod listener;
mod many;
mod places;
mod relay;
mod session;
mod single;
mod socks;
mod spec;
mod template;
mod tunnel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::error::ForwardError;
pub use self::granted::GrantedPort;
pub use self::listener::BoundTo;
pub use self::spec::{ForwardSpec, Local, Remote, SpecError};
pub use self::template::ForwardTemplate;

use self::listener::Listener;
use self::places::Places;
use self::socks::Proxy;
use self::tunnel::Tunnel;
use crate::session::DEFAULT_RECONNECT;
use crate::target::{Selector, TargetOptions, TargetSpec};
use crate::{Client, ResolvedTarget, TargetError};

// Tuning.
/// Events that nobody has read yet. Then everything waits.
const EVENTS: usize = 256;
/// Connections that were accepted and not taken over yet.
const ACCEPTED: usize = 16;

/// What to forward, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardRequest {
    /// What to forward.
    pub specs: Vec<ForwardSpec>,
    /// The target as it was named, to find it again by when its task is gone. Without it, or where it names a service in
    /// whatever way, that is the service.
    pub target: Option<TargetSpec>,
    /// How long to wait for an agent that is not ready, and a connection for a session. A minute.
    pub wait: Duration,
    /// For how long a lost connection to the service is tried to be restored before the session is given up.
    pub reconnect_for: Duration,
    /// After so long without input something is said, without which the service ends sessions after 20 minutes. It
    /// cannot be said to agents that serve one connection at a time.
    pub keep_alive: Option<Duration>,
    /// A connection that says nothing more here is closed when nothing came from the remote side for so long: agents
    /// cannot be told that only one direction is over.
    pub linger: Duration,
    /// Reach other hosts by a program in the container (socat, python3, perl or busybox), which an exec session starts and
    /// which ends with it: for agents that refuse to forward there.
    pub relay: bool,
    /// A SOCKS5 proxy besides: a session for each destination, started when it is first asked for.
    pub socks: Option<Local>,
    /// Payload of one message at most, if not 1,024 bytes as with the reference.
    pub max_payload: Option<usize>,
}

impl ForwardRequest {
    /// With the usual times.
    pub fn new(specs: Vec<ForwardSpec>) -> Self {
        Self {
            specs,
            target: None,
            wait: Duration::from_secs(60),
            reconnect_for: DEFAULT_RECONNECT,
            keep_alive: Some(Duration::from_secs(300)),
            linger: Duration::from_secs(1),
            socks: None,
            relay: false,
            max_payload: None,
        }
    }
}

/// What happens. `forward` is the number of the spec, from 0.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForwardEvent {
    /// There is a session: connections are served.
    Ready {
        /// Which.
        forward: usize,
        /// The session's id.
        session_id: String,
        /// The id of the task it leads through.
        task: String,
        /// The container.
        container: String,
        /// It replaces another one …
        again: bool,
        /// … which was over for so long.
        after: Option<Duration>,
        /// The agent is so old that it serves one connection at a time.
        single: bool,
    },
    /// The session is over; another one is being started. Its connections were broken off, new ones wait.
    Down {
        /// Which.
        forward: usize,
        /// Why.
        reason: String,
    },
    /// A connection was accepted and has a session.
    Opened {
        /// Which.
        forward: usize,
        /// The connection's number.
        connection: u64,
        /// Where it comes from.
        peer: String,
    },
    /// A connection is over.
    Closed {
        /// Which.
        forward: usize,
        /// The connection's number.
        connection: u64,
        /// Bytes to the remote side.
        sent: u64,
        /// Bytes from there.
        received: u64,
        /// How long it was open.
        lasted: Duration,
        /// Why, if neither side closed it.
        cause: Option<String>,
    },
    /// The agent could not connect to the remote side; the connection was closed.
    Unreachable {
        /// Which.
        forward: usize,
    },
    /// Something worth knowing.
    Notice {
        /// Which.
        forward: usize,
        /// The text.
        text: String,
        /// It has changed nothing.
        minor: bool,
    },
    /// The first session could not be had, and nothing is forwarded.
    Failed {
        /// Which.
        forward: usize,
        /// Why.
        error: ForwardError,
    },
}

/// Running forwards. Dropping it ends them; [`Client::finish`] waits for the end of their sessions.
///
/// Its events have to be read: with 256 unread everything waits.
#[derive(Debug)]
pub struct Forward {
    events: mpsc::Receiver<ForwardEvent>,
    bound: Vec<BoundTo>,
    _stop: DropGuard,
}

impl Forward {
    /// The next event; `None` when nothing is forwarded any more.
    pub async fn next(&mut self) -> Option<ForwardEvent> {
        self.events.recv().await
    }

    /// Where each spec listens, and then the proxy, if there is one.
    pub fn bound(&self) -> &[BoundTo] {
        &self.bound
    }
}

impl Client {
    /// Listens for each spec, and begins to start its session in `target` or, where that has no room for more, in
    /// another task that matches.
    ///
    /// # Errors
    /// When it cannot listen somewhere; nothing was started then. What goes wrong with sessions is an event.
    pub async fn forward(
        &self,
        target: &ResolvedTarget,
        request: ForwardRequest,
    ) -> Result<Forward, ForwardError> {
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for spec in &request.specs {
            let (listener, at) = Listener::bind(&spec.local).await?;
            listeners.push(listener);
            bound.push(at);
        }
        let socks = match &request.socks {
            Some(local) => {
                let (listener, at) = Listener::bind(local).await?;
                bound.push(at);
                Some(listener)
            }
            None => None,
        };
        let (events, reader) = mpsc::channel(EVENTS);
        let stop = CancellationToken::new();
        let again = again(target, request.target.as_ref());
        let (places, connections) = (Places::default(), Arc::new(AtomicU64::new(1)));
        let tunnel = |forward: usize, remote: Remote, on_demand: bool| Tunnel {
            client: self.clone(),
            remote,
            again: again.clone(),
            places: places.clone(),
            carriage: Carriage {
                wait: request.wait,
                reconnect_for: request.reconnect_for,
                keep_alive: request.keep_alive,
                linger: request.linger,
                max_payload: request.max_payload,
                relay: request.relay,
                tasks: self.sessions().clone(),
                stop: stop.clone(),
            },
            teller: Teller {
                forward,
                events: events.clone(),
                connections: Arc::clone(&connections),
            },
            on_demand,
        };
        for (forward, (spec, listener)) in request.specs.iter().zip(listeners).enumerate() {
            let tunnel = tunnel(forward, spec.remote.clone(), false);
            let (to_tunnel, accepted) = mpsc::channel(ACCEPTED);
            // Both end when they are stopped, and a client that is told to finish waits for them.
            let accepting = tunnel::accept(listener, to_tunnel, stop.clone());
            self.sessions().spawn(accepting);
            self.sessions()
                .spawn(tunnel.run(Some(target.clone()), accepted));
        }
        if let Some(listener) = socks {
            let proxy = Proxy::new(
                tunnel(request.specs.len(), socks::nowhere(), true),
                target.clone(),
                self.sessions().clone(),
            );
            self.sessions().spawn(proxy.run(listener, stop.clone()));
        }
        Ok(Forward {
            events: reader,
            bound,
            _stop: stop.drop_guard(),
        })
    }
}

/// How to find the target again. A task that was named is only that task.
fn again(target: &ResolvedTarget, given: Option<&TargetSpec>) -> Again {
    let service = target.service.as_deref();
    let by_service = match given.map(|given| &given.selector) {
        None | Some(Selector::Service(_) | Selector::Family(_) | Selector::Tag(_)) => true,
        Some(Selector::Any(name)) => service == Some(name.as_str()),
        Some(Selector::Arn(arn)) => service == Some(arn.name.as_str()),
        Some(_) => false,
    };
    let (cluster, container) = (&target.cluster.name, &target.container);
    let text = match service.filter(|_| by_service) {
        Some(service) => format!("service:{cluster}/{service}/{container}"),
        None => format!("task:{cluster}/{}/{container}", target.task.id),
    };
    match given {
        // A family's or a tag's tasks, outside of any service.
        Some(given) if service.is_none() && by_service => Again {
            spec: Ok(given.clone()),
            options: TargetOptions {
                cluster: cluster.parse().ok(),
                container: container.parse().ok().filter(|_| given.container.is_none()),
                ..TargetOptions::default()
            },
        },
        _ => Again {
            spec: text.parse().map_err(|_| Box::new(target.clone())),
            options: TargetOptions::default(),
        },
    }
}

/// How a target is found again when its task is gone.
#[derive(Clone)]
struct Again {
    /// A name that does not fit the grammar cannot be asked for; then the task is looked at that was found at first.
    spec: Result<TargetSpec, Box<ResolvedTarget>>,
    options: TargetOptions,
}

impl Again {
    async fn resolve(&self, client: &Client) -> Result<ResolvedTarget, TargetError> {
        match &self.spec {
            Ok(spec) => client.resolve(spec, &self.options).await,
            Err(first) => client.refresh(first).await,
        }
    }
}

/// What a forward's sessions and connections have in common.
#[derive(Clone)]
struct Carriage {
    wait: Duration,
    reconnect_for: Duration,
    keep_alive: Option<Duration>,
    linger: Duration,
    max_payload: Option<usize>,
    relay: bool,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The way to the reader of events.
#[derive(Clone)]
struct Teller {
    forward: usize,
    events: mpsc::Sender<ForwardEvent>,
    connections: Arc<AtomicU64>,
}

impl Teller {
    async fn tell(&self, event: impl FnOnce(usize) -> ForwardEvent) {
        // A reader that has left has stopped everything too.
        let _ = self.events.send(event(self.forward)).await;
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}
