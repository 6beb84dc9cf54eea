//! What answers make of the step at work.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::outputs::{self, Root};
use super::recipe;
use super::work::{Answer, CallFailure};
use super::{Event, Execution, Failure, Phase, Status, Wait, list};
use crate::action::Action;
use crate::document::Step;
use crate::selector::{Selected, Selector};
use crate::value::{comparable, embedded, python};

/// Unchanged values are told this often.
const POLL_NEWS: SignedDuration = SignedDuration::from_secs(15);

impl Execution {
    pub(super) fn take(&mut self, answer: Answer) {
        let document = Arc::clone(&self.document);
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let Some(step) = list(&document, &self.frames).get(running.step) else {
            return;
        };
        if matches!(running.wait, Wait::Account(_)) {
            return self.take_account(step, answer);
        }
        let Some(action) = step.action else { return };
        if running.is_undoing {
            return self.cancelled();
        }
        if recipe::is_recipe(action) {
            if let Answer::CallFailed(failure) = &answer
                && running.progress.is_poll
                && failure.is_patient()
            {
                let operation = running.progress.call.as_ref().map_or("", |it| it.operation);
                self.events.push_back(Event::StepNote {
                    step: self.label(step),
                    note: failure.text(operation),
                });
            }
            let turn = self.turn(action, &answer);
            return self.follow(step, turn);
        }
        match (action, answer) {
            (
                Action::WaitForAwsResourceProperty | Action::AssertAwsResourceProperty,
                Answer::Called(value),
            ) => {
                self.take_look(step, action, &value);
            }
            (Action::WaitForAwsResourceProperty, Answer::CallFailed(failure))
                if failure.is_patient() =>
            {
                self.events.push_back(Event::StepNote {
                    step: self.label(step),
                    note: failure.text(&self.operation()),
                });
                self.look_again();
            }
            (_, Answer::CallFailed(failure)) => {
                let failure = Failure::failed(failure.text(&self.operation()));
                self.fail(failure);
            }
            (Action::InvokeLambdaFunction, Answer::Called(value)) => self.take_invocation(&value),
            (_, Answer::Called(value)) => {
                let text = without_metadata(&value).to_string();
                let fixed = Map::from_iter([
                    ("Output".to_owned(), text.clone().into()),
                    ("OutputPayload".to_owned(), text.into()),
                ]);
                self.conclude(&Root::Value(value), fixed);
            }
            (_, Answer::Returned(value)) => {
                let text = value.to_string();
                let fixed = Map::from_iter([
                    ("Payload".to_owned(), value.clone()),
                    ("Output".to_owned(), text.clone().into()),
                    ("OutputPayload".to_owned(), text.into()),
                ]);
                self.conclude(&Root::Value(json!({ "Payload": value })), fixed);
            }
            (_, Answer::ScriptFailed(message)) => self.fail(Failure::failed(message)),
            (_, Answer::Approved { by }) => self.take_approval(step, &by),
            (_, Answer::Rejected { by }) => {
                self.fail(Failure::for_good(format!("rejected by {by}")));
            }
            (_, Answer::Resumed) => self.succeed(None, Map::new()),
            (_, Answer::Ended(_)) => self.fail(Failure::failed("no runbook was asked for")),
        }
    }

    fn take_account(&mut self, step: &Step, answer: Answer) {
        match answer {
            Answer::Called(value) => {
                let account = value.get("Account").and_then(Value::as_str);
                self.state.surroundings.account = Some(account.unwrap_or_default().to_owned());
                self.act(step);
            }
            Answer::CallFailed(failure) => {
                self.fail(Failure::failed(failure.text("GetCallerIdentity")));
            }
            _ => self.fail(Failure::failed("the account is not known")),
        }
    }

    fn operation(&self) -> String {
        let Phase::Running(running) = &self.phase else {
            return String::new();
        };
        let api = running.inputs.get("Api").and_then(Value::as_str);
        api.unwrap_or("Invoke").to_owned()
    }

