//! The agent's manners: handshake, readiness, the end.

use std::time::Duration;

use bowline_proto::{
    AgentConfig, AgentSessionState, Event, Flag, Flags, MessageType, PayloadType, Resend, Size,
};

use crate::common::{
    End, control, from_client, handshake_response, input, running_agent, with_handshake,
};

fn states(end: &End) -> Vec<String> {
    let announced = end
        .sent
        .iter()
        .filter(|sent| sent.frame.message_type == MessageType::AgentSessionState);
    announced
        .map(|sent| {
            serde_json::from_slice::<AgentSessionState>(&sent.frame.payload)
                .unwrap()
                .session_state
        })
        .collect()
}

#[test]
fn it_connects_first_and_marks_its_first_stream_message() {
    let mut agent = End::agent(AgentConfig::new("session", 1));
    assert_eq!(states(&agent), ["Connected"]);
    assert_eq!(agent.sent[0].frame.flags, Flags::SYN_FIN);
    assert_eq!(
        agent.write(PayloadType::Output, b"$ "),
        2,
        "there is nobody to wait for without a handshake"
    );
    agent.write(PayloadType::StdErr, b"!");
    let flags: Vec<_> = agent
        .stream()
        .iter()
        .map(|sent| (sent.frame.sequence, sent.kind(), sent.frame.flags))
        .collect();
    assert_eq!(
        flags,
        [
            (0, PayloadType::Output, Flags::SYN),
            (1, PayloadType::StdErr, Flags::NONE)
        ]
    );
}

