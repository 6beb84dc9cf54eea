//! How fast one account and region is asked by a fleet: a token bucket for each group of operations.
//!
//! It stands in front of each attempt of the SDK, so that its own repetitions count as well, and before the request is
//! signed: a signature is good for five minutes, and a turn may come later. ECS keeps such buckets per
//! account and region, shared with whatever else runs there; the published example is a burst of 50 and 20 a second for
//! reads of clusters. A repetition says that the account has less to give at the moment: the pace halves, and comes back
//! with calls that are not repeated.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, Metadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Calls a second that start something: ExecuteCommand, StartSession, RunTask.
pub const STARTS: f64 = 10.0;
/// Calls a second of all that only reads.
const READS: f64 = 10.0;
/// Calls a second that read log streams: GetLogEvents allows ten in some regions, colleagues included.
const LOGS: f64 = 10.0;
/// How many may come at once after a rest.
const BURST: f64 = 5.0;
/// What ends or resumes something waits for no turn: who is interrupted has two seconds to leave nothing behind. Only so
/// many such calls are on their way at once, and the SDK repeats those that are throttled.
const ENDS_AT_ONCE: usize = 64;
/// No slower than this part of the usual pace.
const SLOWEST: f64 = 1.0 / 16.0;
/// So much of the pace comes back with each call.
const RECOVERY: f64 = 1.05;
/// Calls that went out together are refused together: that counts once.
const EPISODE: Duration = Duration::from_secs(1);

/// The pace of one account and region. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pace {
    groups: Arc<Mutex<[Bucket; 3]>>,
    ends: Arc<Semaphore>,
    closed: CancellationToken,
}

/// The groups of operations that have a pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Starts,
    Reads,
    Logs,
}

/// The run has ended before the call's turn came.
#[derive(Debug, thiserror::Error)]
#[error("the run has ended")]
pub(crate) struct Closed {
    /// It was not the first attempt.
    pub(crate) repeated: bool,
}

impl Pace {
    /// With so many calls a second that start something.
    pub(crate) fn new(starts: f64) -> Self {
        let now = Instant::now();
        let burst = starts.clamp(1.0, BURST);
        Self {
            groups: Arc::new(Mutex::new([
                Bucket::new(starts, burst, now),
                Bucket::new(READS, BURST, now),
                Bucket::new(LOGS, BURST, now),
            ])),
            ends: Arc::new(Semaphore::new(ENDS_AT_ONCE)),
            closed: CancellationToken::new(),
        }
    }

    /// What waits for its turn fails, and only what ends or resumes something still goes out: a session that is granted
    /// to somebody who leaves would be left behind.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// When the next call of an operation may go out; each answer is for one call. `None` is for those that only wait
    /// for one another.
    fn reserve(&self, operation: &str, repeated: bool, now: Instant) -> Option<Instant> {
        let group = match operation {
            "ExecuteCommand" | "StartSession" | "RunTask" => Group::Starts,
            operation if is_end(operation) => return None,
            "GetLogEvents" => Group::Logs,
            _ => Group::Reads,
        };
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Some(groups[group as usize].reserve(repeated, now))
    }

    /// Waits for the turn of a call; an error if nothing is started any more.
    async fn turn(&self, at: Instant, repeated: bool) -> Result<(), BoxError> {
        let ended = || Err(Closed { repeated }.into());
        if at <= Instant::now() {
            return match self.closed.is_cancelled() {
                true => ended(),
                false => Ok(()),
            };
        }
        tokio::select! {
            biased;
            () = self.closed.cancelled() => ended(),
            () = sleep_until(at) => Ok(()),
        }
    }

    /// The same connections at this pace, for requests that wait for their turn `signed`, or have waited for it.
    pub(super) fn before(&self, inner: SharedHttpConnector, signed: bool) -> SharedHttpConnector {
        let pace = self.clone();
        SharedHttpConnector::new(Paced {
            pace,
            inner,
            signed,
        })
    }