    fn take_look(&mut self, step: &Step, action: Action, value: &Value) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let text = running
            .inputs
            .get("PropertySelector")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let desired: Vec<String> = match running.inputs.get("DesiredValues") {
            Some(Value::Array(values)) => values
                .iter()
                .map(|it| comparable(it).unwrap_or_default())
                .collect(),
            Some(other) => vec![embedded(other)],
            None => Vec::new(),
        };
        let selector = match Selector::parse(&text) {
            Ok(selector) => selector,
            Err((message, _)) => {
                return self.fail(Failure::for_good(format!(
                    "PropertySelector {text}: {message}"
                )));
            }
        };
        let found = match selector.select(value) {
            Selected::Nothing => Vec::new(),
            Selected::One(value) => vec![value.clone()],
            Selected::Many(values) => values.into_iter().cloned().collect(),
        };
        let is_desired =
            |value: &Value| comparable(value).is_some_and(|text| desired.contains(&text));
        // \[X\] Of several values all have to be desired.
        if !found.is_empty() && found.iter().all(is_desired) {
            self.tell(step, &found, &desired, true);
            return self.conclude(&Root::Value(value.clone()), Map::new());
        }
        if action == Action::AssertAwsResourceProperty {
            let wanted = python(&desired.clone().into());
            let message = match &found[..] {
                [] => format!("{text} selects nothing, wanted one of {wanted}"),
                [one] => format!(
                    "{text} is {}, wanted one of {wanted}",
                    comparable(one).unwrap_or_else(|| python(one))
                ),
                many => format!(
                    "{text} is {}, wanted only {wanted}",
                    python(&many.to_vec().into())
                ),
            };
            return self.fail(Failure::failed(message));
        }
        self.tell(step, &found, &desired, false);
        self.look_again();
    }

    /// What was seen, if it is news.
    fn tell(&mut self, step: &Step, found: &[Value], desired: &[String], always: bool) {
        let now = self.now;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let texts: Vec<String> = found
            .iter()
            .map(|it| comparable(it).unwrap_or_else(|| python(it)))
            .collect();
        let value = (!texts.is_empty()).then(|| texts.join(", "));
        let is_new = running.poll.value.as_ref() != Some(&value);
        let is_due = running
            .poll
            .told
            .is_none_or(|told| now.duration_since(told) >= POLL_NEWS);
        running.poll.value = Some(value.clone());
        if !(is_new || is_due || always) {
            return;
        }
        running.poll.told = Some(now);
        let elapsed = now.duration_since(running.started).as_secs();
        let step = self.label(step);
        self.events.push_back(Event::StepPoll {
            step,
            value,
            desired: desired.to_vec(),
            elapsed: u64::try_from(elapsed).unwrap_or_default(),
        });
    }

    fn take_invocation(&mut self, value: &Value) {
        let payload = value
            .get("Payload")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let parsed: Option<Value> = serde_json::from_str(payload).ok();
        if let Some(error) = value.get("FunctionError").and_then(Value::as_str) {
            let said = |name: &str| Some(parsed.as_ref()?.get(name)?.as_str()?.to_owned());
            let reason = match (said("errorType"), said("errorMessage")) {
                (Some(kind), Some(message)) => format!("{kind}: {message}"),
                (None, Some(message)) => message,
                _ => payload.to_owned(),
            };
            // \[X\] The documentation implies it.
            return self.fail(Failure::failed(format!(
                "the function failed ({error}): {reason}"
            )));
        }
        let mut fixed = Map::new();
        if let Some(code) = value.get("StatusCode") {
            fixed.insert("StatusCode".to_owned(), embedded(code).into());
        }
        if let Some(log) = value.get("LogResult").and_then(Value::as_str) {
            fixed.insert("LogResult".to_owned(), log.into());
        }
        // A JSON string is taken out of its quotes. \[X\]
        let text = match &parsed {
            Some(Value::String(text)) => text.clone(),
            _ => payload.to_owned(),
        };
        fixed.insert("Payload".to_owned(), text.into());
        let all = Value::Object(fixed.clone()).to_string();
        fixed.insert("OutputPayload".to_owned(), all.into());
        let root = Root::Payload(parsed.unwrap_or(Value::Null), Value::Object(fixed.clone()));
        self.conclude(&root, fixed);
    }

    fn take_approval(&mut self, step: &Step, by: &str) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let decision = json!({ "Approver": by, "Status": "Approved" });
        running.approvals.push(decision);
        if running.approvals.len() < running.needed {
            let missing = running.needed - running.approvals.len();
            let message = running
                .inputs
                .get("Message")
                .map(embedded)
                .unwrap_or_default();
            let approvers = running
                .inputs
                .get("Approvers")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let deadline = running.deadline;
            let work = super::Work::Approval {
                message,
                approvers: approvers.iter().map(embedded).collect(),
                needed: missing,
            };
            let id = self.ask(step, deadline, work);
            self.wait(Wait::Answer(id));
            return;
        }
        let fixed = Map::from_iter([
            ("ApprovalStatus".to_owned(), "Approved".into()),
            (
                "ApproverDecisions".to_owned(),
                running.approvals.clone().into(),
            ),
        ]);
        self.succeed(None, fixed);
    }

    /// The action succeeded: outputs are evaluated, once.
    pub(super) fn conclude(&mut self, root: &Root, fixed: Map<String, Value>) {
        let shown = fixed.clone();
        self.conclude_as(root, fixed, root, &shown);
    }

    /// The same, with what is shown in the place of the answer and the fixed outputs.
    pub(super) fn conclude_as(
        &mut self,
        root: &Root,
        fixed: Map<String, Value>,
        shown_root: &Root,
        shown_fixed: &Map<String, Value>,
    ) {
        let document = Arc::clone(&self.document);
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let Some(step) = list(&document, &self.frames).get(running.step) else {
            return;
        };
        match outputs::evaluate(step, root, fixed) {
            Ok(outputs) => {
                let name = &step.name.name;
                let shown = outputs::shown(step, shown_root, shown_fixed, &outputs);
                self.state.shown.remove(name);
                if shown != outputs::masked(&outputs) {
                    self.state.shown.insert(name.clone(), shown);
                }
                self.succeed(None, outputs);
            }
            Err(message) => self.fail(Failure::for_good(message)),
        }
    }

    /// The step is done; a branch says where to go.
    pub(super) fn succeed(
        &mut self,
        target: Option<(String, String)>,
        outputs: Map<String, Value>,
    ) {
        let document = Arc::clone(&self.document);
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let place = running.step;
        let Some(step) = list(&document, &self.frames).get(place) else {
            return;
        };
        self.state.outputs.insert(step.name.name.clone(), outputs);
        if self.state.status == Status::Waiting {
            self.state.status = Status::InProgress;
        }
        self.finish(place, Status::Success, None);
        match target {
            Some((name, why)) => self.go(place, Some(&name), &why),
            None => self.onward(place, step),
        }
    }
}

fn without_metadata(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(members) = value.as_object_mut() {
        members.remove("ResponseMetadata");
    }
    value
}

impl CallFailure {
    /// A failure without an answer of a service.
    pub fn transport(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_transient: true,
            ..Self::default()
        }
    }
}
