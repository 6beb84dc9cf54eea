//! A run as a state machine: requests for work and events come out, answers and the time go in.

mod answer;
mod attempt;
pub(crate) mod condition;
mod follow;
mod options;
mod outputs;
mod recipe;
mod repeat;
pub(crate) mod resolve;
mod route;
mod status;
mod validate;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

pub use self::options::{Options, Snapshot, Surroundings};
pub use self::outputs::masked;
use self::repeat::{Frame, list};
pub use self::status::{Event, Status};
pub use self::work::{Answer, CallFailure, Child, Ended, Request, Script, Work};
use crate::action::Action;
use crate::document::{Document, OnFailure, Step};
use crate::parameters::Parameters;

/// A cancelled step's call is waited for this long.
const CANCEL_GRACE: SignedDuration = SignedDuration::from_secs(5);
/// The clean-up after a cancellation, all steps together.
const CLEAN_UP_LIMIT: SignedDuration = SignedDuration::from_secs(120);
/// The longest pause between two attempts. \[X\]
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Steps of one run; rings are legal, and a run has to end.
const STEPS_LIMIT: u32 = 10_000;

/// A run.
#[derive(Debug)]
pub struct Execution {
    document: Arc<Document>,
    options: Options,
    state: Snapshot,
    phase: Phase,
    /// The loops that are gone through, the innermost last.
    frames: Vec<Frame>,
    now: Timestamp,
    events: VecDeque<Event>,
    requests: VecDeque<Request>,
    next_id: u64,
    steps_run: u32,
    cancel: Cancel,
    /// When the clean-up has to be over.
    clean_up_until: Option<Timestamp>,
    /// So many of the outermost loops were cancelled, and have no further round during the clean-up.
    cancelled_loops: usize,
}

#[derive(Debug)]
enum Phase {
    /// This step is next.
    Next(usize),
    Running(Box<Running>),
    Ended,
}

/// The step at work.
#[derive(Debug)]
struct Running {
    step: usize,
    attempt: u32,
    started: Timestamp,
    deadline: Option<Timestamp>,
    wait: Wait,
    poll: Poll,
    inputs: Map<String, Value>,
    approvals: Vec<Value>,
    needed: usize,
    /// Of actions that are several calls.
    progress: recipe::Progress,
    /// What the step has begun is being stopped.
    is_undoing: bool,
}

/// What the step waits for.
#[derive(Debug)]
enum Wait {
    /// The answer to this request.
    Answer(u64),
    /// The account's number, to begin with.
    Account(u64),
    /// The next look.
    PollAt(Timestamp),
    /// The end of a sleep.
    SleepUntil(Timestamp),
    /// The next attempt.
    RetryAt(Timestamp),
}

/// The looks of a step that waits.
#[derive(Debug, Default)]
struct Poll {
    interval: Duration,
    last: Option<Timestamp>,
    value: Option<Option<String>>,
    told: Option<Timestamp>,
    is_last: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// Once the running step has ended.
    AfterStep,
    /// Now; a call in flight is waited for until then.
    Asked(Timestamp),
    /// The clean-up runs, or there was none.
    Accepted,
}

/// How an attempt failed.
#[derive(Debug)]
struct Failure {
    status: Status,
    message: String,
    is_retryable: bool,
}

impl Failure {
    fn failed(message: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            message: crate::value::spelled(message),
            is_retryable: true,
        }
    }

    /// Inputs and outputs are the same the next time.
    fn for_good(message: impl Into<String>) -> Self {
        Self {
            is_retryable: false,
            ..Self::failed(message)
        }
    }
}

impl Execution {
    /// A run of a document that was checked.
    pub fn new(
        document: Arc<Document>,
        parameters: Parameters,
        surroundings: Surroundings,
        options: Options,
        now: Timestamp,
    ) -> Self {
        let variables = document.variables.iter().filter_map(|variable| {
            Some((
                variable.name.name.clone(),
                variable.default.as_ref()?.value(),
            ))
        });
        let state = Snapshot {
            surroundings,
            parameters: parameters.values,
            variables: variables.collect(),
            outputs: BTreeMap::new(),
            shown: BTreeMap::new(),
            statuses: BTreeMap::new(),
            failures: Vec::new(),
            next: document.steps.first().map(|step| step.name.name.clone()),
            status: Status::Pending,
        };
        Self::resume(document, state, options, now)
    }

