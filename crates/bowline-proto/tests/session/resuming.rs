//! A connection that goes away and comes back under a session that does not notice.

use bowline_proto::{Event, MessageType, PayloadType};

use crate::common::{ack, channel_closed, control, output, running_client};

#[test]
fn without_a_connection_nothing_is_sent_and_nothing_falls_due() {
    let mut client = running_client();
    client.write(PayloadType::Output, b"before");
    client.receive(&output(1, b"heard")).unwrap();
    client.session.disconnected();
    client.sent.clear();
    assert_eq!(client.write(PayloadType::Output, b"typed meanwhile"), 15);
    assert_eq!(client.session.poll_timeout(), None);
    client.advance(600_000);
    assert!(client.sent.is_empty());
    assert!(
        !client.take_said().contains(&Event::Stalled),
        "an outage is not a deaf peer"
    );
}

#[test]
fn after_it_everything_unacknowledged_is_sent_at_once_in_order_and_nothing_else() {
    let mut client = running_client();
    for text in ["one", "two", "three"] {
        client.write(PayloadType::Output, text.as_bytes());
    }
    let two = ack(&client.stream()[1].frame);
    client.receive(&two).unwrap();
    let first_copies: Vec<_> = client
        .stream()
        .iter()
        .map(|sent| sent.message.clone())
        .collect();
    client.session.disconnected();
    client.write(PayloadType::Output, b"four");
    client.advance(60_000);
    client.sent.clear();

    client.session.reconnected(client.now);
    client.settle();
    let texts: Vec<_> = client
        .stream()
        .iter()
        .map(|sent| sent.frame.payload.clone())
        .collect();
    assert_eq!(texts, ["one", "three", "four"]);
    let again = client.stream();
    assert_eq!(
        [&again[0].message, &again[1].message],
        [&first_copies[0], &first_copies[2]],
        "a copy is the same to the last byte"
    );
    client.peer_acks_all();
    assert!(client.session.is_idle());
    assert_eq!(client.session.poll_timeout(), None);
}

#[test]
fn acknowledgements_wait_for_the_new_connection() {
    let mut client = running_client();
    client.receive(&output(1, b"heard just before")).unwrap();
    client.session.disconnected();
    client.sent.clear();
    client.advance(60_000);
    client.session.reconnected(client.now);
    client.settle();
    assert_eq!(client.acked_sequences(), [1]);
    // The agent, which heard nothing, sends it again.
    client.receive(&output(1, b"heard just before")).unwrap();
    client.advance(5);
    assert_eq!(client.acked_sequences(), [1, 1]);
    let heard: Vec<_> = client.take_said();
    assert_eq!(heard, [Event::Output("heard just before".into())]);
}

#[test]
fn a_pause_of_the_old_connection_ends_with_it() {
    let mut client = running_client();
    client
        .receive(&control(MessageType::PausePublication, "{}"))
        .unwrap();
    client.write(PayloadType::Output, b"held back");
    assert!(client.stream().is_empty());
    client.session.disconnected();
    client.session.reconnected(client.now);
    client.settle();
    assert_eq!(client.stream().len(), 1);
}

#[test]
fn a_full_window_comes_back_faster_and_faster() {
    let mut client = running_client();
    let taken = client.write(PayloadType::Output, &vec![7; 4 << 20]);
    client.session.disconnected();
    assert_eq!(client.write(PayloadType::Output, b"more"), 0);
    client.sent.clear();
    client.session.reconnected(client.now);
    client.settle();
    let (mut rounds, mut again) = (Vec::new(), 0);
    while !client.session.is_idle() {
        let sent: usize = client
            .stream()
            .iter()
            .map(|sent| sent.frame.payload.len())
            .sum();
        assert!(sent > 0, "after {rounds:?}");
        again += sent;
        rounds.push(client.stream().len());
        let acks: Vec<_> = client
            .stream()
            .iter()
            .map(|sent| ack(&sent.frame))
            .collect();
        client.sent.clear();
        for message in acks {
            client.receive(&message).unwrap();
        }
    }
    assert_eq!(again, taken, "each once");
    assert_eq!(
        rounds[..3],
        [9, 18, 36],
        "10 KB, then twice what was acknowledged"
    );
}

#[test]
fn when_the_first_ones_are_lost_it_begins_again() {
    let mut client = running_client();
    client.write(PayloadType::Output, &[7; 100 * 1024]);
    client.session.disconnected();
    client.session.reconnected(client.now);
    client.sent.clear();
    client.settle();
    let sequences = |client: &crate::common::End| -> Vec<i64> {
        let stream = client.stream();
        stream.iter().map(|sent| sent.frame.sequence).collect()
    };
    let first = sequences(&client);
    assert_eq!(first.len(), 9);
    client.sent.clear();
    client.advance(1100);
    assert_eq!(sequences(&client)[..9], first);
    // One of them arrived over the old connection after all.
    client.receive(&ack(&client.stream()[0].frame)).unwrap();
    client.peer_acks_all();
    client.sent.clear();
    while !client.session.is_idle() {
        client.advance(50);
        client.peer_acks_all();
    }
    assert!(!sequences(&client).contains(&first[0]));
}

#[test]
fn a_channel_that_was_closed_needs_no_new_connection() {
    let mut client = running_client();
    assert!(!client.session.is_closing());
    // One message is missing.
    client.receive(&output(2, b"late")).unwrap();
    client.receive(&channel_closed("")).unwrap();
    assert!(client.session.is_closing());
    client.session.disconnected();
    client.take_said();
    client.advance(1000);
    assert!(matches!(
        client.take_said()[..],
        [Event::Closed {
            complete: false,
            ..
        }]
    ));
}
