//! The bodies of the fuzz targets: any bytes in, a panic where something that must hold does not.
//!
//! They are plain functions, so that a test calls them on a stable compiler (`tests/fuzz.rs`) and cargo-fuzz with
//! coverage (`fuzz/`). What they make of their bytes may change; a failing input is kept as a test of its own.

mod conversation;
mod smux;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::conversation::session;
pub use self::smux::smux;
use crate::payload::{acknowledged, from_json};
use crate::{
    Acknowledge, AgentSessionState, ChannelClosed, ClientConfig, DataKey, DigestCheck,
    EncryptionChallenge, Event, Flag, Flags, Frame, FrameError, HandshakeComplete,
    HandshakeRequest, HandshakeResponse, KeyAnswer, MessageId, MessageType, OpenDataChannel,
    PayloadType, ProtocolError, Session, Size, Timestamp, exit_code,
};

/// When everything here begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// An error is a sentence, whatever the peer sent.
const LONGEST_ERROR: usize = 200;

/// One WebSocket message: what is read from it is in it, and is the same after another round.
pub fn frame(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let strict = Frame::decode(&message, DigestCheck::Enforce);
    let lenient = Frame::decode(&message, DigestCheck::Ignore);
    match (&strict, &lenient) {
        (Err(FrameError::Digest), Ok(_)) => {}
        (strict, lenient) => assert_eq!(strict, lenient),
    }
    let Ok(frame) = lenient else { return };
    assert!(data.ends_with(&frame.payload));
    let again = frame.encode();
    assert!(again.len() <= data.len());
    let name = frame.message_type.as_str();
    // NULs inside of the padding come off one layer at a time, as with the reference.
    if !name.starts_with('\0') && !name.ends_with('\0') {
        assert_eq!(Frame::decode(&again, DigestCheck::Enforce), Ok(frame));
    }
}

/// The payloads: what is read survives being written, and errors stay short.
pub fn payload(data: &[u8]) {
    same::<Acknowledge>(data);
    same::<ChannelClosed>(data);
    same::<AgentSessionState>(data);
    same::<Size>(data);
    same::<EncryptionChallenge>(data);
    same::<HandshakeComplete>(data);
    // Numbers with many digits may change in JSON values, so that what is made of them is compared.
    if let Some((first, second)) = twice::<HandshakeRequest>(data) {
        assert_eq!(first.encryption(), second.encryption());
        assert_eq!(first.session_type(), second.session_type());
        let answer = first.answer("1.2.3.4", &KeyAnswer::Ciphertext(b"key"));
        assert_eq!(
            answer,
            second.answer("1.2.3.4", &KeyAnswer::Ciphertext(b"key"))
        );
    }
    if let Some((first, second)) = twice::<HandshakeResponse>(data) {
        assert_eq!(first.offered_key(), second.offered_key());
    }
    let known = from_json::<Acknowledge>("acknowledge", data).map(|ack| ack.sequence);
    if let Ok(sequence) = known {
        assert_eq!(acknowledged(data), Ok(sequence));
    }
    if let Ok(flag) = Flag::decode(data) {
        assert_eq!(flag.encode(), data);
    }
    if let Some(code) = exit_code(data) {
        assert_eq!(
            exit_code(format!("EXIT_CODE: {code}").as_bytes()),
            Some(code)
        );
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(open) = OpenDataChannel::decode(text)
    {
        assert_eq!(OpenDataChannel::decode(&open.encode()), Ok(open));
    }
}

/// A client that is asked: one answer at most, one item in it for each that was asked for, and nothing established after
/// a refusal. The first byte says how the caller takes it, each following line is a payload of the agent's.
pub fn handshake(data: &[u8]) {
    let Some((&mood, rest)) = data.split_first() else {
        return;
    };
    let mut client = Session::client(ClientConfig::new(1), START);
    let (mut responses, mut answers, mut said) = (Vec::new(), 0, Vec::new());
    let mut requests = Vec::new();
    for (sequence, line) in (0..).zip(rest.split(|&byte| byte == b'\n').take(12)) {
        let Some((&kind, payload)) = line.split_first() else {
            continue;
        };
        let kind = match kind % 4 {
            0 => PayloadType::HandshakeRequest,
            1 => PayloadType::EncChallengeRequest,
            2 => PayloadType::HandshakeComplete,
            _ => PayloadType::Output,
        };
        if kind == PayloadType::HandshakeRequest {
            requests.extend(serde_json::from_slice::<HandshakeRequest>(payload).ok());
        }
        let message = stream(MessageType::OutputStreamData, sequence, kind, payload);
        short(client.receive(START, &message));
        while let Some(event) = client.poll_event() {
            if let Event::KeyWanted { .. } = event {
                match DataKey::from_slice(&[mood; DataKey::LENGTH]) {
                    Some(key) if mood & 1 == 0 => client.provide_key(START, &key, b"ciphertext"),
                    _ => client.refuse_key(START, "no key"),
                }
            }
            said.push(event);
        }
        while let Some(message) = client.poll_transmit(START) {
            let Ok(sent) = Frame::decode(&message, DigestCheck::Enforce) else {
                unreachable!("an end sends well-formed frames");
            };
            match sent.payload_type.into() {
                PayloadType::HandshakeResponse => responses.push(sent.payload),
                PayloadType::EncChallengeResponse => answers += 1,
                _ => {}
            }
        }
    }
    assert!(responses.len() <= 1 && answers <= 1);
    if let Some(response) = responses.first() {
        let response = serde_json::from_slice::<HandshakeResponse>(response);
        let count = response.map_or(usize::MAX, |it| it.processed_client_actions.len());
        assert!(
            requests
                .iter()
                .any(|request| request.requested_client_actions.len() == count)
        );
    }
    let at = |wanted: fn(&Event) -> bool| said.iter().position(wanted);
    let established = at(|event| matches!(event, Event::Established { .. }));
    let refused = at(|event| matches!(event, Event::Refused(_)));
    if let (Some(established), Some(refused)) = (established, refused) {
        assert!(established < refused);
    }
}

/// A well-formed stream message.
pub(crate) fn stream(
    kind: MessageType,
    sequence: i64,
    payload_type: PayloadType,
    payload: &[u8],
) -> Bytes {
    let id = MessageId::from_bytes([3; 16]);
    let payload = Bytes::copy_from_slice(payload);
    let frame = Frame {
        sequence,
        payload_type: payload_type.into(),
        ..Frame::control(kind, Flags::NONE, id, START, payload)
    };
    frame.encode()
}

/// What went wrong is said in few words, whatever the peer sent.
pub(crate) fn short(result: Result<(), ProtocolError>) {
    if let Err(error) = result
        // These name what the agent wanted, for people to read.
        && !matches!(error, ProtocolError::Handshake(_))
    {
        assert!(error.to_string().len() <= LONGEST_ERROR, "{error}");
    }
}

fn twice<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<(T, T)> {
    let first = from_json::<T>("fuzzed", data).inspect_err(|error| short(Err(error.clone())));
    let first = first.ok()?;
    let written = serde_json::to_vec(&first).unwrap_or_default();
    match from_json::<T>("written", &written) {
        Ok(second) => Some((first, second)),
        Err(error) => unreachable!("what is written is read: {error}"),
    }
}

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Some((first, second)) = twice::<T>(data) {
        assert_eq!(first, second);
    }
}
