//! Whatever a peer sends, an end neither panics nor holds more than its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_proto::sim::Random;
use bowline_proto::{
    AgentConfig, ClientConfig, Event, MessageType, PayloadType, ProtocolError, Session, Size,
};
use bytes::Bytes;
use proptest::prelude::*;

use crate::common::{
    End, START, ack, channel_closed, control, frame, from_client, input, output, with_handshake,
};

/// The documented bound of both the reorder buffer and the undelivered events, with room for one message.
const BOUND: usize = (16 << 20) + (2 << 20);

#[test]
fn noise_is_refused_and_leaves_nothing_behind() {
    let mut random = Random::new(11);
    let mut client = End::client(ClientConfig::new(1));
    let mut agent = End::agent(AgentConfig::new("session", 1));
    agent.sent.clear();
    for _ in 0..5000 {
        let length = usize::try_from(random.below(400)).unwrap();
        let message = Bytes::from(random.bytes(length));
        assert!(
            client.receive(&message).is_err() && agent.receive(&message).is_err(),
            "{message:?}"
        );
    }
    for end in [&client, &agent] {
        assert_eq!(end.session.buffered(), 0);
        assert!(end.sent.is_empty() && end.said.is_empty());
    }
}

#[test]
fn more_than_ten_thousand_messages_ahead_are_refused_and_taken_later() {
    let mut agent = End::agent(AgentConfig::new("session", 1));
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for sequence in 1..=12_000 {
        match agent.receive(&input(sequence, b"x")) {
            Ok(()) => kept.push(sequence),
            Err(error) => {
                assert_eq!(error, ProtocolError::Overflow);
                refused.push(sequence);
            }
        }
    }
    agent.advance(2);
    assert_eq!(kept.len(), 10_000);
    assert_eq!(
        agent.acked_sequences(),
        kept,
        "what is refused is not acknowledged: it has to come again"
    );
    assert_eq!(agent.session.buffered(), 10_000);
    agent.receive(&input(0, b"x")).unwrap();
    for sequence in refused {
        agent.receive(&input(sequence, b"x")).unwrap();
    }
    assert_eq!(agent.said.len(), 12_001);
    assert_eq!(agent.session.buffered(), 0);
}

#[test]
fn large_messages_ahead_are_bounded_by_their_bytes() {
    let mut client = End::client(ClientConfig::new(1));
    let payload = vec![b'x'; 1 << 20];
    let mut refused = 0;
    for sequence in 1..=40 {
        refused += usize::from(
            client
                .receive(&unchecked(&output(sequence, b""), &payload))
                .is_err(),
        );
        assert!(
            client.session.buffered() <= BOUND,
            "{}",
            client.session.buffered()
        );
    }
    assert!(refused >= 20, "{refused}");
}

#[test]
fn events_that_nobody_takes_are_bounded_and_the_rest_comes_again() {
    let mut session = Session::client(ClientConfig::new(1), START);
    let payload = vec![b'x'; 1 << 20];
    let mut refused = None;
    for sequence in 0..40 {
        let result = session.receive(START, &unchecked(&output(sequence, b""), &payload));
        assert!(session.backlog() <= BOUND, "{}", session.backlog());
        assert!(session.buffered() <= 2 * BOUND, "{}", session.buffered());
        if let Err(error) = result {
            assert_eq!(error, ProtocolError::Overflow);
            refused.get_or_insert(sequence);
        }
    }
    let refused = refused.expect("a bound");
    let mut taken = 0;
    while let Some(event) = session.poll_event() {
        taken += i64::from(matches!(event, Event::Output(_)));
    }
    // Some of those after the first refused one were kept as messages ahead of their turn.
    assert_eq!((taken, session.backlog()), (refused, 0));
    session
        .receive(START, &unchecked(&output(refused, b""), &payload))
        .unwrap();
    assert!(matches!(session.poll_event(), Some(Event::Output(_))));
}

#[test]
fn a_small_payload_in_a_large_message_does_not_hold_the_message() {
    let live = Arc::new(AtomicUsize::new(0));
    let mut agent = End::agent(AgentConfig::new("session", 1));
    for sequence in 1..=9000 {
        let _ = agent.receive(&Owned::message(
            &live,
            padded(&input(sequence, b""), 10_000),
        ));
    }
    let (live, buffered) = (live.load(Ordering::Relaxed), agent.session.buffered());
    assert!(
        live <= 2 * BOUND,
        "{live} bytes of messages are alive, {buffered} are counted"
    );
}

/// A WebSocket library reads much at once and hands out parts of one buffer.
#[test]
fn a_small_message_does_not_hold_what_was_read_along_with_it() {
    let live = Arc::new(AtomicUsize::new(0));
    let mut agent = End::agent(AgentConfig::new("session", 1));
    let mut client = Session::client(ClientConfig::new(1), START);
    for sequence in 0..2000 {
        for (number, message) in [
            (sequence + 1, input(sequence + 1, b"x")),
            (sequence, output(sequence, b"x")),
        ] {
            let length = message.len();
            let read = Owned::message(&live, [&message[..], &[0; 32 * 1024]].concat());
            // One ahead of its turn, and one in order for a caller that does not look.
            let part = read.slice(..length);
            match number == sequence {
                true => client.receive(START, &part).unwrap(),
                false => agent.receive(&part).unwrap(),
            }
        }
    }
    let live = live.load(Ordering::Relaxed);
    assert_eq!(live, 0, "bytes of read buffers are alive");
}

