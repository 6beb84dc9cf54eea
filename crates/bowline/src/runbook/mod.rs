//! Runs of runbooks: the engine of `bowline-runbook` with calls, scripts and a clock.

mod child;
pub mod remote;
mod script;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bowline_runbook::{
    Action, Answer, CallFailure, Document, Ended, Event, Execution, Request, Snapshot, Status, Work,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use self::child::below;
use crate::Client;
use crate::aws::call::{is_spoken, may_pass, token};
use crate::aws::error::{AwsError, AwsErrorKind};

/// For a call of a step without a limit of its own.
const CALL_LIMIT: Duration = Duration::from_secs(300);

/// For a value of the Parameter Store.
const STORE_LIMIT: Duration = Duration::from_secs(25);
/// Such values that are asked for at once.
const LOOKED_UP: usize = 8;

/// What a run may do on this machine.
#[derive(Clone, Debug, Default)]
pub struct ScriptPolicy {
    /// Whether scripts are run at all.
    pub allowed: bool,
    /// Where attachments are.
    pub attachments: Option<PathBuf>,
    /// SHA-256 of attachments in hexadecimal, by name: those of the document's `files`.
    pub checksums: BTreeMap<String, String>,
}

impl ScriptPolicy {
    /// The same for this document: every document has checksums of its own.
    #[must_use]
    pub fn of(&self, document: &Document) -> Self {
        let files = document.files.iter();
        Self {
            checksums: files
                .filter_map(|(name, sum)| Some((name.name.clone(), sum.clone()?)))
                .collect(),
            ..self.clone()
        }
    }
}

/// Where the runbooks are that steps run.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Files by the names of documents.
    pub files: BTreeMap<String, PathBuf>,
    /// A folder with files that are called as documents are.
    pub folder: Option<PathBuf>,
}

/// Work on its way to an answer.
type Working = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What work has come to.
enum Done {
    Answer(Answer),
    /// Another runbook of this step, ready to be run.
    Child(String, Box<RunbookRun>),
}

/// A run that is driven: calls are made, and its events come out.
pub struct RunbookRun {
    client: Client,
    execution: Execution,
    scripts: ScriptPolicy,
    children: Children,
    /// The documents that are run, this one last.
    documents: Vec<String>,
    work: Option<(u64, Working)>,
    /// The runbook that the step at work runs.
    child: Option<Below>,
    /// One that was given up with its step, and comes to its end: since when.
    ending: Option<(Below, Instant)>,
    clock: Clock,
}

/// A runbook that a step runs.
struct Below {
    /// The number of the answer that its end is.
    id: u64,
    step: String,
    run: Box<RunbookRun>,
}

impl Below {
    fn told(&self, event: Event) -> Event {
        Event::StepChild {
            step: self.step.clone(),
            event: Box::new(event),
        }
    }
}

impl std::fmt::Debug for RunbookRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunbookRun")
            .field("status", &self.execution.status())
            .finish_non_exhaustive()
    }
}

/// What happens next in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Occurrence {
    /// Something happened.
    Event(Event),
    /// Somebody has to approve or to say that it goes on: [`RunbookRun::answer`].
    Asked(Request),
}

/// What of a document cannot be carried out here, one line each. Nothing may run then.
pub fn refusals(document: &Document, scripts: &ScriptPolicy) -> Vec<String> {
    let mut refusals = Vec::new();
    for step in document.all_steps() {
        let name = &step.name.name;
        let Some(action) = step.action else { continue };
        if let Some(obstacle) = step.obstacle() {
            refusals.push(format!("step {name}: {obstacle}"));
        } else if action == Action::ExecuteScript && !scripts.allowed {
            refusals.push(format!("step {name}: it runs a script on this machine, which has to be allowed with --allow-scripts"));
        }
        let service = step.input("Service").and_then(|node| node.as_str());
        if let Some(service) = service.filter(|_| action.calls_api())
            && let Ok(service) = bowline_services::find(service)
            && !is_spoken(service)
        {
            refusals.push(format!(
                "step {name}: {} speaks {:?} with signatures {}, which is not spoken here",
                service.name, service.meta.protocol, service.meta.signature_version
            ));
        }
    }
    refusals
}

