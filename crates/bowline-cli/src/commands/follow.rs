//! Following a session: its output to ours, our keys and signals to it, until it ends or somebody leaves.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use bowline::session::exec::{Exec, ExecError, ExecEvent, ExecStdin};
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::escape::{Escapes, Typed};
use crate::exit_code::ExitCode;
use crate::signals::{Signal, Signals};
use crate::terminal::{self, RawMode};
use crate::writer::{Stream, Writers};

/// One read of our stdin.
const PIECE: usize = 64 * 1024;
/// Keys that wait for a remote side that does not read. As long as there are fewer, escapes are still seen.
const BACKLOG: usize = 1 << 20;
/// For output that a terminal has not taken yet when we leave.
const LAST_WRITES: Duration = Duration::from_millis(200);

/// Where the session's stdin comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Our stdin as it is: a pipe, a file, or a terminal in its usual mode.
    Stream,
    /// The keys of the terminal at stdin, all of them but escapes.
    Keys {
        escapes: Option<Escapes>,
        /// Said as soon as keys are kept for the remote side.
        banner: Option<String>,
    },
}

/// How it ended. The terminal is as it was before, and unless the session ended by itself, it was ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The command's exit code.
    Exit(i64),
    /// The command's end was not seen.
    Closed {
        reason: ExecError,
        /// Whether the command was running.
        started: bool,
    },
    /// The session is gone without an event that says so.
    Gone,
    /// A signal made us leave.
    Signal(ExitCode),
    /// The user typed the escape for it.
    Escape,
    /// Our stdout or stderr cannot be written.
    Output(io::Error),
}

/// Runs until the command has ended or somebody wants to leave. `show` gives the bytes of an event and where they
/// belong, and deals with all else that is to be said of it.
pub(crate) async fn follow(
    mut exec: Exec,
    context: &Context,
    source: Source,
    mut show: impl FnMut(&ExecEvent) -> Option<(Stream, Bytes)>,
) -> io::Result<Ended> {
    let mut signals = SessionSignals::listen()?;
    let (terminal, escapes, banner) = match source {
        Source::Stream => (None, None, None),
        Source::Keys { escapes, banner } => (Some(RawMode::prepare()?), escapes, banner),
    };
    if let Some(banner) = banner {
        context.printer.note(&banner);
    }
    let control = exec.control();
    let mut keyboard = None;
    if let Some(stdin) = exec.take_stdin() {
        match terminal {
            Some(_) => keyboard = Some(Keyboard::start(stdin, escapes)),
            None => forward_stdin(stdin),
        }
    }
    let mut writers = Writers::start()?;
    let mut unwritten = None;
    let (mut started, mut resized, mut interrupted) = (false, false, false);
    let ended = loop {
        // Every arm is cancel-safe: what was written is counted at once, channels, signals that are kept.
        tokio::select! {
            // Output is on its way before more of it is taken.
            result = writers.write(&mut unwritten), if unwritten.is_some() => {
                if let Err(error) = result {
                    break Ended::Output(error);
                }
            }
            event = exec.next(), if unwritten.is_none() => match event {
                Some(ExecEvent::Exit { code }) => break Ended::Exit(code),
                Some(ExecEvent::Closed { reason }) => break Ended::Closed { reason, started },
                Some(event) => {
                    if matches!(event, ExecEvent::Started { .. }) {
                        started = true;
                        if let Some(terminal) = &terminal {
                            terminal.enter()?;
                        }
                    }
                    unwritten = show(&event);
                    if let (Some(terminal), Some((_, bytes))) = (&terminal, &unwritten) {
                        terminal.shown(bytes);
                    }
                }
                None => break Ended::Gone,
            },
            action = signals.next() => match action {
                // One that comes before the command runs can only mean us.
                Action::Interrupt if !started => break Ended::Signal(ExitCode::Interrupted),
                Action::Interrupt => {
                    tracing::info!("interrupting the command; a second interrupt leaves");
                    interrupted = true;
                }
                Action::Resize => resized = true,
                Action::Leave(code) => break Ended::Signal(code),
            },
            // Until the session is up nobody takes these, and the loop must go on.
            () = control.interrupt(), if interrupted => interrupted = false,
            () = control.resize(terminal::size()), if resized => resized = false,
            wish = wish(keyboard.as_mut()) => match wish {
                Wish::Leave => break Ended::Escape,
                Wish::Help(text) => {
                    // A closed stderr is no reason to end the command.
                    let _ = context.printer.error_bytes(text.as_bytes());
                }
            },
        }
    };
    let ended = match ended {
        Ended::Signal(_) | Ended::Escape | Ended::Output(_) => {
            if terminal.is_some() {
                // What is on its way to the terminal must not come behind its restoring.
                let _ = timeout(LAST_WRITES, writers.finish()).await;
            }
            ended
        }
        ended => written(writers, &mut signals, ended).await,
    };
    // The terminal is given back before anything is said.
    match terminal {
        Some(terminal) if !matches!(ended, Ended::Exit(_)) => terminal.abandon(),
        terminal => drop(terminal),
    }
    if matches!(ended, Ended::Signal(_) | Ended::Escape | Ended::Output(_)) {
        exec.terminate().await;
    }
    Ok(ended)
}

/// The end, once all output is written; a reader that takes for ever can still be left.
async fn written(writers: Writers, signals: &mut SessionSignals, ended: Ended) -> Ended {
    let mut finishing = std::pin::pin!(writers.finish());
    loop {
        tokio::select! {
            result = &mut finishing => return match result {
                Ok(()) => ended,
                Err(error) => Ended::Output(error),
            },
            action = signals.next() => match action {
                Action::Interrupt => return Ended::Signal(ExitCode::Interrupted),
                Action::Leave(code) => return Ended::Signal(code),
                Action::Resize => {}
            },
        }
    }
}

