//! Two ends over links that lose, duplicate, delay and reorder, on a virtual clock.

use std::time::Duration;

use bowline_proto::sim::{Link, Pair, Report, Run};
use bowline_proto::{AgentConfig, ClientConfig, Event, PayloadType};

/// `cargo xtask soak` runs ten thousand of these.
const RUNS: u64 = 200;
const MAX_BYTES: u64 = 60_000;

#[test]
fn every_byte_arrives_once_and_in_order_whatever_the_links_do() {
    let mut worst = Report::default();
    let (mut encrypted, mut cut) = (0, 0);
    for seed in 0..RUNS {
        let run = Run::new(seed, MAX_BYTES);
        encrypted += u64::from(run.is_encrypted());
        cut += u64::from(run.is_cut());
        let report = run.go().unwrap_or_else(|complaint| panic!("{complaint}"));
        worst.elapsed = worst.elapsed.max(report.elapsed);
        worst.peak_buffer = worst.peak_buffer.max(report.peak_buffer);
        worst.bytes += report.bytes;
    }
    println!(
        "{RUNS} runs, {encrypted} encrypted, {cut} cut, {} bytes, worst {:?} and {} bytes buffered",
        worst.bytes, worst.elapsed, worst.peak_buffer
    );
    assert!(
        worst.elapsed < Duration::from_secs(120),
        "{:?}",
        worst.elapsed
    );
    assert!((RUNS / 5..RUNS / 2).contains(&encrypted), "{encrypted}");
    assert!((RUNS / 3..RUNS).contains(&cut), "{cut}");
    assert!(worst.peak_buffer < 2 << 20, "{}", worst.peak_buffer);
}

#[test]
fn a_run_repeats_itself_from_its_number() {
    let (one, two) = (
        Run::new(42, MAX_BYTES).go().unwrap(),
        Run::new(42, MAX_BYTES).go().unwrap(),
    );
    assert_eq!(
        (one.elapsed, one.peak_buffer, one.bytes),
        (two.elapsed, two.peak_buffer, two.bytes)
    );
}

/// The reference sends ten messages a second again, so that a megabyte lost takes it 100 s.
#[test]
fn a_megabyte_that_was_lost_is_there_within_a_second() {
    for reconnects in [false, true] {
        let mut pair = Pair::new(1, ClientConfig::new(2), AgentConfig::new("sim", 3));
        pair.up = Link::faultless(Duration::from_millis(20));
        pair.down = Link::faultless(Duration::from_millis(20));
        // The agent speaks first; then both ends learn how long a round trip takes.
        let mut received = 0;
        pair.agent.write(pair.now, PayloadType::Output, b"ready");
        while pair.client.write(pair.now, PayloadType::Output, b"1") == 0 {
            assert!(pair.step(), "it never begins");
        }
        let before = 1 + write(&mut pair, 100_000);
        until(&mut pair, &mut received, before);
        while pair.step() {}
        assert!(pair.client.is_idle(), "an acknowledgement is missing");

        pair.up.lose(100);
        // The send window holds a mebibyte with all headers: more cannot be lost at once.
        let lost = write(&mut pair, 1 << 20);
        assert!(lost > 900_000, "{lost}");
        let sent = pair.client.poll_transmit(pair.now);
        assert!(sent.is_some(), "something was about to be sent");
        while pair.client.poll_transmit(pair.now).is_some() {}
        if reconnects {
            pair.cut();
            pair.mend();
        }
        pair.up.lose(0);
        let began = pair.now;
        until(&mut pair, &mut received, before + lost);
        let took = pair.now - began;
        println!("{lost} bytes lost, new connection: {reconnects}, back after {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// Hands over up to so many bytes, as far as the send window reaches.
fn write(pair: &mut Pair, bytes: usize) -> usize {
    pair.client
        .write(pair.now, PayloadType::Output, &vec![7; bytes])
}

/// Goes on until the agent has handed out so many bytes.
fn until(pair: &mut Pair, received: &mut usize, bytes: usize) {
    while *received < bytes {
        assert!(pair.step(), "it is stuck at {received}");
        while let Some(event) = pair.agent.poll_event() {
            if let Event::Input(piece) = event {
                *received += piece.len();
            }
        }
        while pair.client.poll_event().is_some() {}
    }
}
