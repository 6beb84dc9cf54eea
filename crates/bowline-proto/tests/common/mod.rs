//! One end of a session on a virtual clock, and messages as its peer would send them.

// Each test binary compiles this file and uses its own part of it.
#![allow(dead_code)]

use std::time::Duration;

use bowline_proto::{
    Acknowledge, AgentConfig, ClientConfig, DataKey, DigestCheck, Event, Flags, Frame,
    HandshakeRequest, KeyAnswer, MessageId, MessageType, PayloadType, ProtocolError, Session,
    SessionType, Timestamp,
};
use bytes::Bytes;

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A message an end sent, and when.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Timestamp,
    pub(crate) message: Bytes,
    pub(crate) frame: Frame,
}

impl Sent {
    pub(crate) fn kind(&self) -> PayloadType {
        self.frame.payload_type.into()
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(
            self.frame.message_type,
            MessageType::InputStreamData | MessageType::OutputStreamData
        )
    }
}

/// One end, driven as a driver should: every deadline is kept to the microsecond, everything is taken at once.
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) now: Timestamp,
    pub(crate) sent: Vec<Sent>,
    pub(crate) said: Vec<Event>,
    /// Given at once, with this ciphertext, whenever a key is asked for; the question is not in `said` then.
    pub(crate) key: Option<(Vec<u8>, Vec<u8>)>,
}

impl End {
    pub(crate) fn client(config: ClientConfig) -> Self {
        Self::new(Session::client(config, START))
    }

    pub(crate) fn agent(config: AgentConfig) -> Self {
        Self::new(Session::agent(config, START))
    }

    fn new(session: Session) -> Self {
        let mut end = Self {
            session,
            now: START,
            sent: Vec::new(),
            said: Vec::new(),
            key: None,
        };
        end.settle();
        end
    }

    pub(crate) fn receive(&mut self, message: &Bytes) -> Result<(), ProtocolError> {
        let result = self.session.receive(self.now, message);
        self.settle();
        result
    }

    pub(crate) fn write(&mut self, kind: PayloadType, bytes: &[u8]) -> usize {
        let taken = self.session.write(self.now, kind, bytes);
        self.settle();
        taken
    }

    pub(crate) fn finish(&mut self) {
        self.session.finish(self.now);
        self.settle();
    }

    /// Moves the clock, stopping at every deadline on the way.
    pub(crate) fn advance_to(&mut self, until: Timestamp) {
        while let Some(deadline) = self
            .session
            .poll_timeout()
            .filter(|deadline| *deadline <= until)
        {
            self.now = self.now.max(deadline);
            self.session.handle_timeout(self.now);
            self.settle();
            let next = self.session.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline that was kept is due again: {next:?}"
            );
        }
        self.now = self.now.max(until);
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.advance_to(self.now + Duration::from_millis(millis));
    }

    /// Takes what there is to send and to say at this moment.
    pub(crate) fn settle(&mut self) {
        while let Some(message) = self.session.poll_transmit(self.now) {
            let frame = Frame::decode(&message, DigestCheck::Enforce)
                .expect("an end sends well-formed frames");
            self.sent.push(Sent {
                at: self.now,
                message,
                frame,
            });
        }
        while let Some(event) = self.session.poll_event() {
            match (&event, &self.key) {
                (Event::KeyWanted { .. } | Event::KeyOffered { .. }, Some((key, ciphertext))) => {
                    self.session
                        .provide_key(self.now, &data_key(key), ciphertext);
                    return self.settle();
                }
                _ => self.said.push(event),
            }
        }
    }

    pub(crate) fn provide_key(&mut self, key: &[u8], ciphertext: &[u8]) {
        self.session
            .provide_key(self.now, &data_key(key), ciphertext);
        self.settle();
    }

    pub(crate) fn refuse_key(&mut self, reason: &str) {
        self.session.refuse_key(self.now, reason);
        self.settle();
    }

    /// The acknowledgements sent so far, with their times.
    pub(crate) fn acks(&self) -> Vec<(Timestamp, Acknowledge)> {
        self.sent
            .iter()
            .filter_map(|sent| Some((sent.at, read_ack(&sent.frame)?)))
            .collect()
    }

    pub(crate) fn acked_sequences(&self) -> Vec<i64> {
        self.acks()
            .into_iter()
            .map(|(_, ack)| ack.sequence)
            .collect()
    }

    /// The stream messages sent so far, copies included.
    pub(crate) fn stream(&self) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.is_stream()).collect()
    }

    pub(crate) fn take_said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.said)
    }

    /// Acknowledges every stream message sent so far.
    pub(crate) fn peer_acks_all(&mut self) {
        let acks: Vec<Bytes> = self.stream().iter().map(|sent| ack(&sent.frame)).collect();
        for message in acks {
            self.receive(&message).unwrap();
        }
    }
}

