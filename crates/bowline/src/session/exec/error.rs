//! Why a command's end was not seen.

use std::time::Duration;

use super::framed::Damage;
use crate::AwsError;
use crate::record::RecordError;
use crate::session::ChannelError;
use crate::target::TargetError;

/// Sessions that ECS allows in one container at a time.
const SESSION_LIMIT: usize = 2;

/// Why a command could not be run, or why its exit code or some of its output is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It has to be recorded, and cannot be.
    #[error("no session without its recording: {0}")]
    Unrecorded(RecordError),
    /// There is nothing to run.
    #[error("no command was given")]
    NoCommand,
    /// The task was started without ECS Exec.
    #[error("ECS Exec is not enabled for task {task}")]
    NotEnabled {
        /// The task's id.
        task: String,
    },
    /// The exec agent has stopped.
    #[error("the exec agent in container {container} has stopped: {reason}")]
    AgentStopped {
        /// The container.
        container: String,
        /// ECS's words.
        reason: String,
    },
    /// The exec agent did not come up in time.
    #[error("container {container} was not ready for a command after {} s: {reason}", waited.as_secs())]
    NotReady {
        /// The container.
        container: String,
        /// What it was waiting for.
        reason: String,
        /// For how long.
        waited: Duration,
    },
    /// The target went away while its agent was awaited.
    #[error("the target went away")]
    Target(#[from] TargetError),
    /// An API call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The data channel could not be opened.
    #[error("the data channel could not be opened")]
    Open(#[source] ChannelError),
    /// The session opened and said nothing, as one beyond the container's limit does.
    #[error("the session opened but silent{}", active_sessions(*.active))]
    Silent {
        /// Other sessions that are active in the container, if that could be found out.
        active: Option<usize>,
    },
    /// The image has no `sh`, which the wrapper needs.
    #[error("there is no shell in container {container}")]
    NoShell {
        /// The container.
        container: String,
    },
    /// The agent could not start the wrapper.
    #[error("the agent could not start the command: {0}")]
    NotStarted(String),
    /// The image has no tool to carry bytes with.
    #[error(
        "container {container} has none of base64, openssl, python3, perl and od, so stdin cannot be sent to it"
    )]
    NoEncoder {
        /// The container.
        container: String,
    },
    /// Without a wrapper the command has to fit into the request.
    #[error(
        "the command is longer than 4,000 bytes or not UTF-8, which needs a shell in the container to carry it"
    )]
    NotCarried,
    /// The command ran longer than it may.
    #[error("the command did not end within {} s", limit.as_secs_f64())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The terminal cannot be set up, so nothing can be sent to the command.
    #[error(
        "there is no working stty in container {container}, so {what} cannot be sent to it unchanged"
    )]
    NoTerminal {
        /// The container.
        container: String,
        /// What was to be sent.
        what: &'static str,
    },
    /// The session ended without the command's status.
    #[error("status unknown: the session ended before the command's exit status arrived{}", said(.output))]
    StatusUnknown {
        /// What the service said, often nothing.
        output: String,
    },
    /// The connection broke while the command ran.
    #[error("output incomplete: the connection was lost after {delivered} bytes of output")]
    Lost {
        /// Bytes delivered.
        delivered: u64,
        /// What happened.
        #[source]
        source: ChannelError,
    },
    /// Some of the output did not arrive or arrived damaged.
    #[error("output incomplete: {damage} ({delivered} bytes were delivered)")]
    Incomplete {
        /// Bytes delivered.
        delivered: u64,
        /// What is missing.
        damage: String,
    },
}

impl ExecError {
    /// Whether another session may fare better: this one was lost, silent, or could not be opened.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. }
                | Self::StatusUnknown { .. }
                | Self::Incomplete { .. }
                | Self::Silent { .. }
                | Self::Open(_)
        )
    }

    /// Whether the session may live on without us.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    pub(super) fn damaged(damage: &Damage, delivered: u64) -> Self {
        match damage {
            Damage::NoEnd => Self::StatusUnknown {
                output: String::new(),
            },
            _ => Self::Incomplete {
                delivered,
                damage: damage.to_string(),
            },
        }
    }
}

fn active_sessions(active: Option<usize>) -> String {
    match active {
        Some(active) => format!("; {active} sessions already active here (limit {SESSION_LIMIT})"),
        None => format!("; ECS allows {SESSION_LIMIT} sessions in a container"),
    }
}

fn said(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}
