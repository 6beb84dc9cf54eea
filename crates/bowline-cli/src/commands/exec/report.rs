//! What exec prints: the command's streams as they are, or events as JSON lines.

use base64::Engine;
use bowline::session::exec::ExecEvent;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// stdout to stdout, stderr to stderr.
    Streams,
    /// One JSON object a line, on stdout.
    Json,
}

impl Report {
    /// The bytes for stdout of an event, if there are any; everything else is said on stderr.
    pub(super) fn event(self, event: &ExecEvent, context: &Context) -> Option<Vec<u8>> {
        match (self, event) {
            (Self::Streams, ExecEvent::Stdout(bytes)) => return Some(bytes.to_vec()),
            (Self::Streams, ExecEvent::Stderr(bytes)) => {
                // A closed stderr is no reason to end the command.
                let _ = context.printer.error_bytes(bytes);
            }
            (Self::Streams, ExecEvent::Notice(text)) => context.printer.note(text),
            (Self::Json, ExecEvent::Stdout(bytes)) => return Some(line(&output("stdout", bytes))),
            (Self::Json, ExecEvent::Stderr(bytes)) => return Some(line(&output("stderr", bytes))),
            (Self::Json, ExecEvent::Notice(text)) => {
                return Some(line(&json!({"type": "notice", "text": text})));
            }
            (Self::Json, ExecEvent::Started { session_id }) => {
                return Some(line(&json!({"type": "started", "sessionId": session_id})));
            }
            (_, ExecEvent::Started { session_id }) => {
                tracing::info!(session = session_id, "the command runs");
            }
            _ => {}
        }
        None
    }

    /// The last JSON line says where the code comes from, so that 125 and 127 are never ambiguous.
    pub(super) fn last_line(
        self,
        ended: &Result<ExitCode, CommandError>,
        context: &Context,
    ) -> Result<(), CommandError> {
        if self == Self::Streams {
            return Ok(());
        }
        let last = match ended {
            Ok(ExitCode::Remote(code)) => json!({"type": "exit", "origin": "remote", "code": code}),
            Ok(code) => json!({"type": "exit", "origin": "bowline", "code": code.value()}),
            Err(error) => json!({
                "type": "exit", "origin": "bowline", "code": error.exit_code().value(), "reason": error.to_string(),
            }),
        };
        context.printer.bytes(&line(&last))
    }
}

/// Text where it is text, base64 where it is not.
fn output(kind: &str, bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({"type": kind, "text": text}),
        Err(_) => {
            json!({"type": kind, "base64": base64::engine::general_purpose::STANDARD.encode(bytes)})
        }
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}
