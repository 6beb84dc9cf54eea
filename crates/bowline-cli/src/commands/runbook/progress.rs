//! A run as it is seen: lines and a living one at a terminal, events as JSON otherwise.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Instant;

use bowline_runbook::{Event, Status};
use serde_json::Value;

use super::run::Outputs;
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::printer::Printer;
use crate::terminal;

/// Shows events.
pub(super) struct Progress {
    printer: Printer,
    as_events: bool,
    /// The living line can be written over.
    lives: bool,
    shown: bool,
    /// Nobody takes what is written to stdout.
    unread: bool,
    step: Option<Current>,
    steps: Vec<(String, Status)>,
}

struct Current {
    name: String,
    since: Instant,
    limit: Option<u64>,
    detail: String,
}

impl Progress {
    pub(super) fn new(context: &Context, folder: Option<&Path>) -> Self {
        let as_events = match context.global.output {
            Some(OutputFormat::Json | OutputFormat::Ndjson) => true,
            Some(_) => false,
            None => !std::io::stdout().is_terminal(),
        };
        if let Some(folder) = folder.filter(|_| !as_events) {
            context
                .printer
                .note(&format!("the run is kept in {}", folder.display()));
        }
        Self {
            printer: context.printer,
            as_events,
            lives: !as_events && terminal::stderr_is_terminal(),
            shown: false,
            unread: false,
            step: None,
            steps: Vec::new(),
        }
    }

    /// One event. What nobody reads any more is no reason to leave a run half-way: its end is still to be told, by the
    /// exit code.
    pub(super) fn show(&mut self, event: &Event) {
        let shown = match self.as_events {
            true => self.line(event),
            false => self.text(event),
        };
        let Err(error) = shown else {
            return;
        };
        if !std::mem::replace(&mut self.unread, true) && error.kind() != ErrorKind::ReaderGone {
            let text = format!("cannot write the output: {error}; the run goes on");
            self.printer.warning(&text);
        }
    }

    fn line(&self, event: &Event) -> Result<(), CommandError> {
        if self.unread {
            return Ok(());
        }
        let line = serde_json::to_string(event)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        self.printer.document(&format!("{line}\n"))
    }

    fn text(&mut self, event: &Event) -> Result<(), CommandError> {
        self.clear();
        match event {
            Event::RunStart {
                execution_id,
                steps,
            } => {
                self.steps = steps
                    .iter()
                    .map(|step| (step.clone(), Status::Pending))
                    .collect();
                self.printer.note(&format!("run {execution_id}"));
            }
            Event::StepStart {
                step,
                action,
                attempt,
                attempts,
                limit,
            } => {
                let again = if *attempt > 1 {
                    format!("  attempt {attempt} of {attempts}")
                } else {
                    String::new()
                };
                self.printer
                    .note(&format!("\u{25b6} {step}  {action}{again}"));
                self.step = Some(Current {
                    name: step.clone(),
                    since: Instant::now(),
                    limit: *limit,
                    detail: String::new(),
                });
            }
            Event::StepWaiting { r#for, .. } => {
                self.printer.note(&format!("  waits for {for}"));
                self.detail(format!("waits for {for}"));
            }
            Event::StepPoll {
                value,
                desired,
                elapsed,
                ..
            } => {
                let value = value.as_deref().unwrap_or("nothing yet");
                self.printer.note(&format!(
                    "  {elapsed:>4} s  {value}, wanted {}",
                    desired.join(" or ")
                ));
                self.detail(format!("{value}, wanted {}", desired.join(" or ")));
            }
            Event::StepRetry { error, delay, .. } => {
                self.printer
                    .note(&format!("  failed: {error}\n  again in {delay} ms"));
            }
            Event::StepChild { event, .. } => self.below(event, 1),
            Event::StepNote { note, .. } => self.printer.note(&format!("  {note}")),
            Event::StepEnd {
                step,
                status,
                outputs,
                error,
            } => self.ended(step, *status, outputs, error.as_deref()),
            Event::StepJump { to, why, .. } if !matches!(why.as_str(), "sequence" | "isEnd") => {
                self.printer.note(&format!(
                    "  \u{2192} {} ({why})",
                    to.as_deref().unwrap_or("END")
                ));
            }
            Event::RunEnd {
                status,
                outputs,
                failure,
            } => self.summary(*status, outputs, failure.as_deref())?,
            _ => {}
        }
        Ok(())
    }

