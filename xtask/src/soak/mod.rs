//! `cargo xtask soak`: thousands of conversations over faulty links, on a virtual clock; `soak churn`: a sandbox's day.

mod churn;

use std::time::{Duration, Instant};

use anyhow::bail;
use bowline_proto::sim::Run;
use clap::{Args, Subcommand};

/// What one conversation carries each way at most, as in `bowline-proto/tests/simulation.rs`.
const MAX_BYTES: u64 = 60_000;

/// Run the protocol simulation with many seeds
///
/// Each run is two ends of a session over links that lose, duplicate, delay and reorder; every byte must arrive once
/// and in order. A run that fails is printed with its number, and `--first NUMBER --runs 1` repeats it.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// How many runs
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    runs: u64,
    /// The number of the first run
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    first: u64,
}

#[derive(Debug, Subcommand)]
enum What {
    Churn(churn::Arguments),
}

/// The worst of something, and the run that showed it.
#[derive(Default)]
struct Worst<T> {
    value: T,
    seed: u64,
}

impl<T: PartialOrd> Worst<T> {
    fn consider(&mut self, value: T, seed: u64) {
        if value > self.value {
            *self = Self { value, seed };
        }
    }
}

/// Runs the simulation; an error if any run failed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(What::Churn(arguments)) = &arguments.what {
        return churn::run(arguments);
    }
    let begun = Instant::now();
    let mut bytes = 0;
    let mut failed = 0_u64;
    let mut slowest = Worst::<Duration>::default();
    let mut largest = Worst::<usize>::default();
    for seed in (0..arguments.runs).map(|run| arguments.first.wrapping_add(run)) {
        match Run::new(seed, MAX_BYTES).go() {
            Ok(report) => {
                bytes += report.bytes;
                slowest.consider(report.elapsed, seed);
                largest.consider(report.peak_buffer, seed);
            }
            Err(complaint) => {
                failed += 1;
                println!("FAILED {complaint}");
            }
        }
    }
    println!("runs           {} from {}", arguments.runs, arguments.first);
    println!("failed         {failed}");
    println!("bytes          {bytes}");
    println!(
        "worst time     {:.3} s virtual (run {})",
        slowest.value.as_secs_f64(),
        slowest.seed
    );
    println!(
        "worst buffer   {} bytes (run {})",
        largest.value, largest.seed
    );
    println!("wall time      {:.1} s", begun.elapsed().as_secs_f64());
    if failed > 0 {
        bail!("{failed} of {} runs failed", arguments.runs);
    }
    Ok(())
}
