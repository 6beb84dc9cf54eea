//! The way between an agent and its client: the protocol's state, and the service's queues on both sides.

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::{AgentConfig, HandshakeRequest, PayloadType, Resend, Session};

use super::{AgentOptions, FromService, STOCK_CHUNK};
use crate::clock::Clock;

/// Messages of the fast agent on their way at most.
const WINDOW: usize = 1000;

/// One session, seen from its agent.
pub(super) struct Line {
    pub(super) session: Session,
    pub(super) clock: Clock,
    service: mpsc::Receiver<FromService>,
    client: Option<mpsc::Sender<Bytes>>,
    /// The socket that `client` belongs to.
    socket: u64,
    /// What the service says is left where it is.
    pub(super) deaf: bool,
    /// The service's word is all it knows of the client's connection, and it resends at its own pace.
    stock: bool,
}

/// How a [`Line::turn`] ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something happened, or it is time: events may be waiting.
    Served,
    /// The session shall end at once.
    Cancelled,
    /// The service is gone.
    Gone,
}

impl Line {
    pub(super) fn new(
        session_id: &str,
        options: &AgentOptions,
        handshake: Option<HandshakeRequest>,
        service: mpsc::Receiver<FromService>,
    ) -> Self {
        Self::with_window(session_id, options, handshake, service, WINDOW)
    }

    /// With so many messages of the fast agent on their way at most: what is on its way keeps all that comes later
    /// waiting.
    pub(super) fn with_window(
        session_id: &str,
        options: &AgentOptions,
        handshake: Option<HandshakeRequest>,
        service: mpsc::Receiver<FromService>,
        window: usize,
    ) -> Self {
        let clock = Clock::start();
        let defaults = AgentConfig::new(session_id, clock.seed());
        let defaults = AgentConfig {
            handshake,
            handshake_wait: options.handshake_wait,
            reacknowledge: options.reacknowledge,
            require_challenge: options.require_challenge,
            ..defaults
        };
        let config = if options.stock {
            AgentConfig {
                resend: Resend::OldestOnly,
                max_payload: STOCK_CHUNK + 3,
                window: 100_000,
                forgets: true,
                ..defaults
            }
        } else {
            AgentConfig {
                resend: Resend::Overdue,
                max_payload: options.chunk(),
                window,
                ..defaults
            }
        };
        Self {
            session: Session::agent(config, clock.now()),
            clock,
            service,
            client: None,
            socket: 0,
            deaf: false,
            stock: options.stock,
        }
    }

    /// Output is wanted: a client is there, and the service has not said that it is away.
    pub(super) fn takes_output(&self) -> bool {
        self.client.is_some() && !self.session.is_paused()
    }

    /// Moves as much of the buffer into the session as it takes.
    pub(super) fn write(&mut self, kind: PayloadType, bytes: &mut BytesMut) {
        if !bytes.is_empty() {
            let taken = self.session.write(self.clock.now(), kind, bytes);
            bytes.advance(taken);
        }
    }

    /// Everything was written.
    pub(super) fn finish(&mut self) {
        self.session.finish(self.clock.now());
    }

    /// Hands over what the session wants to send, as far as the client takes it.
    pub(super) fn transmit(&mut self) {
        let Some(client) = &self.client else { return };
        let now = self.clock.now();
        loop {
            match client.try_reserve() {
                Ok(permit) => match self.session.poll_transmit(now) {
                    Some(message) => permit.send(message),
                    None => return,
                },
                Err(mpsc::error::TrySendError::Full(())) => return,
                Err(mpsc::error::TrySendError::Closed(())) => break,
            }
        }
        self.client = None;
    }

    /// Waits for the next thing to do, at most until `wake`, and does what concerns the session.
    ///
    /// Cancel-safe: each wait is (channel receives, a permit that is given back, timers), and nothing is awaited
    /// after it.
    pub(super) async fn turn(&mut self, wake: Option<Instant>, cancel: &CancellationToken) -> Turn {
        let client = self.client.clone();
        let blocked = client.as_ref().is_some_and(|client| client.capacity() == 0);
        // What has to be sent waits for the client then, however long it is due.
        let timeout = match blocked || client.is_none() {
            true => self.session.poll_timeout_blocked(),
            false => self.session.poll_timeout(),
        };
        let deadline = timeout.map(|at| self.clock.instant(at));
        let deadline = deadline.into_iter().chain(wake).min();
        tokio::select! {
            () = cancel.cancelled() => return Turn::Cancelled,
            message = self.service.recv(), if !self.deaf => match message {
                None => return Turn::Gone,
                Some(FromService::Attached(socket, client)) => {
                    self.client = Some(client);
                    self.socket = socket;
                    if !self.stock {
                        self.session.reconnected(self.clock.now());
                    }
                }
                Some(FromService::Detached(socket, _)) if socket != self.socket => {}
                Some(FromService::Detached(_, frame) | FromService::Frame(frame)) => {
                    if let Err(error) = self.session.receive(self.clock.now(), &frame) {
                        tracing::debug!(%error, "unusable message of a client");
                    }
                }
            },
            () = room(client), if blocked => {}
            () = sleep_until(deadline), if deadline.is_some() => {
                self.session.handle_timeout(self.clock.now());
            }
        }
        Turn::Served
    }
}

/// Returns when the client's queue has room, or nobody empties it any more.
async fn room(client: Option<mpsc::Sender<Bytes>>) {
    if let Some(client) = client {
        // The permit is given back at once; only the moment counts.
        let _ = client.reserve().await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
