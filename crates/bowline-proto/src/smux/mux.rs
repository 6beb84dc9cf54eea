//! [`Mux`]: all streams of one end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::frame::{Command, Decoder, HEADER, Header, Item, SmuxError};
use super::stream::{Stream, StreamId};
use crate::time::Timestamp;

/// Unread bytes of all streams together at which [`Mux::has_room`] says no. The reference's receive budget, which its
/// streams share: version 1 cannot tell a peer that one of them is full.
pub const BUDGET: usize = 4 << 20;

// Tuning.
/// Data of one push at most. The reference sends up to 32 KiB; smaller ones let others in between.
const PUSH: usize = 8 * 1024;
/// With keep-alive something is said this often …
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// … and a peer that was silent for all of this is given up. Both are the reference's.
const SILENCE: Duration = Duration::from_secs(30);
/// Streams open at once; a server refuses further ones.
const STREAMS: usize = 8192;
/// The first stream of a client; the next ones are two further each.
const FIRST: u32 = 3;

/// Which end a [`Mux`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuxRole {
    /// Opens streams.
    Client,
    /// Has them opened.
    Server,
}

/// How a [`Mux`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct MuxConfig {
    /// The end.
    pub role: MuxRole,
    /// Say something every 10 s, and give up a peer that is silent for 30 s.
    pub keep_alive: bool,
    /// When the budget is used up and a stream was not read for so long while others are open, it is closed, so that
    /// the others go on. Without it everything waits, as with the reference.
    pub patience: Option<Duration>,
}

/// What happens to streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MuxEvent {
    /// Server: the client opened a stream.
    Opened(StreamId),
    /// There is something to read where there was nothing.
    Readable(StreamId),
    /// The peer has closed the stream: what is unread can be read, nothing more comes and nothing arrives there.
    /// [`Mux::close`] is still to be called.
    Finished(StreamId),
    /// There is room again after a [`Mux::write`] that did not take everything.
    Writable(StreamId),
    /// It held up the others and was closed. Its id means nothing any more.
    GivenUp(StreamId),
    /// The peer was silent for too long.
    Silent,
}

/// All streams of one end.
#[derive(Debug)]
pub struct Mux {
    config: MuxConfig,
    next: Option<u32>,
    decoder: Decoder,
    streams: BTreeMap<StreamId, Stream>,
    /// Those that have something to send, each once, in the order in which they may.
    turns: VecDeque<StreamId>,
    /// Headers that go before all data.
    urgent: VecDeque<Header>,
    unread: usize,
    unsent: usize,
    events: VecDeque<MuxEvent>,
    /// When to say something, and when it will have been silent for too long.
    pulse: Option<(Timestamp, Timestamp)>,
    silent: bool,
}

impl Mux {
    /// No streams yet.
    #[must_use]
    pub fn new(config: MuxConfig, now: Timestamp) -> Self {
        Self {
            config,
            next: Some(FIRST),
            decoder: Decoder::default(),
            streams: BTreeMap::new(),
            turns: VecDeque::new(),
            urgent: VecDeque::new(),
            unread: 0,
            unsent: 0,
            events: VecDeque::new(),
            pulse: config
                .keep_alive
                .then_some((now + KEEP_ALIVE, now + SILENCE)),
            silent: false,
        }
    }

    /// Takes the next bytes of the peer, in order, cut anywhere.
    ///
    /// # Errors
    /// When they are not smux version 1. This end is of no use after that.
    pub fn receive(&mut self, now: Timestamp, mut bytes: Bytes) -> Result<(), SmuxError> {
        if let Some((_, silent)) = &mut self.pulse {
            *silent = now + SILENCE;
        }
        while let Some(item) = self.decoder.next(&mut bytes)? {
            match item {
                Item::Header(header) => self.header(header),
                Item::Data { stream, bytes } => self.data(now, StreamId(stream), bytes),
            }
        }
        Ok(())
    }

    /// Client: a new stream, `None` when there are too many. There is no answer to it: it can be written at once.
    pub fn open(&mut self) -> Option<StreamId> {
        if self.streams.len() >= STREAMS {
            return None;
        }
        let number = self.next?;
        self.next = number.checked_add(2);
        let id = StreamId(number);
        self.streams.insert(id, Stream::new());
        self.urge(Command::Open, number);
        Some(id)
    }

    /// Queues as much of `bytes` as there is room for, and takes it out of them. If something is left,
    /// [`MuxEvent::Writable`] follows. What is written to a stream that is closed, at either end, is dropped.
    pub fn write(&mut self, id: StreamId, bytes: &mut Bytes) {
        match self.streams.get_mut(&id) {
            Some(stream) if !stream.finished && !stream.closing => {
                self.unsent += stream.write(bytes);
                self.queue(id);
            }
            _ => bytes.clear(),
        }
    }

    /// The next piece of what came, if there is one.
    pub fn read(&mut self, now: Timestamp, id: StreamId) -> Option<Bytes> {
        let (bytes, weight) = self.streams.get_mut(&id)?.read(now)?;
        self.unread -= weight;
        Some(bytes)
    }

