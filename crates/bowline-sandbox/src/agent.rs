//! The far end of a session: the agent in the container, over `bowline_proto::Session`.
//!
//! One task per session owns the protocol state, the process and the way to the client (`agent/line.rs`). What runs
//! on a terminal is in `agent/interactive.rs`, what runs without one in `agent/pipes.rs`, ports are in `agent/port/`. The other half of the
//! service, tokens and sockets, is in `channel.rs`.
//!
//! Agents from outside are in `attached.rs`. These here have no connection of their own to the service, so the real one's pings (every 54 s) and read deadlines
//! (114 s, then 60 s after each pong) have no counterpart; what a client notices when an agent reconnects is the fault
//! `pause`.

mod handshake;
mod interactive;
mod line;
mod options;
mod pipes;
mod port;
mod simulated;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use handshake::Encryption;
pub use options::{AgentError, AgentOptions, Outside};

use crate::image::Place;
use crate::logs::SessionLog;
use crate::sessions::SessionKind;
use crate::words;

/// The stock agent reads and sends at most this much at a time.
const STOCK_CHUNK: usize = 1024;
/// The fast agent takes what there is, up to this.
const FAST_CHUNK: usize = 32 * 1024;

impl AgentOptions {
    /// How much output is read and sent at a time.
    fn chunk(&self) -> usize {
        let usual = if self.stock { STOCK_CHUNK } else { FAST_CHUNK };
        self.payload.unwrap_or(usual)
    }
}

/// What the service tells an agent.
#[derive(Debug)]
pub(crate) enum FromService {
    /// A frame of the client.
    Frame(Bytes),
    /// A client is connected by this socket; frames go there from now on.
    Attached(u64, mpsc::Sender<Bytes>),
    /// That socket is gone: a message to pause, if no other one took its place.
    Detached(u64, Bytes),
}

/// What to run.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) session_id: String,
    /// `ecs:<cluster>_<task id>_<runtime id>`.
    pub(crate) target: String,
    /// The document's name, and who asked; agents from outside are told.
    pub(crate) document: String,
    pub(crate) owner: String,
    pub(crate) kind: SessionKind,
    pub(crate) place: Place,
    /// Where output is copied to.
    pub(crate) log: Option<SessionLog>,
    /// The session is encrypted.
    pub(crate) encryption: Option<Encryption>,
}

/// Serves one session to its end. The text is for `channel_closed`: empty after a normal end.
pub(crate) async fn serve(
    job: Job,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let split = |command: &str| {
        words::split(command).map_err(|error| format!("Failed to parse commands input: {error}"))
    };
    match &job.kind {
        SessionKind::NonInteractive { command, separate } => {
            let words = split(command);
            pipes::serve(&job, words, *separate, options, service, cancel).await
        }
        SessionKind::Interactive { command } if command.trim().is_empty() => {
            "Commands cannot be empty for session type InteractiveCommands".to_owned()
        }
        SessionKind::Interactive { command } => {
            let words = split(command);
            if let Some(fate) = job.place.simulated {
                return simulated::serve(&job, words, fate, options, service, cancel).await;
            }
            interactive::serve(&job, words, options, service, cancel).await
        }
        SessionKind::Port(request) => port::serve(&job, request, options, service, cancel).await,
        SessionKind::Shell => {
            interactive::serve(&job, Ok(vec!["sh".to_owned()]), options, service, cancel).await
        }
    }
}

/// The result of a command that did not start, in the agent's words.
fn start_failure(reason: &str) -> String {
    format!("\n----------ERROR-------\nUnable to start command: {reason}\n\n")
}
