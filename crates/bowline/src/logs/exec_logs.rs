//! The logs of ECS Exec sessions: which group, by the cluster's configuration; which streams, by the sessions that SSM
//! remembers of a container.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::discover::Found;
use super::follow::Event;
use super::place::{LogPlace, LogStream, place};
use super::query::{Part, Query};
use super::request::{LogError, LogEvent, LogRequest};
use super::worker::{Readable, say};
use super::{LogLine, Writer};
use crate::Client;
use crate::aws::ecs::last_part;
use crate::model::{Container, Task};
use crate::session::exec::transcript::Transcript;

/// Reads the sessions of the found containers, each in whole, one after another.
pub(super) async fn read(
    client: &Client,
    request: &LogRequest,
    found: &Found,
    reader: &mpsc::Sender<LogEvent>,
) -> Result<Readable, LogError> {
    let mut readable = Readable::default();
    for task in &found.tasks {
        for container in &task.containers {
            if container.is_injected() || !found.wants(task, &container.name) {
                continue;
            }
            let group = group(client, task, container).await?;
            for session in sessions(client, task, container).await? {
                let stream = LogStream {
                    stream: session.clone(),
                    ..group.clone()
                };
                match one(client, request, task, container, stream, reader).await {
                    true => readable.readable += 1,
                    false => readable.unreadable += 1,
                }
            }
        }
    }
    if readable == Readable::default() {
        say(reader, "SSM remembers no session in these containers").await;
    }
    Ok(readable)
}

/// Says whether it could be read.
async fn one(
    client: &Client,
    request: &LogRequest,
    task: &Task,
    container: &Container,
    stream: LogStream,
    reader: &mpsc::Sender<LogEvent>,
) -> bool {
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let session: Arc<str> = stream.stream.as_str().into();
    let mut query = Query::new(client.clone(), millis(request.until));
    let part = match request.tail {
        Some(count) if request.raw => Part::Tail(count),
        // How a log is to be read stands at its beginning.
        Some(_) => Part::Since(None),
        None => Part::Since(millis(request.since)),
    };
    let mut lines = Lines::new(request);
    let mut read = true;
    for (_, error) in query.add(vec![stream], part).await {
        read = false;
        say(
            reader,
            &format!("session {session} cannot be read: {error}"),
        )
        .await;
    }
    let writer = Writer::Container {
        task: task.task_id.as_str().into(),
        container: format!("{}/{session}", container.name).into(),
    };
    while let Some(next) = query.next().await {
        match next {
            Ok((_, event)) => {
                let lines = lines.read(&writer, event);
                if !lines.is_empty() {
                    // Without a reader the work is dropped as a whole.
                    let _ = reader.send(LogEvent::Lines(lines)).await;
                }
            }
            Err((_, error)) => {
                read = false;
                say(
                    reader,
                    &format!("session {session} cannot be read: {error}"),
                )
                .await;
            }
        }
    }
    lines.finish(&writer, &session, reader).await;
    if query.is_absent(0) {
        say(
            reader,
            &format!("session {session} was not logged (or not yet)"),
        )
        .await;
    }
    read
}

/// The lines of one session, read or as they are.
struct Lines {
    transcript: Option<Transcript>,
    tail: Option<usize>,
    kept: VecDeque<LogLine>,
    last: Event,
}

impl Lines {
    fn new(request: &LogRequest) -> Self {
        Self {
            transcript: (!request.raw).then(Transcript::default),
            tail: request.tail.filter(|_| !request.raw),
            kept: VecDeque::new(),
            last: Event::default(),
        }
    }

    fn read(&mut self, writer: &Writer, event: Event) -> Vec<LogLine> {
        let Some(transcript) = &mut self.transcript else {
            return vec![LogLine::new(writer, event)];
        };
        let texts = transcript.line(&event.message);
        self.last = event;
        self.lines(writer, texts)
    }

    /// With a number of last lines they are kept until all was read.
    fn lines(&mut self, writer: &Writer, texts: Vec<String>) -> Vec<LogLine> {
        let lines = texts.into_iter().map(|message| {
            let event = Event {
                message,
                ..self.last.clone()
            };
            LogLine::new(writer, event)
        });
        let Some(tail) = self.tail else {
            return lines.collect();
        };
        self.kept.extend(lines);
        let over = self.kept.len().saturating_sub(tail);
        self.kept.drain(..over);
        Vec::new()
    }

    async fn finish(mut self, writer: &Writer, session: &str, reader: &mpsc::Sender<LogEvent>) {
        let last = self.transcript.as_mut().and_then(Transcript::finish);
        let mut lines = self.lines(writer, last.into_iter().collect());
        lines.splice(..0, self.kept);
        if !lines.is_empty() {
            // Without a reader the work is dropped as a whole.
            let _ = reader.send(LogEvent::Lines(lines)).await;
        }
        let Some(transcript) = self.transcript else {
            return;
        };
        if let Some(damage) = transcript.damage() {
            let text = format!("the rest of session {session} is shown as it was logged: {damage}");
            say(reader, &text).await;
        }
        if let Some(status) = transcript.status() {
            say(reader, &format!("session {session} ended with {status}")).await;
        }
    }
}

/// The group of a container's sessions, as a stream without a name.
async fn group(client: &Client, task: &Task, container: &Container) -> Result<LogStream, LogError> {
    let cluster = last_part(&task.cluster_arn).to_owned();
    let unreadable = |reason: &str| LogError::NoExecLogs {
        cluster: cluster.clone(),
        reason: reason.to_owned(),
    };
    let of_container = async || {
        let name = task.task_definition_arn.as_deref().unwrap_or_default();
        let definition = client.ecs().definition(name).await?;
        match place(&definition, task, container) {
            LogPlace::Stream(stream) => Ok(stream),
            _ => Err(unreadable(
                "they go where the container's output goes, and that is not CloudWatch Logs",
            )),
        }
    };
    let logging = client.ecs().exec_logging(&cluster).await?;
    match logging.mode.as_deref() {
        None | Some("DEFAULT") => of_container().await,
        Some("NONE") => Err(unreadable("the cluster does not have them logged")),
        Some(_) => match logging.group {
            Some(group) => Ok(LogStream {
                region: None,
                group,
                stream: String::new(),
                shared: false,
                may_drop: false,
            }),
            None => Err(unreadable(match logging.bucket {
                Some(_) => "they go to a bucket in S3 and no log group",
                None => "no log group is configured",
            })),
        },
    }
}

/// Oldest first.
async fn sessions(
    client: &Client,
    task: &Task,
    container: &Container,
) -> Result<Vec<String>, LogError> {
    let Some(runtime_id) = &container.runtime_id else {
        return Ok(Vec::new());
    };
    let cluster = last_part(&task.cluster_arn);
    let target = format!("ecs:{cluster}_{}_{runtime_id}", task.task_id);
    Ok(client.ssm().sessions(&target).await?)
}
