//! SSM Automation: documents, and their executions, each of them a task that drives the engine of `bowline-runbook`.

pub(crate) mod documents;
mod drive;
pub(crate) mod record;
mod script;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_runbook::{Document, Execution, Given, Options, Parameters, Reference, Surroundings};
use tokio::sync::{mpsc, watch};

use crate::api::ApiError;
use crate::identifiers;
use crate::state::Shared;
use documents::Documents;
use record::Record;

/// Executions at the same time; the service has this limit too.
const RUNNING_LIMIT: usize = 100;
/// Executions that are remembered; the oldest that ended goes first.
const KEPT_LIMIT: usize = 1000;
/// Children of children. \[X\]
const DEPTH_LIMIT: usize = 5;
/// Signals on their way to an execution.
const SIGNALS: usize = 16;

/// What of Automation a sandbox has.
#[derive(Default)]
pub(crate) struct Automation {
    documents: Mutex<Documents>,
    executions: Mutex<BTreeMap<String, Held>>,
}

/// An execution, and the way to its task.
struct Held {
    record: Record,
    /// What it was started with.
    asked: Start,
    signals: mpsc::Sender<Signal>,
    /// Whether it has ended.
    ended: watch::Sender<bool>,
}

/// What is told to an execution at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Approve { by: String },
    Reject { by: String },
    Resume,
    Cancel,
    CancelAfterStep,
}

/// What an execution is started with.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) document: String,
    pub(crate) version: Option<String>,
    pub(crate) parameters: BTreeMap<String, Given>,
    /// The executions above this one, the nearest last.
    pub(crate) ancestors: Vec<Ancestor>,
    /// What the caller can ask with again, and gets the same execution.
    pub(crate) token: Option<String>,
}

/// An execution that waits for one that it has started.
#[derive(Clone)]
pub(crate) struct Ancestor {
    pub(crate) execution: String,
    pub(crate) document: String,
}

impl Automation {
    pub(crate) fn documents(&self) -> MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an execution.
    pub(crate) fn record(&self, id: &str) -> Option<Record> {
        Some(self.executions().get(id)?.record.clone())
    }

    /// What a look at each execution finds, in no order.
    pub(crate) fn look<T>(&self, look: impl Fn(&Record) -> Option<T>) -> Vec<T> {
        let executions = self.executions();
        let records = executions.values().map(|held| &held.record);
        records.filter_map(look).collect()
    }

    /// Tells an execution something. False: its task is not there any more, or has too much to read.
    pub(crate) fn signal(&self, id: &str, signal: Signal) -> bool {
        let executions = self.executions();
        let held = executions.get(id);
        held.is_some_and(|held| held.signals.try_send(signal).is_ok())
    }

    /// Takes the approval or rejection of the step at work by somebody, once from each.
    pub(crate) fn decide(&self, id: &str, by: &str) -> bool {
        let mut executions = self.executions();
        let step = executions
            .get_mut(id)
            .and_then(|held| held.record.current_mut());
        match step {
            Some(step) if step.may_decide(by) => {
                step.decided.push(by.to_owned());
                true
            }
            _ => false,
        }
    }

