//! What an end does with stream messages: order, acknowledgements, damage, things it does not know.

use std::time::Duration;

use bowline_proto::{ClientConfig, Event, FrameError, MessageType, PayloadType, ProtocolError};
use bytes::Bytes;

use crate::common::{
    End, control, from_agent, from_client, input, output, running_agent, running_client,
};

#[test]
fn a_duplicate_is_acknowledged_again_and_delivered_once() {
    let mut client = running_client();
    for _ in 0..3 {
        client.receive(&output(1, b"once")).unwrap();
        client.advance(3);
    }
    client.receive(&output(0, b"$ ")).unwrap();
    client.advance(3);
    assert_eq!(client.acked_sequences(), [1, 1, 1, 0]);
    assert_eq!(client.said, [Event::Output("once".into())]);
}

#[test]
fn a_message_ahead_of_its_turn_is_acknowledged_at_once_and_delivered_in_turn() {
    let mut agent = running_agent();
    for sequence in [2, 1, 2] {
        agent
            .receive(&input(sequence, sequence.to_string().as_bytes()))
            .unwrap();
    }
    agent.advance(3);
    assert_eq!(agent.acked_sequences(), [2, 1, 2]);
    assert!(agent.said.is_empty(), "{:?}", agent.said);
    agent.receive(&input(0, b"0")).unwrap();
    let inputs: Vec<Event> = ["0", "1", "2"].map(|text| Event::Input(text.into())).into();
    assert_eq!(agent.said, inputs);
}

#[test]
fn no_acknowledgement_leaves_before_a_millisecond_and_none_long_after() {
    // The offsets fall on and off the grid on which acknowledgements are due.
    for micros in [0, 1, 250, 499, 500, 501, 999] {
        for (mut end, message) in [
            (running_client(), output(1, b"x")),
            (running_agent(), input(0, b"x")),
        ] {
            end.advance_to(end.now + Duration::from_micros(micros));
            let arrived = end.now;
            end.receive(&message).unwrap();
            end.advance_to(arrived + Duration::from_micros(999));
            assert_eq!(end.acked_sequences(), [] as [i64; 0], "{micros}");
            end.advance_to(arrived + Duration::from_micros(1500));
            assert_eq!(end.acks().len(), 1, "{micros}");
        }
    }
}

#[test]
fn acknowledgements_of_a_burst_leave_in_the_order_of_arrival() {
    let mut client = running_client();
    for sequence in [3, 1, 2, 1] {
        client.receive(&output(sequence, b"x")).unwrap();
    }
    client.advance(2);
    assert_eq!(client.acked_sequences(), [3, 1, 2, 1]);
}

#[test]
fn a_damaged_message_is_dropped_and_taken_when_it_comes_again_intact() {
    let mut client = running_client();
    let mut damaged = output(1, b"payload").to_vec();
    *damaged.last_mut().unwrap() ^= 0x20;
    let refused = client.receive(&Bytes::from(damaged)).unwrap_err();
    assert_eq!(refused, ProtocolError::Frame(FrameError::Digest));
    client.advance(5);
    assert!(
        client.sent.is_empty() && client.said.is_empty(),
        "{:?} {:?}",
        client.sent,
        client.said
    );
    client.receive(&output(1, b"payload")).unwrap();
    client.advance(5);
    assert_eq!(client.said, [Event::Output("payload".into())]);
    assert_eq!(client.acked_sequences(), [1]);
}

#[test]
fn unknown_messages_and_payload_types_pass() {
    let mut client = running_client();
    for name in ["data_channel_ready", "interactive_shell", "x"] {
        client
            .receive(&control(MessageType::Other(name.into()), "{}"))
            .unwrap();
    }
    // What travels the other way is passed over too.
    client.receive(&input(0, b"not mine")).unwrap();
    client
        .receive(&control(MessageType::AgentSessionState, "{}"))
        .unwrap();
    client
        .receive(&from_agent(1, PayloadType::Other(99), b"?"))
        .unwrap();
    client
        .receive(&from_agent(2, PayloadType::Size, b"{}"))
        .unwrap();
    client.receive(&output(3, b"on")).unwrap();
    client.advance(3);
    assert_eq!(client.said, [Event::Output("on".into())]);
    assert_eq!(
        client.acked_sequences(),
        [1, 2, 3],
        "what is not understood is acknowledged, or it would come for ever"
    );

    let mut agent = running_agent();
    agent.receive(&output(0, b"not mine")).unwrap();
    agent
        .receive(&from_client(0, PayloadType::Other(0), b"?"))
        .unwrap();
    agent
        .receive(&from_client(1, PayloadType::StdErr, b"?"))
        .unwrap();
    agent.receive(&input(2, b"on")).unwrap();
    agent.advance(3);
    assert_eq!(agent.said, [Event::Input("on".into())]);
    assert_eq!(agent.acked_sequences(), [0, 1, 2]);
}

