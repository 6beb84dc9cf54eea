//! The way out: windows, retransmission, giving up.

use std::time::Duration;

use bowline_proto::{AgentConfig, ClientConfig, Event, PayloadType, Resend, Session};
use bytes::Bytes;

use crate::common::{End, START, ack, output, running_agent, running_client};

fn agent(resend: Resend) -> End {
    let mut agent = End::agent(AgentConfig {
        resend,
        ..AgentConfig::new("session", 1)
    });
    agent.sent.clear();
    agent
}

/// When and which stream messages were sent, in milliseconds from the start.
fn timeline(end: &End) -> Vec<(u64, i64)> {
    let entry = |sent: &&crate::common::Sent| {
        (sent.at.as_millis() - START.as_millis(), sent.frame.sequence)
    };
    end.stream().iter().map(entry).collect()
}

#[test]
fn writes_are_cut_to_the_payload_size_and_numbered() {
    let mut end = agent(Resend::Overdue);
    let data: Vec<u8> = (0..2500_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(end.write(PayloadType::Output, &data), 2500);
    let lengths: Vec<usize> = end
        .stream()
        .iter()
        .map(|sent| sent.frame.payload.len())
        .collect();
    assert_eq!(lengths, [1024, 1024, 452]);
    assert_eq!(
        end.stream()
            .iter()
            .flat_map(|sent| sent.frame.payload.to_vec())
            .collect::<Vec<u8>>(),
        data
    );
    assert_eq!(timeline(&end), [(0, 0), (0, 1), (0, 2)]);

    let config = ClientConfig {
        max_payload: 100,
        ..ClientConfig::new(1)
    };
    let mut client = End::client(config);
    client.receive(&output(0, b"$ ")).unwrap();
    assert_eq!(client.write(PayloadType::Output, &data[..250]), 250);
    assert_eq!(client.stream().len(), 3);
}

#[test]
fn a_full_window_takes_less_and_says_when_there_is_room() {
    let mut client = running_client();
    let data = vec![7; 4 << 20];
    let taken = client.write(PayloadType::Output, &data);
    assert!(taken > 500 << 10 && taken <= 1 << 20, "{taken}");
    assert_eq!(taken % 1024, 0, "whole messages only");
    assert_eq!(client.write(PayloadType::Output, &data), 0);
    assert!(
        client.session.buffered() <= (1 << 20) + 2048,
        "{}",
        client.session.buffered()
    );
    assert!(client.take_said().is_empty());
    let first = ack(&client.stream()[0].frame);
    client.receive(&first).unwrap();
    assert_eq!(client.take_said(), [Event::Writable]);
    assert_eq!(client.write(PayloadType::Output, &data), 1024);
    client.peer_acks_all();
    assert_eq!(
        client.take_said(),
        [Event::Writable],
        "once, not for each acknowledgement"
    );
    client.write(PayloadType::Output, b"x");
    client.peer_acks_all();
    assert!(client.take_said().is_empty(), "nobody was told to wait");
}

#[test]
fn an_agents_window_is_as_configured() {
    let mut end = End::agent(AgentConfig {
        window: 3,
        ..AgentConfig::new("session", 1)
    });
    assert_eq!(end.write(PayloadType::Output, &[0; 5000]), 3 * 1024);
    let middle = ack(&end.stream()[1].frame);
    end.receive(&middle).unwrap();
    assert_eq!(end.take_said(), [Event::Writable]);
    assert_eq!(end.write(PayloadType::Output, &[0; 5000]), 1024);
}

#[test]
fn one_message_never_acknowledged_does_not_let_the_rest_grow_without_bound() {
    let mut client = running_client();
    let mut peak = 0;
    for _ in 0..20_000 {
        client.session.write(client.now, PayloadType::Output, b"x");
        client.settle();
        for message in client
            .sent
            .split_off(0)
            .iter()
            .filter(|sent| sent.is_stream() && sent.frame.sequence > 0)
        {
            client.receive(&ack(&message.frame)).unwrap();
        }
        peak = peak.max(client.session.buffered());
    }
    assert!(
        client.session.write(client.now, PayloadType::Output, b"x") == 0,
        "the span of numbers is bounded too"
    );
    assert!(peak < 1 << 20, "{peak}");
}

#[test]
fn what_is_lost_is_resent_to_the_byte_and_less_and_less_often() {
    let mut end = agent(Resend::Overdue);
    end.write(PayloadType::Output, b"x");
    end.advance(10_000);
    let copies = end.stream();
    assert!(copies.iter().all(|copy| copy.message == copies[0].message));
    let times: Vec<u64> = timeline(&end).into_iter().map(|(at, _)| at).collect();
    assert_eq!(
        times[..5],
        [0, 200, 600, 1400, 2400],
        "200 ms doubled up to a second"
    );
    end.peer_acks_all();
    let sent = end.sent.len();
    end.advance(10_000);
    assert_eq!(end.sent.len(), sent, "what was acknowledged is not resent");
    assert_eq!(end.session.poll_timeout(), None);
}

#[test]
fn all_that_is_lost_is_resent_not_only_the_oldest() {
    let mut end = agent(Resend::Overdue);
    end.write(PayloadType::Output, &[0; 100 * 1024]);
    end.advance(199);
    assert_eq!(end.stream().len(), 100);
    end.advance(1);
    assert_eq!(end.stream().len(), 164, "64 in the first round");
    end.advance(10);
    assert_eq!(end.stream().len(), 200);
}

#[test]
fn only_what_was_not_acknowledged_is_resent() {
    let mut end = agent(Resend::Overdue);
    end.write(PayloadType::Output, &[0; 5 * 1024]);
    let acks: Vec<Bytes> = [0, 2, 4]
        .into_iter()
        .map(|at: usize| ack(&end.stream()[at].frame))
        .collect();
    end.advance(100);
    for message in &acks {
        end.receive(message).unwrap();
    }
    end.sent.clear();
    end.advance(400);
    assert_eq!(
        timeline(&end)
            .into_iter()
            .map(|(_, sequence)| sequence)
            .collect::<Vec<_>>()[..2],
        [1, 3]
    );
}

#[test]
fn oldest_only_resends_one_message_each_100_milliseconds() {
    let mut end = agent(Resend::OldestOnly);
    end.write(PayloadType::Output, &[0; 5 * 1024]);
    let firsts: Vec<Bytes> = end.stream().iter().map(|sent| ack(&sent.frame)).collect();
    end.sent.clear();
    // Each resent message is acknowledged 10 ms later, so there is always another oldest.
    end.advance(200);
    for (at, acknowledgement) in firsts.iter().enumerate() {
        assert_eq!(timeline(&end).len(), at + 1);
        end.advance(10);
        end.receive(acknowledgement).unwrap();
        end.advance(90);
    }
    assert_eq!(
        timeline(&end),
        [(200, 0), (300, 1), (400, 2), (500, 3), (600, 4)]
    );
    assert!(end.session.is_idle());
}

#[test]
fn oldest_only_never_touches_another_message() {
    let mut end = agent(Resend::OldestOnly);
    end.write(PayloadType::Output, &[0; 5 * 1024]);
    end.sent.clear();
    end.advance(30_000);
    let timeline = timeline(&end);
    assert!(timeline.len() > 20, "{}", timeline.len());
    assert!(
        timeline.iter().all(|(_, sequence)| *sequence == 0),
        "{timeline:?}"
    );
    assert!(
        timeline.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 100),
        "{timeline:?}"
    );
}

