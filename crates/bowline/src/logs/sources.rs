//! Tasks in, lines out: finds each container's stream when it may exist and reads it until it is out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::follow::{Drain, End, Event, Origin, Pace};
use super::place::{LogPlace, LogStream, place};
use super::reader::{News, Reader};
use super::{LogLine, Writer};
use crate::model::{Container, Task};
use crate::run::TaskDefinition;
use crate::{AwsError, Client};

/// The streams of some tasks.
pub(crate) struct Sources {
    client: Client,
    reader: Reader,
    drain: Drain,
    labels: Vec<Label>,
    /// Task and container of every stream that is read or was given up.
    known: HashMap<Key, Option<usize>>,
    /// Streams with a name of their own choosing are shared by tasks; each is read once.
    places: HashMap<LogStream, usize>,
    definitions: HashMap<String, Option<Arc<TaskDefinition>>>,
    /// Streams that cannot be read.
    given_up: HashSet<LogStream>,
    said: HashSet<String>,
    notes: VecDeque<String>,
    failed: usize,
    unfinished: usize,
}

/// Whose lines a stream has.
#[derive(Clone, Debug)]
struct Label {
    writer: Writer,
    /// The first task that was found to write into it.
    task: Arc<str>,
    /// Those of its containers that have not ended. It is read as long as there is one.
    users: HashSet<Key>,
    /// No container ever ran, so nothing is missing.
    never_ran: bool,
}

/// Task and container.
type Key = (String, String);

/// What comes out.
#[derive(Debug)]
pub(crate) enum Output {
    Lines(Vec<LogLine>),
    Note(String),
    /// A stream is out.
    Ended,
}

impl Sources {
    pub(crate) fn new(client: Client, drain: Drain) -> Self {
        let pace = Pace {
            drain,
            ..Pace::default()
        };
        Self {
            reader: Reader::new(client.clone(), pace),
            client,
            drain,
            labels: Vec::new(),
            known: HashMap::new(),
            places: HashMap::new(),
            definitions: HashMap::new(),
            given_up: HashSet::new(),
            said: HashSet::new(),
            notes: VecDeque::new(),
            failed: 0,
            unfinished: 0,
        }
    }

    /// Nobody needs to be asked for this definition.
    pub(crate) fn know(&mut self, definition: Arc<TaskDefinition>) {
        let arn = definition.task_definition_arn.clone();
        self.definitions.insert(arn, Some(definition));
    }

    /// The definition of a task, asked for once.
    pub(crate) async fn definition(&mut self, task: &Task) -> Option<Arc<TaskDefinition>> {
        let arn = task.task_definition_arn.as_deref()?;
        if let Some(known) = self.definitions.get(arn) {
            return known.clone();
        }
        let found = match self.client.ecs().definition(arn).await {
            Ok(definition) => Some(Arc::new(definition)),
            Err(error) => {
                self.note(format!("where the output goes is not known: {error}"));
                None
            }
        };
        self.definitions.insert(arn.to_owned(), found.clone());
        found
    }

    /// Looks at a task: streams of containers that run now are read from now on, those of containers that have ended
    /// until they are out. Its definition must have been asked for.
    pub(crate) fn update(&mut self, task: &Task, ago: Duration, wanted: impl Fn(&str) -> bool) {
        for container in &task.containers {
            if container.is_injected() || !wanted(&container.name) {
                continue;
            }
            let ended = has_ended(task, container);
            let key = (task.task_arn.clone(), container.name.clone());
            if !self.known.contains_key(&key) {
                let runs = container.last_status.as_deref() == Some("RUNNING");
                if !(runs || ended) {
                    continue;
                }
                let Some(stream) = self.find(task, container) else {
                    continue;
                };
                self.known.insert(key.clone(), stream);
            }
            if let (true, Some(Some(stream))) = (ended, self.known.get(&key)) {
                // Where several write, the end of one is not the end of the stream.
                let users = &mut self.labels[*stream].users;
                if users.remove(&key) && users.is_empty() {
                    self.reader.stopped(*stream, ago);
                }
            }
        }
    }

    /// Reads a container's stream on from where somebody else has stopped reading it.
    pub(crate) fn resume(
        &mut self,
        task: &Task,
        container: &str,
        stream: &LogStream,
        from: Origin,
    ) {
        let number = self.add(task, container, stream, from, false);
        let key = (task.task_arn.clone(), container.to_owned());
        self.known.insert(key, Some(number));
    }

    /// A container's output is known not to be readable.
    pub(crate) fn skip(&mut self, task: &Task, container: &str) {
        let key = (task.task_arn.clone(), container.to_owned());
        self.known.insert(key, None);
    }

    /// A stream is known not to be readable, whoever writes into it.
    pub(crate) fn give_up(&mut self, stream: &LogStream) {
        self.given_up.insert(stream.clone());
    }

    /// Says something, once.
    pub(crate) fn note(&mut self, text: String) {
        if self.said.insert(text.clone()) {
            self.notes.push_back(text);
        }
    }

