//! One task per session: it owns the socket, the protocol state and the timer.
//!
//! Others hold a [`Channel`] with bounded queues. A slow reader of events never blocks acknowledgements or pongs
//! until its backlog is full; only then is the socket not read any more, and the far end feels it through TCP.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use bowline_proto::{ClientConfig, Event, Flag, PayloadType, Session, SessionType, Size};
use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::clock::Clock;
use super::connect::{self, ChannelError, Connection};
use super::key::{Fetching, Keys, fetched};
use super::line::{Heard, Line};
use super::resume::{Resumption, chain};
use crate::Client;
use crate::aws::kms::GeneratedKey;
use crate::model::SessionGrant;

// Tuning.
/// Events on their way to the reader.
const EVENTS: usize = 8;
/// Output is joined up to this size before it is handed on.
const JOINED: usize = 64 * 1024;
/// Above this the socket is not read until the reader has caught up.
pub(crate) const BACKLOG: usize = 4 << 20;
/// Commands on their way to the driver.
const COMMANDS: usize = 16;
/// An outage that is over sooner is told when it is over; a longer one while it lasts.
const UNTOLD: Duration = Duration::from_secs(1);
/// For telling the agent that there will be no session.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A new connection is good when something of the session got across, or when it has lasted so long: a service that
/// refuses the token does so after the upgrade.
const PROVEN: Duration = Duration::from_secs(3);

/// What comes out of a session.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    /// Bytes of the remote terminal.
    Output(Bytes),
    /// Bytes of the remote stderr, from agents that keep it apart.
    StdErr(Bytes),
    /// The exit code, from agents that report one; -1 for a death by signal.
    ExitCode(i64),
    /// A text for the user, of the agent or about the connection.
    Message(String),
    /// Data can flow. The rest is known only after a handshake.
    Established {
        version: Option<String>,
        session_type: Option<SessionType>,
        /// What the agent says of the type.
        properties: serde_json::Value,
    },
    /// A signal of the agent's.
    Flag(Flag),
    /// Everything up to and with the last [`Command::Flag`] was acknowledged.
    Settled,
    /// The connection is gone and being restored: nothing comes until it is.
    Away,
    /// The connection is back.
    Back,
    /// The session is over. Nothing follows.
    Closed { output: String, complete: bool },
    /// The connection is gone for good. Nothing follows.
    Lost(ChannelError),
}

/// What goes into a session.
#[derive(Debug)]
pub(crate) enum Command {
    Write(Bytes),
    Resize(Size),
    Flag(Flag),
}

/// How a session is to be driven.
#[derive(Clone, Debug)]
pub(crate) struct ChannelOptions {
    /// Of the remote terminal, announced at once, if there is one.
    pub(crate) size: Option<Size>,
    /// Payload of one message at most, if not as the reference has it.
    pub(crate) max_payload: Option<usize>,
    /// After so long without input the size is repeated: the service counts input and resizes as activity, not output,
    /// and ends exec sessions after 20 idle minutes.
    pub(crate) keep_alive: Option<Duration>,
    /// Taken for the agent's first word when it says nothing for so long.
    pub(crate) speak_after: Option<Duration>,
    /// Bytes that wait for the reader before the socket is not read any more; [`BACKLOG`] as a rule.
    pub(crate) backlog: usize,
    /// For how long a lost connection is tried to be restored.
    pub(crate) reconnect_for: Duration,
    /// The SSM target; the key of an encrypted session is bound to it.
    pub(crate) target: String,
}

/// A running session. Dropping it drops the connection.
pub(crate) struct Channel {
    pub(crate) events: mpsc::Receiver<ChannelEvent>,
    pub(crate) commands: mpsc::Sender<Command>,
    _task: AbortOnDropHandle<()>,
}

