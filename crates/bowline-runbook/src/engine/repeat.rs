//! Loops: their bodies are lists of steps of their own, gone through once for each item or while a condition holds.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::resolve::{Absent, resolve};
use super::{Event, Execution, Failure, Phase, Status, condition};
use crate::document::{Document, Step};
use crate::value::{Type, integer, type_name};

/// Rounds of one loop, and what `MaxIterations` is without being written.
const ROUNDS_LIMIT: i64 = 100;

/// A loop at work.
#[derive(Debug)]
pub(super) struct Frame {
    /// The loop's place in the list that it stands in.
    pub(super) place: usize,
    pub(super) started: Timestamp,
    pub(super) deadline: Option<Timestamp>,
    /// From 1.
    round: i64,
    kind: Rounds,
}

#[derive(Debug)]
enum Rounds {
    /// Once for each of these.
    Each(Vec<Value>),
    /// Until the condition does not hold, so often at most.
    While(i64),
}

/// The steps that are gone through now: of the document, or of the innermost loop.
pub(super) fn list<'d>(document: &'d Document, frames: &[Frame]) -> &'d [Step] {
    let mut steps = document.steps.as_slice();
    for frame in frames {
        steps = steps.get(frame.place).map_or(&[][..], |step| &step.body);
    }
    steps
}

impl Execution {
    /// Begins the first round.
    pub(super) fn enter(&mut self, place: usize, step: &Step) -> Result<(), Failure> {
        let value = |name: &str| {
            let value = step.input(name).map(crate::node::Node::value);
            value
                .map(|value| resolve(&value, Absent::Fails, &|it| self.lookup(it)))
                .transpose()
                .map_err(Failure::for_good)
        };
        let kind = match value("Iterators")? {
            Some(Value::Array(items)) => {
                if items.len() as i64 > ROUNDS_LIMIT {
                    return Err(Failure::for_good(format!(
                        "a loop has {ROUNDS_LIMIT} rounds at most, and these are {} items",
                        items.len()
                    )));
                }
                let wanted = value("IteratorDataType")?;
                let wanted = wanted.as_ref().and_then(Value::as_str).unwrap_or("String");
                let wanted = Type::parse(wanted)
                    .ok_or_else(|| Failure::for_good(format!("there is no type {wanted}")))?;
                if let Some(item) = items.iter().find(|item| !wanted.holds(item)) {
                    return Err(Failure::for_good(format!(
                        "Iterators takes items of the type {wanted}, and one is a {}",
                        type_name(item)
                    )));
                }
                Rounds::Each(items)
            }
            Some(other) => {
                return Err(Failure::for_good(format!(
                    "Iterators takes a list, and this is a {}",
                    type_name(&other)
                )));
            }
            None => {
                let most = value("MaxIterations")?.as_ref().and_then(integer);
                let most = most.unwrap_or(ROUNDS_LIMIT);
                if !(1..=ROUNDS_LIMIT).contains(&most) {
                    return Err(Failure::for_good(format!(
                        "MaxIterations is from 1 to {ROUNDS_LIMIT}, and not {most}"
                    )));
                }
                if step.input("LoopCondition").is_none() {
                    return Err(Failure::for_good("a loop has Iterators or a LoopCondition"));
                }
                Rounds::While(most)
            }
        };
        let Phase::Running(running) = &self.phase else {
            return Ok(());
        };
        let frame = Frame {
            place,
            started: running.started,
            deadline: running.deadline,
            round: 0,
            kind,
        };
        self.frames.push(frame);
        self.round();
        Ok(())
    }

