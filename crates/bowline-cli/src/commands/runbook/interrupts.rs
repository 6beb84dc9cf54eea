//! Ctrl-C and its like: taken from the moment on that there is something to clean up.

use std::future::Future;
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};

/// Interrupts that came and will come. One that nobody has waited for is not lost.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on nothing of the kind ends the program by itself.
    pub(super) fn new() -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| CommandError::new(ErrorKind::Unavailable, error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Until there is one. Can be dropped and called again.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
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
