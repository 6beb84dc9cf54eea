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
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::Client;
use crate::aws::call::{is_spoken, may_pass, token};
use crate::aws::error::{AwsError, AwsErrorKind};

/// For a call of a step without a limit of its own.
const CALL_LIMIT: Duration = Duration::from_secs(300);

/// For a value of the Parameter Store.
const STORE_LIMIT: Duration = Duration::from_secs(25);

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
    /// Another runbook, ready to be run.
    Child(Box<RunbookRun>),
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
    /// The runbook that the step at work runs, and its answer's number.
    child: Option<(u64, Box<Self>)>,
    clock: Clock,
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
    let mut values = BTreeMap::new();
    for name in names {
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
        values.insert(name.clone(), value);
    }
    Ok(values)
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
            if let Some(event) = self.execution.poll_event() {
                return Some(Occurrence::Event(event));
            }
            // What the run no longer waits for is given up.
            let wanted = self.execution.wanted();
            self.work.take_if(|(id, _)| wanted != Some(*id));
            self.child.take_if(|(id, _)| wanted != Some(*id));
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
                    Some((id, child)) => (*id, Box::pin(child.next()).await),
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
                        Done::Child(child) => self.child = Some((id, child)),
                    }
                }
                (id, occurrence) = below => {
                    match occurrence {
                        Some(Occurrence::Event(event)) => {
                            return Some(Occurrence::Event(self.of_child(event)));
                        }
                        Some(asked) => return Some(asked),
                        None => self.child_ended(id),
                    }
                }
                () = timeout => self.execution.handle_timeout(self.clock.now()),
            }
        }
    }

    fn of_child(&self, event: Event) -> Event {
        let step = self.execution.current().map(|it| it.0.to_owned());
        Event::StepChild {
            step: step.unwrap_or_default(),
            event: Box::new(event),
        }
    }

    fn child_ended(&mut self, id: u64) {
        if let Some((_, child)) = self.child.take() {
            let ended = Ended {
                execution_id: child.snapshot().surroundings.execution_id,
                status: child.status(),
                outputs: child.execution.results(),
                shown: child.execution.shown_results(),
                failure: child.execution.failure(),
            };
            let answer = Answer::Ended(ended);
            self.execution.answer(self.clock.now(), id, answer);
        }
    }

    /// Answers what was asked.
    pub fn answer(&mut self, id: u64, answer: Answer) {
        // Whoever waits for somebody is the innermost runbook.
        if let Some((_, child)) = &mut self.child {
            return child.answer(id, answer);
        }
        self.execution.answer(self.clock.now(), id, answer);
    }

    /// Stops the run; its clean-up, if it has one, follows.
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
                let (children, scripts) = (self.children.clone(), self.scripts.clone());
                let documents = self.documents.clone();
                Some(Box::pin(async move {
                    match child::open(client, child, children, scripts, documents).await {
                        Ok(run) => Done::Child(Box::new(run)),
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
