//! Byte-exact vectors made by the serializers of the reference programs, both ways through our codec.

// What cannot be read or made here is a failed test; the lint knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bowline_proto::smux::{Mux, MuxConfig, MuxEvent, MuxRole};
use bowline_proto::{
    Acknowledge, AgentConfig, AgentSessionState, ChannelClosed, ClientConfig, DigestCheck,
    EncryptionChallenge, Event, Flag, Flags, Frame, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, MessageId, MessageType, OpenDataChannel, PayloadType, Size, Timestamp,
    exit_code,
};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::{End, from_client, input};

/// Vectors without a test here: whole vectors of work to come.
const PENDING: [&str; 1] = [
    // The agent's HTTP request; the body belongs to the server that answers it.
    "create_data_channel_agent_http_body",
];

/// Payloads that are read, and written again with the same meaning, but perhaps in another order of keys: what an
/// action carries is free-form JSON to us, and in which order its keys are written is up to `serde_json`'s features.
/// The reference writes them in struct order.
const OTHER_KEY_ORDER: [&str; 3] = [
    "handshake_request_port",
    "handshake_request_interactive_kms",
    "handshake_response_kms",
];

struct Vector {
    name: String,
    fields: Value,
    payload: Bytes,
    message: Bytes,
}

impl Vector {
    fn is_frame(&self) -> bool {
        self.fields.get("header_length").is_some()
    }

