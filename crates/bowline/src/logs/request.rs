//! What to read, and what comes of it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{DEFAULT_LOG_WAIT, LogLine, worker};
use crate::target::TargetError;
use crate::{AwsError, Client, TargetOptions, TargetSpec};

/// Events on their way to the reader.
const EVENTS: usize = 64;

/// Whose output to read, and which part of it.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// All containers of all tasks that any of these match; a container in a target leaves out the others. Without
    /// any, the only service or task of the cluster.
    pub targets: Vec<TargetSpec>,
    /// What narrows the targets down.
    pub options: TargetOptions,
    /// Go on with what comes, through redeployments.
    pub follow: bool,
    /// From here on.
    pub since: Option<Timestamp>,
    /// Up to here, without it. Excludes `follow`.
    pub until: Option<Timestamp>,
    /// The last lines of each container only; `None` means all.
    pub tail: Option<usize>,
    /// The tasks that have stopped, in place of those that run.
    pub previous: bool,
    /// The logs of ECS Exec sessions in place of the containers' output.
    pub exec: bool,
    /// With `exec`: the logs as they are. Without, what bowline's wrappers carried is shown as the command printed it.
    pub raw: bool,
    /// Let Live Tail tell what is new; the lines themselves are read as always. It costs by the minute.
    pub live: bool,
    /// See [`crate::run::RunOptions::log_wait`].
    pub log_wait: Duration,
}

impl LogRequest {
    /// Everything that these targets have written.
    #[must_use]
    pub fn new(targets: Vec<TargetSpec>) -> Self {
        Self {
            targets,
            options: TargetOptions::default(),
            follow: false,
            since: None,
            until: None,
            tail: None,
            previous: false,
            exec: false,
            raw: false,
            live: false,
            log_wait: DEFAULT_LOG_WAIT,
        }
    }
}

/// What comes. The last event is [`LogEvent::Ended`] or [`LogEvent::Failed`].
#[derive(Debug)]
#[non_exhaustive]
pub enum LogEvent {
    /// Lines, in order.
    Lines(Vec<LogLine>),
    /// Something a user may want to know.
    Notice(String),
    /// There is no more.
    Ended {
        /// Streams that could be read.
        readable: usize,
        /// Streams that could not be read, or maybe not to their end.
        unreadable: usize,
    },
    /// It could not be read.
    Failed(LogError),
}

/// Why logs could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The target was not found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// ECS remembers no stopped task of the target.
    #[error("{target} has no stopped task that ECS remembers")]
    NoPrevious {
        /// The target.
        target: String,
    },
    /// The cluster does not log ECS Exec sessions, or not to CloudWatch Logs.
    #[error("ECS Exec sessions in cluster {cluster} are not readable: {reason}")]
    NoExecLogs {
        /// The cluster.
        cluster: String,
        /// Why.
        reason: String,
    },
}

/// Logs being read. Dropping it ends the reading.
pub struct LogReading {
    events: mpsc::Receiver<LogEvent>,
}

impl Client {
    /// Reads logs. Nothing is awaited here: what goes wrong comes as an event.
    #[must_use]
    pub fn logs(&self, request: LogRequest) -> LogReading {
        let (to_reader, events) = mpsc::channel(EVENTS);
        // It ends by itself, and as soon as the reader is gone.
        self.sessions()
            .spawn(worker::run(self.clone(), request, to_reader));
        LogReading { events }
    }
}

impl LogReading {
    /// The next event; `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<LogEvent> {
        self.events.recv().await
    }
}
