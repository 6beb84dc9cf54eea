//! The clock of a session's agent: monotonic, anchored once to the wall clock.

use std::time::SystemTime;

use tokio::time::Instant;

use bowline_proto::Timestamp;

/// Gives the moments that the protocol wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    anchor: Instant,
    epoch: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            anchor: Instant::now(),
            epoch: Timestamp::from_epoch(since_epoch),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.epoch + self.anchor.elapsed()
    }

    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.anchor + (at - self.epoch)
    }

    /// A number that differs from start to start; message ids are not secret.
    pub(crate) fn seed(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| self.epoch.as_millis())
    }
}
