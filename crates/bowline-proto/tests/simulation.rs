//! Two ends over links that lose, duplicate, delay and reorder, on a virtual clock.

use std::time::Duration;

use bowline_proto::sim::{Report, Run};

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