#[test]
fn a_service_that_pauses_and_starts_all_the_time_does_not_fill_the_queue() {
    let mut session = Session::client(ClientConfig::new(1), START);
    for _ in 0..10_000 {
        for kind in [MessageType::PausePublication, MessageType::StartPublication] {
            session.receive(START, &control(kind, "")).unwrap();
        }
    }
    assert!(session.backlog() < 1000, "{}", session.backlog());
    session
        .receive(START, &control(MessageType::PausePublication, ""))
        .unwrap();
    assert_eq!(session.poll_event(), Some(Event::Paused(true)));
}

#[test]
fn nothing_follows_the_end() {
    let mut session = Session::client(ClientConfig::new(1), START);
    session
        .receive(START, &control(MessageType::PausePublication, ""))
        .unwrap();
    session.receive(START, &channel_closed("")).unwrap();
    session.disconnected();
    session.reconnected(START);
    let last = std::iter::from_fn(|| session.poll_event()).last();
    assert!(matches!(last, Some(Event::Closed { .. })), "{last:?}");
}

#[test]
fn a_request_for_thousands_of_actions_gets_no_answer_of_megabytes() {
    let mut client = End::client(ClientConfig::new(1));
    let actions = vec![r#"{"ActionType":"x"}"#; 50_000].join(",");
    let request = format!(r#"{{"AgentVersion":"3","RequestedClientActions":[{actions}]}}"#);
    let kind = PayloadType::HandshakeRequest;
    let message = frame(MessageType::OutputStreamData, 0, kind, request.as_bytes()).encode();
    let refused = client.receive(&message).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "handshake cannot be completed: the agent asks for 50000 actions"
    );
    assert_eq!(client.session.buffered(), 0);
}

#[test]
fn acknowledgements_that_cannot_leave_are_bounded() {
    let mut session = Session::agent(AgentConfig::new("session", 1), START);
    for _ in 0..30_000 {
        session.receive(START, &input(0, b"x")).unwrap();
    }
    let later = START + std::time::Duration::from_millis(2);
    let leaving = std::iter::from_fn(|| session.poll_transmit(later)).count();
    assert!((1000..=20_001).contains(&leaving), "{leaving}");
}

/// `message` with this payload and no digest: a receiver that follows the reference checks none if the length says 0.
fn unchecked(message: &Bytes, payload: &[u8]) -> Bytes {
    [&message[..], payload].concat().into()
}

/// `message`, which has no payload, made `extra` bytes longer by a header that says to be so long, but for the last
/// byte.
fn padded(message: &Bytes, extra: usize) -> Vec<u8> {
    let mut padded = message.to_vec();
    padded.resize(message.len() + extra, 0);
    let header = u32::try_from(padded.len() - 5).unwrap();
    padded[..4].copy_from_slice(&header.to_be_bytes());
    padded
}

/// Message bytes that know whether they are still held.
struct Owned {
    bytes: Vec<u8>,
    live: Arc<AtomicUsize>,
}

impl Owned {
    fn message(live: &Arc<AtomicUsize>, bytes: Vec<u8>) -> Bytes {
        live.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Self {
            bytes,
            live: Arc::clone(live),
        })
    }
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.live.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Stream {
        sequence: i64,
        kind: u32,
        payload: Vec<u8>,
        from_agent: bool,
    },
    Damaged {
        sequence: i64,
        at: usize,
        bits: u8,
    },
    Noise(Vec<u8>),
    Control {
        kind: MessageType,
        payload: String,
    },
    AcknowledgeAll,
    Write(usize),
    Resize,
    Ready(bool),
    Finish,
    Wait(u64),
}

fn sequence() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..12, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => -3_i64..0]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let handshake = serde_json::to_vec(&with_handshake().handshake).unwrap();
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(handshake),
        1 => Just(crate::common::handshake_response()),
        1 => Just(br#"{"HandshakeTimeToComplete":1,"CustomerMessage":"m"}"#.to_vec()),
        1 => Just(br#"{"cols":80,"rows":24}"#.to_vec()),
        1 => Just(b"EXIT_CODE: 3".to_vec()),
    ]
}

