//! The far end of a session: the agent in the container, over `bowline_proto::Session`.
//!
//! One task per session owns the protocol state, the terminal and the way to the client. The other half of the
//! service, tokens and sockets, is in `channel.rs`.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::{AgentConfig, Event, PayloadType, Resend, Session};

use crate::clock::Clock;
use crate::sessions::SessionKind;
use crate::terminal::{Exchange, Terminal};
use crate::utf8::Utf8Filter;
use crate::words;

/// The stock agent reads and sends at most this much at a time …
const STOCK_CHUNK: usize = 1024;
/// … and sleeps after each chunk.
const STOCK_PAUSE: Duration = Duration::from_millis(1);
/// The fast agent takes what there is, up to this.
const FAST_CHUNK: usize = 32 * 1024;
/// Input waiting for the terminal at most; beyond it input is not acknowledged and comes again.
const INPUT_LIMIT: usize = 256 * 1024;

/// How the agents of a sandbox behave.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Pause between the start of a command and the agent's first read of its terminal; 1 s in the real agent.
    pub start_delay: Duration,
    /// Behave as the stock agent with its known faults: 1,024-byte chunks and a pause after each, the UTF-8 filter
    /// that damages some output, resending only the oldest message.
    pub stock: bool,
    /// Sessions served at once in one container; further ones open but stay silent until a place is free.
    pub session_limit: usize,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            start_delay: Duration::ZERO,
            stock: false,
            session_limit: 2,
        }
    }
}

impl AgentOptions {
    /// The real agent's ways, with its delay.
    #[must_use]
    pub fn stock() -> Self {
        Self {
            start_delay: Duration::from_secs(1),
            stock: true,
            ..Self::default()
        }
    }
}

/// What the service tells an agent.
#[derive(Debug)]
pub(crate) enum FromService {
    /// A frame of the client.
    Frame(Bytes),
    /// A client is connected; frames go there from now on.
    Attached(mpsc::Sender<Bytes>),
}

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) session_id: String,
    pub(crate) kind: SessionKind,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
}

/// Serves one session to its end. The text is for `channel_closed`: empty after a normal end.
pub(crate) async fn serve(
    job: Job,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let words = match &job.kind {
        SessionKind::Shell => Ok(vec!["sh".to_owned()]),
        SessionKind::Interactive { command } if command.trim().is_empty() => {
            Ok(vec!["sh".to_owned()])
        }
        SessionKind::Interactive { command } => {
            words::split(command).map_err(|error| error.to_string())
        }
    };
    let started = words.and_then(|words| Terminal::start(&words, &job.environment, &job.directory));
    match started {
        Ok(terminal) => {
            Agent::new(&job, options, terminal, service)
                .run(cancel)
                .await
        }
        Err(reason) => {
            // The real agent waits twice as long after a failed start as before its first read.
            tokio::select! {
                () = tokio::time::sleep(options.start_delay * 2) => {}
                () = cancel.cancelled() => return String::new(),
            }
            format!("\n----------ERROR-------\nUnable to start command: {reason}\n\n")
        }
    }
}

struct Agent {
    options: AgentOptions,
    clock: Clock,
    session: Session,
    terminal: Terminal,
    service: mpsc::Receiver<FromService>,
    client: Option<mpsc::Sender<Bytes>>,
    filter: Utf8Filter,
    /// From the client, not yet taken by the terminal.
    input: BytesMut,
    /// From the terminal, not yet taken by the session.
    output: BytesMut,
    /// No read of the terminal before this moment.
    next_read: Instant,
    ended: bool,
}

/// What a turn of the loop waited for.
enum Turn {
    Cancelled,
    Service(Option<FromService>),
    ClientReady,
    Terminal(Exchange),
    Deadline,
}

impl Agent {
    fn new(
        job: &Job,
        options: AgentOptions,
        terminal: Terminal,
        service: mpsc::Receiver<FromService>,
    ) -> Self {
        let clock = Clock::start();
        let config = AgentConfig {
            resend: if options.stock {
                Resend::OldestOnly
            } else {
                Resend::Overdue
            },
            max_payload: if options.stock {
                STOCK_CHUNK + 3
            } else {
                FAST_CHUNK
            },
            window: if options.stock { 100_000 } else { 1000 },
            ..AgentConfig::new(&job.session_id, clock.seed())
        };
        Self {
            session: Session::agent(config, clock.now()),
            next_read: Instant::now() + options.start_delay,
            options,
            clock,
            terminal,
            service,
            client: None,
            filter: Utf8Filter::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            ended: false,
        }
    }

