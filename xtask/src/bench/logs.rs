//! Following logs: how fast, how late, and at what cost in calls.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::figures::Figure;
use super::measure::Bench;
use super::process::{Bowline, Running, SandboxProcess};

/// Lines of a burst.
const BURST: usize = 200_000;
/// Lines whose lateness is measured, …
const PACED: usize = 60;
/// … and the pause between them in the container.
const PAUSE: &str = "0.7";
/// For the follower to find its slow pace.
const SETTLE: Duration = Duration::from_secs(20);
/// For counting calls.
const IDLE: Duration = Duration::from_secs(60);

impl Bench<'_> {
    /// With a sandbox of its own, whose calls can be counted.
    pub(super) fn logs(&self) -> anyhow::Result<Vec<Figure>> {
        let options = ["--accept-any-credentials", "--scenario", "log-delay=0.1"];
        let sandbox = SandboxProcess::start_with(self.program, "fast", "0", &options)?;
        let bowline = Bowline::new(self.program, &sandbox.environment);
        let mut figures = vec![burst(&bowline, self.transfers)?];
        for (name, extra) in [("polling", &[][..]), ("--live", &["--live"])] {
            let late = lateness(&bowline, extra)?;
            let name = format!("logs -f, {name}: ingested to printed");
            figures.push(Figure::new(name, "ms", late));
        }
        figures.push(idle(&bowline, &sandbox)?);
        Ok(figures)
    }
}

/// Lines per second of a stream that is there already, from the first byte to the last line.
fn burst(bowline: &Bowline, runs: u32) -> anyhow::Result<Figure> {
    let script = format!("seq {BURST}");
    let arn = launch(bowline, &script)?;
    // The whole of it once, so that everything is ingested.
    follow_burst(bowline, &arn)?;
    let rates = (0..runs).map(|_| follow_burst(bowline, &arn));
    let rates = rates.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Figure::new("attach: lines followed", "lines/s", rates))
}

fn follow_burst(bowline: &Bowline, arn: &str) -> anyhow::Result<f64> {
    let words = ["attach", "--log-wait", "2s", arn];
    let begun = Instant::now();
    let mut child = bowline
        .command(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::with_capacity(1 << 16, child.stdout.take().context("no stdout")?);
    let running = Running::new(child);
    let (mut first, mut last, mut count) = (None, begun, 0);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        count += 1;
        if count == 1 || count == BURST {
            last = Instant::now();
            first.get_or_insert(last);
        }
        line.clear();
    }
    running.finish(begun)?;
    if count != BURST {
        bail!("{count} of {BURST} lines came");
    }
    let first = first.context("no line came")?;
    Ok(BURST as f64 / (last - first).as_secs_f64())
}

/// From the time at which CloudWatch Logs had each line to the moment at which we read it, in milliseconds.
fn lateness(bowline: &Bowline, extra: &[&str]) -> anyhow::Result<Vec<f64>> {
    let script =
        format!("i=0; while [ $i -lt {PACED} ]; do i=$((i+1)); echo $i; sleep {PAUSE}; done");
    let arn = launch(bowline, &script)?;
    let words = [
        &[
            "logs",
            "-f",
            "-o",
            "json",
            "--tail",
            "all",
            "--log-wait",
            "2s",
            arn.as_str(),
        ],
        extra,
    ]
    .concat();
    let begun = Instant::now();
    let mut child = bowline
        .command(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("no stdout")?);
    let running = Running::new(child);
    let mut late = Vec::new();
    for line in lines.lines() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0;
        let event: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(text) = event["ingestionTime"].as_str() {
            late.push(now - milliseconds_of(text)?);
        }
    }
    running.finish(begun)?;
    if late.len() != PACED {
        bail!("{} of {PACED} lines came", late.len());
    }
    Ok(late)
}

/// Calls per minute of `logs -f` on a service with two tasks that write nothing.
fn idle(bowline: &Bowline, sandbox: &SandboxProcess) -> anyhow::Result<Figure> {
    let mut child = bowline
        .command(&["logs", "-f", "web"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    thread::sleep(SETTLE);
    let before = calls(sandbox)?;
    thread::sleep(IDLE);
    let after = calls(sandbox)?;
    child.kill()?;
    child.wait()?;
    let minutes = IDLE.as_secs_f64() / 60.0;
    Ok(Figure::new(
        "logs -f, two idle streams: all calls",
        "/min",
        vec![(after - before) / minutes],
    ))
}

fn launch(bowline: &Bowline, script: &str) -> anyhow::Result<String> {
    let words = ["run", "-d", "family:job", "--", "sh", "-c", script];
    let output = bowline.command(&words).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("run -d: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// All API calls so far, but for those that count them.
fn calls(sandbox: &SandboxProcess) -> anyhow::Result<f64> {
    let counted = sandbox.control("BowlineSandbox.CountCalls", "{}")?;
    let counted = counted["calls"].as_object().context("no calls")?;
    let numbers = counted
        .iter()
        .filter(|(name, _)| !name.contains("CountCalls"))
        .filter_map(|(_, number)| number.as_f64());
    Ok(numbers.sum())
}

/// RFC 3339 as bowline prints it: always UTC, `2026-11-21T11:56:39.444Z`.
fn milliseconds_of(text: &str) -> anyhow::Result<f64> {
    let time: jiff::Timestamp = text.parse()?;
    Ok(time.as_millisecond() as f64)
}
