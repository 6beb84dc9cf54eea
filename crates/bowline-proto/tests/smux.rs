//! smux: fairness, the shared budget, streams that hold up others, keep-alive, and any traffic cut anywhere.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_proto::Timestamp;
use bowline_proto::smux::{BUDGET, Mux, MuxConfig, MuxEvent, MuxRole, SmuxError, StreamId};
use bytes::Bytes;
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const PATIENCE: Duration = Duration::from_secs(10);

fn mux(role: MuxRole) -> Mux {
    let config = MuxConfig {
        role,
        keep_alive: false,
        patience: Some(PATIENCE),
    };
    Mux::new(config, START)
}

fn pair() -> (Mux, Mux) {
    (mux(MuxRole::Client), mux(MuxRole::Server))
}

fn carry(from: &mut Mux, to: &mut Mux) {
    while let Some(bytes) = from.poll_transmit(16 * 1024) {
        to.receive(START, bytes).unwrap();
    }
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event()).collect()
}

fn read(mux: &mut Mux, id: StreamId) -> Vec<u8> {
    std::iter::from_fn(|| mux.read(START, id))
        .flatten()
        .collect()
}

/// Fills the budget of `client` with data of one stream that nobody reads.
fn stall(client: &mut Mux, server: &mut Mux, id: StreamId) {
    while client.has_room() {
        server.write(id, &mut Bytes::from(vec![1; 128 * 1024]));
        carry(server, client);
    }
}

#[test]
fn a_big_stream_does_not_keep_a_small_one_waiting() {
    let (mut client, mut server) = pair();
    let (big, small) = (client.open().unwrap(), client.open().unwrap());
    client.write(big, &mut Bytes::from(vec![1; 200_000]));
    client.write(small, &mut Bytes::from_static(b"now"));
    let first = client.poll_transmit(16 * 1024).unwrap();
    server.receive(START, first).unwrap();
    assert_eq!(read(&mut server, small), b"now");
    assert!(!read(&mut server, big).is_empty());
}

#[test]
fn a_writer_is_told_to_wait_and_when_to_go_on() {
    let (mut client, mut server) = pair();
    let id = client.open().unwrap();
    let mut bytes = Bytes::from(vec![1; 1 << 20]);
    client.write(id, &mut bytes);
    assert!(!bytes.is_empty());
    assert_eq!(events(&mut client), []);
    carry(&mut client, &mut server);
    assert_eq!(events(&mut client), [MuxEvent::Writable(id)]);
}

#[test]
fn a_stream_nobody_reads_is_given_up_when_it_holds_up_others() {
    let (mut client, mut server) = pair();
    let (stalled, other) = (client.open().unwrap(), client.open().unwrap());
    carry(&mut client, &mut server);
    stall(&mut client, &mut server, stalled);
    assert!(client.unread() <= BUDGET + 300_000);
    events(&mut client);
    assert_eq!(client.poll_timeout(), Some(START + PATIENCE));
    client.handle_timeout(START + PATIENCE);
    assert_eq!(events(&mut client), [MuxEvent::GivenUp(stalled)]);
    assert!(client.has_room());
    carry(&mut client, &mut server);
    assert!(events(&mut server).contains(&MuxEvent::Finished(stalled)));
    server.write(other, &mut Bytes::from_static(b"at last"));
    carry(&mut server, &mut client);
    assert_eq!(read(&mut client, other), b"at last");
}

