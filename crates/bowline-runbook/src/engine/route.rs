//! Where a run goes on after a step.

use std::sync::Arc;

use super::{Execution, Phase, Status, list};
use crate::document::{OnFailure, Step};

impl Execution {
    pub(super) fn after_failure(&mut self, place: usize) {
        let document = Arc::clone(&self.document);
        let Some(step) = list(&document, &self.frames).get(place) else {
            return;
        };
        match &step.on_failure {
            OnFailure::Abort => self.go(place, None, "onFailure"),
            OnFailure::Step(target) => self.go(place, Some(&target.name), "onFailure"),
            OnFailure::Continue => self.onward(place, step),
        }
    }

    /// The step succeeded, or its failure does not matter.
    pub(super) fn onward(&mut self, place: usize, step: &Step) {
        if step.is_end {
            return self.go(place, None, "isEnd");
        }
        if let Some(next) = &step.next {
            return self.go(place, Some(&next.name), "nextStep");
        }
        let next = self.name(place + 1);
        self.go(place, next.as_deref(), "sequence");
    }

    pub(super) fn go(&mut self, from: usize, to: Option<&str>, why: &str) {
        let document = Arc::clone(&self.document);
        let step = list(&document, &self.frames).get(from);
        let label = step.map(|step| self.label(step)).unwrap_or_default();
        let failed = step.and_then(|step| self.state.statuses.get(&step.name.name).copied());
        self.tell_jump(label, to, why);
        let Some(name) = to else {
            return match self.frames.is_empty() {
                true => self.end(),
                false => self.out_of_body(why, failed),
            };
        };
        // A step outside of the body leads out of the loop, which is no failure.
        loop {
            let steps = list(&document, &self.frames);
            if let Some(next) = steps.iter().position(|it| it.name.name == name) {
                self.state.next = self.name(next);
                self.phase = Phase::Next(next);
                return;
            }
            if self.frames.is_empty() {
                return self.end();
            }
            let status = match why {
                "onCancel" => Status::Cancelled,
                _ => Status::Exited,
            };
            self.leave(status, None);
        }
    }
}
