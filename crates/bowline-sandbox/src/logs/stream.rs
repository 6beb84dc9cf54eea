//! One log stream: events in a file, and in memory only where its batches lie.
//!
//! Events are ingested in batches, some time after they were written, in the order in which they came. A batch is in
//! the file at once; it becomes visible when its time has come on the sandbox's clock.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::OVERHEAD;

/// What a batch collects at most; a single longer event is a batch of its own.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a batch collects, in real time. Also what bounds the number of batches.
const COLLECT: Duration = Duration::from_millis(100);

/// In the file, before each text: its time (8 bytes) and its length (4 bytes).
const HEAD: usize = 12;

/// A log event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place in the stream, from 0.
    pub(crate) number: u64,
    /// Milliseconds since 1970, as everywhere in CloudWatch Logs.
    pub(crate) timestamp: i64,
    pub(crate) ingested: i64,
    pub(crate) message: String,
}

impl Event {
    /// What it counts towards the size of a page or batch.
    pub(crate) fn size(&self) -> usize {
        self.message.len() + OVERHEAD
    }
}

/// The moment of a look at a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// On the sandbox's clock.
    pub(crate) clock: Duration,
    /// Milliseconds since 1970.
    pub(crate) wall: i64,
}

/// How a batch is ingested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ingestion {
    /// On the sandbox's clock.
    pub(super) delay: Duration,
    /// The same in real time, for the events' ingestion time.
    pub(super) real_delay: Duration,
    /// How many events it takes.
    pub(super) room: u32,
}

impl Ingestion {
    /// Without any delay.
    pub(super) fn at_once() -> Self {
        Self {
            delay: Duration::ZERO,
            real_delay: Duration::ZERO,
            room: u32::MAX,
        }
    }
}

/// A log stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Unique among all streams, also deleted ones.
    pub(crate) id: u64,
    pub(crate) created: i64,
    /// When it can be seen, on the sandbox's clock.
    appears: Duration,
    path: PathBuf,
    batches: Vec<Batch>,
    /// The last one, as long as it collects.
    collecting: Option<Collecting>,
    /// How many events there were before the first batch.
    forgotten: u64,
    /// How many batches are visible.
    ingested: usize,
    /// Times of the oldest and newest event in them.
    extremes: Option<(i64, i64)>,
    /// The size of their events.
    stored: u64,
    /// The length of the file.
    length: u64,
}

#[derive(Debug)]
pub(super) struct Batch {
    first: u64,
    count: u32,
    offset: u64,
    length: usize,
    pub(super) oldest: i64,
    pub(super) newest: i64,
    /// When it is ingested, on the sandbox's clock and on the calendar.
    ready: Duration,
    due: i64,
}

/// What is known of a batch only until it is full.
#[derive(Debug)]
struct Collecting {
    ingestion: Ingestion,
    opened: Instant,
}

impl Collecting {
    fn takes(&self, batch: &Batch, size: usize) -> bool {
        self.opened.elapsed() < COLLECT
            && batch.count < self.ingestion.room
            && batch.length + size <= BATCH_BYTES
    }
}

impl Batch {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// What its events count as.
    fn size(&self) -> u64 {
        let count = self.count as usize;
        (self.length - count * HEAD + count * OVERHEAD) as u64
    }
}

impl Stream {
    /// An empty stream whose file will be at `path`.
    pub(super) fn new(id: u64, path: PathBuf, now: Now, appears: Duration) -> Self {
        Self {
            id,
            created: now.wall,
            appears,
            path,
            batches: Vec::new(),
            collecting: None,
            forgotten: 0,
            ingested: 0,
            extremes: None,
            stored: 0,
            length: 0,
        }
    }

    /// Everybody can see that it exists.
    pub(super) fn is_visible(&self, now: Now) -> bool {
        self.appears <= now.clock
    }

