//! One command in a container: a stream of events, its streams exact, its real exit code.
//!
//! ECS Exec gives a terminal and no exit code. [`Exec`] runs a small wrapper there that carries both streams, their
//! checksums and the status; which one is the engine's business ([`Engine`]).

mod error;
mod framed;
pub(crate) mod fuzz;
mod joined;
mod marked;
mod protocol;
mod recorded;
mod run;
mod scripts;
pub(crate) mod start;
pub(crate) mod transcript;
mod worker;
pub(crate) mod wrapper;

use std::time::Duration;

use bowline_proto::Size;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use self::error::ExecError;
pub use self::joined::{JoinRequest, Joined};
use self::recorded::{Recorded, Tap};
use self::worker::{Caller, Input};
use crate::record::RecordPlan;
use crate::session::DEFAULT_RECONNECT;
use crate::{Client, ResolvedTarget};

/// Events on their way to the reader.
const EVENTS: usize = 8;
/// Pieces of stdin on their way to the session.
const STDIN: usize = 2;
/// Interrupts and resizes on their way to the session.
const INPUTS: usize = 16;
/// How long to wait for an agent that is not ready, if the caller does not say.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// How often the terminal size is repeated, if the caller does not say.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// How the command's output and status are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// stdout and stderr on two pipes, each chunk checked; stdin likewise. Every byte, both streams.
    Framed,
    /// stdout on the terminal through `cat`, stderr and status in marks that are stripped: a log of the session stays
    /// readable. Text exact, streams apart, no stdin.
    Plain,
    /// The command on the terminal itself; its status in a mark that is stripped. As a terminal is.
    Tty,
    /// The argv as it is, without a shell around it. The status cannot be learned.
    Bare,
    /// SSM StartSession with `AWS-StartNonInteractiveCommand` in place of ECS Exec: streams apart and the code from the
    /// agent itself, no stdin. Whether AWS allows it for ECS tasks is not known.
    Native,
    /// SSM StartSession without a document in place of ECS Exec: the account's own shell on the terminal, whatever argv
    /// says. The status cannot be learned.
    Shell,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The words of the command; they arrive byte for byte.
    pub argv: Vec<Vec<u8>>,
    /// See [`Engine`].
    pub engine: Engine,
    /// Whether stdin will be sent; without it the command's stdin is the null device.
    pub stdin: bool,
    /// What the command's stdin begins with, before anything of ours; it is there with `stdin` or without.
    pub first: Bytes,
    /// Send stdin line by line where the terminal cannot be set up (no `stty` in the image), in place of refusing it.
    /// Slow, and what a program writes to its terminal past its streams is lost, as it cannot be told from an echo.
    pub lines: bool,
    /// Size of the remote terminal in characters.
    pub size: Size,
    /// How long to wait for an exec agent that is still starting.
    pub wait: Duration,
    /// How long the command may run; without it, as long as it likes.
    pub timeout: Option<Duration>,
    /// How often the terminal size is repeated: the service ends exec sessions after 20 minutes without input, and a
    /// size counts as input. `None` lets it.
    pub keep_alive: Option<Duration>,
    /// For how long a lost connection is tried to be restored; zero never tries. Nothing is lost meanwhile.
    pub reconnect_for: Duration,
    /// Has it recorded. What cannot be recorded is not begun.
    pub record: Option<RecordPlan>,
}

impl ExecRequest {
    /// Runs `argv` with the framed engine, without stdin.
    #[must_use]
    pub fn new<W: Into<Vec<u8>>>(argv: impl IntoIterator<Item = W>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            engine: Engine::Framed,
            stdin: false,
            first: Bytes::new(),
            lines: false,
            size: Size { cols: 80, rows: 24 },
            wait: DEFAULT_WAIT,
            timeout: None,
            keep_alive: Some(KEEP_ALIVE),
            reconnect_for: DEFAULT_RECONNECT,
            record: None,
        }
    }
}

