//! All log groups of a sandbox, and the rules by which events become visible.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use super::lines::Lines;
use super::page::Positions;
use super::rates::Rates;
use super::stream::{Ingestion, Now, Stream};
use crate::clock::SandboxClock;
use crate::identifiers;

/// How late events become visible unless somebody wants it otherwise: never at once, as in AWS.
const DELAY: Duration = Duration::from_millis(100);

/// Concurrent live tails of an account.
const TAILS: usize = 15;

/// Tokens of FilterLogEvents that are remembered.
const SEARCHES: usize = 256;

/// Events looked at for one page: an hour's worth of noise gives pages without events, but with a token.
const SCAN: usize = 10_000;

/// Lines that are kept for whoever wants to see the newest ones, and how much of each.
const RECENT: usize = 100;
const RECENT_TEXT: usize = 500;

/// How late events are ingested: at random between two spans of the sandbox's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogDelay {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl LogDelay {
    /// Batches are of very different sizes where a delay was asked for.
    fn sample(self, clock: &SandboxClock) -> Ingestion {
        let [a, b, c] = identifiers::random::<3>();
        let share = f64::from(u16::from_le_bytes([a, b])) / f64::from(u16::MAX);
        let span = self.most.saturating_sub(self.least);
        // What is rounded up past the longest duration there is stays what it was.
        let part = Duration::try_from_secs_f64(span.as_secs_f64() * share).unwrap_or(span);
        let delay = self.least.saturating_add(part);
        Ingestion {
            delay,
            real_delay: clock.real(delay),
            room: if self == Self::default() {
                u32::MAX
            } else {
                1 + u32::from(c).pow(2) / 400
            },
        }
    }
}

impl Default for LogDelay {
    fn default() -> Self {
        Self {
            least: DELAY,
            most: DELAY,
        }
    }
}

/// Something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Group,
    Stream,
}

/// CloudWatch Logs' memory, shared by the API and by what writes.
#[derive(Debug)]
pub(crate) struct Logs {
    clock: SandboxClock,
    groups: Mutex<Groups>,
    /// A permit for each live tail.
    pub(crate) tails: Arc<Semaphore>,
    /// How often may be asked, if there are limits.
    rates: OnceLock<Rates>,
}

/// A log group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) created: i64,
    pub(crate) retention_days: Option<i64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) streams: BTreeMap<String, Stream>,
}

impl Group {
    /// How long its events are there, on the sandbox's clock.
    fn retention(&self) -> Option<Duration> {
        let days = u64::try_from(self.retention_days?).ok()?;
        Some(Duration::from_secs(days.saturating_mul(24 * 60 * 60)))
    }
}

/// A search whose next page has a token.
#[derive(Debug)]
pub(crate) struct Search {
    token: String,
    /// The request that it is good for.
    pub(crate) filters: String,
    pub(crate) positions: Positions,
}

/// What stands behind the lock of [`Logs`].
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) groups: BTreeMap<String, Group>,
    /// How late events of containers become visible.
    pub(crate) delay: LogDelay,
    /// How many events are looked at for one page.
    pub(crate) scan: usize,
    searches: VecDeque<Search>,
    /// The newest lines of all streams, the newest first, whether they can be seen yet or not.
    recent: VecDeque<Recent>,
    next_id: u64,
    /// Grows with every change to what a state file keeps.
    pub(crate) changes: u64,
    folder: PathBuf,
    now: Now,
}

/// A line that was just written.
#[derive(Debug)]
pub(crate) struct Recent {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// Its beginning.
    pub(crate) text: String,
}

impl Logs {
    /// No groups; files will be below `folder`.
    pub(crate) fn new(folder: PathBuf, clock: SandboxClock) -> Self {
        let now = Now {
            clock: clock.now(),
            wall: now_millis(),
        };
        let groups = Groups {
            groups: BTreeMap::new(),
            delay: LogDelay::default(),
            scan: SCAN,
            searches: VecDeque::new(),
            recent: VecDeque::new(),
            next_id: 0,
            changes: 0,
            folder,
            now,
        };
        Self {
            clock,
            groups: Mutex::new(groups),
            tails: Arc::new(Semaphore::new(TAILS)),
            rates: OnceLock::new(),
        }
    }

