//! The task of an execution: the engine, the clock, signals, and what the API tells of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_runbook::{Answer, Event, Execution, Request, Status, Work};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::record::answered;
use super::{Ancestor, Signal, Start, work};
use crate::state::Shared;

/// Work on its way to an answer.
type Working = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What the service puts for an output whose step did not succeed.
const NO_OUTPUT: &str = "No output available yet because the step is not successfully executed";

pub(super) struct Driver {
    shared: Arc<Shared>,
    id: String,
    execution: Execution,
    /// Of executions that this one starts: it and what is above it.
    ancestors: Vec<Ancestor>,
    signals: mpsc::Receiver<Signal>,
    work: Option<(u64, Working)>,
    /// A step that waits for somebody.
    asked: Option<Request>,
    wall: Timestamp,
    started: Instant,
}

impl Driver {
    pub(super) fn new(
        shared: &Arc<Shared>,
        execution: Execution,
        start: Start,
        signals: mpsc::Receiver<Signal>,
        now: Timestamp,
    ) -> Self {
        let id = execution.snapshot().surroundings.execution_id;
        let mut ancestors = start.ancestors;
        ancestors.push(Ancestor {
            execution: id.clone(),
            document: start.document,
        });
        Self {
            shared: Arc::clone(shared),
            id,
            execution,
            ancestors,
            signals,
            work: None,
            asked: None,
            wall: now,
            started: Instant::now(),
        }
    }

    /// Until the execution has ended.
    pub(super) async fn run(mut self) {
        loop {
            self.tell();
            let wanted = self.execution.wanted();
            self.work.take_if(|(id, _)| wanted != Some(*id));
            self.asked.take_if(|request| wanted != Some(request.id));
            if let Some(request) = self.execution.poll_request() {
                self.begin(request);
                continue;
            }
            if self.execution.is_ended() {
                return;
            }
            let timeout = self.execution.poll_timeout().map(|at| self.instant(at));
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
            // The work stays in `self`, and a channel keeps what was not taken.
            tokio::select! {
                (id, answer) = working => {
                    self.work = None;
                    let now = self.now();
                    self.execution.answer(now, id, answer);
                }
                Some(signal) = self.signals.recv() => self.take(signal),
                () = timeout => {
                    let now = self.now();
                    self.execution.handle_timeout(now);
                }
            }
        }
    }

    fn begin(&mut self, request: Request) {
        match &request.work {
            Work::Approval { .. } | Work::Pause => self.asked = Some(request),
            _ => {
                let work = work::answer(
                    Arc::clone(&self.shared),
                    request.work.clone(),
                    self.ancestors.clone(),
                );
                self.work = Some((request.id, Box::pin(work)));
            }
        }
    }

    fn take(&mut self, signal: Signal) {
        let now = self.now();
        let answer = match signal {
            Signal::Cancel => return self.execution.cancel(now),
            Signal::CancelAfterStep => return self.execution.cancel_after_step(now),
            Signal::Approve { by } => Answer::Approved { by },
            Signal::Reject { by } => Answer::Rejected { by },
            Signal::Resume => Answer::Resumed,
        };
        let fits = |request: &Request| {
            matches!(request.work, Work::Pause) == matches!(answer, Answer::Resumed)
        };
        if let Some(request) = self.asked.take_if(|request| fits(request)) {
            self.execution.answer(now, request.id, answer);
        }
    }

    /// Writes down what has happened.
    fn tell(&mut self) {
        let mut events = Vec::new();
        while let Some(event) = self.execution.poll_event() {
            events.push(event);
        }
        if events.is_empty() && self.execution.current().is_none() {
            return;
        }
        let now = self.shared.time();
        let execution = &self.execution;
        self.shared.automation.change(&self.id, |record| {
            for event in events {
                match event {
                    Event::StepStart { step, attempt, .. } => {
                        if let Some(step) = record.step(&step) {
                            step.started = Some(now);
                            step.ended = None;
                            step.status = Status::InProgress;
                            step.decided.clear();
                            if attempt == 1 {
                                step.failure = None;
                            }
                        }
                    }
                    Event::StepRetry { step, error, .. } => {
                        if let Some(step) = record.step(&step) {
                            step.failure = Some(failure(&error, Status::Failed));
                        }
                    }
                    Event::StepEnd {
                        step,
                        status,
                        error,
                        ..
                    } => {
                        let outputs = execution.outputs(&step);
                        let outputs = outputs.filter(|_| status == Status::Success);
                        if let Some(record) = record.step(&step) {
                            record.ended = Some(now);
                            record.status = status;
                            record.failure = error.map(|error| failure(&error, status));
                            record.outputs = outputs.map(answered).unwrap_or_default();
                        }
                    }
                    Event::RunEnd { failure: why, .. } => {
                        record.ended = Some(now);
                        record.failure = why.map(|why| failure(&why, Status::Failed));
                        record.outputs = outputs(execution.results());
                    }
                    _ => {}
                }
            }
            for (name, status) in execution.statuses() {
                if let Some(step) = record.step(name).filter(|step| step.started.is_some()) {
                    step.status = status;
                }
            }
            if let Some((name, inputs)) = execution.current()
                && !inputs.is_empty()
                && let Some(step) = record.step(name)
            {
                step.inputs.clone_from(inputs);
            }
            record.status = execution.status();
        });
    }

    fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.wall.checked_add(passed).unwrap_or(self.wall)
    }

    fn instant(&self, at: Timestamp) -> Instant {
        // A millisecond more: a timer that is early would find nothing due.
        let after = at.duration_since(self.wall) + jiff::SignedDuration::from_millis(1);
        self.started + Duration::try_from(after).unwrap_or_default()
    }
}

/// With the words that the service puts around it.
fn failure(error: &str, status: Status) -> String {
    let error = error.trim_end().trim_end_matches('.');
    match status {
        Status::Cancelled => format!("Step fails when it is Canceling action. {error}."),
        _ => format!(
            "Step fails when it is Execute/Cancelling action. {error}. Please refer to Automation Service Troubleshooting Guide for more diagnosis details."
        ),
    }
}

fn outputs(results: Map<String, Value>) -> Map<String, Value> {
    let answered = |(name, value)| match value {
        Value::Null => (name, vec![NO_OUTPUT].into()),
        value => (name, value),
    };
    results.into_iter().map(answered).collect()
}
