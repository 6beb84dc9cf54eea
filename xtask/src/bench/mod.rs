//! `cargo xtask bench`: what the release binary needs, beside a client that does the least.
//!
//! How the figures are made, and what they were, is in `docs/design/performance.md`.

mod binary;
mod fake;
mod figures;
mod first;
mod fleet;
mod forward;
mod keyboard;
mod logs;
mod measure;
mod paced;
pub(crate) mod process;
mod raw;
mod reference;
mod terminal;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use self::measure::Bench;

/// Measure the release binary
///
/// It starts a sandbox of its own. Nothing passes or fails: the figures stand beside what is aimed at and beside a
/// minimal client on the same machine at the same time. Close other programs; the spread shows how quiet it was.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The binary; without this the release build beside this program
    #[arg(long, value_name = "PATH")]
    bowline: Option<PathBuf>,
    /// Runs of the short command
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Runs of each transfer, and of whatever takes a second or more
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    transfers: u32,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
}

/// The parts of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Its size, its version, a list over the API; beside the AWS CLI if it is on PATH
    Binary,
    /// A command that does nothing
    Startup,
    /// Output of the tty engine
    Tty,
    /// Messages of 1 KiB at full speed
    Messages,
    /// Output of the plain engine, output and input of the framed one
    Framed,
    /// Peak memory with a slow reader
    Memory,
    /// The first byte of output, with agents that start at once and after 1 s
    First,
    /// A key on a terminal, there and back
    Echo,
    /// Input of the tty engine
    Stdin,
    /// Output and input of the framed engine with an agent as slow as the real one
    Paced,
    /// Peak memory of a command that does nothing
    Resident,
    /// Lines followed, how late they are, calls while nothing happens
    Logs,
    /// Forwarded ports, beside loopback and the session-manager-plugin if it is on PATH
    Forward,
    /// One command on a thousand targets, an interrupt, and 200 accounts in two regions: some minutes
    Fleet,
    /// AWS CLI and session-manager-plugin, if both are on PATH
    Reference,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The file, following logs and fleets are compared with nothing of ours.
    let alone = |part: &Part| matches!(part, Part::Binary | Part::Logs | Part::Fleet);
    let chosen = !arguments.only.is_empty() && arguments.only.iter().all(alone);
    let of_others = arguments.bowline.is_some() && chosen;
    if cfg!(debug_assertions) && !of_others {
        return again_optimized();
    }
    let program = match &arguments.bowline {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("bowline"),
    };
    if !program.is_file() {
        bail!(
            "there is no binary at {}; build it: cargo build --release -p bowline-cli",
            program.display()
        );
    }
    println!("binary   {}", program.display());
    println!("machine  {}", machine()?);
    println!();
    println!("{}", figures::heading());
    let bench = Bench::start(&program, arguments.runs, arguments.transfers)?;
    for part in Part::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(part) {
            for figure in bench.measure(*part)? {
                println!("{}", figures::line(&figure));
            }
        }
    }
    println!();
    println!("machine  {}", machine()?);
    Ok(())
}

/// The minimal client is part of this program, and compared with it unoptimized everything looks fast.
fn again_optimized() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1))
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("the optimized bench ended with {status}");
    }
    Ok(())
}

fn machine() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split_ascii_whitespace().next().unwrap_or("unknown");
    Ok(format!("{cores} cores, load {load}"))
}
