//! Following log streams, as a state machine: time and answers go in, reads and lines come out.
//!
//! Each stream is read with GetLogEvents by forward token: nothing is lost, nothing comes twice, and the order is that
//! of insertion. Between reads it waits, so that all streams together stay within what an account allows; a read that
//! finds something is followed by the next at once.
//!
//! A task's end comes before its last lines: drivers flush in batches, and what they sent is readable some seconds
//! later. [`Follower::stopped`] starts the rules for when a stream is out; they adapt to how late its lines were.

mod pace;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

pub(crate) use self::pace::{Drain, Pace};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask for a page and give the answer back.
    Read {
        /// The stream's number.
        stream: usize,
        /// The token to ask with.
        from: Origin,
    },
    /// Nothing before this moment, unless an answer comes.
    Wait(Instant),
    /// Nothing at all, unless an answer comes or a stream is added.
    Idle,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// At the first event of this time (milliseconds since 1970) or later, or of the stream.
    Time(Option<i64>),
    /// After the page that gave this token.
    Token(String),
}

/// One event of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Milliseconds since 1970, by the driver.
    pub(crate) timestamp: i64,
    /// Milliseconds since 1970, by the service.
    pub(crate) ingested: i64,
    pub(crate) message: String,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    /// For the page after this one; the same as before when this is the end.
    pub(crate) next: String,
}

/// Why a stream is no longer read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is out, by all rules.
    Out,
    /// It exists and nothing came: nothing was written, or it is later than anybody waits.
    Empty,
    /// It never existed.
    Absent,
    /// The time for reading on was up while lines still came.
    Capped,
    /// The time for reading on was up, and the last read had failed.
    Unread,
    /// The reading failed for good.
    Failed,
}

/// Follows any number of streams.
#[derive(Debug)]
pub(crate) struct Follower {
    pace: Pace,
    streams: Vec<Stream>,
    in_flight: usize,
    /// When each of the last calls was made, for the rate.
    calls: VecDeque<Instant>,
}

#[derive(Debug)]
struct Stream {
    from: Origin,
    exists: bool,
    reading: bool,
    /// When to read next.
    due: Instant,
    /// When it became due first; the longest waiting is read first.
    idle_reads: u32,
    /// Others write into it too, so there may always be more.
    shared: bool,
    stopped: Option<Instant>,
    /// When the stop was told, however long ago it was.
    told: Option<Instant>,
    /// Reads in a row that began after the stop and found the end.
    empty_reads: u32,
    read_since_stop: bool,
    /// The last read failed, so nothing is known of what there is now.
    last_failed: bool,
    last_event: Option<Instant>,
    newest: Option<i64>,
    /// How late lines were ingested at most.
    lag: Duration,
    end: Option<End>,
    /// What was delivered last, to start again without a token. See [`Follower::token_lost`].
    recent: VecDeque<u64>,
    skip_recent: bool,
}

