//! Recorded sessions of the reference programs, replayed into our ends on virtual time: what the real agent sent
//! into our client, what the real plugin (and a stub client) sent into our agent.
//!
//! Each replay runs as recorded, with every message doubled, and in shuffled orders.

// What cannot be read or made here is a failed test; the lint knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_proto::sim::Random;
use bowline_proto::smux::{Mux, MuxConfig, MuxEvent, MuxRole, StreamId};
use bowline_proto::{
    AgentConfig, ClientConfig, DigestCheck, EncryptionChallenge, Event, Flag, Frame,
    HandshakeComplete, HandshakeRequest, HandshakeResponse, MessageType, PayloadType, Size,
    Timestamp, exit_code,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::{End, START, read_ack};

/// Recordings of work to come.
const PENDING: [&str; 3] = [
    // Only its beginning and its end were kept; read by a test of its own.
    "agent-plugin-port-mux-relay",
    // No data channel: the sandbox reads it, in `attached/message.rs`.
    "agent-control-channel",
    // The HTTP calls around a session; their signatures are the sandbox's test vectors.
    "agent-http",
];

/// How many shuffled orders of each recording are tried.
const SHUFFLES: u64 = 20;

/// Which of the two ends a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    Client,
    Agent,
}

#[derive(Clone, Debug)]
struct Recorded {
    at: Timestamp,
    towards: Towards,
    message: Bytes,
    frame: Frame,
}

impl Recorded {
    fn kind(&self) -> PayloadType {
        self.frame.payload_type.into()
    }

    fn is_stream(&self) -> bool {
        matches!(
            self.frame.message_type,
            MessageType::InputStreamData | MessageType::OutputStreamData
        )
    }
}

struct Recording {
    name: String,
    messages: Vec<Recorded>,
    /// Of an encrypted session.
    secret: Option<Secret>,
}

/// What only the two recorded ends knew.
struct Secret {
    from_agent: Vec<u8>,
    from_client: Vec<u8>,
    challenge: Vec<u8>,
    /// What the agent said, by sequence number.
    said: BTreeMap<i64, Vec<u8>>,
}

#[test]
fn every_recording_is_replayed_or_pending_by_name() {
    let names: BTreeSet<String> = paths().iter().map(|path| stem(path)).collect();
    assert_eq!(
        names.len(),
        38,
        "not the set of recordings described in the README"
    );
    for pending in PENDING {
        assert!(
            names.contains(pending),
            "{pending} is listed but does not exist"
        );
    }
    assert_eq!(recordings().len() + PENDING.len(), names.len());
    for recording in recordings() {
        let used =
            !recording.of(Towards::Client).is_empty() || !recording.of(Towards::Agent).is_empty();
        assert!(used, "{} holds nothing to replay", recording.name);
    }
}

#[test]
fn recorded_messages_are_read_as_they_were_recorded_and_written_byte_for_byte() {
    let mut messages = 0;
    for path in paths() {
        let name = stem(&path);
        for event in events(&path).iter().filter(|event| event["ws"] == "binary") {
            let message = Bytes::from(hex::decode(event["hex"].as_str().unwrap()).unwrap());
            let frame = Frame::decode(&message, DigestCheck::Enforce)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let header = &event["header"];
            assert_eq!(
                header["message_type"],
                frame.message_type.as_str(),
                "{name}"
            );
            assert_eq!(header["message_id"], frame.id.to_string(), "{name}");
            assert_eq!(header["sequence_number"], frame.sequence, "{name}");
            assert_eq!(header["flags"], frame.flags.0, "{name}");
            assert_eq!(header["payload_type"], frame.payload_type, "{name}");
            assert_eq!(header["created_date"], frame.created_millis, "{name}");
            assert_eq!(frame.encode(), message, "{name}");
            messages += 1;
        }
    }
    assert_eq!(messages, 551);
}

#[test]
fn what_agents_sent_comes_out_of_our_client() {
    for recording in recordings() {
        let messages = recording.of(Towards::Client);
        client_understands(&recording, &messages);
        client_understands(&recording, &doubled(&messages));
        for seed in 0..SHUFFLES {
            client_understands(&recording, &shuffled(&messages, seed));
            client_understands(&recording, &shuffled(&doubled(&messages), seed));
        }
    }
}

