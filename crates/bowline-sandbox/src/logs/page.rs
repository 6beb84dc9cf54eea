//! Pages of log events: of one stream by position, of many streams interleaved by time.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;

use super::pattern::Pattern;
use super::stream::{Batch, Event, Stream};

/// A page has at most so many bytes, counted as in [`Event::size`].
const PAGE_BYTES: usize = 1024 * 1024;

/// From the first to before the second, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Span {
    fn has(&self, timestamp: i64) -> bool {
        (self.start..self.end).contains(&timestamp)
    }

    fn touches(&self, batch: &Batch) -> bool {
        batch.newest >= self.start && batch.oldest < self.end
    }
}

/// What is left of a page.
pub(crate) struct Budget {
    /// Events to be returned.
    pub(crate) events: usize,
    /// Events to be looked at.
    pub(crate) scan: usize,
    bytes: usize,
    used: bool,
}

impl Budget {
    /// A page of up to `events`, found among up to `scan`.
    pub(crate) fn new(events: usize, scan: usize) -> Self {
        Self {
            events,
            scan,
            bytes: PAGE_BYTES,
            used: false,
        }
    }

    /// Room for one more look; the first event always passes.
    fn takes(&mut self, event: &Event) -> bool {
        if self.used && (self.events == 0 || self.scan == 0 || self.bytes < event.size()) {
            return false;
        }
        self.used = true;
        self.scan = self.scan.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(event.size());
        true
    }

    fn returned(&mut self) {
        self.events = self.events.saturating_sub(1);
    }
}

/// Events from `position` on, and the position after what was looked at.
pub(crate) fn forward(
    stream: &Stream,
    position: u64,
    span: Span,
    mut budget: Budget,
) -> io::Result<(Vec<Event>, u64)> {
    let mut found = Vec::new();
    let mut position = position.clamp(stream.start(), stream.end());
    while let Some(batch) = stream.batch_of(position) {
        if !span.touches(batch) {
            position = batch.end();
            continue;
        }
        for event in stream.read(batch)? {
            if event.number < position {
                continue;
            }
            if !budget.takes(&event) {
                return Ok((found, position));
            }
            position = event.number + 1;
            if span.has(event.timestamp) {
                budget.returned();
                found.push(event);
            }
        }
    }
    Ok((found, position))
}

/// Events before `position`, the oldest first, and the position of the first that was looked at.
pub(crate) fn backward(
    stream: &Stream,
    position: u64,
    span: Span,
    mut budget: Budget,
) -> io::Result<(Vec<Event>, u64)> {
    let (mut found, mut position) = (VecDeque::new(), position.min(stream.end()));
    while let Some(batch) = position
        .checked_sub(1)
        .and_then(|last| stream.batch_of(last))
    {
        let events = if span.touches(batch) {
            stream.read(batch)?
        } else {
            position = batch.end() - u64::from(batch.count());
            continue;
        };
        for event in events.into_iter().rev() {
            if event.number >= position {
                continue;
            }
            if !budget.takes(&event) {
                return Ok((found.into(), position));
            }
            position = event.number;
            if span.has(event.timestamp) {
                budget.returned();
                found.push_front(event);
            }
        }
    }
    Ok((found.into(), position))
}

/// Where a search through many streams stands: for each stream, by its id, the position to go on from.
pub(crate) type Positions = BTreeMap<u64, u64>;

/// A search through several streams.
pub(crate) struct Search<'s> {
    pub(crate) streams: Vec<(&'s str, &'s Stream)>,
    pub(crate) span: Span,
    pub(crate) pattern: &'s Pattern,
    /// From the newest on instead of the oldest.
    pub(crate) newest_first: bool,
}

/// A page of a [`Search`].
pub(crate) struct Found {
    /// With the names of their streams.
    pub(crate) events: Vec<(String, u64, Event)>,
    /// Where to go on; `None` if there is no more.
    pub(crate) next: Option<Positions>,
}

