//! Signals that mean "leave" while tasks run.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit_code::ExitCode;

/// One that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A supervisor wants an end.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

/// All of them, from the moment this is made.
pub(in crate::commands) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
}

impl Signals {
    pub(in crate::commands) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancel-safe: signals are kept until they are received.
    pub(in crate::commands) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}

impl Signal {
    /// How a command ends that this signal ended.
    pub(in crate::commands) fn code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::Interrupted,
            Self::Terminate => ExitCode::Remote(128 + 15),
            Self::Hangup => ExitCode::Remote(128 + 1),
        }
    }

    /// For the task's stopped reason.
    pub(in crate::commands) fn reason(self, verb: &str) -> String {
        let what = match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
            Self::Hangup => "its terminal was closed",
        };
        format!("bowline {verb}: {what}")
    }
}
