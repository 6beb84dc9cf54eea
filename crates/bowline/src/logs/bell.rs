//! Who tells that there is something new, when there are too many streams to ask each of them often.
//!
//! The bell only says where to look. Lines are always read by token from their stream, so a bell that misses something
//! costs time and no line.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::place::LogStream;
use super::reader::may_pass;
use super::sources::Sources;
use crate::aws::logs::{Found, LiveTail};
use crate::{AwsError, Client};

/// So many streams are asked one by one.
const FEW: usize = 4;
/// How often each of many streams is read though no bell rang.
const SLOW: Duration = Duration::from_secs(30);
/// Between two questions about a group.
const PAUSE: Duration = Duration::from_secs(2);
/// How far back each question goes: events arrive late, and out of order.
const OVERLAP: i64 = 30_000;
/// Streams that one call may name.
const STREAMS: usize = 100;
/// Event ids that are remembered.
const REMEMBERED: usize = 20_000;

/// Watches groups of streams.
pub(super) struct Bell {
    client: Client,
    /// Whether Live Tail may be used.
    live: bool,
    streams: HashMap<LogStream, usize>,
    batches: Vec<Batch>,
    ask: Option<Ask>,
    tail: Option<Update>,
    due: Instant,
    turn: usize,
    seen: HashSet<String>,
    order: VecDeque<String>,
    told: bool,
}

type Ask = Pin<Box<dyn Future<Output = (usize, Result<Found, AwsError>)> + Send>>;

/// Up to 100 streams of one group.
struct Batch {
    region: Option<String>,
    group: String,
    names: Vec<String>,
    /// Milliseconds since 1970.
    since: i64,
    more: Option<String>,
}

impl Bell {
    pub(super) fn new(client: Client, live: bool) -> Self {
        Self {
            client,
            live,
            streams: HashMap::new(),
            batches: Vec::new(),
            ask: None,
            tail: None,
            due: Instant::now(),
            turn: 0,
            seen: HashSet::new(),
            order: VecDeque::new(),
            told: false,
        }
    }

    /// Watches the streams of these sources, if they are many or Live Tail is wanted.
    pub(super) fn watch(&mut self, sources: &mut Sources) {
        if sources.places().count() == self.streams.len() {
            return;
        }
        self.streams = sources
            .places()
            .map(|(place, number)| (place.clone(), number))
            .collect();
        if self.streams.len() <= FEW && !self.live {
            return;
        }
        sources.slow_down(SLOW);
        let mut groups: HashMap<(Option<String>, String), Vec<String>> = HashMap::new();
        for place in self.streams.keys() {
            let group = (place.region.clone(), place.group.clone());
            groups.entry(group).or_default().push(place.stream.clone());
        }
        let now = jiff::Timestamp::now().as_millisecond();
        self.batches.clear();
        for ((region, group), names) in groups {
            for names in names.chunks(STREAMS) {
                self.batches.push(Batch {
                    region: region.clone(),
                    group: group.clone(),
                    names: names.to_vec(),
                    since: now - OVERLAP,
                    more: None,
                });
            }
        }
        self.ask = None;
        self.tail = None;
    }

    /// The streams that have something new, or what the user should know. Never without streams to watch.
    pub(super) async fn next(&mut self) -> Result<Vec<usize>, String> {
        if self.batches.is_empty() {
            return pending().await;
        }
        if self.live {
            return self.listen().await;
        }
        loop {
            if self.ask.is_none() {
                sleep_until(self.due).await;
                self.ask = Some(self.question());
            }
            let Some(ask) = &mut self.ask else { continue };
            let (batch, answer) = ask.await;
            self.ask = None;
            // One question at a time, for all groups together.
            self.due = Instant::now() + PAUSE;
            match answer {
                Ok(found) => {
                    let rung = self.heard(batch, found);
                    if !rung.is_empty() {
                        return Ok(rung);
                    }
                }
                Err(error) if may_pass(&error) => tracing::debug!(%error, "no bell"),
                Err(error) => {
                    tracing::debug!(%error, "no bell");
                    self.due = Instant::now() + SLOW;
                    if !std::mem::replace(&mut self.told, true) {
                        return Err(format!(
                            "lines come up to {} s late: {error}",
                            SLOW.as_secs()
                        ));
                    }
                }
            }
        }
    }

    fn question(&mut self) -> Ask {
        self.turn %= self.batches.len();
        let number = self.turn;
        let batch = &self.batches[number];
        // The pages of one group first, then the next group.
        if batch.more.is_none() {
            self.turn += 1;
        }
        let logs = self.client.logs_in(batch.region.as_deref());
        let (group, names) = (batch.group.clone(), batch.names.clone());
        let (since, more) = (batch.since, batch.more.clone());
        Box::pin(async move {
            let answer = logs.stirred(&group, &names, since, more.as_deref()).await;
            (number, answer)
        })
    }

    fn heard(&mut self, batch: usize, found: Found) -> Vec<usize> {
        let batch = &mut self.batches[batch];
        batch.more = found.next;
        if batch.more.is_none() {
            let newest = found.newest.unwrap_or(i64::MIN);
            batch.since = batch.since.max(newest.saturating_sub(OVERLAP));
        }
        let (region, group) = (batch.region.clone(), batch.group.clone());
        let mut rung = Vec::new();
        for (stream, id) in found.events {
            if !self.seen.insert(id.clone()) {
                continue;
            }
            self.order.push_back(id);
            if self.order.len() > REMEMBERED
                && let Some(old) = self.order.pop_front()
            {
                self.seen.remove(&old);
            }
            let known = self.streams.iter().find(|(place, _)| {
                place.region == region && place.group == group && place.stream == stream
            });
            if let Some((_, number)) = known
                && !rung.contains(number)
            {
                rung.push(*number);
            }
        }
        rung
    }

    /// Live Tail, for the first group with streams; it allows names only within a single group.
    async fn listen(&mut self) -> Result<Vec<usize>, String> {
        loop {
            let Some(tail) = &mut self.tail else {
                self.open();
                continue;
            };
            let (tail, answer) = tail.await;
            match answer {
                Ok(Some(names)) => {
                    self.tail = Some(next_update(tail));
                    let rung: Vec<usize> = self
                        .streams
                        .iter()
                        .filter(|(place, _)| names.contains(&place.stream))
                        .map(|(_, number)| *number)
                        .collect();
                    if !rung.is_empty() {
                        return Ok(rung);
                    }
                }
                // It ends by itself after three hours.
                Ok(None) => self.open(),
                Err(error) => {
                    self.live = false;
                    self.tail = None;
                    return Err(format!(
                        "Live Tail cannot be used, polling instead: {error}"
                    ));
                }
            }
        }
    }

    fn open(&mut self) {
        let batch = &self.batches[0];
        let logs = self.client.logs_in(batch.region.as_deref());
        let (group, names) = (batch.group.clone(), batch.names.clone());
        self.tail = Some(Box::pin(async move {
            let tail = logs.live_tail(&group, &names).await;
            match tail {
                Ok(mut tail) => {
                    let answer = tail.next().await;
                    (tail, answer)
                }
                Err(error) => (LiveTail::closed(), Err(error)),
            }
        }));
    }
}

type Update =
    Pin<Box<dyn Future<Output = (LiveTail, Result<Option<Vec<String>>, AwsError>)> + Send>>;

fn next_update(mut tail: LiveTail) -> Update {
    Box::pin(async move {
        let answer = tail.next().await;
        (tail, answer)
    })
}