    /// Goes on with a run that was broken off, at the step that was next.
    pub fn resume(
        document: Arc<Document>,
        state: Snapshot,
        options: Options,
        now: Timestamp,
    ) -> Self {
        let steps: Vec<String> = document
            .steps
            .iter()
            .map(|it| it.name.name.clone())
            .collect();
        let next = state
            .next
            .as_ref()
            .and_then(|name| steps.iter().position(|it| it == name));
        let begin = Event::RunStart {
            execution_id: state.surroundings.execution_id.clone(),
            steps,
        };
        let mut run = Self {
            document,
            options,
            state,
            phase: next.map_or(Phase::Ended, Phase::Next),
            frames: Vec::new(),
            now,
            events: VecDeque::from([begin]),
            requests: VecDeque::new(),
            next_id: 1,
            steps_run: 0,
            cancel: Cancel::No,
            clean_up_until: None,
            cancelled_loops: 0,
        };
        run.state.status = Status::InProgress;
        if next.is_none() {
            run.end();
        }
        run.advance();
        run
    }

    /// What has happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What has to be done, in order.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let Phase::Running(running) = &self.phase else {
            return None;
        };
        let own = match running.wait {
            Wait::PollAt(at) | Wait::SleepUntil(at) | Wait::RetryAt(at) => Some(at),
            Wait::Answer(_) | Wait::Account(_) => None,
        };
        let cancel = match self.cancel {
            Cancel::Asked(at) => Some(at),
            _ => None,
        };
        let loops = self.frames.iter().filter_map(|frame| frame.deadline);
        [own, running.deadline, cancel, self.clean_up_until]
            .into_iter()
            .flatten()
            .chain(loops)
            .min()
    }

    /// The request whose answer is waited for; others are no longer wanted.
    pub fn wanted(&self) -> Option<u64> {
        match &self.phase {
            Phase::Running(running) => match running.wait {
                Wait::Answer(id) | Wait::Account(id) => Some(id),
                _ => None,
            },
            _ => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.advance();
    }

    /// A request was answered. Answers that nobody waits for any more are ignored.
    pub fn answer(&mut self, now: Timestamp, id: u64, answer: Answer) {
        self.now = self.now.max(now);
        if self.wanted() == Some(id) {
            self.take(answer);
        }
        self.advance();
    }

    /// Stops the run: the step at work is given up, and its `onCancel` is followed. During the clean-up nothing changes.
    pub fn cancel(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.is_ended() || !matches!(self.cancel, Cancel::No | Cancel::AfterStep) {
            return;
        }
        self.cancel = Cancel::Asked(self.now + CANCEL_GRACE);
        self.state.status = Status::Cancelling;
        self.set_status_of_running(Status::Cancelling);
        self.advance();
    }

    /// Stops the run once the step at work has ended.
    pub fn cancel_after_step(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.cancel == Cancel::No {
            self.cancel = Cancel::AfterStep;
        }
        self.advance();
    }

    /// How the run stands.
    pub fn status(&self) -> Status {
        self.state.status
    }

    /// The choices that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether the run is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// The step at work with its inputs, as far as they are resolved.
    pub fn current(&self) -> Option<(&str, &Map<String, Value>)> {
        let Phase::Running(running) = &self.phase else {
            return None;
        };
        let step = list(&self.document, &self.frames).get(running.step)?;
        Some((&step.name.name, &running.inputs))
    }

    /// Why the run failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.overall().1
    }

    /// The outputs of a step that succeeded. Secrets are in them.
    pub fn outputs(&self, step: &str) -> Option<&Map<String, Value>> {
        self.state.outputs.get(step)
    }

    /// How each step stands, in the order of the document.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, Status)> {
        self.document.steps.iter().map(|step| {
            let name = step.name.name.as_str();
            (
                name,
                self.state.statuses.get(name).copied().unwrap_or_default(),
            )
        })
    }

    /// What is needed to go on later. A run that failed goes on at the step that failed it.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state.clone();
        let whole = self.frames.first().map(|frame| frame.place);
        let whole = whole.and_then(|place| self.document.steps.get(place));
        state.next = match &self.phase {
            // A loop begins anew.
            Phase::Next(_) | Phase::Running(_) if whole.is_some() => {
                whole.map(|step| step.name.name.clone())
            }
            Phase::Next(step) => self.name(*step),
            Phase::Running(running) => self.name(running.step),
            Phase::Ended => match (self.state.status, self.state.failures.first()) {
                (Status::Success, _) | (_, None) => None,
                (_, Some((step, ..))) => Some(step.clone()),
            },
        };
        if self.is_ended() && state.next.is_some() {
            state.failures.clear();
        }
        state
    }

    /// Goes as far as it can without an answer or time.
    fn advance(&mut self) {
        loop {
            match &self.phase {
                Phase::Ended => return,
                Phase::Next(step) => {
                    let step = *step;
                    if matches!(self.cancel, Cancel::AfterStep | Cancel::Asked(_)) {
                        self.cancel = Cancel::Accepted;
                        self.end();
                    } else if self.steps_run >= STEPS_LIMIT {
                        let message = format!("the run was ended after {STEPS_LIMIT} steps");
                        let name = self.name(step).unwrap_or_default();
                        self.state.failures.push((name, Status::Failed, message));
                        self.end();
                    } else {
                        self.steps_run += 1;
                        self.begin(step, 1);
                    }
                }
                Phase::Running(_) => {
                    if !self.tick() {
                        return;
                    }
                }
            }
        }
    }

    /// Looks at the clock for the step at work. False: there is nothing to do now.
    fn tick(&mut self) -> bool {
        let now = self.now;
        let Phase::Running(running) = &mut self.phase else {
            return false;
        };
        if self.clean_up_until.is_some_and(|until| now >= until) {
            self.cancelled();
            return true;
        }
        if let Cancel::Asked(until) = self.cancel {
            let step = list(&self.document, &self.frames).get(running.step);
            let in_flight = matches!(running.wait, Wait::Answer(_))
                && (running.is_undoing || step.is_some_and(calls) && !running.progress.is_poll);
            if now >= until {
                self.cancelled();
                return true;
            }
            if !in_flight {
                let undo = step.and_then(|step| recipe::undo(step.action?, &running.progress));
                match undo.filter(|_| !running.is_undoing) {
                    Some(call) => self.undo(call),
                    None => self.cancelled(),
                }
                return true;
            }
            return false;
        }
        if self.late_loop() {
            return true;
        }
        let Phase::Running(running) = &mut self.phase else {
            return true;
        };
        match running.wait {
            Wait::RetryAt(at) if now >= at => {
                let (step, attempt) = (running.step, running.attempt);
                self.begin(step, attempt + 1);
                true
            }
            Wait::SleepUntil(at) if now >= at => {
                self.succeed(None, Map::new());
                true
            }
            Wait::PollAt(at) if now >= at => {
                self.look();
                true
            }
            _ if running.deadline.is_some_and(|deadline| now >= deadline) => {
                let failure = self.late();
                self.fail(failure);
                true
            }
            _ => false,
        }
    }

    /// The time of the step at work is up.
    fn late(&self) -> Failure {
        let Phase::Running(running) = &self.phase else {
            return Failure::failed("the time is up");
        };
        let seconds = (self.now.duration_since(running.started)).as_secs();
        let mut message = format!("the step was not done after {seconds} seconds");
        match &running.poll.value {
            Some(Some(value)) => {
                message.push_str("; the last value was ");
                message.push_str(value);
            }
            Some(None) => message.push_str("; the selector matched nothing"),
            None => {}
        }
        Failure {
            status: Status::TimedOut,
            message,
            is_retryable: true,
        }
    }

    /// The attempt failed: another one, or the failure route.
    fn fail(&mut self, failure: Failure) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Some(step) = list(&self.document, &self.frames).get(running.step) else {
            return;
        };
        let name = step.name.name.clone();
        if failure.is_retryable && running.attempt < step.max_attempts && self.cancel == Cancel::No
        {
            let delay = pause(self.options.retry_delay, running.attempt);
            running.wait = Wait::RetryAt(self.now + delay);
            running.deadline = None;
            let step = format!("{}{name}", self.path());
            self.events.push_back(Event::StepRetry {
                step,
                error: failure.message,
                delay: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            });
            return;
        }
        let action = step.action.map_or("", Action::name);
        let attempts = match step.max_attempts {
            1 => String::new(),
            most => format!(", attempt {}/{most}", running.attempt),
        };
        let message = format!("step {name} ({action}){attempts}: {}", failure.message);
        let step = running.step;
        self.finish(step, failure.status, Some(message));
        self.after_failure(step);
    }

    /// The step ended; its status, its event, and what it means for the run.
    fn finish(&mut self, step: usize, status: Status, error: Option<String>) {
        let document = Arc::clone(&self.document);
        let Some(step) = list(&document, &self.frames).get(step) else {
            return;
        };
        let name = step.name.name.clone();
        self.state.statuses.insert(name.clone(), status);
        let failed = matches!(status, Status::Failed | Status::TimedOut);
        if failed && step.is_critical() {
            let message = error.clone().unwrap_or_default();
            self.state.failures.push((name.clone(), status, message));
        }
        let outputs = match status {
            Status::Success => self.shown_outputs(&name).unwrap_or_default(),
            _ => Map::new(),
        };
        let label = format!("{}{name}", self.path());
        self.events.push_back(Event::StepEnd {
            step: label.clone(),
            status,
            outputs,
            error,
        });
        if failed && !step.is_critical() && step.on_failure == OnFailure::Abort {
            self.events.push_back(Event::StepNote {
                step: label,
                note: "the run ends here, and not as a failure, because the step is not critical"
                    .to_owned(),
            });
        }
    }

    /// Stops at the service what the cancelled step has begun there.
    fn undo(&mut self, call: recipe::Call) {
        let document = Arc::clone(&self.document);
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        running.is_undoing = true;
        let place = running.step;
        let deadline = match self.cancel {
            Cancel::Asked(until) => Some(until),
            _ => None,
        };
        if let Some(step) = list(&document, &self.frames).get(place) {
            let work = Work::Call {
                service: call.service,
                operation: call.operation.to_owned(),
                input: call.input,
            };
            let id = self.ask(step, deadline, work);
            self.wait(Wait::Answer(id));
        }
    }

    /// The step at work was given up.
    fn cancelled(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let place = running.step;
        let is_clean_up = self.clean_up_until.is_some();
        self.finish(place, Status::Cancelled, None);
        self.cancel = Cancel::Accepted;
        let document = Arc::clone(&self.document);
        let target = list(&document, &self.frames)
            .get(place)
            .and_then(|step| step.on_cancel.as_ref());
        match target.filter(|_| !is_clean_up) {
            Some(target) => {
                self.clean_up_until = Some(self.now + CLEAN_UP_LIMIT);
                self.go(place, Some(&target.name), "onCancel");
                self.cancelled_loops = self.frames.len();
            }
            None => self.go(place, None, "onCancel"),
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.clean_up_until = None;
        self.state.next = None;
        let (status, failure) = self.overall();
        self.state.status = status;
        self.events.push_back(Event::RunEnd {
            status,
            outputs: self.shown_results(),
            failure,
        });
    }

    /// The status of the whole. \[X\] Of several critical failures the first decides.
    fn overall(&self) -> (Status, Option<String>) {
        match self.state.failures.first() {
            _ if self.cancel == Cancel::Accepted => (Status::Cancelled, None),
            None => (Status::Success, None),
            Some((_, status, message)) => (*status, Some(message.clone())),
        }
    }

    fn name(&self, place: usize) -> Option<String> {
        let step = list(&self.document, &self.frames).get(place)?;
        Some(step.name.name.clone())
    }

    fn set_status_of_running(&mut self, status: Status) {
        if let Phase::Running(running) = &self.phase
            && let Some(name) = self.name(running.step)
        {
            self.state.statuses.insert(name, status);
        }
    }

    fn ask(&mut self, step: &Step, deadline: Option<Timestamp>, work: Work) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.requests.push_back(Request {
            id,
            step: step.name.name.clone(),
            deadline,
            work,
        });
        id
    }
}

/// The pause after an attempt: doubled each time, up to a limit.
fn pause(first: Duration, attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Whether a step has calls that change something, so that their end is waited for when the run is cancelled.
fn calls(step: &Step) -> bool {
    let Some(action) = step.action else {
        return false;
    };
    let calls = matches!(action, Action::ExecuteAwsApi | Action::InvokeLambdaFunction);
    calls || (recipe::is_recipe(action) && action != Action::ExecuteAutomation)
}
