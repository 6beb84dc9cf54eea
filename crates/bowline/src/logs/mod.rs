//! What containers write, from CloudWatch Logs: complete, in order within each stream, and followed as it comes.

mod bell;
mod discover;
mod exec_logs;
pub(crate) mod follow;
mod place;
mod query;
mod reader;
mod request;
pub(crate) use self::reader::may_pass;
pub(crate) mod sources;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::follow::Event;
pub use self::place::{LogPlace, LogStream, place};
pub use self::request::{LogError, LogEvent, LogReading, LogRequest};
use crate::model::Task;

/// How long output is read after a container has stopped, if nobody says otherwise.
pub const DEFAULT_LOG_WAIT: Duration = follow::Drain::CAP;

/// One line of a container's output: an event of its log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// Who wrote it.
    pub writer: Writer,
    /// When the log driver read it.
    pub time: Timestamp,
    /// When CloudWatch Logs had it.
    pub ingested: Timestamp,
    /// The text, without a newline at its end. Lines longer than 16 KB are several events.
    pub message: String,
}

/// Who writes into a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writer {
    /// One container.
    Container {
        /// The task's id.
        task: Arc<str>,
        /// The container's name.
        container: Arc<str>,
    },
    /// Several containers or tasks: which of them wrote a line is not to be known.
    Shared {
        /// The stream's name.
        stream: Arc<str>,
    },
}

impl Writer {
    fn of(task: &Task, container: &str, stream: &LogStream) -> Self {
        match stream.shared {
            true => Self::Shared {
                stream: stream.stream.as_str().into(),
            },
            false => Self::Container {
                task: task.task_id.as_str().into(),
                container: container.into(),
            },
        }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { container, .. } => write!(f, "container {container}"),
            Self::Shared { stream } => write!(f, "log stream {stream}"),
        }
    }
}

impl LogLine {
    fn new(writer: &Writer, event: Event) -> Self {
        let time = |millis| Timestamp::from_millisecond(millis).unwrap_or_default();
        Self {
            writer: writer.clone(),
            time: time(event.timestamp),
            ingested: time(event.ingested),
            message: event.message,
        }
    }
}
