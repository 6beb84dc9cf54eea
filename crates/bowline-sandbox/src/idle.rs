//! The idle limit of a session: it ends when its client has been silent for too long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SandboxClock;

/// What clients read in `channel_closed`; seen from the real service.
pub(crate) const TEXT: &str = "Your session timed out due to inactivity and has been terminated.";

/// When a session's client was last active, on the sandbox's clock. Clones are about the same session.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    clock: SandboxClock,
    limit: Duration,
    last: Arc<Mutex<Duration>>,
}

impl Idle {
    /// A session that was active just now.
    pub(crate) fn new(clock: SandboxClock, limit: Duration) -> Self {
        let last = Arc::new(Mutex::new(clock.now()));
        Self { clock, limit, last }
    }

    /// The client sent input or the size of its terminal, or resumed the session. Output does not count.
    pub(crate) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
    }

    /// Returns when nothing has happened for the whole limit.
    pub(crate) async fn expired(&self) {
        loop {
            let end = self.last().saturating_add(self.limit);
            if end <= self.clock.now() {
                return;
            }
            self.clock.sleep_until(end).await;
        }
    }

    fn last(&self) -> Duration {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
