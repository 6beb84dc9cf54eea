//! Encrypted sessions: keys that come, come late, twice, not at all, or are others; payloads that do not open.

use std::time::Duration;

use bowline_proto::{
    ActionStatus, AgentConfig, ClientConfig, EncryptionChallenge, Event, Frame, HandshakeRequest,
    HandshakeResponse, KeyAnswer, MessageType, PayloadType, ProtocolError, SessionType, Size,
};
use bytes::Bytes;
use proptest::prelude::*;

use crate::common::{End, channel_closed, frame, from_agent, from_client, input, output};

/// Two halves that differ.
const KEY: [u8; 64] = {
    let mut key = [7; 64];
    key[40] = 1;
    key
};
const OTHER_KEY: [u8; 64] = [8; 64];
const KEY_ID: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";
const CHALLENGE: &str = "AAECAwQFBgcICQoLDA0ODw==";
const CIPHERTEXT: &[u8] = b"from KMS";

fn request(challenge: Option<&str>) -> HandshakeRequest {
    let kind = SessionType::InteractiveCommands;
    HandshakeRequest::new("3.3.987.0", &kind, &serde_json::Value::Null)
        .with_encryption(KEY_ID, challenge)
}

fn config() -> AgentConfig {
    AgentConfig {
        handshake: Some(request(Some(CHALLENGE))),
        ..AgentConfig::new("session", 1)
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// A client that was asked for encryption.
fn asked_client() -> End {
    let mut client = End::client(ClientConfig::new(1));
    let request = json(&request(Some(CHALLENGE)));
    client
        .receive(&from_agent(0, PayloadType::HandshakeRequest, &request))
        .unwrap();
    client
}

fn response() -> Vec<u8> {
    json(&request(Some(CHALLENGE)).answer("1.2.764.0", &KeyAnswer::Ciphertext(CIPHERTEXT)))
}

/// Passes on everything that both ends sent, until they have nothing more to say.
fn exchange(client: &mut End, agent: &mut End) {
    loop {
        client.advance(5);
        agent.advance(5);
        let (up, down) = (
            std::mem::take(&mut client.sent),
            std::mem::take(&mut agent.sent),
        );
        if up.is_empty() && down.is_empty() {
            break;
        }
        for sent in down {
            let _ = client.receive(&sent.message);
        }
        for sent in up {
            let _ = agent.receive(&sent.message);
        }
    }
}

/// Both ends of a session whose handshake has come as far as the two keys let it.
fn pair(clients: &[u8], agents: &[u8]) -> (End, End) {
    let mut client = End::client(ClientConfig::new(1));
    let mut agent = End::agent(config());
    client.key = Some((clients.to_vec(), CIPHERTEXT.to_vec()));
    agent.key = Some((agents.to_vec(), Vec::new()));
    exchange(&mut client, &mut agent);
    (client, agent)
}

fn kinds(end: &End) -> Vec<PayloadType> {
    end.stream().iter().map(|sent| sent.kind()).collect()
}

#[test]
fn data_stderr_and_exit_code_are_sealed_and_the_rest_is_not() {
    let (mut client, mut agent) = pair(&KEY, &KEY);
    let message = Event::Message("This session is encrypted using AWS KMS.".to_owned());
    assert_eq!(client.take_said()[1..], [message]);
    let established = Event::Established {
        version: Some("1.2.896.0".to_owned()),
        session_type: None,
    };
    assert_eq!(agent.take_said(), [established]);

    client.write(PayloadType::Output, b"sekret");
    client
        .session
        .resize(client.now, Size { cols: 80, rows: 24 });
    client.settle();
    for kind in [PayloadType::Output, PayloadType::StdErr] {
        agent.write(kind, b"sekret");
    }
    agent.write(PayloadType::ExitCode, b"EXIT_CODE: 3");
    for sent in client.stream().iter().chain(&agent.stream()) {
        let payload = &sent.frame.payload;
        let readable = sent.kind() == PayloadType::Size;
        let lengths = [21, 6 + 28, 12 + 28];
        assert!(lengths.contains(&payload.len()), "{payload:?}");
        assert_eq!(
            std::str::from_utf8(payload).is_ok(),
            readable,
            "{payload:?}"
        );
    }
    exchange(&mut client, &mut agent);
    assert_eq!(
        client.said,
        [
            Event::Output("sekret".into()),
            Event::StdErr("sekret".into()),
            Event::ExitCode(3)
        ]
    );
    assert_eq!(
        agent.said,
        [
            Event::Input("sekret".into()),
            Event::Size(Size { cols: 80, rows: 24 })
        ]
    );
}

#[test]
fn the_challenge_is_named_and_acknowledged_if_there_is_one() {
    for (challenge, acknowledged) in [(Some(CHALLENGE), true), (Some(""), false), (None, false)] {
        let mut client = End::client(ClientConfig::new(1));
        let request = json(&request(challenge));
        client
            .receive(&from_agent(0, PayloadType::HandshakeRequest, &request))
            .unwrap();
        let wanted = Event::KeyWanted {
            key_id: KEY_ID.to_owned(),
            challenge: challenge.filter(|_| acknowledged).map(str::to_owned),
        };
        assert_eq!(client.said, [wanted]);
        assert!(client.stream().is_empty(), "the answer waits for the key");
        client.provide_key(&KEY, CIPHERTEXT);
        let payload = &client.stream()[0].frame.payload;
        let response: HandshakeResponse = serde_json::from_slice(payload).unwrap();
        let result = &response.processed_client_actions[1].action_result;
        assert_eq!(result["KMSCipherTextKey"], "ZnJvbSBLTVM=");
        assert_eq!(
            result.get("ChallengeAcknowledgement").is_some(),
            acknowledged,
            "{result}"
        );
    }
}

#[test]
fn there_is_one_response_whatever_comes_twice_or_late() {
    let mut client = asked_client();
    let again = from_agent(
        0,
        PayloadType::HandshakeRequest,
        &json(&request(Some(CHALLENGE))),
    );
    client.receive(&again).unwrap();
    client.advance(5000);
    client.receive(&again).unwrap();
    client.provide_key(&KEY, CIPHERTEXT);
    client.provide_key(&OTHER_KEY, b"another");
    client.refuse_key("too late");
    client.receive(&again).unwrap();
    let renumbered = frame(
        MessageType::OutputStreamData,
        1,
        PayloadType::HandshakeRequest,
        &json(&request(None)),
    );
    client.receive(&renumbered.encode()).unwrap_err();
    assert_eq!(kinds(&client), [PayloadType::HandshakeResponse]);
    let wanted = |event: &&Event| matches!(event, Event::KeyWanted { .. });
    assert_eq!(client.said.iter().filter(wanted).count(), 1);
    assert_eq!(client.said.len(), 1, "{:?}", client.said);

    let mut plain = End::client(ClientConfig::new(1));
    plain.receive(&output(0, b"$ ")).unwrap();
    plain.provide_key(&KEY, CIPHERTEXT);
    assert_eq!(plain.write(PayloadType::Output, b"ls"), 2);
    assert_eq!(&plain.stream()[0].frame.payload[..], b"ls", "nobody asked");
}

#[test]
fn a_key_after_the_end_changes_nothing() {
    let mut client = asked_client();
    client
        .receive(&channel_closed("Handshake timed out."))
        .unwrap();
    client.provide_key(&KEY, CIPHERTEXT);
    assert!(client.stream().is_empty());

    let mut agent = End::agent(config());
    agent
        .receive(&from_client(0, PayloadType::HandshakeResponse, &response()))
        .unwrap();
    agent.advance(20_000);
    agent.provide_key(&KEY, b"");
    assert!(
        matches!(agent.said.last(), Some(Event::Refused(reason)) if reason.contains("timed out")),
        "{:?}",
        agent.said
    );
    assert_eq!(agent.write(PayloadType::Output, b"x"), 0);
    assert!(!kinds(&agent).contains(&PayloadType::EncChallengeRequest));
}

#[test]
fn a_client_without_a_key_tells_the_agent_why_and_says_nothing_else() {
    let mut client = asked_client();
    let reason = "kms:GenerateDataKey: not authorized";
    client.refuse_key(reason);
    assert_eq!(client.said[1..], [Event::Refused(reason.to_owned())]);
    let sent = client.stream()[0].clone();
    let response: HandshakeResponse = serde_json::from_slice(&sent.frame.payload).unwrap();
    let statuses: Vec<_> = response
        .processed_client_actions
        .iter()
        .map(|action| action.action_status)
        .collect();
    assert_eq!(statuses, [ActionStatus::Success, ActionStatus::Failed]);
    // Even if the agent went on, nothing would be said in clear.
    let complete = br#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#;
    client
        .receive(&from_agent(1, PayloadType::HandshakeComplete, complete))
        .unwrap();
    assert_eq!(client.write(PayloadType::Output, b"sekret"), 0);

    let mut agent = End::agent(config());
    agent.receive(&sent.message).unwrap();
    let text = format!("KMSEncryption failed on client with status 2 error: {reason}");
    assert_eq!(agent.said, [Event::Refused(text.clone())]);
    client.receive(&channel_closed(&text)).unwrap();
    let closed = Event::Closed {
        output: text,
        complete: true,
    };
    assert_eq!(client.said.last(), Some(&closed));
}

#[test]
fn an_agent_whose_kms_refuses_ends_with_the_reason() {
    let mut agent = End::agent(config());
    agent
        .receive(&from_client(0, PayloadType::HandshakeResponse, &response()))
        .unwrap();
    let offered = Event::KeyOffered {
        ciphertext: CIPHERTEXT.into(),
        challenge_acknowledged: true,
    };
    assert_eq!(agent.take_said(), [offered]);
    agent.refuse_key("InvalidCiphertextException");
    agent.provide_key(&KEY, b"");
    let refused = Event::Refused("InvalidCiphertextException".to_owned());
    assert_eq!(agent.said, [refused]);
    assert_eq!(kinds(&agent), [PayloadType::HandshakeRequest]);
}

#[test]
fn an_agent_can_insist_on_the_challenge_and_always_insists_on_a_key() {
    let refusal = |config: AgentConfig, response: &[u8]| {
        let mut agent = End::agent(config);
        agent
            .receive(&from_client(0, PayloadType::HandshakeResponse, response))
            .unwrap();
        match agent.said.first() {
            Some(Event::Refused(reason)) => reason.clone(),
            other => format!("{other:?}"),
        }
    };
    let unacknowledged =
        json(&request(None).answer("1.2.764.0", &KeyAnswer::Ciphertext(CIPHERTEXT)));
    let strict = || AgentConfig {
        require_challenge: true,
        ..config()
    };
    assert!(refusal(strict(), &unacknowledged).contains("acknowledge the challenge"));
    assert!(refusal(strict(), &response()).contains("KeyOffered"));
    assert!(refusal(config(), &unacknowledged).contains("KeyOffered"));
    let without_challenge = AgentConfig {
        handshake: Some(request(None)),
        ..strict()
    };
    assert!(refusal(without_challenge, &unacknowledged).contains("KeyOffered"));

    let empty = json(&request(None).answer("1.2.764.0", &KeyAnswer::Ciphertext(b"")));
    assert!(refusal(config(), &empty).contains("no data key"));
    let one_action = br#"{"ClientVersion":"1.2.764.0","ProcessedClientActions":[
        {"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}"#;
    assert!(refusal(config(), one_action).contains("no data key"));
}

#[test]
fn ends_with_different_keys_never_speak() {
    let (client, mut agent) = pair(&KEY, &OTHER_KEY);
    let Some(Event::Refused(reason)) = client.said.last() else {
        panic!("{:?}", client.said);
    };
    assert!(reason.contains("another data key"), "{reason}");
    agent.advance(20_000);
    assert!(
        matches!(&agent.said[..], [Event::Refused(reason)] if reason.contains("timed out")),
        "{:?}",
        agent.said
    );
}

#[test]
fn a_wrong_answer_to_the_challenge_leaves_time_for_a_right_one() {
    let (mut client, mut agent) = (asked_client(), End::agent(config()));
    client.provide_key(&KEY, CIPHERTEXT);
    agent.key = Some((KEY.to_vec(), Vec::new()));
    agent.receive(&client.stream()[0].message).unwrap();
    let challenge = agent.stream()[1].clone();
    assert_eq!(challenge.kind(), PayloadType::EncChallengeRequest);
    // What the agent sealed, sent back as it is: sealed with the wrong half.
    let mirrored = from_client(
        1,
        PayloadType::EncChallengeResponse,
        &challenge.frame.payload,
    );
    let error = agent.receive(&mirrored).unwrap_err();
    assert!(matches!(error, ProtocolError::Handshake(_)), "{error}");
    assert!(agent.said.is_empty(), "{:?}", agent.said);

    client.receive(&challenge.message).unwrap();
    let answer = client.stream()[1].clone();
    let right = from_client(2, PayloadType::EncChallengeResponse, &answer.frame.payload);
    agent.receive(&right).unwrap();
    assert!(
        matches!(agent.said[..], [Event::Established { .. }]),
        "{:?}",
        agent.said
    );
    let sealed: EncryptionChallenge = serde_json::from_slice(&answer.frame.payload).unwrap();
    assert_eq!(sealed.challenge.len(), 124, "64 bytes and 28, in base64");
}

#[test]
fn a_changed_payload_is_not_acknowledged_and_comes_again_intact() {
    let (mut client, mut agent) = pair(&KEY, &KEY);
    client.take_said();
    agent.write(PayloadType::Output, b"one");
    agent.write(PayloadType::Output, b"two");
    let intact: Vec<Frame> = agent
        .stream()
        .iter()
        .map(|sent| sent.frame.clone())
        .collect();
    client.sent.clear();
    // Ahead of its turn and in its turn.
    for at in [1, 0] {
        let error = client.receive(&changed(&intact[at])).unwrap_err();
        assert_eq!(error, ProtocolError::Decrypt(intact[at].sequence));
    }
    client.advance(5);
    assert!(client.said.is_empty() && client.acked_sequences().is_empty());
    for at in [1, 0] {
        client.receive(&intact[at].encode()).unwrap();
    }
    let whole = [Event::Output("one".into()), Event::Output("two".into())];
    assert_eq!(client.said, whole);
}

#[test]
fn a_payload_that_never_opens_ends_the_session_as_incomplete() {
    let (mut client, mut agent) = pair(&KEY, &KEY);
    client.take_said();
    agent.write(PayloadType::Output, b"lost");
    let message = changed(&agent.stream()[0].frame);
    for _ in 0..10 {
        assert!(client.said.is_empty(), "{:?}", client.said);
        client.receive(&message).unwrap_err();
    }
    let output = "a message of the agent cannot be decrypted".to_owned();
    let complete = false;
    assert_eq!(client.said, [Event::Closed { output, complete }]);
}

#[test]
fn a_new_connection_repeats_the_same_ciphertext_under_the_same_keys() {
    let (mut client, mut agent) = pair(&KEY, &KEY);
    client.take_said();
    agent.write(PayloadType::Output, b"before");
    let lost = agent.stream()[0].message.clone();
    agent.session.disconnected();
    client.session.disconnected();
    agent.write(PayloadType::Output, b"meanwhile");
    agent.sent.clear();
    agent.session.reconnected(agent.now);
    client.session.reconnected(client.now);
    agent.settle();
    assert_eq!(agent.stream()[0].message, lost);
    exchange(&mut client, &mut agent);
    let all: Vec<u8> = client
        .said
        .iter()
        .filter_map(|event| match event {
            Event::Output(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(all, b"beforemeanwhile");
}

#[test]
fn clear_text_is_not_taken_in_an_encrypted_session() {
    let (mut client, mut agent) = pair(&KEY, &KEY);
    let (next_down, next_up) = (3, 2);
    client.take_said();
    agent.take_said();
    for (end, message) in [
        (
            &mut client,
            output(next_down, b"clear text of some length in it"),
        ),
        (&mut agent, input(next_up, b"clear")),
    ] {
        let error = end.receive(&message).unwrap_err();
        assert!(matches!(error, ProtocolError::Decrypt(_)), "{error}");
        assert!(end.said.is_empty(), "{:?}", end.said);
    }
}

#[test]
fn input_sent_before_a_late_handshake_is_not_passed_off_as_delivered() {
    let patience = Duration::from_secs(2);
    let speaking_first = || {
        let mut client = End::client(ClientConfig {
            speak_after: Some(patience),
            size: Some(Size { cols: 80, rows: 24 }),
            ..ClientConfig::new(1)
        });
        client.advance(2000);
        client
    };
    let request = from_agent(
        0,
        PayloadType::HandshakeRequest,
        &json(&request(Some(CHALLENGE))),
    );

    let mut silent = speaking_first();
    silent.key = Some((KEY.to_vec(), CIPHERTEXT.to_vec()));
    silent.receive(&request).unwrap();
    assert_eq!(kinds(&silent).last(), Some(&PayloadType::HandshakeResponse));

    let mut hasty = speaking_first();
    assert_eq!(hasty.write(PayloadType::Output, b"early"), 5);
    hasty.receive(&request).unwrap_err();
    assert!(
        matches!(hasty.said.last(), Some(Event::Refused(reason)) if reason.contains("after input")),
        "{:?}",
        hasty.said
    );
}

proptest! {
    /// Whatever is sent to an encrypted end, in whatever order the caller answers, it does not panic, answers once
    /// and lets nothing through that was not sealed.
    #[test]
    fn nothing_unsealed_comes_out_of_an_encrypted_client(
        steps in prop::collection::vec((0..8_u8, 0..12_i64, prop::collection::vec(any::<u8>(), 0..80)), 1..60),
    ) {
        let mut client = asked_client();
        for (step, sequence, payload) in steps {
            match step {
                0 => client.provide_key(&KEY, CIPHERTEXT),
                1 => client.refuse_key("no"),
                2 => client.advance(300),
                3 => { client.write(PayloadType::Output, &payload); }
                4 => client.peer_acks_all(),
                _ => {
                    let kinds = [1, 5, 7, 8, 10, 11, 12];
                    let kind = kinds[usize::from(step) * payload.len() % kinds.len()];
                    let _ = client.receive(&from_agent(sequence, PayloadType::from(kind), &payload));
                }
            }
        }
        let mut responses: Vec<Bytes> = client
            .stream()
            .iter()
            .filter(|sent| sent.kind() == PayloadType::HandshakeResponse)
            .map(|sent| sent.message.clone())
            .collect();
        responses.dedup();
        prop_assert!(responses.len() <= 1);
        let through = |event: &Event| matches!(event, Event::Output(_) | Event::StdErr(_) | Event::ExitCode(_));
        prop_assert!(!client.said.iter().any(through), "{:?}", client.said);
    }
}

/// One bit of the payload is another, and the digest is that of the changed payload.
fn changed(frame: &Frame) -> Bytes {
    let mut payload = frame.payload.to_vec();
    payload[14] ^= 1;
    Frame {
        payload: payload.into(),
        ..frame.clone()
    }
    .encode()
}
