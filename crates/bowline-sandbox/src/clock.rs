//! Time: a session's protocol clock, and the sandbox's own clock, which can run fast and be set forward.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use bowline_proto::Timestamp;

/// Gives the moments that the protocol wants: monotonic, anchored once to the wall clock.
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

/// The sandbox's own time, for what only takes time in AWS: idle limits, the states of tasks, the start of agents.
///
/// Processes, their periods of grace and the protocol keep real time, and so do the dates that the APIs show. Clones
/// share one clock.
#[derive(Clone, Debug)]
pub(crate) struct SandboxClock {
    start: Instant,
    speed: NonZeroU32,
    /// How far it was set forward.
    ahead: Arc<watch::Sender<Duration>>,
}

impl SandboxClock {
    /// Starts at zero and runs `speed` times as fast as real time.
    pub(crate) fn start(speed: NonZeroU32) -> Self {
        Self {
            start: Instant::now(),
            speed,
            ahead: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// How many times as fast as real time it runs.
    pub(crate) fn speed(&self) -> u32 {
        self.speed.get()
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        let elapsed = self.start.elapsed().saturating_mul(self.speed.get());
        elapsed.saturating_add(*self.ahead.borrow())
    }

    /// Sets it forward; whoever sleeps wakes up if it is time.
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead
            .send_modify(|ahead| *ahead = ahead.saturating_add(by));
    }

    /// How much real time a span of this clock takes, unless it is set forward.
    pub(crate) fn real(&self, span: Duration) -> Duration {
        span / self.speed.get()
    }

    /// Waits for a span of this clock.
    pub(crate) async fn sleep(&self, span: Duration) {
        self.sleep_until(self.now().saturating_add(span)).await;
    }

    /// Waits until [`Self::now`] has come to `at`.
    pub(crate) async fn sleep_until(&self, at: Duration) {
        let mut advances = self.ahead.subscribe();
        loop {
            let rest = at.saturating_sub(self.now());
            if rest.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(self.real(rest)) => {}
                // The sender cannot go away before this does.
                _ = advances.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fast_clock_makes_long_waits_short_and_setting_it_forward_ends_them() {
        let fast = SandboxClock::start(NonZeroU32::new(100_000).unwrap());
        let start = Instant::now();
        fast.sleep(Duration::from_secs(3600)).await;
        assert!(fast.now() >= Duration::from_secs(3600));
        assert!(start.elapsed() < Duration::from_secs(30));

        let clock = SandboxClock::start(NonZeroU32::MIN);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(Duration::from_secs(7200)).await }
        });
        clock.advance(Duration::from_secs(7200));
        tokio::time::timeout(Duration::from_secs(30), sleeper)
            .await
            .unwrap()
            .unwrap();
        assert!(clock.now() < Duration::from_secs(7300));
    }
}