#[test]
fn output_waits_for_the_handshake() {
    let mut agent = End::agent(with_handshake());
    assert_eq!(agent.stream()[0].kind(), PayloadType::HandshakeRequest);
    assert_eq!(agent.write(PayloadType::Output, b"x"), 0);
    agent
        .receive(&from_client(
            0,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    let established = Event::Established {
        version: Some("1.2.677.0".to_owned()),
        session_type: None,
    };
    assert_eq!(agent.said, [established, Event::Writable]);
    assert_eq!(agent.write(PayloadType::Output, b"x"), 1);
    let kinds: Vec<PayloadType> = agent.stream().iter().map(|sent| sent.kind()).collect();
    assert_eq!(
        kinds,
        [
            PayloadType::HandshakeRequest,
            PayloadType::HandshakeComplete,
            PayloadType::Output
        ]
    );
}

#[test]
fn the_time_of_the_handshake_is_told_in_nanoseconds() {
    let mut agent = End::agent(with_handshake());
    agent.advance(150);
    agent
        .receive(&from_client(
            0,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    let complete = agent.stream().last().unwrap().frame.payload.clone();
    assert_eq!(
        &complete[..],
        br#"{"HandshakeTimeToComplete":150000000,"CustomerMessage":""}"#
    );
}

#[test]
fn input_before_the_response_is_acknowledged_and_thrown_away() {
    let mut agent = End::agent(with_handshake());
    agent
        .receive(&from_client(
            0,
            PayloadType::Size,
            br#"{"cols":80,"rows":24}"#,
        ))
        .unwrap();
    agent.receive(&input(1, b"early")).unwrap();
    agent
        .receive(&from_client(
            2,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    agent
        .receive(&from_client(
            3,
            PayloadType::Size,
            br#"{"cols":80,"rows":24}"#,
        ))
        .unwrap();
    agent.advance(2);
    assert_eq!(agent.acked_sequences(), [0, 1, 2, 3]);
    assert_eq!(agent.said[1..], [Event::Size(Size { cols: 80, rows: 24 })]);
}

#[test]
fn a_refused_handshake_says_what_the_client_said() {
    let response = br#"{"ClientVersion":"1.2.677.0","ProcessedClientActions":[
        {"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""},
        {"ActionType":"KMSEncryption","ActionStatus":3,"ActionResult":null,"Error":"Unsupported action KMSEncryption"}
        ],"Errors":["Unsupported action KMSEncryption"]}"#;
    let mut agent = End::agent(with_handshake());
    agent
        .receive(&from_client(0, PayloadType::HandshakeResponse, response))
        .unwrap();
    let text =
        "KMSEncryption failed on client with status 3 error: Unsupported action KMSEncryption";
    assert_eq!(agent.said, [Event::Refused(text.to_owned())]);
    assert_eq!(agent.write(PayloadType::Output, b"x"), 0);
    agent.advance(20_000);
    assert_eq!(agent.said.len(), 1, "{:?}", agent.said);
    assert_eq!(agent.acked_sequences(), [0]);
    assert!(
        !agent
            .stream()
            .iter()
            .any(|sent| sent.kind() == PayloadType::HandshakeComplete)
    );
}

#[test]
fn an_action_status_of_zero_is_a_refusal() {
    // The reference client leaves the status at 0 for an action that it does not support.
    let response = br#"{"ClientVersion":"1.2.677.0","ProcessedClientActions":[
        {"ActionType":"Foo","ActionStatus":0,"ActionResult":3,"Error":"Unsupported action"}],"Errors":null}"#;
    let mut agent = End::agent(with_handshake());
    agent
        .receive(&from_client(0, PayloadType::HandshakeResponse, response))
        .unwrap();
    let text = "Foo failed on client with status 0 error: Unsupported action";
    assert_eq!(agent.said, [Event::Refused(text.to_owned())]);
}

#[test]
fn a_handshake_without_an_answer_ends_after_15_seconds() {
    let mut agent = End::agent(with_handshake());
    let asked = agent.now;
    agent.advance_to(asked + Duration::from_micros(14_999_999));
    assert!(agent.said.is_empty(), "{:?}", agent.said);
    agent.advance_to(asked + Duration::from_secs(15));
    let [Event::Refused(text)] = &agent.said[..] else {
        panic!("{:?}", agent.said)
    };
    assert!(text.starts_with("Handshake timed out."), "{text}");
    agent
        .receive(&from_client(
            0,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    agent.advance(20_000);
    assert_eq!(
        agent.said.len(),
        1,
        "too late is too late: {:?}",
        agent.said
    );
}

#[test]
fn input_that_comes_too_early_is_neither_acknowledged_nor_kept() {
    let mut agent = running_agent();
    agent.session.set_ready(false);
    agent.receive(&input(0, b"ls\r")).unwrap();
    agent.advance(50);
    assert!(
        agent.acks().is_empty() && agent.said.is_empty(),
        "{:?} {:?}",
        agent.acks(),
        agent.said
    );
    assert_eq!(agent.session.buffered(), 0);
    agent.session.set_ready(true);
    agent.advance(50);
    assert!(agent.said.is_empty(), "{:?}", agent.said);
    agent.receive(&input(0, b"ls\r")).unwrap();
    agent.advance(2);
    assert_eq!(agent.acked_sequences(), [0]);
    assert_eq!(agent.said, [Event::Input("ls\r".into())]);
}

#[test]
fn an_agent_that_is_not_ready_still_takes_the_handshake_and_acknowledgements() {
    let mut agent = End::agent(with_handshake());
    agent.session.set_ready(false);
    agent
        .receive(&from_client(
            0,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    assert!(
        matches!(agent.said[..], [Event::Established { .. }]),
        "{:?}",
        agent.said
    );
    agent.peer_acks_all();
    assert!(agent.session.is_idle());
    agent.receive(&input(1, b"early")).unwrap();
    agent.advance(2);
    assert_eq!(agent.acked_sequences(), [0]);
    assert_eq!(agent.said.len(), 1, "{:?}", agent.said);
}

#[test]
fn an_agent_that_is_not_ready_gives_out_no_input_that_overtook_the_handshake() {
    let mut agent = End::agent(with_handshake());
    agent.session.set_ready(false);
    agent.receive(&input(1, b"early")).unwrap();
    agent
        .receive(&from_client(
            0,
            PayloadType::HandshakeResponse,
            &handshake_response(),
        ))
        .unwrap();
    assert!(
        matches!(agent.said[..], [Event::Established { .. }]),
        "{:?}",
        agent.said
    );
}

#[test]
fn flags_are_told() {
    let mut agent = running_agent();
    for (sequence, flag) in [
        Flag::DisconnectToPort,
        Flag::TerminateSession,
        Flag::Other(9),
    ]
    .into_iter()
    .enumerate()
    {
        let sequence = i64::try_from(sequence).unwrap();
        agent
            .receive(&from_client(sequence, PayloadType::Flag, &flag.encode()))
            .unwrap();
        assert_eq!(agent.take_said(), [Event::Flag(flag)]);
    }
}

#[test]
fn it_ends_when_all_was_acknowledged() {
    let mut agent = running_agent();
    agent.write(PayloadType::Output, &[b'x'; 3000]);
    agent.finish();
    agent.advance(100);
    assert!(
        agent.said.is_empty() && states(&agent).is_empty(),
        "{:?}",
        agent.said
    );
    agent.peer_acks_all();
    assert_eq!(agent.said, [Event::Finished]);
    assert_eq!(states(&agent), ["Terminating"]);
    assert_eq!(agent.write(PayloadType::Output, b"late"), 0);
    agent.finish();
    agent.advance(5000);
    assert_eq!(agent.said, [Event::Finished]);
    assert_eq!(states(&agent), ["Terminating"]);
}

#[test]
fn it_ends_at_once_when_nothing_is_open() {
    let mut agent = running_agent();
    agent.finish();
    assert_eq!(agent.said, [Event::Finished]);
    assert_eq!(states(&agent), ["Terminating"]);
}

#[test]
fn it_ends_after_two_seconds_without_acknowledgements() {
    let mut agent = running_agent();
    agent.write(PayloadType::Output, b"tail");
    agent.finish();
    let finished = agent.now;
    agent.advance_to(finished + Duration::from_micros(1_999_999));
    assert!(agent.said.is_empty(), "{:?}", agent.said);
    agent.advance_to(finished + Duration::from_secs(2));
    assert_eq!(agent.said, [Event::Finished]);
    assert_eq!(states(&agent), ["Terminating"]);
    assert!(
        agent.stream().len() > 2,
        "the tail was resent in the meantime"
    );
}

#[test]
fn finishing_twice_does_not_buy_more_time() {
    let mut agent = running_agent();
    agent.write(PayloadType::Output, b"tail");
    agent.finish();
    agent.advance(1500);
    agent.finish();
    agent.advance(500);
    assert_eq!(agent.said, [Event::Finished]);
}

#[test]
fn input_is_taken_until_the_end() {
    let mut agent = running_agent();
    agent.write(PayloadType::Output, b"tail");
    agent.finish();
    assert_eq!(agent.write(PayloadType::Output, b"late"), 0);
    agent.receive(&input(0, b"x")).unwrap();
    agent.advance(2);
    assert_eq!(agent.said, [Event::Input("x".into())]);
    assert_eq!(agent.acked_sequences(), [0]);
}

#[test]
fn an_old_agent_does_not_acknowledge_duplicates() {
    let mut agent = End::agent(AgentConfig {
        reacknowledge: false,
        ..AgentConfig::new("session", 1)
    });
    for sequence in [0, 2, 0, 2, 1, 1] {
        agent.receive(&input(sequence, b"x")).unwrap();
        agent.advance(2);
    }
    // Kept ones are; delivered ones are not.
    assert_eq!(agent.acked_sequences(), [0, 2, 2, 1]);
    assert_eq!(agent.said.len(), 3);
}

#[test]
fn the_handshake_waits_as_long_as_it_is_told() {
    let mut agent = End::agent(AgentConfig {
        handshake_wait: Duration::from_secs(3),
        ..with_handshake()
    });
    agent.advance(2999);
    assert!(agent.said.is_empty(), "{:?}", agent.said);
    agent.advance(1);
    assert!(matches!(agent.said[..], [Event::Refused(_)]));
}

#[test]
fn a_forgetful_agent_takes_everything_and_resends_what_it_remembers() {
    let mut agent = End::agent(AgentConfig {
        window: 3,
        forgets: true,
        max_payload: 1,
        ..AgentConfig::new("session", 1)
    });
    for byte in b"abcde" {
        assert_eq!(agent.write(PayloadType::Output, &[*byte]), 1);
    }
    agent.advance(250);
    let sequences: Vec<i64> = agent.stream().iter().map(|s| s.frame.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4, 0, 1, 2]);
}

#[test]
fn the_reference_recovers_what_a_pause_held_back_one_by_one() {
    let mut agent = End::agent(AgentConfig {
        resend: Resend::OldestOnly,
        max_payload: 1,
        ..AgentConfig::new("session", 1)
    });
    agent
        .receive(&control(MessageType::PausePublication, "{}"))
        .unwrap();
    agent.write(PayloadType::Output, b"abc");
    agent.advance(1000);
    assert!(agent.stream().is_empty());
    agent
        .receive(&control(MessageType::StartPublication, "{}"))
        .unwrap();
    for expected in 1..=3 {
        let sent = agent.stream().len();
        assert!(sent <= expected, "{sent} instead of {expected}");
        agent.peer_acks_all();
        agent.advance(110);
    }
    assert_eq!(agent.stream().len(), 3);
}
