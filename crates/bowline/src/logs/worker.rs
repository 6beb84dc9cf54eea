//! The one task behind a [`super::LogReading`]: finds the tasks, reads what there is, then follows.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::bell::Bell;
use super::discover::{Discovery, Found};
use super::exec_logs;
use super::follow::{Drain, Origin};
use super::place::{LogPlace, LogStream, place};
use super::query::{Part, Query};
use super::request::{LogError, LogEvent, LogRequest};
use super::sources::{Output, Sources};
use super::{LogLine, Writer};
use crate::model::Task;
use crate::{AwsError, Client};

/// Between looks for tasks that join and leave.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// Lines that go to the reader together.
const LINES: usize = 1000;

type Reader = mpsc::Sender<LogEvent>;

/// Reads until there is no more, or nobody listens.
pub(super) async fn run(client: Client, request: LogRequest, reader: Reader) {
    let work = async {
        let last = match read(client, request, &reader).await {
            Ok(Readable {
                readable,
                unreadable,
            }) => LogEvent::Ended {
                readable,
                unreadable,
            },
            Err(error) => LogEvent::Failed(error),
        };
        // A reader that has left needs no last word.
        let _ = reader.send(last).await;
    };
    tokio::select! {
        () = work => {}
        () = reader.closed() => {}
    }
}

/// How many streams could be read, and how many could not, or maybe not to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readable {
    pub(super) readable: usize,
    pub(super) unreadable: usize,
}

async fn read(client: Client, request: LogRequest, reader: &Reader) -> Result<Readable, LogError> {
    let discovery = Discovery::new(client.clone(), &request).await?;
    let found = discovery.begin().await?;
    for note in &found.notes {
        say(reader, note).await;
    }
    if request.exec {
        return exec_logs::read(&client, &request, &found, reader).await;
    }
    let mut work = Work {
        sources: Sources::new(client.clone(), Drain::within(request.log_wait)),
        client,
        request,
        known: BTreeMap::new(),
        wanted: 0,
        failed: 0,
    };
    work.history(&found, reader).await?;
    if work.request.follow {
        work.follow(&discovery, found, reader).await?;
    }
    work.say_notes(reader).await;
    Ok(work.readable())
}

struct Work {
    client: Client,
    request: LogRequest,
    sources: Sources,
    /// Tasks that have not ended, by ARN.
    known: BTreeMap<String, Task>,
    /// Streams that there were at first …
    wanted: usize,
    /// … and those of them that cannot be read. A container whose stream cannot be found out counts as one.
    failed: usize,
}

/// A stream and whose it is.
struct Owned {
    task: Task,
    container: String,
    writer: Writer,
    place: LogStream,
}

impl Work {
    fn readable(&self) -> Readable {
        if !self.request.follow {
            return Readable {
                readable: self.wanted - self.failed,
                unreadable: self.failed,
            };
        }
        // What could be read at first was followed.
        let sources = &self.sources;
        Readable {
            readable: sources.streams() - sources.failed(),
            unreadable: self.failed + sources.failed() + sources.unfinished(),
        }
    }

    /// What there is already.
    async fn history(&mut self, found: &Found, reader: &Reader) -> Result<(), LogError> {
        let mut owned: Vec<Owned> = Vec::new();
        for task in &found.tasks {
            let Some(definition) = self.sources.definition(task).await else {
                let containers = task.containers.iter();
                let wanted = containers
                    .filter(|one| !one.is_injected() && found.wants(task, &one.name))
                    .count();
                self.wanted += wanted;
                self.failed += wanted;
                continue;
            };
            for container in &task.containers {
                if container.is_injected() || !found.wants(task, &container.name) {
                    continue;
                }
                match place(&definition, task, container) {
                    LogPlace::Stream(place) if owned.iter().any(|one| one.place == place) => {}
                    LogPlace::Stream(place) => owned.push(Owned {
                        task: task.clone(),
                        container: container.name.clone(),
                        writer: Writer::of(task, &container.name, &place),
                        place,
                    }),
                    LogPlace::Elsewhere(text) => {
                        self.sources.note(text);
                        self.sources.skip(task, &container.name);
                    }
                    LogPlace::NotYet => {}
                }
            }
        }
        self.say_notes(reader).await;
        self.wanted += owned.len();
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
        let mut query = Query::new(self.client.clone(), millis(self.request.until));
        let places = || owned.iter().map(|one| one.place.clone()).collect();
        let part = match self.request.tail {
            Some(count) => Part::Tail(count),
            None => Part::Since(millis(self.request.since)),
        };
        for failed in query.add(places(), part).await {
            self.unreadable(&owned[failed.0], &failed.1, reader).await;
        }
        let since = millis(self.request.since).unwrap_or(i64::MIN);
        let mut lines = Vec::new();
        while let Some(next) = query.next().await {
            match next {
                // The tail knows no beginning.
                Ok((_, event)) if event.timestamp < since => {}
                Ok((stream, event)) => {
                    lines.push(LogLine::new(&owned[stream].writer, event));
                    if lines.len() == LINES {
                        send(reader, std::mem::take(&mut lines)).await;
                    }
                }
                Err((stream, error)) => self.unreadable(&owned[stream], &error, reader).await,
            }
        }
        send(reader, lines).await;
        for (stream, one) in owned.iter().enumerate() {
            match query.rest(stream) {
                Some((place, from)) if self.request.follow => {
                    // A stream that does not exist yet is read from its beginning.
                    let from = match query.is_absent(stream) {
                        true => Origin::Time(None),
                        false => from,
                    };
                    self.sources.resume(&one.task, &one.container, place, from);
                }
                Some((place, _)) if query.is_absent(stream) => {
                    let text = format!(
                        "container {} of task {} has written nothing yet: there is no log stream {} in {}",
                        one.container, one.task.task_id, place.stream, place.group
                    );
                    say(reader, &text).await;
                }
                Some(_) => {}
                None => self.sources.give_up(&one.place),
            }
        }
        Ok(())
    }