    /// Adds events of these times; `ingestion` is asked once for each new batch.
    pub(super) fn append<'a>(
        &mut self,
        events: impl Iterator<Item = (i64, &'a str)> + Clone,
        now: Now,
        mut ingestion: impl FnMut() -> Ingestion,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (timestamp, message) in events.clone() {
            let length = u32::try_from(message.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&timestamp.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(message.as_bytes());
        }
        if let Some(folder) = self.path.parent().filter(|_| self.length == 0) {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        if let Err(error) = file.write_all(&bytes) {
            // Part of it may be there, and the next would not be found.
            file.set_len(self.length)?;
            return Err(error);
        }
        for (timestamp, message) in events {
            self.count(timestamp, HEAD + message.len(), now, &mut ingestion);
        }
        Ok(())
    }

    fn count(
        &mut self,
        timestamp: i64,
        size: usize,
        now: Now,
        ingestion: &mut impl FnMut() -> Ingestion,
    ) {
        let earliest = self
            .batches
            .last()
            .map_or(Duration::ZERO, |last| last.ready);
        // What was seen already cannot grow.
        let open = self.batches[self.ingested..].last();
        let open = open.zip(self.collecting.as_ref());
        if open.is_none_or(|(last, collecting)| !collecting.takes(last, size)) {
            self.collecting = Some(Collecting {
                ingestion: ingestion(),
                opened: Instant::now(),
            });
            self.batches.push(Batch {
                first: self.written(),
                count: 0,
                offset: self.length,
                length: 0,
                oldest: timestamp,
                newest: timestamp,
                ready: earliest,
                due: 0,
            });
        }
        self.length += size as u64;
        if let (Some(batch), Some(Collecting { ingestion, .. })) =
            (self.batches.last_mut(), &self.collecting)
        {
            batch.count += 1;
            batch.length += size;
            batch.oldest = batch.oldest.min(timestamp);
            batch.newest = batch.newest.max(timestamp);
            batch.ready = batch.ready.max(now.clock.saturating_add(ingestion.delay));
            let delay = i64::try_from(ingestion.real_delay.as_millis()).unwrap_or(i64::MAX);
            batch.due = now.wall.saturating_add(delay);
        }
    }

    /// The number of events in the file.
    fn written(&self) -> u64 {
        self.batches.last().map_or(self.forgotten, Batch::end)
    }

    /// Ingests what is due.
    pub(super) fn settle(&mut self, now: Now) {
        while let Some(batch) = self.batches.get_mut(self.ingested) {
            if batch.ready > now.clock {
                return;
            }
            // Nobody may have looked for long, or the clock was set forward.
            batch.due = batch.due.min(now.wall).max(batch.newest.min(now.wall));
            let (oldest, newest) = self.extremes.unwrap_or((batch.oldest, batch.newest));
            self.extremes = Some((oldest.min(batch.oldest), newest.max(batch.newest)));
            self.stored += batch.size();
            self.ingested += 1;
        }
    }

    /// Forgets the batches that were ingested longer ago than this on the sandbox's clock. Their bytes stay in the file.
    pub(super) fn forget(&mut self, retention: Duration, now: Now) {
        let Some(before) = now.clock.checked_sub(retention) else {
            return;
        };
        let old = self.visible().partition_point(|batch| batch.ready < before);
        if old == 0 {
            return;
        }
        for batch in self.batches.drain(..old) {
            self.forgotten = batch.end();
            self.stored -= batch.size();
        }
        self.ingested -= old;
        let times = self
            .visible()
            .iter()
            .map(|batch| (batch.oldest, batch.newest));
        self.extremes = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    }

    /// The number of the first event that is there, or would be.
    pub(super) fn start(&self) -> u64 {
        self.forgotten
    }

    /// The number of the event after the last visible one, as of the last [`Self::settle`].
    pub(crate) fn end(&self) -> u64 {
        self.visible().last().map_or(self.forgotten, Batch::end)
    }

    /// The batches that can be read.
    pub(super) fn visible(&self) -> &[Batch] {
        &self.batches[..self.ingested]
    }

    /// The visible batch with event `number`.
    pub(super) fn batch_of(&self, number: u64) -> Option<&Batch> {
        if number < self.forgotten {
            return None;
        }
        let index = self
            .visible()
            .partition_point(|batch| batch.end() <= number);
        self.visible().get(index)
    }

    /// Times of the oldest and newest event and of the last ingestion.
    pub(crate) fn times(&self) -> Option<(i64, i64, i64)> {
        let (oldest, newest) = self.extremes?;
        Some((oldest, newest, self.visible().last()?.due))
    }

    /// The size of what is visible.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Reads a batch.
    pub(super) fn read(&self, batch: &Batch) -> io::Result<Vec<Event>> {
        let mut bytes = vec![0; batch.length];
        File::open(&self.path)?.read_exact_at(&mut bytes, batch.offset)?;
        let mut rest = &bytes[..];
        let mut events = Vec::with_capacity(batch.count as usize);
        for number in batch.first..batch.end() {
            let damaged = || io::Error::other("a log stream's file is damaged");
            let (time, tail) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            let (length, tail) = tail.split_first_chunk::<4>().ok_or_else(damaged)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (text, tail) = tail.split_at_checked(length).ok_or_else(damaged)?;
            events.push(Event {
                number,
                timestamp: i64::from_le_bytes(*time),
                ingested: batch.due,
                message: String::from_utf8_lossy(text).into_owned(),
            });
            rest = tail;
        }
        Ok(events)
    }

    /// When it was written last.
    pub(crate) fn newest(&self) -> i64 {
        self.batches
            .last()
            .map_or(self.created, |batch| batch.newest)
    }

    /// Times and texts of the last `most` events that were written, whether they can be seen yet or not. `None` if their
    /// batches have more than `room` bytes of text; what comes before them is not read.
    pub(crate) fn last_written(
        &self,
        most: usize,
        room: usize,
    ) -> io::Result<Option<Vec<(i64, String)>>> {
        let (mut first, mut count, mut bytes) = (self.batches.len(), 0, 0);
        while count < most
            && let Some(batch) = first.checked_sub(1).map(|index| &self.batches[index])
        {
            first -= 1;
            count += batch.count as usize;
            bytes += batch.length - batch.count as usize * HEAD;
        }
        if bytes > room {
            return Ok(None);
        }
        let mut events = Vec::with_capacity(count);
        for batch in &self.batches[first..] {
            let read = self.read(batch)?.into_iter();
            events.extend(read.map(|event| (event.timestamp, event.message)));
        }
        Ok(Some(events.split_off(count.saturating_sub(most))))
    }

    /// Removes the file; there is none if nothing was ever written.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the file of a log stream stays behind");
        }
    }
}
