//! The clock of a session: monotonic, anchored once to the wall clock.

use std::future::pending;
use std::time::SystemTime;

use bowline_proto::Timestamp;
use tokio::time::{Instant, sleep_until};

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

/// Waits for a moment, or for ever if there is none. Cancel-safe.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