/// An id for a run.
pub fn new_id() -> String {
    token()
}

/// The values of parameters of the Parameter Store, by name.
///
/// # Errors
/// One of them cannot be read, or is a SecureString, which runbooks do not take.
pub async fn stored(
    client: &Client,
    names: &[String],
) -> Result<BTreeMap<String, Value>, AwsError> {
    let client = client.clone();
    stream::iter(names.to_vec())
        .map(move |name| looked_up(client.clone(), name))
        .buffered(LOOKED_UP)
        .try_collect()
        .await
}

async fn looked_up(client: Client, name: String) -> Result<(String, Value), AwsError> {
    let input = Map::from_iter([("Name".to_owned(), Value::from(name.as_str()))]);
    let limit = Instant::now() + STORE_LIMIT;
    let answered = client
        .api()
        .by_model("ssm", "GetParameter", &input, limit)
        .await?
        .value;
    let parameter = &answered["Parameter"];
    let text = parameter["Value"].as_str().unwrap_or_default();
    let value = match parameter["Type"].as_str() {
        Some("SecureString") => {
            let why = format!("{name} is a SecureString, which a runbook cannot use");
            return Err(AwsError::unusable("ssm:GetParameter".to_owned(), &why));
        }
        Some("StringList") => text.split(',').map(Value::from).collect(),
        _ => Value::from(text),
    };
    Ok((name, value))
}

impl RunbookRun {
    /// Drives a run with this client's credentials.
    pub fn new(
        client: Client,
        execution: Execution,
        scripts: ScriptPolicy,
        now: Timestamp,
    ) -> Self {
        Self {
            client,
            execution,
            scripts,
            children: Children::default(),
            documents: Vec::new(),
            work: None,
            child: None,
            ending: None,
            clock: Clock {
                wall: now,
                started: Instant::now(),
            },
        }
    }

    /// Says where the runbooks are that steps run; without, the account is asked for them.
    #[must_use]
    pub fn with_children(mut self, children: Children) -> Self {
        self.children = children;
        self
    }

    /// What happens next; nothing once the run is over. Can be dropped and called again.
    pub async fn next(&mut self) -> Option<Occurrence> {
        loop {
            // What the run no longer waits for is given up.
            let wanted = self.execution.wanted();
            self.work.take_if(|(id, _)| wanted != Some(*id));
            if let Some(mut child) = self.child.take_if(|child| wanted != Some(child.id)) {
                child.run.cancel();
                self.ending = Some((child, Instant::now()));
            }
            // A runbook that is given up does what its `onCancel` says, two minutes at most, and nothing happens
            // here before it has ended.
            if let Some((child, since)) = &mut self.ending {
                match Box::pin(child.run.next()).await {
                    Some(Occurrence::Event(event)) => {
                        return Some(Occurrence::Event(child.told(event)));
                    }
                    Some(asked) => return Some(asked),
                    None => {
                        // That time is not the next step's.
                        self.clock.started += since.elapsed();
                        self.ending = None;
                    }
                }
                continue;
            }
            if let Some(event) = self.execution.poll_event() {
                return Some(Occurrence::Event(event));
            }
            if let Some(request) = self.execution.poll_request() {
                match self.start(&request) {
                    Some(work) => self.work = Some((request.id, work)),
                    None => return Some(Occurrence::Asked(request)),
                }
                continue;
            }
            if self.execution.is_ended() {
                return None;
            }
            let timeout = self
                .execution
                .poll_timeout()
                .map(|at| self.clock.instant(at));
            let timeout = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let working = async {
                match &mut self.work {
                    Some((id, work)) => (*id, work.await),
                    None => std::future::pending().await,
                }
            };
            let below = async {
                match &mut self.child {
                    Some(child) => Box::pin(child.run.next()).await,
                    None => std::future::pending().await,
                }
            };
            // All of them keep nothing that is lost when another one is ready: work and child stay in `self`.
            tokio::select! {
                (id, done) = working => {
                    self.work = None;
                    match done {
                        Done::Answer(answer) => {
                            self.execution.answer(self.clock.now(), id, answer);
                        }
                        Done::Child(step, run) => self.child = Some(Below { id, step, run }),
                    }
                }
                occurrence = below => {
                    match (occurrence, &self.child) {
                        (Some(Occurrence::Event(event)), Some(child)) => {
                            return Some(Occurrence::Event(child.told(event)));
                        }
                        (Some(asked), _) => return Some(asked),
                        (None, _) => self.child_ended(),
                    }
                }
                () = timeout => self.execution.handle_timeout(self.clock.now()),
            }
        }
    }

