//! What is remembered of an operation: who ran what, where and when, and what became of it.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use bowline::Client;
use bowline::operation::{Bound, Operation};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json::without_nulls;
use crate::writer::Stream;

/// Of each stream, in the result.
const TAIL: usize = 4096;

/// Kept while it runs.
pub(super) struct Ledger {
    name: String,
    who: Value,
    bound: Bound,
    place: Value,
    session: Option<String>,
    began: Timestamp,
    log: Option<(PathBuf, File)>,
    unlogged: Option<std::io::Error>,
    stdout: Kept,
    stderr: Kept,
}

#[derive(Default)]
struct Kept {
    hasher: Sha256,
    bytes: u64,
    tail: Vec<u8>,
}

impl Ledger {
    /// Begins; the log is opened first, lest something be run and not be written down.
    pub(super) async fn open(
        name: &str,
        operation: &Operation,
        bound: &Bound,
        client: &Client,
    ) -> Result<Self, CommandError> {
        let log = match &operation.log {
            Some(path) => {
                let file = File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|error| {
                        let text = format!("cannot write the log {}: {error}", path.display());
                        CommandError::new(ErrorKind::Unavailable, text)
                    })?;
                Some((path.clone(), file))
            }
            None => None,
        };
        let mut ledger = Self {
            name: name.to_owned(),
            who: json!({
                "caller": client.caller().await,
                "user": std::env::var("USER").ok(),
            }),
            bound: bound.clone(),
            place: Value::Null,
            session: None,
            began: Timestamp::now(),
            log,
            unlogged: None,
            stdout: Kept::default(),
            stderr: Kept::default(),
        };
        let head = format!(
            "--- {} {name} {}\n",
            ledger.began,
            super::shown(&ledger.bound.argv)
        );
        ledger.log(head.as_bytes());
        Ok(ledger)
    }

    pub(super) fn place(&mut self, place: Value) {
        self.place = place;
    }

    pub(super) fn session(&mut self, id: &str) {
        self.session = Some(id.to_owned());
    }

    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        kept.take(bytes);
        self.log(bytes);
    }

    /// The result; an error if the log is not whole.
    pub(super) fn close(
        mut self,
        ended: &Result<ExitCode, CommandError>,
    ) -> Result<Value, CommandError> {
        let now = Timestamp::now();
        let (origin, code, reason) = match ended {
            Ok(ExitCode::Remote(code)) => ("remote", *code, None),
            Ok(code) => ("bowline", code.value(), None),
            Err(error) => (
                "bowline",
                error.exit_code().value(),
                Some(error.to_string()),
            ),
        };
        let end = format!("--- {now} {} ended with {code}\n", self.name);
        self.log(end.as_bytes());
        if let (Some(error), Some((path, _))) = (&self.unlogged, &self.log) {
            let text = format!(
                "the log {} is not whole: {error} (the operation ended with {code})",
                path.display()
            );
            return Err(CommandError::new(ErrorKind::Unavailable, text));
        }
        Ok(without_nulls(json!({
            "operation": self.name,
            "who": self.who,
            "argv": self.bound.argv,
            "parameters": self.bound.values,
            "where": self.place,
            "session": self.session,
            "began": self.began.to_string(),
            "ended": now.to_string(),
            "seconds": (now.as_millisecond() - self.began.as_millisecond()) as f64 / 1000.0,
            "origin": origin,
            "code": code,
            "reason": reason,
            "stdout": self.stdout.document(),
            "stderr": self.stderr.document(),
            "log": self.log.map(|(path, _)| path.to_string_lossy().into_owned()),
        })))
    }

    fn log(&mut self, bytes: &[u8]) {
        if let Some((_, file)) = &mut self.log
            && let Err(error) = file.write_all(bytes)
        {
            self.unlogged.get_or_insert(error);
        }
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
    }

    fn document(self) -> Value {
        let digest: String = self
            .hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({
            "bytes": self.bytes,
            "sha256": digest,
            "tail": String::from_utf8_lossy(&self.tail),
        })
    }
}