    fn number(&self, field: &str) -> u64 {
        self.fields[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{}: {field}", self.name))
    }

    fn decode(&self) -> Frame {
        Frame::decode(&self.message, DigestCheck::Enforce)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

#[test]
fn every_vector_is_tested_or_pending_by_name() {
    let vectors = vectors();
    let names: BTreeSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(
        names.len(),
        41,
        "vectors of the same name, or a file that is not the one described in the README"
    );
    for listed in PENDING.iter().chain(&OTHER_KEY_ORDER) {
        assert!(
            names.contains(listed),
            "{listed} is listed but does not exist"
        );
    }
    for vector in &vectors {
        let tested = vector.is_frame()
            || vector.name.starts_with("open_data_channel_")
            || vector.name.starts_with("smux_");
        let pending = PENDING.contains(&vector.name.as_str());
        assert!(
            tested != pending,
            "{}: tested {tested}, pending {pending}",
            vector.name
        );
    }
    assert_eq!(
        vectors.iter().filter(|vector| vector.is_frame()).count(),
        33
    );
}

/// A client that does what the reference's did says the same; a server understands it.
#[test]
fn smux_is_said_and_understood_as_the_reference_does() {
    let vectors = vectors();
    let bytes = |name: &str| {
        let vector = vectors.iter().find(|vector| vector.name == name);
        vector.map(|vector| vector.message.clone()).unwrap()
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let config = MuxConfig {
        role: MuxRole::Client,
        keep_alive: false,
        patience: None,
    };
    let mut client = Mux::new(config, now);
    let mut said = Vec::new();
    let mut say = |client: &mut Mux, name: &str| {
        let sent = client.poll_transmit(1000).unwrap();
        assert_eq!(hex::encode(&sent), hex::encode(bytes(name)), "{name}");
        said.push(sent);
    };
    let first = client.open().unwrap();
    say(&mut client, "smux_syn_first_stream");
    let mut request = Bytes::from_static(b"GET / HTTP/1.0\r\n\r\n");
    client.write(first, &mut request);
    say(&mut client, "smux_psh");
    client.close(first);
    say(&mut client, "smux_fin");
    let second = client.open().unwrap();
    say(&mut client, "smux_syn_second_stream");
    client.nop();
    say(&mut client, "smux_nop_keepalive");
    assert_eq!((client.poll_transmit(1000), client.streams()), (None, 1));

    let mut server = Mux::new(
        MuxConfig {
            role: MuxRole::Server,
            ..config
        },
        now,
    );
    // Byte by byte: nothing depends on where it is cut.
    for byte in said.concat() {
        server.receive(now, vec![byte].into()).unwrap();
    }
    let events: Vec<MuxEvent> = std::iter::from_fn(|| server.poll_event()).collect();
    assert_eq!(
        events,
        [
            MuxEvent::Opened(first),
            MuxEvent::Readable(first),
            MuxEvent::Finished(first),
            MuxEvent::Opened(second),
        ]
    );
    assert_eq!(
        server.read(now, first).as_deref(),
        Some(&b"GET / HTTP/1.0\r\n\r\n"[..])
    );
    assert_eq!(server.read(now, first), None);
}

#[test]
fn frames_decode_to_the_listed_fields_and_encode_to_the_same_bytes() {
    for vector in vectors().iter().filter(|vector| vector.is_frame()) {
        let name = &vector.name;
        let expected = Frame {
            message_type: message_type(vector.fields["message_type"].as_str().unwrap()),
            schema_version: u32::try_from(vector.number("schema_version")).unwrap(),
            created_millis: vector.number("created_date_ms"),
            sequence: vector.fields["sequence_number"].as_i64().unwrap(),
            flags: Flags(vector.number("flags")),
            id: MessageId::parse(vector.fields["message_id"].as_str().unwrap()).unwrap(),
            payload_type: u32::try_from(vector.number("payload_type")).unwrap(),
            payload: vector.payload.clone(),
        };
        assert_eq!(
            vector.number("header_length"),
            u64::from(bowline_proto::HEADER_LENGTH),
            "{name}"
        );
        assert_eq!(
            vector.number("payload_length"),
            vector.payload.len() as u64,
            "{name}"
        );
        assert_eq!(vector.decode(), expected, "{name}");
        assert_eq!(
            hex::encode(expected.encode()),
            hex::encode(&vector.message),
            "{name}"
        );
    }
}

#[test]
fn payloads_are_read_and_written_as_the_reference_does() {
    for vector in vectors().iter().filter(|vector| vector.is_frame()) {
        let frame = vector.decode();
        match (&frame.message_type, PayloadType::from(frame.payload_type)) {
            (MessageType::Acknowledge, _) => round_trip::<Acknowledge>(vector),
            (MessageType::ChannelClosed, _) => round_trip::<ChannelClosed>(vector),
            (MessageType::AgentSessionState, _) => round_trip::<AgentSessionState>(vector),
            (MessageType::PausePublication | MessageType::StartPublication, _) => {
                assert_eq!(&frame.payload[..], b"{}");
            }
            (_, PayloadType::Size) => round_trip::<Size>(vector),
            (_, PayloadType::HandshakeRequest) => round_trip::<HandshakeRequest>(vector),
            (_, PayloadType::HandshakeResponse) => round_trip::<HandshakeResponse>(vector),
            (_, PayloadType::HandshakeComplete) => round_trip::<HandshakeComplete>(vector),
            (_, PayloadType::EncChallengeRequest | PayloadType::EncChallengeResponse) => {
                round_trip::<EncryptionChallenge>(vector);
            }
            (_, PayloadType::Flag) => {
                let flag = Flag::decode(&frame.payload).unwrap();
                assert!(!matches!(flag, Flag::Other(_)), "{}", vector.name);
                assert_eq!(&flag.encode()[..], &frame.payload, "{}", vector.name);
            }
            (_, PayloadType::ExitCode) => {
                let code = exit_code(&frame.payload).unwrap_or_else(|| panic!("{}", vector.name));
                assert_eq!(format!("EXIT_CODE: {code}").as_bytes(), &frame.payload);
            }
            // Bytes, compared with the frame.
            (_, PayloadType::Output | PayloadType::StdErr) => {}
            (kind, payload) => panic!("{}: no test for {kind:?} with {payload:?}", vector.name),
        }
    }
}

#[test]
fn the_open_messages_are_read_and_written_as_the_reference_does() {
    let names = [
        "open_data_channel_client_text_frame",
        "open_data_channel_agent_text_frame",
    ];
    for name in names {
        let vector = vector(name);
        let text = std::str::from_utf8(&vector.message).unwrap();
        assert_eq!(text, vector.fields["payload_json"].as_str().unwrap());
        assert_eq!(OpenDataChannel::decode(text).unwrap().encode(), text);
    }
    let id = |text| MessageId::parse(text).unwrap();
    let ours = OpenDataChannel::client(
        "TOKEN",
        id("dd010214-1122-4334-8556-66778899aa14"),
        id("dd010215-1122-4334-8556-66778899aa15"),
        "1.2.677.0",
    );
    assert_eq!(ours.encode().as_bytes(), &vector(names[0]).message);
}

#[test]
fn a_session_acknowledges_in_the_very_bytes_of_the_reference() {
    let mut client = End::client(ClientConfig::new(1));
    client
        .receive(&vector("output_data_hello").message)
        .unwrap();
    client.advance(2);
    let theirs = vector("ack_for_output_data_hello");
    let ours = &client.sent.last().unwrap().frame;
    assert_eq!(text(&ours.payload), text(&theirs.payload));
    assert_same_header(ours, &theirs.decode());

    let mut agent = End::agent(AgentConfig::new("session", 1));
    for sequence in 0..7 {
        agent.receive(&input(sequence, b"x")).unwrap();
    }
    agent.receive(&vector("input_data_ls").message).unwrap();
    agent.advance(2);
    let ours = &agent.sent.last().unwrap().frame;
    for theirs in [
        vector("agent_ack_for_input"),
        vector("ack_for_input_data_ls"),
    ] {
        assert_eq!(text(&ours.payload), text(&theirs.payload));
        assert_same_header(ours, &theirs.decode());
    }
}

#[test]
fn a_session_speaks_in_the_very_bytes_of_the_reference() {
    let config = ClientConfig {
        client_version: "1.2.677.0".to_owned(),
        size: Some(Size { cols: 80, rows: 24 }),
        ..ClientConfig::new(1)
    };
    let mut client = End::client(config);
    client
        .receive(&vector("handshake_request_port").message)
        .unwrap();
    let sent: Vec<&Frame> = client.sent.iter().map(|sent| &sent.frame).collect();
    assert_eq!(
        text(&sent[0].payload),
        text(&vector("input_size_80x24").payload)
    );
    assert_eq!(
        text(&sent[1].payload),
        text(&vector("handshake_response_session_type").payload)
    );
    assert!(
        sent.iter().all(|frame| frame.flags == Flags::NONE),
        "a client's stream carries no flags"
    );

    let mut agent = End::agent(AgentConfig::new("user-0123456789abcdef0", 1));
    agent.write(PayloadType::Output, b"hello\r\n");
    assert_eq!(
        agent.sent[1].frame.flags,
        vector("output_data_hello").decode().flags
    );
    agent.peer_acks_all();
    agent.finish();
    let states: Vec<_> = agent.sent.iter().filter(|sent| !sent.is_stream()).collect();
    for (sent, name) in states.iter().zip([
        "agent_session_state_connected",
        "agent_session_state_terminating",
    ]) {
        assert_eq!(text(&sent.frame.payload), text(&vector(name).payload));
        assert_eq!(sent.frame.flags, vector(name).decode().flags);
    }
    assert_eq!(states.len(), 2);
}

#[test]
fn a_response_of_the_reference_settles_our_handshake() {
    for (name, accepted) in [
        ("handshake_response_session_type", true),
        ("handshake_response_failed", false),
    ] {
        let mut agent = End::agent(common::with_handshake());
        agent.receive(&vector(name).message).unwrap();
        let established = agent
            .said
            .iter()
            .any(|event| matches!(event, Event::Established { .. }));
        let refused = agent
            .said
            .iter()
            .any(|event| matches!(event, Event::Refused(_)));
        assert_eq!(
            (established, refused),
            (accepted, !accepted),
            "{name}: {:?}",
            agent.said
        );
    }
    let mut agent = End::agent(common::with_handshake());
    agent
        .receive(&from_client(0, PayloadType::HandshakeResponse, b"not json"))
        .unwrap_err();
    assert!(agent.said.is_empty(), "{:?}", agent.said);
}

/// The vectors of the encrypted session fit together: one data key, one challenge, and numbers in order. That the
/// ciphertexts come out to the byte is tested next to the cipher.
#[test]
fn both_ends_understand_the_encrypted_session_of_the_reference() {
    let key: Vec<u8> = (0..64).collect();
    let ciphertext: Vec<u8> = (0xa0..=0xb7).collect();

    let mut client = End::client(ClientConfig {
        client_version: "1.2.677.0".to_owned(),
        ..ClientConfig::new(1)
    });
    client.key = Some((key.clone(), ciphertext.clone()));
    for name in [
        "handshake_request_interactive_kms",
        "enc_challenge_request",
        "handshake_complete_kms",
        "output_data_encrypted",
    ] {
        client.receive(&vector(name).message).unwrap();
    }
    let said = &client.said[1..];
    let message = "This session is encrypted using AWS KMS.".to_owned();
    assert_eq!(
        said,
        [Event::Message(message), Event::Output("hello\r\n".into())]
    );
    let mut theirs: HandshakeResponse =
        serde_json::from_slice(&vector("handshake_response_kms").payload).unwrap();
    let result = &mut theirs.processed_client_actions[1].action_result;
    // The reference does not acknowledge the challenge.
    result["ChallengeAcknowledgement"] = true.into();
    let ours: HandshakeResponse =
        serde_json::from_slice(&client.stream()[0].frame.payload).unwrap();
    assert_eq!(ours, theirs);

    let request = vector("handshake_request_interactive_kms").payload;
    let challenge: Vec<u8> = (0xc0..=0xff).rev().collect();
    let mut agent = End::agent(AgentConfig {
        handshake: Some(serde_json::from_slice(&request).unwrap()),
        challenge: Some(challenge.try_into().unwrap()),
        ..AgentConfig::new("session", 1)
    });
    agent
        .receive(&vector("handshake_response_kms").message)
        .unwrap();
    let offered = Event::KeyOffered {
        ciphertext: ciphertext.into(),
        challenge_acknowledged: false,
    };
    assert_eq!(agent.take_said(), [offered]);
    agent.provide_key(&key, b"");
    for name in ["enc_challenge_response", "input_data_encrypted"] {
        agent.receive(&vector(name).message).unwrap();
    }
    assert_eq!(agent.said[1..], [Event::Input("ls\r".into())]);
}

fn round_trip<T: DeserializeOwned + Serialize>(vector: &Vector) {
    let name = &vector.name;
    let value: T =
        serde_json::from_slice(&vector.payload).unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = serde_json::to_string(&value).unwrap();
    if OTHER_KEY_ORDER.contains(&name.as_str()) {
        let (again, reference): (Value, Value) = (
            serde_json::from_str(&again).unwrap(),
            serde_json::from_slice(&vector.payload).unwrap(),
        );
        assert_eq!(again, reference, "{name}");
    } else {
        assert_eq!(again, text(&vector.payload), "{name}");
    }
}

/// Everything before the payload that does not name this one message.
fn assert_same_header(ours: &Frame, theirs: &Frame) {
    let header = |frame: &Frame| {
        (
            frame.message_type.clone(),
            frame.schema_version,
            frame.sequence,
            frame.flags,
            frame.payload_type,
        )
    };
    assert_eq!(header(ours), header(theirs));
}

fn text(payload: &[u8]) -> &str {
    std::str::from_utf8(payload).unwrap()
}

fn message_type(name: &str) -> MessageType {
    let types = [
        MessageType::InputStreamData,
        MessageType::OutputStreamData,
        MessageType::Acknowledge,
        MessageType::ChannelClosed,
        MessageType::StartPublication,
        MessageType::PausePublication,
        MessageType::AgentSessionState,
    ];
    types
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is not modelled"))
}

fn vector(name: &str) -> Vector {
    vectors()
        .into_iter()
        .find(|vector| vector.name == name)
        .unwrap_or_else(|| panic!("no vector {name}"))
}

fn vectors() -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors.json");
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let bytes = |value: &Value| Bytes::from(hex::decode(value.as_str().unwrap()).unwrap());
    let read = |vector: &Value| Vector {
        name: vector["name"].as_str().unwrap().to_owned(),
        fields: vector["fields"].clone(),
        payload: bytes(&vector["payload_hex"]),
        message: bytes(&vector["hex"]),
    };
    file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .collect()
}