    fn child_ended(&mut self) {
        if let Some(Below { id, run, .. }) = self.child.take() {
            let ended = Ended {
                execution_id: run.snapshot().surroundings.execution_id,
                status: run.status(),
                outputs: run.execution.results(),
                shown: run.execution.shown_results(),
                failure: run.execution.failure(),
            };
            let answer = Answer::Ended(ended);
            self.execution.answer(self.clock.now(), id, answer);
        }
    }

    /// Answers what was asked.
    pub fn answer(&mut self, id: u64, answer: Answer) {
        // Whoever waits for somebody is the innermost runbook.
        let ending = self.ending.as_mut().map(|it| &mut it.0);
        if let Some(child) = ending.or(self.child.as_mut()) {
            return child.run.answer(id, answer);
        }
        self.execution.answer(self.clock.now(), id, answer);
    }

    /// Stops the run; its clean-up, if it has one, follows. A runbook that its step runs is stopped before that, with
    /// a clean-up of its own.
    pub fn cancel(&mut self) {
        self.execution.cancel(self.clock.now());
    }

    /// How the run stands.
    pub fn status(&self) -> Status {
        self.execution.status()
    }

    /// What is needed to go on with it later.
    pub fn snapshot(&self) -> Snapshot {
        self.execution.snapshot()
    }

    fn start(&self, request: &Request) -> Option<Working> {
        let limit = request
            .deadline
            .map_or_else(|| Instant::now() + CALL_LIMIT, |at| self.clock.instant(at));
        let client = self.client.clone();
        match request.work.clone() {
            Work::Call {
                service,
                operation,
                input,
            } => Some(Box::pin(async move {
                let api = client.api();
                Done::Answer(
                    match api.by_model(service, &operation, &input, limit).await {
                        Ok(answered) => Answer::Called(answered.value),
                        Err(error) => Answer::CallFailed(failure(error)),
                    },
                )
            })),
            Work::Automation(child) => {
                let above = child::Above {
                    children: self.children.clone(),
                    scripts: self.scripts.clone(),
                    options: self.execution.options().clone(),
                    documents: self.documents.clone(),
                };
                let step = request.step.clone();
                Some(Box::pin(async move {
                    match child::open(client, child, above).await {
                        Ok(run) => Done::Child(step, Box::new(run)),
                        Err(failure) => Done::Answer(Answer::CallFailed(failure)),
                    }
                }))
            }
            Work::Script(work) => {
                let scripts = self.scripts.clone();
                Some(Box::pin(async move {
                    Done::Answer(match script::run(&client, &work, &scripts).await {
                        Ok(value) => Answer::Returned(value),
                        Err(message) => Answer::ScriptFailed(message),
                    })
                }))
            }
            _ => None,
        }
    }
}

fn failure(error: AwsError) -> CallFailure {
    CallFailure {
        is_transient: may_pass(&error) || error.kind == AwsErrorKind::TimedOut,
        code: error.code,
        message: error.message,
        request_id: error.request_id,
    }
}

/// Wall time that does not jump while a run waits.
#[derive(Clone, Copy, Debug)]
struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    fn now(self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.wall.checked_add(passed).unwrap_or(self.wall)
    }

    fn instant(self, at: Timestamp) -> Instant {
        // A millisecond more: a timer that is early would find nothing due.
        let after = at.duration_since(self.wall) + jiff::SignedDuration::from_millis(1);
        self.started + Duration::try_from(after).unwrap_or_default()
    }
}
