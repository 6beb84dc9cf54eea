//! Who runs next: limits, batches, time limits, repetitions and when to stop, as a state machine. Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

/// How much at once, and when it is enough.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Targets at once.
    pub max: usize,
    /// Targets at once in one account.
    pub max_per_account: usize,
    /// So many at a time, and the next ones when all of these have ended.
    pub batch: Option<usize>,
    /// Nothing more is started when more targets than this have failed.
    pub max_failures: Option<MaxFailures>,
    /// How long a command may run.
    pub time_limit: Option<Duration>,
    /// How often a target is tried that could not be connected to.
    pub attempts: u32,
}

/// How many failures are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxFailures {
    /// More than this many targets.
    Count(usize),
    /// More than this part of all targets.
    Percent(u8),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max: 50,
            max_per_account: 50,
            batch: None,
            max_failures: None,
            time_limit: None,
            attempts: 3,
        }
    }
}

/// The first pause before a target is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Good,
    Failed,
    /// Nothing was run, and another attempt may fare better.
    Passing,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Start this one; the first attempt is 1.
    Start { index: usize, attempt: u32 },
    /// Its command has run for too long.
    Expire { index: usize },
    /// It is not started any more.
    Skip { index: usize },
    /// Nothing until then, or until something ends.
    Wait { until: Option<Duration> },
    /// Everything has ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { not_before: Duration },
    Starting,
    Running { since: Duration },
    Expired,
    Over,
}

struct Item {
    account: usize,
    attempts: u32,
    state: State,
}

/// The order of things.
pub(super) struct Scheduler {
    limits: Limits,
    items: Vec<Item>,
    /// Those before this one are over.
    first: usize,
    /// The end of the present batch.
    batch_end: usize,
    running: usize,
    by_account: Vec<usize>,
    failures: usize,
    stopped: bool,
}

impl Scheduler {
    /// One item for each account named, in this order.
    pub(super) fn new<A: Ord>(limits: Limits, accounts: impl IntoIterator<Item = A>) -> Self {
        let mut numbers = BTreeMap::new();
        let items: Vec<Item> = accounts
            .into_iter()
            .map(|account| {
                let next = numbers.len();
                Item {
                    account: *numbers.entry(account).or_insert(next),
                    attempts: 0,
                    state: State::Waiting {
                        not_before: Duration::ZERO,
                    },
                }
            })
            .collect();
        Self {
            batch_end: limits.batch.unwrap_or(items.len()).max(1),
            by_account: vec![0; numbers.len()],
            limits,
            items,
            first: 0,
            running: 0,
            failures: 0,
            stopped: false,
        }
    }

    /// Nothing more is started.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The command of this one runs from now on.
    pub(super) fn runs(&mut self, index: usize, now: Duration) {
        if let Some(item) = self.items.get_mut(index)
            && item.state == State::Starting
        {
            item.state = State::Running { since: now };
        }
    }

    /// An attempt has ended. True if there will be another.
    pub(super) fn ended(&mut self, index: usize, how: Ended, now: Duration) -> bool {
        let Some(item) = self.items.get_mut(index) else {
            return false;
        };
        self.running -= 1;
        self.by_account[item.account] -= 1;
        let again = how == Ended::Passing && item.attempts < self.limits.attempts && !self.stopped;
        if again {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(item.attempts.saturating_sub(1).min(5));
            item.state = State::Waiting {
                not_before: now + pause,
            };
            return true;
        }
        item.state = State::Over;
        if how != Ended::Good {
            self.failures += 1;
            self.stopped |= self.too_many();
        }
        false
    }

    /// What to do next; asked again until it is to wait.
    pub(super) fn poll(&mut self, now: Duration) -> Step {
        let is_over = |item: &Item| item.state == State::Over;
        while self.items.get(self.first).is_some_and(is_over) {
            self.first += 1;
        }
        if self.first == self.items.len() {
            return Step::Done;
        }
        if self.first >= self.batch_end {
            self.batch_end += self.limits.batch.unwrap_or(self.items.len()).max(1);
        }
        let mut until: Option<Duration> = None;
        let mut soonest = |at: Duration| until = Some(until.map_or(at, |known| known.min(at)));
        let end = match self.stopped {
            true => self.items.len(),
            false => self.batch_end.min(self.items.len()),
        };
        for index in self.first..end {
            let item = &mut self.items[index];
            match item.state {
                State::Waiting { .. } if self.stopped => {
                    item.state = State::Over;
                    return Step::Skip { index };
                }
                State::Waiting { not_before } if not_before > now => soonest(not_before),
                State::Waiting { .. } => {
                    let room = self.running < self.limits.max
                        && self.by_account[item.account] < self.limits.max_per_account;
                    if room {
                        item.state = State::Starting;
                        item.attempts += 1;
                        self.running += 1;
                        self.by_account[item.account] += 1;
                        let attempt = item.attempts;
                        return Step::Start { index, attempt };
                    }
                }
                State::Running { since } => {
                    if let Some(limit) = self.limits.time_limit {
                        if since + limit <= now {
                            item.state = State::Expired;
                            return Step::Expire { index };
                        }
                        soonest(since + limit);
                    }
                }
                State::Starting | State::Expired | State::Over => {}
            }
        }
        Step::Wait { until }
    }

