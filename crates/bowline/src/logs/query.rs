//! What streams hold already: the last lines of each, or all since some time, merged by time.
//!
//! Within a stream the order is that of insertion, whatever the times say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::follow::{Event, Origin, Pace, Page};
use super::place::LogStream;
use super::reader::may_pass;
use crate::{AwsError, Client};

/// Reads at the same time.
const AT_ONCE: usize = 4;
/// The most that one call may ask for.
const PAGE: i32 = 10_000;

/// Which part of each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The last so many lines.
    Tail(usize),
    /// From here (milliseconds since 1970), or from the beginning.
    Since(Option<i64>),
}

/// Milliseconds that clocks may differ.
const SKEW: i64 = 60_000;

/// Several streams, merged.
pub(super) struct Query {
    client: Client,
    until: Option<i64>,
    streams: Vec<Held>,
    /// Streams that failed and have not been told of.
    failed: VecDeque<(usize, AwsError)>,
    rate: Rate,
    /// Milliseconds since 1970.
    begun: i64,
}

/// One of them.
struct Held {
    place: LogStream,
    from: Origin,
    events: VecDeque<Event>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    More,
    End,
    /// There is no such stream (yet).
    Absent,
    /// It cannot be read, now or …
    FailedForNow,
    /// … at all.
    Failed,
}

/// Spreads calls, as following does: never more in a second than an account can spare.
#[derive(Clone)]
struct Rate {
    /// When the last calls were or will be made.
    calls: Arc<Mutex<VecDeque<Instant>>>,
    per_second: usize,
}

impl Rate {
    fn new() -> Self {
        Self {
            calls: Arc::default(),
            per_second: Pace::default().calls_per_second as usize,
        }
    }

    /// Waits for the next call's turn.
    async fn turn(&self) {
        sleep_until(self.reserve(Instant::now())).await;
    }

    fn reserve(&self, now: Instant) -> Instant {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = now;
        if calls.len() >= self.per_second
            && let Some(first) = calls.pop_front()
        {
            at = at.max(first + Duration::from_secs(1));
        }
        calls.push_back(at);
        at
    }
}

/// The outcome of one fill.
type Filled = (usize, Result<Page, AwsError>);

impl Query {
    pub(super) fn new(client: Client, until: Option<i64>) -> Self {
        Self {
            client,
            until,
            streams: Vec::new(),
            failed: VecDeque::new(),
            rate: Rate::new(),
            begun: Timestamp::now().as_millisecond(),
        }
    }

    /// Adds streams. What cannot be read comes back with the reason.
    pub(super) async fn add(
        &mut self,
        places: Vec<LogStream>,
        part: Part,
    ) -> Vec<(usize, AwsError)> {
        let first = self.streams.len();
        for place in places {
            let since = match part {
                Part::Since(since) => since,
                Part::Tail(_) => None,
            };
            self.streams.push(Held {
                place,
                from: Origin::Time(since),
                events: VecDeque::new(),
                state: State::More,
            });
        }
        let Part::Tail(count) = part else {
            return Vec::new();
        };
        let mut failed = Vec::new();
        let mut waiting: VecDeque<usize> = (first..self.streams.len()).collect();
        let mut reads = FuturesUnordered::new();
        loop {
            while reads.len() < AT_ONCE
                && let Some(stream) = waiting.pop_front()
            {
                let place = self.streams[stream].place.clone();
                let (client, until, rate) = (self.client.clone(), self.until, self.rate.clone());
                reads.push(
                    async move { (stream, tail(&client, &rate, &place, count, until).await) },
                );
            }
            let Some((stream, answer)) = reads.next().await else {
                return failed;
            };
            let held = &mut self.streams[stream];
            match answer {
                Ok((events, forward)) => {
                    held.events = events;
                    held.from = Origin::Token(forward);
                    held.state = State::End;
                }
                Err(error) if error.is("ResourceNotFoundException") => held.state = State::Absent,
                Err(error) => {
                    held.state = State::failed(&error);
                    // Its last lines are not known. What comes from now on is not lost with them.
                    held.from = Origin::Time(Some(self.begun - SKEW));
                    failed.push((stream, error));
                }
            }
        }
    }

