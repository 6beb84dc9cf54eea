//! What goes wrong with calls of the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::switch::{Active, count};
use super::{Faults, Rate, Rule, Throttle};

/// What the rules have counted.
pub(super) struct Calls {
    /// One for each rule about throttling.
    throttle: Vec<AtomicU64>,
    latency: Vec<AtomicU64>,
    buckets: Vec<Mutex<Bucket>>,
}

impl Calls {
    pub(super) fn new(faults: &Faults) -> Self {
        let counters = |number| (0..number).map(|_| AtomicU64::new(0)).collect();
        Self {
            throttle: counters(faults.throttle.len()),
            latency: counters(faults.latency.len()),
            buckets: faults
                .rate
                .iter()
                .map(|rule| Mutex::new(Bucket::full(rule.what)))
                .collect(),
        }
    }
}

impl Active {
    /// How long the answer to this call takes on purpose.
    pub(crate) fn latency(&self, operation: &str) -> Duration {
        let rules = self.faults.latency.iter().zip(&self.calls.latency).zip(0..);
        rules
            .filter(|((rule, _), _)| rule.is_about(operation))
            .map(|((rule, calls), index)| {
                self.dice
                    .within(rule.what, "latency", &[index, count(calls)])
            })
            .sum()
    }

    /// Whether this call is answered by ThrottlingException. Every rule counts every call it is about.
    pub(crate) fn throttles(&self, operation: &str) -> bool {
        self.throttles_at(operation, Instant::now())
    }

    fn throttles_at(&self, operation: &str, now: Instant) -> bool {
        let rules = self
            .faults
            .throttle
            .iter()
            .zip(&self.calls.throttle)
            .zip(0..);
        let by_rule = rules
            .filter(|((rule, _), _)| rule.is_about(operation))
            .map(|((rule, calls), index)| match (rule.what, count(calls)) {
                (Throttle::First(first), call) => call < first,
                (Throttle::Chance(chance), call) => {
                    self.dice.happens(chance, "throttle", &[index, call])
                }
            })
            .fold(false, |any, throttled| any | throttled);
        let by_rate = self
            .faults
            .rate
            .iter()
            .zip(&self.calls.buckets)
            .filter(|(rule, _)| rule.is_about(operation))
            .map(|(rule, bucket)| {
                let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                !bucket.take(rule.what, now)
            })
            .fold(false, |any, throttled| any | throttled);
        if by_rule || by_rate {
            self.happened.throttled.fetch_add(1, Ordering::Relaxed);
        }
        by_rule || by_rate
    }
}

impl<T> Rule<T> {
    fn is_about(&self, operation: &str) -> bool {
        self.operation
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(operation))
    }
}

/// A token bucket, in real time.
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        Self {
            tokens: rate.burst,
            filled: Instant::now(),
        }
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate.per_second).min(rate.burst);
        self.filled = now.max(self.filled);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Switch;

    fn active(words: &str) -> std::sync::Arc<Active> {
        Switch::new(words.parse().unwrap()).now()
    }

    #[test]
    fn rules_are_about_one_operation_or_all() {
        let first = active("throttle=ListTasks:2,latency=1s,latency=listtasks:2s");
        let throttled: Vec<bool> = (0..4).map(|_| first.throttles("ListTasks")).collect();
        assert_eq!(throttled, [true, true, false, false]);
        assert!(!first.throttles("DescribeTasks"));
        assert_eq!(first.latency("ListTasks"), Duration::from_secs(3));
        assert_eq!(first.latency("RunTask"), Duration::from_secs(1));

        let decide = |seed| {
            let active = active(&format!("throttle=50%,seed={seed}"));
            (0..64).map(|_| active.throttles("x")).collect::<Vec<_>>()
        };
        assert_eq!(decide(1), decide(1));
        assert_ne!(decide(1), decide(2));
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_its_share() {
        let active = active("rate=10/s:3");
        let start = Instant::now();
        let granted = |after| {
            let now = start + Duration::from_millis(after);
            (0..100).filter(|_| !active.throttles_at("x", now)).count()
        };
        assert_eq!(granted(1), 3);
        assert_eq!(granted(202), 2);
        assert_eq!(
            granted(60_000),
            3,
            "a rest fills it no higher than the burst"
        );
    }
}
