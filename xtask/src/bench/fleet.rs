//! One command on many targets: time, memory, calls, and that exactly what was made to fail is reported.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::figures::Figure;
use super::measure::{Bench, milliseconds};
use super::process::{Bowline, Running, SandboxProcess, Usage};

/// Sessions started a second: what the sandbox grants, and what is asked for.
const RATE: &str = "20";

/// A run, seen through.
struct Run {
    usage: Usage,
    peak: f64,
    /// The last event but one.
    summary: Value,
    problems: usize,
}

impl Bench<'_> {
    /// With sandboxes of its own, whose calls can be counted.
    pub(super) fn fleet(&self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = self.thousand()?;
        figures.extend(self.interrupt()?);
        figures.extend(self.accounts()?);
        Ok(figures)
    }

    fn thousand(&self) -> anyhow::Result<Vec<Figure>> {
        let rate = format!("rate=ExecuteCommand:{RATE}/s:{RATE}");
        let options = ["--scenario", "fleet=1000:50:20:10", "--fault", &rate];
        let (sandbox, bowline) = self.simulated(&options)?;
        let words = [
            "exec",
            "--all",
            "--yes",
            "--rate",
            RATE,
            "--max",
            "100",
            "--max-per-account",
            "100",
            "--timeout",
            "5s",
            "-o",
            "json",
            "fleet",
            "--",
            "hostname",
        ];
        let run = run(&bowline, &words, 5)?;
        let expected = json!({"ok": 920, "failed": 50, "unreachable": 20, "timed-out": 10});
        if run.summary["counts"] != expected {
            bail!("not what was made to fail: {}", run.summary);
        }
        let faults = sandbox.control("BowlineSandbox.GetFaults", "{}")?;
        if faults["happened"]["throttled"] != 0 {
            bail!("calls were throttled: {}", faults["happened"]);
        }
        let calls = sandbox.control("BowlineSandbox.CountCalls", "{}")?;
        let busiest = calls["busiest"]["ExecuteCommand"]
            .as_f64()
            .context("no count")?;
        let name = format!("exec, 1,000 targets, {RATE} starts a second");
        Ok(vec![
            Figure::new(name, "s", vec![run.usage.wall.as_secs_f64()]),
            Figure::new("  its CPU", "s", vec![run.usage.cpu.as_secs_f64()]),
            Figure::new("  its peak memory", "MB", vec![run.peak]).aim("< 300", ""),
            Figure::new(
                "  ExecuteCommand in the busiest second",
                "calls",
                vec![busiest],
            ),
        ])
    }

    /// With 200 commands that run.
    fn interrupt(&self) -> anyhow::Result<Vec<Figure>> {
        let (sandbox, bowline) = self.simulated(&["--scenario", "fleet=1000"])?;
        let words = [
            "exec",
            "--all",
            "--yes",
            "--rate",
            "200",
            "--max",
            "200",
            "--max-per-account",
            "200",
            "-o",
            "json",
            "fleet",
            "--",
            "sleep",
            "1000",
        ];
        let (running, mut lines) = started(&bowline, &words)?;
        let mut count = 0;
        for line in lines.by_ref() {
            count += usize::from(line?.contains("\"started\""));
            if count == 200 {
                break;
            }
        }
        let at = Instant::now();
        let sent = Command::new("kill")
            .args(["-INT", &running.id().to_string()])
            .status()?;
        if !sent.success() {
            bail!("kill: {sent}");
        }
        for line in lines {
            line?;
        }
        let usage = running.finish_with(at, 130)?;
        let left = sandbox.control("AmazonSSM.DescribeSessions", "{\"State\":\"Active\"}")?;
        let left = left["Sessions"].as_array().context("no sessions")?.len();
        Ok(vec![
            Figure::new(
                "Ctrl-C with 200 commands that run",
                "ms",
                vec![milliseconds(usage.wall)],
            )
            .aim("< 2000", ""),
            Figure::new("  sessions left behind", "", vec![left as f64]),
        ])
    }

    fn accounts(&self) -> anyhow::Result<Vec<Figure>> {
        let options = [
            "--scenario",
            "fleet=1",
            "--scenario",
            "accounts=200",
            "--scenario",
            "denied-account=7",
            "--scenario",
            "regions=eu-west-1",
        ];
        let (_sandbox, bowline) = self.simulated(&options)?;
        let words = [
            "exec",
            "--all",
            "--yes",
            "--accounts",
            "all",
            "--role",
            "operations",
            "--regions",
            "all",
            "-o",
            "json",
            "fleet",
            "--",
            "hostname",
        ];
        let run = run(&bowline, &words, 5)?;
        if run.summary["counts"] != json!({"ok": 398}) || run.problems != 2 {
            bail!("not 398 good ones and 2 refused: {}", run.summary);
        }
        Ok(vec![
            Figure::new(
                "exec, 200 accounts in 2 regions, one refuses",
                "s",
                vec![run.usage.wall.as_secs_f64()],
            ),
            Figure::new("  its CPU", "s", vec![run.usage.cpu.as_secs_f64()]),
            Figure::new("  its peak memory", "MB", vec![run.peak]).aim("< 300", ""),
        ])
    }

    fn simulated(&self, options: &[&str]) -> anyhow::Result<(SandboxProcess, Bowline)> {
        let options = [&["--accept-any-credentials"], options].concat();
        let sandbox = SandboxProcess::start_with(self.program, "fast", "0", &options)?;
        let bowline = Bowline::new(self.program, &sandbox.environment);
        Ok((sandbox, bowline))
    }
}

fn started(
    bowline: &Bowline,
    words: &[&str],
) -> anyhow::Result<(
    Running,
    impl Iterator<Item = std::io::Result<String>> + use<>,
)> {
    let mut child = bowline
        .command(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    Ok((Running::new(child), BufReader::new(stdout).lines()))
}

fn run(bowline: &Bowline, words: &[&str], code: i32) -> anyhow::Result<Run> {
    let begun = Instant::now();
    let (running, lines) = started(bowline, words)?;
    let (mut peak, mut summary, mut problems) = (0.0, Value::Null, 0);
    for line in lines {
        let event: Value = serde_json::from_str(&line?)?;
        if event["type"] == "fleet" {
            problems = event["problems"].as_array().map_or(0, Vec::len);
        } else if event["type"] == "ended" {
            // Once everything is read the process may be gone.
            peak = running.peak_memory().unwrap_or(peak);
        } else if event["type"] == "summary" {
            summary = event;
        }
    }
    Ok(Run {
        usage: running.finish_with(begun, code)?,
        peak,
        summary,
        problems,
    })
}