#[test]
fn a_bad_payload_is_an_error_but_does_not_hold_up_what_follows() {
    let mut agent = running_agent();
    agent
        .receive(&from_client(0, PayloadType::Size, b"{\"cols\":-1}"))
        .unwrap_err();
    agent
        .receive(&from_client(1, PayloadType::Flag, b"\0\0"))
        .unwrap_err();
    agent.receive(&input(2, b"on")).unwrap();
    agent.advance(3);
    assert_eq!(agent.acked_sequences(), [0, 1, 2]);
    assert_eq!(agent.said, [Event::Input("on".into())]);

    let mut client = running_client();
    client
        .receive(&from_agent(1, PayloadType::ExitCode, b"EXIT_CODE: many"))
        .unwrap_err();
    client
        .receive(&from_agent(2, PayloadType::ExitCode, b"EXIT_CODE: -1"))
        .unwrap();
    assert_eq!(client.said, [Event::ExitCode(-1)]);
}

#[test]
fn an_empty_payload_is_accepted_and_never_sent() {
    let mut agent = running_agent();
    agent.receive(&input(0, b"")).unwrap();
    agent.advance(3);
    assert_eq!(agent.acked_sequences(), [0]);
    agent.sent.clear();
    assert_eq!(agent.write(PayloadType::Output, b""), 0);
    assert!(agent.sent.is_empty(), "{:?}", agent.sent);
}

#[test]
fn negative_and_absurd_sequence_numbers_change_nothing_for_the_rest() {
    for mut end in [running_client(), running_agent()] {
        for sequence in [-1, i64::MIN] {
            for message in [output(sequence, b"x"), input(sequence, b"x")] {
                let result = end.receive(&message);
                assert!(
                    matches!(result, Ok(()) | Err(ProtocolError::Sequence(_))),
                    "{result:?}"
                );
            }
        }
        end.advance(5);
        assert!(
            end.acks().is_empty(),
            "a message that has no number is not acknowledged"
        );
        for sequence in [i64::MAX, i64::MAX - 1, 1 << 40] {
            let _ = end.receive(&output(sequence, b"far"));
            let _ = end.receive(&input(sequence, b"far"));
        }
        assert!(end.said.is_empty(), "{:?}", end.said);
        for sequence in 0..3 {
            let _ = end.receive(&output(sequence, b"near"));
            let _ = end.receive(&input(sequence, b"near"));
        }
        let near = |event: &Event| matches!(event, Event::Output(bytes) | Event::Input(bytes) if bytes == "near");
        assert!(
            end.said.iter().all(near) && end.said.len() >= 2,
            "{:?}",
            end.said
        );
    }
}

#[test]
fn acknowledgements_of_what_was_never_sent_change_nothing() {
    let mut client = running_client();
    assert_eq!(client.write(PayloadType::Output, b"ls\r"), 3);
    let mut foreign = client.stream()[0].frame.clone();
    for sequence in [-1, 1, i64::MAX, i64::MIN] {
        foreign.sequence = sequence;
        client.receive(&crate::common::ack(&foreign)).unwrap();
    }
    client
        .receive(&control(MessageType::Acknowledge, "[]"))
        .unwrap_err();
    assert!(!client.session.is_idle());
    client.peer_acks_all();
    assert!(client.session.is_idle());
}

#[test]
fn a_longer_header_moves_the_payload() {
    let mut client = End::client(ClientConfig::new(1));
    let mut message = output(0, b"skipped|hello").to_vec();
    message[..4].copy_from_slice(&124_u32.to_be_bytes());
    // The digest is over what is then the payload.
    message[80..112].copy_from_slice(&output(0, b"hello")[80..112]);
    client.receive(&Bytes::from(message)).unwrap();
    assert_eq!(client.said.last(), Some(&Event::Output("hello".into())));
}