pub(crate) fn data_key(bytes: &[u8]) -> DataKey {
    DataKey::from_slice(bytes).expect("64 bytes")
}

/// The acknowledgement that a frame holds, if it is one.
pub(crate) fn read_ack(frame: &Frame) -> Option<Acknowledge> {
    (frame.message_type == MessageType::Acknowledge)
        .then(|| serde_json::from_slice(&frame.payload).expect("a well-formed acknowledgement"))
}

/// A client that has heard the agent's first word and may write.
pub(crate) fn running_client() -> End {
    let mut client = End::client(ClientConfig::new(1));
    client.receive(&output(0, b"$ ")).unwrap();
    client.advance(5);
    client.sent.clear();
    client.take_said();
    client
}

/// An agent without a handshake, connected.
pub(crate) fn running_agent() -> End {
    let mut agent = End::agent(AgentConfig::new("session", 1));
    agent.sent.clear();
    agent
}

pub(crate) fn with_handshake() -> AgentConfig {
    let request = HandshakeRequest::new(
        "3.3.987.0",
        &SessionType::InteractiveCommands,
        &serde_json::Value::Null,
    );
    AgentConfig {
        handshake: Some(request),
        ..AgentConfig::new("session", 1)
    }
}

pub(crate) fn frame(
    message_type: MessageType,
    sequence: i64,
    kind: PayloadType,
    payload: &[u8],
) -> Frame {
    let mut id = [0x40; 16];
    id[8..].copy_from_slice(&sequence.to_be_bytes());
    Frame {
        message_type,
        schema_version: 1,
        created_millis: START.as_millis(),
        sequence,
        flags: Flags::NONE,
        id: MessageId::from_bytes(id),
        payload_type: kind.into(),
        payload: Bytes::copy_from_slice(payload),
    }
}

/// A stream message of an agent.
pub(crate) fn from_agent(sequence: i64, kind: PayloadType, payload: &[u8]) -> Bytes {
    frame(MessageType::OutputStreamData, sequence, kind, payload).encode()
}

/// A stream message of a client.
pub(crate) fn from_client(sequence: i64, kind: PayloadType, payload: &[u8]) -> Bytes {
    frame(MessageType::InputStreamData, sequence, kind, payload).encode()
}

pub(crate) fn output(sequence: i64, payload: &[u8]) -> Bytes {
    from_agent(sequence, PayloadType::Output, payload)
}

pub(crate) fn input(sequence: i64, payload: &[u8]) -> Bytes {
    from_client(sequence, PayloadType::Output, payload)
}

/// A message outside of the stream.
pub(crate) fn control(message_type: MessageType, payload: &str) -> Bytes {
    frame(message_type, 0, PayloadType::Other(0), payload.as_bytes()).encode()
}

/// The peer's acknowledgement of `acknowledged`.
pub(crate) fn ack(acknowledged: &Frame) -> Bytes {
    control(
        MessageType::Acknowledge,
        &serde_json::to_string(&Acknowledge::of(acknowledged)).unwrap(),
    )
}

pub(crate) fn channel_closed(text: &str) -> Bytes {
    let payload = serde_json::json!({ "SessionId": "session", "SchemaVersion": 1, "CreatedDate": "0", "Output": text });
    control(MessageType::ChannelClosed, &payload.to_string())
}

pub(crate) fn handshake_request() -> Vec<u8> {
    serde_json::to_vec(&with_handshake().handshake).unwrap()
}

pub(crate) fn handshake_response() -> Vec<u8> {
    let request = with_handshake().handshake.unwrap();
    serde_json::to_vec(&request.answer("1.2.677.0", &KeyAnswer::Unsupported)).unwrap()
}