    /// Has the SDK's requests wait for their turn: each attempt asks for its keys, and is signed right behind that.
    pub(super) fn before_signing(&self) -> impl ResolveCachedIdentity + 'static {
        Turns {
            pace: self.clone(),
            keys: IdentityCache::lazy().build(),
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

/// A token bucket that gives out times, in the order of asking. Time is an argument.
#[derive(Debug)]
struct Bucket {
    /// Tokens a second, while nothing is wrong.
    usual: f64,
    /// The part of it that is in force.
    share: f64,
    burst: f64,
    /// Below zero: so many calls wait for their time.
    tokens: f64,
    filled: Instant,
    slowed: Option<Instant>,
}

impl Bucket {
    fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self {
            usual: rate,
            share: 1.0,
            burst,
            tokens: burst,
            filled: now,
            slowed: None,
        }
    }

    fn reserve(&mut self, repeated: bool, now: Instant) -> Instant {
        let rate = self.usual * self.share;
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate).min(self.burst);
        self.filled = self.filled.max(now);
        let again = self.slowed.is_none_or(|at| now >= at + EPISODE);
        match (repeated, again) {
            (true, true) => {
                self.share = (self.share / 2.0).max(SLOWEST);
                self.slowed = Some(now);
            }
            (true, false) => {}
            (false, _) => self.share = (self.share * RECOVERY).min(1.0),
        }
        self.tokens -= 1.0;
        let wait = (-self.tokens).max(0.0) / (self.usual * self.share);
        now + Duration::from_secs_f64(wait)
    }
}

#[derive(Debug)]
struct Turns {
    pace: Pace,
    keys: SharedIdentityCache,
}

impl ResolveCachedIdentity for Turns {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        let attempts = config.load::<RequestAttempts>();
        let repeated = attempts.is_some_and(|attempts| attempts.attempts() > 1);
        let at = self.pace.reserve(operation, repeated, Instant::now());
        IdentityFuture::new(async move {
            if let Some(at) = at {
                self.pace.turn(at, repeated).await?;
            }
            let keys = self
                .keys
                .resolve_cached_identity(resolver, components, config);
            keys.await
        })
    }
}

#[derive(Debug)]
struct Paced {
    pace: Pace,
    inner: SharedHttpConnector,
    /// Nothing else makes these requests wait.
    signed: bool,
}

impl HttpConnector for Paced {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        // The SDK counts its attempts: `attempt=2; max=8`.
        let attempt = request.headers().get("amz-sdk-request").unwrap_or_default();
        let repeated = attempt
            .split("attempt=")
            .nth(1)
            .is_some_and(|rest| !rest.starts_with("1;") && rest != "1");
        let now = Instant::now();
        if is_end(operation) {
            let (ends, inner) = (Arc::clone(&self.pace.ends), self.inner.clone());
            return HttpConnectorFuture::new(async move {
                // It is never closed; without a place the call would only be less bounded.
                let _place = ends.acquire_owned().await.ok();
                inner.call(request).await
            });
        }
        let turn = match self.signed {
            true => self.pace.reserve(operation, repeated, now),
            false => None,
        };
        let (pace, inner) = (self.pace.clone(), self.inner.clone());
        HttpConnectorFuture::new(async move {
            // Closed meanwhile: keys may have taken their time.
            let turn = pace.turn(turn.unwrap_or(now), repeated).await;
            turn.map_err(ConnectorError::user)?;
            inner.call(request).await
        })
    }
}

/// What ends or resumes something.
fn is_end(operation: &str) -> bool {
    matches!(operation, "TerminateSession" | "ResumeSession" | "StopTask")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_rate_and_the_burst() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(10.0, 5.0, begin);
        let mut times: Vec<Duration> = Vec::new();
        for step in 0..300_u64 {
            let now = begin + Duration::from_millis(step * 7);
            times.push(bucket.reserve(false, now) - begin);
        }
        assert!(times.is_sorted(), "in the order of asking");
        for first in &times {
            let window = *first..*first + Duration::from_secs(1);
            let count = times.iter().filter(|at| window.contains(*at)).count();
            assert!(count <= 16, "{count} calls in a second");
        }
        let last = times[299].as_secs_f64();
        assert!((29.0..30.0).contains(&last), "295 calls at 10/s: {last}");
    }

    #[test]
    fn repetitions_slow_it_down_and_other_calls_bring_it_back() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(10.0, 1.0, begin);
        for _ in 0..10 {
            bucket.reserve(true, begin);
        }
        assert!((bucket.share - 0.5).abs() < 1e-9, "all at once count once");
        for second in 1..10 {
            bucket.reserve(true, begin + EPISODE * second);
        }
        assert!((bucket.share - SLOWEST).abs() < 1e-9);
        for _ in 0..100 {
            bucket.reserve(false, begin);
        }
        assert!((bucket.share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ending_sessions_does_not_wait_for_starting_them() {
        let pace = Pace::new(1.0);
        let now = Instant::now();
        for _ in 0..20 {
            pace.reserve("ExecuteCommand", false, now);
        }
        let late = now + Duration::from_secs(15);
        let next = pace.reserve("ExecuteCommand", false, now);
        assert!(next.is_some_and(|at| at > late));
        assert_eq!(pace.reserve("TerminateSession", false, now), None);
        assert_eq!(pace.reserve("DescribeTasks", false, now), Some(now));
    }
}