#[test]
fn a_peer_that_never_answers_is_told_once_after_about_five_minutes() {
    for resend in [Resend::Overdue, Resend::OldestOnly] {
        let mut end = agent(resend);
        end.write(PayloadType::Output, b"x");
        end.advance(4 * 60_000);
        assert!(end.said.is_empty(), "{resend:?}: {:?}", end.said);
        end.advance(2 * 60_000);
        assert_eq!(end.said, [Event::Stalled], "{resend:?}");
        let resends = end
            .stream()
            .iter()
            .filter(|sent| sent.frame.sequence == 0)
            .count()
            - 1;
        assert!(resends >= 300, "{resends}");
        end.advance(60_000);
        assert_eq!(end.take_said(), [Event::Stalled]);
        end.peer_acks_all();
        assert!(end.session.is_idle() && end.said.is_empty());
        end.write(PayloadType::Output, b"x");
        end.advance(6 * 60_000);
        assert_eq!(
            end.take_said(),
            [Event::Stalled],
            "and again for another message"
        );
    }
}

#[test]
fn a_peer_that_answers_again_is_not_told_to_be_stalled_again() {
    let mut end = agent(Resend::Overdue);
    end.write(PayloadType::Output, &[0; 3 * 1024]);
    end.advance(6 * 60_000);
    assert_eq!(end.take_said(), [Event::Stalled]);
    end.peer_acks_all();
    assert!(end.session.is_idle());
    assert_eq!(
        end.said,
        [],
        "the peer is back and acknowledges one message after the other"
    );
}

