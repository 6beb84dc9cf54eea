//! The client's manners: when it speaks, the handshake, pause.

use bowline_proto::{
    ClientConfig, Event, Flag, HandshakeRequest, HandshakeResponse, MessageType, PayloadType,
    ProtocolError, SessionType, Size,
};

use crate::common::{End, ack, control, from_agent, handshake_request, output, running_client};

const SIZE: Size = Size { cols: 80, rows: 24 };
const COMPLETE: &[u8] = br#"{"HandshakeTimeToComplete":1,"CustomerMessage":"please update"}"#;

fn with_size() -> End {
    End::client(ClientConfig {
        size: Some(SIZE),
        ..ClientConfig::new(1)
    })
}

fn stream_kinds(end: &End) -> Vec<(i64, PayloadType)> {
    end.stream()
        .iter()
        .map(|sent| (sent.frame.sequence, sent.kind()))
        .collect()
}

#[test]
fn input_before_the_agents_first_word_is_held_back() {
    let mut client = End::client(ClientConfig::new(1));
    assert_eq!(client.write(PayloadType::Output, b"early"), 0);
    client.advance(1000);
    assert!(client.sent.is_empty(), "{:?}", client.sent);
    client.receive(&output(0, b"$ ")).unwrap();
    let established = Event::Established {
        version: None,
        session_type: None,
    };
    assert_eq!(
        client.take_said(),
        [established, Event::Writable, Event::Output("$ ".into())]
    );
    assert_eq!(client.write(PayloadType::Output, b"early"), 5);
    assert_eq!(stream_kinds(&client), [(0, PayloadType::Output)]);
}

#[test]
fn input_during_the_handshake_is_held_back() {
    let mut client = End::client(ClientConfig::new(1));
    client
        .receive(&from_agent(
            0,
            PayloadType::HandshakeRequest,
            &handshake_request(),
        ))
        .unwrap();
    assert_eq!(client.write(PayloadType::Output, b"early"), 0);
    client
        .receive(&from_agent(1, PayloadType::HandshakeComplete, COMPLETE))
        .unwrap();
    let established = Event::Established {
        version: Some("3.3.987.0".to_owned()),
        session_type: Some(SessionType::InteractiveCommands),
    };
    assert_eq!(
        client.said,
        [
            established,
            Event::Writable,
            Event::Message("please update".to_owned())
        ]
    );
    assert_eq!(client.write(PayloadType::Output, b"early"), 5);
    assert_eq!(
        stream_kinds(&client),
        [
            (0, PayloadType::HandshakeResponse),
            (1, PayloadType::Output)
        ]
    );
}

#[test]
fn the_size_is_sent_at_once_and_again_after_a_handshake() {
    let mut client = with_size();
    assert_eq!(stream_kinds(&client), [(0, PayloadType::Size)]);
    client
        .receive(&from_agent(
            0,
            PayloadType::HandshakeRequest,
            &handshake_request(),
        ))
        .unwrap();
    client.session.resize(
        client.now,
        Size {
            cols: 100,
            rows: 30,
        },
    );
    client
        .receive(&from_agent(1, PayloadType::HandshakeComplete, COMPLETE))
        .unwrap();
    let kinds = [
        (0, PayloadType::Size),
        (1, PayloadType::HandshakeResponse),
        (2, PayloadType::Size),
    ];
    assert_eq!(
        stream_kinds(&client),
        kinds,
        "none during the handshake: the agent would throw it away"
    );
    assert_eq!(
        &client.stream()[2].frame.payload[..],
        br#"{"cols":100,"rows":30}"#
    );
    client.peer_acks_all();
    client.session.resize(client.now, SIZE);
    client.session.resize(client.now, SIZE);
    client.settle();
    assert_eq!(
        stream_kinds(&client)[3..],
        [(3, PayloadType::Size), (4, PayloadType::Size)]
    );
}

#[test]
fn the_size_is_not_repeated_where_there_is_no_handshake() {
    let mut client = with_size();
    client.peer_acks_all();
    client.receive(&output(0, b"$ ")).unwrap();
    client.advance(5000);
    assert_eq!(stream_kinds(&client), [(0, PayloadType::Size)]);
}

#[test]
fn a_second_handshake_request_gets_no_second_response() {
    let mut client = End::client(ClientConfig::new(1));
    let request = handshake_request();
    client
        .receive(&from_agent(0, PayloadType::HandshakeRequest, &request))
        .unwrap();
    client
        .receive(&from_agent(0, PayloadType::HandshakeRequest, &request))
        .unwrap();
    client
        .receive(&from_agent(1, PayloadType::HandshakeRequest, &request))
        .unwrap_err();
    client
        .receive(&from_agent(2, PayloadType::HandshakeComplete, COMPLETE))
        .unwrap();
    client
        .receive(&from_agent(3, PayloadType::HandshakeRequest, &request))
        .unwrap_err();
    client
        .receive(&from_agent(4, PayloadType::HandshakeComplete, COMPLETE))
        .unwrap_err();
    client.peer_acks_all();
    client.advance(3);
    assert_eq!(stream_kinds(&client), [(0, PayloadType::HandshakeResponse)]);
    assert_eq!(client.acked_sequences(), [0, 0, 1, 2, 3, 4]);
    let established = client
        .said
        .iter()
        .filter(|event| matches!(event, Event::Established { .. }))
        .count();
    assert_eq!(established, 1);
}

#[test]
fn a_lost_response_is_repeated_to_the_byte() {
    let mut client = End::client(ClientConfig::new(1));
    client
        .receive(&from_agent(
            0,
            PayloadType::HandshakeRequest,
            &handshake_request(),
        ))
        .unwrap();
    client.advance(3000);
    let copies = client.stream();
    assert!(copies.len() > 2, "{}", copies.len());
    assert!(copies.iter().all(|copy| copy.message == copies[0].message));
}

