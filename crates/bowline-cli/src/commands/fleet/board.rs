//! The table on the terminal while it runs: counts, and the targets that have run the longest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bowline::fleet::{FleetEvent, FleetTarget};

use super::summary::Summary;
use crate::commands::Context;
use crate::terminal;

/// Targets that are shown.
const ROWS: usize = 8;

/// The table, drawn on stderr below everything else.
pub(super) struct Board {
    running: BTreeMap<usize, Row>,
    /// Lines that are on the screen.
    drawn: usize,
}

struct Row {
    since: Instant,
    state: &'static str,
}

impl Board {
    /// Where stderr is a terminal that can be drawn on.
    pub(super) fn on_terminal() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        (terminal::stderr_is_terminal() && !dumb).then(|| Self {
            running: BTreeMap::new(),
            drawn: 0,
        })
    }

    pub(super) fn note(&mut self, event: &FleetEvent) {
        match event {
            FleetEvent::Starting { target, .. } => {
                let row = Row {
                    since: Instant::now(),
                    state: "starting",
                };
                self.running.insert(*target, row);
            }
            FleetEvent::Started { target, .. } | FleetEvent::Launched { target, .. } => {
                if let Some(row) = self.running.get_mut(target) {
                    row.state = "running";
                }
            }
            FleetEvent::Again { target, .. } | FleetEvent::Ended { target, .. } => {
                self.running.remove(target);
            }
            _ => {}
        }
    }

    /// Takes it off the screen.
    pub(super) fn clear(&mut self, context: &Context) {
        if self.drawn > 0 {
            let up = std::mem::take(&mut self.drawn);
            // A closed stderr is no reason to end anything.
            let _ = context
                .printer
                .error_bytes(format!("\x1b[{up}A\r\x1b[J").as_bytes());
        }
    }

    pub(super) fn draw(
        &mut self,
        targets: &[FleetTarget],
        summary: &Summary,
        elapsed: Duration,
        context: &Context,
    ) {
        let columns = terminal::size().cols as usize;
        let lines = self.lines(targets, summary, elapsed, columns);
        let mut text = match self.drawn {
            0 => String::new(),
            up => format!("\x1b[{up}A\r\x1b[J"),
        };
        for line in &lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        self.drawn = lines.len();
        let _ = context.printer.error_bytes(text.as_bytes());
    }

    fn lines(
        &self,
        targets: &[FleetTarget],
        summary: &Summary,
        elapsed: Duration,
        columns: usize,
    ) -> Vec<String> {
        let mut rows: Vec<(&usize, &Row)> = self.running.iter().collect();
        rows.sort_by_key(|(_, row)| row.since);
        let more = rows.len().saturating_sub(ROWS);
        let mut lines: Vec<String> = rows
            .into_iter()
            .take(ROWS)
            .map(|(target, row)| {
                let seconds = row.since.elapsed().as_secs();
                let label = &targets[*target].label;
                format!("  {:<10} {seconds:>4}s  {label}", row.state)
            })
            .collect();
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
        let mut counts = String::new();
        let waiting = summary.open().saturating_sub(self.running.len());
        for (count, word) in summary.counts() {
            let _ = write!(counts, "{count} {word}  ");
        }
        let _ = write!(
            counts,
            "{} running  {waiting} waiting  {}s",
            self.running.len(),
            elapsed.as_secs()
        );
        lines.push(counts);
        for line in &mut lines {
            // A line that wraps would make the table grow upwards.
            *line = line.chars().take(columns.saturating_sub(1)).collect();
        }
        lines
    }
}