    async fn run(mut self, cancel: CancellationToken) -> String {
        loop {
            self.pump_output();
            self.transmit();
            if self.handle_events() {
                break;
            }
            match self.turn(&cancel).await {
                Turn::Cancelled => {
                    self.terminal.kill();
                    break;
                }
                Turn::Service(None) => break,
                Turn::Service(Some(FromService::Frame(frame))) => {
                    if let Err(error) = self.session.receive(self.clock.now(), &frame) {
                        tracing::debug!(%error, "unusable message of a client");
                    }
                }
                Turn::Service(Some(FromService::Attached(client))) => self.client = Some(client),
                Turn::ClientReady => {}
                Turn::Terminal(exchange) => self.exchanged(&exchange),
                Turn::Deadline => self.session.handle_timeout(self.clock.now()),
            }
        }
        self.terminal.reap();
        String::new()
    }

    async fn turn(&mut self, cancel: &CancellationToken) -> Turn {
        let blocked = self
            .client
            .as_ref()
            .is_some_and(|client| client.capacity() == 0);
        let connected = self.client.is_some();
        let readable =
            connected && !self.ended && !self.session.is_paused() && self.output.is_empty();
        let paced = Instant::now() < self.next_read;
        let deadline = self.session.poll_timeout().map(|at| self.clock.instant(at));
        let deadline = if readable && paced {
            Some(deadline.map_or(self.next_read, |at| at.min(self.next_read)))
        } else {
            deadline
        };
        let client = self.client.clone();
        let chunk = if self.options.stock {
            STOCK_CHUNK
        } else {
            FAST_CHUNK
        };
        let input = (!self.input.is_empty()).then_some(&self.input[..]);
        let output = (readable && !paced).then_some((&mut self.output, chunk, !self.options.stock));
        // Every arm is cancel-safe: channel receives, a permit that is given back, the terminal (see there), a timer.
        tokio::select! {
            () = cancel.cancelled() => Turn::Cancelled,
            message = self.service.recv() => Turn::Service(message),
            () = room(client), if blocked => Turn::ClientReady,
            exchange = self.terminal.exchange(input, output), if !self.ended => Turn::Terminal(exchange),
            () = sleep_until(deadline), if deadline.is_some() => Turn::Deadline,
        }
    }

    fn exchanged(&mut self, exchange: &Exchange) {
        match exchange {
            Exchange::Written(Ok(count)) => {
                self.input.advance(*count);
                self.session.set_ready(self.input.len() < INPUT_LIMIT);
            }
            // Nobody reads any more; the end of the output follows.
            Exchange::Written(Err(_)) => self.input.clear(),
            Exchange::Read(0) => {
                self.ended = true;
                self.terminal.reap();
            }
            Exchange::Read(_) if self.options.stock => {
                let passed = self.filter.pass(&self.output);
                self.output = BytesMut::from(&passed[..]);
                self.next_read = Instant::now() + STOCK_PAUSE;
            }
            Exchange::Read(_) => {}
        }
    }

    /// Moves output into the session, and ends the session when there is no more.
    fn pump_output(&mut self) {
        if !self.output.is_empty() {
            let taken = self
                .session
                .write(self.clock.now(), PayloadType::Output, &self.output);
            self.output.advance(taken);
        }
        if self.ended && self.output.is_empty() {
            self.session.finish(self.clock.now());
        }
    }

    fn transmit(&mut self) {
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

    /// True when the session is over.
    fn handle_events(&mut self) -> bool {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Input(bytes) => {
                    self.input.extend_from_slice(&bytes);
                    self.session.set_ready(self.input.len() < INPUT_LIMIT);
                }
                Event::Size(size) => self.terminal.resize(size),
                Event::Finished => {
                    self.transmit();
                    return true;
                }
                Event::Closed { .. } => {
                    self.terminal.kill();
                    return true;
                }
                _ => {}
            }
        }
        false
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
