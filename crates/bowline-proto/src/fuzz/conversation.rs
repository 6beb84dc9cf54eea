//! Two ends of a session, and a path and callers that do anything in any order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{START, short, stream};
use crate::{
    AgentConfig, ClientConfig, DataKey, DigestCheck, Event, Flags, Frame, HandshakeRequest,
    MessageId, MessageType, PayloadType, ProtocolError, Session, SessionType, Size, Timestamp,
};

/// Steps of one conversation at most.
const STEPS: usize = 200;
/// Messages of one end at one moment at most; far more than these conversations can hold.
const BURST: usize = 10_000;
/// Sequence numbers that nobody should send.
const ABSURD: [i64; 8] = [
    i64::MAX,
    i64::MIN,
    -1,
    1 << 62,
    i64::MAX - 1,
    10_000,
    10_001,
    1 << 32,
];

/// A conversation: the first byte says how it is set up, the others what is done, with its arguments.
///
/// What must hold: each end gets a beginning of what the other one wrote, as long as nothing forged was taken; a number
/// stands for one message for ever; what an end holds is in proportion to what it was given; a deadline that was kept
/// is not due again; nothing follows the end.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let mut talk = Talk::new(input.byte());
    for _ in 0..STEPS {
        if input.0.is_empty() {
            break;
        }
        talk.step(&mut input);
        talk.check();
    }
    talk.settle();
    talk.check();
}

/// Choices and arguments, from the front of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }
}

/// One end and what is known of it.
struct End {
    session: Session,
    /// What it put on the path and has not arrived.
    path: VecDeque<Bytes>,
    /// Every stream message it sent, by number.
    sent: BTreeMap<i64, Bytes>,
    wrote: Vec<u8>,
    got: Vec<u8>,
    /// Bytes that it was given, by its caller or by the path.
    given: usize,
    closed: bool,
}

impl End {
    fn new(session: Session) -> Self {
        Self {
            session,
            path: VecDeque::new(),
            sent: BTreeMap::new(),
            wrote: Vec::new(),
            got: Vec::new(),
            given: 0,
            closed: false,
        }
    }

    fn transmit(&mut self, now: Timestamp) {
        let mut count = 0;
        while let Some(message) = self.session.poll_transmit(now) {
            count += 1;
            assert!(count < BURST, "it never stops sending");
            let Ok(frame) = Frame::decode(&message, DigestCheck::Enforce) else {
                unreachable!("an end sends well-formed frames");
            };
            if matches!(
                frame.message_type,
                MessageType::InputStreamData | MessageType::OutputStreamData
            ) {
                let next = self.sent.last_key_value().map_or(0, |(last, _)| last + 1);
                assert!((0..=next).contains(&frame.sequence), "{}", frame.sequence);
                let first = self
                    .sent
                    .entry(frame.sequence)
                    .or_insert_with(|| message.clone());
                assert_eq!(*first, message, "another message under the same number");
            }
            self.path.push_back(message);
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "after the end: {event:?}");
            match event {
                Event::Output(bytes) | Event::Input(bytes) => self.got.extend_from_slice(&bytes),
                Event::Closed { .. } => self.closed = true,
                _ => {}
            }
        }
        assert_eq!(self.session.backlog(), 0);
    }

    /// What was due has been done.
    fn keep_deadline(&mut self, now: Timestamp) {
        self.session.handle_timeout(now);
        self.transmit(now);
        let next = self.session.poll_timeout();
        assert!(
            next.is_none_or(|next| next > now),
            "due again: {next:?} at {now:?}"
        );
    }
}

struct Talk {
    now: Timestamp,
    client: End,
    agent: End,
    /// Something that the other end did not send was taken; so the bytes may differ.
    forged: bool,
}