#[test]
fn what_clients_sent_comes_out_of_our_agent() {
    for recording in recordings() {
        let messages = recording.of(Towards::Agent);
        agent_understands(&recording, &messages);
        agent_understands(&recording, &doubled(&messages));
        for seed in 0..SHUFFLES {
            agent_understands(&recording, &shuffled(&messages, seed));
            agent_understands(&recording, &shuffled(&doubled(&messages), seed));
        }
    }
}

#[test]
fn our_agent_says_what_the_recorded_one_said_and_the_real_client_acknowledges_it() {
    for recording in recordings() {
        let mut agent = recording.agent();
        let spoken = recording.spoken_by_agent();
        let mut said = spoken.iter().filter(|(kind, _)| !is_handshake(*kind));
        for message in &recording.messages {
            agent.advance_to(message.at);
            match message.towards {
                Towards::Agent => agent.receive(&message.message).unwrap(),
                Towards::Client if message.is_stream() && !is_handshake(message.kind()) => {
                    let first = !recording.earlier_copy(message);
                    if let Some((kind, payload)) = first.then(|| said.next()).flatten() {
                        assert_eq!(
                            agent.write(*kind, payload),
                            payload.len(),
                            "{}",
                            recording.name
                        );
                    }
                }
                Towards::Client => {}
            }
        }
        let ours = distinct_stream(&recording.name, &agent);
        assert_eq!(ours.len(), spoken.len(), "{}", recording.name);
        for (frame, (kind, payload)) in ours.iter().zip(&spoken) {
            assert_eq!(
                PayloadType::from(frame.payload_type),
                *kind,
                "{}",
                recording.name
            );
            if !is_handshake(*kind) {
                let ours = recording.open(frame);
                assert_eq!(&ours, payload, "{}", recording.name);
            }
        }
        let acked: BTreeSet<i64> = recording
            .of(Towards::Agent)
            .iter()
            .filter_map(|m| Some(read_ack(&m.frame)?.sequence))
            .collect();
        assert_eq!(
            agent.session.is_idle(),
            acked.len() == spoken.len(),
            "{}",
            recording.name
        );
    }
}

/// What the real plugin and the real agent say in port sessions is smux to us, and holds what went through.
#[test]
fn the_streams_of_recorded_port_sessions_come_out_of_our_smux() {
    for (name, first, second) in [
        ("plugin-port-mux", &b"E\nping"[..], &b"E\ntwo"[..]),
        ("agent-plugin-port-mux-relay", b"E\nping", b""),
    ] {
        let path = paths().into_iter().find(|path| stem(path) == name).unwrap();
        let now = Timestamp::from_millis(1);
        let config = MuxConfig {
            role: MuxRole::Server,
            keep_alive: false,
            patience: None,
        };
        let mut server = Mux::new(config, now);
        let mut ended = false;
        let mut sent = messages(&path);
        sent.retain(|message| message.towards == Towards::Agent);
        for frame in in_sequence(&sent) {
            match PayloadType::from(frame.payload_type) {
                PayloadType::Output => server.receive(now, frame.payload.clone()).unwrap(),
                PayloadType::Flag => {
                    let flag = Flag::decode(&frame.payload).unwrap();
                    assert_eq!(flag, Flag::TerminateSession, "{name}");
                    ended = true;
                }
                _ => {}
            }
        }
        assert!(ended, "{name}");
        let opened: Vec<StreamId> = std::iter::from_fn(|| server.poll_event())
            .filter_map(|event| match event {
                MuxEvent::Opened(id) => Some(id),
                _ => None,
            })
            .collect();
        let expected: Vec<&[u8]> = [first, second]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(opened.len(), expected.len(), "{name}");
        for (id, expected) in opened.into_iter().zip(expected) {
            let read = server.read(now, id).unwrap();
            assert!(read.starts_with(expected), "{name}: {read:?}");
        }
    }
}

