//! Following a command: its output to ours, our stdin and signals to it.

use std::io::{self, Read};

use bowline::session::exec::{Exec, ExecControl, ExecEvent, ExecStdin};
use bytes::Bytes;
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::report::Report;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::terminal::{self, RawMode};

/// One read of our stdin.
const PIECE: usize = 64 * 1024;
/// What a shell says of a program that a broken pipe ended.
const BROKEN_PIPE: u8 = 128 + 13;

/// Runs until the command has ended or somebody wants to leave.
pub(super) async fn follow(
    mut exec: Exec,
    context: &Context,
    report: Report,
    raw: bool,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::listen()?;
    let terminal = if raw { Some(RawMode::enter()?) } else { None };
    let control = exec.control();
    if let Some(stdin) = exec.take_stdin() {
        forward_stdin(stdin);
    }
    let mut output = Output {
        stdout: tokio::io::stdout(),
        unwritten: None,
    };
    let ended = loop {
        tokio::select! {
            // Output is written before more of it is taken.
            result = output.write(), if output.unwritten.is_some() => {
                if let Err(error) = result {
                    break End::Output(error);
                }
            }
            event = exec.next(), if output.unwritten.is_none() => match event {
                Some(ExecEvent::Exit { code }) => break End::Exit(code),
                Some(ExecEvent::Closed { reason }) => break End::Failed(reason.into()),
                Some(event) => output.unwritten = report.event(&event, context).map(|bytes| (bytes, 0)),
                None => break End::Failed(CommandError::new(ErrorKind::Unavailable, "the session ended without a word")),
            },
            action = signals.next() => match action {
                Action::Interrupt => interrupt(&control, context).await,
                Action::Resize => control.resize(terminal::size()).await,
                Action::Leave(code) => break End::Leave(code),
            },
        }
    };
    // The terminal is given back before anything is said.
    drop(terminal);
    match ended {
        End::Exit(code) => exit_code(code),
        End::Failed(error) => Err(error),
        End::Leave(code) => {
            exec.terminate().await;
            Ok(code)
        }
        End::Output(error) => {
            exec.terminate().await;
            match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(ExitCode::Remote(BROKEN_PIPE)),
                _ => Err(CommandError::new(
                    ErrorKind::Unavailable,
                    format!("cannot write the output: {error}"),
                )),
            }
        }
    }
}

enum End {
    Exit(i64),
    Failed(CommandError),
    Leave(ExitCode),
    Output(io::Error),
}

async fn interrupt(control: &ExecControl, context: &Context) {
    tracing::info!("interrupting the command; a second interrupt leaves");
    let _ = context;
    control.interrupt().await;
}

fn exit_code(code: i64) -> Result<ExitCode, CommandError> {
    u8::try_from(code).map(ExitCode::Remote).map_err(|_| {
        CommandError::new(
            ErrorKind::Unavailable,
            format!("the command's exit code {code} lies outside of 0-255"),
        )
    })
}

/// Our stdout, with what is still to be written.
struct Output {
    stdout: Stdout,
    unwritten: Option<(Vec<u8>, usize)>,
}

impl Output {
    /// Writes some of what is left. Cancel-safe: what was written is counted as soon as it is.
    async fn write(&mut self) -> io::Result<()> {
        let Some((bytes, written)) = &mut self.unwritten else {
            return Ok(());
        };
        if *written < bytes.len() {
            *written += self.stdout.write(&bytes[*written..]).await?;
        } else {
            // Only now is an error of the writing thread seen.
            self.stdout.flush().await?;
            self.unwritten = None;
        }
        Ok(())
    }
}

enum Action {
    Interrupt,
    Resize,
    Leave(ExitCode),
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
    interrupted: bool,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            interrupted: false,
        })
    }

    /// Cancel-safe: signals are kept until they are received.
    async fn next(&mut self) -> Action {
        tokio::select! {
            _ = self.interrupt.recv() => {
                if std::mem::replace(&mut self.interrupted, true) {
                    Action::Leave(ExitCode::Interrupted)
                } else {
                    Action::Interrupt
                }
            }
            _ = self.terminate.recv() => Action::Leave(ExitCode::Remote(128 + 15)),
            _ = self.hangup.recv() => Action::Leave(ExitCode::Remote(128 + 1)),
            _ = self.resize.recv() => Action::Resize,
        }
    }
}

/// A read of stdin cannot be cancelled, so it has a thread of its own that ends with the process; it is not awaited.
fn forward_stdin(stdin: ExecStdin) {
    let (pieces, mut read) = mpsc::channel::<Bytes>(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    if pieces
                        .blocking_send(Bytes::copy_from_slice(&buffer[..length]))
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    // Ends with the thread above or with the session; the runtime's end is the last resort for both.
    tokio::spawn(async move {
        while let Some(piece) = read.recv().await {
            if stdin.write(piece).await.is_err() {
                return;
            }
        }
    });
}
