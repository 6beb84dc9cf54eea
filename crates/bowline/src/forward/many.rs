//! The work of one session that carries many connections: smux between the local ones and the data channel.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_proto::Flag;
use bowline_proto::smux::{Mux, MuxConfig, MuxEvent, MuxRole, StreamId};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{self, FromLocal, PIECES};
use super::error::ForwardError;
use super::listener::Accepted;
use super::session::{is_unresolved, refusal};
use super::spec::Remote;
use super::tunnel::Work;
use super::{Carriage, ForwardEvent, Teller};
use crate::session::clock::Clock;
use crate::session::driver::{Channel, ChannelEvent, Command};

// Tuning.
/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 2000;
/// What the local connections said and the session has not taken yet, in pieces of 16 KiB at most.
const DATA: usize = 16;
const NOTES: usize = 256;
/// What the session is given at a time.
const PIECE: usize = 16 * 1024;
/// Bytes that wait in the streams before local connections are not read any more.
const UNSENT: usize = 64 * 1024;
/// A connection that nobody reads is closed when it has held up the others of the session for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// An outage that is over sooner is hardly worth a word.
const SHORT: Duration = Duration::from_secs(2);

/// Carries connections to the end of the session.
pub(super) async fn carry(
    channel: &mut Channel,
    keep_alive: bool,
    accepted: &mut mpsc::Receiver<Accepted>,
    waiting: Vec<Accepted>,
    work: Work<'_>,
) -> ForwardError {
    let Work {
        remote,
        container,
        carriage,
        teller,
    } = work;
    let config = MuxConfig {
        role: MuxRole::Client,
        keep_alive,
        patience: Some(PATIENCE),
    };
    let clock = Clock::start();
    let (to_us, data) = mpsc::channel(DATA);
    let (note, notes) = mpsc::channel(NOTES);
    let broken = CancellationToken::new();
    let mut carrier = Carrier {
        mux: Mux::new(config, clock.now()),
        clock,
        open: BTreeMap::new(),
        quiet: BTreeMap::new(),
        to_us,
        note,
        data,
        notes,
        _breaks: broken.clone().drop_guard(),
        broken,
        carriage,
        teller,
        last_input: Instant::now(),
        away: None,
        short: false,
    };
    for accepted in waiting {
        carrier.connect(accepted).await;
    }
    let error = carrier.run(channel, accepted, remote, container).await;
    carrier.break_off(&error).await;
    error
}

struct Carrier<'a> {
    mux: Mux,
    clock: Clock,
    open: BTreeMap<StreamId, Connection>,
    /// Those that say nothing more, and when they will have heard nothing for long enough.
    quiet: BTreeMap<StreamId, Instant>,
    to_us: mpsc::Sender<(StreamId, FromLocal)>,
    note: mpsc::Sender<StreamId>,
    data: mpsc::Receiver<(StreamId, FromLocal)>,
    notes: mpsc::Receiver<StreamId>,
    broken: CancellationToken,
    _breaks: DropGuard,
    carriage: &'a Carriage,
    teller: &'a Teller,
    last_input: Instant,
    /// Since when the connection to the service is gone.
    away: Option<Instant>,
    /// The last outage was a short one.
    short: bool,
}

struct Connection {
    pieces: mpsc::Sender<Bytes>,
    number: u64,
    since: Instant,
    sent: u64,
    received: u64,
    /// Not yet taken by its stream.
    unwritten: Bytes,
}

/// What a turn of the loop waited for.
enum Turn {
    Channel(Option<ChannelEvent>),
    Room,
    Data(StreamId, FromLocal),
    Taken(StreamId),
    Accepted(Option<Accepted>),
    Deadline,
}