/// Feeds what an agent sent into our client.
fn client_understands(recording: &Recording, messages: &[Recorded]) {
    let name = &recording.name;
    let mut client = recording.client();
    feed(name, &mut client, messages);

    let stream = in_sequence(messages);
    let request = stream.iter().find(|frame| frame.payload_type == 5);
    let mut expected = Vec::new();
    for frame in &stream {
        let payload = recording.open(frame);
        match PayloadType::from(frame.payload_type) {
            PayloadType::Output => expected.push(Event::Output(payload)),
            PayloadType::StdErr => expected.push(Event::StdErr(payload)),
            PayloadType::ExitCode => expected.push(Event::ExitCode(exit_code(&payload).unwrap())),
            PayloadType::HandshakeRequest | PayloadType::EncChallengeRequest => {}
            PayloadType::HandshakeComplete => {
                let text = json::<HandshakeComplete>(&payload).customer_message;
                expected.extend((!text.is_empty()).then_some(Event::Message(text)));
            }
            other => panic!("{name}: no expectation for {other:?}"),
        }
    }
    if !stream.is_empty() {
        let request = request.map(|frame| json::<HandshakeRequest>(&frame.payload));
        let session_type = request.as_ref().and_then(HandshakeRequest::session_type);
        expected.insert(
            0,
            Event::Established {
                version: request.map(|request| request.agent_version),
                session_type,
            },
        );
    }
    if messages
        .iter()
        .any(|message| message.frame.message_type == MessageType::ChannelClosed)
    {
        expected.push(Event::Closed {
            output: String::new(),
            complete: true,
        });
    }
    assert_eq!(client.said, expected, "{name}");

    let ours = distinct_stream(name, &client);
    let expected = match (request.is_some(), &recording.secret) {
        (false, _) => 0,
        (true, None) => 1,
        (true, Some(_)) => 2,
    };
    assert_eq!(
        ours.len(),
        expected,
        "{name}: one answer, if asked: {ours:?}"
    );
    for frame in ours {
        match (PayloadType::from(frame.payload_type), &recording.secret) {
            (PayloadType::HandshakeResponse, _) => {
                let response = json::<HandshakeResponse>(&frame.payload);
                assert_eq!(response.errors, None, "{name}");
                let mut theirs = recording.response().unwrap_or_else(|| response.clone());
                if let [_, action] = &mut theirs.processed_client_actions[..] {
                    // Not every recorded client acknowledges the challenge. Ours does.
                    action.action_result["ChallengeAcknowledgement"] = true.into();
                }
                assert_eq!(
                    response.processed_client_actions, theirs.processed_client_actions,
                    "{name}"
                );
            }
            (PayloadType::EncChallengeResponse, Some(secret)) => {
                let sealed = json::<EncryptionChallenge>(&frame.payload).challenge;
                let sealed = STANDARD.decode(sealed).unwrap();
                assert_eq!(
                    open(&secret.from_client, &sealed),
                    secret.challenge,
                    "{name}"
                );
            }
            (other, _) => panic!("{name}: no expectation for {other:?}"),
        }
    }
}

/// Feeds what a client sent into our agent.
fn agent_understands(recording: &Recording, messages: &[Recorded]) {
    let name = &recording.name;
    let mut agent = recording.agent();
    feed(name, &mut agent, messages);

    let mut expected = Vec::new();
    let settles = match recording.secret {
        Some(_) => PayloadType::EncChallengeResponse,
        None => PayloadType::HandshakeResponse,
    };
    let mut settled = recording.agent_config().handshake.is_none();
    for frame in in_sequence(messages) {
        let kind = PayloadType::from(frame.payload_type);
        if kind == settles {
            settled = true;
            expected.push(Event::Established {
                version: recording.response().map(|it| it.client_version),
                session_type: None,
            });
            continue;
        }
        let payload = recording.open(&frame);
        match kind {
            PayloadType::HandshakeResponse => {}
            // Input during the handshake is taken and thrown away.
            _ if !settled => {}
            PayloadType::Output => expected.push(Event::Input(payload)),
            PayloadType::Size => expected.push(Event::Size(json::<Size>(&payload))),
            PayloadType::Flag => expected.push(Event::Flag(Flag::decode(&payload).unwrap())),
            other => panic!("{name}: no expectation for {other:?}"),
        }
    }
    let (closed, said): (Vec<_>, Vec<_>) = agent
        .said
        .iter()
        .cloned()
        .partition(|event| matches!(event, Event::Closed { .. }));
    assert_eq!(said, expected, "{name}");
    let closes = messages
        .iter()
        .any(|message| message.frame.message_type == MessageType::ChannelClosed);
    assert_eq!(!closed.is_empty(), closes, "{name}");
}

