//! Why something could not be forwarded.

use std::io;

use super::spec::{Local, Remote};
use crate::AwsError;
use crate::session::ChannelError;
use crate::session::exec::ExecError;
use crate::target::TargetError;

/// Why something could not be forwarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Connections cannot be accepted.
    #[error("cannot listen on {local}{}", held(.holder.as_deref()))]
    Listen {
        /// Where.
        local: Local,
        /// Who listens there already, if that could be found out.
        holder: Option<String>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The target could not be found again.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// There is no session.
    #[error(transparent)]
    Session(#[from] ExecError),
    /// The session could not be kept.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The agent ended the session, in these words.
    #[error("the agent in container {container} refused: {reason}")]
    Refused {
        /// The container.
        container: String,
        /// The agent's words.
        reason: String,
    },
    /// The agent refuses this host.
    #[error("the agent in container {container} refuses to forward to {remote}")]
    Forbidden {
        /// The container.
        container: String,
        /// Where to.
        remote: Remote,
    },
    /// The agent is too old to forward to other hosts, and would connect to the task in place of them.
    #[error(
        "the agent in container {container} is too old to forward to other hosts: it is {version}, and 3.1.1374.0 is needed"
    )]
    TooOld {
        /// The container.
        container: String,
        /// What it says it is.
        version: String,
    },
    /// The session ended by itself.
    #[error("the session ended{}", said(.reason))]
    Ended {
        /// The service's words, often none.
        reason: String,
    },
    /// There is no way through the container.
    #[error("container {container} cannot relay to {remote}: {reason}")]
    Relay {
        /// The container.
        container: String,
        /// Where to.
        remote: Remote,
        /// What went wrong there.
        reason: String,
    },
    /// A value of a spec could not be looked up.
    #[error("{{{name}}}: {reason}")]
    Value {
        /// What was to be looked up.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It was closed here.
    #[error("the forward was closed")]
    Closed,
    /// What the agent said is not what port sessions carry.
    #[error("the agent does not speak as port sessions do: {0}")]
    Protocol(String),
}

fn held(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(": {holder} listens there"))
}

fn said(reason: &str) -> String {
    match reason.trim() {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}
