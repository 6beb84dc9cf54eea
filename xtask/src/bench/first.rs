//! How soon the first byte of output is there.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::fake::{self, Fake};
use super::figures::Figure;
use super::measure::{Bench, SERVICE, milliseconds};
use super::process::{Bowline, Running, SandboxProcess};

/// It goes on after its output, so that its end cannot be what brings the byte.
const SCRIPT: &str = "echo x; sleep 0.2";
const ENGINES: [(&str, &[&str]); 3] = [
    ("framed", &[]),
    ("--engine plain", &["--engine", "plain"]),
    ("-t", &["-t"]),
];

impl Bench<'_> {
    /// From before `fork` to the first byte from a pipe, and from the service's first message to it.
    pub(super) fn first(&self) -> anyhow::Result<Vec<Figure>> {
        let mut times = [const { Vec::new() }; 3];
        let mut least = Vec::new();
        for _ in 0..self.runs {
            for ((_, options), times) in ENGINES.iter().zip(&mut times) {
                times.push(start_to_byte(&self.bowline, options)?);
            }
            let begun = Instant::now();
            let (drained, _) = self.raw_sandbox(&format!("sh -c '{SCRIPT}'"))?;
            let first = drained.first.context("the raw client got no byte")?;
            least.push(milliseconds(first.into_std() - begun));
        }
        let mut figures = Vec::new();
        for ((name, _), times) in ENGINES.iter().zip(times) {
            let name = format!("first byte, {name}, start delay 0");
            figures.push(Figure::new(name, "ms", times).beside("raw client", least.clone()));
        }

        let late = SandboxProcess::start(self.program, "fast", "1s")?;
        let bowline = Bowline::new(self.program, &late.environment);
        for (name, options) in ENGINES {
            let mut times = Vec::new();
            for _ in 0..self.transfers {
                times.push(start_to_byte(&bowline, options)?);
            }
            let name = format!("first byte, {name}, start delay 1 s");
            figures.push(Figure::new(name, "ms", times));
        }
        figures.push(self.first_in_the_client()?);
        Ok(figures)
    }

    /// The service is a thread of ours: both ends of the interval are read from one clock.
    fn first_in_the_client(&self) -> anyhow::Result<Figure> {
        let fake = Fake::start(64, 64)?;
        let bowline = Bowline::new(self.program, &fake.environment());
        let mut times = Vec::new();
        for _ in 0..self.runs {
            let (_, came) = first_byte(&bowline, &["exec", "-t", fake::TASK, "--", "true"])?;
            let spoke = fake.spoke().context("the fake service was not asked")?;
            times.push(milliseconds(came - spoke));
        }
        let figure = Figure::new("first message to first byte, -t", "ms", times);
        Ok(figure.aim("<= 5 ms", "15.7 ms"))
    }
}

fn start_to_byte(bowline: &Bowline, options: &[&str]) -> anyhow::Result<f64> {
    let words = [&["exec"], options, &[SERVICE, "--", "sh", "-c", SCRIPT]];
    let (taken, _) = first_byte(bowline, &words.concat())?;
    Ok(milliseconds(taken))
}

/// How long it took, and when that was.
fn first_byte(bowline: &Bowline, arguments: &[&str]) -> anyhow::Result<(Duration, Instant)> {
    let begun = Instant::now();
    let mut child = bowline
        .command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let running = Running::new(child);
    let mut byte = [0];
    stdout.read_exact(&mut byte).context("no byte came")?;
    let came = Instant::now();
    std::io::copy(&mut stdout, &mut std::io::sink())?;
    running.finish(begun)?;
    Ok((came - begun, came))
}
