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

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::follow::Event;
pub use self::place::{LogPlace, LogStream, place};
pub use self::request::{LogError, LogEvent, LogReading, LogRequest};

/// How long output is read after a container has stopped, if nobody says otherwise.
pub const DEFAULT_LOG_WAIT: Duration = follow::Drain::CAP;

/// One line of a container's output: an event of its log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// The task's id.
    pub task: Arc<str>,
    /// The container's name.
    pub container: Arc<str>,
    /// When the log driver read it.
    pub time: Timestamp,
    /// When CloudWatch Logs had it.
    pub ingested: Timestamp,
    /// The text, without a newline at its end. Lines longer than 16 KB are several events.
    pub message: String,
}

impl LogLine {
    fn new(task: &Arc<str>, container: &Arc<str>, event: Event) -> Self {
        let time = |millis| Timestamp::from_millisecond(millis).unwrap_or_default();
        Self {
            task: Arc::clone(task),
            container: Arc::clone(container),
            time: time(event.timestamp),
            ingested: time(event.ingested),
            message: event.message,
        }
    }
}