#[test]
fn what_is_asked_and_cannot_be_done_is_refused_in_the_answer() {
    let request = r#"{"AgentVersion":"3.3.987.0","RequestedClientActions":[
        {"ActionType":"SessionType","ActionParameters":{"SessionType":"InteractiveCommands","Properties":null}},
        {"ActionType":"PostQuantumEncryption","ActionParameters":{"Key":"1"}}]}"#;
    let mut client = End::client(ClientConfig::new(1));
    let refused = client
        .receive(&from_agent(
            0,
            PayloadType::HandshakeRequest,
            request.as_bytes(),
        ))
        .unwrap_err();
    assert!(matches!(refused, ProtocolError::Handshake(_)), "{refused}");
    let response: HandshakeResponse =
        serde_json::from_slice(&client.stream()[0].frame.payload).unwrap();
    let statuses: Vec<i64> = response
        .processed_client_actions
        .iter()
        .map(|a| a.action_status.into())
        .collect();
    assert_eq!(statuses, [1, 3], "every action is answered, in order");
    assert_eq!(response.errors.map(|errors| errors.len()), Some(1));
    let reason = "PostQuantumEncryption is not supported".to_owned();
    assert_eq!(client.said, [Event::Refused(reason)]);
    client.advance(3);
    assert_eq!(client.acked_sequences(), [0]);
}

#[test]
fn a_request_that_cannot_be_read_leaves_the_next_one_to_be_answered() {
    let mut client = End::client(ClientConfig::new(1));
    client
        .receive(&from_agent(0, PayloadType::HandshakeRequest, b"{"))
        .unwrap_err();
    client
        .receive(&from_agent(
            1,
            PayloadType::HandshakeRequest,
            &handshake_request(),
        ))
        .unwrap();
    assert_eq!(stream_kinds(&client), [(0, PayloadType::HandshakeResponse)]);
}

#[test]
fn a_request_without_actions_is_answered_without_actions() {
    let request = br#"{"AgentVersion":"3.3.987.0","RequestedClientActions":null}"#;
    let parsed: HandshakeRequest = serde_json::from_slice(request).unwrap();
    assert_eq!(parsed.session_type(), None);
    let mut client = End::client(ClientConfig::new(1));
    client
        .receive(&from_agent(0, PayloadType::HandshakeRequest, request))
        .unwrap();
    let response: HandshakeResponse =
        serde_json::from_slice(&client.stream()[0].frame.payload).unwrap();
    assert!(
        response.processed_client_actions.is_empty() && response.errors.is_none(),
        "{response:?}"
    );
}

#[test]
fn a_pause_stops_new_data_but_not_acknowledgements() {
    let mut client = running_client();
    client
        .receive(&control(MessageType::PausePublication, "{}"))
        .unwrap();
    assert_eq!(client.take_said(), [Event::Paused(true)]);
    assert_eq!(client.write(PayloadType::Output, b"later"), 5);
    client.advance(60_000);
    assert!(client.sent.is_empty(), "{:?}", client.sent);
    // A duplicate of the agent's: the agent is there, and is owed an acknowledgement.
    client.receive(&output(0, b"$ ")).unwrap();
    assert_eq!(client.take_said(), [Event::Paused(false)]);
    assert_eq!(stream_kinds(&client), [(0, PayloadType::Output)]);
    client.advance(2);
    assert_eq!(client.acked_sequences(), [0]);
}

#[test]
fn acknowledgements_owed_leave_during_a_pause() {
    let mut client = running_client();
    client.receive(&output(1, b"x")).unwrap();
    client
        .receive(&control(MessageType::PausePublication, "{}"))
        .unwrap();
    client.advance(2);
    assert!(client.session.is_paused());
    assert_eq!(client.acked_sequences(), [1]);
}

#[test]
fn a_pause_ends_with_anything_the_agent_sends_or_with_the_service_saying_so() {
    let endings = [
        output(1, b"x"),
        output(7, b"ahead"),
        output(0, b"again"),
        from_agent(1, PayloadType::Flag, &Flag::ConnectToPortError.encode()),
        control(MessageType::StartPublication, ""),
    ];
    for ending in endings {
        let mut client = running_client();
        client
            .receive(&control(MessageType::PausePublication, ""))
            .unwrap();
        client.write(PayloadType::Output, b"x");
        assert!(client.stream().is_empty());
        client.receive(&ending).unwrap();
        assert!(!client.session.is_paused());
        assert_eq!(client.stream().len(), 1);
    }
    let mut client = running_client();
    client.write(PayloadType::Output, b"x");
    client
        .receive(&control(MessageType::PausePublication, ""))
        .unwrap();
    let acknowledged = ack(&client.stream()[0].frame);
    client.receive(&acknowledged).unwrap();
    assert!(
        !client.session.is_paused(),
        "an acknowledgement is the agent's too"
    );
}

#[test]
fn a_pause_is_told_once_and_resends_nothing() {
    let mut client = running_client();
    client.write(PayloadType::Output, b"x");
    for _ in 0..3 {
        client
            .receive(&control(MessageType::PausePublication, "{}"))
            .unwrap();
    }
    client.advance(600_000);
    assert_eq!(
        client.stream().len(),
        1,
        "nothing is resent to a peer that is away"
    );
    assert_eq!(
        client.take_said(),
        [Event::Paused(true)],
        "and nobody gives it up"
    );
    client
        .receive(&control(MessageType::StartPublication, "{}"))
        .unwrap();
    assert_eq!(client.stream().len(), 2, "what is overdue goes out at once");
}
