//! How often an account may ask CloudWatch Logs, where a scenario wants the limits.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Calls per second and account, by the documentation of 2023. Real time: these limits guard real machines.
const LIMITS: [(&str, f64); 5] = [
    ("GetLogEvents", 10.0),
    ("FilterLogEvents", 5.0),
    ("DescribeLogStreams", 5.0),
    ("DescribeLogGroups", 5.0),
    ("StartLiveTail", 3.0),
];

/// What is left of each operation's limit.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    left: Mutex<BTreeMap<&'static str, (f64, Instant)>>,
}

impl Rates {
    /// One more call; false if it is one too many.
    pub(crate) fn takes(&self, operation: &str, now: Instant) -> bool {
        let Some((name, limit)) = LIMITS.into_iter().find(|(name, _)| *name == operation) else {
            return true;
        };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = left.entry(name).or_insert((limit, now));
        let gained = now.saturating_duration_since(*since).as_secs_f64() * limit;
        *tokens = (*tokens + gained).min(limit);
        *since = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_gives_as_many_calls_as_the_limit_says() {
        let (rates, start) = (Rates::default(), Instant::now());
        let many = |at: Instant| {
            (0..100)
                .filter(|_| rates.takes("FilterLogEvents", at))
                .count()
        };
        assert_eq!(many(start), 5);
        assert_eq!(many(start + Duration::from_millis(450)), 2);
        assert_eq!(many(start + Duration::from_secs(60)), 5);
        assert!((0..100).all(|_| rates.takes("PutLogEvents", start)));
    }
}