    /// From now on only so many calls are answered as in AWS.
    pub(crate) fn limit_rates(&self) {
        self.rates.get_or_init(Rates::default);
    }

    /// This call is within the limits.
    pub(crate) fn admits(&self, operation: &str) -> bool {
        let rates = self.rates.get();
        rates.is_none_or(|rates| rates.takes(operation, Instant::now()))
    }

    /// Looks at everything, as it is now. Nobody may wait while holding it.
    pub(crate) fn groups(&self) -> MutexGuard<'_, Groups> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.now = Now {
            clock: self.clock.now(),
            wall: now_millis(),
        };
        groups
    }

    /// A stream that takes bytes and makes events of their lines. Fails if the group is not there, unless it shall
    /// be made.
    pub(crate) fn writer(
        self: &Arc<Self>,
        group: &str,
        stream: &str,
        create_group: bool,
    ) -> Result<LogWriter, Missing> {
        let mut groups = self.groups();
        if create_group {
            groups.create_group(group);
        }
        let appears = groups.delay.least;
        groups.create_stream(group, stream, appears)?;
        Ok(LogWriter {
            logs: Arc::clone(self),
            group: group.to_owned(),
            stream: stream.to_owned(),
            lines: Lines::default(),
        })
    }

    /// Adds events that are ingested without delay.
    pub(crate) fn put(
        &self,
        group: &str,
        stream: &str,
        events: &[(i64, String)],
    ) -> Result<io::Result<()>, Missing> {
        let mut groups = self.groups();
        let now = groups.now;
        let found = groups.stream_mut(group, stream)?;
        let events = events.iter().map(|(at, message)| (*at, message.as_str()));
        let appended = found.append(events.clone(), now, Ingestion::at_once);
        groups.note(group, stream, events);
        Ok(appended)
    }

    fn ingest(&self, group: &str, stream: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let mut groups = self.groups();
        let (now, delay) = (groups.now, groups.delay);
        // Deleted meanwhile: nobody wants it.
        let Some(found) = groups
            .groups
            .get_mut(group)
            .and_then(|group| group.streams.get_mut(stream))
        else {
            return;
        };
        let events = lines.iter().map(|line| (now.wall, line.as_str()));
        if let Err(error) = found.append(events.clone(), now, || delay.sample(&self.clock)) {
            tracing::warn!(%error, group, stream, "log events are lost");
        }
        groups.note(group, stream, events);
    }
}

