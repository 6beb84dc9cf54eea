//! Following log streams, as a state machine: time and answers go in, reads and lines come out.
//!
//! Each stream is read with GetLogEvents by forward token: nothing is lost, nothing comes twice, and the order is that
//! of insertion. Between reads it waits, so that all streams together stay within what an account allows; a read that
//! finds something is followed by the next at once.
//!
//! A task's end comes before its last lines: drivers flush in batches, and what they sent is readable some seconds
//! later. [`Follower::stopped`] starts the rules for when a stream is out; they adapt to how late its lines were.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

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
    stopped: Option<Instant>,
    /// Reads in a row that began after the stop and found the end.
    empty_reads: u32,
    read_since_stop: bool,
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

    /// Adds a stream and gives its number.
    pub(crate) fn add(&mut self, now: Instant, from: Origin) -> usize {
        self.streams.push(Stream {
            from,
            exists: false,
            reading: false,
            due: now,
            idle_reads: 0,
            stopped: None,
            empty_reads: 0,
            read_since_stop: false,
            last_event: None,
            newest: None,
            lag: Duration::ZERO,
            end: None,
            recent: VecDeque::new(),
            skip_recent: false,
        });
        self.streams.len() - 1
    }

    /// Its container has stopped, `ago` before now. Reading goes on until the rules say that it is out.
    pub(crate) fn stopped(&mut self, now: Instant, stream: usize, ago: Duration) {
        let stream = &mut self.streams[stream];
        if stream.stopped.is_none() {
            stream.stopped = Some(now.checked_sub(ago).unwrap_or(now));
            stream.idle_reads = 0;
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
            stream.due = now + pause(&pace, stream.idle_reads, stream.stopped.is_some());
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
        stream.idle_reads += 1;
        stream.due = now + pause(&pace, stream.idle_reads, stream.stopped.is_some());
        self.judge(now, index);
    }

    /// The read failed in a way that may pass.
    pub(crate) fn failed(&mut self, now: Instant, index: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let longest = self.pace.longest;
        let stream = &mut self.streams[index];
        stream.reading = false;
        stream.idle_reads += 1;
        stream.due = now + longest;
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
        stream.end = if !stream.exists {
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
        if stream.end.is_none() && capped && !stream.reading && stream.idle_reads > 0 {
            stream.end = Some(match (stream.exists, stream.newest) {
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

/// The pause after so many reads in a row that found nothing: one, one, two, three … times the shortest. After the stop it is
/// the shortest always, since the end is near.
fn pause(pace: &Pace, idle_reads: u32, stopped: bool) -> Duration {
    if stopped {
        return pace.shortest;
    }
    (pace.shortest * idle_reads.saturating_sub(1).max(1)).min(pace.longest)
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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A stream of a service, on a virtual clock: lines become visible at their times.
    struct Service {
        /// When each line is written and when it can be read, in milliseconds from the start.
        lines: Vec<(u64, u64)>,
        /// When the stream appears.
        appears: u64,
        page: usize,
    }

    impl Service {
        fn answer(&self, at: Duration, from: &Origin) -> Option<Page> {
            let at = u64::try_from(at.as_millis()).unwrap();
            if at < self.appears {
                return None;
            }
            let first = match from {
                Origin::Time(_) => 0,
                Origin::Token(token) => token.parse().unwrap(),
            };
            let visible = self.lines.iter().take_while(|(_, seen)| *seen <= at);
            let events: Vec<Event> = visible
                .enumerate()
                .skip(first)
                .take(self.page)
                .map(|(number, (written, seen))| Event {
                    timestamp: i64::try_from(*written).unwrap(),
                    ingested: i64::try_from(*seen).unwrap(),
                    message: number.to_string(),
                })
                .collect();
            Some(Page {
                next: (first + events.len()).to_string(),
                events,
            })
        }
    }

    struct Ran {
        lines: Vec<String>,
        end: End,
        took: Duration,
        calls: usize,
    }

    /// Follows until the end; the container stops at `stop`.
    fn run(service: &Service, stop: u64, drain: Drain) -> Ran {
        let start = Instant::now();
        let mut now = start;
        let pace = Pace {
            drain,
            ..Pace::default()
        };
        let mut follower = Follower::new(pace);
        let stream = follower.add(now, Origin::Time(None));
        let (mut lines, mut calls) = (Vec::new(), 0);
        let stop = start + Duration::from_millis(stop);
        let mut stopped = false;
        loop {
            if !stopped && now >= stop {
                follower.stopped(now, stream, Duration::ZERO);
                stopped = true;
            }
            match follower.step(now) {
                Step::Read { stream, from } => {
                    calls += 1;
                    let answer = service.answer(now - start, &from);
                    now += Duration::from_millis(30);
                    match answer {
                        Some(page) => {
                            let events = follower.page(now, stream, page);
                            lines.extend(events.into_iter().map(|event| event.message));
                        }
                        None => follower.absent(now, stream),
                    }
                }
                Step::Wait(until) => {
                    now = if stopped {
                        until
                    } else {
                        until.min(stop.max(now + Duration::from_millis(1)))
                    }
                }
                Step::Idle => match follower.end(stream) {
                    Some(end) => {
                        let took = now.saturating_duration_since(stop);
                        return Ran {
                            lines,
                            end,
                            took,
                            calls,
                        };
                    }
                    None => unreachable!("it waits for nothing"),
                },
            }
        }
    }

    fn usual() -> Drain {
        Drain::within(Drain::CAP)
    }

    /// So many lines in a burst at the start, readable in uneven batches after `delays` in turn.
    fn burst(count: u64, delays: &[u64]) -> Service {
        let mut seen = 0;
        let lines = (0..count).map(|number| {
            let batch = usize::try_from(number / 37).unwrap() % delays.len();
            seen = seen.max(number + delays[batch]);
            (number, seen)
        });
        Service {
            lines: lines.collect(),
            appears: 500,
            page: 100,
        }
    }

    #[test]
    fn every_line_comes_once_and_in_order() {
        for delays in [&[0][..], &[4000], &[100, 4000, 300, 2500], &[9000, 200]] {
            let ran = run(&burst(2000, delays), 2100, usual());
            let expected: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
            assert_eq!(ran.lines, expected, "{delays:?}");
            assert_eq!(ran.end, End::Out, "{delays:?}");
        }
    }

    #[test]
    fn lines_that_are_twenty_seconds_late_are_waited_for_once_one_was_seen() {
        // The first line is on time, so the service is known to be late with the second only when it comes.
        let mut service = burst(40, &[20_000]);
        service.lines.insert(0, (0, 1000));
        service.lines[1..]
            .iter_mut()
            .for_each(|line| line.1 = line.1.max(20_000));
        let ran = run(&service, 16_000, usual());
        assert_eq!((ran.lines.len(), ran.end), (41, End::Out));
    }

    #[test]
    fn an_empty_stream_and_an_absent_one_are_told_apart() {
        let empty = Service {
            lines: Vec::new(),
            appears: 0,
            page: 10,
        };
        let ran = run(&empty, 1000, usual());
        assert_eq!(ran.end, End::Empty);
        assert!((10..12).contains(&ran.took.as_secs()), "{:?}", ran.took);
        let absent = Service {
            appears: 1_000_000,
            ..empty
        };
        let ran = run(&absent, 1000, usual());
        assert_eq!(ran.end, End::Absent);
        assert!((15..17).contains(&ran.took.as_secs()), "{:?}", ran.took);
    }

    #[test]
    fn a_quiet_stream_is_out_five_seconds_after_the_stop() {
        let ran = run(&burst(10, &[200]), 1000, usual());
        assert_eq!(ran.end, End::Out);
        assert!((5..7).contains(&ran.took.as_secs()), "{:?}", ran.took);
        assert!(ran.calls < 16, "{} calls", ran.calls);
        // Nobody has to wait longer than he likes.
        let ran = run(&burst(10, &[200]), 1000, Drain::within(Duration::ZERO));
        assert_eq!((ran.lines.len(), ran.end), (10, End::Out));
        assert!(ran.took < 3 * SECOND, "{:?}", ran.took);
    }

    #[test]
    fn lines_that_never_end_are_cut_off() {
        let forever = Service {
            lines: (0..200)
                .map(|number| (number * 500, number * 500))
                .collect(),
            appears: 0,
            page: 10,
        };
        let ran = run(&forever, 1000, usual());
        assert_eq!(ran.end, End::Capped);
        assert!((30..33).contains(&ran.took.as_secs()), "{:?}", ran.took);
    }

    #[test]
    fn idle_streams_share_a_rate_and_the_longest_waiting_is_first() {
        let start = Instant::now();
        let mut follower = Follower::new(Pace::default());
        for _ in 0..40 {
            follower.add(start, Origin::Token("0".into()));
        }
        let (mut now, mut reads) = (start, vec![0; 40]);
        while now < start + 60 * SECOND {
            match follower.step(now) {
                Step::Read { stream, .. } => {
                    reads[stream] += 1;
                    let page = Page {
                        next: "0".into(),
                        ..Page::default()
                    };
                    follower.page(now, stream, page);
                }
                Step::Wait(until) => now = until,
                Step::Idle => unreachable!("answers come at once"),
            }
        }
        let all: u32 = reads.iter().sum();
        assert!((230..=244).contains(&all), "{all}");
        assert!(
            reads.iter().all(|count| (5..=7).contains(count)),
            "{reads:?}"
        );
    }

    #[test]
    fn one_idle_stream_costs_twelve_calls_a_minute() {
        let start = Instant::now();
        let mut follower = Follower::new(Pace::default());
        let stream = follower.add(start, Origin::Token("0".into()));
        let (mut now, mut calls) = (start, 0);
        while now < start + 120 * SECOND {
            match follower.step(now) {
                Step::Read { .. } => {
                    // The first minute is for getting there.
                    calls += u32::from(now >= start + 60 * SECOND);
                    let page = Page {
                        next: "0".into(),
                        ..Page::default()
                    };
                    follower.page(now, stream, page);
                }
                Step::Wait(until) => now = until,
                Step::Idle => unreachable!("answers come at once"),
            }
        }
        assert_eq!(calls, 12);
        follower.ring(now, stream);
        assert!(matches!(follower.step(now), Step::Read { .. }));
    }

    #[test]
    fn a_lost_token_repeats_nothing() {
        let start = Instant::now();
        let mut follower = Follower::new(Pace::default());
        let stream = follower.add(start, Origin::Time(None));
        let event = |number: i64| Event {
            timestamp: number,
            ingested: number,
            message: number.to_string(),
        };
        assert!(matches!(follower.step(start), Step::Read { .. }));
        let first = Page {
            events: vec![event(1), event(2), event(2)],
            next: "3".into(),
        };
        assert_eq!(follower.page(start, stream, first).len(), 3);
        assert!(matches!(follower.step(start), Step::Read { .. }));
        follower.token_lost(start, stream);
        let again = Step::Read {
            stream,
            from: Origin::Time(Some(2)),
        };
        assert_eq!(follower.step(start), again);
        let page = Page {
            events: vec![event(2), event(2), event(3)],
            next: "4".into(),
        };
        assert_eq!(follower.page(start, stream, page), [event(3)]);
    }
}