impl Talk {
    fn new(setup: u8) -> Self {
        let mut handshake = (setup & 1 != 0).then(|| {
            let kind = SessionType::InteractiveCommands;
            HandshakeRequest::new("3.3.987.0", &kind, &serde_json::Value::Null)
        });
        if setup & 2 != 0 {
            let challenge = (setup & 4 != 0).then_some("QSBjaGFsbGVuZ2Uh");
            handshake = handshake.map(|request| request.with_encryption("alias/fuzz", challenge));
        }
        let agent = AgentConfig {
            reacknowledge: setup & 8 == 0,
            require_challenge: setup & 16 != 0,
            max_payload: 1 + usize::from(setup) * 4,
            handshake: handshake.clone(),
            ..AgentConfig::new("fuzz", 2)
        };
        let client = ClientConfig {
            size: (setup & 32 != 0).then_some(Size { cols: 80, rows: 24 }),
            // Who speaks first to an agent that asks is not heard, by design.
            speak_after: (setup & 64 != 0 && handshake.is_none()).then_some(Duration::from_secs(1)),
            max_payload: 64,
            ..ClientConfig::new(1)
        };
        Self {
            now: START,
            client: End::new(Session::client(client, START)),
            agent: End::new(Session::agent(agent, START)),
            forged: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let to_client = choice & 0x80 != 0;
        let now = self.now;
        match choice & 0x1f {
            0..=2 => self.write(to_client, input),
            3..=7 => self.arrive(to_client),
            // Lost, doubled, late.
            8 => drop(self.path(to_client).pop_front()),
            9 => {
                let first = self.path(to_client).front().cloned();
                self.path(to_client).extend(first);
            }
            10 => {
                let first = self.path(to_client).pop_front();
                self.path(to_client).extend(first);
            }
            11 => self.mangled(to_client, input),
            12 => self.forge(to_client, input),
            13 => {
                let length = usize::from(input.byte());
                let noise = Bytes::copy_from_slice(input.take(length));
                self.deliver(to_client, &noise, true);
            }
            14 | 15 => {
                let millis = u64::from(input.byte());
                self.now = self.now + Duration::from_millis(millis * millis);
                self.client.keep_deadline(self.now);
                self.agent.keep_deadline(self.now);
            }
            16..=18 => {
                self.client.transmit(now);
                self.agent.transmit(now);
            }
            19 | 20 => self.listen(),
            21 => {
                self.end(to_client).session.disconnected();
                self.client.path.clear();
                self.agent.path.clear();
            }
            22 => self.end(to_client).session.reconnected(now),
            23 | 24 => {
                let filling = input.byte() & 1;
                if let Some(key) = DataKey::from_slice(&[filling; DataKey::LENGTH]) {
                    self.end(to_client)
                        .session
                        .provide_key(now, &key, b"ciphertext");
                }
            }
            25 => self.end(to_client).session.refuse_key(now, "no key"),
            26 => {
                let cols = u32::from(input.byte());
                self.client.given += 200;
                self.client.session.resize(now, Size { cols, rows: 1 });
            }
            27 => self.agent.session.set_ready(choice & 0x40 != 0),
            28 => self.agent.session.finish(now),
            29 => {
                let kind = match input.byte() % 4 {
                    0 => MessageType::StartPublication,
                    1 => MessageType::ChannelClosed,
                    _ => MessageType::PausePublication,
                };
                let id = MessageId::from_bytes([4; 16]);
                let frame = Frame::control(kind, Flags::NONE, id, now, Bytes::new());
                self.deliver(to_client, &frame.encode(), false);
            }
            _ => self.settle(),
        }
    }

    /// Whatever is there goes across, once.
    fn settle(&mut self) {
        for to_client in [true, false] {
            self.client.transmit(self.now);
            self.agent.transmit(self.now);
            for _ in 0..self.path(to_client).len() {
                self.arrive(to_client);
            }
        }
        self.listen();
    }

    fn write(&mut self, to_client: bool, input: &mut Input<'_>) {
        let length = usize::from(input.byte());
        let bytes = input.take(length);
        let now = self.now;
        let from = self.end(!to_client);
        let taken = from.session.write(now, PayloadType::Output, bytes);
        assert!(taken <= bytes.len());
        from.wrote
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        // The header counts for each byte if a message carries only one.
        from.given += taken * 256;
    }

    fn arrive(&mut self, to_client: bool) {
        if let Some(message) = self.path(to_client).pop_front() {
            self.deliver(to_client, &message, false);
        }
    }

    /// The next message with one byte changed; the message itself still comes.
    fn mangled(&mut self, to_client: bool, input: &mut Input<'_>) {
        let (place, change) = (usize::from(input.byte()), input.byte());
        let Some(first) = self.path(to_client).front() else {
            return;
        };
        let mut mangled = first.to_vec();
        if change == 0 {
            mangled.truncate(place);
        } else if let Some(byte) = mangled.get_mut(place) {
            *byte ^= change;
        }
        self.deliver(to_client, &mangled.into(), true);
    }

    /// A message that is well formed, and nobody's.
    fn forge(&mut self, to_client: bool, input: &mut Input<'_>) {
        let kind = match (input.byte() % 4, to_client) {
            (0, _) => MessageType::Acknowledge,
            (1, _) => MessageType::ChannelClosed,
            (_, true) => MessageType::OutputStreamData,
            (_, false) => MessageType::InputStreamData,
        };
        let number = input.byte();
        let absurd = ABSURD.get(usize::from(number)).copied();
        let sequence = absurd.unwrap_or_else(|| i64::from(number) - 8);
        let payload_type = PayloadType::from(u32::from(input.byte()) % 16);
        let length = usize::from(input.byte());
        let payload = match kind {
            MessageType::Acknowledge => {
                format!("{{\"AcknowledgedMessageSequenceNumber\":{sequence}}}").into_bytes()
            }
            _ => input.take(length).to_vec(),
        };
        self.deliver(
            to_client,
            &stream(kind, sequence, payload_type, &payload),
            true,
        );
    }

    fn deliver(&mut self, to_client: bool, message: &Bytes, forged: bool) {
        let now = self.now;
        let end = self.end(to_client);
        end.given += message.len();
        let result = end.session.receive(now, message);
        short(result.clone());
        // What is no frame leaves nothing behind, and so cannot have changed anything.
        self.forged |= forged && !matches!(result, Err(ProtocolError::Frame(_)));
    }

    fn listen(&mut self) {
        self.client.listen();
        self.agent.listen();
    }

    fn check(&self) {
        if !self.forged {
            assert!(self.agent.wrote.starts_with(&self.client.got));
            assert!(self.client.wrote.starts_with(&self.agent.got));
        }
        for end in [&self.client, &self.agent] {
            let bound = (64 << 10) + 16 * end.given;
            let held = end.session.buffered();
            assert!(held <= bound, "{held} bytes held, {} given", end.given);
        }
    }

    fn end(&mut self, client: bool) -> &mut End {
        if client {
            &mut self.client
        } else {
            &mut self.agent
        }
    }

    /// What is on its way to this end.
    fn path(&mut self, to_client: bool) -> &mut VecDeque<Bytes> {
        &mut self.end(!to_client).path
    }
}
