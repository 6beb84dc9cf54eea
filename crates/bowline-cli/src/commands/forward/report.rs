//! What forward says: little on stderr, or every event as a JSON line on stdout.

use std::time::Duration;

use bowline::ResolvedTarget;
use bowline::forward::{BoundTo, ForwardEvent, ForwardSpec};
use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::commands::run::report::short;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Talk,
    Json,
}

impl Report {
    pub(super) fn new(context: &Context) -> Result<Self, CommandError> {
        match context.global.output {
            None => Ok(Self::Talk),
            Some(OutputFormat::Json | OutputFormat::Ndjson) => Ok(Self::Json),
            Some(_) => Err(CommandError::usage(
                "forward prints nothing, or events with -o json",
            )),
        }
    }

    pub(super) fn last_line(
        self,
        ended: &Result<ExitCode, CommandError>,
        context: &Context,
    ) -> Result<(), CommandError> {
        let last = match ended {
            Ok(code) => json!({"type": "exit", "code": code.value()}),
            Err(error) => json!({
                "type": "exit",
                "code": error.exit_code().value(),
                "reason": error.to_string(),
            }),
        };
        match self {
            Self::Talk => Ok(()),
            Self::Json => context.printer.document(&format!("{last}\n")),
        }
    }
}

/// What is said about events.
pub(super) struct Lines<'a> {
    pub(super) report: Report,
    pub(super) specs: &'a [ForwardSpec],
    pub(super) bound: Vec<BoundTo>,
    pub(super) target: &'a ResolvedTarget,
}

impl Lines<'_> {
    /// Says what happened. Whoever started us in the background does not listen any more once all is ready: `told` is
    /// false then.
    pub(super) fn show(
        &self,
        event: &ForwardEvent,
        context: &Context,
        told: bool,
    ) -> Result<(), CommandError> {
        context.record_event(|| self.document(event).unwrap_or_default());
        match self.report {
            Report::Json if told => match self.document(event) {
                Some(document) => context.printer.document(&format!("{document}\n")),
                None => Ok(()),
            },
            Report::Talk | Report::Json => {
                if let Some(text) = self.text(event, context.global.verbose > 0) {
                    context.printer.note(&text);
                }
                Ok(())
            }
        }
    }

    /// `127.0.0.1:5432 to db.internal:5432`
    fn way(&self, forward: usize) -> String {
        let (from, to) = (self.bound.get(forward), self.specs.get(forward));
        match (from, to) {
            (Some(from), Some(spec)) => match &spec.remote.host {
                Some(_) => format!("{from} to {}", spec.remote),
                None => format!("{from} to port {}", spec.remote.port),
            },
            _ => String::new(),
        }
    }

    fn from(&self, forward: usize) -> String {
        self.bound
            .get(forward)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn text(&self, event: &ForwardEvent, verbose: bool) -> Option<String> {
        let text = match event {
            ForwardEvent::Ready {
                forward,
                task,
                container,
                again: false,
                single,
                ..
            } => {
                let through = self.specs.get(*forward)?.remote.host.is_some();
                let how = if through { "through" } else { "of" };
                let old = match single {
                    true => "; its agent is old and serves one connection at a time",
                    false => "",
                };
                format!(
                    "forwarding {} {how} {} (task {}, container {container}){old}",
                    self.way(*forward),
                    self.target,
                    short(task),
                )
            }
            ForwardEvent::Ready {
                forward,
                task,
                after,
                ..
            } => format!(
                "{}: forwarding again, through task {}{}",
                self.from(*forward),
                short(task),
                after.map_or_else(String::new, |span| format!(", after {}", seconds(span))),
            ),
            ForwardEvent::Down { forward, reason } => format!(
                "{}: {reason}; starting another session, new connections wait for it",
                self.from(*forward)
            ),
            ForwardEvent::Unreachable { forward } => format!(
                "{}: the task cannot connect to {}",
                self.from(*forward),
                self.specs.get(*forward)?.remote,
            ),
            ForwardEvent::Notice {
                forward,
                text,
                minor,
            } if verbose || !minor => format!("{}: {text}", self.from(*forward)),
            ForwardEvent::Opened {
                forward,
                connection,
                peer,
            } if verbose => format!(
                "{}: connection {connection} from {peer}",
                self.from(*forward)
            ),
            ForwardEvent::Closed {
                forward,
                connection,
                cause: Some(cause),
                ..
            } => format!(
                "{}: connection {connection} was broken off: {cause}",
                self.from(*forward)
            ),
            ForwardEvent::Closed {
                forward,
                connection,
                sent,
                received,
                lasted,
                ..
            } if verbose => format!(
                "{}: connection {connection} closed after {}: {sent} bytes sent, {received} received",
                self.from(*forward),
                seconds(*lasted),
            ),
            _ => return None,
        };
        Some(text)
    }

    pub(super) fn document(&self, event: &ForwardEvent) -> Option<Value> {
        let document = match event {
            ForwardEvent::Ready {
                forward,
                session_id,
                task,
                container,
                again,
                after,
                ..
            } => {
                let spec = self.specs.get(*forward)?;
                let mut value = json!({
                    "type": "ready",
                    "forward": forward,
                    "spec": spec.to_string(),
                    "remotePort": spec.remote.port,
                    "sessionId": session_id,
                    "taskId": task,
                    "container": container,
                    "again": again,
                });
                match self.bound.get(*forward)? {
                    BoundTo::Tcp(address) => {
                        value["address"] = json!(address.ip());
                        value["port"] = json!(address.port());
                    }
                    BoundTo::Unix(path) => value["socket"] = json!(path),
                }
                if let Some(host) = &spec.remote.host {
                    value["remoteHost"] = json!(host);
                }
                if let Some(after) = after {
                    value["afterSeconds"] = json!(after.as_secs_f64());
                }
                value
            }
            ForwardEvent::Down { forward, reason } => {
                json!({"type": "down", "forward": forward, "reason": reason})
            }
            ForwardEvent::Opened {
                forward,
                connection,
                peer,
            } => {
                json!({"type": "opened", "forward": forward, "connection": connection, "peer": peer})
            }
            ForwardEvent::Closed {
                forward,
                connection,
                sent,
                received,
                lasted,
                cause,
            } => {
                let mut value = json!({
                    "type": "closed",
                    "forward": forward,
                    "connection": connection,
                    "sent": sent,
                    "received": received,
                    "seconds": lasted.as_secs_f64(),
                });
                if let Some(cause) = cause {
                    value["cause"] = json!(cause);
                }
                value
            }
            ForwardEvent::Unreachable { forward } => {
                json!({"type": "unreachable", "forward": forward})
            }
            ForwardEvent::Notice { forward, text, .. } => {
                json!({"type": "notice", "forward": forward, "text": text})
            }
            _ => return None,
        };
        Some(document)
    }
}

fn seconds(span: Duration) -> String {
    match span.as_secs_f64() {
        short if short < 10.0 => format!("{short:.1} s"),
        long => format!("{long:.0} s"),
    }
}