    /// The next line of all, by time; `None` when there is no more. Errors are of a stream that is then left out.
    pub(super) async fn next(&mut self) -> Option<Result<(usize, Event), (usize, AwsError)>> {
        self.fill().await;
        if let Some(failed) = self.failed.pop_front() {
            return Some(Err(failed));
        }
        let streams = self.streams.iter().enumerate();
        let (stream, _) = streams
            .filter_map(|(stream, held)| Some((stream, held.events.front()?.timestamp)))
            .min_by_key(|(_, time)| *time)?;
        let event = self.streams[stream].events.pop_front()?;
        Some(Ok((stream, event)))
    }

    /// Where reading goes on, once there is no more or it has failed for now; `None` if the stream cannot be read.
    pub(super) fn rest(&self, stream: usize) -> Option<(&LogStream, Origin)> {
        let held = &self.streams[stream];
        (held.state != State::Failed).then(|| (&held.place, held.from.clone()))
    }

    /// Whether a stream does not exist.
    pub(super) fn is_absent(&self, stream: usize) -> bool {
        self.streams[stream].state == State::Absent
    }

    /// No line is known to be the next while a stream that goes on has none here.
    async fn fill(&mut self) {
        loop {
            let dry = |held: &Held| held.events.is_empty() && held.state == State::More;
            let wanted: Vec<usize> = (0..self.streams.len())
                .filter(|stream| dry(&self.streams[*stream]))
                .take(AT_ONCE)
                .collect();
            if wanted.is_empty() {
                return;
            }
            let reads: FuturesUnordered<_> =
                wanted.into_iter().map(|stream| self.read(stream)).collect();
            let filled: Vec<Filled> = reads.collect().await;
            for (stream, answer) in filled {
                if let Err(error) = self.take(stream, answer) {
                    self.failed.push_back((stream, error));
                }
            }
        }
    }

    fn read(&self, stream: usize) -> impl Future<Output = Filled> + use<> {
        let held = &self.streams[stream];
        let (place, from, until) = (held.place.clone(), held.from.clone(), self.until);
        let logs = self.client.logs_in(place.region.as_deref());
        let rate = self.rate.clone();
        async move {
            rate.turn().await;
            let answer = logs.events(&place.group, &place.stream, &from, until).await;
            (stream, answer)
        }
    }

    fn take(&mut self, stream: usize, answer: Result<Page, AwsError>) -> Result<(), AwsError> {
        let held = &mut self.streams[stream];
        match answer {
            Ok(page) => {
                if held.from == Origin::Token(page.next.clone()) {
                    held.state = State::End;
                }
                held.from = Origin::Token(page.next);
                held.events.extend(page.events);
                Ok(())
            }
            Err(error) if error.is("ResourceNotFoundException") => {
                held.state = State::Absent;
                Ok(())
            }
            Err(error) => {
                held.state = State::failed(&error);
                Err(error)
            }
        }
    }
}

impl State {
    fn failed(error: &AwsError) -> Self {
        match may_pass(error) {
            true => Self::FailedForNow,
            false => Self::Failed,
        }
    }
}

/// The last lines of a stream, oldest first, and the token for what comes after them.
async fn tail(
    client: &Client,
    rate: &Rate,
    place: &LogStream,
    count: usize,
    until: Option<i64>,
) -> Result<(VecDeque<Event>, String), AwsError> {
    let logs = client.logs_in(place.region.as_deref());
    let mut events: VecDeque<Event> = VecDeque::new();
    let mut forward = None;
    let mut token: Option<String> = None;
    loop {
        // ECS takes no zero; the token of one line serves for none as well.
        let missing = count.saturating_sub(events.len()).max(1);
        let limit = i32::try_from(missing).unwrap_or(PAGE).min(PAGE);
        rate.turn().await;
        let page = logs
            .newest(&place.group, &place.stream, token.as_deref(), limit, until)
            .await?;
        let forward = forward.get_or_insert(page.forward).clone();
        for event in page.events.into_iter().rev() {
            events.push_front(event);
        }
        // Pages may be short, and even empty while there is more.
        if events.len() >= count || token.as_ref() == Some(&page.backward) {
            while events.len() > count {
                events.pop_front();
            }
            return Ok((events, forward));
        }
        token = Some(page.backward);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_as_an_account_can_spare_them() {
        let (rate, start) = (Rate::new(), Instant::now());
        let turns: Vec<u128> = (0..10)
            .map(|_| (rate.reserve(start) - start).as_millis())
            .collect();
        assert_eq!(turns, [0, 0, 0, 0, 1000, 1000, 1000, 1000, 2000, 2000]);
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.reserve(later), later);
    }
}
