//! The fuzz targets' bodies on a stable compiler: each with 20,000 inputs from a fixed seed. A third of them is noise, the
//! others are good inputs with some bytes changed, doubled or taken out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bowline_proto::sim::Random;
use bowline_proto::{
    DigestCheck, Flags, Frame, HandshakeRequest, KeyAnswer, MessageId, MessageType, SessionType,
    fuzz,
};
use bytes::Bytes;

const INPUTS: usize = 20_000;

#[test]
fn frames() {
    let kinds = [
        "input_stream_data",
        "acknowledge",
        "start_publication",
        "something else",
    ];
    let seeds: Vec<Vec<u8>> = kinds.map(|kind| sample(kind, b"{\"payload\":1}")).into();
    for seed in &seeds {
        let frame = Frame::decode(&Bytes::copy_from_slice(seed), DigestCheck::Enforce);
        assert!(frame.is_ok(), "what is mutated is good: {frame:?}");
    }
    run(1, &seeds, fuzz::frame);
}

#[test]
fn payloads() {
    let id = "00000000-0000-4000-8000-000000000000";
    let texts = [
        format!("{{\"AcknowledgedMessageType\":\"output_stream_data\",\"AcknowledgedMessageId\":\"{id}\",\"AcknowledgedMessageSequenceNumber\":7,\"IsSequentialMessage\":true}}"),
        format!("{{\"MessageId\":\"{id}\",\"Output\":\"gone\",\"SchemaVersion\":1}}"),
        "{\"SchemaVersion\":1,\"SessionState\":\"Connected\",\"SessionId\":\"s\"}".to_owned(),
        "{\"cols\":80,\"rows\":24}".to_owned(),
        "{\"Challenge\":\"AAAA\"}".to_owned(),
        "{\"HandshakeTimeToComplete\":12,\"CustomerMessage\":\"hello\"}".to_owned(),
        "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"t\",\"ClientId\":\"c\"}".to_owned(),
        "EXIT_CODE: -1".to_owned(),
        "\0\0\0\u{2}".to_owned(),
        request(),
        response(),
    ];
    let seeds: Vec<Vec<u8>> = texts.map(String::into_bytes).into();
    run(2, &seeds, fuzz::payload);
}

#[test]
fn handshakes() {
    let challenge = "\u{1}{\"Challenge\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    let complete = "\u{2}{\"HandshakeTimeToComplete\":1,\"CustomerMessage\":\"hello\"}";
    let plain = "\u{4}{\"AgentVersion\":\"3\",\"RequestedClientActions\":[{\"ActionType\":\"SessionType\",\"ActionParameters\":{\"SessionType\":\"Port\"}}]}";
    let asked = format!("\u{4}{}", request());
    let seeds = [
        [&asked, challenge, complete, "\u{3}out"].join("\n"),
        [plain, complete, "\u{3}out"].join("\n"),
        ["\u{3}out", plain, complete, plain].join("\n"),
    ];
    let seeds: Vec<Vec<u8>> = [0, 1]
        .iter()
        .flat_map(|&mood| {
            seeds
                .iter()
                .map(move |seed| [&[mood], seed.as_bytes()].concat())
        })
        .collect();
    run(3, &seeds, fuzz::handshake);
}

#[test]
fn sessions() {
    // For each way to set a session up, one that goes well: both write, everything crosses, KMS answers, time passes.
    let seeds: Vec<Vec<u8>> = (0..32)
        .map(|setup| {
            let mut seed = vec![setup];
            for _ in 0..3 {
                seed.extend([31, 31, 23 | 0x80, 0, 31, 23, 0, 31, 14, 2, 31, 31]);
                seed.extend(*b"\x00\x05hello\x80\x05world");
                seed.extend([16, 3, 0x83, 0x83, 19, 14, 20, 31]);
            }
            seed
        })
        .collect();
    run(4, &seeds, fuzz::session);
}

#[test]
fn streams() {
    // For a setup byte: opens, pushes and a close, which are good smux and good steps of a conversation too.
    let good = "0100000003000000010205000300000068656c6c6f010300000000000001000000050000000102020005000000ffff0101000003000000";
    let seeds: Vec<Vec<u8>> = [0_u8, 1, 2, 3, 0x81, 0xff]
        .iter()
        .map(|setup| [&[*setup][..], &hex::decode(good).unwrap()].concat())
        .collect();
    run(5, &seeds, fuzz::smux);
}

/// Calls `body`; the panic of a failing input names the number that makes it again.
fn run(seed: u64, seeds: &[Vec<u8>], body: fn(&[u8])) {
    let mut random = Random::new(seed);
    let mut below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    for number in 0..INPUTS {
        let noise = |below: &mut dyn FnMut(usize) -> usize| {
            let length = below(300);
            (0..length)
                .map(|_| u8::try_from(below(256)).unwrap())
                .collect::<Vec<u8>>()
        };
        let mut input = match number {
            // As they are, first.
            number if number < seeds.len() => seeds[number].clone(),
            number if number % 3 == 0 => noise(&mut below),
            _ => {
                let mut input = seeds[below(seeds.len())].clone();
                for _ in 0..1 + below(4) {
                    mutate(&mut input, &mut below);
                }
                input
            }
        };
        input.truncate(1000);
        let outcome = std::panic::catch_unwind(|| body(&input));
        assert!(outcome.is_ok(), "input {number} of seed {seed}: {input:?}");
    }
}

fn mutate(input: &mut Vec<u8>, below: &mut impl FnMut(usize) -> usize) {
    let place = below(input.len().max(1)).min(input.len());
    let to = (place + below(20)).min(input.len());
    match below(5) {
        0 if place < input.len() => input[place] ^= 1 << below(8),
        1 if place < input.len() => input[place] = u8::try_from(below(256)).unwrap(),
        2 => drop(input.drain(place..to)),
        3 => input.extend_from_within(place..to),
        _ => input.insert(place, u8::try_from(below(256)).unwrap()),
    }
}

fn sample(kind: &str, payload: &'static [u8]) -> Vec<u8> {
    let frame = Frame {
        message_type: match kind {
            "input_stream_data" => MessageType::InputStreamData,
            "acknowledge" => MessageType::Acknowledge,
            "start_publication" => MessageType::StartPublication,
            other => MessageType::Other(other.into()),
        },
        schema_version: 1,
        created_millis: 1,
        sequence: 7,
        flags: Flags::NONE,
        id: MessageId::from_bytes([5; 16]),
        payload_type: 1,
        payload: payload.into(),
    };
    frame.encode().to_vec()
}

fn request() -> String {
    let kind = SessionType::InteractiveCommands;
    let request = HandshakeRequest::new("3.3.987.0", &kind, &serde_json::json!({ "a": [1, 2.5] }))
        .with_encryption("alias/fuzz", Some("QSBjaGFsbGVuZ2Uh"));
    serde_json::to_string(&request).unwrap()
}

fn response() -> String {
    let request: HandshakeRequest = serde_json::from_str(&request()).unwrap();
    let response = request.answer("1.2.3.4", &KeyAnswer::Ciphertext(b"ciphertext"));
    serde_json::to_string(&response).unwrap()
}