impl Search<'_> {
    /// The next page, going on from `from`.
    pub(crate) fn page(&self, from: Option<&Positions>, mut budget: Budget) -> io::Result<Found> {
        let mut heads: Vec<Head<'_>> = Vec::new();
        let mut queue = BinaryHeap::new();
        for (_, stream) in &self.streams {
            let start = if self.newest_first {
                stream.end()
            } else {
                stream.start()
            };
            let known = from.and_then(|from| from.get(&stream.id));
            let position = match (from, known) {
                (Some(_), Some(position)) if self.newest_first => *position,
                (Some(_), Some(position)) => start.max(*position),
                // A stream that came after the first page has only newer events.
                (Some(_), _) if self.newest_first => 0,
                _ => start,
            };
            let mut head = Head {
                stream,
                position,
                loaded: VecDeque::new(),
            };
            if let Some(rank) = head.rank(self) {
                queue.push((rank, std::cmp::Reverse(heads.len())));
            }
            heads.push(head);
        }
        let mut events = Vec::new();
        let mut full = false;
        while let Some((rank, std::cmp::Reverse(index))) = queue.pop() {
            let head = &mut heads[index];
            if head.loaded.is_empty() {
                head.load(self)?;
                if head.rank(self) != Some(rank) {
                    queue.extend(head.rank(self).map(|rank| (rank, std::cmp::Reverse(index))));
                    continue;
                }
            }
            let Some(event) = head.loaded.front() else {
                continue;
            };
            if !budget.takes(event) {
                full = true;
                break;
            }
            if let Some(event) = head.take(self.newest_first)
                && self.span.has(event.timestamp)
                && self.pattern.matches(&event.message)
            {
                budget.returned();
                let (name, stream) = self.streams[index];
                events.push((name.to_owned(), stream.id, event));
            }
            queue.extend(head.rank(self).map(|rank| (rank, std::cmp::Reverse(index))));
        }
        let next = full.then(|| {
            let places = self.streams.iter().zip(&heads);
            places
                .map(|((_, stream), head)| (stream.id, head.position))
                .collect()
        });
        Ok(Found { events, next })
    }
}

/// One stream of a search.
struct Head<'s> {
    stream: &'s Stream,
    /// The next event, or the one after it when going back.
    position: u64,
    /// The rest of its batch, the next first; empty until its turn comes, so that few batches are in memory.
    loaded: VecDeque<Event>,
}