impl Follower {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            streams: Vec::new(),
            in_flight: 0,
            calls: VecDeque::new(),
        }
    }

    /// Adds a stream and gives its number. Into a `shared` one others write too.
    pub(crate) fn add(&mut self, now: Instant, from: Origin, shared: bool) -> usize {
        self.streams.push(Stream {
            from,
            exists: false,
            reading: false,
            due: now,
            idle_reads: 0,
            shared,
            stopped: None,
            told: None,
            empty_reads: 0,
            read_since_stop: false,
            last_failed: false,
            last_event: None,
            newest: None,
            lag: Duration::ZERO,
            end: None,
            recent: VecDeque::new(),
            skip_recent: false,
        });
        self.streams.len() - 1
    }

    /// The last container that writes into it has stopped, `ago` before now. Reading goes on until the rules say that
    /// it is out.
    pub(crate) fn stopped(&mut self, now: Instant, stream: usize, ago: Duration) {
        let stream = &mut self.streams[stream];
        if stream.stopped.is_none() {
            stream.stopped = Some(now.checked_sub(ago).unwrap_or(now));
            stream.told = Some(now);
            stream.idle_reads = 0;
            stream.last_failed = false;
            stream.due = stream.due.min(now);
        }
    }

    /// Another container writes into a stream: it is read on from where it was, even if it was out.
    pub(crate) fn started(&mut self, now: Instant, stream: usize) {
        let stream = &mut self.streams[stream];
        if stream.stopped.is_some() && stream.end != Some(End::Failed) {
            stream.stopped = None;
            stream.told = None;
            stream.end = None;
            stream.idle_reads = 0;
            stream.empty_reads = 0;
            stream.read_since_stop = false;
            stream.due = stream.due.min(now);
        }
    }

    /// Somebody knows that there is something new: it is read at once.
    pub(crate) fn ring(&mut self, now: Instant, stream: usize) {
        let stream = &mut self.streams[stream];
        stream.idle_reads = 0;
        stream.due = stream.due.min(now);
    }

    /// Reads streams with nothing new only so often.
    pub(crate) fn slow_down(&mut self, longest: Duration) {
        self.pace.longest = longest;
    }

    /// What to do now.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        for index in 0..self.streams.len() {
            self.judge(now, index);
        }
        let second = Duration::from_secs(1);
        while self.calls.front().is_some_and(|call| *call + second <= now) {
            self.calls.pop_front();
        }
        let next = self
            .streams
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.end.is_none() && !stream.reading)
            .min_by_key(|(_, stream)| stream.due);
        let Some((index, stream)) = next else {
            return Step::Idle;
        };
        if self.in_flight >= self.pace.at_once {
            return Step::Idle;
        }
        if stream.due > now {
            return Step::Wait(stream.due);
        }
        if self.calls.len() >= self.pace.calls_per_second as usize
            && let Some(first) = self.calls.front()
        {
            return Step::Wait(*first + second);
        }
        self.calls.push_back(now);
        self.in_flight += 1;
        let stream = &mut self.streams[index];
        stream.reading = true;
        stream.read_since_stop = stream.stopped.is_some();
        Step::Read {
            stream: index,
            from: stream.from.clone(),
        }
    }

    /// A page came. Its events are the next lines of the stream.
    pub(crate) fn page(&mut self, now: Instant, index: usize, page: Page) -> Vec<Event> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let pace = self.pace;
        let stream = &mut self.streams[index];
        stream.reading = false;
        stream.last_failed = false;
        stream.exists = true;
        let at_end = stream.from == Origin::Token(page.next.clone());
        stream.from = Origin::Token(page.next);
        let mut events = page.events;
        if std::mem::take(&mut stream.skip_recent) {
            events.retain(|event| !stream.recent.contains(&fingerprint(event)));
        }
        for event in &events {
            stream.note(event);
        }
        if events.is_empty() && at_end {
            stream.idle_reads += 1;
            if stream.read_since_stop {
                stream.empty_reads += 1;
            }
            stream.due = now + pace.pause(stream.idle_reads, stream.stopped.is_some());
        } else {
            // An empty page with a new token only means that there is more to look through.
            stream.empty_reads = 0;
            stream.idle_reads = 0;
            stream.due = now;
            if !events.is_empty() {
                stream.last_event = Some(now);
            }
        }
        self.judge(now, index);
        events
    }

    /// There is no such stream, or no such group, as is usual before the first line.
    pub(crate) fn absent(&mut self, now: Instant, index: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let pace = self.pace;
        let stream = &mut self.streams[index];
        stream.reading = false;
        stream.last_failed = false;
        stream.idle_reads += 1;
        stream.due = now + pace.pause(stream.idle_reads, stream.stopped.is_some());
        self.judge(now, index);
    }

    /// The read failed in a way that may pass. That says nothing about what the stream holds.
    pub(crate) fn failed(&mut self, now: Instant, index: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let pace = self.pace;
        let stream = &mut self.streams[index];
        stream.reading = false;
        stream.last_failed = true;
        stream.due = now + pace.pause_after_failure(stream.stopped.is_some());
        self.judge(now, index);
    }

    /// The token is no longer accepted (they last a day): reading starts again at the newest line, without those that
    /// were delivered.
    pub(crate) fn token_lost(&mut self, now: Instant, index: usize) {
        self.failed(now, index);
        let stream = &mut self.streams[index];
        stream.from = Origin::Time(stream.newest);
        stream.skip_recent = true;
        stream.due = now;
    }

    /// The reading failed for good.
    pub(crate) fn give_up(&mut self, index: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let stream = &mut self.streams[index];
        stream.reading = false;
        stream.end = Some(End::Failed);
    }

    /// The same for a stream with no read in flight.
    pub(crate) fn fail(&mut self, index: usize) {
        self.streams[index].end = Some(End::Failed);
    }

    /// Why a stream is no longer read; `None` while it is.
    pub(crate) fn end(&self, stream: usize) -> Option<End> {
        self.streams[stream].end
    }

    /// How late lines of a stream were ingested at most.
    pub(crate) fn lag(&self, stream: usize) -> Duration {
        self.streams[stream].lag
    }

    fn judge(&mut self, now: Instant, index: usize) {
        let drain = self.pace.drain;
        let stream = &mut self.streams[index];
        let Some(stopped) = stream.stopped.filter(|_| stream.end.is_none()) else {
            return;
        };
        let since = now.saturating_duration_since(stopped);
        let quiet = stream
            .last_event
            .map_or(since, |event| now.saturating_duration_since(event));
        let capped = since >= drain.cap;
        stream.end = if stream.last_failed {
            None
        } else if !stream.exists {
            // At least one look after the stop, whatever the limits.
            (since >= drain.absent && stream.idle_reads > 0).then_some(End::Absent)
        } else if stream.newest.is_none() {
            (since >= drain.empty && stream.empty_reads >= 2).then_some(End::Empty)
        } else {
            // Half as late again as the latest line so far.
            let late = stream.lag + stream.lag / 2;
            let settle = drain.settle.max(late).min(drain.cap);
            let quiet_for = drain.quiet.max(late).min(drain.cap);
            let out = stream.empty_reads >= 2 && since >= settle && quiet >= quiet_for;
            out.then_some(End::Out)
        };
        let looked = stream.idle_reads > 0 || stream.last_failed;
        // The end of a shared stream may never be found.
        let enough = stream.shared
            && stream.read_since_stop
            && stream.told.is_some_and(|told| now >= told + drain.cap);
        if stream.end.is_none() && !stream.reading && (capped && looked || enough) {
            stream.end = Some(match (stream.exists, stream.newest) {
                _ if stream.last_failed => End::Unread,
                (false, _) => End::Absent,
                (true, None) => End::Empty,
                (true, Some(_)) if quiet >= drain.quiet => End::Out,
                (true, Some(_)) => End::Capped,
            });
        }
    }
}

impl Stream {
    fn note(&mut self, event: &Event) {
        self.newest = self.newest.max(Some(event.timestamp));
        let late = u64::try_from(event.ingested - event.timestamp).unwrap_or(0);
        // A clock that is off by minutes says nothing about lateness.
        if late < MOST_LATE {
            self.lag = self.lag.max(Duration::from_millis(late));
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(fingerprint(event));
    }
}

fn fingerprint(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.timestamp, event.ingested, &event.message).hash(&mut hasher);
    hasher.finish()
}

/// Milliseconds; see [`Stream::note`].
const MOST_LATE: u64 = 600_000;
/// Events that are recognised when a token is lost.
const RECENT: usize = 10_000;

#[cfg(test)]
mod tests;