#[test]
fn the_clock_of_a_message_starts_when_the_socket_takes_it() {
    let mut session = Session::agent(AgentConfig::new("session", 1), START);
    session.write(START, PayloadType::Output, b"x");
    let later = START + Duration::from_secs(5);
    let _connected = session.poll_transmit(later);
    let first = session.poll_transmit(later).expect("the message");
    assert_eq!(
        session.poll_transmit(later + Duration::from_millis(199)),
        None
    );
    assert_eq!(
        session.poll_transmit(later + Duration::from_millis(200)),
        Some(first)
    );
}

#[test]
fn acknowledgements_go_before_data() {
    let mut end = running_agent();
    let now = end.now;
    end.session
        .receive(now, &crate::common::input(0, b"x"))
        .unwrap();
    end.session.write(now, PayloadType::Output, b"y");
    end.advance_to(now + Duration::from_millis(2));
    assert_eq!(end.acks().len(), 1);
    end.session
        .receive(end.now, &crate::common::input(1, b"x"))
        .unwrap();
    end.sent.clear();
    let due = end.now + Duration::from_millis(2);
    end.session.write(end.now, PayloadType::Output, b"z");
    end.now = due;
    end.settle();
    assert_eq!(
        end.sent
            .iter()
            .map(crate::common::Sent::is_stream)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

/// With a time-out below the round-trip time no answer would ever belong to one copy only, and none would be measured.
#[test]
fn on_a_long_path_everything_is_soon_sent_once_only() {
    for round_trip in [250, 500, 900, 1500] {
        let mut client = running_client();
        for key in 0..40 {
            client.sent.clear();
            client.write(PayloadType::Output, b"k");
            client.advance(round_trip);
            client.peer_acks_all();
            let copies = client.stream().len();
            assert!(
                key < 10 || copies == 1,
                "key {key}: {copies} copies at {round_trip} ms"
            );
            client.advance(100);
        }
    }
}

#[test]
fn a_slow_path_is_not_taken_for_a_lossy_one() {
    let mut client = running_client();
    client.write(PayloadType::Output, &vec![7; 400 * 1024]);
    let mut at = 0;
    // 60 KB/s: one message in 17 ms, each acknowledged when it has arrived.
    while !client.session.is_idle() {
        client.advance(17);
        let message = ack(&client.stream()[at].frame);
        client.receive(&message).unwrap();
        at += 1;
    }
    let copies = client.stream().len() - 400;
    assert_eq!(copies, 0);
}

#[test]
fn a_size_that_finds_the_window_full_follows_when_there_is_room() {
    let mut client = running_client();
    client.write(PayloadType::Output, &vec![7; 4 << 20]);
    client.session.resize(
        client.now,
        bowline_proto::Size {
            cols: 200,
            rows: 50,
        },
    );
    client.settle();
    let sizes = |client: &End| {
        let stream = client.stream();
        stream
            .iter()
            .filter(|sent| sent.kind() == PayloadType::Size)
            .count()
    };
    assert_eq!(sizes(&client), 0);
    client.peer_acks_all();
    assert_eq!(sizes(&client), 1);
}