impl Head<'_> {
    /// How early its next event comes: exact once it is loaded, before that never too late.
    fn rank(&mut self, search: &Search<'_>) -> Option<i64> {
        if let Some(event) = self.loaded.front() {
            return Some(if search.newest_first {
                event.timestamp
            } else {
                event.timestamp.saturating_neg()
            });
        }
        loop {
            let batch = self.batch(search.newest_first)?;
            if search.span.touches(batch) {
                return Some(if search.newest_first {
                    batch.newest
                } else {
                    batch.oldest.saturating_neg()
                });
            }
            self.position = if search.newest_first {
                batch.end() - u64::from(batch.count())
            } else {
                batch.end()
            };
        }
    }

    fn batch(&self, newest_first: bool) -> Option<&Batch> {
        let number = if newest_first {
            self.position.checked_sub(1)?
        } else {
            self.position
        };
        self.stream.batch_of(number)
    }

    fn load(&mut self, search: &Search<'_>) -> io::Result<()> {
        let Some(batch) = self.batch(search.newest_first) else {
            return Ok(());
        };
        let events = self.stream.read(batch)?;
        let position = self.position;
        self.loaded = if search.newest_first {
            let events = events.into_iter().rev();
            events.filter(|event| event.number < position).collect()
        } else {
            let events = events.into_iter();
            events.filter(|event| event.number >= position).collect()
        };
        Ok(())
    }

    fn take(&mut self, newest_first: bool) -> Option<Event> {
        let event = self.loaded.pop_front()?;
        self.position = if newest_first {
            event.number
        } else {
            event.number + 1
        };
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::super::store::Logs;
    use super::*;
    use crate::clock::SandboxClock;

    /// Every time a multiple of 10, each stream in order, some times equal.
    fn filled(folder: &std::path::Path) -> (Arc<Logs>, Vec<(i64, String)>) {
        let clock = SandboxClock::start(NonZeroU32::MIN);
        let logs = Arc::new(Logs::new(folder.join("streams"), clock));
        let mut all = Vec::new();
        logs.groups().create_group("g");
        for name in ["a", "b", "c"] {
            let mut groups = logs.groups();
            groups
                .create_stream("g", name, std::time::Duration::ZERO)
                .unwrap();
        }
        for round in 0..40_i64 {
            for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
                let index = i64::try_from(index).unwrap();
                let count = (round * 7 + index * 3) % 5;
                let events: Vec<(i64, String)> = (0..count)
                    .map(|n| (1000 + round * 10, format!("{name} {round} {n}")))
                    .collect();
                logs.put("g", name, &events).unwrap().unwrap();
                // A look closes the batch, so that there are many.
                logs.groups().stream_mut("g", name).unwrap();
                all.extend(events);
            }
        }
        (logs, all)
    }

    const ALWAYS: Span = Span {
        start: 0,
        end: i64::MAX,
    };

    #[test]
    fn what_is_older_than_the_retention_is_gone_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SandboxClock::start(NonZeroU32::MIN);
        let logs = Logs::new(folder.path().to_owned(), clock.clone());
        let day = std::time::Duration::from_secs(24 * 60 * 60);
        logs.groups().create_group("g");
        logs.groups().group_mut("g").unwrap().retention_days = Some(1);
        let made = logs
            .groups()
            .create_stream("g", "s", std::time::Duration::ZERO);
        assert_eq!(made, Ok(true));
        let old = [(1, "old".to_owned()), (1, "older".to_owned())];
        logs.put("g", "s", &old).unwrap().unwrap();
        assert_eq!(logs.groups().stream_mut("g", "s").unwrap().end(), 2);
        clock.advance(day + day / 2);
        logs.put("g", "s", &[(5, "new".to_owned())])
            .unwrap()
            .unwrap();

        let budget = || Budget::new(10, 10);
        {
            let mut groups = logs.groups();
            let stream = groups.stream_mut("g", "s").unwrap();
            let (events, position) = forward(stream, 0, ALWAYS, budget()).unwrap();
            let seen: Vec<_> = events
                .iter()
                .map(|it| (it.number, it.message.as_str()))
                .collect();
            assert_eq!((seen, position), (vec![(2, "new")], 3));
            let back = backward(stream, u64::MAX, ALWAYS, budget()).unwrap();
            assert_eq!(back, (events, 2));
            assert_eq!(
                backward(stream, 2, ALWAYS, budget()).unwrap(),
                (Vec::new(), 2)
            );
            assert_eq!(stream.times().map(|it| (it.0, it.1)), Some((5, 5)));
            assert_eq!(stream.stored(), 3 + crate::logs::OVERHEAD as u64);
            for newest_first in [false, true] {
                let pattern = Pattern::parse("").unwrap();
                let search = Search {
                    streams: vec![("s", &*stream)],
                    span: ALWAYS,
                    pattern: &pattern,
                    newest_first,
                };
                let found = search.page(None, budget()).unwrap();
                assert_eq!((found.events.len(), found.next), (1, None));
            }
        }
        clock.advance(day + day / 2);
        let mut groups = logs.groups();
        let stream = groups.stream_mut("g", "s").unwrap();
        assert_eq!(
            forward(stream, 0, ALWAYS, budget()).unwrap(),
            (Vec::new(), 3)
        );
        assert_eq!(
            (stream.times(), stream.stored(), stream.end()),
            (None, 0, 3)
        );
    }

    #[test]
    fn every_way_through_the_pages_gives_each_event_once() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, all) = filled(folder.path());
        let mut groups = logs.groups();
        for (limit, scan) in [(1, 100), (3, 100), (1000, 4), (7, 5), (1000, 1000)] {
            for newest_first in [false, true] {
                let (mut found, mut from) = (Vec::new(), None);
                loop {
                    let search = Search {
                        streams: groups.streams("g").unwrap().collect(),
                        span: ALWAYS,
                        pattern: &Pattern::All,
                        newest_first,
                    };
                    let page = search
                        .page(from.as_ref(), Budget::new(limit, scan))
                        .unwrap();
                    assert!(page.events.len() <= limit.min(scan));
                    found.extend(page.events.into_iter().map(|(_, _, event)| event));
                    from = page.next;
                    if from.is_none() {
                        break;
                    }
                }
                if newest_first {
                    found.reverse();
                }
                assert!(found.is_sorted_by_key(|event| event.timestamp));
                for name in ["a", "b", "c"] {
                    let of = |message: &&String| message.starts_with(name);
                    let expected: Vec<&String> = all.iter().map(|(_, m)| m).filter(of).collect();
                    let own: Vec<&String> = found
                        .iter()
                        .map(|event| &event.message)
                        .filter(of)
                        .collect();
                    assert_eq!(own, expected);
                }
            }
            let stream = groups.stream_mut("g", "b").unwrap();
            let (mut ahead, mut position) = (Vec::new(), 0);
            while position < stream.end() {
                let page = forward(stream, position, ALWAYS, Budget::new(limit, scan)).unwrap();
                ahead.extend(page.0);
                position = page.1;
            }
            let (mut back, mut position) = (Vec::new(), stream.end());
            while position > 0 {
                let page = backward(stream, position, ALWAYS, Budget::new(limit, scan)).unwrap();
                back.splice(0..0, page.0);
                position = page.1;
            }
            assert_eq!(ahead, back);
            assert_eq!(
                ahead.len(),
                all.iter().filter(|(_, m)| m.starts_with('b')).count()
            );
        }
    }

    #[test]
    fn a_span_has_its_start_and_not_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, _) = filled(folder.path());
        let mut groups = logs.groups();
        let stream = groups.stream_mut("g", "c").unwrap();
        let span = Span {
            start: 1100,
            end: 1200,
        };
        let (events, position) = forward(stream, 0, span, Budget::new(1000, 1000)).unwrap();
        assert_eq!(position, stream.end());
        assert!(!events.is_empty());
        assert!(
            events
                .iter()
                .all(|event| (1100..1200).contains(&event.timestamp))
        );
        assert_eq!(
            backward(stream, u64::MAX, span, Budget::new(1000, 1000))
                .unwrap()
                .0,
            events
        );
    }
}
