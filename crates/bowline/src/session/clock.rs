//! The clock of a session: monotonic, anchored once to the wall clock.

use std::time::SystemTime;

use bowline_proto::Timestamp;
use tokio::time::Instant;

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
}
