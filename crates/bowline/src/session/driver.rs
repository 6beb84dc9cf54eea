//! One task per session: it owns the socket, the protocol state and the timer.
//!
//! Others hold a [`Channel`] with bounded queues. A slow reader of events never blocks acknowledgements or pongs
//! until its backlog is full; only then is the socket not read any more, and the far end feels it through TCP.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bowline_proto::{ClientConfig, Event, IdSource, PayloadType, Session, Size};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, Sink, Stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::clock::Clock;
use super::connect::{self, ChannelError, Transport};
use crate::Client;
use crate::model::SessionGrant;

// Tuning.
/// Events on their way to the reader.
const EVENTS: usize = 8;
/// Output is joined up to this size before it is handed on.
const JOINED: usize = 64 * 1024;
/// Above this the socket is not read until the reader has caught up.
const BACKLOG: usize = 4 << 20;
/// Commands on their way to the driver.
const COMMANDS: usize = 16;
/// A path that is idle is probed this often …
const PING: Duration = Duration::from_secs(30);
/// … and given up when nothing at all came for this long.
const SILENCE: Duration = Duration::from_secs(75);

/// What comes out of a session.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    /// Bytes of the remote terminal.
    Output(Bytes),
    /// Bytes of the remote stderr, from agents that keep it apart.
    StdErr(Bytes),
    /// The exit code, from agents that report one; -1 for a death by signal.
    ExitCode(i64),
    /// A text of the agent for the user.
    Message(String),
    /// The session is over. Nothing follows.
    Closed { output: String, complete: bool },
    /// The connection is gone. Nothing follows.
    Lost(ChannelError),
}

/// What goes into a session.
#[derive(Debug)]
pub(crate) enum Command {
    Write(Bytes),
    Resize(Size),
}