impl Groups {
    /// Makes a group; false if there is one of this name.
    pub(crate) fn create_group(&mut self, name: &str) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.changes += 1;
        let group = Group {
            created: self.now.wall,
            retention_days: None,
            tags: BTreeMap::new(),
            streams: BTreeMap::new(),
        };
        self.groups.insert(name.to_owned(), group);
        true
    }

    /// Makes a stream that can be seen after a while; false if there is one of this name.
    pub(crate) fn create_stream(
        &mut self,
        group: &str,
        name: &str,
        after: Duration,
    ) -> Result<bool, Missing> {
        let id = self.next_id;
        let path = self.folder.join(id.to_string());
        let now = self.now;
        let group = self.groups.get_mut(group).ok_or(Missing::Group)?;
        if group.streams.contains_key(name) {
            return Ok(false);
        }
        let stream = Stream::new(id, path, now, now.clock.saturating_add(after));
        group.streams.insert(name.to_owned(), stream);
        self.next_id += 1;
        self.changes += 1;
        Ok(true)
    }

    /// The group.
    pub(crate) fn group(&self, name: &str) -> Result<&Group, Missing> {
        self.groups.get(name).ok_or(Missing::Group)
    }

    /// The group, to be changed.
    pub(crate) fn group_mut(&mut self, name: &str) -> Result<&mut Group, Missing> {
        self.changes += 1;
        self.groups.get_mut(name).ok_or(Missing::Group)
    }

    /// The streams of a group that can be seen, with what is due in them.
    pub(crate) fn streams(
        &mut self,
        group: &str,
    ) -> Result<impl Iterator<Item = (&str, &Stream)>, Missing> {
        let now = self.now;
        let group = self.groups.get_mut(group).ok_or(Missing::Group)?;
        let retention = group.retention();
        for stream in group.streams.values_mut() {
            stream.settle(now);
            if let Some(retention) = retention {
                stream.forget(retention, now);
            }
        }
        let streams = group.streams.iter();
        let visible = streams.filter(move |(_, stream)| stream.is_visible(now));
        Ok(visible.map(|(name, stream)| (name.as_str(), stream)))
    }

    /// One stream that can be seen, with what is due in it.
    pub(crate) fn stream_mut(&mut self, group: &str, name: &str) -> Result<&mut Stream, Missing> {
        let now = self.now;
        let group = self.groups.get_mut(group).ok_or(Missing::Group)?;
        let retention = group.retention();
        let stream = group.streams.get_mut(name).ok_or(Missing::Stream)?;
        if !stream.is_visible(now) {
            return Err(Missing::Stream);
        }
        stream.settle(now);
        if let Some(retention) = retention {
            stream.forget(retention, now);
        }
        Ok(stream)
    }

    /// Forgets a group with its streams.
    pub(crate) fn delete_group(&mut self, name: &str) -> Result<(), Missing> {
        let group = self.groups.remove(name).ok_or(Missing::Group)?;
        self.changes += 1;
        group.streams.values().for_each(Stream::remove);
        Ok(())
    }

    /// Forgets a stream.
    pub(crate) fn delete_stream(&mut self, group: &str, name: &str) -> Result<(), Missing> {
        let group = self.group_mut(group)?;
        let stream = group.streams.remove(name).ok_or(Missing::Stream)?;
        stream.remove();
        Ok(())
    }

    /// Puts events that were kept into a stream.
    pub(crate) fn refill(
        &mut self,
        group: &str,
        stream: &str,
        created: i64,
        events: &[(i64, String)],
    ) -> io::Result<()> {
        let now = self.now;
        let missing = |_| io::Error::other("it is not there");
        let stream = self.stream_mut(group, stream).map_err(missing)?;
        stream.created = created;
        let events = events.iter().map(|(at, text)| (*at, text.as_str()));
        stream.append(events, now, Ingestion::at_once)
    }

    /// The newest lines, the newest first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Recent> {
        self.recent.iter()
    }

    fn note<'a>(
        &mut self,
        group: &str,
        stream: &str,
        lines: impl ExactSizeIterator<Item = (i64, &'a str)>,
    ) {
        self.changes += 1;
        let surplus = lines.len().saturating_sub(RECENT);
        for (at, text) in lines.skip(surplus) {
            self.recent.push_front(Recent {
                group: group.to_owned(),
                stream: stream.to_owned(),
                at,
                text: text.chars().take(RECENT_TEXT).collect(),
            });
        }
        self.recent.truncate(RECENT);
    }

    /// Remembers where a search goes on; answers its token.
    pub(crate) fn remember(&mut self, filters: String, positions: Positions) -> String {
        let token = identifiers::secret(64);
        self.searches.push_back(Search {
            token: token.clone(),
            filters,
            positions,
        });
        if self.searches.len() > SEARCHES {
            self.searches.pop_front();
        }
        token
    }

    /// Where the search of a token goes on. A token can be used again: an answer may have been lost.
    pub(crate) fn recall(&self, token: &str) -> Option<&Search> {
        self.searches.iter().find(|search| search.token == token)
    }
}

/// Makes log events of what is written to it; the last line ends when it is dropped.
#[derive(Debug)]
pub(crate) struct LogWriter {
    logs: Arc<Logs>,
    group: String,
    stream: String,
    lines: Lines,
}

impl LogWriter {
    /// Takes output as it comes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let lines = self.lines.push(bytes);
        self.logs.ingest(&self.group, &self.stream, &lines);
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let last = self.lines.finish();
        self.logs.ingest(&self.group, &self.stream, last.as_slice());
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
