//! Signals that mean "leave": for whoever listens, and for the time in which nobody does.
//!
//! Once one of them was listened for, it does not end the process any more. A command listens while there is something to
//! clean up; before and after that, [`unheard`] ends it as the signal would have done.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::Notify;

use crate::exit_code::ExitCode;

/// Two looks at the same signal are not further apart.
const SAME: Duration = Duration::from_millis(200);

static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static LISTENED: Notify = Notify::const_new();
static TAKEN: Mutex<Option<Instant>> = Mutex::new(None);

/// One that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A supervisor wants an end.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

/// All of them, from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Streams,
    _claim: Claim,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let claim = Claim::new();
        let streams = Streams::new()?;
        LISTENED.notify_one();
        Ok(Self {
            streams,
            _claim: claim,
        })
    }

    /// Cancel-safe: signals are kept until they are received.
    pub(crate) async fn next(&mut self) -> Signal {
        let signal = self.streams.next().await;
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        signal
    }
}

impl Signal {
    /// How a command ends that this signal ended.
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::Interrupted,
            Self::Terminate => ExitCode::Remote(128 + 15),
            Self::Hangup => ExitCode::Remote(128 + 1),
        }
    }

    /// For the task's stopped reason.
    pub(crate) fn reason(self, verb: &str) -> String {
        let what = match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
            Self::Hangup => "its terminal was closed",
        };
        format!("bowline {verb}: {what}")
    }
}

/// Waits for a signal that nobody listens for, though somebody did before: the picker, say, and now a question stands
/// there, or a command is at work that has nothing to clean up.
pub(crate) async fn unheard() -> Signal {
    LISTENED.notified().await;
    let Ok(mut streams) = Streams::new() else {
        return std::future::pending().await;
    };
    loop {
        let signal = streams.next().await;
        // Whoever took it may have gone since, with something still to be done.
        let taken = *TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.is_some_and(|at| at.elapsed() < SAME);
        if LISTENERS.load(Ordering::Relaxed) == 0 && !taken {
            return signal;
        }
    }
}

/// Says that signals are somebody's affair, for as long as it is there.
#[derive(Debug)]
struct Claim(());

impl Claim {
    fn new() -> Self {
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Streams {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
}

impl Streams {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}