    /// Whether everything that came was read.
    #[must_use]
    pub fn is_read(&self, id: StreamId) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| !stream.is_readable())
    }

    /// Whether the peer has closed the stream, and all of it was read.
    #[must_use]
    pub fn is_finished(&self, id: StreamId) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| stream.finished && !stream.is_readable())
    }

    /// Ends a stream, both ways, after what was written has been sent. What is unread or still comes is dropped: smux
    /// version 1 knows no half-closed streams.
    pub fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.unread -= stream.discard();
            // Nobody reads there any more.
            if stream.finished {
                self.unsent -= stream.abandon();
            }
            stream.closing = true;
            self.queue(id);
        }
    }

    /// Ends a stream at once: what was written and not sent is dropped too.
    pub fn reset(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.unsent -= stream.abandon();
            self.close(id);
        }
    }

    /// Says nothing, for the sake of the path: it counts as activity of this end.
    pub fn nop(&mut self) {
        if !self
            .urgent
            .iter()
            .any(|header| header.command == Command::Nothing)
        {
            self.urge(Command::Nothing, 0);
        }
    }

    /// The next bytes to send, about `limit` at most, of as many streams as they are enough for. A stream that has much
    /// to send waits for all others after every 8 KiB.
    pub fn poll_transmit(&mut self, limit: usize) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.len() + HEADER <= limit.max(HEADER) {
            if let Some(header) = self.urgent.pop_front() {
                header.encode(&mut out);
                continue;
            }
            let room = limit.saturating_sub(out.len() + HEADER).min(PUSH);
            let Some(id) = self.turns.front().copied() else {
                break;
            };
            let Some(stream) = self.streams.get_mut(&id) else {
                self.turns.pop_front();
                continue;
            };
            if stream.has_unsent() {
                // A crumb at the end is not worth a header.
                if room < PUSH / 4 && !out.is_empty() {
                    break;
                }
                let Some(piece) = stream.next_unsent(room.max(1)) else {
                    break;
                };
                self.unsent -= piece.len();
                let header = Header {
                    command: Command::Push,
                    stream: id.0,
                    length: u16::try_from(piece.len()).unwrap_or(u16::MAX),
                };
                header.encode(&mut out);
                out.extend_from_slice(&piece);
                if stream.may_go_on() {
                    self.events.push_back(MuxEvent::Writable(id));
                }
            }
            stream.queued = false;
            self.turns.pop_front();
            if stream.has_unsent() {
                stream.queued = true;
                self.turns.push_back(id);
            } else if stream.closing {
                self.streams.remove(&id);
                self.urge(Command::Finish, id.0);
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    /// Tells it that a deadline of [`Self::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let Some((speak, silent)) = self.pulse {
            if speak <= now {
                self.nop();
                self.pulse = Some((now + KEEP_ALIVE, silent));
            }
            // Silence is this end's own while it does not read.
            if silent <= now && self.has_room() && !std::mem::replace(&mut self.silent, true) {
                self.events.push_back(MuxEvent::Silent);
            }
        }
        if let Some((due, id)) = self.holding_up()
            && due <= now
        {
            self.reset(id);
            self.events.push_back(MuxEvent::GivenUp(id));
        }
    }

    /// When [`Self::handle_timeout`] should be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let pulse = self.pulse.map(|(speak, silent)| {
            let waits = !self.silent && self.has_room();
            if waits { speak.min(silent) } else { speak }
        });
        let patience = self.holding_up().map(|(due, _)| due);
        [pulse, patience].into_iter().flatten().min()
    }

    /// Whether more of the peer's bytes should be taken. They are not refused otherwise.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unread < BUDGET
    }

    /// Bytes that wait to be sent, without headers.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Bytes that wait to be read, and what they cost.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.urgent.is_empty() && self.turns.is_empty()
    }

    /// How many streams are open at this end.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    fn header(&mut self, header: Header) {
        let id = StreamId(header.stream);
        match header.command {
            // Agents open none; a client that is told so passes over it, and over all data for it.
            Command::Open if self.config.role == MuxRole::Client => {}
            // A live one that is opened again stays as it is, as in the reference.
            Command::Open if self.streams.contains_key(&id) => {}
            // One that floods us with more is not answered for ever.
            Command::Open if self.streams.len() >= STREAMS => {
                if self.urgent.len() < STREAMS {
                    self.urge(Command::Finish, id.0);
                }
            }
            Command::Open => {
                self.streams.insert(id, Stream::new());
                self.events.push_back(MuxEvent::Opened(id));
            }
            Command::Finish => {
                if let Some(stream) = self.streams.get_mut(&id)
                    && !std::mem::replace(&mut stream.finished, true)
                {
                    self.unsent -= stream.abandon();
                    if !stream.closing {
                        self.events.push_back(MuxEvent::Finished(id));
                    }
                }
            }
            Command::Push | Command::Nothing => {}
        }
    }

    fn data(&mut self, now: Timestamp, id: StreamId, bytes: Bytes) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.closing || stream.finished {
            return;
        }
        let was_empty = !stream.is_readable();
        self.unread += stream.arrived(now, bytes);
        if was_empty {
            self.events.push_back(MuxEvent::Readable(id));
        }
    }

    /// The stream that keeps all others waiting, and until when it may.
    fn holding_up(&self) -> Option<(Timestamp, StreamId)> {
        let patience = self.config.patience?;
        if self.has_room() || self.streams.len() < 2 {
            return None;
        }
        self.streams
            .iter()
            .filter(|(_, stream)| !stream.closing)
            .max_by_key(|(_, stream)| stream.unread())
            .and_then(|(id, stream)| Some((stream.unread_since? + patience, *id)))
    }

    fn urge(&mut self, command: Command, stream: u32) {
        self.urgent.push_back(Header {
            command,
            stream,
            length: 0,
        });
    }

    fn queue(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && (stream.has_unsent() || stream.closing)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.turns.push_back(id);
        }
    }
}
