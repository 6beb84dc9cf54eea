//! How fast AWS may be asked: never more than ten calls in any second, fewer when it says "throttled".

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Calls in any one second. ECS's own limits are per account and shared with whatever else runs there (deployments,
/// monitoring); the published example is 20 a second for reads of clusters.
pub(super) const CALLS_PER_SECOND: usize = 10;
/// A call's place is free again this long after its answer, so that whatever the network does in between, the far end
/// never sees more than the limit in one second.
const REST: Duration = Duration::from_secs(1);
/// The longest rest, after throttling.
const LONGEST_REST: Duration = Duration::from_secs(16);

/// The places that calls take. Time is an argument.
#[derive(Debug)]
pub(super) struct Pace {
    running: usize,
    resting: BinaryHeap<Reverse<Instant>>,
    rest: Duration,
    not_before: Option<Instant>,
    started: VecDeque<Instant>,
    peak: usize,
    calls: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            running: 0,
            resting: BinaryHeap::new(),
            rest: REST,
            not_before: None,
            started: VecDeque::new(),
            peak: 0,
            calls: 0,
        }
    }

    /// Takes a place, if one is free.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        while self.resting.peek().is_some_and(|until| until.0 <= now) {
            self.resting.pop();
        }
        let full = self.running + self.resting.len() >= CALLS_PER_SECOND;
        if full || self.not_before.is_some_and(|at| at > now) {
            return false;
        }
        self.running += 1;
        self.calls += 1;
        self.count(now);
        true
    }

    /// A call was answered. After throttling there is a pause and everything rests longer, with `jitter` (0 to 255) to
    /// spread those who were throttled together; each other answer takes some of that back.
    pub(super) fn ended(&mut self, now: Instant, throttled: Option<u8>) {
        self.running = self.running.saturating_sub(1);
        self.rest = match throttled {
            Some(jitter) => (self.rest * 2).min(LONGEST_REST) + REST * u32::from(jitter) / 1024,
            None => (self.rest * 3 / 4).max(REST),
        };
        self.resting.push(Reverse(now + self.rest));
        if throttled.is_some() {
            self.not_before = Some(now + self.rest / 4);
        }
    }

    /// When to try again, unless a call is answered before.
    pub(super) fn next_free(&self, now: Instant) -> Option<Instant> {
        let pause = self.not_before.filter(|at| *at > now);
        pause.or_else(|| self.resting.peek().map(|until| until.0))
    }

    /// The most calls that were started in one second.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    /// All calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    fn count(&mut self, now: Instant) {
        self.started.push_back(now);
        while self
            .started
            .front()
            .is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1))
        {
            self.started.pop_front();
        }
        self.peak = self.peak.max(self.started.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as fast as allowed for this long, each call taking `took`, and gives the times of arrival at the far end,
    /// which sees a call anywhere between its start and its answer.
    fn arrivals(pace: &mut Pace, took: Duration, span: Duration) -> Vec<Duration> {
        let begin = Instant::now();
        let step = Duration::from_millis(5);
        let mut seen = Vec::new();
        let mut running: Vec<Instant> = Vec::new();
        let mut now = begin;
        while now - begin < span {
            let (ended, still): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|started| now >= *started + took);
            running = still;
            for _ in ended {
                pace.ended(now, None);
            }
            while pace.start(now) {
                running.push(now);
                // Early calls are slow to arrive, later ones are not: the worst case for a limit by starts alone.
                let delay = if seen.len() < 10 {
                    took
                } else {
                    Duration::ZERO
                };
                seen.push(now + delay - begin);
            }
            now += step;
        }
        seen
    }

    #[test]
    fn no_second_sees_more_than_ten_calls_wherever_it_begins() {
        for took in [0, 20, 300, 1500].map(Duration::from_millis) {
            let mut pace = Pace::new();
            let mut seen = arrivals(&mut pace, took, Duration::from_secs(12));
            seen.sort();
            for first in &seen {
                let window = *first..*first + Duration::from_secs(1);
                let count = seen.iter().filter(|at| window.contains(*at)).count();
                assert!(count <= CALLS_PER_SECOND, "{count} calls with {took:?}");
            }
            assert!(pace.peak() <= CALLS_PER_SECOND);
            let cycles = 12.0 / (took.as_secs_f64() + 1.0);
            assert!(seen.len() as f64 >= cycles * 9.0, "{} calls", seen.len());
        }
    }

    #[test]
    fn throttling_slows_down_and_success_recovers() {
        let mut now = Instant::now();
        let mut pace = Pace::new();
        for _ in 0..8 {
            now = pace.next_free(now).unwrap_or(now);
            assert!(pace.start(now));
            pace.ended(now, Some(255));
            assert!(!pace.start(now), "a pause");
        }
        assert!(pace.rest >= LONGEST_REST);
        assert!(pace.rest < LONGEST_REST + REST);
        for _ in 0..20 {
            pace.ended(now, None);
        }
        assert_eq!(pace.rest, REST);
    }
}