#[test]
fn a_stream_alone_may_wait_as_long_as_it_likes() {
    let (mut client, mut server) = pair();
    let id = client.open().unwrap();
    carry(&mut client, &mut server);
    stall(&mut client, &mut server, id);
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn one_that_is_read_slowly_is_not_given_up() {
    let (mut client, mut server) = pair();
    let (slow, _other) = (client.open().unwrap(), client.open().unwrap());
    carry(&mut client, &mut server);
    stall(&mut client, &mut server, slow);
    let later = START + PATIENCE / 2;
    client.read(later, slow).unwrap();
    stall(&mut client, &mut server, slow);
    client.handle_timeout(START + PATIENCE);
    assert!(!events(&mut client).contains(&MuxEvent::GivenUp(slow)));
    assert_eq!(client.poll_timeout(), Some(later + PATIENCE));
}

#[test]
fn what_was_written_before_a_close_arrives_and_what_comes_after_is_dropped() {
    let (mut client, mut server) = pair();
    let id = client.open().unwrap();
    client.write(id, &mut Bytes::from(vec![7; 100_000]));
    client.close(id);
    client.write(id, &mut Bytes::from_static(b"late"));
    carry(&mut client, &mut server);
    assert_eq!(client.streams(), 0);
    assert_eq!(read(&mut server, id), vec![7; 100_000]);
    // The server does not know yet that nobody reads.
    server.write(id, &mut Bytes::from_static(b"lost"));
    server.close(id);
    carry(&mut server, &mut client);
    assert_eq!((events(&mut client), client.unread()), (vec![], 0));
}

#[test]
fn keep_alive_says_something_and_gives_up_silent_peers() {
    let config = MuxConfig {
        role: MuxRole::Client,
        keep_alive: true,
        patience: None,
    };
    let mut mux = Mux::new(config, START);
    let at = |seconds| START + Duration::from_secs(seconds);
    for seconds in [10, 20] {
        assert_eq!(mux.poll_timeout(), Some(at(seconds)));
        mux.handle_timeout(at(seconds));
        assert_eq!(mux.poll_transmit(100).unwrap().len(), 8);
    }
    mux.receive(at(25), Bytes::from_static(b"\x01\x03\0\0\0\0\0\0"))
        .unwrap();
    mux.handle_timeout(at(30));
    mux.handle_timeout(at(54));
    assert_eq!(events(&mut mux), []);
    mux.handle_timeout(at(55));
    mux.handle_timeout(at(56));
    assert_eq!(events(&mut mux), [MuxEvent::Silent], "once");
}

#[test]
fn anything_but_version_one_is_the_end() {
    let (mut client, mut server) = pair();
    assert_eq!(
        client.receive(START, Bytes::from_static(b"\x02\0\0\0\x03\0\0\0")),
        Err(SmuxError::Version(2))
    );
    assert_eq!(
        server.receive(START, Bytes::from_static(b"\x01\x04\0\0\x03\0\0\0")),
        Err(SmuxError::Command(4))
    );
}

#[test]
fn a_client_has_no_streams_opened() {
    let (mut client, _) = pair();
    let push = b"\x01\0\0\0\x02\0\0\0\x01\x02\x02\0\x02\0\0\0hi";
    client.receive(START, Bytes::from_static(push)).unwrap();
    assert_eq!((events(&mut client), client.unread()), (vec![], 0));
}

/// One step of a conversation.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Write(usize, u8, usize),
    Close(usize),
    Carry(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Open),
        (any::<usize>(), any::<u8>(), 1..60_000_usize).prop_map(|(n, b, l)| Step::Write(n, b, l)),
        any::<usize>().prop_map(Step::Close),
        (1..5000_usize).prop_map(Step::Carry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever is written to whichever stream, in any order, cut anywhere: each stream's bytes arrive, in order, and all
    /// of it before its end.
    #[test]
    fn every_stream_is_whole(steps in prop::collection::vec(step(), 1..80)) {
        let (mut client, mut server) = pair();
        let mut open = Vec::new();
        let mut wrote: BTreeMap<StreamId, Vec<u8>> = BTreeMap::new();
        let mut got: BTreeMap<StreamId, Vec<u8>> = BTreeMap::new();
        let pass = |client: &mut Mux, server: &mut Mux, cut: usize, got: &mut BTreeMap<_, Vec<u8>>| {
            while let Some(mut bytes) = client.poll_transmit(cut * 3) {
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(cut));
                    server.receive(START, piece).unwrap();
                }
                for event in events(server) {
                    match event {
                        MuxEvent::Readable(id) => got.entry(id).or_default().extend(read(server, id)),
                        MuxEvent::Finished(id) => {
                            prop_assert!(server.is_read(id));
                            server.close(id);
                        }
                        _ => {}
                    }
                }
            }
            Ok(())
        };
        for step in steps {
            match step {
                Step::Open => open.push(client.open().unwrap()),
                Step::Write(n, byte, length) if !open.is_empty() => {
                    let id = open[n % open.len()];
                    let mut bytes = Bytes::from(vec![byte; length]);
                    client.write(id, &mut bytes);
                    wrote.entry(id).or_default().extend(vec![byte; length - bytes.len()]);
                }
                Step::Close(n) if !open.is_empty() => client.close(open.remove(n % open.len())),
                Step::Carry(cut) => pass(&mut client, &mut server, cut, &mut got)?,
                _ => {}
            }
        }
        for id in open {
            client.close(id);
        }
        pass(&mut client, &mut server, 1000, &mut got)?;
        wrote.retain(|_, bytes| !bytes.is_empty());
        prop_assert_eq!(wrote, got);
        prop_assert_eq!((client.streams(), server.unread()), (0, 0));
        // The server's ends are closed too.
        while let Some(bytes) = server.poll_transmit(1000) {
            client.receive(START, bytes).unwrap();
        }
        prop_assert_eq!(server.streams(), 0);
    }
}
