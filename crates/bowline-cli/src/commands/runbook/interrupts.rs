//! Ctrl-C and its like: taken from the moment on that there is something to clean up.

use std::future::Future;
use std::pin::pin;

use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::signals::{Signal, Signals};

/// Interrupts that came and will come. One that nobody has waited for is not lost.
pub(super) struct Interrupts {
    signals: Signals,
    last: Option<Signal>,
}

impl Interrupts {
    /// From now on nothing of the kind ends the program by itself.
    pub(super) fn new() -> Result<Self, CommandError> {
        Ok(Self {
            signals: Signals::listen()?,
            last: None,
        })
    }

    /// Until there is one. Can be dropped and called again.
    pub(super) async fn next(&mut self) {
        self.last = Some(self.signals.next().await);
    }

    /// How a command ends that was cancelled: as the signal wants it that did so, if one did.
    pub(super) fn code(&self) -> ExitCode {
        self.last.map_or(ExitCode::Interrupted, Signal::code)
    }

    /// Sees work through that must not be broken off half-way, and whether it was interrupted meanwhile. The second
    /// interrupt leaves it, and nothing is given.
    pub(super) async fn through<T>(
        &mut self,
        context: &Context,
        work: impl Future<Output = T>,
    ) -> Option<(T, bool)> {
        let mut work = pin!(work);
        let mut interrupted = false;
        loop {
            tokio::select! {
                biased;
                () = self.next() => {
                    if interrupted {
                        let note = "left at once; the document and its execution may be there";
                        context.printer.note(note);
                        return None;
                    }
                    interrupted = true;
                    context.printer.note("cancelling; once more leaves at once");
                }
                done = &mut work => return Some((done, interrupted)),
            }
        }
    }
}