fn control_kind() -> impl Strategy<Value = MessageType> {
    prop_oneof![
        Just(MessageType::Acknowledge),
        Just(MessageType::ChannelClosed),
        Just(MessageType::StartPublication),
        Just(MessageType::PausePublication),
        Just(MessageType::AgentSessionState),
        "[a-z_]{1,32}".prop_map(|name| MessageType::Other(name.into())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let acknowledge = sequence()
        .prop_map(|sequence| format!("{{\"AcknowledgedMessageSequenceNumber\":{sequence}}}"));
    let text = prop_oneof![
        acknowledge,
        ".{0,40}",
        Just("{}".to_owned()),
        Just("{\"Output\":\"x\"}".to_owned())
    ];
    prop_oneof![
        8 => (sequence(), 0_u32..14, payload(), any::<bool>())
            .prop_map(|(sequence, kind, payload, from_agent)| Step::Stream { sequence, kind, payload, from_agent }),
        2 => (sequence(), 0_usize..140, 1_u8..).prop_map(|(sequence, at, bits)| Step::Damaged { sequence, at, bits }),
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Noise),
        3 => (control_kind(), text).prop_map(|(kind, payload)| Step::Control { kind, payload }),
        1 => Just(Step::AcknowledgeAll),
        2 => (0_usize..5000).prop_map(Step::Write),
        1 => Just(Step::Resize),
        1 => any::<bool>().prop_map(Step::Ready),
        1 => Just(Step::Finish),
        3 => prop_oneof![0_u64..5, 0_u64..3000].prop_map(Step::Wait),
    ]
}

/// Says how many stream messages were offered.
fn run(end: &mut End, step: &Step) -> usize {
    let now = end.now;
    match step {
        Step::Stream {
            sequence,
            kind,
            payload,
            from_agent,
        } => {
            let message_type = if *from_agent {
                MessageType::OutputStreamData
            } else {
                MessageType::InputStreamData
            };
            let _ = end.receive(&frame(message_type, *sequence, (*kind).into(), payload).encode());
            return 1;
        }
        Step::Damaged { sequence, at, bits } => {
            for message in [output(*sequence, b"payload"), input(*sequence, b"payload")] {
                let mut message = message.to_vec();
                let length = message.len();
                message[at % length] ^= bits;
                let _ = end.receive(&Bytes::from(message));
            }
            return 2;
        }
        Step::Noise(bytes) => drop(end.receive(&Bytes::copy_from_slice(bytes))),
        Step::Control { kind, payload } => drop(end.receive(&control(kind.clone(), payload))),
        Step::AcknowledgeAll => {
            let acks: Vec<Bytes> = end.stream().iter().map(|sent| ack(&sent.frame)).collect();
            acks.iter().for_each(|message| drop(end.receive(message)));
        }
        Step::Write(length) => drop(
            end.session
                .write(now, PayloadType::Output, &vec![7; *length]),
        ),
        Step::Resize => end.session.resize(now, Size { cols: 1, rows: 2 }),
        Step::Ready(ready) => end.session.set_ready(*ready),
        Step::Finish => end.session.finish(now),
        Step::Wait(millis) => end.advance(*millis),
    }
    end.settle();
    0
}

proptest! {
    #[test]
    fn nothing_that_happens_makes_an_end_panic_spin_or_grow(
        role in 0..3, steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut end = match role {
            0 => End::client(ClientConfig { size: Some(Size { cols: 80, rows: 24 }), ..ClientConfig::new(1) }),
            1 => End::agent(AgentConfig::new("session", 1)),
            _ => End::agent(with_handshake()),
        };
        let (mut offered, mut written) = (0, 0);
        for step in &steps {
            offered += run(&mut end, step);
            written += if let Step::Write(length) = step { *length + 1000 } else { 600 };
            // Nothing here is larger than 400 bytes; what is held is what was offered and what was written.
            prop_assert!(end.session.buffered() <= offered * 400 + written, "{}", end.session.buffered());
            prop_assert_eq!(end.session.backlog(), 0, "every event was taken");
        }
        end.advance(10);
        prop_assert!(end.acks().len() <= offered, "no more acknowledgements than messages");
        let once = |found: &dyn Fn(&Event) -> bool| end.said.iter().filter(|event| found(event)).count() <= 1;
        prop_assert!(once(&|event| matches!(event, Event::Established { .. })), "{:?}", end.said);
        prop_assert!(once(&|event| matches!(event, Event::Finished | Event::Refused(_))), "{:?}", end.said);
        let answers = end.stream().iter().filter(|sent| sent.kind() == PayloadType::HandshakeResponse)
            .map(|sent| sent.frame.sequence).collect::<std::collections::BTreeSet<_>>();
        prop_assert!(answers.len() <= 1, "one answer: {answers:?}");
    }

    #[test]
    fn any_order_of_a_session_gives_the_same_events(seed in any::<u64>(), count in 1_i64..40) {
        let mut random = Random::new(seed);
        let mut order: Vec<i64> = (0..count).chain(0..count).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, usize::try_from(random.below(last as u64 + 1)).unwrap());
        }
        let mut agent = End::agent(AgentConfig::new("session", 1));
        for sequence in order {
            agent.receive(&from_client(sequence, PayloadType::Output, sequence.to_string().as_bytes())).unwrap();
            agent.advance(random.below(3));
        }
        agent.advance(2);
        let expected: Vec<Event> = (0..count).map(|sequence| Event::Input(sequence.to_string().into())).collect();
        prop_assert_eq!(&agent.said, &expected);
        prop_assert_eq!(agent.acks().len(), 2 * expected.len());
        agent.receive(&channel_closed("")).unwrap();
        let closed = Event::Closed { output: String::new(), complete: true };
        prop_assert_eq!(agent.said.last(), Some(&closed));
    }
}