/// Delivers messages at their recorded times and checks every acknowledgement.
fn feed(name: &str, end: &mut End, messages: &[Recorded]) {
    let mut arrivals: BTreeMap<i64, Vec<(Timestamp, &Frame)>> = BTreeMap::new();
    for message in messages {
        end.advance_to(message.at);
        end.receive(&message.message)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if message.is_stream() {
            arrivals
                .entry(message.frame.sequence)
                .or_default()
                .push((end.now, &message.frame));
        }
    }
    end.advance(5);

    let mut acks: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for (at, ack) in end.acks() {
        acks.entry(ack.sequence).or_default().push((at, ack));
    }
    assert_eq!(
        acks.keys().collect::<Vec<_>>(),
        arrivals.keys().collect::<Vec<_>>(),
        "{name}"
    );
    for (sequence, copies) in &arrivals {
        let acks = &acks[sequence];
        assert_eq!(
            acks.len(),
            copies.len(),
            "{name}: one acknowledgement for each copy of {sequence}"
        );
        for ((at, ack), (arrived, frame)) in acks.iter().zip(copies) {
            let delay = *at - *arrived;
            assert!(
                delay >= Duration::from_millis(1),
                "{name}: {sequence} acknowledged after {delay:?}"
            );
            assert!(
                delay <= Duration::from_millis(2),
                "{name}: {sequence} acknowledged after {delay:?}"
            );
            assert_eq!(ack.message_id, frame.id.to_string(), "{name}");
            assert_eq!(ack.message_type, frame.message_type.as_str(), "{name}");
            assert!(ack.sequential, "{name}");
        }
    }
}

/// The stream messages an end sent, without their copies, which have to be the same to the byte.
fn distinct_stream(name: &str, end: &End) -> Vec<Frame> {
    let mut distinct: BTreeMap<i64, &common::Sent> = BTreeMap::new();
    for sent in end.stream() {
        let first = distinct.entry(sent.frame.sequence).or_insert(sent);
        assert_eq!(
            first.message, sent.message,
            "{name}: a resent message differs"
        );
    }
    let sequences: Vec<i64> = distinct.keys().copied().collect();
    assert_eq!(
        sequences,
        (0..).take(sequences.len()).collect::<Vec<i64>>(),
        "{name}: numbered without gaps"
    );
    distinct
        .into_values()
        .map(|sent| sent.frame.clone())
        .collect()
}

/// Stream messages in the order of their numbers, each once.
fn in_sequence(messages: &[Recorded]) -> Vec<Frame> {
    let stream = messages.iter().filter(|message| message.is_stream());
    let distinct: BTreeMap<i64, &Frame> = stream
        .map(|message| (message.frame.sequence, &message.frame))
        .collect();
    distinct.into_values().cloned().collect()
}

fn doubled(messages: &[Recorded]) -> Vec<Recorded> {
    messages
        .iter()
        .flat_map(|message| [message.clone(), message.clone()])
        .collect()
}

/// The same messages in another order, at the same times. A close stays behind everything it came after: one that
/// overtakes cannot be told from a short session.
fn shuffled(messages: &[Recorded], seed: u64) -> Vec<Recorded> {
    let mut random = Random::new(seed);
    let mut order: Vec<&Recorded> = messages.iter().collect();
    for last in (1..order.len()).rev() {
        order.swap(
            last,
            usize::try_from(random.below(last as u64 + 1)).unwrap(),
        );
    }
    order.sort_by_key(|message| message.frame.message_type == MessageType::ChannelClosed);
    let at_times_of = |(message, time): (&&Recorded, &Recorded)| Recorded {
        at: time.at,
        ..(*message).clone()
    };
    order.iter().zip(messages).map(at_times_of).collect()
}

fn is_handshake(kind: PayloadType) -> bool {
    matches!(
        kind,
        PayloadType::HandshakeRequest
            | PayloadType::EncChallengeRequest
            | PayloadType::HandshakeComplete
    )
}

