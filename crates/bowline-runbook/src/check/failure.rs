//! What a failure does to the run, where that is not what it looks like.

use super::Checker;
use crate::action::Action;
use crate::document::{OnFailure, Step};

impl Checker<'_> {
    pub(super) fn failure(&mut self, step: &Step) {
        let span = step.name.span;
        match (&step.on_failure, step.is_critical) {
            (OnFailure::Abort, Some(false)) => {
                self.warn(60, span, step, "the run ends when this step fails, and ends as Success, as the step is not critical")
                    .suggest("write onFailure: Continue to go on, or take out isCritical: false");
            }
            (OnFailure::Continue, Some(true)) => {
                self.warn(60, span, step, "the run goes on when this step fails, and still ends as Failed, as the step is critical")
                    .suggest("take out isCritical: true unless that is meant");
            }
            (OnFailure::Step(handler), written) if written != Some(false) => {
                let message = format!(
                    "when this step fails the run ends as Failed or TimedOut, even if {} succeeds",
                    handler.name
                );
                self.warn(60, span, step, message)
                    .suggest("write isCritical: false if a handled failure shall end as Success");
            }
            _ => {}
        }
        if let (OnFailure::Step(handler), true) = (&step.on_failure, step.is_end) {
            let message = format!(
                "isEnd does not end the run when this step fails: it goes on to {}",
                handler.name
            );
            self.warn(63, span, step, message);
        }
        self.siblings(step);
    }

    /// RB060 as well: most steps have a failure route, and this one ends the run.
    fn siblings(&mut self, step: &Step) {
        if !can_fail(step) || step.writes_on_failure {
            return;
        }
        let routed = self
            .document
            .steps
            .iter()
            .filter_map(|other| match &other.on_failure {
                OnFailure::Step(handler) => Some(handler.name.as_str()),
                _ => None,
            });
        let routed: Vec<&str> = routed.collect();
        let Some(handler) = routed.first().copied() else {
            return;
        };
        let alike = routed.iter().filter(|name| **name == handler).count();
        // The handlers' own steps are no siblings.
        let handlers = routed.iter().filter_map(|name| self.graph.place(name));
        let handling = self.graph.reach(handlers, None);
        let is_handling = |name: &str| {
            self.graph
                .place(name)
                .is_some_and(|place| handling.contains(&place))
        };
        let unrouted = self.document.steps.iter().filter(|other| {
            can_fail(other) && !other.writes_on_failure && !is_handling(&other.name.name)
        });
        let is_inner = !self
            .document
            .steps
            .iter()
            .any(|other| other.name == step.name);
        if alike < 2 || is_inner || is_handling(&step.name.name) || unrouted.count() > alike {
            return;
        }
        let message =
            format!("{alike} other steps go to {handler} when they fail; this one ends the run");
        self.warn(60, step.name.span, step, message)
            .suggest(format!(
                "write onFailure: step:{handler}, or onFailure: Abort if that is meant"
            ));
    }
}

fn can_fail(step: &Step) -> bool {
    !matches!(
        step.action,
        Some(Action::Sleep | Action::Branch | Action::Pause | Action::UpdateVariable) | None
    )
}