/// How a session is to be driven.
#[derive(Clone, Debug)]
pub(crate) struct ChannelOptions {
    /// Of the remote terminal, announced at once.
    pub(crate) size: Size,
    /// After so long without input the size is repeated: the service counts input and resizes as activity, not output,
    /// and ends exec sessions after 20 idle minutes.
    pub(crate) keep_alive: Option<Duration>,
    /// Taken for the agent's first word when it says nothing for so long.
    pub(crate) speak_after: Option<Duration>,
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
        let connection = connect::open(client, grant, &mut IdSource::new(!seed)).await?;
        let (to_reader, events) = mpsc::channel(EVENTS);
        let (commands, from_writer) = mpsc::channel(COMMANDS);
        let config = ClientConfig {
            client_version: connect::CLIENT_VERSION.to_owned(),
            size: Some(options.size),
            speak_after: options.speak_after,
            ..ClientConfig::new(seed)
        };
        let now = Instant::now();
        let driver = Driver {
            session: Session::client(config, clock.now()),
            clock,
            socket: connection.socket,
            host: connection.host,
            commands: from_writer,
            reader: to_reader,
            unwritten: Bytes::new(),
            joined: BytesMut::new(),
            peeked: None,
            held: None,
            flushing: false,
            size: options.size,
            keep_alive: options.keep_alive,
            last_input: now,
            last_heard: now,
            last_ping: now,
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
    socket: WebSocketStream<Box<dyn Transport>>,
    host: String,
    commands: mpsc::Receiver<Command>,
    reader: mpsc::Sender<ChannelEvent>,
    /// Of the last write, what the send window had no room for.
    unwritten: Bytes,
    /// Output being joined.
    joined: BytesMut,
    /// What came after the output being joined.
    peeked: Option<Event>,
    /// Ready for the reader, whose queue was full.
    held: Option<ChannelEvent>,
    /// Messages were given to the socket and are not all on their way yet.
    flushing: bool,
    size: Size,
    keep_alive: Option<Duration>,
    last_input: Instant,
    last_heard: Instant,
    last_ping: Instant,
}

/// Why the loop ends.
enum End {
    /// The session said its last word, and it was handed on.
    Closed,
    /// The reader is not interested any more.
    Unwanted,
    /// The connection is gone.
    Lost(ChannelError),
}

/// What a turn of the loop waited for.
enum Turn {
    Socket(SocketTurn),
    Command(Option<Command>),
    ReaderReady,
    ReaderGone,
    Deadline,
}

enum SocketTurn {
    Heard(Option<Result<Message, tungstenite::Error>>),
    Flushed(Result<(), tungstenite::Error>),
}

impl Driver {
    async fn run(mut self) {
        if let End::Lost(error) = self.serve().await {
            debug!(host = self.host, %error, "data channel lost");
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
            if let Err(error) = self.transmit() {
                return self.lost(error);
            }
            match self.turn().await {
                Turn::Socket(SocketTurn::Heard(message)) => {
                    if let Err(end) = self.heard(message) {
                        return end;
                    }
                }
                Turn::Socket(SocketTurn::Flushed(Ok(()))) => self.flushing = false,
                Turn::Socket(SocketTurn::Flushed(Err(error))) => return self.lost(error),
                Turn::Command(Some(command)) => self.obey(command),
                Turn::Command(None) | Turn::ReaderGone => return End::Unwanted,
                Turn::ReaderReady => {}
                Turn::Deadline => {
                    if self.last_heard.elapsed() >= SILENCE {
                        return End::Lost(ChannelError::Silent {
                            host: self.host.clone(),
                        });
                    }
                    if self
                        .keep_alive
                        .is_some_and(|every| self.last_input.elapsed() >= every)
                    {
                        self.obey(Command::Resize(self.size));
                    }
                    self.session.handle_timeout(self.clock.now());
                }
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let listening = self.session.backlog() < BACKLOG;
        if !listening {
            // Silence is ours then.
            self.last_heard = Instant::now();
        }
        let deadline = self.next_deadline();
        let Self {
            socket,
            flushing,
            commands,
            reader,
            held,
            unwritten,
            ..
        } = self;
        // Every arm is cancel-safe: polls of the socket keep their state in it, channels, a permit that is given
        // back, a timer.
        tokio::select! {
            turn = socket_turn(socket, *flushing, listening) => Turn::Socket(turn),
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
        let due = self.last_heard + SILENCE;
        let due = due
            .min(self.last_ping + PING)
            .min(self.keep_alive.map_or(due, |every| self.last_input + every));
        self.session
            .poll_timeout()
            .map_or(due, |at| due.min(self.clock.instant(at)))
    }

    /// Takes one message and whatever else has arrived, so that what follows is done once for all of them.
    fn heard(&mut self, first: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        self.last_heard = Instant::now();
        let now = self.clock.now();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    if let Err(error) = self.session.receive(now, &frame) {
                        debug!(host = self.host, %error, "unusable message");
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map_or_else(String::new, |frame| {
                        format!("{} {}", frame.code, frame.reason)
                    });
                    return Err(End::Lost(ChannelError::Closed { reason }));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.lost(error)),
                None => return Err(self.lost(tungstenite::Error::ConnectionClosed)),
            }
            if self.session.backlog() >= BACKLOG {
                break;
            }
            next = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).now_or_never();
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        self.last_input = Instant::now();
        match command {
            Command::Write(bytes) => {
                self.unwritten = bytes;
                self.write();
            }
            Command::Resize(size) => {
                self.size = size;
                self.session.resize(self.clock.now(), size);
            }
        }
    }

    fn write(&mut self) {
        if !self.unwritten.is_empty() {
            let taken = self
                .session
                .write(self.clock.now(), PayloadType::Output, &self.unwritten);
            self.unwritten.advance(taken);
        }
    }

    /// Gives the socket what there is to send, as far as it takes it without waiting.
    fn transmit(&mut self) -> Result<(), tungstenite::Error> {
        let now = self.clock.now();
        loop {
            match poll_fn(|cx| Pin::new(&mut self.socket).poll_ready(cx)).now_or_never() {
                Some(ready) => ready?,
                None => {
                    self.flushing = true;
                    return Ok(());
                }
            }
            let message = if self.last_ping.elapsed() >= PING {
                self.last_ping = Instant::now();
                Message::Ping(Bytes::from_static(b"keepalive"))
            } else {
                match self.session.poll_transmit(now) {
                    Some(message) => Message::Binary(message),
                    None => return Ok(()),
                }
            };
            Pin::new(&mut self.socket).start_send(message)?;
            self.flushing = true;
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

    /// The session's next event that matters to a reader, neighbouring output joined.
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
                Event::Closed { output, complete } => {
                    return Some(ChannelEvent::Closed { output, complete });
                }
                Event::Writable | Event::Established { .. } => self.write(),
                other => debug!(?other, "passed over"),
            }
        }
        (!self.joined.is_empty()).then(|| ChannelEvent::Output(self.joined.split().freeze()))
    }

    fn lost(&self, error: tungstenite::Error) -> End {
        End::Lost(connect::lost(&self.host, error))
    }
}

async fn socket_turn(
    socket: &mut WebSocketStream<Box<dyn Transport>>,
    flushing: bool,
    listening: bool,
) -> SocketTurn {
    poll_fn(|cx| {
        if flushing && let Poll::Ready(result) = Pin::new(&mut *socket).poll_flush(cx) {
            return Poll::Ready(SocketTurn::Flushed(result));
        }
        if listening && let Poll::Ready(message) = Pin::new(&mut *socket).poll_next(cx) {
            return Poll::Ready(SocketTurn::Heard(message));
        }
        Poll::Pending
    })
    .await
}