impl Carrier<'_> {
    async fn run(
        &mut self,
        channel: &mut Channel,
        accepted: &mut mpsc::Receiver<Accepted>,
        remote: &Remote,
        container: &str,
    ) -> ForwardError {
        loop {
            match self.turn(channel, accepted).await {
                Turn::Channel(Some(event)) => {
                    if let Some(end) = self.heard(event, remote, container).await {
                        return end;
                    }
                }
                Turn::Channel(None) => {
                    let reason = String::new();
                    return ForwardError::Ended { reason };
                }
                Turn::Accepted(Some(accepted)) => self.connect(accepted).await,
                Turn::Accepted(None) => return ForwardError::Closed,
                Turn::Data(id, said) => {
                    self.said(id, said).await;
                    // What is there already goes with it.
                    while self.mux.unsent() < UNSENT
                        && let Ok((id, said)) = self.data.try_recv()
                    {
                        self.said(id, said).await;
                    }
                }
                Turn::Taken(id) => self.feed(id).await,
                Turn::Room => {}
                Turn::Deadline => self.deadline_passed().await,
            }
            if let Some(error) = self.serve_streams().await {
                return error;
            }
        }
    }

    async fn turn(
        &mut self,
        channel: &mut Channel,
        accepted: &mut mpsc::Receiver<Accepted>,
    ) -> Turn {
        let deadline = self.next_deadline();
        let Channel {
            events, commands, ..
        } = channel;
        // Every arm is cancel-safe: channels, a permit that is used at once, waiting for a task, a timer.
        tokio::select! {
            permit = commands.reserve(), if !self.mux.is_idle() => {
                // A session that is over says so through its events.
                if let (Ok(permit), Some(bytes)) = (permit, self.mux.poll_transmit(PIECE)) {
                    self.last_input = Instant::now();
                    permit.send(Command::Write(bytes));
                }
                Turn::Room
            }
            event = events.recv(), if self.mux.has_room() => Turn::Channel(event),
            Some((id, said)) = self.data.recv(), if self.mux.unsent() < UNSENT => Turn::Data(id, said),
            Some(id) = self.notes.recv() => Turn::Taken(id),
            next = accepted.recv(), if self.open.len() < CONNECTIONS => Turn::Accepted(next),
            () = tokio::time::sleep_until(deadline) => Turn::Deadline,
        }
    }

    fn next_deadline(&self) -> Instant {
        let mux = self.mux.poll_timeout().map(|at| self.clock.instant(at));
        let alive = self
            .carriage
            .keep_alive
            .map(|every| self.last_input + every);
        let quiet = self.quiet.values().min().copied();
        let later = Instant::now() + Duration::from_secs(3600);
        [mux, alive, quiet]
            .into_iter()
            .flatten()
            .fold(later, Instant::min)
    }

    async fn deadline_passed(&mut self) {
        let now = Instant::now();
        self.mux.handle_timeout(self.clock.now());
        if self
            .carriage
            .keep_alive
            .is_some_and(|every| self.last_input + every <= now)
        {
            self.last_input = now;
            self.mux.nop();
        }
        let due: Vec<StreamId> = self
            .quiet
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.mux.close(id);
            self.forget(id, None).await;
        }
    }

    /// What the session said; an error when it is over.
    async fn heard(
        &mut self,
        event: ChannelEvent,
        remote: &Remote,
        container: &str,
    ) -> Option<ForwardError> {
        match event {
            ChannelEvent::Output(bytes) => {
                if let Err(error) = self.mux.receive(self.clock.now(), bytes) {
                    return Some(ForwardError::Protocol(error.to_string()));
                }
            }
            ChannelEvent::Flag(Flag::ConnectToPortError) => {
                self.teller
                    .tell(|forward| ForwardEvent::Unreachable { forward })
                    .await;
            }
            ChannelEvent::Message(text) => {
                let minor = std::mem::take(&mut self.short);
                self.teller
                    .tell(|forward| ForwardEvent::Notice {
                        forward,
                        text,
                        minor,
                    })
                    .await;
            }
            ChannelEvent::Away => self.away = Some(Instant::now()),
            ChannelEvent::Back => {
                let away = self.away.take();
                self.short = away.is_some_and(|since| since.elapsed() < SHORT);
            }
            ChannelEvent::Closed { output, .. } => {
                return Some(match refusal(&output, container.to_owned(), remote) {
                    ForwardError::Refused { reason, .. } if !is_unresolved(&reason) => {
                        ForwardError::Ended { reason }
                    }
                    other => other,
                });
            }
            ChannelEvent::Lost(error) => return Some(error.into()),
            _ => {}
        }
        None
    }

    async fn serve_streams(&mut self) -> Option<ForwardError> {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Readable(id) | MuxEvent::Finished(id) => self.feed(id).await,
                MuxEvent::Writable(id) => {
                    if let Some(connection) = self.open.get_mut(&id) {
                        self.mux.write(id, &mut connection.unwritten);
                    }
                }
                MuxEvent::GivenUp(id) => {
                    let cause = "it did not read and held up the others";
                    self.forget(id, Some(cause)).await;
                }
                MuxEvent::Silent => {
                    let reason = "the agent said nothing for 30 s".to_owned();
                    return Some(ForwardError::Ended { reason });
                }
                _ => {}
            }
        }
        None
    }

    async fn connect(&mut self, accepted: Accepted) {
        let Some(id) = self.mux.open() else {
            accepted.stream.break_off();
            return;
        };
        let number = self.teller.next_connection();
        let Accepted { stream, peer, held } = accepted;
        let (pieces, from_us) = mpsc::channel(PIECES);
        let connection = Connection {
            pieces,
            number,
            since: Instant::now(),
            sent: 0,
            received: 0,
            unwritten: Bytes::new(),
        };
        self.open.insert(id, connection);
        let (to_us, note, broken) = (self.to_us.clone(), self.note.clone(), self.broken.clone());
        // It ends with `pieces` or `broken`, and a client that is told to finish waits for it.
        self.carriage.tasks.spawn(connection::converse(
            id, stream, held, from_us, to_us, note, broken,
        ));
        self.teller
            .tell(|forward| ForwardEvent::Opened {
                forward,
                connection: number,
                peer,
            })
            .await;
    }

    /// Hands a connection what came for it, as far as it takes it; its end too.
    async fn feed(&mut self, id: StreamId) {
        let now = self.clock.now();
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        loop {
            match connection.pieces.try_reserve() {
                Ok(permit) => match self.mux.read(now, id) {
                    Some(bytes) => {
                        connection.received += bytes.len() as u64;
                        permit.send(bytes);
                        if let Some(quiet) = self.quiet.get_mut(&id) {
                            *quiet = Instant::now() + self.carriage.linger;
                        }
                    }
                    None => break,
                },
                Err(_) => return,
            }
        }
        if self.mux.is_finished(id) {
            self.mux.close(id);
            self.forget(id, None).await;
        }
    }

    async fn said(&mut self, id: StreamId, said: FromLocal) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        match said {
            FromLocal::Bytes(bytes) => {
                connection.sent += bytes.len() as u64;
                // There is room: no more is read than UNSENT allows.
                connection.unwritten = bytes;
                self.mux.write(id, &mut connection.unwritten);
            }
            // The agent cannot be told that only one direction is over: it would close both.
            FromLocal::HalfClosed if !self.carriage.linger.is_zero() => {
                self.quiet.insert(id, Instant::now() + self.carriage.linger);
            }
            FromLocal::HalfClosed | FromLocal::Gone => {
                self.mux.close(id);
                self.forget(id, None).await;
            }
        }
    }

    async fn forget(&mut self, id: StreamId, cause: Option<&str>) {
        self.quiet.remove(&id);
        if let Some(connection) = self.open.remove(&id) {
            connection.closed(self.teller, cause).await;
        }
    }

    /// The session is over: what was delivered ends in the middle.
    async fn break_off(&mut self, error: &ForwardError) {
        self.broken.cancel();
        let cause = error.to_string();
        while let Some((_, connection)) = self.open.pop_first() {
            connection.closed(self.teller, Some(&cause)).await;
        }
    }
}

impl Connection {
    async fn closed(self, teller: &Teller, cause: Option<&str>) {
        let cause = cause.map(str::to_owned);
        teller
            .tell(|forward| ForwardEvent::Closed {
                forward,
                connection: self.number,
                sent: self.sent,
                received: self.received,
                lasted: self.since.elapsed(),
                cause,
            })
            .await;
    }
}