/// The code of a command or shell, if it is one.
pub(crate) fn exit_code(code: i64) -> Result<ExitCode, CommandError> {
    u8::try_from(code).map(ExitCode::Remote).map_err(|_| {
        CommandError::new(
            ErrorKind::Unavailable,
            format!("the command's exit code {code} lies outside of 0-255"),
        )
    })
}

/// The error for [`Ended::Gone`].
pub(crate) fn gone() -> CommandError {
    CommandError::new(ErrorKind::Unavailable, "the session ended without a word")
}

/// How a command ends for [`Ended::Output`].
pub(crate) fn output_lost(error: &io::Error) -> Result<ExitCode, CommandError> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::BROKEN_PIPE),
        _ => Err(unwritten(error)),
    }
}

/// The error for output that cannot be written, but for a reader that went away.
pub(crate) fn unwritten(error: &io::Error) -> CommandError {
    CommandError::new(
        ErrorKind::Unavailable,
        format!("cannot write the output: {error}"),
    )
}

/// The keys on their way to the remote side. They are read whether it takes them or not, so that one that hangs can
/// still be left.
struct Keyboard {
    typed: mpsc::Receiver<Bytes>,
    escapes: Option<Escapes>,
    waiting: VecDeque<Bytes>,
    /// Bytes in `waiting`.
    length: usize,
    /// `None` once there is nobody to read or nothing to come.
    stdin: Option<ExecStdin>,
    /// The terminal has no more keys.
    ended: bool,
}

/// What the user wants of us, not of the remote side.
enum Wish {
    Leave,
    Help(String),
}

async fn wish(keyboard: Option<&mut Keyboard>) -> Wish {
    match keyboard {
        Some(keyboard) => keyboard.wish().await,
        None => std::future::pending().await,
    }
}

impl Keyboard {
    fn start(stdin: ExecStdin, escapes: Option<Escapes>) -> Self {
        Self {
            typed: read_stdin(),
            escapes,
            waiting: VecDeque::new(),
            length: 0,
            stdin: Some(stdin),
            ended: false,
        }
    }

    /// Passes keys on until one is for us. Cancel-safe: a piece is dropped only after it was sent.
    async fn wish(&mut self) -> Wish {
        loop {
            if self.ended && self.waiting.is_empty() {
                // The end of the input, for whoever reads it.
                self.stdin = None;
            }
            tokio::select! {
                piece = self.typed.recv(), if !self.ended && self.length < BACKLOG => match piece {
                    Some(piece) => {
                        if let Some(wish) = self.take(piece) {
                            return wish;
                        }
                    }
                    None => {
                        self.ended = true;
                        let held = self.escapes.as_mut().and_then(Escapes::finish);
                        self.queue(held);
                    }
                },
                sent = send(self.stdin.as_ref(), self.waiting.front()) => {
                    if let Some(piece) = self.waiting.pop_front() {
                        self.length -= piece.len();
                    }
                    if !sent {
                        self.stdin = None;
                        self.waiting.clear();
                        self.length = 0;
                    }
                }
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Option<Wish> {
        let Some(escapes) = &mut self.escapes else {
            self.queue([piece]);
            return None;
        };
        let mut wish = None;
        for typed in escapes.feed(&piece) {
            match typed {
                Typed::Send(keys) => self.queue([keys]),
                Typed::Help => {
                    wish = self
                        .escapes
                        .as_ref()
                        .map(|escapes| Wish::Help(escapes.help()));
                }
                Typed::Leave => wish = Some(Wish::Leave),
            }
        }
        wish
    }

    fn queue(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        if self.stdin.is_some() {
            for keys in keys {
                self.length += keys.len();
                self.waiting.push_back(keys);
            }
        }
    }
}

/// Whether the piece was taken; never comes back without one.
async fn send(stdin: Option<&ExecStdin>, piece: Option<&Bytes>) -> bool {
    match (stdin, piece) {
        (Some(stdin), Some(piece)) => stdin.write(piece.clone()).await.is_ok(),
        _ => std::future::pending().await,
    }
}

enum Action {
    Interrupt,
    Resize,
    Leave(ExitCode),
}

struct SessionSignals {
    leaving: Signals,
    resize: tokio::signal::unix::Signal,
    interrupted: bool,
}

impl SessionSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            leaving: Signals::listen()?,
            resize: signal(SignalKind::window_change())?,
            interrupted: false,
        })
    }

    /// Cancel-safe: signals are kept until they are received.
    async fn next(&mut self) -> Action {
        tokio::select! {
            signal = self.leaving.next() => {
                let first = !std::mem::replace(&mut self.interrupted, true);
                match signal {
                    Signal::Interrupt if first => Action::Interrupt,
                    signal => Action::Leave(signal.code()),
                }
            }
            _ = self.resize.recv() => Action::Resize,
        }
    }
}

/// A read of stdin cannot be cancelled, so it has a thread of its own that ends with the process; it is not awaited.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (pieces, read) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let piece = Bytes::copy_from_slice(&buffer[..length]);
                    if pieces.blocking_send(piece).is_err() {
                        return;
                    }
                }
            }
        }
    });
    read
}

fn forward_stdin(stdin: ExecStdin) {
    let mut read = read_stdin();
    // Ends with the thread behind it or with the session; the runtime's end is the last resort for both.
    tokio::spawn(async move {
        while let Some(piece) = read.recv().await {
            if stdin.write(piece).await.is_err() {
                return;
            }
        }
    });
}
