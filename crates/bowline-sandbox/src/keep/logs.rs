//! Log groups in a state file, the newest events first to be kept.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::logs::Groups;

/// So much text is kept in all; of what is more the streams that were written longest ago lose theirs.
const LIMIT: usize = 32 << 20;
/// Of one stream so many events, the newest.
const EVENTS: usize = 10_000;

/// A log group.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    name: String,
    created: i64,
    retention_days: Option<i64>,
    tags: BTreeMap<String, String>,
    streams: Vec<Stream>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    name: String,
    created: i64,
    /// Their times and texts.
    events: Vec<(i64, String)>,
}

impl Stream {
    fn newest(&self) -> i64 {
        self.events.last().map_or(self.created, |event| event.0)
    }

    fn size(&self) -> usize {
        self.events.iter().map(|event| event.1.len()).sum()
    }
}

/// All groups with what was written, whether it can be seen yet or not.
pub(super) fn of(groups: &mut Groups) -> Vec<Group> {
    let kept = groups.groups.iter().map(|(name, group)| {
        let streams = group.streams.iter().map(|(name, stream)| {
            let mut events = stream.written_events().unwrap_or_else(|error| {
                tracing::warn!(%error, stream = name, "a log stream is not kept");
                Vec::new()
            });
            let surplus = events.len().saturating_sub(EVENTS);
            Stream {
                name: name.clone(),
                created: stream.created,
                events: events.split_off(surplus),
            }
        });
        Group {
            name: name.clone(),
            created: group.created,
            retention_days: group.retention_days,
            tags: group.tags.clone(),
            streams: streams.collect(),
        }
    });
    let mut kept: Vec<Group> = kept.collect();
    let mut streams: Vec<&mut Stream> = kept.iter_mut().flat_map(|it| &mut it.streams).collect();
    streams.sort_by_key(|stream| std::cmp::Reverse(stream.newest()));
    let mut room = LIMIT;
    for stream in streams {
        match room.checked_sub(stream.size()) {
            Some(rest) => room = rest,
            None => stream.events.clear(),
        }
    }
    kept
}

/// Makes them again; their events can be seen at once.
pub(super) fn restore(kept: &[Group], groups: &mut Groups) {
    for group in kept {
        groups.create_group(&group.name);
        for stream in &group.streams {
            let made = groups.create_stream(&group.name, &stream.name, Duration::ZERO);
            if made == Ok(true)
                && let Err(error) =
                    groups.refill(&group.name, &stream.name, stream.created, &stream.events)
            {
                tracing::warn!(%error, stream = stream.name, "a log stream is not there again");
            }
        }
        if let Ok(made) = groups.group_mut(&group.name) {
            made.created = group.created;
            made.retention_days = group.retention_days;
            made.tags.clone_from(&group.tags);
        }
    }
}