    /// Notices of the end of an execution.
    fn end(&self, id: &str) -> Option<watch::Receiver<bool>> {
        Some(self.executions().get(id)?.ended.subscribe())
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Record)) {
        if let Some(held) = self.executions().get_mut(id) {
            change(&mut held.record);
            let is_ended = held.record.status.is_final();
            held.ended.send_if_modified(|ended| {
                let news = *ended != is_ended;
                *ended = is_ended;
                news
            });
        }
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts an execution and gives its id.
pub(crate) fn start(shared: &Arc<Shared>, start: Start) -> Result<String, ApiError> {
    let automation = &shared.automation;
    if let Some(id) = again(automation, &start)? {
        return Ok(id);
    }
    let (version, document) = {
        let documents = automation.documents();
        let history = documents.history(&start.document).ok_or_else(|| {
            ApiError::new(
                "AutomationDefinitionNotFoundException",
                format!("Automation Definition {} not found.", start.document),
            )
        })?;
        let version = history.version(start.version.as_deref()).ok_or_else(|| {
            ApiError::new(
                "AutomationDefinitionVersionNotFoundException",
                format!(
                    "Automation Definition {} has no version {}.",
                    start.document,
                    start.version.as_deref().unwrap_or_default()
                ),
            )
        })?;
        (version.number, Arc::clone(&version.document))
    };
    let ancestors = &start.ancestors;
    if ancestors.iter().any(|it| it.document == start.document) || ancestors.len() >= DEPTH_LIMIT {
        return Err(ApiError::new(
            "AutomationExecutionLimitExceededException",
            format!(
                "{} starts itself, or there are too many executions within executions.",
                start.document
            ),
        ));
    }
    let id = identifiers::uuid();
    let account = &shared.account;
    let surroundings = Surroundings {
        execution_id: id.clone(),
        region: account.region.clone(),
        partition: account.partition.to_owned(),
        account: Some(account.id.to_owned()),
    };
    let values = values(shared, &document, &start.parameters, &surroundings)?;
    let (sender, receiver) = mpsc::channel(SIGNALS);
    let now = shared.time();
    let record = Record::new(&id, &start, version, &document, &values, now);
    {
        let mut executions = automation.executions();
        let running = executions
            .values()
            .filter(|held| !held.record.status.is_final());
        if running.count() >= RUNNING_LIMIT {
            return Err(ApiError::new(
                "AutomationExecutionLimitExceededException",
                format!("{RUNNING_LIMIT} executions are running already."),
            ));
        }
        forget(&mut executions);
        let held = Held {
            record,
            asked: start.clone(),
            signals: sender,
            ended: watch::Sender::new(false),
        };
        executions.insert(id.clone(), held);
    }
    let options = Options {
        // What only takes time in AWS goes by the sandbox's clock.
        fast_sleep: shared.clock.speed(),
        service_limits: true,
        ..Options::default()
    };
    let now = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let execution = Execution::new(document, values, surroundings, options, now);
    let task = drive::Driver::new(shared, execution, start, receiver, now);
    let stop = shared.stop.clone();
    shared.lifecycles.spawn(async move {
        stop.run_until_cancelled(task.run()).await;
    });
    Ok(id)
}

/// The execution that was started with the same token.
fn again(automation: &Automation, start: &Start) -> Result<Option<String>, ApiError> {
    let Some(token) = &start.token else {
        return Ok(None);
    };
    let executions = automation.executions();
    let same = |held: &&Held| {
        let known = held.asked.token.as_ref();
        known.is_some_and(|known| known.eq_ignore_ascii_case(token))
    };
    let Some(held) = executions.values().find(same) else {
        return Ok(None);
    };
    let Start {
        document,
        version,
        parameters,
        ..
    } = &held.asked;
    match (document, version, parameters) == (&start.document, &start.version, &start.parameters) {
        true => Ok(Some(held.record.id.clone())),
        false => Err(ApiError::new(
            "IdempotentParameterMismatch",
            "The client token was used with other parameters before.",
        )),
    }
}

fn values(
    shared: &Shared,
    document: &Document,
    given: &BTreeMap<String, Given>,
    surroundings: &Surroundings,
) -> Result<Parameters, ApiError> {
    let system = |reference: &Reference| surroundings.stands_for(reference);
    let stored = |name: &str| {
        crate::api::parameter(shared, name).ok_or_else(|| format!("Parameter {name} not found."))
    };
    Parameters::new(document, given, &system, &stored).map_err(|problems| {
        ApiError::new(
            "InvalidAutomationExecutionParametersException",
            problems.join("; "),
        )
    })
}

/// Makes room for one more.
fn forget(executions: &mut BTreeMap<String, Held>) {
    if executions.len() < KEPT_LIMIT {
        return;
    }
    let ended = executions
        .values()
        .filter(|held| held.record.status.is_final());
    let oldest = ended.min_by_key(|held| held.record.started);
    if let Some(id) = oldest.map(|held| held.record.id.clone()) {
        executions.remove(&id);
    }
}
