//! Getting a session's connection back: ResumeSession, the new URL, and the patience for both.
//!
//! The answer's StreamUrl is dialled byte for byte: the one of before carries a `cell-number` that expires (data-channel
//! specification §17.6). Credentials and signature are fetched anew for every attempt, because an hour later the first
//! ones are often gone.

use std::error::Error;
use std::time::Duration;

use bowline_proto::{IdSource, MessageId};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::connect::{self, ChannelError, Connection};
use crate::Client;
use crate::model::SessionGrant;

/// For how long a lost connection is tried to be restored, if the caller does not say.
pub const DEFAULT_RECONNECT: Duration = Duration::from_secs(300);

// Tuning.
/// The pause after the first attempt that failed, before jitter; it doubles …
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One attempt takes no longer: a path that swallows everything must not use up the whole patience.
const ATTEMPT: Duration = Duration::from_secs(30);
/// The last one begins when the patience is just over, and has this long.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);
/// For a channel that breaks while it is opened for the first time.
const FIRST_OPEN: Duration = Duration::from_secs(10);

/// What it takes to reach a session again.
#[derive(Clone)]
pub(crate) struct Resumption {
    client: Client,
    session_id: String,
    /// The same for all connections of a session, as in the reference plugin.
    client_id: MessageId,
    seed: u64,
    patience: Duration,
}

impl Resumption {
    pub(crate) fn new(client: &Client, session_id: &str, seed: u64, patience: Duration) -> Self {
        Self {
            client: client.clone(),
            session_id: session_id.to_owned(),
            client_id: IdSource::new(!seed).next_id(),
            seed,
            patience,
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// The first connection. One that breaks while it is opened, or is turned away although the session was just
    /// granted, is asked for again: the session is there and may run something already.
    pub(crate) async fn open(&self, grant: &SessionGrant) -> Result<Connection, ChannelError> {
        let mut ids = IdSource::new(self.seed.rotate_left(32));
        match connect::open(&self.client, grant, ids.next_id(), self.client_id).await {
            Err(error) if is_passing(&error) && !self.patience.is_zero() => {
                let mut once_more = self.clone();
                once_more.patience = self.patience.min(FIRST_OPEN);
                match once_more.restore(Instant::now(), 0, chain(&error)).await {
                    // Nothing was lost yet that could be restored.
                    Err(ChannelError::GaveUp { .. }) => Err(error),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// A new connection to the session, however long it takes within the patience, which began at `since`. `failed`
    /// connections were made since then and broke before they were of any use, the last one by `cause`.
    pub(crate) async fn restore(
        self,
        since: Instant,
        failed: u32,
        cause: String,
    ) -> Result<Connection, ChannelError> {
        let mut pauses = Pauses::new(self.seed);
        let mut pause = (0..failed).map(|_| pauses.next()).last();
        let mut source = cause.clone();
        let mut ids = IdSource::new(self.seed.wrapping_add(u64::from(failed)));
        loop {
            if let Some(pause) = pause {
                let left = self.patience.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return Err(ChannelError::GaveUp {
                        patience: self.patience,
                        source: source.into(),
                    });
                }
                sleep(pause.min(left)).await;
            }
            let left = self.patience.saturating_sub(since.elapsed());
            match timeout(
                left.clamp(LAST_ATTEMPT, ATTEMPT),
                self.attempt(ids.next_id(), &cause),
            )
            .await
            {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(reason))) => source = reason,
                Err(_) => source = "no answer in time".to_owned(),
            }
            debug!(session = self.session_id, source, "not resumed yet");
            pause = Some(pauses.next());
        }
    }

    async fn attempt(&self, request_id: MessageId, cause: &str) -> Result<Connection, Failure> {
        let grant = match self.client.resume_session(&self.session_id).await {
            Ok(Some(grant)) => grant,
            Ok(None) => {
                return Err(Failure::Final(ChannelError::Ended {
                    session_id: self.session_id.clone(),
                    cause: cause.to_owned(),
                }));
            }
            // An endpoint that is not SSM's does not become it by waiting either.
            Err(refusal)
                if refusal.is_access_denied() || refusal.is("UnknownOperationException") =>
            {
                return Err(Failure::Final(ChannelError::ResumeDenied {
                    cause: cause.to_owned(),
                    refusal: Box::new(refusal),
                }));
            }
            Err(source) => return Err(Failure::Passing(chain(&source))),
        };
        connect::open(&self.client, &grant, request_id, self.client_id)
            .await
            .map_err(|error| match error {
                // These do not get better by waiting.
                ChannelError::Refused {
                    status: 401 | 403, ..
                }
                | ChannelError::Url(_)
                | ChannelError::ForeignHost { .. }
                | ChannelError::NotSecure { .. }
                | ChannelError::Trust(_) => Failure::Final(error),
                other => Failure::Passing(chain(&other)),
            })
    }
}

/// Whether a first connection that failed so is worth another attempt.
fn is_passing(error: &ChannelError) -> bool {
    matches!(
        error,
        ChannelError::Lost { .. }
            | ChannelError::Closed { .. }
            | ChannelError::Failing { .. }
            | ChannelError::Refused {
                status: 404 | 408 | 429,
                ..
            }
    )
}

enum Failure {
    /// Trying again is no use.
    Final(ChannelError),
    /// It may get better.
    Passing(String),
}

/// The whole of an error in one line: it is told once, long after.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}

/// Doubling pauses, each between half and the whole of its step, so that a thousand clients do not come back at once.
struct Pauses {
    step: Duration,
    random: u64,
}

impl Pauses {
    fn new(seed: u64) -> Self {
        Self {
            step: FIRST_PAUSE,
            random: seed | 1,
        }
    }

    fn next(&mut self) -> Duration {
        // Xorshift: good enough to spread clients.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.step / 2;
        let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        let pause = half + Duration::from_millis(self.random % spread);
        self.step = (self.step * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_differ_between_clients() {
        let pauses = |seed| {
            let mut pauses = Pauses::new(seed);
            (0..12).map(|_| pauses.next()).collect::<Vec<_>>()
        };
        let (one, other) = (pauses(1), pauses(2));
        assert_ne!(one, other);
        for (n, pause) in one.iter().chain(&other).enumerate() {
            let step = (FIRST_PAUSE * (1 << (n % 12).min(10))).min(LONGEST_PAUSE);
            assert!(*pause >= step / 2 && *pause <= step, "{n}: {pause:?}");
        }
    }
}
