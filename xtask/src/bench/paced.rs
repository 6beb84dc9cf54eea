//! With an agent that is paced as the real one, and the memory of a command that does nothing.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::figures::Figure;
use super::measure::{Bench, MB, SERVICE, letters, rate};
use super::process::{Bowline, Running, SandboxProcess};
use super::terminal::Terminal;

/// How often a memory is looked at.
const OFTEN: Duration = Duration::from_millis(20);

impl Bench<'_> {
    /// 1 MB each way with the framed engine.
    pub(super) fn paced(&self) -> anyhow::Result<Vec<Figure>> {
        let sandbox = SandboxProcess::start(self.program, "stock", "0")?;
        let bowline = Bowline::new(self.program, &sandbox.environment);
        let command = letters(MB);
        let out = ["exec", SERVICE, "--", "sh", "-c", &command];
        let into = ["exec", "-i", SERVICE, "--", "sh", "-c", "cat >/dev/null"];
        let cases: [(&str, &[&str], usize, usize); 2] = [
            ("exec, framed, paced agent, 1 MB out", &out, 0, MB),
            ("exec -i, framed, paced agent, 1 MB in", &into, MB, 0),
        ];
        let mut figures = Vec::new();
        for (name, arguments, input, output) in cases {
            let mut rates = Vec::new();
            for _ in 0..self.transfers {
                let usage = bowline.transfer(arguments, input, output)?;
                rates.push(rate(usage.wall, MB));
            }
            figures.push(Figure::new(name, "MB/s", rates).aim(">= 0.5", ""));
        }
        Ok(figures)
    }

    /// The most memory bowline has while the command sleeps.
    pub(super) fn resident(&self) -> anyhow::Result<Vec<Figure>> {
        let (mut framed, mut tty) = (Vec::new(), Vec::new());
        let program = self.program.to_string_lossy();
        for _ in 0..self.transfers {
            let begun = Instant::now();
            let child = self
                .bowline
                .command(&["exec", SERVICE, "--", "sleep", "1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            let running = Running::new(child);
            framed.push(peak(|| running.peak_memory()));
            running.finish(begun)?;

            let words = [&*program, "exec", "-t", SERVICE, "--", "sleep", "1"];
            let terminal = Terminal::start(&words, &self.sandbox.environment)?;
            tty.push(peak(|| terminal.peak_memory()));
            terminal.finish()?;
        }
        let aim = |figure: Figure| figure.aim("<= 15 MB", "25 + 58 MB");
        Ok(vec![
            aim(Figure::new("peak memory, exec -- sleep 1", "MB", framed)),
            aim(Figure::new("peak memory, exec -t -- sleep 1", "MB", tty)),
        ])
    }
}

/// The kernel keeps the peak, but not past the end of the process.
fn peak(memory: impl Fn() -> anyhow::Result<f64>) -> f64 {
    let mut last = f64::NAN;
    while let Ok(megabytes) = memory() {
        last = megabytes;
        thread::sleep(OFTEN);
    }
    last
}