impl Channel {
    /// Opens the data channel of a session that was just granted.
    pub(crate) async fn open(
        client: &Client,
        grant: &SessionGrant,
        options: &ChannelOptions,
    ) -> Result<Self, ChannelError> {
        let clock = Clock::start();
        let seed = getrandom::u64().unwrap_or_else(|_| clock.now().as_millis());
        let resumption = Resumption::new(client, &grant.session_id, seed, options.reconnect_for);
        let keys = Keys::new(client, &grant.session_id, &options.target);
        let connection = resumption.open(grant).await?;
        let (to_reader, events) = mpsc::channel(EVENTS);
        let (commands, from_writer) = mpsc::channel(COMMANDS);
        let config = ClientConfig {
            client_version: connect::CLIENT_VERSION.to_owned(),
            size: options.size,
            speak_after: options.speak_after,
            ..ClientConfig::new(seed)
        };
        let config = ClientConfig {
            max_payload: options.max_payload.unwrap_or(config.max_payload),
            ..config
        };
        let driver = Driver {
            session: Session::client(config, clock.now()),
            clock,
            path: Path::Up(Box::new(Line::new(connection))),
            outage: None,
            keys,
            key: None,
            refused: None,
            resumption,
            commands: from_writer,
            reader: to_reader,
            unwritten: Bytes::new(),
            kind: PayloadType::Output,
            unsettled: false,
            backlog: options.backlog,
            joined: BytesMut::new(),
            peeked: None,
            told: VecDeque::new(),
            held: None,
            size: options.size,
            keep_alive: options.keep_alive,
            last_input: Instant::now(),
        };
        let task = tokio::spawn(driver.run());
        Ok(Self {
            events,
            commands,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

struct Driver {
    session: Session,
    clock: Clock,
    path: Path,
    /// From the loss of a connection until another one has proven good.
    outage: Option<Outage>,
    keys: Keys,
    /// The data key on its way.
    key: Option<Fetching>,
    /// The handshake failed, when and why. The service tells its own words soon, or never.
    refused: Option<(Instant, String)>,
    resumption: Resumption,
    commands: mpsc::Receiver<Command>,
    reader: mpsc::Sender<ChannelEvent>,
    /// Of the last write, what the send window had no room for.
    unwritten: Bytes,
    /// And what kind it is.
    kind: PayloadType,
    /// A flag was sent, and the reader waits for what is acknowledged with it.
    unsettled: bool,
    backlog: usize,
    /// Output being joined.
    joined: BytesMut,
    /// What came after the output being joined.
    peeked: Option<Event>,
    /// About the connection, for the reader. Two for each outage at most, and an outage waits until they are taken.
    told: VecDeque<ChannelEvent>,
    /// Ready for the reader, whose queue was full.
    held: Option<ChannelEvent>,
    size: Option<Size>,
    keep_alive: Option<Duration>,
    last_input: Instant,
}

/// Whether there is a connection.
enum Path {
    Up(Box<Line>),
    /// Never ends when the session is closing: what is there is handed on, and that is all.
    Down(Pin<Box<dyn Future<Output = Result<Connection, ChannelError>> + Send>>),
}

struct Outage {
    since: Instant,
    cause: String,
    told: bool,
    /// Connections that were lost before they had proven good.
    failed: u32,
    restored: Option<Instant>,
}

/// Why the loop ends.
enum End {
    /// The session said its last word, and it was handed on.
    Closed,
    /// The reader is not interested any more.
    Unwanted,
    /// The connection is gone for good.
    Lost(ChannelError),
}

/// What a turn of the loop waited for.
enum Turn {
    Heard(Result<Heard, ChannelError>),
    Restored(Box<Result<Connection, ChannelError>>),
    Key(Result<GeneratedKey, ChannelError>),
    Command(Option<Command>),
    ReaderReady,
    ReaderGone,
    Deadline,
}

impl Driver {
    async fn run(mut self) {
        if let End::Lost(error) = self.serve().await {
            debug!(%error, "data channel lost");
            // Everything that arrived is handed on first, however slow the reader is; it may also have left.
            while let Some(event) = self.held.take().or_else(|| self.next_event()) {
                if self.reader.send(event).await.is_err() {
                    return;
                }
            }
            let _ = self.reader.send(ChannelEvent::Lost(error)).await;
        }
    }

    async fn serve(&mut self) -> End {
        loop {
            if self.hand_on() {
                return End::Closed;
            }
            if let Err(error) = self.transmit()
                && let Err(end) = self.lost(error)
            {
                return end;
            }
            let passed = match self.turn().await {
                Turn::Heard(first) => self.heard(first),
                Turn::Restored(outcome) => match *outcome {
                    Ok(connection) => {
                        self.restored(connection);
                        Ok(())
                    }
                    Err(error) => return End::Lost(error),
                },
                Turn::Key(Ok(key)) => {
                    self.key = None;
                    let now = self.clock.now();
                    self.session
                        .provide_key(now, &key.plaintext, &key.ciphertext);
                    Ok(())
                }
                Turn::Key(Err(error)) => {
                    self.refuse(&error).await;
                    return End::Lost(error);
                }
                Turn::Command(Some(command)) => {
                    self.obey(command);
                    Ok(())
                }
                Turn::Command(None) | Turn::ReaderGone => return End::Unwanted,
                Turn::ReaderReady => Ok(()),
                Turn::Deadline => {
                    if let Some((_, reason)) =
                        self.refused.take_if(|(at, _)| at.elapsed() >= LAST_WORDS)
                    {
                        return End::Lost(ChannelError::Handshake { reason });
                    }
                    self.deadline_passed()
                }
            };
            if let Err(error) = passed
                && let Err(end) = self.lost(error)
            {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let listening = self.session.backlog() < self.backlog;
        let deadline = self.next_deadline();
        let Self {
            path,
            key,
            commands,
            reader,
            held,
            unwritten,
            ..
        } = self;
        let path = async {
            match path {
                Path::Up(line) => Turn::Heard(line.turn(listening).await),
                Path::Down(restoring) => Turn::Restored(Box::new(restoring.as_mut().await)),
            }
        };
        // Every arm is cancel-safe: the path keeps its state, channels, a permit that is given back, a timer.
        tokio::select! {
            turn = path => turn,
            key = fetched(key), if key.is_some() => Turn::Key(key),
            command = commands.recv(), if unwritten.is_empty() => Turn::Command(command),
            permit = reader.reserve(), if held.is_some() => match permit {
                Ok(_) => Turn::ReaderReady,
                Err(_) => Turn::ReaderGone,
            },
            () = reader.closed(), if held.is_none() => Turn::ReaderGone,
            () = tokio::time::sleep_until(deadline) => Turn::Deadline,
        }
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let path = match &self.path {
            Path::Up(line) => line.deadline(),
            // Something to wake up for; the attempts have their own limits.
            Path::Down(_) => now + Duration::from_secs(60),
        };
        let outage = self
            .outage
            .as_ref()
            .and_then(|outage| match outage.restored {
                Some(at) => Some(at + PROVEN),
                None => (!outage.told).then_some(outage.since + UNTOLD),
            });
        let path = outage.map_or(path, |at| path.min(at));
        let mut due = path;
        if let Some(every) = self.keep_alive {
            due = due.min(self.last_input + every);
        }
        if let Some((at, _)) = &self.refused {
            due = due.min(*at + LAST_WORDS);
        }
        let session = match &self.path {
            // What has to be sent is due already, and waits for the socket.
            Path::Up(line) if line.is_blocked() => self.session.poll_timeout_blocked(),
            _ => self.session.poll_timeout(),
        };
        session.map_or(due, |at| due.min(self.clock.instant(at)))
    }

    fn deadline_passed(&mut self) -> Result<(), ChannelError> {
        if self
            .keep_alive
            .is_some_and(|every| self.last_input.elapsed() >= every)
        {
            match self.size {
                Some(size) => self.obey(Command::Resize(size)),
                None => self.last_input = Instant::now(),
            }
        }
        self.session.handle_timeout(self.clock.now());
        if let Some(outage) = &mut self.outage {
            if outage.restored.is_some_and(|at| at.elapsed() >= PROVEN) {
                self.proven();
            } else if !outage.told && outage.restored.is_none() && outage.since.elapsed() >= UNTOLD
            {
                outage.told = true;
                let patience = self.resumption.patience().as_secs();
                let text = format!(
                    "{}; trying to restore the connection for up to {patience} s",
                    outage.cause
                );
                self.told.push_back(ChannelEvent::Message(text));
            }
        }
        match &mut self.path {
            Path::Up(line) => line.check(),
            Path::Down(_) => Ok(()),
        }
    }

    /// Begins to restore the connection, if that makes sense.
    fn lost(&mut self, error: ChannelError) -> Result<(), End> {
        debug!(%error, "connection lost");
        self.session.disconnected();
        if self.session.is_closing() {
            self.path = Path::Down(Box::pin(pending()));
            return Ok(());
        }
        if self.resumption.patience().is_zero() {
            return Err(End::Lost(error));
        }
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: Instant::now(),
            cause: error.to_string(),
            told: false,
            failed: 0,
            restored: None,
        });
        if outage.restored.take().is_some() {
            outage.failed += 1;
        }
        let restoring = self
            .resumption
            .clone()
            .restore(outage.since, outage.failed, chain(&error));
        self.path = Path::Down(Box::pin(restoring));
        self.told.push_back(ChannelEvent::Away);
        Ok(())
    }

    fn restored(&mut self, connection: Connection) {
        self.path = Path::Up(Box::new(Line::new(connection)));
        if let Some(outage) = &mut self.outage {
            outage.restored = Some(Instant::now());
        }
        self.told.push_back(ChannelEvent::Back);
        self.session.reconnected(self.clock.now());
    }

    /// Tells the agent, which would wait for its answer else, as far as that goes at once.
    async fn refuse(&mut self, error: &ChannelError) {
        self.session
            .refuse_key(self.clock.now(), &error.to_string());
        if let (Ok(()), Path::Up(line)) = (self.transmit(), &mut self.path) {
            // It is over for us whether this arrives or not.
            let _ = tokio::time::timeout(LAST_WORDS, line.turn(false)).await;
        }
    }

    /// The new connection is as good as the old one was.
    fn proven(&mut self) {
        let Some(Outage {
            since,
            cause,
            told: false,
            restored: Some(at),
            ..
        }) = self.outage.take()
        else {
            return;
        };
        let after = match (at - since).as_millis() {
            0..100 => "at once".to_owned(),
            millis => format!(
                "after {:.1} s",
                f64::from(u32::try_from(millis).unwrap_or(u32::MAX)) / 1000.0
            ),
        };
        let text = format!("{cause}; it was restored {after}");
        self.told.push_back(ChannelEvent::Message(text));
    }

    /// Takes one message and whatever else has arrived, so that what follows is done once for all of them.
    fn heard(&mut self, first: Result<Heard, ChannelError>) -> Result<(), ChannelError> {
        let now = self.clock.now();
        let mut next = Some(first);
        while let Some(heard) = next {
            if let Heard::Frame(frame) = heard? {
                let before = self.session.progress();
                if let Err(error) = self.session.receive(now, &frame) {
                    debug!(%error, "unusable message");
                }
                if self.session.progress() > before || self.session.is_closing() {
                    self.proven();
                }
            }
            next = match &mut self.path {
                Path::Up(line) if self.session.backlog() < self.backlog => line.try_next(),
                _ => None,
            };
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        self.last_input = Instant::now();
        match command {
            Command::Write(bytes) => self.begin(PayloadType::Output, bytes),
            Command::Flag(flag) => {
                self.begin(PayloadType::Flag, Bytes::copy_from_slice(&flag.encode()));
                self.unsettled = true;
            }
            Command::Resize(size) => {
                self.size = Some(size);
                self.session.resize(self.clock.now(), size);
            }
        }
    }

    fn begin(&mut self, kind: PayloadType, bytes: Bytes) {
        (self.kind, self.unwritten) = (kind, bytes);
        self.write();
    }

    fn write(&mut self) {
        if !self.unwritten.is_empty() {
            let taken = self
                .session
                .write(self.clock.now(), self.kind, &self.unwritten);
            self.unwritten.advance(taken);
        }
    }

    fn transmit(&mut self) -> Result<(), ChannelError> {
        let now = self.clock.now();
        match &mut self.path {
            Path::Up(line) => line.transmit(|| self.session.poll_transmit(now)),
            Path::Down(_) => Ok(()),
        }
    }

    /// Hands events on as far as the reader's queue has room. True when the last one was.
    fn hand_on(&mut self) -> bool {
        while let Some(event) = self.held.take().or_else(|| self.next_event()) {
            let last = matches!(event, ChannelEvent::Closed { .. });
            match self.reader.try_send(event) {
                Ok(()) if last => return true,
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.held = Some(event);
                    return false;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        false
    }

    /// What comes next for the reader: neighbouring output joined, then news about the connection.
    fn next_event(&mut self) -> Option<ChannelEvent> {
        while let Some(event) = self.peeked.take().or_else(|| self.session.poll_event()) {
            match event {
                Event::Output(bytes) => {
                    self.joined.extend_from_slice(&bytes);
                    if self.joined.len() >= JOINED {
                        break;
                    }
                }
                other if !self.joined.is_empty() => {
                    self.peeked = Some(other);
                    break;
                }
                Event::StdErr(bytes) => return Some(ChannelEvent::StdErr(bytes)),
                Event::ExitCode(code) => return Some(ChannelEvent::ExitCode(code)),
                Event::Message(text) => return Some(ChannelEvent::Message(text)),
                Event::Refused(reason) => {
                    self.refused = Some((Instant::now(), reason));
                }
                Event::KeyWanted { key_id, challenge } => {
                    self.key = Some(self.keys.fetch(key_id, challenge));
                }
                Event::Closed { output, complete } => {
                    return Some(ChannelEvent::Closed { output, complete });
                }
                Event::Stalled => {
                    let text =
                        "the agent has not acknowledged anything for five minutes; still trying";
                    return Some(ChannelEvent::Message(text.to_owned()));
                }
                Event::Writable => self.write(),
                Event::Established {
                    version,
                    session_type,
                } => {
                    self.write();
                    let properties = self.session.properties().cloned().unwrap_or_default();
                    return Some(ChannelEvent::Established {
                        version,
                        session_type,
                        properties,
                    });
                }
                Event::Flag(flag) => return Some(ChannelEvent::Flag(flag)),
                other => debug!(?other, "passed over"),
            }
        }
        if !self.joined.is_empty() {
            return Some(ChannelEvent::Output(self.joined.split().freeze()));
        }
        if self.unsettled && self.unwritten.is_empty() && self.session.is_idle() {
            self.unsettled = false;
            return Some(ChannelEvent::Settled);
        }
        self.told.pop_front()
    }
}