    /// Renews the living line.
    pub(super) fn tick(&mut self) {
        let Some(step) = self.step.as_ref().filter(|_| self.lives) else {
            return;
        };
        let elapsed = step.since.elapsed().as_secs();
        let limit = step
            .limit
            .map(|limit| format!(" of {limit}"))
            .unwrap_or_default();
        let line: String = format!("{}  {elapsed}{limit} s  {}", step.name, step.detail)
            .chars()
            .take(78)
            .collect();
        self.printer.prompt(&format!("\r\u{1b}[K{line}"));
        self.shown = true;
    }

    /// Takes the living line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.printer.prompt("\r\u{1b}[K");
            self.shown = false;
        }
    }

    /// A remark on stderr.
    pub(super) fn note(&mut self, text: &str) {
        self.clear();
        self.printer.note(text);
    }

    /// What happens in a runbook that a step runs.
    fn below(&self, event: &Event, depth: usize) {
        let indent = "    ".repeat(depth);
        let line = match event {
            Event::RunStart { execution_id, .. } => format!("run {execution_id}"),
            Event::StepStart { step, action, .. } => format!("\u{25b6} {step}  {action}"),
            Event::StepEnd {
                step,
                status,
                error,
                ..
            } => match error {
                Some(error) => format!("{step}  {status}: {error}"),
                None => format!("{step}  {status}"),
            },
            Event::StepChild { event, .. } => return self.below(event, depth + 1),
            _ => return,
        };
        let line = line.replace('\n', &format!("\n{indent}"));
        self.printer.note(&format!("{indent}{line}"));
    }

    fn detail(&mut self, detail: String) {
        if let Some(step) = &mut self.step {
            step.detail = detail;
        }
    }

    fn ended(&mut self, step: &str, status: Status, outputs: &Outputs, error: Option<&str>) {
        let elapsed = self
            .step
            .take()
            .map(|it| it.since.elapsed().as_secs())
            .unwrap_or_default();
        let mark = match status {
            Status::Success => "\u{2713}",
            _ => "\u{2717}",
        };
        self.printer
            .note(&format!("{mark} {step}  {status}  {elapsed} s"));
        if let Some(known) = self.steps.iter_mut().find(|it| it.0 == step) {
            known.1 = status;
        }
        if let Some(error) = error {
            self.printer
                .note(&format!("  {}", error.replace('\n', "\n  ")));
        }
        for (name, value) in outputs
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Output" | "OutputPayload"))
        {
            let text = match (name.as_str(), value) {
                ("LogResult", Value::String(text)) => decoded(text),
                (_, Value::String(text)) => text.clone(),
                (_, other) => other.to_string(),
            };
            let short: String = text.trim_end().chars().take(300).collect();
            self.printer
                .note(&format!("  {name}: {}", short.replace('\n', "\n    ")));
        }
    }

    fn summary(
        &self,
        status: Status,
        outputs: &Outputs,
        failure: Option<&str>,
    ) -> Result<(), CommandError> {
        let width = self
            .steps
            .iter()
            .map(|it| it.0.chars().count())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for (step, status) in &self.steps {
            let _ = writeln!(text, "{step:width$}  {status}");
        }
        let _ = writeln!(text, "\n{status}");
        for (name, value) in outputs {
            let _ = writeln!(text, "{name}: {value}");
        }
        let written = self.printer.document(&text);
        if let Some(failure) = failure {
            self.printer.note(failure);
        }
        written
    }
}

/// The log of a function, which comes as base64.
fn decoded(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map_or_else(
        |_| text.to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}
