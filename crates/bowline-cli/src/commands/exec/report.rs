//! What exec prints: the command's streams as they are, or events as JSON lines.

use std::fs;
use std::path::Path;

use base64::Engine;
use bowline::session::exec::ExecEvent;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::writer::Stream;

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Report {
    /// stdout to stdout, stderr to stderr.
    Streams,
    /// One JSON object a line, on stdout.
    Json,
}

impl Report {
    /// The bytes of an event and where they belong; everything else is said on stderr.
    pub(in crate::commands) fn event(
        self,
        event: &ExecEvent,
        context: &Context,
    ) -> Option<(Stream, Bytes)> {
        let value = match (self, event) {
            (Self::Streams, ExecEvent::Stdout(bytes)) => {
                return Some((Stream::Stdout, bytes.clone()));
            }
            (Self::Streams, ExecEvent::Stderr(bytes)) => {
                return Some((Stream::Stderr, bytes.clone()));
            }
            (Self::Streams, ExecEvent::Notice(text)) => {
                context.printer.note(text);
                return None;
            }
            (Self::Streams, ExecEvent::Started { session_id }) => {
                tracing::info!(session = session_id, "the command runs");
                return None;
            }
            (Self::Json, ExecEvent::Stdout(bytes)) => output("stdout", bytes),
            (Self::Json, ExecEvent::Stderr(bytes)) => output("stderr", bytes),
            (Self::Json, ExecEvent::Notice(text)) => json!({"type": "notice", "text": text}),
            (Self::Json, ExecEvent::Started { session_id }) => {
                json!({"type": "started", "sessionId": session_id})
            }
            _ => return None,
        };
        Some((Stream::Stdout, line(&value).into()))
    }

    /// The last JSON line says where the code comes from, so that 125 and 127 are never ambiguous.
    pub(in crate::commands) fn last_line(
        self,
        ended: &Result<ExitCode, CommandError>,
        file: Option<&Path>,
        context: &Context,
    ) -> Result<(), CommandError> {
        let last = match ended {
            Ok(ExitCode::Remote(code)) => json!({"type": "exit", "origin": "remote", "code": code}),
            Ok(code) => json!({"type": "exit", "origin": "bowline", "code": code.value()}),
            Err(error) => json!({
                "type": "exit",
                "origin": "bowline",
                "code": error.exit_code().value(),
                "reason": error.to_string(),
            }),
        };
        if let Some(file) = file {
            fs::write(file, line(&last)).map_err(|error| {
                CommandError::new(
                    ErrorKind::Unavailable,
                    format!("cannot write {}: {error}", file.display()),
                )
            })?;
        }
        match self {
            Self::Streams => Ok(()),
            Self::Json => context.printer.bytes(&line(&last)),
        }
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
