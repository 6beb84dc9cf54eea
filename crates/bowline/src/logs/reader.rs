//! Drives a [`Follower`] with calls to CloudWatch Logs.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::follow::{End, Event, Follower, Origin, Pace, Page, Step};
use super::place::LogStream;
use crate::{AwsError, AwsErrorKind, Client};

/// Reads that fail one after another before something is said of it.
const PATIENCE: u32 = 2;

/// Reads any number of streams until they are out. Dropping it drops the calls in flight.
pub(crate) struct Reader {
    client: Client,
    follower: Follower,
    streams: Vec<Source>,
    reads: FuturesUnordered<Read>,
    ready: VecDeque<News>,
}

struct Source {
    place: LogStream,
    failures: u32,
    /// Why the last read failed.
    error: Option<String>,
    ended: bool,
}

/// What the reader found.
#[derive(Debug)]
pub(crate) enum News {
    /// The next lines of a stream.
    Lines(usize, Vec<Event>),
    /// A stream is no longer read.
    Ended(usize, End),
    /// Reading does not work; it goes on unless the stream has ended.
    Trouble(usize, AwsError),
}

type Read = Pin<Box<dyn Future<Output = (usize, Origin, Result<Page, AwsError>)> + Send>>;

impl Reader {
    pub(crate) fn new(client: Client, pace: Pace) -> Self {
        Self {
            client,
            follower: Follower::new(pace),
            streams: Vec::new(),
            reads: FuturesUnordered::new(),
            ready: VecDeque::new(),
        }
    }

    /// Adds a stream and gives its number.
    pub(crate) fn add(&mut self, place: LogStream, from: Origin) -> usize {
        let shared = place.shared;
        self.streams.push(Source {
            place,
            failures: 0,
            error: None,
            ended: false,
        });
        self.follower.add(now(), from, shared)
    }

    /// See [`Follower::stopped`].
    pub(crate) fn stopped(&mut self, stream: usize, ago: Duration) {
        self.follower.stopped(now(), stream, ago);
    }

    /// See [`Follower::started`].
    pub(crate) fn started(&mut self, stream: usize) {
        self.follower.started(now(), stream);
        self.streams[stream].ended &= self.follower.end(stream).is_some();
    }

    /// See [`Follower::ring`].
    pub(crate) fn ring(&mut self, stream: usize) {
        self.follower.ring(now(), stream);
    }

    /// See [`Follower::slow_down`].
    pub(crate) fn slow_down(&mut self, longest: Duration) {
        self.follower.slow_down(longest);
    }

    /// Where a stream is.
    pub(crate) fn place(&self, stream: usize) -> &LogStream {
        &self.streams[stream].place
    }

    /// Why the last read of a stream failed that may be tried again.
    pub(crate) fn error(&self, stream: usize) -> Option<&str> {
        self.streams[stream].error.as_deref()
    }

    /// See [`Follower::lag`].
    pub(crate) fn lag(&self, stream: usize) -> Duration {
        self.follower.lag(stream)
    }

    /// Whether every stream is out and everything was handed over.
    pub(crate) fn is_done(&self) -> bool {
        self.ready.is_empty() && self.streams.iter().all(|source| source.ended)
    }

    /// The next news. Without streams it never comes. Cancel-safe: calls in flight and news are kept.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return news;
            }
            let wait = match self.follower.step(now()) {
                Step::Read { stream, from } => {
                    self.read(stream, from);
                    continue;
                }
                Step::Wait(until) => Some(Instant::from_std(until)),
                Step::Idle => None,
            };
            self.collect_ends();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                Some((stream, from, answer)) = self.reads.next() => self.take(stream, &from, answer),
                () = sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {}
                () = pending(), if wait.is_none() && self.reads.is_empty() => {}
            }
        }
    }

    fn read(&mut self, stream: usize, from: Origin) {
        let place = self.streams[stream].place.clone();
        let logs = self.client.logs_in(place.region.as_deref());
        self.reads.push(Box::pin(async move {
            let answer = logs.events(&place.group, &place.stream, &from, None).await;
            (stream, from, answer)
        }));
    }

    fn take(&mut self, stream: usize, from: &Origin, answer: Result<Page, AwsError>) {
        let now = now();
        let source = &mut self.streams[stream];
        match answer {
            Ok(page) => {
                source.failures = 0;
                source.error = None;
                let events = self.follower.page(now, stream, page);
                if !events.is_empty() {
                    self.ready.push_back(News::Lines(stream, events));
                }
            }
            Err(error) if error.is("ResourceNotFoundException") => {
                self.follower.absent(now, stream);
            }
            Err(error)
                if error.is("InvalidParameterException") && matches!(from, Origin::Token(_)) =>
            {
                tracing::debug!(%error, "a log token is no longer accepted");
                self.follower.token_lost(now, stream);
                source.failures += 1;
                if source.failures > PATIENCE {
                    source.ended = true;
                    self.follower.fail(stream);
                    self.ready.push_back(News::Trouble(stream, error));
                    self.ready.push_back(News::Ended(stream, End::Failed));
                }
            }
            Err(error) if may_pass(&error) => {
                self.follower.failed(now, stream);
                source.failures += 1;
                source.error = Some(error.to_string());
                if source.failures == PATIENCE {
                    self.ready.push_back(News::Trouble(stream, error));
                }
            }
            Err(error) => {
                source.ended = true;
                self.follower.give_up(stream);
                self.ready.push_back(News::Trouble(stream, error));
                self.ready.push_back(News::Ended(stream, End::Failed));
            }
        }
    }

    fn collect_ends(&mut self) {
        for (stream, source) in self.streams.iter_mut().enumerate() {
            if source.ended {
                continue;
            }
            if let Some(end) = self.follower.end(stream) {
                source.ended = true;
                self.ready.push_back(News::Ended(stream, end));
            }
        }
    }
}

/// Whether the same call may succeed later. The SDK has tried several times already.
pub(crate) fn may_pass(error: &AwsError) -> bool {
    match error.kind {
        AwsErrorKind::Unreachable | AwsErrorKind::TimedOut => true,
        AwsErrorKind::Service | AwsErrorKind::NotAws => {
            error.status.is_some_and(|status| status >= 500)
                || error.code.as_deref().is_some_and(|code| {
                    code.contains("Throttl") || code.contains("TooManyRequests")
                })
        }
        _ => false,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
