//! Towards the command: keys on a terminal, and a file as fast as a terminal takes it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::figures::Figure;
use super::measure::{Bench, MB, SERVICE, cost, milliseconds, rate};
use super::process::{Running, Usage, feed};
use super::terminal::Terminal;

/// One after the other.
const KEYS: usize = 500;
/// Before them; what is first is slower.
const WARM: usize = 20;
/// Through a terminal.
const INPUT: usize = 50 * MB;
const LOCAL: &str = "local terminal";

impl Bench<'_> {
    /// A key there and back, beside the same on a terminal without bowline.
    pub(super) fn echo(&self) -> anyhow::Result<Vec<Figure>> {
        // Byte by byte, and unlike `cat` it comes to an end in raw mode.
        let script = format!(
            "stty raw -echo; printf ready; dd bs=1 count={} 2>/dev/null",
            WARM + KEYS
        );
        let program = self.program.to_string_lossy();
        let local = ["sh", "-c", &script];
        let ours = [&[&*program, "exec", "-t", SERVICE, "--"], &local[..]].concat();
        let [mut half, mut most, mut local_half, mut local_most] = [const { Vec::new() }; 4];
        for _ in 0..self.transfers {
            let times = self.keys(&ours)?;
            half.push(at(&times, 50));
            most.push(at(&times, 99));
            let times = self.keys(&local)?;
            local_half.push(at(&times, 50));
            local_most.push(at(&times, 99));
        }
        Ok(vec![
            Figure::new("key there and back, exec -t, p50", "ms", half)
                .beside(LOCAL, local_half)
                .aim("<= 0.3 ms", "1.3 ms"),
            Figure::new("  p99", "ms", most).beside(LOCAL, local_most),
        ])
    }

    /// Sorted.
    fn keys(&self, words: &[&str]) -> anyhow::Result<Vec<Duration>> {
        let mut terminal = Terminal::start(words, &self.sandbox.environment)?;
        terminal.until("ready")?;
        let mut times = Vec::with_capacity(KEYS);
        for key in 0..WARM + KEYS {
            let begun = Instant::now();
            terminal.press(b'k')?;
            if key >= WARM {
                times.push(begun.elapsed());
            }
        }
        terminal.finish()?;
        times.sort();
        Ok(times)
    }

    /// A pipe's bytes into a remote terminal, beside the same into a terminal here.
    pub(super) fn stdin(&self) -> anyhow::Result<Vec<Figure>> {
        let script = format!("stty raw -echo; echo ready; head -c {INPUT} | wc -c");
        let local = ["sh", "-c", &script];
        let [mut rates, mut costs, mut least] = [const { Vec::new() }; 3];
        for _ in 0..self.transfers {
            let (taken, usage) = self.fill_terminal(&local)?;
            rates.push(rate(taken, INPUT));
            costs.push(cost(&usage, INPUT));
            let mut terminal = Terminal::start(&local, &self.sandbox.environment)?;
            terminal.until("ready")?;
            let begun = Instant::now();
            feed(terminal.keyboard(), INPUT);
            terminal.until(&INPUT.to_string())?;
            least.push(rate(begun.elapsed(), INPUT));
            terminal.finish()?;
        }
        let figure = Figure::new("exec -i --engine tty, 50 MB in", "MB/s", rates);
        Ok(vec![
            figure.beside(LOCAL, least).aim(">= 50", "0.8 MB/s"),
            Figure::new("  processor time per 1 KiB", "us", costs),
        ])
    }

    /// From the first byte to the answer that all of them came, and what the whole process needed. What a terminal
    /// gets before it is raw is lost, so the input waits for the command.
    fn fill_terminal(&self, command: &[&str]) -> anyhow::Result<(Duration, Usage)> {
        let words = [&["exec", "-i", "--engine", "tty", SERVICE, "--"], command].concat();
        let started = Instant::now();
        let mut child = self
            .bowline
            .command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let running = Running::new(child);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        if line.trim_end() != "ready" {
            bail!("{line:?} came in place of the command's first line");
        }
        let begun = Instant::now();
        feed(stdin, INPUT);
        line.clear();
        stdout.read_line(&mut line)?;
        let taken = begun.elapsed();
        if line.trim() != INPUT.to_string() {
            bail!("{line:?} of {INPUT} bytes came");
        }
        Ok((taken, running.finish(started)?))
    }
}

/// Of the sorted times, the one that so many of a hundred are below, in milliseconds.
fn at(times: &[Duration], percent: usize) -> f64 {
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).copied().map_or(f64::NAN, milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_nearly_all_of_a_hundred() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert!((at(&times, 50) - 51.0).abs() < 1e-9);
        assert!((at(&times, 99) - 100.0).abs() < 1e-9);
    }
}