/// Opens a sealed payload with another code than that under test.
fn open(key: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (nonce, rest) = sealed.split_first_chunk::<12>().unwrap();
    let (ciphertext, tag) = rest.split_last_chunk::<16>().unwrap();
    let mut plain = ciphertext.to_vec();
    Aes256Gcm::new_from_slice(key)
        .unwrap()
        .decrypt_inout_detached(
            &Nonce::from(*nonce),
            &[],
            plain.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .unwrap();
    plain
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> T {
    serde_json::from_slice(payload).unwrap()
}

impl Recording {
    fn of(&self, towards: Towards) -> Vec<Recorded> {
        self.messages
            .iter()
            .filter(|message| message.towards == towards)
            .cloned()
            .collect()
    }

    /// Kind and payload of every stream message of the recorded agent or stub, each once.
    fn spoken_by_agent(&self) -> Vec<(PayloadType, Bytes)> {
        let stream = in_sequence(&self.of(Towards::Client));
        stream
            .into_iter()
            .map(|frame| (frame.payload_type.into(), self.open(&frame)))
            .collect()
    }

    /// The plaintext of a stream message, whoever sent it.
    fn open(&self, frame: &Frame) -> Bytes {
        // Data, stderr, exit code.
        let sealed = matches!(frame.payload_type, 1 | 11 | 12);
        let Some(secret) = self.secret.as_ref().filter(|_| sealed) else {
            return frame.payload.clone();
        };
        match frame.message_type {
            MessageType::OutputStreamData => {
                let plain = open(&secret.from_agent, &frame.payload);
                assert_eq!(plain, secret.said[&frame.sequence], "{}", self.name);
                plain.into()
            }
            _ => open(&secret.from_client, &frame.payload).into(),
        }
    }

    /// The recorded answer to the handshake.
    fn response(&self) -> Option<HandshakeResponse> {
        let stream = in_sequence(&self.of(Towards::Agent));
        let mut responses = stream.iter().filter(|frame| frame.payload_type == 6);
        responses.next().map(|frame| json(&frame.payload))
    }

    fn client(&self) -> End {
        self.with_key(End::client(ClientConfig::new(7)))
    }

    fn agent(&self) -> End {
        self.with_key(End::agent(self.agent_config()))
    }

    fn with_key(&self, mut end: End) -> End {
        end.key = self.secret.as_ref().map(|secret| {
            let actions = self.response().unwrap().processed_client_actions;
            let text = actions[1].action_result["KMSCipherTextKey"].clone();
            let ciphertext = STANDARD.decode(text.as_str().unwrap()).unwrap();
            let key = [&secret.from_agent[..], &secret.from_client].concat();
            (key, ciphertext)
        });
        end
    }

    /// An agent that begins like the recorded one.
    fn agent_config(&self) -> AgentConfig {
        let spoken = self.spoken_by_agent();
        let request = spoken
            .iter()
            .find(|(kind, _)| *kind == PayloadType::HandshakeRequest);
        AgentConfig {
            handshake: request.map(|(_, payload)| json(payload)),
            challenge: self
                .secret
                .as_ref()
                .map(|secret| secret.challenge[..].try_into().unwrap()),
            ..AgentConfig::new(&self.name, 9)
        }
    }

    fn earlier_copy(&self, of: &Recorded) -> bool {
        let mut before = self
            .messages
            .iter()
            .take_while(|message| !std::ptr::eq(*message, of));
        before.any(|message| message.message == of.message)
    }
}

fn recordings() -> Vec<Recording> {
    let mut recordings: Vec<Recording> = paths()
        .iter()
        .filter(|path| !PENDING.contains(&stem(path).as_str()))
        .map(|path| Recording {
            name: stem(path),
            messages: messages(path),
            secret: secret(path),
        })
        .collect();
    recordings.sort_by(|one, other| one.name.cmp(&other.name));
    recordings
}

fn messages(path: &Path) -> Vec<Recorded> {
    let binary = |event: &Value| {
        let message = Bytes::from(hex::decode(event["hex"].as_str().unwrap()).unwrap());
        let frame = Frame::decode(&message, DigestCheck::Enforce).unwrap();
        let micros = (event["t_ms"].as_f64().unwrap() * 1000.0).round();
        let towards = match event["dir"].as_str().unwrap() {
            "agent->server" | "server->client" => Towards::Client,
            "server->agent" | "client->server" | "plugin->server" => Towards::Agent,
            other => panic!("{other} is no direction"),
        };
        Recorded {
            at: START + Duration::from_secs_f64(micros / 1e6),
            towards,
            message,
            frame,
        }
    };
    events(path)
        .iter()
        .filter(|event| event["ws"] == "binary")
        .map(binary)
        .collect()
}

fn secret(path: &Path) -> Option<Secret> {
    let keys = file(path).get("local_test_keys")?.clone();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let said = keys["plaintexts"].as_array().unwrap().iter();
    Some(Secret {
        from_agent: bytes(&keys["keys"]["agent_to_client"]),
        from_client: bytes(&keys["keys"]["client_to_agent"]),
        challenge: bytes(&keys["challenge_plain"]),
        said: said
            .map(|it| (it["seq"].as_i64().unwrap(), bytes(&it["plain_hex"])))
            .collect(),
    })
}

fn file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn events(path: &Path) -> Vec<Value> {
    let file = file(path);
    // The recording of HTTP calls has no messages.
    file.get("events")
        .map(|events| events.as_array().unwrap().clone())
        .unwrap_or_default()
}

fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}
