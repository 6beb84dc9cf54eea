//! Moments, given by the caller: this crate never looks at a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment in microseconds since the Unix epoch, read from a clock that never goes back.
///
/// One type serves the timers and the `CreatedDate` of frames. A driver anchors a monotonic clock to the wall
/// clock once at its start; a simulation counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The moment `since_epoch` after the Unix epoch.
    #[must_use]
    pub fn from_epoch(since_epoch: Duration) -> Self {
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// Whole milliseconds since the Unix epoch, as frames carry them.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// This moment, moved up to the next multiple of `grid`, so that neighbouring deadlines fall together.
    pub(crate) fn round_up(self, grid: Duration) -> Self {
        let grid = u64::try_from(grid.as_micros()).unwrap_or(1).max(1);
        Self(self.0.div_ceil(grid).saturating_mul(grid))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// The time from `earlier` to this moment; zero if `earlier` is not earlier.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
