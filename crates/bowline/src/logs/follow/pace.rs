//! How often streams are read, and for how long after a stop.

use std::time::Duration;

/// The numbers of the follower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Calls per second for all streams together. GetLogEvents allows ten in an account, colleagues included.
    pub(crate) calls_per_second: u32,
    /// Between two reads of a stream that has nothing new, at first …
    pub(crate) shortest: Duration,
    /// … and in the long run.
    pub(crate) longest: Duration,
    /// Reads in flight.
    pub(crate) at_once: usize,
    /// See [`Drain`].
    pub(crate) drain: Drain,
}

/// When a stream of a stopped container is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// It is read for at least so long after the stop.
    pub(crate) settle: Duration,
    /// Nothing came for so long.
    pub(crate) quiet: Duration,
    /// The same for a stream that exists and was empty so far: its only batch may be on its way.
    pub(crate) empty: Duration,
    /// A stream that does not exist by then is not coming.
    pub(crate) absent: Duration,
    /// It is read for at most so long.
    pub(crate) cap: Duration,
}

impl Pace {
    /// The pause after so many reads in a row that found nothing: one, one, two, three … times the shortest. After the
    /// stop it is the shortest always, since the end is near.
    pub(super) fn pause(&self, idle_reads: u32, stopped: bool) -> Duration {
        if stopped {
            return self.shortest;
        }
        (self.shortest * idle_reads.saturating_sub(1).max(1)).min(self.longest)
    }

    /// The pause after a read that failed. The time for reading on after the stop is short.
    pub(super) fn pause_after_failure(&self, stopped: bool) -> Duration {
        match stopped {
            true => self.longest.min(self.shortest * 2),
            false => self.longest,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            calls_per_second: 4,
            shortest: Duration::from_secs(1),
            longest: Duration::from_secs(5),
            at_once: 4,
            drain: Drain::within(Drain::CAP),
        }
    }
}

impl Drain {
    /// How long to read on after a stop, if nobody says otherwise.
    pub(crate) const CAP: Duration = Duration::from_secs(30);

    /// The usual rules, each bounded by `cap`. A longer cap than usual means that lines are known to be late, so an
    /// empty stream is given all of it.
    pub(crate) fn within(cap: Duration) -> Self {
        let all = |usual: u64| match cap > Self::CAP {
            true => cap,
            false => cap.min(Duration::from_secs(usual)),
        };
        Self {
            settle: cap.min(Duration::from_secs(5)),
            quiet: cap.min(Duration::from_secs(3)),
            empty: all(10),
            absent: all(15),
            cap,
        }
    }
}