    /// The streams that are read: their places and numbers.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&LogStream, usize)> {
        self.places.iter().map(|(place, number)| (place, *number))
    }

    /// Something is new in a stream.
    pub(crate) fn ring(&mut self, stream: usize) {
        self.reader.ring(stream);
    }

    /// How many streams were read, or should have been.
    pub(crate) fn streams(&self) -> usize {
        self.labels.len()
    }

    /// Those whose reading has failed for good.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// Those that were read, and may not have been read to their end because reads failed then.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// What is to be said and was not yet.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        self.notes.drain(..).collect()
    }

    /// Streams with nothing new are asked so rarely: somebody else rings.
    pub(crate) fn slow_down(&mut self, longest: Duration) {
        self.reader.slow_down(longest);
    }

    /// Whether everything that was begun is out and handed over.
    pub(crate) fn is_done(&self) -> bool {
        self.notes.is_empty() && self.reader.is_done()
    }

    /// What comes next. Without streams nothing does. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Output {
        if let Some(note) = self.notes.pop_front() {
            return Output::Note(note);
        }
        match self.reader.next().await {
            News::Lines(stream, events) => Output::Lines(self.lines(stream, events)),
            News::Trouble(stream, error) => Output::Note(self.trouble(stream, &error)),
            News::Ended(stream, end) => {
                self.failed += usize::from(end == End::Failed);
                self.unfinished += usize::from(end == End::Unread);
                match self.farewell(stream, end) {
                    Some(text) => Output::Note(text),
                    None => Output::Ended,
                }
            }
        }
    }

    /// The stream of a container; `Some(None)` when there is none to read, `None` when it is not known yet.
    fn find(&mut self, task: &Task, container: &Container) -> Option<Option<usize>> {
        let arn = task.task_definition_arn.as_deref().unwrap_or_default();
        let Some(Some(definition)) = self.definitions.get(arn) else {
            return Some(None);
        };
        match place(definition, task, container) {
            LogPlace::Stream(found) if self.given_up.contains(&found) => Some(None),
            LogPlace::Stream(found) => {
                // Other tasks have written into a stream with a fixed name.
                let since = found
                    .shared
                    .then(|| task.created_at.map(|at| at.as_millisecond() - SKEW));
                let from = Origin::Time(since.flatten());
                let never_ran = container.exit_code.is_none() && has_ended(task, container);
                Some(Some(self.add(
                    task,
                    &container.name,
                    &found,
                    from,
                    never_ran,
                )))
            }
            LogPlace::NotYet if has_ended(task, container) => Some(None),
            LogPlace::NotYet => None,
            LogPlace::Elsewhere(text) => {
                self.note(text);
                Some(None)
            }
        }
    }

    fn add(
        &mut self,
        task: &Task,
        container: &str,
        stream: &LogStream,
        from: Origin,
        never_ran: bool,
    ) -> usize {
        let user = (task.task_arn.clone(), container.to_owned());
        if let Some(number) = self.places.get(stream) {
            let label = &mut self.labels[*number];
            label.users.insert(user);
            label.never_ran &= never_ran;
            self.reader.started(*number);
            return *number;
        }
        let number = self.reader.add(stream.clone(), from);
        self.places.insert(stream.clone(), number);
        self.labels.push(Label {
            writer: Writer::of(task, container, stream),
            task: task.task_id.as_str().into(),
            users: HashSet::from([user]),
            never_ran,
        });
        number
    }

    fn lines(&self, stream: usize, events: Vec<Event>) -> Vec<LogLine> {
        let writer = &self.labels[stream].writer;
        let events = events.into_iter();
        events.map(|event| LogLine::new(writer, event)).collect()
    }

    fn trouble(&self, stream: usize, error: &AwsError) -> String {
        let writer = &self.labels[stream].writer;
        let text = format!("the output of {writer} cannot be read: {error}");
        match super::reader::may_pass(error) {
            true => format!("{text}; still trying"),
            false => text,
        }
    }

    /// What is worth saying of a stream that is out.
    fn farewell(&self, stream: usize, end: End) -> Option<String> {
        let Label {
            writer,
            task,
            never_ran,
            ..
        } = &self.labels[stream];
        let later = format!("lines that come later: bowline logs task:{task}");
        let place = self.reader.place(stream);
        match end {
            End::Out | End::Failed => None,
            End::Empty | End::Absent if *never_ran => None,
            End::Empty => Some(format!(
                "nothing that {writer} wrote has arrived {} s after its end; {later}",
                self.drain.empty.as_secs()
            )),
            End::Absent => Some(format!(
                "{writer} has no log stream ({} in {}) {} s after its end: it wrote nothing, or could not log; {later}",
                place.stream,
                place.group,
                self.drain.absent.as_secs()
            )),
            End::Capped => Some(format!(
                "lines of {writer} were still coming {} s after its end (up to {} s late), and some may be missing; \
                 wait longer with --log-wait; {later}",
                self.drain.cap.as_secs(),
                self.reader.lag(stream).as_secs()
            )),
            End::Unread => Some(format!(
                "the output of {writer} could not be read to its end within {} s, and lines may be missing: {}; \
                 wait longer with --log-wait; {later}",
                self.drain.cap.as_secs(),
                self.reader.error(stream).unwrap_or("the last read failed")
            )),
        }
    }
}

fn has_ended(task: &Task, container: &Container) -> bool {
    let stopped = |status: &Option<String>| status.as_deref() == Some("STOPPED");
    stopped(&container.last_status) || stopped(&task.last_status)
}

/// Milliseconds that clocks may differ.
const SKEW: i64 = 60_000;