    /// What comes, until all tasks have ended that were asked for by name; otherwise for ever.
    async fn follow(
        &mut self,
        discovery: &Discovery,
        mut found: Found,
        reader: &Reader,
    ) -> Result<(), LogError> {
        let mut bell = Bell::new(self.client.clone(), self.request.live);
        self.take(&found, reader, false).await;
        let mut next_look = Instant::now() + LOOK_PAUSE;
        loop {
            if discovery.ends_with_its_tasks() && self.known.is_empty() && self.sources.is_done() {
                return Ok(());
            }
            bell.watch(&mut self.sources);
            // Every arm is cancel-safe: calls and news are kept.
            tokio::select! {
                output = self.sources.next() => match output {
                    Output::Lines(lines) => send(reader, lines).await,
                    Output::Note(text) => say(reader, &text).await,
                    Output::Ended => {}
                },
                rung = bell.next() => match rung {
                    Ok(streams) => streams.into_iter().for_each(|stream| self.sources.ring(stream)),
                    Err(text) => say(reader, &text).await,
                },
                () = sleep_until(next_look) => {
                    // Looks that fail are repeated; what is known is read on meanwhile.
                    match discovery.again(self.known.values()).await {
                        Ok(mut now) => {
                            for note in std::mem::take(&mut now.notes) {
                                self.sources.note(note);
                            }
                            found.merge(now);
                            self.take(&found, reader, true).await;
                        }
                        Err(error) => tracing::warn!(%error, "tasks could not be looked for"),
                    }
                    next_look = Instant::now() + LOOK_PAUSE;
                }
            }
        }
    }

    /// Takes over tasks as they are now; those that join or leave are said.
    async fn take(&mut self, found: &Found, reader: &Reader, say_it: bool) {
        let now = Timestamp::now();
        for task in &found.tasks {
            let id = &task.task_id;
            let ended = task.last_status.as_deref() == Some("STOPPED");
            let before = self.known.contains_key(&task.task_arn);
            if say_it && !before && !ended {
                say(reader, &format!("task {id} joins")).await;
            }
            if say_it && before && ended {
                let reason = task
                    .stopped_reason
                    .as_deref()
                    .unwrap_or("no reason was given");
                say(reader, &format!("task {id} has stopped: {reason}")).await;
            }
            self.sources.definition(task).await;
            // Only what had ended before the first look has ended at some time in the past.
            let ago = match say_it {
                true => Duration::ZERO,
                false => crate::run::stopped_ago(task, now),
            };
            let wanted = |name: &str| found.wants(task, name);
            self.sources.update(task, ago, wanted);
            match ended {
                true => drop(self.known.remove(&task.task_arn)),
                false => drop(self.known.insert(task.task_arn.clone(), task.clone())),
            }
        }
    }

    /// A stream that cannot be read is left out, or tried again while it is followed.
    async fn unreadable(&mut self, one: &Owned, error: &AwsError, reader: &Reader) {
        let writer = &one.writer;
        let again = self.request.follow && super::may_pass(error);
        let ending = match again {
            true => "; still trying",
            false => "",
        };
        self.failed += usize::from(!again);
        say(
            reader,
            &format!("the output of {writer} cannot be read: {error}{ending}"),
        )
        .await;
    }

    async fn say_notes(&mut self, reader: &Reader) {
        for note in self.sources.take_notes() {
            say(reader, &note).await;
        }
    }
}

async fn send(reader: &Reader, lines: Vec<LogLine>) {
    if !lines.is_empty() {
        let _ = reader.send(LogEvent::Lines(lines)).await;
    }
}

pub(super) async fn say(reader: &Reader, text: &str) {
    // Without a reader the work is dropped as a whole.
    let _ = reader.send(LogEvent::Notice(text.to_owned())).await;
}