    /// The next round, or the end of the loop.
    pub(super) fn round(&mut self) {
        let document = Arc::clone(&self.document);
        let Some(frame) = self.frames.last() else {
            return self.end();
        };
        let outer = self.frames.len() - 1;
        let steps = list(&document, self.frames.get(..outer).unwrap_or_default());
        let (round, place) = (frame.round, frame.place);
        let Some(step) = steps.get(place) else {
            return self.end();
        };
        let (again, item) = match &frame.kind {
            Rounds::Each(items) => {
                let item = usize::try_from(round).ok().and_then(|it| items.get(it));
                (Ok(item.is_some()), item.cloned())
            }
            Rounds::While(_) if round == 0 => (Ok(true), None),
            Rounds::While(most) if round >= *most => (Ok(false), None),
            Rounds::While(_) => {
                let text = step.input("LoopCondition").map(crate::node::Node::value);
                let resolve = |value: &Value| {
                    resolve(value, Absent::IsNull, &|it| self.lookup(it)).unwrap_or(Value::Null)
                };
                let holds = condition::evaluate(&text.unwrap_or_default(), &resolve);
                (holds, None)
            }
        };
        match again {
            Ok(true) => {
                let mut outputs = Map::new();
                outputs.insert("CurrentIteration".to_owned(), (round + 1).into());
                if let Some(item) = item {
                    outputs.insert("CurrentIteratorValue".to_owned(), item);
                }
                self.state.outputs.insert(step.name.name.clone(), outputs);
                if let Some(frame) = self.frames.last_mut() {
                    frame.round += 1;
                }
                self.phase = match step.body.is_empty() {
                    true => Phase::Ended,
                    false => Phase::Next(0),
                };
                if step.body.is_empty() {
                    self.leave(Status::Success, None);
                }
            }
            Ok(false) => {
                self.leave(Status::Success, None);
                self.onward(place, step);
            }
            Err(why) => {
                let name = &step.name.name;
                let message = format!("step {name} (aws:loop): {why}");
                self.leave(Status::Failed, Some(message));
                self.after_failure(place);
            }
        }
    }

    /// The innermost loop ends so.
    pub(super) fn leave(&mut self, status: Status, error: Option<String>) {
        if let Some(frame) = self.frames.pop() {
            self.finish(frame.place, status, error);
        }
    }

    /// A step of a body has ended, and nothing of the body follows it.
    pub(super) fn out_of_body(&mut self, why: &str, failed: Option<Status>) {
        let is_over = self.frames.len() <= self.cancelled_loops;
        match (why, failed) {
            _ if is_over => self.leave_all(),
            // The failure is the loop's too; what its `onFailure` says is for failures of its own. \[X\]
            ("onFailure", Some(status)) => {
                while !self.frames.is_empty() {
                    let message = "a step of the loop failed".to_owned();
                    self.leave(status, Some(message));
                }
                self.end();
            }
            ("onCancel", _) => self.leave_all(),
            _ => self.round(),
        }
    }

    /// The run was cancelled in a loop.
    fn leave_all(&mut self) {
        while !self.frames.is_empty() {
            self.leave(Status::Cancelled, None);
        }
        self.end();
    }

    /// The time of a loop is up: what it is at is given up.
    pub(super) fn late_loop(&mut self) -> bool {
        let now = self.now;
        let is_late = |frame: &Frame| frame.deadline.is_some_and(|deadline| now >= deadline);
        let Some(late) = self.frames.iter().position(is_late) else {
            return false;
        };
        if let Phase::Running(running) = &self.phase {
            let place = running.step;
            self.finish(place, Status::Cancelled, None);
        }
        let mut place = 0;
        while self.frames.len() > late {
            let frame = self.frames.last();
            place = frame.map_or(0, |frame| frame.place);
            let started = frame.map_or(now, |frame| frame.started);
            let seconds = now.duration_since(started).as_secs();
            let message = format!("the loop was not done after {seconds} seconds");
            self.leave(Status::TimedOut, Some(message));
        }
        self.after_failure(place);
        true
    }

    /// The loop that `loop` means.
    pub(super) fn innermost_loop(&self) -> Option<&Step> {
        let (last, outer) = self.frames.split_last()?;
        list(&self.document, outer).get(last.place)
    }

    /// What comes before a step's name in events.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        let mut steps = self.document.steps.as_slice();
        for frame in &self.frames {
            let Some(step) = steps.get(frame.place) else {
                break;
            };
            path = format!("{path}{}[{}].", step.name.name, frame.round);
            steps = &step.body;
        }
        path
    }

    pub(super) fn label(&self, step: &Step) -> String {
        format!("{}{}", self.path(), step.name.name)
    }

    pub(super) fn tell_jump(&mut self, from: String, to: Option<&str>, why: &str) {
        self.events.push_back(Event::StepJump {
            from,
            to: to.map(str::to_owned),
            why: why.to_owned(),
        });
    }
}
