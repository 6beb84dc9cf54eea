//! Tasks without processes: thousands of agents that speak the wire like any other, and play the container themselves.
//!
//! A container with the docker label `bowline.sandbox.simulated` never starts a process. Its agent is
//! `agent/simulated.rs`. The scenario `fleet` makes a service of such tasks, some of which fail on purpose; which ones
//! is on their tag [`FATE_TAG`].

use std::sync::atomic::{AtomicUsize, Ordering};

/// The docker label.
pub(crate) const LABEL: &str = "bowline.sandbox.simulated";
/// Says of each task how its commands fare.
pub(crate) const FATE_TAG: &str = "bowline.sandbox.fate";
/// Spreads fates over the tasks in the order of their birth: prime, so that it shares no factor with most numbers of
/// tasks.
const STRIDE: usize = 7919;

/// How the commands of a simulated task fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As the command says.
    Fine,
    /// They end with code 1.
    Fails,
    /// The agent is RUNNING and not connected.
    Unreachable,
    /// They never end.
    Hangs,
}

impl Fate {
    /// As on the tag.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Fails => "fails",
            Self::Unreachable => "unreachable",
            Self::Hangs => "hangs",
        }
    }
}

/// The service that the scenario makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Its tasks.
    pub tasks: usize,
    /// How many of them fail commands.
    pub failing: usize,
    /// How many cannot be reached.
    pub unreachable: usize,
    /// How many never end a command.
    pub hanging: usize,
}

impl Fleet {
    /// `TASKS[:FAILING[:UNREACHABLE[:HANGING]]]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<usize>> = text.split(':').map(|part| part.parse().ok()).collect();
        let numbers = numbers.filter(|numbers| (1..=4).contains(&numbers.len()))?;
        let number = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let fleet = Self {
            tasks: number(0),
            failing: number(1),
            unreachable: number(2),
            hanging: number(3),
        };
        let others = numbers
            .iter()
            .skip(1)
            .try_fold(0_usize, |sum, more| sum.checked_add(*more))?;
        (others <= fleet.tasks && fleet.tasks <= 10_000).then_some(fleet)
    }

    fn fate(&self, number: usize) -> Fate {
        // Tasks that replace others are fine.
        if number >= self.tasks {
            return Fate::Fine;
        }
        let stride = if self.tasks.is_multiple_of(STRIDE) {
            1
        } else {
            STRIDE
        };
        let place = number * stride % self.tasks;
        match () {
            () if place < self.failing => Fate::Fails,
            () if place < self.failing + self.unreachable => Fate::Unreachable,
            () if place < self.failing + self.unreachable + self.hanging => Fate::Hangs,
            () => Fate::Fine,
        }
    }
}

/// Gives each simulated task of a world its fate.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    fleet: Fleet,
    born: AtomicUsize,
}

impl Fates {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            born: AtomicUsize::new(0),
        }
    }

    pub(crate) fn next(&self) -> Fate {
        self.fleet.fate(self.born.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_comes_as_often_as_was_asked_for() {
        for tasks in [100, 1000, STRIDE] {
            let fleet = Fleet {
                tasks,
                failing: 50,
                unreachable: 20,
                hanging: 10,
            };
            let fates = Fates::new(fleet);
            let all: Vec<Fate> = (0..tasks).map(|_| fates.next()).collect();
            let count = |fate| all.iter().filter(|other| **other == fate).count();
            assert_eq!(
                (
                    count(Fate::Fails),
                    count(Fate::Unreachable),
                    count(Fate::Hangs)
                ),
                (50, 20, 10)
            );
            assert_eq!(fates.next(), Fate::Fine);
        }
    }

    #[test]
    fn what_is_not_possible_is_refused() {
        assert_eq!(
            Fleet::parse("60:3:1").map(|fleet| fleet.unreachable),
            Some(1)
        );
        for text in ["", "x", "5:6", "5:3:3", "1:0:0:0:0", "20000", "-1"] {
            assert_eq!(Fleet::parse(text), None, "{text}");
        }
    }
}
