//! What a recording says of a session: how it began, what happened, how it ended.

use bowline_proto::Size;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::redact::Patterns;
use crate::session::exec::Engine;

/// How a recorded session begins: who does what where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// The verb: `exec`, `login`, …
    pub verb: String,
    /// What is run there.
    pub argv: Vec<String>,
    /// Where, as an object: cluster, service, task, container.
    pub target: Value,
    /// Who, as AWS sees them: an object with arn, account and userId, or null if that could not be learned.
    pub caller: Value,
    /// The account of the target.
    pub account: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The name of the user of this machine.
    pub user: Option<String>,
    /// Further members.
    pub more: Value,
    /// The size of the terminal, for recordings of one.
    pub terminal: Option<Size>,
}

impl Start {
    /// The beginning of `verb`, with nothing else known.
    #[must_use]
    pub fn new(verb: impl Into<String>, argv: Vec<String>) -> Self {
        Self {
            verb: verb.into(),
            argv,
            target: Value::Null,
            caller: Value::Null,
            account: None,
            region: None,
            user: None,
            more: Value::Null,
            terminal: None,
        }
    }

    /// As it is written: without secrets.
    pub(super) fn document(
        &self,
        id: &str,
        began: Timestamp,
        input: bool,
        patterns: &Patterns,
    ) -> Value {
        let mut document = json!({
            "type": "start",
            "format": "bowline-record",
            "version": 1,
            "id": id,
            "bowline": env!("CARGO_PKG_VERSION"),
            "verb": self.verb,
            "argv": patterns.argv(&self.argv),
            "began": began.to_string(),
            "caller": self.caller,
            "account": self.account,
            "region": self.region,
            "user": self.user,
            "target": self.target,
            "input": input,
            "redacted": patterns.names(),
        });
        if let (Some(document), Some(more)) = (document.as_object_mut(), self.more.as_object()) {
            let more = more
                .iter()
                .map(|(name, value)| (name.clone(), patterns.value(value)));
            document.extend(more);
        }
        document
    }
}

/// Which stream bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// The command's stdout, or its terminal.
    Stdout,
    /// The command's stderr.
    Stderr,
}

/// How a recorded session ends.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct End {
    /// The command's own exit code, if it was learned.
    pub code: Option<i64>,
    /// Why it is over, if not by the command's end.
    pub reason: Option<String>,
}

impl End {
    /// The command has ended.
    #[must_use]
    pub fn exit(code: i64) -> Self {
        Self {
            code: Some(code),
            reason: None,
        }
    }

    /// It is over for another reason.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: Some(reason.into()),
        }
    }
}

/// On the way to the file.
#[derive(Debug)]
pub(super) enum Entry {
    Output(Output, Bytes),
    Input(Bytes),
    Resize(Size),
    /// Something that happened, as an object with a type.
    Event(Value),
    End(End),
}

/// Whether an engine's output is a terminal's.
pub(super) fn is_terminal(engine: Engine) -> bool {
    matches!(engine, Engine::Tty | Engine::Shell)
}
