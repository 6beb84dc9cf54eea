//! What the engine does with recipes: their calls go out, and answers come back to them.

use serde_json::{Map, Value};

use super::outputs::Root;
use super::recipe::{self, Turn};
use super::work::{Answer, Work};
use super::{Execution, Failure, Phase, Wait, validate};
use crate::action::Action;
use crate::document::Step;

impl Execution {
    /// Does what a recipe says is next.
    pub(super) fn follow(&mut self, step: &Step, turn: Turn) {
        let (call, is_poll) = match turn {
            Turn::Call(call) => (call, false),
            Turn::Poll(call) => (call, true),
            Turn::Child(child) => {
                let deadline = self.deadline();
                let id = self.ask(step, deadline, Work::Automation(child));
                return self.wait(Wait::Answer(id));
            }
            Turn::Done(outputs) => return self.conclude_with(outputs.clone(), &outputs),
            Turn::Ended { outputs, shown } => return self.conclude_with(outputs, &shown),
            Turn::Failed(failure) => return self.fail(failure),
        };
        if let Phase::Running(running) = &mut self.phase {
            running.progress.call = Some(call);
            running.progress.is_poll = is_poll;
        }
        match is_poll {
            // The first look is taken at once, the others after a pause.
            true if self.has_looked() => self.look_again(),
            _ => self.look(),
        }
    }

    fn has_looked(&self) -> bool {
        matches!(&self.phase, Phase::Running(running) if running.poll.last.is_some())
    }

    /// The call of a recipe, checked against the model.
    pub(super) fn work_of(call: &recipe::Call) -> Result<Work, Failure> {
        let described = bowline_services::find(call.service).ok();
        let found = described.and_then(|it| Some((it, it.operation(call.operation)?)));
        let Some((service, operation)) = found else {
            let message = format!("there is no operation {} {}", call.service, call.operation);
            return Err(Failure::for_good(message));
        };
        let problems = validate::problems(service, operation, &call.input);
        match problems.is_empty() {
            true => Ok(Work::Call {
                service: service.name,
                operation: operation.name.clone(),
                input: call.input.clone(),
            }),
            false => Err(Failure::for_good(format!(
                "Parameter validation failed:\n{}",
                problems.join("\n")
            ))),
        }
    }

    /// What the recipe of the step makes of an answer.
    pub(super) fn turn(&mut self, action: Action, answer: &Answer) -> Turn {
        let failed = |message: String| Turn::Failed(Failure::failed(message));
        let Phase::Running(running) = &mut self.phase else {
            return failed("the step has ended".to_owned());
        };
        let (inputs, progress) = (&running.inputs, &mut running.progress);
        match answer {
            Answer::Ended(ended) => recipe::ended(ended),
            Answer::CallFailed(failure) if action == Action::ExecuteAutomation => {
                failed(failure.text("StartAutomationExecution"))
            }
            Answer::Called(value) => recipe::next(action, inputs, progress, Ok(value)),
            Answer::CallFailed(failure) => recipe::next(action, inputs, progress, Err(failure)),
            _ => failed("the answer is not one to a call".to_owned()),
        }
    }

    /// The action succeeded with these outputs and no others, which declared ones are taken from.
    fn conclude_with(&mut self, outputs: Map<String, Value>, shown: &Map<String, Value>) {
        let root = |outputs: &Map<String, Value>| Root::Value(Value::Object(outputs.clone()));
        let (whole, part) = (root(&outputs), root(shown));
        self.conclude_as(&whole, outputs, &part, shown);
    }
}