/// What happens while a command runs. The last event is always [`ExecEvent::Exit`] or [`ExecEvent::Closed`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecEvent {
    /// Bytes of the command's stdout, or of its terminal with the tty engine.
    Stdout(Bytes),
    /// Bytes of the command's stderr.
    Stderr(Bytes),
    /// Something a user may want to know.
    Notice(String),
    /// The command is about to start.
    Started {
        /// The session's id.
        session_id: String,
    },
    /// The command ended and all its output was delivered.
    Exit {
        /// As a shell gives it: 126 and 127 for commands that cannot be started, 128+n for signals.
        code: i64,
    },
    /// The command's end was not seen, or some of its output was lost.
    Closed {
        /// Why.
        reason: ExecError,
    },
}

/// A command being run. Dropping it ends the session, and with it the command, in the background within two seconds;
/// [`Exec::terminate`] waits for that, as [`Client::finish`] does for all.
pub struct Exec {
    events: mpsc::Receiver<ExecEvent>,
    inputs: mpsc::Sender<Input>,
    stdin: Option<ExecStdin>,
    task: JoinHandle<()>,
    recorded: Recorded,
}

/// The command's stdin. Dropping it is the end of the input.
pub struct ExecStdin {
    pieces: mpsc::Sender<Bytes>,
    tap: Tap,
}

/// Reaches a running command from elsewhere, for instance from a signal handler.
#[derive(Clone)]
pub struct ExecControl {
    inputs: mpsc::Sender<Input>,
    tap: Tap,
}

impl Client {
    /// Runs a command in a container. Nothing is awaited here: what goes wrong comes as an event.
    #[must_use]
    pub fn exec(&self, target: ResolvedTarget, request: ExecRequest) -> Exec {
        let (to_reader, events) = mpsc::channel(EVENTS);
        let (inputs, from_caller) = mpsc::channel(INPUTS);
        let (pieces, stdin) = mpsc::channel(STDIN);
        let wants_stdin = request.stdin;
        let caller = Caller {
            reader: to_reader,
            inputs: from_caller,
            stdin,
        };
        let (tap, recorded) = recorded::pair(request.record.is_some());
        let work = recorded::run(self.clone(), target, request, caller, tap.clone());
        let task = self.sessions().spawn(work);
        let stdin = wants_stdin.then(|| ExecStdin { pieces, tap });
        Exec {
            events,
            inputs,
            stdin,
            task,
            recorded,
        }
    }
}

impl Exec {
    /// The next event; `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<ExecEvent> {
        self.recorded.next(&mut self.events).await
    }

    /// The command's stdin, once, if the request asked for it.
    pub fn take_stdin(&mut self) -> Option<ExecStdin> {
        self.stdin.take()
    }

    /// A handle for interrupts and resizes.
    #[must_use]
    pub fn control(&self) -> ExecControl {
        ExecControl {
            inputs: self.inputs.clone(),
            tap: self.recorded.tap(),
        }
    }

    /// Ends the session and with it the command, within two seconds.
    pub async fn terminate(mut self) {
        self.events.close();
        // The worker notices, tells the service and ends; a panic in it is not ours to pass on.
        let _ = (&mut self.task).await;
    }
}

impl ExecStdin {
    /// Sends a piece; waits while the command does not read. An error means that nobody will read any more.
    pub async fn write(&self, piece: Bytes) -> Result<(), Disconnected> {
        tokio::select! {
            () = self.tap.opened() => {}
            () = self.pieces.closed() => return Err(Disconnected),
        }
        let place = self.pieces.reserve().await.map_err(|_| Disconnected)?;
        if let Some(record) = self.tap.recorder() {
            // What cannot be recorded shows with the next event, or the session's end. From here on nothing is waited
            // for once it was handed over, so that it is sent exactly if it is recorded.
            let _ = record.input(piece.clone()).await;
        }
        place.send(piece);
        Ok(())
    }
}

impl ExecControl {
    /// Interrupts the command as Ctrl-C on its terminal does.
    pub async fn interrupt(&self) {
        // A session that is over needs no interrupt.
        let _ = self.inputs.send(Input::Interrupt).await;
    }

    /// Changes the size of the remote terminal.
    pub async fn resize(&self, size: Size) {
        let _ = self.inputs.send(Input::Resize(size)).await;
        if let Some(record) = self.tap.recorder() {
            // What cannot be recorded shows with the next event.
            let _ = record.resize(size).await;
        }
    }
}

/// The session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is over")]
pub struct Disconnected;
