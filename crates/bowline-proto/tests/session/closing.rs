//! The end of a channel, as the service tells it.

use std::time::Duration;

use bowline_proto::{ClientConfig, Event, MessageType, PayloadType};

use crate::common::{End, channel_closed, control, input, output, running_agent, running_client};

fn closed(text: &str, complete: bool) -> Event {
    Event::Closed {
        output: text.to_owned(),
        complete,
    }
}

#[test]
fn a_close_without_a_gap_is_told_at_once_with_its_reason() {
    let mut client = running_client();
    client.receive(&output(1, b"bye")).unwrap();
    client.receive(&channel_closed("no such command")).unwrap();
    assert_eq!(
        client.said,
        [Event::Output("bye".into()), closed("no such command", true)]
    );
    assert_eq!(client.write(PayloadType::Output, b"x"), 0);
}

#[test]
fn a_close_that_cannot_be_read_closes_all_the_same() {
    for payload in ["", "garbage", "{}", "{\"Output\":null}", "{\"Output\":7}"] {
        let mut client = End::client(ClientConfig::new(1));
        client
            .receive(&control(MessageType::ChannelClosed, payload))
            .unwrap();
        assert_eq!(client.said, [closed("", true)], "{payload}");
    }
}

#[test]
fn a_close_over_a_gap_waits_half_a_second_and_says_that_something_is_missing() {
    let mut client = running_client();
    client.receive(&output(2, b"ahead")).unwrap();
    client.receive(&channel_closed("")).unwrap();
    let closed_at = client.now;
    client.advance_to(closed_at + Duration::from_micros(499_999));
    assert!(client.said.is_empty(), "{:?}", client.said);
    client.advance_to(closed_at + Duration::from_millis(500));
    assert_eq!(client.said, [closed("", false)]);
    assert_eq!(client.acked_sequences(), [2]);
}

#[test]
fn a_close_over_a_gap_is_released_as_soon_as_the_gap_fills() {
    let mut client = running_client();
    client.receive(&output(3, b"3")).unwrap();
    client.receive(&channel_closed("done")).unwrap();
    client.advance(100);
    client.receive(&output(2, b"2")).unwrap();
    assert!(client.said.is_empty(), "{:?}", client.said);
    client.receive(&output(1, b"1")).unwrap();
    let expected = [
        Event::Output("1".into()),
        Event::Output("2".into()),
        Event::Output("3".into()),
        closed("done", true),
    ];
    assert_eq!(client.said, expected);
    client.advance(2000);
    assert_eq!(client.said.len(), 4, "{:?}", client.said);
}

#[test]
fn a_second_close_does_not_move_the_deadline_or_change_the_reason() {
    let mut client = running_client();
    client.receive(&output(2, b"ahead")).unwrap();
    client.receive(&channel_closed("first")).unwrap();
    client.advance(400);
    client.receive(&channel_closed("second")).unwrap();
    client.advance(100);
    assert_eq!(client.said, [closed("first", false)]);
    client.receive(&channel_closed("third")).unwrap();
    assert_eq!(client.said.len(), 1, "{:?}", client.said);
}

#[test]
fn nothing_follows_the_close_of_a_client() {
    let mut client = running_client();
    client.receive(&output(2, b"2")).unwrap();
    client.receive(&channel_closed("")).unwrap();
    client.advance(500);
    let _ = client.receive(&output(1, b"1"));
    let _ = client.receive(&output(3, b"3"));
    client.advance(10);
    assert_eq!(client.said, [closed("", false)]);
}

#[test]
fn nothing_follows_the_close_of_an_agent() {
    let mut agent = running_agent();
    agent.receive(&input(0, b"x")).unwrap();
    agent.receive(&channel_closed("terminated")).unwrap();
    let _ = agent.receive(&channel_closed("again"));
    let _ = agent.receive(&input(1, b"y"));
    agent.advance(10);
    assert_eq!(
        agent.said,
        [Event::Input("x".into()), closed("terminated", true)]
    );
}
