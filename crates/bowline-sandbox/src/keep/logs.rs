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
    fn size(&self) -> usize {
        self.events.iter().map(|event| event.1.len()).sum()
    }
}

/// All groups with what was written, whether it can be seen yet or not.
pub(super) fn of(groups: &Groups) -> Vec<Group> {
    let kept = groups.groups.iter().map(|(name, group)| {
        let streams = group.streams.iter().map(|(name, stream)| Stream {
            name: name.clone(),
            created: stream.created,
            events: Vec::new(),
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
    let written = groups.groups.values();
    let written = written.flat_map(|group| group.streams.values());
    let streams = kept.iter_mut().flat_map(|it| &mut it.streams);
    let mut streams: Vec<_> = streams.zip(written).collect();
    streams.sort_by_key(|(_, written)| std::cmp::Reverse(written.newest()));
    let mut room = LIMIT;
    for (stream, written) in streams {
        match written.last_written(EVENTS, room) {
            Ok(events) => stream.events = events.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, stream = stream.name, "a log stream is not kept");
            }
        }
        room = room.saturating_sub(stream.size());
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::SandboxClock;
    use crate::logs::Logs;

    #[test]
    fn the_newest_events_are_kept_and_older_ones_not_even_read() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(
            folder.path().to_owned(),
            SandboxClock::start(NonZeroU32::MIN),
        );
        logs.groups().create_group("g");
        for name in ["long", "short"] {
            let made = logs.groups().create_stream("g", name, Duration::ZERO);
            assert_eq!(made, Ok(true));
        }
        let text = |number: usize| format!("{number:0100}");
        let all: Vec<(i64, String)> = (0..EVENTS + 2000)
            .map(|number| (number as i64, text(number)))
            .collect();
        for some in all.chunks(700) {
            logs.put("g", "long", some).unwrap().unwrap();
        }
        logs.put("g", "short", &all[..3]).unwrap().unwrap();
        // The beginning is damaged, and nobody looks at it.
        let path = folder.path().join("0");
        let file = std::fs::File::options().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 12], 0).unwrap();

        let kept = of(&logs.groups());
        let events = |index: usize| &kept[0].streams[index].events;
        assert_eq!(*events(0), all[2000..]);
        assert_eq!(*events(1), all[..3]);
    }
}