    fn too_many(&self) -> bool {
        match self.limits.max_failures {
            None => false,
            Some(MaxFailures::Count(most)) => self.failures > most,
            Some(MaxFailures::Percent(most)) => {
                self.failures * 100 > usize::from(most) * self.items.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn started(scheduler: &mut Scheduler, now: Duration) -> Vec<usize> {
        let mut all = Vec::new();
        while let Step::Start { index, .. } = scheduler.poll(now) {
            all.push(index);
        }
        all
    }

    fn scheduler(limits: Limits, accounts: &[&str]) -> Scheduler {
        Scheduler::new(limits, accounts.iter().copied())
    }

    #[test]
    fn no_more_run_than_may_in_all_and_in_an_account() {
        let limits = Limits {
            max: 3,
            max_per_account: 2,
            ..Limits::default()
        };
        let mut it = scheduler(limits, &["a", "a", "a", "b", "b"]);
        assert_eq!(started(&mut it, Duration::ZERO), [0, 1, 3]);
        it.ended(3, Ended::Good, SECOND);
        assert_eq!(started(&mut it, SECOND), [4], "account a is full");
        it.ended(0, Ended::Good, SECOND);
        assert_eq!(started(&mut it, SECOND), [2]);
        for index in [1, 2, 4] {
            it.ended(index, Ended::Good, SECOND);
        }
        assert_eq!(it.poll(SECOND), Step::Done);
    }

    #[test]
    fn a_batch_waits_for_the_one_before() {
        let limits = Limits {
            batch: Some(2),
            ..Limits::default()
        };
        let mut it = scheduler(limits, &["a"; 5]);
        assert_eq!(started(&mut it, Duration::ZERO), [0, 1]);
        it.ended(1, Ended::Good, SECOND);
        assert_eq!(started(&mut it, SECOND), [] as [usize; 0]);
        it.ended(0, Ended::Failed, SECOND);
        assert_eq!(started(&mut it, SECOND), [2, 3]);
        it.ended(2, Ended::Good, SECOND);
        it.ended(3, Ended::Good, SECOND);
        assert_eq!(started(&mut it, SECOND), [4]);
    }

    #[test]
    fn enough_failures_end_it_and_what_runs_runs_on() {
        for (most, failures) in [
            (MaxFailures::Count(0), 1),
            (MaxFailures::Count(2), 3),
            (MaxFailures::Percent(10), 2),
        ] {
            let limits = Limits {
                max: 4,
                max_failures: Some(most),
                ..Limits::default()
            };
            let mut it = scheduler(limits, &["a"; 10]);
            let first = started(&mut it, Duration::ZERO);
            for index in &first[..failures] {
                it.ended(*index, Ended::Failed, SECOND);
            }
            let mut skipped = 0;
            while let Step::Skip { .. } = it.poll(SECOND) {
                skipped += 1;
            }
            assert_eq!(skipped, 6, "{most:?}");
            assert_eq!(it.poll(SECOND), Step::Wait { until: None });
            for index in &first[failures..] {
                it.ended(*index, Ended::Good, SECOND);
            }
            assert_eq!(it.poll(SECOND), Step::Done);
        }
    }

    #[test]
    fn a_command_has_its_time_from_when_it_runs() {
        let limits = Limits {
            time_limit: Some(SECOND * 5),
            ..Limits::default()
        };
        let mut it = scheduler(limits, &["a", "a"]);
        assert_eq!(started(&mut it, Duration::ZERO), [0, 1]);
        it.runs(0, SECOND * 20);
        assert_eq!(
            it.poll(SECOND * 21),
            Step::Wait {
                until: Some(SECOND * 25)
            }
        );
        assert_eq!(it.poll(SECOND * 25), Step::Expire { index: 0 });
        assert_eq!(it.poll(SECOND * 26), Step::Wait { until: None });
        it.ended(0, Ended::Failed, SECOND * 26);
        it.ended(1, Ended::Good, SECOND * 26);
        assert_eq!(it.poll(SECOND * 26), Step::Done);
    }

    #[test]
    fn what_could_not_be_reached_is_tried_again_after_a_pause() {
        let limits = Limits {
            max: 1,
            attempts: 3,
            ..Limits::default()
        };
        let mut it = scheduler(limits, &["a", "b"]);
        assert_eq!(started(&mut it, Duration::ZERO), [0]);
        assert!(it.ended(0, Ended::Passing, Duration::ZERO));
        assert_eq!(started(&mut it, Duration::ZERO), [1], "others go first");
        assert!(!it.ended(1, Ended::Good, Duration::ZERO));
        assert_eq!(
            it.poll(Duration::ZERO),
            Step::Wait {
                until: Some(SECOND)
            }
        );
        let second = Step::Start {
            index: 0,
            attempt: 2,
        };
        assert_eq!(it.poll(SECOND), second);
        assert!(it.ended(0, Ended::Passing, SECOND));
        assert_eq!(
            it.poll(SECOND * 2),
            Step::Wait {
                until: Some(SECOND * 3)
            }
        );
        assert!(matches!(
            it.poll(SECOND * 3),
            Step::Start { attempt: 3, .. }
        ));
        assert!(
            !it.ended(0, Ended::Passing, SECOND * 3),
            "that was the last"
        );
        assert_eq!(it.poll(SECOND * 3), Step::Done);
    }

    #[test]
    fn a_stop_leaves_out_what_waits() {
        let limits = Limits {
            max: 1,
            ..Limits::default()
        };
        let mut it = scheduler(limits, &["a"; 3]);
        assert_eq!(started(&mut it, Duration::ZERO), [0]);
        it.stop();
        assert_eq!(it.poll(SECOND), Step::Skip { index: 1 });
        assert_eq!(it.poll(SECOND), Step::Skip { index: 2 });
        assert!(!it.ended(0, Ended::Passing, SECOND));
        assert_eq!(it.poll(SECOND), Step::Done);
    }
}
